//! Following the log of one pod: reopened when it ends, breaks or falls silent, from a little before the last line, so
//! that no line is lost; what is heard twice is for the verdict to ignore.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::io::AsyncBufRead;
use futures::{AsyncBufReadExt, AsyncReadExt};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use scar_cluster::{Cluster, Error, pause};
use tokio::sync::mpsc::Sender;

use crate::line::{self, Marker, Says};
use crate::options::Aim;
use crate::split::Splitter;
use crate::verdict::Said;

/// After how much silence a stream is reopened: a rotated log never ends, it only says nothing more.
const QUIET: Duration = Duration::from_secs(10);
/// How far before the last line a reopened stream begins: `sinceTime` is cut to seconds, and the lines of two streams
/// of a container may stand out of order.
const OVERLAP: SignedDuration = SignedDuration::from_secs(2);
/// How long the opening of a stream may take. A kubelet begins its answer with the first line, so that a quiet log opens
/// as late as that.
const OPEN: Duration = Duration::from_secs(20);
/// The longest pause before a stream is opened again that did not open, or ended.
const LONGEST: Duration = Duration::from_secs(2);
/// The pause after a stream that was healthy and quiet: nothing is to be spared there.
const SHORT: Duration = Duration::from_millis(50);
/// How much of a line a message shows, in bytes.
const SHOWN: usize = 400;

/// What comes out of following a pod.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A line that matters.
    Said(Said),
    /// The log may not be read, and asking again will not help.
    Refused(Error),
}

/// A pod's log to follow.
#[derive(Clone)]
pub(crate) struct Log {
    /// The cluster.
    pub(crate) cluster: Cluster,
    /// The pod.
    pub(crate) pod: String,
    /// The container.
    pub(crate) container: String,
    /// The tag that matters.
    pub(crate) tag: String,
    /// The words that say that it is persisted.
    pub(crate) marker: Marker,
    /// Lines before this are not asked for.
    pub(crate) since: Option<Timestamp>,
    /// Where what is heard goes.
    pub(crate) out: Sender<(String, Heard)>,
    /// The last line, for messages.
    pub(crate) last: Arc<Mutex<Last>>,
    /// Set when the pod is gone: what its stream still brings is read, another is not opened.
    pub(crate) gone: Arc<AtomicBool>,
}

/// The last line of a log.
#[derive(Debug, Default, Clone)]
pub(crate) struct Last {
    at: Option<Timestamp>,
    text: Vec<u8>,
    /// Why the log cannot be read at present.
    pub(crate) trouble: Option<String>,
}

/// How a stream came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It brought lines that were not known.
    Heard,
    /// It was open, and nothing new was said.
    Quiet,
    /// It ended at once, broke, or did not open.
    Failed,
}

/// The pause before the next try, and how many in a row have failed.
fn again(end: End, failed: u32) -> (Duration, u32) {
    match end {
        End::Heard => (pause(1, None).min(LONGEST), 1),
        End::Quiet => (SHORT, 0),
        End::Failed => (pause(failed + 1, None).min(LONGEST), failed + 1),
    }
}

impl Last {
    /// `TIME: text`, empty before any line.
    pub(crate) fn words(&self) -> String {
        let text = String::from_utf8_lossy(&self.text);
        match self.at {
            Some(at) => format!("{at:.0}: {text}"),
            None => text.into_owned(),
        }
    }

    /// The message alone, for a line that is short of room.
    pub(crate) fn message(&self) -> String {
        line::read(&String::from_utf8_lossy(&self.text)).message.into_owned()
    }
}

impl Log {
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

    /// Follows until the pod is gone or nobody listens any more.
    pub(crate) async fn follow(self) {
        let api = Api::<Pod>::namespaced(self.cluster.client().clone(), self.cluster.namespace());
        let mut newest = None;
        let mut failed = 0;
        while !self.out.is_closed() && !self.gone.load(Ordering::Relaxed) {
            let parameters = self.parameters(self.from(newest));
            let end = match tokio::time::timeout(OPEN, api.log_stream(&self.pod, &parameters)).await {
                Ok(Ok(stream)) => self.drain(stream, &mut newest, false).await,
                Ok(Err(error)) => {
                    let error = Error::of(error);
                    // 400: the container has not started. 404: the pod is gone, or not there yet.
                    if !error.is_transient() && !matches!(error.status(), Some(400 | 404 | 409)) {
                        let _ = self.out.send((self.pod.clone(), Heard::Refused(error))).await;
                        return;
                    }
                    self.last().trouble = Some(scar_tool::bounded(error.to_string().as_bytes()));
                    End::Failed
                }
                Err(_) => End::Quiet,
            };
            let (wait, tries) = again(end, failed);
            failed = tries;
            tokio::time::sleep(wait).await;
        }
    }

