//! Specman's StatefulSet, its pods, and the container in each of them that is Specman.
//!
//! Only that container decides a pod's state: a mesh, a log collector or an operator may add others, which come and go.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodSpec, PodStatus};
use kube::Api;
use scar_tool::Deadline;

use crate::{Cluster, Error};

/// The name of Specman's container.
const CONTAINER: &str = "specman";
/// The annotation by which a pod names its main container (kubectl pkg/cmd/util/podcmd/podcmd.go).
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
/// The variable that Amazon EKS adds to the containers of a new pod whose service account has a pod identity association
/// (Amazon EKS User Guide, "EKS Pod Identity").
const POD_IDENTITY: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
/// The waiting reasons of a healthy container (kubernetes pkg/kubelet/kubelet_pods.go, convertToAPIContainerStatuses).
const STARTING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// The location of Specman.
#[derive(Debug, Clone)]
pub struct Specman {
    /// The cluster and its namespace.
    pub cluster: Cluster,
    /// The StatefulSet's name.
    pub statefulset: String,
    /// The container that the user named.
    pub container: Option<String>,
}

/// The StatefulSet and its pods at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Look {
    /// The StatefulSet, if it exists.
    pub set: Option<StatefulSet>,
    /// The pods that exist, by name.
    pub pods: BTreeMap<String, SpecmanPod>,
}

/// One pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecmanPod {
    /// Distinguishes a pod from its successor with the same name.
    pub uid: String,
    /// Specman's container; absent if it is unknown which one that is.
    pub container: Option<String>,
    /// All containers of the pod.
    pub containers: Vec<String>,
    /// Whether Specman's container is ready.
    pub is_ready: bool,
    /// Whether Specman's container runs.
    pub is_running: bool,
    /// Whether Specman's container gets its AWS credentials through pod identity.
    pub has_pod_identity: bool,
    /// The claims of the pod's volumes.
    pub claims: Vec<String>,
    /// Whether the pod is being deleted.
    pub is_leaving: bool,
    /// How many times Specman's container was restarted.
    pub restarts: u32,
    /// The state of Specman's container.
    pub health: Health,
}

/// The state of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It runs, or is about to: the state in one or two words.
    Well(String),
    /// It does not run, and may need somebody to act; back-offs and unbound claims also end by themselves.
    Stuck {
        /// `CrashLoopBackOff`, `Unschedulable` and the like.
        reason: String,
        /// The cluster's explanation.
        message: String,
    },
}

impl Health {
    /// In a word or two.
    pub fn words(&self) -> &str {
        match self {
            Self::Well(words) => words,
            Self::Stuck { reason, .. } => reason,
        }
    }
}

impl Specman {
    /// The StatefulSet; `None` if the API server says that it does not exist.
    pub async fn set(&self, deadline: Deadline) -> Result<Option<StatefulSet>, Error> {
        let sets = Api::<StatefulSet>::namespaced(self.cluster.client().clone(), self.cluster.namespace());
        self.cluster.find(deadline, || sets.get(&self.statefulset)).await
    }

    /// The StatefulSet and each of its pods, by name: without list and watch, so that the permission `get` is enough.
    pub async fn look(&self, deadline: Deadline) -> Result<Look, Error> {
        let Some(set) = self.set(deadline).await? else { return Ok(Look::default()) };
        let pods = self.pods(&set, deadline).await?;
        Ok(Look { set: Some(set), pods })
    }

    /// The pods of the StatefulSet that exist, by name.
    pub async fn pods(&self, set: &StatefulSet, deadline: Deadline) -> Result<BTreeMap<String, SpecmanPod>, Error> {
        let api = Api::<Pod>::namespaced(self.cluster.client().clone(), self.cluster.namespace());
        let mut pods = BTreeMap::new();
        // By name, one by one: `list` and `watch` would ask for more rights than a step of the guide needs.
        for name in replicas(set) {
            if let Some(pod) = self.cluster.find(deadline, || api.get(&name)).await? {
                pods.insert(name, self.pod(&pod, Some(set)));
            }
        }
        Ok(pods)
    }

    fn pod(&self, pod: &Pod, set: Option<&StatefulSet>) -> SpecmanPod {
        let container = container(self.container.as_deref(), pod, set);
        let empty = PodStatus::default();
        let status = pod.status.as_ref().unwrap_or(&empty);
        let own = status.container_statuses.iter().flatten().find(|status| Some(&status.name) == container.as_ref());
        SpecmanPod {
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            containers: names(pod.spec.as_ref()),
            is_ready: own.is_some_and(|own| own.ready),
            is_running: own.and_then(|own| own.state.as_ref()).is_some_and(|state| state.running.is_some()),
            has_pod_identity: has_pod_identity(pod.spec.as_ref(), container.as_deref()),
            claims: claims(pod.spec.as_ref()),
            is_leaving: pod.metadata.deletion_timestamp.is_some(),
            restarts: own.map_or(0, |own| u32::try_from(own.restart_count).unwrap_or(0)),
            health: health(pod, status, own),
            container,
        }
    }
}

