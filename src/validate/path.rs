//! Paths of fields as people write them: `spec.files[0].mountPath`, `spec.podLabels[example.com/team]`.

/// The path of `field` within `path`.
pub(super) fn join(path: &str, field: &str) -> String {
    match path {
        "" => field.to_owned(),
        path if is_plain(field) => format!("{path}.{field}"),
        path => format!("{path}[{field}]"),
    }
}

/// The path of an item of the list `path`.
pub(super) fn item(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

/// A JSON pointer as a path.
pub(super) fn of_pointer(pointer: &str) -> String {
    pointer.split('/').skip(1).fold(String::new(), |path, segment| {
        let field = segment.replace("~1", "/").replace("~0", "~");
        match field.parse::<usize>() {
            Ok(index) => item(&path, index),
            Err(_) => join(&path, &field),
        }
    })
}

fn is_plain(field: &str) -> bool {
    field
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_become_paths() {
        assert_eq!(of_pointer("/spec/files/0/mountPath"), "spec.files[0].mountPath");
        assert_eq!(
            of_pointer("/spec/podLabels/example.com~1team"),
            "spec.podLabels[example.com/team]"
        );
        assert_eq!(of_pointer(""), "");
    }
}
