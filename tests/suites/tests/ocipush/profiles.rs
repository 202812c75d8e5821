//! The happy path, token faults and administrators' settings, on every registry profile of the lab.

use std::sync::Arc;
use std::time::Duration;

use scar_kit::{Outcome, Run};
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::registry::{Auth, Credentials, Profile, RegistryOptions, Rule, TokenService};

use crate::logins::PASSWORD;
use crate::requests::{heads, manifests, patches, puts, uploads};
use crate::{REPOSITORY, Site, bytes, digest};

/// The pushing robot account.
const ROBOT: &str = "robot$packs";
/// More than two of the smallest chunks that Cloudflare's registry accepts.
const SIZE: usize = 11 << 20;
/// The smallest such chunk.
const CHUNK: &str = "5MiB";

/// A registry, and its token service if it has one.
struct Played {
    site: Site,
    tokens: Option<Arc<TokenService>>,
}

impl Played {
    fn new(profile: Profile, rule: Option<Rule>) -> Self {
        let login = Credentials::new(ROBOT, PASSWORD);
        let tokens = profile.has_tokens().then(|| Arc::new(TokenService::new(login.clone(), Duration::from_secs(1800))));
        let auth = tokens.clone().map_or(Auth::Basic(login), Auth::Bearer);
        let site = Site::start(RegistryOptions { profile, rule, auth, ..RegistryOptions::default() });
        std::fs::write(site.folder.path().join("pw"), PASSWORD).unwrap();
        Self { site, tokens }
    }

    fn push(&self, file: impl AsRef<std::path::Path>) -> Run {
        self.as_robot(self.site.ocipush(file))
    }

    /// Runs it with an archive of this size on standard input.
    fn stream(&self, size: usize) -> Run {
        self.push("-").stdin(bytes(size))
    }

    fn as_robot(&self, run: Run) -> Run {
        run.args(["-u", ROBOT, "-q", "--password-file"]).arg(self.site.folder.path().join("pw")).secret(PASSWORD)
    }

    fn holds(&self, size: usize) -> bool {
        let layer = digest(&bytes(size));
        self.site.tag().is_some() && self.site.registry.store().blob(REPOSITORY, &layer).is_some_and(|blob| blob == bytes(size))
    }

    /// How often a token for the push was requested, without those for cancelling a session.
    fn tokens(&self) -> usize {
        self.site.registry.log().count(&Match::get("/service/token").query("pull%2Cpush&"))
    }
}

#[test]
fn every_registry_takes_an_archive_whole_in_chunks_and_as_a_stream() {
    for profile in Profile::ALL {
        let at = Played::new(profile, None);
        let written = |run: Run| {
            at.site.registry.log().clear();
            let outcome = run.run();
            assert_eq!(outcome.status(), 0, "{profile:?}: {outcome}");
            let requests = at.site.registry.log().requests();
            (outcome, requests.iter().filter(|request| !["GET", "HEAD"].contains(&request.method.as_str())).count())
        };
        written(at.push(at.site.archive(SIZE)));
        assert!(at.holds(SIZE), "{profile:?}");
        let (again, writing) = written(at.push(at.site.archive(SIZE)));
        assert_eq!((writing, &again.json()["artifact"]["uploaded"]), (0, &false.into()), "{profile:?}");
        written(at.push(at.site.archive(SIZE + 1)).args(["--chunk-size", CHUNK]));
        assert!(at.holds(SIZE + 1), "{profile:?}");
        written(at.stream(SIZE + 2).args(["--chunk-size", CHUNK]));
        assert!(at.holds(SIZE + 2), "{profile:?}");
        let adopt = at.as_robot(at.site.bare().args(["--plain-http", "--adopt", "--new-record"]));
        let (adopted, writing) = written(adopt);
        assert_eq!((writing, &adopted.json()["artifact"]["layer"]), (0, &digest(&bytes(SIZE + 2)).into()), "{profile:?}");
    }
}

/// A stream's piece may exceed Cloudflare's body limit, and its chunks must be equal.
#[test]
fn a_registry_that_wants_equal_chunks_below_100_mb_gets_them() {
    let size = 101 << 20;
    for stream in [false, true] {
        let at = Played::new(Profile::Cloudflare, None);
        let run = if stream { at.stream(size) } else { at.push(at.site.archive(size)) };
        run.timeout(Duration::from_secs(120)).run().succeeds();
        assert!(at.holds(size));
    }
}

