//! The kubelet's own refusals, as the API server passes them on: a log's as a `Status`, an upgrade's unchanged.

use axum::body::Body;
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use axum::http::{HeaderMap, Response, StatusCode};
use serde_json::{Value, json};

use super::Cluster;
use super::status::{Refusal, bad_request, failure};

/// How the kubelets answer the API server's requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kubelet {
    /// Normally.
    #[default]
    Well,
    /// They reject its credentials, such as an expired client certificate.
    NoLogin,
    /// They forbid it: the API server's user does not have the cluster role `system:kubelet-api-admin`.
    Forbidden,
    /// A proxy in between answers 502.
    BadGateway,
    /// Nothing listens on their port.
    Down,
    /// They serve it, but a log's file is gone.
    NoLogFile,
}

/// How a kubelet names the user that it refuses (kubernetes pkg/kubelet/server/server.go, InstallAuthFilter).
const FORBIDDEN: &str = "Forbidden (user=kube-apiserver-kubelet-client, verb=get, resource=nodes, subresource(s)=[proxy])\n";
/// A dial that nobody answers.
const REFUSED: &str = "dial tcp 192.0.2.10:10250: connect: connection refused";

impl Cluster {
    /// Sets how the kubelets answer requests for logs and port-forwards.
    pub fn set_kubelet(&self, kubelet: Kubelet) {
        self.change(|state| state.kubelet = kubelet);
    }
}

impl Kubelet {
    fn refusal(self) -> Option<(u16, &'static str)> {
        match self {
            Self::Well | Self::Down | Self::NoLogFile => None,
            Self::NoLogin => Some((401, "Unauthorized")),
            Self::Forbidden => Some((403, FORBIDDEN)),
            Self::BadGateway => Some((502, "bad gateway")),
        }
    }

    /// The refusal of a log (apiserver pkg/registry/generic/rest/response_checker.go, Check; apimachinery
    /// pkg/api/errors/errors.go, NewGenericServerResponse).
    pub(super) fn refuse_log(self, pod: &str, container: &str) -> Result<(), Refusal> {
        if self == Self::Down {
            return Err(log_unreached(pod, container, REFUSED));
        }
        let Some((code, words)) = self.refusal() else { return Ok(()) };
        let (reason, message) = match code {
            401 => ("Unauthorized", "the server has asked for the client to provide credentials".to_owned()),
            403 => ("Forbidden", words.to_owned()),
            _ => ("InternalError", format!("an error on the server ({words:?}) has prevented the request from succeeding")),
        };
        let details = json!({"name": pod, "kind": "pods/log"});
        Err(failure(code, reason, &format!("{message} ( pods/log {pod})"), details))
    }

    /// The refusal of an upgrade, which the API server passes on (apimachinery pkg/util/proxy/upgradeaware.go, tryUpgrade).
    pub(super) fn refuse_upgrade(self, headers: &HeaderMap) -> Result<(), Refusal> {
        match self.refusal() {
            _ if self == Self::Down => Err(upgrade_unreached(REFUSED)),
            Some((code, words)) => Err(Box::new(text(code, words))),
            None if !is_acceptable(headers) => Err(Box::new(text(406, "406: Not Acceptable\n\nAvailable representations: "))),
            None => Ok(()),
        }
    }
}

/// Whether the kubelet's route accepts the request's `Accept`. The port-forward routes declare no content type (kubernetes
/// pkg/kubelet/server/server.go, InstallAuthRequiredHandlers), so only `*/*` or no header matches (go-restful jsr311.go,
/// detectRoute; route.go, matchesAccept).
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

/// A log that the API server does not reach, in net/http's words (apiserver pkg/endpoints/handlers/get.go).
pub(super) fn log_unreached(pod: &str, container: &str, words: &str) -> Refusal {
    let words = format!("Get \"https://192.0.2.10:10250/containerLogs/hubble-system/{pod}/{container}\": {words}");
    failure(500, "InternalError", &words, Value::Null)
}

/// A port-forward that does not reach the kubelet (apimachinery pkg/util/proxy/dial.go).
pub(super) fn upgrade_unreached(words: &str) -> Refusal {
    failure(500, "InternalError", &format!("error dialing backend: {words}"), Value::Null)
}

/// What a kubelet writes into a log's answer after the runtime has lost the file: the header was already sent (kubernetes
/// pkg/kubelet/kubelet_pods.go, GetKubeletContainerLogs; kuberuntime_container.go, GetContainerLogs).
pub(super) fn no_log_file(container: &str) -> String {
    format!("unable to retrieve container logs for {container}")
}

/// A pod that is not scheduled yet (kubernetes pkg/registry/core/pod/strategy.go, streamLocation).
pub(super) fn no_host(pod: &str) -> Refusal {
    bad_request(&format!("pod {pod} does not have a host assigned"))
}
