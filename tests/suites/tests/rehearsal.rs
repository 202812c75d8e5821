//! `shell/rehearse`: the whole migration, and nothing is left behind, however it ends.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::time::Duration;

use scar_kit::{Run, Signal, bash, binaries, program, workspace};
use tempfile::TempDir;

/// A rehearsal with all temporary files below `folder`; `None` if it would have to install something first.
fn rehearse(folder: &Path) -> Option<Run> {
    scar_kit::peer("curl")?;
    let run = program(workspace().join("shell/rehearse"))
        .env("SCAR_TOOLS_BIN", binaries())
        .env("TMPDIR", folder)
        .timeout(Duration::from_secs(180));
    Some(run)
}

/// Asserts that no file is below the folder, and no process has it in its arguments.
#[track_caller]
fn leaves_nothing(folder: &Path) {
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.is_empty(), "left: {files:?}");
    let name = folder.to_str().unwrap().as_bytes();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let called = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let left = called.windows(name.len()).any(|window| window == name);
        assert!(!left, "still there: {}", String::from_utf8_lossy(&called).replace('\0', " "));
    }
}

#[test]
fn the_sample_tree_migrates_and_every_file_is_served() {
    let folder = TempDir::new().unwrap();
    let Some(run) = rehearse(folder.path()) else { return };
    let outcome = run.run();
    outcome.succeeds();
    // Into pipes there are no escapes and no bars.
    assert!(![outcome.stdout(), outcome.stderr()].iter().any(|text| text.contains(['\u{1b}', '\r'])), "{outcome}");
    let text = outcome.stdout();
    for line in [
        "SCAR setting  https://scar.example\n",
        "SCAR setting  https://specman-service.hubble-system.svc.cluster.local:8443\n",
        "secret        the old one\n",
        "secret        recreated by the platform\n",
        "Specman       serves nothing\n",
        "Specman       serves 0.0.0\n",
        "   identical: 46 files\n",
        "   of these, links to files in the tree: 1\n",
        "   links not served (to a folder, outside the tree, or broken): 1\n",
    ] {
        assert!(text.contains(line), "no line: {line}\n{outcome}");
    }
    assert!(!text.contains("Building"), "{outcome}");
    for tool in scar_kit::STEPS.into_iter().filter(|tool| *tool != "mkmanifests") {
        outcome.says(&format!("{tool}: "));
    }
    outcome.says("SCAR setting  https://scar.example -> https://specman-service.");
    leaves_nothing(folder.path());
}

#[test]
fn an_ecr_entry_whose_keys_are_hidden_migrates_with_the_keys_given_again() {
    let folder = TempDir::new().unwrap();
    let Some(run) = rehearse(folder.path()) else { return };
    let outcome = run.arg("--ecr").run();
    outcome.succeeds().says("spec.credentials.secretKey: as given");
    assert!(outcome.stdout().contains("Specman       serves 0.0.0\n"), "{outcome}");
    leaves_nothing(folder.path());
}

#[test]
fn a_given_tree_migrates_and_links_out_of_it_are_distinguished() {
    let (folder, tree) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let at = |name: &str| tree.path().join(name);
    std::fs::create_dir(at("sub")).unwrap();
    std::fs::write(at("sub/'quoted\" \\name"), "content").unwrap();
    std::os::unix::fs::symlink("/etc/hostname", at("absolute")).unwrap();
    std::os::unix::fs::symlink("../../../../../etc/hostname", at("sub/out")).unwrap();
    std::os::unix::fs::symlink("nowhere", at("dangling")).unwrap();
    std::os::unix::fs::symlink("../sub/'quoted\" \\name", at("sub/in")).unwrap();
    let Some(run) = rehearse(folder.path()) else { return };
    let outcome = run.arg(tree.path()).run();
    outcome.succeeds();
    assert!(outcome.stdout().contains("   identical: 2 files\n   of these, links to files in the tree: 1\n"), "{outcome}");
    assert!(outcome.stdout().contains("outside the tree, or broken): 3\n"), "{outcome}");
    leaves_nothing(folder.path());
}

#[test]
fn a_migration_that_fails_fails_the_rehearsal_and_leaves_nothing() {
    let (folder, tree) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let Some(run) = rehearse(folder.path()) else { return };
    let outcome = run.arg(tree.path()).run();
    outcome.exits(3).says("scar-migrate: error: scar-preflight ended with status 3; nothing was changed\n");
    assert!(!outcome.stdout().contains("== After"), "{outcome}");
    leaves_nothing(folder.path());
}

