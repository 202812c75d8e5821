//! The form of a SCAR endpoint and a base content path.

use scar_tool::Failure;

/// Parses the address of a SCAR: `https://HOST[:PORT]`.
///
/// # Errors
/// Exit 2 for a path, query, fragment or login in it, saying where that belongs.
pub(crate) fn endpoint(text: &str) -> Result<String, Failure> {
    let refuse = |cause: &str| Failure::misuse(format!("read the SCAR endpoint '{}': {cause}", scar_trust::without_login(text)));
    let form = "write https://HOST or https://HOST:PORT";
    let url = scar_trust::address(text).map_err(|cause| refuse(cause).hint(form))?;
    if !matches!(url.scheme(), "https" | "http") || url.host().is_none() {
        return Err(refuse("it is not an https:// or http:// address").hint(form));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("it holds a login, which would be shown and logged").hint(form));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("it has a query or a fragment").hint(form));
    }
    // VerteX has a field of its own for the path: `baseContentPath` (`v1SystemScarSpec` in the API's description).
    if !matches!(url.path(), "" | "/") {
        let path = url.path().trim_matches('/');
        return Err(refuse("it has a path").hint(format!("give the path separately: --base-content-path {path}")));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Normalizes a base content path.
///
/// # Errors
/// Exit 2 if it is not a plain path.
pub(crate) fn base_content_path(text: &str) -> Result<&str, Failure> {
    let refuse = |cause: &str| Failure::misuse(format!("read the base content path '{text}': {cause}"));
    if text.trim_matches('/').is_empty() {
        return Err(refuse("it is empty").hint("leave --base-content-path out"));
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace() || matches!(c, '?' | '#' | '\\')) || text.contains("://") {
        return Err(refuse("it must be a plain path such as content/manifests"));
    }
    if text.split('/').any(|part| part == ".." || part == ".") {
        return Err(refuse("it must not contain '.' or '..'"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_scheme_host_and_port_alone() {
        assert_eq!(endpoint("https://scar.example:8443/").unwrap(), "https://scar.example:8443");
        assert_eq!(endpoint("http://10.0.0.1").unwrap(), "http://10.0.0.1");
        for (text, says) in [
            ("https://host/path?x=1#y", "a query or a fragment"),
            ("https://host/path", "it has a path"),
            ("https://u:canary@host", "it holds a login"),
            ("ftp://host", "not an https://"),
            ("host:8443", "not an https://"),
            ("", "not an address"),
            ("scar.example", "not an address"),
            ("https://scar.example\\", "a backslash"),
            ("https://scar.ex\tample", "a control character"),
        ] {
            let failure = endpoint(text).unwrap_err();
            assert!(failure.message.contains(says) && !failure.message.contains("canary"), "{text}: {}", failure.message);
        }
        assert!(endpoint("https://host/a/b").unwrap_err().hint.unwrap().contains("--base-content-path a/b"));
    }

    #[test]
    fn a_base_content_path_is_a_plain_path() {
        assert_eq!(base_content_path("/content/x").unwrap(), "/content/x");
        for text in ["", "/", "a b", "a?b", "../a", "https://h/x", "a/./b"] {
            assert!(base_content_path(text).is_err(), "{text}");
        }
    }
}
