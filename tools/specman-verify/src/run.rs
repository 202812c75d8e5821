//! The whole comparison: every file at every replica, a few at a time, until everything is right or the time is over.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::try_join_all;
use scar_cluster::{Cluster, Opened, Refusal, specman};
use scar_http::{Client, Retry};
use scar_tool::{Console, Deadline, Exit, Failure, Progress};
use scar_trust::{Pin, Trust};

use crate::compare::{Tries, Verdict, compare};
use crate::forward::Forward;
use crate::options::{Endpoint, Options};
use crate::replica::{Connection, Replica, Route};
use crate::report::{Finding, Report};
use crate::tree::{Expected, text};

/// The pauses between two checks of the files that differ.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How many files of each replica such a check requests: while Specman fetches, a whole comparison would only load it.
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
            return Ok(vec![Replica::new(self.endpoint.origin.to_string(), Route::Address(Box::new(client)), pin)]);
        };
        let cluster = opened.client();
        let mut replicas = Vec::new();
        for pod in self.pods(&cluster).await? {
            let (trust, pin) = self.trust();
            let tls = match self.options.plain_http {
                true => None,
                false => Some(Arc::new(trust.client_config(true)?)),
            };
            let (cluster, origin) = (cluster.clone(), self.endpoint.origin.clone());
            let forward = Forward { cluster, pod: pod.clone(), port: self.options.port, origin, tls };
            replicas.push(Replica::new(pod, Route::Forward(Box::new(forward)), pin));
        }
        Ok(replicas)
    }

    /// The certificates to trust for one replica; each may have its own.
    fn trust(&self) -> (Trust, Option<Pin>) {
        let pin = Pin::default();
        let checked = !self.trust.insecure || self.endpoint.origin.is_plain();
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
            report.findings = self.compare(replicas, report.files, &all, &progress).await?;
            drop(progress);
            if report.findings.is_empty() || !self.wait(replicas, report, is_first).await? {
                return Ok(());
            }
            is_first = false;
        }
    }

    /// Waits until nothing differs any more; returns false if the time ends first.
    async fn wait(&self, replicas: &[Replica], report: &mut Report<'_>, is_first: bool) -> Result<bool, Failure> {
        if is_first {
            self.console.note(report.waiting());
            // One reason now: the operator may know that waiting will not help.
            report.lines().first().iter().for_each(|line| self.console.note(line));
        }
        let progress = self.console.progress_waiting("waiting for Specman");
        let mut pause = FIRST_PAUSE;
        // Specman syncs on its own schedule, and no request tells when: only asking again does.
        while !report.findings.is_empty() {
            progress.message(report.waiting());
            tokio::time::sleep(pause.min(self.deadline.remaining())).await;
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
            match self.recheck(replicas, report, &progress).await {
                Ok(findings) => report.findings = findings,
                // A replica may be unreachable for a while; keep what was found before.
                Err(failure) if matches!(failure.exit, Exit::Unreachable | Exit::TimedOut) => {
                    if self.deadline.is_over() {
                        return Ok(false);
                    }
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(true)
    }

    /// Compares the differing files again. While the first few of each replica still differ, the others are not requested.
    async fn recheck(&self, replicas: &[Replica], report: &Report<'_>, progress: &Progress) -> Result<Vec<Finding>, Failure> {
        let differing = |most| {
            let of = |replica| report.of(replica).map(|finding| finding.file).take(most).collect();
            (0..replicas.len()).map(of).collect::<Vec<Vec<usize>>>()
        };
        let few = differing(FEW);
        let findings = self.compare(replicas, report.files, &few, progress).await?;
        let is_same = findings.len() == few.concat().len() && findings.iter().all(|finding| report.findings.contains(finding));
        if is_same {
            return Ok(report.findings.clone());
        }
        self.compare(replicas, report.files, &differing(usize::MAX), progress).await
    }

    /// Compares the files with these indices at each replica.
    async fn compare(
        &self,
        replicas: &[Replica],
        files: &[Expected],
        which: &[Vec<usize>],
        progress: &Progress,
    ) -> Result<Vec<Finding>, Failure> {
        let done = AtomicUsize::new(0);
        let pass = Pass { files, progress, done: &done };
        let work = replicas.iter().zip(which).enumerate();
        let mut work = pin!(try_join_all(work.map(|(number, (replica, which))| self.at(number, replica, which, pass))));
        match tokio::time::timeout(self.deadline.remaining(), &mut work).await {
            Ok(findings) => Ok(findings?.concat()),
            // The work still exists here, so that the console knows its pending requests.
            Err(_) => Err(self.timed_out(done.load(Ordering::Relaxed), which.concat().len())),
        }
    }

    fn timed_out(&self, done: usize, all: usize) -> Failure {
        let act = format!("compare with what Specman serves at {}", self.endpoint.words());
        let pending = self.console.pending().map(|request| format!("; no answer yet to {request}")).unwrap_or_default();
        Failure::new(Exit::TimedOut, format!("{act}: time is over after {done} of {all} files{pending}"))
            .hint("use a longer --timeout, or compare a --sample")
    }

    /// Compares files at one replica, by a few workers that take the next file each.
    async fn at(&self, number: usize, replica: &Replica, which: &[usize], pass: Pass<'_>) -> Result<Vec<Finding>, Failure> {
        let next = AtomicUsize::new(0);
        let workers = (0..usize::from(self.options.jobs).min(which.len())).map(|_| async {
            // HTTP/1.1 answers one request of a connection at a time (RFC 9112, 9.3.2), so each worker has its own.
            let mut connection = Connection::new(replica, self.console);
            let mut findings = Vec::new();
            while let Some(file) = which.get(next.fetch_add(1, Ordering::Relaxed)) {
                let verdict = self.file(&mut connection, &pass.files[*file], pass.progress).await?;
                let count = pass.done.fetch_add(1, Ordering::Relaxed) + 1;
                pass.progress.message(format!("{count} files"));
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
        let tries = usize::from(self.options.retries) + 1;
        let retry = Retry { tries, longest_wait: Duration::from_secs(30), ..Retry::until(self.deadline) };
        let mut tries = Tries::new(progress);
        let mut once = async || {
            let verdict = compare(connection, &self.endpoint.base, expected, &mut tries).await;
            if let Err(error) = &verdict {
                connection.hang_up();
                progress.message(format!("{}: {error}", connection.replica.name));
            }
            verdict
        };
        let error = loop {
            match retry.run(self.console, &mut once).await {
                Ok(verdict) => return Ok(verdict),
                // A kubelet refuses the API server while its certificates are renewed: wait for it to the end.
                Err(error)
                    if error.refusal().is_some_and(Refusal::is_of_kubelet) && self.deadline.remaining() > retry.longest_wait => {}
                Err(error) => break error,
            }
        };
        Err(connection.replica.failure(&text(&expected.name), error))
    }
}

/// One comparison of some files at all replicas.
#[derive(Clone, Copy)]
struct Pass<'p> {
    files: &'p [Expected],
    progress: &'p Progress,
    /// How many files were compared so far.
    done: &'p AtomicUsize,
}
