//! An attacker's server: records every byte, and asks for a client certificate and a login.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use scar_lab::certs::Certs;

#[derive(Default)]
struct Shared {
    received: Mutex<Vec<u8>>,
    connections: AtomicUsize,
    certificate: AtomicBool,
    status: Mutex<String>,
    stop: AtomicBool,
}

/// It listens on 127.0.0.1 until it is dropped.
pub(crate) struct Attacker {
    port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Attacker {
    /// The tools trust its certificate, so that only their own rules protect a secret.
    pub(crate) fn start(certs: &Certs, is_plain: bool) -> Self {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let tls = (!is_plain).then(|| certs.server().server_config_with_clients(certs.ca_pem(), false));
        let shared = Arc::new(Shared { status: Mutex::new("401 Unauthorized".to_owned()), ..Shared::default() });
        let served = shared.clone();
        let thread = std::thread::spawn(move || {
            std::thread::scope(|scope| {
                for stream in socket.incoming() {
                    if served.stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let (tls, served) = (tls.clone(), &served);
                    served.connections.fetch_add(1, Ordering::SeqCst);
                    scope.spawn(move || served.serve(stream.unwrap(), tls, port));
                }
            });
        });
        Self { port, shared, thread: Some(thread) }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Sets the status of its answers.
    pub(crate) fn answer(&self, status: &str) {
        status.clone_into(&mut self.shared.status.lock().unwrap());
    }

    /// Every byte of every request, decrypted.
    pub(crate) fn received(&self) -> Vec<u8> {
        self.shared.received.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn saw_a_certificate(&self) -> bool {
        self.shared.certificate.load(Ordering::SeqCst)
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream, tls: Option<Arc<ServerConfig>>, port: u16) {
        // A silent client must not delay the end of the test.
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        match tls {
            None => self.converse(stream, port),
            Some(tls) => {
                let mut stream = StreamOwned::new(ServerConnection::new(tls).unwrap(), stream);
                let _ = stream.conn.complete_io(&mut stream.sock);
                if stream.conn.peer_certificates().is_some() {
                    self.certificate.store(true, Ordering::SeqCst);
                }
                self.converse(stream, port);
            }
        }
    }

    /// Records everything until the peer closes; answers after each request header.
    fn converse(&self, mut stream: impl Read + Write, port: u16) {
        let mut buffer = [0; 4096];
        let mut head = Vec::new();
        let (mut is_answered, mut is_tunnel) = (false, false);
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            self.received.lock().unwrap().extend_from_slice(&buffer[..count]);
            head.extend_from_slice(&buffer[..count]);
            if is_tunnel {
                // A request through a dead tunnel was recorded; nobody needs to wait.
                return;
            }
            if !is_answered && head.windows(4).any(|four| four == b"\r\n\r\n") {
                is_answered = true;
                let status = self.status.lock().unwrap().clone();
                is_tunnel = status.starts_with("200");
                let length = if is_tunnel { "" } else { "content-length: 0\r\nconnection: close\r\n" };
                let answer = format!(
                    "HTTP/1.1 {status}\r\n{length}\
                     www-authenticate: Basic realm=\"attacker\"\r\n\
                     www-authenticate: Bearer realm=\"https://localhost:{port}/token\",service=\"attacker\"\r\n\
                     proxy-authenticate: Basic realm=\"attacker\"\r\n\
                     location: https://localhost:{port}/more\r\n\r\n"
                );
                if stream.write_all(answer.as_bytes()).and_then(|()| stream.flush()).is_err() {
                    return;
                }
            }
        }
    }
}
