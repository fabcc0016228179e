//! What a manifest would change, what a service becomes without its operator, and advice.

use microservice_operator::api::Microservice;
use microservice_operator::plugin::advice::advice;
use microservice_operator::plugin::difference::{Difference, Planned, Pods, Tracked, pods};
use microservice_operator::plugin::eject;
use microservice_operator::plugin::page::Look;
use microservice_operator::render::{ChildKind, Companions, Identity, new_record, offline};
use microservice_operator::revision::{Record, RevisionInput};
use serde_json::{Value, json};

use crate::fixtures::{changed, service};
use crate::support::documents;

fn known() -> Tracked {
    Tracked::Known(Companions::default())
}

fn to_json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

fn record(service: &Microservice) -> Record {
    let identity = Identity::of(service, "shop");
    new_record(&identity, RevisionInput::of(&service.spec), Vec::new(), 0, 1, 0)
}

#[test]
fn only_what_is_in_the_revision_makes_pods_anew() {
    let live = service("healthy");
    let stable = record(&live);
    let of =
        |changes: &[(&str, Value)]| pods(Some(&live), Some(&stable), &changed("healthy", changes), &known());
    assert_eq!(of(&[]), Pods::Kept);
    assert_eq!(of(&[("/spec/replicas", json!(9))]), Pods::Kept);
    assert_eq!(of(&[("/spec/strategy", json!({"bakeSeconds": 5}))]), Pods::Kept);
    let image = [("/spec/image", json!("registry.example/web:1.5.0"))];
    let wanted = record(&changed("healthy", &image)).name;
    assert_eq!(of(&image), Pods::Replaced(wanted.clone()));
    let rejected = json!([{
        "name": wanted, "image": "", "replicas": 0, "ready": 0, "weight": 0,
        "rejected": {"seq": 1, "reason": "x", "message": "y"},
    }]);
    let live = changed("healthy", &[("/status/revisions", rejected)]);
    assert_eq!(
        pods(Some(&live), Some(&stable), &changed("healthy", &image), &known()),
        Pods::Rejected(wanted)
    );
    assert_eq!(pods(None, None, &live, &known()), Pods::Made);
}

#[test]
fn plans_and_differences_in_words() {
    let live = service("healthy");
    let stable = record(&live);
    let new = changed(
        "healthy",
        &[
            ("/spec/image", json!("registry.example/web:1.5.0")),
            ("/spec/replicas", json!(6)),
            ("/spec/env", json!([{"name": "MODE", "value": "fast"}])),
            (
                "/spec/ports",
                json!([{"name": "http", "containerPort": 8080, "servicePort": 80}]),
            ),
        ],
    );
    let frozen = changed(
        "healthy",
        &[(
            "/metadata/annotations",
            json!({"microservice.dev/freeze": "holidays"}),
        )],
    );
    let all = [
        Planned::of(Some(&frozen), Some(&stable), &new, &known(), "shop").page(),
        Planned::of(Some(&live), Some(&stable), &live, &known(), "shop").page(),
        Planned::of(None, None, &new, &known(), "shop").page(),
        Difference::of(
            &new,
            &stable,
            &Tracked::Unknown("you may not get configmaps".to_owned()),
        )
        .page(),
        Difference::of(&live, &stable, &known()).page(),
    ];
    insta::assert_snapshot!("plans", all.map(|page| page.text(Look::PLAIN)).join("\n"));
}

#[test]
fn plans_and_differences_for_programs() {
    let live = service("healthy");
    let stable = record(&live);
    let new = changed("healthy", &[("/spec/image", json!("registry.example/web:1.5.0"))]);
    let planned = to_json(&Planned::of(Some(&live), Some(&stable), &new, &known(), "shop"));
    assert_eq!(
        planned["pods"],
        json!({"effect": "Replaced", "revision": record(&new).name})
    );
    assert_eq!(planned["changes"]["revision"].as_array().map(Vec::len), Some(1));
    assert_eq!(planned["changes"]["operation"], json!([]));
    let first = to_json(&Planned::of(None, None, &new, &known(), "shop"));
    assert_eq!(
        (&first["pods"], first.get("changes")),
        (&json!({"effect": "Made"}), None)
    );
    let unknown = Tracked::Unknown("you may not get configmaps".to_owned());
    let difference = to_json(&Difference::of(&new, &stable, &unknown));
    assert_eq!(difference["stable"], json!(stable.name));
    assert_eq!(difference["pods"], json!({"effect": "ReplacedUnnamed"}));
    assert_eq!(difference["unknown"], json!("you may not get configmaps"));
}

#[test]
fn an_ejected_object_needs_no_operator_and_restarts_nothing() {
    let children = eject::children(&service("healthy")).unwrap();
    let kinds: Vec<ChildKind> = children.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(
        kinds,
        [
            ChildKind::Deployment,
            ChildKind::Service,
            ChildKind::HorizontalPodAutoscaler
        ]
    );
    assert!(
        eject::children(&service("rolling"))
            .unwrap_err()
            .contains("finish or abort")
    );
    let full = documents("manifests/examples/full.yaml");
    let full = full
        .iter()
        .find(|document| document["kind"] == "Microservice")
        .unwrap();
    let full: Microservice = serde_json::from_value(full.clone()).unwrap();
    for child in offline(&full, "shop", &Companions::default()) {
        let mut live = child.object.clone();
        live["metadata"]["ownerReferences"] = json!([{"kind": "Microservice"}]);
        live["metadata"]["uid"] = json!("u");
        live["metadata"]["managedFields"] = json!([]);
        live["metadata"]["annotations"]["microservice.dev/applied"] = json!("x");
        live["status"] = json!({"replicas": 1});
        let plain = eject::plain(&live, "web-aaa");
        let text = plain["metadata"].to_string();
        for left in [
            "ownerReferences",
            "managedFields",
            "microservice.dev/applied",
            "\"uid\"",
            "managed-by",
        ] {
            assert!(!text.contains(left), "{left} in {text}");
        }
        assert_eq!(plain.get("status"), None);
        if child.kind == ChildKind::Deployment {
            assert_eq!(
                plain["spec"], child.object["spec"],
                "another template is a restart"
            );
        }
        if child.kind == ChildKind::HorizontalPodAutoscaler {
            assert_eq!(plain["spec"]["scaleTargetRef"], eject::scale_target("web-aaa"));
        }
    }
}

#[test]
fn a_headless_service_stays_headless() {
    let service =
        |ip: &str| json!({"kind": "Service", "metadata": {}, "spec": {"clusterIP": ip, "clusterIPs": [ip]}});
    assert_eq!(eject::plain(&service("None"), "a"), service("None"));
    assert_eq!(eject::plain(&service("10.0.0.1"), "a")["spec"], json!({}));
}

#[test]
fn advice_is_for_what_may_surprise() {
    let found = advice(&changed(
        "rolling",
        &[
            ("/spec/image", json!("registry.example:5000/web")),
            ("/spec/replicas", json!(1)),
            (
                "/spec/strategy",
                json!({"type": "Canary", "canary": {"steps": [{"weight": 5}]}, "bakeSeconds": 0}),
            ),
        ],
    ));
    insta::assert_snapshot!("advice", found.join("\n"));
    let good = json!({"requests": {"cpu": "1"}});
    let probe = json!({"readiness": {"httpGet": {"path": "/ready", "port": "http"}}});
    let calm = changed("healthy", &[("/spec/resources", good), ("/spec/probes", probe)]);
    assert_eq!(advice(&calm), Vec::<String>::new());
}
