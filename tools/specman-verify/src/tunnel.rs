//! The API server's port-forward over one WebSocket, with one or more connections to the same port of a pod inside.
//!
//! Each port of the request gets two channels, data and error, and each of their first frames is the port again
//! (kubernetes staging/src/k8s.io/cri-streaming/pkg/streaming/portforward/websocket.go, handleWebSocketStreams). The kubelet
//! does not mind a port that is named more than once, and connects to it each time. So many connections cost one upgrade,
//! with its two TLS handshakes, which is what a server that closes after each answer needs.
//!
//! The protocol has no end of a single channel: that of the last one is the end of the WebSocket.

use futures::stream::{SelectAll, SplitSink};
use futures::{SinkExt, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::Resource as _;
use scar_cluster::{Cluster, Error};
use tokio::io::{AsyncWriteExt, DuplexStream, WriteHalf};
use tokio::sync::oneshot;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::io::ReaderStream;

use bytes::{BufMut, Bytes, BytesMut};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;

/// The most connections in one tunnel: their channels are numbered in a byte.
pub(crate) const MOST: usize = 16;
/// How much one connection buffers on each way.
const BUFFER: usize = 256 * 1024;
/// How much of an answer that nobody reads any more is passed over before the whole tunnel is given up.
const LEFTOVER: usize = 64 * 1024;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// One connection to the pod's port.
pub(crate) struct Stream {
    pub(crate) data: DuplexStream,
    /// The kubelet's words, if the connection did not come about or broke.
    pub(crate) error: oneshot::Receiver<String>,
}

/// Opens `count` connections to `port` of `pod`.
///
/// # Errors
/// What the API server or the kubelet refused.
pub(crate) async fn open(cluster: &Cluster, pod: &str, port: u16, count: usize) -> Result<Vec<Stream>, Error> {
    let count = count.clamp(1, MOST);
    let ports = vec![port.to_string(); count].join(",");
    let path = format!("{}/{pod}/portforward?ports={ports}", Pod::url_path(&(), Some(cluster.namespace())));
    let request = http::Request::get(path).body(Vec::new()).map_err(|error| Error::of(kube::Error::HttpError(error)))?;
    let socket = cluster.client().connect(request).await.map_err(Error::of)?.into_stream();
    let (streams, ends): (Vec<_>, Vec<_>) = (0..count).map(|_| pair()).unzip();
    tokio::spawn(carry(socket, ends));
    Ok(streams)
}

/// The tunnel's end of a connection.
struct End {
    stream: DuplexStream,
    failed: oneshot::Sender<String>,
}

fn pair() -> (Stream, End) {
    let (data, stream) = tokio::io::duplex(BUFFER);
    let (failed, error) = oneshot::channel();
    (Stream { data, error }, End { stream, failed })
}

/// What the tunnel keeps of a connection.
struct Channel {
    /// Absent once nobody reads any more.
    writer: Option<WriteHalf<DuplexStream>>,
    failed: Option<oneshot::Sender<String>>,
    /// Whether the first frame of data and of error has come: the port.
    begun: [bool; 2],
    leftover: usize,
}

/// Carries bytes both ways until either side is through. The streams then end with it.
async fn carry(socket: Socket, ends: Vec<End>) {
    let (mut sink, mut source) = socket.split();
    let mut from_us = SelectAll::new();
    let mut channels = Vec::new();
    for (number, end) in (0u8..).step_by(2).zip(ends) {
        let (reader, writer) = tokio::io::split(end.stream);
        from_us.push(ReaderStream::new(reader).map(move |bytes| (number, bytes)));
        channels.push(Channel { writer: Some(writer), failed: Some(end.failed), begun: [false; 2], leftover: 0 });
    }
    loop {
        tokio::select! {
            message = source.next() => match message {
                Some(Ok(Message::Binary(frame))) => {
                    if take(&mut channels, frame).await.is_none() {
                        break;
                    }
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                Some(Ok(_)) => {}
            },
            bytes = from_us.next() => match bytes {
                Some((number, Ok(bytes))) => {
                    if send(&mut sink, number, &bytes).await.is_none() {
                        break;
                    }
                }
                Some((_, Err(_))) => {}
                // All streams are dropped.
                None => break,
            },
        }
    }
    // The peer may be gone already.
    let _ = sink.close().await;
}

async fn send(sink: &mut SplitSink<Socket, Message>, number: u8, bytes: &[u8]) -> Option<()> {
    let mut frame = BytesMut::with_capacity(bytes.len() + 1);
    frame.put_u8(number);
    frame.extend_from_slice(bytes);
    sink.send(Message::Binary(frame.freeze())).await.ok()
}

/// Takes a frame from the pod; `None` if the tunnel is of no more use.
async fn take(channels: &mut [Channel], mut frame: Bytes) -> Option<()> {
    if frame.is_empty() {
        return Some(());
    }
    let number = usize::from(frame.split_to(1)[0]);
    let channel = channels.get_mut(number / 2)?;
    if !std::mem::replace(&mut channel.begun[number % 2], true) {
        return Some(());
    }
    if number % 2 == 1 {
        // One error ends a connection; who does not wait for it any more needs no words.
        channel.failed.take().map(|failed| failed.send(String::from_utf8_lossy(&frame).into_owned()));
        channel.writer = None;
        return Some(());
    }
    if let Some(writer) = &mut channel.writer
        && writer.write_all(&frame).await.is_ok()
    {
        return Some(());
    }
    channel.writer = None;
    channel.leftover += frame.len();
    (channel.leftover <= LEFTOVER).then_some(())
}
