//! SIGINT and SIGTERM: before a step has anything to clean up they end the process at once; a step that has, catches
//! them with [`catch`], is told once, cleans up and returns; a second signal ends it at once.

use std::fs::File;
use std::future::{Future, poll_fn};
use std::io::Write;
use std::pin::pin;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::{Console, Exit, Failure};

static RECEIVED: AtomicI32 = AtomicI32::new(0);
static CATCHERS: AtomicUsize = AtomicUsize::new(0);
static WAKERS: Mutex<Vec<Waker>> = Mutex::new(Vec::new());

/// A terminal and how it was before a prompt changed it.
static TERMINAL: Mutex<Option<(File, Termios)>> = Mutex::new(None);

/// Starts the thread that hears the signals.
pub(crate) fn install(console: &Console) {
    let console = console.clone();
    let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]) else { return };
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let again = RECEIVED.swap(signal, Ordering::SeqCst) != 0;
            if again || CATCHERS.load(Ordering::SeqCst) == 0 {
                if let Some(mut terminal) = restore_terminal() {
                    // The cursor still stands behind the prompt.
                    let _ = writeln!(terminal);
                }
                console.end(&failure(signal));
                signal_hook::low_level::exit(128 + signal);
            }
            for waker in WAKERS.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
                waker.wake();
            }
        }
    });
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
            signal => Err(failure(signal)),
        }
    }

    /// Runs `work` until it ends or a signal comes, whichever is first; `work` is dropped then.
    ///
    /// # Errors
    /// The signal, as a failure to return from the step.
    pub async fn race<F: Future>(&self, work: F) -> Result<F::Output, Failure> {
        let mut work = pin!(work);
        poll_fn(|context| {
            remember(context.waker());
            if let Err(failure) = self.check() {
                return Poll::Ready(Err(failure));
            }
            work.as_mut().poll(context).map(Ok)
        })
        .await
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
