//! The Helm charts: what is generated is as generated, the rights are those of manifests/rbac.yaml, values are checked,
//! and Helm 3 and 4 render the same.
//!
//! `UPDATE_CHARTS=1 cargo test --test charts generated` writes what is generated anew.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use clap::Parser;
use microservice_operator::cli::Arguments;
use serde_json::{Value, json};
use support::{documents, repository};

const OPERATOR: &str = "microservice-operator";
const CRDS: &str = "microservice-operator-crds";

fn read(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn document(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

// --- what is generated

/// Where the part of a README begins that is made from values.yaml.
const MADE_BELOW: &str = "<!-- The rest is made from values.yaml by `make generate`. -->\n";
const LABELS: &str = "{{- include \"microservice-operator.labels\" . | nindent 4 }}";

/// Text as a template that renders to it.
fn literal(text: &str) -> String {
    text.replace("{{", "{{ \"{{\" }}")
}

/// crds/ as a template; where `optional`, one that a value turns off.
fn crd_template(condition: Option<&str>) -> String {
    let crd = literal(&read("crds/microservices.microservice.dev.yaml"));
    let name = "metadata:\n  name: microservices.microservice.dev\n";
    let (before, after) = crd.split_once(name).expect("the CRD begins with its name");
    let mut made = "{{- /* Generated from crds/ by `make generate`. */ -}}\n".to_owned();
    if let Some(condition) = condition {
        let _ = writeln!(made, "{{{{- if {condition} }}}}");
    }
    let keep =
        "  {{- if .Values.crds.keep }}\n  annotations:\n    helm.sh/resource-policy: keep\n  {{- end }}\n";
    let _ = write!(made, "{before}{name}{keep}  labels:\n    {LABELS}\n{after}");
    if condition.is_some() {
        made.push_str("{{- end }}\n");
    }
    made
}

/// manifests/admission.yaml as a template: the policy and the roles for people, each by a value of its own, and named
/// after the release.
fn admission_template() -> String {
    let mut made = "{{- /* Generated from manifests/admission.yaml by `make generate`. */ -}}\n".to_owned();
    let text = read("manifests/admission.yaml");
    for part in literal(&text).split("---\n") {
        let object: Value = serde_saphyr::from_str(part).expect("a part is an object");
        let condition = if object["kind"] == "ClusterRole" {
            ".Values.rbac.userRoles"
        } else {
            ".Values.commandPolicy.enabled"
        };
        let _ = writeln!(made, "{{{{- if {condition} }}}}\n---");
        for line in part.lines() {
            match line {
                "  labels: {app.kubernetes.io/name: microservice-operator}" => {
                    let _ = writeln!(made, "  labels:\n    {LABELS}");
                }
                "    app.kubernetes.io/name: microservice-operator" => {
                    let _ = writeln!(made, "    {LABELS}");
                }
                _ => {
                    let named = ["  name: microservice-", "  policyName: microservice-"];
                    let fullname = "{{ include \"microservice-operator.fullname\" . }}-";
                    let line =
                        named
                            .iter()
                            .fold(line.to_owned(), |line, start| match line.strip_prefix(start) {
                                Some(rest) => {
                                    format!("{}{fullname}{rest}", start.trim_end_matches("microservice-"))
                                }
                                None => line,
                            });
                    let _ = writeln!(made, "{line}");
                }
            }
        }
        made.push_str("{{- end }}\n");
    }
    made
}

/// A value of a chart: its path, what the comment above it says, and its default where it has no values below it.
struct Described {
    path: String,
    comment: String,
    default: Option<Value>,
}

/// The values of a chart, as values.yaml has them.
fn described(chart: &str) -> Vec<Described> {
    let path = format!("charts/{chart}/values.yaml");
    let values = document(&path);
    let mut found = Vec::new();
    let (mut parents, mut comment): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    let text = read(&path);
    let (_, text) = text.split_once("\n\n").expect("a header");
    for line in text.lines() {
        let bare = line.trim_start();
        if let Some(words) = bare.strip_prefix("# ") {
            comment.push(words);
        } else if let Some((key, _)) = bare.split_once(':').filter(|_| !bare.starts_with("- ")) {
            parents.truncate((line.len() - bare.len()) / 2);
            parents.push(key);
            let pointer = format!("/{}", parents.join("/"));
            let value = values
                .pointer(&pointer)
                .unwrap_or_else(|| panic!("{path} has no {pointer}"));
            let leaf = value.as_object().is_none_or(serde_json::Map::is_empty);
            found.push(Described {
                path: parents.join("."),
                comment: std::mem::take(&mut comment).join(" "),
                default: leaf.then(|| value.clone()),
            });
        } else {
            comment.clear();
        }
    }
    found
}

fn readme(chart: &str) -> String {
    let text = read(&format!("charts/{chart}/README.md"));
    let (head, _) = text.split_once(MADE_BELOW).expect("the README has the mark");
    let mut made =
        format!("{head}{MADE_BELOW}\n## Values\n\n| value | default | what it is |\n|---|---|---|\n");
    for value in described(chart) {
        if value.comment.is_empty() && value.default.is_none() {
            continue;
        }
        let default = value
            .default
            .map_or_else(String::new, |default| format!("`{default}`"));
        let _ = writeln!(
            made,
            "| `{}` | {default} | {} |",
            value.path,
            value.comment.replace('|', "\\|")
        );
    }
    made
}

#[test]
fn generated_files_are_as_generated() {
    let chart = |chart: &str, file: &str| format!("charts/{chart}/{file}");
    let made = [
        (
            chart(OPERATOR, "templates/crds.yaml"),
            crd_template(Some(".Values.crds.enabled")),
        ),
        (chart(CRDS, "templates/crds.yaml"), crd_template(None)),
        (chart(OPERATOR, "templates/admission.yaml"), admission_template()),
        (chart(OPERATOR, "README.md"), readme(OPERATOR)),
        (chart(CRDS, "README.md"), readme(CRDS)),
    ];
    for (path, made) in made {
        if std::env::var_os("UPDATE_CHARTS").is_some() {
            std::fs::write(repository(&path), &made).unwrap();
        }
        let found = std::fs::read_to_string(repository(&path)).unwrap_or_default();
        assert!(found == made, "{path} is not as generated: run `make generate`");
    }
}

#[test]
fn every_value_says_what_it_is() {
    for chart in [OPERATOR, CRDS] {
        for value in described(chart) {
            assert!(
                value.default.is_none() || !value.comment.is_empty(),
                "{chart}: {} has no comment",
                value.path
            );
        }
    }
}

#[test]
fn charts_have_the_version_of_the_operator() {
    for chart in [OPERATOR, CRDS] {
        let about = document(&format!("charts/{chart}/Chart.yaml"));
        for field in ["version", "appVersion"] {
            assert_eq!(about[field], env!("CARGO_PKG_VERSION"), "{chart}: {field}");
        }
        // Artifact Hub reads annotations as YAML.
        for (name, text) in about["annotations"].as_object().unwrap() {
            let text = text
                .as_str()
                .unwrap_or_else(|| panic!("{chart}: {name} is no text"));
            let _: Value = serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}

/// The paths of a schema that is closed at every level, as far as it is.
fn of_schema(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    let Some(fields) = schema["properties"].as_object() else {
        return;
    };
    for (name, field) in fields {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        if path == "global" {
            continue;
        }
        found.insert(path.clone());
        of_schema(field, &path, found);
    }
}

#[test]
fn the_schema_knows_each_value_and_no_other_one() {
    for chart in [OPERATOR, CRDS] {
        let schema: Value =
            serde_json::from_str(&read(&format!("charts/{chart}/values.schema.json"))).unwrap();
        let mut known = BTreeSet::new();
        of_schema(&schema, "", &mut known);
        // What is Kubernetes' own, or a map of names that anybody may add to, is not closed.
        let open = |path: &str| {
            let ends = path.match_indices('.').map(|(at, _)| &path[..at]);
            let mut above = ends.map(|above| format!("/properties/{}", above.replace('.', "/properties/")));
            above.any(|above| {
                let above = schema.pointer(&above);
                above.is_some_and(|above| above["additionalProperties"] != json!(false))
            })
        };
        let values: BTreeSet<String> = described(chart).into_iter().map(|value| value.path).collect();
        let unknown: Vec<_> = values
            .iter()
            .filter(|path| !known.contains(*path) && !open(path))
            .collect();
        let gone: Vec<_> = known.iter().filter(|path| !values.contains(*path)).collect();
        assert!(
            unknown.is_empty() && gone.is_empty(),
            "{chart}: not in the schema {unknown:?}, only there {gone:?}"
        );
    }
}

// --- Helm

/// The versions of Helm that people have.
const HELMS: [&str; 2] = ["helm-3", "helm-4"];
/// The oldest Kubernetes that the chart is for.
const KUBERNETES: &str = "--kube-version=1.33.0";

/// The one that `make helm` builds.
fn helm_binary(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("e2e/cluster/bin")
        .join(version)
}

fn helm(version: &str, arguments: &[&str]) -> Output {
    let home = std::env::temp_dir().join(format!("microservice-operator-{version}"));
    Command::new(helm_binary(version))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        // Nobody's plugins and repositories.
        .env("HELM_CACHE_HOME", home.join("cache"))
        .env("HELM_CONFIG_HOME", home.join("config"))
        .env("HELM_DATA_HOME", home.join("data"))
        .output()
        .unwrap_or_else(|error| panic!("{version} cannot be run ({error}): `make helm` builds it"))
}

/// What Helm says, where it does what it is asked.
fn said(version: &str, arguments: &[&str]) -> String {
    let output = helm(version, arguments);
    let (out, err) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{version} {arguments:?}: {out}\n{err}");
    out
}

/// A chart as it is rendered for a release `mo` in the namespace `system`.
fn rendered(version: &str, chart: &str, values: &[&str]) -> String {
    let chart = format!("charts/{chart}");
    let mut arguments = vec!["template", "mo", &chart, "--namespace=system", KUBERNETES];
    arguments.extend(values);
    said(version, &arguments)
}

/// Its objects.
fn objects(chart: &str, values: &[&str]) -> Vec<Value> {
    let text = rendered("helm-4", chart, values);
    let all: Vec<Value> =
        serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    all.into_iter().filter(|object| !object.is_null()).collect()
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// The sets of values in ci/.
fn sets(chart: &str) -> Vec<(String, String)> {
    let directory = format!("charts/{chart}/ci");
    let mut found: Vec<_> = std::fs::read_dir(repository(&directory))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|file| {
            (
                file.replace("-values.yaml", ""),
                format!("--values={directory}/{file}"),
            )
        })
        .collect();
    found.sort();
    found
}

#[test]
fn helm_finds_nothing_to_say_against_the_charts() {
    for version in HELMS {
        for chart in [OPERATOR, CRDS] {
            for (_, values) in sets(chart) {
                said(
                    version,
                    &[
                        "lint",
                        "--strict",
                        KUBERNETES,
                        &format!("charts/{chart}"),
                        &values,
                    ],
                );
            }
        }
    }
}

#[test]
fn both_helms_render_what_is_expected() {
    for (set, values) in sets(OPERATOR) {
        // The CRD is compared with crds/ elsewhere.
        let values = [values.as_str(), "--set=crds.enabled=false"];
        let [three, four] = HELMS.map(|version| rendered(version, OPERATOR, &values));
        let parsed = |text: &str| serde_saphyr::from_multiple::<Value>(text).unwrap();
        assert_eq!(parsed(&three), parsed(&four), "{set}");
        insta::assert_snapshot!(format!("chart-{set}"), four);
    }
}

#[test]
fn the_crd_is_that_of_the_operator_and_stays() {
    let generated = document("crds/microservices.microservice.dev.yaml");
    for chart in [OPERATOR, CRDS] {
        for (set, stays) in [("true", true), ("false", false)] {
            let all = objects(chart, &[&format!("--set=crds.keep={set}")]);
            let found = of_kind(&all, "CustomResourceDefinition");
            let mut crd = Value::clone(found.first().expect("there is a CRD"));
            let metadata = crd["metadata"].as_object_mut().unwrap();
            assert_eq!(metadata["labels"]["app.kubernetes.io/name"], OPERATOR);
            metadata.remove("labels");
            let kept = metadata.remove("annotations");
            assert_eq!(kept, stays.then(|| json!({"helm.sh/resource-policy": "keep"})));
            assert!(crd == generated, "{chart}: the CRD is not that of crds/");
        }
    }
    let none = objects(OPERATOR, &["--set=crds.enabled=false"]);
    assert!(of_kind(&none, "CustomResourceDefinition").is_empty());
}

// --- rights

/// Rights one by one: group, resource, verb, and the names that they are bound to.
fn rights<'a>(roles: impl IntoIterator<Item = &'a Value>) -> BTreeSet<(String, String, String, String)> {
    let mut found = BTreeSet::new();
    let texts = |value: &Value| -> Vec<String> {
        let all = value.as_array().into_iter().flatten();
        all.map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    for rule in roles
        .into_iter()
        .flat_map(|role| role["rules"].as_array().expect("rules"))
    {
        let names = texts(&rule["resourceNames"]).join(",");
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    found.insert((group.clone(), resource.clone(), verb, names.clone()));
                }
            }
        }
    }
    found
}

/// The roles of the operator itself.
fn own<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let people = ["-editor", "-viewer", "-releaser"];
    let name = |role: &Value| role["metadata"]["name"].as_str().unwrap().to_owned();
    let mut roles = of_kind(objects, kind);
    roles.retain(|role| !people.iter().any(|end| name(role).ends_with(end)));
    roles
}

