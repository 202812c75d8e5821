//! Certificates as openssl makes them, and its server.

use scar_http::{Client, Method, Origin};
use scar_lab::kube::{Ca, Kubeconfig, Login};
use scar_tool::{Console, Exit, Failure};
use scar_trust::{TlsOptions, Trust};
use serde_json::json;

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

/// An authority that was made again under its old name: nothing is wrong with the server's certificate.
#[test]
fn an_authority_of_the_same_name_with_a_key_of_another_type_is_not_the_issuer() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "{AUTHORITY} request server; sign server -extfile names
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout new.key -out new.pem -subj '/CN=Lab CA' -days 3"
    );
    if !openssl(&folder, &script) {
        return;
    }
    let server = OpensslServer::start(&folder, &["-cert", "server.pem", "-key", "server.key"]);
    let trust = Trust::load(&TlsOptions { ca_file: Some(folder.path().join("new.pem")), ..<TlsOptions>::default() }).unwrap();
    let failure = server.ask(&trust).unwrap_err();
    assert!(failure.message.ends_with("its issuer is not known here"), "{failure:?}");
    assert_eq!(failure.exit, Exit::Unsafe);
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
