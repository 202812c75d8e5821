//! What a server hides: fields whose values are secrets, and values that stand in a secret's place.

/// Whether a field of this name holds a secret. A user name, a CA certificate and a role are none.
pub fn names_a_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let parts = ["password", "passwd", "token", "secret", "authorization", "privatekey", "accesskey", "apikey"];
    parts.iter().any(|part| name.contains(part)) || name == "key"
}

/// Whether a value stands in the place of a secret: `***`, bullets, `<hidden>` and the like, also around a part shown.
///
/// In doubt it says yes: then a person is asked for the secret, where a mask written back would destroy it.
pub fn is_mask(value: &str) -> bool {
    let bare = value
        .trim()
        .trim_matches(['<', '>', '[', ']', '(', ')', '{', '}', '*', '#', ' ', '_', '-', '.', '"'])
        .to_ascii_lowercase();
    let alone = ["redacted", "hidden", "masked"].contains(&bare.as_str());
    let adorned =
        value.trim().to_ascii_lowercase() != bare && ["secret", "sensitive", "encrypted", "password"].contains(&bare.as_str());
    let same = value.chars().all(|c| matches!(c, '*' | '•' | '●' | 'x' | 'X' | '.' | '#' | '-' | '_'));
    let run = ["***", "•••", "●●●"].iter().any(|run| value.contains(run));
    !value.is_empty() && (alone || adorned || same || run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_known_by_its_look() {
        for mask in [
            "***",
            "*",
            "********",
            "••••",
            "xxxx",
            "<redacted>",
            "[HIDDEN]",
            "__masked__",
            "--hidden--",
            "******",
            "REDACTED",
            "AKIA****WXYZ",
            "(sensitive)",
        ] {
            assert!(is_mask(mask), "{mask}");
        }
        for value in ["", "Spectro-2024!", "a*b", "s3cret", "redacted-not", "AKIAIOSFODNN7EXAMPLE", "password"] {
            assert!(!is_mask(value), "{value}");
        }
    }

    #[test]
    fn a_secret_is_known_by_its_field() {
        for name in ["password", "token", "secretKey", "secretToken", "accessKey", "key"] {
            assert!(names_a_secret(name), "{name}");
        }
        for name in ["username", "caCert", "ca", "certificate", "endpoint", "baseContentPath", "keyRing"] {
            assert!(!names_a_secret(name), "{name}");
        }
    }
}
