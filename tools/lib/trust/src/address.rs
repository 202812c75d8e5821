//! One reading of the address of a server or a proxy, wherever it is from.

use url::Url;

/// Reads `SCHEME://…`. Browsers' rules, which [`Url::parse`] follows, end a host at a backslash and drop tabs and line ends
/// (WHATWG URL, 4.4); Go and curl do neither. So `http://CORP\user:pw@proxy:3128` would lead to a host CORP that nobody
/// named: an address that two readers may read in two ways is refused.
///
/// # Errors
/// What is wrong with it, for a message that does not quote what comes before an `@`.
pub fn address(text: &str) -> Result<Url, &'static str> {
    in_one_way(text)?;
    Url::parse(text).map_err(|_| "it is no address")
}

/// Whether all readers read it alike.
pub(crate) fn in_one_way(text: &str) -> Result<(), &'static str> {
    if text.contains(|c: char| c == '\\' || c.is_whitespace() || c.is_control()) {
        return Err("it holds a backslash, a space or a control character, which must be written as %XX there (\\ as %5C)");
    }
    Ok(())
}

/// What a message may show of an address that may hold a login: nothing before the `@`.
pub fn without_login(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (scheme, rest));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let separator = if scheme.is_empty() { "" } else { "://" };
    format!("{scheme}{separator}{}", host.trim_end_matches('/'))
}
