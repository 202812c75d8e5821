//! A large file to a repository without a trace of a push: it is sent before its digest is known.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use scar_kit::{Run, Signal, docker_registry, tool};
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::log::Request;
use scar_lab::registry::{RegistryOptions, Storage};

use crate::logins::{PASSWORD, bearer, service};
use crate::requests::{manifests, patches, puts};
use crate::{REPOSITORY, Site, bytes, digest};

/// The smallest file that is sent this way.
const LARGE: u64 = 64 << 20;
/// The bytes of configuration and manifest.
const REST: u64 = 10_000;

/// A file of this size, and its content.
fn large(site: &Site, size: u64) -> (PathBuf, Vec<u8>) {
    let unit = bytes(1_000_003);
    let mut content = unit.repeat(size as usize / unit.len() + 1);
    content.truncate(size as usize);
    let path = site.folder.path().join("large.tgz");
    std::fs::write(&path, &content).unwrap();
    (path, content)
}

fn push(site: &Site, file: &PathBuf) -> Run {
    site.ocipush(file).args(["--stall-timeout", "2s"])
}

fn assert_pushed(site: &Site, content: &[u8]) {
    assert!(site.registry.store().blob(REPOSITORY, &digest(content)).unwrap() == content);
    assert!(site.tag().is_some());
    assert_eq!(site.registry.store().open_uploads(), 0);
}

/// The bodies of the uploads, without the configuration.
fn bodies(site: &Site) -> Vec<u64> {
    let uploads = |request: &&Request| request.path.contains("/blobs/uploads/") && request.body_bytes > 2;
    site.registry.log().requests().iter().filter(uploads).map(|request| request.body_bytes).collect()
}

#[test]
fn a_large_file_is_sent_once_after_the_configuration() {
    let site = Site::plain();
    let (path, content) = large(&site, LARGE);
    let outcome = push(&site, &path).run();
    outcome.succeeds();
    assert_pushed(&site, &content);
    let requests = site.registry.log().requests();
    let sent: Vec<_> = requests
        .iter()
        .filter(|request| matches!(request.method.as_str(), "PUT" | "PATCH"))
        .map(|request| (request.method.as_str(), request.body_bytes))
        .collect();
    assert_eq!(sent[..3], [("PUT", 2), ("PATCH", LARGE), ("PUT", 0)]);
    let artifact = &outcome.json()["artifact"];
    assert_eq!(artifact["layer"], digest(&content));
    assert_eq!((&artifact["size"], &artifact["uploaded"]), (&LARGE.into(), &true.into()));
    // The manifest is the same as in a push that hashes first.
    let other = Site::plain();
    let record = crate::record(&path);
    let record = other.bare().arg("--plain-http").record(&record).run();
    assert_eq!(record.succeeds().json()["artifact"]["digest"], artifact["digest"]);
    assert_eq!(other.registry.log().count(&patches()), 0);
}

#[test]
fn p37_a_second_push_sends_nothing() {
    let site = Site::plain();
    let (path, _) = large(&site, LARGE);
    push(&site, &path).run().succeeds();
    site.registry.log().clear();
    let outcome = push(&site, &path).run();
    assert_eq!(outcome.succeeds().json()["artifact"]["uploaded"], false);
    assert_eq!(site.registry.log().body_bytes(), 0);
}

#[test]
fn p36_after_a_kill_existing_blobs_are_not_sent_again() {
    // Killed when the layer is complete but the manifest is not, and while the layer is sent.
    for (at, again) in [(manifests(), 0), (patches(), LARGE)] {
        let site = Site::plain();
        let (path, content) = large(&site, LARGE);
        let fault = site.registry.faults().on(at.clone(), Times::First(1), Action::Stall);
        let running = site.ocipush(&path).start();
        let begun = Instant::now();
        while fault.hits() == 0 {
            assert!(begun.elapsed() < Duration::from_secs(30));
            std::thread::sleep(Duration::from_millis(5));
        }
        running.signal(Signal::KILL);
        running.wait();
        assert_eq!(site.tag(), None);
        site.registry.log().clear();
        push(&site, &path).run().succeeds();
        assert!(site.registry.store().blob(REPOSITORY, &digest(&content)).unwrap() == content);
        let sent = site.registry.log().body_bytes();
        assert!((again..again + REST).contains(&sent), "{sent}");
    }
}

