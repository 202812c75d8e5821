//! The backup that comes before the deletion, and what never shows.

use std::os::unix::fs::{PermissionsExt, symlink};

use scar_kit::{peer, program};
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_suites::new_record;
use serde_json::{Value, json};

use crate::{CANARY, NAME, NAMESPACE, PATH, is_there, seed, site, tool, uid};

#[test]
fn s10_nothing_that_the_secret_holds_shows_at_any_verbosity() {
    // The kit fails every run that shows the canary, in base64 too.
    let site = site();
    tool(&site).args(["-vv", "--backup", "b.json"]).run().succeeds().says("GET SERVER/api/v1/namespaces/hubble-system/secrets/");
    let site = self::site();
    let broken = format!("{{\"kind\":\"Secret\",\"metadata\":{{\"name\":7}},\"data\":{{\"password\":\"{CANARY}\"}}}}");
    site.server.faults().on(Match::get(PATH), Times::Always, Action::Answer(Answer::status(200).body(broken)));
    tool(&site).arg("-vv").run().exits(7).says("it is not the object that was asked for");
    let words = Answer::json(500, &json!({"kind": "Status", "message": "etcd: no leader\u{1b}[2J", "code": 500}));
    site.server.faults().clear();
    site.server.faults().on(Match::get(PATH), Times::Always, Action::Answer(words));
    tool(&site).args(["-vv", "--timeout", "1s"]).run().exits(6).says("etcd: no leader\\x1b[2J");
    let token = site.cluster.token();
    let repeated = Answer::json(403, &json!({"kind": "Status", "message": format!("no rights for {token}"), "code": 403}));
    site.server.faults().clear();
    site.server.faults().on(Match::get(PATH), Times::Always, Action::Answer(repeated));
    tool(&site).arg("-vv").run().exits(4).says("no rights for (not shown)");
}

#[test]
fn a_backup_is_written_first_and_kubectl_restores_it() {
    let site = site();
    let before = site.cluster.object("secrets", NAMESPACE, NAME).unwrap();
    let outcome = tool(&site).args(["--backup", "backup.json"]).run();
    let file = site.folder().join("backup.json");
    assert_eq!(outcome.succeeds().json()["secret"]["backup"], "FOLDER/backup.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    let names: Vec<_> =
        std::fs::read_dir(site.folder()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().all(|name| !name.ends_with(".tmp")), "{names:?}");
    let text: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!((&text["data"], &text["type"]), (&before["data"], &before["type"]));
    for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
        assert!(text["metadata"].get(field).is_none(), "{field}");
    }
    let Some(kubectl) = peer("kubectl") else { return };
    program(kubectl).args(["apply", "-f"]).arg(&file).env("KUBECONFIG", site.kubeconfig()).run().succeeds();
    let after = site.cluster.object("secrets", NAMESPACE, NAME).unwrap();
    assert_eq!((&after["data"], &after["type"]), (&before["data"], &before["type"]));
}

#[test]
fn the_first_backup_is_kept_and_a_newer_secret_stays() {
    let site = site();
    let first = uid(&site);
    // The delete fails for good: the backup is there, the secret too.
    site.server.faults().on(Match::delete(PATH), Times::First(1), Action::Answer(Answer::status(403)));
    tool(&site).args(["--backup", "b.json"]).run().exits(4);
    let file = site.folder().join("b.json");
    let kept = std::fs::read(&file).unwrap();
    site.cluster.edit("secrets", NAMESPACE, NAME, |secret| secret["metadata"]["labels"] = json!({"later": "1"}));
    let outcome = tool(&site).args(["--backup", "b.json"]).run();
    outcome.succeeds().says("warning: 'FOLDER/b.json' is of an earlier state of this secret and is kept as it is\n");
    assert_eq!(std::fs::read(&file).unwrap(), kept);
    // Absent, and the backup from before is still told.
    assert_eq!(tool(&site).args(["--backup", "b.json"]).run().succeeds().json()["secret"]["backup"], "FOLDER/b.json");
    let second = seed(&site);
    site.server.log().clear();
    let outcome = tool(&site).args(["--backup", "b.json"]).run();
    outcome.exits(7).writes_nothing();
    outcome.says(&format!("error: keep the first backup 'FOLDER/b.json': it is of the secret with uid {first}, but the one that is there now has uid {second}"));
    outcome.says(
        "hint: the platform made the secret anew after the migration's step was done: it stays; go on with the next step\n",
    );
    assert_eq!(site.server.log().count(&Match::delete("/**")), 0);
    assert_eq!((uid(&site), std::fs::read(&file).unwrap()), (second, kept));
}

#[test]
fn a_file_that_is_no_backup_is_never_overwritten() {
    let site = site();
    std::fs::write(site.folder().join("notes"), "mine\n").unwrap();
    std::fs::create_dir(site.folder().join("folder")).unwrap();
    symlink("elsewhere", site.folder().join("link")).unwrap();
    for (path, says) in [
        ("notes", "it exists and is no backup of secret 'spectro-manifest-registry-secrets'"),
        ("folder", "it is no regular file"),
        ("link", "it is a symbolic link"),
        ("none/b.json", "its folder is not there"),
        ("-", "a backup goes into a file"),
    ] {
        tool(&site).args(["--backup", path]).run().exits(2).writes_nothing().says(says);
    }
    assert_eq!(std::fs::read_to_string(site.folder().join("notes")).unwrap(), "mine\n");
    assert!(!site.folder().join("elsewhere").exists());
    assert_eq!(site.server.log().connections(), 0);
}

#[test]
fn a_backup_that_cannot_be_written_leaves_the_secret() {
    let Some(strace) = peer("strace") else { return };
    for call in ["fsync:error=EIO", "renameat2,linkat,rename,renameat:error=EIO"] {
        let site = site();
        let tool = scar_kit::binary("scar-secret-rm");
        let outcome = program(strace.clone())
            .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("inject={call}")])
            .arg(tool)
            .args(["--backup", "b.json"])
            .env("KUBECONFIG", site.kubeconfig())
            .folder(site.folder())
            .record(&new_record())
            .run();
        outcome.exits(1).writes_nothing().says("save the backup '").says("input/output error");
        assert!(is_there(&site), "{call}");
        assert_eq!(site.server.log().count(&Match::delete("/**")), 0);
    }
}

/// What another user can write may hold another secret, and would come back as ours.
#[test]
fn q24_a_backup_of_another_user_is_refused() {
    let site = site();
    tool(&site).args(["--backup", "b.json"]).run().succeeds();
    seed(&site);
    if std::os::unix::fs::chown(site.folder().join("b.json"), Some(65534), None).is_err() {
        assert!(std::env::var_os("CI").is_none(), "only root can give a file away");
        return;
    }
    site.server.log().clear();
    for option in ["--backup", "--undo"] {
        let outcome = tool(&site).args([option, "b.json"]).run();
        outcome.exits(2).writes_nothing().says("b.json': it belongs to another user (uid 65534)\n");
    }
    assert_eq!(site.server.log().connections(), 0);
    assert!(is_there(&site));
}
