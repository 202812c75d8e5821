//! The cluster, and how its errors are told.

use std::sync::{Arc, PoisonError};

use jiff::SignedDuration;
use scar_tool::{Console, Failure};

use crate::Error;
use crate::sender::Sender;

/// The cluster, ready for requests. Cloning is cheap.
#[derive(Clone)]
pub struct Cluster {
    client: kube::Client,
    namespace: String,
    sender: Arc<Sender>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cluster({}, {})", self.sender.server, self.namespace)
    }
}

impl Cluster {
    pub(crate) fn new(client: kube::Client, namespace: String, sender: Arc<Sender>) -> Self {
        Self { client, namespace, sender }
    }

    /// kube's client; its errors are for [`Error::of`].
    pub fn client(&self) -> &kube::Client {
        &self.client
    }

    /// The namespace that the options name.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The context and its files, for messages.
    pub fn place(&self) -> &str {
        &self.sender.place
    }

    /// The server's clock less ours, as its last answer told, exact to about half a second.
    pub fn skew(&self) -> Option<SignedDuration> {
        *self.sender.skew.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The API server's address.
    pub fn server(&self) -> String {
        self.sender.address()
    }

    /// The address of the proxy through which it is reached; `None` where it is reached directly.
    pub fn proxy(&self) -> Option<&str> {
        self.sender.proxy.as_deref()
    }

    /// Until when the server's certificate holds, in seconds since 1970, once it was seen.
    pub fn certificate_until(&self) -> Option<u64> {
        self.sender.seen.until()
    }

    pub(crate) fn console(&self) -> &Console {
        &self.sender.console
    }

    /// The failure to show for an error; `act` is what was being done, in lower case with its operand.
    pub fn failure(&self, act: &str, error: &Error) -> Failure {
        let place = self.place();
        match error {
            Error::Untrusted { untrusted, .. } => {
                let port = self.sender.server.port_u16().unwrap_or(443);
                let host = self.sender.server.host().unwrap_or_default();
                let failure = untrusted.failure(act, &format!("{host}:{port}"));
                match untrusted.reason {
                    scar_trust::Reason::WrongName => failure.hint(format!(
                        "set tls-server-name to one of its names: kubectl config set-cluster {} --tls-server-name NAME",
                        self.sender.cluster_name
                    )),
                    scar_trust::Reason::Expired | scar_trust::Reason::NotYetValid => failure,
                    _ => failure.hint(format!(
                        "compare the SHA-256 with the cluster's administrator; then trust it: openssl s_client -connect {host}:{port} \
                         </dev/null | openssl x509 >server.pem; kubectl config set-cluster {} --embed-certs --certificate-authority=server.pem",
                        self.sender.cluster_name
                    )),
                }
            }
            Error::Credential(failure) => (**failure).clone(),
            Error::Status { status, access: Some(access), words, .. } if status.as_u16() == 403 => {
                let Some(access) = access.refused(words) else {
                    return Failure::new(error.exit(), format!("{act}: {error}"))
                        .hint("a policy of the cluster refuses it, whatever the permissions: ask the cluster's administrator");
                };
                let failure = Failure::new(error.exit(), format!("{act}: no permission to {access}: {error}"));
                match words.contains("system:anonymous") {
                    true => failure.hint(format!("the request came without a login: does {place} hold a token or a client certificate?")),
                    false => failure.hint(access.rule()),
                }
            }
            Error::Status { status, .. } if status.as_u16() == 401 => {
                Failure::new(error.exit(), format!("{act}: the cluster does not accept the credentials of {place}: {error}"))
                    .hint("the token or certificate may have expired: log in again, or download the admin kubeconfig anew")
            }
            Error::Status { status, is_absent: false, .. } if status.as_u16() == 404 => {
                Failure::new(error.exit(), format!("{act}: {error}")).hint(format!("is the server of {place} a Kubernetes API server?"))
            }
            Error::Identity { .. } => Failure::new(error.exit(), format!("{act}: {error}"))
                .hint(format!("does {place} hold a client certificate, and one of this cluster? download the kubeconfig anew")),
            Error::Proxy { refused: true, .. } => Failure::new(error.exit(), format!("{act}: {error}"))
                .hint("give the proxy's login in HTTPS_PROXY, or reach the API server without it: NO_PROXY, --no-proxy"),
            Error::Proxy { .. } => Failure::new(error.exit(), format!("{act}: {error}"))
                .hint("the proxy must allow CONNECT to the API server, or it be reached without: NO_PROXY, --no-proxy"),
            Error::Connect { cause, .. } if cause == scar_trust::OLD_TLS => Failure::new(error.exit(), format!("{act}: {error}"))
                .hint("the API server, or the proxy before it, must be set up for TLS 1.2 or 1.3"),
            Error::Connect { .. } | Error::Broken { .. } => Failure::new(error.exit(), format!("{act}: {error}")).hint(format!(
                "check the server's address in {place}, route and firewall (HTTPS_PROXY, NO_PROXY, --no-proxy); it is safe to run this step again"
            )),
            Error::Status { .. } if error.is_transient() => Failure::new(error.exit(), format!("{act}: {error}"))
                .hint("the cluster has a problem; it is safe to run this step again"),
            Error::Status { status, .. } if status.is_redirection() => Failure::new(error.exit(), format!("{act}: {error}"))
                .hint(format!("redirects are not followed, since credentials would go along: is the server of {place} the API server itself?")),
            _ => Failure::new(error.exit(), format!("{act}: {error}")),
        }
    }
}
