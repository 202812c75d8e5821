//! Runs network work on this thread until it is done, the deadline has passed, or a signal arrives.

use std::pin::pin;
use std::time::Duration;

use scar_tool::{Console, Deadline, Failure, signal};
use tokio::task::LocalSet;

/// How long work may take to report its result after the deadline or a signal.
// A tool ends within a second of either (FAULTS Q30 and Q31).
const REPORT: Duration = Duration::from_millis(800);
/// The time limit of an undo after a failure (FAULTS P40).
const UNDO: Duration = Duration::from_secs(2);

/// Runs `work`; `act` names it in the failure after the deadline. Exit 8 after the deadline, 130 or 143 after a signal.
pub fn run<T>(
    deadline: Deadline,
    console: &Console,
    act: &str,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    run_or_undo(deadline, console, act, (), async |()| work.await, async |()| ())
}

/// Like [`run`], with a state that `work` changes, and `undo` reads if the work failed or was ended: for two seconds at
/// most, or until a second signal.
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
    // Tasks stay on this thread, so that they need not be `Send`.
    let tasks = LocalSet::new();
    let result = tasks.block_on(&runtime, async {
        let over = tokio::time::sleep(deadline.remaining().saturating_add(REPORT));
        let result = {
            let mut work = pin!(work(&mut state));
            tokio::select! {
                // In this order: work that is always ready must not keep a signal waiting.
                biased;
                failure = interrupt.came() => match interrupt.is_shared() {
                    // A part of the work handles the signal itself, to finish a change, and reports the result.
                    true => tokio::time::timeout(REPORT, work).await.unwrap_or(Err(failure)),
                    false => Err(failure),
                },
                result = &mut work => result,
                () = over => Err(deadline.failure(act, console.pending().as_deref())),
            }
        };
        if result.is_err() {
            // The undo is best effort; show the original failure.
            let _ = tokio::time::timeout(UNDO, undo(&state)).await;
        }
        result
    });
    drop(tasks);
    // Dropping a runtime waits for its blocking threads: getaddrinfo blocks for as long as a name server is silent
    // (https://github.com/tokio-rs/tokio/issues/5338).
    runtime.shutdown_background();
    result
}
