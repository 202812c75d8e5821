//! What random and listed kubeconfigs are made of.

use serde_json::{Value, json};

/// A plugin: `cat` with the credential of this name.
pub fn plugin(name: &str) -> Value {
    let protocol = if name == "v1beta1" { "v1beta1" } else { "v1" };
    let api = format!("client.authentication.k8s.io/{protocol}");
    // A command with a slash is relative to the kubeconfig's folder; its arguments are not.
    json!({"apiVersion": api, "command": "./plugin", "args": [name], "interactiveMode": "IfAvailable"})
}

/// Every string field that may be empty.
pub const TEXTS: [&str; 14] = [
    "cluster/certificate-authority",
    "cluster/certificate-authority-data",
    "cluster/proxy-url",
    "cluster/tls-server-name",
    "user/token",
    "user/tokenFile",
    "user/username",
    "user/password",
    "user/client-certificate",
    "user/client-certificate-data",
    "user/client-key",
    "user/client-key-data",
    "user/as",
    "user/as-uid",
];
