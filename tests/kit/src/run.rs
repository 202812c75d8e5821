//! One process, from its environment to its end.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use tempfile::TempDir;

use crate::canary::Secrets;
use crate::messages;
use crate::outcome::Outcome;
use crate::terminal::Terminal;

/// How long a run may take where the test says nothing.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Where a stream of the child leads.
enum Stream {
    Pipe,
    Null,
    Closed,
    Terminal,
    File(PathBuf),
    Bytes(Vec<u8>),
}

/// A run to be: a clean environment (PATH, HOME in a temporary folder, a UTF-8 locale, nothing else), `/dev/null` on
/// stdin, pipes on stdout and stderr.
#[must_use = "a run that is not started tests nothing"]
pub struct Run {
    program: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
    home: Option<PathBuf>,
    stdin: Stream,
    stdout: Stream,
    stderr: Stream,
    terminal: Option<u16>,
    answers: Vec<(String, String)>,
    timeout: Duration,
    names: Vec<(String, String)>,
    is_tool: bool,
    any_record: bool,
}

/// A run of one of the suite's tools.
#[track_caller]
pub fn tool(name: &str) -> Run {
    Run { is_tool: true, ..program(crate::binary(name)) }
}

/// A run of a bash script, with the tools first in PATH and `pipefail` set.
pub fn bash(script: &str) -> Run {
    program("bash").args(["-o", "pipefail", "-c", script])
}

/// A run of any other program.
pub fn program(path: impl Into<PathBuf>) -> Run {
    Run {
        program: path.into(),
        arguments: Vec::new(),
        variables: Vec::new(),
        folder: None,
        home: None,
        stdin: Stream::Null,
        stdout: Stream::Pipe,
        stderr: Stream::Pipe,
        terminal: None,
        answers: Vec::new(),
        timeout: TIMEOUT,
        names: Vec::new(),
        is_tool: false,
        any_record: false,
    }
}

impl Run {
    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets a variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Runs in this folder; else in its HOME.
    pub fn folder(mut self, path: impl Into<PathBuf>) -> Self {
        self.folder = Some(path.into());
        self
    }

    /// Takes this folder for HOME, in place of an empty one that goes with the run.
    pub fn home(mut self, path: impl Into<PathBuf>) -> Self {
        self.home = Some(path.into());
        self
    }

