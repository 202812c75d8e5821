//! The parts of VerteX's cluster that the migration touches: namespaces, a node, a storage class with its driver, and
//! Specman with its service and claims.

use serde_json::{Value, json};

use super::{Cluster, SPECMAN_NAMESPACE};

impl Cluster {
    /// The state before the migration.
    pub(super) fn furnish(&self) {
        for namespace in ["default", "kube-system", SPECMAN_NAMESPACE] {
            let labels = json!({"kubernetes.io/metadata.name": namespace});
            let object =
                json!({"metadata": {"labels": labels}, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}});
            self.put("namespaces", "", namespace, object);
        }
        self.put(
            "nodes",
            "",
            "worker-0",
            json!({
                "spec": {},
                "status": {
                    "conditions": [{"type": "Ready", "status": "True"}],
                    "nodeInfo": {"kubeletVersion": "v1.32.4", "operatingSystem": "linux", "architecture": "amd64"}
                }
            }),
        );
        self.put("csidrivers", "", "csi.lab.example", json!({"spec": {"attachRequired": true}}));
        let default = json!({"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}});
        self.put(
            "storageclasses",
            "",
            "standard",
            json!({
                "metadata": default, "provisioner": "csi.lab.example", "reclaimPolicy": "Delete",
                "volumeBindingMode": "WaitForFirstConsumer", "allowVolumeExpansion": true
            }),
        );
    }

    /// Adds Specman as the platform installs it: service, StatefulSet, and for each replica a pod
    /// with one container `specman` and a bound claim of 10 GiB.
    pub fn add_specman(&self, replicas: u32) {
        let ports = json!([{"name": "https", "port": 8443, "targetPort": 8443, "protocol": "TCP"}]);
        self.put(
            "services",
            SPECMAN_NAMESPACE,
            "specman-service",
            json!({
                "spec": {"selector": {"app": "specman"}, "ports": ports, "type": "ClusterIP", "clusterIP": "198.51.100.20"}
            }),
        );
        for ordinal in 0..replicas {
            self.put(
                "persistentvolumeclaims",
                SPECMAN_NAMESPACE,
                &format!("data-specman-{ordinal}"),
                json!({
                    "metadata": {"labels": {"app": "specman"}},
                    "spec": {
                        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}},
                        "storageClassName": "standard", "volumeName": format!("pvc-{}", super::uid())
                    },
                    "status": {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "10Gi"}}
                }),
            );
        }
        self.add_statefulset("specman", replicas, &["specman"]);
    }

    /// Adds a StatefulSet in `hubble-system` whose pods have these containers.
    pub fn add_statefulset(&self, name: &str, replicas: u32, containers: &[&str]) {
        let container = |name: &&str| {
            json!({
                "name": name, "image": "registry.example/spectro/specman:4.5.15",
                "ports": [{"containerPort": 8443}],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}]
            })
        };
        let containers: Vec<Value> = containers.iter().map(container).collect();
        let labels = json!({"app": name});
        self.put(
            "statefulsets",
            SPECMAN_NAMESPACE,
            name,
            json!({
                "metadata": {"labels": labels, "generation": 1},
                "spec": {
                    "replicas": replicas, "serviceName": format!("{name}-service"),
                    "podManagementPolicy": "OrderedReady",
                    "updateStrategy": {"type": "RollingUpdate"},
                    "selector": {"matchLabels": labels},
                    "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
                    "volumeClaimTemplates": [{
                        "metadata": {"name": "data"},
                        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}}
                    }]
                }
            }),
        );
    }
}
