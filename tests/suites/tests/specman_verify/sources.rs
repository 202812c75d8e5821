//! What specman-verify compares with: the record's archive, a named one, a folder, or the layer in the registry.

use axum::Router;
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use scar_kit::Run;
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::server::{Listener, Server};
use scar_suites::new_record;
use serde_json::json;

use crate::{Migrated, verified};

#[test]
fn q9_an_archive_that_is_not_what_was_pushed_is_refused() {
    let site = Migrated::new(1);
    std::fs::write(site.migration.folder().join("other.tgz"), archive(&[(tar::EntryType::Regular, "other", "")])).unwrap();
    let outcome = site.run().arg("other.tgz").run();
    outcome.exits(7).writes_nothing().says("it is not what the record says was pushed: 'sha256:");
    assert_eq!(site.migration.site.requests(), Vec::<String>::new());
}

/// A registry on this host without TLS, with only the layer.
#[test]
fn q64_the_layer_is_read_from_a_registry_without_tls() {
    let site = Migrated::new(1);
    let bytes = std::fs::read(site.migration.archive()).unwrap();
    std::fs::remove_file(site.migration.archive()).unwrap();
    let router = Router::new().route("/v2/", get(async || "{}")).route("/v2/{*path}", get(async move || bytes));
    let registry = Server::start(router, Listener::plain());
    let mut record = site.record.clone();
    let host = registry.addr().to_string();
    let artifact = &mut record["artifact"];
    artifact["reference"] = json!(format!("{host}/{}:0.0.0", artifact["repository"].as_str().unwrap()));
    artifact["registry"] = json!(host);
    site.run().record(&record).args(["--registry", &host, "--registry-plain-http"]).run().succeeds();
    assert!(registry.log().lines().iter().any(|line| line.contains("/blobs/sha256:")));
}

#[test]
fn v3_an_archive_that_is_gone_or_changed_is_read_from_the_registry() {
    let site = Migrated::new(1);
    let login = |run: Run| {
        let setting = |name| site.migration.setting(name);
        let run = run.args(["-u", &setting("OCI_USERNAME"), "--password-file", &setting("OCI_PASSWORD_FILE")]);
        let run = run.args(["--registry", &setting("OCI_PACK_REGISTRY"), "--registry-ca-file", &setting("OCI_CA_FILE")]);
        run.called(site.migration.reference(), "REFERENCE")
    };
    let whole = std::fs::read(site.migration.archive()).unwrap();
    std::fs::write(site.migration.archive(), &whole[..whole.len() / 2]).unwrap();
    let outcome = login(site.run()).run();
    outcome.succeeds().reports(
        "specman-verify: the record's archive 'ARCHIVE' is not what was packed any more; the layer in the registry is taken instead\n\
         specman-verify: 4 files of 'REFERENCE' are served as pushed by specman-0\n",
    );
    assert_eq!(verified(&outcome)["source"], "REFERENCE");
    std::fs::remove_file(site.migration.archive()).unwrap();
    let registry = site.migration.site.registry.as_ref().unwrap();
    let cut = registry.faults().on(Match::get("/v2/**/blobs/*"), Times::First(1), Action::CutReply(100));
    login(site.run())
        .run()
        .succeeds()
        .says("cannot be read: no such file or directory; the layer in the registry is taken instead\n");
    assert_eq!(cut.hits(), 1);
    let tokens = registry.log().matching(&Match::get("/**")).into_iter().filter_map(|request| request.query);
    let scopes: Vec<_> = tokens.filter(|query| query.contains("scope=")).collect();
    assert!(!scopes.is_empty() && scopes.iter().all(|query| !query.contains("push")), "{scopes:?}");
    // Without the artifact there is nothing to compare with.
    let mut record = site.record.clone();
    record.as_object_mut().unwrap().remove("artifact");
    site.run().record(&record).run().fails(
        2,
        "specman-verify: error: compare with the record's archive: 'ARCHIVE' cannot be read: no such file or directory\n\
         specman-verify: hint: name the archive or the folder: specman-verify FILE|DIR\n",
    );
    site.run().record(&new_record()).run().exits(2).says("the record has neither section 'archive' nor section 'artifact'");
}

#[test]
fn v3_a_layer_that_is_not_what_was_pushed_is_refused() {
    let site = Migrated::new(1);
    std::fs::remove_file(site.migration.archive()).unwrap();
    let other = Answer::status(200).body(archive(&[(tar::EntryType::Regular, "other", "")]));
    let registry = site.migration.site.registry.as_ref().unwrap();
    let other = registry.faults().on(Match::get("/v2/**/blobs/*"), Times::Always, Action::Answer(other));
    let setting = |name| site.migration.setting(name);
    let run = site.run().args(["-u", &setting("OCI_USERNAME"), "--password-file", &setting("OCI_PASSWORD_FILE")]);
    let host = setting("OCI_PACK_REGISTRY");
    let outcome = run.args(["--registry", &host, "--registry-ca-file", &setting("OCI_CA_FILE")]).run();
    outcome.exits(7).writes_nothing().says("what the registry sent is 'sha256:");
    assert_eq!((other.hits(), site.migration.site.specman.server(0).log().lines().len()), (1, 0));
    site.run().args(["--registry", &host]).run().exits(5).says("the certificate of '127.0.0.1' is not trusted");
}

