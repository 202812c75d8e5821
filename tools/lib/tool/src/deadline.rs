//! The deadline of a tool: one clock, from the start of the work, for everything that it does.

use std::fmt;
use std::time::{Duration, Instant};

use crate::{Exit, Failure};

/// The moment at which the work must be finished.
// By the monotonic clock (clock_gettime(2), CLOCK_MONOTONIC, in `Instant`), so that setting the host's time changes nothing
// (FAULTS P43).
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    begun: Instant,
    limit: Option<Duration>,
}

impl Deadline {
    /// A deadline in `limit` from now.
    pub fn after(limit: Duration) -> Self {
        Self { begun: Instant::now(), limit: Some(limit) }
    }

    /// No deadline.
    pub fn never() -> Self {
        Self { begun: Instant::now(), limit: None }
    }

    /// An extended deadline.
    #[must_use]
    pub fn extended(self, more: Duration) -> Self {
        Self { limit: self.limit.map(|limit| limit.saturating_add(more)), ..self }
    }

    /// The remaining time; zero after the deadline.
    pub fn remaining(&self) -> Duration {
        self.limit.map_or(Duration::MAX, |limit| limit.saturating_sub(self.begun.elapsed()))
    }

    /// Whether the deadline has passed.
    pub fn is_over(&self) -> bool {
        self.remaining().is_zero()
    }

    /// The failure after the deadline; `act` is what was being done, in lower case with its operand, `pending` the request
    /// without an answer.
    pub fn failure(&self, act: &str, pending: Option<&str>) -> Failure {
        let message = format!("{act}: not done within {self}");
        let failure = match pending {
            Some(request) => Failure::new(Exit::TimedOut, format!("{message}; no answer yet to {request}")),
            None => Failure::new(Exit::TimedOut, message),
        };
        failure
            .hint("check address, route, name server and firewall, or use a longer --timeout; it is safe to run this step again")
    }
}

impl fmt::Display for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            Some(limit) if limit.subsec_millis() == 0 => write!(f, "{} s", limit.as_secs()),
            Some(limit) => write!(f, "{} ms", limit.as_millis()),
            None => f.write_str("any time"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_runs_out_once_and_stays_so() {
        let deadline = Deadline::after(Duration::ZERO);
        assert!(deadline.is_over() && deadline.remaining().is_zero());
        assert!(!deadline.extended(Duration::from_secs(60)).is_over());
        assert_eq!(Deadline::never().remaining(), Duration::MAX);
        assert_eq!(Deadline::after(Duration::from_millis(1500)).to_string(), "1500 ms");
        assert_eq!(Deadline::after(Duration::from_secs(120)).to_string(), "120 s");
    }
}
