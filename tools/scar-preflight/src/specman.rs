//! Specman: its StatefulSet, its pods, its service.

use futures::future::join_all;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, Service};
use kube::Api;
use scar_cluster::{Cluster, Error};
use scar_record::{Check, CheckResult};

use crate::access;
use crate::check::{Side, blocked, failed, needs, ok, warning};
use crate::cluster::{Manner, denied};

const SET: &str = "cluster.specman";
const PODS: &str = "cluster.pods";
const SERVICE: &str = "cluster.service";
/// The lines.
pub(crate) const NAMES: [&str; 3] = [SET, PODS, SERVICE];

/// The service that SCAR will lead to, and its port.
const SERVICE_NAME: &str = "specman-service";
const PORT: i32 = 8443;

/// Checks them.
pub(crate) async fn look(
    cluster: &Cluster,
    set: &Result<Option<StatefulSet>, Error>,
    names: &[String],
    manner: &Manner<'_>,
) -> Vec<Check> {
    let line = set_line(cluster, set, manner);
    let there = matches!(set, Ok(Some(_)));
    let (pods, service) = tokio::join!(
        async {
            match there && !names.is_empty() {
                true => pods_line(cluster, names, manner).await,
                false => needs([PODS], SET).remove(0),
            }
        },
        service_line(cluster, manner)
    );
    vec![line, pods, service]
}

fn set_line(cluster: &Cluster, set: &Result<Option<StatefulSet>, Error>, manner: &Manner<'_>) -> Check {
    let name = format!("StatefulSet '{}' in '{}'", manner.statefulset, cluster.namespace());
    match set {
        Ok(Some(set)) => {
            let wanted = scar_cluster::replicas(set).len();
            let ready = set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
            match wanted {
                0 => blocked(
                    SET,
                    format!("{name} is scaled to no replica"),
                    format!("kubectl -n {} scale statefulset {} --replicas=1", cluster.namespace(), manner.statefulset),
                ),
                _ => ok(SET, format!("{name}, {ready} of {wanted} replicas ready")),
            }
        }
        Ok(None) => blocked(SET, format!("no {name}"), "is Specman deployed? --namespace and --statefulset name another place"),
        Err(error) if error.status() == Some(403) => denied(SET, access::names()[1]),
        Err(error) => failed(SET, cluster.failure("look at Specman", error), Side::Own),
    }
}

async fn pods_line(cluster: &Cluster, names: &[String], manner: &Manner<'_>) -> Check {
    let pods = Api::<Pod>::namespaced(cluster.client().clone(), cluster.namespace());
    let (pods, deadline) = (&pods, manner.deadline());
    let found = join_all(names.iter().map(|name| cluster.find(deadline, move || pods.get(name)))).await;
    let mut seen = Vec::new();
    for (name, pod) in names.iter().zip(found) {
        match pod {
            Ok(pod) => seen.push((name.as_str(), pod.as_ref().map_or(State::Absent, state))),
            Err(error) if error.status() == Some(403) => return denied(PODS, access::names()[1]),
            Err(error) => return failed(PODS, cluster.failure(&format!("look at pod '{name}'"), &error), Side::Own),
        }
    }
    let told = |(name, state): &(&str, State)| match state {
        State::Ready => format!("{name} is ready"),
        State::Absent => format!("{name} is not there"),
        State::Coming(words) => format!("{name} is not ready ({words})"),
        State::Broken(words) => format!("{name} does not run ({words})"),
    };
    let words = seen.iter().map(told).collect::<Vec<_>>().join(", ");
    let see = format!("kubectl -n {} describe pod {}", cluster.namespace(), names.join(" "));
    match seen.iter().map(|(_, state)| state.result()).max_by_key(|result| *result as u8) {
        Some(CheckResult::Blocked) => blocked(PODS, words, see),
        Some(CheckResult::Warning) => warning(PODS, words, see),
        _ => ok(PODS, words),
    }
}

/// How a pod is.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Ready,
    Absent,
    Coming(String),
    Broken(String),
}

impl State {
    fn result(&self) -> CheckResult {
        match self {
            Self::Ready => CheckResult::Ok,
            Self::Coming(_) => CheckResult::Warning,
            Self::Absent | Self::Broken(_) => CheckResult::Blocked,
        }
    }
}

