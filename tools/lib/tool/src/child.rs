//! Runs a program for its output: with limited time and output, and never longer than needed.
//!
//! It runs in its own process group, so that its children end with it. A child that keeps its streams open delays nobody:
//! after the program has ended, its output is in the pipe.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::ioctl_fionbio;
use rustix::process::{Pid, Signal, kill_process_group};

/// The polling interval for its end.
// std has no wait with a time limit, and Linux before 5.3 no descriptor of a process to poll (pidfd_open(2)).
pub const TICK: Duration = Duration::from_millis(5);

/// The running process groups, for a signal that ends this process.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// A running program; killed with its process group when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Captured<ChildStdout>,
    stderr: Captured<ChildStderr>,
}

/// The result of a program.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard output, up to one byte more than the limit.
    pub stdout: Vec<u8>,
    /// Its standard error, likewise.
    pub stderr: Vec<u8>,
}

impl Running {
    /// Starts it with `input`, or an empty standard input; keeps at most `limit` bytes of each stream.
    pub fn start(command: &mut Command, input: Option<&[u8]>, limit: u64) -> io::Result<Self> {
        let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
        // A process group of its own: Ctrl-C on the terminal goes to ours alone, and killing the group also ends what the program
        // has started.
        let mut child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).spawn()?;
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).push(Pid::from_child(&child));
        if let Some((mut stdin, input)) = child.stdin.take().zip(input.map(<[u8]>::to_vec)) {
            // In a thread: a pipe takes 64 KiB (pipe(7)), and a program may write before it reads. One that does not read its
            // input at all reports the reason itself.
            std::thread::spawn(move || drop(stdin.write_all(&input)));
        }
        let (stdout, stderr) = (Captured::new(child.stdout.take(), limit)?, Captured::new(child.stderr.take(), limit)?);
        Ok(Self { child, stdout, stderr })
    }

    /// What its standard error brings, to be read while it runs.
    pub fn said(&self) -> Arc<Mutex<Vec<u8>>> {
        Arc::clone(&self.stderr.bytes)
    }

    /// Its result, if it has ended.
    pub fn try_end(&mut self) -> io::Result<Option<Ended>> {
        // Before the streams: what a program that has ended wrote is in the pipe by now.
        let status = self.child.try_wait()?;
        self.stdout.read();
        self.stderr.read();
        Ok(status.map(|status| Ended { status, stdout: self.stdout.take(), stderr: self.stderr.take() }))
    }

    /// Waits until it ends; `None` after the time limit.
    pub fn wait(mut self, time: Duration) -> io::Result<Option<Ended>> {
        let end = Instant::now() + time;
        loop {
            match self.try_end()? {
                None if Instant::now() < end => std::thread::sleep(TICK),
                ended => return Ok(ended),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A plugin may have left a child with our pipes open (FAULTS Q32).
        let group = Pid::from_child(&self.child);
        // It and its children may have ended.
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).retain(|running| *running != group);
    }
}

/// Kills running programs before this process ends.
pub(crate) fn kill_all() {
    for group in RUNNING.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// A stream's output so far.
#[derive(Debug)]
struct Captured<S> {
    /// Absent after its end, or once it has brought too much.
    stream: Option<S>,
    bytes: Arc<Mutex<Vec<u8>>>,
    /// The most that is kept, in bytes.
    most: usize,
}

impl<S: Read + AsFd> Captured<S> {
    fn new(stream: Option<S>, limit: u64) -> io::Result<Self> {
        if let Some(stream) = &stream {
            // A blocking read would wait for whoever inherited the other end, not only for the program (FAULTS Q32).
            ioctl_fionbio(stream, true)?;
        }
        Ok(Self {
            stream,
            bytes: Arc::default(),
            most: usize::try_from(limit).map_or(usize::MAX, |limit| limit.saturating_add(1)),
        })
    }

    /// Takes what has come, and waits for nothing.
    fn read(&mut self) {
        let (mut bytes, mut piece) = (self.bytes.lock().unwrap_or_else(PoisonError::into_inner), [0; 4096]);
        while let Some(stream) = &mut self.stream {
            let room = piece.len().min(self.most - bytes.len());
            match stream.read(&mut piece[..room]) {
                Ok(read @ 1..) => bytes.extend_from_slice(&piece[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => self.stream = None,
            }
        }
    }

    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.bytes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, input: Option<&[u8]>) -> Running {
        Running::start(Command::new("sh").args(["-c", script]), input, 64).unwrap()
    }

    #[test]
    fn q32_a_child_left_with_the_streams_holds_nobody() {
        let begun = Instant::now();
        let ended =
            shell("sleep 60 & read line; echo \"$line\"; echo no >&2; exit 3", Some(b"in\n")).wait(Duration::from_secs(20));
        let ended = ended.unwrap().unwrap();
        assert_eq!((ended.status.code(), &*ended.stdout, &*ended.stderr), (Some(3), &b"in\n"[..], &b"no\n"[..]));
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn q32_all_that_was_written_before_the_end_is_read_however_late() {
        let mut running = shell("head -c 60 /dev/zero; sleep 60 &", None);
        std::thread::sleep(Duration::from_millis(300));
        let ended = running.try_end().unwrap().unwrap();
        assert_eq!(ended.stdout.len(), 60);
    }

    #[test]
    fn one_that_hangs_is_killed_and_output_is_bounded() {
        assert!(shell("sleep 60", None).wait(Duration::from_millis(50)).unwrap().is_none());
        let ended = shell("read line && exit 9; head -c 100000 /dev/zero", None).wait(Duration::from_secs(20)).unwrap().unwrap();
        assert_eq!(ended.stdout.len(), 65);
    }
}
