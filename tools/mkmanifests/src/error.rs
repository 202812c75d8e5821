//! What can go wrong with a tree or an archive. Hints and exit statuses are attached only here.
//!
//! Paths are bytes relative to the tree, shown with `./` before them as in the archive.

use std::io;

use scar_tool::{Exit, Failure};

use crate::name::quoted;

/// The action in messages about following a link.
pub(crate) const FOLLOW: &str = "follow";

/// Why packing failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackError {
    /// A socket, FIFO or device (`kind`), which no web root contains.
    #[error("pack '{}': it is a {kind}", shown(path))]
    Special { path: Vec<u8>, kind: &'static str },
    /// A system call on an entry failed.
    #[error("{act} '{}'", shown(path))]
    Entry { act: &'static str, path: Vec<u8>, source: io::Error },
    /// Reading a file's content failed after `offset` bytes.
    #[error("read '{}' at byte {offset}", shown(path))]
    Read { path: Vec<u8>, offset: u64, source: io::Error },
    /// A file has changed since it was listed, or since reading began.
    #[error("pack '{}': changed while reading ({how})", shown(path))]
    Changed { path: Vec<u8>, how: &'static str },
    /// A listed entry has vanished.
    #[error("pack '{}': vanished while reading", shown(path))]
    Vanished { path: Vec<u8> },
    /// With `--dereference`, a link leads to a folder that contains it.
    #[error("pack '{}': the link leads back to a folder above it", shown(path))]
    Loop { path: Vec<u8> },
    /// The archive could not be written.
    #[error("write '{to}'")]
    Output { to: String, source: io::Error },
    /// The compressor failed, which no input should cause.
    #[error("compress: {0}")]
    Compress(String),
    /// A signal arrived.
    #[error("interrupted")]
    Interrupted(Failure),
}

impl PackError {
    /// The fault for a failed system call. An entry that does not exist has vanished, because it was listed.
    pub(crate) fn entry(act: &'static str, path: &[u8], errno: rustix::io::Errno) -> Self {
        match errno {
            rustix::io::Errno::NOENT => Self::Vanished { path: path.to_vec() },
            errno => Self::Entry { act, path: path.to_vec(), source: errno.into() },
        }
    }

    /// The fault for a changed file.
    pub(crate) fn changed(path: &[u8], how: &'static str) -> Self {
        Self::Changed { path: path.to_vec(), how }
    }

    /// Whether another try may succeed, because the tree was only changing.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Changed { .. } | Self::Vanished { .. })
    }

    /// The path to sort faults by.
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

    /// The failure to show.
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

/// Combines the faults of one walk: the first in the archive's order is the message, the others are listed below it.
pub(crate) fn combined(mut faults: Vec<PackError>) -> Failure {
    const SHOWN: usize = 20;
    faults.sort_by(|a, b| a.path().cmp(b.path()));
    let mut all = faults.iter().map(PackError::failure);
    let Some(mut first) = all.next() else { return Failure::new(Exit::Failed, "pack: unknown fault") };
    for other in all.by_ref().take(SHOWN) {
        first = first.detail(other.message);
    }
    match all.count() {
        0 => first,
        more => first.detail(format_args!("and {more} more")),
    }
}

/// A path as in the archive.
fn shown(path: &[u8]) -> String {
    format!("./{}", quoted(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_entry_has_vanished_and_is_worth_another_try() {
        let fault = PackError::entry("open", b"a", rustix::io::Errno::NOENT);
        assert!(fault.is_transient());
        assert_eq!(fault.failure().message, "pack './a': vanished while reading");
        let fault = PackError::entry("open", b"a\n", rustix::io::Errno::ACCESS);
        assert!(!fault.is_transient());
        assert_eq!(fault.failure().message, "open './a\\n': permission denied");
    }

    #[test]
    fn the_first_name_leads_and_the_others_follow() {
        let special = |path: &str| PackError::Special { path: path.into(), kind: "FIFO" };
        let failure = combined(vec![special("b"), special("a")]);
        assert_eq!((failure.exit, failure.message.as_str()), (Exit::Misuse, "pack './a': it is a FIFO"));
        assert_eq!(failure.details, ["pack './b': it is a FIFO"]);
    }
}