fn state(pod: &Pod) -> State {
    let status = pod.status.as_ref();
    let condition = |kind: &str| status.and_then(|status| status.conditions.as_ref()?.iter().find(|c| c.type_ == kind));
    let containers = || {
        let of = |list: &'_ Option<Vec<ContainerStatus>>| list.clone().unwrap_or_default();
        status.map(|status| [of(&status.init_container_statuses), of(&status.container_statuses)].concat()).unwrap_or_default()
    };
    let waiting: Vec<_> = containers().into_iter().filter_map(|one| one.state?.waiting?.reason).collect();
    // These a container comes out of by itself.
    if let Some(reason) = waiting.iter().find(|reason| !["ContainerCreating", "PodInitializing"].contains(&reason.as_str())) {
        return State::Broken(reason.clone());
    }
    if let Some(unscheduled) = condition("PodScheduled").filter(|condition| condition.status == "False") {
        return State::Broken(
            unscheduled.message.clone().or(unscheduled.reason.clone()).unwrap_or_else(|| "on no node".to_owned()),
        );
    }
    if condition("Ready").is_some_and(|condition| condition.status == "True") {
        return State::Ready;
    }
    let phase = status.and_then(|status| status.phase.clone()).unwrap_or_else(|| "Unknown".to_owned());
    if phase == "Failed" {
        return State::Broken(status.and_then(|status| status.reason.clone()).unwrap_or(phase));
    }
    State::Coming(waiting.into_iter().next().unwrap_or(phase))
}

/// The tools do not read the service, so a user who may not either is no obstacle.
async fn service_line(cluster: &Cluster, manner: &Manner<'_>) -> Check {
    let api = Api::<Service>::namespaced(cluster.client().clone(), cluster.namespace());
    match cluster.find(manner.deadline(), || api.get(SERVICE_NAME)).await {
        Ok(Some(service)) => {
            let ports = service.spec.and_then(|spec| spec.ports).unwrap_or_default();
            match ports.iter().any(|port| port.port == PORT) {
                true => ok(SERVICE, format!("'{SERVICE_NAME}' on port {PORT}, where SCAR will lead to")),
                false => {
                    let ports = ports.iter().map(|port| port.port.to_string()).collect::<Vec<_>>().join(", ");
                    warning(
                        SERVICE,
                        format!("'{SERVICE_NAME}' has the ports {ports}, not {PORT}"),
                        "scar-set --scar-endpoint names another address",
                    )
                }
            }
        }
        Ok(None) => blocked(
            SERVICE,
            format!("no service '{SERVICE_NAME}' in '{}': SCAR would lead nowhere", cluster.namespace()),
            "is Specman deployed whole? else scar-set --scar-endpoint names another address",
        ),
        Err(error) if error.status() == Some(403) => {
            let hint = "no tool needs to; it only cannot be said whether SCAR will lead to it";
            warning(SERVICE, format!("'{SERVICE_NAME}' may not be read"), hint)
        }
        Err(error) => failed(SERVICE, cluster.failure("look at Specman's service", &error), Side::Own),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_pod_is_ready_coming_or_broken() {
        let read = |status: Value| state(&serde_json::from_value(json!({"metadata": {}, "status": status})).unwrap());
        let waiting = |reason: &str| json!([{"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {"waiting": {"reason": reason}}}]);
        let ready = json!([{"type": "Ready", "status": "True"}]);
        assert_eq!(read(json!({"phase": "Running", "conditions": ready})), State::Ready);
        assert_eq!(read(json!({"phase": "Running"})), State::Coming("Running".into()));
        assert_eq!(
            read(json!({"phase": "Pending", "containerStatuses": waiting("ContainerCreating")})),
            State::Coming("ContainerCreating".into())
        );
        assert_eq!(
            read(json!({"phase": "Running", "containerStatuses": waiting("CrashLoopBackOff")})),
            State::Broken("CrashLoopBackOff".into())
        );
        assert_eq!(read(json!({"phase": "Failed", "reason": "Evicted"})), State::Broken("Evicted".into()));
        let unscheduled = json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no node"}]);
        assert_eq!(read(json!({"phase": "Pending", "conditions": unscheduled})), State::Broken("no node".into()));
    }
}
