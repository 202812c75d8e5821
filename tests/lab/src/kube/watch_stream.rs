//! A watch: the existing objects, then each change, as one JSON document per line.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Response;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use futures::stream;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Cluster;
use super::objects::Selection;

/// An open watch.
struct Watching {
    cluster: Arc<Cluster>,
    changes: watch::Receiver<u64>,
    plural: &'static str,
    namespace: String,
    selection: Selection,
    /// The last revision that was sent.
    reported: u64,
    /// The existing objects, if the client named no version.
    first: Option<String>,
    end: Option<Instant>,
}

/// Opens a watch from `since` on; `None` or 0 begins with the existing objects.
pub(super) fn open(
    cluster: &Arc<Cluster>,
    plural: &'static str,
    namespace: &str,
    selection: Selection,
    since: Option<u64>,
    timeout: Option<u64>,
) -> Response<Body> {
    let changes = cluster.changes.subscribe();
    let state = cluster.lock();
    let mut first = String::new();
    let reported = match since {
        Some(since) if since > 0 => since,
        _ => {
            let there = state.objects.list(plural, namespace).filter(|o| selection.selects(o));
            there.for_each(|o| first.push_str(&line("ADDED", o)));
            state.objects.revision
        }
    };
    drop(state);
    let watching = Watching {
        cluster: cluster.clone(),
        changes,
        plural,
        namespace: namespace.to_owned(),
        selection,
        reported,
        first: (!first.is_empty()).then_some(first),
        end: timeout.map(|s| Instant::now() + Duration::from_secs(s)),
    };
    let body = stream::unfold(watching, |mut w| async {
        let lines = w.next().await?;
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(lines)), w))
    });
    let mut response = Response::new(Body::from_stream(body));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

impl Watching {
    async fn next(&mut self) -> Option<String> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            self.changes.borrow_and_update();
            let lines = self.news();
            if !lines.is_empty() {
                return Some(lines);
            }
            match self.end {
                None => self.changes.changed().await.ok()?,
                Some(end) => tokio::select! {
                    changed = self.changes.changed() => changed.ok()?,
                    () = sleep_until(end) => return None,
                },
            }
        }
    }

    fn news(&mut self) -> String {
        let state = self.cluster.lock();
        let mut lines = String::new();
        for event in state.objects.events.iter().filter(|e| e.revision > self.reported) {
            let place = event.object["metadata"]["namespace"].as_str().unwrap_or_default();
            let here = self.namespace.is_empty() || place == self.namespace;
            if event.plural == self.plural && here && self.selection.selects(&event.object) {
                lines.push_str(&line(event.word, &event.object));
            }
        }
        self.reported = state.objects.revision;
        lines
    }
}

fn line(word: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": word, "object": object}))
}
