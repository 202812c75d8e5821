//! Server certificates of all kinds, through curl: the same file of authorities, the same host.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use scar_kit::{bash, peer, program, tool};
use scar_lab::proxy::{Manner, Proxy};
use scar_suites::Random;
use serde_json::json;
use tempfile::TempDir;

use crate::{Known, Verdict, each, same};

use Verdict::{Accepted, Refused};

const SAFE: &str = "not among the algorithms of webpki that are safe";

const KNOWN: &[Known] = &[
    ("leaf: CA:TRUE", Accepted, "webpki takes no authority for a server, unless it is configured itself (FAULTS P3)"),
    ("leaf: critical,CA:TRUE", Accepted, "as above"),
    ("hash: sha224", Accepted, SAFE),
    ("hash: sha3-256", Accepted, SAFE),
    ("hash: sha1", Accepted, SAFE),
    ("key: pss", Accepted, SAFE),
    ("key: secp224r1", Accepted, SAFE),
    ("key: secp256k1", Accepted, SAFE),
    ("subject: /CN=harbor.example", Accepted, "without other names curl takes the common name; webpki and Go do not"),
    ("subject: /CN=*.example", Accepted, "as above"),
    ("names: DNS:harbor.example.", Accepted, "a name in a certificate has no final dot"),
    ("purpose: msSGC", Accepted, "a purpose of the time when ciphers were weak by law"),
    ("requireExplicitPolicy", Accepted, "webpki knows no policies, and refuses what is critical and not known"),
    ("file: TRUSTED CERTIFICATE", Accepted, "it may say that the certificate is not trusted, which would be passed over"),
    ("usage: critical,nonRepudiation", Refused, "as in Go, a server's key usage is not looked at"),
    ("usage: keyCertSign", Refused, "as above"),
    ("usage: critical,keyCertSign,cRLSign", Refused, "as above"),
    ("nsCertType=client", Refused, "Netscape's, before there was an extended key usage"),
    ("root extension: 1.2.3.4=critical", Refused, "a trust anchor is a name and a key (RFC 5280, 6.1.1)"),
    ("root extension: extendedKeyUsage=clientAuth", Refused, "as above"),
    ("extension: inhibitAnyPolicy", Accepted, "as requireExplicitPolicy"),
    ("extension: certificatePolicies=critical", Accepted, "as requireExplicitPolicy"),
];

#[test]
fn a_server_is_trusted_if_curl_trusts_it() {
    let (Some(curl), Some(_), Some(_)) = (peer("curl"), peer("openssl"), peer("faketime")) else { return };
    each(40, |random| {
        let (folder, mut parts) = (TempDir::new().unwrap(), Vec::new());
        let (host, script) = draw(random, &mut parts);
        let made = bash(&script).folder(folder.path()).run().status();
        let log = fs::read_to_string(folder.path().join("log")).unwrap();
        assert_eq!(made, 0, "openssl does not make {parts:?}: {log}");
        let server = Server::start(&folder);
        let at = format!("{host}:{}", server.port);
        let proxy = Proxy::start(Manner::Open);
        proxy.lead(&at, ([127, 0, 0, 1], server.port).into());
        proxy.lead(&at.to_lowercase(), ([127, 0, 0, 1], server.port).into());
        let ca = folder.path().join("ca.pem");
        let theirs = program(&curl).args(["-sS", "-o", "/dev/null", "--proxy"]).arg(proxy.url()).arg("--cacert").arg(&ca);
        let theirs = theirs.arg(format!("https://{at}/")).run();
        let session = json!({"endpoint": format!("https://{at}"), "authorization": "canary", "ca_file": ca, "insecure": false});
        let ours = tool("scar-get").record(&json!({"record": "scar-tools/1", "session": session}));
        let ours = ours.env("HTTPS_PROXY", proxy.url()).run();
        // What answers is no VerteX, so scar-get fails in any case: 2 for the file of authorities, 5 for the certificate.
        let we = if [2, 5].contains(&ours.status()) { Verdict::Refused } else { Verdict::Accepted };
        same(&parts, (Verdict::of(&theirs), &theirs), (we, &ours), KNOWN);
    });
}

