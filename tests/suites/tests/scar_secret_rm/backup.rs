//! The backup before the deletion, and what is never shown.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::Duration;

use scar_kit::{Signal, peer, program};
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_suites::new_record;
use serde_json::{Value, json};

use crate::{BACKUP, CANARY, NAME, NAMESPACE, PATH, is_there, seed, site, tool, uid};

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
fn the_first_backup_is_kept_and_reported() {
    let site = site();
    // The delete fails permanently: backup and secret exist.
    site.server.faults().on(Match::delete(PATH), Times::First(1), Action::Answer(Answer::status(403)));
    tool(&site).args(["--backup", "b.json"]).run().exits(4);
    let file = site.folder().join("b.json");
    let kept = std::fs::read(&file).unwrap();
    let data = json!({"password": "bGF0ZXI="});
    site.cluster.edit("secrets", NAMESPACE, NAME, |secret| secret["data"] = data);
    let outcome = tool(&site).args(["--backup", "b.json"]).run();
    outcome.succeeds().says("warning: 'FOLDER/b.json' holds an earlier state of this secret and is kept as it is\n");
    assert_eq!(std::fs::read(&file).unwrap(), kept);
    assert_eq!(tool(&site).args(["--backup", "b.json"]).run().succeeds().json()["secret"]["backup"], "FOLDER/b.json");
}

/// The platform recreates the secret after the flag is set. A second run of the pipe keeps it.
#[test]
fn s11_a_secret_that_is_newer_than_the_backup_stays() {
    for arguments in [&[][..], &["--backup", "b.json"]] {
        let site = site();
        let backup = if arguments.is_empty() { BACKUP } else { "FOLDER/b.json" };
        let file = PathBuf::from(
            backup.replace("FOLDER", site.folder().to_str().unwrap()).replace("HOST", &site.server.url()[8..].replace(':', "_")),
        );
        assert_eq!(tool(&site).args(arguments).run().succeeds().json()["secret"]["backup"], backup);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
        let kept = std::fs::read(&file).unwrap();
        let second = seed(&site);
        site.server.log().clear();
        for dry in [true, false] {
            let outcome = tool(&site).args(arguments).args(dry.then_some("--dry-run")).run();
            outcome.succeeds().says(&format!("it was made after the backup '{backup}' (uid {second}, "));
            outcome.says(&format!("to delete it too, remove '{backup}' and run this step again\n"));
            if !dry {
                let expected = json!({"namespace": NAMESPACE, "name": NAME, "found": true, "deleted": false, "uid": second, "backup": backup});
                assert_eq!(outcome.json()["secret"], expected);
            }
        }
        assert_eq!(site.server.log().count(&Match::delete("/**")), 0);
        assert_eq!((uid(&site), std::fs::read(&file).unwrap()), (second, kept));
        std::fs::remove_file(&file).unwrap();
        tool(&site).args(arguments).run().succeeds();
        assert!(!is_there(&site));
    }
}

/// A flag that was set before the first run: the platform has made the secret, and does not make it again.
#[test]
fn s11_a_secret_that_preflight_found_beside_a_set_flag_stays() {
    let site = site();
    let mut record = new_record();
    let check = |result: &str| json!({"checks": [{"name": "cluster.secret", "result": result, "found": "x"}]});
    record["preflight"] = check("warning");
    let outcome = tool(&site).record(&record).run();
    outcome.succeeds().says("stays: the flag of the pack registry is set, and the platform made the secret for it");
    assert!(is_there(&site));
    let secret = outcome.json()["secret"].clone();
    assert_eq!((&secret["found"], &secret["deleted"], secret.get("backup")), (&json!(true), &json!(false), None));
    tool(&site).arg("--dry-run").record(&record).run().succeeds().says("scar-secret-rm: would leave secret ");
    record["preflight"] = check("ok");
    tool(&site).record(&record).run().succeeds().says("deleted secret ");
}

#[test]
fn s11_a_run_that_was_killed_between_backup_and_delete_is_run_again() {
    let site = site();
    site.server.faults().on(Match::delete(PATH), Times::First(1), Action::Stall);
    let running = tool(&site).start();
    assert!(site.server.log().wait(Duration::from_secs(20), |all| all.iter().any(|r| r.method == "DELETE")));
    running.signal(Signal::KILL);
    running.wait().exits(137);
    assert!(is_there(&site));
    assert_eq!(tool(&site).run().succeeds().json()["secret"]["deleted"], true);
    assert!(!is_there(&site));
}

#[test]
fn a_dry_run_makes_no_folder_and_no_backup_is_made_on_request() {
    let site = site();
    tool(&site)
        .arg("--dry-run")
        .run()
        .succeeds()
        .says(&format!("would save secret '{NAME}' in namespace '{NAMESPACE}' in '{BACKUP}'\n"));
    let outcome = tool(&site).arg("--no-backup").run();
    assert_eq!(outcome.succeeds().json()["secret"].get("backup"), None);
    assert!(!site.folder().join(".local").exists());
    tool(&site).env("HOME", "").run().exits(2).says("neither XDG_STATE_HOME nor HOME is an absolute path");
}

/// Two sites' secrets have the same name: one's backup says nothing about the other.
#[test]
fn the_backup_of_another_cluster_is_refused() {
    let (site, other) = (site(), site());
    let backup = site.folder().join("b.json");
    tool(&site).arg("--backup").arg(&backup).run().succeeds();
    for option in ["--backup", "--undo"] {
        let outcome = tool(&other).arg(option).arg(&backup).run();
        outcome.exits(2).says(&format!("it is of the cluster '{}', not of 'SERVER'", site.server.url()));
    }
    assert_eq!(other.server.log().connections(), 0);
}

#[test]
fn a_file_that_is_not_a_backup_is_never_overwritten() {
    let site = site();
    std::fs::write(site.folder().join("notes"), "mine\n").unwrap();
    std::fs::create_dir(site.folder().join("folder")).unwrap();
    symlink("elsewhere", site.folder().join("link")).unwrap();
    for (path, says) in [
        ("notes", "it is not a backup of secret 'spectro-manifest-registry-secrets'"),
        ("folder", "it is not a regular file"),
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

/// A file that another user can write may contain another secret, which would be restored.
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
