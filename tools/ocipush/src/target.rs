//! The registry as what is pushed to: how patient an upload is, and the session that is open.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use scar_http::Url;
use scar_registry::Registry;

/// A registry that is pushed to.
#[derive(Debug)]
pub(crate) struct Target {
    /// The registry.
    pub(crate) registry: Registry,
    /// How long an upload may make no progress.
    pub(crate) stall: Duration,
    /// Bytes of a chunk, where the archive is to go in chunks: by the user's word, or since more was refused.
    pub(crate) chunk: Cell<Option<u64>>,
    /// The upload session that is open.
    pub(crate) open: RefCell<Option<Url>>,
}

impl Target {
    /// A target without an open session.
    pub(crate) fn new(registry: Registry, stall: Duration, chunk: Option<u64>) -> Self {
        Self { registry, stall, chunk: Cell::new(chunk), open: RefCell::new(None) }
    }
}
