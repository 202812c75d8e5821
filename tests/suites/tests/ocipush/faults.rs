//! Each fault of the transport by its id: what must hold when the network, a proxy or the registry misbehaves.

use std::time::Duration;

use scar_kit::{Signal, tool};
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::registry::{Immutable, RegistryOptions, Storage};
use serde_json::json;

use crate::{REPOSITORY, Site, bytes, digest};

const SIZE: usize = 1_000_000;

fn uploads() -> Match {
    Match::post("/v2/**/blobs/uploads/")
}

fn puts() -> Match {
    Match::put("/v2/**/blobs/uploads/*")
}

fn heads() -> Match {
    Match::head("/v2/**/blobs/*")
}

fn manifests() -> Match {
    Match::put("/v2/**/manifests/*")
}

pub(crate) fn error(status: u16, code: &str) -> Answer {
    Answer::json(status, &json!({"errors": [{"code": code, "message": "the lab says so", "detail": {}}]}))
}

/// The layer is there, whole, and the tag points to it.
fn assert_pushed(site: &Site, size: usize) {
    assert_eq!(site.registry.store().blob(REPOSITORY, &digest(&bytes(size))).unwrap(), bytes(size));
    assert!(site.tag().is_some());
}

#[test]
fn p1_a_name_that_does_not_resolve_is_told() {
    let site = Site::plain();
    let run = tool("ocipush").arg("registry.invalid").arg(site.archive(10)).args(["--new-record", "--retries", "1"]);
    run.args(["--retry-max-wait", "20ms"]).run().exits(6).says("registry.invalid").says("it is safe to run this step again");
}

#[test]
fn p2_connections_that_are_reset_are_made_again() {
    let site = Site::plain();
    site.registry.faults().reset_connections(2);
    site.ocipush(site.archive(SIZE)).run().succeeds();
    assert_pushed(&site, SIZE);
    site.registry.faults().reset_connections(100);
    site.ocipush(site.archive(SIZE)).args(["--retries", "2"]).run().exits(6).writes_nothing();
}

/// A port whose queue of connections is full: what comes is dropped without a word.
#[test]
fn p2_a_host_that_drops_what_comes_is_given_up() {
    let Some(python) = scar_kit::peer("python3") else { return };
    let hole = "import socket, sys\ns = socket.socket()\ns.bind((\"127.0.0.1\", 0))\ns.listen(0)\n\
                c = [socket.socket() for _ in range(3)]\n[(x.setblocking(False), x.connect_ex(s.getsockname())) for x in c]\n\
                print(s.getsockname()[1], flush=True)\nsys.stdin.read()";
    let mut child = std::process::Command::new(python)
        .args(["-c", hole])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut port = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut port).unwrap();
    let site = Site::plain();
    let run =
        tool("ocipush").arg(format!("127.0.0.1:{}", port.trim())).arg(site.archive(10)).args(["--new-record", "--plain-http"]);
    let outcome = run.args(["--retries", "1", "--retry-max-wait", "20ms"]).run();
    drop(child.stdin.take());
    child.wait().unwrap();
    outcome.exits(8).says("no connection in time").writes_nothing();
    assert!(outcome.took() < Duration::from_secs(25), "{:?}", outcome.took());
}

#[test]
fn p10_a_blob_of_another_size_is_not_taken_for_the_archive() {
    let site = Site::plain();
    site.registry.store().put_blob(REPOSITORY, &bytes(SIZE));
    let fault = site.registry.faults().on(heads(), Times::Always, Action::set_header("content-length", "5"));
    site.ocipush(site.archive(SIZE)).run().exits(7).says("has 5 bytes; it has 1000000").writes_nothing();
    assert_eq!((fault.hits(), site.tag()), (1, None));
}

#[test]
fn p11_a_registry_that_does_not_answer_head_gets_the_blob() {
    for action in [
        Action::Answer(Answer::status(500)),
        Action::Answer(Answer::status(403)),
        Action::Answer(Answer::status(405)),
        Action::Reset,
    ] {
        let site = Site::plain();
        let fault = site.registry.faults().on(heads(), Times::Always, action);
        site.ocipush(site.archive(SIZE)).run().succeeds();
        assert!(fault.hits() >= 2);
        assert_pushed(&site, SIZE);
    }
}

