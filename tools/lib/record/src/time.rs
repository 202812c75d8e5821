//! A time as in the record: RFC 3339, UTC, whole seconds.

use jiff::{Timestamp, Unit};
use serde::{Deserialize, Serialize, Serializer};

/// A time in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(from = "Timestamp")]
pub struct Time(Timestamp);

impl Time {
    /// The current time.
    pub fn now() -> Self {
        Timestamp::now().into()
    }

    /// From seconds since 1970, as in `SOURCE_DATE_EPOCH`.
    pub fn from_epoch(seconds: i64) -> Result<Self, String> {
        Timestamp::from_second(seconds).map(Into::into).map_err(|_| format!("{seconds} seconds is out of range"))
    }

    /// Parses an RFC 3339 time.
    pub fn parse(text: &str) -> Result<Self, String> {
        text.parse::<Timestamp>()
            .map(Into::into)
            .map_err(|_| format!("'{text}' is not an RFC 3339 time such as 2024-12-06T12:43:14Z"))
    }

    /// The same as a timestamp for arithmetic.
    pub fn timestamp(self) -> Timestamp {
        self.0
    }
}

impl From<Timestamp> for Time {
    fn from(timestamp: Timestamp) -> Self {
        // Round down, because a time in the future must not be written.
        let round = jiff::TimestampRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Floor);
        Self(timestamp.round(round).unwrap_or(timestamp))
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.strftime("%Y-%m-%dT%H:%M:%SZ"))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_in_utc_with_whole_seconds() {
        assert_eq!(Time::parse("2024-12-06T13:43:14.9+01:00").unwrap().to_string(), "2024-12-06T12:43:14Z");
        assert_eq!(Time::from_epoch(1_733_488_994).unwrap().to_string(), "2024-12-06T12:43:14Z");
        assert!(Time::parse("yesterday").is_err());
    }
}