/// When a token expires: a name, the last request before it, how many of them, and the run.
type Moment = (&'static str, Match, usize, fn(&Played) -> Run);

fn moments() -> [Moment; 6] {
    let whole = |at: &Played| at.push(at.site.archive(SIZE));
    let chunks = |at: &Played| at.push(at.site.archive(SIZE)).args(["--chunk-size", CHUNK]);
    let stream = |at: &Played| at.stream(SIZE).args(["--chunk-size", CHUNK]);
    [
        ("in the one PUT", uploads(), 1, whole),
        ("between two chunks", patches(), 1, chunks),
        ("right before a chunk", heads(), 2, chunks),
        ("while a stream comes", patches(), 2, stream),
        ("before the manifest", puts(), 2, whole),
        ("before the last question", manifests(), 1, whole),
    ]
}

#[test]
fn q60_an_expired_token_is_renewed_from_its_realm_whatever_the_challenge_says() {
    for profile in Profile::ALL.into_iter().filter(|profile| profile.has_tokens()) {
        for (moment, at, nth, run) in moments() {
            let played = Played::new(profile, None);
            let ending = played.tokens.clone().unwrap();
            let fault = played.site.registry.faults().on(at, Times::Nth(nth), Action::edit(move |_| ending.expire()));
            let outcome = run(&played).run();
            assert_eq!(outcome.status(), 0, "{profile:?}, {moment}: {outcome}");
            assert!(played.holds(SIZE), "{profile:?}, {moment}");
            assert_eq!((fault.hits(), played.tokens()), (1, 2), "{profile:?}, {moment}");
        }
    }
}

/// The refusals of each registry; without such a setting the push succeeds.
fn refusals(rule: Rule, expected: &[(Profile, i32, &[&str])]) {
    for profile in Profile::ALL {
        let at = Played::new(profile, Some(rule));
        let outcome = at.push(at.site.archive(1000)).run();
        match expected.iter().find(|(refusing, ..)| *refusing == profile) {
            None => assert_eq!(outcome.status(), 0, "{profile:?}: {outcome}"),
            Some((_, status, says)) => {
                assert_eq!(outcome.status(), *status, "{profile:?}: {outcome}");
                assert!(outcome.stdout().is_empty(), "{profile:?}: {outcome}");
                says.iter().for_each(|says| assert!(shows(&outcome, says), "{profile:?}: not '{says}' in {outcome}"));
            }
        }
    }
}

fn shows(outcome: &Outcome, text: &str) -> bool {
    outcome.stderr().contains(text)
}

#[test]
fn q61_a_project_that_is_missing_is_named_with_the_registrys_words() {
    let causes = ["the user may not push to 'spectro-packs/", "there is no project 'spectro-packs'"];
    refusals(
        Rule::Missing,
        &[
            (Profile::Harbor, 4, &["project spectro-packs not found", causes[0], causes[1]]),
            (Profile::Quay, 4, &["access to the requested resource is not authorized", causes[0], causes[1]]),
            (Profile::Ecr, 3, &["does not exist in the registry", "or the repository spectro-packs/"]),
        ],
    );
}

#[test]
fn a_missing_push_permission_is_reported() {
    let may_not = "the user may not push to 'spectro-packs/";
    refusals(
        Rule::NoRight,
        &[
            (Profile::Distribution2, 4, &["authentication required", may_not]),
            (Profile::Distribution3, 4, &["authentication required", may_not]),
            (Profile::Harbor, 4, &["unauthorized to access repository", may_not]),
            (Profile::Quay, 4, &["access to the requested resource is not authorized", may_not]),
            (Profile::Pulp, 4, &["Insufficient permissions", may_not]),
            (Profile::Ecr, 4, &["is not authorized to perform: ecr:InitiateLayerUpload", "the user's policy lacks"]),
            (Profile::Cloudflare, 4, &["authentication required", may_not]),
        ],
    );
}

#[test]
fn p24_an_exceeded_quota_is_reported_for_every_registry_that_has_one() {
    refusals(
        Rule::Quota,
        &[
            (Profile::Harbor, 1, &["upper limit of 160.0 MiB", "quota is used up"]),
            (Profile::Quay, 1, &["Quota has been exceeded on namespace", "quota is used up"]),
        ],
    );
}

#[test]
fn q50_restrictions_by_an_administrator_are_reported() {
    let read_only = "the registry is read-only: make it writable, then run this step again";
    refusals(
        Rule::ReadOnly,
        &[
            (Profile::Distribution2, 1, &["405 Method Not Allowed", read_only]),
            (Profile::Distribution3, 1, &["405 Method Not Allowed", read_only]),
            (Profile::Harbor, 1, &["DENIED: The system is in read only mode.", read_only]),
            (Profile::Quay, 1, &["System is currently read-only.", read_only]),
            (Profile::Pulp, 1, &["NAME_INVALID: Repository is read-only.", read_only]),
        ],
    );
    refusals(
        Rule::Proxy,
        &[(Profile::Harbor, 1, &["can not push artifact to a proxy project", "is a proxy cache of another registry"])],
    );
    // Q51: the tag has already moved.
    refusals(
        Rule::Signed,
        &[(
            Profile::Harbor,
            1,
            &[
                "the tag was moved; reading it back failed: GET ",
                "not signed by cosign",
                "a policy of the project 'spectro-packs'",
            ],
        )],
    );
}

#[test]
fn q50_a_proxy_page_or_a_blob_store_is_not_reported_as_a_login_failure() {
    let page = Answer::html(403, "<html><title>Blocked</title></html>");
    for at in [puts(), Match::get("/v2/**/manifests/*")] {
        let played = Played::new(Profile::Distribution2, None);
        played.site.registry.faults().on(at, Times::Always, Action::Answer(page.clone()));
        let outcome = played.push(played.site.archive(1000)).run();
        outcome
            .exits(4)
            .says("an HTML page titled 'Blocked'")
            .says("a proxy or firewall in front of the registry blocks the request");
        outcome.never_says("password").never_says("no project").writes_nothing();
    }
    // Q52: a blob store on another origin refuses the registry's redirect.
    let store = Site::plain();
    store.registry.faults().on(Match::any("/**"), Times::Always, Action::Answer(Answer::status(403)));
    let played = Played::new(Profile::Distribution2, None);
    let to = Answer::status(307).header("location", &format!("{}/store/blob", store.registry.url()));
    played.site.registry.faults().on(heads(), Times::Nth(3), Action::Answer(to.clone()));
    played.site.registry.faults().on(Match::get("/v2/**/blobs/*"), Times::Always, Action::Answer(to));
    let outcome = played.push(played.site.archive(1000)).called(store.registry.port(), "STORE").run();
    outcome
        .exits(1)
        .says("the tag was moved; reading it back failed")
        .says("the registry redirects to its blob store 'http://127.0.0.1:STORE'");
    outcome.never_says("password").writes_nothing();
}

#[test]
fn q63_a_word_in_a_repository_name_is_not_taken_for_the_cause() {
    let played = Played::new(Profile::Distribution2, None);
    let said = "requested access to quota/immutable/no-space is denied";
    let answer = Answer::json(403, &serde_json::json!({"errors": [{"code": "DENIED", "message": said}]}));
    played.site.registry.faults().on(uploads(), Times::Always, Action::Answer(answer));
    let outcome = played.push(played.site.archive(1000)).run();
    outcome.exits(4).says(said).says("the user may not push to").never_says("is used up").never_says("is immutable");
}

#[test]
fn q13_a_cached_answer_about_the_tag_is_refused() {
    let tag = Match::get("/v2/**/manifests/0.0.0");
    let played = Played::new(Profile::Distribution2, None);
    let aged = Action::set_header("age", "42");
    let fault = played.site.registry.faults().on(tag.clone(), Times::Always, aged);
    let (file, backup) = (played.site.archive(1000), played.site.folder.path().join("tag.json"));
    let runs = [
        played.push(&file),
        played.push(&file).arg("--backup").arg(&backup),
        played.as_robot(played.site.bare().args(["--plain-http", "--adopt", "--new-record"])),
    ];
    for run in runs {
        run.run().exits(7).says("the answer comes from a cache and is 42 s old (header Age)").writes_nothing();
    }
    assert!(fault.hits() >= 3 && played.site.tag().is_none() && !backup.exists());
    // Every request about a tag has a new URL, and asks for no cache.
    let asked = played.site.registry.log().matching(&tag);
    let mut queries: Vec<_> = asked.iter().filter_map(|request| request.query.clone()).collect();
    queries.sort();
    queries.dedup();
    assert_eq!(queries.len(), asked.len());
    assert!(asked.iter().all(|request| request.header("cache-control") == Some("no-cache")));
}

#[test]
fn q62_what_the_bare_address_answers_decides_nothing() {
    for answer in [
        Answer::html(403, "<html><title>Blocked</title></html>"),
        Answer::status(404),
        Answer::status(401).header("www-authenticate", "Bearer realm=\"unclosed"),
        Answer::status(401),
        Answer::status(500),
    ] {
        let at = Played::new(Profile::Distribution2, None);
        let fault = at.site.registry.faults().on(Match::get("/v2/"), Times::Always, Action::Answer(answer));
        at.push(at.site.archive(1000)).run().succeeds();
        assert!(at.holds(1000) && fault.hits() > 0);
    }
}
