//! Decides from options and environment, before any request, which registry's token to get.

use scar_http::{Origin, Url};
use scar_tool::{Exit, Failure};

use crate::host::{EcrHost, is_account, is_region};
use crate::options::{Environment, Options};

/// The registry that the token is for.
#[derive(Debug, PartialEq, Eq, Default)]
pub(crate) struct Registry {
    /// The region; `None` for that of the AWS configuration.
    pub(crate) region: Option<String>,
    /// The account; `None` for that of the credentials.
    pub(crate) account: Option<String>,
    /// Use the API's FIPS endpoint, as the registry's host does.
    pub(crate) fips: bool,
    /// Use the API's dual-stack endpoint, as the registry's host does.
    pub(crate) dual_stack: bool,
    /// The API's address, with --endpoint-url.
    pub(crate) endpoint: Option<Url>,
}

impl Registry {
    /// Decides. An option that contradicts the host name is refused. Both take precedence over the environment, and
    /// `ECR_PACK_REGISTRY` counts only if neither HOST nor an option names the registry.
    ///
    /// # Errors
    /// Exit 2 for malformed or contradicting values; exit 5 for an endpoint that would expose the token to the network.
    pub(crate) fn new(options: &Options, environment: &Environment) -> Result<Self, Failure> {
        let mut registry = Self {
            region: options.region.as_deref().map(|text| region("--region", text)).transpose()?,
            account: options.registry_id.as_deref().map(account).transpose()?,
            endpoint: options.endpoint_url.as_deref().map(endpoint).transpose()?,
            ..Self::default()
        };
        // ECR_PACK_REGISTRY may be left in the environment by the airgap set-up; an option is meant for this run.
        let of_options = registry.region.is_none() && registry.account.is_none();
        let typed = options.host.as_deref().map(|host| ("HOST", host));
        let set = environment.registry.as_deref().filter(|_| of_options).map(|text| ("ECR_PACK_REGISTRY", without_prefix(text)));
        if let Some((source, text)) = typed.or(set) {
            registry.take(source, text)?;
            // The set-up of an airgapped site sets both variables (VerteX documentation, airgap environment setup); if they
            // differ, one of them is left over from another site.
            if source == "ECR_PACK_REGISTRY"
                && let Some(set) = environment.region.as_deref().filter(|set| registry.region.as_deref() != Some(*set))
            {
                return Err(contradiction(text, "region", registry.region.as_deref(), "ECR_PACK_REGISTRY_REGION", set));
            }
        }
        if registry.region.is_none() {
            registry.region = environment.region.as_deref().map(|text| region("ECR_PACK_REGISTRY_REGION", text)).transpose()?;
        }
        Ok(registry)
    }

    /// Takes account and region from a host name.
    fn take(&mut self, source: &str, text: &str) -> Result<(), Failure> {
        let host = EcrHost::parse(text).map_err(|cause| {
            Failure::misuse(format!("read {source} '{}': {cause}", hidden(text)))
                .hint("leave it out and give --region (and --registry-id) for a registry behind another name")
        })?;
        match &self.region {
            Some(asked) if *asked != host.region => {
                return Err(contradiction(text, "region", Some(&host.region), "--region", asked));
            }
            _ => self.region = Some(host.region),
        }
        match &self.account {
            Some(asked) if *asked != host.account => {
                return Err(contradiction(text, "account", Some(&host.account), "--registry-id", asked));
            }
            _ => self.account = Some(host.account),
        }
        // A given endpoint is used unchanged.
        let chosen = self.endpoint.is_none();
        (self.fips, self.dual_stack) = (chosen && host.fips, chosen && host.dual_stack);
        Ok(())
    }

    /// The registry, for messages.
    pub(crate) fn named(&self, region: &str) -> String {
        match &self.account {
            Some(account) => format!("registry {account} in {region}"),
            None => format!("the credentials' own registry in {region}"),
        }
    }
}

/// The host of HOST/PREFIX, as the airgap set-up writes it.
fn without_prefix(text: &str) -> &str {
    match text.split_once('/') {
        Some((host, _)) if !text.contains("://") => host,
        _ => text,
    }
}

/// A host name without a prefix that may be a password.
fn hidden(text: &str) -> String {
    text.rsplit_once('@').map_or_else(|| text.to_owned(), |(_, host)| format!("…@{host}"))
}

fn contradiction(host: &str, what: &str, says: Option<&str>, option: &str, asked: &str) -> Failure {
    let says = says.unwrap_or_default();
    Failure::misuse(format!("'{host}' is in {what} {says}, {option} says {asked}")).hint("leave one of them out")
}

fn region(option: &str, text: &str) -> Result<String, Failure> {
    if is_region(text) {
        return Ok(text.to_owned());
    }
    Err(Failure::misuse(format!("read {option} '{text}': it is not a region, such as us-east-1")))
}

