//! Bodies: counted in the log, slowed down, or cut by a fault. None is in memory as a whole.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use tokio::time::Sleep;

use super::wire::Link;
use crate::log::RequestLog;

/// A request body that is counted in the log, and may end with a reset.
pub(crate) struct Watched {
    pub(crate) body: Body,
    pub(crate) log: Arc<RequestLog>,
    pub(crate) place: usize,
    pub(crate) link: Arc<Link>,
    /// Bytes until the connection is reset; `None` for never.
    pub(crate) left: Option<u64>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.left == Some(0) {
            self.link.reset();
            return Poll::Pending;
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let Some(Ok(frame)) = frame else {
            return Poll::Ready(frame);
        };
        let frame = match frame.into_data() {
            Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            Ok(data) => cut(data, &mut self.left),
        };
        self.log.received(self.place, &frame);
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.left != Some(0) && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body that is cut after everything before has left the socket.
pub(crate) struct Cut {
    pub(crate) body: Body,
    pub(crate) link: Arc<Link>,
    pub(crate) left: Option<u64>,
    /// Everything allowed was passed on; the writer must flush it.
    pub(crate) flushing: bool,
}

impl HttpBody for Cut {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.left == Some(0) {
            // hyper flushes after a pending body, and polls again when it is woken or the socket can take more.
            if !self.flushing {
                self.flushing = true;
                cx.waker().wake_by_ref();
            } else if !self.link.is_blocked() {
                self.link.close();
            }
            return Poll::Pending;
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            frame.map(|frame| match frame.into_data() {
                Ok(data) => Frame::data(cut(data, &mut self.left)),
                Err(trailers) => trailers,
            })
        }))
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The part of `data` that may pass; reduces `left`.
fn cut(mut data: Bytes, left: &mut Option<u64>) -> Bytes {
    if let Some(left) = left {
        let allowed = usize::try_from(*left).unwrap_or(usize::MAX);
        data.truncate(allowed);
        *left -= data.len() as u64;
    }
    data
}

/// A body that comes in small pieces with pauses between.
pub(crate) struct Slow {
    body: Body,
    bytes: usize,
    every: Duration,
    /// Bytes until it comes at full speed; `None` for never.
    left: Option<u64>,
    ready: Bytes,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Slow {
    pub(crate) fn new(body: Body, bytes: usize, every: Duration) -> Self {
        Self { body, bytes: bytes.max(1), every, left: None, ready: Bytes::new(), pause: None }
    }

    /// Only slow for the first `left` bytes.
    pub(crate) fn at_first(self, left: u64) -> Self {
        Self { left: Some(left), ..self }
    }
}

impl HttpBody for Slow {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        if self.ready.is_empty() {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            let Some(Ok(frame)) = frame else {
                return Poll::Ready(frame);
            };
            match frame.into_data() {
                Ok(data) => self.ready = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        if self.left == Some(0) {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.ready)))));
        }
        let size = self.bytes.min(self.ready.len());
        let piece = self.ready.split_to(size);
        self.left = self.left.map(|left| left.saturating_sub(size as u64));
        self.pause = Some(Box::pin(tokio::time::sleep(self.every)));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        if let Some(exact) = self.body.size_hint().exact() {
            hint.set_exact(exact + self.ready.len() as u64);
        }
        hint
    }
}
