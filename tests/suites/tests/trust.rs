//! Which servers a tool trusts, and where credentials go, with real handshakes against the lab's servers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::any;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{CertificateError, ExtendedKeyPurpose, OtherError};
use scar_http::{Client, Credential, Error, Method, Origin};
use scar_lab::certs::{Certs, Pair};
use scar_lab::kube::{Ca, Kubeconfig, Login};
use scar_lab::server::{Listener, PeerCertificates, Server};
use scar_tool::{Console, Exit, Failure};
use scar_trust::{Handshake, TlsOptions, Trust};
use serde_json::json;

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
fn a_client_certificate_and_a_token_go_to_their_origin_alone() {
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
fn plain_http_to_another_host_needs_the_users_word() {
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

/// A server that answers each handshake with this alert.
fn ends_with(alert: u8) -> Failure {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let (count, connections) = (Arc::new(AtomicUsize::new(0)), listener);
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for mut stream in connections.incoming().map_while(Result::ok) {
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(&[21, 3, 3, 0, 2, 2, alert]);
        }
    });
    let client = Client::new(Origin::parse(&url).unwrap().0, &Trust::default(), false, &Console::new("test")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(client.at(Method::GET, "/thing").unwrap().send()).unwrap_err();
    assert_eq!((error.is_transient(), count.load(Ordering::SeqCst)), (alert == 80, 1), "{error}");
    error.failure("get 'thing'")
}

/// The numbers are those of RFC 8446, 6.2.
#[test]
fn q53_what_ends_a_handshake_is_reported_in_plain_words_with_a_hint() {
    for (alert, exit, says) in [
        (112, Exit::Unsafe, "it knows no host of that name"),
        (40, Exit::Unsafe, "it offers neither TLS 1.2 nor 1.3 in a form that is safe to use"),
        (71, Exit::Unsafe, "it offers neither TLS 1.2 nor 1.3 in a form that is safe to use"),
        (116, Exit::Refused, "it demands a client certificate"),
        (45, Exit::Refused, "it refused the client certificate, or its absence (TLS alert 'certificate expired')"),
        (80, Exit::Unreachable, "it ended the TLS handshake with the alert 'internal error'"),
        (50, Exit::Unsafe, "it does not keep to the protocol of TLS"),
    ] {
        let failure = ends_with(alert);
        assert!(failure.message.contains(says), "{alert}: {}", failure.message);
        assert_eq!(failure.exit, exit, "{alert}");
        assert!(failure.hint.is_some());
    }
}

/// The variants of an enum in rustls's own source: these enums are `non_exhaustive`, so the compiler does not report a new one.
fn variants(name: &str) -> BTreeSet<String> {
    let metadata = scar_suites::crates::metadata();
    let rustls = metadata.packages.iter().find(|package| package.name.as_str() == "rustls").unwrap();
    let source = std::fs::read_to_string(rustls.manifest_path.parent().unwrap().join("src/error.rs")).unwrap();
    let (_, body) = source.split_once(&format!("pub enum {name} {{\n")).unwrap();
    let (body, _) = body.split_once("\n}\n").unwrap();
    let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
    lines.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase())).map(variant).collect()
}

/// The name of a variant, which its declaration and its `Debug` begin with.
fn variant(text: &str) -> String {
    text.chars().take_while(char::is_ascii_alphanumeric).collect()
}

/// One of each verdict about a certificate. What is `Other` there are this suite's own, which the tests above are about.
#[allow(deprecated)]
fn certificate_verdicts() -> Vec<CertificateError> {
    use CertificateError::*;
    let (time, ids) = (UnixTime::now(), || vec![6, 8, 42]);
    let name = ServerName::try_from("h.example").unwrap();
    vec![
        BadEncoding,
        Expired,
        ExpiredContext { time, not_after: time },
        NotValidYet,
        NotValidYetContext { time, not_before: time },
        Revoked,
        UnhandledCriticalExtension,
        UnknownIssuer,
        UnknownRevocationStatus,
        ExpiredRevocationList,
        ExpiredRevocationListContext { time, next_update: time },
        BadSignature,
        UnsupportedSignatureAlgorithm,
        UnsupportedSignatureAlgorithmContext { signature_algorithm_id: ids(), supported_algorithms: vec![] },
        UnsupportedSignatureAlgorithmForPublicKeyContext { signature_algorithm_id: ids(), public_key_algorithm_id: ids() },
        NotValidForName,
        NotValidForNameContext { expected: name, presented: vec!["other.example".to_owned()] },
        InvalidPurpose,
        InvalidPurposeContext {
            required: ExtendedKeyPurpose::ServerAuth,
            presented: vec![ExtendedKeyPurpose::Other(vec![1, 3])],
        },
        InvalidOcspResponse,
        ApplicationVerificationFailure,
        Other(OtherError(Arc::new(std::io::Error::other("library")))),
    ]
}

