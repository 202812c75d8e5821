//! The admission webhook, which may refuse a write, or a connection to a pod, whatever RBAC allows.

use std::time::Duration;

use serde_json::{Value, json};

use super::Cluster;
use super::status::{Refusal, failure};

/// What the webhook does about every write, and every connection to a pod.
#[derive(Clone, Debug)]
pub enum Webhook {
    /// It denies the request, with a code of its choice.
    Denies(u16),
    /// It does not answer within this time, its `timeoutSeconds`.
    TimesOut(Duration),
    /// Nothing listens where it should be.
    IsDown,
}

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
