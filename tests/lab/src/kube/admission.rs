//! What can refuse a request besides RBAC: an admission webhook, and the kubelet that the API server asks for logs and
//! port-forwards.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde_json::{Value, json};

use super::Cluster;
use super::resource::Target;
use super::status::{Refusal, failure};

/// What the webhook does about every write.
#[derive(Clone, Debug)]
pub enum Webhook {
    /// It denies the request, with a code of its choice.
    Denies(u16),
    /// It does not answer within this time, its `timeoutSeconds`.
    TimesOut(Duration),
    /// Nothing listens where it should be.
    IsDown,
}

/// How kubelets answer the API server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kubelets {
    /// Normally.
    #[default]
    Answer,
    /// They do not accept the API server's client certificate.
    RefuseLogin,
    /// The API server's user lacks `system:kubelet-api-admin`.
    RefusePermission,
    /// Nothing listens on port 10250.
    AreDown,
}

/// The API server's user at its kubelets, as kubeadm sets it up.
const API_SERVER: &str = "kube-apiserver-kubelet-client";

/// Asks the webhook, if there is one.
pub(super) async fn ask(cluster: &Cluster) -> Result<(), Refusal> {
    let Some((name, webhook)) = cluster.lock().webhook.clone() else { return Ok(()) };
    // apiserver/pkg/admission/plugin/webhook/errors/statuserror.go, and the dispatcher's NewInternalError beside it.
    let not_asked = |why: &str| {
        let words = format!(
            "Internal error occurred: failed calling webhook \"{name}\": failed to call webhook: Post \"https://webhook.policy.svc:443/v?timeout=10s\": {why}"
        );
        failure(500, "InternalError", &words, json!({"causes": [{"message": words}]}))
    };
    match webhook {
        Webhook::Denies(code) => {
            let reason = match code {
                400 => "BadRequest",
                401 => "Unauthorized",
                404 => "NotFound",
                409 => "Conflict",
                500 => "InternalError",
                _ => "Forbidden",
            };
            let words = format!("admission webhook \"{name}\" denied the request: secrets stay");
            Err(failure(code, reason, &words, Value::Null))
        }
        Webhook::TimesOut(limit) => {
            tokio::time::sleep(limit).await;
            Err(not_asked("context deadline exceeded"))
        }
        Webhook::IsDown => Err(not_asked("dial tcp 10.96.7.7:443: connect: connection refused")),
    }
}

/// The kubelet's answer about a subresource of a pod; `upgrade` if the answer would switch protocols.
pub(super) fn kubelet(cluster: &Cluster, target: &Target<'_>, verb: &str, upgrade: bool) -> Result<(), Refusal> {
    let kubelets = cluster.lock().kubelets;
    let (resource, name) = (target.access_name(), target.name.as_deref().unwrap_or_default());
    // kubelet/pkg/server/server.go, InstallAuthFilter.
    let denies = format!("Forbidden (user={API_SERVER}, verb={verb}, resource=nodes, subresource(s)=[proxy])");
    let (code, reason, text, words) = match kubelets {
        Kubelets::Answer => return Ok(()),
        Kubelets::AreDown => {
            let words = match upgrade {
                // apimachinery/pkg/util/proxy/upgradeaware.go
                true => "error dialing backend: dial tcp 10.0.0.5:10250: connect: connection refused".to_owned(),
                false => format!(
                    "Get \"https://10.0.0.5:10250/containerLogs/{}/{name}/specman\": dial tcp 10.0.0.5:10250: connect: connection refused",
                    target.namespace
                ),
            };
            return Err(failure(500, "", &words, Value::Null));
        }
        Kubelets::RefuseLogin => (
            401,
            "Unauthorized",
            "Unauthorized".to_owned(),
            "the server has asked for the client to provide credentials".to_owned(),
        ),
        Kubelets::RefusePermission => (403, "Forbidden", denies.clone(), denies),
    };
    if upgrade {
        // The kubelet's answer is passed on unchanged (upgradeaware.go, tryUpgrade).
        let mut raw = Response::new(Body::from(text));
        *raw.status_mut() = StatusCode::from_u16(code).unwrap_or_default();
        return Err(Box::new(raw));
    }
    // apiserver/pkg/registry/generic/rest/response_checker.go, with an empty verb.
    Err(failure(code, reason, &format!("{words} ( {resource} {name})"), json!({"name": name, "kind": resource})))
}