    /// From where on a stream is asked for: a little before the newest line. The cluster's time is the limit, since a
    /// line of a node whose clock is ahead would else hide all that follow.
    fn from(&self, newest: Option<Timestamp>) -> Option<Timestamp> {
        let now = Timestamp::now().checked_add(self.cluster.skew().unwrap_or_default()).ok();
        let newest = newest.map(|newest| now.map_or(newest, |now| newest.min(now)));
        match newest {
            Some(at) => Timestamp::checked_sub(at, OVERLAP).ok().max(self.since),
            None => self.since,
        }
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what the container's previous instance wrote, which a restart would else take out of sight.
    pub(crate) async fn previous(self) {
        let api = Api::<Pod>::namespaced(self.cluster.client().clone(), self.cluster.namespace());
        let parameters = LogParams { previous: true, follow: false, ..self.parameters(self.since) };
        for tried in 1..=5 {
            match tokio::time::timeout(OPEN, api.log_stream(&self.pod, &parameters)).await {
                Ok(Ok(stream)) => {
                    self.drain(stream, &mut None, true).await;
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
    /// What stands after the last line ending counts only in a log that is `closed`: of one that is still written to it
    /// may be the first part of a line, which comes again, whole.
    async fn drain(&self, stream: impl AsyncBufRead, newest: &mut Option<Timestamp>, closed: bool) -> End {
        let mut stream = std::pin::pin!(stream);
        let mut splitter = Splitter::default();
        let mut found = Vec::new();
        let before = *newest;
        self.last().trouble = None;
        let ended = loop {
            let chunk = match tokio::time::timeout(QUIET, stream.fill_buf()).await {
                Ok(Ok(chunk)) if !chunk.is_empty() => chunk,
                Ok(Ok(_)) => {
                    if let Some(rest) = splitter.rest().filter(|_| closed) {
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
        if *newest > before && ended == End::Failed { End::Heard } else { ended }
    }

    /// False where nobody listens any more.
    async fn send(&self, found: &mut Vec<Said>) -> bool {
        for said in found.drain(..) {
            if self.out.send((self.pod.clone(), Heard::Said(said))).await.is_err() {
                return false;
            }
        }
        true
    }

    fn line(&self, line: &[u8], newest: &mut Option<Timestamp>, found: &mut Vec<Said>) {
        let (at, text) = stamped(line);
        *newest = (*newest).max(at);
        {
            let mut last = self.last();
            if last.at <= at {
                last.at = at;
                last.text.clear();
                last.text.extend_from_slice(&text[..text.len().min(SHOWN)]);
            }
        }
        let text = String::from_utf8_lossy(text);
        let line = line::read(&text);
        let says = line::says(&line, &self.marker, &self.tag);
        if says != Says::Nothing {
            let shown: String = line.message.chars().take(SHOWN).collect();
            found.push(Said { at, told: line.time, says, text: shown });
        }
    }
}

/// The runtime's time and the rest of a line.
pub(crate) fn stamped(line: &[u8]) -> (Option<Timestamp>, &[u8]) {
    let Some(space) = line.iter().take(40).position(|byte| *byte == b' ') else { return (None, line) };
    let stamp = std::str::from_utf8(&line[..space]).ok().and_then(|stamp| stamp.parse().ok());
    match stamp {
        Some(stamp) => (Some(stamp), &line[space + 1..]),
        None => (None, line),
    }
}

/// The last lines of a pod's log, for a message; empty where they cannot be had.
pub(crate) async fn tail(cluster: &Cluster, pod: &str, container: &str, previous: bool) -> Vec<String> {
    let parameters = LogParams { tail_lines: Some(5), previous, ..LogParams::default() };
    let text = text(cluster, pod, container, parameters).await;
    String::from_utf8_lossy(&text).lines().map(|line| line.chars().take(SHOWN).collect()).collect()
}

/// When a pod last said that the tag is persisted, however long ago, as far as a short look tells.
pub(crate) async fn marker(cluster: &Cluster, pod: &str, container: &str, aim: &Aim) -> Option<Timestamp> {
    let parameters = LogParams { tail_lines: Some(2000), timestamps: true, ..LogParams::default() };
    let text = text(cluster, pod, container, parameters).await;
    let lines = text.split(|byte| *byte == b'\n').map(stamped);
    let says = |text| line::says(&line::read(&String::from_utf8_lossy(text)), &aim.marker, &aim.tag);
    let said = lines.filter(|(_, text)| says(text) == Says::Persisted);
    said.filter_map(|(at, _)| at).max()
}

/// Some of a log at once, within two seconds and a mebibyte.
async fn text(cluster: &Cluster, pod: &str, container: &str, parameters: LogParams) -> Vec<u8> {
    const MOST: i32 = 1024 * 1024;
    let api = Api::<Pod>::namespaced(cluster.client().clone(), cluster.namespace());
    let parameters = LogParams { container: Some(container.to_owned()), limit_bytes: Some(MOST.into()), ..parameters };
    let mut text = Vec::new();
    let work = async {
        let stream = api.log_stream(pod, &parameters).await.ok()?;
        std::pin::pin!(stream).take(u64::try_from(MOST).ok()?).read_to_end(&mut text).await.ok()
    };
    // What was read until then is what there is to show.
    let _ = tokio::time::timeout(Duration::from_secs(2), work).await;
    text
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
        let (at, text) = stamped(b"2024-12-06T12:43:14.123456789Z Persisting 0.0.0");
        assert_eq!((at.map(|at| at.as_second()), text), (Some(1_733_488_994), &b"Persisting 0.0.0"[..]));
        let (at, _) = stamped(b"2024-12-06T13:43:14.1+01:00 x");
        assert_eq!(at.map(|at| at.as_second()), Some(1_733_488_994));
        assert_eq!(stamped(b"no time here"), (None, &b"no time here"[..]));
        assert_eq!(stamped(b""), (None, &b""[..]));
    }
}
