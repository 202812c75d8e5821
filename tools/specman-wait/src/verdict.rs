//! The decision: from the state of the cluster and the log lines to "wait", "done" or "give up".
//!
//! Everything here is pure. The clock is a parameter: log times are the cluster's, `now` is the time since the wait began.
//! Reopened streams overlap, so lines may come twice and in any order: only the newest marker and the newest error about the
//! tag count.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use scar_cluster::specman::{Health, Look, SpecmanPod};

use crate::message::{Cause, Statement};

/// How long after the last marker an error may still revoke it: Specman logs "Persisting" before it writes.
pub(crate) const SETTLE: Duration = Duration::from_secs(1);
/// How many permanent errors of a replica end the wait, even before the patience is over.
const MOST_ERRORS: u32 = 3;

/// The rules of the decision.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// Markers before this time do not count: the time of the push, less `--skew`.
    pub(crate) since: Option<Timestamp>,
    /// When the wait began. Older errors do not end it: the push or the flag may have removed their cause.
    pub(crate) began: Timestamp,
    /// Wait only for ready pods, and at least for one.
    pub(crate) ready_only: bool,
    /// Only the deadline ends the wait.
    pub(crate) keep_waiting: bool,
    /// How long to wait for an error to pass by itself.
    pub(crate) patience: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogLine {
    /// The uid of the pod that wrote it.
    pub(crate) uid: String,
    /// The container runtime's timestamp.
    pub(crate) at: Timestamp,
    /// Specman's own timestamp.
    pub(crate) written: Option<Timestamp>,
    pub(crate) says: Statement,
    /// Its message, of bounded length.
    pub(crate) text: String,
}

impl LogLine {
    /// The older of its two timestamps. A marker counts only if neither is before the push: the node's clock and Specman's
    /// may differ.
    fn older(&self) -> Timestamp {
        self.written.map_or(self.at, |written| written.min(self.at))
    }
}

/// A permanent error that Specman itself has logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) cause: Cause,
    pub(crate) text: String,
    at: Timestamp,
    /// When the patience for it began, since the start of the wait.
    since: Duration,
    count: u32,
}

/// One replica, and what its current pod has logged.
#[derive(Debug, Clone, Default)]
pub(crate) struct Replica {
    pub(crate) pod: Option<SpecmanPod>,
    marker: Option<Timestamp>,
    /// The newest error about the tag.
    failed: Option<Timestamp>,
    /// When the first marker was received.
    marker_received: Duration,
    trouble: Option<Trouble>,
    /// The newest marker that is too old to count.
    stale: Option<Timestamp>,
    /// Whether the last list of tags that it logged contains ours.
    pub(crate) has_tag: Option<bool>,
    stuck_since: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Wait,
    /// Every replica has logged the marker; check whether all pods still exist.
    Recheck,
    /// Every replica has the tag.
    Done {
        /// When the last of them logged it.
        persisted_at: Timestamp,
        pods: Vec<String>,
    },
    /// Waiting will not help.
    GiveUp(Reason),
}

/// Why waiting will not help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The StatefulSet does not exist.
    NoSet,
    /// It is scaled to no replicas.
    NoReplicas,
    /// This pod does not run.
    Pod { pod: String, reason: String, message: String },
    /// Specman has logged a permanent error.
    Specman { pod: String, cause: Cause, text: String },
}

/// What is known of the cluster and the logs.
#[derive(Debug)]
pub(crate) struct Watch {
    rules: Rules,
    look: Option<Look>,
    /// When the last look at the cluster began.
    looked_at: Duration,
    replicas: BTreeMap<String, Replica>,
    empty_since: Option<Duration>,
    ever_a_pod: bool,
}

impl Replica {
    /// When it persisted the tag. A terminating pod does not count, and a later error about the tag revokes the marker.
    pub(crate) fn persisted(&self) -> Option<Timestamp> {
        self.pod.as_ref().filter(|pod| !pod.is_leaving)?;
        self.marker.filter(|marker| self.failed.is_none_or(|failed| failed < *marker))
    }

