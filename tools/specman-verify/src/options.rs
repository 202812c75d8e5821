//! What was typed, and what it means.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use scar_cluster::ClusterOptions;
use scar_http::{LoginOptions, Origin, Url};
use scar_registry::login::Places;
use scar_tool::{Common, Console, Failure};
use scar_trust::{RouteOptions, TlsOptions, Trust};

use crate::layer::Access;
use crate::report::LISTED;
use crate::sample;
use crate::source::Source;
use crate::tree::Expected;

const EXAMPLES: &str = "\
Examples:
  specman-verify <record.json
  specman-verify --new-record /var/www/html --sample 200
  specman-verify --new-record manifests.tgz --insecure
  specman-verify --new-record manifests.tgz \\
    --url https://specman.example:8443 --ca-file specman.pem";

/// What was typed.
#[derive(clap::Parser, Debug)]
#[command(
    name = "specman-verify",
    version,
    long_version = scar_trust::module(),
    about = "compare what Specman serves with what was pushed",
    after_help = EXAMPLES
)]
pub(crate) struct Options {
    /// Archive or folder to compare with [default: the record's archive, else its artifact in the registry]
    #[arg(value_name = "FILE|DIR")]
    pub(crate) source: Option<PathBuf>,

    /// Reach Specman here, without the cluster
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    /// The files are below PATH at Specman
    #[arg(long, value_name = "PATH", default_value = "/", hide_default_value = true)]
    path_prefix: String,

    /// Compare N files taken at random
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) sample: Option<NonZeroUsize>,

    /// Take the same files as the sample with this seed did
    #[arg(long, value_name = "SEED", requires = "sample")]
    pub(crate) seed: Option<u64>,

    /// Only report what differs, and succeed
    #[arg(long)]
    pub(crate) report: bool,

    /// Files at a time from each replica
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) jobs: u16,

    /// How often to try a failed request again
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) retries: usize,

    /// Overall time limit, the wait included
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = scar_tool::duration)]
    pub(crate) timeout: Duration,

    /// Specman's StatefulSet
    #[arg(long, value_name = "NAME", default_value = "specman", value_parser = scar_cluster::name::object)]
    pub(crate) statefulset: String,

    /// The port on which Specman's pods listen
    #[arg(long, value_name = "PORT", default_value_t = 8443, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: u16,

    /// The name in Specman's certificate [default: specman-service.NAMESPACE.svc.cluster.local]
    #[arg(long, value_name = "NAME", conflicts_with = "url")]
    server_name: Option<String>,

    /// Specman speaks HTTP without TLS
    #[arg(long)]
    pub(crate) plain_http: bool,

    #[command(flatten)]
    pub(crate) tls: TlsOptions,

    #[command(flatten)]
    pub(crate) route: RouteOptions,

    #[command(flatten)]
    registry: RegistryOptions,

    #[command(flatten)]
    pub(crate) cluster: ClusterOptions,

    #[command(flatten)]
    pub(crate) common: Common,
}

/// How the registry is reached, where the layer is read from it.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Registry options, where the layer is read from it")]
struct RegistryOptions {
    /// Read from HOST alone [default: $OCI_PACK_REGISTRY]
    #[arg(long, value_name = "HOST[:PORT]")]
    registry: Option<String>,

    /// Log in to the registry as USER
    #[arg(short, long, value_name = "USER")]
    username: Option<String>,

    /// Read the registry's password from FILE
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// Take the registry's login from FILE alone
    #[arg(long, value_name = "FILE")]
    registry_config: Option<PathBuf>,

    /// Trust FILE (PEM) for the registry
    #[arg(long, value_name = "FILE")]
    registry_ca_file: Option<PathBuf>,

    /// Also send the login to a token realm there
    #[arg(long, value_name = "HOST[:PORT]")]
    trust_realm: Vec<String>,

    /// The registry speaks HTTP without TLS
    #[arg(long)]
    registry_plain_http: bool,
}

impl AsRef<Common> for Options {
    fn as_ref(&self) -> &Common {
        &self.common
    }
}

/// Reads a number of files; a clap value parser.
fn count(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| format!("'{text}' is no number of files, which is 1 or more"))
}

/// Where Specman is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Its origin: that of `--url`, or the service that its certificate is for.
    pub(crate) origin: Origin,
    /// The folder of the files there, with a slash at its end.
    pub(crate) base: Url,
    /// Whether a port-forward leads there.
    pub(crate) forwarded: bool,
}