#[test]
fn after_an_earlier_push_the_archive_is_hashed_first() {
    // With the configuration, a tag, a smaller file, one try only, or a registry that answers no HEAD.
    type Case = fn(&Site, Run) -> Run;
    let cases: [(u64, Case); 5] = [
        (LARGE, |site, run| {
            site.registry.store().put_blob(REPOSITORY, b"{}");
            run
        }),
        (LARGE, |site, run| {
            site.ocipush(site.archive(1000)).run().succeeds();
            site.registry.store().remove_blob(REPOSITORY, &digest(b"{}"));
            site.registry.log().clear();
            run
        }),
        (LARGE - 1, |_, run| run),
        (LARGE, |_, run| run.args(["--retries", "0"])),
        (LARGE, |site, run| {
            site.registry.faults().on(Match::head("/v2/**/blobs/*"), Times::Always, Action::Answer(Answer::status(405)));
            run
        }),
    ];
    for (number, (size, case)) in cases.into_iter().enumerate() {
        let site = Site::plain();
        let (path, content) = large(&site, size);
        let run = case(&site, push(&site, &path));
        run.run().succeeds();
        assert!(site.registry.store().blob(REPOSITORY, &digest(&content)).unwrap() == content);
        assert_eq!(site.registry.log().count(&patches()), 0, "{number}");
        assert_eq!(bodies(&site), [size], "{number}");
    }
}

#[test]
fn p16_p17_after_a_network_fault_the_archive_is_sent_once_more() {
    let refused = |status: u16| Action::Answer(Answer::status(status));
    let html = Action::Answer(Answer::html(502, "<html>bad gateway</html>"));
    let faults = [
        (patches(), Action::Reset, LARGE),
        (patches(), Action::ResetAfter(LARGE / 2), 2 * LARGE),
        (patches(), Action::ResetAfter(LARGE - 1), 2 * LARGE),
        (patches(), Action::LoseReply, 2 * LARGE),
        (patches(), Action::Stall, 2 * LARGE),
        (patches(), refused(404), 2 * LARGE),
        (patches(), refused(405), 2 * LARGE),
        (patches(), refused(416), 2 * LARGE),
        (patches(), refused(500), 2 * LARGE),
        (patches(), html, 2 * LARGE),
        (puts().query("digest="), Action::LoseReply, LARGE),
        (Match::post("/v2/**/blobs/uploads/"), refused(503), LARGE),
    ];
    for (number, (at, action, bound)) in faults.into_iter().enumerate() {
        let site = Site::plain();
        let (path, content) = large(&site, LARGE);
        // The first session is the configuration's.
        let times = if at.selects(&"PATCH".parse().unwrap(), "/v2/x/blobs/uploads/1", None) { 1 } else { 2 };
        let fault = site.registry.faults().on(at, Times::Nth(times), action);
        push(&site, &path).run().succeeds();
        assert_eq!(fault.hits(), 1, "{number}");
        assert!(site.registry.store().blob(REPOSITORY, &digest(&content)).unwrap() == content);
        assert!(site.tag().is_some());
        let sent = site.registry.log().body_bytes();
        assert!(sent < bound + REST, "{number}: {sent}");
    }
}

#[test]
fn p19_a_body_that_was_too_large_is_not_sent_again_in_that_size() {
    let site = Site::start(RegistryOptions { max_body: Some(20 << 20), ..RegistryOptions::default() });
    let (path, content) = large(&site, LARGE + 5);
    push(&site, &path).run().succeeds().says("sending chunks of 8 MiB");
    assert_pushed(&site, &content);
    let refused = site.registry.log().matching(&Match::any("/v2/**/blobs/uploads/*"));
    let refused: Vec<_> =
        refused.iter().filter(|request| request.status.is_some_and(|status| status.as_u16() == 413)).map(Request::line).collect();
    // Once in one piece, then in the next smaller size.
    assert_eq!(refused.len(), 2, "{refused:#?}");
}

#[test]
fn p9_if_a_token_expires_during_the_upload_the_file_is_sent_in_parts() {
    let service = service();
    let site = bearer(&service);
    let (path, content) = large(&site, LARGE + 5);
    let refused = Answer::status(401)
        .header("www-authenticate", &format!("Bearer realm=\"{}/service/token\",service=\"lab-registry\"", site.registry.url()));
    let fault = site.registry.faults().on(patches(), Times::First(1), Action::Answer(refused));
    let password = site.folder.path().join("pw");
    std::fs::write(&password, PASSWORD).unwrap();
    let run = push(&site, &path).args(["-u", "pusher", "-q", "--password-file"]).arg(password).secret(PASSWORD);
    run.run().succeeds();
    let tokens = Match::get("/service/token").query("pull%2Cpush&");
    assert_eq!((fault.hits(), site.registry.log().count(&tokens)), (1, 2));
    assert_eq!(bodies(&site), [LARGE + 5, LARGE, 5]);
    assert!(site.registry.store().blob(REPOSITORY, &digest(&content)).unwrap() == content);
}