    /// The newest marker that is too old to count, unless an error about the tag came after it.
    pub(crate) fn too_early(&self) -> Option<Timestamp> {
        self.stale.filter(|stale| self.failed.is_none_or(|failed| failed < *stale))
    }

    /// Takes the present state of the pod. A new pod starts without a marker.
    fn update(&mut self, pod: Option<&SpecmanPod>, now: Duration) {
        // A StatefulSet gives a replaced pod the same name. Only the uid shows that it is another one, whose volume may be empty.
        if pod.map(|pod| &pod.uid) != self.pod.as_ref().map(|pod| &pod.uid) {
            *self = Self::default();
        }
        let is_stuck = pod.is_some_and(|pod| matches!(pod.health, Health::Stuck { .. }));
        self.stuck_since = is_stuck.then(|| self.stuck_since.unwrap_or(now));
        self.pod = pod.cloned();
    }

    /// Takes a marker that counts; returns true if it is new.
    fn persist(&mut self, at: Timestamp, now: Duration) -> bool {
        let had = self.persisted().is_some();
        let is_newer = self.marker.is_none_or(|known| known < at);
        self.marker = self.marker.max(Some(at));
        let has = self.persisted().is_some();
        // Only the first marker starts the time to settle; a repeated marker must not prolong it.
        if has && !had {
            self.marker_received = now;
        }
        is_newer && has
    }

    /// Takes an error that may end the wait; returns true if it is new.
    fn fail(&mut self, cause: Cause, line: &LogLine, now: Duration) -> bool {
        if self.trouble.as_ref().is_some_and(|known| line.at <= known.at) {
            return false;
        }
        // A marker between two errors means that Specman recovered: counting starts again.
        let known = self.trouble.take().filter(|known| self.marker.is_none_or(|marker| marker < known.at));
        let (since, count) = known.map_or((now, 0), |known| (known.since, known.count));
        self.trouble = Some(Trouble { cause, text: line.text.clone(), at: line.at, since, count: count + 1 });
        true
    }

    /// Why waiting for this replica will not help.
    fn reason(&self, name: &str, now: Duration, patience: Duration) -> Option<Reason> {
        let is_over = |since: Duration| now >= since + patience;
        if let Some(Health::Stuck { reason, message }) = self.pod.as_ref().map(|pod| &pod.health)
            && self.stuck_since.is_some_and(is_over)
        {
            return Some(Reason::Pod { pod: name.to_owned(), reason: reason.clone(), message: message.clone() });
        }
        let trouble = self.trouble.as_ref().filter(|trouble| trouble.count >= MOST_ERRORS || is_over(trouble.since))?;
        Some(Reason::Specman { pod: name.to_owned(), cause: trouble.cause, text: trouble.text.clone() })
    }
}

