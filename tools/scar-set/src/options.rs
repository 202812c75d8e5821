//! The command line: the new setting, or the backup to restore.

use std::path::PathBuf;
use std::time::Duration;

use scar_http::secret_file;
use scar_tool::backup::Backup;
use scar_tool::{Common, Console, Failure};
use scar_vertex::ApiOptions;
use scar_vertex::scar::{SPECMAN, Setting};
use secrecy::SecretString;

use crate::setting_backup::SettingBackup;
use crate::{address, jobs};

#[derive(clap::Parser, Debug)]
#[command(
    name = "scar-set",
    version,
    long_version = scar_trust::module(),
    about = "point VerteX or Palette at Specman and start the syncs",
    after_help = "Examples:
  vertex-login https://vertex.example <push.json |
    pack-registry-set -u robot --password-file harbor.password |
    specman-wait | specman-verify | scar-set >record.json
  vertex-login https://vertex.example <verify.json | scar-set --dry-run
  vertex-login https://vertex.example |
    scar-set --undo scar-backup.json --scar-password-file scar.password"
)]
pub(crate) struct Options {
    /// Set this address instead of Specman's
    #[arg(long, value_name = "URL", conflicts_with = "undo")]
    scar_endpoint: Option<String>,

    /// Make VerteX trust the certificates in FILE (PEM) for that address
    #[arg(long, value_name = "FILE", conflicts_with = "undo")]
    ca_cert: Option<PathBuf>,

    /// Make VerteX accept any certificate of that address
    #[arg(long, conflicts_with = "undo")]
    insecure_verify: bool,

    /// Path below that address
    #[arg(long, value_name = "PATH", conflicts_with = "undo")]
    base_content_path: Option<String>,

    /// Save the old setting in FILE [default: in the state folder]
    #[arg(long, value_name = "FILE", conflicts_with = "undo")]
    backup: Option<PathBuf>,

    // As long as the guide's script sleeps (step 10).
    /// Time for VerteX to accept the new setting
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = scar_tool::duration)]
    pub(crate) settle: Duration,

    /// Restore the old setting if VerteX does not accept the new one
    #[arg(long, conflicts_with = "undo")]
    undo_on_failure: bool,

    /// Restore the setting saved in FILE
    #[arg(long, value_name = "FILE")]
    undo: Option<PathBuf>,

    /// Read the old SCAR's password from FILE, if VerteX hid it (for --undo)
    #[arg(long, value_name = "FILE")]
    scar_password_file: Option<PathBuf>,

    /// Continue although the record does not show that Specman serves the pushed layer
    #[arg(long)]
    pub(crate) unverified: bool,

    /// Continue although the record does not show the earlier steps, or the setting is not the expected one
    #[arg(long)]
    pub(crate) force: bool,

    /// Keep the session in the record
    #[arg(long)]
    pub(crate) keep_session: bool,

    /// At the end print the old and new state, for the change ticket
    #[arg(long)]
    pub(crate) summary: bool,

    #[command(flatten)]
    pub(crate) api: ApiOptions,

    #[command(flatten)]
    pub(crate) common: Common,
}

pub(crate) enum Task {
    Set(Plan),
    Undo(UndoPlan),
}

/// The new setting, and how to undo it.
pub(crate) struct Plan {
    pub(crate) target: Setting,
    pub(crate) backup: Option<Backup>,
    pub(crate) undo_on_failure: bool,
    pub(crate) password: Option<SecretString>,
}

/// The backup to restore.
pub(crate) struct UndoPlan {
    pub(crate) saved: SettingBackup,
    pub(crate) password: Option<SecretString>,
}

impl Options {
    /// Reads the named files.
    pub(crate) fn open(&self, console: &Console) -> Result<Task, Failure> {
        let password = self.scar_password_file.as_ref().map(|path| secret_file(path, "the SCAR's password file", console));
        let password = password.transpose()?;
        if let Some(path) = &self.undo {
            return Ok(Task::Undo(UndoPlan { saved: SettingBackup::read(path, console)?, password }));
        }
        let endpoint = match &self.scar_endpoint {
            Some(text) => address::endpoint(text)?,
            None => SPECMAN.to_owned(),
        };
        let ca_cert = self.ca_cert.as_ref().map(|path| scar_trust::ca_chain(path, "--ca-cert")).transpose()?;
        let base = self.base_content_path.as_deref().map(address::base_content_path).transpose()?;
        let backup = self.backup.as_deref().map(|path| Backup::find(path, console)).transpose()?;
        if self.insecure_verify {
            console.warn(format!("VerteX will not check the certificate of '{endpoint}' (--insecure-verify)"));
        }
        let target = Setting::target(&endpoint, ca_cert.as_deref(), self.insecure_verify, base);
        Ok(Task::Set(Plan { target, backup, undo_on_failure: self.undo_on_failure, password }))
    }
}

impl Task {
    /// The task in one line, for a dry run without a session.
    pub(crate) fn as_text(&self) -> String {
        match self {
            Self::Set(plan) => format!(
                "log in, save the present SCAR setting, set it to '{}', have it validated, and start {}",
                plan.target.endpoint(),
                jobs::NAMES.join(" and ")
            ),
            Self::Undo(plan) => format!("log in and set SCAR to '{}' again", plan.saved.setting.endpoint()),
        }
    }
}
