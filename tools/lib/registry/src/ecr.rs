//! Amazon ECR: the host's name contains account and region, and a password contains its expiry.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// The expiry of an ECR password, in seconds since 1970; `None` if it has none. Account and region are encrypted in it.
pub fn expiration(password: &SecretString) -> Option<i64> {
    /// The part that is read: base64 of a JSON object, as `GetAuthorizationToken` returns it.
    #[derive(Deserialize)]
    struct Token {
        expiration: i64,
    }
    // AWS does not describe the password (Amazon ECR API Reference, AuthorizationData), so it only adds a date to a message.
    let text = Zeroizing::new(STANDARD.decode(password.expose_secret().trim()).ok()?);
    serde_json::from_slice::<Token>(&text).ok().map(|token| token.expiration)
}

/// The parts of `ACCOUNT.dkr.ecr[-fips].REGION.DOMAIN`; dual-stack names begin with `ACCOUNT.dkr-ecr`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host<'h> {
    /// The account: twelve digits.
    pub account: &'h str,
    /// Such as `us-east-1`.
    pub region: &'h str,
}

impl<'h> Host<'h> {
    /// Parses `HOST[:PORT]`; `None` if it is not an ECR registry.
    pub fn of(registry: &'h str) -> Option<Self> {
        // The names of all partitions, by AWS's own pattern (awslabs/amazon-ecr-credential-helper ecr-login/api/client.go,
        // `ecrPattern`).
        let host = registry.split(':').next()?;
        let (account, rest) = host.split_once('.')?;
        let rest = rest
            .strip_prefix("dkr.ecr.")
            .or_else(|| rest.strip_prefix("dkr.ecr-fips."))
            .or_else(|| rest.strip_prefix("dkr-ecr.").or_else(|| rest.strip_prefix("dkr-ecr-fips.")))?;
        let (region, domain) = rest.split_once('.')?;
        let amazons =
            ["amazonaws.", "on.aws", "on.amazonwebservices.", "c2s.ic.gov", "sc2s.sgov.gov", "cloud.adc-e.uk", "csp.hci.ic.gov"];
        let known = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        (known && amazons.iter().any(|amazon| domain.starts_with(amazon))).then_some(Self { account, region })
    }

    /// The command that creates a repository, which a push to ECR does not.
    pub fn create_repository(&self, repository: &str) -> String {
        let Self { account, region } = self;
        format!("aws ecr create-repository --region {region} --registry-id {account} --repository-name {repository}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_says_when_it_ends() {
        let expiry = |text: &str| expiration(&STANDARD.encode(text).into());
        assert_eq!(
            expiry(r#"{"payload":"x","datakey":"y","version":"2","type":"DATA_KEY","expiration":1733488994}"#),
            Some(1_733_488_994)
        );
        assert_eq!(expiry(r#"{"expiration":"soon"}"#), None);
        assert_eq!(expiry("no JSON"), None);
        assert_eq!(expiration(&"no base64!".into()), None);
    }

    #[test]
    fn knows_the_hosts_of_every_partition() {
        for (registry, expected) in [
            ("123456789012.dkr.ecr.us-east-1.amazonaws.com", Some("us-east-1")),
            ("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", Some("us-gov-west-1")),
            ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn:443", Some("cn-north-1")),
            ("123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov", Some("us-iso-east-1")),
            ("123456789012.dkr-ecr.eu-west-1.on.aws", Some("eu-west-1")),
            ("12345.dkr.ecr.us-east-1.amazonaws.com", None),
            ("123456789012.dkr.ecr.us-east-1.example", None),
            ("harbor.example", None),
        ] {
            assert_eq!(Host::of(registry).map(|host| host.region), expected, "{registry}");
        }
    }
}
