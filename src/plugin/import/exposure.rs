//! How the service is reached: its Service, the ports of both, and the Ingresses that lead to it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Pool, Translation, fields, items, others, selects, text};
use crate::api::annotations;
use crate::rollout::main_container;

/// The longest name of a route or port.
const LONGEST: usize = 15;

/// The Service that callers use: the one called like the Deployment, else the one that an Ingress leads to, else any.
pub(super) fn service_of<'a>(
    pool: Pool<'a>,
    name: &str,
    template: &Value,
    translation: &mut Translation,
) -> Option<&'a Value> {
    let labels = template.pointer("/metadata/labels");
    let mut all: Vec<&Value> = pool
        .of("Service")
        .filter(|service| selects(service.pointer("/spec/selector"), labels))
        .collect();
    let routed = |service: &Value| {
        let name = text(service, "/metadata/name");
        pool.of("Ingress").any(|ingress| leads_to(ingress, name))
    };
    all.sort_by_key(|service| {
        let own = text(service, "/metadata/name");
        (own != name, !routed(service), own.to_owned())
    });
    let mut all = all.into_iter();
    let chosen = all.next();
    for other in all {
        translation.note(format!(
            "Service {} selects these pods, too: it is left alone, and goes on to select pods of all revisions that have \
             its labels, so that who calls by it gets no steps of a rollout",
            text(other, "/metadata/name")
        ));
    }
    if chosen.is_none() {
        translation.note("no Service selects the pods: their ports are kept out of one (service: Exclude)");
    }
    chosen
}

/// The ports of the spec.
pub(super) fn ports(service: Option<&Value>, template: &Value, translation: &mut Translation) -> Vec<Value> {
    let pod = template.get("spec").cloned().unwrap_or_default();
    let main = main_container(&pod, &translation.name).unwrap_or_default();
    let declared: Vec<Value> = items(&pod, &format!("/containers/{main}/ports"))
        .cloned()
        .collect();
    let mut ports: Vec<Map<String, Value>> = Vec::new();
    for port in &declared {
        let mut known = Map::new();
        known.insert("name".to_owned(), json!(text(port, "/name")));
        known.insert("containerPort".to_owned(), port["containerPort"].clone());
        if let Some(protocol) = port.get("protocol").filter(|protocol| **protocol != json!("TCP")) {
            known.insert("protocol".to_owned(), protocol.clone());
        }
        if port.get("hostPort").is_some() || port.get("hostIP").is_some() {
            translation.note(format!(
                "hostPort of port {} has no field and is left out",
                port["containerPort"]
            ));
        }
        known.insert("service".to_owned(), json!("Exclude"));
        ports.push(known);
    }
    for port in service
        .into_iter()
        .flat_map(|service| items(service, "/spec/ports"))
    {
        expose(port, &pod, &mut ports, translation);
    }
    name_ports(&mut ports);
    ports.into_iter().map(Value::Object).collect()
}

