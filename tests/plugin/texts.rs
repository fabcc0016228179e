//! Golden texts.

use microservice_operator::plugin::history::history;
use microservice_operator::plugin::list::{Reach, list};
use microservice_operator::plugin::page::{Colour, Look, Signs};
use microservice_operator::plugin::tree::{Detail, Pods, Scene, tree};
use microservice_operator::plugin::why::{explanation, why};

use crate::fixtures::{ALL, NOW, read, service};

fn status(name: &str, detail: Detail, look: Look) -> String {
    let (service, pods) = read(name);
    let scene = Scene {
        service: &service,
        pods: &pods,
        now: NOW.parse().unwrap(),
        detail,
    };
    tree(&scene, look.signs).text(look)
}

#[test]
fn status_of_every_fixture() {
    for name in ALL {
        insta::assert_snapshot!(format!("status-{name}"), status(name, Detail::Usual, Look::PLAIN));
    }
}

#[test]
fn status_for_a_terminal_and_in_all_its_width() {
    let terminal = Look {
        colour: Colour::Shown,
        signs: Signs::Unicode,
    };
    insta::assert_snapshot!(
        "status-rolling-colour",
        status("rolling", Detail::Usual, terminal)
    );
    insta::assert_snapshot!(
        "status-healthy-wide",
        status("healthy", Detail::Wide, Look::PLAIN)
    );
}

#[test]
fn pods_that_may_not_be_read_are_told() {
    let scene = Scene {
        service: &service("healthy"),
        pods: &Pods::Unknown("you may not list pods".to_owned()),
        now: NOW.parse().unwrap(),
        detail: Detail::Usual,
    };
    let text = tree(&scene, Signs::Ascii).text(Look::PLAIN);
    assert!(
        text.contains("`- pods are not shown: you may not list pods\n"),
        "{text}"
    );
}

#[test]
fn lists() {
    let services: Vec<_> = ALL.map(service).into_iter().collect();
    let text = |reach, detail| list(&services, reach, detail, NOW.parse().unwrap()).text(Look::PLAIN);
    insta::assert_snapshot!("list", text(Reach::One, Detail::Usual));
    insta::assert_snapshot!("list-all-wide", text(Reach::All, Detail::Wide));
}

#[test]
fn why_in_a_paragraph() {
    let all = ALL.map(|name| format!("# {name}\n{}\n", why(&service(name), NOW.parse().unwrap())));
    insta::assert_snapshot!("why", all.join("\n"));
}

#[test]
fn why_for_programs() {
    let of = |name| serde_json::to_value(explanation(&service(name), NOW.parse().unwrap())).unwrap();
    let paused = of("paused");
    assert_eq!(paused["phase"], "Paused");
    assert!(paused["rollout"]["step"].is_i64(), "{paused}");
    assert!(paused["why"].as_str().unwrap().contains("To go on"), "{paused}");
    // What the status says of an older spec is not said of this one.
    assert_eq!(of("unseen").get("phase"), None);
}

#[test]
fn the_past() {
    let page = |detail| history(&service("healthy"), NOW.parse().unwrap(), detail).text(Look::PLAIN);
    insta::assert_snapshot!("history", page(Detail::Usual));
    insta::assert_snapshot!("history-wide", page(Detail::Wide));
}
