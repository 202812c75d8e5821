//! Everything a tool prints besides its result: the only writer to standard error.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{BinaryBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::scrub::scrubbed;
use crate::{Common, Failure, escape};

/// The interval of progress lines without a terminal.
const LINE_EVERY: Duration = Duration::from_secs(15);
const HINT: &str = "\u{1b}[1;36mhint:\u{1b}[0m ";

/// Standard error. Clones are cheap and share the progress bar, so that messages do not break it.
#[derive(Clone, Debug)]
pub struct Console {
    name: Arc<str>,
    quiet: bool,
    verbose: u8,
    bar: Arc<Mutex<Option<ProgressBar>>>,
    /// The pending requests, oldest first.
    pending: Arc<Mutex<Vec<Arc<str>>>>,
}

impl Console {
    /// A console with the prefix `name`, neither quiet nor verbose.
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), quiet: false, verbose: 0, bar: Arc::default(), pending: Arc::default() }
    }

    /// A console as in the common options.
    pub(crate) fn with(mut self, common: &Common) -> Self {
        self.quiet = common.quiet;
        self.verbose = common.verbose;
        self
    }

    /// The tool's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Prints one line about what happens; silent with `-q`.
    pub fn note(&self, message: impl Display) {
        if !self.quiet {
            self.line("", &message.to_string());
        }
    }

    /// Prints a warning, after which the tool continues; silent with `-q`.
    pub fn warn(&self, message: impl Display) {
        if !self.quiet {
            self.line("\u{1b}[1;33mwarning:\u{1b}[0m ", &message.to_string());
        }
    }

    /// Prints a hint after a warning; silent with `-q`.
    pub fn hint(&self, message: impl Display) {
        if !self.quiet {
            self.line(HINT, &message.to_string());
        }
    }

    /// Prints a line of the `--dry-run` plan; also with `-q`, because it was requested.
    pub fn plan(&self, message: impl Display) {
        self.line("would ", &message.to_string());
    }

    /// Prints a detail for `-v`: which file, login or route is used.
    pub fn verbose(&self, message: impl FnOnce() -> String) {
        if self.verbose >= 1 {
            self.line("", &message());
        }
    }

    /// Prints a line of the `-v` list, without the tool's name, like `tar -v`.
    pub fn listing(&self, line: impl FnOnce() -> String) {
        if self.verbose >= 1 {
            self.raw(&format!("{}\n", escape(&line())));
        }
    }

    /// Prints a line of a table, each piece in its colour; silent with `-q`.
    pub fn row(&self, pieces: &[(Colour, &str)]) {
        if self.quiet {
            return;
        }
        let mut line = String::new();
        for (colour, text) in pieces {
            let text = escape(text);
            match colour.code() {
                Some(code) if !text.is_empty() => line.push_str(&format!("\u{1b}[{code}m{text}\u{1b}[0m")),
                _ => line.push_str(&text),
            }
        }
        self.raw(&format!("{}\n", line.trim_end()));
    }

    /// The width of a line: the terminal's, else 80.
    pub fn columns(&self) -> usize {
        // A new terminal is 0 columns wide until somebody sets its size.
        let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok();
        size.map_or(80, |size| usize::from(size.ws_col)).clamp(60, 160)
    }

    /// Prints requests and answers for `-vv`, already scrubbed by the caller.
    pub fn trace(&self, message: impl FnOnce() -> String) {
        if self.verbose >= 2 {
            self.line("", &message());
        }
    }

    /// Marks `request` as pending until the guard is dropped, so that a timeout can name it.
    pub fn asking(&self, request: &str) -> Pending {
        let request = Arc::<str>::from(request);
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&request));
        Pending { request, list: Arc::clone(&self.pending) }
    }

    /// The oldest pending request.
    pub fn pending(&self) -> Option<String> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).first().map(|request| request.to_string())
    }

    /// Prints a failure's message, details and hint, without ending the process.
    pub fn failure(&self, failure: &Failure) {
        self.line("\u{1b}[1;31merror:\u{1b}[0m ", &failure.message);
        for detail in &failure.details {
            self.raw(&format!("  {}\n", escape(&scrubbed(detail, false))));
        }
        match &failure.hint {
            // Our own words are never secret, and foreign text has none of them.
            Some(Cow::Borrowed(own)) => self.raw(&format!("{}: {HINT}{own}\n", self.name)),
            Some(Cow::Owned(hint)) => self.line(HINT, hint),
            None => {}
        }
    }

    /// Prints a failure and returns the status for `main`.
    pub(crate) fn end(&self, failure: &Failure) -> ExitCode {
        self.clear();
        self.failure(failure);
        ExitCode::from(failure.exit as u8)
    }

    /// Shows progress in bytes: a bar with rate and remaining time if `total` is known, else a count.
    pub fn progress_bytes(&self, what: &str, total: Option<u64>) -> Progress {
        let template = match total {
            Some(_) => "{prefix} [{bar:24}] {bytes}/{total_bytes} {bytes_per_sec} {eta} {wide_msg}",
            None => "{prefix} {spinner} {bytes} {bytes_per_sec} {wide_msg}",
        };
        self.progress(what, total, template, true)
    }

    /// Shows progress of a wait: the last state, and how long.
    pub fn progress_waiting(&self, what: &str) -> Progress {
        self.progress(what, None, "{prefix} {spinner} {elapsed} {wide_msg}", false)
    }

    fn progress(&self, what: &str, total: Option<u64>, template: &str, in_bytes: bool) -> Progress {
        let is_drawn = !self.quiet && draws();
        let target = if is_drawn { ProgressDrawTarget::stderr_with_hz(8) } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(total, target).with_prefix(escape(what));
        if is_drawn {
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> ").tick_chars("|/-\\ "));
            }
            // Else time and spinner stand still while a request waits for its answer.
            bar.enable_steady_tick(Duration::from_millis(250));
        }
        *self.bar.lock().unwrap_or_else(PoisonError::into_inner) = is_drawn.then(|| bar.clone());
        Progress { console: self.clone(), bar, is_drawn, in_bytes, printed: Mutex::new(Instant::now()) }
    }

    fn clear(&self) {
        if let Some(bar) = self.bar.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
    }

    fn line(&self, label: &str, message: &str) {
        self.raw(&format!("{}: {label}{}\n", self.name, escape(&scrubbed(message, false))));
    }

    /// Writes everything at once; errors are ignored, because a lost message must not stop the work.
    fn raw(&self, text: &str) {
        let write = || {
            let mut stderr = std::io::stderr().lock();
            // The adapter would split the line at each escape. The stages of a pipe share this stream, so a line must be one
            // write: up to PIPE_BUF bytes, a write to a pipe is not mixed with others (pipe(7)).
            let _ = match anstream::AutoStream::choice(&stderr) {
                anstream::ColorChoice::Never => stderr.write_all(anstream::adapter::strip_str(text).to_string().as_bytes()),
                _ => stderr.write_all(text.as_bytes()),
            };
        };
        let bar = self.bar.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

/// A pending request; see [`Console::asking`].
#[derive(Debug)]
pub struct Pending {
    request: Arc<str>,
    list: Arc<Mutex<Vec<Arc<str>>>>,
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).retain(|request| !Arc::ptr_eq(request, &self.request));
    }
}

