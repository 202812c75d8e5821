//! The faults of a schedule: which request to which server fails, how and how often, and when a run is stopped.

use std::time::{Duration, Instant};

use http::Method;
use scar_kit::{Outcome, Run, Signal};
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_suites::{Random, STAGES};

use crate::site::Drawn;

/// The requests of a migration, with their server.
const REQUESTS: [(&str, Method, &str); 25] = [
    ("registry", Method::GET, "/v2/"),
    ("registry", Method::GET, "/service/token"),
    ("registry", Method::GET, "/v2/**/tags/list"),
    ("registry", Method::GET, "/v2/**/manifests/*"),
    ("registry", Method::HEAD, "/v2/**/blobs/*"),
    ("registry", Method::POST, "/v2/**/blobs/uploads/"),
    ("registry", Method::PUT, "/v2/**/blobs/uploads/*"),
    ("registry", Method::PUT, "/v2/**/manifests/*"),
    ("registry", Method::GET, "/**"),
    ("vertex", Method::POST, "/v1/auth/syslogin"),
    ("vertex", Method::GET, "/v1/system/users/me"),
    ("vertex", Method::GET, "/v1/registries/oci/summary"),
    ("vertex", Method::GET, "/v1/registries/oci/*/*"),
    ("vertex", Method::POST, "/v1/registries/oci/*/validate"),
    ("vertex", Method::PUT, "/v1/registries/oci/*/*"),
    ("vertex", Method::GET, "/v1/system/config/scar"),
    ("vertex", Method::PUT, "/v1/system/config/scar"),
    ("vertex", Method::GET, "/v1/system/config/scar/validate"),
    ("vertex", Method::GET, "/v1/jobs/**"),
    ("kube", Method::GET, "/api/v1/namespaces/*/secrets/*"),
    ("kube", Method::DELETE, "/api/v1/namespaces/*/secrets/*"),
    ("kube", Method::GET, "/api/v1/namespaces/*/pods/**"),
    ("kube", Method::GET, "/apis/apps/v1/**"),
    ("kube", Method::POST, "/**"),
    ("specman-0", Method::GET, "/**"),
];

/// Adds a random fault to the site. Returns its description, and whether only a signal ends a run with it.
pub(crate) fn fault(random: &mut Random, site: &Drawn, foreign: &str) -> (String, bool) {
    let (server, method, path) = random.of(&REQUESTS);
    let (times, often) = match random.below(8) {
        0..4 => (Times::First(1), "the first".to_owned()),
        4..6 => {
            let which = 2 + usize::try_from(random.below(5)).unwrap();
            (Times::Nth(which), format!("number {which}"))
        }
        6 => (Times::First(3), "the first three".to_owned()),
        _ => (Times::Always, "all".to_owned()),
    };
    let (action, what) = action(random, sent(site, server, path), foreign);
    let what = format!("{server} {method} {path}, {often}: {what}");
    let stalls = matches!(action, Action::Stall);
    site.server(server).faults().on(Match::method(method, path), times, action);
    (what, stalls)
}

/// The secret that such a request carries, for a server that repeats what it was sent.
fn sent(site: &Drawn, server: &str, path: &str) -> String {
    let of = |key: &str| std::fs::read_to_string(site.setting(key)).unwrap_or_default().trim_end().to_owned();
    match (server, path) {
        ("registry", _) => of("OCI_PASSWORD_FILE"),
        ("vertex", "/v1/auth/syslogin") => of("VERTEX_PASSWORD_FILE"),
        ("vertex", path) if path.starts_with("/v1/registries/") && path.ends_with("/validate") => {
            let key = "PACK_REGISTRY_SECRET_KEY_FILE";
            of(if site.setting(key).is_empty() { "OCI_PASSWORD_FILE" } else { key })
        }
        ("kube", _) => site.site().cluster.token(),
        _ => "nothing".to_owned(),
    }
}

fn action(random: &mut Random, secret: String, foreign: &str) -> (Action, String) {
    let answer = |answer: Answer| Action::Answer(answer);
    let bytes = random.below(400);
    let time = Duration::from_millis(random.below(400));
    match random.below(16) {
        0 => (Action::Reset, "reset".to_owned()),
        1 => (Action::ResetAfter(bytes), format!("reset after {bytes} bytes of the request")),
        2 | 3 => (Action::LoseReply, "done, and the answer lost".to_owned()),
        4 => (Action::CutReply(bytes), format!("cut after {bytes} bytes of the answer")),
        5 => (Action::Delay(time), format!("{time:?} late")),
        6 => (Action::Stall, "no answer".to_owned()),
        7 => (Action::TrickleReply { bytes: 64, every: Duration::from_millis(5) }, "a slow answer".to_owned()),
        8 => (answer(Answer::html(200, "<html>Please log in</html>")), "a page".to_owned()),
        9 => (answer(Answer::json(200, &serde_json::json!({"code": 0}))), "JSON of something else".to_owned()),
        10 => (
            answer(Answer::status(307).header("location", &format!("{foreign}/v1/elsewhere"))),
            "a redirect elsewhere".to_owned(),
        ),
        11 => {
            let realm = format!("Bearer realm=\"{foreign}/token\",service=\"registry\"");
            (answer(Answer::status(401).header("www-authenticate", &realm)), "a token realm elsewhere".to_owned())
        }
        12 => (Action::set_header("location", &format!("{foreign}/v2/upload")), "a location elsewhere".to_owned()),
        13 => {
            let body =
                serde_json::json!({"code": "Refused", "message": secret, "errors": [{"code": "DENIED", "message": secret}]});
            (answer(Answer::json(400, &body)), "a refusal that repeats what it was sent".to_owned())
        }
        _ => {
            let status = random.of(&[400, 401, 403, 404, 409, 429, 500, 502, 503]);
            (answer(Answer::status(status).header("retry-after", "1")), format!("status {status}"))
        }
    }
}

/// When and how a run is stopped.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    stage: &'static str,
    after: Duration,
    signal: Signal,
    /// Whether only the script gets the signal, as from a service manager, and not its whole group, as from a terminal.
    alone: bool,
}

/// A run that hangs is stopped after this time.
const LATEST: Duration = Duration::from_secs(5);
/// How long a run may take to end after a signal: the documented second, and some time for a busy machine.
const ENDS: Duration = Duration::from_secs(6);

impl Stop {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let signal = random.of(&[Signal::KILL, Signal::KILL, Signal::INT, Signal::TERM, Signal::TERM]);
        let alone = signal == Signal::TERM && random.one_in(2);
        let stages = [&["scar-preflight: "][..], &STAGES].concat();
        Self { stage: random.of(&stages), after: Duration::from_millis(random.below(300)), signal, alone }
    }

    /// Starts the run, and sends the signal some time after the stage's first message.
    pub(crate) fn run(&self, run: Run) -> Outcome {
        let mut running = run.start();
        let latest = Instant::now() + LATEST;
        let has_begun = |running: &scar_kit::Running| running.said().iter().any(|text| text.contains(self.stage));
        while !running.is_over() && !has_begun(&running) && Instant::now() < latest {
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(self.after);
        let stopped = Instant::now();
        if !running.is_over() {
            match self.alone {
                true => running.signal(self.signal),
                false => running.signal_group(self.signal),
            }
        }
        let outcome = running.wait();
        assert!(stopped.elapsed() < ENDS, "{self:?}: it ended {:?} after the signal\n{outcome}", stopped.elapsed());
        outcome
    }
}
