//! The writing verbs: create, update, patch and delete, with preconditions.

use std::collections::HashMap;

use axum::body::Body;
use axum::http::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::State;
use super::objects::now;
use super::patch::{self, Kind};
use super::pods;
use super::resource::{RESOURCES, Resource, Target};
use super::status::{Refusal, answer, bad_request, conflict, deleted, exists, failure, invalid, not_found};

type Answer = Result<Response<Body>, Refusal>;

const MODIFIED: &str = "the object has been modified; please apply your changes to the latest version and try again";

/// Whether the query asks for a dry run.
fn is_dry(query: &HashMap<String, String>) -> bool {
    query.get("dryRun").is_some_and(|d| d == "All")
}

/// `POST` on a collection.
pub(super) fn create(state: &mut State, target: &Target<'_>, query: &HashMap<String, String>, mut object: Value) -> Answer {
    let resource = target.resource;
    let meta = &object["metadata"];
    let name = match (meta["name"].as_str(), meta["generateName"].as_str()) {
        (Some(name), _) => name.to_owned(),
        (None, Some(prefix)) => format!("{prefix}{}", &super::uid()[..5]),
        (None, None) => {
            let cause = "metadata.name: Required value: name or generateName is required";
            return Err(invalid(resource, "", cause));
        }
    };
    if resource.namespaced {
        let Some(namespace) = state.objects.get("namespaces", "", &target.namespace) else {
            return Err(match Resource::named("namespaces") {
                Some(namespaces) => not_found(namespaces, &target.namespace),
                None => bad_request("the lab has no namespaces"),
            });
        };
        if !namespace["metadata"]["deletionTimestamp"].is_null() {
            return Err(terminating(target, &name));
        }
    }
    if state.objects.get(resource.plural, &target.namespace, &name).is_some() {
        return Err(exists(resource, &name));
    }
    for field in ["uid", "resourceVersion", "creationTimestamp", "deletionTimestamp"] {
        if let Some(meta) = object["metadata"].as_object_mut() {
            meta.shift_remove(field);
        }
    }
    complete(resource, &name, &mut object)?;
    if is_dry(query) {
        object["metadata"]["uid"] = json!(super::uid());
        return Ok(answer(201, &object));
    }
    let stored = state.objects.put(resource, &target.namespace, &name, object);
    pods::reconcile(state);
    Ok(answer(201, &stored))
}

/// Whether an object has only owners that do not exist: the garbage collector then deletes it within a second (kubernetes
/// pkg/controller/garbagecollector/garbagecollector.go, attemptToDeleteItem).
pub(super) fn is_garbage(state: &State, target: &Target<'_>, name: &str) -> bool {
    let Some(object) = state.objects.get(target.resource.plural, &target.namespace, name) else { return false };
    let owners = object["metadata"]["ownerReferences"].as_array().map(Vec::as_slice).unwrap_or_default();
    let exists = |owner: &Value| {
        RESOURCES.iter().any(|resource| {
            let all = state.objects.list(resource.plural, if resource.namespaced { &target.namespace } else { "" });
            owner["kind"] == resource.kind && all.into_iter().any(|object| object["metadata"]["uid"] == owner["uid"])
        })
    };
    !owners.is_empty() && !owners.iter().any(exists)
}

/// `403` of a namespace that is being deleted (apiserver/pkg/admission/plugin/namespace/lifecycle/admission.go).
fn terminating(target: &Target<'_>, name: &str) -> Refusal {
    let (resource, namespace) = (target.resource, &target.namespace);
    let words = format!(
        "{} \"{name}\" is forbidden: unable to create new content in namespace {namespace} because it is being terminated",
        resource.group_resource()
    );
    let cause = json!({
        "reason": "NamespaceTerminating", "message": format!("namespace {namespace} is being terminated"),
        "field": "metadata.namespace"
    });
    failure(403, "Forbidden", &words, json!({"name": name, "kind": resource.plural, "causes": [cause]}))
}

/// `PUT` on an object.
pub(super) fn update(state: &mut State, target: &Target<'_>, query: &HashMap<String, String>, object: Value) -> Answer {
    let name = target.name.as_deref().unwrap_or_default();
    let old = state.objects.get(target.resource.plural, &target.namespace, name);
    let old = old.cloned().ok_or_else(|| not_found(target.resource, name))?;
    replace(state, target, query, &old, object)
}

