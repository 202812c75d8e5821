//! The command line.

// Clap prints these doc comments in `--help`, where `HOST[:PORT]` is not a link.
#![allow(rustdoc::broken_intra_doc_links)]

use std::path::PathBuf;
use std::time::Duration;

use scar_http::Retry;
use scar_record::{Input, Time};
use scar_tool::{Common, Console, Deadline, Failure};
use scar_trust::{RouteOptions, Trust};

use crate::ahead::CHUNK;
use crate::tag_backup::TagBackup;
use scar_registry::login::{self, LoginSources};
use scar_registry::{Environment, PushOptions, Reference, RegistryConfig, RegistryOptions, Scope};

const EXAMPLES: &str = "\
Examples:
  Harbor, in the pipe:
    mkmanifests /var/www/html |
      ocipush harbor.example -u robot \\
        --password-file harbor.password
  ECR:
    aws ecr get-login-password --region us-east-1 |
      ocipush -u AWS --password-stdin \\
        123456789012.dkr.ecr.us-east-1.amazonaws.com manifests.tgz
  An archive that another tool makes:
    tar -czf - . | ocipush harbor.example -";

#[derive(clap::Parser, Debug)]
#[command(name = "ocipush", version, long_version = scar_trust::module(), about = "push the manifest archive to an OCI registry", after_help = EXAMPLES)]
pub(crate) struct Options {
    /// HOST[:PORT], or HOST[:PORT]/REPOSITORY[:TAG] (else $OCI_PACK_REGISTRY, $ECR_PACK_REGISTRY)
    reference: Option<String>,

    /// The archive; - for standard input [the record's]
    pub(crate) file: Option<PathBuf>,

    // ORAS takes the path as it was typed for the title (oras v1.0.0 cmd/oras/file.go, `loadFiles`); the guide types this one
    // (step 5).
    /// The layer's title, for Specman
    #[arg(long, value_name = "NAME", default_value = "manifests.tgz")]
    pub(crate) title: String,

    /// Send nothing, but record what another tool pushed
    #[arg(long, conflicts_with = "oci_layout")]
    pub(crate) adopt: bool,

    /// Save what the tag holds in FILE before it moves
    #[arg(long, value_name = "FILE", conflicts_with_all = ["adopt", "oci_layout"])]
    pub(crate) backup: Option<PathBuf>,

    /// Move the tag back to what --backup saved in FILE
    #[arg(long, value_name = "FILE", conflicts_with_all = ["reference", "adopt", "backup", "oci_layout", "base_path", "title", "chunk_size"])]
    undo: Option<PathBuf>,

    /// Write an OCI image layout to DIR instead of pushing
    #[arg(long, value_name = "DIR")]
    pub(crate) oci_layout: Option<PathBuf>,

    /// Send chunks of SIZE, such as 16MiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) chunk_size: Option<u64>,

    /// How often to retry a failed request
    #[arg(long, value_name = "N", default_value_t = 5)]
    retries: u16,

    /// The longest wait between two tries
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = scar_tool::time_limit)]
    retry_max_wait: Duration,

    /// Give up a try after this time without data
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = scar_tool::time_limit)]
    pub(crate) stall_timeout: Duration,

    /// Overall time limit [default: none]
    #[arg(long, value_name = "DURATION", value_parser = scar_tool::time_limit)]
    pub(crate) timeout: Option<Duration>,

    /// Read the password, and no record, from stdin
    #[arg(long, conflicts_with = "password-file", help_heading = "Registry options")]
    password_stdin: bool,

    #[command(flatten)]
    pub(crate) registry: RegistryOptions,

    #[command(flatten)]
    pub(crate) push: PushOptions,

    #[command(flatten)]
    pub(crate) route: RouteOptions,

    #[command(flatten)]
    pub(crate) common: Common,
}

