//! A secret as the cluster holds it, and as a backup keeps it.
//!
//! No type here can be printed: what a secret holds leaves this process into the backup alone.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{ApiResource, DynamicObject};
use serde_json::{Value, json};

/// The annotation that holds the uid of the secret that was saved; a secret restored from the backup keeps it.
/// `kubectl apply` needs metadata without a uid.
pub(crate) const BACKUP_OF: &str = "scar-tools/backup-of-uid";
/// The annotation that holds the address of the API server that had it.
pub(crate) const BACKUP_AT: &str = "scar-tools/backup-of-server";

/// What only the server writes; it would keep `kubectl apply` from making the object anew.
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

/// What kube asks of a secret, every field of it kept.
pub(crate) fn resource() -> ApiResource {
    ApiResource::erase::<Secret>(&())
}

/// A secret that was read.
pub(crate) struct Held(DynamicObject);

impl Held {
    /// Takes what was read.
    pub(crate) fn new(object: DynamicObject) -> Self {
        Self(object)
    }

    /// Which object it is, whatever its name.
    pub(crate) fn uid(&self) -> &str {
        self.0.metadata.uid.as_deref().unwrap_or_default()
    }

    /// Which state of it was read.
    pub(crate) fn resource_version(&self) -> &str {
        self.0.metadata.resource_version.as_deref().unwrap_or_default()
    }

    /// When it was made.
    pub(crate) fn created(&self) -> String {
        self.0.metadata.creation_timestamp.as_ref().map(|time| time.0.to_string()).unwrap_or_default()
    }

    /// Whether it is the secret with this uid, or was restored from the backup of that one.
    pub(crate) fn comes_from(&self, uid: &str) -> bool {
        self.uid() == uid
            || self.0.metadata.annotations.as_ref().is_some_and(|all| all.get(BACKUP_OF).is_some_and(|of| of == uid))
    }

    /// Whether its deletion was asked for and waits.
    pub(crate) fn is_going(&self) -> bool {
        self.0.metadata.deletion_timestamp.is_some()
    }

    /// Who must let go of it before it is gone.
    pub(crate) fn finalizers(&self) -> &[String] {
        self.0.metadata.finalizers.as_deref().unwrap_or_default()
    }

    /// What `kubectl apply -f` restores.
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
        let held = Held::new(serde_json::from_value(object).unwrap());
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
