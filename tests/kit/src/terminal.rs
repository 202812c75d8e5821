//! A simulated terminal: keeps what a process writes to it, and types answers.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// The user's side of the terminal.
pub(crate) struct Terminal {
    path: PathBuf,
    slave: Option<File>,
    screen: Arc<Mutex<Vec<u8>>>,
    ended: Arc<AtomicBool>,
    reader: JoinHandle<()>,
}

impl Terminal {
    /// A terminal with `columns` columns; each answer is typed after its prompt has appeared, in order.
    pub(crate) fn open(columns: u16, answers: Vec<(String, String)>) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("a terminal");
        let name = ptsname(&master, Vec::new()).expect("a terminal has a name");
        let slave = open(&*name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("the terminal opens");
        tcsetwinsize(&slave, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).expect("a size");
        let screen = Arc::new(Mutex::new(Vec::new()));
        let ended = Arc::new(AtomicBool::new(false));
        let (seen, over) = (screen.clone(), ended.clone());
        let mut master = File::from(master);
        let reader = std::thread::spawn(move || {
            let mut answers = answers.into_iter().peekable();
            let mut from = 0;
            let mut chunk = [0; 4096];
            loop {
                // No process has the terminal open: no longer, or not yet, as before a tool opens /dev/tty.
                let Ok(count @ 1..) = master.read(&mut chunk) else {
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(2));
                    continue;
                };
                let mut screen = seen.lock().unwrap();
                screen.extend_from_slice(&chunk[..count]);
                while let Some((prompt, answer)) = answers.peek() {
                    let Some(at) = find(&screen[from..], prompt.as_bytes()) else { break };
                    from += at + prompt.len();
                    master.write_all(answer.as_bytes()).expect("the terminal takes what is typed");
                    answers.next();
                }
            }
        });
        let path = PathBuf::from(name.to_string_lossy().into_owned());
        Self { path, slave: Some(slave.into()), screen, ended, reader }
    }

    /// Its device file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Another stream for the child.
    pub(crate) fn stream(&self) -> Stdio {
        self.slave.as_ref().expect("not yet closed").try_clone().expect("a terminal").into()
    }

    /// Closes our copies of the child's streams.
    pub(crate) fn close(&mut self) {
        self.slave = None;
    }

    /// Waits, after the process has ended, until no process has the terminal open.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.reader.is_finished()
    }

    pub(crate) fn screen(&self) -> Vec<u8> {
        self.screen.lock().unwrap().clone()
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
