//! Specman: its StatefulSet, its pods, its service.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use scar_cluster::specman::{Health, SpecmanPod, replicas};
use scar_cluster::{Cluster, Error};
use scar_record::{Check, CheckResult};

use crate::access::{self, unread};
use crate::check::{blocked, failed, line, ok, warning};
use crate::options::Options;

/// Specman's pods by name.
pub(crate) type Pods = BTreeMap<String, SpecmanPod>;

const SET: &str = "cluster.specman";
const PODS: &str = "cluster.pods";
const SERVICE: &str = "cluster.service";
/// The lines.
pub(crate) const NAMES: [&str; 3] = [SET, PODS, SERVICE];

/// The service that SCAR will lead to, and its port.
const SERVICE_NAME: &str = "specman-service";
const PORT: i32 = 8443;

pub(crate) fn set_line(cluster: &Cluster, set: &Result<Option<StatefulSet>, Error>, options: &Options) -> Check {
    let statefulset = &options.specman.statefulset;
    let name = format!("StatefulSet '{statefulset}' in '{}'", cluster.namespace());
    match set {
        Ok(Some(set)) if replicas(set).is_empty() => blocked(
            SET,
            format!("{name} is scaled to no replica"),
            format!("kubectl -n {} scale statefulset {statefulset} --replicas=1", cluster.namespace()),
        ),
        Ok(Some(set)) => {
            let ready = set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
            ok(SET, format!("{name}, {ready} of {} replicas ready", replicas(set).len()))
        }
        Ok(None) => blocked(SET, format!("no {name}"), "is Specman deployed? --namespace and --statefulset name another place"),
        Err(error) => unread(SET, access::WAIT_ACCESS, cluster, "look at Specman", error),
    }
}

/// The line of the pods that the set ought to have, by `names`.
pub(crate) fn pods_line(cluster: &Cluster, names: &[String], pods: &Result<Pods, Error>) -> Check {
    let pods = match pods {
        Ok(pods) => pods,
        Err(error) => return unread(PODS, access::WAIT_ACCESS, cluster, "look at Specman's pods", error),
    };
    // The line is as bad as the worst pod: one replica that does not run serves old content, or none.
    let views: Vec<_> = names.iter().map(|name| (name.as_str(), view(pods.get(name)))).collect();
    let words = views.iter().map(|(name, (_, words))| format!("{name} {words}")).collect::<Vec<_>>().join(", ");
    let worst = views.iter().map(|(_, (result, _))| *result).max_by_key(|result| *result as u8).unwrap_or(CheckResult::Ok);
    let at_fault = views.iter().filter(|(_, (result, _))| *result == worst).map(|(name, _)| *name);
    let see = format!("kubectl -n {} describe pod {}", cluster.namespace(), at_fault.collect::<Vec<_>>().join(" "));
    Check { hint: (worst != CheckResult::Ok).then_some(see), ..line(PODS, worst, words) }
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
            let way_out = "--container NAME says which is Specman, as for specman-wait";
            (CheckResult::Blocked, format!("has the containers {names}: {way_out}"))
        }
        Health::Well(_) if pod.is_ready => (CheckResult::Ok, "is ready".to_owned()),
        Health::Well(words) => (CheckResult::Warning, format!("is not ready ({words})")),
    }
}

/// The tools do not read the service, so a user who may not read it does not block.
pub(crate) async fn service_line(cluster: &Cluster, options: &Options) -> Check {
    let api = Api::<Service>::namespaced(cluster.client().clone(), cluster.namespace());
    let service = match cluster.find(options.deadline(), || api.get(SERVICE_NAME)).await {
        Ok(Some(service)) => service,
        Ok(None) => {
            return blocked(
                SERVICE,
                format!("no service '{SERVICE_NAME}' in '{}': SCAR would lead nowhere", cluster.namespace()),
                "is Specman deployed whole? else scar-set --scar-endpoint names another address",
            );
        }
        Err(error) if error.is_denied() => {
            let hint = "no tool needs to; it only cannot be said whether SCAR will lead to it";
            return warning(SERVICE, format!("'{SERVICE_NAME}' may not be read"), hint);
        }
        Err(error) => return failed(SERVICE, cluster.failure("look at Specman's service", &error)),
    };
    // The address that scar-set writes has this port (guide, step 10).
    let ports = service.spec.and_then(|spec| spec.ports).unwrap_or_default();
    if ports.iter().any(|port| port.port == PORT) {
        return ok(SERVICE, format!("'{SERVICE_NAME}' on port {PORT}, where SCAR will lead to"));
    }
    let ports = ports.iter().map(|port| port.port.to_string()).collect::<Vec<_>>().join(", ");
    blocked(
        SERVICE,
        format!("'{SERVICE_NAME}' has the ports {ports}, not {PORT}: SCAR would lead nowhere"),
        "scar-set --scar-endpoint names another address",
    )
}
