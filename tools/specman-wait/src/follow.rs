//! Follows the log of one container. A stream that ends, breaks or falls silent is reopened a little before its last line,
//! so that no line is lost. The verdict ignores lines that come twice.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::io::AsyncBufRead;
use futures::{AsyncBufReadExt, AsyncReadExt};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use scar_cluster::{Cluster, Error};
use tokio::sync::mpsc::Sender;

use crate::message::{self, Statement, Wording};
use crate::splitter::Splitter;
use crate::verdict::LogLine;

/// The silence after which a stream is reopened. Every 10 s by default a kubelet checks whether to rotate a log (kubernetes
/// pkg/kubelet/logs/container_log_manager.go, `Start`). After a rotation a stream may stay on the old file and never end
/// (kubernetes/kubernetes#115701; after its fix in 1.29 still #126564), and only the current file is served
/// (pkg/kubelet/kuberuntime/logs/logs.go). So the interval is short, and 10 s is not a multiple of it.
const QUIET: Duration = Duration::from_millis(3700);
/// The time limits to open a stream, first and repeated. A kubelet sends its header before there is a line (kubernetes
/// pkg/kubelet/kubelet_pods.go, `GetKubeletContainerLogs`; kubernetes/kubernetes#31446). If it does not come within the first
/// limit, the way to it is slow, and the next try gets more time.
const OPEN: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(20)];
/// How far before the last line a reopened stream begins: `sinceTime` has whole seconds, and stdout and stderr may be out of
/// order.
const OVERLAP: SignedDuration = SignedDuration::from_secs(2);
/// The first and the longest pause before reopening a stream that failed or ended.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(2)];
/// The pause before reopening a stream that was only quiet.
const SHORT: Duration = Duration::from_millis(50);
/// How many bytes of a line a message shows.
const SHOWN: usize = 400;

/// What following a log yields.
#[derive(Debug)]
pub(crate) enum LogEvent {
    /// A line that matters.
    Line(LogLine),
    /// Reading the log is forbidden, and asking again will not help.
    Refused(Error),
}

/// Follows one container's log.
#[derive(Clone)]
pub(crate) struct Follower {
    pub(crate) cluster: Cluster,
    pub(crate) pod: String,
    pub(crate) uid: String,
    pub(crate) container: String,
    pub(crate) wording: Arc<Wording>,
    /// The channel for events, with the pod's name.
    pub(crate) out: Sender<(String, LogEvent)>,
    /// The last line, for messages.
    pub(crate) last: Arc<Mutex<LastLine>>,
}

#[derive(Debug, Default, Clone)]
pub(crate) struct LastLine {
    at: Option<Timestamp>,
    text: Vec<u8>,
    /// Why the log cannot be read at the moment.
    pub(crate) trouble: Option<Unreadable>,
}

/// Why a log cannot be read.
#[derive(Debug, Clone)]
pub(crate) struct Unreadable {
    pub(crate) words: String,
    pub(crate) hint: Option<String>,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It brought new lines, whatever ended it.
    NewLines,
    /// It was open, but brought nothing new.
    Quiet,
    /// The answer's header did not come.
    Unopened,
    /// It ended at once, broke, or was refused.
    Failed,
}

/// The pause before the next try, and the number of failures in a row.
fn next_pause(end: End, failed: u32) -> (Duration, u32) {
    match end {
        End::NewLines => (pause(0), 1),
        End::Quiet | End::Unopened => (SHORT, 0),
        End::Failed => (pause(failed), failed + 1),
    }
}

/// The pause after this number of failures in a row.
fn pause(failed: u32) -> Duration {
    PAUSES[0].saturating_mul(1 << failed.min(8)).min(PAUSES[1])
}

impl LastLine {
    /// `TIME: text`, or empty before the first line.
    pub(crate) fn words(&self) -> String {
        let text = String::from_utf8_lossy(&self.text);
        match self.at {
            Some(at) => format!("{at:.0}: {text}"),
            None => text.into_owned(),
        }
    }

    /// The message without its time, for progress.
    pub(crate) fn message(&self) -> String {
        message::read(&String::from_utf8_lossy(&self.text)).message.into_owned()
    }
}

impl Follower {
    fn parameters(&self, since: Option<Timestamp>) -> LogParams {
        LogParams {
            container: Some(self.container.clone()),
            follow: true,
            // Without the runtime's time on each line nothing shows at which line to reopen the stream.
            timestamps: true,
            // The API has whole seconds here (kubernetes pkg/registry/core/pod/strategy.go, `LogLocation`). kube rounds to the
            // nearest (kube-core src/subresource.rs), which may be too late.
            since_time: since.and_then(|since| Timestamp::from_second(since.as_second()).ok()),
            ..LogParams::default()
        }
    }

