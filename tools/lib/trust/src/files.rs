//! Reads certificates and keys from files, with a message for each wrong kind of file.

use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use scar_tool::Failure;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The system's certificates and their source: `SSL_CERT_FILE`, `SSL_CERT_DIR`, else the system's bundle. An empty result is
/// no error here: reqwest alone refuses to build a client without any root
/// (<https://github.com/seanmonstar/reqwest/issues/2965>).
pub(crate) fn system() -> Result<(Vec<CertificateDer<'static>>, String), Failure> {
    // rustls-native-certs reads it, too, but a wrong file there is only an entry in its list of errors.
    if let Some(path) = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()) {
        let path = Path::new(&path);
        return Ok((certificates(path, "SSL_CERT_FILE")?, format!("SSL_CERT_FILE '{}'", path.display())));
    }
    // Its errors are of single files of the system, which nobody here can correct.
    let found = rustls_native_certs::load_native_certs().certs;
    let source = format!("the system's {} certificates", found.len());
    Ok((found, source))
}

/// All certificates in a PEM file.
pub(crate) fn certificates(path: &Path, option: &str) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let text = read(path, option)?;
    certificates_in(&text, &format!("{option} '{}'", path.display()))
}

/// All certificates in a PEM text; `what` names its source.
pub(crate) fn certificates_in(text: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let refuse = |holds: &str| Failure::misuse(format!("read {what}: it holds {holds}, not a PEM certificate"));
    // Editors on Windows write a byte order mark; OpenSSL passes over it, the PEM parser does not.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = found.map_err(|_| Failure::misuse(format!("read {what}: its PEM is damaged")))?;
    if found.is_empty() {
        return Err(if text.iter().all(u8::is_ascii_whitespace) {
            refuse("nothing")
        } else if X509Certificate::from_der(text).is_ok() {
            refuse("a DER certificate").hint("convert it: openssl x509 -inform DER -in FILE -out FILE.pem")
        } else if contains(text, b"PRIVATE KEY-----") {
            refuse("a private key")
        } else if contains(text, b"CERTIFICATE REQUEST-----") {
            refuse("a certificate request")
        } else {
            refuse("something else")
        });
    }
    match found.iter().all(|certificate| X509Certificate::from_der(certificate).is_ok()) {
        true => Ok(found),
        false => Err(Failure::misuse(format!("read {what}: a certificate in it is damaged"))),
    }
}

/// The valid certificates of a PEM file as PEM text for another program, without any private key of the file. Exit 2 for a
/// file without the content that `option` needs.
pub fn ca_chain(path: &Path, option: &str) -> Result<String, Failure> {
    let what = format!("{option} '{}'", path.display());
    let text = read(path, option)?;
    for certificate in certificates_in(&text, &what)? {
        if let Ok((_, parsed)) = X509Certificate::from_der(&certificate)
            && !parsed.validity().is_valid()
        {
            let (from, to) = (parsed.validity().not_before, parsed.validity().not_after);
            let subject = parsed.subject();
            return Err(Failure::misuse(format!("read {what}: the certificate '{subject}' is valid from {from} to {to} only"))
                .hint("give a certificate that is valid now, or compare 'date' with the real time"));
        }
    }
    Ok(only_certificates(&String::from_utf8_lossy(&text)))
}

/// The file may also contain a key, which must not be passed on.
pub(crate) fn only_certificates(text: &str) -> String {
    let mut inside = false;
    let mut out = String::new();
    for line in text.lines().map(str::trim) {
        inside |= line == "-----BEGIN CERTIFICATE-----";
        if inside {
            out.push_str(line);
            out.push('\n');
        }
        inside &= line != "-----END CERTIFICATE-----";
    }
    out
}

/// The private key in a PEM file.
pub(crate) fn key(path: &Path, option: &str) -> Result<PrivateKeyDer<'static>, Failure> {
    key_in(&read(path, option)?, &format!("{option} '{}'", path.display()))
}

/// The private key in a PEM text.
pub(crate) fn key_in(text: &[u8], what: &str) -> Result<PrivateKeyDer<'static>, Failure> {
    // PKCS #8 (RFC 5958) and the older form of OpenSSL (RFC 1421, 4.6.1.1).
    if contains(text, b"BEGIN ENCRYPTED PRIVATE KEY") || contains(text, b"Proc-Type: 4,ENCRYPTED") {
        return Err(Failure::misuse(format!("read {what}: the key is encrypted"))
            .hint("decrypt it into a file of mode 0600: openssl pkey -in FILE -out FILE.key"));
    }
    PrivateKeyDer::from_pem_slice(text).map_err(|_| Failure::misuse(format!("read {what}: it holds no PEM private key")))
}

fn read(path: &Path, option: &str) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::unreadable(format!("read {option} '{}'", path.display()), &error))
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_beside_a_certificate_is_not_given_away() {
        let text = "x\r\n-----BEGIN CERTIFICATE-----\r\nAA\r\n-----END CERTIFICATE-----\r\n-----BEGIN PRIVATE KEY-----\nBB\n-----END PRIVATE KEY-----\n";
        assert_eq!(only_certificates(text), "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n");
    }

    #[test]
    fn says_what_a_wrong_file_holds() {
        for (text, says) in [
            (&b" \n"[..], "holds nothing"),
            (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "holds a private key"),
            (b"hello", "holds something else"),
        ] {
            let failure = certificates_in(text, "--ca-file 'x'").unwrap_err();
            assert!(failure.message.contains(says), "{}", failure.message);
            assert_eq!(failure.exit, scar_tool::Exit::Misuse);
        }
        let failure =
            key_in(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "k").unwrap_err();
        assert!(failure.message.contains("encrypted"), "{}", failure.message);
    }
}
