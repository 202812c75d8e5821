//! specman-wait against the lab's cluster: it only succeeds if every replica logs the marker after the push, whatever
//! happens to streams, containers and pods.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod access;
mod bench;
mod kubelet;
mod messages;
mod pods;
mod restart;
mod stream;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use scar_kit::{Outcome, Run, Running};
use scar_lab::PodLog as _;
use scar_suites::KubeSite;
use serde_json::{Value, json};

pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) fn ago(seconds: i64) -> Timestamp {
    Timestamp::now().checked_sub(SignedDuration::from_secs(seconds)).unwrap()
}

/// The record of a push this many seconds ago.
pub(crate) fn pushed(seconds: i64) -> Value {
    let digest = format!("sha256:{}", "0".repeat(64));
    let at = format!("{:.0}", ago(seconds));
    json!({"record": "scar-tools/1", "artifact": {
        "reference": "harbor.example/spectro-packs/spectro-manifests/manifest:0.0.0", "registry": "harbor.example",
        "repository": "spectro-packs/spectro-manifests/manifest", "tag": "0.0.0", "digest": digest, "layer": digest,
        "size": 7, "created": at, "pushed_at": at, "uploaded": true
    }})
}

/// specman-wait after a push a minute ago.
pub(crate) fn tool(site: &KubeSite) -> Run {
    site.tool("specman-wait").record(&pushed(60))
}

pub(crate) fn info(message: &str) -> String {
    info_at(Timestamp::now(), message)
}

pub(crate) fn info_at(time: Timestamp, message: &str) -> String {
    format!("time=\"{time:.0}\" level=info msg=\"{message}\"")
}

pub(crate) fn error(message: &str) -> String {
    format!("time=\"{:.0}\" level=error msg=\"{message}\"", Timestamp::now())
}

pub(crate) fn persist(site: &KubeSite, pod: &str) {
    site.cluster.line(pod, &info("Persisting 0.0.0"));
}

/// Logs a line as one container of a pod.
pub(crate) fn say(site: &KubeSite, pod: &str, container: &str, line: &str) {
    site.cluster.entry(pod, Some(container), Timestamp::now(), line.as_bytes(), true);
}

/// A cluster whose StatefulSet `specman` has pods with these containers.
pub(crate) fn with_containers(containers: &[&str]) -> KubeSite {
    let site = KubeSite::new(0);
    site.cluster.add_statefulset("specman", 1, containers);
    site
}

/// Starts it and waits until it follows a pod.
#[track_caller]
pub(crate) fn following(site: &KubeSite, run: Run, pod: &str) -> Running {
    let running = run.start();
    assert!(site.cluster.wait_for_streams(pod, 1, SOON), "no stream of {pod}");
    running
}

#[track_caller]
pub(crate) fn done(outcome: &Outcome, pods: &[&str]) {
    let record = outcome.succeeds().json();
    assert_eq!(record["specman"]["pods"], json!(pods), "{outcome}");
    assert_eq!((&record["specman"]["namespace"], &record["specman"]["tag"]), (&json!("hubble-system"), &json!("0.0.0")));
    let at: Timestamp = record["specman"]["persisted_at"].as_str().unwrap().parse().unwrap();
    assert!(at > ago(60), "{outcome}");
}
