//! What prevents an archive of a tree, with hints and exit statuses.
//!
//! Paths are bytes relative to the tree, shown with `./` before them as in the archive.

use std::io;

use rustix::io::Errno;
use scar_tool::{Exit, Failure};

use crate::name::quoted;

/// The action in messages about following a link.
pub(crate) const FOLLOW: &str = "follow";

/// Why an entry cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A socket, FIFO or device (`kind`), which no web root contains.
    #[error("pack '{}': it is a {kind}", shown(path))]
    Special {
        /// Relative to the tree.
        path: Vec<u8>,
        /// `FIFO`, `socket`, ….
        kind: &'static str,
    },
    /// A system call on an entry failed.
    #[error("{act} '{}'", shown(path))]
    Entry {
        /// `open`, `list`, `read`, ….
        act: &'static str,
        /// Relative to the tree.
        path: Vec<u8>,
        /// Why.
        source: io::Error,
    },
    /// A file has changed since it was listed, or since reading began.
    #[error("pack '{}': changed while reading ({how})", shown(path))]
    Changed {
        /// Relative to the tree.
        path: Vec<u8>,
        /// As a phrase: `it grew`.
        how: &'static str,
    },
    /// A listed entry has vanished.
    #[error("pack '{}': vanished while reading", shown(path))]
    Vanished {
        /// Relative to the tree.
        path: Vec<u8>,
    },
    /// With `--dereference`, a link leads to a folder that contains it.
    #[error("pack '{}': the link leads back to a folder above it", shown(path))]
    Loop {
        /// Relative to the tree.
        path: Vec<u8>,
    },
}

impl Fault {
    /// The fault for a failed system call. An entry that does not exist has vanished, because it was listed.
    pub fn entry(act: &'static str, path: &[u8], errno: Errno) -> Self {
        match errno {
            Errno::NOENT => Self::Vanished { path: path.to_vec() },
            errno => Self::Entry { act, path: path.to_vec(), source: errno.into() },
        }
    }

    /// The fault for a changed file.
    pub fn changed(path: &[u8], how: &'static str) -> Self {
        Self::Changed { path: path.to_vec(), how }
    }

    /// Whether another try may succeed, because the tree was only changing.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Changed { .. } | Self::Vanished { .. })
    }

    /// The entry, relative to the tree.
    pub fn path(&self) -> &[u8] {
        match self {
            Self::Special { path, .. }
            | Self::Entry { path, .. }
            | Self::Changed { path, .. }
            | Self::Vanished { path }
            | Self::Loop { path } => path,
        }
    }

    /// The failure to show.
    pub fn failure(&self) -> Failure {
        match self {
            Self::Special { .. } => Failure::misuse(self).hint("--exclude leaves it out"),
            Self::Entry { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Failure::io(self, source).hint("run this as a user that can read all of the tree, or leave it out (--exclude)")
            }
            Self::Entry { act: FOLLOW, source, .. } => Failure::io(self, source).hint("--exclude leaves it out"),
            Self::Entry { source, .. } => Failure::io(self, source),
            Self::Changed { .. } | Self::Vanished { .. } => {
                Failure::new(Exit::Failed, self).hint("stop what writes to the tree, leave it out (--exclude), or use --retries")
            }
            Self::Loop { .. } => Failure::new(Exit::Failed, self).hint("--exclude leaves it out"),
        }
    }

    /// Combines the faults of one walk: the first in the archive's order is the message, at most `most` others are listed
    /// below it. `None` if there are no faults.
    pub fn combined(mut faults: Vec<Self>, most: usize) -> Option<Failure> {
        faults.sort_by(|a, b| a.path().cmp(b.path()));
        let mut all = faults.iter().map(Self::failure);
        let first = all.next()?;
        let listed = all.by_ref().take(most).fold(first, |first, other| first.detail(other.message));
        match all.count() {
            0 => Some(listed),
            more => Some(listed.detail(format_args!("and {more} more"))),
        }
    }
}

/// A path as in the archive.
pub fn shown(path: &[u8]) -> String {
    format!("./{}", quoted(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_entry_has_vanished_and_is_worth_another_try() {
        let fault = Fault::entry("open", b"a", Errno::NOENT);
        assert!(fault.is_transient());
        assert_eq!(fault.failure().message, "pack './a': vanished while reading");
        let fault = Fault::entry("open", b"a\n", Errno::ACCESS);
        assert!(!fault.is_transient());
        assert_eq!(fault.failure().message, "open './a\\n': permission denied");
    }

    #[test]
    fn the_first_name_leads_and_the_others_follow() {
        let special = |path: &str| Fault::Special { path: path.into(), kind: "FIFO" };
        let failure = Fault::combined(vec![special("c"), special("b"), special("a")], 1).unwrap();
        assert_eq!((failure.exit, failure.message.as_str()), (Exit::Misuse, "pack './a': it is a FIFO"));
        assert_eq!(failure.details, ["pack './b': it is a FIFO", "and 1 more"]);
        assert!(Fault::combined(Vec::new(), 1).is_none());
    }
}
