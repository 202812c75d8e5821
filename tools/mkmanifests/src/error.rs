//! Why packing failed, with hints and exit statuses.

use std::io;

use scar_tool::{Exit, Failure};
use scar_tree::{Fault, quoted};

/// Why packing failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackError {
    /// An entry cannot be packed.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// Reading a file's content failed after `offset` bytes.
    #[error("read './{}' at byte {offset}", quoted(path))]
    Read { path: Vec<u8>, offset: u64, source: io::Error },
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
    /// The failure to show.
    pub(crate) fn failure(&self) -> Failure {
        match self {
            Self::Fault(fault) => fault.failure(),
            Self::Read { source, .. } => Failure::io(self, source).hint("the disk may be damaged: look at the system's log"),
            Self::Output { source, .. } => Failure::io(self, source),
            Self::Compress(_) => Failure::new(Exit::Failed, self),
            Self::Interrupted(failure) => failure.clone(),
        }
    }
}
