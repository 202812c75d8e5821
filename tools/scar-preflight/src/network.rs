//! Checks of every server: the route, the clock, the certificate.

use std::time::SystemTime;

use jiff::{SignedDuration, Timestamp};
use scar_record::{Check, CheckResult};

use crate::check::{blocked, line, ok, skipped, warning};

const ROUTE: &str = "network.route";
const CLOCK: &str = "network.clock";
const CERTIFICATES: &str = "network.certificates";

/// A larger difference of two clocks is a warning: it exceeds normal drift, and log times become hard to compare.
const SKEW: SignedDuration = SignedDuration::from_secs(60);
/// A larger difference blocks: specman-wait counts log lines from five minutes before the push (`--skew`), and tokens and
/// signatures are refused outside about the same time.
const TOO_MUCH: SignedDuration = SignedDuration::from_mins(5);
/// A certificate that expires sooner is a warning.
const SOON: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A server that answered.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// `HOST[:PORT]`.
    pub(crate) name: String,
    pub(crate) proxy: Option<String>,
    /// Its clock minus ours.
    pub(crate) skew: Option<SignedDuration>,
    /// When its certificate expires, in seconds since 1970; none for plain HTTP.
    pub(crate) until: Option<u64>,
}

impl Server {
    /// One that answered a request sent at `asked` with its time `date`, which is cut to whole seconds.
    pub(crate) fn new(
        name: String,
        proxy: Option<&str>,
        date: Option<SystemTime>,
        asked: SystemTime,
        until: Option<u64>,
    ) -> Self {
        let skew = date.and_then(|date| {
            let (date, asked) = (Timestamp::try_from(date).ok()?, Timestamp::try_from(asked).ok()?);
            let now = Timestamp::now();
            // The date was written between request and answer: a difference within that time is no error.
            let early = date.duration_since(asked) + SignedDuration::from_secs(1);
            let late = date.duration_since(now);
            Some(if early.is_negative() { early } else { late.max(SignedDuration::ZERO) })
        });
        Self { name, proxy: proxy.map(str::to_owned), skew, until }
    }
}

/// The lines about all servers that answered.
pub(crate) fn look(servers: &[Server]) -> Vec<Check> {
    if servers.is_empty() {
        return [ROUTE, CLOCK, CERTIFICATES].map(|name| skipped(name, "no server was reached")).to_vec();
    }
    let now = Timestamp::now();
    vec![route(servers), clock(servers, now), certificates(servers, now)]
}

fn route(servers: &[Server]) -> Check {
    let of = |server: &Server| match &server.proxy {
        Some(proxy) => format!("{} through '{proxy}'", server.name),
        None => format!("{} directly", server.name),
    };
    line(ROUTE, CheckResult::Ok, servers.iter().map(of).collect::<Vec<_>>().join(", "))
}

fn clock(servers: &[Server], now: Timestamp) -> Check {
    let known = || servers.iter().filter_map(|server| Some((&server.name, server.skew?)));
    let wrong = known().filter(|(_, skew)| skew.abs() > SKEW).map(|(name, skew)| {
        let which = if skew.is_positive() { "ahead of" } else { "behind" };
        let there = now + skew;
        format!("{name} is {} s {which} this host (there {there:.0}, here {now:.0})", skew.abs().as_secs())
    });
    let wrong: Vec<_> = wrong.collect();
    if !wrong.is_empty() {
        let line = if known().any(|(_, skew)| skew.abs() > TOO_MUCH) { blocked } else { warning };
        return line(CLOCK, wrong.join(", "), "set the clocks (NTP): tokens, certificates and log times are compared with them");
    }
    match servers.iter().filter(|server| server.skew.is_none()).map(|server| server.name.as_str()).collect::<Vec<_>>() {
        silent if silent.is_empty() => ok(CLOCK, "the servers' clocks agree with this host's"),
        silent => skipped(CLOCK, format!("{} does not send its time", silent.join(", "))),
    }
}

fn certificates(servers: &[Server], now: Timestamp) -> Check {
    // The leaf's dates alone: the handshake has checked the chain.
    let end = |server: &Server| Timestamp::from_second(i64::try_from(server.until?).ok()?).ok();
    let ends: Vec<_> = servers.iter().filter_map(|server| Some((server.name.as_str(), end(server)?))).collect();
    let Some((_, first)) = ends.iter().min_by_key(|(_, end)| *end) else {
        return skipped(CERTIFICATES, "no server showed one");
    };
    let soon = ends.iter().filter(|(_, end)| end.duration_since(now) < SOON);
    let soon: Vec<_> = soon.map(|(name, end)| format!("{name} ends at {end:.0}")).collect();
    match soon.is_empty() {
        true => ok(CERTIFICATES, format!("the first ends at {first:.0}")),
        false => warning(CERTIFICATES, soon.join(", "), "renew within 30 days, and mind who trusts the old one"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(skew: Option<i64>, until: Option<i64>) -> Server {
        let until = until.map(|days| u64::try_from(Timestamp::now().as_second() + days * 86_400).unwrap());
        Server { name: "h.example".into(), proxy: None, skew: skew.map(SignedDuration::from_secs), until }
    }

    #[test]
    fn a_minute_of_skew_is_a_warning_and_five_block() {
        let now = "2026-11-29T12:00:00Z".parse().unwrap();
        for (skew, expected) in [
            (Some(0), CheckResult::Ok),
            (Some(60), CheckResult::Ok),
            (Some(-61), CheckResult::Warning),
            (Some(300), CheckResult::Warning),
            (Some(-301), CheckResult::Blocked),
            (Some(86_400), CheckResult::Blocked),
            (None, CheckResult::Skipped),
        ] {
            assert_eq!(clock(&[server(Some(0), None), server(skew, None)], now).result, expected, "{skew:?}");
        }
        let found = clock(&[server(Some(-61), None)], now).found;
        assert_eq!(found, "h.example is 61 s behind this host (there 2026-11-29T11:58:59Z, here 2026-11-29T12:00:00Z)");
    }

    #[test]
    fn a_date_within_question_and_answer_is_no_skew() {
        let asked = SystemTime::now();
        let second = asked.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let date = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(second);
        let at = |date| Server::new("h".into(), None, Some(date), asked, None).skew.unwrap();
        assert_eq!(at(date), SignedDuration::ZERO);
        assert!(at(date - std::time::Duration::from_secs(90)).as_secs() <= -88);
        assert!(at(date + std::time::Duration::from_secs(90)).as_secs() >= 88);
    }

    #[test]
    fn a_certificate_that_ends_within_thirty_days_is_reported() {
        for (days, expected) in [
            (Some(31), CheckResult::Ok),
            (Some(29), CheckResult::Warning),
            (Some(1), CheckResult::Warning),
            (None, CheckResult::Skipped),
        ] {
            assert_eq!(certificates(&[server(None, days)], Timestamp::now()).result, expected, "{days:?}");
        }
    }
}
