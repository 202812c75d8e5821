//! `GET …/pods/NAME/log`: once, or followed.
//!
//! The refusals are the kubelet's exact words, by which clients distinguish "not yet" from "never".

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{Response, StatusCode};
use futures::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::containers::{Reader, Wanted};
use super::kubelet::{self, Kubelet};
use super::pods::{Cut, Pod, PodState};
use super::resource::Target;
use super::status::{Refusal, bad_request, invalid, not_found};
use super::{Cluster, State};

/// Answers for the pod that `target` names. A followed log is answered with its first line or its end, because a kubelet
/// sends its header with the first data.
pub(super) async fn log(
    cluster: &Arc<Cluster>,
    target: &Target<'_>,
    query: &HashMap<String, String>,
) -> Result<Response<Body>, Refusal> {
    let mut following = match open(cluster, target, query)? {
        Opened::Whole(response) => return Ok(response),
        Opened::Followed(following) => following,
    };
    let first = following.next().await;
    let rest = stream::unfold(following, |mut following| async {
        let chunk = following.next().await?;
        Some((chunk, following))
    });
    Ok(text(Body::from_stream(stream::iter(first).chain(rest))))
}

/// The result of a log request.
enum Opened {
    Whole(Response<Body>),
    Followed(Following),
}

fn open(cluster: &Arc<Cluster>, target: &Target<'_>, query: &HashMap<String, String>) -> Result<Opened, Refusal> {
    let name = target.name.as_deref().unwrap_or_default();
    let wanted = wanted(target, query, Timestamp::now())?;
    // Subscribe before reading the state, so that a change in between wakes the stream.
    let changes = cluster.changes.subscribe();
    let mut state = cluster.lock();
    let object = state.objects.get("pods", &target.namespace, name);
    let object = object.ok_or_else(|| not_found(target.resource, name))?;
    let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    let kubelet = state.kubelet;
    let Some(pod) = state.pods.get_mut(&uid).filter(|p| p.state != PodState::Pending) else {
        let mut nothing = Response::new(Body::empty());
        *nothing.status_mut() = StatusCode::NO_CONTENT;
        return Ok(Opened::Whole(nothing));
    };
    let container = container(pod, query.get("container").map(String::as_str))?;
    kubelet.refuse_log(name, &pod.containers[container].name)?;
    let instance = instance(pod, container, wanted.previous)?;
    let place = &pod.containers[container].instances[instance];
    if kubelet == Kubelet::NoLogFile {
        return Ok(Opened::Whole(text(Body::from(kubelet::no_log_file(&place.id)))));
    }
    let files = &place.files;
    let mut reader = Reader::open(instance, files, &wanted);
    if !wanted.follow {
        return Ok(Opened::Whole(text(Body::from(reader.take(files)))));
    }
    pod.streams += 1;
    let cuts = pod.cuts;
    drop(state);
    cluster.notify();
    Ok(Opened::Followed(Following { cluster: cluster.clone(), changes, uid, container, reader, cuts, rest: None }))
}

