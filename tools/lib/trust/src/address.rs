//! Parses the addresses of servers and proxies, from any source.

use url::Url;

/// Parses `SCHEME://…`. By the rules of browsers, as in [`Url::parse`], a host ends at a backslash, and tabs and line ends
/// are removed (WHATWG URL, 4.4); Go and curl do neither. So `http://CORP\user:pw@proxy:3128` would lead to a host CORP that
/// nobody named: an ambiguous address is refused. The error is for a message that does not quote the part before an `@`.
pub fn address(text: &str) -> Result<Url, &'static str> {
    in_one_way(text)?;
    Url::parse(text).map_err(|_| "it is not an address")
}

/// Whether all parsers agree.
pub(crate) fn in_one_way(text: &str) -> Result<(), &'static str> {
    if text.contains(|c: char| c == '\\' || c.is_whitespace() || c.is_control()) {
        return Err("it holds a backslash, a space or a control character, which must be written as %XX there (\\ as %5C)");
    }
    Ok(())
}

/// The part of an address that a message may show: nothing before the `@`, which may be a login.
pub fn without_login(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (scheme, rest));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let separator = if scheme.is_empty() { "" } else { "://" };
    format!("{scheme}{separator}{}", host.trim_end_matches('/'))
}
