//! The wait: looks at the cluster, follows every replica, asks the verdict, and tells how it stands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use kube::Api;
use scar_cluster::{Cluster, Error, replicas};
use scar_record::{Specman, Time};
use scar_tool::{Console, Deadline, Failure};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;

use crate::follow::{Heard, Last, Log};
use crate::line::Says;
use crate::options::{Aim, Bound, Options};
use crate::pods::{PodSeen, seen};
use crate::report;
use crate::restart::{self, Old};
use crate::verdict::{Look, Said, Verdict, Wanted, Watch};

/// How often the cluster is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How often the verdict is asked where nothing happens.
const TICK: Duration = Duration::from_millis(250);

/// What a wait is made of.
pub(crate) struct Wait<'o> {
    pub(crate) options: &'o Options,
    pub(crate) aim: Aim,
    pub(crate) cluster: Cluster,
    pub(crate) console: Console,
    pub(crate) deadline: Deadline,
}

/// A replica's pod that is followed.
struct Followed {
    uid: String,
    restarts: u32,
    gone: Arc<AtomicBool>,
}

/// A wait under way.
pub(crate) struct State {
    pub(crate) watch: Watch,
    pub(crate) last: BTreeMap<String, Arc<Mutex<Last>>>,
    followed: BTreeMap<String, Followed>,
    /// What kept the cluster from answering since its last answer, and since when.
    pub(crate) silent: Option<(Instant, Error)>,
    begun: Instant,
    since: Option<Timestamp>,
    /// The pods that a restart replaces.
    old: Old,
    ears: Sender<(String, Heard)>,
    /// All that reads logs; it ends with the wait.
    tasks: JoinSet<()>,
}

