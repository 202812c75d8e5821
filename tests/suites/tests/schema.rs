//! The record's schema: it accepts a complete record, and refuses each malformed field.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use scar_kit::complaints;
use serde_json::{Value, json};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn whole() -> Value {
    json!({
        "record": "scar-tools/1",
        "preflight": {"checks": [{"name": "version", "result": "ok", "found": "4.5.20"}]},
        "secret": {"namespace": "hubble-system", "name": "s", "found": true, "deleted": true, "uid": "u", "backup": "/b"},
        "archive": {"path": "/m.tgz", "title": "manifests.tgz", "digest": DIGEST, "size": 1, "files": 1, "directories": 1,
            "links": 0, "bytes": 2, "source": "/s"},
        "artifact": {"reference": "h.example:5000/spectro-packs/spectro-manifests/manifest:0.0.0", "registry": "h.example:5000",
            "repository": "spectro-packs/spectro-manifests/manifest", "tag": "0.0.0", "digest": DIGEST, "layer": DIGEST,
            "size": 1, "created": "2024-12-06T12:43:14Z", "pushed_at": "2024-12-06T12:43:14Z", "uploaded": true,
            "replaced": DIGEST},
        "session": {"endpoint": "https://v.example", "authorization": "token", "expires_at": "2024-12-06T12:43:14Z",
            "ca_file": "/ca", "insecure": false},
        "pack_registry": {"uid": "u", "name": "n", "kind": "basic", "endpoint": "https://h.example", "vertex": "https://v.example",
            "contains_spectro_manifest": true, "changed": true},
        "specman": {"namespace": "hubble-system", "tag": "0.0.0", "persisted_at": "2024-12-06T12:43:14Z", "pods": ["specman-0"]},
        "verified": {"layer": DIGEST, "compared": 1, "missing": 0, "different": 0, "unreadable": 0, "bytes": 2, "source": "/s"},
        "scar": {"endpoint": "https://s.example", "vertex": "https://v.example", "changed": true, "validated": true, "spectro_version": "4.5.20", "backup": "/b",
            "previous": {"endpoint": "https://o.example", "username": "u", "base_content_path": "/", "insecure_verify": true,
                "has_ca_cert": false, "has_password": true},
            "jobs": [{"name": "syncCloudInstanceTypesData", "status": "started"}]},
        "dry_run": true,
        "later": {"unknown": null},
    })
}

#[test]
fn takes_a_whole_record_and_one_without_sections() {
    assert_eq!(complaints(&whole()), [""; 0]);
    assert_eq!(complaints(&json!({"record": "scar-tools/1"})), [""; 0]);
}

/// Every field has a type: with `[]` instead (or `{}` for a list) the record is refused.
#[test]
fn refuses_every_field_of_another_type() {
    let record = whole();
    let mut tried = 0;
    for (section, value) in record.as_object().unwrap().iter().filter(|(name, _)| *name != "later") {
        let broken = |path: &str, with: Value| {
            let mut record = whole();
            *record.pointer_mut(path).unwrap() = with;
            assert_ne!(complaints(&record), [""; 0], "{path}");
        };
        broken(&format!("/{section}"), Value::Null);
        for (field, value) in value.as_object().into_iter().flatten() {
            broken(&format!("/{section}/{field}"), if value.is_array() { json!({}) } else { json!([]) });
            tried += 1;
        }
    }
    assert!(tried > 50, "{tried}");
}

#[test]
fn refuses_a_section_without_a_field_that_it_needs() {
    let optional = ["uid", "backup", "pushed_at", "replaced", "expires_at", "ca_file", "spectro_version"];
    for (section, value) in whole().as_object().unwrap() {
        for field in value.as_object().into_iter().flatten().map(|(field, _)| field) {
            // A secret's uid is optional, a pack registry's is not.
            let may = optional.contains(&field.as_str()) && (section, field.as_str()) != (&"pack_registry".to_owned(), "uid");
            // A compared folder has no layer.
            let may = may || (section, field.as_str()) == (&"verified".to_owned(), "layer");
            let mut record = whole();
            record[section].as_object_mut().unwrap().remove(field);
            assert_eq!(complaints(&record).is_empty(), may || section == "later", "{section}.{field}");
        }
    }
}

#[test]
fn refuses_times_with_an_offset_or_a_fraction_and_digests_in_upper_case() {
    for (path, value) in [
        ("/specman/persisted_at", "2024-12-06T12:43:14+00:00"),
        ("/specman/persisted_at", "2024-12-06T12:43:14.5Z"),
        ("/specman/persisted_at", "2024-13-06T12:43:14Z"),
        ("/archive/digest", &DIGEST.to_uppercase()),
        ("/archive/path", "relative"),
        ("/record", "scar-tools/2"),
        ("/session/endpoint", "https://v.example/path"),
    ] {
        let mut record = whole();
        *record.pointer_mut(path).unwrap() = value.into();
        assert_ne!(complaints(&record), [""; 0], "{path} {value}");
    }
}
