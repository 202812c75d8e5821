//! Why a connection did not come about, out of errors that each wrap another.

use std::error::Error as StdError;

/// The innermost cause: the outer layers only say that something failed.
pub fn cause(error: &(dyn StdError + 'static)) -> String {
    let mut inner = error;
    loop {
        let next = match inner.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(wrapped) => Some(wrapped as &(dyn StdError + 'static)),
            None => inner.source(),
        };
        match next {
            Some(next) => inner = next,
            None => break,
        }
    }
    let text = inner.to_string();
    let text = text.split(" (os error ").next().unwrap_or_default().to_lowercase();
    match text.as_str() {
        "" => "the connection failed".to_owned(),
        "deadline has elapsed" | "timed out" => "no connection in time".to_owned(),
        _ => text,
    }
}

/// What [`tunnel`]'s kind of error says of a proxy that opens no tunnel and does not say why.
pub const NO_TUNNEL: &str = "no connection to the server in time";

/// What a proxy answered to CONNECT, where that is what went wrong, and whether it wants a login.
pub fn tunnel(error: &(dyn StdError + 'static)) -> Option<(String, bool)> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(said) = error.to_string().strip_prefix("tunnel error: ") {
            return Some(match said {
                "proxy authorization required" => ("it wants a login (407)".to_owned(), true),
                "unsuccessful" => ("it refused the connection to the server".to_owned(), false),
                "unexpected end of file" => ("it closed the connection".to_owned(), false),
                _ if error.source().is_none() => (said.to_owned(), false),
                _ => (cause(error), false),
            });
        }
        next = error.source();
    }
    None
}
