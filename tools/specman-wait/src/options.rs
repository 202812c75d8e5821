//! What was typed, and what it means together with the record.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use scar_cluster::{ClusterOptions, RouteOptions};
use scar_record::{Artifact, Record, Session, Time};
use scar_tool::{Common, Console, Failure};

use crate::line::Marker;

/// The tag of the guide.
const TAG: &str = "0.0.0";

const EXAMPLES: &str = "\
Examples:
  vertex-login https://vertex.example <push.json |
    pack-registry-set -u robot --password-file harbor.password \\
      --drop-session | specman-wait >wait.json
  specman-wait --new-record --since 2024-12-06T12:43:00Z --timeout 30m
  specman-wait --new-record --since 10m --kubeconfig admin.kubeconfig";

/// What was typed.
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

    /// Count log lines from this time on: RFC 3339, or so long ago (10m) [default: the record's push]
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Since>,

    /// The words of the line that counts, {tag} in the tag's place [default: Persisting {tag}]
    #[arg(long, value_name = "TEXT")]
    marker: Option<Marker>,

    /// Restart Specman first, as kubectl rollout restart does, and wait for its new pods
    #[arg(long)]
    pub(crate) restart: bool,

    /// Give up after this time
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = scar_tool::duration)]
    pub(crate) timeout: Duration,

    /// Be content with the replicas that are ready, and at least one
    #[arg(long)]
    pub(crate) ready_only: bool,

    /// Wait on when a pod cannot run or Specman reports an error
    #[arg(long)]
    pub(crate) keep_waiting: bool,

    /// Bear so long with an error that may pass by itself
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = scar_tool::duration)]
    pub(crate) patience: Duration,

    /// Specman's StatefulSet
    #[arg(long, value_name = "NAME", default_value = "specman", value_parser = scar_cluster::name::object)]
    pub(crate) statefulset: String,

    /// The container whose log counts [default: specman, else the first]
    #[arg(long, value_name = "NAME", value_parser = scar_cluster::name::object)]
    pub(crate) container: Option<String>,

    #[command(flatten)]
    pub(crate) cluster: ClusterOptions,

    #[command(flatten)]
    pub(crate) route: RouteOptions,

    #[command(flatten)]
    pub(crate) common: Common,
}

impl AsRef<Common> for Options {
    fn as_ref(&self) -> &Common {
        &self.common
    }
}

/// From when on lines count, as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    At(Timestamp),
    Ago(Duration),
}

fn since(text: &str) -> Result<Since, String> {
    if let Ok(ago) = scar_tool::duration(text) {
        return Ok(Since::Ago(ago));
    }
    let at = Time::parse(text).map_err(|error| format!("{error}, nor a time ago such as 10m"))?;
    Ok(Since::At(at.timestamp()))
}

/// A tag as the OCI distribution specification has it.
fn tag(text: &str) -> Result<String, String> {
    const RULE: &str = "a tag is at most 128 of letters, digits, '_', '.' and '-', and begins with neither '.' nor '-'";
    if let Some((place, c)) = text.chars().enumerate().find(|(_, c)| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')))
    {
        return Err(format!("'{c}' at {} in '{text}' is not allowed; {RULE}", place + 1));
    }
    if text.is_empty() || text.len() > 128 || text.starts_with(['.', '-']) {
        return Err(format!("'{text}' is no tag; {RULE}"));
    }
    Ok(text.to_owned())
}

/// From when on lines count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    /// Any line.
    None,
    /// Lines from this time of the cluster's clock on.
    Exactly(Timestamp),
    /// Lines from this time of our clock on, which the cluster's may not agree with.
    Push(Timestamp),
    /// Lines from so long before now on.
    Ago(Duration),
}

/// How much a line may seem to be before the push: times of both are cut to seconds.
const ALLOWANCE: SignedDuration = SignedDuration::from_secs(2);
/// A difference between two clocks that is none: the `Date` header has whole seconds.
const AGREE: SignedDuration = SignedDuration::from_secs(2);

