//! The contract of every tool in a pipe: the record is read and passed on, the result is written or the failure reported,
//! and the options that need no site work. Whole stdout, whole stderr and status are asserted.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use scar_kit::{Outcome, Run, TOOLS, find_secrets, tool, workspace};
use scar_lab::log::Request;
use scar_lab::server::Server;
use scar_suites::{Migration, new_record, written};
use serde_json::{Value, json};

/// The tools that need sections of the record, with these sections.
const NEEDS: [(&str, &[&str]); 4] = [
    ("ocipush", &["archive"]),
    ("pack-registry-set", &["session"]),
    ("specman-wait", &["artifact"]),
    ("scar-set", &["session", "artifact", "pack_registry", "specman", "verified"]),
];

/// Optional fields of a needed section.
const OPTIONAL: [&str; 5] = ["pushed_at", "replaced", "expires_at", "ca_file", "layer"];

/// The tools' requests so far to every server; Specman reads the registry at any time.
fn requests(migration: &Migration) -> Vec<String> {
    let from_tools = |request: &Request| request.header("user-agent") != Some(scar_lab::specman::USER_AGENT);
    let of_server = |name: &str, server: &Server| -> Vec<String> {
        let asked = server.log().requests().into_iter().filter(from_tools);
        asked.map(|request| format!("{name} {}", request.line())).collect()
    };
    migration.site.servers().iter().flat_map(|(name, server)| of_server(name, server)).collect()
}

#[track_caller]
fn no_requests(migration: &Migration) {
    assert_eq!(requests(migration), Vec::<String>::new());
}

#[test]
fn an_empty_stdin_is_refused_before_anything_is_sent() {
    let migration = Migration::new();
    for name in TOOLS {
        for empty in ["", "\n"] {
            migration
                .tool(name)
                .stdin(empty)
                .run()
                .fails(2, &format!("{name}: error: not run: the stage before it wrote no record\n"));
        }
    }
    no_requests(&migration);
    assert!(!migration.archive().exists());
}

#[test]
fn other_input_than_a_record_is_refused_before_anything_is_sent() {
    let migration = Migration::new();
    for name in TOOLS {
        for (text, message, hint) in [
            (
                "{",
                "EOF while parsing an object at line 1 column 1",
                "a record is one JSON object, as scar-record(5) describes it",
            ),
            (
                "[]",
                "invalid type: sequence, expected a JSON object at line 1 column 0",
                "a record is one JSON object, as scar-record(5) describes it",
            ),
            (
                "{\"record\":\"scar-tools/1\"} {}",
                "trailing characters at line 1 column 27",
                "a record is one JSON object, as scar-record(5) describes it",
            ),
            (
                "{\"record\":\"scar-tools/2\"}",
                "its format is 'scar-tools/2', not 'scar-tools/1'",
                "use the same version of all tools in one pipe",
            ),
            (
                "{}",
                "it has no field \"record\": \"scar-tools/1\"",
                "standard input must be the record of an earlier step; --new-record starts without one",
            ),
        ] {
            let stderr = format!("{name}: error: read the record: {message}\n{name}: hint: {hint}\n");
            migration.tool(name).stdin(text).run().fails(2, &stderr);
        }
    }
    no_requests(&migration);
}

/// Removes each field that a step needs from the record of the previous steps.
#[test]
fn a_record_without_a_needed_field_is_refused_before_anything_is_sent() {
    let migration = Migration::new();
    for (name, sections) in NEEDS {
        let whole = migration.steps_before(name, &new_record());
        migration.site.servers().iter().for_each(|(_, server)| server.log().clear());
        for section in sections {
            let mut record = whole.clone();
            record.as_object_mut().unwrap().remove(*section);
            let refused = migration.tool(name).record(&record).run();
            refused.exits(2).writes_nothing().says(&format!("{name}: error: "));
            let missing = |field: &String| !OPTIONAL.contains(&field.as_str());
            for field in whole[section].as_object().unwrap().keys().filter(|field| missing(field)) {
                let mut record = whole.clone();
                record[section].as_object_mut().unwrap().remove(field);
                let refused = migration.tool(name).record(&record).run();
                refused.exits(2).writes_nothing();
                refused.says(&format!("{name}: error: read the record: section '{section}': missing field '{field}'"));
                assert_eq!(refused.stderr().lines().count(), 2, "{refused}");
            }
        }
        no_requests(&migration);
    }
}

