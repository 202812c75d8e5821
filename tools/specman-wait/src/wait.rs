//! The waiting loop: watches the cluster, follows every replica's log, asks for the verdict, and shows progress.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use scar_cluster::specman::{Look, Specman, SpecmanPod};
use scar_cluster::{Cluster, Error};
use scar_record::Time;
use scar_tool::{Console, Deadline, Failure};
use tokio::sync::Notify;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::{AbortHandle, JoinSet};

use crate::follow::{Follower, LastLine, LogEvent};
use crate::message::Statement;
use crate::options::{Options, Plan};
use crate::report::{self, label};
use crate::restart::{self, ReplacedPods};
use crate::verdict::{LogLine, Rules, Verdict, Watch};

/// The interval at which the cluster is polled.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// The time limit of one poll, including retries.
const POLL_LIMIT: Duration = Duration::from_secs(10);
/// The interval between verdicts if nothing happens.
const TICK: Duration = Duration::from_millis(250);
/// The cluster's time is known to the second only: it comes from the `Date` of its answers (RFC 9110, 5.6.7).
const ROUNDING: SignedDuration = SignedDuration::from_secs(2);

/// Everything that a wait needs.
pub(crate) struct Wait<'o> {
    pub(crate) options: &'o Options,
    pub(crate) plan: Plan,
    pub(crate) specman: Specman,
    pub(crate) console: Console,
    pub(crate) deadline: Deadline,
}

/// A pod whose log is followed.
struct Followed {
    uid: String,
    restarts: u32,
    task: AbortHandle,
}

pub(crate) struct State {
    pub(crate) watch: Watch,
    /// When the cluster last answered.
    pub(crate) answered: Instant,
    /// The last error since then.
    pub(crate) last_error: Option<Error>,
    begun: Instant,
    lines: BTreeMap<String, Arc<Mutex<LastLine>>>,
    followed: BTreeMap<String, Followed>,
    replaced: ReplacedPods,
    out: Sender<(String, LogEvent)>,
    /// The tasks that read logs; they end with the wait.
    tasks: JoinSet<()>,
}

impl State {
    /// The last line of a replica's log.
    pub(crate) fn last(&self, name: &str) -> LastLine {
        let line = self.lines.get(name).map(|line| line.lock().unwrap_or_else(PoisonError::into_inner).clone());
        line.unwrap_or_default()
    }
}

