//! P43: wrong clocks, here or at the registry, and clocks that jump.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use scar_kit::{Run, binary, peer, program};
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::registry::{Credentials, TokenService};
use serde_json::json;

use crate::Site;
use crate::logins::{PASSWORD, bearer, log_in, service};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// ocipush with a wall clock that differs by this much, such as `+1d`.
fn off_by(site: &Site, offset: &str) -> Option<Run> {
    let run = program(peer("faketime")?).args(["--exclude-monotonic", "-f", offset]).arg(binary("ocipush"));
    Some(arguments(site, run))
}

fn arguments(site: &Site, run: Run) -> Run {
    let run = run.arg(site.registry.authority()).arg(site.archive(1_000_000)).args(["--plain-http", "--new-record"]);
    log_in(run.args(["--retry-max-wait", "20ms", "--timeout", "30s"]), PASSWORD)
}

/// How far a time is from this host's clock, which is also the registry's.
fn off(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::now()).unwrap_or_else(|error| error.duration())
}

fn tokens(site: &Site) -> usize {
    site.registry.log().count(&Match::get("/service/token").query("pull%2Cpush&"))
}

#[test]
fn p43_a_clock_that_is_a_day_off_changes_nothing() {
    for (offset, sooner) in [("+1d", false), ("-1d", true)] {
        let service = service();
        let site = bearer(&service);
        let Some(run) = off_by(&site, offset) else { return };
        let ending = service.clone();
        let puts = Match::put("/v2/**/blobs/uploads/*");
        site.registry.faults().on(puts, Times::First(1), Action::edit(move |_| ending.expire()));
        let outcome = run.run();
        outcome.succeeds();
        assert_eq!(tokens(&site), 2, "one, and one more after the 401");
        let artifact = &outcome.json()["artifact"];
        let time = |field: &str| SystemTime::from(artifact[field].as_str().unwrap().parse::<jiff::Timestamp>().unwrap());
        assert_eq!(time("created") < SystemTime::now(), sooner, "the clock was not off");
        // The registry's clock says when the tag moved, because Specman's log is searched from then on.
        assert!(off(time("pushed_at")) < Duration::from_secs(120), "{artifact}");
    }
}

#[test]
fn p43_a_clock_that_jumps_ends_no_wait_and_no_step() {
    for jump in ["+1d", "-1d"] {
        let site = bearer(&service());
        let Some(faketime) = peer("faketime") else { return };
        let clock = site.folder.path().join("clock");
        std::fs::write(&clock, "+0").unwrap();
        let run = program(faketime).args(["--exclude-monotonic", "-f", "+0", "env", "-u", "FAKETIME", "FAKETIME_NO_CACHE=1"]);
        let run = run.arg(format!("FAKETIME_TIMESTAMP_FILE={}", clock.display())).arg(binary("ocipush"));
        let heads = Match::head("/v2/**/blobs/*");
        site.registry.faults().on(heads, Times::First(1), Action::Delay(Duration::from_millis(700)));
        let unstamped = Action::set_header("date", "no date");
        site.registry.faults().on(Match::put("/v2/**/manifests/*"), Times::Always, unstamped);
        let running = arguments(&site, run).args(["--stall-timeout", "20s"]).start();
        let asked = |requests: &[scar_lab::log::Request]| requests.iter().any(|request| request.method == "HEAD");
        assert!(site.registry.log().wait(Duration::from_secs(20), asked));
        std::fs::write(&clock, jump).unwrap();
        let outcome = running.wait();
        outcome.succeeds();
        assert!(outcome.took() < Duration::from_secs(10), "{:?}", outcome.took());
        assert_eq!(tokens(&site), 1);
        // Without a date from the registry, this host's clock is used.
        let pushed_at: jiff::Timestamp = outcome.json()["artifact"]["pushed_at"].as_str().unwrap().parse().unwrap();
        assert!(off(SystemTime::from(pushed_at)) > DAY / 2, "the clock did not jump: {pushed_at:?}");
    }
}

#[test]
fn p43_a_token_is_used_until_the_registry_refuses_it() {
    for answer in [
        json!({"issued_at": "1970-01-01T00:00:00Z", "expires_in": 1}),
        json!({"issued_at": "2999-01-01T00:00:00Z", "expires_in": -5}),
        json!({"issued_at": "no time", "expires_in": 0}),
    ] {
        let service = TokenService::new(Credentials::new("pusher", PASSWORD), DAY).with_answer(answer.clone());
        let site = bearer(&Arc::new(service));
        log_in(site.ocipush(site.archive(1_000_000)), PASSWORD).run().succeeds();
        assert_eq!(tokens(&site), 1, "{answer}");
    }
}

#[test]
fn p43_a_retry_after_date_is_compared_with_the_servers_clock() {
    for off in [true, false] {
        let site = Site::plain();
        let there = if off { SystemTime::now() + DAY } else { SystemTime::now() - DAY };
        let date = |time: SystemTime| jiff::Timestamp::try_from(time).unwrap().strftime("%a, %d %b %Y %T GMT").to_string();
        let answer =
            Answer::status(503).header("date", &date(there)).header("retry-after", &date(there + Duration::from_secs(1)));
        let puts = Match::put("/v2/**/blobs/uploads/*");
        site.registry.faults().on(puts, Times::First(1), Action::Answer(answer));
        let outcome = site.bare().arg(site.archive(10)).args(["--plain-http", "--new-record", "--retry-max-wait", "5s"]).run();
        outcome.succeeds();
        let took = outcome.took();
        assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(5), "{took:?}");
    }
}
