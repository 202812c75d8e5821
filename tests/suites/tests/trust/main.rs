//! Which servers a tool trusts, and where credentials go, with real handshakes against the lab's servers.
#![allow(clippy::unwrap_used, clippy::expect_used)]
mod handshakes;
mod openssl;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::routing::any;
use scar_http::{Client, Credential, Error, Method, Origin};
use scar_lab::certs::{Certs, Pair};
use scar_lab::server::{Listener, PeerCertificates, Server};
use scar_tool::{Console, Exit, Failure};
use scar_trust::{TlsOptions, Trust};

const CANARY: &str = "canary-5f1e";

/// A server with one path and this certificate.
fn server(tls: Arc<rustls::ServerConfig>) -> Server {
    Server::start(Router::new().route("/thing", any(|| async { "here" })), Listener::tls(tls))
}

/// The system's certificates and these PEM texts.
fn trust(directory: &tempfile::TempDir, pem: &[&str]) -> Trust {
    let path: PathBuf = directory.path().join("ca.pem");
    std::fs::write(&path, pem.concat()).unwrap();
    Trust::load(&TlsOptions { ca_file: Some(path), ..<TlsOptions>::default() }).unwrap()
}

#[tokio::main(flavor = "current_thread")]
async fn get(server: &Server, trust: &Trust) -> Result<String, Error> {
    let (origin, _) = Origin::parse(&server.url()).unwrap();
    let credential = Credential::Basic { username: "admin".into(), password: CANARY.to_owned().into() };
    let client = Client::new(origin, trust, false, &Console::new("test")).unwrap().with_credential(Some(&credential)).unwrap();
    let answer = client.at(Method::GET, "/thing").unwrap().send().await?.success().await?;
    Ok(String::from_utf8(answer.bytes(100).await?).unwrap())
}

/// A tool's verdict on this certificate, with these ones configured.
fn verdict(pair: &Pair, configured: &[&str]) -> Result<(), Failure> {
    let directory = tempfile::tempdir().unwrap();
    let server = server(pair.server_config());
    let result = get(&server, &trust(&directory, configured));
    if result.is_err() {
        assert!(server.log().requests().is_empty(), "nothing may be sent to a server that is not trusted");
    }
    result.map(|body| assert_eq!(body, "here")).map_err(|error| error.failure("get 'thing'"))
}

fn refused(pair: &Pair, configured: &[&str], cause: &str) -> Failure {
    let failure = verdict(pair, configured).expect_err(cause);
    assert_eq!(failure.exit, Exit::Unsafe, "{failure:?}");
    assert!(failure.message.ends_with(cause), "{failure:?}");
    assert!(failure.details.iter().any(|line| line.starts_with("SHA-256: ") && line.len() > 100), "{failure:?}");
    assert!(failure.hint.is_some(), "{failure:?}");
    failure
}

#[test]
fn a_certificate_of_the_given_authority_is_trusted() {
    let certs = Certs::new(&[]);
    assert!(verdict(certs.server(), &[certs.ca_pem()]).is_ok());
}

#[test]
fn p3_an_unknown_authority_is_refused_and_shown() {
    let certs = Certs::new(&[]);
    let failure = refused(&certs.unknown_ca(), &[certs.ca_pem()], "its issuer is not known here");
    assert!(failure.details.iter().any(|line| line.contains("Lab Unknown CA")), "{failure:?}");
    assert!(failure.details.iter().any(|line| line.contains("localhost, 127.0.0.1, ::1")), "{failure:?}");
    assert!(failure.hint.unwrap().contains("--ca-file"));
}

#[test]
fn p3_an_expired_certificate_is_refused() {
    let certs = Certs::new(&[]);
    refused(&certs.expired(), &[certs.ca_pem()], "it has expired");
}

#[test]
fn p3_a_certificate_for_another_name_is_refused() {
    let certs = Certs::new(&[]);
    let failure = refused(&certs.wrong_name(), &[certs.ca_pem()], "it is for other names");
    assert!(failure.details.contains(&"names:   other.example".to_owned()), "{failure:?}");
}

