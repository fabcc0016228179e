//! A user of the cluster with the rights of manifests/rbac.yaml, or fewer.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::environment::{cluster, cluster_dir, repository};
use crate::kubectl::kubectl;
use crate::wait::{patience, within_blocking};

/// A user with a ClusterRole of its own, which goes with the value.
#[derive(Debug)]
pub struct Rights {
    /// The user, and its role.
    pub user: String,
    kubeconfig: PathBuf,
}

/// Where the rights hold.
#[derive(Clone, Copy, Debug)]
pub enum Reach<'a> {
    /// Everywhere.
    Cluster,
    /// In one namespace; for objects without a namespace there are none.
    Namespace(&'a str),
}

impl Rights {
    /// Makes a user with the `rules` of its role.
    pub fn new(reach: Reach<'_>, rules: &[Value]) -> Self {
        let user = format!("operator-{}", crate::random::suffix());
        let kubeconfig = cluster_dir().join(format!("{user}.kubeconfig"));
        std::fs::write(&kubeconfig, cluster(&["user", &user])).expect("the kubeconfig can be written");
        let rights = Self { user, kubeconfig };
        rights.become_only(rules);
        let (role, user) = (
            format!("--clusterrole={}", rights.user),
            format!("--user={}", rights.user),
        );
        match reach {
            Reach::Cluster => kubectl(
                &["create", "clusterrolebinding", &rights.user, &role, &user],
                None,
            ),
            Reach::Namespace(name) => kubectl(
                &["-n", name, "create", "rolebinding", &rights.user, &role, &user],
                None,
            ),
        }
        .ok();
        rights.wait_until_they_hold(reach, rules);
        rights
    }

    /// The API server learns of roles and bindings by a watch of its own. It is the binding that comes last, and with
    /// it all rules hold, so that the first one tells for all.
    fn wait_until_they_hold(&self, reach: Reach<'_>, rules: &[Value]) {
        let one = |field: &str| rules.first().and_then(|rule| rule[field][0].as_str());
        let (Some(verb), Some(resource), Some(group)) = (one("verbs"), one("resources"), one("apiGroups"))
        else {
            return;
        };
        let resource = if group.is_empty() {
            resource.to_owned()
        } else {
            format!("{resource}.{group}")
        };
        let everywhere = "--all-namespaces".to_owned();
        let where_to = match reach {
            Reach::Cluster => everywhere,
            Reach::Namespace(name) => format!("--namespace={name}"),
        };
        let user = format!("--as={}", self.user);
        let question = ["auth", "can-i", verb, &resource, &user, &where_to];
        within_blocking(patience(), "the rights of a user to hold", || {
            let answer = kubectl(&question, None);
            if answer.succeeded {
                Ok(())
            } else {
                Err(answer.out + &answer.err)
            }
        });
    }

    /// Replaces the rules. The API server follows a moment later.
    pub fn become_only(&self, rules: &[Value]) {
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": self.user}, "rules": rules,
        });
        kubectl(&["apply", "-f", "-"], Some(&role.to_string())).ok();
    }

    /// How the user reaches the cluster.
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig.clone()
    }
}

impl Drop for Rights {
    fn drop(&mut self) {
        let _ = kubectl(
            &[
                "delete",
                "clusterrolebinding,clusterrole",
                &self.user,
                "--ignore-not-found",
            ],
            None,
        );
        let _ = std::fs::remove_file(&self.kubeconfig);
    }
}

/// The rules that are shipped for what the operator serves.
pub fn shipped() -> Vec<Value> {
    rules_of("ClusterRole")
}

/// The rules that are shipped for where it runs: those of the Lease.
pub fn shipped_lease() -> Vec<Value> {
    rules_of("Role")
}

fn rules_of(kind: &str) -> Vec<Value> {
    let file = repository().join("manifests/rbac.yaml");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let roles: Vec<Value> = serde_saphyr::from_multiple(&text).expect("manifests/rbac.yaml is YAML");
    let role = roles.iter().find(|role| role["kind"] == kind);
    let role = role.expect("manifests/rbac.yaml has a ClusterRole and a Role");
    role["rules"].as_array().expect("a ClusterRole has rules").clone()
}

/// The rules that are shipped, with only those `verbs` left for `resource`.
pub fn shipped_with(resource: &str, verbs: &[&str]) -> Vec<Value> {
    let mut rules = shipped();
    let concerned = rules.iter().position(|rule| {
        rule["resources"]
            .as_array()
            .is_some_and(|r| r.contains(&json!(resource)))
    });
    let concerned = concerned.unwrap_or_else(|| panic!("no rule speaks of {resource}"));
    let mut rest = rules.remove(concerned);
    if !verbs.is_empty() {
        rules.push(json!({"apiGroups": rest["apiGroups"], "resources": [resource], "verbs": verbs}));
    }
    rest["resources"]
        .as_array_mut()
        .expect("a rule has resources")
        .retain(|other| other != resource);
    if rest["resources"] != json!([]) {
        rules.push(rest);
    }
    rules
}
