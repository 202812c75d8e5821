//! Starts a run: its environment and streams.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use tempfile::TempDir;

use super::running::{Running, collect};
use super::watch::Watch;
use super::{Run, Stream};
use crate::terminal::Terminal;

impl Run {
    /// Starts it.
    #[track_caller]
    pub fn start(self) -> Running {
        let own = TempDir::new().expect("a temporary folder");
        let home = self.home.clone().unwrap_or_else(|| own.path().to_owned());
        let mut terminal = self.terminal.map(|columns| Terminal::open(columns, self.answers.clone()));
        let mut command = self.command(terminal.as_ref().map(Terminal::path));
        command.env_clear().env("HOME", &home).env("LC_ALL", "C.UTF-8").env("PATH", path());
        if terminal.is_some() {
            command.env("TERM", "xterm-256color");
        } else {
            // A run with a terminal already has its own session.
            std::os::unix::process::CommandExt::process_group(&mut command, 0);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.folder.as_ref().unwrap_or(&home));
        let on_terminal = || terminal.as_ref().expect("asked for with the stream").stream();
        command.stdin(match &self.stdin {
            Stream::Bytes(_) | Stream::Pipe => Stdio::piped(),
            Stream::File(path) => File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).into(),
            Stream::Terminal => on_terminal(),
            Stream::Null | Stream::NullForBoth | Stream::Closed => Stdio::null(),
        });
        let out = |stream: &Stream| match stream {
            Stream::Pipe | Stream::Bytes(_) => Stdio::piped(),
            Stream::File(path) => create(path).into(),
            Stream::Terminal => on_terminal(),
            Stream::Null | Stream::Closed => Stdio::from(File::create("/dev/null").expect("/dev/null")),
            Stream::NullForBoth => Stdio::from(File::options().read(true).write(true).open("/dev/null").expect("/dev/null")),
        };
        command.stdout(out(&self.stdout)).stderr(out(&self.stderr));
        let begun = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        drop(command);
        let terminal = terminal.take().map(|mut terminal| {
            terminal.close();
            terminal
        });
        if let (Some(mut pipe), Stream::Bytes(bytes)) = (child.stdin.take(), &self.stdin) {
            let bytes = bytes.clone();
            // A tool may fail before it has read everything.
            std::thread::spawn(move || drop(pipe.write_all(&bytes)));
        }
        let stdout = child.stdout.take().map(collect);
        let stderr = child.stderr.take().map(collect);
        let watch = Watch::start(child.id(), &self.variables, self.watch);
        Running { run: self, child, begun, own, stdout, stderr, terminal, watch }
    }

    /// The command, wrapped in programs that close its streams and give it its terminal; each replaces itself by the next,
    /// so that the child's process ID is the tool's.
    fn command(&self, terminal: Option<&Path>) -> Command {
        let mut words: Vec<OsString> = Vec::new();
        let closed = |stream: &Stream, what: &'static str| if matches!(stream, Stream::Closed) { what } else { "" };
        let (stdin, stdout) = (closed(&self.stdin, " <&-"), closed(&self.stdout, " >&-"));
        if let Some(path) = terminal {
            // setsid uses its own stdin as the terminal; sh restores the tool's stdin from a saved descriptor.
            let (keep, back) =
                if matches!(self.stdin, Stream::Terminal) { ("", "") } else { ("exec 9<&0 <\"$0\"; ", " <&9 9<&-") };
            let inner = format!("exec \"$@\"{back}{stdin}{stdout}");
            let outer = format!("{keep}exec setsid --ctty sh -c '{inner}' sh \"$@\"");
            words.extend(["sh".into(), "-c".into(), outer.into(), path.into()]);
        } else if !stdin.is_empty() || !stdout.is_empty() {
            words.extend(["sh".into(), "-c".into(), format!("exec \"$@\"{stdin}{stdout}").into(), "sh".into()]);
        }
        words.push(self.program.clone().into());
        words.extend(self.arguments.iter().cloned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command
    }
}

/// The tools' folder first, then the machine's PATH.
fn path() -> OsString {
    let rest = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(crate::binaries().to_owned()).chain(std::env::split_paths(&rest));
    std::env::join_paths(folders).expect("no colon in a folder's name")
}

fn create(path: &Path) -> File {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
