//! SIGINT and SIGTERM: before a step has anything to clean up they end the process at once; a step that has, catches
//! them with [`catch`], is told once, cleans up and returns; a second signal ends it at once.

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
/// Whether the step has seen the signal that it catches.
static HEARD: AtomicBool = AtomicBool::new(false);
static WAKERS: Mutex<Vec<Waker>> = Mutex::new(Vec::new());

/// How long a step may take to see a signal that it catches.
const UNHEARD: Duration = Duration::from_millis(700);

/// A terminal and how it was before a prompt changed it.
static TERMINAL: Mutex<Option<(File, Termios)>> = Mutex::new(None);

/// Starts the thread that hears the signals.
pub(crate) fn install(console: &Console) {
    let console = console.clone();
    let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]) else { return };
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let again = RECEIVED.swap(signal, Ordering::SeqCst) != 0;
            // A prompt waits on a thread that hears of no signal: a person must be able to leave it.
            let prompting = TERMINAL.lock().unwrap_or_else(PoisonError::into_inner).is_some();
            if again || prompting || CATCHERS.load(Ordering::SeqCst) == 0 {
                end(&console, signal);
            }
            for waker in WAKERS.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
                waker.wake();
            }
            let console = console.clone();
            // A step that hashes, reads a dead file server or waits for a program may hear nothing for a long time.
            std::thread::spawn(move || {
                std::thread::sleep(UNHEARD);
                if !HEARD.load(Ordering::SeqCst) {
                    end(&console, signal);
                }
            });
        }
    });
}

/// Ends the process as the signal would have.
fn end(console: &Console, signal: i32) {
    if let Some(mut terminal) = restore_terminal() {
        // The cursor is still behind the prompt.
        let _ = writeln!(terminal);
    }
    crate::child::kill_all();
    console.end(&failure(signal));
    signal_hook::low_level::exit(128 + signal);
}

/// From here until the guard is dropped a first signal is only noted, for the step to see.
pub fn catch() -> Interrupt {
    CATCHERS.fetch_add(1, Ordering::SeqCst);
    Interrupt(())
}

/// Keeps a terminal's settings, so that they are restored when the guard is dropped or a signal ends the process, and
/// stops its echo from now on: what is typed (or pasted) as soon as a prompt shows must not be seen.
pub fn keep_terminal(terminal: &File) -> KeptTerminal {
    let kept = terminal.try_clone().ok().zip(tcgetattr(terminal).ok());
    if let Some((terminal, settings)) = &kept {
        let mut silent = settings.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        let _ = tcsetattr(terminal, OptionalActions::Now, &silent);
    }
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

/// Gives the terminal its settings back, where a prompt changed them; tells which.
fn restore_terminal() -> Option<File> {
    let (terminal, settings) = TERMINAL.lock().unwrap_or_else(PoisonError::into_inner).take()?;
    // Nothing is left to do for a terminal that has gone.
    let _ = tcsetattr(&terminal, OptionalActions::Now, &settings);
    Some(terminal)
}

/// A step's view of the signals; see [`catch`].
#[derive(Debug)]
pub struct Interrupt(());

impl Interrupt {
    /// Fails with exit 130 or 143 once a signal came.
    ///
    /// # Errors
    /// The signal, as a failure to return from the step.
    pub fn check(&self) -> Result<(), Failure> {
        match RECEIVED.load(Ordering::SeqCst) {
            0 => Ok(()),
            signal => {
                HEARD.store(true, Ordering::SeqCst);
                Err(failure(signal))
            }
        }
    }

    /// Runs `work` until it ends or a signal comes, whichever is first; `work` is dropped then.
    ///
    /// # Errors
    /// The signal, as a failure to return from the step.
    pub async fn race<F: Future>(&self, work: F) -> Result<F::Output, Failure> {
        let (mut work, mut came) = (pin!(work), pin!(self.came()));
        poll_fn(|context| match came.as_mut().poll(context) {
            Poll::Ready(failure) => Poll::Ready(Err(failure)),
            Poll::Pending => work.as_mut().poll(context).map(Ok),
        })
        .await
    }

    /// Ends once a signal came, with the failure to return.
    pub async fn came(&self) -> Failure {
        poll_fn(|context| {
            remember(context.waker());
            self.check().err().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Whether somebody else catches signals, too.
    pub fn is_shared(&self) -> bool {
        CATCHERS.load(Ordering::SeqCst) > 1
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        CATCHERS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Keeps a waker for the signal, once.
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
