//! What one part of the site showed: its lines, and the facts that the others need.

use jiff::Timestamp;
use scar_record::Check;

use crate::network::Server;
use crate::room::Sizes;

/// What one part of the site showed.
#[derive(Default)]
pub(crate) struct Findings {
    /// Its lines.
    pub(crate) checks: Vec<Check>,
    /// Its server, if it answered.
    pub(crate) server: Option<Server>,
    /// The flag of the pack registry, if it was read.
    pub(crate) flag: Option<Flag>,
    /// When the secret was created, if there is one.
    pub(crate) secret: Option<Timestamp>,
    /// Specman's pods without a pod identity, if they could be read.
    pub(crate) without_identity: Option<Vec<String>>,
    /// The size of Specman's smallest claim, in bytes.
    pub(crate) claim: Option<u64>,
    /// The folder's content.
    pub(crate) content: Option<Sizes>,
}

/// The current flag of a pack registry.
pub(crate) struct Flag {
    pub(crate) is_set: bool,
    /// Whether Specman's pods need a pod identity for the registry.
    pub(crate) uses_pod_identity: bool,
    /// When the entry was last changed: VerteX makes the secret when the flag is set, so that an older one is not its own.
    pub(crate) changed: Option<Timestamp>,
}
