//! The happy path on Debian's docker-registry with a token server, both with TLS; and the effects of an expired token, a
//! wrong password, a missing permission and an untrusted server.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use scar_kit::{Account, DockerRegistry, Outcome, Run, Signal, TokenServer, docker_registry_with_tokens, peer, program, tool};
use scar_lab::certs::Certs;
use tempfile::TempDir;

use crate::streams::Maker;
use crate::{bytes, digest};

/// The repository of all tests here.
const REPOSITORY: &str = "packs/manifest";

/// A registry, its token server, and a folder for files.
struct Rig {
    tokens: TokenServer,
    registry: DockerRegistry,
    folder: TempDir,
}

impl Rig {
    /// `None` if docker-registry is not installed.
    fn start() -> Option<Self> {
        Self::beside(TokenServer::start())
    }

    fn beside(tokens: TokenServer) -> Option<Self> {
        let registry = docker_registry_with_tokens(&tokens)?;
        Some(Self { tokens, registry, folder: TempDir::new().unwrap() })
    }

    fn reference(&self) -> String {
        format!("{}/{REPOSITORY}:v1", self.registry.authority())
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    fn archive(&self, size: usize) -> PathBuf {
        self.write("manifests.tgz", bytes(size))
    }

    /// ocipush without a login, and without trusting the token server.
    fn bare(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Run {
        let run = tool("ocipush").args(arguments).arg("--ca-file").arg(self.registry.ca_file());
        let run = run.args(["--retry-max-wait", "20ms"]).called(self.registry.authority(), "REGISTRY");
        run.called(self.tokens.authority(), "REALM").called(self.folder.path().display(), "[DIR]")
    }

    /// ocipush with this account, which trusts the token server.
    fn as_account(&self, account: Account, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Run {
        let password = self.write("password", account.password);
        std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
        let run = self.bare(arguments).args(["-u", account.user, "--trust-realm", &self.tokens.authority()]);
        run.arg("--password-file").arg(password)
    }

    fn push_as(&self, account: Account, file: impl AsRef<OsStr>) -> Run {
        self.as_account(account, [self.reference().as_ref(), file.as_ref()])
    }

    fn push(&self, file: impl AsRef<OsStr>) -> Run {
        self.push_as(TokenServer::ROBOT, file)
    }

    /// How many requests with these methods the registry has answered.
    fn answered(&self, methods: &[&str]) -> usize {
        let is = |line: &str, method: &&str| line.contains(&format!("http.request.method={method} "));
        let log = self.registry.log();
        log.iter().filter(|line| line.contains("response completed") && methods.iter().any(|method| is(line, method))).count()
    }

    /// How often a password was accepted, without tokens for cancelling a session.
    fn passwords(&self) -> (usize, usize) {
        let asked = self.tokens.asked();
        let cancels = |asked: &&scar_kit::Asked| asked.scopes.iter().any(|scope| scope.ends_with("delete"));
        let with: Vec<_> = asked.iter().filter(|asked| asked.with_password && !cancels(asked)).collect();
        (with.len(), with.iter().filter(|asked| asked.status == 200).count())
    }

    /// A token was renewed, or twice on a machine so busy that one expired early.
    #[track_caller]
    fn assert_renewed(&self) {
        let (came, taken) = self.passwords();
        assert!((2..=3).contains(&came) && taken == came, "{:#?}", self.tokens.asked());
    }

    #[track_caller]
    fn assert_pushed(&self, content: &[u8]) {
        assert_eq!(self.registry.get(&format!("/v2/{REPOSITORY}/manifests/v1")).status, 200);
        let blob = self.registry.get(&format!("/v2/{REPOSITORY}/blobs/{}", digest(content))).body;
        assert!(blob == content, "the blob in the registry is another one, of {} bytes", blob.len());
    }
}

#[test]
fn an_archive_is_pushed_with_one_token_and_a_second_push_sends_no_body_byte() {
    let Some(rig) = Rig::start() else { return };
    let path = rig.archive(3_000_000);
    let outcome = rig.push(&path).run();
    outcome.succeeds().reports(&format!("ocipush: pushed 'REGISTRY/{REPOSITORY}:v1'\n"));
    assert_eq!(outcome.json()["artifact"]["layer"], digest(&bytes(3_000_000)));
    rig.assert_pushed(&bytes(3_000_000));
    assert_eq!(rig.passwords(), (1, 1));
    assert_eq!(rig.tokens.asked()[0].scopes, [format!("repository:{REPOSITORY}:pull,push")]);
    let writing = ["POST", "PUT", "PATCH"];
    let sent = rig.answered(&writing);
    assert!(sent >= 5, "two blobs and a manifest: {sent}");
    let again = rig.push(&path).run();
    again.succeeds().says("holds this archive already; nothing was sent");
    assert_eq!(again.json()["artifact"]["uploaded"], false);
    assert_eq!((rig.answered(&writing), rig.passwords()), (sent, (2, 2)));
    for read_only in ["--adopt", "--dry-run"] {
        rig.push(&path).arg(read_only).run().succeeds();
        assert_eq!(rig.tokens.asked().last().unwrap().scopes, [format!("repository:{REPOSITORY}:pull")], "{read_only}");
    }
}

#[test]
fn chunks_and_standard_input_go_with_a_token_too() {
    let Some(rig) = Rig::start() else { return };
    rig.push(rig.archive(1_000_000)).args(["--chunk-size", "256KiB"]).run().succeeds();
    rig.assert_pushed(&bytes(1_000_000));
    assert_eq!(rig.answered(&["PATCH"]), 4);
    // The archive is complete before it is sent, or sent while it arrives.
    for (size, options) in [(70_000, &[][..]), (1_500_000, &["--chunk-size", "256KiB"][..])] {
        rig.push("-").args(options).stdin(bytes(size)).run().succeeds();
        rig.assert_pushed(&bytes(size));
    }
    assert_eq!(rig.passwords(), (3, 3));
}

#[test]
fn a_tag_moves_and_comes_back_with_a_token() {
    let Some(rig) = Rig::start() else { return };
    let digest_of = |outcome: &Outcome| outcome.json()["artifact"]["digest"].clone();
    let first = rig.push(rig.archive(10)).run();
    let plan = rig.push(rig.archive(20)).arg("--dry-run").run();
    plan.succeeds().says("would move the tag");
    let backup = rig.folder.path().join("tag.json");
    let second = rig.push(rig.archive(20)).arg("--backup").arg(&backup).run();
    assert_eq!(second.succeeds().json()["artifact"]["replaced"], digest_of(&first));
    let held = || rig.registry.get(&format!("/v2/{REPOSITORY}/manifests/v1")).headers["docker-content-digest"].clone();
    assert_eq!(held().to_str().unwrap(), digest_of(&second));
    rig.as_account(TokenServer::ROBOT, [OsStr::new("--undo"), backup.as_os_str()]).run().succeeds();
    assert_eq!(held().to_str().unwrap(), digest_of(&first));
    assert_eq!(rig.passwords(), (4, 4));
}

#[test]
fn p6_a_token_server_on_another_host_gets_nothing_without_trust_realm() {
    let Some(rig) = Rig::start() else { return };
    let password = rig.registry.password_file();
    let push = || {
        rig.bare([rig.reference().as_ref(), rig.archive(10).as_os_str()])
            .args(["-u", "robot"])
            .arg("--password-file")
            .arg(&password)
    };
    push().run().fails(
        5,
        "ocipush: error: get a token for 'REGISTRY': its token realm 'https://REALM' is another server; \
         the login was not sent to it\n\
         ocipush: hint: if that server belongs to the registry, add --trust-realm REALM\n",
    );
    assert_eq!(rig.tokens.server().log().connections(), 0);
    // The hint works.
    push().args(["--trust-realm", &rig.tokens.authority()]).run().succeeds();
    assert_eq!(rig.passwords(), (1, 1));
}

#[test]
fn p8_a_wrong_password_goes_to_the_token_server_once() {
    let Some(rig) = Rig::start() else { return };
    let wrong = Account { password: "canary-wrong", ..TokenServer::READER };
    let outcome = rig.push_as(wrong, rig.archive(10)).secret(wrong.password).run();
    outcome.exits(4).says("GET https://REALM/token?").says("401 Unauthorized").says("incorrect username or password");
    outcome.says("user or password is wrong").writes_nothing();
    assert_eq!(rig.passwords(), (1, 0));
    assert_eq!(rig.answered(&["POST", "PUT", "PATCH"]), 0);
}

#[test]
fn p8_a_user_who_may_only_read_sees_both_causes() {
    let Some(rig) = Rig::start() else { return };
    let outcome = rig.push_as(TokenServer::READER, rig.archive(10)).run();
    outcome.exits(4).says("POST https://REGISTRY/v2/").says("401 Unauthorized").writes_nothing();
    outcome.says(&format!("the user may not push to '{REPOSITORY}', or there is no project 'packs'"));
    outcome.never_says("password is wrong");
    assert_eq!(rig.passwords().1, rig.passwords().0, "no password was refused");
    // Reading is allowed.
    rig.push(rig.archive(10)).run().succeeds();
    rig.push_as(TokenServer::READER, rig.archive(10)).arg("--adopt").run().succeeds();
}

#[test]
fn p9_a_token_that_ends_while_a_large_blob_is_sent_is_renewed() {
    let Some(rig) = Rig::start() else { return };
    let size = 65 << 20;
    let path = rig.archive(size);
    rig.tokens.lasting(Duration::from_secs(4));
    let mut running = rig.push(&path).arg("-vv").start();
    running.until("/blobs/uploads/");
    running.signal(Signal::STOP);
    // As long as the token may last.
    std::thread::sleep(Duration::from_secs(5));
    running.signal(Signal::CONT);
    running.wait().succeeds();
    rig.assert_renewed();
    rig.assert_pushed(&bytes(size));
}

#[test]
fn p6_a_token_server_that_is_not_trusted_by_tls_gets_no_password() {
    let certs = Certs::new(&[]);
    let stranger = Certs::new(&[]);
    let pair = stranger.server().clone();
    let Some(rig) = Rig::beside(TokenServer::start_with(certs, &pair)) else { return };
    let home = rig.folder.path().join("home");
    let push = || rig.push(rig.archive(10)).home(&home);
    std::fs::create_dir(&home).unwrap();
    push().run().exits(5).says("the certificate of '127.0.0.1' is not trusted").says("REALM").writes_nothing();
    assert_eq!(rig.passwords(), (0, 0));
    rig.write(&format!("home/.config/docker/certs.d/{}/ca.crt", rig.tokens.authority()), stranger.ca_pem());
    push().run().succeeds();
}

#[test]
fn skopeo_takes_the_same_tokens() {
    let (Some(rig), Some(skopeo)) = (Rig::start(), peer("skopeo")) else { return };
    let outcome = rig.push(rig.archive(3_000_000)).run();
    outcome.succeeds();
    rig.write("ca.crt", rig.registry.ca_pem());
    let login = rig.write("auth.json", rig.registry.login_json());
    let call = |command: &str, options: &[&str]| {
        let run = program(&skopeo).args(["--insecure-policy", command]).args(options).arg(rig.folder.path());
        run.arg("--authfile").arg(&login)
    };
    let inspected = call("inspect", &["--raw", "--cert-dir"]).arg(format!("docker://{}", rig.reference())).run();
    inspected.succeeds();
    assert_eq!(digest(inspected.stdout().as_bytes()), outcome.json()["artifact"]["digest"].as_str().unwrap());
    let before = rig.tokens.asked().len();
    let copy = call("copy", &["--src-cert-dir"]).arg(format!("docker://{}", rig.reference()));
    copy.arg(format!("dir:{}", rig.folder.path().join("copy").display())).run().succeeds();
    let layer = digest(&bytes(3_000_000));
    assert!(std::fs::read(rig.folder.path().join("copy").join(&layer[7..])).unwrap() == bytes(3_000_000));
    let goal = format!("{}/packs/copy:v1", rig.registry.authority());
    let copy = call("copy", &["--dest-cert-dir"]).arg(format!("dir:{}", rig.folder.path().join("copy").display()));
    copy.arg(format!("docker://{goal}")).run().succeeds();
    assert_eq!(rig.registry.get(&format!("/v2/packs/copy/blobs/{layer}")).status, 200);
    let asked = rig.tokens.asked();
    let asked: Vec<_> =
        asked[before..].iter().map(|asked| (asked.account.as_deref(), asked.scopes.join(" "), asked.status)).collect();
    assert!(asked.contains(&(Some("robot"), "repository:packs/copy:pull,push".to_owned(), 200)), "{asked:?}");
}

#[test]
fn p9_a_token_that_ends_between_two_chunks_of_a_stream_is_renewed() {
    let Some(rig) = Rig::start() else { return };
    let content = bytes(1_000_000);
    rig.tokens.lasting(Duration::from_secs(4));
    let maker = Maker::new(rig.folder.path());
    let mut running = rig.push("-").args(["--chunk-size", "256KiB"]).stdin_file(&maker.pipe).start();
    maker.write(&content[..300_000]);
    while rig.answered(&["PATCH"]) == 0 {
        assert!(!running.is_over(), "{:#?}", running.said());
        std::thread::sleep(Duration::from_millis(20));
    }
    // As long as the token may last.
    std::thread::sleep(Duration::from_secs(5));
    maker.write(&content[300_000..]);
    drop(maker);
    running.wait().succeeds();
    rig.assert_pushed(&content);
    assert_eq!(rig.answered(&["PATCH"]), 4, "no chunk was sent twice");
    rig.assert_renewed();
}

#[test]
fn p9_tokens_that_the_registry_rejects_are_reported_and_not_requested_again() {
    let Some(rig) = Rig::start() else { return };
    rig.tokens.lasting(Duration::ZERO);
    let outcome = rig.push(rig.archive(10)).run();
    outcome.exits(4).says(
        "it refuses the token that its own token realm issued: GET https://REGISTRY/v2/packs/manifest/manifests/v1?now=…: 401",
    );
    outcome.says("compare their clocks").writes_nothing();
    assert_eq!(rig.passwords(), (1, 1));
}
