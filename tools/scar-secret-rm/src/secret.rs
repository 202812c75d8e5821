//! A secret, as it is in the cluster and in a backup.
//!
//! No type here can be printed: a secret's content leaves this process only into the backup.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{ApiResource, DynamicObject};
use serde_json::{Value, json};

/// The annotation with the uid of the saved secret, which a restored secret keeps; `kubectl apply` needs metadata without a uid.
pub(crate) const BACKUP_OF: &str = "scar-tools/backup-of-uid";
/// The annotation with the address of its API server.
pub(crate) const BACKUP_AT: &str = "scar-tools/backup-of-server";

/// Fields that only the server writes, and that `kubectl apply` would fail on: a create with a resourceVersion is refused
/// (apiserver pkg/storage/etcd3/store.go, `Create`).
const SERVERS_OWN: [&str; 8] = [
    "uid",
    "resourceVersion",
    "managedFields",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "selfLink",
];

/// The type information that kube needs; every field is kept.
pub(crate) fn resource() -> ApiResource {
    // `k8s_openapi`'s `Secret` would drop the fields that it does not know.
    ApiResource::erase::<Secret>(&())
}

/// A secret from the cluster.
pub(crate) struct SecretObject(DynamicObject);

impl SecretObject {
    pub(crate) fn new(object: DynamicObject) -> Self {
        Self(object)
    }

    pub(crate) fn uid(&self) -> &str {
        self.0.metadata.uid.as_deref().unwrap_or_default()
    }

    pub(crate) fn resource_version(&self) -> &str {
        self.0.metadata.resource_version.as_deref().unwrap_or_default()
    }

    /// Its creation time, for messages.
    pub(crate) fn created(&self) -> String {
        self.0.metadata.creation_timestamp.as_ref().map(|time| time.0.to_string()).unwrap_or_default()
    }

    /// Whether it has this uid, or was restored from the backup of that object.
    pub(crate) fn comes_from(&self, uid: &str) -> bool {
        self.uid() == uid
            || self.0.metadata.annotations.as_ref().is_some_and(|all| all.get(BACKUP_OF).is_some_and(|of| of == uid))
    }

    /// Whether its deletion is pending.
    pub(crate) fn is_going(&self) -> bool {
        self.0.metadata.deletion_timestamp.is_some()
    }

    /// Its finalizers: the object stays until their controllers have removed them (Kubernetes, "Finalizers").
    pub(crate) fn finalizers(&self) -> &[String] {
        self.0.metadata.finalizers.as_deref().unwrap_or_default()
    }

    /// The backup's content, for `kubectl apply -f`.
    pub(crate) fn manifest(&self, server: &str) -> Value {
        let mut object = serde_json::to_value(&self.0).unwrap_or_default();
        object["apiVersion"] = json!("v1");
        object["kind"] = json!("Secret");
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.retain(|field, _| !SERVERS_OWN.contains(&field.as_str()));
        }
        object["metadata"]["annotations"][BACKUP_OF] = json!(self.uid());
        object["metadata"]["annotations"][BACKUP_AT] = json!(server);
        object
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_keeps_all_but_what_the_server_writes() {
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "immutable": true, "later": {"field": 1},
            "data": {"b": "Mg==", "a": "MQ=="},
            "metadata": {
                "name": "s", "namespace": "n", "uid": "u-1", "resourceVersion": "7", "creationTimestamp": "2024-12-06T12:43:14Z",
                "labels": {"l": "1"}, "annotations": {"a": "1"}, "finalizers": ["f.example/x"],
                "managedFields": [{"manager": "m"}]
            }
        });
        let held = SecretObject::new(serde_json::from_value(object).unwrap());
        assert_eq!((held.uid(), held.resource_version(), held.finalizers().len()), ("u-1", "7", 1));
        assert_eq!(
            held.manifest("https://k8s.example"),
            json!({
                "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "immutable": true, "later": {"field": 1},
                "data": {"b": "Mg==", "a": "MQ=="},
                "metadata": {
                    "name": "s", "namespace": "n", "labels": {"l": "1"}, "finalizers": ["f.example/x"],
                    "annotations": {"a": "1", BACKUP_OF: "u-1", BACKUP_AT: "https://k8s.example"}
                }
            })
        );
    }
}
