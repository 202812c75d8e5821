//! No credential leaves its origin: every kind of misdirection, to every kind of other origin, with every kind of
//! credential, with the real tools. An attacker records every byte; none may be a secret's.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod attacker;
mod vertex_site;

use std::sync::Arc;
use std::time::Duration;

use attacker::Attacker;
use scar_kit::{Outcome, Run, find_secrets, secret, tool};
use scar_lab::certs::Certs;
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::kube::Login;
use scar_lab::log::Request;
use scar_lab::registry::{Auth, Credentials, LabRegistry, RegistryOptions, TokenService};
use scar_lab::server::{Listener, Server};
use scar_lab::vertex::SPECMAN;
use scar_suites::{KubeSite, new_record};
use serde_json::{Value, json};
use tempfile::TempDir;
use vertex_site::{PASSWORD as ADMIN_PASSWORD, Private, Site};

const PASSWORD: &str = "canary+matrix/word=1";
const IDENTITY: &str = "canary.identity+token/2";

/// Where the registry redirects to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    ForeignHost,
    OtherPort,
    Downgrade,
    IpLiteral,
    LinkLocal,
}

const PLACES: [Place; 5] = [Place::ForeignHost, Place::OtherPort, Place::Downgrade, Place::IpLiteral, Place::LinkLocal];

impl Place {
    /// Whether something listens there, with TLS.
    fn is_reachable(self) -> bool {
        !matches!(self, Self::Downgrade | Self::LinkLocal)
    }
}

/// The kind of credential.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Basic,
    Bearer,
    Certificate,
}

const KINDS: [Kind; 3] = [Kind::Basic, Kind::Bearer, Kind::Certificate];

/// A registry, an attacker with and without TLS, and a push's files.
struct Cell {
    place: Place,
    kind: Kind,
    home: LabRegistry,
    attacker: Attacker,
    folder: TempDir,
}

impl Cell {
    fn new(place: Place, kind: Kind, realm_elsewhere: bool) -> Self {
        let certs = Certs::new(&[]);
        let attacker = Attacker::start(&certs, place == Place::Downgrade);
        let folder = TempDir::new().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let client = certs.client("pusher");
        write("ca.pem", certs.ca_pem());
        write("client.pem", &client.cert_pem);
        write("client-key.pem", &client.key_pem);
        write("manifests.tgz", "\u{1f}not much of an archive");
        let credentials = Credentials::new("pusher", &secret(PASSWORD));
        let token = || TokenService::new(credentials.clone(), Duration::from_secs(1800));
        let auth = match (realm_elsewhere, kind) {
            (true, _) => Auth::Bearer(Arc::new(token().at(&format!("{}/service/token", at(place, &attacker))))),
            (false, Kind::Basic) => Auth::Basic(credentials),
            (false, Kind::Bearer) => Auth::Bearer(Arc::new(token())),
            (false, Kind::Certificate) => Auth::None,
        };
        let tls = certs.server().server_config_with_clients(certs.ca_pem(), kind == Kind::Certificate);
        let home = LabRegistry::start(RegistryOptions { listener: Listener::tls(tls), auth, ..RegistryOptions::default() });
        let cell = Self { place, kind, home, attacker, folder };
        secret(IDENTITY);
        let logins = json!({"auths": {(cell.authority()): {"identitytoken": IDENTITY}}}).to_string();
        std::fs::write(cell.folder.path().join("config.json"), logins).unwrap();
        cell
    }

    /// The registry's name for the user: a host name if it redirects to an address.
    fn authority(&self) -> String {
        let authority = self.home.authority();
        if self.place == Place::IpLiteral { authority.replace("127.0.0.1", "localhost") } else { authority }
    }

    /// The other origin.
    fn elsewhere(&self) -> String {
        at(self.place, &self.attacker)
    }