/// One of each error of the TLS library, and the status that it ends with; alerts and certificates have tests of their own.
fn tls_errors() -> Vec<(rustls::Error, Exit)> {
    use rustls::Error::*;
    use rustls::{AlertDescription, ContentType, HandshakeType};
    let got_type = ContentType::ApplicationData;
    vec![
        (InappropriateMessage { expect_types: vec![], got_type }, Exit::Unsafe),
        (InappropriateHandshakeMessage { expect_types: vec![], got_type: HandshakeType::Finished }, Exit::Unsafe),
        (InvalidEncryptedClientHello(rustls::EncryptedClientHelloError::SniRequired), Exit::Unsafe),
        (InvalidMessage(rustls::InvalidMessage::InvalidContentType), Exit::Unsafe),
        (NoCertificatesPresented, Exit::Unsafe),
        (UnsupportedNameType, Exit::Failed),
        (DecryptError, Exit::Unsafe),
        (EncryptError, Exit::Failed),
        (PeerIncompatible(rustls::PeerIncompatible::NoCipherSuitesInCommon), Exit::Unsafe),
        (PeerMisbehaved(rustls::PeerMisbehaved::UnsolicitedServerHelloExtension), Exit::Unsafe),
        (AlertReceived(AlertDescription::InternalError), Exit::Unreachable),
        (InvalidCertificate(CertificateError::Expired), Exit::Unsafe),
        (InvalidCertRevocationList(rustls::CertRevocationListError::ParseError), Exit::Failed),
        (General("library".to_owned()), Exit::Failed),
        (FailedToGetCurrentTime, Exit::Failed),
        (FailedToGetRandomBytes, Exit::Failed),
        (HandshakeNotComplete, Exit::Unsafe),
        (PeerSentOversizedRecord, Exit::Unsafe),
        (NoApplicationProtocol, Exit::Unsafe),
        (BadMaxFragmentSize, Exit::Failed),
        (InconsistentKeys(rustls::InconsistentKeys::KeyMismatch), Exit::Failed),
        (Other(OtherError(Arc::new(std::io::Error::other("library")))), Exit::Failed),
    ]
}

#[test]
fn q53_every_verdict_of_the_tls_library_has_words_a_status_and_a_way_on() {
    let (certificates, errors) = (certificate_verdicts(), tls_errors());
    assert_eq!(
        certificates.iter().map(|error| variant(&format!("{error:?}"))).collect::<BTreeSet<_>>(),
        variants("CertificateError")
    );
    assert_eq!(errors.iter().map(|(error, _)| variant(&format!("{error:?}"))).collect::<BTreeSet<_>>(), variants("Error"));
    let certificates = certificates.into_iter().map(|error| (rustls::Error::InvalidCertificate(error), Exit::Unsafe));
    for (error, exit) in certificates.chain(errors) {
        let debug = format!("{error:?}");
        let verdict = Handshake::of(&std::io::Error::other(error), false).unwrap();
        let hint = verdict.failure("connect", "host.example:443", scar_tool::Spelling::default()).hint.unwrap();
        let text = verdict.to_string();
        assert_eq!(verdict.exit(), exit, "{debug}: {text}");
        assert_eq!(verdict.is_transient(), exit == Exit::Unreachable, "{debug}");
        // No names of the library's, no lists of numbers.
        let is_plain = |word: &str| !word.chars().skip(1).any(char::is_uppercase) || word.chars().all(|c| !c.is_lowercase());
        assert!(text.split([' ', '\'']).all(|word| is_plain(word) || ["TLS", "X.509"].contains(&word)), "{debug}: {text}");
        assert!(!text.contains(['{', '[', '_']) && !text.contains("library") && !text.contains("::"), "{debug}: {text}");
        assert!(text.len() > 10 && hint.len() > 10, "{debug}: {text}: {hint}");
    }
}

/// A folder with keys and certificates as openssl makes them; none without openssl.
fn openssl(folder: &tempfile::TempDir, script: &str) -> bool {
    let Some(openssl) = scar_kit::peer("openssl") else { return false };
    let script = format!("openssl() {{ '{}' \"$@\" 2>>openssl.log; }}\nset -e\n{script}", openssl.display());
    let status = std::process::Command::new("bash").args(["-c", &script]).current_dir(folder.path()).status().unwrap();
    let log = || std::fs::read_to_string(folder.path().join("openssl.log")).unwrap_or_default();
    assert!(status.success(), "{}", log());
    true
}

/// `openssl s_server` with these arguments; killed when dropped.
struct OpensslServer {
    child: std::process::Child,
    url: String,
}

impl OpensslServer {
    fn start(folder: &tempfile::TempDir, arguments: &[&str]) -> Self {
        let mut child = std::process::Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-www"])
            .args(arguments)
            .current_dir(folder.path())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        let port =
            lines.map_while(Result::ok).find_map(|line| Some(line.strip_prefix("ACCEPT ")?.rsplit(':').next()?.to_owned()));
        Self { child, url: format!("https://localhost:{}", port.expect("openssl says where it listens")) }
    }

