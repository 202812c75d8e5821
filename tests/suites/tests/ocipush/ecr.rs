//! A registry with an ECR host name, reached through a proxy: what ocipush says about ECR's refusals.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use scar_kit::{Outcome, secret, tool};
use scar_lab::certs::Certs;
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::proxy::{Manner, Proxy};
use scar_lab::registry::{Auth, Credentials, Profile, RegistryOptions, Rule};
use scar_lab::server::Listener;
use serde_json::json;

use crate::{REPOSITORY, Site};

const HOST: &str = "123456789012.dkr.ecr.us-gov-west-1.amazonaws.com";
const NEW_PASSWORD: &str = "aws ecr get-login-password --region us-gov-west-1 | ocipush -u AWS --password-stdin";

/// A password in ECR's format with this expiry.
fn password(expiration: i64) -> String {
    let token = json!({"payload": "canary", "datakey": "x", "version": "2", "type": "DATA_KEY", "expiration": expiration});
    secret(&STANDARD.encode(token.to_string()))
}

struct Ecr {
    site: Site,
    proxy: Proxy,
    password: String,
}

impl Ecr {
    fn new(rule: Option<Rule>) -> Self {
        let certs = Certs::new(&[HOST]);
        let password = password(4_102_444_800);
        let site = Site::start(RegistryOptions {
            listener: Listener::tls(certs.server_config()),
            auth: Auth::Basic(Credentials::new("AWS", &password)),
            profile: Profile::Ecr,
            rule,
            ..RegistryOptions::default()
        });
        std::fs::write(site.folder.path().join("ca.pem"), certs.ca_pem()).unwrap();
        let proxy = Proxy::start(Manner::Open);
        proxy.lead(&format!("{HOST}:443"), site.registry.addr());
        Self { site, proxy, password }
    }

    fn push(&self, size: usize, password: &str) -> Outcome {
        let run = tool("ocipush").arg(HOST).arg(self.site.archive(size)).args(["-u", "AWS", "--password-stdin", "--new-record"]);
        let run =
            run.stdin(password).env("HTTPS_PROXY", self.proxy.url()).arg("--ca-file").arg(self.site.folder.path().join("ca.pem"));
        run.args(["--retries", "2", "--retry-max-wait", "20ms"]).run()
    }
}

fn error(status: u16, code: &str, message: &str) -> Action {
    Action::Answer(Answer::json(status, &json!({"errors": [{"code": code, "message": message}]})))
}

#[test]
fn an_archive_is_pushed_to_ecr() {
    let ecr = Ecr::new(None);
    // Like ECR: no digest and no location for a manifest; 201 for a chunk, whose range sticks.
    let bare = Action::edit(|response| {
        response.headers_mut().remove("docker-content-digest");
        response.headers_mut().remove("location");
    });
    ecr.site.registry.faults().on(Match::put("/v2/**/manifests/*"), Times::Always, bare);
    let outcome = ecr.push(100_000, &ecr.password);
    outcome.succeeds();
    assert_eq!(outcome.json()["artifact"]["registry"], HOST);
    assert!(ecr.site.tag().is_some());
    assert!(ecr.proxy.asked().iter().all(|asked| asked.target == format!("{HOST}:443")));
}

#[test]
fn p15_a_missing_ecr_repository_is_reported_with_the_command_to_create_it() {
    let ecr = Ecr::new(None);
    let missing =
        error(404, "NAME_UNKNOWN", "The repository with name 'x' does not exist in the registry with id '123456789012'");
    let fault = ecr.site.registry.faults().on(Match::post("/v2/**/blobs/uploads/"), Times::Always, missing);
    ecr.push(10, &ecr.password).exits(3).writes_nothing().says(&format!(
        "ocipush: hint: create the repository {REPOSITORY} first: aws ecr create-repository --region us-gov-west-1 \
         --registry-id 123456789012 --repository-name {REPOSITORY}\n"
    ));
    assert_eq!(fault.hits(), 1);
}

#[test]
fn bad_input_15_an_expired_ecr_password_is_reported_with_its_expiry() {
    let ecr = Ecr::new(None);
    let expired = password(1_733_488_994);
    let outcome = ecr.push(10, &expired);
    outcome
        .exits(4)
        .writes_nothing()
        .says(&format!("the password expired at 2024-12-06T12:43:14Z; get a new one: {NEW_PASSWORD}"));
    // The registry knows better than this host's clock.
    let says = error(403, "DENIED", "Your authorization token has expired. Reauthenticate and try again.");
    ecr.site.registry.faults().on(Match::get("/v2/**/manifests/*"), Times::Nth(2), says);
    let outcome = ecr.push(10, &ecr.password);
    outcome
        .exits(4)
        .writes_nothing()
        .says("has expired")
        .says(&format!("the password expired at 2100-01-01T00:00:00Z; get a new one: {NEW_PASSWORD}"));
}

#[test]
fn bad_input_16_a_password_of_another_account_or_region_is_reported() {
    let ecr = Ecr::new(None);
    let elsewhere = password(4_102_444_799);
    let outcome = ecr.push(10, &elsewhere);
    outcome.exits(4).writes_nothing().says(
        "the password is valid until 2099-12-31T23:59:59Z: it is for another account than 123456789012 or another region than us-gov-west-1",
    );
    let tried = |request: &&scar_lab::log::Request| request.header("authorization").is_some();
    assert_eq!(ecr.site.registry.log().requests().iter().filter(tried).count(), 1, "a password is tried once");
}

#[test]
fn p33_an_immutable_tag_of_ecr_is_reported() {
    let ecr = Ecr::new(Some(Rule::Immutable));
    ecr.push(10, &ecr.password).succeeds();
    let before = ecr.site.tag();
    ecr.push(10, &ecr.password).succeeds().says("nothing was sent");
    ecr.push(20, &ecr.password).exits(1).writes_nothing().says("the tag 0.0.0 is immutable and holds another manifest");
    assert_eq!(ecr.site.tag(), before);
}

#[test]
fn bad_input_16_a_missing_iam_permission_is_named() {
    for (matcher, action) in [
        (Match::post("/v2/**/blobs/uploads/"), "ecr:InitiateLayerUpload"),
        (Match::put("/v2/**/manifests/*"), "ecr:PutImage"),
        (Match::get("/v2/**/manifests/*"), "ecr:BatchGetImage"),
    ] {
        let ecr = Ecr::new(None);
        let message = format!(
            "User: arn:aws-us-gov:iam::123456789012:user/packs is not authorized to perform: {action} on resource: \
             arn:aws-us-gov:ecr:us-gov-west-1:123456789012:repository/{REPOSITORY} because no identity-based policy allows \
             the {action} action"
        );
        let fault = ecr.site.registry.faults().on(matcher, Times::Always, error(403, "DENIED", &message));
        ecr.push(10, &ecr.password).exits(4).writes_nothing().says(&format!(
            "ocipush: hint: the user's policy lacks {action}; a push to '{REPOSITORY}' needs ecr:BatchCheckLayerAvailability, \
             ecr:InitiateLayerUpload, ecr:UploadLayerPart, ecr:CompleteLayerUpload, ecr:PutImage, ecr:BatchGetImage, \
             ecr:GetDownloadUrlForLayer\n"
        ));
        assert_eq!(fault.hits(), 1);
    }
}
