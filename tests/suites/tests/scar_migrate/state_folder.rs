//! The state folder: private, never followed through a link, with any characters in its path.

use std::os::unix::fs::symlink;

use scar_suites::Migration;

use crate::{at, migrate, state};

#[test]
fn q24_links_and_files_of_others_in_the_state_folder_are_refused() {
    let migration = Migration::new();
    let folder = state(&migration);
    let victim = migration.folder().join("victim");
    for name in ["lock", "scar-migrate.log", "push.json.new", "record.json", "backup"] {
        std::fs::create_dir_all(&folder).unwrap();
        symlink(&victim, folder.join(name)).unwrap();
        let outcome = migrate(&migration).run();
        outcome.exits(2).writes_nothing().says(&format!("'[STATE]/{name}' is a link, or belongs to another user\n"));
        assert!(!victim.exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }
    std::fs::create_dir(&victim).unwrap();
    symlink(&victim, &folder).unwrap();
    migrate(&migration).run().exits(2).says("'[STATE]' is a link, or belongs to another user\n");
    assert!(std::fs::read_dir(&victim).unwrap().next().is_none());
    std::fs::remove_file(&folder).unwrap();
    if std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(migration.folder()).unwrap()) == 0 {
        std::fs::create_dir(&folder).unwrap();
        std::os::unix::fs::chown(&folder, Some(12345), None).unwrap();
        migrate(&migration).run().exits(2).says("'[STATE]' is a link, or belongs to another user\n");
    }
    assert_eq!(migration.site.requests(), Vec::<String>::new());
}

#[test]
fn odd_characters_in_every_path_are_kept() {
    let migration = Migration::new();
    let odd = migration.folder().join("a b'c\"d$e\\f*g");
    let tree = odd.join("tree ;&");
    std::fs::create_dir_all(tree.join("x")).unwrap();
    std::fs::write(tree.join("x/$(touch y)"), "content").unwrap();
    let run = || at(&migration, &odd.join("st ate")).env("SCAR_CONTENT", &tree).arg("--yes");
    run().run().succeeds();
    run().arg("status").run().succeeds();
    run().arg("undo").run().succeeds();
    assert_eq!(migration.site.state()["scar"]["endpoint"], "https://scar.example");
}
