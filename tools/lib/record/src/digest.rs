//! A content digest, `sha256:` and 64 lower-case hex digits (OCI image specification, "Digests").

use serde::{Deserialize, Serialize};

/// A valid `sha256:…` digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Digest(String);

impl Digest {
    /// Parses a digest.
    pub fn parse(text: &str) -> Result<Self, String> {
        // Only SHA-256, which every implementation must have (OCI image specification, "Digests").
        let hex = text.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("'{text}' is not a digest: it must be sha256: and 64 lower-case hex digits"))
        }
    }

    /// The digest of a SHA-256 sum.
    pub fn from_sha256(sum: &[u8; 32]) -> Self {
        let mut text = String::with_capacity(71);
        text.push_str("sha256:");
        for byte in sum {
            text.extend([byte >> 4, byte & 15].map(|nibble| char::from_digit(nibble.into(), 16).unwrap_or('0')));
        }
        Self(text)
    }

    /// `sha256:…`
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_only_64_lower_case_hex_digits() {
        let digest = Digest::from_sha256(&[0xab; 32]);
        assert_eq!(Digest::parse(digest.as_str()), Ok(digest.clone()));
        for bad in ["", "sha256:", "sha256:xyz", "sha512:00", &digest.as_str().to_uppercase(), &digest.as_str()[..70]] {
            assert!(Digest::parse(bad).is_err(), "{bad}");
        }
    }
}