#[test]
fn p12_an_upload_without_a_location_is_refused_and_a_long_one_taken() {
    let site = Site::plain();
    site.registry.faults().on(uploads(), Times::Always, Action::drop_header("location"));
    site.ocipush(site.archive(SIZE)).run().exits(1).says("without saying where (no Location)").writes_nothing();
    site.registry.faults().clear();
    let long = Action::edit(|response| {
        let location = response.headers()["location"].to_str().unwrap().to_owned();
        let location = format!("{location}&state={}", "x".repeat(16_000));
        response.headers_mut().insert("location", location.parse().unwrap());
    });
    let fault = site.registry.faults().on(uploads(), Times::Always, long);
    site.ocipush(site.archive(SIZE)).run().succeeds();
    assert_eq!(fault.hits(), 2);
    let put = &site.registry.log().matching(&puts())[0];
    assert!(put.query.as_ref().unwrap().contains(&format!("{}&digest=sha256%3A", "x".repeat(16_000))));
    // Longer than an address can be.
    site.registry.faults().clear();
    let endless = Action::set_header("location", &format!("/v2/x/blobs/uploads/1?state={}", "x".repeat(64 << 10)));
    site.registry.faults().on(uploads(), Times::Always, endless);
    let outcome = site.ocipush(site.archive(SIZE + 1)).run();
    outcome.exits(1).writes_nothing().says("longer than");
    assert!(outcome.stderr().len() < 4096, "{}", outcome.stderr().len());
}

#[test]
fn p15_a_missing_repository_is_named() {
    let site = Site::plain();
    site.registry.faults().on(uploads(), Times::Always, Action::Answer(error(404, "NAME_UNKNOWN")));
    let outcome = site.ocipush(site.archive(SIZE)).run();
    outcome.fails(
        3,
        &format!(
            "ocipush: error: push to '127.0.0.1:PORT/{REPOSITORY}:0.0.0': POST http://127.0.0.1:PORT/v2/{REPOSITORY}/blobs/uploads/: \
             404 Not Found: NAME_UNKNOWN: the lab says so\n\
             ocipush: hint: create the project 'spectro-packs' (Harbor) or the repository {REPOSITORY} first\n"
        ),
    );
    site.registry.faults().clear();
    site.registry.faults().on(uploads(), Times::Always, Action::Answer(error(403, "DENIED")));
    let run = site.ocipush(site.archive(SIZE)).args(["-u", "user", "--password-stdin"]).stdin("canary/p15\n");
    run.secret("canary/p15").run().exits(4).says("may not push").says("no project 'spectro-packs'");
    // Some versions of Harbor fail over it; that may pass, so it is tried as often as anything else.
    site.registry.faults().clear();
    let failing = site.registry.faults().on(uploads(), Times::Always, Action::Answer(error(500, "UNKNOWN")));
    let outcome = site.ocipush(site.archive(SIZE)).args(["--retries", "1"]).run();
    outcome.exits(4).says("there is no project 'spectro-packs', or the user may not push").writes_nothing();
    assert_eq!(failing.hits(), 2);
}

#[test]
fn p16_a_connection_cut_anywhere_in_the_body_costs_one_more_upload() {
    for after in [0, 1, SIZE / 2, SIZE * 999 / 1000, SIZE] {
        let site = Site::plain();
        let fault = site.registry.faults().on(puts(), Times::First(1), Action::ResetAfter(after as u64));
        site.ocipush(site.archive(SIZE)).run().succeeds();
        assert_eq!(fault.hits(), 1);
        assert_pushed(&site, SIZE);
        assert!(site.registry.log().body_bytes() < 2 * SIZE as u64 + 10_000, "{after}");
        let sent = site.registry.log().matching(&puts());
        assert_ne!(sent[0].path, sent[1].path, "the same session again");
    }
}