fn expose(port: &Value, pod: &Value, ports: &mut Vec<Map<String, Value>>, translation: &mut Translation) {
    let number = port["port"].clone();
    let protocol = port.get("protocol").cloned().unwrap_or(json!("TCP"));
    let target = match port.get("targetPort") {
        None => number.clone(),
        Some(Value::String(name)) => {
            let all = items(pod, "/containers").flat_map(|container| items(container, "/ports"));
            let mut named = all.filter(|port| text(port, "/name") == name);
            match named.next() {
                Some(port) => port["containerPort"].clone(),
                None => {
                    translation.note(format!(
                        "port {number} of the Service leads to {name}, which no container has: it is left out"
                    ));
                    return;
                }
            }
        }
        Some(other) => other.clone(),
    };
    let same = |known: &&mut Map<String, Value>| {
        known["containerPort"] == target && known.get("protocol").unwrap_or(&json!("TCP")) == &protocol
    };
    let known = match ports.iter_mut().find(same) {
        Some(known) => known,
        None => {
            let mut known = Map::new();
            known.insert("name".to_owned(), json!(""));
            known.insert("containerPort".to_owned(), target.clone());
            if protocol != json!("TCP") {
                known.insert("protocol".to_owned(), protocol.clone());
            }
            known.insert("service".to_owned(), json!("Exclude"));
            ports.push(known);
            let last = ports.len() - 1;
            &mut ports[last]
        }
    };
    if known.get("service").is_none() {
        translation.note(format!(
            "port {number} of the Service leads to container port {target} as another of its ports does; a Microservice \
             has one for each: it stays on the Service that is adopted, and is not in the manifest"
        ));
        return;
    }
    known.remove("service");
    if number != target {
        known.insert("servicePort".to_owned(), number);
    }
    // A port that gets another name has no endpoints for a moment.
    if let Some(name) = port.get("name") {
        known.insert("name".to_owned(), name.clone());
    }
    if let Some(protocol) = port.get("appProtocol") {
        known.insert("appProtocol".to_owned(), protocol.clone());
    }
}

/// Names for ports that have none: the API wants one for each.
fn name_ports(ports: &mut [Map<String, Value>]) {
    let taken: Vec<String> = ports
        .iter()
        .filter_map(|port| port["name"].as_str().map(str::to_owned))
        .collect();
    let only = ports.len() == 1;
    for port in ports.iter_mut().filter(|port| port["name"] == json!("")) {
        let number = &port["containerPort"];
        let named = if only && !taken.contains(&"http".to_owned()) {
            "http".to_owned()
        } else {
            format!("port-{number}")
        };
        port.insert("name".to_owned(), json!(named));
    }
}

