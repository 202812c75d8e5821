//! A port-forward of our own to one pod: kube's, over WebSocket, with TLS and HTTP inside. Nothing listens on this host.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use rustls_pki_types::ServerName;
use scar_cluster::{Cluster, Error};
use scar_http::Origin;
use scar_tool::{Exit, Failure};
use scar_trust::Reason;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;

use crate::fault::Fault;

/// How long TLS and what is below it may take to come about.
const CONNECT: Duration = Duration::from_secs(30);

/// What every forward to one pod shares.
pub(crate) struct Forward {
    /// The cluster.
    pub(crate) cluster: Cluster,
    /// The pod's name.
    pub(crate) pod: String,
    /// The port on which it listens.
    pub(crate) port: u16,
    /// TLS towards Specman; none where it speaks plain HTTP.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// Whether the pod was reached once: then its absence may pass.
    pub(crate) met: AtomicBool,
}

impl Forward {
    /// A connection to the pod, ready for requests.
    ///
    /// # Errors
    /// What stood in the way: what may pass apart from what will not.
    pub(crate) async fn connect(&self, origin: &Origin) -> Result<SendRequest<Empty<Bytes>>, Fault> {
        let limit = tokio::time::timeout(CONNECT, self.open(origin)).await;
        limit.unwrap_or_else(|_| Err(Fault::passing(format!("no connection within {} s", CONNECT.as_secs()))))
    }

    async fn open(&self, origin: &Origin) -> Result<SendRequest<Empty<Bytes>>, Fault> {
        let pods: Api<Pod> = Api::namespaced(self.cluster.client().clone(), self.cluster.namespace());
        let forward = pods.portforward(&self.pod, &[self.port]).await;
        let mut forward = forward.map_err(|error| self.refused(&Error::of(error)))?;
        let (Some(stream), Some(error)) = (forward.take_stream(self.port), forward.take_error(self.port)) else {
            return Err(Fault::passing("the port-forward came without its port"));
        };
        let opened = async {
            match &self.tls {
                None => self.speak(stream).await,
                Some(tls) => {
                    let name = ServerName::try_from(origin.host());
                    let name = name.map_err(|_| Failure::misuse(format!("use '{origin}': it is no server's name")))?;
                    let connected = TlsConnector::from(tls.clone()).connect(name, stream).await;
                    self.speak(connected.map_err(|error| self.tls_failed(&error, origin))?).await
                }
            }
        };
        let mut told = std::pin::pin!(error);
        let opened = tokio::select! {
            biased;
            words = &mut told => match words {
                Some(words) => Err(Fault::passing(scar_tool::bounded(words.as_bytes()))),
                // Its end without words says no more than that the forward has ended.
                None => Err(Fault::passing("the port-forward ended")),
            },
            opened = opened => opened,
        };
        if opened.is_ok() {
            self.met.store(true, Ordering::Relaxed);
        }
        opened
    }

    async fn speak<S>(&self, stream: S) -> Result<SendRequest<Empty<Bytes>>, Fault>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let spoken = handshake(TokioIo::new(stream)).await;
        let (sender, connection) = spoken.map_err(|error| Fault::passing(error.to_string()))?;
        // How it ends is seen by the requests on it.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    fn refused(&self, error: &Error) -> Fault {
        let act = format!("forward port {} of pod '{}'", self.port, self.pod);
        let gone = error.status() == Some(404) && self.met.load(Ordering::Relaxed);
        // A pod that is on no node yet is a 400.
        if error.is_transient() || gone || error.status() == Some(400) {
            return Fault::passing(error.to_string());
        }
        let failure = self.cluster.failure(&act, error);
        match error.status() {
            Some(403) => {
                let rule = "{apiGroups: [\"\"], resources: [\"pods/portforward\"], verbs: [\"get\", \"create\"]}";
                let namespace = self.cluster.namespace();
                failure.hint(format!(
                    "ask for a Role in '{namespace}' with the rule {rule}, or go round the cluster with --url from where Specman's service is reachable"
                ))
            }
            Some(404) => failure.hint("is Specman deployed? see kubectl get pods; --statefulset and --namespace name another"),
            _ => failure,
        }
        .into()
    }

    fn tls_failed(&self, error: &std::io::Error, origin: &Origin) -> Fault {
        let act = format!("connect to pod '{}'", self.pod);
        if let Some(untrusted) = scar_trust::untrusted(error) {
            let failure = untrusted.failure(&act, &origin.address());
            return match untrusted.reason {
                Reason::WrongName => failure.hint("name one of its names: --server-name NAME"),
                Reason::Expired | Reason::NotYetValid | Reason::Replaced => failure,
                _ => failure.hint(format!(
                    "compare the SHA-256 with the certificate in the cluster's secret; then trust it: kubectl -n {} port-forward {} {port} & \
                     openssl s_client -connect 127.0.0.1:{port} </dev/null | openssl x509 >specman.pem, and --ca-file specman.pem; or --insecure",
                    self.cluster.namespace(),
                    self.pod,
                    port = self.port
                )),
            }
            .into();
        }
        match scar_trust::explained(error) {
            Some(cause) => Failure::new(Exit::Unreachable, format!("{act}: {cause}"))
                .hint("--port names another port, --plain-http a Specman without TLS")
                .into(),
            None => Fault::passing(error.to_string()),
        }
    }
}
