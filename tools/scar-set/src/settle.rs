//! The settling time: the guide's script sleeps for 60 s (step 10); this asks VerteX in the meantime whether it accepts the
//! setting.

use std::time::{Duration, Instant};

use scar_http::StatusCode;
use scar_tool::{Exit, Failure};
use scar_vertex::scar::validate;

use crate::site::Site;

/// The shortest and the longest polling interval.
const EVERY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// Waits until VerteX accepts the setting; returns the version that it found there.
///
/// # Errors
/// Exit 7 with VerteX's last answer if it does not accept it within `settle`; exit 4 at once if the session has ended.
pub(crate) async fn until_valid(site: &Site<'_>) -> Result<String, Failure> {
    let act = "validate the SCAR setting";
    let end = Instant::now() + site.settle;
    let every = (site.settle / 20).clamp(EVERY.0, EVERY.1);
    let progress = site.console.progress_waiting("waiting for VerteX to accept the setting");
    loop {
        let error = match validate(site.api).await {
            Ok(version) => return Ok(version),
            Err(error) => error,
        };
        // Waiting does not help against these. Anything else may pass: Specman's service may not be reachable yet.
        if error.status() == Some(StatusCode::UNAUTHORIZED) || error.is_untrusted() {
            return Err(site.api.failure(act, &error));
        }
        // With --settle 0s this is true after the first answer: VerteX is asked once.
        if Instant::now() + every > end {
            let within = match site.settle.as_secs() {
                0 => String::new(),
                waited => format!(" within {waited} s"),
            };
            return Err(Failure::new(Exit::Mismatch, format!("{act}: VerteX did not accept it{within}: {error}")));
        }
        site.console.verbose(|| error.to_string());
        progress.message(&error);
        tokio::time::sleep(every).await;
    }
}
