//! `ecr-password` against moto's server, and against faulty answers of ECR and each credential source.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod rig;

use std::time::Duration;

use axum::Router;
use axum::routing::{get, put};
use rig::*;
use scar_kit::{Run, Signal, peer, program, secret};
use scar_lab::certs::Certs;
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::server::{Listener, Server};
use serde_json::json;
use tempfile::TempDir;

#[test]
fn prints_what_the_aws_cli_prints() {
    let (Some(moto), home) = (Moto::start(), home()) else { return };
    let ours = ecr(&home).args([HOST, "--endpoint-url", &moto.url, "-q"]).run();
    ours.succeeds().quiet().prints("123456789012-auth-token\n");
    let Some(aws) = peer("aws") else { return };
    let theirs = program(aws).home(home.path()).args(["ecr", "get-login-password"]);
    let theirs = theirs.args(["--region", "us-east-1", "--endpoint-url", &moto.url]).run();
    theirs.succeeds().prints(&ours.stdout());
}

#[test]
fn an_assumed_role_and_a_web_identity_work_through_moto_s_sts() {
    let (Some(moto), home, api) = (Moto::start(), home(), api(Listener::plain())) else { return };
    let role = "arn:aws:iam::123456789012:role/push";
    write(&home, "config", &format!("[profile site]\nrole_arn = {role}\nsource_profile = default\nregion = us-east-1\n"));
    let assumed = asks(&home, &api).env("AWS_PROFILE", "site").env("AWS_ENDPOINT_URL_STS", &moto.url).run();
    assumed.succeeds().quiet().prints(&format!("{PASSWORD}\n"));
    assert!(signer(&api).starts_with("ASIA"), "a session's key signs");
    api.log().clear();
    let (empty, token) = (TempDir::new().unwrap(), home.path().join("token"));
    std::fs::write(&token, "header.claims.signature").unwrap();
    let identity = asks(&empty, &api).env("AWS_WEB_IDENTITY_TOKEN_FILE", &token).env("AWS_ROLE_ARN", role);
    identity.env("AWS_ENDPOINT_URL_STS", &moto.url).run().succeeds().quiet();
    assert!(signer(&api).starts_with("ASIA"), "a session's key signs");
}

#[test]
fn says_with_v_which_key_and_until_when_and_with_vv_each_request() {
    let (home, api) = (home(), api(Listener::plain()));
    asks(&home, &api).run().succeeds().quiet();
    let once = asks(&home, &api).arg("-v").run();
    once.succeeds().prints(&format!("{PASSWORD}\n")).says("the access key that ends in 'AULT'\n");
    once.says("the token for 'https://123456789012.dkr.ecr.us-east-1.amazonaws.com' is good until 2100-01-01T00:00:00Z, for ");
    once.says("'http://API' is reached directly\n").never_says(PASSWORD).never_says("POST");
    let twice = asks(&home, &api).arg("-vv").run();
    twice.succeeds().says("> POST http://API/\n").says("< 200 OK for POST http://API/\n").never_says(PASSWORD);
    let sent = api.log().requests()[0].clone();
    assert_eq!(sent.header("x-amz-target"), Some("AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"));
    assert_eq!(sent.json(), json!({ "registryIds": [ACCOUNT] }));
}

#[test]
fn reads_no_record_and_asks_for_the_environments_registry() {
    let (home, api) = (home(), api(Listener::plain()));
    let run = ecr(&home).args(["--endpoint-url", &api.url()]).env("ECR_PACK_REGISTRY", HOST).stdin("no record at all");
    run.run().succeeds().quiet().prints(&format!("{PASSWORD}\n"));
    assert_eq!(api.log().requests()[0].json(), json!({ "registryIds": [ACCOUNT] }));
    let with_prefix = ecr(&home).arg("--dry-run").env("ECR_PACK_REGISTRY", format!("{HOST}/prefix/"));
    with_prefix.run().succeeds().reports("ecr-password: would get a token for registry 123456789012 in us-east-1\n");
    let own = ecr(&home).args(["--endpoint-url", &api.url()]).env("AWS_REGION", "us-east-1").run();
    own.succeeds().quiet().prints(&format!("{PASSWORD}\n"));
    assert_eq!(api.log().requests()[1].json(), json!({}));
}

