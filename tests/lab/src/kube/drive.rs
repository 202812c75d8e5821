//! Controls the pods of a test: states, restarts, lines, rotations, cuts. Everything is in `hubble-system`.

use std::time::Duration;

use jiff::Timestamp;

use super::containers::{Container, Entry};
use super::pods::{self, Cut, Pod, PodState};
use super::{Cluster, SPECMAN_NAMESPACE};

impl Cluster {
    /// The uid of a pod, if it exists.
    pub fn pod_uid(&self, pod: &str) -> Option<String> {
        let object = self.object("pods", SPECMAN_NAMESPACE, pod)?;
        object["metadata"]["uid"].as_str().map(str::to_owned)
    }

    /// Sets a pod's state.
    pub fn set_pod(&self, pod: &str, state: PodState) {
        self.change_pod(pod, |pod| pod.enter(state));
    }

    /// Sets the state of pods that the controller creates; the default is [`PodState::Running`].
    pub fn set_new_pods(&self, pods: PodState) {
        self.change(|state| state.new_pods = pods);
    }

    /// Stops the controller, or lets it continue: while stopped, deleted pods stay deleted.
    pub fn pause_controller(&self, paused: bool) {
        self.change(|state| {
            state.controller_paused = paused;
            pods::reconcile(state);
        });
    }

    /// Restarts every container of a pod: its log begins again, the old one is `previous`.
    pub fn restart_container(&self, pod: &str) {
        self.change_pod(pod, |pod| {
            pod.containers.iter_mut().for_each(Container::start);
            pod.enter(PodState::Running);
        });
    }

    /// Deletes a pod; the controller creates its successor with a new uid and an empty log.
    pub fn replace_pod(&self, pod: &str) {
        self.remove("pods", SPECMAN_NAMESPACE, pod);
    }

    /// Makes a container crash repeatedly, or run again; the others continue.
    pub fn crash_container(&self, pod: &str, container: &str, crash: bool) {
        self.change_pod(pod, |pod| {
            for container in pod.containers.iter_mut().filter(|known| known.name == container) {
                container.backs_off = crash;
                match crash {
                    true => container.end(1, "Error"),
                    false => container.start(),
                }
            }
        });
    }

    /// Appends a line of a pod's Specman container with the time `time`.
    pub fn line_at(&self, pod: &str, time: Timestamp, line: &str) {
        self.entry(pod, None, time, line.as_bytes(), true);
    }

    /// Appends one entry of a container's log (Specman's by default). Without `ends_line` it is a partial line (`P` in the
    /// runtime's format), which the next entry continues. Does nothing if the container is not running.
    pub fn entry(&self, pod: &str, container: Option<&str>, time: Timestamp, text: &[u8], ends_line: bool) {
        let entry = Entry { time, text: text.to_vec(), ends_line };
        self.change_pod(pod, |pod| {
            let place = |name: &str| pod.containers.iter().position(|c| c.name == name);
            let place = container.map_or_else(|| place("specman").or(Some(0)), place);
            let found = place.and_then(|place| pod.containers.get_mut(place));
            if let Some(file) = found.and_then(|c| c.running_mut()).and_then(|i| i.files.last_mut()) {
                file.push(entry);
            }
        });
    }

    /// Rotates a pod's log files: a new read begins with the new file, an open stream stays on the old one and gets nothing
    /// more.
    pub fn rotate_log(&self, pod: &str) {
        self.change_pod(pod, |pod| {
            let running = pod.containers.iter_mut().filter_map(Container::running_mut);
            running.for_each(|instance| instance.files.push(Vec::new()));
        });
    }

    /// Sets whether follow streams split the last line of each chunk.
    pub fn split_lines(&self, split: bool) {
        self.change(|state| state.split_lines = split);
    }

    /// Cuts a pod's open follow streams.
    pub fn cut_streams(&self, pod: &str, cut: Cut) {
        self.change_pod(pod, |pod| {
            pod.cuts += 1;
            pod.cut = cut;
        });
    }

    /// The number of a pod's open follow streams.
    pub fn streams(&self, pod: &str) -> usize {
        let uid = self.pod_uid(pod);
        let state = self.lock();
        uid.and_then(|uid| state.pods.get(&uid)).map_or(0, |p| p.streams)
    }

    /// Blocks until exactly `count` follow streams of a pod are open; returns false after `limit`.
    pub fn wait_for_streams(&self, pod: &str, count: usize, limit: Duration) -> bool {
        self.wait(limit, |cluster| cluster.streams(pod) == count)
    }

    pub(super) fn change_pod(&self, name: &str, change: impl FnOnce(&mut Pod)) {
        self.change(|state| {
            let object = state.objects.get("pods", SPECMAN_NAMESPACE, name);
            let Some(uid) = object.and_then(|o| o["metadata"]["uid"].as_str()).map(str::to_owned) else {
                return;
            };
            let Some(pod) = state.pods.get_mut(&uid) else { return };
            let shown =
                |pod: &Pod| (pod.state, pod.containers.iter().map(|c| (c.instances.len(), c.backs_off)).collect::<Vec<_>>());
            let before = shown(pod);
            change(pod);
            if before != shown(pod) {
                pods::show(state, &uid);
                pods::reconcile(state);
            }
        });
    }
}

impl crate::PodLog for Cluster {
    fn line(&self, pod: &str, line: &str) {
        self.line_at(pod, Timestamp::now(), line);
    }
}
