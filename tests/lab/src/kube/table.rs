//! The table for `kubectl get`, so that the rehearsal site looks like a real cluster.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::resource::Resource;

/// The cells between an object's name and age.
type Cells = fn(&Value) -> Vec<String>;

/// Objects as a `meta.k8s.io/v1` Table, with a real server's columns for common resources, name and age for others.
pub(super) fn table(resource: &Resource, version: &str, objects: &[&Value], now: Timestamp) -> Value {
    let (columns, cells): (&[&str], Cells) = match resource.plural {
        "pods" => (&["Ready", "Status", "Restarts"], pod),
        "statefulsets" => (&["Ready"], set),
        "secrets" => (&["Type", "Data"], secret),
        "namespaces" | "persistentvolumeclaims" => (&["Status"], |o| vec![text(&o["status"]["phase"])]),
        _ => (&[], |_| Vec::new()),
    };
    let names = [&["Name"], columns, &["Age"]].concat();
    let column = |name: &&str| {
        let format = if *name == "Name" { "name" } else { "" };
        json!({"name": name, "type": "string", "format": format, "description": "", "priority": 0})
    };
    let line = |object: &&Value| {
        let mut row = vec![text(&object["metadata"]["name"])];
        row.extend(cells(object));
        row.push(age(&object["metadata"]["creationTimestamp"], now));
        let partial = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]});
        json!({"cells": row, "object": partial})
    };
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version},
        "columnDefinitions": names.iter().map(column).collect::<Vec<_>>(),
        "rows": objects.iter().map(line).collect::<Vec<_>>()
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Seconds, minutes, hours or days.
fn age(created: &Value, now: Timestamp) -> String {
    let Some(created) = created.as_str().and_then(|t| t.parse::<Timestamp>().ok()) else { return "<unknown>".into() };
    match now.duration_since(created).as_secs() {
        s @ ..120 => format!("{}s", s.max(0)),
        s @ ..7200 => format!("{}m", s / 60),
        s @ ..172_800 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86_400),
    }
}

/// Ready, status and restarts; the reason of a container goes before the phase.
fn pod(pod: &Value) -> Vec<String> {
    let containers = pod["status"]["containerStatuses"].as_array().map_or(&[][..], Vec::as_slice);
    let all = pod["spec"]["containers"].as_array().map_or(0, Vec::len);
    let ready = containers.iter().filter(|c| c["ready"] == true).count();
    let restarts: u64 = containers.iter().filter_map(|c| c["restartCount"].as_u64()).sum();
    let reason = containers.iter().find_map(|c| {
        let state = &c["state"];
        state["waiting"]["reason"].as_str().or(state["terminated"]["reason"].as_str())
    });
    let status = pod["status"]["reason"].as_str().or(reason).or(pod["status"]["phase"].as_str());
    vec![format!("{ready}/{all}"), status.unwrap_or("Unknown").to_owned(), restarts.to_string()]
}

fn set(set: &Value) -> Vec<String> {
    let ready = set["status"]["readyReplicas"].as_u64().unwrap_or(0);
    vec![format!("{ready}/{}", set["spec"]["replicas"].as_u64().unwrap_or(1))]
}

fn secret(secret: &Value) -> Vec<String> {
    let data = secret["data"].as_object().map_or(0, serde_json::Map::len);
    vec![text(&secret["type"]), data.to_string()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_waits_shows_why() {
        let pods = Resource::named("pods").unwrap();
        let object = json!({
            "metadata": {"name": "specman-0", "creationTimestamp": "2024-12-06T12:43:14Z"},
            "spec": {"containers": [{"name": "specman"}]},
            "status": {"phase": "Running", "containerStatuses": [
                {"ready": false, "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
            ]}
        });
        let now = "2024-12-06T12:48:14Z".parse().unwrap();
        let seen = table(pods, "7", &[&object], now);
        assert_eq!(seen["rows"][0]["cells"], json!(["specman-0", "0/1", "CrashLoopBackOff", "3", "5m"]));
        assert_eq!(seen["columnDefinitions"].as_array().unwrap().len(), 5);
    }
}
