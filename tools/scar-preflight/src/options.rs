//! The command line.

// `--help` shows these lines as they stand: `HOST[:PORT]` is no link.
#![allow(rustdoc::broken_intra_doc_links)]

use std::path::PathBuf;
use std::time::Duration;

use scar_cluster::ClusterOptions;
use scar_http::{LoginOptions, secret_file};
use scar_tool::{Common, Console, Failure};
use scar_trust::{RouteOptions, TlsOptions};
use scar_vertex::GivenLogin;
use scar_vertex::entry::Selector;

const EXAMPLES: &str = "\
Examples:
  scar-preflight --content /var/www/html --reference harbor.example \\
    --registry-username robot \\
    --registry-password-file harbor.password \\
    --endpoint https://vertex.example
  scar-preflight --only content --only registry --content /var/www/html \\
    --reference 123456789012.dkr.ecr.us-east-1.amazonaws.com";

/// A part of the site.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Only {
    /// VerteX.
    Platform,
    /// Specman's cluster.
    Cluster,
    /// The file server's folder.
    Content,
    /// The OCI registry.
    Registry,
}

/// The command line.
#[derive(clap::Parser, Debug)]
#[command(
    name = "scar-preflight",
    version,
    long_version = scar_trust::module(),
    about = "check every prerequisite of the migration, and change nothing",
    after_help = EXAMPLES
)]
pub(crate) struct Options {
    /// Check platform, cluster, content or registry only
    #[arg(long, value_name = "SIDE", hide_possible_values = true)]
    pub(crate) only: Vec<Only>,

    /// Time for each check but the folder's
    #[arg(long, value_name = "DURATION", default_value = "8s", value_parser = scar_tool::duration)]
    pub(crate) timeout: Duration,

    #[command(flatten)]
    pub(crate) content: ContentOptions,

    #[command(flatten)]
    pub(crate) registry: RegistryOptions,

    #[command(flatten)]
    pub(crate) vertex: VertexOptions,

    #[command(flatten)]
    pub(crate) entry: EntryOptions,

    #[command(flatten)]
    pub(crate) cluster: ClusterOptions,

    #[command(flatten)]
    pub(crate) route: RouteOptions,

    /// Specman's StatefulSet
    #[arg(long, value_name = "NAME", default_value = "specman", value_parser = scar_cluster::name::object, help_heading = "Cluster options")]
    pub(crate) statefulset: String,

    /// Specman's container, if its name does not tell
    #[arg(long, value_name = "NAME", value_parser = scar_cluster::name::object, help_heading = "Cluster options")]
    pub(crate) container: Option<String>,

    /// Where specman-verify goes, not through the cluster
    #[arg(long, value_name = "URL", help_heading = "Cluster options")]
    pub(crate) specman_url: Option<String>,

    /// What Specman serves will not be compared
    #[arg(long, help_heading = "Cluster options")]
    pub(crate) unverified: bool,

    #[command(flatten)]
    pub(crate) common: Common,
}

impl AsRef<Common> for Options {
    fn as_ref(&self) -> &Common {
        &self.common
    }
}

impl Options {
    /// Whether a side is checked if it has its settings.
    pub(crate) fn wants(&self, side: Only) -> bool {
        self.only.is_empty() || self.only.contains(&side)
    }

    /// Whether a side without its settings is an error.
    pub(crate) fn insists_on(&self, side: Only) -> bool {
        self.only.contains(&side)
    }
}

/// The file server's folder.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Content options")]
pub(crate) struct ContentOptions {
    /// The folder that the file server serves
    #[arg(long, value_name = "DIR")]
    pub(crate) content: Option<PathBuf>,

    /// Where the archive will go
    #[arg(long, value_name = "FILE", default_value = "manifests.tgz")]
    pub(crate) archive: PathBuf,
}

/// The registry, and who logs in to it.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Registry options")]
pub(crate) struct RegistryOptions {
    /// HOST[:PORT], or HOST[:PORT]/REPOSITORY[:TAG]
    #[arg(long, value_name = "REFERENCE")]
    pub(crate) reference: Option<String>,

    /// Where the repository is below, for a bare host
    #[arg(long, value_name = "PATH")]
    pub(crate) base_path: Option<String>,

    /// Log in as USER, not as the host has it
    #[arg(long, value_name = "USER")]
    pub(crate) registry_username: Option<String>,

    /// Read its password from FILE
    #[arg(long, value_name = "FILE", requires = "registry_username")]
    pub(crate) registry_password_file: Option<PathBuf>,

    /// Look for the login in FILE alone
    #[arg(long, value_name = "FILE")]
    pub(crate) registry_config: Option<PathBuf>,

    /// Also send the login to a token realm there
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) trust_realm: Vec<String>,

    /// Also let uploads go there
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) trust_upload: Vec<String>,

    /// Speak plain HTTP to the registry
    #[arg(long)]
    pub(crate) registry_plain_http: bool,

    /// Also trust the certificates in FILE (PEM)
    #[arg(long, value_name = "FILE")]
    registry_ca_file: Option<PathBuf>,

    /// Client certificate chain (PEM)
    #[arg(long, value_name = "FILE", requires = "registry_key_file")]
    registry_cert_file: Option<PathBuf>,

    /// Key of the client certificate (PEM, not encrypted)
    #[arg(long, value_name = "FILE", requires = "registry_cert_file")]
    registry_key_file: Option<PathBuf>,

    /// Do not check the registry's certificate
    #[arg(long)]
    registry_insecure: bool,
}

