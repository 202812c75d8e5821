//! Formats `--help`: the summary, the usage, examples, then each option in as few lines as possible.

use clap::{Arg, Command};

/// The width of the narrowest terminal in use.
const WIDTH: usize = 80;
/// The width of the options' column; the text of a longer one begins further right.
const COLUMN: usize = 24;
/// The options of every tool: listed at the end, explained in scar-tools(7).
const SHARED: &str = "Common options";

/// The whole text; headings are marked for a terminal.
pub(crate) fn render(command: &mut Command, name: &str) -> String {
    // Completes every argument's help, version and value names.
    command.build();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim();
    let mut text = format!("{name} - {about}\n\n{} {usage}\n", heading("Usage"));
    if let Some(examples) = command.get_after_help() {
        let examples = examples.to_string();
        text.push_str(&format!("\n{}\n", examples.trim().replacen("Examples:", &heading("Examples"), 1)));
    }
    let mut groups: Vec<(String, Vec<&Arg>)> = Vec::new();
    for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
        let group = group(arg);
        match groups.iter_mut().find(|(title, _)| *title == group) {
            Some((_, args)) => args.push(arg),
            None => groups.push((group, vec![arg])),
        }
    }
    let (shared, own): (Vec<_>, Vec<_>) = groups.into_iter().partition(|(title, _)| title == SHARED);
    // To save lines, only headings separate the groups.
    text.push('\n');
    for (title, args) in own {
        let lines: String = args.iter().map(|arg| line(arg)).collect();
        text.push_str(&format!("{}\n{lines}", heading(&title)));
    }
    let names: Vec<_> = shared.iter().flat_map(|(_, args)| args).map(|arg| left(arg)).collect();
    text.push_str(&format!("{}\n{}", heading(SHARED), filled(&names)));
    text
}

/// Positional arguments first; options that clap adds are common to all tools.
fn group(arg: &Arg) -> String {
    match arg.get_help_heading() {
        _ if matches!(arg.get_id().as_str(), "help" | "version") => SHARED.to_owned(),
        Some(title) => title.to_owned(),
        None if arg.is_positional() => "Arguments".to_owned(),
        None => "Options".to_owned(),
    }
}

fn heading(title: &str) -> String {
    format!("\x1b[1m\x1b[4m{title}:\x1b[0m")
}

/// `-u, --username <USER>`.
fn left(arg: &Arg) -> String {
    let values = arg.get_value_names().unwrap_or_default();
    let value = values.first().filter(|_| arg.get_action().takes_values()).map(|name| format!("<{name}>"));
    let names = match (arg.get_short(), arg.get_long()) {
        (Some(short), Some(long)) => format!("-{short}, --{long}"),
        (None, Some(long)) => format!("--{long}"),
        _ if arg.is_required_set() => return value.unwrap_or_default(),
        _ => return value.map(|value| value.replace('<', "[").replace('>', "]")).unwrap_or_default(),
    };
    value.map_or_else(|| names.clone(), |value| format!("{names} {value}"))
}

/// An option and its text, in as many lines as needed.
fn line(arg: &Arg) -> String {
    let mut about = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let default: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if arg.get_action().takes_values() && !default.is_empty() && !arg.is_hide_default_value_set() {
        about.push_str(&format!(" [{}]", default.join(",")));
    }
    let mut text = String::new();
    let mut line = format!("  {:COLUMN$} ", left(arg));
    for word in about.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            text.push_str(line.trim_end());
            text.push('\n');
            line = format!("{:1$}", "", COLUMN + 3);
        }
        line.push(' ');
        line.push_str(word);
    }
    text + &line + "\n"
}

/// Fills lines with names.
fn filled(names: &[String]) -> String {
    let mut text = String::from(" ");
    let mut column = 1;
    for name in names {
        if column + 2 + name.len() > WIDTH {
            text.push_str("\n ");
            column = 1;
        }
        text.push_str(&format!(" {name} "));
        column += 2 + name.len();
    }
    let mut text: String = text.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    text.push_str("  (--man shows the whole page; scar-tools(7) describes the common options)\n");
    text
}
