//! The pages are the contract: each has the summary of `--help`, lists exactly the existing options, keeps the order of
//! sections, and passes mandoc's checks.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;

use scar_kit::{TOOLS, peer, program, tool, workspace};

/// The order of sections; a page may omit some.
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

/// Every `--name` that the help lists: at the beginning of a line, or several in one.
fn options_of_help(help: &str) -> BTreeSet<String> {
    let definitions = help.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let names = definitions.flat_map(|line| line.split("  ")).filter(|piece| piece.starts_with('-'));
    names.flat_map(long_options).collect()
}

/// Every `--name` that the page defines: `.It Fl -name`, also several in one line.
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
        // scar-preflight has the options of three peers and of an entry.
        let limit = if name == "scar-preflight" { 65 } else { 50 };
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
fn the_sections_are_in_order() {
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

/// The guide's steps that each part of the workspace may cite: 1 secret, 2-3 archive, 4-5 login and push, 6-8 console, 9 log,
/// 10-12 the script that changes the SCAR setting. Other parts may cite any of the twelve.
const STEPS: [(&str, &[u32]); 12] = [
    ("scar-secret-rm", &[1]),
    ("mkmanifests", &[2, 3]),
    ("ocipush", &[4, 5, 9]),
    ("ecr-password", &[4]),
    ("tools/lib/registry", &[4, 5, 9]),
    ("pack-registry-set", &[6, 7, 8]),
    ("vertex-login", &[6, 10, 11, 12]),
    ("tools/lib/vertex", &[5, 6, 7, 8, 10, 11, 12]),
    ("specman-wait", &[9]),
    ("specman-verify", &[9]),
    ("scar-set", &[10, 11, 12]),
    ("scar-get", &[10, 11, 12]),
];

/// The code, scripts and pages, each by its path in the workspace.
fn sources() -> Vec<(String, String)> {
    let root = workspace();
    let mut files = Vec::new();
    let mut folders: Vec<_> = ["tools", "tests", "shell", "man"].map(|name| root.join(name)).into();
    let mut paths: Vec<_> = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root.join(name)).into();
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            match path.extension().map(|extension| extension.to_str().unwrap()) {
                _ if path.is_dir() => folders.push(path),
                Some("rs" | "md" | "1" | "5" | "7") => paths.push(path),
                None if folder.ends_with("shell") => paths.push(path),
                _ => {}
            }
        }
    }
    for path in paths {
        files.push((path.strip_prefix(root).unwrap().display().to_string(), std::fs::read_to_string(&path).unwrap()));
    }
    assert!(files.len() > 300, "only {} files were read", files.len());
    files
}

/// The numbers at the beginning of ` 4 and 5)`.
fn numbers(text: &str) -> Vec<u32> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let words = words.take_while(|word| matches!(*word, "" | "s" | "to" | "and") || word.parse::<u32>().is_ok());
    words.filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn every_cited_step_of_the_guide_is_the_right_one() {
    let mut citations = 0;
    for (file, text) in sources().into_iter().filter(|(file, _)| !file.ends_with("docs.rs")) {
        // A citation may be broken over two lines.
        let words: Vec<_> = text.split_whitespace().filter(|word| !matches!(*word, "//" | "///" | "//!" | "#")).collect();
        let text = words.join(" ");
        for after in text.split("guide").skip(1) {
            let other = after.strip_prefix(" step").map(numbers).unwrap_or_default();
            assert!(other.is_empty(), "{file}: write 'guide, step {}'", other[0]);
            let Some(cited) = after.strip_prefix(", step").map(numbers) else { continue };
            let allowed = STEPS.iter().find(|(part, _)| file.contains(part)).map(|(_, steps)| *steps);
            let is_right = |step: &u32| allowed.map_or((1..=12).contains(step), |steps| steps.contains(step));
            assert!(!cited.is_empty() && cited.iter().all(is_right), "{file}: guide, step {cited:?}, not one of {allowed:?}");
            citations += 1;
        }
    }
    assert!(citations > 30, "only {citations} citations were found");
    for row in std::fs::read_to_string(workspace().join("README.md")).unwrap().lines() {
        let Some((steps, tool)) = row.strip_prefix("| ").and_then(|row| row.split_once(" | `")) else { continue };
        let Some((_, allowed)) = STEPS.iter().find(|(part, _)| tool.starts_with(part)) else { continue };
        assert!(numbers(steps).iter().all(|step| allowed.contains(step)), "README.md: {row}");
    }
}

/// rustfmt wraps comments only on nightly. Tables, list heads of pages, addresses and string literals may be wider.
#[test]
fn no_line_is_wider_than_rustfmt_allows() {
    let settings = std::fs::read_to_string(workspace().join("rustfmt.toml")).unwrap();
    let width: usize = settings.lines().find_map(|line| line.strip_prefix("max_width = ")).unwrap().parse().unwrap();
    let mut wide = Vec::new();
    for (file, text) in sources() {
        let is_markdown = file.ends_with(".md");
        let mut in_block = false;
        for (number, line) in text.lines().enumerate() {
            in_block ^= is_markdown && line.starts_with("```");
            let start = line.trim_start();
            let is_comment = start.starts_with("//") || start.starts_with("# ");
            let is_literal = !is_markdown && !is_comment && line.contains(['"', '\'', '\\', '{']);
            let is_exempt = in_block || is_literal || line.starts_with('|') || line.starts_with(".It ") || line.contains("://");
            if line.chars().count() > width && !is_exempt {
                wide.push(format!("{file}:{}: {}", number + 1, line.chars().count()));
            }
        }
    }
    assert!(wide.is_empty(), "wider than {width} characters:\n{}", wide.join("\n"));
}

/// The page has `.It Va field No (type)` for each field of the schema at any depth; a section's text says who writes it.
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

/// Collects `section.field` and `section.list[].field` of a schema's object.
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

/// As on a terminal with 80 columns; an example is one line there, or continues with a backslash or pipe.
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

/// On a host without man and mandoc a tool shows its page itself: the same text, in at most 80 columns.
#[test]
fn the_text_in_the_binary_is_that_of_mandoc() {
    let (Some(mandoc), Some(sh), Some(setsid)) = (peer("mandoc"), peer("sh"), peer("setsid")) else { return };
    let path = tempfile::TempDir::new().unwrap();
    std::os::unix::fs::symlink(sh, path.path().join("sh")).unwrap();
    std::os::unix::fs::symlink(setsid, path.path().join("setsid")).unwrap();
    // Line breaks and opening quotes may differ.
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

/// Removes the overstrikes of bold and underlined characters.
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