#[test]
fn p3_the_configured_certificate_itself_is_trusted_as_a_server_also_if_it_is_marked_as_an_authority() {
    let certs = Certs::new(&[]);
    for pair in [certs.self_signed(), certs.self_signed_ca()] {
        assert!(verdict(&pair, &[&pair.cert_pem]).is_ok());
    }
}

#[test]
fn p3_a_leaf_that_an_unknown_authority_signed_is_trusted_if_it_is_configured_itself() {
    let pair = Certs::new(&[]).unknown_ca();
    assert!(verdict(&pair, &[&pair.cert_pem]).is_ok());
}

#[test]
fn p3_a_configured_certificate_still_has_to_be_in_date_and_to_fit_the_name() {
    let certs = Certs::new(&[]);
    let (expired, wrong) = (certs.expired(), certs.wrong_name());
    refused(&expired, &[&expired.cert_pem], "it has expired");
    refused(&wrong, &[&wrong.cert_pem], "it is for other names");
}

#[test]
fn a_self_signed_certificate_that_is_not_configured_is_refused() {
    let certs = Certs::new(&[]);
    refused(&certs.self_signed(), &[certs.ca_pem()], "its issuer is not known here");
    refused(&certs.self_signed_ca(), &[certs.ca_pem()], "it is a CA certificate and not among the configured ones");
}

#[test]
fn a_client_certificate_and_a_token_go_only_to_their_origin() {
    let directory = tempfile::tempdir().unwrap();
    let certs = Certs::new(&[]);
    let client = certs.client("operator");
    let with_clients = certs.server().server_config_with_clients(certs.ca_pem(), false);
    let shows = any(|request: axum::extract::Request| async move {
        if request.extensions().get::<PeerCertificates>().is_some() { "certificate" } else { "none" }
    });
    let home = Server::start(Router::new().route("/thing", shows.clone()), Listener::tls(with_clients.clone()));
    let away = Server::start(Router::new().route("/thing", shows), Listener::tls(with_clients));
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        Some(path)
    };
    let options = TlsOptions {
        ca_file: write("ca.pem", certs.ca_pem()),
        cert_file: write("cert.pem", &client.cert_pem),
        key_file: write("key.pem", &client.key_pem),
        ..<TlsOptions>::default()
    };
    let trust = Trust::load(&options).unwrap();
    let (origin, _) = Origin::parse(&home.url()).unwrap();
    let credential = Credential::Bearer(CANARY.to_owned().into());
    let client = Client::new(origin, &trust, false, &Console::new("test")).unwrap().with_credential(Some(&credential)).unwrap();
    let ask = |server: &Server| {
        let url = scar_http::Url::parse(&format!("{}/thing", server.url())).unwrap();
        let request = client.request(Method::GET, url).credential(&credential).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { String::from_utf8(request.send().await.unwrap().bytes(100).await.unwrap()).unwrap() })
    };
    assert_eq!((ask(&home).as_str(), ask(&away).as_str()), ("certificate", "none"));
    assert_eq!(home.log().requests()[0].header("authorization"), Some(format!("Bearer {CANARY}").as_str()));
    assert_eq!(away.log().requests()[0].header("authorization"), None);
}

#[test]
fn a_server_that_demands_a_client_certificate_is_reported_as_such_with_and_without_one() {
    let directory = tempfile::tempdir().unwrap();
    let certs = Certs::new(&[]);
    let another = Certs::new(&[]).client("stranger");
    let server = server(certs.server().server_config_with_clients(certs.ca_pem(), true));
    let without = trust(&directory, &[certs.ca_pem()]);
    let with = trust(&directory, &[certs.ca_pem()]);
    let with = with.with_identity(another.cert_pem.as_bytes(), another.key_pem.as_bytes(), "the test").unwrap();
    for (trust, says) in [(without, "it demands a client certificate"), (with, "it refused the client certificate")] {
        let error = get(&server, &trust).unwrap_err();
        assert!(!error.is_transient() && error.is_before_send(), "{error}");
        let failure = error.failure("get 'thing'");
        assert!(failure.message.contains(says), "{failure:?}");
        assert_eq!(failure.exit, Exit::Refused);
        assert!(failure.hint.unwrap().contains("--cert-file"));
    }
    assert!(server.log().requests().is_empty());
}

