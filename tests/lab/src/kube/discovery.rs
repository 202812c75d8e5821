//! What the cluster says about itself: version, groups, resources, and the OpenAPI that `kubectl apply` needs to let the
//! server validate.

use serde_json::{Value, json};

use super::resource::{RESOURCES, Resource};

/// The discovery document at a path, if there is one.
pub(super) fn document(path: &str) -> Option<Value> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts[..] {
        ["version"] => Some(json!({
            "major": "1", "minor": "32", "gitVersion": "v1.32.4", "gitCommit": "59526cd4867447956156ae3a602fcbac10a2c335",
            "gitTreeState": "clean", "buildDate": "2025-04-22T15:55:55Z", "goVersion": "go1.23.6",
            "compiler": "gc", "platform": "linux/amd64"
        })),
        ["api"] => Some(json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1:6443"}]
        })),
        ["apis"] => Some(json!({
            "kind": "APIGroupList", "apiVersion": "v1",
            "groups": groups().into_iter().map(group).collect::<Vec<_>>()
        })),
        ["apis", name] => groups().contains(&name).then(|| {
            let mut group = group(name);
            group["kind"] = json!("APIGroup");
            group["apiVersion"] = json!("v1");
            group
        }),
        ["api", "v1"] => resources(""),
        ["apis", name, "v1"] if !name.is_empty() => resources(name),
        ["openapi", "v3"] => {
            let known = std::iter::once("").chain(groups()).map(|group| {
                let place = place(group);
                let url = format!("/openapi/v3/{place}?hash=LAB");
                (place, json!({"serverRelativeURL": url}))
            });
            Some(json!({"paths": known.collect::<serde_json::Map<_, _>>()}))
        }
        ["openapi", "v3", "api", "v1"] => Some(openapi("")),
        ["openapi", "v3", "apis", group, "v1"] => groups().contains(&group).then(|| openapi(group)),
        _ => None,
    }
}

/// The named groups, in the order of the table.
fn groups() -> Vec<&'static str> {
    let mut names: Vec<&str> = RESOURCES.iter().map(|r| r.group).filter(|g| !g.is_empty()).collect();
    names.dedup();
    names
}

fn group(name: &str) -> Value {
    let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
    json!({"name": name, "versions": [version], "preferredVersion": version})
}

fn place(group: &str) -> String {
    match group {
        "" => "api/v1".to_owned(),
        group => format!("apis/{group}/v1"),
    }
}

fn resources(group: &str) -> Option<Value> {
    let ours: Vec<&Resource> = RESOURCES.iter().filter(|r| r.group == group).collect();
    let version = ours.first()?.api_version();
    let mut list: Vec<Value> = ours
        .iter()
        .map(|r| {
            json!({
                "name": r.plural, "singularName": r.kind.to_lowercase(), "namespaced": r.namespaced,
                "kind": r.kind, "verbs": r.verbs, "shortNames": r.short
            })
        })
        .collect();
    if group.is_empty() {
        list.push(json!({"name": "pods/log", "singularName": "", "namespaced": true, "kind": "Pod", "verbs": ["get"]}));
        let options = json!({
            "name": "pods/portforward", "singularName": "", "namespaced": true,
            "kind": "PodPortForwardOptions", "verbs": ["create", "get"]
        });
        list.push(options);
    }
    Some(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": list}))
}

/// A path for each object, whose PATCH has `fieldValidation`, which is all that kubectl checks.
fn openapi(group: &str) -> Value {
    let parameter = |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string"}});
    let paths = RESOURCES.iter().filter(|r| r.group == group).map(|r| {
        let scope = if r.namespaced { "namespaces/{namespace}/" } else { "" };
        let path = format!("/{}/{scope}{}/{{name}}", place(group), r.plural);
        let operation = json!({
            "parameters": [parameter("fieldValidation"), parameter("dryRun")],
            "responses": {"200": {"description": "OK"}},
            "x-kubernetes-action": "patch",
            "x-kubernetes-group-version-kind": {"group": r.group, "kind": r.kind, "version": r.version}
        });
        (path, json!({"patch": operation}))
    });
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "v1.32.4"},
        "paths": paths.collect::<serde_json::Map<_, _>>(),
        "components": {"schemas": {}}
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_resource_is_found_by_discovery() {
        for resource in RESOURCES {
            let path = format!("/{}", place(resource.group));
            let list = document(&path).unwrap();
            let names = list["resources"].as_array().unwrap();
            assert!(names.iter().any(|r| r["name"] == resource.plural), "{resource:?}");
        }
        assert_eq!(document("/apis/metrics.k8s.io/v1"), None);
        assert_eq!(document("/apis").unwrap()["groups"].as_array().unwrap().len(), 4);
    }
}
