//! Object names: RFC 1123 labels and subdomains (Kubernetes documentation, "Object Names and IDs").

/// Parses a namespace's name, an RFC 1123 label of at most 63 characters; a clap value parser. The error names the rule and
/// the first character that breaks it.
pub fn namespace(text: &str) -> Result<String, String> {
    check(text, 63, false, "lower-case letters, digits and '-'")
}

/// Parses the name of a secret, a StatefulSet or similar, an RFC 1123 subdomain of at most 253 characters; a clap value
/// parser.
pub fn object(text: &str) -> Result<String, String> {
    check(text, 253, true, "lower-case letters, digits, '-' and '.'")
}

fn check(text: &str, most: usize, dots: bool, accepted: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || (dots && c == '.');
    let rule = format!("a name has {accepted}, begins and ends with a letter or digit, and is at most {most} long");
    if text.is_empty() {
        return Err(format!("it is empty; {rule}"));
    }
    if let Some((place, c)) = text.chars().enumerate().find(|(_, c)| !good(*c)) {
        return Err(format!("'{c}' at {} in '{text}' is not allowed; {rule}", place + 1));
    }
    if text.len() > most {
        return Err(format!("it has {} characters; {rule}", text.len()));
    }
    // A subdomain is labels joined by dots; each begins and ends with a letter or digit.
    let mut labels = text.split('.');
    if labels.any(|label| label.is_empty() || label.starts_with('-') || label.ends_with('-')) {
        return Err(format!("'{text}' begins, ends or joins parts with '-' or '.'; {rule}"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_only_labels_and_subdomains() {
        assert_eq!(namespace("hubble-system").as_deref(), Ok("hubble-system"));
        assert_eq!(object("a.b-1").as_deref(), Ok("a.b-1"));
        let long = "a".repeat(254);
        for (text, says) in [
            ("My_Secret", "'M' at 1 in 'My_Secret' is not allowed"),
            ("my_secret", "'_' at 3"),
            ("", "empty"),
            ("-a", "begins, ends"),
            ("a..b", "joins parts"),
            (&long, "254 characters"),
        ] {
            let error = object(text).unwrap_err();
            assert!(error.contains(says) && error.contains("at most 253"), "{text}: {error}");
        }
        assert!(namespace("a.b").is_err());
    }
}
