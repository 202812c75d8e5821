//! Extracts the commands of the pages and the README as a reader sees them.
//!
//! A page is used as mandoc renders it, so that mdoc's treatment of characters counts.

use std::path::Path;

use scar_kit::{program, workspace};

/// One command, or one block of commands.
#[derive(Clone, Debug)]
pub(crate) struct Snippet {
    /// Its section and subsection.
    pub(crate) place: (String, String),
    /// The text to copy.
    pub(crate) text: String,
}

impl Snippet {
    /// Whether it only has lines `KEY=value`: a settings file.
    pub(crate) fn is_settings(&self) -> bool {
        let is_key = |key: &str| !key.is_empty() && key.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        self.text.lines().all(|line| line.split_once('=').is_some_and(|(key, value)| is_key(key) && !value.contains(' ')))
    }
}

/// Every display of a page in `man/`.
pub(crate) fn of_page(mandoc: &Path, name: &str) -> Vec<Snippet> {
    let page = workspace().join("man").join(name);
    let html = program(mandoc).args(["-T", "html", "-O", "fragment"]).arg(page).run().succeeds().stdout();
    let mut found = Vec::new();
    let mut place = (String::new(), String::new());
    let mut rest = html.as_str();
    while let Some((opening, at)) = first(rest, &["<h1 ", "<h2 ", "<code class=\"Li\">", "<pre>"]) {
        let closing = ["</h1>", "</h2>", "</code>", "</pre>"][opening];
        let (inner, after) = rest[at..].split_once(closing).unwrap();
        let shown = text(inner);
        match opening {
            0 => place = (shown, String::new()),
            1 => place.1 = shown,
            // `.Li` and `.Ql` in a sentence have the same tag; a display has a frame around it.
            2 if !rest[..at].ends_with("Bd-indent\">") => {}
            _ => found.push(Snippet { place: place.clone(), text: shown }),
        }
        rest = after;
    }
    found
}

/// The first of these tags, and its position.
fn first(text: &str, tags: &[&str]) -> Option<(usize, usize)> {
    let found = tags.iter().enumerate().filter_map(|(number, tag)| Some((text.find(tag)?, number)));
    found.min().map(|(at, number)| (number, at))
}

/// Converts HTML to text, and joins lines that mandoc broke, except in literal displays.
fn text(html: &str) -> String {
    let html = if html.starts_with("<pre>") { html.to_owned() } else { html.split_whitespace().collect::<Vec<_>>().join(" ") };
    let mut out = String::new();
    let mut in_tag = false;
    for character in html.chars() {
        match character {
            '<' => in_tag = true,
            '>' => in_tag = false,
            character if !in_tag => out.push(character),
            _ => {}
        }
    }
    for (entity, character) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#x00A0;", " "), ("&amp;", "&")] {
        out = out.replace(entity, character);
    }
    assert!(!out.contains("&#"), "what is this as text? {out}");
    out
}

/// Every example of a tool's `--help`; a variable on its own line applies to the examples below it.
pub(crate) fn of_help(name: &str) -> Vec<Snippet> {
    let help = scar_kit::tool(name).arg("--help").run().succeeds().stdout();
    let (_, examples) = help.split_once("\nExamples:\n").unwrap_or_else(|| panic!("{name}: no examples"));
    // An unindented line is a sentence; one that ends with a colon is a caption.
    let lines = examples.lines().take_while(|line| line.starts_with(' '));
    let lines: Vec<_> = lines.filter(|line| !line.ends_with(':') || line.starts_with("   ")).collect();
    let depth = lines.iter().map(|line| line.len() - line.trim_start().len()).min().unwrap();
    let (mut found, mut variables): (Vec<Snippet>, _) = (Vec::new(), String::new());
    for line in lines.iter().map(|line| &line[depth..]) {
        let place = ("Examples".to_owned(), String::new());
        match found.last_mut() {
            Some(last) if line.starts_with(' ') => last.text.push_str(&format!("\n{line}")),
            _ if line.split_once('=').is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase())) => {
                variables.push_str(&format!("{line}\n"));
            }
            _ => found.push(Snippet { place, text: format!("{variables}{line}") }),
        }
    }
    found
}

/// Every shell block of a Markdown file.
pub(crate) fn of_markdown(name: &str) -> Vec<Snippet> {
    let text = std::fs::read_to_string(workspace().join(name)).unwrap();
    let mut found = Vec::new();
    let mut heading = String::new();
    let mut block: Option<Vec<&str>> = None;
    for line in text.lines() {
        match (&mut block, line) {
            (None, "```sh" | "```bash" | "```console") => block = Some(Vec::new()),
            (Some(lines), "```") => {
                found.push(Snippet { place: (heading.clone(), String::new()), text: lines.join("\n") });
                block = None;
            }
            (Some(lines), line) => lines.push(line),
            (None, line) => {
                if let Some(title) = line.strip_prefix("## ") {
                    title.clone_into(&mut heading);
                }
            }
        }
    }
    found
}

#[test]
fn what_mdoc_makes_of_a_character_is_seen() {
    let Some(mandoc) = scar_kit::peer("mandoc") else { return };
    let folder = tempfile::TempDir::new().unwrap();
    let page = folder.path().join("x.1");
    let source = ".Dd November 24, 2026\n.Dt X 1\n.Os x\n.Sh NAME\n.Nm x\n.Nd x\n.Sh EXAMPLES\nNot \n.Li this .\n\
                  .Dl tar -czf - . | x <y >z\n.Bd -literal -offset indent\na |\n  b\n.Ed\n.Ss More\n.Dl tar -czf - \\&. | x\n";
    std::fs::write(&page, source).unwrap();
    let found = of_page(&mandoc, page.to_str().unwrap());
    let texts: Vec<_> = found.iter().map(|snippet| snippet.text.as_str()).collect();
    assert_eq!(texts, ["tar -czf -. | x <y >z", "a |\n  b", "tar -czf - . | x"]);
    assert_eq!(found[2].place, ("EXAMPLES".to_owned(), "More".to_owned()));
}