impl Options {
    /// The backup to restore, with --undo.
    ///
    /// # Errors
    /// Exit 2 if the file is not a backup.
    pub(crate) fn undo(&self, console: &Console) -> Result<Option<TagBackup>, Failure> {
        self.undo.as_deref().map(|path| TagBackup::read(path, console)).transpose()
    }

    /// The reference to push to. It never comes from the record, because the login in the options must not go to a host that
    /// only the record names.
    ///
    /// # Errors
    /// Exit 2 for a malformed reference, or none.
    pub(crate) fn reference(&self, backup: Option<&TagBackup>, console: &Console) -> Result<Reference, Failure> {
        if let Some(backup) = backup {
            return Ok(backup.reference.clone());
        }
        let reference = self.reference_in(&Environment::from_environment())?;
        if self.push.base_path.is_some() && self.reference.as_ref().is_some_and(|text| text.trim_end_matches('/').contains('/')) {
            console.warn(format!("'--base-path' needs HOST[:PORT] alone; it is ignored for '{reference}'"));
        }
        Ok(reference)
    }

    fn reference_in(&self, environment: &Environment) -> Result<Reference, Failure> {
        environment.or_typed(self.reference.as_deref(), self.push.base_path.as_deref())?.ok_or_else(|| {
            Failure::misuse("no REFERENCE is given, and neither OCI_PACK_REGISTRY nor ECR_PACK_REGISTRY is set")
                .hint("name the registry: ocipush HOST[:PORT]")
        })
    }

    /// The title, which Specman takes for the name of the file.
    ///
    /// # Errors
    /// Exit 2 if it is not a plain file name.
    pub(crate) fn title(&self) -> Result<&str, Failure> {
        let title = self.title.as_str();
        // A puller writes the layer to the path in its title, which must not lead out of its folder (oras-go
        // content/file/file.go, `ErrPathTraversalDisallowed`; FAULTS B18).
        let bad = title.is_empty() || title == "." || title == ".." || title.contains('/') || title.chars().any(char::is_control);
        match bad {
            true => Err(Failure::misuse(format!("bad value '{title}' for '--title': it must be a plain file name"))),
            false => Ok(title),
        }
    }

    /// Whether standard input holds the record; it may hold the archive or the password instead.
    ///
    /// # Errors
    /// Exit 2 if it would hold two things.
    pub(crate) fn input(&self) -> Result<Input, Failure> {
        let archive = self.file.as_deref().is_some_and(|file| file.as_os_str() == "-");
        match (archive, self.password_stdin) {
            (true, true) => {
                Err(Failure::misuse("standard input cannot hold both the archive ('-') and the password ('--password-stdin')")
                    .hint("use --password-file FILE"))
            }
            (false, false) => Ok(Input::Stdin),
            _ => Ok(Input::New),
        }
    }

    /// How to talk to the registry, and what the user allows there. A run that changes nothing requests a token for pull only,
    /// because Quay creates a missing repository when it issues a token for push (endpoints/v2/v2auth.py,
    /// `_authorize_or_downscope_request`).
    pub(crate) fn registry_config(&self, dry_run: bool, deadline: Deadline) -> RegistryConfig {
        let scope = if self.adopt || dry_run { Scope::Pull } else { Scope::Push };
        // The option counts repetitions, the policy counts tries.
        let retry = Retry { tries: usize::from(self.retries) + 1, longest_wait: self.retry_max_wait, ..Retry::until(deadline) };
        let trust_upload = self.push.trust_upload.clone();
        RegistryConfig { trust_upload, ..self.registry.config(scope, retry, self.stall_timeout) }
    }

    /// How many bytes of a stream to wait for before sending starts: one chunk. `None` if the digest is needed first, or if
    /// there is only one try: one PUT works with every registry, chunks do not.
    pub(crate) fn ahead(&self, dry_run: bool) -> Option<u64> {
        let needs_digest = self.adopt || dry_run || self.oci_layout.is_some();
        (self.retries > 0 && !needs_digest).then(|| self.chunk_size.unwrap_or(CHUNK))
    }

