//! The command line, and the plan made of it and the record.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use scar_cluster::{RouteOptions, SpecmanOptions};
use scar_record::{Artifact, Record, Time};
use scar_tool::{Common, Console, Failure};

use crate::message::{Marker, Wording};

/// The guide's tag.
const TAG: &str = "0.0.0";

const EXAMPLES: &str = "\
Examples:
  vertex-login https://vertex.example <push.json |
    pack-registry-set -u robot --password-file harbor.password --drop-session |
    specman-wait >wait.json
  specman-wait --new-record --since 2024-12-06T12:43:00Z --timeout 30m
  specman-wait --new-record --since 10m --kubeconfig admin.kubeconfig";

#[derive(clap::Parser, Debug)]
#[command(
    name = "specman-wait",
    version,
    long_version = scar_trust::module(),
    about = "wait until Specman has the manifests",
    after_help = EXAMPLES
)]
pub(crate) struct Options {
    /// The tag to wait for [default: the record's, else 0.0.0]
    #[arg(long, value_parser = tag)]
    tag: Option<String>,

    /// Count log lines from this time on: RFC 3339, or a time ago (10m) [default: the record's push, less --skew]
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Since>,

    // scar-preflight blocks above the same five minutes (FAULTS Q5).
    /// How far the registry's clock may be ahead of the cluster's
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = scar_tool::duration)]
    skew: Duration,

    /// The message of the line that counts, {tag} in the tag's place [default: Persisting {tag}]
    #[arg(long, value_name = "TEXT")]
    marker: Option<Marker>,

    /// Restart Specman first, as kubectl rollout restart does, and wait for its new pods
    #[arg(long)]
    pub(crate) restart: bool,

    /// Overall time limit
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = scar_tool::time_limit)]
    pub(crate) timeout: Duration,

    /// Wait only for the replicas that are ready, and at least for one
    #[arg(long)]
    pub(crate) ready_only: bool,

    /// Keep waiting when a pod cannot run or Specman reports an error
    #[arg(long)]
    pub(crate) keep_waiting: bool,

    /// How long to wait for an error to pass by itself
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = scar_tool::duration)]
    pub(crate) patience: Duration,

    /// Specman's container [default: specman, else the pod's default container, else the only one]
    #[arg(long, value_name = "NAME", value_parser = scar_cluster::name::object)]
    pub(crate) container: Option<String>,

    #[command(flatten)]
    pub(crate) specman: SpecmanOptions,

    #[command(flatten)]
    pub(crate) route: RouteOptions,

    #[command(flatten)]
    pub(crate) common: Common,
}

/// The time from which lines count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    At(Timestamp),
    Ago(Duration),
}

impl Since {
    /// The absolute time; `now` is the cluster's clock.
    pub(crate) fn time(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::At(at) => Some(at),
            Self::Ago(ago) => before(now, ago),
        }
    }
}

fn before(time: Timestamp, ago: Duration) -> Option<Timestamp> {
    time.checked_sub(SignedDuration::try_from(ago).ok()?).ok()
}

fn since(text: &str) -> Result<Since, String> {
    if let Ok(ago) = scar_tool::duration(text) {
        return Ok(Since::Ago(ago));
    }
    let at = Time::parse(text).map_err(|error| format!("{error}, nor a time ago such as 10m"))?;
    Ok(Since::At(at.timestamp()))
}

/// Parses a tag (OCI distribution specification, "Pulling manifests").
fn tag(text: &str) -> Result<String, String> {
    const RULE: &str = "a tag is at most 128 of letters, digits, '_', '.' and '-', and begins with neither '.' nor '-'";
    if let Some((place, c)) = text.chars().enumerate().find(|(_, c)| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')))
    {
        return Err(format!("'{c}' at {} in '{text}' is not allowed; {RULE}", place + 1));
    }
    if text.is_empty() || text.len() > 128 || text.starts_with(['.', '-']) {
        return Err(format!("'{text}' is not a tag; {RULE}"));
    }
    Ok(text.to_owned())
}

/// What to wait for.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) tag: String,
    pub(crate) wording: Arc<Wording>,
    /// The time from which markers count; `None` if all count.
    pub(crate) since: Option<Since>,
}

impl Options {
    /// Combines options and record. A record of other steps without a push is a mistake; a new record is the user's choice.
    /// `pushed_at` is by the registry's clock and the lines are by the node's, so `--skew` allows for a difference. Counting
    /// an old marker is harmless, because specman-verify then waits for the content.
    ///
    /// # Errors
    /// Exit 2 for a malformed section, and for a record without the push.
    pub(crate) fn plan(&self, record: &Record, console: &Console) -> Result<Plan, Failure> {
        let artifact = match self.since.is_some() || record.is_new() || record.is_dry_run() {
            true => record.section::<Artifact>()?,
            false => Some(record.need::<Artifact>()?),
        };
        let pushed_at = artifact.as_ref().and_then(|artifact| artifact.pushed_at);
        let since = self.since.or_else(|| before(pushed_at?.timestamp(), self.skew).map(Since::At));
        if artifact.is_none() && since.is_none() && !record.is_dry_run() && !self.restart {
            console.warn(
                "neither the record nor --since says when the push was: a line of any age counts, also one of an earlier try",
            );
        }
        let tag = self.tag.clone().or_else(|| artifact.map(|artifact| artifact.tag)).unwrap_or_else(|| TAG.to_owned());
        let wording = Arc::new(Wording::new(&self.marker.clone().unwrap_or_default(), &tag));
        Ok(Plan { tag, wording, since })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn since_is_a_time_or_a_time_ago() {
        let now = time("2024-12-06T12:50:00Z");
        for (text, expected) in [("10m", "2024-12-06T12:40:00Z"), ("2024-12-06T12:43:14Z", "2024-12-06T12:43:14Z")] {
            assert_eq!(since(text).unwrap().time(now), Some(time(expected)));
        }
        assert!(since("yesterday").unwrap_err().contains("such as 10m"));
    }

    #[test]
    fn a_tag_is_one_of_a_registry() {
        assert!(tag("0.0.0").is_ok() && tag(&"a".repeat(128)).is_ok());
        for (text, says) in
            [("a b", "' ' at 2"), ("-x", "is not a tag"), ("", "is not a tag"), (&"a".repeat(129), "is not a tag")]
        {
            assert!(tag(text).unwrap_err().contains(says), "{text}");
        }
    }
}
