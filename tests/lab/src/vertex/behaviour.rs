//! What a test may set about the VerteX of the lab.
//!
//! Each switch is a way in which real sites differ, not a fault: faults of the wire (a 500, a cut,
//! a lost reply) are rules of the server and apply to every route alike.

use std::time::Duration;

/// How a GET shows the passwords that the server holds.
///
/// VerteX masks them (the console's forms show the same masks). The others are kinder or odder; a tool must survive all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Masking {
    /// The stored value in clear.
    Shown,
    /// The field is there and empty.
    Blank,
    /// The field is left out.
    Absent,
    /// `********`; of an ECR secret key its ends, `abc***def`.
    Masked,
}

/// A server that the SCAR setting may point to, as the validation of the lab knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentServer {
    /// The endpoint, compared as text.
    pub endpoint: String,
    /// User and password that it wants; `None` where it asks for none.
    pub login: Option<(String, String)>,
}

/// The switches. The defaults are those of a real site that is ready to migrate.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// The system administrator's name.
    pub username: String,
    /// The password that `/v1/auth/syslogin` accepts.
    pub password: String,
    /// The account has a second factor: the login says so in [`Behaviour::mfa_field`], and its token opens nothing.
    pub mfa: bool,
    /// How the login spells that field: `isMfa` in the swagger, `IsMfa` in answers of real sites.
    pub mfa_field: String,
    /// The login answers without `Authorization` at all (seen with an account that MFA is pending for).
    pub no_token: bool,
    /// Failed logins in a row after which the account is locked and every login is a 403.
    pub lockout_after: u32,
    /// The life of a token, whole seconds; it stands in the token as `exp`.
    pub token_lifetime: Duration,
    /// What `/v1/system/version/installed` says.
    pub version: String,
    /// How `GET /v1/system/config/scar` shows the password.
    pub scar_masking: Masking,
    /// How a GET of a pack registry shows its password, token or AWS keys.
    pub registry_masking: Masking,
    /// How many validations fail after each PUT of the SCAR setting, although the endpoint serves.
    pub scar_invalid_for: u32,
    /// The file servers that the site has besides Specman, the old SCAR first of all.
    pub content_servers: Vec<ContentServer>,
    /// A validation that names `registryUid` and no password uses the stored one, as the console's does.
    pub validation_fills_secrets: bool,
    /// A PUT of a registry sets `metadata.lastModifiedTimestamp`, as a real server does; off, the
    /// object that is read back is exactly the one that was sent.
    pub stamps_changes: bool,
    /// How many times the sync status says [`Behaviour::sync_word`] after a sync was started.
    pub sync_polls: u32,
    /// The word for a sync that is running. Seen: `Syncing`, `InProgress`, `Running`, `Pending`, `Unknown` and nothing.
    pub sync_word: String,
    /// A PUT of a registry starts its sync, as saving an entry in the console does.
    pub syncs_after_put: bool,
    /// The jobs that answer 409 because one of their kind is running.
    pub jobs_in_progress: Vec<String>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            username: "admin".into(),
            password: "Spectro-2024!".into(),
            mfa: false,
            mfa_field: "IsMfa".into(),
            no_token: false,
            lockout_after: 5,
            token_lifetime: Duration::from_secs(4 * 3600),
            version: "4.5.15".into(),
            scar_masking: Masking::Masked,
            registry_masking: Masking::Masked,
            scar_invalid_for: 0,
            content_servers: Vec::new(),
            validation_fills_secrets: false,
            stamps_changes: false,
            sync_polls: 1,
            sync_word: "Syncing".into(),
            syncs_after_put: true,
            jobs_in_progress: Vec::new(),
        }
    }
}
