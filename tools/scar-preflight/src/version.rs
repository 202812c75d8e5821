//! The platform's version, compared number by number.

/// The oldest version that can migrate: `4.5.15` of VerteX, `4.5.13` of Palette (the guide's prerequisites).
pub(crate) fn oldest(palette: bool) -> &'static str {
    if palette { "4.5.13" } else { "4.5.15" }
}

/// Whether `version` is not older than `oldest`; `None` where it is no version. A release candidate counts as its release.
pub(crate) fn is_at_least(version: &str, oldest: &str) -> Option<bool> {
    Some(numbers(version)? >= numbers(oldest)?)
}

/// Three numbers; what follows them is not looked at.
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
            assert_eq!(is_at_least(version, oldest(false)), expected, "{version}");
        }
        assert_eq!(is_at_least("4.5.13", oldest(true)), Some(true));
    }
}