    fn push(&self) -> Run {
        let run = tool("ocipush")
            .arg(self.authority())
            .args(["manifests.tgz", "--new-record", "--retries", "0", "--ca-file", "ca.pem"])
            .folder(self.folder.path());
        match self.kind {
            Kind::Certificate => run.args(["--cert-file", "client.pem", "--key-file", "client-key.pem"]),
            _ => run.args(["-u", "pusher", "--password-stdin"]).stdin(PASSWORD),
        }
    }

    /// Asserts that no secret or certificate arrived; returns whether anything did.
    #[track_caller]
    fn holds(&self, outcome: &Outcome, is_reached: bool) {
        let what = format!("{:?} {:?}\n{outcome}", self.place, self.kind);
        register_tokens(&self.home.log().requests());
        let received = self.attacker.received();
        assert_eq!(find_secrets(&received), [""; 0], "{what}\n{}", String::from_utf8_lossy(&received));
        assert!(!self.attacker.saw_a_certificate(), "the client's certificate was shown: {what}");
        assert_eq!(self.attacker.connections() > 0, is_reached, "{what}");
    }
}

fn at(place: Place, attacker: &Attacker) -> String {
    let port = attacker.port();
    match place {
        Place::ForeignHost => format!("https://localhost:{port}"),
        Place::OtherPort | Place::IpLiteral => format!("https://127.0.0.1:{port}"),
        Place::Downgrade => format!("http://127.0.0.1:{port}"),
        Place::LinkLocal => format!("https://169.254.169.254:{port}"),
    }
}

/// Tokens are created during a run: they are secrets after their server has seen them.
fn register_tokens(requests: &[Request]) {
    for request in requests {
        for (header, before) in [("authorization", "Bearer "), ("cookie", "Authorization=")] {
            if let Some(token) = request.header(header).and_then(|value| value.strip_prefix(before)) {
                secret(token);
            }
        }
    }
}

/// Not all cells at once, which would overload a small machine.
fn each(check: impl Fn(Place, Kind) + Copy + Send) {
    for place in PLACES {
        std::thread::scope(|scope| {
            for kind in KINDS {
                scope.spawn(move || check(place, kind));
            }
        });
    }
}

#[test]
fn p13_an_upload_location_elsewhere_gets_no_credential() {
    each(|place, kind| {
        let cell = Cell::new(place, kind, false);
        let location = format!("{}/v2/x/blobs/uploads/1?_state=0", cell.elsewhere());
        let fault = cell.home.faults().on(Match::post("/**/uploads/"), Times::Always, Action::set_header("location", &location));
        let outcome = cell.push().run();
        outcome.exits(5).writes_nothing();
        assert!(fault.hits() > 0, "{outcome}");
        cell.holds(&outcome, false);
        if place.is_reachable() {
            // If the user allows it, the archive goes there, but nothing else.
            let authority = cell.elsewhere().replace("https://", "");
            let outcome = cell.push().args(["--trust-upload", &authority]).run();
            cell.holds(&outcome, true);
            outcome.writes_nothing();
        }
    });
}

#[test]
fn p14_a_redirect_elsewhere_gets_no_credential() {
    each(|place, kind| {
        let ways = [
            (Match::head("/v2/**/blobs/*"), 307, place.is_reachable()),
            (Match::post("/v2/**/blobs/uploads/"), 307, false),
            (Match::put("/v2/**/manifests/*"), 308, false),
        ];
        for (matcher, status, is_reached) in ways {
            let cell = Cell::new(place, kind, false);
            // The registry answers the first one itself, so that the login is known to be needed.
            let answer = Answer::status(status).header("location", &format!("{}/v2/x?token=1", cell.elsewhere()));
            let refused = if kind == Kind::Certificate { 0 } else { 1 };
            let fault = cell.home.faults().on(matcher, Times::Always, Action::Answer(answer));
            let outcome = cell.push().run();
            assert!(fault.hits() > 0, "{outcome}");
            cell.holds(&outcome, is_reached);
            if !is_reached {
                outcome.exits(5).writes_nothing();
            }
            let known = cell.home.log().requests().iter().filter(|request| request.header("authorization").is_some()).count();
            assert!(known >= refused, "the login was not sent to the registry itself: {outcome}");
        }
    });
}

