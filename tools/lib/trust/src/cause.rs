//! Finds the cause of a failed connection in errors that wrap each other.

use std::error::Error as StdError;
use std::io::{Error as IoError, ErrorKind};

/// The innermost cause: the outer layers only say that something failed.
pub fn cause(error: &(dyn StdError + 'static)) -> String {
    let mut inner = error;
    loop {
        let io = inner.downcast_ref::<IoError>();
        match io.map(IoError::kind) {
            // rustls explains at length what it misses at the end of a TLS connection (rustls src/conn.rs,
            // UNEXPECTED_EOF_MESSAGE).
            Some(ErrorKind::UnexpectedEof) => return "the connection was closed too early".to_owned(),
            Some(ErrorKind::TimedOut) => return "no connection in time".to_owned(),
            _ => {}
        }
        // An I/O error does not return the error that it wraps as its source.
        match io.and_then(IoError::get_ref).map_or_else(|| inner.source(), |wrapped| Some(wrapped)) {
            Some(next) => inner = next,
            None => break,
        }
    }
    let text = inner.to_string();
    let text = text.split(" (os error ").next().unwrap_or_default().to_lowercase();
    match text.as_str() {
        "" => "the connection failed".to_owned(),
        // hyper's words for a connection that ends where the answer should begin (hyper src/error.rs, IncompleteMessage).
        "connection closed before message completed" => "the connection was closed before the answer".to_owned(),
        _ => text,
    }
}

/// Why a proxy did not open a tunnel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Tunnel {
    /// It requires a login, or refuses this one.
    #[error("it requires a login (407)")]
    Login,
    /// It forbids the connection.
    #[error("it refused the connection to the server")]
    Refused,
    /// It closed the connection.
    #[error("it closed the connection")]
    Closed,
    /// It did not answer in time.
    #[error("no connection to the server in time")]
    Silent,
    /// Any other cause.
    #[error("{0}")]
    Other(String),
}

/// How a proxy answered CONNECT, if that is the cause.
pub fn tunnel(error: &(dyn StdError + 'static)) -> Option<Tunnel> {
    let mut next = Some(error);
    while let Some(error) = next {
        // hyper-util's error type is private (its client/legacy/connect/proxy/tunnel.rs): only its text can be matched.
        if let Some(said) = error.to_string().strip_prefix("tunnel error: ") {
            return Some(match said {
                "proxy authorization required" => Tunnel::Login,
                "unsuccessful" => Tunnel::Refused,
                "unexpected end of file" => Tunnel::Closed,
                _ if error.source().is_none() => Tunnel::Other(said.to_owned()),
                _ => Tunnel::Other(cause(error)),
            });
        }
        next = error.source();
    }
    None
}