#[test]
fn each_credential_source_of_the_sdk_signs() {
    let (empty, api) = (TempDir::new().unwrap(), api(Listener::plain()));
    let expires = "2099-01-01T00:00:00Z";
    let credentials = |id: &str| json!({ "AccessKeyId": id, "SecretAccessKey": KEY, "Token": SESSION, "Expiration": expires });
    let (container, instance) = (credentials("AKIACONTAINER"), credentials("AKIAINSTANCE"));
    let single_sign_on = json!({ "roleCredentials":
        { "accessKeyId": "AKIASSO", "secretAccessKey": KEY, "sessionToken": SESSION, "expiration": 4_102_444_800_000_u64 } });
    let metadata = "/latest/meta-data/iam/security-credentials";
    let mut instance_answer = instance;
    instance_answer["Code"] = json!("Success");
    let token = || async { ([("x-aws-ec2-metadata-token-ttl-seconds", "21600")], "metadata-token") };
    let sources = Router::new()
        .route("/container", get(async move || axum::Json(container)))
        .route("/latest/api/token", put(token))
        .route(&format!("{metadata}/"), get(async || "push-role"))
        .route(&format!("{metadata}/push-role"), get(async move || axum::Json(instance_answer)))
        .route("/federation/credentials", get(async move || axum::Json(single_sign_on)));
    let sources = Server::start(sources, Listener::plain());

    let signed_by = |run: Run, key: &str| {
        api.log().clear();
        run.run().succeeds().quiet().prints(&format!("{PASSWORD}\n"));
        assert_eq!(signer(&api), key);
    };
    signed_by(asks(&home(), &api), "AKIADEFAULT");
    signed_by(asks(&home(), &api).env("AWS_ACCESS_KEY_ID", "AKIAENVIRON").env("AWS_SECRET_ACCESS_KEY", KEY), "AKIAENVIRON");
    let uri = format!("{}/container", sources.url());
    signed_by(asks(&empty, &api).env("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri), "AKIACONTAINER");
    let instance = asks(&empty, &api).env("AWS_EC2_METADATA_DISABLED", "false");
    signed_by(instance.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", sources.url()), "AKIAINSTANCE");

    let process = TempDir::new().unwrap();
    let written = json!({ "Version": 1, "AccessKeyId": "AKIAPROCESS", "SecretAccessKey": KEY, "Expiration": expires });
    std::fs::write(process.path().join("answer.json"), written.to_string()).unwrap();
    let command = format!("cat {}", process.path().join("answer.json").display());
    write(&process, "config", &format!("[default]\ncredential_process = {command}\n"));
    signed_by(asks(&process, &api), "AKIAPROCESS");

    let sso = TempDir::new().unwrap();
    write(
        &sso,
        "config",
        "[default]\nsso_session = rehearsal\nsso_account_id = 123456789012\nsso_role_name = push\n\
         [sso-session rehearsal]\nsso_region = us-east-1\nsso_start_url = https://sso.example/start\n",
    );
    let cached = json!({ "accessToken": secret("canary-sso-token"), "expiresAt": expires, "region": "us-east-1",
        "startUrl": "https://sso.example/start" });
    // The file's name is the SHA-1 of the session's.
    write(&sso, "sso/cache/d6cb3ba323567c80d12967d06c1e2e1795600344.json", &cached.to_string());
    signed_by(asks(&sso, &api).env("AWS_ENDPOINT_URL_SSO", sources.url()).arg("-q"), "AKIASSO");
    let traced = asks(&sso, &api).env("AWS_ENDPOINT_URL_SSO", sources.url()).arg("-vv").run();
    traced.succeeds().says("/federation/credentials?role_name=…&account_id=…\n");
    let asked = sources.log().matching(&Match::get("/federation/credentials"));
    assert_eq!(asked[0].header("x-amz-sso_bearer_token"), Some("canary-sso-token"));
}

#[test]
fn e1_without_credentials_it_says_where_it_looked() {
    let (empty, api) = (TempDir::new().unwrap(), api(Listener::plain()));
    asks(&empty, &api).called(empty.path().display(), "HOME").run().fails(
        4,
        "ecr-password: error: load AWS credentials: none found\n\
         \x20 environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY are not set\n\
         \x20 profile 'default': 'HOME/.aws/config' is not there, 'HOME/.aws/credentials' is not there\n\
         \x20 web identity: AWS_WEB_IDENTITY_TOKEN_FILE is not set\n\
         \x20 container: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI, AWS_CONTAINER_CREDENTIALS_FULL_URI are not set\n\
         \x20 instance metadata: turned off by AWS_EC2_METADATA_DISABLED\n\
         ecr-password: hint: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run on an instance or in a pod \
         with a role\n",
    );
    assert_eq!(api.log().connections(), 0);
}

#[test]
fn e1_a_host_without_instance_metadata_is_not_waited_for() {
    let (empty, api) = (TempDir::new().unwrap(), api(Listener::plain()));
    let silent = Server::start(Router::new(), Listener::plain());
    silent.faults().on(Match::any("/**"), Times::Always, Action::Stall);
    let run = asks(&empty, &api).env("AWS_EC2_METADATA_DISABLED", "false").timeout(Duration::from_secs(20));
    let run = run.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", silent.url()).called(silent.authority(), "METADATA").run();
    run.exits(4)
        .writes_nothing()
        .says("load AWS credentials: none found\n")
        .says("instance metadata: 'http://METADATA' gave none");
    silent.faults().clear();
    silent.faults().on(Match::any("/**"), Times::Always, Action::Answer(Answer::status(403)));
    let run = asks(&empty, &api).env("AWS_EC2_METADATA_DISABLED", "false");
    let run = run.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", silent.url()).called(silent.authority(), "METADATA").run();
    run.exits(4).writes_nothing().says("none found\n").says("METADATA/latest/api/token: 403 Forbidden\n");
}

#[test]
fn e1_a_refusal_is_reported_by_its_class() {
    let home = home();
    for (code, message, says) in [
        ("ExpiredTokenException", "The security token included in the request is expired", "the AWS credentials have expired"),
        ("UnrecognizedClientException", "The security token is invalid.", "AWS does not know these credentials"),
        ("AccessDeniedException", "User x is not authorized", "ecr:GetAuthorizationToken is not allowed"),
        (
            "InvalidSignatureException",
            "Signature expired: 20261124T000000Z is now earlier",
            "this host's clock differs from AWS's",
        ),
    ] {
        let server = self::says(error(code, message));
        asks(&home, &server).run().exits(4).writes_nothing().reports(&format!(
            "ecr-password: error: get a token for registry 123456789012 in us-east-1: {says}: POST http://API/: 400 Bad Request: \
             {code}: {message}\n{}",
            hint(says)
        ));
        assert_eq!(server.log().requests().len(), 1, "credentials that are refused are not tried again");
    }
}

fn hint(cause: &str) -> String {
    let hint = match cause {
        "the AWS credentials have expired" => "sign in again (aws sso login), or renew their session",
        "AWS does not know these credentials" => {
            "check the access key and its session token, and that they belong to the region's partition (commercial, GovCloud, China)"
        }
        "ecr:GetAuthorizationToken is not allowed" => {
            "allow this identity the action ecr:GetAuthorizationToken on resource \"*\", also in the policy of a VPC endpoint on the \
             way"
        }
        _ => "set the clock (timedatectl, chronyc makestep) and run it again",
    };
    format!("ecr-password: hint: {hint}\n")
}

#[test]
fn e1_a_wrong_clock_is_reported_with_both_times() {
    let refusal = error("InvalidSignatureException", "does not match").header("date", "Tue, 01 Jan 2019 00:00:00 GMT");
    let run = asks(&home(), &says(refusal)).run();
    run.exits(4)
        .writes_nothing()
        .says("this host's clock differs from AWS's")
        .says("there 2019-01-01T00:00:00Z: ")
        .says(" min ahead\n");
}

#[test]
fn e1_no_region_is_misuse_with_a_hint() {
    ecr(&home()).run().fails(
        2,
        "ecr-password: error: find the registry's region: neither HOST nor the AWS configuration names one\n\
         ecr-password: hint: give HOST or --region, or set ECR_PACK_REGISTRY_REGION or AWS_REGION\n",
    );
}

#[test]
fn e1_a_configuration_that_cannot_be_used_is_misuse() {
    let run = ecr(&home()).arg(HOST).env("AWS_PROFILE", "absent").run();
    run.exits(2).writes_nothing().says("load AWS credentials: ").says("absent").says("hint: correct the AWS configuration");
}

#[test]
fn e1_a_source_that_fails_is_reported_with_its_words() {
    let failing = TempDir::new().unwrap();
    write(&failing, "config", "[default]\ncredential_process = sh -c 'echo vault is sealed >&2; exit 3'\n");
    ecr(&failing).arg(HOST).run().exits(4).writes_nothing().says("load AWS credentials: ").says("vault is sealed");
    let sts = Server::start(Router::new(), Listener::plain());
    let denied = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not authorized to perform: \
                  sts:AssumeRole</Message></Error></ErrorResponse>";
    sts.faults().on(Match::post("/"), Times::First(1), Action::Answer(Answer::status(403).body(denied)));
    sts.faults().on(Match::post("/"), Times::Always, Action::Answer(Answer::status(503)));
    let home = home();
    write(&home, "config", "[profile site]\nrole_arn = arn:aws:iam::123456789012:role/push\nsource_profile = default\n");
    let assumes = || ecr(&home).arg(HOST).env("AWS_PROFILE", "site").env("AWS_ENDPOINT_URL_STS", sts.url()).run();
    assumes().exits(4).writes_nothing().says("not authorized to perform: sts:AssumeRole");
    assumes().exits(6).writes_nothing().says("503 Service Unavailable");
}

#[test]
fn e2_of_two_registries_the_right_one_is_printed() {
    let entries = [entry("999999999999", "AWS:other"), entry(ACCOUNT, "AWS:right")];
    let (home, server) = (home(), says(answer(&entries)));
    asks(&home, &server).run().succeeds().quiet().prints("right\n");
    let any = ecr(&home).args(["--region", "us-east-1", "--endpoint-url", &server.url()]).run();
    any.exits(7).writes_nothing().says("the answer contains tokens of several registries: 'https://999999999999.dkr");
}

#[test]
fn e2_and_input_16_a_token_of_another_registry_names_both() {
    let server = says(answer(&[entry("999999999999", &format!("AWS:{}", secret("canary-password-of-another")))]));
    asks(&home(), &server).run().fails(
        7,
        "ecr-password: error: get a token for registry 123456789012 in us-east-1: asked for registry 123456789012 in us-east-1, \
         the token is for 'https://999999999999.dkr.ecr.us-east-1.amazonaws.com'\n\
         ecr-password: hint: check what answers there (--endpoint-url), and --registry-id or HOST\n",
    );
}

#[test]
fn e2_an_answer_without_a_password_is_a_mismatch() {
    let home = home();
    let hidden = secret("canary-malformed-token");
    for (answer, says) in [
        (answer(&[]), "the answer contains no token"),
        (answer(&[entry(ACCOUNT, "")]), "is malformed: it is empty"),
        (answer(&[entry(ACCOUNT, &format!("admin:{hidden}"))]), "is malformed: its user is not AWS"),
        (
            answer(&[entry(ACCOUNT, &format!("AWS:{hidden}\nx"))]),
            "is malformed: its password contains a space or a control character",
        ),
        (Answer::html(200, "<title>Sign in</title>"), "the answer is not ECR's"),
        (Answer::status(200), "the answer contains no token"),
        (Answer::json(200, &json!([hidden])), "the answer is not ECR's"),
    ] {
        asks(&home, &self::says(answer)).run().exits(7).writes_nothing().says(says);
    }
}

#[test]
fn e2_a_throttled_call_is_repeated_and_then_given_up() {
    let (home, api) = (home(), api(Listener::plain()));
    let throttled = error("ThrottlingException", "Rate exceeded");
    let fault = api.faults().on(Match::post("/"), Times::First(2), Action::Answer(throttled.clone()));
    asks(&home, &api).run().succeeds().quiet().prints(&format!("{PASSWORD}\n"));
    assert_eq!((fault.hits(), api.log().requests().len()), (2, 3));
    let server = says(throttled);
    let run = asks(&home, &server).run();
    run.exits(6)
        .writes_nothing()
        .says("too many requests, even after all retries: POST http://API/: 400 Bad Request: ThrottlingException");
    assert_eq!(server.log().requests().len(), 3);
}

#[test]
fn a_server_with_a_problem_is_asked_again_and_named() {
    let (home, server) = (home(), says(Answer::html(502, "<html><title>Bad gateway</title></html>")));
    let run = asks(&home, &server).run();
    run.exits(6).writes_nothing().says("POST http://API/: 502 Bad Gateway: an HTML page titled 'Bad gateway'\n");
    assert_eq!(server.log().requests().len(), 3);
    let api = api(Listener::plain());
    let lost = api.faults().on(Match::post("/"), Times::First(1), Action::LoseReply);
    asks(&home, &api).run().succeeds().quiet();
    assert_eq!(lost.hits(), 1);
}

#[test]
fn no_server_and_a_silent_one_end_in_time() {
    let (home, api) = (home(), api(Listener::plain()));
    api.faults().on(Match::post("/"), Times::Always, Action::Stall);
    let run = asks(&home, &api).args(["--timeout", "1500ms"]).timeout(Duration::from_secs(6)).run();
    run.exits(8).writes_nothing().says("not done within 1500 ms; no answer yet to POST http://API/\n");
    let gone = api.url();
    drop(api);
    let run = ecr(&home).args([HOST, "--endpoint-url", &gone]).run();
    run.exits(6).writes_nothing().says("connection refused\n").says("is 'us-east-1' a region");
}

#[test]
fn a_signal_ends_it_at_once() {
    let (home, api) = (home(), api(Listener::plain()));
    api.faults().on(Match::post("/"), Times::Always, Action::Stall);
    for (signal, status, says) in [(Signal::INT, 130, "interrupted"), (Signal::TERM, 143, "terminated")] {
        api.log().clear();
        let running = asks(&home, &api).start();
        assert!(api.log().wait(Duration::from_secs(10), |requests| !requests.is_empty()));
        running.signal(signal);
        running.wait().fails(status, &format!("ecr-password: error: {says}\n"));
    }
}

#[test]
fn trust_is_that_of_every_tool() {
    let (home, certs) = (home(), Certs::new(&[]));
    let api = api(Listener::tls(certs.server_config()));
    let run = asks(&home, &api).run();
    run.exits(5).writes_nothing().says("the certificate of '127.0.0.1' is not trusted: its issuer is not known here\n");
    run.says("SHA-256: ").says("--ca-file server.pem");
    assert!(api.log().requests().is_empty());
    assert_eq!(api.log().connections(), 1, "another try would not change a certificate");
    let ca = home.path().join("ca.pem");
    std::fs::write(&ca, certs.ca_pem()).unwrap();
    asks(&home, &api).arg("--ca-file").arg(&ca).run().succeeds().quiet();
    asks(&home, &api).env("SSL_CERT_FILE", &ca).run().succeeds().quiet();
    asks(&home, &api)
        .arg("--insecure")
        .run()
        .succeeds()
        .reports("ecr-password: warning: the certificates of AWS are not checked (--insecure)\n");
}

#[test]
fn a_redirect_is_not_followed() {
    let (home, other) = (home(), api(Listener::plain()));
    let server = says(Answer::status(307).header("location", &format!("{}/", other.url())));
    asks(&home, &server).run().exits(5).writes_nothing().says("it redirects, and redirects are not followed");
    assert_eq!(other.log().connections(), 0);
}

#[test]
fn a_proxy_that_lets_nothing_through_is_named_as_such() {
    let (home, proxy) = (home(), Server::start(Router::new(), Listener::plain()));
    proxy.tolerate_unexpected();
    let run = ecr(&home).arg(HOST).env("HTTPS_PROXY", format!("http://user:{}@{}", secret("canary-proxy"), proxy.authority()));
    let run = run.called(proxy.authority(), "PROXY").run();
    run.exits(6).writes_nothing().says("from the proxy 'http://PROXY': it refused the connection to the server\n");
    assert!(proxy.log().lines()[0].starts_with("CONNECT "), "{:?}", proxy.log().lines());
}

#[test]
fn credentials_never_go_in_clear_over_a_network() {
    let home = home();
    let run = ecr(&home).args([HOST, "--endpoint-url", "http://ecr.example"]).run();
    run.fails(
        5,
        "ecr-password: error: ask 'http://ecr.example': plain HTTP would show the token to the network\n\
         ecr-password: hint: use https://\n",
    );
    let run = ecr(&home).arg(HOST).env("AWS_ENDPOINT_URL", "http://ecr.example").run();
    run.exits(5).writes_nothing().says("'http://ecr.example': plain HTTP would show credentials to the network\n");
    let empty = TempDir::new().unwrap();
    let metadata = ecr(&empty).arg(HOST).env("AWS_EC2_METADATA_DISABLED", "false");
    let run = metadata.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://metadata.example").run();
    run.exits(5).writes_nothing().says("'http://metadata.example': plain HTTP");
}

#[test]
fn what_aws_quotes_of_a_request_is_not_repeated() {
    let quoted = format!(
        "The request signature we calculated does not match {SESSION}. The Canonical String for this request should have been \
         'POST\n/\n\nx-amz-security-token:{SESSION}\n{KEY}'"
    );
    let run = asks(&home(), &says(error("InvalidSignatureException", &quoted))).arg("-vv").run();
    run.exits(4).writes_nothing().says("the secret access key is wrong").says("does not match (not shown).\n");
}

#[test]
fn an_expired_token_is_printed_with_a_warning() {
    let mut old = entry(ACCOUNT, "AWS:old-password");
    old["expiresAt"] = json!(1_420_070_400);
    asks(&home(), &says(answer(&[old]))).run().succeeds().prints("old-password\n").reports(
        "ecr-password: warning: the token for 'https://123456789012.dkr.ecr.us-east-1.amazonaws.com' expired at \
         2015-01-01T00:00:00Z: is this host's clock right?\n",
    );
}

#[test]
fn standard_output_is_looked_at_before_anything_is_asked() {
    let (home, api) = (home(), api(Listener::plain()));
    asks(&home, &api).stdout_full().run().exits(1).says("no space left on device");
    let file = home.path().join("password");
    std::fs::write(&file, "").unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    asks(&home, &api)
        .stdout_file(&file)
        .run()
        .succeeds()
        .reports("ecr-password: warning: standard output is a file that others can read: the password will be written to it\n");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{PASSWORD}\n"));
    let seen = asks(&home, &api).terminal(120).stdout_terminal().run();
    seen.succeeds().reports("ecr-password: warning: standard output is a terminal: the password will be shown on it\n");
    assert!(seen.screen().contains(PASSWORD), "{seen}");
}

#[test]
fn a_dry_run_says_for_which_registry_and_sends_nothing() {
    let (home, api) = (home(), api(Listener::plain()));
    asks(&home, &api)
        .arg("--dry-run")
        .run()
        .succeeds()
        .prints("")
        .reports("ecr-password: would get a token for registry 123456789012 in us-east-1\n");
    assert_eq!(api.log().connections(), 0);
}

#[test]
fn misuse_ends_before_any_connection() {
    let (home, api) = (home(), api(Listener::plain()));
    for (arguments, says) in [
        (
            &["harbor.example"][..],
            "read HOST 'harbor.example': it is not an ECR host name, <12 digits>.dkr.ecr.<region>.amazonaws.com\n",
        ),
        (&["https://123456789012.dkr.ecr.us-east-1.amazonaws.com"], "drop the scheme, write 123456789012.dkr.ecr"),
        (&[HOST, "--region", "eu-west-1"], "is in region us-east-1, --region says eu-west-1\n"),
        (&[HOST, "--timeout", "5"], "has no unit"),
        (&[HOST, "--pasword"], "unknown option '--pasword'"),
        (&[HOST, "--ca-file", "/nonexistent"], "read --ca-file '/nonexistent'"),
    ] {
        ecr(&home).args(arguments).env("AWS_ENDPOINT_URL", api.url()).run().exits(2).writes_nothing().says(says);
    }
    assert_eq!(api.log().connections(), 0);
}
