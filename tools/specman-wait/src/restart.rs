//! A rollout restart, for a Specman that does not sync by itself.
//!
//! It works as kubectl's: a new annotation in the pod template makes the controller replace the pods. Nothing that the old
//! pods log counts any more, and neither does their health.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::Api;
use kube::api::{Patch, PatchParams};
use scar_cluster::specman::{Health, Look, SpecmanPod, replicas};
use scar_tool::Failure;
use serde_json::{Value, json};

use crate::wait::Wait;

/// The annotation in which kubectl notes the time of a restart (kubectl pkg/polymorphichelpers/objectrestarter.go).
const ANNOTATION: &str = "kubectl.kubernetes.io/restartedAt";

/// The uids of the pods that the restart replaces.
#[derive(Debug, Default)]
pub(crate) struct ReplacedPods(BTreeSet<String>);

impl ReplacedPods {
    pub(crate) fn has(&self, pod: &SpecmanPod) -> bool {
        self.0.contains(&pod.uid)
    }

    /// Hides everything about these pods that would count for or against them.
    pub(crate) fn hide(&self, look: &mut Look) {
        for pod in look.pods.values_mut().filter(|pod| self.has(pod)) {
            // Else --ready-only would wait for a pod that is about to go.
            pod.is_ready = false;
            pod.health = Health::Well("not replaced yet".to_owned());
        }
    }
}

/// The patch of `kubectl rollout restart`.
fn patch(now: Timestamp) -> Value {
    json!({"spec": {"template": {"metadata": {"annotations": {(ANNOTATION): format!("{now:.0}")}}}}})
}

/// The pods that a changed template does not replace, and the strategy that keeps them.
fn not_replaced(set: &StatefulSet) -> Option<(String, Vec<String>)> {
    let mut pods = replicas(set);
    let strategy = set.spec.update_strategy.as_ref()?;
    if strategy.type_.as_deref() == Some("OnDelete") {
        return Some(("its update strategy is OnDelete".to_owned(), pods));
    }
    // The partition counts pods, whatever the ordinal of the first is (kubernetes
    // pkg/controller/statefulset/stateful_set_control.go, `updateStatefulSet`; stateful_set_utils.go,
    // `newVersionedStatefulSetPod`).
    let partition = strategy.rolling_update.as_ref()?.partition?;
    pods.truncate(usize::try_from(partition).unwrap_or(0));
    (!pods.is_empty()).then(|| (format!("its update strategy has the partition {partition}"), pods))
}

/// Checks that the controller would replace every pod.
///
/// # Errors
/// Exit 2 if it would not.
pub(crate) fn check(wait: &Wait<'_>, found: &StatefulSet) -> Result<(), Failure> {
    let Some((why, kept)) = not_replaced(found) else { return Ok(()) };
    let (set, namespace) = (&wait.options.specman.statefulset, wait.cluster().namespace());
    let kept = kept.join(" ");
    let failure = format!("restart StatefulSet '{set}': {why}, so that these would not be replaced: {kept}");
    Err(Failure::misuse(failure).hint(format!(
        "delete all of them yourself, and wait without --restart: kubectl delete pod --namespace {namespace} {}",
        replicas(found).join(" ")
    )))
}

/// Restarts Specman and returns the pods from before. If there is no StatefulSet, the wait will report it.
///
/// # Errors
/// Exit 2 if the controller would not replace every pod; no permission to patch; an unreachable cluster.
pub(crate) async fn restart(wait: &Wait<'_>, look: &Look) -> Result<ReplacedPods, Failure> {
    let (set, cluster) = (&wait.options.specman.statefulset, wait.cluster());
    let Some(found) = &look.set else { return Ok(ReplacedPods::default()) };
    let act = format!("restart StatefulSet '{set}'");
    check(wait, found)?;
    // The same patch again changes nothing, so a retry is safe.
    let (patch, parameters) = (Patch::Strategic(patch(Timestamp::now())), PatchParams::default());
    let sets = Api::<StatefulSet>::namespaced(cluster.client().clone(), cluster.namespace());
    cluster.read(wait.deadline, || sets.patch(set, &parameters, &patch)).await.map_err(|error| cluster.failure(&act, &error))?;
    wait.console.note(format!("restarted StatefulSet '{set}' in namespace '{}'", cluster.namespace()));
    Ok(ReplacedPods(look.pods.values().map(|pod| pod.uid.clone()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patch_is_kubectls() {
        let expected = json!({"spec": {"template": {"metadata": {"annotations": {
            "kubectl.kubernetes.io/restartedAt": "2024-12-06T12:43:14Z"
        }}}}});
        assert_eq!(patch("2024-12-06T12:43:14.7Z".parse().unwrap()), expected);
    }

    #[test]
    fn q75_pods_below_the_partition_and_those_of_on_delete_are_not_replaced() {
        let not_replaced_of = |strategy: Value, ordinals: Value| {
            let spec = json!({
                "replicas": 3, "selector": {}, "serviceName": "s", "template": {}, "updateStrategy": strategy, "ordinals": ordinals
            });
            not_replaced(&serde_json::from_value(json!({"metadata": {"name": "specman"}, "spec": spec})).unwrap())
                .map(|(_, pods)| pods)
        };
        let partition = |partition: i32| json!({"type": "RollingUpdate", "rollingUpdate": {"partition": partition}});
        let pods = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(not_replaced_of(partition(0), json!(null)), None);
        assert_eq!(not_replaced_of(partition(2), json!(null)), pods(&["specman-0", "specman-1"]));
        assert_eq!(not_replaced_of(partition(1), json!({"start": 5})), pods(&["specman-5"]));
        assert_eq!(not_replaced_of(partition(6), json!({"start": 5})), pods(&["specman-5", "specman-6", "specman-7"]));
        assert_eq!(not_replaced_of(json!({"type": "OnDelete"}), json!(null)), pods(&["specman-0", "specman-1", "specman-2"]));
        assert_eq!(not_replaced_of(json!({}), json!(null)), None);
    }
}
