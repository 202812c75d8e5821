//! The answers of the distribution API: bare statuses with headers, and errors in the specification's form.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

/// A status with headers and no body.
pub(super) fn bare(status: StatusCode, headers: &[(&'static str, &str)]) -> Response {
    with_body(status, headers, Body::empty())
}

/// A status with headers and a body.
pub(super) fn with_body(status: StatusCode, headers: &[(&'static str, &str)], body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).expect("a header value");
        response.headers_mut().append(*name, value);
    }
    response
}

/// An error in the specification's form.
pub(super) fn error(status: StatusCode, code: &str, message: &str, detail: Value) -> Response {
    let body = json!({"errors": [{"code": code, "message": message, "detail": detail}]});
    with_body(status, &[("content-type", "application/json; charset=utf-8")], format!("{body}\n"))
}

pub(super) fn name_invalid(name: &str) -> Response {
    error(StatusCode::BAD_REQUEST, "NAME_INVALID", "invalid repository name", json!({"name": name}))
}

pub(super) fn name_unknown(name: &str) -> Response {
    error(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "repository name not known to registry", json!({"name": name}))
}

pub(super) fn blob_unknown(digest: &str) -> Response {
    error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "blob unknown to registry", json!(digest))
}

pub(super) fn upload_unknown() -> Response {
    error(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry", Value::Null)
}

/// Distribution 2.8 says 404 where the specification says 400.
pub(super) fn upload_invalid() -> Response {
    error(StatusCode::NOT_FOUND, "BLOB_UPLOAD_INVALID", "blob upload invalid", Value::Null)
}

pub(super) fn digest_invalid(detail: &str) -> Response {
    error(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "provided digest did not match uploaded content", json!(detail))
}

pub(super) fn manifest_unknown(reference: &str) -> Response {
    error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "manifest unknown", json!(format!("unknown manifest {reference}")))
}

pub(super) fn manifest_invalid(detail: &str) -> Response {
    manifest_invalid_because(json!(detail))
}

pub(super) fn manifest_invalid_because(detail: Value) -> Response {
    error(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", "manifest invalid", detail)
}

/// nginx's answer if `client_max_body_size` is smaller than the request.
pub(super) fn too_large() -> Response {
    with_body(
        StatusCode::PAYLOAD_TOO_LARGE,
        &[("content-type", "text/html"), ("connection", "close")],
        "<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n<body>\r\n\
         <center><h1>413 Request Entity Too Large</h1></center>\r\n<hr><center>nginx</center>\r\n\
         </body>\r\n</html>\r\n",
    )
}