#[test]
fn p17_server_errors_are_tried_again_whatever_their_body_says() {
    for status in [500, 502, 503, 504, 408, 499, 522] {
        for answer in [error(status, "UNHEARD_OF"), Answer::html(status, "<html><title>oh</title></html>")] {
            let site = Site::plain();
            let fault = site.registry.faults().on(puts(), Times::First(1), Action::Answer(answer));
            site.ocipush(site.archive(SIZE)).run().succeeds();
            assert_eq!(fault.hits(), 1);
            assert_pushed(&site, SIZE);
        }
    }
}

#[test]
fn p18_retry_after_is_waited_for_up_to_the_users_limit() {
    let site = Site::plain();
    let later = |after: &str| Action::Answer(Answer::status(429).header("retry-after", after));
    site.registry.faults().on(puts(), Times::First(1), later("1"));
    let run = |archive: std::path::PathBuf| {
        site.bare().arg(archive).args(["--plain-http", "--new-record", "--retry-max-wait", "2s"]).run()
    };
    let outcome = run(site.archive(SIZE));
    outcome.succeeds();
    assert!(outcome.took() >= Duration::from_secs(1), "{:?}", outcome.took());
    for asked in ["soon", ""] {
        site.registry.faults().on(puts(), Times::First(1), later(asked));
        run(site.archive(SIZE + asked.len() + 1)).succeeds();
    }
    let fault = site.registry.faults().on(puts(), Times::Always, later("99999"));
    run(site.archive(20)).exits(6).says("the registry asks to wait 99999 s, longer than --retry-max-wait");
    assert_eq!(fault.hits(), 1);
}

#[test]
fn p19_a_proxy_with_a_smaller_limit_gets_chunks() {
    let site = Site::start(RegistryOptions { max_body: Some(2 << 20), ..RegistryOptions::default() });
    let outcome = site.ocipush(site.archive(3 << 20)).run();
    outcome.succeeds().says("sending it in chunks of 1 MiB");
    assert_pushed(&site, 3 << 20);
    assert_eq!(site.registry.log().count(&Match::patch("/**")), 3);
    let site = Site::plain();
    let page = Answer::html(413, "<html><head><title>413 Request Entity Too Large</title></head></html>");
    site.registry.faults().on(puts(), Times::Always, Action::Answer(page.early()));
    let outcome = site.ocipush(site.archive(SIZE)).run();
    outcome.exits(1).says("client_max_body_size").says("413 Request Entity Too Large").writes_nothing();
}

#[test]
fn p20_a_lost_session_is_not_gone_on_with() {
    for answer in [error(404, "BLOB_UPLOAD_UNKNOWN"), Answer::status(416)] {
        let site = Site::plain();
        site.registry.faults().on(puts(), Times::First(1), Action::Answer(answer));
        site.ocipush(site.archive(SIZE)).run().succeeds();
        let sent = site.registry.log().matching(&puts());
        assert_ne!(sent[0].path, sent[1].path);
        assert_pushed(&site, SIZE);
    }
}

#[test]
fn p21_a_lost_reply_sends_nothing_twice() {
    let site = Site::plain();
    let fault = site.registry.faults().on(puts(), Times::First(1), Action::LoseReply);
    site.ocipush(site.archive(SIZE)).run().succeeds();
    assert_eq!(fault.hits(), 1);
    assert!(site.registry.log().body_bytes() < SIZE as u64 + 10_000);
    assert_pushed(&site, SIZE);
}

#[test]
fn p22_silence_after_the_body_ends_the_try() {
    let site = Site::plain();
    let fault = site.registry.faults().on(puts(), Times::Always, Action::Stall);
    let outcome = site.ocipush(site.archive(SIZE)).args(["--stall-timeout", "500ms", "--retries", "1"]).run();
    outcome.exits(8).says("nothing moved for 0.5 s").writes_nothing();
    assert_eq!(fault.hits(), 2);
    assert_eq!(site.tag(), None);
}

#[test]
fn p23_a_slow_link_is_no_stall() {
    let site = Site::plain();
    let slow = Action::SlowRead { bytes: 64 * 1024, every: Duration::from_millis(20) };
    site.registry.faults().on(puts(), Times::Always, slow);
    let outcome = site.ocipush(site.archive(16 << 20)).args(["--stall-timeout", "3s"]).run();
    outcome.succeeds();
    assert!(outcome.took() > Duration::from_secs(4), "the link was not slow: {:?}", outcome.took());
    assert_eq!(site.registry.log().count(&puts()), 2);
    assert_pushed(&site, 16 << 20);
}

