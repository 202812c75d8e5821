//! Writes the setting: one PUT, then reads it back. After a lost answer, reading shows whether the PUT was done.

use std::time::Duration;

use scar_tool::{Console, Exit, Failure};
use scar_vertex::scar::{PATH, Setting};
use scar_vertex::{Api, Change, Object, WriteOutcome};

/// VerteX, and the options that every action needs.
pub(crate) struct Site<'a> {
    pub(crate) api: &'a Api,
    pub(crate) console: &'a Console,
    pub(crate) settle: Duration,
    pub(crate) force: bool,
    pub(crate) dry_run: bool,
}

impl Site<'_> {
    /// Replaces `present` by `wanted`, and reads it back: VerteX's answer to the PUT does not prove what it stored.
    ///
    /// # Errors
    /// Exit 7 with the differences if VerteX confirms the write but shows another setting, or someone else wrote; else the
    /// request's error. Each says whether the setting may have changed.
    pub(crate) async fn write(&self, present: &Setting, wanted: &Setting) -> Result<Setting, NotWritten> {
        let act = format!("set SCAR to '{}'", wanted.endpoint());
        let is = |setting: &Setting, object: &Object| Setting::new(object.clone()).matches(setting);
        let body = wanted.object().to_json();
        // VerteX documents no ETag or other condition for this PUT (FAULTS C4), so after a lost answer only reading shows its
        // fate.
        match self.api.put(PATH, &body, |now| is(wanted, now), |now| is(present, now)).await {
            Ok(WriteOutcome::Answered) => {}
            Ok(WriteOutcome::ByReading) => self.console.note("the answer to the write was lost; reading shows that it is done"),
            Ok(WriteOutcome::Unknown(error)) => return Err(NotWritten::Unsure(self.api.unknown(&act, &error))),
            Ok(WriteOutcome::Foreign(now)) => {
                let cause = "the answer was lost, and what is there now is neither the old setting nor the new:";
                let failure = Failure::new(Exit::Mismatch, format!("{act}: {cause}"));
                return Err(NotWritten::Unsure(with_differences(failure, &Setting::new(now).differences_from(wanted))));
            }
            Err(error) => {
                let failure = self.api.failure(&act, &error);
                return Err(NotWritten::Untouched(failure.detail("the SCAR setting was not changed")));
            }
        }
        let unread = |failure: Failure| failure.detail("the setting was written, and could not be read back");
        let now = Setting::read(self.api).await.map_err(|failure| NotWritten::Unsure(unread(failure)))?;
        let differences = now.differences_from(wanted);
        if differences.is_empty() {
            for change in wanted.changed_unknown_fields(&now) {
                self.console.warn(format!("VerteX keeps another value than was sent: {change}"));
            }
            return Ok(now);
        }
        let failure =
            Failure::new(Exit::Mismatch, format!("{act}: VerteX confirmed the write, but the setting reads differently:"));
        Err(NotWritten::Unsure(with_differences(failure, &differences)))
    }

    /// The command that restores a backup.
    pub(crate) fn undo_command(&self, backup: &str) -> String {
        format!("{} | scar-set --undo {}", self.api.login(), scar_tool::shell_word(backup))
    }
}

pub(crate) enum NotWritten {
    /// The setting is unchanged.
    Untouched(Failure),
    /// The setting may have changed.
    Unsure(Failure),
}

impl NotWritten {
    pub(crate) fn into_failure(self) -> Failure {
        match self {
            Self::Untouched(failure) | Self::Unsure(failure) => failure,
        }
    }
}

/// Adds the differences to a failure.
pub(crate) fn with_differences(failure: Failure, changes: &[Change]) -> Failure {
    changes.iter().fold(failure, |failure, change| failure.detail(change))
}
