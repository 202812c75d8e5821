//! The answers of the System API: JSON, an empty 204, and the error object of the swagger, `v1Error`.
//!
//! All errors are created here, so that each has a code, a message and a `ref`, which an administrator quotes to support.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::vertex::unique;

/// A `200` with a JSON body.
pub(super) fn ok(body: &Value) -> Response<Body> {
    with_json(StatusCode::OK, body)
}

/// An answer without a body, as the swagger requires for `202` and `204`, with the request's audit uid.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    if let Ok(uid) = HeaderValue::from_str(&unique()) {
        response.headers_mut().insert("audituid", uid);
    }
    response
}

/// A `v1Error`.
pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let body = json!({"code": code, "details": {}, "message": message, "ref": unique()});
    with_json(status, &body)
}

/// The `404` of an object that is not there.
pub(super) fn not_found(what: &str, uid: &str) -> Response<Body> {
    error(StatusCode::NOT_FOUND, "ResourceNotFound", &format!("Requested {what} '{uid}' is not found"))
}

fn with_json(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
