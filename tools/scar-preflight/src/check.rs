//! A check's line of the table, and the result of all lines.

use std::time::Duration;

use scar_record::{Check, CheckResult};
use scar_tool::{Console, Exit, Failure};

/// A line without a hint.
pub(crate) fn line(name: &str, result: CheckResult, found: impl Into<String>) -> Check {
    Check { name: name.to_owned(), result, found: found.into(), hint: None }
}

/// Passed.
pub(crate) fn ok(name: &str, found: impl Into<String>) -> Check {
    line(name, CheckResult::Ok, found)
}

/// Not checked, and why.
pub(crate) fn skipped(name: &str, why: impl Into<String>) -> Check {
    line(name, CheckResult::Skipped, why)
}

/// The migration can run, but a person should look.
pub(crate) fn warning(name: &str, found: impl Into<String>, hint: impl Into<String>) -> Check {
    Check { hint: Some(hint.into()), ..line(name, CheckResult::Warning, found) }
}

/// The migration would fail.
pub(crate) fn blocked(name: &str, found: impl Into<String>, hint: impl Into<String>) -> Check {
    Check { hint: Some(hint.into()), ..line(name, CheckResult::Blocked, found) }
}

/// A failure that a tool would end with.
pub(crate) fn failed(name: &str, failure: Failure) -> Check {
    let hint = failure.hint.map_or_else(|| way_out(failure.exit).to_owned(), Into::into);
    let colon = if failure.message.ends_with(':') { " " } else { "; " };
    // A tool prints the details below its message; a line of the table has them in its finding.
    let details = failure.details.join("; ");
    let found = if details.is_empty() { failure.message } else { format!("{}{colon}{details}", failure.message) };
    blocked(name, found, hint)
}

/// The hint for a failure without one.
fn way_out(exit: Exit) -> &'static str {
    match exit {
        Exit::Misuse => "correct the setting, or the file that it names",
        Exit::Refused => "use the login of a user who may do this, or have this one be given the right",
        Exit::Absent => "see that it is there, or that the setting names the right one",
        Exit::Unsafe => "use https:// and a server that is trusted",
        Exit::Mismatch => "see whether the setting names the right server, and whether a proxy answers in its place",
        Exit::Unreachable | Exit::TimedOut => "check address, route and firewall (HTTPS_PROXY, NO_PROXY), or try again",
        Exit::Failed | Exit::NotRun | Exit::NotFound | Exit::Interrupted | Exit::Terminated => "correct what it says",
    }
}

/// A line that another part has more to say about.
pub(crate) fn named<'c>(checks: &'c mut [Check], name: &str) -> Option<&'c mut Check> {
    checks.iter_mut().find(|check| check.name == name)
}

/// All lines of a part, in the order of `names`. One that was not checked needs the last one before it that was; `why` is the
/// reason for those before the first checked one.
pub(crate) fn complete(names: &[&str], mut checks: Vec<Check>, mut why: String) -> Vec<Check> {
    let line = |name: &&str| match checks.iter().position(|check| check.name == *name) {
        Some(place) => {
            why = format!("needs {name}");
            checks.swap_remove(place)
        }
        None => skipped(name, &*why),
    };
    names.iter().map(line).collect()
}

/// Makes one check within its time; what it fails with blocks.
pub(crate) async fn check(name: &str, time: Duration, act: &str, work: impl Future<Output = Result<Check, Failure>>) -> Check {
    within(time, act, work).await.unwrap_or_else(|failure| failed(name, failure))
}

/// Limits the time of one check.
///
/// # Errors
/// Those of `work`; exit 8 if it takes longer than `time`.
pub(crate) async fn within<T>(time: Duration, act: &str, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(time, work).await.unwrap_or_else(|_| {
        let cause = format!("{act}: no answer within {} s", time.as_secs_f64());
        Err(Failure::new(Exit::TimedOut, cause).hint("check address, route and firewall; --timeout gives it more time"))
    })
}

/// The parts of a site; a check's name begins with its part.
const PARTS: [&str; 4] = ["platform", "cluster", "content", "registry"];

/// Whether the migration may begin.
///
/// # Errors
/// Exit 3, with the blocked checks.
pub(crate) fn verdict(checks: &[Check], console: &Console) -> Result<(), Failure> {
    let of = |result| checks.iter().filter(move |check| check.result == result).map(|check| check.name.as_str());
    let blocked: Vec<_> = of(CheckResult::Blocked).collect();
    if !blocked.is_empty() {
        let message = format!("check the site: blocked: {} ({} of {} checks)", blocked.join(", "), blocked.len(), checks.len());
        return Err(Failure::new(Exit::Absent, message).hint("do what the hint of each blocked line says, then run this again"));
    }
    let is_skipped =
        |part: &&str| checks.iter().all(|check| check.result == CheckResult::Skipped || !check.name.starts_with(*part));
    let unseen = match PARTS.into_iter().filter(is_skipped).collect::<Vec<_>>().join(", ") {
        parts if parts.is_empty() => parts,
        parts => format!("; not looked at: {parts}"),
    };
    let [ok, warnings, skipped] = [CheckResult::Ok, CheckResult::Warning, CheckResult::Skipped].map(|result| of(result).count());
    console.note(format!("nothing blocks: {ok} ok, {warnings} to be looked at, {skipped} skipped{unseen}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_not_checked_needs_the_one_before_it() {
        let lines = complete(&["a", "b", "c", "d"], vec![ok("a", "x"), blocked("b", "x", "y"), ok("d", "x")], String::new());
        let shown: Vec<_> = lines.iter().map(|check| (check.name.as_str(), check.found.as_str())).collect();
        assert_eq!(shown, [("a", "x"), ("b", "x"), ("c", "needs b"), ("d", "x")]);
        assert_eq!(complete(&["a"], Vec::new(), "no folder".to_owned())[0].found, "no folder");
    }

    #[test]
    fn what_is_blocked_always_has_a_hint() {
        let failure = Failure::misuse("read 'x': no such file").detail("more");
        let check = failed("a.b", failure.clone());
        assert_eq!((check.result, check.found.as_str()), (CheckResult::Blocked, "read 'x': no such file; more"));
        assert!(check.hint.is_some_and(|hint| hint.starts_with("correct the setting")));
        assert_eq!(failed("a.b", failure.hint("use it")).hint.as_deref(), Some("use it"));
    }
}
