//! The two syncs that the guide starts once the setting serves. They have no status to read: an answer is all there is.

use scar_http::{Error, StatusCode};
use scar_record::{Job, Scar};
use scar_tool::{Exit, Failure};

use crate::site::Site;

/// The jobs, in the order of the guide's script.
pub(crate) const NAMES: [&str; 2] = ["syncCloudInstanceTypesData", "syncCloudStorageTypesData"];

/// Starts each job that `earlier` does not show as started.
///
/// # Errors
/// Exit 1 or 6 naming every job that was not started; the others were.
pub(crate) async fn start(site: &Site<'_>, earlier: Option<&Scar>) -> Result<Vec<Job>, Failure> {
    let mut jobs = Vec::new();
    let mut failures = Vec::new();
    for name in NAMES {
        if let Some(job) = earlier.and_then(|scar| scar.jobs.iter().find(|job| job.name == name)) {
            site.console.note(format!("job '{name}': {} already, as the record shows", job.status));
            jobs.push(job.clone());
            continue;
        }
        let status = match site.api.start(&format!("/v1/jobs/internal/{name}/run")).await {
            Ok(()) => "started",
            Err(error) if is_running(&error) => "running",
            Err(error) => {
                failures.push(failed(site, name, &error));
                continue;
            }
        };
        site.console.note(format!("job '{name}': {status}"));
        jobs.push(Job { name: name.to_owned(), status: status.to_owned() });
    }
    let mut failures = failures.into_iter();
    match failures.next() {
        None => Ok(jobs),
        Some(first) => Err(failures.fold(first, |all, other| all.detail(other.message))),
    }
}

/// A job that runs already need not be started.
fn is_running(error: &Error) -> bool {
    let Error::Status { status, words, .. } = error else { return false };
    let words = words.to_ascii_lowercase();
    let says = ["in progress", "inprogress", "already running", "already started"].iter().any(|part| words.contains(part));
    *status == StatusCode::CONFLICT || says
}

fn failed(site: &Site<'_>, name: &str, error: &Error) -> Failure {
    let failure = site.api.failure(&format!("start the job '{name}'"), error);
    let exit = match failure.exit {
        Exit::Absent | Exit::Mismatch => Exit::Failed,
        exit => exit,
    };
    Failure { exit, ..failure }
}
