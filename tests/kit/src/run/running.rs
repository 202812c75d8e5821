//! A running process: watch it, signal it, wait for it.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

use super::watch::Watch;
use super::{Run, Stream};
use crate::messages;
use crate::outcome::Outcome;
use crate::terminal::Terminal;

/// A stream that is read in the background.
pub(super) struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

pub(super) fn collect(mut stream: impl Read + Send + 'static) -> Collected {
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

/// A running process; killed with its process group when dropped.
pub struct Running {
    pub(super) run: Run,
    pub(super) child: Child,
    pub(super) begun: Instant,
    pub(super) own: TempDir,
    pub(super) stdout: Option<Collected>,
    pub(super) stderr: Option<Collected>,
    pub(super) terminal: Option<Terminal>,
    pub(super) watch: Option<Watch>,
}

impl Running {
    /// The process ID.
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

    /// Waits until stdout, stderr or the terminal contains `part`.
    ///
    /// # Panics
    /// If the run ends first, or its time is over.
    #[track_caller]
    pub fn until(&mut self, part: &str) {
        let end = self.begun + self.run.timeout;
        loop {
            // Checked before reading, so that its last output counts.
            let over = self.is_over() || Instant::now() > end;
            let said = self.said();
            if said.iter().any(|text| text.contains(part)) {
                return;
            }
            assert!(!over, "{} never said '{part}':\n{}", self.run.line(), said.join("\n---\n"));
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The contents of stdout, stderr and the terminal so far.
    pub fn said(&self) -> [String; 3] {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let so_far = |stream: &Option<Collected>| stream.as_ref().map(|s| s.bytes.lock().unwrap().clone()).unwrap_or_default();
        let screen = self.terminal.as_ref().map(Terminal::screen).unwrap_or_default();
        [text(so_far(&self.stdout)), text(so_far(&self.stderr)), text(screen)]
    }

    /// Waits until it ends.
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
            std::thread::sleep(Duration::from_millis(5));
        }
        let took = self.begun.elapsed();
        self.terminal.iter().for_each(Terminal::end);
        // The output is complete when no process holds the streams any more; a child left behind would.
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
        // The receiver may be gone.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}
