//! The pages are the contract: each says in its NAME line what `--help` says, lists the options that there are and no
//! others, keeps the order of sections, and is clean for mandoc.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;

use scar_kit::{TOOLS, peer, program, tool, workspace};

/// Sections in their order; a page may leave some out.
const SECTIONS: [&str; 13] = [
    "NAME",
    "SYNOPSIS",
    "DESCRIPTION",
    "RECORD FIELDS",
    "ENVIRONMENT",
    "FILES",
    "EXIT STATUS",
    "EXAMPLES",
    "DIAGNOSTICS",
    "SEE ALSO",
    "STANDARDS",
    "CAVEATS",
    "SECURITY CONSIDERATIONS",
];

fn page(name: &str) -> String {
    std::fs::read_to_string(workspace().join("man").join(name)).unwrap_or_else(|error| panic!("man/{name}: {error}"))
}

fn line<'a>(page: &'a str, request: &str) -> &'a str {
    page.lines().find_map(|line| line.strip_prefix(request)).unwrap_or_else(|| panic!("no {request}")).trim()
}

fn help(name: &str) -> String {
    match name {
        "scar-migrate" => program(workspace().join("shell/scar-migrate")).arg("--help").run().succeeds().stdout(),
        name => tool(name).arg("--help").run().succeeds().stdout(),
    }
}

fn programs() -> impl Iterator<Item = &'static str> {
    TOOLS.into_iter().chain(["scar-get", "ecr-password", "scar-migrate"])
}

/// `--name` of every option that the help lists: at the beginning of a line, or one after the other.
fn options_of_help(help: &str) -> BTreeSet<String> {
    let definitions = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let names = definitions.flat_map(|line| line.split("  ")).filter(|piece| piece.starts_with('-'));
    names.flat_map(long_options).collect()
}

/// `--name` of every option that the page defines: `.It Fl -name`, several in one line too.
fn options_of_page(page: &str) -> BTreeSet<String> {
    let definitions = page.lines().filter(|line| line.starts_with(".It Fl "));
    definitions.flat_map(|line| line.split_whitespace().filter(|word| is_long(word)).map(|word| format!("-{word}"))).collect()
}

fn is_long(word: &str) -> bool {
    word.len() > 2 && word.starts_with('-') && word[1..].starts_with(|c: char| c.is_ascii_lowercase())
}

fn long_options(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    words.filter(|word| word.starts_with("--") && word.len() > 3).map(str::to_owned).collect()
}

#[test]
fn the_name_line_is_that_of_the_help() {
    for name in programs() {
        let page = page(&format!("{name}.1"));
        let about = help(name).lines().next().unwrap().to_owned();
        assert_eq!(format!("{name} - {}", line(&page, ".Nd ")), about);
        assert_eq!(line(&page, ".Dt "), format!("{} 1", name.to_uppercase()));
    }
}

#[test]
fn the_help_fits_a_screen() {
    for name in programs().filter(|name| *name != "scar-migrate") {
        let help = help(name);
        let (lines, widest) = (help.lines().count(), help.lines().map(|line| line.chars().count()).max().unwrap());
        // The look before the pipe has the options of three peers and of an entry.
        let limit = if name == "scar-preflight" { 64 } else { 50 };
        assert!(lines <= limit && widest <= 80, "{name}: {lines} lines of up to {widest} columns");
        let (examples, options) = (help.find("Examples:").unwrap(), help.find("Options:").unwrap_or(help.len()));
        assert!(examples < options, "{name}: {help}");
    }
}

#[test]
fn the_options_of_page_and_help_are_the_same() {
    for name in programs() {
        let (in_help, in_page) = (options_of_help(&help(name)), options_of_page(&page(&format!("{name}.1"))));
        assert!(in_help.len() >= 6, "{name}: {in_help:?}");
        assert_eq!(in_help, in_page, "{name}: help on the left, page on the right");
    }
}

#[test]
fn the_sections_stand_in_their_order() {
    for name in programs() {
        let page = page(&format!("{name}.1"));
        let found: Vec<_> =
            page.lines().filter_map(|line| line.strip_prefix(".Sh ")).map(|name| name.trim_matches('"')).collect();
        let known: Vec<_> = SECTIONS.into_iter().filter(|section| found.contains(section)).collect();
        assert_eq!(found, known, "{name}");
        for needed in ["NAME", "SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "EXAMPLES", "SEE ALSO"] {
            assert!(found.contains(&needed), "{name} has no {needed}");
        }
    }
}

#[test]
fn the_suites_page_names_every_tool_with_its_name_line() {
    let suite = page("scar-tools.7");
    for name in programs() {
        let about = line(&page(&format!("{name}.1")), ".Nd ").to_owned();
        assert!(suite.contains(&format!(".It Xr {name} 1\n{about}\n")), "{name}: {about}");
    }
}

#[test]
fn the_readme_has_a_row_for_every_program() {
    let readme = std::fs::read_to_string(workspace().join("README.md")).unwrap();
    for name in programs() {
        assert!(readme.lines().any(|line| line.starts_with("| ") && line.contains(&format!(" | `{name}` | "))), "{name}");
    }
}

