//! The comparison as a whole: the replicas found, every file asked of each, a few at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::try_join_all;
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::Api;
use scar_cluster::{Cluster, Opened};
use scar_http::{Client, Retry};
use scar_tool::{Console, Deadline, Exit, Failure, Progress};
use scar_trust::{Pin, Trust};
use tokio::sync::Mutex;

use crate::compare::{Tries, Verdict, compare};
use crate::fault::Fault;
use crate::forward::Forward;
use crate::options::{Options, Place};
use crate::report::Finding;
use crate::tree::Expected;
use crate::way::{Line, Replica, Way, lost};

/// What every part of a run needs.
pub(crate) struct Run<'r> {
    /// What was typed.
    pub(crate) options: &'r Options,
    /// Where Specman is.
    pub(crate) place: &'r Place,
    /// Whom Specman is trusted by.
    pub(crate) trust: &'r Trust,
    /// No try begins after this.
    pub(crate) deadline: Deadline,
    /// For messages.
    pub(crate) console: &'r Console,
}

impl Run<'_> {
    /// The replicas: one at an address, or all that the StatefulSet has.
    ///
    /// # Errors
    /// Exit 3 where there is none; what the cluster refused.
    pub(crate) async fn replicas(&self, opened: Option<Opened>) -> Result<Vec<Replica>, Failure> {
        let Some(opened) = opened else {
            let (trust, pin) = self.trust();
            let client = Client::new(self.place.origin.clone(), &trust, self.options.plain_http, self.console)?;
            return Ok(vec![self.replica(self.place.origin.to_string(), Way::Address(client), pin)]);
        };
        let cluster = opened.client();
        let mut replicas = Vec::new();
        for pod in self.pods(&cluster).await? {
            let (trust, pin) = self.trust();
            let tls = match self.options.plain_http {
                true => None,
                false => Some(Arc::new(trust.client_config(true)?)),
            };
            let (cluster, port, met) = (cluster.clone(), self.options.port, AtomicBool::new(false));
            let way = Way::Forward(Forward { cluster, pod: pod.clone(), port, tls, met });
            replicas.push(self.replica(pod, way, pin));
        }
        Ok(replicas)
    }

    fn replica(&self, name: String, way: Way, pin: Option<Pin>) -> Replica {
        Replica { name, way, pin, told: AtomicBool::new(false), origin: self.place.origin.clone() }
    }

    /// The trust for one replica, each of which may have a certificate of its own.
    fn trust(&self) -> (Trust, Option<Pin>) {
        let pin = Pin::default();
        let checked = !self.trust.is_insecure() || self.place.origin.is_plain();
        (self.trust.pinned(&pin), (!checked).then_some(pin))
    }

    async fn pods(&self, cluster: &Cluster) -> Result<Vec<String>, Failure> {
        let name = self.options.statefulset.as_str();
        let sets: Api<StatefulSet> = Api::namespaced(cluster.client().clone(), cluster.namespace());
        let act = format!("look for Specman's StatefulSet '{name}'");
        let set = match cluster.read(self.deadline, || sets.get(name)).await {
            Ok(set) => set,
            Err(error) => {
                let failure = cluster.failure(&act, &error);
                return Err(match error.status() {
                    Some(404) => failure.hint(format!(
                        "is Specman deployed in '{}'? --namespace and --statefulset name another place",
                        cluster.namespace()
                    )),
                    _ => failure,
                });
            }
        };
        match scar_cluster::replicas(&set) {
            pods if pods.is_empty() => Err(Failure::new(Exit::Absent, format!("{act}: it is scaled to no replica"))),
            pods => Ok(pods),
        }
    }

    /// Compares every file at every replica.
    ///
    /// # Errors
    /// Exit 6 where a replica cannot be reached any more; exit 8 where the time is over.
    pub(crate) async fn compare(&self, replicas: &[Replica], files: &[Expected]) -> Result<Vec<Finding>, Failure> {
        let total: u64 = files.iter().map(|expected| expected.file.size).sum();
        let progress = self.console.progress_bytes("comparing", Some(total * replicas.len() as u64));
        let done = AtomicUsize::new(0);
        let work = replicas.iter().enumerate().map(|(number, replica)| self.at(number, replica, files, &progress, &done));
        let left = self.deadline.remaining();
        match tokio::time::timeout(left, try_join_all(work)).await {
            Ok(findings) => Ok(findings?.concat()),
            Err(_) => Err(Failure::new(
                Exit::TimedOut,
                format!(
                    "compare with what Specman serves at {}: time is over after {} of {} files",
                    self.place.words(),
                    done.load(Ordering::Relaxed),
                    files.len() * replicas.len()
                ),
            )
            .hint("give it more --timeout, or compare a --sample")),
        }
    }

    /// One replica, by a few workers that take the next file each.
    async fn at(
        &self,
        number: usize,
        replica: &Replica,
        files: &[Expected],
        progress: &Progress,
        done: &AtomicUsize,
    ) -> Result<Vec<Finding>, Failure> {
        let next = AtomicUsize::new(0);
        let workers = (0..usize::from(self.options.jobs).min(files.len())).map(|_| async {
            let line = Mutex::new(Line::new(replica, self.console));
            let mut findings = Vec::new();
            while let Some((file, expected)) =
                Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, files.get(at)?)))
            {
                let verdict = self.file(&line, expected, progress).await?;
                progress.message(format!("{} files", done.fetch_add(1, Ordering::Relaxed) + 1));
                if verdict != Verdict::Same {
                    findings.push(Finding { file, replica: number, verdict });
                }
            }
            Ok::<_, Failure>(findings)
        });
        Ok(try_join_all(workers).await?.concat())
    }

    /// One file, tried until there is a verdict.
    async fn file(&self, line: &Mutex<Line<'_>>, expected: &Expected, progress: &Progress) -> Result<Verdict, Failure> {
        let retry = Retry {
            tries: self.options.retries + 1,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(30),
            deadline: self.deadline,
        };
        let tries = Mutex::new(Tries::default());
        let verdict = retry.run(self.console, async || {
            let (mut line, mut tries) = (line.lock().await, tries.lock().await);
            let verdict = compare(&mut line, &self.place.base, expected, &mut tries, progress).await;
            if let Err(fault) = &verdict {
                line.hang_up();
                progress.message(format!("{}: {fault}", line.replica.name));
            }
            verdict
        });
        verdict.await.map_err(|fault| match fault {
            Fault::Final(failure) => *failure,
            Fault::Passing { words, .. } => {
                let name = crate::tree::text(&expected.name);
                let replica = line.try_lock().map_or_else(|_| "Specman".to_owned(), |line| line.replica.name.clone());
                lost(&replica, &name, &words)
            }
        })
    }
}
