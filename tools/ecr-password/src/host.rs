//! The host name of an ECR registry, with its account and region.
//!
//! The forms are those that AWS documents ("Amazon ECR endpoints and quotas") and its credential helper accepts
//! (awslabs/amazon-ecr-credential-helper ecr-login/api/client.go, `ecrPattern`):
//! `<account>.dkr.ecr[-fips].<region>.<suffix>`, and the dual-stack form `<account>.dkr-ecr[-fips].<region>.on.aws`.

/// The parts of a registry's host name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EcrHost {
    /// The registry ID, which is the account's twelve digits.
    pub(crate) account: String,
    /// The region, such as `us-gov-west-1`.
    pub(crate) region: String,
    pub(crate) fips: bool,
    pub(crate) dual_stack: bool,
}

/// The domains of AWS's partitions: commercial and GovCloud, China, the European sovereign cloud, ISO, ISO-B, ISO-E, ISO-F.
const DOMAINS: [&str; 7] = [
    ".amazonaws.com",
    ".amazonaws.com.cn",
    ".amazonaws.eu",
    ".c2s.ic.gov",
    ".sc2s.sgov.gov",
    ".cloud.adc-e.uk",
    ".csp.hci.ic.gov",
];
/// The domains of dual-stack hosts; the second one is China's.
const DUAL_STACK: [&str; 2] = [".on.aws", ".on.amazonwebservices.com.cn"];

impl EcrHost {
    /// Parses a host name, ignoring case as DNS does.
    ///
    /// # Errors
    /// What is wrong with the name and how to write it, as a phrase.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some((_, rest)) = text.split_once("://") {
            return Err(format!("drop the scheme, write {}", rest.trim_end_matches('/')));
        }
        if text.contains('@') {
            return Err("it contains credentials; write only the host name".to_owned());
        }
        if let Some((host, _)) = text.split_once('/') {
            return Err(format!("a token is for the whole registry; write only the host name, {host}"));
        }
        let host = text.to_ascii_lowercase();
        if host == "public.ecr.aws" {
            return Err("the public gallery has tokens of another kind; packs are kept in a private registry".to_owned());
        }
        // A reference may name the port of HTTPS; the registry is the same.
        let host = host.strip_suffix(":443").unwrap_or(&host);
        Self::known(host).ok_or_else(|| "it is not an ECR host name, <12 digits>.dkr.ecr.<region>.amazonaws.com".to_owned())
    }

    fn known(host: &str) -> Option<Self> {
        let (account, rest) = host.split_once('.')?;
        let (dual_stack, rest) = match rest.strip_prefix("dkr.ecr") {
            Some(rest) => (false, rest),
            None => (true, rest.strip_prefix("dkr-ecr")?),
        };
        let (fips, rest) = match rest.strip_prefix("-fips.") {
            Some(rest) => (true, rest),
            None => (false, rest.strip_prefix('.')?),
        };
        let domains: &[&str] = if dual_stack { &DUAL_STACK } else { &DOMAINS };
        let region = domains.iter().find_map(|domain| rest.strip_suffix(domain))?;
        // The region becomes a part of the host name that gets the signed request (aws-sdk-ecr src/config/endpoint/internals.rs):
        // one with a dot or a slash would choose that host.
        (is_account(account) && is_region(region)).then(|| Self {
            account: account.to_owned(),
            region: region.to_owned(),
            fips,
            dual_stack,
        })
    }
}

/// Whether a text is an account number.
pub(crate) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a text looks like a region: words and a number, joined by hyphens.
pub(crate) fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let (Some(number), true) = (parts.last(), parts.len() >= 3) else { return false };
    let is_word = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    number.len() <= 2
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && parts[..parts.len() - 1].iter().all(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_has_account_region_and_endpoint() {
        for (text, region, fips, dual_stack) in [
            ("123456789012.dkr.ecr.us-east-1.amazonaws.com", "us-east-1", false, false),
            ("123456789012.DKR.ecr.eu-central-1.AmazonAWS.com:443", "eu-central-1", false, false),
            ("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1", true, false),
            ("123456789012.dkr.ecr.us-gov-east-1.amazonaws.com", "us-gov-east-1", false, false),
            ("123456789012.dkr.ecr.cn-northwest-1.amazonaws.com.cn", "cn-northwest-1", false, false),
            ("123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1", false, false),
            ("123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov", "us-iso-east-1", false, false),
            ("123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov", "us-isob-east-1", false, false),
            ("123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk", "eu-isoe-west-1", false, false),
            ("123456789012.dkr.ecr.us-isof-south-1.csp.hci.ic.gov", "us-isof-south-1", false, false),
            ("123456789012.dkr-ecr.us-west-2.on.aws", "us-west-2", false, true),
            ("123456789012.dkr-ecr-fips.us-west-2.on.aws", "us-west-2", true, true),
            ("123456789012.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn", "cn-north-1", false, true),
        ] {
            let host = EcrHost { account: "123456789012".into(), region: region.into(), fips, dual_stack };
            assert_eq!(EcrHost::parse(text), Ok(host), "{text}");
        }
    }

    #[test]
    fn a_malformed_name_is_refused_with_the_rule() {
        for (text, says) in [
            ("https://123456789012.dkr.ecr.us-east-1.amazonaws.com/", "drop the scheme, write 123456789012.dkr"),
            ("123456789012.dkr.ecr.us-east-1.amazonaws.com/spectro-packs", "write only the host name, 123456789012.dkr"),
            ("AWS:x@123456789012.dkr.ecr.us-east-1.amazonaws.com", "contains credentials"),
            ("public.ecr.aws", "the public gallery"),
            ("harbor.example", "not an ECR host name"),
            ("12345678901.dkr.ecr.us-east-1.amazonaws.com", "not an ECR host name"),
            ("123456789012.dkr.ecr.us-east-1.amazonaws.com.evil.example", "not an ECR host name"),
            ("123456789012.dkr.ecr.us-east-1.evil.amazonaws.com", "not an ECR host name"),
            ("123456789012.dkr.ecr..amazonaws.com", "not an ECR host name"),
            ("123456789012.dkr.ecr.us-east-1.on.aws", "not an ECR host name"),
            ("123456789012.dkr.ecr.us-east-1.amazonaws.com:8443", "not an ECR host name"),
            ("", "not an ECR host name"),
        ] {
            let said = EcrHost::parse(text).unwrap_err();
            assert!(said.contains(says), "{text}: {said}");
        }
    }

    #[test]
    fn a_region_has_words_and_a_number() {
        for region in ["us-east-1", "ap-southeast-10", "us-gov-west-1", "mx-central-1"] {
            assert!(is_region(region), "{region}");
        }
        for text in ["", "useast1", "us-east", "us-east-", "-us-1", "us east 1", "US-EAST-1", "us-east-1.evil.example", "us-1"] {
            assert!(!is_region(text), "{text}");
        }
    }
}
