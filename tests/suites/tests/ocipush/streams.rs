//! An archive on standard input, which is sent while it arrives.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use scar_kit::{Outcome, Run, Signal, bash, docker_registry, program, tool};
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::log::Request;
use scar_lab::registry::{RegistryOptions, Storage};

use crate::logins::{PASSWORD, bearer, service};
use crate::requests::{error, patches, puts};
use crate::{REPOSITORY, SIZE, Site, assert_pushed, bytes, digest};

const CHUNK: usize = 256 * 1024;

/// A named pipe, and a thread that writes to it until it is dropped.
pub(crate) struct Maker {
    pub(crate) pipe: PathBuf,
    hand: mpsc::Sender<Vec<u8>>,
}

impl Maker {
    pub(crate) fn new(folder: &Path) -> Self {
        let pipe = folder.join("pipe");
        let _ = std::fs::remove_file(&pipe);
        program("mkfifo").arg(&pipe).run().succeeds();
        let (hand, work) = mpsc::channel::<Vec<u8>>();
        let path = pipe.clone();
        std::thread::spawn(move || {
            let mut end = File::options().write(true).open(path).unwrap();
            // The reader may be gone before it has read everything.
            while let Ok(bytes) = work.recv() {
                if end.write_all(&bytes).is_err() {
                    return;
                }
            }
        });
        Self { pipe, hand }
    }

    pub(crate) fn write(&self, bytes: &[u8]) {
        self.hand.send(bytes.to_vec()).unwrap();
    }
}

fn push(site: &Site) -> Run {
    site.ocipush("-").args(["--chunk-size", "256KiB", "--stall-timeout", "1s"])
}

/// Runs it with this archive on standard input, which ends only after an upload was opened.
fn streamed(site: &Site, run: Run, content: &[u8]) -> Outcome {
    let maker = Maker::new(site.folder.path());
    let mut running = run.stdin_file(&maker.pipe).start();
    let head = content.len() - 10;
    maker.write(&content[..head]);
    let asked = |requests: &[Request]| requests.iter().any(|request| request.method == "POST");
    while !site.registry.log().wait(Duration::from_millis(100), asked) && !running.is_over() {}
    maker.write(&content[head..]);
    drop(maker);
    running.wait()
}

/// Waits until this many chunks were answered.
fn chunks_are_there(site: &Site, count: usize) {
    let there = move |requests: &[Request]| {
        requests.iter().filter(|request| request.method == "PATCH" && request.status.is_some()).count() >= count
    };
    assert!(site.registry.log().wait(Duration::from_secs(20), there), "{:#?}", site.registry.log().lines());
}

#[test]
fn an_archive_is_in_the_registry_before_it_has_ended() {
    let site = Site::plain();
    let maker = Maker::new(site.folder.path());
    let content = bytes(40 << 20);
    let mut running = site.ocipush("-").stdin_file(&maker.pipe).start();
    // Two chunks of at least the default size are answered while the writer still has the rest.
    maker.write(&content[..17 << 20]);
    chunks_are_there(&site, 1);
    maker.write(&content[17 << 20..33 << 20]);
    chunks_are_there(&site, 2);
    assert!(!running.is_over());
    assert_eq!(site.registry.log().count(&puts()), 0);
    maker.write(&content[33 << 20..]);
    drop(maker);
    let outcome = running.wait();
    outcome.succeeds();
    let mut next = 0;
    for (number, patch) in site.registry.log().matching(&patches()).iter().enumerate() {
        let end = next + patch.body_bytes;
        assert_eq!(patch.header("content-range").unwrap(), format!("{next}-{}", end - 1));
        assert!(number == 2 || patch.body_bytes >= 16 << 20, "{}", patch.line());
        next = end;
    }
    assert_eq!(next, 40 << 20);
    assert_eq!(outcome.json()["artifact"]["layer"], digest(&content));
    assert_eq!(site.registry.store().blob(REPOSITORY, &digest(&content)).unwrap(), content);
}

