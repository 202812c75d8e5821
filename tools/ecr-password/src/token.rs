//! Selects and checks the token in ECR's answer.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;

use crate::host::is_account;

/// One entry of the answer (`AuthorizationData` of the ECR API).
#[derive(Clone)]
pub(crate) struct Entry {
    /// `AWS:<password>` in base64.
    pub(crate) token: SecretString,
    /// The registry that it is for, as a URL.
    pub(crate) endpoint: String,
    /// When the token expires: 12 hours after it was issued (ECR API, `AuthorizationData`).
    pub(crate) expires: Option<Timestamp>,
}

/// A registry in the answer: account and region from its URL, with any domain.
fn registry(endpoint: &str) -> Option<(&str, &str)> {
    let host = endpoint.split_once("://").map_or(endpoint, |(_, host)| host);
    let mut labels = host.split(['/', ':']).next()?.split('.');
    let account = labels.next().filter(|label| is_account(label))?;
    let region = match labels.next()? {
        "dkr" => labels.nth(1)?,
        "dkr-ecr" | "dkr-ecr-fips" => labels.next()?,
        _ => return None,
    };
    Some((account, region))
}

/// Selects the entry for this registry.
///
/// # Errors
/// What the answer contains instead, as a phrase.
pub(crate) fn choose<'e>(entries: &'e [Entry], account: Option<&str>, region: &str) -> Result<&'e Entry, String> {
    let answered = || entries.iter().map(|entry| format!("'{}'", entry.endpoint)).collect::<Vec<_>>().join(", ");
    match (entries, account) {
        ([], _) => Err("the answer contains no token".to_owned()),
        (entries, Some(account)) => entries
            .iter()
            .find(|entry| registry(&entry.endpoint) == Some((account, region)))
            .ok_or_else(|| format!("asked for registry {account} in {region}, the token is for {}", answered())),
        ([entry], None) => match registry(&entry.endpoint) {
            Some((_, other)) if other != region => Err(format!("asked in {region}, the token is for {}", answered())),
            _ => Ok(entry),
        },
        (_, None) => Err(format!("the answer contains tokens of several registries: {}", answered())),
    }
}

/// The password in a token; a malformed token is never quoted.
///
/// # Errors
/// What is wrong with it, as a phrase.
pub(crate) fn password(token: &str) -> Result<SecretString, &'static str> {
    if token.is_empty() {
        return Err("it is empty");
    }
    let bytes = BASE64.decode(token).map_err(|_| "it is not base64")?;
    let text = String::from_utf8(bytes).map_err(|_| "it is not text")?;
    // At the first colon alone: the password may have more, at which the AWS CLI fails (awscli/customizations/ecr.py).
    match text.split_once(':') {
        None => Err("it contains no user and password"),
        Some((user, _)) if user != "AWS" => Err("its user is not AWS"),
        Some((_, "")) => Err("its password is empty"),
        // Basic credentials have no control characters (RFC 7617, 2), and the password is printed as one line.
        Some((_, password)) if !password.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err("its password contains a space or a control character")
        }
        Some((_, password)) => Ok(password.to_owned().into()),
    }
}

/// A token's remaining time in hours and minutes; `None` if it has expired.
pub(crate) fn left(expires: Timestamp, now: Timestamp) -> Option<String> {
    let left = expires.duration_since(now);
    (left > SignedDuration::ZERO).then(|| format!("{} h {} min", left.as_hours(), left.as_mins() % 60))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn entry(account: &str, region: &str) -> Entry {
        let endpoint = format!("https://{account}.dkr.ecr.{region}.amazonaws.com");
        Entry { token: String::new().into(), endpoint, expires: None }
    }

    const ONE: &str = "111111111111";
    const TWO: &str = "222222222222";

    #[test]
    fn e2_of_two_registries_the_one_asked_for_is_taken() {
        let entries = [entry(ONE, "us-east-1"), entry(TWO, "us-east-1")];
        let chosen = |account| choose(&entries, account, "us-east-1").map(|entry| entry.endpoint.clone());
        assert_eq!(chosen(Some(TWO)), Ok(entries[1].endpoint.clone()));
        assert!(chosen(None).unwrap_err().contains("several registries"));
        assert!(chosen(Some("333333333333")).unwrap_err().contains("the token is for 'https://111111111111."));
    }

    #[test]
    fn e2_a_token_of_another_region_or_of_none_is_refused() {
        let entries = [entry(ONE, "us-east-1")];
        assert!(choose(&entries, Some(ONE), "us-east-1").is_ok());
        assert!(choose(&entries, Some(ONE), "eu-west-1").is_err());
        assert!(choose(&entries, None, "eu-west-1").is_err());
        assert!(choose(&[], None, "eu-west-1").is_err());
    }

    #[test]
    fn a_registry_of_any_domain_is_recognised() {
        for (endpoint, found) in [
            ("https://111111111111.dkr.ecr.us-east-1.amazonaws.com", Some((ONE, "us-east-1"))),
            ("https://111111111111.dkr.ecr-fips.us-gov-west-1.amazonaws.com", Some((ONE, "us-gov-west-1"))),
            ("https://111111111111.dkr-ecr.us-west-2.on.aws", Some((ONE, "us-west-2"))),
            ("111111111111.dkr.ecr.us-east-1.site.example:4566", Some((ONE, "us-east-1"))),
            ("https://registry.example", None),
            ("", None),
        ] {
            assert_eq!(registry(endpoint), found, "{endpoint}");
        }
    }

    #[test]
    fn e2_another_text_is_not_a_password() {
        let encoded = |text: &str| BASE64.encode(text);
        assert_eq!(password(&encoded("AWS:eyJwYXls:b2Fk==")).unwrap().expose_secret(), "eyJwYXls:b2Fk==");
        for (token, says) in [
            (String::new(), "empty"),
            ("%%%".to_owned(), "base64"),
            (encoded("AWS"), "no user and password"),
            (encoded("admin:x"), "user is not AWS"),
            (encoded("AWS:"), "password is empty"),
            (encoded("AWS:a\nb"), "control character"),
            (BASE64.encode([0xff, 0xfe]), "not text"),
        ] {
            assert!(password(&token).unwrap_err().contains(says), "{token}");
        }
    }

    #[test]
    fn says_how_long_a_token_is_good() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let after = |seconds| now + SignedDuration::from_secs(seconds);
        assert_eq!(left(after(12 * 3600 - 5), now), Some("11 h 59 min".to_owned()));
        assert_eq!(left(after(-1), now), None);
    }
}
