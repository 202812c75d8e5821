//! Gets region and credentials from the AWS configuration, then makes one request to ECR.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ecr::config::Builder as EcrConfig;
use aws_sdk_ecr::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ecr::operation::get_authorization_token::{GetAuthorizationTokenError, GetAuthorizationTokenOutput};
use jiff::Timestamp;
use scar_tool::{Console, Exit, Failure, never_show};
use scar_trust::Trust;
use secrecy::{ExposeSecret, SecretString};

use crate::connect::{Answer, LastExchange, SdkHttp};
use crate::no_credentials;
use crate::options::variable;
use crate::refusal::{AwsRefusal, chain, of_credentials, refused, unsent};
use crate::registry::Registry;
use crate::token::{Entry, choose, left, password};

/// Requests the registry's password.
///
/// # Errors
/// By exit status: 2 no region, 4 credentials, 5 certificates, 6 network, 7 malformed answer.
pub(crate) async fn password_of(registry: &Registry, trust: &Trust, console: &Console) -> Result<SecretString, Failure> {
    // Two clients: the client certificate is only for ECR's API or a VPC endpoint, never for the sources of credentials.
    let http = SdkHttp::new(trust, true, console)?;
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http.clone());
    if let Some(region) = &registry.region {
        loader = loader.region(Region::new(region.clone()));
    }
    let sdk = loader.load().await;
    let Some(region) = sdk.region().map(ToString::to_string) else {
        return Err(Failure::misuse("find the registry's region: neither HOST nor the AWS configuration names one")
            .hint("give HOST or --region, or set ECR_PACK_REGISTRY_REGION or AWS_REGION"));
    };
    let credentials = credentials(&sdk, &http, console).await?;
    let act = format!("get a token for {}", registry.named(&region));
    let http = SdkHttp::new(trust, false, console)?;
    let client = client(&sdk, registry, &credentials, &http);
    // The parameter is deprecated, because a token is valid for all registries. But without it the answer names only the
    // registry of the credentials' account, and could not be compared with the requested one (ECR API, GetAuthorizationToken).
    #[allow(deprecated)]
    let request = client.get_authorization_token().set_registry_ids(registry.account.clone().map(|account| vec![account]));
    let answer = request.send().await;
    let answer = answer.map_err(|error| no_token(&act, &region, &error, &http))?;
    let mismatch = |cause: &str| {
        Failure::new(Exit::Mismatch, format!("{act}: {cause}"))
            .hint("check what answers there (--endpoint-url), and --registry-id or HOST")
    };
    let entries = entries(&answer);
    let entry = choose(&entries, registry.account.as_deref(), &region).map_err(|cause| mismatch(&cause))?;
    let password = password(entry.token.expose_secret())
        .map_err(|cause| mismatch(&format!("the token for '{}' is malformed: {cause}", entry.endpoint)))?;
    print_expiry(entry, Timestamp::now(), console);
    Ok(password)
}

async fn credentials(sdk: &SdkConfig, http: &SdkHttp, console: &Console) -> Result<Credentials, Failure> {
    let act = "load AWS credentials";
    let Some(provider) = sdk.credentials_provider() else { return Err(nothing_found(act)) };
    let found = provider.provide_credentials().await;
    let credentials = found.map_err(|error| no_credentials(act, &error, &http.last()))?;
    // AWS quotes the whole request, session token included, if its signature is wrong.
    never_show(credentials.secret_access_key());
    never_show(credentials.session_token().unwrap_or_default());
    let key = credentials.access_key_id();
    // As `aws configure list` shows it (aws-cli awscli/customizations/configure/__init__.py, `mask_value`).
    let suffix = key.char_indices().rev().nth(3).map_or("", |(at, _)| &key[at..]);
    console.verbose(|| format!("AWS credentials: the access key that ends in '{suffix}'"));
    Ok(credentials)
}

fn nothing_found(act: &str) -> Failure {
    no_credentials::failure(act, variable, |path| std::path::Path::new(path).exists())
}

