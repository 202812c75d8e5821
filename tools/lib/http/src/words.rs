//! Which parts of a URL and of a server's answer a message shows.

use url::Url;

/// A URL without query values, user information and fragment: upload locations and signed URLs contain secrets there.
pub fn redacted(url: &Url) -> String {
    // Distribution's `_state` opens the upload session (registry/handlers/hmac.go), and S3's `X-Amz-Signature` the object.
    let names: Vec<_> = url.query_pairs().map(|(name, _)| format!("{name}=…")).collect();
    let mut shown = url.clone();
    // They fail for a URL that cannot have a user.
    let _ = (shown.set_username(""), shown.set_password(None));
    shown.set_query(None);
    shown.set_fragment(None);
    if names.is_empty() { shown.to_string() } else { format!("{shown}?{}", names.join("&")) }
}

/// The server's explanation: the messages of a known JSON error (OCI distribution specification "Error Codes", VerteX
/// `v1Error`, OAuth), the title of an HTML page, else the text.
pub fn of(body: &[u8]) -> String {
    if let Ok(json) = serde_json::from_slice::<serde_json::Value>(body) {
        let said = of_json(&json);
        if !said.is_empty() {
            return scar_tool::bounded(said.as_bytes());
        }
    }
    scar_tool::words(body)
}

/// Whether an answer is an HTML page, which comes from a proxy, a firewall or a sign-on page, and not from an API.
pub fn is_page(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

fn of_json(json: &serde_json::Value) -> String {
    let text =
        |value: &serde_json::Value, key: &str| value.get(key).and_then(serde_json::Value::as_str).unwrap_or("").trim().to_owned();
    let one = |value: &serde_json::Value| {
        let (code, message) = (text(value, "code"), text(value, "message"));
        match (code.is_empty(), message.is_empty()) {
            (false, false) => format!("{code}: {message}"),
            _ => code + &message,
        }
    };
    if let Some(errors) = json.get("errors").and_then(serde_json::Value::as_array) {
        return errors.iter().map(one).filter(|said| !said.is_empty()).collect::<Vec<_>>().join("; ");
    }
    // VerteX's `v1Error` has code and message, OAuth's error an `error` and an `error_description` (RFC 6749, 5.2).
    let said = one(json);
    let said = if said.is_empty() { text(json, "error_description") + &text(json, "details") } else { said };
    if said.is_empty() { text(json, "error") } else { said }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_message_out_of_each_kind_of_answer() {
        for (body, said) in [
            (r#"{"errors":[{"code":"DENIED","message":"no","detail":{}},{"code":"X"}]}"#, "DENIED: no; X"),
            (r#"{"code":"UserNotFound","message":"wrong credentials","ref":"1"}"#, "UserNotFound: wrong credentials"),
            (r#"{"error":"invalid_grant"}"#, "invalid_grant"),
            (r#"{"error":"invalid_grant","error_description":"it has ended"}"#, "it has ended"),
            ("<html><head><TITLE>413 Request Entity Too Large</TITLE>", "an HTML page titled '413 Request Entity Too Large'"),
            ("<html></html>", "an HTML page"),
            ("plain\n text", "plain text"),
            ("{\"other\":1}", "{\"other\":1}"),
            ("", ""),
        ] {
            assert_eq!(of(body.as_bytes()), said);
        }
    }

    #[test]
    fn a_url_is_shown_without_what_may_be_secret() {
        let url = Url::parse("https://u:p@h.example:5000/v2/x/blobs/uploads/1?_state=canary&digest=sha256:0#f").unwrap();
        assert_eq!(redacted(&url), "https://h.example:5000/v2/x/blobs/uploads/1?_state=…&digest=…");
        for (url, shown) in [
            ("file:///etc/passwd", "file:///etc/passwd"),
            ("ldap://u:canary@h.example:389/x?token=canary", "ldap://h.example:389/x?token=…"),
            ("gopher://h.example", "gopher://h.example"),
            ("data:text/plain,x", "data:text/plain,x"),
        ] {
            assert_eq!(redacted(&Url::parse(url).unwrap()), shown);
        }
    }
}