impl Bound {
    /// In the cluster's clock, which is `skew` ahead of ours.
    pub(crate) fn in_cluster(self, now: Timestamp, skew: SignedDuration) -> Option<Timestamp> {
        let skew = if skew.abs() <= AGREE { SignedDuration::ZERO } else { skew };
        match self {
            Self::None => None,
            Self::Exactly(at) => Some(at),
            Self::Push(at) => at.checked_add(skew).and_then(|at| at.checked_sub(ALLOWANCE)).ok(),
            Self::Ago(ago) => {
                let ago = SignedDuration::try_from(ago).unwrap_or(SignedDuration::MAX);
                now.checked_add(skew).and_then(|now| now.checked_sub(ago)).ok()
            }
        }
    }
}

/// What is waited for.
#[derive(Debug, Clone)]
pub(crate) struct Aim {
    /// The tag.
    pub(crate) tag: String,
    /// The words that say so.
    pub(crate) marker: Marker,
    /// From when on lines count.
    pub(crate) bound: Bound,
}

impl Options {
    /// Puts options and record together. A record of other steps without a push is a mistake; a new one is a person's
    /// choice.
    ///
    /// # Errors
    /// Exit 2 for a section that is not as it should be, and for a record that lacks the push.
    pub(crate) fn aim(&self, record: &Record, console: &Console) -> Result<Aim, Failure> {
        let artifact = match self.since.is_some() || record.is_new() || record.is_dry_run() {
            true => record.section::<Artifact>()?,
            false => Some(record.need::<Artifact>()?),
        };
        let session = record.section::<Session>()?;
        if let Some(end) = session.and_then(|session| session.expires_at) {
            let left = end.timestamp().duration_since(Timestamp::now());
            if left < SignedDuration::try_from(self.timeout).unwrap_or(SignedDuration::MAX) {
                console.warn(format!("the session in the record ends at {end}, which may be before Specman is done"));
                console.hint(
                    "if the next step says that the session has expired: log in again with vertex-login, and go on from there",
                );
            }
        }
        let bound = match (self.since, &artifact) {
            (Some(Since::At(at)), _) => Bound::Exactly(at),
            (Some(Since::Ago(ago)), _) => Bound::Ago(ago),
            (None, artifact) => match artifact.as_ref().and_then(|artifact| artifact.pushed_at) {
                Some(pushed_at) => Bound::Push(pushed_at.timestamp()),
                None => Bound::None,
            },
        };
        if artifact.is_none() && bound == Bound::None && !record.is_dry_run() && !self.restart {
            console.warn(
                "neither the record nor --since says when the push was: a line of any age counts, also one of an earlier try",
            );
        }
        let tag = self.tag.clone().or_else(|| artifact.map(|artifact| artifact.tag)).unwrap_or_else(|| TAG.to_owned());
        Ok(Aim { tag, marker: self.marker.clone().unwrap_or_default(), bound })
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
        assert_eq!(since("10m"), Ok(Since::Ago(Duration::from_secs(600))));
        assert_eq!(since("2024-12-06T12:43:14Z"), Ok(Since::At(time("2024-12-06T12:43:14Z"))));
        assert!(since("yesterday").unwrap_err().contains("such as 10m"));
    }

    #[test]
    fn a_tag_is_one_of_a_registry() {
        assert!(tag("0.0.0").is_ok() && tag(&"a".repeat(128)).is_ok());
        for (text, says) in [("a b", "' ' at 2"), ("-x", "is no tag"), ("", "is no tag"), (&"a".repeat(129), "is no tag")] {
            assert!(tag(text).unwrap_err().contains(says), "{text}");
        }
    }

    #[test]
    fn the_push_is_taken_in_the_clusters_clock() {
        let (push, now) = (time("2024-12-06T12:43:00Z"), time("2024-12-06T12:50:00Z"));
        let seconds = SignedDuration::from_secs;
        for (bound, skew, expected) in [
            (Bound::Push(push), 0, "2024-12-06T12:42:58Z"),
            (Bound::Push(push), 1, "2024-12-06T12:42:58Z"),
            (Bound::Push(push), 60, "2024-12-06T12:43:58Z"),
            (Bound::Push(push), -60, "2024-12-06T12:41:58Z"),
            (Bound::Exactly(push), 60, "2024-12-06T12:43:00Z"),
            (Bound::Ago(Duration::from_secs(600)), 60, "2024-12-06T12:41:00Z"),
        ] {
            assert_eq!(bound.in_cluster(now, seconds(skew)), Some(time(expected)), "{bound:?} {skew}");
        }
        assert_eq!(Bound::None.in_cluster(now, seconds(60)), None);
    }
}
