//! A session's token: its form and its expiry.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use scar_record::Time;

/// The longest token, in bytes; servers refuse longer header lines.
const LONGEST: usize = 16 * 1024;

/// A token without the prefix that it has in a header; a cookie cannot contain a space.
pub fn bare(token: &str) -> &str {
    match token.split_at_checked(7) {
        // A scheme's name may be in any case (RFC 9110, 11.1).
        Some((word, rest)) if word.eq_ignore_ascii_case("bearer ") => rest.trim_start(),
        _ => token,
    }
}

/// Checks that a token is safe in a cookie (RFC 6265, 4.1.1). The error says its defect, without quoting the token.
pub fn check(token: &str) -> Result<(), String> {
    if token.is_empty() {
        return Err("it is empty".to_owned());
    }
    if token.len() > LONGEST {
        return Err(format!("it is longer than {LONGEST} bytes"));
    }
    match token.bytes().position(|byte| !is_cookie_octet(byte)) {
        Some(at) => Err(format!("its character {} is not allowed in a cookie", at + 1)),
        None => Ok(()),
    }
}

fn is_cookie_octet(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\')
}

/// The expiry of a token, if it is a JWT that contains one (RFC 7519, `exp`). It is read but not verified: only the server
/// can do that.
pub fn expiry(token: &str) -> Option<Time> {
    let mut parts = token.split('.');
    let (_, claims, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else { return None };
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    let exp = claims.get("exp")?;
    let seconds = match exp.as_i64() {
        Some(seconds) => seconds,
        // Fractions of a second are allowed (RFC 7519, 2, NumericDate); an implausible date is ignored.
        None => exp.as_f64().filter(|seconds| seconds.abs() < 1e12)?.floor() as i64,
    };
    Time::from_epoch(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_a_cookie_can_carry() {
        for token in ["a.b.c", "eyJhbGciOiJIUzI1NiJ9.e30.-_x", "dG9r+/=="] {
            assert_eq!(check(token), Ok(()), "{token}");
        }
        for (token, says) in [
            ("", "empty"),
            ("a b", "character 2"),
            ("a\nb", "character 2"),
            ("a;b", "character 2"),
            ("\"a\"", "character 1"),
            ("ä", "character 1"),
            ("a\u{1b}[0m", "character 2"),
        ] {
            let error = check(token).unwrap_err();
            assert!(error.contains(says), "{token:?}: {error}");
        }
        assert!(check(&"a".repeat(LONGEST + 1)).unwrap_err().contains("longer"));
    }

    #[test]
    fn the_word_of_a_header_is_not_part_of_a_token() {
        for (text, token) in
            [("Bearer a.b.c", "a.b.c"), ("bearer  a", "a"), ("a.b.c", "a.b.c"), ("Bearer", "Bearer"), ("äääää", "äääää")]
        {
            assert_eq!(bare(text), token);
        }
    }

    #[test]
    fn reads_when_a_jwt_ends_and_nothing_out_of_others() {
        let jwt = |claims: &str| format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims));
        let end = |claims: &str| expiry(&jwt(claims)).map(|time| time.to_string());
        assert_eq!(end(r#"{"exp":1733488994}"#).as_deref(), Some("2024-12-06T12:43:14Z"));
        assert_eq!(end(r#"{"exp":1733488994.75}"#).as_deref(), Some("2024-12-06T12:43:14Z"));
        for claims in ["{}", r#"{"exp":"soon"}"#, r#"{"exp":1e18}"#, r#"{"exp":9223372036854775807}"#, "no json"] {
            assert_eq!(end(claims), None, "{claims}");
        }
        assert_eq!(expiry("opaque"), None);
        assert_eq!(expiry("a.b.c.d"), None);
    }
}
