//! The pods: their states, the object that shows a state, and the controller of the StatefulSet.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::State;
use super::containers::Container;
use super::objects::now;
use super::resource::Resource;

/// The states that a pod of the lab can be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodState {
    /// Not scheduled; its log is an empty 204.
    Pending,
    /// Scheduled, but image or volume are missing; its log is a 400.
    ContainerCreating,
    /// Running and ready.
    Running,
    /// Running, but its probe fails.
    NotReady,
    /// The last instance ended with 1, and the kubelet waits before the next (kubernetes pkg/kubelet/kubelet_pods.go,
    /// convertToAPIContainerStatuses: waiting with the ended instance as the last state).
    CrashLoopBackOff,
    /// The image cannot be pulled; no instance ever ran.
    ImagePullBackOff,
    /// The last instance was killed for its memory.
    OomKilled,
    /// Failed, reason `Evicted`.
    Evicted,
    /// The node does not answer: the pod's last state remains, its log is a 500.
    NodeLost,
}

/// The runtime state of a pod, by uid, because a successor has the same name.
pub(super) struct Pod {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) state: PodState,
    pub(super) containers: Vec<Container>,
    /// Number of open follow streams.
    pub(super) streams: usize,
    /// How often its streams were cut, and how the last time.
    pub(super) cuts: u64,
    pub(super) cut: Cut,
    /// Number of open port-forwards.
    pub(super) forwards: usize,
    /// How often its forwards were cut, and how the last time.
    pub(super) forward_cuts: u64,
    pub(super) forward_cut: Cut,
    /// Whether it was deleted, so that its streams end.
    pub(super) gone: bool,
}

/// How a follow stream or a port-forward is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It ends properly, as when a proxy considers it idle.
    End,
    /// The connection breaks in the middle of the body.
    Break,
}

pub(super) type Pods = BTreeMap<String, Pod>;

impl Pod {
    /// Changes the state, starting and ending instances accordingly.
    pub(super) fn enter(&mut self, state: PodState) {
        self.state = state;
        for container in self.containers.iter_mut().filter(|container| !container.backs_off) {
            match state {
                PodState::Running | PodState::NotReady => {
                    if container.running().is_none() {
                        container.start();
                    }
                }
                PodState::CrashLoopBackOff => {
                    if container.instances.is_empty() {
                        container.start();
                    }
                    container.end(1, "Error");
                }
                PodState::OomKilled => {
                    if container.instances.is_empty() {
                        container.start();
                    }
                    container.end(137, "OOMKilled");
                }
                PodState::Evicted => container.end(137, "ContainerStatusUnknown"),
                PodState::Pending | PodState::ContainerCreating | PodState::ImagePullBackOff => {
                    container.end(0, "Completed");
                    container.instances.clear();
                }
                PodState::NodeLost => {}
            }
        }
    }

    fn is_ready(&self) -> bool {
        self.state == PodState::Running && !self.containers.iter().any(|container| container.backs_off)
    }

    /// The object's `status`.
    fn status(&self) -> Value {
        use PodState as S;
        let phase = match self.state {
            S::Pending | S::ContainerCreating | S::ImagePullBackOff => "Pending",
            S::Evicted => "Failed",
            _ => "Running",
        };
        let truth = |yes: bool| if yes { "True" } else { "False" };
        let ready = if self.state == S::NodeLost { "Unknown" } else { truth(self.is_ready()) };
        let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "lastTransitionTime": now()});
        let mut conditions = vec![
            condition("Initialized", truth(self.state != S::Pending)),
            condition("Ready", ready),
            condition("ContainersReady", ready),
            condition("PodScheduled", truth(self.state != S::Pending)),
        ];
        let mut status = json!({"phase": phase, "qosClass": "BestEffort"});
        match self.state {
            S::Pending => {
                conditions[3]["reason"] = json!("Unschedulable");
                conditions[3]["message"] = json!("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.");
            }
            S::Evicted => {
                status["reason"] = json!("Evicted");
                status["message"] = json!("The node was low on resource: ephemeral-storage. ");
            }
            S::NodeLost => {
                status["reason"] = json!("NodeLost");
                status["message"] = json!("Node worker-0 which was running pod is unresponsive");
            }
            _ => {}
        }
        if self.state != S::Pending {
            status["hostIP"] = json!("192.0.2.10");
            status["startTime"] = json!(now());
            let containers = self.containers.iter().map(|c| self.container(c));
            status["containerStatuses"] = Value::Array(containers.collect());
        }
        status["conditions"] = Value::Array(conditions);
        status
    }

    fn container(&self, container: &Container) -> Value {
        let terminated = || {
            container.ended().map(|(_, instance, end)| {
                json!({"terminated": {
                    "containerID": instance.id, "exitCode": end.code, "reason": end.reason,
                    "startedAt": format!("{:.0}", instance.started), "finishedAt": format!("{:.0}", end.at)
                }})
            })
        };
        let waiting = |reason: &str, message: &str| json!({"waiting": {"reason": reason, "message": message}});
        let running = container.running();
        let shown = if container.backs_off { PodState::CrashLoopBackOff } else { self.state };
        let (state, last) = match (shown, running) {
            (PodState::ContainerCreating, _) => (json!({"waiting": {"reason": "ContainerCreating"}}), None),
            (PodState::ImagePullBackOff, _) => {
                (waiting("ImagePullBackOff", "Back-off pulling image \"registry.example/spectro/specman:4.5.15\""), None)
            }
            (PodState::CrashLoopBackOff, _) => (
                waiting(
                    "CrashLoopBackOff",
                    &format!("back-off 10s restarting failed container={} pod={}", container.name, self.name),
                ),
                terminated(),
            ),
            (_, Some(instance)) => (json!({"running": {"startedAt": format!("{:.0}", instance.started)}}), terminated()),
            (_, None) => (terminated().unwrap_or_default(), None),
        };
        let id = running.or(container.instances.last()).map_or("", |i| &i.id);
        json!({
            "name": container.name,
            "image": "registry.example/spectro/specman:4.5.15",
            "imageID": "",
            "containerID": id,
            "ready": self.state == PodState::Running && running.is_some(),
            "started": running.is_some(),
            "restartCount": container.restarts(),
            "state": state,
            "lastState": last.unwrap_or_else(|| json!({}))
        })
    }
}

