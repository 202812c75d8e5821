//! The process contract of every tool: how options are parsed and failures printed, which status a process ends with, what
//! goes to a terminal and what to a log.
//!
//! Invariants: standard output is only for the record (or requested output: help, page, completions); everything else goes
//! to standard error through [`Console`]; only [`main`] turns a result into a status.
//!
//! ```no_run
//! #[derive(clap::Parser)]
//! #[command(name = "example", version, about = "does one step")]
//! struct Options {
//!     #[command(flatten)]
//!     common: scar_tool::Common,
//! }
//! fn main() -> std::process::ExitCode {
//!     scar_tool::main(".Dd …", |_options: Options, console| {
//!         console.note("done");
//!         Ok(())
//!     })
//! }
//! ```

pub mod backup;
pub mod child;
mod console;
mod deadline;
mod duration;
mod failure;
mod help;
mod mdoc;
mod options;
mod page;
mod prefix;
mod scrub;
pub mod signal;
pub mod stdout;
mod text;
mod usage;

pub use console::{Colour, Console, Pending, Progress};
pub use deadline::Deadline;
pub use duration::{duration, time_limit};
pub use failure::{Exit, Failure};
pub use options::Common;
pub use prefix::{Bare, Prefix, Spelling};
pub use scrub::never_show;
pub use signal::Interrupt;
pub use text::{bounded, escape, shell_word, words};

use std::process::ExitCode;

/// Runs a tool: parses its options, answers `--help`, `--version`, `--man` and `--completions`, calls `run`, and turns the
/// result into messages and a status.
///
/// `page` is the mdoc source of the tool's manual page; the options contain [`Common`].
pub fn main<O>(page: &'static str, run: impl FnOnce(O, &Console) -> Result<(), Failure>) -> ExitCode
where
    O: clap::Parser,
{
    // A core file could contain a password (core(5); FAULTS L8). Failing to set the limit does not affect the user.
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);

    let mut command = O::command();
    let name = command.get_name().to_owned();
    let console = Console::new(&name);
    let (options, console) = match options::read::<O>(&mut command, page, &name) {
        Ok(Some((options, common))) => (options, console.with(&common)),
        Ok(None) => return ExitCode::SUCCESS,
        Err(failure) => return console.end(&failure),
    };
    signal::install(&console);
    stdout::warn_if_lost(&console);
    match run(options, &console) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => console.end(&failure),
    }
}

/// What the fuzz targets call of this crate's own (`fuzz/README.md`).
#[cfg(fuzzing)]
pub mod fuzzing {
    pub use crate::scrub::forget;

    /// A text without the secrets.
    pub fn scrubbed(text: &str) -> String {
        crate::scrub::scrubbed(text, false)
    }
}
