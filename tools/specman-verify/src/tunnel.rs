//! The API server's port-forward over one WebSocket, with one or more connections to the same port of a pod.
//!
//! Each port of the request gets a data and an error channel, whose first frames repeat the port (kubernetes
//! staging/src/k8s.io/cri-streaming/pkg/streaming/portforward/websocket.go, handleWebSocketStreams). The kubelet accepts a
//! port that is named several times and connects to it each time. So many connections need only one upgrade with its two TLS
//! handshakes; a server that closes after each answer needs that.
//!
//! The protocol cannot close a single channel: only closing the WebSocket does.

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

/// The most connections in one tunnel: a channel's number is one byte.
pub(crate) const MOST: usize = 16;
/// The buffer of one connection, in bytes, for each direction.
const BUFFER: usize = 256 * 1024;
/// How many unwanted bytes of an answer are skipped before the whole tunnel is closed.
const LEFTOVER: usize = 64 * 1024;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// A connection to the pod's port.
pub(crate) struct Stream {
    pub(crate) data: DuplexStream,
    /// The kubelet's message, if the connection failed or broke.
    pub(crate) error: oneshot::Receiver<String>,
}

/// Opens `count` connections to `port` of `pod`.
///
/// # Errors
/// Refusals of the API server or the kubelet.
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

/// The tunnel's side of a connection.
struct End {
    stream: DuplexStream,
    failed: oneshot::Sender<String>,
}

fn pair() -> (Stream, End) {
    let (data, stream) = tokio::io::duplex(BUFFER);
    let (failed, error) = oneshot::channel();
    (Stream { data, error }, End { stream, failed })
}

/// The tunnel's state of a connection.
struct Channel {
    /// `None` after the reader is gone.
    writer: Option<WriteHalf<DuplexStream>>,
    failed: Option<oneshot::Sender<String>>,
    /// Whether the first frame of data and error, the port, has arrived.
    begun: [bool; 2],
    leftover: usize,
}

/// Copies bytes both ways until either side is finished; then all streams end.
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
                // All streams are closed.
                None => break,
            },
        }
    }
    // The peer may already be gone.
    let _ = sink.close().await;
}

async fn send(sink: &mut SplitSink<Socket, Message>, number: u8, bytes: &[u8]) -> Option<()> {
    let mut frame = BytesMut::with_capacity(bytes.len() + 1);
    frame.put_u8(number);
    frame.extend_from_slice(bytes);
    sink.send(Message::Binary(frame.freeze())).await.ok()
}

/// Handles a frame from the pod; `None` if the tunnel must be closed.
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
        // An error ends the connection; nobody may be waiting for it any more.
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
