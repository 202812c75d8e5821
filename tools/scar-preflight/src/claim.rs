//! Specman's storage: its claims, and the storage class for new ones (the guide's CSI with 10 GB).

use std::collections::BTreeSet;

use futures::future::join_all;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::{CSIDriver, StorageClass};
use kube::Api;
use kube::api::ListParams;
use scar_cluster::{Cluster, Error};
use scar_record::Check;

use crate::check::{Side, blocked, failed, needs, ok, skipped, warning};
use crate::cluster::Manner;
use crate::room::size;

const CLAIM: &str = "cluster.claim";
const STORAGE: &str = "cluster.storage";
/// The lines.
pub(crate) const NAMES: [&str; 2] = [CLAIM, STORAGE];

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
    pods: &[String],
    manner: &Manner<'_>,
) -> (Vec<Check>, Option<u64>) {
    let Ok(Some(set)) = set else { return (needs(NAMES, "cluster.specman"), None) };
    let names = names(cluster, set, pods, manner).await;
    let api = Api::<PersistentVolumeClaim>::namespaced(cluster.client().clone(), cluster.namespace());
    let (api, deadline) = (&api, manner.deadline());
    let found = join_all(names.iter().map(|name| cluster.find(deadline, move || api.get(name)))).await;
    let mut claims = Vec::new();
    let mut unread = None;
    for (name, claim) in names.iter().zip(found) {
        match claim {
            Ok(claim) => claims.push((name.as_str(), claim.as_ref().map(state))),
            Err(error) => unread = Some(error),
        }
    }
    let bound = unread.is_none() && !claims.is_empty() && claims.iter().all(|(_, state)| matches!(state, Some(State::Bound(_))));
    let rooms = claims.iter().map(|(_, state)| match state {
        Some(State::Bound(room)) => *room,
        _ => None,
    });
    let room = rooms.flatten().min();
    let claim = match unread {
        Some(error) if error.is_denied() => {
            warning(CLAIM, "the claims may not be read", format!("see yourself: kubectl -n {} get pvc", cluster.namespace()))
        }
        Some(error) => failed(CLAIM, cluster.failure("look at Specman's claims", &error), Side::Own),
        None => told(cluster, &claims, room),
    };
    (vec![claim, storage(cluster, set, bound, manner).await], room)
}

/// The claims of all replicas: those that the set creates for them, and those that their pods name.
async fn names(cluster: &Cluster, set: &StatefulSet, pods: &[String], manner: &Manner<'_>) -> BTreeSet<String> {
    let templates = set.spec.volume_claim_templates.iter().flatten();
    let templates: Vec<_> = templates.filter_map(|template| template.metadata.name.as_deref()).collect();
    // A set that is scaled to zero still has the claims of its replicas.
    let first = set.spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0);
    let alone = [format!("{}-{first}", set.metadata.name.as_deref().unwrap_or_default())];
    let pods = if pods.is_empty() { &alone[..] } else { pods };
    let mut names: BTreeSet<_> = templates.iter().flat_map(|name| pods.iter().map(move |pod| format!("{name}-{pod}"))).collect();
    let api = Api::<Pod>::namespaced(cluster.client().clone(), cluster.namespace());
    let (api, deadline) = (&api, manner.deadline());
    let pods = join_all(pods.iter().map(|name| cluster.find(deadline, move || api.get(name)))).await;
    // Another line reports a pod that cannot be read.
    for pod in pods.into_iter().flatten().flatten() {
        let volumes = pod.spec.and_then(|spec| spec.volumes).unwrap_or_default();
        names.extend(volumes.into_iter().filter_map(|volume| Some(volume.persistent_volume_claim?.claim_name)));
    }
    names
}

/// The state of a claim.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// It has a volume, with its size if known.
    Bound(Option<u64>),
    /// It has none; the cluster's phase.
    Loose(String),
}

fn state(claim: &PersistentVolumeClaim) -> State {
    let status = claim.status.as_ref();
    match status.and_then(|status| status.phase.as_deref()) {
        Some("Bound") => State::Bound(status.and_then(|status| bytes(&status.capacity.as_ref()?.get("storage")?.0))),
        phase => State::Loose(phase.unwrap_or("Pending").to_owned()),
    }
}

fn told(cluster: &Cluster, claims: &[(&str, Option<State>)], room: Option<u64>) -> Check {
    let see = format!("kubectl -n {} describe pvc", cluster.namespace());
    if claims.is_empty() {
        return warning(CLAIM, "Specman has no claim", "what it fetches is lost with its pod, and fetched again");
    }
    let word = |(name, state): &(&str, Option<State>)| match state {
        Some(State::Bound(Some(room))) => format!("{name} is bound, {}", size(*room)),
        Some(State::Bound(None)) => format!("{name} is bound"),
        Some(State::Loose(phase)) => format!("{name} is {phase}"),
        None => format!("{name} is not made yet"),
    };
    let words = claims.iter().map(word).collect::<Vec<_>>().join(", ");
    if claims.iter().any(|(_, state)| matches!(state, Some(State::Loose(_)))) {
        return blocked(CLAIM, words, format!("Specman cannot start without it: {see}"));
    }
    if claims.iter().any(|(_, state)| state.is_none()) {
        return warning(CLAIM, words, format!("it is made when Specman starts: {see}"));
    }
    match room {
        Some(room) if room < GUIDE => warning(CLAIM, words, "the guide plans for 10 GB: will it hold all manifests?"),
        _ => ok(CLAIM, words),
    }
}

