//! The command line.

use std::path::{Path, PathBuf};

use scar_tool::{Common, Failure};
use scar_tree::{Exclude, TreeOptions};

use crate::pack::Settings;

/// The level with the best ratio of time to size; see shell/bench archive.
const LEVEL: u8 = 5;
/// The most compressors by default, so that memory stays bounded on large machines.
const THREADS: usize = 8;

const EXAMPLES: &str = "\
Examples:
  mkmanifests /var/www/html
  mkmanifests --exclude '*.log' -o /srv/manifests.tgz /var/www/html
  mkmanifests /var/www/html | ocipush harbor.example
  mkmanifests -o - /var/www/html |
    ocipush 123456789012.dkr.ecr.us-east-1.amazonaws.com -";

#[derive(clap::Parser, Debug)]
#[command(
    name = "mkmanifests",
    version,
    long_version = "module:      none (SHA-256 by the crate sha2)",
    about = "pack the manifests of a file server into one archive",
    after_help = EXAMPLES
)]
pub(crate) struct Options {
    /// The folder that the file server serves
    dir: PathBuf,

    /// Write the archive to FILE; - streams it to standard output and writes no record
    #[arg(short, long, value_name = "FILE", default_value = "manifests.tgz")]
    output: PathBuf,

    #[command(flatten)]
    tree: TreeOptions,

    /// Allow a tree without files
    #[arg(long)]
    allow_empty: bool,

    /// Compress with this effort, 1 (fast) to 9 (small)
    #[arg(long, value_name = "LEVEL", default_value_t = LEVEL, value_parser = clap::value_parser!(u8).range(1..=9))]
    level: u8,

    /// Compress with N threads (default: one for each processor, at most 8)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,

    /// Start over up to N times if the tree changes
    #[arg(long, value_name = "N", default_value_t = 0)]
    retries: u32,

    /// Give every entry this time, in seconds since 1970 [env: SOURCE_DATE_EPOCH]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, value_parser = seconds)]
    mtime: Option<i64>,

    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug)]
pub(crate) enum Destination {
    Stdout,
    File(PathBuf),
}

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) source: PathBuf,
    pub(crate) destination: Destination,
    pub(crate) exclude: Exclude,
    pub(crate) allow_empty: bool,
    pub(crate) retries: u32,
    pub(crate) settings: Settings,
}

impl Options {
    /// Checks everything that needs no file access.
    ///
    /// # Errors
    /// Exit 2.
    pub(crate) fn plan(&self) -> Result<Plan, Failure> {
        let exclude = self.tree.exclude()?;
        let destination = match self.output == Path::new("-") {
            true => Destination::Stdout,
            false => Destination::File(self.output.clone()),
        };
        if matches!(destination, Destination::Stdout) && self.retries > 0 {
            return Err(Failure::misuse("--retries: what went to standard output cannot be taken back")
                .hint("write to a file, or leave out --retries"));
        }
        let processors = || std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
        let settings = Settings {
            threads: self.threads.map_or_else(processors, usize::from),
            level: self.level.into(),
            dereference: self.tree.dereference,
            mtime: self.mtime.map_or_else(epoch, |mtime| Ok(Some(mtime)))?,
        };
        Ok(Plan {
            source: self.dir.clone(),
            destination,
            exclude,
            allow_empty: self.allow_empty,
            retries: self.retries,
            settings,
        })
    }
}

/// Parses a time; a clap value parser.
fn seconds(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("'{text}' is not a number of seconds since 1970"))
}

/// The time in the environment; an empty variable counts as unset.
fn epoch() -> Result<Option<i64>, Failure> {
    // Packagers set it for reproducible builds (reproducible-builds.org, "SOURCE_DATE_EPOCH").
    let Some(text) = std::env::var_os("SOURCE_DATE_EPOCH").filter(|text| !text.is_empty()) else { return Ok(None) };
    let text = text.to_string_lossy();
    let refuse = |_| Failure::misuse(format!("read SOURCE_DATE_EPOCH '{text}': it is not a number of seconds since 1970"));
    text.parse().map(Some).map_err(refuse)
}