/// `.It Va field No (type)` stands for each field of the schema, however deep; a section's own text says who writes it.
#[test]
fn the_records_page_has_every_field_of_the_schema_with_its_type() {
    let (page, schema) = (page("scar-record.5"), page("scar-record.schema.json"));
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    let mut fields = BTreeSet::new();
    fields_below(&schema, &schema, "", &mut fields);
    assert!(fields.len() > 70, "{fields:?}");
    let items = page.split("\n.It Va ").skip(1).map(|item| item.split_once('\n').unwrap());
    let items: Vec<_> = items.filter_map(|(head, text)| Some((head.split_once(" No (")?, text))).collect();
    let defined: BTreeSet<_> = items.iter().map(|((name, _), _)| (*name).to_owned()).collect();
    assert_eq!(defined, fields, "page on the left, schema on the right");
    for ((name, _), text) in items.iter().filter(|((name, _), _)| !name.contains('.')) {
        assert!(text.contains("\nWritten by "), "{name}: who writes it? {text}");
    }
}

/// `section.field`, `section.list[].field` of all that a schema's object holds.
fn fields_below(root: &serde_json::Value, object: &serde_json::Value, prefix: &str, fields: &mut BTreeSet<String>) {
    for (name, about) in object["properties"].as_object().into_iter().flatten() {
        let about = match about["$ref"].as_str() {
            Some(path) => root.pointer(path.trim_start_matches('#')).unwrap(),
            None => about,
        };
        fields.insert(format!("{prefix}{name}"));
        fields_below(root, about, &format!("{prefix}{name}."), fields);
        fields_below(root, &about["items"], &format!("{prefix}{name}[]."), fields);
    }
}

/// As a terminal of 80 columns shows them; an example is one line there, or says with a backslash or a pipe that it goes on.
#[test]
fn the_pages_fit_80_columns() {
    let Some(mandoc) = peer("mandoc") else { return };
    for entry in std::fs::read_dir(workspace().join("man")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            continue;
        }
        let shown = program(&mandoc).args(["-T", "utf8", "-O", "width=78"]).arg(&path).run().succeeds().stdout();
        let plain = without_overstrikes(&shown);
        for line in plain.lines() {
            assert!(line.chars().count() <= 80, "{}: {} columns: {line}", path.display(), line.chars().count());
        }
        let source = std::fs::read_to_string(&path).unwrap();
        for example in source.lines().filter_map(|line| line.strip_prefix(".Dl ")) {
            let example = example.replace("\\(dq", "\"").replace("\\(aq", "'").replace("\\&", "");
            assert!(plain.contains(&example), "{}: it is shown otherwise, or broken: {example}", path.display());
        }
    }
}

/// On a terminal without man and mandoc a tool shows its page by itself: the same text, in no more than 80 columns.
#[test]
fn the_text_in_the_binary_is_that_of_mandoc() {
    let (Some(mandoc), Some(sh), Some(setsid)) = (peer("mandoc"), peer("sh"), peer("setsid")) else { return };
    let path = tempfile::TempDir::new().unwrap();
    std::os::unix::fs::symlink(sh, path.path().join("sh")).unwrap();
    std::os::unix::fs::symlink(setsid, path.path().join("setsid")).unwrap();
    // Where a line ends is each one's own affair, and so is the opening quote.
    let text = |shown: &str| shown.split_whitespace().collect::<String>().replace('`', "'");
    for name in programs().filter(|name| *name != "scar-migrate") {
        let outcome = tool(name).arg("--man").env("PATH", path.path()).stdout_terminal().run();
        let own = outcome.succeeds().screen();
        let page = workspace().join(format!("man/{name}.1"));
        let shown = program(&mandoc).args(["-T", "ascii", "-O", "width=78"]).arg(page).run().succeeds().stdout();
        let plain = without_overstrikes(&shown);
        let lines: Vec<_> = plain.trim_end().lines().collect();
        let [_, lines @ .., _] = lines.as_slice() else { panic!("{name}: an empty page") };
        assert!(own.lines().all(|line| line.chars().count() <= 80), "{name}: {own}");
        let (own, theirs) = (text(&own), text(&lines.concat()));
        let differ = own.bytes().zip(theirs.bytes()).position(|(own, theirs)| own != theirs);
        let from = |text: &str| differ.map(|at| text.chars().skip(at.saturating_sub(40)).take(60).collect::<String>());
        assert!(own == theirs, "{name}: own {:?}, mandoc's {:?}", from(&own), from(&theirs));
    }
}

/// Bold and underlined characters as the characters alone.
fn without_overstrikes(text: &str) -> String {
    let mut plain = String::new();
    for character in text.chars() {
        match character {
            '\u{8}' => drop(plain.pop()),
            character => plain.push(character),
        }
    }
    plain
}

#[test]
fn mandoc_has_nothing_against_the_pages() {
    let Some(mandoc) = peer("mandoc") else { return };
    let mut pages = 0;
    for entry in std::fs::read_dir(workspace().join("man")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension != "json") {
            program(&mandoc).args(["-T", "lint", "-W", "warning"]).arg(&path).run().succeeds().prints("");
            pages += 1;
        }
    }
    assert!(pages >= TOOLS.len() + 3, "{pages}");
}

#[test]
fn shellcheck_has_nothing_against_the_scripts() {
    let Some(shellcheck) = peer("shellcheck") else { return };
    let scripts = ["shell/scar-migrate", "shell/rehearse", "shell/test", ".ci/run"];
    program(shellcheck).args(scripts.map(|script| workspace().join(script))).run().succeeds().prints("");
}