#[test]
fn p6_a_token_realm_elsewhere_gets_no_credential() {
    each(|place, kind| {
        let cell = Cell::new(place, kind, true);
        let run = match kind {
            // A refresh token is posted to the realm.
            Kind::Bearer => tool("ocipush")
                .arg(cell.authority())
                .args(["manifests.tgz", "--new-record", "--ca-file", "ca.pem", "--registry-config", "config.json"])
                .folder(cell.folder.path()),
            Kind::Basic | Kind::Certificate => cell.push(),
        };
        let outcome = run.run();
        outcome.exits(5).writes_nothing().says("its token realm 'http");
        cell.holds(&outcome, false);
    });
}

#[test]
fn p42_a_proxy_gets_no_credential_of_the_registry() {
    each(|place, kind| {
        if place == Place::LinkLocal {
            // Only the user names a proxy; nobody can redirect there.
            return;
        }
        let cell = Cell::new(place, kind, false);
        for status in ["407 Proxy Authentication Required", "401 Unauthorized", "302 Found", "200 OK"] {
            cell.attacker.answer(status);
            let outcome = cell.push().env("HTTPS_PROXY", cell.elsewhere()).args(["--timeout", "5s"]).run();
            outcome.writes_nothing();
            // A TLS proxy could ask for the registry's client certificate.
            let is_refused = kind == Kind::Certificate && place != Place::Downgrade;
            cell.holds(&outcome, !is_refused);
            if is_refused {
                outcome.exits(5).says("the client certificate for it would be shown to the proxy");
            }
        }
        assert_eq!(cell.home.log().connections(), 0);
    });
}

/// The AWS SDK chooses its URLs itself; the transport enforces the rule.
#[test]
fn p42_the_client_certificate_for_ecrs_api_is_shown_to_no_proxy() {
    let certs = Certs::new(&[]);
    let attacker = Attacker::start(&certs, false);
    let folder = TempDir::new().unwrap();
    let client = certs.client("admin");
    for (name, text) in [("ca.pem", certs.ca_pem()), ("client.pem", &client.cert_pem), ("client-key.pem", &client.key_pem)] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    for status in ["407 Proxy Authentication Required", "200 OK"] {
        attacker.answer(status);
        let run = tool("ecr-password").folder(folder.path()).env("AWS_EC2_METADATA_DISABLED", "true");
        let run = run.env("AWS_ACCESS_KEY_ID", "AKIACANARY").env("AWS_SECRET_ACCESS_KEY", secret("canary/key+matrix"));
        let run = run.env("HTTPS_PROXY", format!("https://localhost:{}", attacker.port()));
        let run = run.args(["--region", "us-east-1", "--endpoint-url", "https://ecr.example", "--ca-file", "ca.pem"]);
        let outcome = run.args(["--cert-file", "client.pem", "--key-file", "client-key.pem", "--timeout", "5s"]).run();
        outcome.exits(5).writes_nothing().says("the client certificate for it would be shown to the proxy");
        assert!(!attacker.saw_a_certificate(), "{outcome}");
        assert_eq!(attacker.connections(), 0, "{outcome}");
    }
}

/// The requests of an undisturbed run: `METHOD PATH`, each once.
fn calls(requests: &[Request]) -> Vec<Match> {
    let mut calls: Vec<_> = requests.iter().map(|request| (request.method.clone(), request.path.clone())).collect();
    calls.sort_by_key(|(method, path)| (path.clone(), method.to_string()));
    calls.dedup();
    calls.into_iter().map(|(method, path)| Match::method(method, &path)).collect()
}

