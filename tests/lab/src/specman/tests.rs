//! Specman against the lab's registry.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::Method;

use super::{RegistryAccess, Served, Specman, SpecmanOptions};
use crate::PodLog;
use crate::certs::{Certs, Pair};
use crate::faults::{Action, Answer, Match, Times};
use crate::probe::{client, send};
use crate::registry::{Auth, Credentials, LabRegistry, RegistryOptions, TokenService};
use crate::server::Listener;

const NAME: &str = "spectro-packs/spectro-manifests/manifest";
const LIMIT: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Lines(Mutex<Vec<(String, String)>>);

impl PodLog for Lines {
    fn line(&self, pod: &str, line: &str) {
        self.0.lock().unwrap().push((pod.to_owned(), line.to_owned()));
    }
}

impl Lines {
    /// The lines of a pod since the last call, without their time.
    fn take(&self, pod: &str) -> Vec<String> {
        let mut taken = Vec::new();
        self.0.lock().unwrap().retain(|(name, line)| {
            let mine = name == pod;
            if mine {
                let (time, rest) = line.split_once("Z\" ").unwrap();
                assert_eq!(time.len(), "time=\"2024-12-06T12:43:14".len(), "{line}");
                taken.push(rest.to_owned());
            }
            !mine
        });
        taken
    }
}

fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

struct Rig {
    specman: Specman,
    registry: LabRegistry,
    lines: Arc<Lines>,
    certs: Certs,
    _directory: tempfile::TempDir,
}

impl Rig {
    fn new(auth: Auth, credentials: Option<Credentials>, replicas: usize) -> Self {
        let certs = Certs::new(&[]);
        let (pair, ca_pem) = (certs.server().clone(), certs.ca_pem().to_owned());
        Self::with_certificate(certs, &pair, &ca_pem, auth, credentials, replicas)
    }

    fn with_certificate(
        certs: Certs,
        pair: &Pair,
        ca_pem: &str,
        auth: Auth,
        credentials: Option<Credentials>,
        replicas: usize,
    ) -> Self {
        let listener = Listener::tls(pair.server_config());
        let registry = LabRegistry::start(RegistryOptions { listener, auth, ..RegistryOptions::default() });
        let lines = Arc::new(Lines::default());
        let directory = tempfile::TempDir::new().unwrap();
        let ca_pem = Some(ca_pem.to_owned());
        let specman = Specman::start(SpecmanOptions {
            registry: RegistryAccess { url: registry.url(), ca_pem, credentials },
            repository: NAME.to_owned(),
            directory: directory.path().to_owned(),
            replicas,
            tls: Some(certs.server_config()),
            log: lines.clone(),
        });
        Self { specman, registry, lines, certs, _directory: directory }
    }

    fn sync(&self) -> Vec<String> {
        assert!(self.specman.sync_and_wait(LIMIT));
        self.lines.take("specman-0")
    }

    fn get(&self, replica: usize, path: &str) -> (u16, Vec<u8>) {
        let url = self.specman.url(replica) + path;
        let got = send(&client(Some(self.certs.ca_pem())), Method::GET, &url, |r| r).unwrap();
        (got.status, got.body)
    }
}

/// The lines, with the name of the scratch folder checked and shortened.
fn shortened(lines: &[String], tag: &str) -> Vec<String> {
    let prefix = format!("level=info msg=\"listing dir /tmp/{tag}");
    let short = |line: &String| if line.starts_with(&prefix) { "listing dir".to_owned() } else { line.clone() };
    lines.iter().map(short).collect()
}

#[test]
fn every_replica_pulls_the_tag_logs_the_guides_lines_and_serves_the_files() {
    let login = Credentials::new("admin", "s3cret");
    let rig = Rig::new(Auth::Basic(login.clone()), Some(login), 2);
    assert_eq!(rig.get(0, "/a/b").0, 404);
    let digest = rig.registry.seed(NAME, "0.0.0", &archive(&[("a/b", "hello")]));
    assert_eq!(
        shortened(&rig.sync(), "0.0.0"),
        [
            "level=info msg=\"Syncing with OCI repo\"",
            "level=info msg=\"tags[0.0.0]\"",
            "level=info msg=\"Downloading 0.0.0\"",
            "listing dir",
            "level=info msg=\"filename: manifests.tgz, isDir: false\"",
            "level=info msg=\"Persisting 0.0.0\"",
        ]
    );
    assert_eq!(rig.lines.take("specman-1").len(), 6);
    let served = Some(Served { tag: "0.0.0".to_owned(), digest });
    for replica in [0, 1] {
        assert_eq!(rig.specman.served(replica), served);
        assert_eq!(rig.get(replica, "/a/b"), (200, b"hello".to_vec()));
        assert_eq!(rig.get(replica, "/a").0, 404);
    }
}

