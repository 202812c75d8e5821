//! The whole comparison: every file at every replica, a few at a time, until everything is right or the time is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::try_join_all;
use scar_cluster::specman;
use scar_cluster::{Cluster, Opened};
use scar_http::{Client, Retry};
use scar_tool::{Console, Deadline, Exit, Failure, Progress};
use scar_trust::{Pin, Trust};

use crate::compare::{Tries, compare};
use crate::forward::Forward;
use crate::options::{Endpoint, Options};
use crate::outcome::{Finding, TryError, Verdict};
use crate::report::Report;
use crate::route::{Connection, Replica, Route};
use crate::tree::Expected;

/// The pauses between two checks of the files that differ.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How many files of each replica such a check requests.
const FEW: usize = 8;

/// Everything that a run needs.
pub(crate) struct Run<'r> {
    pub(crate) options: &'r Options,
    /// How to reach Specman.
    pub(crate) endpoint: &'r Endpoint,
    /// Decides whether Specman's certificate is trusted.
    pub(crate) trust: &'r Trust,
    pub(crate) deadline: Deadline,
    pub(crate) console: &'r Console,
}

impl Run<'_> {
    /// The replicas: the one at `--url`, or all pods of the StatefulSet.
    ///
    /// # Errors
    /// Exit 3 if there is none; refusals of the cluster.
    pub(crate) async fn replicas(&self, opened: Option<Opened>) -> Result<Vec<Replica>, Failure> {
        let Some(opened) = opened else {
            let (trust, pin) = self.trust();
            let client = Client::new(self.endpoint.origin.clone(), &trust, self.options.plain_http, self.console)?;
            return Ok(vec![self.replica(self.endpoint.origin.to_string(), Route::Address(Box::new(client)), pin)]);
        };
        let cluster = opened.client();
        let mut replicas = Vec::new();
        for pod in self.pods(&cluster).await? {
            let (trust, pin) = self.trust();
            let tls = match self.options.plain_http {
                true => None,
                false => Some(Arc::new(trust.client_config(true)?)),
            };
            let forward = Forward { cluster: cluster.clone(), pod: pod.clone(), port: self.options.port, tls };
            replicas.push(self.replica(pod, Route::Forward(forward), pin));
        }
        Ok(replicas)
    }

    fn replica(&self, name: String, route: Route, pin: Option<Pin>) -> Replica {
        Replica { name, route, pin, is_pin_shown: AtomicBool::new(false), origin: self.endpoint.origin.clone() }
    }

    /// The certificates to trust for one replica; each may have its own.
    fn trust(&self) -> (Trust, Option<Pin>) {
        let pin = Pin::default();
        let checked = !self.trust.is_insecure() || self.endpoint.origin.is_plain();
        (self.trust.pinned(&pin), (!checked).then_some(pin))
    }

    async fn pods(&self, cluster: &Cluster) -> Result<Vec<String>, Failure> {
        let name = &self.options.specman.statefulset;
        let specman = self.options.specman.at(cluster.clone(), None);
        let act = format!("look for Specman's StatefulSet '{name}'");
        let set = specman.set(self.deadline).await.map_err(|error| cluster.failure(&act, &error))?;
        let Some(set) = set else {
            let namespace = cluster.namespace();
            return Err(Failure::new(Exit::Absent, format!("{act}: there is none in namespace '{namespace}'"))
                .hint("is Specman deployed? --namespace and --statefulset name another place"));
        };
        match specman::replicas(&set) {
            pods if pods.is_empty() => Err(Failure::new(Exit::Absent, format!("{act}: it is scaled to no replicas"))),
            pods => Ok(pods),
        }
    }

    /// Compares every file at every replica, and waits while other content is served. The report contains what still differs
    /// at the end.
    ///
    /// Specman may switch to our layer in the middle of a comparison. So when nothing differs any more, everything is
    /// compared again: success needs one pass without any difference.
    ///
    /// # Errors
    /// Exit 6 if a replica cannot be reached; exit 8 if the time ends during a comparison.
    pub(crate) async fn verify(&self, replicas: &[Replica], report: &mut Report<'_>) -> Result<(), Failure> {
        let all: Vec<Vec<usize>> = vec![(0..report.files.len()).collect(); replicas.len()];
        let total: u64 = report.files.iter().map(|expected| expected.file.size).sum();
        let mut is_first = true;
        loop {
            let progress = self.console.progress_bytes("comparing", Some(total * replicas.len() as u64));
            let done = AtomicUsize::new(0);
            let Some(findings) = self.compare(replicas, report.files, &all, &progress, &done).await? else {
                return Err(self.timed_out(done.into_inner(), report.files.len() * replicas.len()));
            };
            report.findings = findings;
            drop(progress);
            if report.findings.is_empty() || !self.wait(replicas, report, is_first).await? {
                return Ok(());
            }
            is_first = false;
        }
    }

    fn timed_out(&self, done: usize, all: usize) -> Failure {
        Failure::new(
            Exit::TimedOut,
            format!("compare with what Specman serves at {}: time is over after {done} of {all} files", self.endpoint.words()),
        )
        .hint("use a longer --timeout, or compare a --sample")
    }

    /// Waits until nothing differs any more; returns false if the time ends first.
    async fn wait(&self, replicas: &[Replica], report: &mut Report<'_>, is_first: bool) -> Result<bool, Failure> {
        if is_first {
            self.console.note(report.waiting());
        }
        let progress = self.console.progress_waiting("waiting for Specman");
        let mut pause = FIRST_PAUSE;
        while !report.findings.is_empty() {
            progress.message(report.waiting());
            tokio::time::sleep(pause.min(self.deadline.remaining())).await;
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
            // While the first few still differ, the others need not be requested.
            let few = match self.recheck(replicas, report, FEW, &progress).await {
                // A replica may be unreachable for a while; keep what was found before.
                Err(failure) if failure.exit == Exit::Unreachable && !self.deadline.is_over() => continue,
                Err(failure) if failure.exit == Exit::Unreachable => None,
                few => few?,
            };
            let Some(few) = few else { return Ok(false) };
            let asked = (0..replicas.len()).map(|replica| report.of(replica).count().min(FEW)).sum::<usize>();
            if few.len() == asked && few.iter().all(|finding| report.findings.contains(finding)) {
                continue;
            }
            let Some(findings) = self.recheck(replicas, report, usize::MAX, &progress).await? else { return Ok(false) };
            report.findings = findings;
        }
        Ok(true)
    }

    /// Compares the first `most` differing files of each replica again; `None` if the time ends first.
    async fn recheck(
        &self,
        replicas: &[Replica],
        report: &Report<'_>,
        most: usize,
        progress: &Progress,
    ) -> Result<Option<Vec<Finding>>, Failure> {
        let which = |replica| report.of(replica).map(|finding| finding.file).take(most).collect();
        let which: Vec<Vec<usize>> = (0..replicas.len()).map(which).collect();
        self.compare(replicas, report.files, &which, progress, &AtomicUsize::new(0)).await
    }

    /// Compares the files with these indices at each replica; `None` if the time ends first.
    async fn compare(
        &self,
        replicas: &[Replica],
        files: &[Expected],
        which: &[Vec<usize>],
        progress: &Progress,
        done: &AtomicUsize,
    ) -> Result<Option<Vec<Finding>>, Failure> {
        let numbered = replicas.iter().enumerate().zip(which);
        let work = numbered.map(|((number, replica), which)| self.at(number, replica, files, which, progress, done));
        match tokio::time::timeout(self.deadline.remaining(), try_join_all(work)).await {
            Ok(findings) => Ok(Some(findings?.concat())),
            Err(_) => Ok(None),
        }
    }

    /// Compares files at one replica, by a few workers that take the next file each.
    async fn at(
        &self,
        number: usize,
        replica: &Replica,
        files: &[Expected],
        which: &[usize],
        progress: &Progress,
        done: &AtomicUsize,
    ) -> Result<Vec<Finding>, Failure> {
        let next = AtomicUsize::new(0);
        let workers = (0..usize::from(self.options.jobs).min(which.len())).map(|_| async {
            let mut connection = Connection::new(replica, self.console);
            let mut findings = Vec::new();
            while let Some(file) = which.get(next.fetch_add(1, Ordering::Relaxed)) {
                let verdict = self.file(&mut connection, &files[*file], progress).await?;
                let count = done.fetch_add(1, Ordering::Relaxed) + 1;
                progress.message(format!("{count} files"));
                if verdict != Verdict::Same {
                    findings.push(Finding { file: *file, replica: number, verdict });
                }
            }
            Ok::<_, Failure>(findings)
        });
        Ok(try_join_all(workers).await?.concat())
    }

    /// Compares one file, with retries.
    async fn file(&self, connection: &mut Connection<'_>, expected: &Expected, progress: &Progress) -> Result<Verdict, Failure> {
        let retry = Retry {
            tries: self.options.retries + 1,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(30),
            deadline: self.deadline,
        };
        let mut tries = Tries::default();
        let mut once = async || {
            let verdict = compare(connection, &self.endpoint.base, expected, &mut tries, progress).await;
            if let Err(error) = &verdict {
                connection.hang_up();
                progress.message(format!("{}: {error}", connection.replica.name));
            }
            verdict
        };
        let verdict = loop {
            match retry.run(self.console, &mut once).await {
                Err(TryError::Passing { kubelet: Some(_), .. }) if self.deadline.remaining() > retry.longest_wait => {}
                verdict => break verdict,
            }
        };
        verdict.map_err(|error| match error {
            TryError::Final(failure) => *failure,
            TryError::Passing { words, kubelet, .. } => {
                let name = crate::tree::text(&expected.name);
                let replica = &connection.replica.name;
                Failure::new(Exit::Unreachable, format!("compare '{name}' at {replica}: {words}")).hint(
                    kubelet.as_deref().unwrap_or(
                        "is it running, and reachable there? this step changes nothing and can be run again at any time",
                    ),
                )
            }
        })
    }
}