fn text(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// The options of the query. `sinceTime` is cut to whole seconds, as by a real kubelet's clients.
fn wanted(target: &Target<'_>, query: &HashMap<String, String>, now: Timestamp) -> Result<Wanted, Refusal> {
    let invalid = |cause: &str| invalid(target.resource, "", cause);
    let flag = |name: &str| query.get(name).is_some_and(|v| v != "false" && v != "0");
    let number = |name: &str, least: usize| match query.get(name) {
        None => Ok(None),
        Some(text) => match text.parse::<usize>() {
            Ok(n) if n >= least => Ok(Some(n)),
            _ => Err(invalid(&format!("{name}: Invalid value: {text}: must be greater than or equal to {least}"))),
        },
    };
    let seconds = number("sinceSeconds", 1)?;
    let time = query.get("sinceTime").map(|t| t.parse::<Timestamp>()).transpose();
    let time = time.map_err(|e| bad_request(&format!("unable to parse sinceTime: {e}")))?;
    let since = match (seconds, time) {
        (Some(_), Some(_)) => {
            let words = "at most one of `sinceTime` or `sinceSeconds` may be specified";
            return Err(invalid(&format!("sinceSeconds: Forbidden: {words}")));
        }
        (Some(seconds), None) => {
            let ago = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
            now.checked_sub(ago).ok()
        }
        (None, Some(time)) => Timestamp::from_second(time.as_second()).ok(),
        (None, None) => None,
    };
    Ok(Wanted {
        follow: flag("follow"),
        previous: flag("previous"),
        timestamps: flag("timestamps"),
        since,
        tail: number("tailLines", 0)?,
        limit: number("limitBytes", 1)?,
    })
}

fn container(pod: &Pod, asked: Option<&str>) -> Result<usize, Refusal> {
    let names: Vec<&str> = pod.containers.iter().map(|c| c.name.as_str()).collect();
    match asked.filter(|a| !a.is_empty()) {
        Some(asked) => {
            let place = names.iter().position(|n| *n == asked);
            place.ok_or_else(|| bad_request(&format!("container {asked} is not valid for pod {}", pod.name)))
        }
        None if names.len() == 1 => Ok(0),
        None => Err(bad_request(&format!(
            "a container name must be specified for pod {}, choose one of: [{}]",
            pod.name,
            names.join(" ")
        ))),
    }
}

/// The requested instance, or why there is none (kubelet, `validateContainerLogStatus`).
fn instance(pod: &Pod, container: usize, previous: bool) -> Result<usize, Refusal> {
    if pod.state == PodState::NodeLost {
        return Err(kubelet::log_unreached(&pod.name, &pod.containers[container].name, "dial tcp 192.0.2.10:10250: i/o timeout"));
    }
    let (container, name) = (&pod.containers[container], &pod.name);
    let label = format!("container \"{}\" in pod \"{name}\"", container.name);
    let ended = container.ended().map(|(place, ..)| place);
    if previous {
        return ended.ok_or_else(|| bad_request(&format!("previous terminated {label} not found")));
    }
    let waits = match pod.state {
        PodState::ContainerCreating => "waiting to start: ContainerCreating",
        PodState::ImagePullBackOff => "waiting to start: trying and failing to pull image",
        _ => "waiting to start - no logs yet",
    };
    let current = container.running().map(|_| container.instances.len() - 1);
    current.or(ended).ok_or_else(|| bad_request(&format!("{label} is {waits}")))
}

/// A follow stream, counted in its pod until it is dropped.
struct Following {
    cluster: Arc<Cluster>,
    changes: watch::Receiver<u64>,
    uid: String,
    container: usize,
    reader: Reader,
    cuts: u64,
    /// The second part of a split chunk.
    rest: Option<Vec<u8>>,
}

impl Following {
    async fn next(&mut self) -> Option<Result<Bytes, std::io::Error>> {
        if let Some(rest) = self.rest.take() {
            // The first part must be sent before, or both become one chunk.
            tokio::task::yield_now().await;
            return Some(Ok(rest.into()));
        }
        loop {
            self.changes.borrow_and_update();
            match self.look() {
                Look::Chunk(chunk) => return Some(Ok(chunk.into())),
                Look::End => return None,
                Look::Break => return Some(Err(std::io::Error::other("cut by the lab"))),
                Look::Nothing => self.changes.changed().await.ok()?,
            }
        }
    }

    fn look(&mut self) -> Look {
        let state = self.cluster.lock();
        let Some(pod) = state.pods.get(&self.uid) else { return Look::End };
        if pod.cuts > self.cuts {
            return if pod.cut == Cut::End { Look::End } else { Look::Break };
        }
        let instances = &pod.containers[self.container].instances;
        let Some(instance) = instances.get(self.reader.instance) else { return Look::End };
        let chunk = self.reader.take(&instance.files);
        if !chunk.is_empty() {
            let (first, rest) = parts(chunk, &state);
            self.rest = rest;
            return Look::Chunk(first);
        }
        match self.reader.is_full() || instance.end.is_some() || pod.gone {
            true => Look::End,
            false => Look::Nothing,
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        if let Some(pod) = self.cluster.lock().pods.get_mut(&self.uid) {
            pod.streams -= 1;
        }
        self.cluster.notify();
    }
}

enum Look {
    Chunk(Vec<u8>),
    Nothing,
    End,
    Break,
}

/// The position to split at: the middle of the chunk's last line.
fn parts(mut chunk: Vec<u8>, state: &State) -> (Vec<u8>, Option<Vec<u8>>) {
    if !state.split_lines || chunk.len() < 2 {
        return (chunk, None);
    }
    let body = &chunk[..chunk.len() - 1];
    let start = body.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let rest = chunk.split_off(start + (chunk.len() - start) / 2);
    (chunk, Some(rest))
}
