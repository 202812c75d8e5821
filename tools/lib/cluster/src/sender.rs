//! Sends a request to the API server: with our TLS, route and credentials; an error status becomes an error with the
//! server's text.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::header::{ACCEPT, AUTHORIZATION, HOST, HeaderName, HeaderValue, UPGRADE};
use http::{Request, StatusCode};
use jiff::{SignedDuration, Timestamp};
use kube::client::Body;
use scar_http::{RawRequest, Response, Route, Url, Wire};
use scar_tool::{Console, Failure};
use scar_trust::Trust;
use secrecy::ExposeSecret;

use crate::credential::{Credential, Identity};
use crate::{Access, Error};

/// How long an answer may take to begin.
// An admission webhook may take 30 s (kubernetes pkg/apis/admissionregistration/validation/validation.go); after that the API
// server still has to name it.
pub(crate) const ANSWER: Duration = Duration::from_secs(35);

/// How the path of a log ends.
pub(crate) const LOG: &str = "/log";

/// The state that all requests share.
pub(crate) struct Sender {
    /// The API server's URL, as in the kubeconfig.
    pub(crate) server: Url,
    /// The same for messages, without a final slash.
    pub(crate) address: String,
    /// The URL to send to: it has the host whose name TLS sends (see [`Route`]).
    pub(crate) target: Url,
    /// The `Host` header, if it is not the target's.
    pub(crate) host: Option<HeaderValue>,
    pub(crate) place: String,
    pub(crate) cluster_name: String,
    pub(crate) trust: Trust,
    pub(crate) route: Route,
    pub(crate) credential: Credential,
    pub(crate) impersonate: Vec<(HeaderName, HeaderValue)>,
    /// The client, and the plugin's certificate in it.
    pub(crate) wire: Mutex<Option<(Wire, Option<String>)>>,
    /// The server's clock minus ours, from its last answer.
    pub(crate) skew: Mutex<Option<SignedDuration>>,
    pub(crate) console: Console,
}

impl Sender {
    /// The HTTP client; rebuilt if a plugin returned another certificate.
    pub(crate) fn wire(&self, issued: Option<&Identity>) -> Result<Wire, Failure> {
        let mut kept = self.wire.lock().unwrap_or_else(PoisonError::into_inner);
        let certificate = issued.map(|(certificate, _)| certificate.clone());
        if let Some((wire, built_with)) = &*kept
            && *built_with == certificate
        {
            return Ok(wire.clone());
        }
        let trust = self.trust.clone();
        let trust = match issued.filter(|_| !trust.has_identity()) {
            Some((certificate, key)) => {
                trust.with_identity(certificate.as_bytes(), key.expose_secret().as_bytes(), "the exec plugin")?
            }
            None => trust,
        };
        let wire = Wire::new(&trust, true, &self.route, &self.console)?;
        *kept = Some((wire.clone(), certificate));
        Ok(wire)
    }

    /// Sends a request, and renews its credential once if the server refuses it. An error status becomes an error with the
    /// server's text.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response, Error> {
        let (mut head, body) = request.into_parts();
        let body = body.collect_bytes().await.map_err(Error::of)?;
        let path = head.uri.path().to_owned();
        let shown = format!("{} {}{path}", head.method, self.address);
        let mut url = self.target.clone();
        // A server's URL may have a path, if a proxy such as Rancher's moved the API below it (client-go rest/url_utils.go,
        // `DefaultServerURL`).
        url.set_path(&format!("{}{path}", url.path().trim_end_matches('/')));
        url.set_query(head.uri.query());
        // The API server forwards an upgrade to the kubelet with our headers. The kubelet's port-forward routes declare no
        // content type, so go-restful answers 406 to any Accept but `*/*` (kubernetes pkg/kubelet/server/server.go,
        // go-restful route.go, matchesAccept).
        if !head.headers.contains_key(ACCEPT) && !path.ends_with(LOG) && !head.headers.contains_key(UPGRADE) {
            head.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        }
        if let Some(host) = &self.host {
            head.headers.insert(HOST, host.clone());
        }
        // Appended: each group and extra value has a header of its own (Kubernetes documentation, "User Impersonation").
        for (name, value) in &self.impersonate {
            head.headers.append(name, value.clone());
        }
        let mut was_refused = false;
        loop {
            let (header, issued) = self.credential.get(was_refused).await?;
            let wire = self.wire(issued.as_ref())?;
            let mut request = RawRequest::new(head.method.clone(), url.clone());
            *request.headers_mut() = head.headers.clone();
            request.headers_mut().extend(header.map(|header| (AUTHORIZATION, header)));
            if !body.is_empty() {
                *request.body_mut() = Some(body.clone().into());
            }
            self.console.trace(|| format!("> {shown}"));
            let begun = Instant::now();
            let answer = tokio::time::timeout(ANSWER, wire.send(request, shown.clone())).await;
            let answer = answer.map_err(|_| Error::silent(shown.clone(), ANSWER))??;
            self.note_date(answer.date(), begun.elapsed());
            let status = answer.status();
            // A port-forward switches protocols.
            if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(answer);
            }
            // A token may end before its date, if the cluster's clock is ahead or it was revoked. client-go asks the plugin
            // again, too (plugin/pkg/client/auth/exec/exec.go, `maybeRefreshCreds`).
            if status == StatusCode::UNAUTHORIZED && !was_refused && self.credential.is_renewable() {
                was_refused = true;
                continue;
            }
            return Err(Error::refused(answer, &Access::of(head.method.as_str(), &path)).await);
        }
    }

    fn note_date(&self, date: Option<std::time::SystemTime>, took: Duration) {
        let Some(date) = date.and_then(|date| Timestamp::try_from(date).ok()) else { return };
        // The header has whole seconds (RFC 9110, 5.6.7), and was written at some moment between request and answer.
        let half = SignedDuration::from_millis(500) + SignedDuration::try_from(took / 2).unwrap_or_default();
        let skew = date.duration_since(Timestamp::now()) + half;
        *self.skew.lock().unwrap_or_else(PoisonError::into_inner) = Some(skew);
    }
}
