//! What VerteX changes in an entry that was sent: equal, or another entry; and which entry it is.

use scar_lab::vertex::{RegistryKind, basic_registry};
use serde_json::{Value, json};

use crate::vertex_site::{REGISTRY_PASSWORD, Site};
use crate::{set, shown_as};

/// A server that normalizes what it was sent: reordered keys, defaults, omitted empty fields, a slash; and the time of each
/// answer.
fn in_other_words(entry: &mut Value) {
    entry["metadata"]["lastModifiedTimestamp"] = json!(jiff::Timestamp::now().to_string());
    if entry["spec"]["containsSpectroManifest"] == false {
        return;
    }
    let spec = &mut entry["spec"];
    spec["endpoint"] = json!("https://HARBOR.example:443/");
    spec["baseContentPath"] = json!("/spectro-packs/");
    spec["auth"]["token"] = json!("");
    spec["auth"]["tls"]["ca"] = json!(null);
    spec["auth"]["tls"].as_object_mut().unwrap().shift_remove("insecureSkipVerify");
    spec["isSyncSupported"] = json!(true);
    spec["fips"] = json!(false);
    spec.as_object_mut().unwrap().sort_keys();
}

#[test]
fn r6_the_same_entry_written_differently_is_not_a_mismatch() {
    let site = Site::with_registry();
    shown_as(&site, in_other_words);
    let outcome = set(&site).run();
    outcome.succeeds().never_says("warning").never_says("another");
    let stored = site.vertex.registry("r1").unwrap();
    assert_eq!(stored["spec"]["containsSpectroManifest"], true);
    assert!(site.vertex.registry_login_works("r1"));
    assert_eq!(site.vertex.registry_writes("r1").0, 1);
}

#[test]
fn r6_another_entry_than_was_sent_is_a_mismatch_that_shows_no_secret() {
    let shows = |change: fn(&mut Value), says: &str| {
        let site = Site::with_registry();
        shown_as(&site, move |entry| {
            if entry["spec"]["containsSpectroManifest"] == true {
                change(entry);
            }
        });
        let outcome = set(&site).run();
        outcome.exits(7).writes_nothing().says("the flag is set, but the entry differs from what was sent:\n").says(says);
        assert_eq!(site.vertex.registry_writes("r1").0, 1);
    };
    shows(|entry| entry["spec"]["baseContentPath"] = json!("packs"), "  spec.baseContentPath: 'spectro-packs' -> 'packs'\n");
    shows(|entry| entry["spec"]["auth"]["username"] = json!("other"), "  spec.auth.username: 'robot$packs' -> 'other'\n");
    shows(
        |entry| entry["spec"]["auth"]["password"] = json!("another-canary"),
        "  spec.auth.password: (not shown) -> (not shown)\n",
    );
    shows(|entry| entry["spec"]["auth"]["tls"]["insecureSkipVerify"] = json!(true), "  spec.auth.tls.insecureSkipVerify: ");
}

/// The server's own counter is reported, but does not belong to the entry's login or location.
#[test]
fn r6_what_the_server_writes_by_itself_is_reported() {
    let site = Site::with_registry();
    site.vertex.edit_registry("r1", |entry| entry["spec"]["revision"] = json!(4));
    shown_as(&site, |entry| {
        if entry["spec"]["containsSpectroManifest"] == true {
            entry["spec"]["revision"] = json!(5);
        }
    });
    set(&site).run().succeeds().says("warning: VerteX keeps another value than was sent: spec.revision: 4 -> 5\n");
}

#[test]
fn r1_the_entry_for_packs_is_chosen_if_the_registry_has_one_for_charts_too() {
    let site = Site::with_registry();
    let mut charts = basic_registry("r2", "charts", "harbor.example", "robot$packs", REGISTRY_PASSWORD);
    charts["spec"]["providerType"] = json!("helm");
    site.vertex.add_registry(RegistryKind::Basic, charts);
    assert_eq!(set(&site).run().succeeds().json()["pack_registry"]["uid"], "r1");
    assert_eq!(site.vertex.registry_writes("r2").0, 0);
    let outcome = set(&site).args(["--name", "charts", "--dry-run"]).run();
    outcome.succeeds().says("warning: the entry 'charts' is of the provider 'helm': is it where VerteX takes its packs from?\n");
}
