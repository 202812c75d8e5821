//! Which cryptographic module a tool uses, and what the FIPS build refuses: openssl servers without approved suites. The
//! standard build accepts each of them, so a wrong build fails every case.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::time::Duration;

use scar_kit::{Outcome, Running, bash, peer, program, tool};
use tempfile::TempDir;

/// Servers without anything approved: only the group X25519, no extended master secret, only the cipher ChaCha20.
const UNAPPROVED: [&str; 4] = [
    "-groups X25519",
    "-tls1_2",
    "-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305",
    "-tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256",
];

/// Whether the tools are the FIPS build's.
fn is_fips() -> bool {
    tool("scar-get").args(["--version", "-v"]).run().stdout().contains("\nbuild:       FIPS\n")
}

/// An openssl server with these options, and its `HOST:PORT`; its certificate is in `folder`.
fn serve(folder: &Path, options: &str) -> (Running, String) {
    let make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=peer \
         -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem 2>/dev/null";
    bash(make).folder(folder).run().succeeds();
    // The only way to disable the extended master secret (SSL_CONF_cmd(3), Options).
    let settings = "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = server\n[server]\n\
         CipherString = DEFAULT@SECLEVEL=1\nOptions = -ExtendedMasterSecret\n";
    std::fs::write(folder.join("openssl.cnf"), settings).unwrap();
    let server = program("openssl")
        .args("s_server -accept 127.0.0.1:0 -cert cert.pem -key key.pem -www".split(' '))
        .args(options.split(' '))
        .env("OPENSSL_CONF", folder.join("openssl.cnf"))
        .folder(folder)
        .timeout(Duration::from_secs(120));
    let mut server = server.start();
    server.until("ACCEPT 127.0.0.1:");
    let said = server.said().join("\n");
    let address = said.split("ACCEPT ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    (server, address)
}

/// Requests a manifest; openssl answers every GET with its own page, which is not one (7).
fn ask(folder: &Path, address: &str) -> Outcome {
    tool("ocipush")
        .arg(format!("{address}/a/b:1"))
        .args(["--adopt", "--new-record", "--timeout", "20s", "--ca-file", "cert.pem"])
        .folder(folder)
        .run()
}

#[test]
fn version_names_the_module_only_if_asked() {
    let version = env!("CARGO_PKG_VERSION");
    tool("ocipush").arg("--version").run().prints(&format!("ocipush {version}\n")).quiet();
    for arguments in [["-V", "-v"], ["--verbose", "--version"], ["--version", "-vv"]] {
        let text = tool("ocipush").args(arguments).run().succeeds().stdout();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert_eq!(lines[0], format!("ocipush {version}"));
        assert!(lines[1].starts_with("module:      AWS-LC"), "{text}");
        assert!(lines[2].starts_with("version:     "), "{text}");
        let certified = lines[3] == "certificate: CMVP #5314, FIPS 140-3" && lines[2].starts_with("version:     3.");
        assert!(if is_fips() { certified } else { lines[3] == "certificate: none" }, "{text}");
    }
    let none = tool("mkmanifests").args(["--version", "-v"]).run().succeeds().stdout();
    assert_eq!(none, format!("mkmanifests {version}\nmodule:      none (SHA-256 by the crate sha2)\n"));
}

#[test]
fn a_server_without_an_approved_suite_is_unsafe_only_in_the_fips_build() {
    let Some(_) = peer("openssl") else { return };
    for options in UNAPPROVED {
        let folder = TempDir::new().unwrap();
        let (_server, address) = serve(folder.path(), options);
        let outcome = ask(folder.path(), &address);
        match is_fips() {
            true => outcome.exits(5).writes_nothing().says("it takes nothing that is approved; offered to it: TLS 1.3"),
            false => outcome.exits(7).says("it is not a manifest"),
        };
    }
}

#[test]
fn an_approved_server_is_spoken_to_in_either_build() {
    let Some(_) = peer("openssl") else { return };
    for options in ["-tls1_3 -groups P-384", "-tls1_3 -ciphersuites TLS_AES_128_GCM_SHA256"] {
        let folder = TempDir::new().unwrap();
        let (_server, address) = serve(folder.path(), options);
        ask(folder.path(), &address).exits(7).says("it is not a manifest");
    }
}