/// The rights of manifests/rbac.yaml; the Lease is called as the release is.
fn shipped(kind: &str, lease: &str) -> BTreeSet<(String, String, String, String)> {
    let roles = documents("manifests/rbac.yaml");
    let roles = rights(roles.iter().filter(|role| role["kind"] == kind));
    let renamed = roles.into_iter().map(|(group, resource, verb, names)| {
        (
            group,
            resource,
            verb,
            if names.is_empty() { names } else { lease.to_owned() },
        )
    });
    renamed.collect()
}

#[test]
fn the_rights_are_those_of_the_manifest() {
    let all = objects(OPERATOR, &["--set=crds.enabled=false"]);
    let lease = "mo-microservice-operator";
    assert_eq!(rights(own(&all, "ClusterRole")), shipped("ClusterRole", lease));
    assert_eq!(rights(own(&all, "Role")), shipped("Role", lease));
    for (group, resource, verb, _) in rights(own(&all, "ClusterRole")) {
        assert!(
            ![&group, &resource, &verb].iter().any(|word| word.contains('*')),
            "{group} {resource} {verb}"
        );
        assert_ne!(resource, "secrets");
    }
}

#[test]
fn each_feature_takes_its_rights_along_and_no_other_ones() {
    let with = |values: &[&str]| rights(own(&objects(OPERATOR, values), "ClusterRole"));
    let usual = with(&[]);
    let resources =
        |set: &BTreeSet<(String, String, String, String)>, other: &BTreeSet<_>| -> BTreeSet<String> {
            set.difference(other)
                .map(|(_, resource, _, _)| resource.clone())
                .collect()
        };
    for (feature, expected) in [
        (
            "gatewayApi",
            vec!["gatewayclasses", "gateways", "grpcroutes", "httproutes"],
        ),
        ("istio", vec!["virtualservices"]),
        (
            "prometheusOperator",
            vec!["podmonitors", "prometheusrules", "servicemonitors"],
        ),
    ] {
        let without = with(&[&format!("--set=features.{feature}=false")]);
        assert_eq!(
            resources(&usual, &without),
            expected.into_iter().map(str::to_owned).collect::<BTreeSet<_>>()
        );
        assert!(without.is_subset(&usual));
    }
    let tracking = with(&["--set=features.trackSecrets=true"]);
    assert_eq!(
        resources(&tracking, &usual),
        BTreeSet::from(["secrets".to_owned()])
    );
    assert!(usual.is_subset(&tracking));
}

