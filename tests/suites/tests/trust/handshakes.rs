//! How a handshake fails: the server's alerts, and every verdict of the TLS library.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{CertificateError, ExtendedKeyPurpose, OtherError};
use scar_http::{Client, Method, Origin};
use scar_tool::{Console, Exit, Failure};
use scar_trust::{Handshake, Trust};

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
        (40, Exit::Unsafe, "it offers neither TLS 1.2 nor 1.3 with secure settings"),
        (71, Exit::Unsafe, "it offers neither TLS 1.2 nor 1.3 with secure settings"),
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
fn q53_every_tls_error_has_a_message_a_status_and_a_hint() {
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
