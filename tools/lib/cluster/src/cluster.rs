//! The cluster, and the failures that its errors are shown as.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use scar_http::{Cause, Error as Http};
use scar_tool::{Console, Exit, Failure};
use scar_trust::{Handshake, Proxy, Reason};

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
        write!(f, "Cluster({}, {})", self.sender.address, self.namespace)
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

    /// What to do about a namespace that is being deleted.
    pub(crate) fn terminating_hint(&self) -> String {
        format!("see why: kubectl get namespace {} -o yaml; or name another with --namespace", self.namespace)
    }

    /// The context and its files, for messages.
    pub fn place(&self) -> &str {
        &self.sender.place
    }

    /// The server's clock minus ours, by its last answer, exact to about half a second.
    pub fn skew(&self) -> Option<SignedDuration> {
        *self.sender.skew.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The API server's address.
    pub fn server(&self) -> &str {
        &self.sender.address
    }

    /// The address of the proxy through which it is reached; `None` if it is reached directly.
    pub fn proxy(&self) -> Option<&str> {
        self.sender.route.proxy.as_ref().map(Proxy::address)
    }

    /// Until when the server's certificate holds, in seconds since 1970, once it was seen.
    pub fn certificate_until(&self) -> Option<u64> {
        self.sender.trust.last_handshake().expires()
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
        let error = match error {
            Error::Credential(failure) => return (**failure).clone(),
            Error::Refused { answer, refusal } => return self.refused(act, refusal, answer, error.exit()),
            Error::Http(error) => error,
        };
        let (place, cluster) = (self.place(), &self.sender.cluster_name);
        let failure = error.failure(act);
        match &error.cause {
            Cause::Tls { handshake: Handshake::Untrusted(untrusted), address, .. } => match untrusted.reason {
                Reason::WrongName => failure.hint(format!(
                    "set tls-server-name to one of its names: kubectl config set-cluster {cluster} --tls-server-name NAME"
                )),
                Reason::UnknownIssuer | Reason::CaAsServer | Reason::Unusable => failure.hint(format!(
                    "compare the SHA-256 with the cluster's administrator; then trust it: openssl s_client -connect {address} \
                     </dev/null | openssl x509 >server.pem; kubectl config set-cluster {cluster} --embed-certs --certificate-authority=server.pem"
                )),
                _ => failure,
            },
            Cause::Tls { handshake: Handshake::CertificateRequired | Handshake::CertificateRefused(_), .. } => failure
                .hint(format!("does {place} hold a client certificate, and one of this cluster? download the kubeconfig again")),
            Cause::Connect { .. } | Cause::Broken { .. } => failure.hint(format!(
                "check the server's address in {place}, route and firewall (HTTPS_PROXY, NO_PROXY, --no-proxy); it is safe to run this step again"
            )),
            _ => failure,
        }
    }

    fn refused(&self, act: &str, refusal: &Refusal, answer: &Http, exit: Exit) -> Failure {
        let place = self.place();
        let say = |cause: &str| Failure::new(exit, format!("{act}: {cause}: {answer}"));
        match refusal {
            Refusal::Login => say(&format!("the cluster does not accept the credentials of {place}"))
                .hint("the token or certificate may have expired: log in again, or download the admin kubeconfig again"),
            Refusal::Permission { access, anonymous } => say(&format!("no permission to {access}")).hint(match anonymous {
                true => format!("the request came without a login: does {place} hold a token or a client certificate?"),
                false => Access::rules([access]),
            }),
            Refusal::Denied { by } => {
                let by = by.as_deref().unwrap_or("a policy of the cluster");
                say(&format!("{by} denies it")).hint("no permission overrides a webhook: ask the cluster's administrator for an exception")
            }
            Refusal::Unasked { webhook } => say(&format!("the API server could not ask the admission webhook '{webhook}'")).hint(
                "make the webhook's service answer, or have its owner remove it (kubectl get \
                 validatingwebhookconfigurations,mutatingwebhookconfigurations); it is safe to run this step again",
            ),
            Refusal::Terminating => {
                say(&format!("namespace '{}' is being deleted", self.namespace)).hint(self.terminating_hint())
            }
            Refusal::KubeletLogin => say("the kubelet of the pod's node does not accept the API server's credentials").hint(
                "your own login is good: the cluster's administrator must renew the API server's kubelet client certificate, or the kubelet's client CA",
            ),
            Refusal::KubeletPermission { user } => {
                say("the kubelet of the pod's node does not allow it to the API server").hint(format!(
                    "your own login is good: give the API server a cluster role for its kubelets: kubectl create clusterrolebinding \
                     apiserver-kubelet --clusterrole=system:kubelet-api-admin --user={}",
                    scar_tool::shell_word(user)
                ))
            }
            Refusal::KubeletUnreached => say("the API server does not reach the kubelet of the pod's node")
                .hint("is the node Ready (kubectl get nodes)? the control plane must reach its port 10250, and trust its certificate; it is safe to run this step again"),
            Refusal::Other if exit == Exit::Absent => {
                answer.failure(act).hint(format!("is the server of {place} a Kubernetes API server?"))
            }
            Refusal::Absent | Refusal::Conflict | Refusal::Other => Failure { exit, ..answer.failure(act) },
        }
    }
}
