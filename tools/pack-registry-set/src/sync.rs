//! The registry's sync, which VerteX starts by itself after a change: waited for, where the API offers its status.
//!
//! The flag is set whatever becomes of the sync, which goes over all packs of the registry; so what it says is told and
//! is no failure. Whether Specman has the manifests is what specman-wait finds out.

use std::time::Duration;

use scar_tool::{Console, Deadline};
use scar_vertex::{Api, Object};

/// How long the sync is waited for.
const LONGEST: Duration = Duration::from_secs(60);
/// How often it is asked for.
const EVERY: Duration = Duration::from_secs(2);

/// What a sync's status means.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Unknown,
    Running,
    Done,
    Failed(String),
}

/// Waits until the sync of the entry at `path` is over, for a minute at most.
pub(crate) async fn wait(api: &Api, console: &Console, path: &str) {
    let path = format!("{path}/sync/status");
    let end = Deadline::after(LONGEST.min(api.deadline().remaining()));
    let progress = console.progress_waiting("waiting for the registry's sync");
    loop {
        let state = match api.get_once(&path).await {
            Ok(status) => state(&status),
            Err(error) => {
                console.verbose(|| format!("the sync status is not known: {error}"));
                return;
            }
        };
        match state {
            State::Unknown => return,
            State::Done => return console.verbose(|| "the registry's sync is done".to_owned()),
            State::Failed(said) => {
                console.warn(format!("the flag is set, but the registry's sync failed: {said}"));
                return console.hint("look at the registry in the console; specman-wait tells whether the manifests arrive");
            }
            State::Running if EVERY > end.remaining() => {
                return console.warn(format!("the registry's sync still runs after {end}; it goes on by itself"));
            }
            State::Running => {
                progress.tick();
                tokio::time::sleep(EVERY).await;
            }
        }
    }
}

fn state(status: &Object) -> State {
    if status.raw(&["isSyncSupported"]).is_some() && !status.flag(&["isSyncSupported"]) {
        return State::Unknown;
    }
    let word = status.text_or_empty(&["status"]).to_ascii_lowercase();
    let is = |words: &[&str]| words.iter().any(|part| word.contains(part));
    match word.as_str() {
        "" => State::Unknown,
        _ if is(&["progress", "running", "pending", "queued", "started"]) => State::Running,
        _ if is(&["fail", "error"]) => State::Failed(scar_tool::bounded(status.text_or_empty(&["message"]).as_bytes())),
        _ => State::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_by_its_word() {
        let read = |text: &str| state(&Object::parse(text).unwrap());
        assert_eq!(read(r#"{"status":"InProgress"}"#), State::Running);
        assert_eq!(read(r#"{"status":"Success","isSyncSupported":true}"#), State::Done);
        assert_eq!(read(r#"{"status":"Failed","message":"401"}"#), State::Failed("401".into()));
        for text in ["{}", r#"{"isSyncSupported":false,"status":"InProgress"}"#, r#"{"status":""}"#] {
            assert_eq!(read(text), State::Unknown, "{text}");
        }
    }
}
