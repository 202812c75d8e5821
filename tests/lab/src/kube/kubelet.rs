//! The kubelet's own refusals, as they come out of the API server: a log's as a `Status` that the API server makes of them,
//! an upgrade's as they are.

use axum::body::Body;
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use axum::http::{HeaderMap, Response, StatusCode};
use serde_json::{Value, json};

use super::Cluster;
use super::status::{Refusal, bad_request, failure};

/// How the kubelets take the API server's requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kubelet {
    /// As they should.
    #[default]
    Well,
    /// They do not accept its credentials: its client certificate has expired, say.
    NoLogin,
    /// They do not allow it: the API server's user lacks the cluster role `system:kubelet-api-admin`.
    Forbidden,
    /// Something on the way to them answers 502.
    BadGateway,
    /// They serve it, but a log's file is gone.
    NoLogFile,
}

/// How a kubelet names the user that it refuses (kubernetes pkg/kubelet/server/server.go, InstallAuthFilter).
const FORBIDDEN: &str = "Forbidden (user=kube-apiserver-kubelet-client, verb=get, resource=nodes, subresource=proxy)";

impl Cluster {
    /// How the kubelets take the API server's requests for logs and port-forwards from now on.
    pub fn set_kubelet(&self, kubelet: Kubelet) {
        self.change(|state| state.kubelet = kubelet);
    }
}

impl Kubelet {
    fn refusal(self) -> Option<(u16, &'static str)> {
        match self {
            Self::Well | Self::NoLogFile => None,
            Self::NoLogin => Some((401, "Unauthorized")),
            Self::Forbidden => Some((403, FORBIDDEN)),
            Self::BadGateway => Some((502, "bad gateway")),
        }
    }

    /// The refusal of a log (apiserver pkg/registry/generic/rest/response_checker.go, Check; apimachinery
    /// pkg/api/errors/errors.go, NewGenericServerResponse).
    pub(super) fn refuse_log(self, pod: &str) -> Result<(), Refusal> {
        let Some((code, words)) = self.refusal() else { return Ok(()) };
        let (reason, message) = match code {
            401 => ("Unauthorized", "the server has asked for the client to provide credentials".to_owned()),
            403 => ("Forbidden", words.to_owned()),
            _ => ("InternalError", format!("an error on the server ({words:?}) has prevented the request from succeeding")),
        };
        let details = json!({"name": pod, "kind": "pods/log"});
        Err(failure(code, reason, &format!("{message} ( pods/log {pod})"), details))
    }

    /// The refusal of an upgrade, which the API server hands through (apimachinery pkg/util/proxy/upgradeaware.go, tryUpgrade).
    pub(super) fn refuse_upgrade(self, headers: &HeaderMap) -> Result<(), Refusal> {
        match self.refusal() {
            Some((code, words)) => Err(Box::new(text(code, words))),
            None if !is_acceptable(headers) => Err(Box::new(text(406, "406: Not Acceptable\n\nAvailable representations: "))),
            None => Ok(()),
        }
    }
}

/// Whether the kubelet's route takes the request's `Accept`. The port-forward routes declare no content type (kubernetes
/// pkg/kubelet/server/server.go, InstallAuthRequiredHandlers), so that only `*/*` or no header at all fits (go-restful
/// jsr311.go, detectRoute; route.go, matchesAccept).
fn is_acceptable(headers: &HeaderMap) -> bool {
    let Some(accept) = headers.get(ACCEPT) else { return true };
    let mut kinds = accept.to_str().unwrap_or_default().split(',');
    kinds.any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim() == "*/*"))
}

fn text(code: u16, words: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(words.to_owned()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or_default();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// A node that the API server does not reach (apiserver's proxy transport, net/http's words).
pub(super) fn unreached(words: &str) -> Refusal {
    failure(500, "InternalError", words, Value::Null)
}

/// What a kubelet writes into a log's answer when the runtime has lost the file: the head was sent already, with a write of no
/// bytes (kubernetes pkg/kubelet/kubelet_pods.go, GetKubeletContainerLogs; kuberuntime_container.go, GetContainerLogs).
pub(super) fn no_log_file(container: &str) -> String {
    format!("unable to retrieve container logs for {container}")
}

/// A pod that no node has yet (kubernetes pkg/registry/core/pod/strategy.go, streamLocation).
pub(super) fn no_host(pod: &str) -> Refusal {
    bad_request(&format!("pod {pod} does not have a host assigned"))
}