/// `openssl s_server` with the files of a case; killed when dropped.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(folder: &TempDir) -> Self {
        let mut child = Command::new("openssl")
            .args("s_server -accept 127.0.0.1:0 -www -cert leaf.pem -key leaf.key -cipher DEFAULT@SECLEVEL=0".split(' '))
            .args(
                fs::metadata(folder.path().join("chain.pem"))
                    .unwrap()
                    .len()
                    .gt(&0)
                    .then_some(["-cert_chain", "chain.pem"])
                    .into_iter()
                    .flatten(),
            )
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(fs::File::create(folder.path().join("server.log")).unwrap()))
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = { lines }.find_map(|line| line.strip_prefix("ACCEPT ")?.rsplit(':').next()?.parse().ok());
        let log = || fs::read_to_string(folder.path().join("server.log")).unwrap();
        Self { child, port: port.unwrap_or_else(|| panic!("openssl does not listen: {}", log())) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What every script begins with: `certificate NAME KEY SUBJECT ISSUER FROM DAYS HASH`, with its extensions on stdin.
const FUNCTIONS: &str = r#"
set -e
exec 2>log
certificate() {
    local key=(-newkey ec -pkeyopt "ec_paramgen_curve:$2") hash=() issuer=()
    case $2 in
        rsa*) key=(-newkey "rsa:${2#rsa}") ;;
        pss) key=(-newkey rsa-pss -pkeyopt rsa_keygen_bits:2048) ;;
        ed25519) key=(-newkey ed25519) ;;
    esac
    if [[ $7 != none ]]; then hash=("-$7"); fi
    { printf '[req]\ndistinguished_name=subject\n[subject]\n[people]\nCN=x\n[extensions]\n'; cat; } >"$1.conf"
    if [[ $4 != "$1" ]]; then issuer=(-CA "$4.pem" -CAkey "$4.key"); fi
    if [[ $(tail -n 1 "$1.conf") != '[extensions]' ]]; then
        faketime "$5" openssl req -x509 "${key[@]}" -nodes -keyout "$1.key" -subj "$3" -config "$1.conf" -extensions extensions \
            -days "$6" "${hash[@]}" "${issuer[@]}" -out "$1.pem"
    else
        # Only x509 makes version 1.
        openssl req -new "${key[@]}" -nodes -keyout "$1.key" -subj "$3" -config "$1.conf" -out "$1.csr"
        if [[ $4 == "$1" ]]; then issuer=(-signkey "$1.key"); else issuer+=(-set_serial 7); fi
        faketime "$5" openssl x509 -req -in "$1.csr" "${issuer[@]}" -days "$6" -out "$1.pem" "${hash[@]}"
    fi
}
"#;