#[test]
fn p24_a_full_quota_is_told_and_not_tried_again() {
    let site = Site::plain();
    let quota = json!({"errors": [{"code": "DENIED", "message": "quota exceeded: adding 1.0 MiB would exceed 10 of 10 MiB"}]});
    let fault = site.registry.faults().on(puts(), Times::Always, Action::Answer(Answer::json(403, &quota)));
    site.ocipush(site.archive(SIZE)).run().exits(1).says("would exceed 10 of 10 MiB").says("raise it").writes_nothing();
    assert_eq!(fault.hits(), 1);
}

#[test]
fn p25_full_storage_is_told_after_the_usual_tries() {
    for answer in [Answer::status(507), error(500, "no space left on device")] {
        let site = Site::plain();
        let fault = site.registry.faults().on(puts(), Times::Always, Action::Answer(answer));
        let outcome = site.ocipush(site.archive(SIZE)).args(["--retries", "2"]).run();
        outcome.exits(6).says("storage is full").writes_nothing();
        assert_eq!(fault.hits(), 3);
    }
}

#[test]
fn p26_chunks_go_on_whatever_the_range_says() {
    for edit in [
        Action::set_header("range", "0-0"),
        Action::set_header("range", "0-99999999"),
        Action::drop_header("range"),
        Action::edit(|response| *response.status_mut() = "201".parse().unwrap()),
    ] {
        let site = Site::plain();
        site.registry.faults().on(Match::patch("/**"), Times::Always, edit);
        site.ocipush(site.archive(SIZE)).args(["--chunk-size", "256KiB"]).run().succeeds();
        assert_pushed(&site, SIZE);
        assert_eq!(site.registry.log().count(&Match::patch("/**")), 4);
    }
}

#[test]
fn p26_a_registry_that_takes_no_chunks_gets_the_whole() {
    for status in [405, 400, 501] {
        let site = Site::plain();
        let fault = site.registry.faults().on(Match::patch("/**"), Times::Always, Action::Answer(Answer::status(status)));
        site.ocipush(site.archive(SIZE)).args(["--chunk-size", "256KiB"]).run().succeeds();
        assert_eq!(fault.hits(), 1);
        assert_pushed(&site, SIZE);
    }
}

#[test]
fn p27_a_chunk_whose_reply_is_lost_is_never_sent_twice_in_one_session() {
    let site = Site::plain();
    site.registry.faults().on(Match::patch("/**"), Times::Nth(2), Action::LoseReply);
    site.ocipush(site.archive(SIZE)).args(["--chunk-size", "256KiB"]).run().succeeds();
    assert_pushed(&site, SIZE);
    let mut seen: Vec<_> = site
        .registry
        .log()
        .matching(&Match::patch("/**"))
        .iter()
        .map(|request| (request.path.clone(), request.header("content-range").unwrap().to_owned()))
        .collect();
    let all = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), all);
}

#[test]
fn p28_the_least_size_of_a_chunk_is_obeyed_where_it_is_one() {
    for (least, chunks) in [("0", 4), ("1", 4), ("524288", 2), ("10737418240", 4), ("abc", 4)] {
        let site = Site::plain();
        site.registry.faults().on(uploads(), Times::Always, Action::set_header("oci-chunk-min-length", least));
        site.ocipush(site.archive(SIZE)).args(["--chunk-size", "256KiB"]).run().succeeds();
        assert_eq!(site.registry.log().count(&Match::patch("/**")), chunks, "{least}");
    }
}

#[test]
fn p29_a_registry_that_receives_something_else_is_told_after_one_more_try() {
    let site = Site::plain();
    site.registry.faults().on(puts(), Times::First(1), Action::Answer(error(400, "DIGEST_INVALID")));
    site.ocipush(site.archive(SIZE)).run().succeeds();
    let site = Site::plain();
    let fault = site.registry.faults().on(puts(), Times::Always, Action::Answer(error(400, "DIGEST_INVALID")));
    site.ocipush(site.archive(SIZE)).run().exits(7).says("twice received something else than was sent").writes_nothing();
    assert_eq!(fault.hits(), 2);
}

