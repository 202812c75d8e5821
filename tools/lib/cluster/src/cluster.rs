//! The cluster, and how its errors are told.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use scar_tool::{Console, Failure, Spelling};
use scar_trust::{Handshake, Tunnel};

use crate::sender::Sender;
use crate::{Access, Error, Refusal};

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

    /// The failure for a request that was given up after `limit`, if an exec plugin has held it up.
    pub(crate) fn overdue(&self, limit: Duration) -> Option<Failure> {
        self.sender.credential.overdue(limit)
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
                    scar_trust::Reason::UnknownIssuer
                    | scar_trust::Reason::CaAsServer
                    | scar_trust::Reason::Unusable => failure.hint(format!(
                        "compare the SHA-256 with the cluster's administrator; then trust it: openssl s_client -connect {host}:{port} \
                         </dev/null | openssl x509 >server.pem; kubectl config set-cluster {} --embed-certs --certificate-authority=server.pem",
                        self.sender.cluster_name
                    )),
                    _ => failure,
                }
            }
            Error::Credential(failure) => (**failure).clone(),
            Error::Status { refusal, .. } if *refusal != Refusal::Other => self.refused(act, refusal, error),
            Error::Status { status, .. } if status.as_u16() == 404 => {
                Failure::new(error.exit(), format!("{act}: {error}")).hint(format!("is the server of {place} a Kubernetes API server?"))
            }
            Error::Tls { verdict: Handshake::CertificateRequired | Handshake::CertificateRefused(_), .. } => {
                Failure::new(error.exit(), format!("{act}: {error}"))
                .hint(format!("does {place} hold a client certificate, and one of this cluster? download the kubeconfig again"))
            }
            Error::Tls { verdict, .. } => Failure::new(error.exit(), format!("{act}: {error}")).hint(verdict.hint(Spelling::default())),
            Error::Proxy { tunnel: Tunnel::Login, .. } => Failure::new(error.exit(), format!("{act}: {error}"))
                .hint("give the proxy's login in HTTPS_PROXY, or reach the API server without it: NO_PROXY, --no-proxy"),
            Error::Proxy { .. } => Failure::new(error.exit(), format!("{act}: {error}"))
                .hint("allow CONNECT to the API server in the proxy, or bypass the proxy: NO_PROXY, --no-proxy"),
            Error::Connect { .. } | Error::Broken { .. } => Failure::new(error.exit(), format!("{act}: {error}")).hint(format!(
                "check the server's address in {place}, route and firewall (HTTPS_PROXY, NO_PROXY, --no-proxy); it is safe to run this step again"
            )),
            Error::Status { .. } if error.is_transient() => Failure::new(error.exit(), format!("{act}: {error}"))
                .hint("the cluster has a problem; it is safe to run this step again"),
            Error::Status { status, .. } if status.is_redirection() => Failure::new(error.exit(), format!("{act}: {error}"))
                .hint(format!("redirects are not followed, because credentials would be sent along: is the server of {place} the API server itself?")),
            _ => Failure::new(error.exit(), format!("{act}: {error}")),
        }
    }

    /// The failure for a refusal whose author is known.
    fn refused(&self, act: &str, refusal: &Refusal, error: &Error) -> Failure {
        let place = self.place();
        let say = |cause: &str| Failure::new(error.exit(), format!("{act}: {cause}: {error}"));
        match refusal {
            Refusal::Login => say(&format!("the cluster does not accept the credentials of {place}"))
                .hint("the token or certificate may have expired: log in again, or download the admin kubeconfig again"),
            Refusal::Permission { access, anonymous } => say(&format!("no permission to {access}")).hint(match anonymous {
                true => format!("the request came without a login: does {place} hold a token or a client certificate?"),
                false => Access::rules([access]),
            }),
            Refusal::Denied { by } => {
                let by = by.as_deref().unwrap_or("a policy of the cluster");
                say(&format!("{by} denies it")).hint("it decides whatever the permissions: ask the cluster's administrator")
            }
            Refusal::Unasked { webhook } => say(&format!("the API server could not ask the admission webhook '{webhook}'")).hint(
                "its service must answer, or its owner take it out (kubectl get \
                 validatingwebhookconfigurations,mutatingwebhookconfigurations); it is safe to run this step again",
            ),
            Refusal::Terminating => say(&format!("namespace '{}' is being deleted", self.namespace))
                .hint("see why: kubectl get namespace NAME -o yaml; or name another with --namespace"),
            Refusal::KubeletLogin => say("the kubelet of the pod's node does not accept the API server's credentials").hint(
                "your own login is good: the cluster's administrator must renew the API server's kubelet client certificate, or the kubelet's client CA",
            ),
            Refusal::KubeletPermission { user } => {
                say("the kubelet of the pod's node does not allow it to the API server").hint(format!(
                    "your own login is good: the API server lacks a cluster role at its kubelets: kubectl create clusterrolebinding \
                     apiserver-kubelet --clusterrole=system:kubelet-api-admin --user={}",
                    scar_tool::shell_word(user)
                ))
            }
            Refusal::KubeletUnreached => say("the API server does not reach the kubelet of the pod's node")
                .hint("is the node Ready (kubectl get nodes)? the control plane must reach its port 10250; it is safe to run this step again"),
            Refusal::Absent | Refusal::Conflict | Refusal::Other => Failure::new(error.exit(), format!("{act}: {error}")),
        }
    }
}