/// Also nested, in any order, and with numbers beyond integers and floats.
#[test]
fn unknown_fields_pass_through_byte_for_byte() {
    let migration = Migration::new();
    let before = r#"{"zeta":[1.50000000000000000000001,1e400,{"b":null,"a":" é"}],"record":"scar-tools/1","#;
    let mut record = format!("{before}\"alpha\":-0}}\n");
    for name in TOOLS {
        let outcome = migration.tool(name).stdin(record).run();
        // The raw output, because the shown one has the home folder's name replaced.
        record = String::from_utf8(outcome.succeeds().stdout_bytes().to_vec()).unwrap();
        assert!(record.starts_with(before) && record.contains("\"alpha\":-0,"), "{outcome}");
    }
}

/// A tool at its place in the guide, on a site that the earlier steps have prepared.
fn each_in_its_place(check: impl Fn(&Migration, &str, &Value)) {
    let migration = Migration::new();
    let mut record = new_record();
    for name in TOOLS {
        check(&migration, name, &record);
        record = written(&migration.tool(name).record(&record).run());
    }
}

/// To a program both are the same: see `warn_if_lost` in `tools/lib/tool/src/stdout.rs`.
#[test]
fn q49_a_readable_dev_null_or_a_closed_stdout_is_a_warning_and_not_a_failure() {
    each_in_its_place(|migration, name, record| {
        for run in [Run::stdout_closed, Run::stdout_null_for_both] {
            let outcome = run(migration.tool(name).record(record)).run();
            let says = "warning: standard output is /dev/null, or closed: what this step writes there is lost\n";
            outcome.succeeds().says(&format!("{name}: {says}"));
        }
    });
}

#[test]
fn a_record_that_a_full_disk_does_not_take_is_reported_and_a_rerun_writes_it() {
    each_in_its_place(|migration, name, record| {
        let outcome = migration.tool(name).record(record).stdout_full().run();
        outcome.exits(1);
        let end = format!(
            "{name}: error: write to standard output: no space left on device\n\
             {name}: hint: this step is done, but its record is lost: run it again, it does not repeat the change\n"
        );
        assert!(outcome.stderr().ends_with(&end), "{outcome}");
    });
}

#[test]
fn a_dry_run_that_a_full_disk_cuts_short_claims_no_work() {
    each_in_its_place(|migration, name, record| {
        let outcome = migration.tool(name).arg("--dry-run").record(record).stdout_full().run();
        outcome.exits(1);
        let end = format!("{name}: error: write to standard output: no space left on device\n");
        assert!(outcome.stderr().ends_with(&end), "{outcome}");
    });
}

#[test]
fn stdout_thrown_away_is_not_a_failure() {
    each_in_its_place(|migration, name, record| {
        migration.tool(name).record(record).stdout_null().run().succeeds();
    });
}

#[test]
fn options_that_exclude_each_other_are_named_as_they_are_typed() {
    for name in TOOLS {
        let stderr = format!("{name}: error: '--quiet' cannot be used with '--verbose'\n{name}: hint: choose one\n");
        let run = tool(name).args(["-q", "-v"]);
        if name == "mkmanifests" { run.arg("/srv") } else { run }.run().fails(2, &stderr);
    }
}

#[test]
fn help_needs_neither_site_nor_record() {
    for name in TOOLS {
        for option in ["--help", "-h"] {
            let outcome = tool(name).arg(option).stdin_closed().run();
            outcome.succeeds().quiet();
            let (first, rest) = outcome.stdout().split_once('\n').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
            assert!(first.starts_with(&format!("{name} - ")) && !first.ends_with('.'), "{outcome}");
            for part in ["Usage:", "Example", "--dry-run", "--man", "--completions"] {
                assert!(rest.contains(part), "no {part}\n{outcome}");
            }
            assert!(!rest.contains('\u{1b}'), "{outcome}");
        }
    }
}

#[test]
fn version_is_that_of_the_workspace() {
    for name in TOOLS {
        for option in ["--version", "-V"] {
            tool(name).arg(option).run().succeeds().quiet().prints(&format!("{name} {}\n", env!("CARGO_PKG_VERSION")));
        }
        for options in [&["--version", "-v"][..], &["-vV"], &["-Vvv"], &["--verbose", "-V"]] {
            let outcome = tool(name).args(options).run();
            assert!(outcome.succeeds().quiet().stdout().contains("\nmodule:"), "{outcome}");
        }
    }
}

