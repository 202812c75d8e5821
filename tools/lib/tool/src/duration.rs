//! Durations on the command line: a whole number and a unit.

use std::time::Duration;

/// The longest duration an option takes.
const MOST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Parses a time limit: a [`duration`] of which some must be there, or nothing could ever be done in time.
pub fn time_limit(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("a time limit of zero leaves no time for anything: at least 1ms".to_owned()),
        limit => Ok(limit),
    }
}

/// Parses `500ms`, `90s`, `15m`, `2h`, `1d`; a clap value parser. The error says what is accepted.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = match number.parse() {
        Ok(number) => number,
        Err(_) if number.is_empty() => {
            return Err(format!("'{text}' is not a duration: write a number and a unit, such as 90s or 15m"));
        }
        Err(_) => return Err(format!("'{text}' is out of range: at most 7d")),
    };
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" => return Err(format!("'{text}' has no unit: write {text}s for seconds or {text}m for minutes")),
        _ => return Err(format!("'{unit}' is not a unit of time: use ms, s, m, h or d")),
    };
    match number.checked_mul(millis).map(Duration::from_millis) {
        Some(duration) if duration <= MOST => Ok(duration),
        _ => Err(format!("'{text}' is out of range: at most 7d")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_number_and_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("7d"), Ok(MOST));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, says) in [
            ("0s", "zero"),
            ("-5", "number and a unit"),
            ("1y", "not a unit of time"),
            ("5", "no unit: write 5s"),
            ("", "number and a unit"),
            ("8d", "out of range"),
            ("99999999999999999999s", "out of range"),
        ] {
            let error = time_limit(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