#[test]
fn p30_a_source_that_changes_never_gets_a_manifest() {
    // Between hashing and sending: while the registry thinks about the HEAD.
    for replace in [false, true] {
        let site = Site::plain();
        site.registry.faults().on(heads(), Times::First(1), Action::Delay(Duration::from_millis(500)));
        let path = site.archive(SIZE);
        let running = site.ocipush(&path).start();
        assert!(site.registry.log().wait(Duration::from_secs(20), |requests| requests.iter().any(|r| r.method == "HEAD")));
        if replace {
            let other = site.archive(SIZE + 1);
            std::fs::rename(other, &path).unwrap();
        } else {
            std::fs::write(&path, bytes(SIZE / 2)).unwrap();
        }
        running.wait().exits(1).says("it was changed in the meantime").writes_nothing();
        assert_eq!((site.registry.log().count(&puts()), site.registry.log().count(&manifests())), (0, 0));
    }
    // In the middle of sending.
    let site = Site::plain();
    let slow = Action::SlowRead { bytes: 64 * 1024, every: Duration::from_millis(10) };
    site.registry.faults().on(puts(), Times::Always, slow);
    let path = site.archive(32 << 20);
    let running = site.ocipush(&path).start();
    assert!(site.registry.log().wait(Duration::from_secs(20), |requests| requests.iter().any(|r| r.body_bytes > 100_000)));
    std::fs::File::options().write(true).open(&path).unwrap().set_len(31 << 20).unwrap();
    running.wait().exits(1).says("it has become shorter since its digest was taken").writes_nothing();
    assert_eq!(site.registry.log().count(&manifests()), 0);
}

#[test]
fn p30_the_records_archive_is_proven_by_the_bytes_as_they_are_sent() {
    // The same size, other bytes: the record alone tells, and the last piece never leaves.
    let site = Site::plain();
    let path = site.archive(SIZE);
    let told = crate::record(&path);
    let mut other = bytes(SIZE);
    other[SIZE / 2] ^= 1;
    std::fs::write(&path, other).unwrap();
    let outcome = site.bare().arg("--plain-http").record(&told).run();
    outcome.exits(1).says("it has changed since its digest was taken").says("must be made anew").writes_nothing();
    assert_eq!((site.registry.log().count(&puts()), site.registry.log().count(&manifests())), (1, 0));
    assert_eq!(site.registry.store().blob(REPOSITORY, told["archive"]["digest"].as_str().unwrap()), None);
    let layout = site.folder.path().join("layout");
    let outcome = site.bare().arg("--oci-layout").arg(&layout).record(&told).run();
    outcome.exits(1).says("it has changed since its digest was taken").writes_nothing();
    assert!(!layout.join("index.json").exists());
}

#[test]
fn p31_a_registry_that_forgot_a_blob_gets_it_once_more() {
    let site = Site::plain();
    site.registry.faults().on(manifests(), Times::First(1), Action::Answer(error(400, "MANIFEST_BLOB_UNKNOWN")));
    site.ocipush(site.archive(SIZE)).run().succeeds();
    assert_eq!(site.registry.log().count(&puts()), 4);
    let site = Site::plain();
    let fault = site.registry.faults().on(manifests(), Times::Always, Action::Answer(error(400, "MANIFEST_BLOB_UNKNOWN")));
    site.ocipush(site.archive(SIZE)).run().exits(7).says("took the blobs twice and does not know them").writes_nothing();
    assert_eq!(fault.hits(), 2);
}

#[test]
fn p32_the_manifest_is_sent_again_where_its_fate_is_unknown() {
    for action in [Action::Answer(Answer::status(503)), Action::LoseReply, Action::Reset] {
        let site = Site::plain();
        let fault = site.registry.faults().on(manifests(), Times::First(1), action);
        site.ocipush(site.archive(SIZE)).run().succeeds();
        assert_eq!(fault.hits(), 1);
        assert_pushed(&site, SIZE);
    }
}

