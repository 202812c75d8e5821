//! A rollout restart, for a Specman that will not sync by itself.
//!
//! It is kubectl's: an annotation of the pod template, which the controller answers with new pods. The old ones say
//! nothing that counts any more, neither a marker nor that they do not run.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::Api;
use kube::api::{Patch, PatchParams};
use scar_tool::Failure;
use serde_json::{Value, json};

use crate::pods::{Health, PodSeen};
use crate::verdict::Look;
use crate::wait::Wait;

/// What kubectl notes the time of a restart under.
const ANNOTATION: &str = "kubectl.kubernetes.io/restartedAt";

/// The uids of the pods that were there before the restart.
#[derive(Debug, Default)]
pub(crate) struct Old(BTreeSet<String>);

impl Old {
    /// Whether this pod is one of them.
    pub(crate) fn has(&self, pod: &PodSeen) -> bool {
        self.0.contains(&pod.uid)
    }

    /// Takes from the pods that are to be replaced what would speak for or against them.
    pub(crate) fn hide(&self, look: &mut Look) {
        for pod in look.pods.values_mut().filter(|pod| self.has(pod)) {
            pod.is_ready = false;
            pod.health = Health::Well("not replaced yet".to_owned());
        }
    }
}

/// The patch of `kubectl rollout restart`.
fn patch(now: Timestamp) -> Value {
    json!({"spec": {"template": {"metadata": {"annotations": {(ANNOTATION): format!("{now:.0}")}}}}})
}

/// Restarts Specman, and gives the pods that were there before. There is nothing to restart where there is no
/// StatefulSet; the wait then says so.
///
/// # Errors
/// Exit 2 where its controller would not replace the pods; no permission to patch; what kept the cluster from answering.
pub(crate) async fn restart(wait: &Wait<'_>, look: &Look) -> Result<Old, Failure> {
    let (set, cluster) = (&wait.options.statefulset, &wait.cluster);
    if look.replicas.is_none() {
        return Ok(Old::default());
    }
    let act = format!("restart StatefulSet '{set}'");
    let sets = Api::<StatefulSet>::namespaced(cluster.client().clone(), cluster.namespace());
    let found = cluster.read(wait.deadline, || sets.get(set)).await.map_err(|error| cluster.failure(&act, &error))?;
    if found.spec.update_strategy.and_then(|strategy| strategy.type_).is_some_and(|kind| kind == "OnDelete") {
        return Err(Failure::misuse(format!("{act}: its update strategy is OnDelete, so that no pod would be replaced")).hint(
            format!(
                "delete its pods, and wait without --restart: kubectl delete pod --namespace {} {set}-0",
                cluster.namespace()
            ),
        ));
    }
    // The same patch twice is one restart, so that it may be tried again.
    let (patch, parameters) = (Patch::Strategic(patch(Timestamp::now())), PatchParams::default());
    cluster.read(wait.deadline, || sets.patch(set, &parameters, &patch)).await.map_err(|error| cluster.failure(&act, &error))?;
    wait.console.note(format!("restarted StatefulSet '{set}' in namespace '{}'", cluster.namespace()));
    Ok(Old(look.pods.values().map(|pod| pod.uid.clone()).collect()))
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
}
