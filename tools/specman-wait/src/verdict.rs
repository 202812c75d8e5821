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
mod tests {
    use super::*;

    const PUSH: &str = "2024-12-06T12:43:00Z";

    fn time(text: &str) -> Timestamp {
        format!("2024-12-06T{text}Z").parse().unwrap()
    }

    fn watch() -> Watch {
        Watch::new(Wanted {
            since: Some(PUSH.parse().unwrap()),
            began: time("12:43:10"),
            ready_only: false,
            keep_waiting: false,
            patience: Duration::from_secs(30),
        })
    }

    fn pod(health: Health) -> PodSeen {
        PodSeen { uid: "u".into(), container: "specman".into(), is_ready: true, restarts: 0, health }
    }

    fn well() -> PodSeen {
        pod(Health::Well("Running".into()))
    }

    fn look(pods: &[(&str, PodSeen)], replicas: u32) -> Look {
        Look {
            replicas: Some((0..replicas).map(|n| format!("specman-{n}")).collect()),
            pods: pods.iter().map(|(name, pod)| ((*name).to_owned(), pod.clone())).collect(),
        }
    }

    fn said(says: Says, at: &str) -> Said {
        Said { at: Some(time(at)), told: Some(time(at)), says, text: format!("{says:?}") }
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn done(watch: &Watch, now: u64) -> bool {
        matches!(watch.verdict(s(now)), Verdict::Done { .. })
    }

    #[test]
    fn every_replica_must_have_said_it_and_the_last_one_counts() {
        let mut watch = watch();
        assert_eq!(watch.verdict(s(0)), Verdict::Wait);
        watch.looked(look(&[("specman-0", well()), ("specman-1", well())], 2), s(0));
        watch.heard("specman-1", &said(Says::Persisted, "12:44:01"), s(1));
        assert_eq!(watch.verdict(s(9)), Verdict::Wait);
        watch.heard("specman-0", &said(Says::Persisted, "12:44:09"), s(9));
        assert_eq!(watch.verdict(s(9)), Verdict::Wait);
        let pods = vec!["specman-0".to_owned(), "specman-1".to_owned()];
        assert_eq!(watch.verdict(s(10)), Verdict::Done { persisted_at: time("12:44:09"), pods });
    }

    #[test]
    fn w10_a_marker_from_before_the_push_is_remembered_and_does_not_count() {
        for (at, told, counts) in [
            ("12:42:59", "12:42:59", false),
            ("12:43:00", "12:43:00", true),
            // A log collector wrote an old line anew, or a clock is wrong: both times must be after the push.
            ("12:44:00", "12:42:59", false),
            ("12:42:59", "12:44:00", false),
        ] {
            let mut watch = watch();
            watch.looked(look(&[("specman-0", well())], 1), s(0));
            let line = Said { at: Some(time(at)), told: Some(time(told)), says: Says::Persisted, text: String::new() };
            watch.heard("specman-0", &line, s(1));
            assert_eq!(done(&watch, 5), counts, "{at} {told}");
            assert_eq!(watch.replicas()[0].1.stale.is_some(), !counts);
        }
        let mut watch = watch();
        watch.looked(look(&[("specman-0", well())], 1), s(0));
        let line = Said { at: None, told: None, says: Says::Persisted, text: String::new() };
        watch.heard("specman-0", &line, s(1));
        assert!(!done(&watch, 5), "a line without any time proves nothing about when");
    }

    #[test]
    fn without_a_bound_every_marker_counts() {
        let mut watch = Watch::new(Wanted { since: None, ..watch().wanted });
        watch.looked(look(&[("specman-0", well())], 1), s(0));
        watch.heard("specman-0", &said(Says::Persisted, "01:00:00"), s(0));
        assert!(done(&watch, 1));
    }

    #[test]
    fn w8_a_replica_that_said_it_needs_not_say_it_again_after_a_replacement() {
        let mut watch = watch();
        watch.looked(look(&[("specman-0", well())], 2), s(0));
        watch.heard("specman-0", &said(Says::Persisted, "12:44:00"), s(1));
        watch.looked(look(&[("specman-0", PodSeen { uid: "v".into(), ..well() }), ("specman-1", well())], 2), s(2));
        assert!(!done(&watch, 5));
        watch.heard("specman-1", &said(Says::Persisted, "12:44:30"), s(6));
        assert!(done(&watch, 8));
    }

    #[test]
    fn ready_only_asks_those_that_are_ready_and_at_least_one() {
        let mut watch = Watch::new(Wanted { ready_only: true, ..watch().wanted });
        let unready = PodSeen { is_ready: false, ..well() };
        watch.looked(look(&[("specman-0", unready.clone()), ("specman-1", unready.clone())], 2), s(0));
        assert!(!done(&watch, 5));
        watch.looked(look(&[("specman-0", unready), ("specman-1", well())], 2), s(5));
        watch.heard("specman-1", &said(Says::Persisted, "12:44:00"), s(6));
        assert!(done(&watch, 8));
    }

    #[test]
    fn w9_a_pod_that_will_not_run_ends_the_wait_unless_told_otherwise() {
        let broken = pod(Health::Broken { reason: "ImagePullBackOff".into(), message: "m".into() });
        let stuck = pod(Health::Stuck { reason: "Unschedulable".into(), message: "m".into() });
        let mut watch = watch();
        watch.looked(look(&[("specman-0", well()), ("specman-1", broken.clone())], 2), s(0));
        assert!(matches!(watch.verdict(s(0)), Verdict::GiveUp(Reason::Pod { pod, .. }) if pod == "specman-1"));
        watch.looked(look(&[("specman-0", stuck.clone())], 1), s(1));
        assert_eq!(watch.verdict(s(30)), Verdict::Wait);
        assert!(matches!(watch.verdict(s(31)), Verdict::GiveUp(Reason::Pod { .. })));
        watch.looked(look(&[("specman-0", well())], 1), s(32));
        watch.looked(look(&[("specman-0", stuck)], 1), s(33));
        assert_eq!(watch.verdict(s(62)), Verdict::Wait);
        let mut watch = Watch::new(Wanted { keep_waiting: true, ..watch.wanted });
        watch.looked(look(&[("specman-0", broken)], 1), s(0));
        assert_eq!(watch.verdict(s(600)), Verdict::Wait);
    }

    #[test]
    fn w1_no_set_and_no_replicas_are_borne_with_for_a_while() {
        let mut watch = watch();
        watch.looked(Look::default(), s(0));
        assert_eq!(watch.verdict(s(29)), Verdict::Wait);
        assert_eq!(watch.verdict(s(30)), Verdict::GiveUp(Reason::NoSet));
        watch.looked(look(&[], 0), s(30));
        assert_eq!(watch.verdict(s(30)), Verdict::GiveUp(Reason::NoReplicas));
        // Pods that are not there yet are waited for.
        watch.looked(look(&[], 1), s(31));
        assert_eq!(watch.verdict(s(600)), Verdict::Wait);
        assert!(!watch.ever_a_pod());
    }

    #[test]
    fn specmans_own_error_ends_the_wait_when_it_stays() {
        let error = |at: &str| said(Says::Failed(Cause::Unauthorized), at);
        let gives_up = |watch: &Watch, now: u64| matches!(watch.verdict(s(now)), Verdict::GiveUp(Reason::Specman { .. }));
        let fresh = || {
            let mut watch = watch();
            watch.looked(look(&[("specman-0", well())], 1), s(0));
            watch
        };
        let mut watch = fresh();
        watch.heard("specman-0", &error("12:43:05"), s(0));
        assert!(!gives_up(&watch, 600), "an error from before the wait may be what the migration cures");
        watch.heard("specman-0", &error("12:43:11"), s(1));
        assert!(!gives_up(&watch, 30) && gives_up(&watch, 31));
        watch.heard("specman-0", &said(Says::Persisted, "12:43:40"), s(31));
        assert!(!gives_up(&watch, 31) && done(&watch, 32));
        let mut watch = fresh();
        for at in ["12:43:11", "12:43:11", "12:43:12"] {
            watch.heard("specman-0", &error(at), s(1));
        }
        assert!(!gives_up(&watch, 2), "the same line heard twice is one");
        watch.heard("specman-0", &error("12:43:13"), s(2));
        assert!(gives_up(&watch, 2));
    }

    #[test]
    fn a_full_volume_takes_the_marker_back() {
        let mut watch = watch();
        watch.looked(look(&[("specman-0", well())], 1), s(0));
        watch.heard("specman-0", &said(Says::Persisted, "12:44:00"), s(1));
        watch.heard("specman-0", &said(Says::Failed(Cause::NoSpace), "12:44:01"), s(1));
        assert!(!done(&watch, 5));
        // The overlap of a reopened stream says both again.
        watch.heard("specman-0", &said(Says::Persisted, "12:44:00"), s(6));
        assert!(!done(&watch, 9));
        // A failed later round does not: what is persisted is persisted.
        watch.heard("specman-0", &said(Says::Persisted, "12:45:00"), s(60));
        watch.heard("specman-0", &said(Says::Failed(Cause::Unauthorized), "12:45:02"), s(62));
        assert!(done(&watch, 62));
    }

    proptest::proptest! {
        /// Streams overlap, and a restart's log is read beside the current one: neither the order nor the number of
        /// times that lines arrive may change the verdict.
        #[test]
        fn order_and_repetition_of_lines_change_nothing(
            lines in proptest::collection::vec((0u32..120, 0u8..4), 1..12),
            order in proptest::collection::vec(0usize..12, 0..24),
        ) {
            let line = |(second, kind): (u32, u8)| {
                let says = [Says::Persisted, Says::Downloading, Says::Tags(true), Says::Nothing][usize::from(kind)];
                said(says, &format!("12:{}:{:02}", 42 + second / 60, second % 60))
            };
            let mut straight = watch();
            let mut shuffled = watch();
            for watch in [&mut straight, &mut shuffled] {
                watch.looked(look(&[("specman-0", well())], 1), s(0));
            }
            for entry in &lines {
                straight.heard("specman-0", &line(*entry), s(1));
            }
            for index in order.iter().copied().chain((0..lines.len()).rev()) {
                if let Some(entry) = lines.get(index) {
                    shuffled.heard("specman-0", &line(*entry), s(1));
                }
            }
            let expected = lines.iter().any(|(second, kind)| *kind == 0 && *second >= 60);
            proptest::prop_assert_eq!(done(&straight, 9), expected);
            proptest::prop_assert_eq!(straight.verdict(s(9)), shuffled.verdict(s(9)));
        }
    }
}
