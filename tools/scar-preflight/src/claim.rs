//! Specman's storage: its claims, and the storage class for new ones (the guide's CSI with 10 GB).

use std::collections::BTreeSet;

use futures::future::join_all;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::{CSIDriver, StorageClass};
use kube::Api;
use kube::api::ListParams;
use scar_cluster::specman::replicas;
use scar_cluster::{Cluster, Error};
use scar_record::Check;

use crate::check::{blocked, failed, ok, skipped, warning};
use crate::options::Options;
use crate::room::size;
use crate::specman::Pods;

const CLAIM: &str = "cluster.claim";
const STORAGE: &str = "cluster.storage";
/// The lines.
pub(crate) const NAMES: [&str; 2] = [CLAIM, STORAGE];

/// The phase of a claim that has its volume.
const BOUND: &str = "Bound";
/// What the guide plans for, in bytes.
const GUIDE: u64 = 10_000_000_000;
/// The provisioner of a class with manually created volumes (Kubernetes documentation, "Storage Classes", "Local").
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";
/// The annotation of the default class.
const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";

/// Checks both; also returns the size of the smallest claim.
pub(crate) async fn look(
    cluster: &Cluster,
    set: &Result<Option<StatefulSet>, Error>,
    pods: Option<&Pods>,
    options: &Options,
) -> (Vec<Check>, Option<u64>) {
    let Ok(Some(set)) = set else {
        return (NAMES.map(|name| skipped(name, "needs cluster.specman")).to_vec(), None);
    };
    let names = names(set, pods);
    let api = Api::<PersistentVolumeClaim>::namespaced(cluster.client().clone(), cluster.namespace());
    let (api, deadline) = (&api, options.deadline());
    let found = join_all(names.iter().map(|name| cluster.find(deadline, move || api.get(name)))).await;
    let found: Result<Vec<_>, _> = found.into_iter().collect();
    let (claim, is_bound, size) = match found {
        Ok(found) => {
            let claims: Vec<_> = names.iter().zip(found).map(|(name, claim)| Claim::read(name, claim)).collect();
            let is_bound = !claims.is_empty() && claims.iter().all(|claim| claim.is_bound == Some(true));
            let smallest = claims.iter().filter_map(|claim| claim.size).min();
            (line(cluster, &claims, smallest), is_bound, smallest)
        }
        Err(error) if error.is_denied() => {
            let hint = format!("see yourself: kubectl -n {} get pvc", cluster.namespace());
            (warning(CLAIM, "the claims may not be read", hint), false, None)
        }
        Err(error) => (failed(CLAIM, cluster.failure("look at Specman's claims", &error)), false, None),
    };
    (vec![claim, storage(cluster, set, is_bound, options).await], size)
}

/// The claims of all replicas: those that the set creates for them, and those that their pods name.
fn names(set: &StatefulSet, pods: Option<&Pods>) -> BTreeSet<String> {
    // A set that is scaled to zero still has the claims of its replicas, unless its retention policy says otherwise
    // (Kubernetes documentation, "StatefulSets", "PersistentVolumeClaim retention").
    let first = set.spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0);
    let mut all = replicas(set);
    if all.is_empty() {
        all.push(format!("{}-{first}", set.metadata.name.as_deref().unwrap_or_default()));
    }
    let templates = set.spec.volume_claim_templates.iter().flatten().filter_map(|template| template.metadata.name.as_deref());
    // kubernetes pkg/controller/statefulset/stateful_set_utils.go, getPersistentVolumeClaimName.
    let made = templates.flat_map(|name| all.iter().map(move |pod| format!("{name}-{pod}")));
    // Another line reports pods that cannot be read.
    let named = pods.into_iter().flatten().flat_map(|(_, pod)| pod.claims.clone());
    made.chain(named).collect()
}

/// A claim that was looked for.
#[derive(Debug, PartialEq, Eq)]
struct Claim {
    words: String,
    /// `None` if it does not exist.
    is_bound: Option<bool>,
    /// The bytes of its volume, if known.
    size: Option<u64>,
}

impl Claim {
    fn read(name: &str, claim: Option<PersistentVolumeClaim>) -> Self {
        let Some(claim) = claim else {
            return Self { words: format!("{name} is not made yet"), is_bound: None, size: None };
        };
        let status = claim.status.unwrap_or_default();
        let phase = status.phase.as_deref().unwrap_or("Pending");
        if phase != BOUND {
            return Self { words: format!("{name} is {phase}"), is_bound: Some(false), size: None };
        }
        let bytes = status.capacity.and_then(|capacity| bytes(&capacity.get("storage")?.0));
        let shown = bytes.map(|bytes| format!(", {}", size(bytes))).unwrap_or_default();
        Self { words: format!("{name} is bound{shown}"), is_bound: Some(true), size: bytes }
    }
}

fn line(cluster: &Cluster, claims: &[Claim], smallest: Option<u64>) -> Check {
    let see = format!("kubectl -n {} describe pvc", cluster.namespace());
    let words = claims.iter().map(|claim| claim.words.as_str()).collect::<Vec<_>>().join(", ");
    match smallest {
        _ if claims.is_empty() => {
            warning(CLAIM, "Specman has no claim", "what it fetches is lost with its pod, and fetched again")
        }
        _ if claims.iter().any(|claim| claim.is_bound == Some(false)) => {
            blocked(CLAIM, words, format!("Specman cannot start without it: {see}"))
        }
        _ if claims.iter().any(|claim| claim.is_bound.is_none()) => {
            warning(CLAIM, words, format!("it is made when Specman starts: {see}"))
        }
        Some(bytes) if bytes < GUIDE => warning(CLAIM, words, "the guide plans for 10 GB: will it hold all manifests?"),
        _ => ok(CLAIM, words),
    }
}