impl RegistryOptions {
    /// Whom to trust there.
    pub(crate) fn tls(&self) -> TlsOptions {
        TlsOptions {
            ca_file: self.registry_ca_file.clone(),
            cert_file: self.registry_cert_file.clone(),
            key_file: self.registry_key_file.clone(),
            insecure: self.registry_insecure,
        }
    }
}

/// VerteX, and who logs in to it.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "VerteX options")]
pub(crate) struct VertexOptions {
    /// Address of VerteX: https://HOST[:PORT]
    #[arg(long, value_name = "ENDPOINT")]
    pub(crate) endpoint: Option<String>,

    /// It is Palette; accepted, and changes nothing
    #[arg(long = "palette")]
    _palette: bool,

    /// Log in as USER, else as admin
    #[arg(long, value_name = "USER")]
    pub(crate) vertex_username: Option<String>,

    /// Read the password from FILE
    #[arg(long, value_name = "FILE")]
    pub(crate) vertex_password_file: Option<PathBuf>,

    /// A token from the browser is in FILE
    #[arg(long, value_name = "FILE", conflicts_with_all = ["vertex_username", "vertex_password_file"])]
    pub(crate) vertex_token_file: Option<PathBuf>,

    /// Allow plain HTTP to a host other than this one
    #[arg(long)]
    pub(crate) vertex_plain_http: bool,

    /// Also trust the certificates in FILE (PEM)
    #[arg(long, value_name = "FILE")]
    vertex_ca_file: Option<PathBuf>,

    /// Client certificate chain (PEM)
    #[arg(long, value_name = "FILE", requires = "vertex_key_file")]
    vertex_cert_file: Option<PathBuf>,

    /// Key of the client certificate (PEM, not encrypted)
    #[arg(long, value_name = "FILE", requires = "vertex_cert_file")]
    vertex_key_file: Option<PathBuf>,

    /// Do not check the certificate of VerteX
    #[arg(long)]
    vertex_insecure: bool,
}

impl VertexOptions {
    /// Whom to trust there.
    pub(crate) fn tls(&self) -> TlsOptions {
        TlsOptions {
            ca_file: self.vertex_ca_file.clone(),
            cert_file: self.vertex_cert_file.clone(),
            key_file: self.vertex_key_file.clone(),
            insecure: self.vertex_insecure,
        }
    }
}

/// VerteX's entry for the registry, and the login that `pack-registry-set` will be given for it.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Pack registry options")]
pub(crate) struct EntryOptions {
    /// The entry with this uid
    #[arg(long, value_name = "UID", conflicts_with = "pack_registry_name")]
    pack_registry_uid: Option<String>,

    /// The entry with this name
    #[arg(long, value_name = "NAME")]
    pack_registry_name: Option<String>,

    /// The entry's user [the registry's login]
    #[arg(long, value_name = "USER", requires = "pack_registry_password_file")]
    pack_registry_username: Option<String>,

    /// Its password is in FILE
    #[arg(long, value_name = "FILE", requires = "pack_registry_username")]
    pack_registry_password_file: Option<PathBuf>,

    /// The entry's registry token is in FILE
    #[arg(long, value_name = "FILE")]
    pack_registry_token_file: Option<PathBuf>,

    /// ECR: the access key's id is in FILE
    #[arg(long, value_name = "FILE", requires = "pack_registry_secret_key_file")]
    pack_registry_access_key_file: Option<PathBuf>,

    /// ECR: the secret key is in FILE
    #[arg(long, value_name = "FILE", requires = "pack_registry_access_key_file")]
    pack_registry_secret_key_file: Option<PathBuf>,

    /// ECR: the secret token is in FILE
    #[arg(long, value_name = "FILE")]
    pack_registry_secret_token_file: Option<PathBuf>,
}

impl EntryOptions {
    /// The entry that was named, if any.
    pub(crate) fn wanted(&self) -> Option<Selector> {
        let uid = self.pack_registry_uid.clone().map(Selector::Uid);
        uid.or_else(|| self.pack_registry_name.clone().map(Selector::Name))
    }

    /// The login, its files read; that of the registry if there is no other.
    ///
    /// # Errors
    /// Exit 2 for a file that holds no secret.
    pub(crate) fn given(&self, registry: &RegistryOptions, console: &Console) -> Result<GivenLogin, Failure> {
        let read = |path: &Option<PathBuf>, what: &str| path.as_ref().map(|path| secret_file(path, what, console)).transpose();
        let (username, password_file) = match &self.pack_registry_username {
            Some(username) => (Some(username.clone()), self.pack_registry_password_file.clone()),
            None => (registry.registry_username.clone(), registry.registry_password_file.clone()),
        };
        // A user without a file would be asked for a password at the terminal: not by a check.
        let username = username.filter(|_| password_file.is_some());
        let login = LoginOptions { password_file, ..LoginOptions::default() };
        Ok(GivenLogin {
            username,
            password: login.open(console)?,
            token: read(&self.pack_registry_token_file, "the registry token file")?,
            access_key: read(&self.pack_registry_access_key_file, "the access key file")?,
            secret_key: read(&self.pack_registry_secret_key_file, "the secret key file")?,
            secret_token: read(&self.pack_registry_secret_token_file, "the secret token file")?,
            tls_key: None,
            replace: false,
        })
    }
}
