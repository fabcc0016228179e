//! What is in contrib/ for Argo CD and Flux is what the scripts say. That the scripts are right is tested with Argo CD's
//! and Flux's own packages, in e2e/cluster/tools.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod support;

use microservice_operator::cli::{ArgoCdForm, argo_cd};
use serde_json::Value;
use support::repository;

const CUSTOMIZATIONS: &str = "contrib/argo-cd/microservice.dev/Microservice";

#[test]
fn the_files_for_argo_cd_are_what_the_command_prints() {
    for (file, form) in [
        ("contrib/argo-cd/argocd-cm.yaml", ArgoCdForm::ConfigMap),
        ("contrib/argo-cd/helm-values.yaml", ArgoCdForm::HelmValues),
    ] {
        let found = std::fs::read_to_string(repository(file)).unwrap_or_default();
        assert!(
            found == argo_cd(form),
            "{file} is out of date: run `make generate`"
        );
    }
}

#[test]
fn every_script_is_in_them_word_for_word() {
    let read = |form| -> Value { serde_saphyr::from_str(&argo_cd(form)).unwrap() };
    let (map, values) = (read(ArgoCdForm::ConfigMap), read(ArgoCdForm::HelmValues));
    assert_eq!(map["data"], values["configs"]["cm"]);
    let script =
        |path: &str| std::fs::read_to_string(repository(&format!("{CUSTOMIZATIONS}/{path}"))).unwrap();
    let health = &map["data"]["resource.customizations.health.microservice.dev_Microservice"];
    assert_eq!(*health, script("health.lua"));
    let actions = &map["data"]["resource.customizations.actions.microservice.dev_Microservice"];
    let actions: Value = serde_saphyr::from_str(actions.as_str().unwrap()).unwrap();
    assert_eq!(actions["discovery.lua"], script("actions/discovery.lua"));
    let mut named: Vec<&str> = Vec::new();
    for action in actions["definitions"].as_array().unwrap() {
        let name = action["name"].as_str().unwrap();
        assert_eq!(
            action["action.lua"],
            script(&format!("actions/{name}/action.lua"))
        );
        named.push(name);
    }
    named.sort_unstable();
    let directory = repository(&format!("{CUSTOMIZATIONS}/actions"));
    let mut there: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("action.lua").exists())
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    there.sort();
    assert_eq!(named, there);
}
