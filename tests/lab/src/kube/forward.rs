//! `…/pods/NAME/portforward` over WebSocket, as the kubelet frames it: two channels for each port, data and error, each
//! beginning with the port in two bytes, the low one first (kubelet, `cri/streaming/portforward/websocket.go`).
//!
//! The other end is registered with [`Cluster::serve_port`]: the lab's Specman of that pod. A forward ends with the pod,
//! with [`Cluster::cut_forwards`], or when both ends are finished. SPDY, which kubectl uses, is not supported.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use futures::{SinkExt as _, StreamExt as _};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::Cluster;
use super::kubelet;
use super::pods::{Cut, PodState};
use super::resource::Target;
use super::status::{Refusal, bad_request, not_found};

/// The one subprotocol of the WebSocket.
const PROTOCOL: &str = "v4.channel.k8s.io";

impl Cluster {
    /// Forwards connections to `port` of the pod `pod` in `hubble-system`, and of its successors, to `to`.
    pub fn serve_port(&self, pod: &str, port: u16, to: SocketAddr) {
        self.change(|state| state.ports.insert((pod.to_owned(), port), to));
    }

    /// Cuts a pod's open forwards.
    pub fn cut_forwards(&self, pod: &str, cut: Cut) {
        self.change_pod(pod, |pod| {
            pod.forward_cuts += 1;
            pod.forward_cut = cut;
        });
    }

    /// The number of a pod's open forwards.
    pub fn forwards(&self, pod: &str) -> usize {
        let uid = self.pod_uid(pod);
        let state = self.lock();
        uid.and_then(|uid| state.pods.get(&uid)).map_or(0, |pod| pod.forwards)
    }

    /// Blocks until exactly `count` forwards to a pod are open; returns false after `limit`.
    pub fn wait_for_forwards(&self, pod: &str, count: usize, limit: Duration) -> bool {
        self.wait(limit, |cluster| cluster.forwards(pod) == count)
    }
}

/// Whether the request asks for a WebSocket.
pub(super) fn is_websocket(headers: &HeaderMap) -> bool {
    let says = |name, word: &str| {
        let value = headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
        value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word))
    };
    says(CONNECTION, "upgrade") && says(UPGRADE, "websocket")
}

