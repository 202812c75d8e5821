//! What the registry has of an artifact whose manifest is on the tag, and how it says so.

use scar_kit::Run;
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::registry::RegistryOptions;

use crate::requests::{error, gets, heads, manifests, puts};
use crate::{REPOSITORY, SIZE, Site, assert_pushed, bytes, digest, record};

/// More than is fetched to find out a length.
const LARGE: usize = 5_000_000;

/// A registry that lost the configuration after a push.
fn without_configuration() -> Site {
    let site = Site::plain();
    site.ocipush(site.archive(SIZE)).run().succeeds();
    assert!(site.registry.store().remove_blob(REPOSITORY, &digest(b"{}")));
    site.registry.log().clear();
    site
}

#[test]
fn p35_a_configuration_that_was_lost_is_sent_again_alone() {
    for from_stdin in [false, true] {
        let site = without_configuration();
        let before = site.tag();
        let push = |run: Run| run.env("SOURCE_DATE_EPOCH", "1800000000").run();
        let outcome = match from_stdin {
            false => push(site.ocipush(site.archive(SIZE))),
            true => push(site.bare().arg("-").stdin(bytes(SIZE))),
        };
        outcome.succeeds().reports(&format!(
            "ocipush: '127.0.0.1:PORT/{REPOSITORY}:0.0.0' holds this archive already; its configuration was lost, and was sent again\n"
        ));
        assert_eq!(site.registry.store().blob(REPOSITORY, &digest(b"{}")).unwrap(), b"{}");
        assert_eq!((site.registry.log().body_bytes(), site.registry.log().count(&manifests())), (2, 0));
        assert_eq!(site.tag(), before);
        let artifact = &outcome.json()["artifact"];
        assert_eq!((&artifact["uploaded"], artifact.get("pushed_at")), (&true.into(), None));
        assert_eq!(artifact["digest"], before.unwrap());
    }
}

/// If the registry fails to answer, its manifest proves nothing either.
#[test]
fn p35_a_configuration_is_looked_for_if_heads_are_refused() {
    let site = without_configuration();
    let refused = site.registry.faults().on(heads(), Times::Always, Action::Answer(Answer::status(405)));
    site.ocipush(site.archive(SIZE)).run().succeeds().says("its configuration was lost, and was sent again");
    assert!(refused.hits() > 1);
    site.ocipush(site.archive(SIZE)).run().succeeds().says("nothing was sent");
}

#[test]
fn p35_a_configuration_of_another_size_is_reported_unless_sending_it_fixes_it() {
    let config = || Match::head(&format!("/v2/**/blobs/{}", digest(b"{}")));
    for (times, status) in [(Times::First(1), 0), (Times::Always, 7)] {
        let site = Site::plain();
        site.ocipush(site.archive(SIZE)).run().succeeds();
        site.registry.log().clear();
        site.registry.faults().on(config(), times, Action::set_header("content-length", "9"));
        let outcome = site.ocipush(site.archive(SIZE)).run();
        outcome.exits(status).says(if status == 0 { "was sent again" } else { "has 9 bytes instead of 2" });
        assert_eq!(site.registry.log().body_bytes(), 2);
    }
}

#[test]
fn p35_adopt_looks_for_every_blob() {
    let site = without_configuration();
    let adopt = || site.bare().arg("--adopt").record(&record(&site.archive(SIZE))).run();
    adopt().fails(
        7,
        &format!(
            "ocipush: error: adopt '127.0.0.1:PORT/{REPOSITORY}:0.0.0': the registry does not have its blob '{}'\n\
             ocipush: hint: push the archive without --adopt: only what is missing is sent\n",
            digest(b"{}")
        ),
    );
    site.registry.store().put_blob(REPOSITORY, b"{}");
    adopt().succeeds();
    site.registry.store().remove_blob(REPOSITORY, &digest(&bytes(SIZE)));
    adopt().exits(7).writes_nothing().says("the registry does not have its blob");
    site.registry.faults().on(heads(), Times::First(1), Action::set_header("content-length", "9"));
    site.registry.store().put_blob(REPOSITORY, &bytes(SIZE));
    adopt().exits(7).writes_nothing().says(&format!("has 9 bytes instead of {SIZE}"));
}

#[test]
fn a_dry_run_looks_for_every_blob() {
    let site = without_configuration();
    let plan = || site.ocipush(site.archive(SIZE)).arg("--dry-run").run();
    let config = digest(b"{}");
    plan().succeeds().reports(&format!(
        "ocipush: would send the configuration '{config}' again, 2 bytes, and nothing else: \
         '127.0.0.1:PORT/{REPOSITORY}:0.0.0' holds '[DIR]/manifests-{SIZE}.tgz' already\n"
    ));
    site.registry.store().put_blob(REPOSITORY, b"{}");
    plan().succeeds().says("would send nothing: ");
    site.registry.store().remove_blob(REPOSITORY, &digest(&bytes(SIZE)));
    plan()
        .succeeds()
        .says(&format!("would send '[DIR]/manifests-{SIZE}.tgz' as the layer"))
        .never_says("send nothing")
        .never_says("move the tag");
}

