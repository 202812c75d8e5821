//! One HTTP/1.1 server on loopback: a thread with its own runtime, so that tests need not be async.
//!
//! Every request is logged and offered to the faults before the router. A request without a route is answered 501, and fails
//! its test when the server is dropped. Dropping ends it at once, with all connections.

mod body;
#[cfg(test)]
mod tests;
mod wire;

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::response::{IntoResponse, Response};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls_pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use crate::faults::{Action, Faults};
use crate::log::RequestLog;
use body::{Cut, Slow, Watched};
use wire::{Link, Wire};

/// The length of the connection queue.
const BACKLOG: u32 = 1024;

/// How a server listens, always on 127.0.0.1.
#[derive(Clone, Default)]
pub struct Listener {
    /// The TLS configuration; `None` for plain HTTP.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// The port; 0 for any free one.
    pub port: u16,
    /// The receive buffer in bytes, for a narrow link; `None` for the system's default.
    pub window: Option<u32>,
}

impl Listener {
    /// Plain HTTP on a free port.
    pub fn plain() -> Self {
        Self::default()
    }

    /// HTTPS on a free port.
    pub fn tls(config: Arc<rustls::ServerConfig>) -> Self {
        Self { tls: Some(config), ..Self::default() }
    }
}

/// The connection's client certificates, the leaf first; a request extension, only present if the client gave one.
#[derive(Clone, Debug)]
pub struct PeerCertificates(pub Arc<Vec<CertificateDer<'static>>>);

/// A response extension: no route knew the request.
#[derive(Clone)]
struct Unscripted;

/// The answer to an unexpected request; also for a router that parses paths itself.
pub fn unscripted() -> Response {
    unexpected((StatusCode::NOT_IMPLEMENTED, "the lab has no such route\n").into_response())
}

/// Marks the answer to a request that has a route but must not be sent.
pub fn unexpected(mut response: Response) -> Response {
    response.extensions_mut().insert(Unscripted);
    response
}

struct Shared {
    log: Arc<RequestLog>,
    faults: Arc<Faults>,
    router: Router,
    tls: Option<TlsAcceptor>,
}

/// A server that runs until it is dropped.
pub struct Server {
    addr: SocketAddr,
    secure: bool,
    log: Arc<RequestLog>,
    faults: Arc<Faults>,
    tolerant: AtomicBool,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Binds, starts, and returns when connections are accepted. Replaces the router's fallbacks by [`unscripted`].
    pub fn start(router: Router, listener: Listener) -> Self {
        let log = Arc::new(RequestLog::default());
        let faults = Arc::new(Faults::default());
        let router = router
            .fallback(async || unscripted())
            .method_not_allowed_fallback(async || unscripted())
            .layer(DefaultBodyLimit::disable());
        let secure = listener.tls.is_some();
        let shared =
            Arc::new(Shared { log: log.clone(), faults: faults.clone(), router, tls: listener.tls.map(TlsAcceptor::from) });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let socket = {
            let _inside = runtime.enter();
            bind(listener.port, listener.window).expect("a port on 127.0.0.1")
        };
        let addr = socket.local_addr().expect("a bound socket has an address");
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            runtime.block_on(accept(socket, shared, stopped));
            // Requests in progress end here, also in blocking calls.
            runtime.shutdown_background();
        });
        Self { addr, secure, log, faults, tolerant: AtomicBool::new(false), stop: Some(stop), thread: Some(thread) }
    }

    /// The address it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// `127.0.0.1:PORT`, as a registry reference begins.
    pub fn authority(&self) -> String {
        self.addr.to_string()
    }

    /// `http://127.0.0.1:PORT` or `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        format!("{scheme}://{}", self.addr)
    }

    /// Its log.
    pub fn log(&self) -> &Arc<RequestLog> {
        &self.log
    }

    /// Its faults.
    pub fn faults(&self) -> &Arc<Faults> {
        &self.faults
    }

    /// Answers requests without a route with 501 without failing the test.
    pub fn tolerate_unexpected(&self) {
        self.tolerant.store(true, Ordering::SeqCst);
    }

    /// Panics, naming them, if there were unexpected requests; dropping does the same.
    pub fn assert_expected(&self) {
        if self.tolerant.load(Ordering::SeqCst) {
            return;
        }
        let lines: Vec<_> = self.log.unexpected().iter().map(|r| r.line()).collect();
        assert!(lines.is_empty(), "{} got requests that nobody scripted:\n{}", self.url(), lines.join("\n"));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The receiver is gone only where the thread has ended.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(!matches!(ended, Some(Err(_))), "the lab server panicked");
            self.assert_expected();
        }
    }
}

/// Options of the listening socket apply to the connections that it accepts.
fn bind(port: u16, window: Option<u32>) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    window.map(|bytes| socket.set_recv_buffer_size(bytes)).transpose()?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
    socket.listen(BACKLOG)
}

