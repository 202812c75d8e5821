//! The requests of a push, for faults and for counting, and the answer of a registry that refuses one.

use scar_lab::faults::{Answer, Match};
use serde_json::json;

/// Opening an upload session.
pub(crate) fn uploads() -> Match {
    Match::post("/v2/**/blobs/uploads/")
}

/// A chunk.
pub(crate) fn patches() -> Match {
    Match::patch("/v2/**/blobs/uploads/*")
}

/// The last part of a blob, with its digest.
pub(crate) fn puts() -> Match {
    Match::put("/v2/**/blobs/uploads/*")
}

/// The question for a blob.
pub(crate) fn heads() -> Match {
    Match::head("/v2/**/blobs/*")
}

/// Reading a blob.
pub(crate) fn gets() -> Match {
    Match::get("/v2/**/blobs/*")
}

/// The manifest.
pub(crate) fn manifests() -> Match {
    Match::put("/v2/**/manifests/*")
}

/// An error in a registry's form.
pub(crate) fn error(status: u16, code: &str) -> Answer {
    Answer::json(status, &json!({"errors": [{"code": code, "message": "the lab says so", "detail": {}}]}))
}