#[test]
fn for_some_namespaces_there_are_roles_in_them() {
    let values = ["--set=watchNamespaces={shop,pay}"];
    let all = objects(OPERATOR, &values);
    let cluster = rights(own(&all, "ClusterRole"));
    let manifest = shipped("ClusterRole", "");
    let mut namespaces = Vec::new();
    for role in own(&all, "Role") {
        let namespace = role["metadata"]["namespace"].as_str().unwrap();
        if namespace != "system" {
            namespaces.push(namespace);
            assert_eq!(&rights([role]) | &cluster, manifest, "{namespace}");
            assert!(rights([role]).is_disjoint(&cluster));
        }
    }
    assert_eq!(namespaces, ["shop", "pay"]);
    let confined = objects(OPERATOR, &[values[0], "--set=rbac.clusterWide=false"]);
    assert!(own(&confined, "ClusterRole").is_empty());
    assert!(of_kind(&confined, "ClusterRoleBinding").is_empty());
    let flags = &of_kind(&confined, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["args"];
    assert!(
        flags
            .as_array()
            .unwrap()
            .contains(&json!("--namespaces=shop,pay")),
        "{flags}"
    );
}

#[test]
fn people_have_the_roles_of_the_manifest() {
    let all = objects(OPERATOR, &[]);
    for shipped in documents("manifests/admission.yaml") {
        let name = shipped["metadata"]["name"].as_str().unwrap();
        let name = name.replacen("microservice", "mo-microservice-operator", 1);
        let found = of_kind(&all, shipped["kind"].as_str().unwrap());
        let found = found
            .iter()
            .find(|object| object["metadata"]["name"] == name.as_str());
        let found = found.unwrap_or_else(|| panic!("no {name}"));
        for (label, value) in shipped["metadata"]["labels"].as_object().unwrap() {
            assert_eq!(&found["metadata"]["labels"][label], value, "{name}: {label}");
        }
        assert_eq!(found["rules"], shipped["rules"], "{name}");
        let mut spec = shipped["spec"].clone();
        if let Some(policy) = spec.get_mut("policyName") {
            *policy = json!("mo-microservice-operator-commands");
        }
        assert_eq!(found["spec"], spec, "{name}");
    }
    let none = objects(
        OPERATOR,
        &["--set=rbac.userRoles=false,commandPolicy.enabled=false"],
    );
    assert!(of_kind(&none, "ValidatingAdmissionPolicy").is_empty());
    assert_eq!(of_kind(&none, "ClusterRole").len(), 1);
}

#[test]
fn bindings_lead_to_roles_that_are_there_and_to_the_account() {
    for (set, values) in sets(OPERATOR) {
        let all = objects(OPERATOR, &[&values]);
        let deployment = of_kind(&all, "Deployment")[0];
        let account = &deployment["spec"]["template"]["spec"]["serviceAccountName"];
        assert_eq!(
            &of_kind(&all, "ServiceAccount")[0]["metadata"]["name"],
            account,
            "{set}"
        );
        for binding in of_kind(&all, "RoleBinding")
            .into_iter()
            .chain(of_kind(&all, "ClusterRoleBinding"))
        {
            let role = &binding["roleRef"];
            let roles = of_kind(&all, role["kind"].as_str().unwrap());
            let found = roles.iter().any(|found| {
                found["metadata"]["name"] == role["name"]
                    && found["metadata"]["namespace"] == binding["metadata"]["namespace"]
            });
            assert!(found, "{set}: {role}");
            assert_eq!(&binding["subjects"][0]["name"], account, "{set}");
            assert_eq!(binding["subjects"][0]["namespace"], "system", "{set}");
        }
    }
}

// --- the operator

#[test]
fn the_operator_takes_the_flags_that_it_is_given() {
    for (set, values) in sets(OPERATOR) {
        let all = objects(OPERATOR, &[&values]);
        let container = &of_kind(&all, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0];
        let flags = container["args"]
            .as_array()
            .unwrap()
            .iter()
            .map(|flag| flag.as_str().unwrap());
        let parsed = Arguments::try_parse_from(std::iter::once("operator").chain(flags));
        assert!(parsed.is_ok(), "{set}: {}", parsed.unwrap_err());
    }
}

#[test]
fn pods_are_as_pod_security_wants_them() {
    for (set, values) in sets(OPERATOR) {
        let all = objects(OPERATOR, &[&values]);
        let pod = &of_kind(&all, "Deployment")[0]["spec"]["template"]["spec"];
        let container = &pod["containers"][0]["securityContext"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{set}");
        assert_eq!(
            pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault",
            "{set}"
        );
        assert_eq!(container["allowPrivilegeEscalation"], false, "{set}");
        assert_eq!(container["readOnlyRootFilesystem"], true, "{set}");
        assert_eq!(container["capabilities"]["drop"], json!(["ALL"]), "{set}");
        for forbidden in ["hostNetwork", "hostPID", "hostIPC", "volumes"] {
            assert!(pod[forbidden].is_null(), "{set}: {forbidden}");
        }
    }
}

#[test]
fn services_budgets_and_policies_select_the_pods() {
    let full = "--values=charts/microservice-operator/ci/full-values.yaml";
    let all = objects(OPERATOR, &[full]);
    let labels = &of_kind(&all, "Deployment")[0]["spec"]["template"]["metadata"]["labels"];
    let selects = |selector: &Value, of: &Value| {
        let selector = selector.as_object().unwrap();
        !selector.is_empty() && selector.iter().all(|(name, value)| &of[name] == value)
    };
    assert!(selects(&of_kind(&all, "Service")[0]["spec"]["selector"], labels));
    assert!(selects(
        &of_kind(&all, "PodDisruptionBudget")[0]["spec"]["selector"]["matchLabels"],
        labels
    ));
    assert!(selects(
        &of_kind(&all, "NetworkPolicy")[0]["spec"]["podSelector"]["matchLabels"],
        labels
    ));
    assert!(selects(
        &of_kind(&all, "ServiceMonitor")[0]["spec"]["selector"]["matchLabels"],
        &of_kind(&all, "Service")[0]["metadata"]["labels"]
    ));
    assert_eq!(labels["team"], "platform");
    // A label of ours cannot be taken away.
    assert_eq!(labels["app.kubernetes.io/name"], OPERATOR);
}

// --- bad values

/// What each Helm says to values that it refuses.
fn refused(values: &[&str]) -> Vec<String> {
    let refusals = HELMS.map(|version| {
        let mut arguments = vec!["template", "mo", "charts/microservice-operator", KUBERNETES];
        arguments.extend(values);
        let output = helm(version, &arguments);
        assert!(!output.status.success(), "{version} takes {values:?}");
        String::from_utf8(output.stderr).unwrap()
    });
    refusals.to_vec()
}

#[test]
fn bad_values_are_refused_by_name() {
    for (value, names) in [
        ("--set=replicas=3", "replicas"),
        ("--set=replicaCount=0", "replicaCount"),
        ("--set-string=replicaCount=2", "replicaCount"),
        ("--set=image.repository=", "repository"),
        ("--set=image.repository=registry.example/a@sha256:1", "repository"),
        ("--set=image.digest=sha256:12", "digest"),
        ("--set=image.pullPolicy=Sometimes", "pullPolicy"),
        ("--set=watchNamespaces={Shop}", "watchNamespaces"),
        ("--set=watchNamespaces={shop,shop}", "watchNamespaces"),
        ("--set=features.secrets=true", "secrets"),
        ("--set=features.istio=Enabled", "istio"),
        ("--set=leaderElection.retrySeconds=0", "retrySeconds"),
        ("--set=log.format=xml", "format"),
        ("--set=extraArgs={track-secrets}", "extraArgs"),
        ("--set=metrics.port=80", "port"),
        ("--set=metrics.serviceMonitor.interval=fast", "interval"),
        (
            "--set=metrics.prometheusRule.runbookUrlPrefix=ftp://a",
            "runbookUrlPrefix",
        ),
        ("--set=podDisruptionBudget.maxUnavailable=0", "maxUnavailable"),
        ("--set=commonLabels.team=1", "team"),
    ] {
        for words in refused(&[value]) {
            assert!(words.contains(names), "{value}: {words}");
        }
    }
}

#[test]
fn values_that_do_not_go_together_are_refused_with_the_way_out() {
    for words in refused(&["--set=leaderElection.enabled=false"]) {
        assert!(
            words.contains("more than one replica takes leaderElection.enabled: true"),
            "{words}"
        );
    }
    for (value, names) in [
        (
            "--set=leaderElection.renewDeadlineSeconds=15",
            "renewDeadlineSeconds: must be less than",
        ),
        (
            "--set=leaderElection.retrySeconds=10",
            "retrySeconds: must be less than",
        ),
    ] {
        for words in refused(&[value]) {
            assert!(words.contains(names), "{value}: {words}");
        }
    }
    for words in refused(&["--set=metrics.serviceMonitor.enabled=true,metrics.service.enabled=false"]) {
        assert!(words.contains("takes metrics.service.enabled: true"), "{words}");
    }
}

// --- what is seen of it

/// The names of metrics in docs/metrics.md, with those that a histogram has.
fn metrics() -> BTreeSet<String> {
    let page = read("docs/metrics.md");
    let rows = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let names = rows.flat_map(|(name, rest)| {
        let kinds: &[&str] = if rest.starts_with("histogram") {
            &["_bucket", "_sum", "_count"]
        } else {
            &[""]
        };
        kinds
            .iter()
            .map(move |end| format!("microservice_operator_{name}{end}"))
    });
    names.collect()
}

/// The metrics that an expression names.
fn named(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("microservice_operator_"));
    ours.map(str::to_owned).collect()
}

#[test]
fn alerts_and_the_dashboard_ask_for_metrics_that_there_are() {
    let full = "--values=charts/microservice-operator/ci/full-values.yaml";
    let all = objects(OPERATOR, &[full]);
    let rules = &of_kind(&all, "PrometheusRule")[0]["spec"]["groups"][0]["rules"];
    let mut expressions: Vec<&str> = Vec::new();
    for rule in rules.as_array().unwrap() {
        expressions.push(rule["expr"].as_str().unwrap());
        let alert = rule["alert"].as_str().unwrap();
        assert_eq!(
            rule["annotations"]["runbook_url"],
            format!("https://runbooks.example/{alert}")
        );
        assert_eq!(rule["labels"]["team"], "platform");
        // The job is that of the Service.
        assert!(
            rule["expr"]
                .as_str()
                .unwrap()
                .contains("job=\"mo-microservice-operator-metrics\""),
            "{rule}"
        );
    }
    let map = of_kind(&all, "ConfigMap")[0];
    let (file, text) = map["data"].as_object().unwrap().iter().next().unwrap();
    assert_eq!(file, "mo-microservice-operator.json");
    let dashboard: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            expressions.push(target["expr"].as_str().unwrap());
        }
    }
    let known = metrics();
    let asked: BTreeSet<String> = expressions.into_iter().flat_map(named).collect();
    let unknown: Vec<_> = asked.difference(&known).collect();
    assert!(unknown.is_empty(), "not in docs/metrics.md: {unknown:?}");
    assert!(asked.len() > 10, "{asked:?}");
}

