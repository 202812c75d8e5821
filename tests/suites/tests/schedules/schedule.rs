//! A whole migration with random faults, repeated until it succeeds, and then undone.
//!
//! Invariants: success means that Specman serves the content and that the setting points to Specman; every change is made at
//! most once, except the jobs; no secret is in any output, file or environment, or reaches a server that it was not given for;
//! the same command succeeds once the faults are gone; undo restores the state before.

use std::cell::Cell;
use std::path::Path;

use scar_kit::{Outcome, Run, find_secrets, forget_secret, secret};
use scar_lab::faults::Match;
use scar_lab::registry::Profile;
use scar_lab::server::{Listener, Server};
use scar_lab::site::{PACK_REGISTRY, REPOSITORY, SECRET, SiteOptions};
use scar_lab::specman::USER_AGENT;
use scar_lab::vertex::SPECMAN;
use scar_suites::Random;
use serde_json::Value;

use crate::site::Drawn;
use crate::trouble::{Stop, fault};

/// How often a command is run with faults; then it is run once without.
const RUNS: usize = 3;

/// Runs the schedule of one seed.
pub(crate) fn holds(seed: u64) {
    let mut random = Random::new(seed);
    let case = Case::draw(seed, &mut random);
    case.migrate(&mut random);
    case.undo(&mut random);
}

struct Case {
    seed: u64,
    site: Drawn,
    /// A server that no setting names, with a trusted certificate: nothing secret may be sent there.
    foreign: Server,
    before: Before,
    /// Whether a fault answers deletes itself with 200, so that the log may show a delete that did not happen.
    fakes_deletes: Cell<bool>,
}

/// The state that undo restores.
#[derive(Debug, PartialEq)]
struct Before {
    scar: Value,
    entry: Value,
    tag: Option<String>,
    has_secret: bool,
}

impl Case {
    fn draw(seed: u64, random: &mut Random) -> Self {
        let (profile, ecr, replicas) = (random.of(&Profile::ALL), random.one_in(4), 1 + u32::from(random.one_in(4)));
        let poll = Some(std::time::Duration::from_millis(300));
        let options = SiteOptions { profile: Some(profile), ecr, replicas, poll, ..SiteOptions::default() };
        let mut site = Drawn::on(options, format!("{seed}: {profile:?}, ECR's entry: {ecr}, {replicas} replicas"));
        if random.one_in(2) {
            site.registry().seed(REPOSITORY, "0.0.0", b"\x1f\x8bof an earlier release");
        }
        if random.one_in(2) {
            site.unset("SPECMAN_URL");
        }
        for server in ["registry", "vertex", "kube"] {
            if random.one_in(3) {
                site.clock(server, i64::try_from(random.below(560)).unwrap() - 280);
            }
        }
        let anything = axum::Router::new().fallback(async || "{}");
        let foreign = Server::start(anything, Listener::tls(site.site().certs.server_config()));
        foreign.tolerate_unexpected();
        let before = Before::of(&site);
        Self { seed, site, foreign, before, fakes_deletes: Cell::new(false) }
    }

    fn command(&self, phase: &[&str]) -> Run {
        let home = self.site.home();
        self.site.migrate("20s").args(phase).env("TMPDIR", home).arg("-vv")
    }

    /// Runs a phase with faults until it succeeds, and then once without faults, when it must succeed.
    fn until_done(&self, random: &mut Random, phase: &[&str]) -> Outcome {
        let mut stalls = false;
        for _ in 0..random.below(4) {
            let (what, stall) = fault(random, &self.site, &self.foreign.url());
            println!("{}: {what}", self.seed);
            stalls |= stall;
            self.fakes_deletes.set(self.fakes_deletes.get() || what.starts_with("kube DELETE "));
        }
        for run in 0..RUNS {
            let stop = (stalls || run == 0 && random.one_in(2)).then(|| Stop::draw(random));
            println!("{}: run {run} {phase:?}: {stop:?}", self.seed);
            let outcome = match stop {
                Some(stop) => stop.run(self.command(phase)),
                None => self.command(phase).run(),
            };
            self.check(&outcome, phase.is_empty());
            if outcome.status() == 0 {
                break;
            }
        }
        self.site.site().servers().iter().for_each(|(_, server)| server.faults().clear());
        let outcome = self.command(phase).run();
        self.check(&outcome, phase.is_empty());
        assert_eq!(outcome.status(), 0, "it fails without faults\n{outcome}");
        outcome
    }

    fn migrate(&self, random: &mut Random) {
        let outcome = self.until_done(random, &[]);
        self.check_done(&outcome);
    }

