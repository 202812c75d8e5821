//! The decision: from what was seen of the cluster and said in the logs to "wait", "done" or "give up".
//!
//! Everything here is pure. The clock is a parameter: log times are the cluster's, `now` is the time since the wait
//! began. Hearing the same line again, or an older one later, changes nothing: streams overlap where they are reopened.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::line::{Cause, Says};
use crate::pods::{Health, PodSeen};

/// How long after the last marker an error line may still take it back: Specman says "Persisting" before it writes.
pub(crate) const SETTLE: Duration = Duration::from_secs(1);
/// How much later than its marker an error line still belongs to it.
const BELONGS: SignedDuration = SignedDuration::from_secs(10);
/// How many errors of the kind that does not pass are enough, however short the wait was.
const ENOUGH: u32 = 3;

/// What is waited for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// No line before this counts.
    pub(crate) since: Option<Timestamp>,
    /// Errors before this do not end the wait: they may be why the migration is done.
    pub(crate) began: Timestamp,
    /// Only pods that are ready, and at least one, not every replica.
    pub(crate) ready_only: bool,
    /// Nothing but the deadline ends the wait.
    pub(crate) keep_waiting: bool,
    /// How long a state that may pass by itself is borne with.
    pub(crate) patience: Duration,
}

/// The StatefulSet and its pods at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// The names of the replicas; `None` where there is no StatefulSet.
    pub(crate) replicas: Option<Vec<String>>,
    /// The pods that exist, by name.
    pub(crate) pods: BTreeMap<String, PodSeen>,
}

/// A log line that matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    /// When the container runtime took it.
    pub(crate) at: Option<Timestamp>,
    /// The time that the line itself tells.
    pub(crate) told: Option<Timestamp>,
    /// What it says.
    pub(crate) says: Says,
    /// Its text, bounded.
    pub(crate) text: String,
}

impl Said {
    /// The older of its two times: a line counts only where both are after the push.
    fn older(&self) -> Option<Timestamp> {
        match (self.at, self.told) {
            (Some(at), Some(told)) => Some(at.min(told)),
            (at, told) => at.or(told),
        }
    }

    /// When it was said, as well as can be known.
    fn time(&self) -> Option<Timestamp> {
        self.at.or(self.told)
    }
}

/// A replica that cannot have the tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// Why.
    pub(crate) cause: Cause,
    /// The line.
    pub(crate) text: String,
    at: Option<Timestamp>,
    since: Duration,
    count: u32,
}

/// One replica.
#[derive(Debug, Clone, Default)]
pub(crate) struct Replica {
    /// Its pod, where there is one.
    pub(crate) pod: Option<PodSeen>,
    /// When it said that the tag is persisted.
    pub(crate) persisted: Option<Timestamp>,
    heard: Duration,
    /// What keeps it from having the tag.
    pub(crate) trouble: Option<Trouble>,
    /// The newest marker that is too old to count.
    pub(crate) stale: Option<Timestamp>,
    /// Whether its last list of tags had ours.
    pub(crate) has_tag: Option<bool>,
    stuck_since: Option<Duration>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Wait on.
    Wait,
    /// Every replica that counts has the tag; the last one said so then.
    Done {
        /// When.
        persisted_at: Timestamp,
        /// The pods that said so.
        pods: Vec<String>,
    },
    /// Waiting will not help.
    GiveUp(Reason),
}

/// Why waiting will not help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reason {
    /// There is no such StatefulSet.
    NoSet,
    /// It has no replicas.
    NoReplicas,
    /// This pod does not run.
    Pod {
        /// Its name.
        pod: String,
        /// `CrashLoopBackOff` and the like.
        reason: String,
        /// The cluster's own words.
        message: String,
    },
    /// Specman says so itself.
    Specman {
        /// The pod's name.
        pod: String,
        /// Why.
        cause: Cause,
        /// Its own words.
        text: String,
    },
}

/// The wait's state.
#[derive(Debug)]
pub(crate) struct Watch {
    wanted: Wanted,
    look: Option<Look>,
    replicas: BTreeMap<String, Replica>,
    lacking_since: Option<Duration>,
    ever_a_pod: bool,
}

impl Watch {
    /// Nothing is known yet.
    pub(crate) fn new(wanted: Wanted) -> Self {
        Self { wanted, look: None, replicas: BTreeMap::new(), lacking_since: None, ever_a_pod: false }
    }

    /// Takes what the cluster shows now.
    pub(crate) fn looked(&mut self, look: Look, now: Duration) {
        let lacking = look.replicas.as_ref().is_none_or(Vec::is_empty);
        self.lacking_since = lacking.then(|| self.lacking_since.unwrap_or(now));
        self.ever_a_pod |= !look.pods.is_empty();
        for name in look.replicas.iter().flatten() {
            self.replicas.entry(name.clone()).or_default();
        }
        for (name, replica) in &mut self.replicas {
            replica.pod = look.pods.get(name).cloned();
            let stuck = replica.pod.as_ref().is_some_and(|pod| matches!(pod.health, Health::Stuck { .. }));
            replica.stuck_since = stuck.then(|| replica.stuck_since.unwrap_or(now));
        }
        self.look = Some(look);
    }

