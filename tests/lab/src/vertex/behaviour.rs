//! A test's settings for the lab's VerteX.
//!
//! Each switch is a difference between real sites, not a fault: network faults (a 500, a cut, a lost answer) are the
//! server's, and apply to every route.

use std::time::Duration;

/// How a GET shows stored passwords.
///
/// VerteX masks them, as in the console's forms. A tool must also handle the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Masking {
    /// In clear text.
    Shown,
    /// As an empty field.
    Blank,
    /// The field is left out.
    Absent,
    /// As `********`, or for an ECR secret key `abc***def`.
    Masked,
}

/// A server that the SCAR setting may point to, for the lab's validation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentServer {
    /// The endpoint, compared as text.
    pub endpoint: String,
    /// Its user and password; `None` if it needs none.
    pub login: Option<(String, String)>,
}

/// The switches. The defaults are those of a real site before the migration.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// The system administrator's name.
    pub username: String,
    /// The password that `/v1/auth/syslogin` accepts.
    pub password: String,
    /// The account has a second factor: the login says so in [`Behaviour::mfa_field`], and its token opens nothing.
    pub mfa: bool,
    /// The spelling of that field: `isMfa` in the swagger, `IsMfa` on real sites.
    pub mfa_field: String,
    /// The login answers without `Authorization` (seen for an account with pending MFA).
    pub no_token: bool,
    /// The number of failed logins after which the account is locked, and every login is a 403.
    pub lockout_after: u32,
    /// The lifetime of a token in whole seconds; the token contains it as `exp`.
    pub token_lifetime: Duration,
    /// The version at `/v1/system/version/installed`.
    pub version: String,
    /// How `GET /v1/system/config/scar` shows the password.
    pub scar_masking: Masking,
    /// How a GET of a pack registry shows its password, token or AWS keys.
    pub registry_masking: Masking,
    /// How many validations fail after each PUT of the SCAR setting, although the endpoint works.
    pub scar_invalid_for: u32,
    /// The site's other file servers, such as the old SCAR.
    pub content_servers: Vec<ContentServer>,
    /// A validation that names `registryUid` and no password uses the stored one, as the console's does.
    pub validation_fills_secrets: bool,
    /// A PUT of a registry sets `metadata.lastModifiedTimestamp`, as on a real server; otherwise the object reads back
    /// exactly as sent.
    pub stamps_changes: bool,
    /// How often the sync status says [`Behaviour::sync_word`] after a sync was started.
    pub sync_polls: u32,
    /// The status of a running sync. Seen: `Syncing`, `InProgress`, `Running`, `Pending`, `Unknown` and nothing.
    pub sync_word: String,
    /// A PUT of a registry starts its sync, as saving an entry in the console does.
    pub syncs_after_put: bool,
    /// The jobs that answer 409 because they are already running.
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