impl Options {
    /// The files to compare: all, or the sample. Links that lead out of the tree are shown.
    ///
    /// # Errors
    /// Exit 2 where there is none: success would say nothing.
    pub(crate) fn choose(&self, source: &Source, console: &Console) -> Result<Vec<Expected>, Failure> {
        let (files, outside) = source.tree.expected()?;
        if !outside.is_empty() {
            console.note(format!("links that lead to nothing in '{}' are not compared: {}", source.name, outside.len()));
            outside.iter().take(LISTED).for_each(|link| console.note(link));
            if outside.len() > LISTED {
                console.note(format!("and {} more", outside.len() - LISTED));
            }
        }
        if files.is_empty() {
            return Err(Failure::misuse(format!("compare '{}': there is no file in it", source.name)));
        }
        let Some(count) = self.sample.map(NonZeroUsize::get).filter(|count| *count < files.len()) else { return Ok(files) };
        let seed = self.seed.unwrap_or_else(sample::seed);
        console.note(format!("comparing a sample of {count} of {} files, --seed {seed}", files.len()));
        Ok(sample::choose(files.len(), count, seed).into_iter().map(|place| files[place].clone()).collect())
    }

    /// How the registry would be reached.
    ///
    /// # Errors
    /// Exit 2 for a file that does not hold what its option needs.
    pub(crate) fn access(&self, console: &Console) -> Result<Access, Failure> {
        let RegistryOptions {
            registry,
            username,
            password_file,
            registry_config,
            registry_ca_file,
            trust_realm,
            registry_plain_http,
        } = &self.registry;
        let login = LoginOptions { username: username.clone(), password_file: password_file.clone(), password_stdin: false };
        let tls = TlsOptions { ca_file: registry_ca_file.clone(), ..TlsOptions::default() };
        Ok(Access {
            registry: registry.clone().or_else(|| scar_registry::Named::from_environment().registry),
            username: username.clone(),
            given: login.open(console)?,
            places: Places::from_environment(registry_config.clone()),
            trust: Trust::load(&tls)?.by(self.route),
            trust_realm: trust_realm.clone(),
            plain_http: *registry_plain_http,
        })
    }

    /// Where Specman is, and the files there.
    ///
    /// # Errors
    /// Exit 2 for what is no address, name or path.
    pub(crate) fn endpoint(&self) -> Result<Endpoint, Failure> {
        let (origin, below) = match &self.url {
            Some(url) => Origin::parse(url)?,
            None => {
                let service = format!("specman-service.{}.svc.cluster.local", self.cluster.namespace);
                let name = self.server_name.as_deref().unwrap_or(&service);
                let scheme = if self.plain_http { "http" } else { "https" };
                let bad = || Failure::misuse(format!("use --server-name '{name}': it is neither a name nor an address"));
                if rustls_pki_types::ServerName::try_from(name).is_err() {
                    return Err(bad());
                }
                let host = if name.contains(':') { format!("[{name}]") } else { name.to_owned() };
                (Origin::at(scheme, &format!("{host}:{}", self.port))?, String::new())
            }
        };
        let prefix = prefix(&below, &self.path_prefix)?;
        Ok(Endpoint { base: origin.url(&prefix)?, origin, forwarded: self.url.is_none() })
    }
}

impl Endpoint {
    /// Where it is, for a plan.
    pub(crate) fn words(&self) -> String {
        if self.forwarded { "each replica, through port-forwards".to_owned() } else { format!("'{}'", self.base) }
    }
}

/// The folder that a URL's path and `--path-prefix` name together, with a slash at both ends.
fn prefix(below: &str, typed: &str) -> Result<String, Failure> {
    let mut prefix = String::from("/");
    for part in below.split('/').chain(typed.split('/')).filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." || part.contains(['?', '#']) || part.chars().any(char::is_control) {
            return Err(Failure::misuse(format!("use the path prefix '{typed}': '{part}' is no folder's name"))
                .hint("write it as in the URL: --path-prefix /manifests"));
        }
        prefix.push_str(part);
        prefix.push('/');
    }
    Ok(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_come_to_one_folder() {
        for (below, typed, expected) in
            [("", "/", "/"), ("", "a", "/a/"), ("", "/a//b/", "/a/b/"), ("x/y", "/a", "/x/y/a/"), ("", "./a%20b", "/a%20b/")]
        {
            assert_eq!(prefix(below, typed).unwrap(), expected);
        }
        for bad in ["../x", "a?b", "a#b"] {
            assert_eq!(prefix("", bad).unwrap_err().exit, scar_tool::Exit::Misuse, "{bad}");
        }
    }
}