/// Misdirects each request of a run in turn. `run` creates a site, and returns its server and what to run.
fn astray<S>(least: usize, site: impl Fn() -> (S, Run), server: impl Fn(&S) -> &Server) {
    let certs = Certs::new(&[]);
    let straight = {
        let (site, run) = site();
        run.run().succeeds();
        calls(&server(&site).log().requests())
    };
    assert!(straight.len() >= least, "{straight:?}");
    for (number, call) in straight.into_iter().enumerate() {
        let attacker = Attacker::start(&certs, true);
        let (site, run) = site();
        let status = [301, 302, 303, 307, 308][number % 5];
        let answer = Answer::status(status).header("location", &format!("http://localhost:{}/v1/x?a=b", attacker.port()));
        let fault = server(&site).faults().on(call.clone(), Times::Always, Action::Answer(answer));
        let outcome = run.run();
        assert!(fault.hits() > 0, "{call:?}: {outcome}");
        register_tokens(&server(&site).log().requests());
        assert_eq!((attacker.connections(), find_secrets(&attacker.received())), (0, vec![]), "{call:?}: {outcome}");
    }
}

#[test]
fn l6_vertexs_cookie_and_passwords_follow_no_redirect_of_any_call() {
    let password = Private::new(ADMIN_PASSWORD);
    let login = || {
        let site = Site::start();
        let run = tool("vertex-login").arg(site.url()).arg("--password-file").arg(password.path()).record(&new_record());
        (site, run)
    };
    let flag = || {
        let site = Site::with_registry();
        let run = tool("pack-registry-set").args(["-u", "robot$packs", "--password-file"]).arg(site.registry_password.path());
        let run = run.record(&site.pushed());
        (site, run)
    };
    let specman = || {
        let site = Site::start();
        site.vertex.set_scar(json!({"endpoint": SPECMAN, "username": "", "password": ""}));
        site.vertex.set_persisted(true);
        site
    };
    let get = || {
        let site = specman();
        let record = json!({"record": "scar-tools/1", "session": site.session()});
        let run = tool("scar-get").arg("--validate").record(&record);
        (site, run)
    };
    let home = TempDir::new().unwrap();
    let set = || {
        let site = specman();
        site.vertex
            .set_scar(json!({"endpoint": "https://old.example", "username": "scar", "password": secret("canary-old-scar")}));
        let run = tool("scar-set").record(&site.persisted()).home(home.path()).args(["--settle", "1s", "--timeout", "3s"]);
        (site, run)
    };
    astray(1, login, |site| &site.server);
    astray(2, flag, |site| &site.server);
    astray(2, get, |site| &site.server);
    astray(3, set, |site| &site.server);
}

#[test]
fn s8_kubernetes_credentials_follow_no_redirect_of_any_call() {
    for certificate in [false, true] {
        let site = |replicas| {
            let site = KubeSite::new(replicas);
            if certificate {
                let client = site.certs.client("system:admin");
                site.configure(|config| {
                    config.login = Login::Certificate { certificate: client.cert_pem.clone(), key: client.key_pem.clone() };
                });
            }
            site
        };
        let remove = || {
            let site = site(0);
            let data = [("password".to_owned(), secret("canary-in-cluster").into_bytes())];
            site.cluster.put_secret("hubble-system", "spectro-manifest-registry-secrets", data.into());
            let run = site.tool("scar-secret-rm").record(&new_record());
            (site, run)
        };
        let wait = || {
            let site = site(1);
            let record: Value = new_record();
            let line = format!("time=\"{:.0}\" level=info msg=\"Persisting 0.0.0\"", jiff::Timestamp::now());
            scar_lab::PodLog::line(&*site.cluster, "specman-0", &line);
            let run = site.tool("specman-wait").record(&record).args(["--new-record", "--timeout", "3s"]);
            (site, run)
        };
        astray(2, remove, |site| &site.server);
        astray(3, wait, |site| &site.server);
    }
}
