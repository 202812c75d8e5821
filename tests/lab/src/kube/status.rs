//! The `Status` object: the API server's refusals, and confirmed deletions.
//!
//! Clients also read the message, so the wording is the real server's.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use axum::http::{Response, StatusCode};
use serde_json::{Value, json};

use super::resource::{Resource, Target};

/// A refusal.
pub(super) type Refusal = Box<Response<Body>>;

/// A JSON answer with a real server's usual headers.
pub(super) fn answer(status: u16, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    if let Ok(id) = HeaderValue::from_str(&super::uid()) {
        headers.insert("audit-id", id);
    }
    response
}

/// A failure.
pub(super) fn failure(code: u16, reason: &str, message: &str, details: Value) -> Refusal {
    let mut body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason
    });
    if !details.is_null() {
        body["details"] = details;
    }
    body["code"] = json!(code);
    Box::new(answer(code, &body))
}

/// `400`.
pub(super) fn bad_request(message: &str) -> Refusal {
    failure(400, "BadRequest", message, Value::Null)
}

/// `401`, the same whatever was wrong with the credentials.
pub(super) fn unauthorized() -> Refusal {
    failure(401, "Unauthorized", "Unauthorized", Value::Null)
}

/// `403`: `what` is `User "u" cannot get resource …`.
pub(super) fn forbidden(target: &Target<'_>, what: &str) -> Refusal {
    let resource = target.resource;
    let subject = match &target.name {
        Some(name) => format!("{} \"{name}\"", resource.group_resource()),
        None => resource.group_resource(),
    };
    let message = format!("{subject} is forbidden: {what}");
    failure(403, "Forbidden", &message, details(resource, target.name.as_deref()))
}

/// `404` of one object.
pub(super) fn not_found(resource: &Resource, name: &str) -> Refusal {
    let message = format!("{} \"{name}\" not found", resource.group_resource());
    failure(404, "NotFound", &message, details(resource, Some(name)))
}

/// `404` of a path.
pub(super) fn no_such_path() -> Refusal {
    let message = "the server could not find the requested resource";
    failure(404, "NotFound", message, json!({}))
}

/// `405`.
pub(super) fn not_allowed() -> Refusal {
    let message = "the server does not allow this method on the requested resource";
    failure(405, "MethodNotAllowed", message, json!({}))
}

/// `409` of an existing name.
pub(super) fn exists(resource: &Resource, name: &str) -> Refusal {
    let message = format!("{} \"{name}\" already exists", resource.group_resource());
    failure(409, "AlreadyExists", &message, details(resource, Some(name)))
}

/// `409` of a failed precondition. `subject` is the plural for an update and the kind for a deletion, as in a real server.
pub(super) fn conflict(subject: &str, name: &str, cause: &str) -> Refusal {
    let message = format!("Operation cannot be fulfilled on {subject} \"{name}\": {cause}");
    failure(409, "Conflict", &message, json!({"name": name, "kind": subject}))
}

/// `422`: `cause` is `field: words`.
pub(super) fn invalid(resource: &Resource, name: &str, cause: &str) -> Refusal {
    let message = format!("{} \"{name}\" is invalid: {cause}", resource.kind);
    failure(422, "Invalid", &message, details(resource, Some(name)))
}

/// The `Success` of a deletion that is done.
pub(super) fn deleted(resource: &Resource, name: &str, uid: &Value) -> Response<Body> {
    let mut details = details(resource, Some(name));
    details["uid"] = uid.clone();
    answer(
        200,
        &json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Success", "details": details
        }),
    )
}

fn details(resource: &Resource, name: Option<&str>) -> Value {
    let mut details = json!({});
    if let Some(name) = name {
        details["name"] = json!(name);
    }
    if !resource.group.is_empty() {
        details["group"] = json!(resource.group);
    }
    details["kind"] = json!(resource.plural);
    details
}