#[test]
fn man_into_a_pipe_is_the_page_byte_for_byte() {
    for name in TOOLS {
        let page = std::fs::read(workspace().join(format!("man/{name}.1"))).unwrap();
        let outcome = tool(name).arg("--man").run();
        outcome.succeeds().quiet();
        assert!(outcome.stdout_bytes() == page, "{outcome}");
    }
}

#[test]
fn completions_are_scripts_of_their_shell() {
    for name in TOOLS {
        for (shell, holds) in [("bash", "complete -F "), ("zsh", "#compdef "), ("fish", "complete -c ")] {
            let outcome = tool(name).args(["--completions", shell]).run();
            outcome.succeeds().quiet();
            assert!(outcome.stdout().contains(holds) && outcome.stdout().contains("dry-run"), "{outcome}");
        }
        tool(name).args(["--completions", "csh"]).run().exits(2).writes_nothing().says("bad value 'csh'");
    }
}

#[test]
fn an_answer_that_cannot_be_written_is_a_failure() {
    for name in TOOLS {
        for option in ["--help", "--version", "--man", "--completions=bash"] {
            let stderr = format!("{name}: error: write to standard output: no space left on device\n");
            tool(name).arg(option).stdout_full().run().exits(1).reports(&stderr);
        }
    }
}

#[test]
fn an_unknown_option_comes_with_a_suggestion() {
    for name in TOOLS {
        let stderr = format!("{name}: error: unknown option '--dry-rum'\n{name}: hint: did you mean '--dry-run'?\n");
        tool(name).arg("--dry-rum").record(&new_record()).run().fails(2, &stderr);
    }
}

#[test]
fn a_password_in_the_arguments_is_refused_and_not_repeated() {
    for name in TOOLS {
        let stderr = format!(
            "{name}: error: '--password' is not offered: a password in the arguments can be read by every user of this host\n\
             {name}: hint: use --password-stdin or --password-file FILE\n"
        );
        tool(name).arg("--password=argument canary").record(&new_record()).run().fails(2, &stderr);
        let outcome = tool(name).args(["--password", "argument canary"]).record(&new_record()).run();
        outcome.fails(2, &stderr);
    }
}

#[test]
fn quiet_says_nothing() {
    let migration = Migration::new();
    let mut record = new_record();
    for name in TOOLS {
        let outcome: Outcome = migration.tool(name).arg("--quiet").record(&record).run();
        outcome.quiet();
        record = written(&outcome);
    }
}

/// The plan is on stderr, the marked record on stdout, and no request changes anything.
#[test]
fn a_dry_run_changes_nothing_and_marks_the_record() {
    let migration = Migration::new();
    let before = migration.site.state();
    let mut record = new_record();
    for name in TOOLS {
        let run = migration.tool(name).record(&record);
        // The mark alone is enough for later tools; only the last one needs the option, because its success means that
        // everything is done.
        let outcome = if record["dry_run"] == true && name != "scar-set" { run } else { run.arg("--dry-run") }.run();
        outcome.succeeds().says(&format!("{name}: would "));
        record = outcome.json();
        assert_eq!(record["dry_run"], json!(true), "{outcome}");
    }
    assert_eq!(migration.site.state(), before);
    assert!(!migration.archive().exists());
    let writing: Vec<_> = migration.site.requests().into_iter().filter(|line| is_writing(line)).collect();
    assert_eq!(writing, Vec::<String>::new());
}

/// A login is a POST, but changes nothing.
fn is_writing(line: &str) -> bool {
    let method = line.split(' ').nth(1).unwrap();
    !matches!(method, "GET" | "HEAD") && !line.contains("/v1/auth/syslogin") && !line.contains("/validate")
}

#[test]
fn a_session_is_not_shown_on_a_terminal() {
    let migration = Migration::new();
    let outcome = migration.tool("vertex-login").record(&new_record()).stdout_terminal().run();
    outcome.succeeds();
    assert!(outcome.screen().contains("\"endpoint\":") && outcome.screen().contains("(not shown on a terminal)"), "{outcome}");
    assert!(find_secrets(outcome.screen().as_bytes()).is_empty());
}

#[test]
fn the_last_step_drops_the_session() {
    let migration = Migration::new();
    let record = migration.steps_before("scar-set", &new_record());
    assert!(record["session"]["authorization"].is_string());
    let kept = migration.tool("scar-set").arg("--keep-session").record(&record).run().succeeds().json();
    assert_eq!(kept["session"], record["session"]);
    let dropped = migration.tool("scar-set").record(&record).run().succeeds().json();
    assert_eq!(dropped.get("session"), None);
}
