//! A connection that a request can cut: with a reset, or after everything written was sent.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll};

use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;

const OPEN: u8 = 0;
const CLOSED: u8 = 1;
const RESET: u8 = 2;

/// A connection's handle for its requests.
#[derive(Default)]
pub(crate) struct Link {
    state: AtomicU8,
    blocked: AtomicBool,
    cut: Notify,
}

impl Link {
    /// Resets the connection (RST) and drops its requests.
    pub(crate) fn reset(&self) {
        self.state.store(RESET, Ordering::SeqCst);
        self.cut.notify_one();
    }

    /// Closes the connection (FIN, no TLS close_notify) and drops its requests.
    pub(crate) fn close(&self) {
        self.state.store(CLOSED, Ordering::SeqCst);
        self.cut.notify_one();
    }

    /// Resolves when the connection must end.
    pub(crate) async fn ended(&self) {
        while self.state.load(Ordering::SeqCst) == OPEN {
            self.cut.notified().await;
        }
    }

    /// Whether the last write was incomplete, because the client is not reading.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::SeqCst)
    }
}

/// The socket, below TLS.
pub(crate) struct Wire {
    stream: TcpStream,
    link: Arc<Link>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, link: Arc<Link>) -> Self {
        Self { stream, link }
    }

    fn wrote(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.link.blocked.store(result.is_pending(), Ordering::SeqCst);
        result
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.link.state.load(Ordering::SeqCst) == RESET {
            // A closed socket needs no reset.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(result)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
