//! Following the log of one pod's container: reopened when it ends, breaks or falls silent, from a little before the last
//! line, so that no line is lost; what is heard twice is for the verdict to ignore.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::io::AsyncBufRead;
use futures::{AsyncBufReadExt, AsyncReadExt};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use scar_cluster::{Cluster, Error, pause};
use tokio::sync::mpsc::Sender;

use crate::line::{self, Says, Wording};
use crate::split::Splitter;
use crate::verdict::LogLine;

/// How much silence makes us reopen a stream. A kubelet looks every 10 s whether a log is to be rotated (kubernetes
/// pkg/kubelet/logs/container_log_manager.go, Start); a stream may then stay on the old file and never end, and only the
/// current file is served. So a stream is reopened well before the next rotation, and out of step with that beat.
const QUIET: Duration = Duration::from_millis(3700);
/// How long a stream may take to open: a kubelet begins its answer with the first line. If none came in the shorter time,
/// nothing was written, and the longer one is no risk.
const OPEN: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(20)];
/// How far before the last line a reopened stream begins: `sinceTime` is cut to seconds, and the lines of a container's two
/// streams may be out of order.
const OVERLAP: SignedDuration = SignedDuration::from_secs(2);
/// The longest pause before a stream is opened again that did not open, or ended.
const LONGEST: Duration = Duration::from_secs(2);
/// The pause after a stream that was only quiet.
const SHORT: Duration = Duration::from_millis(50);
/// How much of a line a message shows, in bytes.
const SHOWN: usize = 400;

/// What comes out of following a log.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A line that matters.
    Line(LogLine),
    /// The log may not be read, and asking again will not help.
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
    /// Takes the pod's name and what was heard.
    pub(crate) out: Sender<(String, Heard)>,
    /// For messages.
    pub(crate) last: Arc<Mutex<LastLine>>,
}

/// The last line of a log.
#[derive(Debug, Default, Clone)]
pub(crate) struct LastLine {
    at: Option<Timestamp>,
    text: Vec<u8>,
    /// Why the log cannot be read at present.
    pub(crate) trouble: Option<Unreadable>,
}

/// Why a log cannot be read.
#[derive(Debug, Clone)]
pub(crate) struct Unreadable {
    pub(crate) words: String,
    pub(crate) hint: Option<String>,
}

/// How a stream came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It brought lines that were not known, whatever ended it.
    Heard,
    /// It was open, and nothing new was said.
    Quiet,
    /// Not even its head came.
    Unopened,
    /// It ended at once, broke, or was refused.
    Failed,
}

/// The pause before the next try, and how many in a row have failed.
fn again(end: End, failed: u32) -> (Duration, u32) {
    match end {
        End::Heard => (pause(1, None), 1),
        End::Quiet | End::Unopened => (SHORT, 0),
        End::Failed => (pause(failed + 1, None).min(LONGEST), failed + 1),
    }
}

impl LastLine {
    /// `TIME: text`, empty before any line.
    pub(crate) fn words(&self) -> String {
        let text = String::from_utf8_lossy(&self.text);
        match self.at {
            Some(at) => format!("{at:.0}: {text}"),
            None => text.into_owned(),
        }
    }

    /// The message alone, for a narrow place.
    pub(crate) fn message(&self) -> String {
        line::read(&String::from_utf8_lossy(&self.text)).message.into_owned()
    }
}

impl Follower {
    fn parameters(&self, since: Option<Timestamp>) -> LogParams {
        LogParams {
            container: Some(self.container.clone()),
            follow: true,
            timestamps: true,
            // kube rounds to the nearest second, which may be the one after.
            since_time: since.and_then(|since| Timestamp::from_second(since.as_second()).ok()),
            ..LogParams::default()
        }
    }

    /// Follows until nobody listens any more, or the log may not be read.
    pub(crate) async fn follow(self) {
        let api = Api::<Pod>::namespaced(self.cluster.client().clone(), self.cluster.namespace());
        let (mut newest, mut failed, mut end) = (None, 0, End::Heard);
        while !self.out.is_closed() {
            let parameters = self.parameters(self.from(newest));
            let limit = OPEN[usize::from(end == End::Unopened)];
            end = match tokio::time::timeout(limit, api.log_stream(&self.pod, &parameters)).await {
                Ok(Ok(stream)) => {
                    // A link that is slower than that makes no headway if it is cut each time.
                    let quiet = if end == End::Quiet { QUIET * 2 } else { QUIET };
                    self.drain(stream, &mut newest, quiet, false).await
                }
                Ok(Err(error)) => {
                    let error = Error::of(error);
                    // 400: the container has not started. 404: the pod is gone, or not there yet.
                    if !error.is_transient() && !matches!(error.status(), Some(400 | 404 | 409)) {
                        let _ = self.out.send((self.pod.clone(), Heard::Refused(error))).await;
                        return;
                    }
                    let words = scar_tool::bounded(error.to_string().as_bytes());
                    self.last().trouble = Some(Unreadable { words, hint: self.cluster.failure("read it", &error).hint });
                    End::Failed
                }
                Err(_) => End::Unopened,
            };
            let (wait, tries) = again(end, failed);
            failed = tries;
            tokio::time::sleep(wait).await;
        }
    }

