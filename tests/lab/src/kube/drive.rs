//! The hand that moves the pods: states, restarts, lines, rotations, cuts. All of it in `hubble-system`.

use std::time::Duration;

use jiff::Timestamp;

use super::containers::{Container, Entry};
use super::pods::{self, Cut, Pod, PodState};
use super::{Cluster, SPECMAN_NAMESPACE};

impl Cluster {
    /// The uid of a pod, if it is there.
    pub fn pod_uid(&self, pod: &str) -> Option<String> {
        let object = self.object("pods", SPECMAN_NAMESPACE, pod)?;
        object["metadata"]["uid"].as_str().map(str::to_owned)
    }

    /// Moves a pod to a state.
    pub fn set_pod(&self, pod: &str, state: PodState) {
        self.change_pod(pod, |pod| pod.enter(state));
    }

    /// The state in which the controller makes pods from now on; at first [`PodState::Running`].
    pub fn set_new_pods(&self, pods: PodState) {
        self.change(|state| state.new_pods = pods);
    }

    /// Stops the controller, or lets it go on: while it stands, pods that are gone stay gone.
    pub fn pause_controller(&self, paused: bool) {
        self.change(|state| {
            state.controller_paused = paused;
            pods::reconcile(state);
        });
    }

    /// Ends every container of a pod and starts it anew: its log begins again, the old one is `previous`.
    pub fn restart_container(&self, pod: &str) {
        self.change_pod(pod, |pod| {
            pod.containers.iter_mut().for_each(Container::start);
            pod.enter(PodState::Running);
        });
    }

    /// Deletes a pod, and the controller makes its successor with a new uid and an empty log.
    pub fn replace_pod(&self, pod: &str) {
        self.remove("pods", SPECMAN_NAMESPACE, pod);
    }

    /// A container ends again and again from now on, or runs again; the others go on.
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

    /// Appends a line that Specman's container of a pod wrote at `time`.
    pub fn line_at(&self, pod: &str, time: Timestamp, line: &str) {
        self.entry(pod, None, time, line.as_bytes(), true);
    }

    /// Appends what a container (Specman's, if it is not named) wrote as one entry of its log file; `ends_line` false is the `P`
    /// of the runtime's format, a part of a line that the next entry goes on with. Nothing happens
    /// where the container does not run.
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

    /// Rotates the log files of a pod: a read begins with the new file, an open follow stream stays
    /// open on the old one and hears nothing more.
    pub fn rotate_log(&self, pod: &str) {
        self.change_pod(pod, |pod| {
            let running = pod.containers.iter_mut().filter_map(Container::running_mut);
            running.for_each(|instance| instance.files.push(Vec::new()));
        });
    }

    /// Whether follow streams send the last line of each chunk in two.
    pub fn split_lines(&self, split: bool) {
        self.change(|state| state.split_lines = split);
    }

    /// Cuts the follow streams of a pod that are open now.
    pub fn cut_streams(&self, pod: &str, cut: Cut) {
        self.change_pod(pod, |pod| {
            pod.cuts += 1;
            pod.cut = cut;
        });
    }

    /// How many follow streams of a pod are open.
    pub fn streams(&self, pod: &str) -> usize {
        let uid = self.pod_uid(pod);
        let state = self.lock();
        uid.and_then(|uid| state.pods.get(&uid)).map_or(0, |p| p.streams)
    }

    /// Blocks until exactly `count` follow streams of a pod are open; false where `limit` passed first.
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