/// Specman's container: the one that the user named, else by its name, else by the pod's annotation, else the only one of
/// the pod, or of the StatefulSet's template if others were added to the pod.
fn container(asked: Option<&str>, pod: &Pod, set: Option<&StatefulSet>) -> Option<String> {
    let own = names(pod.spec.as_ref());
    let template = names(set.and_then(|set| set.spec.template.spec.as_ref()));
    let annotation = pod.metadata.annotations.iter().flatten().find(|(key, _)| *key == DEFAULT_CONTAINER);
    let only = |names: &[String]| if let [only] = names { Some(only.clone()) } else { None };
    // By name first: a sidecar may be the first container of the pod, and may crash (FAULTS Q48).
    let known = [Some(CONTAINER.to_owned()), annotation.map(|(_, name)| name.clone()), only(&own), only(&template)];
    let candidates = asked.map_or_else(|| known.to_vec(), |asked| vec![Some(asked.to_owned())]);
    candidates.into_iter().flatten().find(|name| own.contains(name))
}

impl Look {
    /// The names of all pods that the StatefulSet ought to have, whether they exist or not.
    pub fn replicas(&self) -> Vec<String> {
        self.set.as_ref().map(replicas).unwrap_or_default()
    }
}

/// The names of all pods that the set ought to have, whether they exist or not.
pub fn replicas(set: &StatefulSet) -> Vec<String> {
    let count = set.spec.replicas.unwrap_or(1).max(0);
    // StatefulSets may count from another number (kubernetes pkg/controller/statefulset/stateful_set_utils.go,
    // getStartOrdinal).
    let first = set.spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0);
    let name = set.metadata.name.as_deref().unwrap_or_default();
    (first..first + count).map(|ordinal| format!("{name}-{ordinal}")).collect()
}

fn names(spec: Option<&PodSpec>) -> Vec<String> {
    spec.iter().flat_map(|spec| &spec.containers).map(|container| container.name.clone()).collect()
}

fn claims(spec: Option<&PodSpec>) -> Vec<String> {
    let volumes = spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.clone())).collect()
}

fn has_pod_identity(spec: Option<&PodSpec>, own: Option<&str>) -> bool {
    let mut containers = spec.iter().flat_map(|spec| &spec.containers).filter(|container| Some(container.name.as_str()) == own);
    containers.any(|own| own.env.iter().flatten().any(|variable| variable.name == POD_IDENTITY))
}

fn health(pod: &Pod, status: &PodStatus, own: Option<&ContainerStatus>) -> Health {
    let phase = status.phase.as_deref().unwrap_or("Unknown");
    if pod.metadata.deletion_timestamp.is_some() {
        // Its phase does not say so (Kubernetes documentation, "Pod Lifecycle", "Pod phase").
        return Health::Well("Terminating".to_owned());
    }
    if phase == "Failed" {
        // Such as `Evicted`: the StatefulSet's controller replaces the pod.
        let reason = status.reason.clone().unwrap_or_else(|| phase.to_owned());
        return Health::Stuck { reason, message: status.message.clone().unwrap_or_default() };
    }
    // Init containers count while Specman's container waits for them.
    let is_begun = own.and_then(|own| own.state.as_ref()).is_some_and(|state| state.waiting.is_none());
    let init = status.init_container_statuses.iter().flatten().filter(|_| !is_begun);
    if let Some(stuck) = init.chain(own).find_map(stuck) {
        return stuck;
    }
    let scheduled = status.conditions.iter().flatten().find(|condition| condition.type_ == "PodScheduled");
    if let Some(condition) = scheduled.filter(|condition| condition.status == "False") {
        return Health::Stuck {
            reason: condition.reason.clone().unwrap_or_else(|| "not scheduled".to_owned()),
            message: condition.message.clone().unwrap_or_default(),
        };
    }
    let waiting = own.and_then(|own| own.state.as_ref()?.waiting.as_ref()?.reason.clone());
    Health::Well(match status.reason.clone().or(waiting) {
        Some(reason) => reason,
        None if phase == "Running" && !own.is_some_and(|own| own.ready) => "Running, not ready".to_owned(),
        None => phase.to_owned(),
    })
}

