//! VerteX as this step sees it, and the one way in which its setting is written: once, with a lost reply settled by
//! reading, and read back.

use std::time::Duration;

use scar_tool::{Console, Exit, Failure};
use scar_vertex::scar::{PATH, Setting};
use scar_vertex::{Api, Change, Object, Settled};

/// The system, and how to deal with it.
pub(crate) struct Site<'a> {
    pub(crate) api: &'a Api,
    pub(crate) console: &'a Console,
    pub(crate) settle: Duration,
    pub(crate) force: bool,
    pub(crate) dry_run: bool,
}

impl Site<'_> {
    /// Writes `wanted` in the place of `present` and reads it back.
    ///
    /// # Errors
    /// Exit 7 with the difference where VerteX says that it is done, and it is not, or someone else wrote; else that of
    /// the request. Each tells whether the setting may be another now.
    pub(crate) async fn write(&self, present: &Setting, wanted: &Setting) -> Result<Setting, NotWritten> {
        let act = format!("set SCAR to '{}'", wanted.endpoint());
        let is = |setting: &Setting, object: &Object| Setting::new(object.clone()).is(setting);
        let body = wanted.object().to_json();
        match self.api.put(PATH, &body, |now| is(wanted, now), |now| is(present, now)).await {
            Ok(Settled::Answered) => {}
            Ok(Settled::ByReading) => self.console.note("the answer to the write was lost; reading shows that it is done"),
            Ok(Settled::Unknown(error)) => return Err(NotWritten::Unsure(self.api.unknown(&act, &error))),
            Ok(Settled::Foreign(now)) => {
                let cause = "the answer was lost, and what is there now is neither the old setting nor the new:";
                let failure = Failure::new(Exit::Mismatch, format!("{act}: {cause}"));
                return Err(NotWritten::Unsure(told(failure, &Setting::new(now).unlike(wanted))));
            }
            Err(error) => {
                let failure = self.api.failure(&act, &error);
                return Err(NotWritten::Untouched(failure.detail("the SCAR setting was not changed")));
            }
        }
        let unread = |failure: Failure| failure.detail("the setting was written, and could not be read back");
        let now = Setting::read(self.api).await.map_err(|failure| NotWritten::Unsure(unread(failure)))?;
        let unlike = now.unlike(wanted);
        if unlike.is_empty() {
            for change in wanted.kept_otherwise(&now) {
                self.console.warn(format!("VerteX keeps another value than was sent: {change}"));
            }
            return Ok(now);
        }
        let failure = Failure::new(Exit::Mismatch, format!("{act}: VerteX said that it is done, and it reads otherwise:"));
        Err(NotWritten::Unsure(told(failure, &unlike)))
    }

    /// The command that restores the setting saved in a file.
    pub(crate) fn undo_command(&self, backup: &str) -> String {
        format!("{} | scar-set --undo {}", self.api.login(), scar_tool::shell_word(backup))
    }
}

/// A write that did not end well.
pub(crate) enum NotWritten {
    /// The setting is what it was.
    Untouched(Failure),
    /// The setting may be another now.
    Unsure(Failure),
}

impl NotWritten {
    /// The failure alone.
    pub(crate) fn into_failure(self) -> Failure {
        match self {
            Self::Untouched(failure) | Self::Unsure(failure) => failure,
        }
    }
}

/// Lists what differs below a failure's message.
pub(crate) fn told(failure: Failure, changes: &[Change]) -> Failure {
    changes.iter().fold(failure, |failure, change| failure.detail(change))
}