#[test]
fn p35_a_registry_without_head_that_stores_nothing_is_detected() {
    for answer in [error(403, "DENIED"), Answer::status(405), Answer::status(502)] {
        let site = Site::plain();
        site.registry.faults().on(heads(), Times::Always, Action::Answer(answer));
        site.registry.faults().on(gets(), Times::Always, Action::Answer(error(404, "BLOB_UNKNOWN")));
        let outcome = site.ocipush(site.archive(SIZE)).run();
        outcome.exits(7).writes_nothing().says("the registry accepted 'sha256:").says("does not have it");
    }
}

#[test]
fn p35_a_failed_head_is_retried() {
    for action in [Action::Answer(Answer::status(502)), Action::Reset] {
        let site = Site::plain();
        let failed = site.registry.faults().on(heads(), Times::Nth(3), action);
        let refused = site.registry.faults().on(gets(), Times::Always, Action::Answer(Answer::status(502)));
        site.ocipush(site.archive(LARGE)).run().succeeds();
        assert_eq!((failed.hits(), refused.hits()), (1, 1));
        assert_pushed(&site, LARGE);
    }
}

/// As behind nginx with `sub_filter`, with an archive larger than the memory bound.
#[test]
fn q46_a_blob_without_a_length_is_read_and_hashed() {
    let site = Site::start(RegistryOptions { without_lengths: true, ..RegistryOptions::default() });
    site.ocipush(site.archive(LARGE)).run().succeeds();
    assert_pushed(&site, LARGE);
    site.ocipush(site.archive(LARGE)).run().succeeds().says("nothing was sent");
    // The content is different.
    let other = Action::Answer(Answer::status(200).body(vec![b'x'; LARGE / 2]).repeated(2));
    let fault = site.registry.faults().on(Match::get(&format!("/v2/**/blobs/{}", digest(&bytes(LARGE)))), Times::Always, other);
    let outcome = site.ocipush(site.archive(LARGE)).run();
    outcome.exits(7).writes_nothing().says("the registry sends other content for 'sha256:");
    assert!(fault.hits() > 0);
}

/// Two pushes of one archive, whose manifests only differ in time: either may win.
#[test]
fn p38_another_push_of_the_same_archive_at_the_same_time_is_accepted() {
    let site = Site::plain();
    let other = |archive: Vec<u8>| {
        site.registry.seed(REPOSITORY, "other", &archive);
        let (store, (_, manifest)) =
            (site.registry.store().clone(), site.registry.store().manifest(REPOSITORY, "other").unwrap());
        Action::edit(move |_| drop(store.put_manifest(REPOSITORY, Some("0.0.0"), manifest.clone())))
    };
    site.registry.faults().on(manifests(), Times::First(1), other(bytes(SIZE)));
    let outcome = site.ocipush(site.archive(SIZE)).run();
    outcome.succeeds();
    let artifact = &outcome.json()["artifact"];
    assert_eq!((&artifact["digest"], &artifact["uploaded"]), (&site.tag().unwrap().into(), &true.into()));
    assert_eq!(artifact["created"], "2024-12-06T12:00:00Z", "what the tag holds, not what was sent");
    site.registry.faults().clear();
    site.registry.faults().on(manifests(), Times::First(1), other(bytes(SIZE + 1)));
    site.ocipush(site.archive(SIZE + 2)).run().exits(7).writes_nothing().says("the tag holds 'sha256:");
}

#[test]
fn p31_only_the_missing_blob_is_sent_again() {
    let unknown = |detail: serde_json::Value| {
        let error = serde_json::json!({"code": "MANIFEST_BLOB_UNKNOWN", "message": "blob unknown to registry", "detail": detail});
        Action::Answer(Answer::json(400, &serde_json::json!({"errors": [error]})))
    };
    let (layer, config) = (digest(&bytes(SIZE)), digest(b"{}"));
    for (detail, again) in [
        (serde_json::json!(config), 2),
        (serde_json::json!({"digest": config}), 2),
        (serde_json::json!(layer), SIZE),
        (serde_json::Value::Null, SIZE + 2),
    ] {
        let site = Site::plain();
        let fault = site.registry.faults().on(manifests(), Times::First(1), unknown(detail));
        site.ocipush(site.archive(SIZE)).run().succeeds();
        let manifest = site.registry.store().manifest(REPOSITORY, "0.0.0").unwrap().1.bytes.len();
        assert_eq!(site.registry.log().body_bytes(), (SIZE + 2 + again + 2 * manifest) as u64);
        assert_eq!(fault.hits(), 1);
    }
    // The refusal names none, and one of them is missing.
    let site = Site::plain();
    let (store, lost) = (site.registry.store().clone(), config.clone());
    let gone = Action::edit(move |_| assert!(store.remove_blob(REPOSITORY, &lost)));
    site.registry.faults().on(puts(), Times::Nth(2), gone);
    let fault = site.registry.faults().on(manifests(), Times::First(1), unknown(serde_json::Value::Null));
    site.ocipush(site.archive(SIZE)).run().succeeds();
    assert_eq!((fault.hits(), site.registry.log().count(&puts())), (1, 3));
    // The message names the blob that stays missing.
    let site = Site::plain();
    site.registry.faults().on(manifests(), Times::Always, unknown(serde_json::json!(config)));
    site.ocipush(site.archive(SIZE)).run().exits(7).says(&format!("blob unknown to registry ({config})"));
}