/// A host and the script that makes `ca.pem`, `leaf.pem`, `leaf.key` and `chain.pem` for it. Most parts are usual, so that
/// one unusual one decides.
fn draw(random: &mut Random, parts: &mut Vec<String>) -> (&'static str, String) {
    let mut odd = |random: &mut Random, name: &str, usual: &'static str, others: &[&'static str]| {
        let value = if random.one_in(12) { random.of(others) } else { usual };
        if value != usual {
            parts.push(format!("{name}: {value}"));
        }
        value
    };
    let now = "2026-11-29 12:00:00";
    let host = odd(
        random,
        "host",
        "harbor.example",
        &["localhost", "127.0.0.1", "a.harbor.example", "HARBOR.example", "under_score.example", "harbor.example."],
    );
    let own = match host {
        "127.0.0.1" => "IP:127.0.0.1",
        "a.harbor.example" => "DNS:a.harbor.example",
        "localhost" => "DNS:localhost",
        "under_score.example" => "DNS:under_score.example",
        _ => "DNS:harbor.example",
    };
    let names = odd(
        random,
        "names",
        own,
        &[
            "",
            "DNS:HARBOR.EXAMPLE",
            "DNS:*.example",
            "DNS:*.harbor.example",
            "DNS:*",
            "DNS:*.*.example",
            "DNS:h*.example",
            "DNS:*r.example",
            "DNS:harbor.*",
            "DNS:harbor.example.",
            "DNS:other.example",
            "DNS:127.0.0.1",
            "IP:127.0.0.1",
            "IP:127.0.0.2",
            "IP:::1",
            "IP:::ffff:127.0.0.1",
            "email:root@harbor.example",
            "URI:https://harbor.example",
            "DNS:.example",
            "DNS:.harbor.example",
            "DNS:other.example,DNS:harbor.example",
            "IP:127.0.0.1,DNS:harbor.example,DNS:localhost",
            "DNS:*.EXAMPLE",
            "DNS:a_b.example,DNS:harbor.example",
            "DNS:bad name,DNS:harbor.example",
            "DNS:,DNS:harbor.example",
            "dirName:people,DNS:harbor.example",
            "otherName:1.2.3.4;UTF8:x,DNS:harbor.example",
            "RID:1.2.3.4,DNS:harbor.example",
        ],
    );
    let subject = odd(
        random,
        "subject",
        "/CN=a server",
        &["/CN=harbor.example", "/CN=127.0.0.1", "/", "/CN=*.example", "/O=no common name"],
    );
    let usage = odd(
        random,
        "usage",
        "digitalSignature",
        &[
            "",
            "keyEncipherment",
            "critical,digitalSignature",
            "keyAgreement",
            "keyCertSign",
            "critical,nonRepudiation",
            "critical,keyCertSign,cRLSign",
        ],
    );
    let purpose = odd(
        random,
        "purpose",
        "serverAuth",
        &[
            "",
            "clientAuth",
            "serverAuth,clientAuth",
            "anyExtendedKeyUsage",
            "critical,serverAuth",
            "codeSigning",
            "msSGC",
            "critical,clientAuth",
            "1.2.3.4",
        ],
    );
    let basic = odd(random, "leaf", "CA:FALSE", &["", "CA:TRUE", "critical,CA:FALSE", "critical,CA:TRUE", "CA:TRUE,pathlen:0"]);
    let more = odd(
        random,
        "extension",
        "",
        &[
            "1.2.3.4=ASN1:UTF8String:x",
            "1.2.3.4=critical,ASN1:UTF8String:x",
            "tlsfeature=status_request",
            "certificatePolicies=1.2.3.4",
            "certificatePolicies=critical,1.2.3.4",
            "nsCertType=client",
            "nsCertType=server",
            "crlDistributionPoints=URI:http://crl.example/",
            "policyConstraints=critical,requireExplicitPolicy:0",
            "inhibitAnyPolicy=critical,0",
            "nameConstraints=permitted;DNS:other.example",
        ],
    );
    let version = odd(random, "version", "3", &["1"]);
    let key = odd(
        random,
        "key",
        "prime256v1",
        &["rsa2048", "rsa1024", "rsa3072", "rsa2056", "pss", "secp384r1", "secp521r1", "secp224r1", "secp256k1", "ed25519"],
    );
    let hash = odd(random, "hash", "sha256", &["sha1", "sha384", "sha512", "sha224", "sha3-256"]);
    let dates = odd(random, "dates", "now", &["expired", "future", "long", "from 2050 on"]);
    let shape = odd(
        random,
        "shape",
        "root",
        &[
            "intermediate",
            "intermediate",
            "intermediate",
            "not sent",
            "sent twice",
            "wrong order",
            "intermediate trusted alone",
            "both trusted",
            "self",
            "leaf trusted",
            "another authority",
            "another of this name",
            "extra",
            "two intermediates",
            "root sent",
        ],
    );
    let middle = odd(random, "intermediate", "CA:TRUE", &["", "CA:FALSE", "critical,CA:TRUE,pathlen:0", "critical,CA:TRUE"]);
    let middle_usage =
        odd(random, "intermediate usage", "keyCertSign,cRLSign", &["", "digitalSignature", "cRLSign", "critical,keyCertSign"]);
    let middle_more = odd(
        random,
        "intermediate extension",
        "",
        &[
            "nameConstraints=permitted;DNS:example",
            "nameConstraints=critical,permitted;DNS:other.example",
            "nameConstraints=excluded;DNS:harbor.example",
            "nameConstraints=critical,permitted;DNS:.example",
            "nameConstraints=permitted;IP:127.0.0.0/255.0.0.0",
            "nameConstraints=permitted;IP:10.0.0.0/255.0.0.0",
            "nameConstraints=permitted;dirName:people",
            "nameConstraints=permitted;email:example",
            "extendedKeyUsage=clientAuth",
            "extendedKeyUsage=serverAuth",
            "1.2.3.4=critical,ASN1:UTF8String:x",
            "policyConstraints=critical,requireExplicitPolicy:0",
        ],
    );
    let middle_dates = odd(random, "intermediate dates", "now", &["expired", "future"]);
    let middle_hash = odd(random, "intermediate hash", "sha256", &["sha1"]);
    let middle_key = odd(random, "intermediate key", "prime256v1", &["rsa1024", "rsa2048", "secp224r1", "ed25519"]);
    let root = odd(random, "root", "critical,CA:TRUE", &["", "CA:TRUE", "CA:FALSE", "critical,CA:TRUE,pathlen:0", "version 1"]);
    let root_usage =
        odd(random, "root usage", "keyCertSign,cRLSign", &["", "digitalSignature", "cRLSign", "critical,keyCertSign"]);
    let root_more = odd(
        random,
        "root extension",
        "",
        &[
            "nameConstraints=permitted;DNS:example",
            "nameConstraints=permitted;DNS:other.example",
            "extendedKeyUsage=clientAuth",
            "1.2.3.4=critical,ASN1:UTF8String:x",
            "nameConstraints=critical,excluded;DNS:example",
        ],
    );
    let root_dates = odd(random, "root dates", "now", &["expired", "future"]);
    let root_hash = odd(random, "root hash", "sha256", &["sha1"]);
    let root_key = odd(random, "root key", "prime256v1", &["rsa1024", "rsa2048", "secp224r1", "secp521r1", "ed25519", "pss"]);
    let file = odd(
        random,
        "file",
        "PEM",
        &[
            "text around",
            "CRLF",
            "twice",
            "X509 CERTIFICATE",
            "TRUSTED CERTIFICATE",
            "with a key",
            "a broken one before",
            "no last newline",
            "one line of base64",
            "spaces after lines",
            "byte order mark",
        ],
    );

    let day = |word: &str| match word {
        "expired" => ("2001-01-01 00:00:00", 1),
        "future" => ("2040-01-01 00:00:00", 9),
        "long" => (now, 30_000),
        "from 2050 on" => ("2050-06-01 00:00:00", 9),
        _ => (now, 30),
    };
    let extensions = |lines: &[(&str, &str)], more: &str| -> String {
        let lines = lines.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| format!("{name}={value}\n"));
        lines.collect::<String>() + more
    };
    let leaf_ext = extensions(
        &[("subjectAltName", names), ("keyUsage", usage), ("extendedKeyUsage", purpose), ("basicConstraints", basic)],
        more,
    );
    let middle_ext = extensions(&[("basicConstraints", middle), ("keyUsage", middle_usage)], middle_more);
    let root_ext = extensions(&[("basicConstraints", root), ("keyUsage", root_usage)], root_more);
    let one = |name: &str, key: &str, subject: &str, ext: &str, issuer: &str, issuer_key: &str, dates: &str, hash: &str| {
        let (from, days) = day(dates);
        // What ed25519 signs is not hashed.
        let hash = if issuer_key == "ed25519" { "none" } else { hash };
        format!(
            "certificate {name} {key} '{subject}' {issuer} '{from}' {days} {hash} <<'EXT'\n{}EXT\n",
            if ext.is_empty() { String::new() } else { format!("{}\n", ext.trim_end()) }
        )
    };
    let root_ext = if root == "version 1" { "" } else { &root_ext };
    let leaf_ext = if version == "1" { "" } else { &leaf_ext };
    let mut script = FUNCTIONS.to_owned();
    if shape != "self" {
        script += &one("root", root_key, "/CN=Root", root_ext, "root", root_key, root_dates, root_hash);
    }
    let (issuer, issuer_key) = match shape {
        "self" => ("leaf", key),
        "root" | "leaf trusted" | "another authority" | "another of this name" | "extra" | "root sent" => ("root", root_key),
        "two intermediates" => ("second", "prime256v1"),
        _ => ("middle", middle_key),
    };
    if !["root", "self", "leaf trusted", "another authority", "another of this name", "root sent"].contains(&shape) {
        script += &one("middle", middle_key, "/CN=Intermediate", &middle_ext, "root", root_key, middle_dates, middle_hash);
    }
    if shape == "two intermediates" {
        script += &one(
            "second",
            "prime256v1",
            "/CN=Second",
            "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n",
            "middle",
            middle_key,
            "now",
            "sha256",
        );
    }
    if shape.starts_with("another") {
        let subject = if shape == "another authority" { "/CN=Other" } else { "/CN=Root" };
        script += &one(
            "other",
            "prime256v1",
            subject,
            "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n",
            "other",
            "prime256v1",
            "now",
            "sha256",
        );
    }
    script += &one("leaf", key, subject, leaf_ext, issuer, issuer_key, dates, hash);
    let (chain, trusted) = match shape {
        "intermediate" => ("middle", "root"),
        "not sent" => ("", "root"),
        "sent twice" => ("middle middle", "root"),
        "wrong order" => ("root middle", "root"),
        "intermediate trusted alone" => ("", "middle"),
        "both trusted" => ("", "root middle"),
        "self" | "leaf trusted" => ("", "leaf"),
        "another authority" | "another of this name" => ("", "other"),
        "extra" => ("middle", "root"),
        "two intermediates" => ("second middle", "root"),
        "root sent" => ("root", "root"),
        _ => ("", "root"),
    };
    script += ":>chain.pem\n:>plain.pem\n";
    for name in chain.split_whitespace() {
        script += &format!("cat {name}.pem >>chain.pem\n");
    }
    for name in trusted.split_whitespace() {
        script += &format!("cat {name}.pem >>plain.pem\n");
    }
    script += match file {
        "text around" => {
            "{ openssl x509 -in plain.pem -text; echo '# end'; } >ca.pem\nif [[ $(grep -c BEGIN plain.pem) == 2 ]]; then cat plain.pem >>ca.pem; fi\n"
        }
        "CRLF" => "sed 's/$/\\r/' plain.pem >ca.pem\n",
        "twice" => "cat plain.pem plain.pem >ca.pem\n",
        "X509 CERTIFICATE" => "sed 's/ CERTIFICATE/ X509 CERTIFICATE/' plain.pem >ca.pem\n",
        "TRUSTED CERTIFICATE" => "openssl x509 -in plain.pem -trustout -out ca.pem\n",
        "with a key" => "cat leaf.key plain.pem >ca.pem\n",
        "a broken one before" => {
            "printf -- '-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\\n' | cat - plain.pem >ca.pem\n"
        }
        "no last newline" => "printf %s \"$(cat plain.pem)\" >ca.pem\n",
        "one line of base64" => {
            "{ echo '-----BEGIN CERTIFICATE-----'; openssl x509 -in plain.pem -outform DER | base64 -w 0; echo; echo '-----END CERTIFICATE-----'; } >ca.pem\n"
        }
        "spaces after lines" => "sed 's/$/  /' plain.pem >ca.pem\n",
        "byte order mark" => "{ printf '\\xef\\xbb\\xbf'; cat plain.pem; } >ca.pem\n",
        _ => "cp plain.pem ca.pem\n",
    };
    (host, script)
}