impl Wait<'_> {
    /// Says what [`Self::run`] would do.
    ///
    /// # Errors
    /// Those of reading the cluster.
    pub(crate) async fn plan(&self) -> Result<(), Failure> {
        let look = self.first_look().await?;
        let set = &self.options.statefulset;
        let since = match (self.bound(), self.aim.bound) {
            (Some(since), _) => format!(", at {since:.0} or later"),
            (None, Bound::None) => ", after the push".to_owned(),
            (None, _) => String::new(),
        };
        if self.options.restart {
            self.console.plan(format!("restart StatefulSet '{set}', as kubectl rollout restart does"));
        }
        let which = if self.options.ready_only { "every ready replica" } else { "every replica" };
        let tag = &self.aim.tag;
        self.console
            .plan(format!("wait until {which} of StatefulSet '{set}' has logged that the tag '{tag}' is persisted{since}"));
        if look.replicas.is_none() {
            self.console.warn(format!("there is no StatefulSet '{set}' in namespace '{}' now", self.cluster.namespace()));
        }
        for (name, pod) in &look.pods {
            self.console.note(format!("{name} is {}", pod.health.words()));
        }
        Ok(())
    }

    /// Waits.
    ///
    /// # Errors
    /// By class: 3 no pod, or one that cannot run; 4 no permission; 6 unreachable; 8 time is over; Specman's own error
    /// by its cause.
    pub(crate) async fn run(&self) -> Result<Specman, Failure> {
        let begun = Instant::now();
        let first = self.first_look().await?;
        if first.replicas.is_none() {
            self.cluster.check_namespace(self.deadline).await?;
        }
        let old = match self.options.restart {
            true => restart::restart(self, &first).await?,
            false => Old::default(),
        };
        let since = self.bound();
        self.console.verbose(|| match since {
            Some(since) => format!("waiting for '{}', counting lines from {since:.0} of the cluster's clock on", self.aim.tag),
            None => format!("waiting for '{}'", self.aim.tag),
        });
        let (ears, mut hears) = channel(64);
        let (looked, mut looks) = channel(1);
        let mut state = State {
            watch: Watch::new(self.wanted(since)),
            last: BTreeMap::new(),
            followed: BTreeMap::new(),
            silent: None,
            begun,
            since,
            old,
            ears,
            tasks: JoinSet::new(),
        };
        self.take(&mut state, first);
        state.tasks.spawn(poll(self.cluster.clone(), self.options.statefulset.clone(), self.options.container.clone(), looked));
        let progress = self.console.progress_waiting("waiting for Specman");
        loop {
            match state.watch.verdict(begun.elapsed()) {
                Verdict::Wait => {}
                Verdict::Done { persisted_at, pods } => {
                    return Ok(Specman {
                        namespace: self.cluster.namespace().to_owned(),
                        tag: self.aim.tag.clone(),
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
                return Err(report::timed_out(self, &state).await);
            }
            progress.message(report::standing(&state, &self.aim.tag));
            self.next(&mut state, &mut hears, &mut looks).await?;
        }
    }

    /// Takes the next thing that happens.
    async fn next(
        &self,
        state: &mut State,
        hears: &mut Receiver<(String, Heard)>,
        looks: &mut Receiver<Result<Look, Error>>,
    ) -> Result<(), Failure> {
        let tick = TICK.min(self.deadline.remaining());
        tokio::select! {
            Some((pod, heard)) = hears.recv() => match heard {
                Heard::Said(line) => self.heard(state, &pod, &line),
                Heard::Refused(error) => return Err(self.cluster.failure(&format!("read the log of pod '{pod}'"), &error)),
            },
            Some(look) = looks.recv() => match look {
                Ok(look) => self.take(state, look),
                Err(error) if error.is_transient() => {
                    self.console.verbose(|| format!("{error}"));
                    let from = state.silent.take().map_or_else(Instant::now, |(from, _)| from);
                    state.silent = Some((from, error));
                }
                Err(error) => return Err(self.cluster.failure("look at Specman's pods", &error)),
            },
            () = tokio::time::sleep(tick) => {}
        }
        Ok(())
    }

    fn heard(&self, state: &mut State, pod: &str, line: &Said) {
        if !state.watch.heard(pod, line, state.begun.elapsed()) {
            return;
        }
        match line.says {
            Says::Persisted => {
                let counts = state.watch.replicas().iter().any(|(name, replica)| *name == pod && replica.persisted.is_some());
                match counts {
                    true => self.console.note(format!("{pod} persisted '{}'", self.aim.tag)),
                    false => {
                        self.console.verbose(|| format!("{pod}: '{}' is from before the push and does not count", line.text))
                    }
                }
            }
            Says::Failed(_) => self.console.warn(format!("{pod} says: {}", line.text)),
            _ => self.console.verbose(|| format!("{pod}: {}", line.text)),
        }
    }

    /// Takes a look at the cluster, and follows what is not followed yet.
    fn take(&self, state: &mut State, mut look: Look) {
        state.silent = None;
        state.old.hide(&mut look);
        state.followed.retain(|name, known| {
            let is_there = look.pods.get(name).is_some_and(|pod| pod.uid == known.uid);
            known.gone.store(!is_there, Ordering::Relaxed);
            is_there
        });
        for (name, pod) in look.pods.iter().filter(|(_, pod)| !state.old.has(pod)) {
            let known = state.followed.get(name).map(|known| (known.restarts, known.gone.clone()));
            let is_new = known.is_none();
            let (restarts, gone) = known.unwrap_or_default();
            let log = Log {
                cluster: self.cluster.clone(),
                pod: name.clone(),
                container: pod.container.clone(),
                tag: self.aim.tag.clone(),
                marker: self.aim.marker.clone(),
                since: state.since,
                out: state.ears.clone(),
                last: state.last.entry(name.clone()).or_default().clone(),
                gone: gone.clone(),
            };
            if is_new {
                self.console.verbose(|| format!("following {name} (uid {})", pod.uid));
                state.tasks.spawn(log.clone().follow());
            }
            if pod.restarts > restarts {
                self.console.verbose(|| format!("{name} was restarted ({} in all): reading its previous log, too", pod.restarts));
                state.tasks.spawn(log.previous());
            }
            state.followed.insert(name.clone(), Followed { uid: pod.uid.clone(), restarts: pod.restarts, gone });
        }
        state.watch.looked(look, state.begun.elapsed());
    }

    async fn first_look(&self) -> Result<Look, Failure> {
        let act = format!("look at Specman in namespace '{}'", self.cluster.namespace());
        let (set, container) = (&self.options.statefulset, self.options.container.as_deref());
        let look = async || {
            // Each part by itself is tried again, so that a refusal names its own request.
            let sets = Api::<StatefulSet>::namespaced(self.cluster.client().clone(), self.cluster.namespace());
            let found = self.cluster.find(self.deadline, || sets.get(set)).await?;
            let names = found.as_ref().map(replicas);
            let template = found.and_then(|set| set.spec.template.spec);
            let mut containers = template.as_ref().map(containers).unwrap_or_default();
            let pods = Api::<Pod>::namespaced(self.cluster.client().clone(), self.cluster.namespace());
            let mut look = Look { replicas: names.clone(), ..Look::default() };
            for name in names.into_iter().flatten() {
                if let Some(pod) = self.cluster.find(self.deadline, || pods.get(&name)).await? {
                    // A pod may have more than its template: a mesh puts a container of its own into it.
                    containers.extend(pod.spec.as_ref().map(self::containers).unwrap_or_default());
                    look.pods.insert(name, seen(&pod, container));
                }
            }
            Ok((look, containers))
        };
        let result: Result<_, Error> = look().await;
        let (look, containers) = result.map_err(|error| self.cluster.failure(&act, &error))?;
        match container.filter(|asked| !containers.is_empty() && !containers.contains(*asked)) {
            None => Ok(look),
            Some(asked) => {
                let names = containers.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
                Err(Failure::misuse(format!("use --container '{asked}': the pods of StatefulSet '{set}' have none of that name"))
                    .hint(format!("there is {names}")))
            }
        }
    }

    fn bound(&self) -> Option<Timestamp> {
        let skew = self.cluster.skew().unwrap_or_default();
        if skew.abs() > SignedDuration::from_secs(2) {
            let (seconds, which) = (skew.as_secs().abs(), if skew.is_positive() { "ahead of" } else { "behind" });
            self.console.verbose(|| format!("the cluster's clock is {seconds} s {which} this host's"));
        }
        self.aim.bound.in_cluster(Timestamp::now(), skew)
    }

    fn wanted(&self, since: Option<Timestamp>) -> Wanted {
        let now = Timestamp::now();
        Wanted {
            since,
            // What is true of the push is true of this moment.
            began: Bound::Push(now).in_cluster(now, self.cluster.skew().unwrap_or_default()).unwrap_or(now),
            ready_only: self.options.ready_only,
            keep_waiting: self.options.keep_waiting,
            patience: self.options.patience,
        }
    }
}

/// The names of a pod's containers.
fn containers(pod: &PodSpec) -> BTreeSet<String> {
    pod.containers.iter().map(|container| container.name.clone()).collect()
}

/// Looks at the cluster again and again, each time a little later.
async fn poll(cluster: Cluster, set: String, container: Option<String>, out: Sender<Result<Look, Error>>) {
    let sets = Api::<StatefulSet>::namespaced(cluster.client().clone(), cluster.namespace());
    let pods = Api::<Pod>::namespaced(cluster.client().clone(), cluster.namespace());
    loop {
        tokio::time::sleep(LOOK).await;
        // A request that gets no answer is given up before the next is due twice over.
        let soon = Deadline::after(LOOK * 5);
        let look = async {
            let found = cluster.find_once(soon, sets.get(&set)).await?;
            let mut look = Look { replicas: found.as_ref().map(replicas), ..Look::default() };
            for name in look.replicas.clone().into_iter().flatten() {
                if let Some(pod) = cluster.find_once(soon, pods.get(&name)).await? {
                    look.pods.insert(name, seen(&pod, container.as_deref()));
                }
            }
            Ok(look)
        };
        if out.send(look.await).await.is_err() {
            return;
        }
    }
}

impl State {
    /// The last line of a replica's log.
    pub(crate) fn last_line(&self, name: &str) -> String {
        self.last.get(name).map(|last| last.lock().unwrap_or_else(PoisonError::into_inner).words()).unwrap_or_default()
    }

    /// What the last line of a replica's log says, without its times and level.
    pub(crate) fn last_message(&self, name: &str) -> String {
        self.last.get(name).map(|last| last.lock().unwrap_or_else(PoisonError::into_inner).message()).unwrap_or_default()
    }

    /// Why a replica's log cannot be read, where that is so.
    pub(crate) fn log_trouble(&self, name: &str) -> Option<String> {
        self.last.get(name)?.lock().unwrap_or_else(PoisonError::into_inner).trouble.clone()
    }

    /// The pod of a replica, where there is one.
    pub(crate) fn pod(&self, name: &str) -> Option<PodSeen> {
        self.watch.replicas().into_iter().find(|(known, _)| *known == name).and_then(|(_, replica)| replica.pod.clone())
    }
}
