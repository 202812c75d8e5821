//! The command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use scar_cluster::SpecmanOptions;
use scar_http::{Origin, Retry, Url};
use scar_registry::{EXCHANGE, RegistryOptions, Scope};
use scar_tool::{Common, Console, Deadline, Failure};
use scar_trust::{RouteOptions, TlsOptions};

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

/// The options.
#[derive(clap::Parser, Debug)]
#[command(
    name = "specman-verify",
    version,
    long_version = scar_trust::module(),
    about = "compare what Specman serves with what was pushed",
    after_help = EXAMPLES
)]
pub(crate) struct Options {
    /// Archive or folder to compare with [the record's]
    #[arg(value_name = "FILE|DIR")]
    pub(crate) source: Option<PathBuf>,

    /// Connect to Specman at this URL, without the cluster
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    /// Look for the files below PATH at Specman
    #[arg(long, value_name = "PATH", default_value = "/", hide_default_value = true)]
    path_prefix: String,

    /// Compare only N files, chosen at random
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) sample: Option<NonZeroUsize>,

    /// Choose the same files as an earlier sample did
    #[arg(long, value_name = "SEED", requires = "sample")]
    pub(crate) seed: Option<u64>,

    /// Report differences, but succeed
    #[arg(long)]
    pub(crate) report: bool,

    /// Files to compare at a time at each replica
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) jobs: u16,

    /// How often to retry a failed request
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(crate) retries: u16,

    /// Overall time limit, including the wait
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = scar_tool::time_limit)]
    pub(crate) timeout: Duration,

    /// The port of Specman's pods
    #[arg(long, value_name = "PORT", default_value_t = 8443, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) port: u16,

    /// The name in Specman's certificate [its service's]
    #[arg(long, value_name = "NAME", conflicts_with = "url")]
    server_name: Option<String>,

    /// Use HTTP without TLS for Specman
    #[arg(long)]
    pub(crate) plain_http: bool,

    #[command(flatten)]
    pub(crate) tls: TlsOptions,

    #[command(flatten)]
    pub(crate) route: RouteOptions,

    /// Read only from HOST
    #[arg(long, value_name = "HOST[:PORT]", help_heading = HEADING)]
    registry: Option<String>,

    #[command(flatten)]
    access: RegistryOptions<OfRegistry, OfLogin>,

    #[command(flatten)]
    pub(crate) specman: SpecmanOptions,

    #[command(flatten)]
    pub(crate) common: Common,
}

const HEADING: &str = "Registry options, where the layer is read from it";

scar_tool::prefix!(
    /// The registry's connection: the bare names are Specman's.
    OfRegistry, "registry-", HEADING
);
scar_tool::prefix!(
    /// The registry's login: Specman takes none.
    OfLogin, "", HEADING
);

/// Parses a number of files; a clap value parser.
fn count(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| format!("'{text}' must be a number of files, 1 or more"))
}

/// How to reach Specman.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// The origin of `--url`, or of the service that its certificate is for.
    pub(crate) origin: Origin,
    /// The path of the files' folder, ending in a slash.
    pub(crate) base: Url,
    /// Whether to use port-forwards.
    pub(crate) forwarded: bool,
}

impl Options {
    /// The files to compare: all, or a sample. Warns about links that leave the tree.
    ///
    /// # Errors
    /// Exit 2 if there is none: success would mean nothing.
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

    /// How to reach the registry.
    ///
    /// # Errors
    /// Exit 2 for a file that does not contain what its option needs.
    pub(crate) fn access(&self, console: &Console) -> Result<Access, Failure> {
        let retry = Retry { longest_wait: Duration::from_secs(30), ..Retry::until(Deadline::never()) };
        Ok(Access {
            registry: self.registry.clone().or_else(|| scar_registry::Environment::from_environment().registry),
            login: self.access.login(None, console)?,
            trust: self.access.trust(self.route)?,
            config: self.access.config(Scope::Pull, retry, EXCHANGE),
        })
    }

    /// How to reach Specman, and the path of the files there.
    ///
    /// # Errors
    /// Exit 2 for a malformed address, name or path.
    pub(crate) fn endpoint(&self) -> Result<Endpoint, Failure> {
        let (origin, below) = match &self.url {
            Some(url) => Origin::parse(url)?,
            None => {
                let service = format!("specman-service.{}.svc.cluster.local", self.specman.cluster.namespace);
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
    /// Its description in a plan.
    pub(crate) fn words(&self) -> String {
        if self.forwarded { "each replica, through port-forwards".to_owned() } else { format!("'{}'", self.base) }
    }
}

/// The folder made of the URL's path and `--path-prefix`, with a slash at both ends.
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
