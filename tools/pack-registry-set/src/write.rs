//! Writes an entry: reads it again, writes it once, and reads it back. After a lost answer, reading shows whether it was
//! written.
//!
//! Invariant: what is written is what was read, with another flag and the given secrets. Changes by someone else are noticed
//! before and after the write.

use scar_http::StatusCode;
use scar_tool::{Console, Exit, Failure, signal};
use scar_vertex::entry::{EntryObject, FLAG, path};
use scar_vertex::{Api, Change, Object, WriteOutcome, differences};

use crate::compare;

/// Fields that the server changes itself.
pub(crate) const OWN: &[&str] = &["status", "metadata.lastModifiedTimestamp"];

/// Replaces `before` by `after`.
///
/// # Errors
/// Exit 7 with the differences if someone else wrote, or the entry reads back differently; else the request's error.
pub(crate) async fn run(api: &Api, console: &Console, before: &EntryObject, after: &Object) -> Result<(), Failure> {
    let (entry, flag) = (&before.entry, after.flag(FLAG));
    let act = format!("set the flag of '{}'", entry.name);
    let mismatch = |cause: &str| Failure::new(Exit::Mismatch, format!("{act}: {cause}"));
    // VerteX's API has no conditional write (FAULTS R5). Reading once more just before the write leaves a gap of one round trip,
    // and reading back shows whose write came last.
    let (_, now) = entry.read(api).await?;
    let changed = differences(&before.object, &now, OWN);
    if !changed.is_empty() {
        let failure = mismatch("someone else changed the entry meanwhile; nothing was written:");
        return Err(listed(failure, &changed).hint("look at the change, then run this step again"));
    }
    // A signal between writing and reading back would leave the state unknown.
    let hold = signal::catch();
    let done = |now: &Object| now.flag(FLAG) == flag;
    let untouched = |now: &Object| differences(&before.object, now, OWN).is_empty();
    match api.put(&path(&entry.uid, before.kind), &after.to_json(), done, untouched).await {
        Ok(WriteOutcome::Answered) => {}
        Ok(WriteOutcome::ByReading) => console.note("the answer to the write was lost; reading shows that it is done"),
        Ok(WriteOutcome::Unknown(error)) => return Err(api.unknown(&act, &error)),
        Ok(WriteOutcome::Foreign(now)) => {
            let failure = mismatch("the answer was lost, and someone else changed the entry:");
            return Err(listed(failure, &differences(after, &now, OWN)));
        }
        Err(error) => {
            let failure = api.failure(&act, &error);
            return Err(match error.status() {
                // Both mean that the entry is not the one that was read (RFC 9110, 15.5.10 and 15.5.13).
                Some(StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED) => Failure { exit: Exit::Mismatch, ..failure },
                _ => failure,
            });
        }
    }
    let now = entry.read(api).await.map_err(|failure| failure.detail("the flag was written, and could not be read back"))?.1;
    // A confirmed write proves nothing: a proxy may answer 204, and VerteX may drop what it does not accept (FAULTS R6).
    if now.flag(FLAG) != flag {
        return Err(mismatch(&format!("VerteX confirmed the write, but the flag reads {}", now.flag(FLAG)))
            .hint("look at the entry in the console, then run this step again"));
    }
    let (wrong, other) = compare::classify(after, &now, OWN);
    if !wrong.is_empty() {
        let failure = mismatch("the flag is set, but the entry differs from what was sent:");
        return Err(listed(failure, &wrong).hint("look at the entry in the console: VerteX, or someone else, changed it"));
    }
    for change in other {
        console.warn(format!("VerteX keeps another value than was sent: {change}"));
    }
    hold.check()
}

fn listed(failure: Failure, changes: &[Change]) -> Failure {
    changes.iter().fold(failure, |failure, change| failure.detail(change))
}
