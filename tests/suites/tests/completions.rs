//! `--completions`: the real shells load the scripts and complete an option.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};

use scar_kit::{Outcome, TOOLS, peer, program, tool};
use tempfile::TempDir;

/// Loads the script, and completes words that the test sets.
const BASH: &str = r#"
    source "$1"
    complete -p "$2" >/dev/null
    COMP_WORDS=("$2" --vers) COMP_CWORD=1
    "$(complete -p "$2" | sed 's/.*-F \([^ ]*\) .*/\1/')" "$2" --vers "$2"
    printf '%s\n' "${COMPREPLY[@]}"
"#;

/// zsh completes in its line editor, so the test types into a second zsh on a terminal.
const ZSH: &str = r#"
    zmodload zsh/zpty
    zpty shell "zsh -f -i"
    zpty -w shell "PS1=; autoload -Uz compinit; compinit -D -u; source $1; print loaded-$?"
    zpty -r shell said '*loaded-0*'
    zpty -w -n shell "$2 --vers"$'\t'
    zpty -r shell said '*--version*'
    print -r -- ${${(f)said}[-1]}
    zpty -d shell
"#;

const FISH: &str = r#"source $argv[1]; complete -C "$argv[2] --vers""#;

/// Calls `run` for each tool with its script for this shell.
fn each_tool(shell: &str, run: impl Fn(PathBuf, &Path, &str) -> Outcome) {
    let Some(path) = peer(shell) else { return };
    let folder = TempDir::new().unwrap();
    for name in TOOLS.into_iter().chain(["scar-get", "ecr-password", "scar-preflight"]) {
        let script = folder.path().join(format!("{name}.{shell}"));
        tool(name).args(["--completions", shell]).stdout_file(&script).run().succeeds();
        let outcome = run(path.clone(), &script, name);
        outcome.succeeds().quiet();
        assert!(outcome.stdout().contains("--version"), "{shell} completes nothing for {name}: {outcome}");
    }
}

#[test]
fn bash_completes_an_option() {
    each_tool("bash", |bash, script, name| program(bash).args(["-e", "-c", BASH, "bash"]).arg(script).arg(name).run());
}

#[test]
fn zsh_completes_an_option() {
    each_tool("zsh", |zsh, script, name| program(zsh).args(["-f", "-e", "-c", ZSH, "zsh"]).arg(script).arg(name).run());
}

#[test]
fn fish_completes_an_option() {
    each_tool("fish", |fish, script, name| program(fish).args(["--no-config", "-c", FISH]).arg(script).arg(name).run());
}