/// Opens a forward to the pod that `target` names.
pub(super) fn open(
    cluster: &Arc<Cluster>,
    target: &Target<'_>,
    query: &HashMap<String, String>,
    head: &mut Parts,
) -> Result<Response<Body>, Refusal> {
    let name = target.name.as_deref().unwrap_or_default();
    let protocols = head.headers.get(SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let key = head.headers.get(SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    let upgrade = head.extensions.remove::<OnUpgrade>();
    let speaks = is_websocket(&head.headers) && protocols.split(',').any(|protocol| protocol.trim() == PROTOCOL);
    let Some((key, upgrade)) = key.zip(upgrade).filter(|_| speaks) else {
        return Err(bad_request("unable to upgrade: the lab forwards over WebSocket with v4.channel.k8s.io alone"));
    };
    let ports = ports(query)?;
    let changes = cluster.changes.subscribe();
    let mut state = cluster.lock();
    let object = state.objects.get("pods", &target.namespace, name).ok_or_else(|| not_found(target.resource, name))?;
    let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    let pod = state.pods.get(&uid).filter(|pod| pod.state != PodState::Pending);
    let pod = pod.ok_or_else(|| kubelet::no_host(name))?;
    if pod.state == PodState::NodeLost {
        return Err(kubelet::upgrade_unreached("dial tcp 192.0.2.10:10250: i/o timeout"));
    }
    state.kubelet.refuse_upgrade(&head.headers)?;
    let Some(pod) = state.pods.get_mut(&uid) else { return Err(kubelet::no_host(name)) };
    pod.forwards += 1;
    let cuts = pod.forward_cuts;
    drop(state);
    cluster.notify();
    let forward = Forward { cluster: cluster.clone(), changes, uid, name: name.to_owned(), ports, cuts };
    tokio::spawn(async move {
        // A client that is gone before the upgrade needs no answer.
        if let Ok(upgraded) = upgrade.await {
            forward.run(upgraded).await;
        }
    });
    Ok(switching(&key))
}

fn switching(accept: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    if let Ok(accept) = HeaderValue::from_str(accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

/// The ports of the query, in the order of their channels.
fn ports(query: &HashMap<String, String>) -> Result<Vec<u16>, Refusal> {
    let Some(text) = query.get("ports").filter(|text| !text.is_empty()) else {
        return Err(bad_request("query parameter \"port\" is required"));
    };
    let port = |text: &str| match text.trim().parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(bad_request(&format!("unable to parse \"{text}\" as a port"))),
    };
    text.split(',').map(port).collect()
}

/// An open forward, counted in its pod until it is dropped.
struct Forward {
    cluster: Arc<Cluster>,
    changes: watch::Receiver<u64>,
    uid: String,
    name: String,
    ports: Vec<u16>,
    cuts: u64,
}

impl Forward {
    async fn run(mut self, upgraded: Upgraded) {
        let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        let (mut sink, mut stream) = socket.split();
        let (to_client, mut from_pod) = mpsc::channel(4);
        let mut writers = Vec::new();
        for (channel, port) in (0..).step_by(2).zip(self.ports.clone()) {
            for channel in [channel, channel + 1] {
                if sink.send(frame(channel, &port.to_le_bytes())).await.is_err() {
                    return;
                }
            }
            match self.connect(port).await {
                Ok(pod) => {
                    let (reader, writer) = pod.into_split();
                    tokio::spawn(send_to_client(reader, channel, to_client.clone()));
                    writers.push(Some(writer));
                }
                Err(words) => {
                    writers.push(None);
                    if sink.send(frame(channel + 1, words.as_bytes())).await.is_err() {
                        return;
                    }
                }
            }
        }
        // From here on the channel ends with the last port.
        drop(to_client);
        let mut open = writers.iter().any(Option::is_some);
        while open {
            tokio::select! {
                message = from_pod.recv() => match message {
                    Some(message) => {
                        if sink.send(message).await.is_err() {
                            return;
                        }
                    }
                    None => open = false,
                },
                message = stream.next() => match message {
                    Some(Ok(Message::Binary(bytes))) => give(&mut writers, &bytes).await,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => {}
                },
                cut = self.ended() => match cut {
                    Cut::End => open = false,
                    Cut::Break => return,
                },
            }
        }
        // The client may be gone already.
        let _ = sink.close().await;
    }

    /// The pod's end of a port.
    async fn connect(&self, port: u16) -> Result<TcpStream, String> {
        let address = {
            let state = self.cluster.lock();
            let runs = state.pods.get(&self.uid).is_some_and(|pod| pod.containers.iter().any(|c| c.running().is_some()));
            state.ports.get(&(self.name.clone(), port)).copied().filter(|_| runs)
        };
        let stream = match address {
            Some(address) => TcpStream::connect(address).await.ok(),
            None => None,
        };
        stream.ok_or_else(|| {
            format!(
                "error forwarding port {port} to pod {0}, uid {0}: failed to connect to localhost:{port} inside namespace \
                 \"{0}\", IPv4: dial tcp4 127.0.0.1:{port}: connect: connection refused",
                self.uid
            )
        })
    }

    /// Resolves when the pod or the test ends it.
    async fn ended(&mut self) -> Cut {
        loop {
            self.changes.borrow_and_update();
            {
                let state = self.cluster.lock();
                match state.pods.get(&self.uid) {
                    Some(pod) if pod.forward_cuts > self.cuts => return pod.forward_cut,
                    Some(pod) if !pod.gone && pod.containers.iter().any(|c| c.running().is_some()) => {}
                    _ => return Cut::Break,
                }
            }
            if self.changes.changed().await.is_err() {
                return Cut::Break;
            }
        }
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        if let Some(pod) = self.cluster.lock().pods.get_mut(&self.uid) {
            pod.forwards -= 1;
        }
        self.cluster.notify();
    }
}

fn frame(channel: u8, bytes: &[u8]) -> Message {
    let mut frame = Vec::with_capacity(bytes.len() + 1);
    frame.push(channel);
    frame.extend_from_slice(bytes);
    Message::Binary(Bytes::from(frame))
}

/// Copies a pod's data to the client until its end.
async fn send_to_client(mut pod: OwnedReadHalf, channel: u8, to_client: mpsc::Sender<Message>) {
    let mut buffer = vec![0; 32 * 1024];
    while let Ok(size @ 1..) = pod.read(&mut buffer).await {
        if to_client.send(frame(channel, &buffer[..size])).await.is_err() {
            return;
        }
    }
}

/// Passes one frame of the client to the pod; data for a closed port is lost.
async fn give(writers: &mut [Option<OwnedWriteHalf>], frame: &[u8]) {
    let Some((channel, bytes)) = frame.split_first() else { return };
    let Some(writer) = writers.get_mut(usize::from(channel / 2)).filter(|_| channel.is_multiple_of(2)) else { return };
    if let Some(pod) = writer
        && pod.write_all(bytes).await.is_err()
    {
        *writer = None;
    }
}