/// Runs promtool over the alerts in a directory of their own.
fn promtool(test: &str, files: &BTreeMap<&str, Value>, arguments: &[&str]) {
    let directory = std::env::temp_dir().join(format!(
        "microservice-operator-chart-{test}-{}",
        std::process::id()
    ));
    std::fs::create_dir_all(&directory).unwrap();
    for (name, content) in files {
        std::fs::write(directory.join(name), content.to_string()).unwrap();
    }
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/cluster/bin/promtool");
    let binary = if built.exists() {
        built
    } else {
        PathBuf::from("promtool")
    };
    let output = Command::new(binary)
        .args(arguments)
        .current_dir(&directory)
        .output();
    let output =
        output.unwrap_or_else(|error| panic!("promtool cannot be run ({error}): `make promtool` builds it"));
    let words = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    std::fs::remove_dir_all(&directory).unwrap();
    assert!(output.status.success(), "{words}");
}

#[test]
fn alerts_fire_when_they_should() {
    let all = objects(OPERATOR, &["--set=metrics.prometheusRule.enabled=true"]);
    let spec = of_kind(&all, "PrometheusRule")[0]["spec"].clone();
    let labels = "job=\"mo-microservice-operator-metrics\",namespace=\"system\"";
    let series = |name: &str, more: &str, values: &str| json!({"series": format!("microservice_operator_{name}{{{labels}{more}}}"), "values": values});
    let well = vec![
        series("build_info", ",pod=\"a\"", "1x60"),
        series("leader", ",pod=\"a\"", "1x60"),
        series("leader", ",pod=\"b\"", "0x60"),
        series("reconciles_total", ",pod=\"a\",result=\"Success\"", "0+10x60"),
        series("reconciles_total", ",pod=\"a\",result=\"Failure\"", "0x60"),
        series("reconciles_total", ",pod=\"a\",result=\"Panic\"", "0x60"),
        series("queue_depth", ",pod=\"a\"", "3x60"),
        series(
            "notifications_total",
            ",pod=\"a\",kind=\"Slack\",result=\"Delivered\"",
            "0+1x60",
        ),
    ];
    // With this series in place of the one that begins like it, what fires.
    let changed = |name: &str, more: &str, values: &str| {
        let new = series(name, more, values);
        let mut all = well.clone();
        all.retain(|old| old["series"] != new["series"]);
        all.push(new);
        all
    };
    let without: Vec<Value> = Vec::new();
    let cases = [
        (well.clone(), vec![]),
        (without, vec!["MicroserviceOperatorDown"]),
        (
            changed("leader", ",pod=\"a\"", "0x60"),
            vec!["MicroserviceOperatorWithoutLeader"],
        ),
        (
            changed("leader", ",pod=\"b\"", "1x60"),
            vec!["MicroserviceOperatorTwoLeaders"],
        ),
        (
            changed("reconciles_total", ",pod=\"a\",result=\"Failure\"", "0+10x60"),
            vec!["MicroserviceOperatorFailing"],
        ),
        (
            changed("reconciles_total", ",pod=\"a\",result=\"Panic\"", "0x25 1x35"),
            vec!["MicroserviceOperatorPanics"],
        ),
        (
            changed("queue_depth", ",pod=\"a\"", "300x60"),
            vec!["MicroserviceOperatorQueueGrows"],
        ),
        (
            changed("watch_errors_total", ",pod=\"a\",kind=\"Pod\"", "0+2x60"),
            vec!["MicroserviceOperatorWatchErrors"],
        ),
        (
            changed(
                "writes_total",
                ",pod=\"a\",kind=\"Pod\",verb=\"Patch\",result=\"Refused\"",
                "0+2x60",
            ),
            vec!["MicroserviceOperatorWritesRefused"],
        ),
        (
            changed(
                "notifications_total",
                ",pod=\"a\",kind=\"Slack\",result=\"Failed\"",
                "0+1x60",
            ),
            vec!["MicroserviceOperatorNotificationsFail"],
        ),
    ];
    let names: Vec<&str> = spec["groups"][0]["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule["alert"].as_str().unwrap())
        .collect();
    let tests: Vec<Value> = cases
        .iter()
        .map(|(input, fires)| {
            let expected: Vec<Value> = names
                .iter()
                .map(|name| {
                    json!({"expr": format!("count(ALERTS{{alertname=\"{name}\",alertstate=\"firing\"}}) or vector(0)"),
                        "eval_time": "32m",
                        "exp_samples": [{"labels": "{}", "value": i32::from(fires.contains(name))}]})
                })
                .collect();
            json!({"interval": "1m", "input_series": input, "promql_expr_test": expected})
        })
        .collect();
    let proven: BTreeSet<&str> = cases
        .iter()
        .flat_map(|(_, fires)| fires.iter().copied())
        .collect();
    assert_eq!(
        proven,
        names.iter().copied().collect::<BTreeSet<_>>(),
        "each alert is seen to fire"
    );
    let files = BTreeMap::from([
        ("rules.yaml", spec),
        (
            "test.yaml",
            json!({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}),
        ),
    ]);
    promtool("check", &files, &["check", "rules", "rules.yaml"]);
    promtool("test", &files, &["test", "rules", "test.yaml"]);
}
