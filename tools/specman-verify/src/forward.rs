//! Connections to one pod through port-forwards, with TLS and HTTP inside. No port of this host is opened.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use scar_cluster::{Cluster, Error, Refusal};
use scar_http::{Cause, Error as Http, Origin};
use scar_tool::{Failure, Spelling};
use scar_trust::{Handshake, Reason};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;

use crate::tunnel::{self, MOST, Stream};

/// The time limit for a connection, TLS included: more than the 30 s that an admission webhook may take that is asked about
/// the port-forward (Kubernetes documentation, "Dynamic Admission Control", "Timeouts").
const CONNECT: Duration = Duration::from_secs(40);

/// An HTTP connection to the pod.
pub(crate) type Sender = SendRequest<Empty<Bytes>>;

/// What all connections to one pod share.
pub(crate) struct Forward {
    pub(crate) cluster: Cluster,
    pub(crate) pod: String,
    /// The pod's port.
    pub(crate) port: u16,
    /// The origin that the pod's certificate is for.
    pub(crate) origin: Origin,
    /// The TLS client; `None` if Specman speaks plain HTTP.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// Connections that a worker opens in advance. A server that keeps connections alive needs none. The sooner a server closes
/// them, the more connections a tunnel opens at once (see [`tunnel`]).
#[derive(Default)]
pub(crate) struct Spares {
    streams: Vec<Stream>,
    /// How many connections the next tunnel opens.
    size: usize,
    /// Number of answers on the current connection.
    answers: u32,
    /// Whether the last answer's end is known from its length; a tunnel with several connections hides the end of one.
    has_end: bool,
}

impl Spares {
    /// Counts an answer.
    pub(crate) fn answered(&mut self, has_end: bool) {
        self.answers += 1;
        self.has_end = has_end;
    }

    /// Whether the server seems to close connections after each answer.
    pub(crate) fn is_single_use(&self) -> bool {
        self.size > 1
    }

    /// A spare connection, to replace the last one.
    fn next(&mut self) -> Option<Stream> {
        let closes_each = self.answers == 1 && self.has_end;
        self.answers = 0;
        match closes_each {
            true => self.size = (self.size.max(1) * 4).min(MOST),
            false => *self = Self { size: 1, ..Self::default() },
        }
        self.streams.pop()
    }
}

impl Forward {
    /// Connects to the pod, ready for requests.
    ///
    /// # Errors
    /// The cluster's refusals, untrusted certificates, broken connections.
    pub(crate) async fn connect(&self, spares: &mut Spares) -> Result<Sender, Error> {
        let work = async {
            if let Some(stream) = spares.next() {
                match self.begin(stream).await {
                    // The server may have closed it while it was idle.
                    Err(error) if error.is_transient() => *spares = Spares { size: 1, ..Spares::default() },
                    result => return result,
                }
            }
            let opened = tunnel::open(&self.cluster, &self.pod, self.port, spares.size).await;
            spares.streams = opened.map_err(|error| self.refused(error))?;
            match spares.streams.pop() {
                Some(stream) => self.begin(stream).await,
                None => Err(self.broken("the tunnel came without a connection")),
            }
        };
        match tokio::time::timeout(CONNECT, work).await {
            Ok(result) => result,
            Err(_) => Err(self.broken(format!("no connection within {} s", CONNECT.as_secs()))),
        }
    }

    /// Starts TLS and HTTP on a stream.
    async fn begin(&self, stream: Stream) -> Result<Sender, Error> {
        let Stream { data, error } = stream;
        let opened = async {
            let Some(tls) = &self.tls else { return self.speak(data).await };
            let name = ServerName::try_from(self.origin.host());
            let name = name.map_err(|_| Failure::misuse(format!("use '{}': it is no server's name", self.origin)))?;
            let connected = TlsConnector::from(tls.clone()).connect(name, data).await;
            self.speak(connected.map_err(|error| self.tls_failed(&error))?).await
        };
        tokio::select! {
            biased;
            // The stream reports the end of the tunnel as well, with the kubelet's message.
            Ok(words) = error => Err(self.broken(scar_tool::bounded(words.as_bytes()))),
            opened = opened => opened,
        }
    }

    async fn speak<S>(&self, stream: S) -> Result<Sender, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(scar_trust::cause(&error)))?;
        // Errors show up in its requests.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    /// No connection, for now.
    fn broken(&self, cause: impl Into<String>) -> Error {
        let request = format!("port {} of pod '{}'", self.port, self.pod);
        Http { request, cause: Cause::Connect { words: cause.into(), silent: false } }.into()
    }

    fn refused(&self, error: Error) -> Error {
        // 404: the StatefulSet will recreate the pod. 400: it is not scheduled yet (kubernetes
        // pkg/registry/core/pod/strategy.go, PortForwardLocation). A webhook denies with any code.
        let denied = matches!(error.refusal(), Some(Refusal::Denied { .. }));
        if !denied && matches!(error.status(), Some(400 | 404)) {
            return self.broken(error.to_string());
        }
        if error.is_transient() {
            return error;
        }
        let failure = self.cluster.failure(&format!("forward port {} of pod '{}'", self.port, self.pod), &error);
        match error.is_denied() {
            // A WebSocket begins with a GET; since Kubernetes 1.35 it needs the permission of the older POST, too.
            true => {
                let rule = "{apiGroups: [\"\"], resources: [\"pods/portforward\"], verbs: [\"get\", \"create\"]}";
                let namespace = self.cluster.namespace();
                failure.hint(format!(
                    "ask for a Role in '{namespace}' with the rule {rule}, or use --url on a host that reaches Specman's service"
                ))
            }
            false => failure,
        }
        .into()
    }

    fn tls_failed(&self, error: &std::io::Error) -> Error {
        let act = format!("connect to pod '{}'", self.pod);
        let Some(failed) = Handshake::of(error, true) else { return self.broken(scar_trust::cause(error)) };
        let failure = failed.failure(&act, &self.origin.address(), Spelling::default());
        match failed {
            Handshake::Untrusted(untrusted) => match untrusted.reason {
                Reason::WrongName => failure.hint("name one of its names: --server-name NAME"),
                Reason::UnknownIssuer | Reason::CaAsServer | Reason::Unusable => failure.hint(format!(
                    "compare the SHA-256 with the certificate in the cluster's secret; then trust it: kubectl -n {} port-forward {} {port} & \
                     openssl s_client -connect 127.0.0.1:{port} </dev/null | openssl x509 >specman.pem, and --ca-file specman.pem; or --insecure",
                    self.cluster.namespace(),
                    self.pod,
                    port = self.port
                )),
                _ => failure,
            },
            Handshake::NotTls => failure.hint("--port names another port, --plain-http a Specman without TLS"),
            _ => failure,
        }
        .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q76_a_server_that_closes_after_each_answer_gets_larger_tunnels() {
        let mut spares = Spares::default();
        let mut sizes = Vec::new();
        for (answers, has_end) in [(0, false), (1, true), (1, true), (1, true), (7, true), (1, true), (1, false)] {
            (0..answers).for_each(|_| spares.answered(has_end));
            assert!(spares.next().is_none());
            sizes.push(spares.size);
        }
        assert_eq!(sizes, [1, 4, 16, 16, 1, 4, 1]);
    }
}