#[test]
fn what_is_not_a_folder_is_refused() {
    let folder = TempDir::new().unwrap();
    for (argument, message) in [("/no/such/folder", "'/no/such/folder' is not a folder"), ("--kep", "unknown option '--kep'")] {
        let Some(run) = rehearse(folder.path()) else { return };
        run.arg(argument).run().fails(2, &format!("rehearse: error: {message}\n"));
    }
    leaves_nothing(folder.path());
}

/// Progress is redrawn in place and removed after each step: no line but a message is wider than the terminal's 80 columns,
/// and nothing remains behind a message.
#[test]
fn on_a_terminal_nothing_stays_behind() {
    let folder = TempDir::new().unwrap();
    let Some(run) = rehearse(folder.path()) else { return };
    let screen = run.stdout_terminal().stderr_terminal().terminal(80).run().succeeds().screen();
    let drawn: Vec<_> = screen.split(['\n', '\r']).filter(|piece| is_progress(piece)).collect();
    assert!(drawn.iter().any(|piece| piece.contains("packing [")), "no bar was drawn:\n{screen}");
    assert!(drawn.iter().all(|piece| visible(piece).chars().count() <= 80), "{drawn:#?}");
    for line in screen.lines() {
        let stays = line.rsplit('\r').next().unwrap();
        assert!(!is_progress(stays), "it stays behind: {stays:?}");
        // Whatever overwrites a bar erases it first.
        assert!(!line.contains('\r') || stays.starts_with("\u{1b}[2K") || stays.is_empty(), "{line:?}");
    }
}

/// The beginnings of bars, which no message has.
fn is_progress(piece: &str) -> bool {
    let piece = visible(piece);
    ["listing ", "packing ", "pushing ", "waiting for "].iter().any(|word| piece.starts_with(word))
}

/// Without what moves and colours.
fn visible(piece: &str) -> String {
    let mut rest = piece;
    let mut text = String::new();
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        text.push_str(before);
        rest = after.split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |(_, after)| after);
    }
    text + rest
}

#[test]
fn a_terminal_without_colour_or_of_no_kind_gets_none() {
    let folder = TempDir::new().unwrap();
    for (name, value, draws) in [("NO_COLOR", "1", true), ("TERM", "dumb", false)] {
        let Some(run) = rehearse(folder.path()) else { return };
        let screen = run.env(name, value).stdout_terminal().stderr_terminal().run().succeeds().screen();
        let is_colour =
            |sequence: &str| sequence.find(|c: char| c.is_ascii_alphabetic()).is_some_and(|at| sequence[at..].starts_with('m'));
        assert!(!screen.split('\u{1b}').skip(1).any(is_colour), "{name}={value}: {screen:?}");
        assert_eq!(screen.contains('\u{1b}'), draws, "{name}={value}: {screen:?}");
        assert_eq!(screen.contains('\r'), draws, "{name}={value}: {screen:?}");
    }
}

/// Like Ctrl-C on a terminal: to the script and all its children.
#[test]
fn ctrl_c_at_any_time_leaves_nothing() {
    for moment in ["== Before", "scar-secret-rm: ", "ocipush: ", "== After"] {
        let folder = TempDir::new().unwrap();
        let Some(run) = rehearse(folder.path()) else { return };
        let mut running = run.start();
        running.until(moment);
        running.signal_group(Signal::INT);
        let outcome = running.wait();
        assert!([0, 130].contains(&outcome.status()) || moment.ends_with(": "), "{outcome}");
        assert!(!outcome.stdout().contains("identical:") || outcome.status() == 0, "{outcome}");
        leaves_nothing(folder.path());
    }
}

#[test]
fn a_kept_site_serves_single_tools_until_it_is_ended() {
    let folder = TempDir::new().unwrap();
    let Some(run) = rehearse(folder.path()) else { return };
    let mut running = run.arg("--keep").start();
    running.until("scar-secret-rm --dry-run");
    let [stdout, ..] = running.said();
    let environment = stdout.lines().find_map(|line| line.trim().strip_prefix(". ")).unwrap().to_owned();
    // The printed commands, run in another terminal.
    let commands = stdout.split(&environment).nth(1).unwrap().lines().filter(|line| !line.trim().starts_with("kubectl"));
    let script = format!(". {environment}\nset -ex\n{}", commands.collect::<Vec<_>>().join("\n"));
    let outcome = bash(&script).run();
    outcome.succeeds().says("scar-secret-rm: would ").says("pack-registry-set: ");
    running.signal_group(Signal::INT);
    running.wait().exits(130);
    leaves_nothing(folder.path());
}
