//! Who refused a request, and why: parsed once from the answer, so that no other code matches its text.
//!
//! The API server answers with a `Status` (k8s.io/apimachinery meta/v1). It has no field for the part of the cluster that
//! decided, so three sentences that it builds are matched here, each with its source.

use std::time::Duration;

use http::StatusCode;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;

use crate::Access;

/// The part of the cluster that refused a request, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The API server does not know the credentials.
    Login,
    /// RBAC, or another authorizer, denies this access.
    Permission {
        /// What is missing, in the server's words if it has any.
        access: Access,
        /// Whether the request was anonymous.
        anonymous: bool,
    },
    /// An admission webhook or policy denies the request, whatever the permissions and the code.
    Denied {
        /// The webhook or policy, if the answer names it.
        by: Option<String>,
    },
    /// A required admission webhook could not be called.
    Unasked {
        /// The webhook.
        webhook: String,
    },
    /// The namespace is being deleted, and takes no new object.
    Terminating,
    /// The node's kubelet does not accept the API server's credentials.
    KubeletLogin,
    /// The node's kubelet denies it to the API server, which it knows by this name.
    KubeletPermission {
        /// The API server's user at the kubelet.
        user: String,
    },
    /// The API server did not reach the node's kubelet.
    KubeletUnreached,
    /// The API server itself says that this object does not exist.
    Absent,
    /// Another object, or another version of this one, is in the way.
    Conflict,
    /// None of these: only the status is known, or a proxy answered.
    Other,
}

impl Refusal {
    /// Whether it lies between the API server and a node's kubelet, and so may pass.
    pub fn is_of_kubelet(&self) -> bool {
        matches!(self, Self::KubeletLogin | Self::KubeletPermission { .. } | Self::KubeletUnreached)
    }

    /// Parses an answer: its status, its words for a message, and its body; `access` is the permission that the request
    /// needs. Also returns the wait that the body asks for.
    pub(crate) fn read(code: StatusCode, words: &str, body: &[u8], access: &Access) -> (Self, Option<Duration>) {
        // Refuses everything but a `Status` of v1, such as a proxy's HTML page.
        let Ok(status) = serde_json::from_slice::<Status>(body) else { return (of_text(code, words, access), None) };
        let asked = status.details.as_ref().and_then(|details| details.retry_after_seconds);
        let asked = asked.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
        (of_status(code, &status, access), asked)
    }
}

fn of_status(code: StatusCode, status: &Status, access: &Access) -> Refusal {
    let message = status.message.as_deref().unwrap_or_default();
    if let Some(refusal) = of_admission(message) {
        return refusal;
    }
    let details = status.details.as_ref();
    let causes = || details.iter().flat_map(|details| details.causes.iter().flatten());
    // apiserver/pkg/admission/plugin/namespace/lifecycle/admission.go
    if causes().any(|cause| cause.reason.as_deref() == Some("NamespaceTerminating")) {
        return Refusal::Terminating;
    }
    // A kubelet's answer has its subresource as the kind (apiserver/pkg/registry/generic/rest/response_checker.go).
    if details.and_then(|details| details.kind.as_deref()).is_some_and(|kind| kind.contains('/')) {
        return of_kubelet(code, message);
    }
    // A 500 or 502 of the API server: the node is away, not the API server (FAULTS Q54).
    if is_of_kubelet(access) && is_unreached(message) {
        return Refusal::KubeletUnreached;
    }
    match status.reason.as_deref() {
        Some("Unauthorized") => Refusal::Login,
        Some("Forbidden") => match access.denied(message) {
            Some(access) => Refusal::Permission { access, anonymous: message.contains("\"system:anonymous\"") },
            // Admission plugins of the API server, such as PodSecurity, refuse with the same reason
            // (apiserver/pkg/admission/errors.go, `NewForbidden`).
            None => Refusal::Denied { by: None },
        },
        // Without a name, the path is unknown, and nothing is said about the object (apimachinery/pkg/api/errors/errors.go,
        // `NewGenericServerResponse`).
        Some("NotFound") if details.is_some_and(|details| details.name.is_some()) => Refusal::Absent,
        Some("Conflict" | "AlreadyExists") => Refusal::Conflict,
        // A gateway in front of the API server, whose JSON has no reason.
        None if code == StatusCode::UNAUTHORIZED => Refusal::Login,
        _ => Refusal::Other,
    }
}

/// Answers without a `Status`: the kubelet's text, passed on if a protocol switch failed
/// (apimachinery/pkg/util/proxy/upgradeaware.go), or that of a proxy in front of the API server.
fn of_text(code: StatusCode, words: &str, access: &Access) -> Refusal {
    match code {
        _ if is_of_kubelet(access) && (words == "Unauthorized" || words.starts_with(KUBELET_DENIES)) => of_kubelet(code, words),
        StatusCode::UNAUTHORIZED if !words.starts_with("an HTML page") => Refusal::Login,
        _ => Refusal::Other,
    }
}