#[test]
fn p30_a_file_that_changes_while_it_is_sent_never_gets_a_manifest() {
    let change = |site: &Site, change: fn(&PathBuf)| {
        let slow = Action::SlowRead { bytes: 1 << 20, every: Duration::from_millis(10) };
        site.registry.faults().on(patches(), Times::Always, slow);
        let (path, _) = large(site, LARGE);
        let running = push(site, &path).start();
        let moving = |requests: &[Request]| requests.iter().any(|request| request.body_bytes > 1 << 20);
        assert!(site.registry.log().wait(Duration::from_secs(20), moving));
        change(&path);
        let outcome = running.wait();
        outcome.exits(1).writes_nothing();
        assert_eq!((site.registry.log().count(&manifests()), site.registry.store().open_uploads()), (0, 0));
        outcome
    };
    let site = Site::plain();
    change(&site, |path| File::options().write(true).open(path).unwrap().set_len(LARGE - (1 << 20)).unwrap())
        .says("it has become shorter since it was opened");
    let site = Site::plain();
    change(&site, |path| std::fs::rename(path.with_file_name("large.tgz"), path.with_file_name("old.tgz")).unwrap())
        .says("it has changed meanwhile");
    let site = Site::plain();
    change(&site, |path| File::options().append(true).open(path).unwrap().write_all(b"more").unwrap())
        .says("it has changed meanwhile");
}

#[test]
fn q12_a_large_file_that_is_cut_never_gets_a_manifest() {
    let site = Site::plain();
    // Noise does not compress.
    let made = "head -c 70000000 /dev/urandom >noise; tar -cf - noise | gzip -1 >made.tgz; head -c -100 made.tgz >cut.tgz";
    scar_kit::bash(made).folder(site.folder.path()).timeout(Duration::from_secs(300)).run().succeeds();
    let path = |name: &str| site.folder.path().join(name);
    push(&site, &path("cut.tgz")).run().exits(1).writes_nothing().says("it is truncated or damaged");
    assert_eq!((site.registry.log().count(&manifests()), site.registry.store().open_uploads()), (0, 0));
    push(&site, &path("made.tgz")).run().succeeds();
}

#[test]
fn p40_a_signal_cancels_the_upload_and_does_not_wait_for_the_hashing() {
    let site = Site::plain();
    let (path, _) = large(&site, LARGE);
    site.registry.faults().on(patches(), Times::Always, Action::Stall);
    let running = site.ocipush(&path).start();
    let moving = |requests: &[Request]| requests.iter().any(|request| request.method == "PATCH" && request.body_bytes > 0);
    assert!(site.registry.log().wait(Duration::from_secs(20), moving));
    running.signal(Signal::INT);
    running.wait().exits(130).writes_nothing();
    assert_eq!((site.registry.store().open_uploads(), site.tag()), (0, None));
    // A file that takes long to hash, because the configuration exists.
    let site = Site::plain();
    site.registry.store().put_blob(REPOSITORY, b"{}");
    let path = site.folder.path().join("holes.tgz");
    File::create(&path).unwrap().set_len(100 << 30).unwrap();
    let mut running = site.ocipush(&path).arg("-vv").start();
    running.until("HEAD");
    running.signal(Signal::TERM);
    let begun = Instant::now();
    running.wait().exits(143).writes_nothing();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[test]
fn p41_a_file_is_not_held_in_memory() {
    let site = Site::start(RegistryOptions { storage: Storage::Discard, ..RegistryOptions::default() });
    let path = site.folder.path().join("holes.tgz");
    File::create(&path).unwrap().set_len(512 << 20).unwrap();
    let mut running = site.ocipush(&path).start();
    let peak = crate::peak(&mut running);
    running.wait().succeeds();
    assert_eq!(site.registry.log().count(&patches()), 1);
    assert!(peak > 0 && peak < 40 * 1024, "{peak} kB");
}

#[test]
fn p35_a_registry_that_stores_nothing_is_detected() {
    let site = Site::start(RegistryOptions { lying: true, ..RegistryOptions::default() });
    let (path, _) = large(&site, LARGE);
    push(&site, &path).run().exits(7).says("does not have it").writes_nothing();
}

#[test]
fn debians_registry_gets_the_file_in_one_request() {
    let Some(registry) = docker_registry() else { return };
    let site = Site::plain();
    let (path, content) = large(&site, LARGE);
    let push = || {
        let run = tool("ocipush").args([&format!("{}/a/b:v1", registry.authority()), "--new-record"]).arg(&path);
        let run = run.args(["-u", registry.username(), "--password-file"]).arg(registry.password_file());
        run.arg("--ca-file").arg(registry.ca_file()).run()
    };
    let outcome = push();
    assert_eq!(outcome.succeeds().json()["artifact"]["layer"], digest(&content));
    assert!(registry.get(&format!("/v2/a/b/blobs/{}", digest(&content))).body == content);
    let uploads = registry.log().iter().filter(|line| line.contains("method=PATCH") && line.contains("completed")).count();
    assert_eq!(uploads, 1);
    assert_eq!(push().succeeds().json()["artifact"]["uploaded"], false);
}