    /// Follows until the receiver is gone, or reading is forbidden.
    pub(crate) async fn follow(self) {
        let api = Api::<Pod>::namespaced(self.cluster.client().clone(), self.cluster.namespace());
        let (mut newest, mut failed, mut end) = (None, 0, End::NewLines);
        // Not one stream to its end, as `kubectl logs -f` follows it: the kubelet ends it without an error when the container
        // restarts (kubernetes pkg/kubelet/kuberuntime/logs/logs.go, `waitLogs`).
        while !self.out.is_closed() {
            let parameters = self.parameters(self.from(newest));
            let limit = OPEN[usize::from(end == End::Unopened)];
            end = match tokio::time::timeout(limit, api.log_stream(&self.pod, &parameters)).await {
                Ok(Ok(stream)) => {
                    // After a quiet stream give the next one more time: on a slow link it would be cut off again before its first
                    // line.
                    let quiet = if end == End::Quiet { QUIET * 2 } else { QUIET };
                    self.drain(stream, &mut newest, quiet, false).await
                }
                Ok(Err(error)) => {
                    let error = Error::of(error);
                    // 400: the container has not started (kubernetes pkg/kubelet/kubelet_pods.go,
                    // `validateContainerLogStatus`). 404: the pod does not exist yet, or no longer.
                    if !error.is_transient() && !matches!(error.status(), Some(400 | 404 | 409)) {
                        let _ = self.out.send((self.pod.clone(), LogEvent::Refused(error))).await;
                        return;
                    }
                    let words = scar_tool::bounded(error.to_string().as_bytes());
                    self.last().trouble =
                        Some(Unreadable { words, hint: self.cluster.failure("read it", &error).hint.map(Into::into) });
                    End::Failed
                }
                Err(_) => End::Unopened,
            };
            let (wait, tries) = next_pause(end, failed);
            failed = tries;
            tokio::time::sleep(wait).await;
        }
    }

    /// Where a stream begins: a little before the newest line, but not after the cluster's present time. A node whose clock
    /// is ahead would hide the lines that follow.
    fn from(&self, newest: Option<Timestamp>) -> Option<Timestamp> {
        let now = Timestamp::now().checked_add(self.cluster.skew().unwrap_or_default()).ok();
        let newest = newest.map(|newest| now.map_or(newest, |now| newest.min(now)))?;
        newest.checked_sub(OVERLAP).ok()
    }

    fn last(&self) -> MutexGuard<'_, LastLine> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the log of the container's previous instance, which a stream does not show after a restart.
    pub(crate) async fn previous(self) {
        let api = Api::<Pod>::namespaced(self.cluster.client().clone(), self.cluster.namespace());
        let parameters = LogParams { previous: true, follow: false, ..self.parameters(None) };
        for tried in 0..5 {
            match tokio::time::timeout(OPEN[1], api.log_stream(&self.pod, &parameters)).await {
                Ok(Ok(stream)) => {
                    self.drain(stream, &mut None, OPEN[1], true).await;
                    return;
                }
                // 400: there is no previous instance (kubernetes pkg/kubelet/kubelet_pods.go, `validateContainerLogStatus`). One
                // whose log is gone gets 200 and the kubelet's sentence about it, see `line`.
                Ok(Err(error)) => {
                    if !Error::of(error).is_transient() {
                        return;
                    }
                }
                Err(_) => {}
            }
            tokio::time::sleep(pause(tried)).await;
        }
    }

    /// Reads a stream until it ends, breaks or falls silent.
    ///
    /// Text after the last line ending only counts if the log is `closed`; else it may be the beginning of a line that will
    /// come as a whole.
    async fn drain(&self, stream: impl AsyncBufRead, newest: &mut Option<Timestamp>, quiet: Duration, closed: bool) -> End {
        let mut stream = std::pin::pin!(stream);
        let mut splitter = Splitter::default();
        let mut found = Vec::new();
        let before = *newest;
        self.last().trouble = None;
        let ended = loop {
            let chunk = match tokio::time::timeout(quiet, stream.fill_buf()).await {
                Ok(Ok(chunk)) if !chunk.is_empty() => chunk,
                Ok(Ok(_)) => {
                    // The kubelet ends its own messages without a line ending.
                    if let Some(rest) = splitter.rest().filter(|rest| closed || stamped(rest).is_none() && rest.contains(&b' ')) {
                        self.line(rest, newest, &mut found);
                    }
                    self.send(&mut found).await;
                    break End::Failed;
                }
                Ok(Err(_)) => break End::Failed,
                Err(_) => break End::Quiet,
            };
            let taken = chunk.len();
            splitter.push(chunk, |line| self.line(line, newest, &mut found));
            stream.consume_unpin(taken);
            if !self.send(&mut found).await {
                break End::Failed;
            }
        };
        if *newest > before { End::NewLines } else { ended }
    }