/// Webhooks choose any code, so their sentences are matched first
/// (apiserver/pkg/admission/plugin/webhook/errors/statuserror.go, apiserver/pkg/util/webhook/error.go,
/// apiserver/pkg/admission/plugin/policy/validating/dispatcher.go).
fn of_admission(message: &str) -> Option<Refusal> {
    let named = |from: &str, quote: char| Some(message.split_once(from)?.1.split(quote).next()?.to_owned());
    if let Some(webhook) = named("failed calling webhook \"", '"') {
        return Some(Refusal::Unasked { webhook });
    }
    if message.contains("\" denied the request")
        && let Some(webhook) = named("admission webhook \"", '"')
    {
        return Some(Refusal::Denied { by: Some(format!("the admission webhook '{webhook}'")) });
    }
    let policy = named("ValidatingAdmissionPolicy '", '\'')?;
    Some(Refusal::Denied { by: Some(format!("the admission policy '{policy}'")) })
}

/// The start of a kubelet's refusal (kubernetes pkg/kubelet/server/server.go, `InstallAuthFilter`).
const KUBELET_DENIES: &str = "Forbidden (user=";

fn of_kubelet(code: StatusCode, message: &str) -> Refusal {
    match code {
        StatusCode::UNAUTHORIZED => Refusal::KubeletLogin,
        StatusCode::FORBIDDEN => {
            match message.strip_prefix(KUBELET_DENIES).and_then(|rest| rest.split(',').next()).unwrap_or_default() {
                // The API server showed no certificate, and the kubelet takes requests without a login. What nobody may be
                // given is a role for that user.
                "system:anonymous" => Refusal::KubeletLogin,
                user => Refusal::KubeletPermission { user: user.to_owned() },
            }
        }
        StatusCode::NOT_FOUND => Refusal::Absent,
        code if code.is_server_error() => Refusal::KubeletUnreached,
        _ => Refusal::Other,
    }
}

/// Whether a kubelet answers this request, through the API server.
fn is_of_kubelet(access: &Access) -> bool {
    matches!(&*access.resource, "pods/log" | "pods/portforward")
}

