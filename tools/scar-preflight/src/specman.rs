//! Specman: its StatefulSet, its pods, its service.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use scar_cluster::specman::{self, Health, Specman, SpecmanPod};
use scar_cluster::{Cluster, Error};
use scar_record::{Check, CheckResult};

use crate::access;
use crate::check::{Side, blocked, failed, needs, ok, warning};
use crate::cluster::{Manner, denied};
use crate::options::Options;

const SET: &str = "cluster.specman";
const PODS: &str = "cluster.pods";
const SERVICE: &str = "cluster.service";
/// The lines.
pub(crate) const NAMES: [&str; 3] = [SET, PODS, SERVICE];

/// The service that SCAR will lead to, and its port.
const SERVICE_NAME: &str = "specman-service";
const PORT: i32 = 8443;

/// Checks them; also returns the pods without a pod identity, if the pods can be read.
pub(crate) async fn look(
    cluster: &Cluster,
    set: &Result<Option<StatefulSet>, Error>,
    names: &[String],
    manner: &Manner<'_>,
) -> (Vec<Check>, Option<Vec<String>>) {
    let line = set_line(cluster, set, manner);
    let there = matches!(set, Ok(Some(_)));
    let ((pods, without_identity), service) = tokio::join!(
        async {
            match there && !names.is_empty() {
                true => pods_line(cluster, names, manner).await,
                false => (needs([PODS], SET).remove(0), None),
            }
        },
        service_line(cluster, manner)
    );
    (vec![line, pods, service], without_identity)
}

fn set_line(cluster: &Cluster, set: &Result<Option<StatefulSet>, Error>, manner: &Manner<'_>) -> Check {
    let statefulset = &manner.options.statefulset;
    let name = format!("StatefulSet '{statefulset}' in '{}'", cluster.namespace());
    match set {
        Ok(Some(set)) => {
            let wanted = specman::replicas(set).len();
            let ready = set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
            match wanted {
                0 => blocked(
                    SET,
                    format!("{name} is scaled to no replica"),
                    format!("kubectl -n {} scale statefulset {statefulset} --replicas=1", cluster.namespace()),
                ),
                _ => ok(SET, format!("{name}, {ready} of {wanted} replicas ready")),
            }
        }
        Ok(None) => blocked(SET, format!("no {name}"), "is Specman deployed? --namespace and --statefulset name another place"),
        Err(error) if error.is_denied() => denied(SET, access::WAIT_ACCESS),
        Err(error) => failed(SET, cluster.failure("look at Specman", error), Side::Own),
    }
}

async fn pods_line(cluster: &Cluster, names: &[String], manner: &Manner<'_>) -> (Check, Option<Vec<String>>) {
    let Options { statefulset, container, .. } = manner.options;
    let specman = Specman { cluster: cluster.clone(), statefulset: statefulset.clone(), container: container.clone() };
    let look = match specman.look(manner.deadline()).await {
        Ok(look) => look,
        Err(error) if error.is_denied() => return (denied(PODS, access::WAIT_ACCESS), None),
        Err(error) => return (failed(PODS, cluster.failure("look at Specman's pods", &error), Side::Own), None),
    };
    let without_identity = look.pods.iter().filter(|(_, pod)| !pod.has_pod_identity).map(|(name, _)| name.clone()).collect();
    let views: Vec<_> = names.iter().map(|name| (name, view(look.pods.get(name)))).collect();
    let words = views.iter().map(|(name, (_, words))| format!("{name} {words}")).collect::<Vec<_>>().join(", ");
    let worst = views.iter().map(|(_, (result, _))| *result).max_by_key(|result| *result as u8).unwrap_or(CheckResult::Ok);
    let at_fault = views.iter().filter(|(_, (result, _))| *result == worst).map(|(name, _)| name.as_str());
    let see = format!("kubectl -n {} describe pod {}", cluster.namespace(), at_fault.collect::<Vec<_>>().join(" "));
    let check = match worst {
        CheckResult::Blocked => blocked(PODS, words, see),
        CheckResult::Warning => warning(PODS, words, see),
        _ => ok(PODS, words),
    };
    (check, Some(without_identity))
}

fn view(pod: Option<&SpecmanPod>) -> (CheckResult, String) {
    let Some(pod) = pod else { return (CheckResult::Blocked, "is not there".to_owned()) };
    match &pod.health {
        Health::Stuck { reason, message } => {
            let colon = if message.is_empty() { "" } else { ": " };
            (CheckResult::Blocked, format!("does not run ({reason}{colon}{message})"))
        }
        Health::Well(_) if pod.container.is_none() && !pod.containers.is_empty() => {
            let names = pod.containers.join(", ");
            (
                CheckResult::Blocked,
                format!("has the containers {names}: --container NAME says which is Specman, as for specman-wait"),
            )
        }
        Health::Well(_) if pod.is_ready => (CheckResult::Ok, "is ready".to_owned()),
        Health::Well(words) => (CheckResult::Warning, format!("is not ready ({words})")),
    }
}

/// The tools do not read the service, so a user who may not read it does not block.
async fn service_line(cluster: &Cluster, manner: &Manner<'_>) -> Check {
    let api = Api::<Service>::namespaced(cluster.client().clone(), cluster.namespace());
    match cluster.find(manner.deadline(), || api.get(SERVICE_NAME)).await {
        Ok(Some(service)) => {
            let ports = service.spec.and_then(|spec| spec.ports).unwrap_or_default();
            match ports.iter().any(|port| port.port == PORT) {
                true => ok(SERVICE, format!("'{SERVICE_NAME}' on port {PORT}, where SCAR will lead to")),
                false => {
                    let ports = ports.iter().map(|port| port.port.to_string()).collect::<Vec<_>>().join(", ");
                    blocked(
                        SERVICE,
                        format!("'{SERVICE_NAME}' has the ports {ports}, not {PORT}: SCAR would lead nowhere"),
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
        Err(error) if error.is_denied() => {
            let hint = "no tool needs to; it only cannot be said whether SCAR will lead to it";
            warning(SERVICE, format!("'{SERVICE_NAME}' may not be read"), hint)
        }
        Err(error) => failed(SERVICE, cluster.failure("look at Specman's service", &error), Side::Own),
    }
}