    /// These bytes on stdin, through a pipe.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Stream::Bytes(bytes.into());
        self
    }

    /// This record on stdin, through a pipe.
    pub fn record(self, record: &Value) -> Self {
        self.stdin(record.to_string())
    }

    /// A file on stdin.
    pub fn stdin_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.stdin = Stream::File(path.into());
        self
    }

    /// A closed stdin.
    pub fn stdin_closed(mut self) -> Self {
        self.stdin = Stream::Closed;
        self
    }

    /// stdin is the terminal; see [`Run::terminal`].
    pub fn stdin_terminal(mut self) -> Self {
        self.stdin = Stream::Terminal;
        self.with_terminal()
    }

    /// stdout into a file, truncated first; made with mode 0600.
    pub fn stdout_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.stdout = Stream::File(path.into());
        self
    }

    /// stdout on a full disk.
    pub fn stdout_full(self) -> Self {
        self.stdout_file("/dev/full")
    }

    /// A closed stdout.
    pub fn stdout_closed(mut self) -> Self {
        self.stdout = Stream::Closed;
        self
    }

    /// stdout thrown away, as `>/dev/null` does it.
    pub fn stdout_null(mut self) -> Self {
        self.stdout = Stream::Null;
        self
    }

    /// stdout is the terminal; see [`Run::terminal`].
    pub fn stdout_terminal(mut self) -> Self {
        self.stdout = Stream::Terminal;
        self.with_terminal()
    }

    /// stderr is the terminal; see [`Run::terminal`].
    pub fn stderr_terminal(mut self) -> Self {
        self.stderr = Stream::Terminal;
        self.with_terminal()
    }

    /// Gives the run a terminal of so many columns as its `/dev/tty`, whichever streams lead there.
    /// [`Outcome::screen`] tells what stood on it.
    pub fn terminal(mut self, columns: u16) -> Self {
        self.terminal = Some(columns);
        self
    }

    /// Types `answer` (with its `\n`) once `prompt` stands on the terminal; several are answered in order.
    pub fn answer(mut self, prompt: &str, answer: &str) -> Self {
        self.answers.push((prompt.to_owned(), answer.to_owned()));
        self.with_terminal()
    }

    fn with_terminal(mut self) -> Self {
        self.terminal.get_or_insert(80);
        self
    }

    /// How long it may take; then it is killed and the test fails with all that it said.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// Registers a secret that this and every later run of the process must not show.
    #[track_caller]
    pub fn secret(self, text: &str) -> Self {
        crate::secret(text);
        self
    }

    /// What differs from run to run (a port, a temporary path) reads as `name` in what the outcome gives out.
    pub fn called(mut self, value: impl ToString, name: &str) -> Self {
        self.names.push((value.to_string(), name.to_owned()));
        self
    }

    /// The record that comes out holds what the schema refuses, since one went in.
    pub fn any_record(mut self) -> Self {
        self.any_record = true;
        self
    }

    /// Starts it and waits for its end.
    ///
    /// # Panics
    /// Where it takes too long, shows a secret, or writes a record that is none.
    #[track_caller]
    pub fn run(self) -> Outcome {
        self.start().wait()
    }

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
            // A terminal's run has a session of its own already.
            std::os::unix::process::CommandExt::process_group(&mut command, 0);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.folder.as_ref().unwrap_or(&home));
        let on_terminal = || terminal.as_ref().expect("asked for with the stream").stream();
        command.stdin(match &self.stdin {
            Stream::Bytes(_) | Stream::Pipe => Stdio::piped(),
            Stream::File(path) => File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).into(),
            Stream::Terminal => on_terminal(),
            Stream::Null | Stream::Closed => Stdio::null(),
        });
        let out = |stream: &Stream| match stream {
            Stream::Pipe | Stream::Bytes(_) => Stdio::piped(),
            Stream::File(path) => create(path).into(),
            Stream::Terminal => on_terminal(),
            Stream::Null | Stream::Closed => Stdio::from(File::create("/dev/null").expect("/dev/null")),
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
            // A tool may refuse before it has read all.
            std::thread::spawn(move || drop(pipe.write_all(&bytes)));
        }
        let stdout = child.stdout.take().map(collect);
        let stderr = child.stderr.take().map(collect);
        let watch = Watch::start(child.id(), &self.variables);
        Running { run: self, child, begun, own, stdout, stderr, terminal, watch }
    }

    /// The command, inside what closes its streams and gives it its terminal; each of them replaces itself by the next,
    /// so that the child's id is the tool's.
    fn command(&self, terminal: Option<&Path>) -> Command {
        let mut words: Vec<OsString> = Vec::new();
        let closed = |stream: &Stream, what: &'static str| if matches!(stream, Stream::Closed) { what } else { "" };
        let (stdin, stdout) = (closed(&self.stdin, " <&-"), closed(&self.stdout, " >&-"));
        if let Some(path) = terminal {
            // setsid takes its own stdin for the terminal; the tool's comes back from the descriptor that sh kept.
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

    /// The command line as a person would type it.
    pub(crate) fn line(&self) -> String {
        let name = self.program.file_name().unwrap_or(self.program.as_os_str());
        let words = std::iter::once(name).chain(self.arguments.iter().map(OsString::as_os_str));
        words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    }
}

/// The tools first, then what the machine has.
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

/// A stream read to its end beside the test.
struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

fn collect(mut stream: impl Read + Send + 'static) -> Collected {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let kept = bytes.clone();
    let reader = std::thread::spawn(move || {
        let mut chunk = [0; 16 * 1024];
        while let Ok(count @ 1..) = stream.read(&mut chunk) {
            kept.lock().unwrap().extend_from_slice(&chunk[..count]);
        }
    });
    Collected { bytes, reader }
}

/// A run under way; killed, with its process group, when dropped.
pub struct Running {
    run: Run,
    child: Child,
    begun: Instant,
    own: TempDir,
    stdout: Option<Collected>,
    stderr: Option<Collected>,
    terminal: Option<Terminal>,
    watch: Option<Watch>,
}

impl Running {
    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process is there");
    }

    /// Sends a signal to the process and all its children, as a terminal does.
    pub fn signal_group(&self, signal: Signal) {
        kill_process_group(Pid::from_child(&self.child), signal).expect("the process is there");
    }

    /// Whether it has ended.
    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_some()
    }

    /// Waits until stdout, stderr or the terminal holds `part`.
    ///
    /// # Panics
    /// Where the run ends before, or its time is over.
    #[track_caller]
    pub fn until(&mut self, part: &str) {
        let end = self.begun + self.run.timeout;
        loop {
            // Asked before the look, so that its last words count.
            let over = self.is_over() || Instant::now() > end;
            let said = self.said();
            if said.iter().any(|text| text.contains(part)) {
                return;
            }
            assert!(!over, "{} never said '{part}':\n{}", self.run.line(), said.join("\n---\n"));
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// What stdout, stderr and the terminal have so far.
    pub fn said(&self) -> [String; 3] {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let so_far = |stream: &Option<Collected>| stream.as_ref().map(|s| s.bytes.lock().unwrap().clone()).unwrap_or_default();
        let screen = self.terminal.as_ref().map(Terminal::screen).unwrap_or_default();
        [text(so_far(&self.stdout)), text(so_far(&self.stderr)), text(screen)]
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// As [`Run::run`] does.
    #[track_caller]
    pub fn wait(mut self) -> Outcome {
        let end = self.begun + self.run.timeout;
        let mut status = None;
        let mut late = false;
        while status.is_none() {
            status = self.child.try_wait().expect("our own child");
            if status.is_none() && Instant::now() > end && !late {
                late = true;
                self.kill();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let took = self.begun.elapsed();
        self.terminal.iter().for_each(Terminal::end);
        // What it said is whole once nobody holds the streams any more; a child left behind would.
        let patience = Instant::now() + Duration::from_secs(5);
        let readers = || [&self.stdout, &self.stderr].into_iter().flatten().all(|stream| stream.reader.is_finished());
        while !(readers() && self.terminal.as_ref().is_none_or(Terminal::is_over)) && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(2));
        }
        let left_behind = !readers();
        self.kill();
        let bytes = |stream: &Option<Collected>| stream.as_ref().map(|s| s.bytes.lock().unwrap().clone()).unwrap_or_default();
        let status = status.map(|status| status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()));
        let stdout = match &self.run.stdout {
            Stream::File(path) if !path.starts_with("/dev") => std::fs::read(path).unwrap_or_default(),
            _ => bytes(&self.stdout),
        };
        let mut names = std::mem::take(&mut self.run.names);
        names.push((self.own.path().display().to_string(), "[HOME]".to_owned()));
        let outcome = Outcome {
            command: self.run.line(),
            status: status.unwrap_or_default(),
            took,
            stdin: match &self.run.stdin {
                Stream::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                _ => String::new(),
            },
            stdout_bytes: stdout,
            stderr_bytes: bytes(&self.stderr),
            screen_bytes: self.terminal.as_ref().map(Terminal::screen).unwrap_or_default(),
            names,
        };
        let seen = self.watch.take().map(Watch::end).unwrap_or_default();
        assert!(!late, "it hung: killed after {:?}\n{outcome}", self.run.timeout);
        assert!(!left_behind, "a child of it is left and holds its output open\n{outcome}");
        outcome.check_secrets(seen);
        if self.run.is_tool && !self.run.any_record {
            outcome.check_schema();
        }
        if self.run.is_tool && (1..=8).contains(&outcome.status) {
            messages::check(&outcome.stderr());
        }
        outcome
    }

    fn kill(&self) {
        // Nobody may be left to take it.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

/// Looks into `/proc` while a run lasts: what it and its children were called with, and the environment of each.
struct Watch {
    stop: Arc<Mutex<bool>>,
    thread: JoinHandle<Vec<String>>,
}

impl Watch {
    fn start(pid: u32, given: &[(OsString, OsString)]) -> Option<Self> {
        let secrets = Secrets::registered();
        if secrets.is_empty() {
            return None;
        }
        let given: Vec<OsString> = given.iter().map(|(name, _)| name.clone()).collect();
        let stop = Arc::new(Mutex::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut seen = Vec::new();
            while !*stopped.lock().unwrap() {
                look(pid, true, &given, &secrets, &mut seen);
                std::thread::sleep(Duration::from_millis(3));
            }
            seen.sort();
            seen.dedup();
            seen
        });
        Some(Self { stop, thread })
    }

    fn end(self) -> Vec<String> {
        *self.stop.lock().unwrap() = true;
        self.thread.join().expect("the watch ends")
    }
}

fn look(pid: u32, first: bool, given: &[OsString], secrets: &Secrets, seen: &mut Vec<String>) {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let read = |name: &str| std::fs::read(proc.join(name)).unwrap_or_default();
    let arguments = read("cmdline");
    let name = String::from_utf8_lossy(&arguments).replace('\0', " ");
    seen.extend(secrets.found(&arguments).into_iter().map(|secret| format!("{secret} in the arguments of {name}")));
    for variable in read("environ").split(|byte| *byte == 0) {
        // What the test itself gave to the run stands in the run's own environment.
        let is_given =
            |given: &OsString| variable.strip_prefix(given.as_encoded_bytes()).is_some_and(|rest| rest.starts_with(b"="));
        if first && given.iter().any(is_given) {
            continue;
        }
        seen.extend(secrets.found(variable).into_iter().map(|secret| format!("{secret} in the environment of {name}")));
    }
    let Ok(threads) = std::fs::read_dir(proc.join("task")) else { return };
    for thread in threads.flatten() {
        let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|id| id.parse().ok()) {
            look(child, false, given, secrets, seen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Run {
        program("sh").args(["-c", script])
    }

    #[test]
    fn streams_lead_where_the_run_says() {
        let outcome = sh("cat; echo told >&2; exit 3").stdin("given").run();
        outcome.exits(3).prints("given").tells("told\n");
        sh("[ -e /proc/self/fd/0 ] || echo closed").stdin_closed().run().prints("closed\n");
        sh("echo x; echo $? >&2").stdout_closed().run().says("1").writes_nothing();
        sh("echo x || exit 9").stdout_full().run().exits(9);
        sh("kill -TERM $$").run().exits(143);
    }

    #[test]
    fn a_terminal_is_typed_on_beside_a_record_on_stdin() {
        let script = "printf 'Name: ' >/dev/tty; read -r name </dev/tty; echo \"$name $(cat)\"; [ -t 2 ] && echo drawn >&2";
        let outcome = sh(script).stdin("record").stderr_terminal().answer("Name: ", "robot\n").run();
        outcome.succeeds().prints("robot record\n");
        assert!(outcome.screen().ends_with("drawn\n"), "{outcome}");
        sh("test -t 0 && test -t 1 && tput cols").stdin_terminal().stdout_terminal().terminal(132).run().succeeds();
    }

    #[test]
    #[should_panic(expected = "it hung")]
    fn a_hang_fails() {
        sh("echo begun; sleep 600").timeout(Duration::from_millis(300)).run();
    }

    #[test]
    #[should_panic(expected = "in the arguments of tail")]
    fn a_secret_in_a_childs_arguments_fails() {
        sh("tail -f /dev/null 'argv canary 1' 2>/dev/null & sleep 0.5; kill $!")
            .env("X", "argv canary 1")
            .secret("argv canary 1")
            .run();
    }

    #[test]
    #[should_panic(expected = "in the environment of sleep")]
    fn a_secret_in_a_childs_environment_fails() {
        sh("sleep 0.3; exit").env("X", "environment canary 1").secret("environment canary 1").run();
    }

    #[test]
    #[should_panic(expected = "on stderr")]
    fn a_secret_on_stderr_fails() {
        sh("printf c3RkZXJyIGNhbmFyeSAx | base64 -d >&2").secret("stderr canary 1").run();
    }

    #[test]
    fn a_run_is_met_in_its_middle_and_signalled() {
        let mut running = sh("trap 'echo ended; exit 7' TERM; echo begun >&2; while :; do sleep 0.01; done").start();
        running.until("begun");
        running.signal(Signal::TERM);
        running.wait().exits(7).prints("ended\n");
    }

    #[test]
    fn a_session_may_hold_one() {
        let record = r#"{"session":{"authorization":"session canary 1"}}"#;
        sh("cat").stdin(record).secret("session canary 1").run().prints(record);
    }
}
