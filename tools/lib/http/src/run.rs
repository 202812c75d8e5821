//! The one place where work with the network runs: on this thread, until it is done, its time is over, or a signal comes.

use std::pin::pin;
use std::time::Duration;

use scar_tool::{Console, Deadline, Failure, signal};

/// How long work may take to report its own end, once its time is over or a signal came.
const REPORT: Duration = Duration::from_millis(800);
/// The longest wait for what is undone after a failure (FAULTS P40).
const UNDO: Duration = Duration::from_secs(2);

/// Runs `work` to its end; `act` says what it does, for the failure of work that is not done in time.
///
/// # Errors
/// Those of `work`; exit 8 once the time is over, 130 or 143 after a signal; exit 1 if the system refuses a runtime.
pub fn run<T>(
    deadline: Deadline,
    console: &Console,
    act: &str,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    run_or_undo(deadline, console, act, (), async |()| work.await, async |()| ())
}

/// The same with a state that `work` changes, and `undo` looks at if the work failed or was ended: for two seconds at most,
/// and a second signal ends that, too.
///
/// # Errors
/// As [`run`].
pub fn run_or_undo<S, T>(
    deadline: Deadline,
    console: &Console,
    act: &str,
    mut state: S,
    work: impl AsyncFnOnce(&mut S) -> Result<T, Failure>,
    undo: impl AsyncFnOnce(&S),
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("set up the network", &error))?;
    let interrupt = signal::catch();
    let result = runtime.block_on(async {
        let over = tokio::time::sleep(deadline.remaining().saturating_add(REPORT));
        let result = {
            let mut work = pin!(work(&mut state));
            tokio::select! {
                biased;
                failure = interrupt.came() => match interrupt.is_shared() {
                    // A part of the work holds the signal itself, to leave nothing half done, and reports what is in place.
                    true => tokio::time::timeout(REPORT, work).await.unwrap_or(Err(failure)),
                    false => Err(failure),
                },
                result = &mut work => result,
                () = over => Err(deadline.failure(act, console.pending().as_deref())),
            }
        };
        if result.is_err() {
            // It is done as far as that goes; the failure that led here is the one to show.
            let _ = tokio::time::timeout(UNDO, undo(&state)).await;
        }
        result
    });
    // Dropping a runtime waits for its blocking threads: one sits in getaddrinfo for as long as a name server is silent.
    runtime.shutdown_background();
    result
}