fn account(text: &str) -> Result<String, Failure> {
    if is_account(text) {
        return Ok(text.to_owned());
    }
    Err(Failure::misuse(format!("read --registry-id '{text}': an account has twelve digits")))
}

fn endpoint(text: &str) -> Result<Url, Failure> {
    let (origin, path) = Origin::parse(text)?;
    if origin.is_plain() && !origin.is_loopback() {
        let cause = format!("ask '{origin}': plain HTTP would show the token to the network");
        return Err(Failure::new(Exit::Unsafe, cause).hint("use https://"));
    }
    origin.url(&format!("/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    const HOST: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com";

    fn chosen(arguments: &[&str], registry: &str, region: &str) -> Result<Registry, Failure> {
        let options = Options::try_parse_from(["ecr-password"].iter().chain(arguments)).unwrap();
        let set = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Registry::new(&options, &Environment { registry: set(registry), region: set(region) })
    }

    fn named(region: &str, account: &str) -> Registry {
        let set = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Registry { region: set(region), account: set(account), ..Registry::default() }
    }

    #[test]
    fn host_then_options_then_environment() {
        let other = "210987654321.dkr.ecr.eu-west-1.amazonaws.com";
        for (arguments, registry, region, found) in [
            (&[HOST][..], "", "", named("us-east-1", "123456789012")),
            (&[HOST], other, "eu-west-1", named("us-east-1", "123456789012")),
            (&[HOST, "--region", "us-east-1", "--registry-id", "123456789012"], "", "", named("us-east-1", "123456789012")),
            (&[], other, "", named("eu-west-1", "210987654321")),
            (&[], other, "eu-west-1", named("eu-west-1", "210987654321")),
            (&["--region", "us-east-1"], other, "eu-west-1", named("us-east-1", "")),
            (&["--registry-id", "123456789012"], other, "eu-west-1", named("eu-west-1", "123456789012")),
            (&[], "", "eu-west-1", named("eu-west-1", "")),
            (&[], "", "", named("", "")),
        ] {
            assert_eq!(chosen(arguments, registry, region).unwrap(), found, "{arguments:?} {registry} {region}");
        }
    }

    #[test]
    fn a_contradiction_names_both() {
        for (arguments, registry, region, says) in [
            (&[HOST, "--region", "eu-west-1"][..], "", "", "is in region us-east-1, --region says eu-west-1"),
            (&[HOST, "--registry-id", "210987654321"], "", "", "in account 123456789012, --registry-id says 210987654321"),
            (&[], HOST, "eu-west-1", "is in region us-east-1, ECR_PACK_REGISTRY_REGION says eu-west-1"),
        ] {
            let failure = chosen(arguments, registry, region).unwrap_err();
            assert_eq!(failure.exit, Exit::Misuse);
            assert!(failure.message.contains(says), "{}", failure.message);
        }
    }

    #[test]
    fn malformed_values_are_named_with_their_source() {
        for (arguments, registry, region, says) in [
            (&["--region", "us-east"][..], "", "", "read --region 'us-east'"),
            (&["--registry-id", "12"], "", "", "read --registry-id '12': an account has twelve digits"),
            (&["harbor.example"], "", "", "read HOST 'harbor.example': it is not an ECR host name"),
            (&[], "harbor.example", "", "read ECR_PACK_REGISTRY 'harbor.example'"),
            (&[], "", "nowhere", "read ECR_PACK_REGISTRY_REGION 'nowhere'"),
            (&["AWS:canary@x.example"], "", "", "read HOST '…@x.example'"),
        ] {
            let failure = chosen(arguments, registry, region).unwrap_err();
            assert_eq!(failure.exit, Exit::Misuse);
            assert!(failure.message.contains(says) && !failure.message.contains("canary"), "{}", failure.message);
        }
    }

    #[test]
    fn a_fips_or_dual_stack_host_chooses_the_like_endpoint_unless_one_is_given() {
        let host = "123456789012.dkr-ecr-fips.us-east-1.on.aws";
        let found = chosen(&[host], "", "").unwrap();
        assert!(found.fips && found.dual_stack);
        let given = chosen(&[host, "--endpoint-url", "https://ecr.example/x"], "", "").unwrap();
        assert!(!given.fips && !given.dual_stack);
        assert_eq!(given.endpoint.unwrap().as_str(), "https://ecr.example/x");
    }

    #[test]
    fn a_token_never_comes_in_clear_over_a_network() {
        assert_eq!(chosen(&["--endpoint-url", "http://ecr.example"], "", "").unwrap_err().exit, Exit::Unsafe);
        assert!(chosen(&["--endpoint-url", "http://127.0.0.1:5000"], "", "").is_ok());
    }
}