#[test]
fn debians_registry_has_the_first_chunk_before_the_archive_has_ended() {
    let Some(registry) = docker_registry() else { return };
    let site = Site::plain();
    let maker = Maker::new(site.folder.path());
    let run = tool("ocipush").args([&format!("{}/a/b:v1", registry.authority()), "-", "-u", registry.username()]);
    let run = run.arg("--password-file").arg(registry.password_file()).arg("--ca-file").arg(registry.ca_file());
    let mut running = run.args(["--chunk-size", "256KiB"]).stdin_file(&maker.pipe).start();
    maker.write(&bytes(SIZE)[..CHUNK + 1]);
    let begun = std::time::Instant::now();
    let answered = |line: &String| line.contains("response completed") && line.contains("http.request.method=PATCH");
    while !registry.log().iter().any(answered) {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:#?}", registry.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!running.is_over());
    maker.write(&bytes(SIZE)[CHUNK + 1..]);
    drop(maker);
    let outcome = running.wait();
    outcome.succeeds();
    let layer = outcome.json()["artifact"]["layer"].as_str().unwrap().to_owned();
    assert_eq!(layer, digest(&bytes(SIZE)));
    assert_eq!(registry.get(&format!("/v2/a/b/blobs/{layer}")).body, bytes(SIZE));
}

#[test]
fn after_a_network_fault_the_stream_is_sent_once_more() {
    let refused = |status: u16| Action::Answer(Answer::status(status));
    for (matcher, action) in [
        (patches(), Action::Reset),
        (patches(), Action::ResetAfter(1000)),
        (patches(), Action::LoseReply),
        (patches(), Action::Stall),
        (patches(), refused(400)),
        (patches(), refused(404)),
        (patches(), refused(405)),
        (patches(), refused(408)),
        (patches(), refused(413)),
        (patches(), refused(416)),
        (patches(), refused(499)),
        (patches(), refused(500)),
        (patches(), refused(501)),
        (patches(), refused(503)),
        (puts(), Action::Reset),
        (puts(), refused(404)),
        (puts(), refused(400)),
        (puts(), refused(503)),
        (puts(), Action::Answer(error(400, "DIGEST_INVALID"))),
    ] {
        // The first or a middle chunk.
        for number in if matches!(action, Action::Reset) { vec![1, 2] } else { vec![2] } {
            let site = Site::plain();
            let times = if matcher.selects(&"PUT".parse().unwrap(), "/v2/x/blobs/uploads/1", None) { 1 } else { number };
            let fault = site.registry.faults().on(matcher.clone(), Times::Nth(times), action.clone());
            let outcome = streamed(&site, push(&site), &bytes(SIZE));
            outcome.succeeds();
            assert_eq!(fault.hits(), 1);
            assert_pushed(&site, SIZE);
            crate::chunks::assert_none_is_sent_blindly(&site);
            assert!(site.registry.log().body_bytes() < 2 * SIZE as u64 + 10_000);
        }
    }
}

#[test]
fn a_reply_to_the_end_that_is_lost_sends_nothing_again() {
    let site = Site::plain();
    let fault = site.registry.faults().on(puts(), Times::First(1), Action::LoseReply);
    streamed(&site, push(&site), &bytes(SIZE)).succeeds();
    assert_eq!(fault.hits(), 1);
    assert_pushed(&site, SIZE);
    assert!(site.registry.log().body_bytes() < SIZE as u64 + 10_000);
}

#[test]
fn a_registry_without_chunks_gets_the_archive_in_one_request() {
    for status in [400, 404, 405, 416, 501] {
        let site = Site::plain();
        let fault = site.registry.faults().on(patches(), Times::Always, Action::Answer(Answer::status(status)));
        streamed(&site, site.ocipush("-"), &bytes(17 << 20)).succeeds();
        assert_eq!(fault.hits(), 1, "{status}");
        let whole = site.registry.log().matching(&puts());
        assert_eq!(whole[0].body_bytes, 17 << 20);
    }
    // Like ECR: 201 instead of 202, and a range that sticks.
    let site = Site::plain();
    let edit = Action::edit(|response| {
        *response.status_mut() = "201".parse().unwrap();
        response.headers_mut().insert("range", "0-0".parse().unwrap());
    });
    site.registry.faults().on(patches(), Times::Always, edit);
    streamed(&site, push(&site), &bytes(SIZE)).succeeds();
    assert_pushed(&site, SIZE);
    assert_eq!(site.registry.log().count(&patches()), 4);
}

#[test]
fn a_registry_that_refuses_the_second_chunk_gets_the_archive_in_one_request() {
    for status in [500, 503] {
        let site = Site::plain();
        let second = patches().query("_state=262144");
        let fault = site.registry.faults().on(second, Times::Always, Action::Answer(Answer::status(status)));
        streamed(&site, push(&site), &bytes(SIZE)).succeeds();
        // During the stream and afterwards; each time once more, because the registry says that it has nothing of the chunk.
        assert_eq!(fault.hits(), 4);
        assert_pushed(&site, SIZE);
    }
}

#[test]
fn a_proxy_with_a_smaller_limit_gets_smaller_chunks() {
    let site = Site::start(RegistryOptions { max_body: Some(2 << 20), ..RegistryOptions::default() });
    let content = bytes(20 << 20);
    streamed(&site, site.ocipush("-"), &content).succeeds().says("sending chunks of 1 MiB");
    assert_eq!(site.registry.store().blob(REPOSITORY, &digest(&content)).unwrap(), content);
}

#[test]
fn the_minimum_chunk_size_is_used() {
    let site = Site::plain();
    let least = Action::set_header("oci-chunk-min-length", "524288");
    site.registry.faults().on(Match::post("/v2/**/blobs/uploads/"), Times::Always, least);
    streamed(&site, push(&site), &bytes(SIZE)).succeeds();
    assert_eq!(site.registry.log().count(&patches()), 2);
    assert_pushed(&site, SIZE);
}

#[test]
fn a_token_that_expires_while_the_archive_arrives_loses_no_chunk() {
    for at in [patches(), Match::head("/v2/**/blobs/*")] {
        let service = service();
        let site = bearer(&service);
        let ending = service.clone();
        let fault = site.registry.faults().on(at, Times::Nth(2), Action::edit(move |_| ending.expire()));
        let password = site.folder.path().join("pw");
        std::fs::write(&password, PASSWORD).unwrap();
        let run = push(&site).args(["-u", "pusher", "-q", "--password-file"]).arg(password).secret(PASSWORD);
        streamed(&site, run, &bytes(SIZE)).succeeds();
        assert_eq!(fault.hits(), 1);
        assert_pushed(&site, SIZE);
        assert_eq!(site.registry.log().count(&Match::get("/service/token")), 2);
    }
}

#[test]
fn what_the_tag_holds_already_is_not_stored_again() {
    let site = Site::plain();
    streamed(&site, push(&site), &bytes(SIZE)).succeeds();
    let before = site.tag();
    site.registry.log().clear();
    let outcome = streamed(&site, push(&site).env("SOURCE_DATE_EPOCH", "1800000000"), &bytes(SIZE));
    outcome.succeeds().says("holds this archive already; the upload was cancelled");
    assert_eq!(outcome.json()["artifact"]["uploaded"], false);
    let log = site.registry.log();
    assert_eq!((log.count(&Match::put("/**")), log.count(&Match::delete("/v2/**/blobs/uploads/*")), site.tag()), (0, 1, before));
    // Only data: the session is not closed, and no manifest is sent.
    let site = Site::plain();
    site.registry.store().put_blob(REPOSITORY, &bytes(SIZE));
    streamed(&site, push(&site), &bytes(SIZE)).succeeds().says("the registry has the layer");
    let log = site.registry.log();
    assert_eq!((log.count(&Match::delete("/v2/**/blobs/uploads/*")), log.count(&puts())), (1, 1));
    assert_pushed(&site, SIZE);
}

#[test]
fn a_push_that_cannot_succeed_ends_while_the_archive_still_arrives() {
    let quota =
        Answer::json(403, &serde_json::json!({"errors": [{"code": "DENIED", "message": "quota exceeded: 10 of 10 MiB"}]}));
    let missing = error(404, "NAME_UNKNOWN");
    let posts = Match::post("/v2/**/blobs/uploads/");
    for (matcher, answer, status, says) in [
        (posts.clone(), missing, 3, "create the project 'spectro-packs'"),
        (posts.clone(), error(403, "DENIED"), 4, "DENIED"),
        (patches(), quota, 1, "raise it"),
        (patches(), Answer::status(429).header("retry-after", "99999"), 6, "asks to wait 99999 s"),
    ] {
        let site = Site::plain();
        let fault = site.registry.faults().on(matcher, Times::Always, Action::Answer(answer));
        let maker = Maker::new(site.folder.path());
        let running = push(&site).stdin_file(&maker.pipe).start();
        maker.write(&bytes(SIZE)[..CHUNK]);
        running.wait().exits(status).says(says).writes_nothing();
        assert_eq!(fault.hits(), 1);
    }
    // An upload location on another origin gets no byte.
    let site = Site::plain();
    let elsewhere = Action::set_header("location", "http://127.0.0.1:9/v2/x/blobs/uploads/1");
    site.registry.faults().on(posts, Times::Always, elsewhere);
    streamed(&site, push(&site), &bytes(SIZE)).exits(5).says("it asks to send the archive to another server").writes_nothing();
}

#[test]
fn p18_retry_after_is_obeyed_before_the_whole_archive_is_sent() {
    let site = Site::plain();
    let later = Answer::status(429).header("retry-after", "1");
    site.registry.faults().on(patches(), Times::First(1), Action::Answer(later));
    let run = site.bare().arg("-").args(["--plain-http", "--chunk-size", "256KiB", "--retry-max-wait", "2s"]);
    let outcome = streamed(&site, run, &bytes(SIZE));
    outcome.succeeds();
    assert!(outcome.took() >= Duration::from_secs(1), "{:?}", outcome.took());
}

#[test]
fn p35_a_registry_that_stores_no_chunk_is_detected() {
    let site = Site::start(RegistryOptions { lying: true, ..RegistryOptions::default() });
    streamed(&site, push(&site), &bytes(SIZE)).exits(7).says("does not have it").writes_nothing();
}

#[test]
fn p40_a_signal_or_the_deadline_while_the_archive_arrives_cancels_the_upload() {
    for signal in [Some(Signal::INT), Some(Signal::TERM), None] {
        let site = Site::plain();
        let maker = Maker::new(site.folder.path());
        let run = push(&site).stdin_file(&maker.pipe);
        let running = if signal.is_none() { run.args(["--timeout", "2s"]) } else { run }.start();
        maker.write(&bytes(SIZE)[..CHUNK + 1]);
        chunks_are_there(&site, 1);
        signal.inspect(|signal| running.signal(*signal));
        let status = signal.map_or(8, |signal| if signal == Signal::INT { 130 } else { 143 });
        running.wait().exits(status).writes_nothing();
        assert_eq!((site.registry.log().count(&Match::delete("/v2/**/blobs/uploads/*")), site.tag()), (1, None));
    }
}

#[test]
fn p41_a_stream_is_not_held_in_memory() {
    let site = Site::start(RegistryOptions { storage: Storage::Discard, ..RegistryOptions::default() });
    let large = site.folder.path().join("large.tgz");
    File::create(&large).unwrap().set_len(256 << 20).unwrap();
    let mut running = site.ocipush("-").stdin_file(&large).start();
    let peak = crate::peak(&mut running);
    running.wait().succeeds();
    assert!(peak > 0 && peak < 40 * 1024, "{peak} kB");
}

/// A failing program closes its pipe just like a successful one.
#[test]
fn q12_a_truncated_archive_is_not_pushed() {
    let site = Site::plain();
    let tree = site.folder.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("image"), bytes(SIZE)).unwrap();
    let made = tool("mkmanifests").arg(&tree).args(["-o", "-"]).run().succeeds().stdout_bytes().to_vec();
    let gzip = |script: &str| bash(script).env("TREE", &tree).run().succeeds().stdout_bytes().to_vec();
    // tar was killed, and gzip ended its output properly.
    let tar_ended = gzip("(tar -cf - -C \"$TREE\" . || :) | head -c 600000 | gzip");
    let ends = [
        (made[..10].to_vec(), "it is truncated or damaged"),
        (made[..made.len() - 1].to_vec(), "it is truncated or damaged"),
        (made[..made.len() / 2].to_vec(), "it is truncated or damaged"),
        (tar_ended, "the tar archive in it is truncated"),
    ];
    for (archive, says) in ends {
        let outcome = push(&site).stdin(archive).run();
        outcome.exits(1).writes_nothing().says(&format!("error: push the archive from standard input: {says}\n"));
        outcome.says("hint: the program that wrote it failed or was stopped");
    }
    let requests = site.registry.log().requests();
    assert!(!requests.iter().any(|request| request.method == "PUT"), "{requests:?}");
    let count = |method: &str| requests.iter().filter(|request| request.method == method).count();
    assert!(count("POST") > 0 && count("POST") == count("DELETE"), "each upload is cancelled: {requests:?}");
    // The same in a file fails too, hashed first or sent at once.
    let path = site.folder.path().join("cut.tgz");
    for cut in [made.len() / 2, made.len() - 1] {
        std::fs::write(&path, &made[..cut]).unwrap();
        let outcome = site.ocipush(&path).run();
        outcome.exits(1).writes_nothing().says("error: push '[DIR]/cut.tgz': it is truncated or damaged\n");
    }
    assert!(site.registry.log().count(&Match::put("/**")) == 0);
    for whole in [made, gzip("tar -czf - -C \"$TREE\" .")] {
        push(&site).stdin(whole).run().succeeds();
    }
}

#[test]
fn a_stream_that_cannot_be_kept_or_read_is_reported() {
    let site = Site::plain();
    let nowhere = push(&site).env("TMPDIR", "/nowhere").stdin(bytes(SIZE)).run();
    nowhere.exits(1).says("store the archive from standard input").says("$TMPDIR names the directory").writes_nothing();
    push(&site).stdin_file("/").run().exits(1).says("read the archive from standard input").writes_nothing();
    assert_eq!(site.registry.log().connections(), 0);
}