/// The colour of a table's piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Plain.
    Plain,
    /// Good.
    Green,
    /// Needs attention.
    Yellow,
    /// Bad.
    Red,
    /// A hint.
    Cyan,
    /// Unimportant.
    Dim,
}

impl Colour {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Green => Some("32"),
            Self::Yellow => Some("1;33"),
            Self::Red => Some("1;31"),
            Self::Cyan => Some("1;36"),
            Self::Dim => Some("2"),
        }
    }
}

/// Whether standard error is a terminal that can move its cursor.
fn draws() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// A progress display; removed from the terminal when dropped.
#[derive(Debug)]
pub struct Progress {
    console: Console,
    /// Counts also if it is not drawn.
    bar: ProgressBar,
    is_drawn: bool,
    in_bytes: bool,
    /// When the last line was printed.
    printed: Mutex<Instant>,
}

impl Progress {
    /// Sets the number of bytes.
    pub fn set(&self, position: u64) {
        self.bar.set_position(position);
        self.tick();
    }

    /// Adds a number of bytes.
    pub fn add(&self, bytes: u64) {
        self.bar.inc(bytes);
        self.tick();
    }

    /// Sets the last state.
    pub fn message(&self, message: impl Display) {
        self.bar.set_message(escape(&message.to_string()));
        self.tick();
    }

    /// Updates the display: call it in a waiting loop, so that a log gets a line each 15 s.
    pub fn tick(&self) {
        let mut printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_drawn && printed.elapsed() >= LINE_EVERY {
            *printed = Instant::now();
            self.console.note(line(&self.bar, self.in_bytes));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_drawn {
            self.console.clear();
        }
    }
}

/// The progress line of a log.
fn line(bar: &ProgressBar, in_bytes: bool) -> String {
    let (position, bytes) = (bar.position(), BinaryBytes(bar.position()));
    let done = match bar.length().filter(|total| *total > 0) {
        _ if !in_bytes => String::new(),
        Some(total) => {
            format!(": {bytes} of {} ({} %)", BinaryBytes(total), u128::from(position) * 100 / u128::from(total))
        }
        None => format!(": {bytes}"),
    };
    let message = if bar.message().is_empty() { String::new() } else { format!(", {}", bar.message()) };
    format!("{}{done}, {} s{message}", bar.prefix(), bar.elapsed().as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_progress_line_of_a_log_says_how_far_and_how_long() {
        let bar = |total| {
            let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
            bar.with_elapsed(Duration::from_secs(30))
        };
        let upload = bar(Some(4 << 20)).with_prefix("uploading").with_position(1 << 20);
        assert_eq!(line(&upload, true), "uploading: 1.00 MiB of 4.00 MiB (25 %), 30 s");
        let wait = bar(None).with_prefix("waiting").with_message("Downloading 0.0.0");
        assert_eq!(line(&wait, false), "waiting, 30 s, Downloading 0.0.0");
    }
}