#[test]
fn a_tag_is_pulled_again_only_when_it_moved() {
    let credentials = Credentials::new("admin", "s3cret");
    let service = Arc::new(TokenService::new(credentials.clone(), LIMIT));
    let rig = Rig::new(Auth::Bearer(service), Some(credentials), 1);
    rig.registry.seed(NAME, "0.0.0", &archive(&[("a", "one")]));
    rig.registry.seed(NAME, "4.5.15", &archive(&[("a", "old")]));
    assert_eq!(rig.sync().len(), 2 + 2 * 4);
    assert_eq!(rig.sync().len(), 2);
    rig.registry.seed(NAME, "0.0.0", &archive(&[("a", "two")]));
    let lines = rig.sync();
    assert_eq!(lines[1], "level=info msg=\"tags[0.0.0 4.5.15]\"");
    assert_eq!(lines.last().unwrap(), "level=info msg=\"Persisting 0.0.0\"");
    assert_eq!(rig.get(0, "/a"), (200, b"two".to_vec()));
}

#[test]
fn what_goes_wrong_is_logged_and_the_old_files_stay() {
    let rig = Rig::new(Auth::None, None, 1);
    rig.registry.seed(NAME, "0.0.0", &archive(&[("a", "one")]));
    rig.sync();
    rig.registry.seed(NAME, "0.0.0", &archive(&[("a", "two")]));
    let faults = rig.registry.faults();
    let layer = Match::get("/v2/**/blobs/*");
    faults.on(layer.clone(), Times::Nth(1), Action::Answer(Answer::status(200).body("other")));
    faults.on(Match::get("/v2/**/tags/list"), Times::Nth(2), Action::Answer(Answer::status(503)));
    let last = rig.sync().pop().unwrap();
    assert!(last.starts_with("level=error msg=\"layer sha256:") && last.ends_with(", 5 bytes\""), "{last}");
    let last = rig.sync().pop().unwrap();
    assert!(last.ends_with("/tags/list: 503 Service Unavailable\""), "{last}");
    assert_eq!(rig.get(0, "/a"), (200, b"one".to_vec()));
    rig.sync();
    assert_eq!(rig.get(0, "/a"), (200, b"two".to_vec()));
}

#[test]
fn a_wrong_password_is_an_error_line() {
    let login = Credentials::new("admin", "s3cret");
    let rig = Rig::new(Auth::Basic(login), Some(Credentials::new("admin", "wrong")), 1);
    let last = rig.sync().pop().unwrap();
    assert!(last.ends_with("/tags/list: 401 Unauthorized\""), "{last}");
    assert_eq!(rig.specman.served(0), None);
}

#[test]
fn the_given_certificate_is_itself_trusted_and_an_unknown_one_is_an_error_line() {
    let certs = Certs::new(&[]);
    let own = certs.self_signed_ca();
    let ca_pem = own.cert_pem.clone();
    let rig = Rig::with_certificate(certs, &own, &ca_pem, Auth::None, None, 1);
    rig.registry.seed(NAME, "0.0.0", &archive(&[("a", "one")]));
    assert_eq!(rig.sync().pop().unwrap(), "level=info msg=\"Persisting 0.0.0\"");

    let certs = Certs::new(&[]);
    let (unknown, ca_pem) = (certs.unknown_ca(), certs.ca_pem().to_owned());
    let rig = Rig::with_certificate(certs, &unknown, &ca_pem, Auth::None, None, 1);
    let last = rig.sync().pop().unwrap();
    assert!(last.ends_with("invalid peer certificate: UnknownIssuer\""), "{last}");
}
