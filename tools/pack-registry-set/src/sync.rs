//! Waits for the registry's sync, which VerteX starts after a change, if the API shows its status.
//!
//! The flag is set whatever the result, and the sync includes all packs of the registry. So the result is only shown;
//! specman-wait finds out whether Specman has the manifests.

use std::time::Duration;

use scar_tool::{Console, Deadline};
use scar_vertex::{Api, Object, differences};

/// The time limit of the wait.
const LONGEST: Duration = Duration::from_secs(60);
/// The time within which VerteX starts the sync.
const BEGIN: Duration = Duration::from_secs(5);
/// The polling interval: short at first, then longer.
const EVERY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// The meaning of a sync's status.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Nothing to wait for.
    Unsupported,
    /// The same as before the write, so it is about an earlier change.
    Stale,
    Running,
    Done,
    Failed(String),
}

/// Reads the sync status of the entry at `path` before the write.
pub(crate) async fn status(api: &Api, path: &str) -> Option<Object> {
    api.get_once(&format!("{path}/sync/status")).await.ok()
}

/// Waits for the sync of the entry at `path`, up to a minute. `stale` is the status from before the write.
pub(crate) async fn wait(api: &Api, console: &Console, path: &str, stale: Option<&Object>) {
    // A site whose API has no such status works all the same; specman-wait looks at the result.
    let Some(stale) = stale else { return console.verbose(|| "the registry's sync status is not known".to_owned()) };
    let begin = Deadline::after(BEGIN.min(api.deadline().remaining()));
    let end = Deadline::after(LONGEST.min(api.deadline().remaining()));
    let mut every = EVERY.0;
    let progress = console.progress_waiting("waiting for the registry's sync");
    while let Some(now) = status(api, path).await {
        match state(stale, &now) {
            State::Unsupported => return,
            State::Done => return console.verbose(|| "the registry's sync is done".to_owned()),
            State::Failed(said) => {
                console.warn(format!("the flag is set, but the registry's sync failed: {said}"));
                return console.hint("look at the registry in the console; specman-wait finds out whether the manifests arrive");
            }
            // VerteX may see nothing to sync; waiting longer would not show more.
            State::Stale if every > begin.remaining() => {
                return console.verbose(|| "VerteX has not begun a sync of the registry".to_owned());
            }
            State::Running if every > end.remaining() => {
                return console.warn(format!("the registry's sync still runs after {end}; it goes on by itself"));
            }
            State::Stale | State::Running => {
                progress.tick();
                tokio::time::sleep(every).await;
                every = EVERY.1.min(every * 2);
            }
        }
    }
}

/// Four statuses are final; any other, or none, means that the sync is running (tests/suites/reference/vertex/sync-status.json).
fn state(stale: &Object, now: &Object) -> State {
    if now.raw(&["isSyncSupported"]).is_some() && !now.flag(&["isSyncSupported"]) {
        return State::Unsupported;
    }
    if differences(stale, now, &[]).is_empty() {
        return State::Stale;
    }
    match now.text_or_empty(&["status"]).as_str() {
        "Success" | "Completed" => State::Done,
        "Failed" | "Error" => State::Failed(scar_tool::bounded(now.text_or_empty(&["message"]).as_bytes())),
        _ => State::Running,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_by_its_word_and_one_from_before_says_nothing() {
        let object = |text: &str| Object::parse(text).unwrap();
        let before = object(r#"{"status":"Success","lastRunTime":"2026-01-05T08:12:44.431Z"}"#);
        let read = |text: &str| state(&before, &object(text));
        let words = object(include_str!("../../../tests/suites/reference/vertex/sync-status.json"));
        let each = |name: &str| -> Vec<String> { serde_json::from_str(words.raw(&[name]).unwrap().get()).unwrap() };
        let with = |word: &str| read(&format!(r#"{{"status":"{word}","lastRunTime":"2026-01-05T09:00:00Z","message":"401"}}"#));
        each("running").iter().for_each(|word| assert_eq!(with(word), State::Running, "{word}"));
        each("done").iter().for_each(|word| assert_eq!(with(word), State::Done, "{word}"));
        each("failed").iter().for_each(|word| assert_eq!(with(word), State::Failed("401".into()), "{word}"));
        assert_eq!(read(r#"{"status":"Success","lastRunTime":"2026-01-05T08:12:44.431Z"}"#), State::Stale);
        assert_eq!(read(r#"{"isSyncSupported":false,"status":"InProgress"}"#), State::Unsupported);
    }
}