/// What keeps a container from running, if anything does.
fn stuck(status: &ContainerStatus) -> Option<Health> {
    let state = status.state.as_ref()?;
    let ended = |ended: Option<&k8s_openapi::api::core::v1::ContainerStateTerminated>| {
        let ended = ended?;
        let reason = ended.reason.as_deref().unwrap_or("no reason given");
        Some(format!("container '{}' ended with {} ({reason})", status.name, ended.exit_code))
    };
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.clone().filter(|reason| !STARTING.contains(&reason.as_str()))?;
        let last = ended(status.last_state.as_ref().and_then(|last| last.terminated.as_ref()));
        let parts = [last, waiting.message.clone()].into_iter().flatten().collect::<Vec<_>>();
        return Some(Health::Stuck { reason, message: parts.join("; ") });
    }
    // A finished init container has ended with 0; if Specman's container does so, it is restarted too.
    let terminated = state.terminated.as_ref().filter(|ended| ended.exit_code != 0)?;
    let reason = terminated.reason.clone().unwrap_or_else(|| "Error".to_owned());
    Some(Health::Stuck { reason, message: ended(Some(terminated)).unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn set(spec: Value) -> StatefulSet {
        let mut base = json!({"selector": {}, "serviceName": "s", "template": {}});
        base.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        serde_json::from_value(json!({"metadata": {"name": "specman"}, "spec": base})).unwrap()
    }

    #[test]
    fn every_replica_is_named_from_the_first_ordinal() {
        assert_eq!(replicas(&set(json!({}))), ["specman-0"]);
        let three = set(json!({"replicas": 3, "ordinals": {"start": 5}}));
        assert_eq!(replicas(&three), ["specman-5", "specman-6", "specman-7"]);
    }

    fn containers(names: &[&str]) -> Value {
        Value::Array(names.iter().map(|name| json!({"name": name})).collect())
    }

    #[test]
    fn q48_specmans_container_is_found_by_name_by_annotation_or_as_the_only_one() {
        for (asked, annotation, pod, template, expected) in [
            (None, None, &["proxy", "specman"][..], &["specman"][..], Some("specman")),
            (None, Some("proxy"), &["proxy", "specman"], &["specman"], Some("specman")),
            (None, Some("server"), &["proxy", "server"], &["proxy", "server"], Some("server")),
            (None, Some("gone"), &["server"], &["server"], Some("server")),
            (None, None, &["server", "proxy"], &["server"], Some("server")),
            (None, None, &["server", "proxy"], &["server", "proxy"], None),
            (Some("proxy"), None, &["proxy", "specman"], &["specman"], Some("proxy")),
            (Some("other"), None, &["proxy", "specman"], &["specman"], None),
        ] {
            let annotations = annotation.map_or(json!({}), |name| json!({(DEFAULT_CONTAINER): name}));
            let pod = json!({"metadata": {"annotations": annotations}, "spec": {"containers": containers(pod)}});
            let set = set(json!({"template": {"spec": {"containers": containers(template)}}}));
            let found = super::container(asked, &serde_json::from_value(pod.clone()).unwrap(), Some(&set));
            assert_eq!(found.as_deref(), expected, "{pod}");
        }
    }

    fn health_of(status: &Value) -> Health {
        let pod: Pod = serde_json::from_value(json!({"metadata": {}, "status": status})).unwrap();
        let status = pod.status.as_ref().unwrap();
        let own = status.container_statuses.iter().flatten().find(|status| status.name == "specman");
        health(&pod, status, own)
    }

    fn container(name: &str, state: &Value, last: &Value) -> Value {
        json!({"name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 3, "state": state, "lastState": last})
    }

    #[test]
    fn w9_only_specmans_container_and_what_it_waits_for_decide() {
        let waiting = |reason: &str| json!({"waiting": {"reason": reason, "message": "m"}});
        let killed = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        let done = json!({"terminated": {"exitCode": 0, "reason": "Completed"}});
        let (none, running) = (json!({}), json!({"running": {}}));
        let well = |words: &str| Health::Well(words.into());
        let stuck = |reason: &str, message: &str| Health::Stuck { reason: reason.into(), message: message.into() };
        let own =
            |state: &Value, last: &Value| json!({"phase": "Running", "containerStatuses": [container("specman", state, last)]});
        let beside = |init: &Value, side: &Value, own: &Value| {
            json!({"phase": "Running", "initContainerStatuses": [container("init", init, &none)],
                   "containerStatuses": [container("side", side, &none), container("specman", own, &none)]})
        };
        for (status, expected) in [
            (own(&waiting("ContainerCreating"), &none), well("ContainerCreating")),
            (own(&running, &killed), well("Running, not ready")),
            (own(&waiting("ImagePullBackOff"), &none), stuck("ImagePullBackOff", "m")),
            (
                own(&waiting("CrashLoopBackOff"), &killed),
                stuck("CrashLoopBackOff", "container 'specman' ended with 137 (OOMKilled); m"),
            ),
            (own(&killed, &none), stuck("OOMKilled", "container 'specman' ended with 137 (OOMKilled)")),
            (beside(&done, &waiting("CrashLoopBackOff"), &running), well("Running, not ready")),
            (beside(&waiting("CrashLoopBackOff"), &running, &running), well("Running, not ready")),
            (beside(&waiting("CrashLoopBackOff"), &none, &waiting("PodInitializing")), stuck("CrashLoopBackOff", "m")),
            (json!({"phase": "Failed", "reason": "Evicted", "message": "m"}), stuck("Evicted", "m")),
            (
                json!({"phase": "Pending", "conditions": [{
                    "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "unbound claims"
                }]}),
                stuck("Unschedulable", "unbound claims"),
            ),
        ] {
            assert_eq!(health_of(&status), expected, "{status}");
        }
    }
}