    fn ask(&self, trust: &Trust) -> Result<String, Failure> {
        let client = Client::new(Origin::parse(&self.url).unwrap().0, trust, false, &Console::new("test")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answer = runtime.block_on(async { client.at(Method::GET, "/").unwrap().send().await?.bytes(1 << 20).await });
        answer.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(|error| error.failure("get"))
    }
}

impl Drop for OpensslServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An authority and its server certificate.
const AUTHORITY: &str = "
    openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj '/CN=Lab CA' -days 3
    printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\\n' >names
    request() { openssl req -newkey rsa:2048 -nodes -keyout $1.key -out $1.csr -subj /CN=$1; }
    sign() { local name=$1; shift; openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out $name.pem \"$@\"; }
";

#[test]
fn q44_a_client_certificate_of_x509_version_1_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!("{AUTHORITY} request server; sign server -extfile names; request admin; sign admin");
    if !openssl(&folder, &script) {
        return;
    }
    let path = |name: &str| Some(folder.path().join(name));
    let text = std::fs::read(folder.path().join("admin.pem")).unwrap();
    let der = <rustls::pki_types::CertificateDer as rustls::pki_types::pem::PemObject>::from_pem_slice(&text).unwrap();
    // A certificate of version 3 begins with its version, tagged [0]; one of version 1 with its serial number.
    assert_eq!(der.as_ref()[8], 2, "openssl made another version");
    let (ca_file, cert_file, key_file) = (path("ca.pem"), path("admin.pem"), path("admin.key"));
    let options = TlsOptions { ca_file, cert_file, key_file, ..<TlsOptions>::default() };
    let trust = Trust::load(&options).unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        let server = OpensslServer::start(
            &folder,
            &["-cert", "server.pem", "-key", "server.key", "-CAfile", "ca.pem", "-Verify", "1", "-verify_return_error", version],
        );
        let answer = server.ask(&trust).unwrap_or_else(|failure| panic!("{failure:?}"));
        assert!(answer.contains("CN = admin") || answer.contains("CN=admin"), "{answer}");
        // Without one the server refuses in its own way.
        let without = Trust::load(&TlsOptions { ca_file: path("ca.pem"), ..<TlsOptions>::default() }).unwrap();
        let failure = server.ask(&without).unwrap_err();
        assert_eq!(
            (failure.exit, failure.message.contains("it demands a client certificate")),
            (Exit::Refused, true),
            "{failure:?}"
        );
    }
}

/// The lab's own API server is of rustls, which takes no such certificate.
#[test]
fn q44_a_kubeconfigs_client_certificate_of_x509_version_1_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!("{AUTHORITY} request server; sign server -extfile names; request admin; sign admin");
    if !openssl(&folder, &script) {
        return;
    }
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {
        "name": "spectro-manifest-registry-secrets", "namespace": "hubble-system", "uid": "u-1", "resourceVersion": "7"
    }});
    let path = folder.path().join("api/v1/namespaces/hubble-system/secrets");
    std::fs::create_dir_all(&path).unwrap();
    for query in ["", "?"] {
        std::fs::write(path.join(format!("spectro-manifest-registry-secrets{query}")), secret.to_string()).unwrap();
    }
    let verify = ["-cert", "server.pem", "-key", "server.key", "-CAfile", "ca.pem", "-Verify", "1", "-verify_return_error"];
    let server = OpensslServer::start(&folder, &[&verify[..], &["-WWW"]].concat());
    let mut config = Kubeconfig::new(&server.url, Ca::File("ca.pem".into()));
    config.login = Login::CertificateFiles { certificate: "admin.pem".into(), key: "admin.key".into() };
    config.write(&folder.path().join("kubeconfig")).unwrap();
    let run =
        scar_kit::tool("scar-secret-rm").args(["--dry-run", "--new-record"]).env("KUBECONFIG", folder.path().join("kubeconfig"));
    run.run().succeeds().says("would delete");
}

#[test]
fn q53_a_server_certificate_that_proves_nothing_is_refused_by_its_flaw() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "{AUTHORITY}
        request old; sign old
        request sha1; sign sha1 -extfile names -sha1
        openssl req -newkey rsa:1024 -nodes -keyout short.key -out short.csr -subj /CN=short; sign short -extfile names"
    );
    if !openssl(&folder, &script) {
        return;
    }
    let ca_file = Some(folder.path().join("ca.pem"));
    for (name, says) in [
        ("old", "it is of X.509 version 1 or 2, which cannot name a server"),
        ("sha1", "it is signed with SHA-1 or another algorithm that is not safe"),
        ("short", "its RSA key has 1024 bits, fewer than the 2048 that are safe"),
    ] {
        let (cert, key) = (format!("{name}.pem"), format!("{name}.key"));
        let server = OpensslServer::start(&folder, &["-cert", &cert, "-key", &key, "-cipher", "DEFAULT@SECLEVEL=0"]);
        let trust = Trust::load(&TlsOptions { ca_file: ca_file.clone(), ..<TlsOptions>::default() }).unwrap();
        let failure = server.ask(&trust).unwrap_err();
        assert!(failure.message.ends_with(says), "{name}: {failure:?}");
        assert_eq!(failure.exit, Exit::Unsafe);
        assert!(failure.hint.unwrap().contains("the server needs"), "{name}");
    }
}
