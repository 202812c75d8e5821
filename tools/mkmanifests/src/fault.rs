//! What can go wrong with a tree or an archive, with the name that it went wrong with; hints and exit statuses are
//! attached here and nowhere else.
//!
//! Paths are bytes relative to the tree, shown with `./` before them, as they stand in the archive.

use std::io;

use scar_tool::{Exit, Failure};

use crate::name::quoted;

/// What was done to a link whose target is to be stored.
pub(crate) const FOLLOW: &str = "follow";

/// A reason why there is no archive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// A socket, FIFO or device (`kind`): no archive of a web root holds one.
    #[error("pack '{}': it is a {kind}", shown(path))]
    Special { path: Vec<u8>, kind: &'static str },
    /// A system call on an entry failed.
    #[error("{act} '{}'", shown(path))]
    Entry { act: &'static str, path: Vec<u8>, source: io::Error },
    /// Reading a file's content failed after `offset` bytes.
    #[error("read '{}' at byte {offset}", shown(path))]
    Read { path: Vec<u8>, offset: u64, source: io::Error },
    /// A file is not what it was when it was listed, or when its reading began.
    #[error("pack '{}': changed while reading ({how})", shown(path))]
    Changed { path: Vec<u8>, how: &'static str },
    /// An entry was listed and is gone.
    #[error("pack '{}': vanished while reading", shown(path))]
    Vanished { path: Vec<u8> },
    /// `--dereference` came back to a folder that it is in.
    #[error("pack '{}': the link leads back to a folder above it", shown(path))]
    Loop { path: Vec<u8> },
    /// The archive could not be written.
    #[error("write '{to}'")]
    Output { to: String, source: io::Error },
    /// The compressor refused its input, which it has no reason to do.
    #[error("compress: {0}")]
    Compress(String),
    /// A signal came.
    #[error("interrupted")]
    Interrupted(Failure),
}

impl Fault {
    /// A failed system call on an entry; a missing entry has vanished, since it was listed before.
    pub(crate) fn entry(act: &'static str, path: &[u8], errno: rustix::io::Errno) -> Self {
        match errno {
            rustix::io::Errno::NOENT => Self::Vanished { path: path.to_vec() },
            errno => Self::Entry { act, path: path.to_vec(), source: errno.into() },
        }
    }

    /// A file that changed.
    pub(crate) fn changed(path: &[u8], how: &'static str) -> Self {
        Self::Changed { path: path.to_vec(), how }
    }

    /// Whether another try may succeed, since the tree was only in motion.
    pub(crate) fn passes(&self) -> bool {
        matches!(self, Self::Changed { .. } | Self::Vanished { .. })
    }

    /// The name by which several faults are put in order.
    pub(crate) fn path(&self) -> &[u8] {
        match self {
            Self::Special { path, .. }
            | Self::Entry { path, .. }
            | Self::Read { path, .. }
            | Self::Changed { path, .. }
            | Self::Vanished { path }
            | Self::Loop { path } => path,
            Self::Output { .. } | Self::Compress(_) | Self::Interrupted(_) => &[],
        }
    }

    /// The fault as the user reads it.
    pub(crate) fn failure(&self) -> Failure {
        match self {
            Self::Special { .. } => Failure::misuse(self).hint("--exclude leaves it out"),
            Self::Entry { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Failure::io(self, source).hint("run this as a user that can read all of the tree, or leave it out (--exclude)")
            }
            Self::Entry { act: FOLLOW, source, .. } => Failure::io(self, source).hint("--exclude leaves it out"),
            Self::Read { source, .. } => Failure::io(self, source).hint("the disk may be damaged: look at the system's log"),
            Self::Entry { source, .. } | Self::Output { source, .. } => Failure::io(self, source),
            Self::Changed { .. } | Self::Vanished { .. } => {
                Failure::new(Exit::Failed, self).hint("stop what writes to the tree, leave it out (--exclude), or use --retries")
            }
            Self::Loop { .. } => Failure::new(Exit::Failed, self).hint("--exclude leaves it out"),
            Self::Compress(_) => Failure::new(Exit::Failed, self),
            Self::Interrupted(failure) => failure.clone(),
        }
    }
}

/// Several faults of one walk as one failure: the first in the archive's order is the message, others stand below it.
pub(crate) fn together(mut faults: Vec<Fault>) -> Failure {
    const SHOWN: usize = 20;
    faults.sort_by(|a, b| a.path().cmp(b.path()));
    let mut all = faults.iter().map(Fault::failure);
    let Some(mut first) = all.next() else { return Failure::new(Exit::Failed, "pack: unknown fault") };
    for other in all.by_ref().take(SHOWN) {
        first = first.detail(other.message);
    }
    match all.count() {
        0 => first,
        more => first.detail(format_args!("and {more} more")),
    }
}

/// A path as it stands in the archive.
fn shown(path: &[u8]) -> String {
    format!("./{}", quoted(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_entry_has_vanished_and_is_worth_another_try() {
        let fault = Fault::entry("open", b"a", rustix::io::Errno::NOENT);
        assert!(fault.passes());
        assert_eq!(fault.failure().message, "pack './a': vanished while reading");
        let fault = Fault::entry("open", b"a\n", rustix::io::Errno::ACCESS);
        assert!(!fault.passes());
        assert_eq!(fault.failure().message, "open './a\\n': permission denied");
    }

    #[test]
    fn the_first_name_leads_and_the_others_follow() {
        let special = |path: &str| Fault::Special { path: path.into(), kind: "FIFO" };
        let failure = together(vec![special("b"), special("a")]);
        assert_eq!((failure.exit, failure.message.as_str()), (Exit::Misuse, "pack './a': it is a FIFO"));
        assert_eq!(failure.details, ["pack './b': it is a FIFO"]);
    }
}
