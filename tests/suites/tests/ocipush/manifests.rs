//! The manifest and its tag, and the registry's content afterwards.

use scar_lab::faults::{Action, Answer, Times};
use scar_lab::registry::{Profile, RegistryOptions, Rule};

use crate::requests::{error, heads, manifests, puts};
use crate::{SIZE, Site, assert_pushed, digest};

#[test]
fn p31_a_registry_that_forgot_a_blob_gets_it_once_more() {
    let site = Site::plain();
    site.registry.faults().on(manifests(), Times::First(1), Action::Answer(error(400, "MANIFEST_BLOB_UNKNOWN")));
    site.ocipush(site.archive(SIZE)).run().succeeds();
    assert_eq!(site.registry.log().count(&puts()), 4);
    let site = Site::plain();
    let fault = site.registry.faults().on(manifests(), Times::Always, Action::Answer(error(400, "MANIFEST_BLOB_UNKNOWN")));
    site.ocipush(site.archive(SIZE))
        .run()
        .exits(7)
        .says("accepted the blobs twice, but still calls them unknown")
        .writes_nothing();
    assert_eq!(fault.hits(), 2);
}

#[test]
fn p32_after_a_lost_reply_the_manifest_is_sent_again() {
    for action in [Action::Answer(Answer::status(503)), Action::LoseReply, Action::Reset] {
        let site = Site::plain();
        let fault = site.registry.faults().on(manifests(), Times::First(1), action);
        site.ocipush(site.archive(SIZE)).run().succeeds();
        assert_eq!(fault.hits(), 1);
        assert_pushed(&site, SIZE);
    }
}

#[test]
fn p33_an_immutable_tag_is_reported_unless_it_holds_this_manifest() {
    for profile in [Profile::Ecr, Profile::Harbor, Profile::Quay] {
        let site = Site::start(RegistryOptions { profile, rule: Some(Rule::Immutable), ..RegistryOptions::default() });
        site.registry.faults().on(manifests(), Times::First(1), Action::LoseReply);
        site.ocipush(site.archive(SIZE)).run().succeeds();
        let before = site.tag();
        site.ocipush(site.archive(SIZE)).run().succeeds().says("nothing was sent");
        let outcome = site.ocipush(site.archive(SIZE + 1)).run();
        outcome.exits(1).says("the tag 0.0.0 is immutable and holds another manifest").writes_nothing();
        assert_eq!(site.tag(), before);
    }
}

#[test]
fn p33_a_truncated_refusal_is_reported() {
    let rule = Some(Rule::Immutable);
    let site = Site::start(RegistryOptions { profile: Profile::Harbor, rule, ..RegistryOptions::default() });
    site.ocipush(site.archive(SIZE)).run().succeeds();
    let fault = site.registry.faults().on(manifests(), Times::Always, Action::CutReply(33));
    let outcome = site.ocipush(site.archive(SIZE + 1)).run();
    outcome.exits(1).says(r#": 412 Precondition Failed: {"errors":[{"code":"PRECONDITION"#).writes_nothing();
    assert_eq!(fault.hits(), 1);
}

#[test]
fn p34_the_registrys_digest_of_the_manifest_must_be_ours_if_it_gives_one() {
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
fn p35_a_registry_that_stores_nothing_is_detected() {
    let site = Site::start(RegistryOptions { lying: true, ..RegistryOptions::default() });
    site.ocipush(site.archive(SIZE)).run().exits(7).says("does not have it").writes_nothing();
    // It has manifest and tag, but lost the blob.
    let site = Site::plain();
    site.registry.faults().on(heads(), Times::Nth(3), Action::Answer(Answer::status(404)));
    site.ocipush(site.archive(SIZE)).run().exits(7).says("does not have it").writes_nothing();
}

#[test]
fn p38_two_pushes_of_one_tag_both_succeed() {
    let site = Site::plain();
    let path = site.archive(SIZE);
    let (one, two) = (site.ocipush(&path).start(), site.ocipush(&path).start());
    one.wait().succeeds();
    two.wait().succeeds();
    assert_pushed(&site, SIZE);
}
