//! Secrets that must never be shown: registered once, and searched for in every output, command line and environment.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

static SECRETS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Registers a secret for every run of this process, and returns it.
///
/// # Panics
/// If it has fewer than eight characters, because it would be found by chance.
#[track_caller]
pub fn secret(text: &str) -> String {
    assert!(text.len() >= 8, "'{text}' is too short for a canary");
    SECRETS.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned());
    text.to_owned()
}

/// Removes a secret that no run has any more: each registered secret costs time.
pub fn forget_secret(text: &str) {
    SECRETS.lock().unwrap_or_else(PoisonError::into_inner).remove(text);
}

/// Every registered secret in `bytes`, with its form there.
pub fn find_secrets(bytes: &[u8]) -> Vec<String> {
    Secrets::registered().found(bytes)
}

/// The texts to search for, with their form.
#[derive(Clone)]
pub(crate) struct Secrets(Vec<(String, String)>);

impl Secrets {
    /// All registered secrets.
    pub(crate) fn registered() -> Self {
        let secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
        Self(secrets.iter().flat_map(|secret| forms(secret)).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn found(&self, bytes: &[u8]) -> Vec<String> {
        // The search in a string is the standard library's own, which is fast in a debug build, too.
        let text = String::from_utf8_lossy(bytes);
        self.0.iter().filter(|(_, needle)| text.contains(needle.as_str())).map(|(form, _)| form.clone()).collect()
    }
}

/// A secret as it is, URL-encoded, JSON-encoded, and in base64 at any offset (also of `user:secret`).
fn forms(secret: &str) -> Vec<(String, String)> {
    let mut forms = vec![(format!("'{secret}'"), secret.to_owned())];
    let mut add = |form: &str, text: String| {
        if forms.iter().all(|(_, known)| *known != text) {
            forms.push((format!("'{secret}' {form}"), text));
        }
    };
    add("URL-encoded", utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string());
    add("form-encoded", utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string().replace("%20", "+"));
    add("JSON-encoded", serde_json::Value::from(secret).to_string().trim_matches('"').to_owned());
    for before in 0..3usize {
        let text = STANDARD_NO_PAD.encode([&b"___"[..before], secret.as_bytes()].concat());
        // The first and last characters also depend on the neighbouring bytes.
        let shared_end = usize::from(!(before + secret.len()).is_multiple_of(3));
        let inner = text[(before * 8).div_ceil(6)..text.len() - shared_end].to_owned();
        add("in base64", inner.replace('+', "-").replace('/', "_"));
        add("in base64", inner);
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_secret_in_each_form() {
        secret("kit/canary+1=%&?");
        let basic = |user: &str| STANDARD_NO_PAD.encode(format!("{user}:kit/canary+1=%&?\n"));
        for text in [
            "x kit/canary+1=%&? y".to_owned(),
            "password=kit%2Fcanary%2B1%3D%25%26%3F".to_owned(),
            format!("Basic {}", basic("a")),
            format!("Basic {}", basic("ab")),
            format!("Basic {}", basic("abc")),
            basic("abcd").replace('+', "-").replace('/', "_"),
        ] {
            assert!(!find_secrets(text.as_bytes()).is_empty(), "{text}");
        }
        assert!(find_secrets(b"kit/canary").is_empty());
    }
}