#[test]
fn v3_a_layer_that_may_not_be_read_is_refused_with_the_way_out() {
    let site = Migrated::new(1);
    std::fs::remove_file(site.migration.archive()).unwrap();
    let denied = json!({"errors": [{"code": "DENIED", "message": "requested access to the resource is denied"}]});
    let registry = site.migration.site.registry.as_ref().unwrap();
    registry.faults().on(Match::get("/v2/**/blobs/*"), Times::Always, Action::Answer(Answer::json(403, &denied)));
    let setting = |name| site.migration.setting(name);
    let run = site.run().args(["-u", &setting("OCI_USERNAME"), "--password-file", &setting("OCI_PASSWORD_FILE")]);
    let run = run.args(["--registry", &setting("OCI_PACK_REGISTRY"), "--registry-ca-file", &setting("OCI_CA_FILE")]);
    run.run()
        .exits(4)
        .writes_nothing()
        .says("requested access to the resource is denied")
        .says("hint: the user may not pull from '");
}

/// A record from another host may name any registry, which gets neither a login nor a request.
#[test]
fn q20_a_registry_that_only_the_record_names_is_not_asked() {
    let site = Migrated::new(1);
    std::fs::remove_file(site.migration.archive()).unwrap();
    let registry = site.migration.site.registry.as_ref().unwrap();
    let setting = |name| site.migration.setting(name);
    let host = setting("OCI_PACK_REGISTRY");
    let login = ["-u", &setting("OCI_USERNAME"), "--password-file", &setting("OCI_PASSWORD_FILE")];
    let run = || site.run().args(["--registry-ca-file", &setting("OCI_CA_FILE")]).called(&host, "HOST");
    run().args(login).run().exits(2).writes_nothing().says(
        "error: read from 'HOST': only the record names this registry, and a login was given without a registry\n\
         specman-verify: hint: if it is the right one: --registry HOST\n",
    );
    run().run().exits(2).writes_nothing().says("only the record names this registry, and this host has no login for it\n");
    let elsewhere = run().args(login).args(["--registry", "harbor.example"]).run();
    elsewhere.exits(5).writes_nothing().says("the record names this registry, but 'harbor.example' was given\n");
    run().args(login).env("OCI_PACK_REGISTRY", "harbor.example").run().exits(5).writes_nothing();
    assert_eq!(registry.log().connections(), 0);
    run().args(login).env("OCI_PACK_REGISTRY", &host).run().succeeds();
}

/// A gzipped tar archive with these entries, unchecked.
fn archive(entries: &[(tar::EntryType, &str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (kind, name, target) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_gnu_mut().unwrap().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(0);
        header.set_cksum();
        builder.append(&header, std::io::empty()).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

#[test]
fn bad_input_35_no_archive_and_no_folder_is_refused_before_anything_is_sent() {
    use tar::EntryType::{Regular, Symlink};
    let site = Migrated::new(1);
    let good = std::fs::read(site.migration.archive()).unwrap();
    let folder = site.migration.folder();
    for (bytes, says) in [
        (b"PK\x03\x04".to_vec(), "it is not a gzip archive\n"),
        (good[..good.len() - 9].to_vec(), "it is truncated\n"),
        (archive(&[(Regular, "../led-out", "")]), "entry '../led-out' is refused: its path leaves the archive\n"),
        (
            archive(&[(Symlink, "l", "/tmp"), (Regular, "l/led-out", "")]),
            "entry 'l/led-out' is refused: its path goes through a link in the archive\n",
        ),
    ] {
        let path = folder.join("bad.tgz");
        std::fs::write(&path, bytes).unwrap();
        let outcome = site.run().record(&new_record()).arg("bad.tgz").run();
        outcome.exits(7).writes_nothing().says("error: read the archive '").says(says);
    }
    assert!(!folder.join("led-out").exists() && !folder.parent().unwrap().join("led-out").exists());
    std::fs::create_dir(folder.join("nothing")).unwrap();
    site.run().arg("nothing").run().exits(2).says("there is no file in it\n");
    site.run().arg("absent").run().fails(2, "specman-verify: error: open 'absent': no such file or directory\n");
    site.run()
        .arg("/dev/null")
        .run()
        .fails(2, "specman-verify: error: open '/dev/null': it is neither an archive nor a folder\n");
    assert_eq!(site.migration.site.requests(), Vec::<String>::new());
}