/// The class that the set requests, and its driver. If all claims are `bound`, none is needed.
async fn storage(cluster: &Cluster, set: &StatefulSet, bound: bool, options: &Options) -> Check {
    let classes = Api::<StorageClass>::all(cluster.client().clone());
    let drivers = Api::<CSIDriver>::all(cluster.client().clone());
    let (parameters, deadline) = (ListParams::default(), options.deadline());
    let (classes, drivers) =
        tokio::join!(cluster.read(deadline, || classes.list(&parameters)), cluster.read(deadline, || drivers.list(&parameters)));
    let (classes, drivers) = match (classes, drivers) {
        (Ok(classes), Ok(drivers)) => (classes.items, drivers.items),
        _ if bound => return skipped(STORAGE, "it may not be read, and the claims are bound"),
        (Err(error), _) | (_, Err(error)) if error.is_denied() => {
            let found = "storage classes and CSI drivers may not be listed";
            return warning(STORAGE, found, "ask the cluster's administrator for a CSI with 10 GB of room");
        }
        (Err(error), _) | (_, Err(error)) => return failed(STORAGE, cluster.failure("list the storage classes", &error)),
    };
    let templates = set.spec.volume_claim_templates.iter().flatten();
    let wanted = templates.filter_map(|claim| claim.spec.as_ref()?.storage_class_name.clone()).next();
    let class = classes.iter().find(|class| match &wanted {
        Some(_) => class.metadata.name == wanted,
        None => class.metadata.annotations.iter().flatten().any(|(key, value)| key == DEFAULT && value == "true"),
    });
    let name = class.and_then(|class| class.metadata.name.as_deref()).unwrap_or_default();
    // Each CSI driver registers an object of its own name, which the class names as its provisioner (Kubernetes CSI
    // documentation, "CSIDriver Object").
    let is_driver = |class: &StorageClass| drivers.iter().any(|driver| driver.metadata.name.as_ref() == Some(&class.provisioner));
    let lacking = match (class, &wanted) {
        (None, Some(name)) => format!("no storage class '{name}'"),
        (None, None) => "no default storage class".to_owned(),
        (Some(class), _) if class.provisioner == NO_PROVISIONER => {
            format!("class '{name}' makes no volumes ({NO_PROVISIONER}): somebody has to make one for Specman by hand")
        }
        (Some(class), _) if drivers.is_empty() => format!("no CSI driver for class '{name}' ({})", class.provisioner),
        // For example a provisioner of host paths: it may work, but the guide requires a CSI.
        (Some(class), _) if !bound && !is_driver(class) => {
            let found = format!("class '{name}' is of {}, which is no CSI driver of this cluster", class.provisioner);
            let hint = "the guide wants a CSI with 10 GB of free space: does this class make volumes of that size?";
            return warning(STORAGE, found, hint);
        }
        (Some(class), _) => {
            let room = if bound { "" } else { "; how much room it has left is not known" };
            return ok(STORAGE, format!("class '{name}', driver {}{room}", class.provisioner));
        }
    };
    if bound {
        return ok(STORAGE, format!("{lacking}; the claims are bound and need none"));
    }
    blocked(STORAGE, lacking, "the guide wants a CSI with 10 GB of free space: install one, or name its class as the default")
}

/// A Kubernetes quantity in whole bytes: `10Gi`, `10G`, `1e10`, `500000m` (apimachinery pkg/api/resource/quantity.go).
fn bytes(quantity: &str) -> Option<u64> {
    let text = quantity.trim();
    let digits = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().ok()?;
    let power = |unit: &str| "KMGTP".find(&unit.to_uppercase()).map(|place| place as i32 + 1);
    let factor = match unit {
        "" => 1.0,
        "m" => 0.001,
        "k" | "M" | "G" | "T" | "P" => 1000f64.powi(power(unit)?),
        "Ki" | "Mi" | "Gi" | "Ti" | "Pi" => 1024f64.powi(power(&unit[..1])?),
        _ => 10f64.powi(unit.strip_prefix(['e', 'E'])?.parse::<u8>().ok()?.into()),
    };
    // Far below the limit of an exact float, and rounded down.
    Some((number * factor) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quantities_are_read_in_all_their_spellings() {
        for (text, expected) in [
            ("10Gi", Some(10_737_418_240)),
            ("10G", Some(10_000_000_000)),
            ("1.5Ki", Some(1536)),
            ("1e10", Some(10_000_000_000)),
            ("12E3", Some(12_000)),
            ("123", Some(123)),
            ("5000m", Some(5)),
            ("10Zi", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }

    #[test]
    fn a_claim_is_bound_or_loose() {
        for (status, words, is_bound, size) in [
            (json!({"phase": "Bound", "capacity": {"storage": "1Ki"}}), "c is bound, 1.0 KiB", true, Some(1024)),
            (json!({"phase": "Bound"}), "c is bound", true, None),
            (json!({"phase": "Lost"}), "c is Lost", false, None),
            (json!({}), "c is Pending", false, None),
        ] {
            let claim = Claim::read("c", serde_json::from_value(json!({"status": status})).unwrap());
            assert_eq!(claim, Claim { words: words.to_owned(), is_bound: Some(is_bound), size });
        }
    }
}
