//! The two jobs that the guide's script starts after the SCAR endpoint is set.
//!
//! Only the guide mentions them; its curl has neither `--request` nor `--data`, so they are a GET.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Response, StatusCode};

use super::{Vertex, answer};

/// The names of the jobs, in the order of the guide.
pub const NAMES: [&str; 2] = ["syncCloudInstanceTypesData", "syncCloudStorageTypesData"];

impl Vertex {
    /// The jobs that were started, in order.
    pub fn jobs(&self) -> Vec<String> {
        self.lock().jobs.clone()
    }
}

/// `GET /v1/jobs/internal/{name}/run`.
pub(super) async fn run(State(vertex): State<Arc<Vertex>>, Path(name): Path<String>) -> Response<Body> {
    if !NAMES.contains(&name.as_str()) {
        return answer::not_found("job", &name);
    }
    if vertex.behaviour().jobs_in_progress.contains(&name) {
        let words = format!("Job '{name}' is already in progress");
        return answer::error(StatusCode::CONFLICT, "JobInProgress", &words);
    }
    vertex.lock().jobs.push(name);
    answer::empty(StatusCode::NO_CONTENT)
}