/// Writes the state of a pod into its object.
pub(super) fn show(state: &mut State, uid: &str) {
    let Some(pod) = state.pods.get(uid) else { return };
    let old = state.objects.get("pods", &pod.namespace, &pod.name);
    let Some(mut object) = old.filter(|o| o["metadata"]["uid"] == uid).cloned() else { return };
    object["status"] = pod.status();
    let scheduled = pod.state != PodState::Pending;
    if scheduled {
        object["spec"]["nodeName"] = json!("worker-0");
    }
    if let Some(resource) = Resource::named("pods") {
        let (namespace, name) = (pod.namespace.clone(), pod.name.clone());
        state.objects.put(resource, &namespace, &name, object);
    }
}

/// Deletes a pod: object and streams.
pub(super) fn remove(state: &mut State, namespace: &str, name: &str) {
    let removed = state.objects.remove("pods", namespace, name);
    let uid = removed.as_ref().and_then(|o| o["metadata"]["uid"].as_str());
    if let Some(pod) = uid.and_then(|uid| state.pods.get_mut(uid)) {
        pod.gone = true;
    }
}

/// Works as the StatefulSet controller: a pod for each replica, a new one if the template has changed, none beyond; then the
/// status of the set.
pub(super) fn reconcile(state: &mut State) {
    if state.controller_paused {
        return;
    }
    let sets: Vec<Value> = state.objects.list("statefulsets", "").cloned().collect();
    for set in sets {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (namespace, name) = (text(&set["metadata"]["namespace"]), text(&set["metadata"]["name"]));
        let wanted = set["spec"]["replicas"].as_u64().unwrap_or(1);
        let hash = hex::encode(Sha256::digest(set["spec"]["template"].to_string()));
        let revision = format!("{name}-{}", &hash[..10]);
        for ordinal in 0..wanted {
            let pod = format!("{name}-{ordinal}");
            let old = state.objects.get("pods", &namespace, &pod);
            let current = old.map(|o| o["metadata"]["labels"]["controller-revision-hash"] == revision);
            match current {
                Some(true) => continue,
                Some(false) => remove(state, &namespace, &pod),
                None => {}
            }
            create(state, &set, &namespace, &pod, &revision);
        }
        let mut beyond = wanted;
        while state.objects.get("pods", &namespace, &format!("{name}-{beyond}")).is_some() {
            remove(state, &namespace, &format!("{name}-{beyond}"));
            beyond += 1;
        }
        show_set(state, set, wanted, &revision);
    }
}

fn show_set(state: &mut State, mut set: Value, wanted: u64, revision: &str) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (namespace, name) = (text(&set["metadata"]["namespace"]), text(&set["metadata"]["name"]));
    let mine = |p: &&Pod| !p.gone && p.namespace == namespace && p.is_ready();
    let ready = state
        .pods
        .values()
        .filter(mine)
        .filter(|p| p.name.strip_prefix(&format!("{name}-")).is_some_and(|o| o.parse::<u64>().is_ok()))
        .count();
    let status = json!({
        "observedGeneration": 1, "replicas": wanted, "readyReplicas": ready, "availableReplicas": ready,
        "currentReplicas": wanted, "updatedReplicas": wanted, "currentRevision": revision,
        "updateRevision": revision, "collisionCount": 0
    });
    if set["status"] != status {
        set["status"] = status;
        if let Some(resource) = Resource::named("statefulsets") {
            state.objects.put(resource, &namespace, &name, set);
        }
    }
}

fn create(state: &mut State, set: &Value, namespace: &str, name: &str, revision: &str) {
    let uid = super::uid();
    let template = &set["spec"]["template"];
    let mut metadata = template["metadata"].clone();
    metadata["uid"] = json!(uid);
    metadata["generateName"] = json!(format!("{}-", set["metadata"]["name"].as_str().unwrap_or_default()));
    metadata["labels"]["controller-revision-hash"] = json!(revision);
    metadata["labels"]["statefulset.kubernetes.io/pod-name"] = json!(name);
    metadata["ownerReferences"] = json!([{
        "apiVersion": "apps/v1", "kind": "StatefulSet", "name": set["metadata"]["name"],
        "uid": set["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true
    }]);
    let object = json!({"metadata": metadata, "spec": template["spec"]});
    let containers = template["spec"]["containers"].as_array().into_iter().flatten();
    let containers = containers.filter_map(|c| c["name"].as_str()).map(Container::new);
    let mut pod = Pod {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        state: PodState::Pending,
        containers: containers.collect(),
        streams: 0,
        cuts: 0,
        cut: Cut::End,
        forwards: 0,
        forward_cuts: 0,
        forward_cut: Cut::End,
        gone: false,
    };
    pod.enter(state.new_pods);
    state.pods.insert(uid.clone(), pod);
    if let Some(resource) = Resource::named("pods") {
        state.objects.put(resource, namespace, name, object);
    }
    show(state, &uid);
}