impl Watch {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, look: None, looked_at: Duration::ZERO, replicas: BTreeMap::new(), empty_since: None, ever_a_pod: false }
    }

    /// Takes the state of the cluster in a look that began at `now`.
    pub(crate) fn update(&mut self, look: Look, now: Duration) {
        self.looked_at = now;
        let names = look.replicas();
        self.empty_since = names.is_empty().then(|| self.empty_since.unwrap_or(now));
        self.ever_a_pod |= !look.pods.is_empty();
        // If the StatefulSet is gone, its last replicas are kept: the message at the end names them.
        if look.set.is_some() {
            self.replicas.retain(|name, _| names.contains(name));
        }
        for name in names {
            self.replicas.entry(name).or_default();
        }
        for (name, replica) in &mut self.replicas {
            replica.update(look.pods.get(name), now);
        }
        self.look = Some(look);
    }

    /// Takes a line of a replica's log; returns true if it says something new.
    pub(crate) fn take_line(&mut self, name: &str, line: &LogLine, now: Duration) -> bool {
        let Some(replica) = self.replicas.get_mut(name) else { return false };
        // The stream of a deleted pod may still deliver lines.
        if replica.pod.as_ref().is_none_or(|pod| pod.uid != line.uid) {
            return false;
        }
        // Three clocks meet here: the registry's (the push), the node's and Specman's. `since` allows for a skew of some minutes.
        // Counting a marker that is too old does no harm, because specman-verify waits for the content (FAULTS Q4 and Q5).
        let is_stale = self.rules.since.is_some_and(|since| line.older() < since);
        match line.says {
            Statement::Persisted if is_stale => {
                let is_newer = replica.stale.is_none_or(|known| known < line.older());
                replica.stale = replica.stale.max(Some(line.older()));
                is_newer
            }
            Statement::Persisted => replica.persist(line.at, now),
            Statement::Failed { cause, names_tag } => {
                let had = replica.persisted().is_some();
                if names_tag {
                    replica.failed = replica.failed.max(Some(line.at));
                }
                let revoked = had && replica.persisted().is_none();
                // The log is read from its beginning, to find a marker that came before this run. Errors from that time do not
                // end the wait: the push or the flag may have removed their cause.
                let cause = cause.filter(|_| line.at >= self.rules.began && replica.persisted().is_none());
                cause.is_some_and(|cause| replica.fail(cause, line, now)) || revoked
            }
            Statement::Downloading => {
                // Specman tries again: the patience starts over, but the number of errors stays.
                if let Some(trouble) = replica.trouble.as_mut().filter(|trouble| trouble.at <= line.at) {
                    trouble.since = now;
                }
                !is_stale
            }
            Statement::Tags(has) => {
                replica.has_tag = Some(has);
                !is_stale
            }
            Statement::Nothing => false,
        }
    }

    /// Decides. Success is checked before failure.
    pub(crate) fn verdict(&self, now: Duration) -> Verdict {
        if self.look.is_none() {
            return Verdict::Wait;
        }
        let all = || self.replicas.iter();
        let is_ready = |replica: &Replica| replica.pod.as_ref().is_some_and(|pod| pod.is_ready);
        let only_ready = self.rules.ready_only && all().any(|(_, replica)| is_ready(replica));
        let awaited = || all().filter(|(_, replica)| !only_ready || is_ready(replica));
        let persisted: Option<Vec<_>> = awaited().map(|(_, replica)| replica.persisted()).collect();
        // Without replicas, "every replica has it" would be true at once.
        let has_replicas = self.empty_since.is_none() && (only_ready || !self.rules.ready_only);
        if let Some(persisted_at) = persisted.filter(|_| has_replicas).and_then(|times| times.into_iter().max()) {
            let received = awaited().map(|(_, replica)| replica.marker_received).max().unwrap_or_default();
            return match () {
                () if now < received + SETTLE => Verdict::Wait,
                // A pod that was replaced after its marker, or in the time to settle, must log it again (FAULTS Q6).
                () if self.looked_at < received + SETTLE => Verdict::Recheck,
                () => Verdict::Done { persisted_at, pods: awaited().map(|(name, _)| name.clone()).collect() },
            };
        }
        if self.rules.keep_waiting {
            return Verdict::Wait;
        }
        if self.empty_since.is_some_and(|since| now >= since + self.rules.patience) {
            let no_set = self.look.as_ref().is_none_or(|look| look.set.is_none());
            return Verdict::GiveUp(if no_set { Reason::NoSet } else { Reason::NoReplicas });
        }
        let mut missing = awaited().filter(|(_, replica)| replica.persisted().is_none());
        let reason = missing.find_map(|(name, replica)| replica.reason(name, now, self.rules.patience));
        reason.map_or(Verdict::Wait, Verdict::GiveUp)
    }

    pub(crate) fn ever_a_pod(&self) -> bool {
        self.ever_a_pod
    }

    /// The replicas in order; the last known ones if the StatefulSet is gone.
    pub(crate) fn replicas(&self) -> &BTreeMap<String, Replica> {
        &self.replicas
    }
}

#[cfg(test)]
mod tests;
