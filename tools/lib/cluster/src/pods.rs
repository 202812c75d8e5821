//! The pods of a StatefulSet, by their names.

use k8s_openapi::api::apps::v1::StatefulSet;

/// The names of all pods that the set ought to have, ready or not.
pub fn replicas(set: &StatefulSet) -> Vec<String> {
    let count = set.spec.replicas.unwrap_or(1).max(0);
    let first = set.spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0);
    let name = set.metadata.name.as_deref().unwrap_or_default();
    (first..first + count).map(|ordinal| format!("{name}-{ordinal}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn names_every_replica_from_its_first_ordinal() {
        let set =
            |spec: Value| serde_json::from_value::<StatefulSet>(json!({"metadata": {"name": "specman"}, "spec": spec})).unwrap();
        let base = json!({"selector": {}, "serviceName": "s", "template": {}});
        assert_eq!(replicas(&set(base.clone())), ["specman-0"]);
        let mut three = base;
        three["replicas"] = json!(3);
        three["ordinals"] = json!({"start": 5});
        assert_eq!(replicas(&set(three)), ["specman-5", "specman-6", "specman-7"]);
    }
}