async fn accept(socket: TcpListener, shared: Arc<Shared>, mut stopped: oneshot::Receiver<()>) {
    loop {
        let stream = tokio::select! {
            _ = &mut stopped => return,
            accepted = socket.accept() => match accepted {
                Ok((stream, _)) => stream,
                // The client was gone before it was accepted.
                Err(_) => continue,
            },
        };
        shared.log.connected();
        let link = Arc::new(Link::default());
        if shared.faults.refuses() {
            link.reset();
        }
        tokio::spawn(connection(stream, link, shared.clone()));
    }
}

async fn connection(stream: TcpStream, link: Arc<Link>, shared: Arc<Shared>) {
    // Otherwise small answers wait for the client's delayed acknowledgement; failure does not matter.
    let _ = stream.set_nodelay(true);
    let wire = Wire::new(stream, link.clone());
    tokio::select! {
        biased;
        () = link.ended() => {}
        () = converse(wire, link.clone(), shared) => {}
    }
}

async fn converse(wire: Wire, link: Arc<Link>, shared: Arc<Shared>) {
    let Some(acceptor) = &shared.tls else {
        return speak(wire, link, None, shared.clone()).await;
    };
    match acceptor.accept(wire).await {
        Err(cause) => shared.log.tls_failed(cause.to_string()),
        Ok(stream) => {
            let peer = stream
                .get_ref()
                .1
                .peer_certificates()
                .map(|chain| PeerCertificates(Arc::new(chain.iter().map(|c| c.clone().into_owned()).collect())));
            speak(stream, link, peer, shared.clone()).await;
        }
    }
}

async fn speak<S>(stream: S, link: Arc<Link>, peer: Option<PeerCertificates>, shared: Arc<Shared>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        if let Some(peer) = &peer {
            request.extensions_mut().insert(peer.clone());
        }
        let (link, shared) = (link.clone(), shared.clone());
        async move { Ok::<_, Infallible>(answer(request, link, shared).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    // How a connection ends does not matter; its requests are in the log.
    let _ = served;
}

async fn answer(request: Request<Incoming>, link: Arc<Link>, shared: Arc<Shared>) -> Response {
    let (head, body) = request.into_parts();
    let place = shared.log.begin(&head);
    let action = shared.faults.take(&head.method, head.uri.path(), head.uri.query());
    let body = match action {
        Some(Action::SlowRead { bytes, every }) => Body::new(Slow::new(Body::new(body), bytes, every)),
        Some(Action::SlowStart { bytes, every }) => Body::new(Slow::new(Body::new(body), 1, every).at_first(bytes)),
        _ => Body::new(body),
    };
    let left = match action {
        Some(Action::ResetAfter(bytes)) => Some(bytes),
        _ => None,
    };
    let body = Body::new(Watched { body, log: shared.log.clone(), place, link: link.clone(), left });
    let request = Request::from_parts(head, body);
    let response = act(action, request, &link, &shared.router).await;
    let unexpected = response.extensions().get::<Unscripted>().is_some();
    shared.log.answered(place, response.status(), unexpected);
    response
}

async fn act(action: Option<Action>, request: Request<Body>, link: &Arc<Link>, router: &Router) -> Response {
    match action {
        Some(Action::Answer(answer)) => {
            if !answer.is_early() {
                drain(request).await;
            }
            answer.response()
        }
        Some(Action::Reset) => {
            link.reset();
            std::future::pending().await
        }
        Some(Action::LoseReply) => {
            let response = route(router, request).await;
            drain_answer(response).await;
            link.reset();
            std::future::pending().await
        }
        Some(Action::Stall) => {
            drain(request).await;
            std::future::pending().await
        }
        Some(Action::Delay(time)) => {
            tokio::time::sleep(time).await;
            route(router, request).await
        }
        Some(Action::CutReply(bytes)) => {
            let (link, left) = (link.clone(), Some(bytes));
            route(router, request).await.map(|body| Body::new(Cut { body, link, left, flushing: false }))
        }
        Some(Action::TrickleReply { bytes, every }) => {
            route(router, request).await.map(|body| Body::new(Slow::new(body, bytes, every)))
        }
        Some(Action::Edit(edit)) => {
            let mut response = route(router, request).await;
            edit(&mut response);
            response
        }
        Some(Action::ResetAfter(_) | Action::SlowRead { .. } | Action::SlowStart { .. }) | None => route(router, request).await,
    }
}

async fn route(router: &Router, request: Request<Body>) -> Response {
    match router.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Reads a request to its end; a client that leaves earlier does not matter.
async fn drain(request: Request<Body>) {
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
}

/// Lets a handler that streams its answer finish.
async fn drain_answer(response: Response) {
    let mut body = response.into_body();
    while let Some(Ok(_)) = body.frame().await {}
}