/// `PATCH` on an object; a server-side apply creates a missing one.
pub(super) fn patch(
    state: &mut State,
    target: &Target<'_>,
    query: &HashMap<String, String>,
    content_type: &str,
    sent: Value,
) -> Answer {
    let Some(kind) = Kind::of(content_type) else {
        let words = "the body of the request was in an unknown format";
        return Err(failure(415, "UnsupportedMediaType", words, Value::Null));
    };
    let name = target.name.as_deref().unwrap_or_default();
    let old = state.objects.get(target.resource.plural, &target.namespace, name).cloned();
    if kind == Kind::Apply && query.get("fieldManager").is_none_or(String::is_empty) {
        let cause = "fieldManager: Required value: is required for apply patch";
        return Err(invalid(target.resource, name, cause));
    }
    let Some(old) = old else {
        return match kind {
            Kind::Apply => create(state, target, query, sent),
            _ => Err(not_found(target.resource, name)),
        };
    };
    let mut object = old.clone();
    patch::patch(kind, &mut object, &sent).map_err(|words| failure(422, "Invalid", &words, Value::Null))?;
    replace(state, target, query, &old, object)
}

fn replace(state: &mut State, target: &Target<'_>, query: &HashMap<String, String>, old: &Value, mut object: Value) -> Answer {
    let (resource, name) = (target.resource, target.name.as_deref().unwrap_or_default());
    let (was, meta) = (&old["metadata"], &mut object["metadata"]);
    let version = &meta["resourceVersion"];
    if !version.is_null() && *version != was["resourceVersion"] {
        return Err(conflict(&resource.group_resource(), name, MODIFIED));
    }
    if !meta["uid"].is_null() && meta["uid"] != was["uid"] {
        let cause = format!(
            "Precondition failed: UID in precondition: {}, UID in object meta: {}",
            meta["uid"].as_str().unwrap_or_default(),
            was["uid"].as_str().unwrap_or_default()
        );
        return Err(conflict(&resource.group_resource(), name, &cause));
    }
    for field in ["uid", "creationTimestamp", "deletionTimestamp", "resourceVersion"] {
        if !was[field].is_null() {
            meta[field] = was[field].clone();
        }
    }
    complete(resource, name, &mut object)?;
    if object == *old || is_dry(query) {
        return Ok(answer(200, &object));
    }
    let finished = !object["metadata"]["deletionTimestamp"].is_null() && !has_finalizers(&object);
    let stored = state.objects.put(resource, &target.namespace, name, object);
    if finished {
        state.objects.remove(resource.plural, &target.namespace, name);
    }
    pods::reconcile(state);
    Ok(answer(200, &stored))
}

/// `DELETE` of an object, with the preconditions of its options.
pub(super) fn delete(state: &mut State, target: &Target<'_>, query: &HashMap<String, String>, options: &Value) -> Answer {
    let (resource, name) = (target.resource, target.name.as_deref().unwrap_or_default());
    let object = state.objects.get(resource.plural, &target.namespace, name);
    let mut object = object.cloned().ok_or_else(|| not_found(resource, name))?;
    let meta = &object["metadata"];
    let wanted = &options["preconditions"];
    let checks = [
        ("uid", "UID", "The object might have been deleted and then recreated"),
        ("resourceVersion", "ResourceVersion", "The object might have been modified"),
    ];
    for (field, label, guess) in checks {
        let (asked, is) = (&wanted[field], &meta[field]);
        if !asked.is_null() && asked != is {
            let (asked, is) = (asked.as_str().unwrap_or_default(), is.as_str().unwrap_or_default());
            let cause = format!("the {label} in the precondition ({asked}) does not match the {label} in record ({is}). {guess}");
            return Err(conflict(resource.kind, name, &cause));
        }
    }
    let uid = meta["uid"].clone();
    let dry = is_dry(query) || options["dryRun"].as_array().is_some_and(|d| !d.is_empty());
    if has_finalizers(&object) {
        if object["metadata"]["deletionTimestamp"].is_null() {
            object["metadata"]["deletionTimestamp"] = json!(now());
            object["metadata"]["deletionGracePeriodSeconds"] = json!(0);
            if !dry {
                object = state.objects.put(resource, &target.namespace, name, object);
            }
        }
        return Ok(answer(200, &object));
    }
    if !dry {
        match resource.plural {
            "pods" => pods::remove(state, &target.namespace, name),
            plural => drop(state.objects.remove(plural, &target.namespace, name)),
        }
        pods::reconcile(state);
    }
    Ok(deleted(resource, name, &uid))
}

fn has_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|f| !f.is_empty())
}

/// Completes an object before it is stored.
fn complete(resource: &Resource, name: &str, object: &mut Value) -> Result<(), Refusal> {
    if resource.plural != "secrets" {
        return Ok(());
    }
    for (key, value) in object["data"].as_object().into_iter().flatten() {
        if value.as_str().is_none_or(|v| STANDARD.decode(v).is_err()) {
            let words = format!("Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data in data.{key}");
            return Err(bad_request(&words));
        }
    }
    let Some(fields) = object.as_object_mut() else {
        return Err(invalid(resource, name, "an object is expected"));
    };
    if let Some(Value::Object(plain)) = fields.shift_remove("stringData") {
        for (key, value) in plain {
            let text = value.as_str().unwrap_or_default();
            object["data"][key] = json!(STANDARD.encode(text));
        }
    }
    if object["type"].is_null() {
        object["type"] = json!("Opaque");
    }
    Ok(())
}
