//! SIGINT and SIGTERM: they end the process at once until a step needs to clean up. Such a step uses [`catch`], is notified
//! once, cleans up and returns; a second signal ends the process at once.

use std::fs::File;
use std::future::{Future, poll_fn};
use std::io::Write;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::{Console, Exit, Failure};

static RECEIVED: AtomicI32 = AtomicI32::new(0);
static CATCHERS: AtomicUsize = AtomicUsize::new(0);
/// Whether the step has noticed the signal.
static NOTICED: AtomicBool = AtomicBool::new(false);
static WAKERS: Mutex<Vec<Waker>> = Mutex::new(Vec::new());

/// How long a step may take to notice a signal.
// Ctrl-C ends every tool within a second (FAULTS Q30); the rest of it is for the step's clean-up.
const NOTICE_TIME: Duration = Duration::from_millis(700);

/// A terminal and its settings before a prompt.
static TERMINAL: Mutex<Option<(File, Termios)>> = Mutex::new(None);

/// Starts the thread that receives the signals.
pub(crate) fn install(console: &Console) {
    let console = console.clone();
    // A thread receives the signals, so that whatever it calls may allocate and lock, which a signal handler may not
    // (signal-safety(7)).
    let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]) else { return };
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let again = RECEIVED.swap(signal, Ordering::SeqCst) != 0;
            // A prompt blocks a thread that receives no signals: the user must be able to leave it.
            let prompting = TERMINAL.lock().unwrap_or_else(PoisonError::into_inner).is_some();
            if again || prompting || CATCHERS.load(Ordering::SeqCst) == 0 {
                end_process(&console, signal);
            }
            for waker in WAKERS.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
                waker.wake();
            }
            let console = console.clone();
            // A step that hashes, reads a dead file server or waits for a program may not notice it for a long time.
            std::thread::spawn(move || {
                std::thread::sleep(NOTICE_TIME);
                if !NOTICED.load(Ordering::SeqCst) {
                    end_process(&console, signal);
                }
            });
        }
    });
}

/// Ends the process as the signal would.
fn end_process(console: &Console, signal: i32) {
    if let Some(mut terminal) = restore_terminal() {
        // The cursor is still behind the prompt.
        let _ = writeln!(terminal);
    }
    crate::child::kill_all();
    console.end(&failure(signal));
    // The status with which a shell reports a program that a signal ended (bash(1), EXIT STATUS). `exit` without running
    // destructors: a thread may hold a lock that they want.
    signal_hook::low_level::exit(128 + signal);
}

/// Until the guard is dropped, a first signal is only recorded, for the step to notice.
pub fn catch() -> Interrupt {
    CATCHERS.fetch_add(1, Ordering::SeqCst);
    Interrupt(())
}

/// Saves a terminal's settings, to restore them when the guard is dropped or a signal ends the process, and disables echo:
/// typed or pasted text must not be shown.
pub fn keep_terminal(terminal: &File) -> KeptTerminal {
    let kept = terminal.try_clone().ok().zip(tcgetattr(terminal).ok());
    if let Some((terminal, settings)) = &kept {
        let mut silent = settings.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        let _ = tcsetattr(terminal, OptionalActions::Now, &silent);
    }
    // Known to the signal thread from now on: a prompt without echo that ends by Ctrl-C would leave the shell without one.
    *TERMINAL.lock().unwrap_or_else(PoisonError::into_inner) = kept;
    KeptTerminal(())
}

/// See [`keep_terminal`].
#[derive(Debug)]
pub struct KeptTerminal(());

impl Drop for KeptTerminal {
    fn drop(&mut self) {
        restore_terminal();
    }
}

/// Restores the terminal's settings, if a prompt has changed them; returns which.
fn restore_terminal() -> Option<File> {
    let (terminal, settings) = TERMINAL.lock().unwrap_or_else(PoisonError::into_inner).take()?;
    // A closed terminal needs no restoring.
    let _ = tcsetattr(&terminal, OptionalActions::Now, &settings);
    Some(terminal)
}

/// A step's handle for signals; see [`catch`].
#[derive(Debug)]
pub struct Interrupt(());

impl Interrupt {
    /// Fails with exit 130 or 143 after a signal.
    pub fn check(&self) -> Result<(), Failure> {
        match RECEIVED.load(Ordering::SeqCst) {
            0 => Ok(()),
            signal => {
                NOTICED.store(true, Ordering::SeqCst);
                Err(failure(signal))
            }
        }
    }

    /// Runs `work` until it ends or a signal arrives, which drops `work`.
    pub async fn race<F: Future>(&self, work: F) -> Result<F::Output, Failure> {
        let (mut work, mut came) = (pin!(work), pin!(self.came()));
        poll_fn(|context| match came.as_mut().poll(context) {
            Poll::Ready(failure) => Poll::Ready(Err(failure)),
            Poll::Pending => work.as_mut().poll(context).map(Ok),
        })
        .await
    }

    /// Resolves after a signal, with the failure to return.
    pub async fn came(&self) -> Failure {
        poll_fn(|context| {
            remember(context.waker());
            self.check().err().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Whether signals are being caught elsewhere too.
    pub fn is_shared(&self) -> bool {
        // One is this one.
        CATCHERS.load(Ordering::SeqCst) > 1
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        CATCHERS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Registers a waker for the signal, once.
fn remember(waker: &Waker) {
    let mut wakers = WAKERS.lock().unwrap_or_else(PoisonError::into_inner);
    if !wakers.iter().any(|known| known.will_wake(waker)) {
        wakers.push(waker.clone());
    }
}

fn failure(signal: i32) -> Failure {
    match signal {
        SIGTERM => Failure::new(Exit::Terminated, "terminated"),
        _ => Failure::new(Exit::Interrupted, "interrupted"),
    }
}