/// The class that the set requests, its driver, and its free space if known. If all claims are bound, none is needed.
async fn storage(cluster: &Cluster, set: &StatefulSet, bound: bool, manner: &Manner<'_>) -> Check {
    let classes = Api::<StorageClass>::all(cluster.client().clone());
    let drivers = Api::<CSIDriver>::all(cluster.client().clone());
    let (parameters, deadline) = (ListParams::default(), manner.deadline());
    let (classes, drivers) =
        tokio::join!(cluster.read(deadline, || classes.list(&parameters)), cluster.read(deadline, || drivers.list(&parameters)));
    let (classes, drivers) = match (classes, drivers) {
        (Ok(classes), Ok(drivers)) => (classes.items, drivers.items),
        (Err(error), _) | (_, Err(error)) => {
            if bound {
                return skipped(STORAGE, "it may not be read, and the claims are bound");
            }
            return match error.is_denied() {
                true => warning(
                    STORAGE,
                    "storage classes and CSI drivers may not be listed",
                    "ask the cluster's administrator for a CSI with 10 GB of room",
                ),
                false => failed(STORAGE, cluster.failure("list the storage classes", &error), Side::Own),
            };
        }
    };
    let wanted =
        set.spec.volume_claim_templates.iter().flatten().find_map(|claim| claim.spec.as_ref()?.storage_class_name.clone());
    let is_default =
        |class: &&StorageClass| class.metadata.annotations.iter().flatten().any(|(key, value)| key == DEFAULT && value == "true");
    let class = match &wanted {
        Some(name) => classes.iter().find(|class| class.metadata.name.as_deref() == Some(name)),
        None => classes.iter().find(is_default),
    };
    let name = class.and_then(|class| class.metadata.name.as_deref()).unwrap_or_default();
    let has_driver =
        |class: &StorageClass| drivers.iter().any(|driver| driver.metadata.name.as_ref() == Some(&class.provisioner));
    let lacking = match (class, &wanted) {
        (None, Some(name)) => Some(format!("no storage class '{name}'")),
        (None, None) => Some("no default storage class".to_owned()),
        (Some(class), _) if class.provisioner == NO_PROVISIONER => {
            Some(format!("class '{name}' makes no volumes ({NO_PROVISIONER}): somebody has to make one for Specman by hand"))
        }
        (Some(class), _) if drivers.is_empty() => Some(format!("no CSI driver for class '{name}' ({})", class.provisioner)),
        _ => None,
    };
    match (lacking, class) {
        (Some(lacking), _) if bound => ok(STORAGE, format!("{lacking}; the claims are bound and need none")),
        (Some(lacking), _) => blocked(
            STORAGE,
            lacking,
            "the guide wants a CSI with 10 GB of free space: install one, or name its class as the default",
        ),
        // For example a provisioner of host paths: it may work, but the guide requires a CSI.
        (None, Some(class)) if !has_driver(class) && !bound => warning(
            STORAGE,
            format!("class '{name}' is of {}, which is no CSI driver of this cluster", class.provisioner),
            "the guide wants a CSI with 10 GB of free space: does this class make volumes of that size?",
        ),
        (None, Some(class)) => {
            let room = if bound { "" } else { "; how much room it has left is not known" };
            ok(STORAGE, format!("class '{name}', driver {}{room}", class.provisioner))
        }
        (None, None) => ok(STORAGE, "none needed"),
    }
}

/// A Kubernetes quantity in whole bytes: `10Gi`, `10G`, `1e10`, `500000m`.
fn bytes(quantity: &str) -> Option<u64> {
    let text = quantity.trim();
    let digits = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().ok()?;
    let factor = match unit {
        "" => 1.0,
        "m" => 0.001,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        "Pi" => 1_125_899_906_842_624.0,
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
        let read = |status: serde_json::Value| state(&serde_json::from_value(json!({"status": status})).unwrap());
        assert_eq!(read(json!({"phase": "Bound", "capacity": {"storage": "1Ki"}})), State::Bound(Some(1024)));
        assert_eq!(read(json!({"phase": "Bound"})), State::Bound(None));
        assert_eq!(read(json!({"phase": "Lost"})), State::Loose("Lost".into()));
        assert_eq!(read(json!({})), State::Loose("Pending".into()));
    }
}