    /// Takes a line that a replica's pod wrote. True where it says something new.
    pub(crate) fn heard(&mut self, name: &str, said: &Said, now: Duration) -> bool {
        let since = self.wanted.since;
        let replica = self.replicas.entry(name.to_owned()).or_default();
        let is_stale = since.is_some_and(|since| said.older().is_none_or(|older| older < since));
        let time = said.time().unwrap_or(self.wanted.began);
        match said.says {
            Says::Persisted if is_stale => {
                let stale = said.older().unwrap_or(time);
                let newer = replica.stale.is_none_or(|known| known < stale);
                if newer {
                    replica.stale = Some(stale);
                }
                newer
            }
            Says::Persisted => {
                if replica.trouble.as_ref().is_some_and(|trouble| trouble.at.is_none_or(|at| at <= time)) {
                    replica.trouble = None;
                } else if replica.trouble.is_some() {
                    return false;
                }
                let newer = replica.persisted.is_none_or(|known| known < time);
                if newer {
                    // The first marker is what the replica is waited for; a later one does not prolong the wait.
                    if replica.persisted.is_none() {
                        replica.heard = now;
                    }
                    replica.persisted = Some(time);
                }
                newer
            }
            Says::Failed(cause) => self.failed(name, cause, said, time, now),
            Says::Downloading => {
                if let Some(trouble) = replica.trouble.as_mut().filter(|trouble| trouble.at.is_none_or(|at| at <= time)) {
                    trouble.since = now;
                }
                !is_stale
            }
            Says::Tags(has) => {
                replica.has_tag = Some(has);
                !is_stale
            }
            Says::Nothing => false,
        }
    }

    fn failed(&mut self, name: &str, cause: Cause, said: &Said, time: Timestamp, now: Duration) -> bool {
        let Some(replica) = self.replicas.get_mut(name) else { return false };
        if let Some(marker) = replica.persisted {
            // An error of a later round says nothing about what is persisted already.
            if time < marker || time.duration_since(marker) > BELONGS || cause != Cause::NoSpace {
                return false;
            }
            replica.persisted = None;
        } else if time < self.wanted.began {
            return false;
        }
        let known = replica.trouble.take();
        if known.as_ref().is_some_and(|known| known.at.is_some_and(|at| time <= at)) {
            replica.trouble = known;
            return false;
        }
        let (since, count) = known.map_or((now, 0), |known| (known.since, known.count));
        replica.trouble = Some(Trouble { cause, text: said.text.clone(), at: said.time(), since, count: count + 1 });
        true
    }

    /// Decides.
    pub(crate) fn verdict(&self, now: Duration) -> Verdict {
        let Some(look) = &self.look else { return Verdict::Wait };
        if !self.wanted.keep_waiting
            && let Some(reason) = self.reason(look, now)
        {
            return Verdict::GiveUp(reason);
        }
        let names: Vec<&String> =
            look.replicas.iter().flatten().filter(|name| !self.wanted.ready_only || self.is_ready(name)).collect();
        let mut last = None;
        let mut heard = Duration::ZERO;
        for name in &names {
            let Some(replica) = self.replicas.get(*name) else { return Verdict::Wait };
            let Some(persisted) = replica.persisted else { return Verdict::Wait };
            last = last.max(Some(persisted));
            heard = heard.max(replica.heard);
        }
        match last {
            Some(persisted_at) if now >= heard + SETTLE => {
                Verdict::Done { persisted_at, pods: names.into_iter().cloned().collect() }
            }
            _ => Verdict::Wait,
        }
    }

    fn is_ready(&self, name: &str) -> bool {
        self.replicas.get(name).and_then(|replica| replica.pod.as_ref()).is_some_and(|pod| pod.is_ready)
    }

    fn reason(&self, look: &Look, now: Duration) -> Option<Reason> {
        let over = |since: Duration| now >= since + self.wanted.patience;
        if self.lacking_since.is_some_and(over) {
            return Some(if look.replicas.is_none() { Reason::NoSet } else { Reason::NoReplicas });
        }
        for name in look.replicas.iter().flatten() {
            let Some(replica) = self.replicas.get(name) else { continue };
            let health = replica.pod.as_ref().map(|pod| &pod.health);
            match health {
                Some(Health::Broken { reason, message }) => {
                    return Some(Reason::Pod { pod: name.clone(), reason: reason.clone(), message: message.clone() });
                }
                Some(Health::Stuck { reason, message }) if replica.stuck_since.is_some_and(over) => {
                    return Some(Reason::Pod { pod: name.clone(), reason: reason.clone(), message: message.clone() });
                }
                _ => {}
            }
            if let Some(trouble) = &replica.trouble
                && (trouble.count >= ENOUGH || over(trouble.since))
            {
                return Some(Reason::Specman { pod: name.clone(), cause: trouble.cause, text: trouble.text.clone() });
            }
        }
        None
    }

    /// Whether any pod was ever there.
    pub(crate) fn ever_a_pod(&self) -> bool {
        self.ever_a_pod
    }

    /// The replicas that are there now, in order; all that were ever seen where the StatefulSet is away.
    pub(crate) fn replicas(&self) -> Vec<(&str, &Replica)> {
        match self.look.as_ref().and_then(|look| look.replicas.as_ref()) {
            Some(names) => names.iter().filter_map(|name| Some((name.as_str(), self.replicas.get(name)?))).collect(),
            None => self.replicas.iter().map(|(name, replica)| (name.as_str(), replica)).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