    /// Returns false if the receiver is gone.
    async fn send(&self, found: &mut Vec<LogLine>) -> bool {
        for line in found.drain(..) {
            if self.out.send((self.pod.clone(), LogEvent::Line(line))).await.is_err() {
                return false;
            }
        }
        true
    }

    fn line(&self, line: &[u8], newest: &mut Option<Timestamp>, found: &mut Vec<LogLine>) {
        let Some((at, text)) = stamped(line) else {
            // All lines of the container carry a timestamp, so a line without one is the kubelet's, such as "unable to retrieve
            // container logs for containerd://…" (kubernetes pkg/kubelet/kuberuntime/kuberuntime_container.go,
            // `GetContainerLogs`). It has status 200, because the header was sent before the log was opened.
            let words = format!("the kubelet says: {}", scar_tool::bounded(&line[..line.len().min(SHOWN)]));
            self.last().trouble = Some(Unreadable { words, hint: None });
            return;
        };
        *newest = (*newest).max(Some(at));
        {
            let mut last = self.last();
            if last.at <= Some(at) {
                last.at = Some(at);
                last.text.clear();
                last.text.extend_from_slice(&text[..text.len().min(SHOWN)]);
            }
        }
        let text = String::from_utf8_lossy(text);
        let line = message::read(&text);
        let says = self.wording.says(&line);
        if says != Statement::Nothing {
            let text = line.message.chars().take(SHOWN).collect();
            found.push(LogLine { uid: self.uid.clone(), at, written: line.time, says, text });
        }
    }
}

/// The runtime's timestamp and the rest of a line; `None` if the line is not the container's.
pub(crate) fn stamped(line: &[u8]) -> Option<(Timestamp, &[u8])> {
    // The kubelet stamps a line with 35 characters at most: nine digits of a second, and the offset (kubernetes
    // pkg/kubelet/kuberuntime/logs/logs.go, `timeFormatOut`). A longer first word is the program's own.
    let space = line.iter().take(40).position(|byte| *byte == b' ')?;
    let stamp = std::str::from_utf8(&line[..space]).ok()?.parse().ok()?;
    Some((stamp, &line[space + 1..]))
}

/// The container's last lines, for a message; empty if they do not come within two seconds.
pub(crate) async fn tail(cluster: &Cluster, pod: &str, container: &str) -> Vec<String> {
    const MOST: i32 = 64 * 1024;
    let api = Api::<Pod>::namespaced(cluster.client().clone(), cluster.namespace());
    let parameters = LogParams {
        container: Some(container.to_owned()),
        // Five lines may have any length; the kubelet stops after this number of bytes.
        limit_bytes: Some(MOST.into()),
        tail_lines: Some(5),
        timestamps: true,
        ..LogParams::default()
    };
    let mut text = Vec::new();
    let work = async {
        let stream = api.log_stream(pod, &parameters).await.ok()?;
        std::pin::pin!(stream).take(u64::try_from(MOST).ok()?).read_to_end(&mut text).await.ok()
    };
    // Show what was read until then.
    let _ = tokio::time::timeout(Duration::from_secs(2), work).await;
    let lines = text.split(|byte| *byte == b'\n').filter_map(|line| Some(stamped(line)?.1));
    lines.map(|line| String::from_utf8_lossy(line).chars().take(SHOWN).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_stream_is_opened_again_at_once_and_one_that_fails_ever_later() {
        assert_eq!(next_pause(End::Quiet, 7), (SHORT, 0));
        assert_eq!(next_pause(End::NewLines, 7), (Duration::from_millis(250), 1));
        assert_eq!(next_pause(End::Failed, 0), (Duration::from_millis(250), 1));
        assert_eq!(next_pause(End::Failed, 2), (Duration::from_secs(1), 3));
        assert_eq!(next_pause(End::Failed, 40), (PAUSES[1], 41));
    }

    #[test]
    fn takes_the_runtimes_time_off_a_line() {
        let (at, text) = stamped(b"2024-12-06T12:43:14.123456789Z Persisting 0.0.0").unwrap();
        assert_eq!((at.as_second(), text), (1_733_488_994, &b"Persisting 0.0.0"[..]));
        assert_eq!(stamped(b"2024-12-06T13:43:14.1+01:00 x").unwrap().0.as_second(), 1_733_488_994);
        for line in [&b"unable to retrieve container logs for containerd://4f"[..], b""] {
            assert_eq!(stamped(line), None);
        }
    }
}
