//! What a server hides: fields with secrets, and values that replace a secret.

/// Whether a field with this name holds a secret. User names, CA certificates and roles are not secret.
pub fn names_a_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let parts = ["password", "passwd", "token", "secret", "authorization", "privatekey", "accesskey", "apikey"];
    parts.iter().any(|part| name.contains(part)) || name == "key"
}

/// Whether a value replaces a secret: `***`, bullets, `<hidden>` and the like, also with a part of the secret shown
/// (`abc***def`).
///
/// In doubt it says yes: asking the user for the secret is better than destroying it by writing a mask.
pub fn is_mask(value: &str) -> bool {
    let bare = value
        .trim()
        .trim_matches(['<', '>', '[', ']', '(', ')', '{', '}', '*', '#', ' ', '_', '-', '.', '"'])
        .to_ascii_lowercase();
    let alone = ["redacted", "hidden", "masked"].contains(&bare.as_str());
    let adorned =
        value.trim().to_ascii_lowercase() != bare && ["secret", "sensitive", "encrypted", "password"].contains(&bare.as_str());
    let same = value.chars().all(|c| matches!(c, '*' | '•' | '●' | 'x' | 'X' | '.' | '#' | '-' | '_'));
    // VerteX shows a password as `********`, and an ECR secret key as `abc***def`. Its Terraform provider, too, takes a secret
    // key with an asterisk for a mask (spectrocloud/terraform-provider-spectrocloud spectrocloud/resource_registry_oci_ecr.go,
    // `ociEcrSecretKeyForRead`).
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