/// Go's texts for a request of the API server's own that failed, by TLS included, or Konnectivity's; they have no type.
fn is_unreached(message: &str) -> bool {
    // A log is read with net/http, whose errors begin with method and URL (net/url url.go, `Error.Error`); a port-forward
    // dials (apimachinery/pkg/util/proxy/upgradeaware.go, `dial`); kubernetes-sigs/apiserver-network-proxy, pkg/server.
    message.starts_with("Get \"https://") || message.contains("error dialing backend") || message.contains("No agent available")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(code: u16, path: &str, body: &Value) -> Refusal {
        raw(code, path, &body.to_string())
    }

    fn raw(code: u16, path: &str, body: &str) -> Refusal {
        let access = Access::of("GET", &format!("/api/v1/namespaces/a/{path}"));
        Refusal::read(StatusCode::from_u16(code).unwrap(), body, body.as_bytes(), &access).0
    }

    fn status(code: u16, reason: &str, message: &str, details: Value) -> Value {
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
               "message": message, "reason": reason, "details": details, "code": code})
    }

    fn denied(by: &str) -> Refusal {
        Refusal::Denied { by: Some(by.to_owned()) }
    }

    #[test]
    fn q54_a_webhook_is_known_whatever_code_it_chose() {
        let webhook = denied("the admission webhook 'keep.example'");
        let says = "admission webhook \"keep.example\" denied the request: secrets stay";
        for (code, reason) in
            [(400, "BadRequest"), (401, "Unauthorized"), (403, "Forbidden"), (404, "NotFound"), (409, "Conflict")]
        {
            assert_eq!(read(code, "secrets/s", &status(code, reason, says, json!({}))), webhook);
            // Kubernetes 1.35 prepends the object, and adds its name to the details.
            let says = format!("secrets \"s\" is forbidden: {says}");
            assert_eq!(read(code, "secrets/s", &status(code, reason, &says, json!({"name": "s", "kind": "secrets"}))), webhook);
        }
        let says = "Internal error occurred: admission webhook \"keep.example\" denied the request without explanation";
        assert_eq!(read(500, "secrets/s", &status(500, "InternalError", says, json!({}))), webhook);
        let says = "secrets \"s\" is forbidden: ValidatingAdmissionPolicy 'keep' with binding 'all' denied request: no";
        assert_eq!(read(422, "secrets/s", &status(422, "Invalid", says, json!({}))), denied("the admission policy 'keep'"));
    }

    #[test]
    fn q54_a_webhook_that_could_not_be_asked_is_named() {
        for reason in ["context deadline exceeded", "dial tcp 10.0.0.7:443: connect: connection refused"] {
            let says = format!(
                "Internal error occurred: failed calling webhook \"keep.example\": failed to call webhook: Post \"https://keep.x.svc:443/\": {reason}"
            );
            let refusal = read(500, "secrets/s", &status(500, "InternalError", &says, json!({"causes": [{"message": says}]})));
            assert_eq!(refusal, Refusal::Unasked { webhook: "keep.example".to_owned() });
        }
    }

    #[test]
    fn q54_a_kubelet_is_distinguished_from_the_api_server() {
        let user = "kube-apiserver-kubelet-client";
        let forbidden = format!("Forbidden (user={user}, verb=get, resource=nodes, subresource(s)=[proxy])");
        let log = json!({"name": "p", "kind": "pods/log"});
        let asked = "the server has asked for the client to provide credentials ( pods/log p)";
        assert_eq!(read(401, "pods/p/log", &status(401, "Unauthorized", asked, log.clone())), Refusal::KubeletLogin);
        let permission = Refusal::KubeletPermission { user: user.to_owned() };
        assert_eq!(read(403, "pods/p/log", &status(403, "Forbidden", &format!("{forbidden} ( pods/log p)"), log)), permission);
        let anonymous = forbidden.replace(user, "system:anonymous");
        let log = json!({"name": "p", "kind": "pods/log"});
        assert_eq!(read(403, "pods/p/log", &status(403, "Forbidden", &anonymous, log)), Refusal::KubeletLogin);
        let gone = "Get \"https://10.0.0.5:10250/containerLogs/a/p/c\": dial tcp 10.0.0.5:10250: connect: connection refused";
        assert_eq!(read(500, "pods/p/log", &status(500, "", gone, Value::Null)), Refusal::KubeletUnreached);
        let distrusted = "Get \"https://10.0.0.5:10250/containerLogs/a/p/c\": tls: failed to verify certificate: x509: certificate \
                          signed by unknown authority";
        assert_eq!(read(500, "pods/p/log", &status(500, "InternalError", distrusted, json!({}))), Refusal::KubeletUnreached);
        let forward = "pods/p/portforward";
        assert_eq!(raw(401, forward, "Unauthorized"), Refusal::KubeletLogin);
        assert_eq!(raw(403, forward, &forbidden), permission);
        let dial = status(500, "", "error dialing backend: dial tcp 10.0.0.5:10250: i/o timeout", Value::Null);
        assert_eq!(read(500, forward, &dial), Refusal::KubeletUnreached);
        // The API server's own 401 has no details.
        assert_eq!(read(401, "pods/p/log", &status(401, "Unauthorized", "Unauthorized", Value::Null)), Refusal::Login);
    }

    #[test]
    fn only_the_api_server_can_say_that_an_object_does_not_exist() {
        let named = json!({"name": "s", "kind": "secrets"});
        for (code, body, refusal) in [
            (404, status(404, "NotFound", "secrets \"s\" not found", named.clone()), Refusal::Absent),
            (404, status(404, "NotFound", "the server could not find the requested resource", json!({})), Refusal::Other),
            (404, json!("404 page not found"), Refusal::Other),
            (409, status(409, "AlreadyExists", "secrets \"s\" already exists", named), Refusal::Conflict),
        ] {
            assert_eq!(read(code, "secrets/s", &body), refusal, "{body}");
        }
    }

    #[test]
    fn q75_a_namespace_that_is_being_deleted_is_not_taken_for_a_policy() {
        let says = "secrets \"s\" is forbidden: unable to create new content in namespace a because it is being terminated";
        let details = json!({"name": "s", "kind": "secrets", "causes": [{"reason": "NamespaceTerminating",
            "message": "namespace a is being terminated", "field": "metadata.namespace"}]});
        assert_eq!(read(403, "secrets", &status(403, "Forbidden", says, details)), Refusal::Terminating);
        let says = "pods \"p\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1";
        assert_eq!(read(403, "pods", &status(403, "Forbidden", says, json!({}))), Refusal::Denied { by: None });
    }

    #[test]
    fn reads_the_wait_of_an_answer() {
        let read = |body: &str| Refusal::read(StatusCode::TOO_MANY_REQUESTS, "", body.as_bytes(), &Access::of("GET", "/")).1;
        let body = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"message":"too many","details":{"retryAfterSeconds":3}}"#;
        assert_eq!(read(body), Some(Duration::from_secs(3)));
        assert_eq!(read("<html><title>502 Bad Gateway</title>"), None);
    }
}