    /// Where a stream begins: a little before the newest line. The cluster's time is the limit, since a line of a node whose
    /// clock is ahead would hide all that follow.
    fn from(&self, newest: Option<Timestamp>) -> Option<Timestamp> {
        let now = Timestamp::now().checked_add(self.cluster.skew().unwrap_or_default()).ok();
        let newest = newest.map(|newest| now.map_or(newest, |now| newest.min(now)))?;
        newest.checked_sub(OVERLAP).ok()
    }

    fn last(&self) -> MutexGuard<'_, LastLine> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what the container's previous instance wrote: after a restart it is out of sight of a stream.
    pub(crate) async fn previous(self) {
        let api = Api::<Pod>::namespaced(self.cluster.client().clone(), self.cluster.namespace());
        let parameters = LogParams { previous: true, follow: false, ..self.parameters(None) };
        for tried in 1..=5 {
            match tokio::time::timeout(OPEN[1], api.log_stream(&self.pod, &parameters)).await {
                Ok(Ok(stream)) => {
                    self.drain(stream, &mut None, OPEN[1], true).await;
                    return;
                }
                // 400: there is no previous instance, or its log is gone.
                Ok(Err(error)) => {
                    if !Error::of(error).is_transient() {
                        return;
                    }
                }
                Err(_) => {}
            }
            tokio::time::sleep(pause(tried, None)).await;
        }
    }

    /// Reads a stream until it ends, breaks or falls silent.
    ///
    /// Text after the last line ending counts only if the log is `closed`: if it is still written to, that may be the first
    /// part of a line, which comes again as a whole.
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
                    // The kubelet ends its own words without a line ending.
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
        if *newest > before { End::Heard } else { ended }
    }

    /// False if nobody listens any more.
    async fn send(&self, found: &mut Vec<LogLine>) -> bool {
        for line in found.drain(..) {
            if self.out.send((self.pod.clone(), Heard::Line(line))).await.is_err() {
                return false;
            }
        }
        true
    }

    fn line(&self, line: &[u8], newest: &mut Option<Timestamp>, found: &mut Vec<LogLine>) {
        let Some((at, text)) = stamped(line) else {
            // We ask for timestamps, so that a line without one is the kubelet's own, such as "unable to retrieve container
            // logs for containerd://…" (kubernetes pkg/kubelet/kuberuntime/kuberuntime_container.go, GetContainerLogs).
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
        let line = line::read(&text);
        let says = self.wording.says(&line);
        if says != Says::Nothing {
            let text = line.message.chars().take(SHOWN).collect();
            found.push(LogLine { uid: self.uid.clone(), at, written: line.time, says, text });
        }
    }
}

/// The runtime's time and the rest of a line; `None` for a line that is not the container's.
pub(crate) fn stamped(line: &[u8]) -> Option<(Timestamp, &[u8])> {
    let space = line.iter().take(40).position(|byte| *byte == b' ')?;
    let stamp = std::str::from_utf8(&line[..space]).ok()?.parse().ok()?;
    Some((stamp, &line[space + 1..]))
}

/// The last lines that a container wrote, for a message; empty if they cannot be had within two seconds.
pub(crate) async fn tail(cluster: &Cluster, pod: &str, container: &str) -> Vec<String> {
    const MOST: i32 = 64 * 1024;
    let api = Api::<Pod>::namespaced(cluster.client().clone(), cluster.namespace());
    let parameters = LogParams {
        container: Some(container.to_owned()),
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
    // What was read until then is what there is to show.
    let _ = tokio::time::timeout(Duration::from_secs(2), work).await;
    let lines = text.split(|byte| *byte == b'\n').filter_map(|line| Some(stamped(line)?.1));
    lines.map(|line| String::from_utf8_lossy(line).chars().take(SHOWN).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_stream_is_opened_again_at_once_and_one_that_fails_ever_later() {
        assert_eq!(again(End::Quiet, 7), (SHORT, 0));
        assert_eq!(again(End::Heard, 7), (Duration::from_millis(250), 1));
        assert_eq!(again(End::Failed, 0), (Duration::from_millis(250), 1));
        assert_eq!(again(End::Failed, 2), (Duration::from_secs(1), 3));
        assert_eq!(again(End::Failed, 40), (LONGEST, 41));
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