    fn undo(&self, random: &mut Random) {
        let outcome = self.until_done(random, &["undo"]);
        let mut after = Before::of(&self.site);
        if self.before.tag.is_none() {
            // A tag that did not exist before stays, and ocipush says so.
            after.tag = None;
        }
        assert_eq!(after, self.before, "undo restored another state\n{outcome}");
    }

    /// Checks the invariants after a run.
    fn check(&self, outcome: &Outcome, forward: bool) {
        if outcome.status() == 0 && forward {
            self.check_done(outcome);
        }
        let (vertex, log) = (&self.site.site().vertex, |server: &str| self.site.server(server).log().clone());
        let uid = PACK_REGISTRY;
        let most = if forward { 1 } else { 2 };
        assert!(vertex.scar_writes() <= most && vertex.registry_writes(uid).0 <= most, "written twice\n{outcome}");
        let done = |server: &str, request: Match, status: u16| {
            let all = log(server).matching(&request);
            all.iter().filter(|request| request.status.is_some_and(|code| code == status)).count()
        };
        let deletes = done("kube", Match::delete("/api/v1/**/secrets/*"), 200);
        assert!(deletes <= 1 || self.fakes_deletes.get(), "deleted twice\n{outcome}");
        assert!(done("registry", Match::put("/v2/**/manifests/*"), 201) <= 2 * usize::try_from(most).unwrap(), "{outcome}");
        self.check_secrets(outcome);
    }

    /// Checks that a successful run has done everything.
    fn check_done(&self, outcome: &Outcome) {
        let site = self.site.site();
        let record: Value = serde_json::from_slice(outcome.stdout_bytes()).unwrap();
        let digest = self.site.registry().store().tag(REPOSITORY, "0.0.0").expect("a tag");
        assert_eq!(record["artifact"]["digest"], digest, "{outcome}");
        assert_eq!(record["archive"]["digest"], record["artifact"]["layer"], "{outcome}");
        for number in 0..site.specman.pods().len() {
            assert_eq!(site.specman.served(number).expect("content").digest, digest, "{outcome}");
        }
        assert_eq!(site.vertex.scar()["endpoint"], SPECMAN, "{outcome}");
        let entry = site.vertex.registry(PACK_REGISTRY).unwrap();
        assert_eq!(entry["spec"]["containsSpectroManifest"], true, "{outcome}");
        assert!(site.vertex.registry_login_works(PACK_REGISTRY), "{outcome}");
        assert!(site.cluster.secret("hubble-system", SECRET).is_some(), "{outcome}");
    }

    /// Checks that no secret is in an output or a file, or was sent to a wrong server.
    fn check_secrets(&self, outcome: &Outcome) {
        let mut tokens = Vec::new();
        for (_, server) in self.site.site().servers() {
            for request in server.log().requests() {
                let values = ["authorization", "cookie"].into_iter().filter_map(|name| request.header(name));
                tokens.extend(values.filter_map(|value| value.split_once([' ', '='])).map(|(_, token)| secret(token)));
            }
        }
        for text in [outcome.stdout(), outcome.stderr()] {
            assert_eq!(find_secrets(text.as_bytes()), [""; 0], "{outcome}");
        }
        for folder in [self.site.home(), self.site.state()] {
            has_no_secret(&folder);
        }
        let received = |server: &Server| {
            let log = server.log().requests();
            // The lab's Specman sends its login to any realm that the registry names.
            let log = log.iter().filter(|request| request.header("user-agent") != Some(USER_AGENT));
            log.map(|request| format!("{request:?}\n{}\n", request.text())).collect::<String>()
        };
        assert_eq!(find_secrets(received(&self.foreign).as_bytes()), [""; 0], "at a server that nobody named\n{outcome}");
        let own = self.site.site().secrets();
        tokens.iter().filter(|token| !own.contains(token)).for_each(|token| forget_secret(token));
    }
}

/// Checks that no file in a folder contains a secret.
fn has_no_secret(folder: &Path) {
    let files = walkdir::WalkDir::new(folder).into_iter().filter_map(Result::ok).filter(|entry| entry.file_type().is_file());
    for file in files.filter(|file| !file.path().ends_with("manifests.tgz")) {
        let found = find_secrets(&std::fs::read(file.path()).unwrap_or_default());
        assert!(found.is_empty(), "{found:?} in {}", file.path().display());
    }
}

impl Before {
    fn of(site: &Drawn) -> Self {
        let (vertex, cluster) = (&site.site().vertex, &site.site().cluster);
        Self {
            scar: vertex.scar(),
            entry: vertex.registry(PACK_REGISTRY).unwrap(),
            tag: site.registry().store().tag(REPOSITORY, "0.0.0"),
            has_secret: cluster.secret("hubble-system", SECRET).is_some(),
        }
    }
}