#[test]
fn a_key_that_is_not_the_certificates_is_refused_naming_both_files() {
    let directory = tempfile::tempdir().unwrap();
    let certs = Certs::new(&[]);
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let cert = write("cert.pem", &certs.client("operator").cert_pem);
    let key = write("key.pem", &certs.client("another").key_pem);
    let options = TlsOptions { cert_file: Some(cert.clone()), key_file: Some(key.clone()), ..<TlsOptions>::default() };
    let failure = Trust::load(&options).unwrap_err();
    let (cert, key) = (cert.display(), key.display());
    assert_eq!(failure.message, format!("use --cert-file '{cert}' with --key-file '{key}': the key is not the certificate's"));
    assert_eq!((failure.exit, failure.hint.as_deref()), (Exit::Misuse, Some("use certificate and key of the same pair")));
}

#[test]
fn a_server_without_tls_is_named_as_such() {
    let plain = Server::start(Router::new(), Listener::plain());
    let (origin, _) = Origin::parse(&plain.url().replace("http://", "https://")).unwrap();
    let client = Client::new(origin, &Trust::default(), false, &Console::new("test")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(client.at(Method::GET, "/thing").unwrap().send()).unwrap_err();
    let failure = error.failure("get 'thing'");
    assert!(failure.message.ends_with("it does not speak TLS there (plain HTTP, or another service?)"), "{failure:?}");
    assert_eq!(failure.exit, Exit::Unsafe);
}

#[test]
fn a_redirect_is_an_answer_and_never_followed() {
    let directory = tempfile::tempdir().unwrap();
    let certs = Certs::new(&[]);
    let other = server(certs.server_config());
    let target = format!("{}/thing?token=secret", other.url());
    let moved = any(move || async move { (axum::http::StatusCode::FOUND, [("location", target)]) });
    let home = Server::start(Router::new().route("/thing", moved), Listener::tls(certs.server_config()));
    let failure = get(&home, &trust(&directory, &[certs.ca_pem()])).unwrap_err().failure("get 'thing'");
    assert_eq!(failure.exit, Exit::Unsafe);
    assert!(failure.details[0].contains(&other.url()) && !failure.details[0].contains("secret"), "{failure:?}");
    assert_eq!(other.log().connections(), 0);
}

#[test]
fn plain_http_to_another_host_needs_an_option() {
    let (origin, _) = Origin::parse("http://harbor.example").unwrap();
    let trust = Trust::default();
    let failure = Client::new(origin.clone(), &trust, false, &Console::new("test")).unwrap_err();
    assert_eq!(failure.exit, Exit::Unsafe);
    assert!(Client::new(origin, &trust, true, &Console::new("test")).is_ok());
}

#[test]
fn q26_an_authority_outside_its_dates_is_not_trusted() {
    let certs = Certs::new(&[]);
    let (authority, pair) = certs.expired_authority();
    let says = "its authority 'CN=Lab Old CA' is configured here, and valid from Jan  1 00:00:00 2000 +00:00 to \
                Jan  1 00:00:00 2001 +00:00 only";
    let failure = refused(&pair, &[&authority], says);
    assert!(failure.hint.unwrap().contains("--ca-file"));
    // A configured certificate needs no authority; one signed by an authority is accepted too.
    assert!(verdict(&pair, &[&authority, &pair.cert_pem]).is_ok());
    assert!(verdict(certs.server(), &[&authority, certs.ca_pem()]).is_ok());
}

#[test]
fn q28_a_configured_server_certificate_vouches_for_no_other() {
    let certs = Certs::new(&[]);
    let (server, other) = certs.signed_by_a_server();
    let says = "the certificate 'CN=localhost' that signed it is configured here, but is not one of an authority";
    assert!(refused(&other, &[&server], says).hint.unwrap().contains("--ca-file"));
    assert!(verdict(&other, &[&other.cert_pem]).is_ok());
    refused(&certs.signed_without_leave(), &[certs.ca_pem()], "its issuer is not known here");
}

#[test]
fn a_byte_order_mark_before_a_certificate_is_passed_over() {
    let certs = Certs::new(&[]);
    assert!(verdict(certs.server(), &["\u{feff}", certs.ca_pem()]).is_ok());
}
