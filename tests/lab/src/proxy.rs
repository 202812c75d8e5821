//! A forward proxy on loopback, for `HTTPS_PROXY`: only CONNECT, with a log of all requests, and the ways in which a site's
//! proxy refuses.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// The longest request header in bytes.
const HEAD: usize = 16 * 1024;

/// How the proxy answers a CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It opens the tunnel for everybody.
    Open,
    /// It opens the tunnel for this user and password, and answers 407 to everybody else.
    Login {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// It answers 403, as for a destination that is not allowed.
    Refuse,
    /// It reads the request and never answers.
    Silent,
    /// It resets the connection after reading the request.
    Reset,
    /// It opens the tunnel, and resets both ends after this many bytes from the server.
    CutAfter(u64),
}

/// One request to the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The method; anything but `CONNECT` is answered 405.
    pub method: String,
    /// `HOST:PORT`.
    pub target: String,
    /// `Proxy-Authorization`, unchanged.
    pub authorization: Option<String>,
    /// The answer's status; `None` for a reset or silence.
    pub status: Option<u16>,
}

struct Shared {
    manner: Mutex<Manner>,
    leads: Mutex<BTreeMap<String, SocketAddr>>,
    log: Mutex<Vec<Asked>>,
}

/// A proxy that runs until it is dropped.
pub struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Binds, starts, and returns when connections are accepted.
    pub fn start(manner: Manner) -> Self {
        let shared = Arc::new(Shared { manner: Mutex::new(manner), leads: Mutex::default(), log: Mutex::default() });
        let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port on 127.0.0.1");
        let addr = socket.local_addr().expect("a bound socket has an address");
        socket.set_nonblocking(true).expect("a socket");
        let (stop, stopped) = oneshot::channel();
        let served = shared.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(accept(socket, served, stopped));
            runtime.shutdown_background();
        });
        Self { addr, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The same with a login; `user` and `password` must need no escaping in a URL.
    pub fn url_with(&self, user: &str, password: &str) -> String {
        format!("http://{user}:{password}@{}", self.addr)
    }

    /// Sets how it answers requests.
    pub fn behave(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
    }

    /// Directs tunnels for `target`, a `HOST:PORT` that does not resolve, to this address.
    pub fn lead(&self, target: &str, to: SocketAddr) {
        self.shared.leads.lock().unwrap_or_else(PoisonError::into_inner).insert(target.to_owned(), to);
    }

    /// The requests so far, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The receiver is only gone if the thread has ended.
        let _ = self.stop.take().map(|stop| stop.send(()));
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || !matches!(ended, Some(Err(_))), "the lab's proxy panicked");
    }
}

async fn accept(socket: std::net::TcpListener, shared: Arc<Shared>, mut stopped: oneshot::Receiver<()>) {
    let socket = TcpListener::from_std(socket).expect("a listening socket");
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            accepted = socket.accept() => {
                // A client that is already gone does not matter, nor how a tunnel ends.
                let Ok((client, _)) = accepted else { continue };
                let shared = shared.clone();
                tokio::spawn(async move { drop(serve(client, &shared).await) });
            }
        }
    }
}

async fn serve(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    let head = head(&mut client).await?;
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let authorization = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("proxy-authorization").then(|| value.trim().to_owned())
    });
    let manner = shared.manner.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let status = match &manner {
        _ if method != "CONNECT" => Some(405),
        Manner::Open | Manner::CutAfter(_) => Some(200),
        Manner::Login { user, password } => {
            let right = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
            Some(if authorization.as_deref() == Some(&*right) { 200 } else { 407 })
        }
        Manner::Refuse => Some(403),
        Manner::Reset | Manner::Silent => None,
    };
    let led = shared.leads.lock().unwrap_or_else(PoisonError::into_inner).get(&target).copied();
    let server = match (status, led) {
        (Some(200), Some(addr)) => TcpStream::connect(addr).await.ok(),
        (Some(200), None) => TcpStream::connect(&target).await.ok(),
        _ => None,
    };
    let status = if status == Some(200) && server.is_none() { Some(502) } else { status };
    shared.log.lock().unwrap_or_else(PoisonError::into_inner).push(Asked { method, target, authorization, status });
    if manner == Manner::Silent {
        // Silent until the client gives up.
        return client.read_u8().await.map(drop);
    }
    let answer = match status {
        None => return client.set_zero_linger(),
        Some(200) => "200 Connection established\r\n\r\n",
        Some(407) => {
            "407 Proxy Authentication Required\r\nproxy-authenticate: Basic realm=\"lab\"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        }
        Some(403) => "403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        Some(405) => "405 Method Not Allowed\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        Some(_) => "502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    };
    client.write_all(format!("HTTP/1.1 {answer}").as_bytes()).await?;
    let Some(mut server) = server else { return client.shutdown().await };
    match manner {
        Manner::CutAfter(bytes) => {
            let (mut from_client, mut to_client) = client.split();
            let (from_server, mut to_server) = server.split();
            let mut limited = from_server.take(bytes);
            tokio::select! {
                _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
                _ = tokio::io::copy(&mut limited, &mut to_client) => {}
            }
            client.set_zero_linger()?;
            server.set_zero_linger()
        }
        _ => copy_bidirectional(&mut client, &mut server).await.map(drop),
    }
}

/// Reads a request's header byte by byte, so that nothing after it is consumed.
async fn head(client: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await?);
        if head.len() > HEAD {
            return Err(io::Error::other("the head is too long"));
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{Listener, Server};

    fn status(proxy: &str, url: &str) -> Result<u16, String> {
        let proxy = reqwest::Proxy::all(proxy).unwrap();
        let client =
            reqwest::Client::builder().tls_certs_only([]).danger_accept_invalid_certs(true).proxy(proxy).build().unwrap();
        let answer = crate::probe::run(client.get(url).send());
        answer.map(|answer| answer.status().as_u16()).map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn a_tunnel_is_opened_logged_and_refused_as_set() {
        let certs = crate::certs::Certs::new(&[]);
        let router = axum::Router::new().route("/x", axum::routing::get(async || "x"));
        let server = Server::start(router, Listener::tls(certs.server_config()));
        let url = server.url() + "/x";
        let proxy = Proxy::start(Manner::Open);
        assert_eq!(status(&proxy.url(), &url), Ok(200));
        let login = Manner::Login { user: "u".into(), password: "p".into() };
        proxy.behave(login);
        assert!(status(&proxy.url(), &url).unwrap_err().contains("roxy"), "a login is wanted");
        assert_eq!(status(&proxy.url_with("u", "p"), &url), Ok(200));
        for manner in [Manner::Refuse, Manner::Reset, Manner::CutAfter(10)] {
            proxy.behave(manner);
            assert!(status(&proxy.url(), &url).is_err());
        }
        let log = proxy.asked();
        let statuses: Vec<_> = log.iter().map(|asked| asked.status).collect();
        assert_eq!(statuses, [Some(200), Some(407), Some(200), Some(403), None, Some(200)]);
        assert!(log.iter().all(|asked| asked.method == "CONNECT" && asked.target == server.authority()));
        assert_eq!(log[2].authorization.as_deref(), Some("Basic dTpw"));
        assert_eq!(server.log().lines().len(), 2);
        proxy.behave(Manner::Open);
        proxy.lead("named.example:443", server.addr());
        assert_eq!(status(&proxy.url(), "https://named.example/x"), Ok(200));
    }
}
