//! Reports a wrong command line like any other failure.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::Failure;

/// Turns clap's error into ours: one line that quotes the argument, and what to write instead. Exit 2.
pub(crate) fn failure(error: &clap::Error, name: &str) -> Failure {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        _ => None,
    };
    // clap marks repeatable options with dots, which nobody types.
    let name_of = |kind| text(kind).map(|text| text.trim_end_matches("...").to_owned());
    let argument = name_of(ContextKind::InvalidArg).unwrap_or_default();
    let value = text(ContextKind::InvalidValue).unwrap_or_default();
    let help = format!("'{name} --help' lists the options, '{name} --man' explains them");
    match error.kind() {
        // Scripts for other tools may use it, as the guide does (steps 4 and 12), but every user of the host can read an
        // argument (proc(5), /proc/PID/cmdline).
        ErrorKind::UnknownArgument if argument == "--password" || argument == "-p" => Failure::misuse(format!(
            "'{argument}' is not offered: a password in the arguments can be read by every user of this host"
        ))
        .hint("use --password-stdin or --password-file FILE"),
        ErrorKind::UnknownArgument => {
            let failure = Failure::misuse(format!("unknown {} '{argument}'", what(&argument)));
            match text(ContextKind::SuggestedArg) {
                Some(suggested) => failure.hint(format!("did you mean '{suggested}'?")),
                None => failure.hint(help),
            }
        }
        ErrorKind::InvalidValue if value.is_empty() => Failure::misuse(format!("'{argument}' needs a value")).hint(help),
        ErrorKind::InvalidValue => {
            let failure = Failure::misuse(format!("bad value '{value}' for '{argument}'"));
            match text(ContextKind::ValidValue) {
                Some(valid) => failure.hint(format!("one of: {valid}")),
                None => failure.hint(help),
            }
        }
        ErrorKind::ValueValidation => {
            let cause = std::error::Error::source(error).map_or_else(|| "not accepted".to_owned(), ToString::to_string);
            Failure::misuse(format!("bad value for '{argument}': {cause}"))
        }
        ErrorKind::MissingRequiredArgument => Failure::misuse(format!("missing: {argument}")).hint(help),
        ErrorKind::ArgumentConflict => match name_of(ContextKind::PriorArg) {
            Some(prior) if prior == argument => Failure::misuse(format!("'{argument}' is given twice")),
            Some(prior) => Failure::misuse(format!("'{argument}' cannot be used with '{prior}'")).hint("choose one"),
            None => Failure::misuse(format!("'{argument}' cannot be used with other options")),
        },
        ErrorKind::TooManyValues | ErrorKind::WrongNumberOfValues | ErrorKind::TooFewValues => {
            Failure::misuse(format!("wrong number of values for '{argument}'")).hint(help)
        }
        ErrorKind::InvalidUtf8 => Failure::misuse("an argument is not valid UTF-8"),
        _ => {
            let first = error.to_string();
            let first = first.lines().next().unwrap_or("wrong arguments").trim_start_matches("error: ").to_owned();
            Failure::misuse(first).hint(help)
        }
    }
}

/// An option or an operand.
fn what(argument: &str) -> &'static str {
    if argument.starts_with('-') { "option" } else { "operand" }
}