/// The Service's own settings.
pub(super) fn settings(service: &Value, translation: &mut Translation) {
    let spec = service.get("spec");
    let field = |name: &str| spec.and_then(|spec| spec.get(name)).cloned().unwrap_or_default();
    let mut settings = Map::new();
    if !["ClusterIP", ""].contains(&field("type").as_str().unwrap_or_default()) {
        settings.insert("type".to_owned(), field("type"));
    }
    let notes: Map<String, Value> = fields(service.pointer("/metadata/annotations"))
        .filter(|(key, _)| !is_foreign(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if !notes.is_empty() {
        settings.insert("annotations".to_owned(), Value::Object(notes));
    }
    if field("clusterIP") == json!("None") {
        settings.insert("headless".to_owned(), json!("Enabled"));
    }
    if field("sessionAffinity") == json!("ClientIP") {
        settings.insert("sessionAffinity".to_owned(), json!("ClientIP"));
    }
    if field("trafficDistribution").is_string() {
        settings.insert("trafficDistribution".to_owned(), field("trafficDistribution"));
    }
    translation.set("service", Value::Object(settings));
    let usual = [
        ("internalTrafficPolicy", json!("Cluster")),
        ("externalTrafficPolicy", json!("Cluster")),
        ("ipFamilyPolicy", json!("SingleStack")),
        ("publishNotReadyAddresses", json!(false)),
        ("allocateLoadBalancerNodePorts", json!(true)),
    ];
    let known = [
        "type",
        "selector",
        "ports",
        "clusterIP",
        "clusterIPs",
        "ipFamilies",
        "sessionAffinity",
        "trafficDistribution",
    ];
    let left: Vec<String> = others(spec, &known)
        .into_iter()
        .filter(|name| {
            !usual
                .iter()
                .any(|(usual, value)| usual == name && field(name) == *value)
        })
        .collect();
    if !left.is_empty() {
        translation.note(format!(
            "the Service has {}, which a Microservice has no field for: it stays on the Service that is adopted, as \
             somebody else's field, and is not in the manifest",
            left.join(", ")
        ));
    }
}

fn is_foreign(key: &str) -> bool {
    annotations::FOREIGN_PREFIXES
        .iter()
        .any(|prefix| key.starts_with(prefix))
}

fn leads_to(ingress: &Value, service: &str) -> bool {
    backends(ingress).any(|backend| text(backend, "/service/name") == service)
}

fn backends(ingress: &Value) -> impl Iterator<Item = &Value> {
    let of_rules = items(ingress, "/spec/rules")
        .flat_map(|rule| items(rule, "/http/paths"))
        .filter_map(|path| path.get("backend"));
    of_rules.chain(ingress.pointer("/spec/defaultBackend"))
}

/// The Ingresses that lead to the service, as routes, each under the name that its object has.
pub(super) fn routes(pool: Pool<'_>, service: &str, translation: &mut Translation) {
    let mut routes: Vec<Value> = Vec::new();
    let mut adopted = false;
    for ingress in pool.of("Ingress").filter(|ingress| leads_to(ingress, service)) {
        let made = ingress_routes(pool, ingress, service, routes.len(), translation);
        adopted |= !made.is_empty();
        routes.extend(made);
    }
    for route in pool.of("HTTPRoute") {
        let leads = items(route, "/spec/rules")
            .flat_map(|rule| items(rule, "/backendRefs"))
            .any(|backend| text(backend, "/name") == service);
        if leads {
            translation.note(format!(
                "HTTPRoute {} leads to Service {service} and stays as it is: requests are not split by it. To have that, \
                 write a route with gateway and remove it in the same change",
                text(route, "/metadata/name")
            ));
        }
    }
    translation.set("routes", Value::Array(routes));
    if adopted {
        translation.adopt.push("Ingress".to_owned());
    }
}

/// The name of a route: what its object's name has beyond the service's.
fn route_name(object: &str, service: &str, index: usize) -> String {
    let suffix = object
        .strip_prefix(service)
        .and_then(|rest| rest.strip_prefix('-'));
    let lawful = |name: &&str| {
        name.len() <= LONGEST
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.ends_with(|c: char| c.is_ascii_alphanumeric())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            && !name.ends_with("-canary")
    };
    match (suffix.filter(lawful), index) {
        (Some(suffix), _) => suffix.to_owned(),
        (None, 0) => "web".to_owned(),
        (None, index) => format!("web-{}", index + 1),
    }
}

fn ingress_routes(
    pool: Pool<'_>,
    ingress: &Value,
    service: &str,
    before: usize,
    translation: &mut Translation,
) -> Vec<Value> {
    let object = text(ingress, "/metadata/name");
    if let Some(owner) = super::owner(ingress) {
        translation.note(format!("Ingress {object} belongs to {owner} and is left alone"));
        return Vec::new();
    }
    if ingress.pointer("/spec/defaultBackend").is_some() {
        translation.note(format!(
            "defaultBackend of Ingress {object} has no field and is left out"
        ));
    }
    // A route has one list of rules for all of its hosts.
    let mut by_rules: Vec<(Vec<Value>, Vec<String>)> = Vec::new();
    for rule in items(ingress, "/spec/rules") {
        let mut rules: Vec<Value> = Vec::new();
        for path in items(rule, "/http/paths") {
            rules.extend(rule_of(pool, object, service, path, translation));
        }
        let host = text(rule, "/host").to_owned();
        match by_rules
            .iter_mut()
            .find(|(known, hosts)| *known == rules && hosts.iter().all(|h| !h.is_empty()) && !host.is_empty())
        {
            Some((_, hosts)) => hosts.push(host),
            None => by_rules.push((rules, vec![host])),
        }
    }
    by_rules.retain(|(rules, _)| !rules.is_empty());
    if by_rules.len() > 1 {
        translation.note(format!(
            "the hosts of Ingress {object} have different paths: it becomes {} routes, of which the first keeps its name",
            by_rules.len()
        ));
    }
    let mut routes = Vec::new();
    for (index, (rules, hosts)) in by_rules.into_iter().enumerate() {
        let mut name = route_name(object, service, before + index);
        if index > 0 {
            name = format!("web-{}", before + index + 1);
        }
        let mut settings = Map::new();
        if index == 0 && object != format!("{service}-{name}") {
            settings.insert("name".to_owned(), json!(object));
        }
        if let Some(class) = ingress.pointer("/spec/ingressClassName") {
            settings.insert("className".to_owned(), class.clone());
        }
        let notes: BTreeMap<&String, &Value> = fields(ingress.pointer("/metadata/annotations"))
            .filter(|(key, _)| !is_foreign(key))
            .collect();
        if !notes.is_empty() {
            settings.insert("annotations".to_owned(), json!(notes));
        }
        let tls: Vec<Value> = items(ingress, "/spec/tls")
            .filter(|tls| {
                items(tls, "/hosts")
                    .all(|host| host.as_str().is_some_and(|h| hosts.iter().any(|own| own == h)))
            })
            .cloned()
            .collect();
        if !tls.is_empty() {
            settings.insert("tls".to_owned(), json!(tls));
        }
        let mut route = Map::from_iter([("name".to_owned(), json!(name))]);
        let hosts: Vec<String> = hosts.into_iter().filter(|host| !host.is_empty()).collect();
        if !hosts.is_empty() {
            route.insert("hosts".to_owned(), json!(hosts));
        }
        if rules != [json!({"path": "/"})] {
            route.insert("rules".to_owned(), json!(rules));
        }
        route.insert("ingress".to_owned(), Value::Object(settings));
        if let Some(port) = translation_port(ingress, service, translation) {
            route.insert("port".to_owned(), json!(port));
        }
        routes.push(Value::Object(route));
    }
    routes
}

/// The name of the spec's port that an Ingress leads to, where it is not plain.
fn translation_port(ingress: &Value, service: &str, translation: &Translation) -> Option<String> {
    let ports = translation.spec.get("ports")?.as_array()?;
    let included: Vec<&Value> = ports
        .iter()
        .filter(|port| port.get("service").is_none())
        .collect();
    if included.len() < 2 {
        return None;
    }
    let backend = backends(ingress).find(|backend| text(backend, "/service/name") == service)?;
    let port = backend.pointer("/service/port")?;
    let found = included.into_iter().find(|known| {
        let number = known.get("servicePort").unwrap_or(&known["containerPort"]);
        port.get("name") == known.get("name") || port.get("number") == Some(number)
    })?;
    found["name"].as_str().map(str::to_owned)
}

fn rule_of(
    pool: Pool<'_>,
    object: &str,
    service: &str,
    path: &Value,
    translation: &mut Translation,
) -> Option<Value> {
    let mut rule = Map::new();
    let written = text(path, "/path");
    rule.insert(
        "path".to_owned(),
        json!(if written.is_empty() { "/" } else { written }),
    );
    let kind = text(path, "/pathType");
    if !["", "Prefix"].contains(&kind) {
        rule.insert("pathType".to_owned(), json!(kind));
    }
    let backend = path.pointer("/backend/service");
    let Some(backend) = backend else {
        translation.note(format!(
            "Ingress {object} leads {written} to something that is no Service: that path is left out"
        ));
        return None;
    };
    let name = text(backend, "/name");
    if name != service {
        rule.insert("service".to_owned(), json!(name));
        let number = match backend.pointer("/port/number") {
            Some(number) => Some(number.clone()),
            None => named_port(pool, name, text(backend, "/port/name")),
        };
        let Some(number) = number else {
            translation.note(format!(
                "Ingress {object} leads {written} to a named port of Service {name}, which is not here: that path is left \
                 out. Add it with the port's number"
            ));
            return None;
        };
        rule.insert("servicePort".to_owned(), number);
    }
    Some(Value::Object(rule))
}

fn named_port(pool: Pool<'_>, service: &str, port: &str) -> Option<Value> {
    let service = pool.get("Service", service)?;
    let found = items(service, "/spec/ports").find(|known| text(known, "/name") == port)?;
    found.get("port").cloned()
}