#[test]
fn p33_a_protected_tag_is_told_unless_it_holds_the_very_manifest() {
    for immutable in [Immutable::Ecr, Immutable::Harbor] {
        let site = Site::start(RegistryOptions { immutable, ..RegistryOptions::default() });
        site.registry.faults().on(manifests(), Times::First(1), Action::LoseReply);
        site.ocipush(site.archive(SIZE)).run().succeeds();
        let before = site.tag();
        site.ocipush(site.archive(SIZE)).run().succeeds().says("nothing was sent");
        let outcome = site.ocipush(site.archive(SIZE + 1)).run();
        outcome.exits(1).says("the tag 0.0.0 is protected and holds something else").writes_nothing();
        assert_eq!(site.tag(), before);
    }
}

#[test]
fn p34_the_registrys_digest_of_the_manifest_must_be_ours_where_it_gives_one() {
    let site = Site::plain();
    let other = digest(b"other");
    site.registry.faults().on(manifests(), Times::Always, Action::set_header("docker-content-digest", &other));
    site.ocipush(site.archive(SIZE)).run().exits(7).says(&other).writes_nothing();
    let site = Site::plain();
    let bare = Action::edit(|response| {
        response.headers_mut().remove("docker-content-digest");
        response.headers_mut().remove("location");
    });
    site.registry.faults().on(manifests(), Times::Always, bare);
    site.ocipush(site.archive(SIZE)).run().succeeds();
}

#[test]
fn p35_a_registry_that_stores_nothing_is_found_out() {
    let site = Site::start(RegistryOptions { lying: true, ..RegistryOptions::default() });
    site.ocipush(site.archive(SIZE)).run().exits(7).says("does not have it").writes_nothing();
    // It has manifest and tag, and lost the blob.
    let site = Site::plain();
    site.registry.faults().on(heads(), Times::Nth(3), Action::Answer(Answer::status(404)));
    site.ocipush(site.archive(SIZE)).run().exits(7).says("does not have it").writes_nothing();
}

#[test]
fn p36_a_killed_push_leaves_no_tag_and_the_next_run_sends_what_is_absent() {
    let site = Site::plain();
    let stall = site.registry.faults().on(manifests(), Times::First(1), Action::Stall);
    let running = site.ocipush(site.archive(SIZE)).start();
    assert!(site.registry.log().wait(Duration::from_secs(20), |requests| {
        requests.iter().any(|request| request.method == "PUT" && request.path.contains("/manifests/") && request.body_bytes > 0)
    }));
    running.signal(Signal::KILL);
    running.wait().exits(137);
    assert_eq!((stall.hits(), site.tag()), (1, None));
    site.registry.log().clear();
    site.ocipush(site.archive(SIZE)).run().succeeds();
    assert!(site.registry.log().body_bytes() < 10_000, "the layer was sent again");
}

#[test]
fn p36_a_push_that_is_killed_anywhere_is_ended_by_the_next() {
    let at = [heads(), uploads(), puts(), Match::get("/v2/**/manifests/sha256:*"), Match::get("/v2/**/manifests/0.0.0")];
    for matcher in at {
        let site = Site::plain();
        let stall = site.registry.faults().on(matcher.clone(), Times::First(1), Action::Stall);
        let running = site.ocipush(site.archive(SIZE)).start();
        let asked = |requests: &[scar_lab::log::Request]| {
            let selected = |request: &scar_lab::log::Request| matcher.selects(&request.method, &request.path, None);
            requests.iter().any(|request| selected(request) && (request.method != "PUT" || request.body_bytes == SIZE as u64))
        };
        assert!(site.registry.log().wait(Duration::from_secs(20), asked), "{matcher:?}");
        running.signal(Signal::KILL);
        running.wait().exits(137);
        assert_eq!(stall.hits(), 1);
        if site.tag().is_some() {
            assert_pushed(&site, SIZE);
        }
        site.ocipush(site.archive(SIZE)).run().succeeds();
        assert_pushed(&site, SIZE);
    }
}

#[test]
fn p38_two_pushes_of_one_tag_both_end_well() {
    let site = Site::plain();
    let path = site.archive(SIZE);
    let (one, two) = (site.ocipush(&path).start(), site.ocipush(&path).start());
    one.wait().succeeds();
    two.wait().succeeds();
    assert_pushed(&site, SIZE);
}

