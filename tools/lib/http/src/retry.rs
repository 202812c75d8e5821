//! Retries: how many, how long, and never earlier than the server asked.

use std::time::Duration;

use scar_tool::{Console, Deadline};

use crate::{Cause, Error};

/// The error of a try: whether and when to retry.
pub trait Attempt: std::fmt::Display {
    /// Whether a retry may succeed.
    fn is_transient(&self) -> bool;
    /// The wait that the server asked for.
    fn asked(&self) -> Option<Duration>;
}

impl Attempt for Error {
    fn is_transient(&self) -> bool {
        self.is_transient()
    }

    fn asked(&self) -> Option<Duration> {
        match self.cause {
            Cause::Status { retry_after, .. } => retry_after,
            _ => None,
        }
    }
}

/// How to retry a request that may be repeated.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// The number of tries.
    pub tries: usize,
    /// The wait after the first try; doubled after each.
    pub first_wait: Duration,
    /// The longest wait, even if the server asks for more.
    pub longest_wait: Duration,
    /// No try begins after this moment.
    pub deadline: Deadline,
}

impl Retry {
    /// Five tries from half a second up to two minutes apart, until `deadline`.
    pub fn until(deadline: Deadline) -> Self {
        // About eight seconds of waiting unless the server asks for more, of which 120 s is the most (FAULTS P18).
        Self { tries: 5, first_wait: Duration::from_millis(500), longest_wait: Duration::from_secs(120), deadline }
    }

    /// The wait after this number of tries; `None` if there is no further try, or no time for it. A server that asks for a longer
    /// wait than the longest one is not asked again.
    pub fn wait(&self, tries: usize, asked: Option<Duration>) -> Option<Duration> {
        let doubled = self.first_wait.saturating_mul(1 << tries.saturating_sub(1).min(16));
        let wait = doubled.min(self.longest_wait).max(asked.unwrap_or_default());
        // A shorter wait than was asked for would only be refused again (FAULTS P18).
        (tries < self.tries && wait <= self.longest_wait && wait <= self.deadline.remaining()).then_some(wait)
    }

    /// Runs `work` until it succeeds, fails permanently, or the tries or the time are used up.
    pub async fn run<T, E: Attempt>(&self, console: &Console, mut work: impl AsyncFnMut() -> Result<T, E>) -> Result<T, E> {
        let mut tries = 0;
        loop {
            let error = match work().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            tries += 1;
            // A wait that does not fit before the deadline is not begun: the last error says more than a timeout would.
            let wait = self.wait(tries, error.asked()).filter(|_| error.is_transient());
            let Some(wait) = wait else { return Err(error) };
            console.verbose(|| format!("{error}; trying again in {:.1} s", wait.as_secs_f64()));
            tokio::time::sleep(wait).await;
        }
    }
}

/// Reads `Retry-After`: seconds, or a date (RFC 9110, 10.2.3).
pub(crate) fn after(value: &str, now: std::time::SystemTime) -> Option<Duration> {
    let value = value.trim();
    match value.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(value).ok().map(|date| date.duration_since(now).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn a_wait_grows_to_its_limit_and_a_longer_one_is_not_waited_for() {
        let retry = Retry { longest_wait: Duration::from_secs(3), ..Retry::until(Deadline::never()) };
        let waits = [1, 2, 3, 4, 5].map(|tries| retry.wait(tries, None).map(|wait| wait.as_millis()));
        assert_eq!(waits, [Some(500), Some(1000), Some(2000), Some(3000), None]);
        assert_eq!(retry.wait(1, Some(Duration::from_secs(2))), Some(Duration::from_secs(2)));
        assert_eq!(retry.wait(1, Some(Duration::from_secs(4))), None);
        assert_eq!(Retry { deadline: Deadline::after(Duration::ZERO), ..retry }.wait(1, None), None);
    }

    #[test]
    fn reads_retry_after_in_both_forms() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(after("Sun, 06 Nov 1994 08:50:37 GMT", now), Some(Duration::from_secs(60)));
        assert_eq!(after("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(after("soon", now), None);
    }
}
