//! The options that all tools share, and parsing the command line.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{ArgAction, Args, FromArgMatches};

use crate::{Failure, help, page, stdout, usage};

/// The options of every tool.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// Print only errors
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Print each action; twice: each request, without secrets
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,

    /// Print the plan and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Begin a new record and do not read standard input
    #[arg(long)]
    pub new_record: bool,

    /// Show this tool's manual page (into a pipe: its mdoc source)
    #[arg(long, exclusive = true)]
    man: bool,

    /// Print a completion script for SHELL: bash, zsh or fish
    #[arg(long, value_name = "SHELL", exclusive = true, hide_possible_values = true)]
    completions: Option<clap_complete::Shell>,
}

/// Parses the process's arguments; `None` if they asked for help, version, page or completions, which were printed.
///
/// `--man` and `--completions` are handled before clap parses the options, which may require operands.
pub(crate) fn read<O>(command: &mut clap::Command, page: &str, name: &str) -> Result<Option<(O, Common)>, Failure>
where
    O: clap::Parser + FromArgMatches,
{
    let matches = match command.try_get_matches_from_mut(std::env::args_os()) {
        Ok(matches) => matches,
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            return stdout::print(help::render(command, name).as_bytes()).map(|()| None);
        }
        Err(error) if error.kind() == ErrorKind::DisplayVersion => {
            return stdout::print(version(command, std::env::args_os()).as_bytes()).map(|()| None);
        }
        Err(error) => return Err(usage::failure(&error, name)),
    };
    if matches.get_flag("man") {
        return page::show(page, name).map(|()| None);
    }
    if let Some(shell) = matches.get_one::<clap_complete::Shell>("completions") {
        let mut script = Vec::new();
        clap_complete::generate(*shell, command, name, &mut script);
        return stdout::print(&script).map(|()| None);
    }
    let options = O::from_arg_matches(&matches).and_then(|options| Ok(Some((options, Common::from_arg_matches(&matches)?))));
    options.map_err(|error| usage::failure(&error, name))
}

/// Name and version; with `-v` also the cryptographic module, from each tool's long version.
fn version(command: &clap::Command, mut arguments: impl Iterator<Item = OsString>) -> String {
    let short = format!("{} {}\n", command.get_name(), command.get_version().unwrap_or_default());
    // Clap ends at the version, and does not say what else there is.
    let is_verbose = |argument: OsString| {
        let flags = argument.to_str().and_then(|text| text.strip_prefix('-')).unwrap_or_default();
        argument == "--verbose" || flags.contains('v') && flags.chars().all(|flag| matches!(flag, 'v' | 'V'))
    };
    match command.get_long_version().filter(|_| arguments.any(is_verbose)) {
        Some(module) => format!("{short}{module}\n"),
        None => short,
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    #[test]
    fn completions_know_the_three_shells_of_the_manual() {
        for shell in ["bash", "zsh", "fish"] {
            assert!(clap_complete::Shell::from_str(shell, false).is_ok());
        }
    }
}