#[test]
fn p39_sessions_lost_every_time_point_to_the_load_balancer() {
    let site = Site::plain();
    let fault = site.registry.faults().on(puts(), Times::Always, Action::Answer(error(404, "BLOB_UPLOAD_UNKNOWN")));
    let outcome = site.ocipush(site.archive(SIZE)).args(["--retries", "2"]).run();
    outcome.exits(6).says("sticky sessions").says("http.secret").writes_nothing();
    assert_eq!(fault.hits(), 3);
}

#[test]
fn p40_a_signal_cancels_the_upload() {
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let site = Site::plain();
        let slow = Action::SlowRead { bytes: 16 * 1024, every: Duration::from_millis(20) };
        site.registry.faults().on(puts(), Times::Always, slow);
        let running = site.ocipush(site.archive(32 << 20)).start();
        assert!(site.registry.log().wait(Duration::from_secs(20), |requests| requests.iter().any(|r| r.body_bytes > 50_000)));
        running.signal(signal);
        let outcome = running.wait();
        outcome.exits(status).writes_nothing();
        assert_eq!(site.registry.log().count(&Match::delete("/v2/**/blobs/uploads/*")), 1);
        assert_eq!(site.tag(), None);
    }
}

#[test]
fn p40_a_second_signal_does_not_wait_for_the_registry() {
    let site = Site::plain();
    site.registry.faults().on(puts(), Times::Always, Action::Stall);
    let cancel = site.registry.faults().on(Match::delete("/v2/**"), Times::Always, Action::Stall);
    let running = site.ocipush(site.archive(SIZE)).start();
    let sent = |requests: &[scar_lab::log::Request]| requests.iter().any(|request| request.body_bytes == SIZE as u64);
    assert!(site.registry.log().wait(Duration::from_secs(20), sent));
    running.signal(Signal::INT);
    let cancelled = |requests: &[scar_lab::log::Request]| requests.iter().any(|request| request.method == "DELETE");
    assert!(site.registry.log().wait(Duration::from_secs(20), cancelled));
    let begun = std::time::Instant::now();
    running.signal(Signal::INT);
    running.wait().exits(130).writes_nothing();
    assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
    assert_eq!(cancel.hits(), 1);
}

#[test]
fn p41_a_head_without_an_end_is_not_read_to_it() {
    let site = Site::plain();
    let long = Action::set_header("x-long", &"x".repeat(8 << 20));
    let fault = site.registry.faults().on(Match::get("/v2/"), Times::Always, long);
    let outcome = site.ocipush(site.archive(10)).args(["--retries", "1"]).run();
    outcome.exits(6).writes_nothing();
    assert!(outcome.stderr().len() < 4096);
    assert_eq!(fault.hits(), 2);
}

#[test]
fn p41_neither_a_large_archive_nor_a_large_answer_is_held_in_memory() {
    let site = Site::start(RegistryOptions { storage: Storage::Discard, ..RegistryOptions::default() });
    let path = site.folder.path().join("large.tgz");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(256 << 20).unwrap();
    let mut running = site.ocipush(&path).start();
    let peak = crate::peak(&mut running);
    running.wait().succeeds();
    assert!(peak > 0 && peak < 40 * 1024, "{peak} kB");

    let site = Site::plain();
    let page = Answer::status(400).body(vec![b'x'; 8 << 20]);
    site.registry.faults().on(puts(), Times::Always, Action::Answer(page));
    let outcome = site.ocipush(site.archive(SIZE)).run();
    outcome.exits(1).says("(cut at 64 KiB)");
    assert!(outcome.stderr().len() < 70_000);
}

#[test]
fn a_step_ends_at_its_deadline() {
    let site = Site::plain();
    site.registry.faults().on(puts(), Times::Always, Action::Stall);
    let outcome = site.ocipush(site.archive(SIZE)).args(["--timeout", "1s"]).run();
    outcome.exits(8).says("not done within 1 s").writes_nothing();
    assert!(outcome.took() < Duration::from_secs(6));
}
