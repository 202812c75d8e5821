//! Inputs that are refused before anything is sent.

use scar_kit::tool;
use serde_json::json;

use crate::{Site, record};

#[test]
fn bad_references_are_refused_without_a_connection() {
    for (reference, stderr) in [
        (
            "harbor.local/proj/Repo:1",
            "ocipush: error: read the reference 'harbor.local/proj/Repo:1': upper case is not allowed in repository \"proj/Repo\"\n",
        ),
        (
            "https://harbor.local/p/r:1",
            "ocipush: error: read the reference 'https://harbor.local/p/r:1': it has a scheme\n\
             ocipush: hint: drop the scheme, write harbor.local/p/r:1\n",
        ),
        (
            "proj/r:1",
            "ocipush: error: read the reference 'proj/r:1': \"proj\" is not a registry host: it has no dot, no port and is not \
             localhost (there is no default registry); write HOST[:PORT]/REPOSITORY:TAG, or HOST[:PORT] alone\n",
        ),
        (
            "repo@sha256:xyz",
            "ocipush: error: read the reference '…@sha256:xyz': a digest must be sha256: and 64 hex digits\n\
             ocipush: hint: a push names a tag: HOST/REPOSITORY:TAG\n",
        ),
        (
            "user:canary-in-reference@host/r",
            "ocipush: error: read the reference '…@host/r': it holds credentials, which would be logged\n\
             ocipush: hint: use --username and --password-file\n",
        ),
    ] {
        tool("ocipush").args([reference, "none.tgz", "--new-record"]).run().fails(2, stderr);
    }
}

#[test]
fn unknown_options_get_a_hint() {
    let run = |arguments: &[&str]| tool("ocipush").args(arguments).run();
    run(&["h.example", "--password", "canary99"]).exits(2).says("use --password-stdin or --password-file FILE");
    run(&["h.example", "--pasword-stdin"])
        .fails(2, "ocipush: error: unknown option '--pasword-stdin'\nocipush: hint: did you mean '--password-stdin'?\n");
    run(&["h.example", "-", "--password-stdin", "-u", "x"]).exits(2).says("cannot hold both");
    run(&["h.example", "--title", "../x"]).exits(2).says("a plain file name");
    run(&["h.example", "--timeout", "5"]).exits(2).says("no unit");
    run(&[]).exits(2).says("OCI_PACK_REGISTRY");
    run(&["h.example", "x.tgz", "--new-record", "--password-file", "pw"]).exits(2).says("read the password file 'pw'");
    run(&["123456789012.dkr.ecr.us-east-1.amazonaws.com", "-", "-u", "aws"]).exits(2).writes_nothing();
}

#[test]
fn bad_input_17_the_file_is_named() {
    let site = Site::plain();
    site.ocipush("none.tgz").run().fails(2, "ocipush: error: open the archive 'none.tgz': no such file or directory\n");
    site.ocipush(site.folder.path()).run().fails(
        2,
        "ocipush: error: open the archive '[DIR]': it is a directory\nocipush: hint: mkmanifests makes the archive of a directory\n",
    );
    site.ocipush("/dev/null").run().exits(2).says("it is not a regular file");
    let empty = site.folder.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    site.ocipush(&empty).run().exits(2).says("it is empty");
    site.bare().arg("-").run().exits(2).says("it is empty").says("an earlier stage of the pipe may have failed");
    site.bare().arg("-").stdin_terminal().run().exits(2).says("it is a terminal");
    assert_eq!(site.registry.log().connections(), 0);
}

#[test]
fn bad_input_14_ecr_knows_one_user() {
    let site = Site::plain();
    let path = site.archive(10);
    let run = tool("ocipush").arg("123456789012.dkr.ecr.us-gov-west-1.amazonaws.com").arg(path);
    run.args(["--password-stdin", "-u", "aws"]).stdin("canary/aws\n").secret("canary/aws").run().fails(
        2,
        "ocipush: error: log in to 'https://123456789012.dkr.ecr.us-gov-west-1.amazonaws.com': the user 'aws' is not known to ECR\n\
         ocipush: hint: the user must be AWS, upper case: -u AWS\n",
    );
}

#[test]
fn a_record_that_cannot_be_used_stops_the_step_before_a_connection() {
    let site = Site::plain();
    let path = site.archive(10);
    site.bare().stdin("").run().exits(2).says("not run: the stage before it wrote no record").writes_nothing();
    site.bare().stdin("{").run().exits(2).says("read the record").writes_nothing();
    site.bare().record(&json!({"record": "scar-tools/1"})).run().fails(
        2,
        "ocipush: error: read the record: it has no section 'archive'\n\
         ocipush: hint: run mkmanifests before this step and pass its record on, or name the archive: ocipush REFERENCE FILE\n",
    );
    let mut half = record(&path);
    half["archive"].as_object_mut().unwrap().remove("digest");
    site.bare().record(&half).run().exits(2).says("missing field 'digest'").writes_nothing();
    let record = record(&path);
    std::fs::write(&path, "changed").unwrap();
    site.bare().record(&record).run().exits(7).says("the archive was changed after mkmanifests wrote it").writes_nothing();
    site.bare().arg(site.archive(20)).record(&record).run().exits(7).writes_nothing();
    std::fs::remove_file(&path).unwrap();
    site.bare().record(&record).run().exits(1).says("no such file").writes_nothing();
    assert_eq!(site.registry.log().connections(), 0);
}

#[test]
fn a_full_disk_under_the_record_is_reported_and_the_next_run_finds_the_work_done() {
    let site = Site::plain();
    let path = site.archive(10);
    site.ocipush(&path).stdout_full().run().exits(1).says("no space left on device").says("run it again");
    site.ocipush(&path).run().succeeds().says("nothing was sent");
}

#[test]
fn a_file_that_is_not_gzip_is_pushed_with_a_warning() {
    let site = Site::plain();
    let path = site.folder.path().join("x.tar");
    std::fs::write(&path, "plain").unwrap();
    site.ocipush(&path).run().succeeds().says("ocipush: warning: '[DIR]/x.tar' is not gzip; Specman expects a .tgz\n");
}

#[test]
fn the_environment_names_registry_and_base() {
    let site = Site::plain();
    let run = |name: &str, base: &str| {
        let run = tool("ocipush").args(["--plain-http", "--new-record", "--adopt"]);
        run.env(name, site.registry.authority()).env(base, "base").called(site.registry.port(), "PORT").run()
    };
    run("OCI_PACK_REGISTRY", "OCI_PACK_BASE").exits(3).says("adopt '127.0.0.1:PORT/base/spectro-manifests/manifest:0.0.0'");
    run("ECR_PACK_REGISTRY", "ECR_PACK_BASE").exits(3).says("adopt '127.0.0.1:PORT/base/spectro-manifests/manifest:0.0.0'");
    run("OCI_PACK_REGISTRY", "ECR_PACK_BASE")
        .exits(3)
        .says("adopt '127.0.0.1:PORT/spectro-packs/spectro-manifests/manifest:0.0.0'");
    let bad = site.ocipush(site.archive(10)).env("SOURCE_DATE_EPOCH", "soon").run();
    bad.fails(2, "ocipush: error: read SOURCE_DATE_EPOCH 'soon': it is not a number of seconds since 1970\n");
    let bad = site.ocipush(site.archive(10)).env("SOURCE_DATE_EPOCH", "-1").run();
    bad.fails(2, "ocipush: error: read SOURCE_DATE_EPOCH '-1': it is not a number of seconds since 1970\n");
}