/// The failure when no source gave credentials.
fn no_credentials(act: &str, error: &CredentialsError, last: &LastExchange) -> Failure {
    // A host without a role looks like one whose firewall blocks the metadata service: the last of the sources fails at its first
    // request, that for a token (aws-config src/default_provider/credentials.rs, src/imds/client/token.rs).
    let metadata = last.answer.as_ref().filter(|answer| answer.request.ends_with("/latest/api/token"));
    match (error, metadata) {
        (CredentialsError::CredentialsNotLoaded(_), _) if last.refused.is_none() => nothing_found(act),
        (CredentialsError::ProviderError(_), Some(answer)) if !answer.status.is_success() => {
            nothing_found(act).detail(format!("the last answer: {}: {}", answer.request, answer.status))
        }
        _ => {
            let misconfigured = matches!(error, CredentialsError::InvalidConfiguration(_));
            of_credentials(act, error, last, misconfigured, Timestamp::now())
        }
    }
}

fn client(sdk: &SdkConfig, registry: &Registry, credentials: &Credentials, http: &SdkHttp) -> aws_sdk_ecr::Client {
    let mut config = EcrConfig::from(sdk).http_client(http.clone()).credentials_provider(credentials.clone());
    if let Some(endpoint) = &registry.endpoint {
        // The SDK refuses a given endpoint together with FIPS or dual-stack (aws-sdk-ecr src/config/endpoint/internals.rs), which
        // the profile may ask for.
        config = config.endpoint_url(endpoint.as_str()).use_fips(false).use_dual_stack(false);
    }
    if registry.fips {
        config = config.use_fips(true);
    }
    if registry.dual_stack {
        config = config.use_dual_stack(true);
    }
    aws_sdk_ecr::Client::from_conf(config.build())
}

/// The failure for a request that returned no token.
fn no_token(act: &str, region: &str, error: &SdkError<GetAuthorizationTokenError>, http: &SdkHttp) -> Failure {
    let within_reach = format!("is '{region}' a region, and its ECR API within reach (VPC endpoint, --endpoint-url)?");
    match (unsent(act, error), error) {
        (Some(failure), _) if failure.exit == Exit::Unreachable => failure.detail(within_reach),
        (Some(failure), _) => failure,
        (None, SdkError::ConstructionFailure(_)) => Failure::misuse(format!("{act}: {}", chain(error))),
        (None, error) => match http.last().answer {
            Some(answer) if error.raw_response().is_some() => answered(act, error, &answer),
            _ => Failure::new(Exit::Unreachable, format!("{act}: {}", chain(error)))
                .hint("it is safe to run this step again")
                .detail(within_reach),
        },
    }
}

fn answered(act: &str, error: &SdkError<GetAuthorizationTokenError>, answer: &Answer) -> Failure {
    if answer.status.is_success() {
        // Its body may contain a token, so it is not shown.
        let cause = format!("{act}: {}: the answer is not ECR's", answer.request);
        return Failure::new(Exit::Mismatch, cause).hint("check what answers there (--endpoint-url, a captive portal, a proxy)");
    }
    let code = error.code().unwrap_or_default();
    let body = error.raw_response().and_then(|raw| raw.body().bytes()).unwrap_or_default();
    let words =
        error.message().map_or_else(|| if code.is_empty() { scar_http::words(body) } else { String::new() }, str::to_owned);
    refused(act, &AwsRefusal { answer, code, words: &words }, Timestamp::now())
}

fn entries(answer: &GetAuthorizationTokenOutput) -> Vec<Entry> {
    let expires = |time: &aws_sdk_ecr::primitives::DateTime| Timestamp::from_second(time.secs()).ok();
    answer
        .authorization_data()
        .iter()
        .map(|data| Entry {
            token: data.authorization_token().unwrap_or_default().to_owned().into(),
            endpoint: data.proxy_endpoint().unwrap_or_default().to_owned(),
            expires: data.expires_at().and_then(expires),
        })
        .collect()
}

fn print_expiry(entry: &Entry, now: Timestamp, console: &Console) {
    let Some(expires) = entry.expires else { return };
    match left(expires, now) {
        Some(left) => console.verbose(|| format!("the token for '{}' is good until {expires}, for {left}", entry.endpoint)),
        None => console.warn(format!("the token for '{}' expired at {expires}: is this host's clock right?", entry.endpoint)),
    }
}