    /// Whom to trust, and where to look for the login.
    ///
    /// # Errors
    /// Exit 2 for malformed certificates or keys, and a file without a password.
    pub(crate) fn connection(&self, reference: &Reference, console: &Console) -> Result<(LoginSources, Trust), Failure> {
        let login = self.registry.login(Some(self.password_stdin), console)?;
        // Docker and Podman read certificates for one registry from there (containers-certs.d(5)), so a host that can pull from
        // it can push to it.
        let trust = login::with_certs_d(self.registry.trust(self.route)?, &reference.registry, true, console)?;
        Ok((login, trust))
    }
}

/// The manifest's creation time: `SOURCE_DATE_EPOCH`, else now.
///
/// # Errors
/// Exit 2 if the variable is not a number of seconds.
pub(crate) fn created() -> Result<Time, Failure> {
    // Two pushes with the same time have the same manifest (reproducible-builds.org, "SOURCE_DATE_EPOCH").
    let Some(text) = std::env::var_os("SOURCE_DATE_EPOCH").filter(|text| !text.is_empty()) else { return Ok(Time::now()) };
    let text = text.to_string_lossy();
    let refuse = |cause: &str| Failure::misuse(format!("read SOURCE_DATE_EPOCH '{text}': {cause}"));
    let seconds = text.parse::<u64>().ok().and_then(|seconds| i64::try_from(seconds).ok());
    let seconds = seconds.ok_or_else(|| refuse("it is not a number of seconds since 1970"))?;
    Time::from_epoch(seconds).map_err(|cause| refuse(&cause))
}

/// Parses a size such as `8MiB`; a clap value parser.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let bytes = match unit {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(format!("'{text}' is not a size: write a number and KiB, MiB or GiB, such as 16MiB")),
    };
    match number.parse::<u64>().ok().and_then(|number| number.checked_mul(bytes)) {
        Some(size @ 65_536..=1_099_511_627_776) => Ok(size),
        _ => Err(format!("'{text}' is out of range: 64KiB to 1024GiB")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn options(arguments: &[&str]) -> Options {
        Options::try_parse_from([&["ocipush"], arguments].concat()).unwrap()
    }

    #[test]
    fn the_environment_names_the_registry_if_no_operand_does() {
        let environment = Environment { registry: Some("env.example".into()), base: Some("base".into()) };
        for (arguments, whole) in [
            (&[][..], "env.example/base/spectro-manifests/manifest:0.0.0"),
            (&["arg.example"], "arg.example/base/spectro-manifests/manifest:0.0.0"),
            (&["arg.example", "--base-path", "opt"], "arg.example/opt/spectro-manifests/manifest:0.0.0"),
            (&["arg.example/a/b:1"], "arg.example/a/b:1"),
        ] {
            assert_eq!(options(arguments).reference_in(&environment).unwrap().to_string(), whole);
        }
        assert!(options(&[]).reference_in(&Environment::default()).is_err());
    }

    #[test]
    fn bad_input_18_a_title_is_a_plain_file_name() {
        for title in ["..", ".", "a/b", "a\nb", ""] {
            assert!(options(&["h.example", "--title", title]).title().is_err(), "{title:?}");
        }
        assert_eq!(options(&["h.example"]).title().unwrap(), "manifests.tgz");
    }

    #[test]
    fn sizes_need_a_unit() {
        assert_eq!(size("16MiB"), Ok(16 << 20));
        for bad in ["16", "16MB", "0MiB", "1KiB", "99999999999999999999GiB", ""] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn standard_input_holds_one_thing() {
        assert_eq!(options(&["h.example"]).input().unwrap(), Input::Stdin);
        assert_eq!(options(&["h.example", "-"]).input().unwrap(), Input::New);
        assert_eq!(options(&["h.example", "--password-stdin"]).input().unwrap(), Input::New);
        assert!(options(&["h.example", "-", "--password-stdin"]).input().is_err());
    }
}