impl Wait<'_> {
    pub(crate) fn cluster(&self) -> &Cluster {
        &self.specman.cluster
    }

    /// The action, for messages.
    pub(crate) fn act(&self) -> String {
        format!("wait for Specman to persist '{}'", self.plan.tag)
    }

    /// Prints what [`Self::run`] would do.
    ///
    /// # Errors
    /// Those of reading the cluster.
    pub(crate) async fn plan(&self) -> Result<(), Failure> {
        let look = self.first_look().await?;
        let set = &self.options.specman.statefulset;
        if self.options.restart {
            look.set.as_ref().map_or(Ok(()), |found| restart::check(self, found))?;
            self.console.plan(format!("restart StatefulSet '{set}', as kubectl rollout restart does"));
        }
        let since = self.plan.since.and_then(|since| since.time(self.now()));
        let since = since.map(|since| format!(", at {since:.0} or later")).unwrap_or_default();
        let which = if self.options.ready_only { "every ready replica" } else { "every replica" };
        let tag = &self.plan.tag;
        self.console
            .plan(format!("wait until {which} of StatefulSet '{set}' has logged that the tag '{tag}' is persisted{since}"));
        if look.set.is_none() {
            self.console.warn(format!("there is no StatefulSet '{set}' in namespace '{}' now", self.cluster().namespace()));
        }
        for (name, pod) in &look.pods {
            self.console.note(format!("{} is {}", label(name, Some(pod)), pod.health.words()));
        }
        Ok(())
    }

    /// Waits.
    ///
    /// # Errors
    /// By exit status: 3 no pod, or one that cannot run; 4 no permission; 6 unreachable; 8 timed out; for an error that
    /// Specman logged, the one of its cause.
    pub(crate) async fn run(&self) -> Result<scar_record::Specman, Failure> {
        let first = self.first_look().await?;
        // A misspelled namespace would otherwise be reported as a missing StatefulSet.
        if first.set.is_none() {
            self.cluster().check_namespace(self.deadline).await?;
        }
        let replaced = match self.options.restart {
            true => restart::restart(self, &first).await?,
            false => ReplacedPods::default(),
        };
        let rules = self.rules();
        self.console.verbose(|| match rules.since {
            Some(since) => format!("waiting for '{}', counting lines from {since:.0} on", self.plan.tag),
            None => format!("waiting for '{}'", self.plan.tag),
        });
        // Bounded, so that a log that grows faster than it is judged waits at its reader (FAULTS W12).
        let (out, mut lines) = channel(64);
        // Polled, not watched: a watch needs one verb more than the rules that scar-preflight prints (FAULTS Q55).
        let (look_sender, mut looks) = channel(1);
        let poll_now = Arc::new(Notify::new());
        let mut state = State {
            watch: Watch::new(rules),
            answered: Instant::now(),
            last_error: None,
            begun: Instant::now(),
            lines: BTreeMap::new(),
            followed: BTreeMap::new(),
            replaced,
            out,
            tasks: JoinSet::new(),
        };
        self.take(&mut state, Instant::now(), first)?;
        state.tasks.spawn_local(poll(self.specman.clone(), poll_now.clone(), look_sender));
        let progress = self.console.progress_waiting("waiting for Specman");
        loop {
            match state.watch.verdict(state.begun.elapsed()) {
                Verdict::Wait => {}
                Verdict::Recheck => poll_now.notify_one(),
                Verdict::Done { persisted_at, pods } => {
                    return Ok(scar_record::Specman {
                        namespace: self.cluster().namespace().to_owned(),
                        tag: self.plan.tag.clone(),
                        persisted_at: Time::from(persisted_at),
                        pods,
                    });
                }
                Verdict::GiveUp(reason) => {
                    drop(progress);
                    return Err(report::given_up(self, &state, &reason).await);
                }
            }
            if self.deadline.is_over() {
                drop(progress);
                return Err(report::timed_out(self, &state));
            }
            progress.message(report::progress(&state, &self.plan.tag));
            self.next(&mut state, &mut lines, &mut looks).await?;
        }
    }

    async fn next(
        &self,
        state: &mut State,
        lines: &mut Receiver<(String, LogEvent)>,
        looks: &mut Receiver<(Instant, Result<Look, Error>)>,
    ) -> Result<(), Failure> {
        let tick = TICK.min(self.deadline.remaining());
        tokio::select! {
            Some((pod, heard)) = lines.recv() => match heard {
                LogEvent::Line(line) => self.heard(state, &pod, &line),
                LogEvent::Refused(error) => return Err(self.cluster().failure(&format!("read the log of pod '{pod}'"), &error)),
            },
            Some((begun, look)) = looks.recv() => match look {
                Ok(look) => self.take(state, begun, look)?,
                // While the API server restarts, the wait goes on; only the deadline ends it.
                Err(error) if error.is_transient() => {
                    self.console.verbose(|| format!("{error}"));
                    state.last_error = Some(error);
                }
                Err(error) => return Err(self.cluster().failure("look at Specman's pods", &error)),
            },
            () = tokio::time::sleep(tick) => {}
        }
        Ok(())
    }

    fn heard(&self, state: &mut State, name: &str, line: &LogLine) {
        if !state.watch.take_line(name, line, state.begun.elapsed()) {
            return;
        }
        let replica = state.watch.replicas().get(name);
        let label = label(name, replica.and_then(|replica| replica.pod.as_ref()));
        match line.says {
            Statement::Persisted if replica.is_some_and(|replica| replica.persisted().is_some()) => {
                self.console.note(format!("{label} persisted '{}'", self.plan.tag));
            }
            Statement::Persisted => {
                self.console.verbose(|| format!("{label}: '{}' is from before the push and does not count", line.text));
            }
            Statement::Failed { .. } => self.console.warn(format!("{label} says: {}", line.text)),
            _ => self.console.verbose(|| format!("{label}: {}", line.text)),
        }
    }

    /// Handles a look at the cluster, and starts to follow new pods.
    fn take(&self, state: &mut State, begun: Instant, mut look: Look) -> Result<(), Failure> {
        (state.last_error, state.answered) = (None, Instant::now());
        state.replaced.hide(&mut look);
        state.followed.retain(|name, known| {
            let is_there = look.pods.get(name).is_some_and(|pod| pod.uid == known.uid);
            if !is_there {
                known.task.abort();
            }
            is_there
        });
        for (name, pod) in look.pods.iter().filter(|(_, pod)| !state.replaced.has(pod)) {
            let follower = Follower {
                cluster: self.cluster().clone(),
                pod: name.clone(),
                uid: pod.uid.clone(),
                container: self.container(name, pod)?,
                wording: self.plan.wording.clone(),
                out: state.out.clone(),
                last: state.lines.entry(name.clone()).or_default().clone(),
            };
            let restarts = state.followed.get(name).map_or(0, |known| known.restarts);
            // A stream shows only the container's present instance. The marker may have been the last line before a restart
            // (FAULTS W7).
            if pod.restarts > restarts {
                self.console.verbose(|| format!("{name} was restarted ({} in all): reading its previous log, too", pod.restarts));
                state.tasks.spawn_local(follower.clone().previous());
            }
            match state.followed.get_mut(name) {
                Some(known) => known.restarts = pod.restarts,
                None => {
                    self.console.verbose(|| format!("following {} (uid {})", label(name, Some(pod)), pod.uid));
                    let task = state.tasks.spawn_local(follower.follow());
                    state.followed.insert(name.clone(), Followed { uid: pod.uid.clone(), restarts: pod.restarts, task });
                }
            }
        }
        state.watch.update(look, begun.saturating_duration_since(state.begun));
        Ok(())
    }

    /// Specman's container in a pod.
    fn container(&self, name: &str, pod: &SpecmanPod) -> Result<String, Failure> {
        let failure = match (&pod.container, &self.options.container) {
            (Some(container), _) => return Ok(container.clone()),
            (None, Some(asked)) => format!("use --container '{asked}': pod '{name}' has no such container"),
            (None, None) => format!("find Specman's container in pod '{name}': it has several, and none is called 'specman'"),
        };
        let names = pod.containers.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
        Err(Failure::misuse(failure).hint(format!("name it with --container; the pod has {names}")))
    }

    async fn first_look(&self) -> Result<Look, Failure> {
        let act = format!("look at Specman in namespace '{}'", self.cluster().namespace());
        self.specman.look(self.deadline).await.map_err(|error| self.cluster().failure(&act, &error))
    }

    /// The cluster's time.
    fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        now.checked_add(self.cluster().skew().unwrap_or_default()).unwrap_or(now)
    }

    fn rules(&self) -> Rules {
        let now = self.now();
        Rules {
            since: self.plan.since.and_then(|since| since.time(now)),
            began: now.checked_sub(ROUNDING).unwrap_or(now),
            ready_only: self.options.ready_only,
            keep_waiting: self.options.keep_waiting,
            patience: self.options.patience,
        }
    }
}

/// Looks at the cluster at regular intervals, or at once when asked to.
async fn poll(specman: Specman, poll_now: Arc<Notify>, out: Sender<(Instant, Result<Look, Error>)>) {
    loop {
        // Look now, whether notified or after the interval.
        let _ = tokio::time::timeout(POLL_INTERVAL, poll_now.notified()).await;
        let begun = Instant::now();
        if out.send((begun, specman.look(Deadline::after(POLL_LIMIT)).await)).await.is_err() {
            return;
        }
    }
}
