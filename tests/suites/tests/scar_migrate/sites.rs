//! Many sites at once, as in scar-tools(7).

use scar_kit::{bash, peer, workspace};
use scar_suites::Migration;
use tempfile::TempDir;

/// The lines of the page's example from this word to the end of the display.
fn example(word: &str) -> String {
    let page = std::fs::read_to_string(workspace().join("man/scar-tools.7")).unwrap();
    let text = page.split(".Ss Many sites").nth(1).expect("a section on many sites");
    let displays = text.split(".Bd -literal").skip(1).map(|part| part.split_once('\n').unwrap().1.split(".Ed").next().unwrap());
    let found = displays.map(str::to_owned).find(|display| display.trim_start().starts_with(word));
    found.unwrap_or_else(|| panic!("no example with {word}")).replace("\\e", "\\")
}

/// Three sites, each with its folder and settings, and the list of their names.
fn sites(folder: &TempDir) -> Vec<Migration> {
    let names = ["north", "south", "west"];
    let made: Vec<_> = names
        .iter()
        .map(|name| {
            let (migration, site) = (Migration::new(), folder.path().join(name));
            std::fs::create_dir(&site).unwrap();
            let config = site.join("site.conf");
            migration.site.write_environment(&config);
            let text = std::fs::read_to_string(&config).unwrap();
            let content = format!("SCAR_CONTENT={}\nSCAR_SETTLE=5s\n", migration.tree().display());
            std::fs::write(&config, text + &content).unwrap();
            migration
        })
        .collect();
    std::fs::write(folder.path().join("sites"), names.map(|name| format!("{name}\n")).concat()).unwrap();
    made
}

fn all_migrate(word: &str) {
    let folder = TempDir::new().unwrap();
    let migrations = sites(&folder);
    let script = format!("PATH={}:$PATH\n{}{}", workspace().join("shell").display(), example(word), example("while read"));
    let outcome = bash(&script).folder(folder.path()).timeout(std::time::Duration::from_secs(120)).run();
    outcome.succeeds();
    for migration in &migrations {
        assert!(migration.site.state()["scar"]["endpoint"].as_str().unwrap().contains("specman-service"), "{outcome}");
    }
    let table = outcome.stdout();
    for name in ["north", "south", "west"] {
        let line = table.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}\n{outcome}"));
        assert!(line.contains("Z all done in "), "{outcome}");
    }
}

#[test]
fn three_sites_migrate_at_once_with_xargs() {
    all_migrate("xargs");
}

#[test]
fn three_sites_migrate_at_once_with_parallel() {
    if peer("parallel").is_some() {
        all_migrate("parallel");
    }
}
