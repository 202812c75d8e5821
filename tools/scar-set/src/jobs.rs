//! The two sync jobs that the guide's script starts (step 10). VerteX does not show their status, so the answer is the only
//! evidence that a job was started; the script accepts only 204.

use scar_http::{Error, StatusCode};
use scar_record::{Job, Scar};
use scar_tool::{Exit, Failure};

use crate::site::Site;

/// The jobs, in the order of the script.
pub(crate) const NAMES: [&str; 2] = ["syncCloudInstanceTypesData", "syncCloudStorageTypesData"];

/// Starts each job that `earlier` does not show as started.
///
/// # Errors
/// The error of the first job that did not start; the details name the others that did not. The remaining jobs run.
pub(crate) async fn start(site: &Site<'_>, earlier: Option<&Scar>) -> Result<Vec<Job>, Failure> {
    let mut jobs = Vec::new();
    let mut failures = Vec::new();
    for name in NAMES {
        if let Some(job) = earlier.and_then(|scar| scar.jobs.iter().find(|job| job.name == name)) {
            site.console.note(format!("job '{name}': {} already, as the record shows", job.status));
            jobs.push(job.clone());
            continue;
        }
        if let Err(error) = site.api.start(&format!("/v1/jobs/internal/{name}/run")).await {
            // The guide's script also goes on to the other job (step 10).
            failures.push(failed(site, name, &error));
            continue;
        }
        site.console.note(format!("job '{name}': started"));
        jobs.push(Job { name: name.to_owned(), status: "started".to_owned() });
    }
    let mut failures = failures.into_iter();
    match failures.next() {
        None => Ok(jobs),
        Some(first) => Err(failures.fold(first, |all, other| all.detail(other.message))),
    }
}

fn failed(site: &Site<'_>, name: &str, error: &Error) -> Failure {
    let failure = site.api.failure(&format!("start the job '{name}'"), error);
    match error.status() {
        // A running job does not count: it may have begun before the change.
        Some(StatusCode::CONFLICT) => Failure { exit: Exit::TimedOut, ..failure }.hint(
            "a job of that name is already running, and may have started before the change: run this step again in a few minutes",
        ),
        Some(StatusCode::NOT_FOUND) => Failure { exit: Exit::Failed, ..failure },
        _ => failure,
    }
}
