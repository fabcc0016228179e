//! What differs between two revisions, in a line that a person understands.

use serde_json::Value;

use super::RecordData;

/// The most differences that are named.
const NAMED: usize = 6;

/// What differs from `before` to `after`: fields of the user's part with old and new values where these are
/// short, restarts, and, where the user's part is the same, what is rendered differently.
pub fn changes(before: &RecordData, after: &RecordData) -> String {
    let mut found = Vec::new();
    let user = |data: &RecordData| serde_json::to_value(&data.input).unwrap_or_default();
    compare("", &user(before), &user(after), &mut found);
    for (old, new) in paired_snapshots(before, after) {
        if old != new {
            found.push(format!(
                "content of {new_name}",
                new_name = new.or(old).unwrap_or_default()
            ));
        }
    }
    if found.is_empty() {
        compare("template", &nameless(before), &nameless(after), &mut found);
    }
    if found.is_empty() && before.epoch != after.epoch {
        found.push("restart".to_owned());
    }
    let more = found.len().saturating_sub(NAMED);
    found.truncate(NAMED);
    if more > 0 {
        found.push(format!("and {more} more"));
    }
    found.join(", ")
}

/// What differs from `before` to `after`, all of it, a line each.
pub fn differences(before: &Value, after: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", before, after, &mut found);
    found
}

fn paired_snapshots<'a>(
    before: &'a RecordData,
    after: &'a RecordData,
) -> impl Iterator<Item = (Option<String>, Option<String>)> + 'a {
    let line = |data: &RecordData, name: &super::SnapshotSource| {
        data.snapshots.iter().find(|s| s.source == *name).map(|s| {
            let digest = s
                .content
                .as_ref()
                .map_or("absent", |c| c.digest.get(..8).unwrap_or(&c.digest));
            format!("{:?} {} ({digest})", name.kind, name.name)
        })
    };
    after.snapshots.iter().map(move |s| {
        let old = line(before, &s.source);
        let new = line(after, &s.source);
        // A source that was not tracked before shows as a difference of the spec already.
        if old.is_none() {
            (new.clone(), new)
        } else {
            (old, new)
        }
    })
}

/// The template with a word in the place of the revision's own name, which is in labels, selectors and the
/// names of its ConfigMaps: it differs always and says nothing.
fn nameless(data: &RecordData) -> Value {
    let mut template = data.template.clone();
    if let Some(name) = data.selector.get(crate::api::labels::REVISION) {
        replace_name(&mut template, name);
    }
    template
}

fn replace_name(value: &mut Value, name: &str) {
    match value {
        Value::String(text) => match text.strip_prefix(name) {
            Some(suffix) if suffix.is_empty() || suffix.starts_with('-') => {
                *text = format!("(revision){suffix}");
            }
            Some(_) | None => {}
        },
        Value::Array(items) => items.iter_mut().for_each(|item| replace_name(item, name)),
        Value::Object(fields) => fields.values_mut().for_each(|field| replace_name(field, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn compare(path: &str, before: &Value, after: &Value, found: &mut Vec<String>) {
    if before == after {
        return;
    }
    match (before, after) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                compare(
                    &join(path, key),
                    a.get(key).unwrap_or(&Value::Null),
                    b.get(key).unwrap_or(&Value::Null),
                    found,
                );
            }
        }
        (Value::Array(a), Value::Array(b)) => match (by_name(a), by_name(b)) {
            (Some(a), Some(b)) if a == b => found.push(format!("order of {path}")),
            (Some(a), Some(b)) => {
                let names: std::collections::BTreeSet<&str> = a.keys().chain(b.keys()).copied().collect();
                for name in names {
                    let old = a.get(name).copied().unwrap_or(&Value::Null);
                    let new = b.get(name).copied().unwrap_or(&Value::Null);
                    compare(&format!("{path}[{name}]"), old, new, found);
                }
            }
            _ => found.push(path.to_owned()),
        },
        _ => found.push(match (short(before), short(after)) {
            (Some(old), Some(new)) => format!("{path} {old} -> {new}"),
            _ => path.to_owned(),
        }),
    }
}

/// The items of a list by their name or mount path, where all of them have one.
fn by_name(items: &[Value]) -> Option<std::collections::BTreeMap<&str, &Value>> {
    items
        .iter()
        .map(|item| {
            Some((
                item.get("name").or_else(|| item.get("mountPath"))?.as_str()?,
                item,
            ))
        })
        .collect()
}

fn join(path: &str, key: &str) -> String {
    match path {
        "" | "spec" => key.to_owned(),
        path => format!("{path}.{key}"),
    }
}

fn short(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(_) | Value::Object(_) => return None,
    };
    (text.chars().count() <= 80 && !text.contains('\n')).then_some(text)
}
