//! Restoring the old setting.

use std::path::Path;

use scar_lab::vertex::Masking;
use serde_json::json;

use crate::vertex_site::Private;
use crate::{backups, home, new, old, set, site, undo};

#[test]
fn undo_works_although_the_password_is_hidden() {
    for masking in [Masking::Blank, Masking::Absent, Masking::Masked] {
        let site = site();
        let home = home();
        site.vertex.behave(|b| b.scar_masking = masking);
        let outcome = set(&site, home.path()).run();
        outcome.succeeds().says("SCAR has a password that VerteX does not show: it will be lost, and undoing will ask for it");
        assert_eq!(outcome.json()["scar"]["previous"]["has_password"], true);
        let file = backups(home.path()).pop().unwrap();
        undo(&site, &file).run().exits(2).writes_nothing().says("give it with --scar-password-file FILE");
        assert_eq!(site.vertex.scar(), new());
        let prompt = "Password for scar at https://old.example: ";
        undo(&site, &file).answer(prompt, "scar-canary-3\n").run().succeeds();
        assert_eq!(site.vertex.scar(), {
            let mut expected = old();
            let kept = expected.as_object_mut().unwrap();
            // A setting without the fields that the server omits means the same.
            kept.retain(|_, value| *value != json!(""));
            expected
        });
    }
}

#[test]
fn undo_refuses_if_someone_has_changed_the_setting_since() {
    let site = site();
    let home = home();
    set(&site, home.path()).run().succeeds();
    let file = backups(home.path()).pop().unwrap();
    site.vertex.set_scar(json!({"endpoint": "https://third.example"}));
    undo(&site, &file)
        .run()
        .exits(7)
        .writes_nothing()
        .says("the present setting is not the one that replaced the saved one:\n  endpoint: 'https://third.example' -> ");
    assert_eq!(site.vertex.scar()["endpoint"], "https://third.example");
    let outcome = undo(&site, &file).arg("--force").run();
    outcome.succeeds();
    assert_eq!(site.vertex.scar(), old());
    let scar = &outcome.json()["scar"];
    assert_eq!((&scar["endpoint"], &scar["changed"], &scar["jobs"]), (&json!("https://old.example"), &json!(true), &json!([])));
    undo(&site, &file).run().succeeds().says("SCAR is 'https://old.example' already");
    let elsewhere = crate::site();
    undo(&elsewhere, &file).run().exits(5).writes_nothing().says("the backup is of");
    assert_eq!(elsewhere.vertex.scar_writes(), 0);
}

#[test]
fn undo_reads_its_file_before_anything_else() {
    let site = site();
    for text in ["", "{}", "{\"record\":\"scar-tools/1\"}"] {
        let file = Private::new(text);
        undo(&site, &file.path()).run().exits(2).writes_nothing().says("read the backup");
    }
    undo(&site, Path::new("/nonexistent")).run().exits(2).says("no such file");
    assert_eq!(site.server.log().connections(), 0);
}

#[test]
fn q24_a_state_folder_behind_a_link_or_of_another_user_is_refused() {
    let site = site();
    let home = home();
    let state = home.path().join(".local/state");
    std::fs::create_dir_all(&state).unwrap();
    std::os::unix::fs::symlink(home.path(), state.join("scar-tools")).unwrap();
    let refused = |cause: &str| {
        let says = format!(": its folder {cause}\n");
        set(&site, home.path()).run().exits(2).writes_nothing().says(&says).says("hint: use --backup FILE\n");
        assert_eq!(site.vertex.scar_writes(), 0);
    };
    refused("is a symbolic link, or no folder");
    std::fs::remove_file(state.join("scar-tools")).unwrap();
    std::fs::create_dir(state.join("scar-tools")).unwrap();
    if std::os::unix::fs::chown(state.join("scar-tools"), Some(65534), None).is_err() {
        assert!(std::env::var_os("CI").is_none(), "only root can give a folder away");
        return;
    }
    refused("belongs to another user (uid 65534)");
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
}
