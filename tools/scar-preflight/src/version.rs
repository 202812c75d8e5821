//! The platform's version, compared number by number.

use scar_vertex::OLDEST;

/// Whether `version` can migrate; `None` if it is not a version. A release candidate counts as its release.
pub(crate) fn is_enough(version: &str) -> Option<bool> {
    Some(numbers(version)? >= numbers(OLDEST)?)
}

/// Three numbers; the rest is ignored.
fn numbers(text: &str) -> Option<[u64; 3]> {
    let text = text.trim().trim_start_matches(['v', 'V']);
    let plain = text.split(['-', '+', ' ']).next()?;
    let mut parts = plain.split('.');
    let mut next = || parts.next().map_or(Some(0), |part| part.parse().ok());
    plain.contains('.').then_some(())?;
    Some([next()?, next()?, next()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (version, expected) in [
            ("4.5.15", Some(true)),
            ("4.5.9", Some(false)),
            ("4.5.14", Some(false)),
            ("4.5.100", Some(true)),
            ("4.10.0", Some(true)),
            ("10.0", Some(true)),
            ("v4.6.2", Some(true)),
            ("4.5.15-rc1", Some(true)),
            ("4.5", Some(false)),
            ("4.5.15.3", Some(true)),
            ("3.9.99", Some(false)),
            ("dev", None),
            ("", None),
            ("4", None),
            ("4.x.1", None),
        ] {
            assert_eq!(is_enough(version), expected, "{version}");
        }
    }
}
