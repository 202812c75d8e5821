//! Login files, credential helpers and certs.d, through skopeo: both push the same archive, as the same user.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use scar_kit::{peer, program, tool};
use scar_lab::certs::Certs;
use scar_lab::registry::{Auth, Credentials, LabRegistry, RegistryOptions};
use scar_lab::server::Listener;
use scar_suites::Random;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::{Known, Verdict, archive, each, is_known, same};

use Verdict::{Accepted, Refused};

const CONTENT: &str = "a file whose content does not fit its name is named, not passed over";
const MALFORMED: &str = "a login that cannot be read is named, not passed over (FAULTS, bad input 32)";

const KNOWN: &[Known] = &[
    ("with garbage", Accepted, CONTENT),
    (".crt of 0 bytes", Accepted, CONTENT),
    ("a key without its certificate", Refused, "it is not used; a server that wants a certificate says so"),
    ("home/.config/docker/certs.d", Refused, "the folder of rootless Docker, which skopeo does not read"),
    ("home/.config/docker/certs.d", Accepted, "as above"),
    ("helper: missing", Refused, "a helper that is not installed is warned of (FAULTS Q47)"),
    ("helper of HOST: not found", Refused, "if the helper has no login, what the file holds counts"),
    ("helper of HOST: no ", Refused, "as above"),
    ("file: upper case", Accepted, "Go takes a field's name in any case"),
    ("HOST/v", Refused, "older versions of Docker wrote the version of the API after the host"),
    ("store: ", Refused, "skopeo reads credHelpers, but not Docker's credsStore"),
    (": empty", Refused, "Docker leaves an empty entry beside a store: the next key counts"),
    ("a key twice", Accepted, "which of two is meant is for the user to say"),
    ("no colon", Accepted, MALFORMED),
    ("no base64", Accepted, MALFORMED),
];

const PASSWORD: &str = "push:er=pass word";

#[test]
fn a_push_has_the_login_and_the_trust_that_skopeo_has() {
    let Some(skopeo) = peer("skopeo") else { return };
    each(24, |random| {
        let bench = Bench::new(random);
        let mut parts = bench.draw(random);
        parts.extend(bench.words.iter().map(|word| (*word).to_owned()));
        let reference = |tag: &str| format!("{}/a/b/c:{tag}", bench.registry.authority());
        let run = |run: scar_kit::Run| {
            bench.registry.log().clear();
            let path = format!("{}:/usr/bin:/bin", bench.folder.path().join("bin").display());
            let run = run.home(bench.folder.path().join("home")).folder(bench.folder.path()).env("PATH", path);
            let run = bench.variables.iter().fold(run, |run, (name, value)| run.env(name, bench.folder.path().join(value)));
            let outcome = run.run();
            (outcome, bench.logins_sent())
        };
        let theirs = program(&skopeo).args(["copy", "--insecure-policy", "--quiet"]);
        let theirs = theirs.args(bench.insecure.then_some("--dest-tls-verify=false"));
        let (theirs, they_sent) = run(theirs.arg("oci:layout:1").arg(format!("docker://{}", reference("theirs"))));
        let ours = tool("ocipush").arg(reference("ours")).args(["archive.tgz", "--new-record", "--retries", "0"]);
        let (ours, we_sent) = run(ours.args(bench.insecure.then_some(if bench.plain { "--plain-http" } else { "--insecure" })));
        same(&parts, (Verdict::of(&theirs), &theirs), (Verdict::of(&ours), &ours), KNOWN);
        assert!(
            is_known(&parts, KNOWN) || they_sent == we_sent,
            "DIFFERS in what is sent: {they_sent:?}, {we_sent:?}: {parts:?}\n{theirs}\n{ours}"
        );
    });
}

/// A registry and a host that may have a login to it.
struct Bench {
    registry: LabRegistry,
    certs: Certs,
    folder: TempDir,
    plain: bool,
    insecure: bool,
    words: Vec<&'static str>,
    variables: Vec<(&'static str, &'static str)>,
}

impl Bench {
    fn new(random: &mut Random) -> Self {
        let (certs, folder, mut words) = (Certs::new(&[]), TempDir::new().unwrap(), Vec::new());
        let plain = random.one_in(8);
        let wants_certificate = random.one_in(4);
        let open = random.one_in(6);
        let tls = match wants_certificate {
            true => certs.server().server_config_with_clients(certs.ca_pem(), true),
            false => certs.server_config(),
        };
        let listener = if plain { Listener::plain() } else { Listener::tls(tls) };
        let auth = if open { Auth::None } else { Auth::Basic(Credentials::new("pusher", PASSWORD)) };
        let registry = LabRegistry::start(RegistryOptions { listener, auth, ..RegistryOptions::default() });
        let insecure = plain || random.one_in(3);
        words.extend(
            [(plain, "plain HTTP"), (insecure, "insecure"), (wants_certificate && !plain, "wants a certificate"), (open, "open")]
                .iter()
                .filter(|(is, _)| *is)
                .map(|(_, word)| *word),
        );
        let (place, variable) = random.of(&[
            ("home/.docker/config.json", None),
            ("home/.docker/config.json", None),
            ("home/.config/containers/auth.json", None),
            ("run/containers/auth.json", Some(("XDG_RUNTIME_DIR", "run"))),
            ("auth.json", Some(("REGISTRY_AUTH_FILE", "auth.json"))),
            ("docker/config.json", Some(("DOCKER_CONFIG", "docker"))),
        ]);
        words.push(place);
        let bench = Self { registry, certs, folder, plain, insecure, words, variables: variable.into_iter().collect() };
        bench.keep("home/nothing", "");
        fs::write(bench.folder.path().join("archive.tgz"), archive()).unwrap();
        tool("ocipush")
            .args(["layout.example/a/b/c:1", "archive.tgz", "--new-record", "--oci-layout", "layout"])
            .folder(bench.folder.path())
            .run()
            .succeeds();
        bench
    }

    fn keep(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Who sent something, each once.
    fn logins_sent(&self) -> Vec<String> {
        let requests = self.registry.log().requests();
        let mut sent: Vec<_> = requests.iter().filter_map(|request| request.header("authorization").map(str::to_owned)).collect();
        // Of nobody: skopeo sends an empty user and password to a registry that asks for some.
        sent.retain(|sent| sent != "Basic Og==");
        sent.sort();
        sent.dedup();
        sent
    }

    fn draw(&self, random: &mut Random) -> Vec<String> {
        let mut parts = Vec::new();
        self.trust(random, &mut parts);
        let place = self.words.iter().find(|word| word.contains(".json")).unwrap();
        let text = self.logins(random, &mut parts);
        self.keep(place, &text);
        if *place != "home/.docker/config.json" && random.one_in(6) {
            parts.push("another file has no login".to_owned());
            self.keep("home/.docker/config.json", "{}");
        }
        parts
    }

    /// certs.d, and the client certificate in it.
    fn trust(&self, random: &mut Random, parts: &mut Vec<String>) {
        let authority = self.registry.authority();
        let below =
            random.of(&["home/.config/containers/certs.d", "home/.config/containers/certs.d", "home/.config/docker/certs.d"]);
        let folder = match random.below(8) {
            0 => authority.split(':').next().unwrap().to_owned(),
            1 => format!("{authority}/a"),
            _ => authority,
        };
        let at = format!("{below}/{folder}");
        let client = self.certs.client("pusher");
        let other = self.certs.client("other");
        let ca = self.certs.ca_pem();
        let strange = Certs::new(&[]).ca_pem().to_owned();
        let files: Vec<(&str, String)> = match random.below(12) {
            0 => vec![],
            1 => vec![("ca.pem", ca.to_owned())],
            2 => vec![("CA.CRT", ca.to_owned())],
            3 => vec![("ca.crt", strange)],
            4 => vec![("ca.crt", strange + ca)],
            5 => vec![("ca.crt", String::new()), ("more.crt", ca.to_owned())],
            6 => vec![("ca.crt", "garbage".to_owned()), ("more.crt", ca.to_owned())],
            7 => vec![("ca.crt", format!("{ca}garbage"))],
            8 => vec![("ca.crt", client.key_pem.clone() + ca)],
            9 => vec![("0.crt", strange), ("1.crt", ca.to_owned())],
            _ => vec![("ca.crt", ca.to_owned())],
        };
        let pair: Vec<(&str, String)> = match random.below(if self.words.contains(&"wants a certificate") { 8 } else { 14 }) {
            0 => vec![("client.cert", client.cert_pem)],
            1 => {
                parts.push("a key without its certificate".to_owned());
                vec![("client.key", client.key_pem)]
            }
            2 => vec![("client.cert", client.cert_pem), ("client.key", other.key_pem)],
            3 => vec![("client.cert", client.cert_pem.clone() + ca), ("client.key", client.key_pem)],
            4 => {
                vec![("a.cert", client.cert_pem), ("a.key", client.key_pem), ("b.cert", other.cert_pem), ("b.key", other.key_pem)]
            }
            5..=7 => vec![("client.cert", client.cert_pem), ("client.key", client.key_pem)],
            _ => vec![],
        };
        for (name, text) in files.iter().chain(&pair) {
            parts.push(format!(
                "{below}: {name} of {} bytes{}",
                text.len(),
                if text.contains("garbage") { " with garbage" } else { "" }
            ));
            self.keep(&format!("{at}/{name}"), text);
        }
        if folder != self.registry.authority() {
            parts.push(format!("certs.d of {}", if folder.contains('/') { "a path" } else { "the host without its port" }));
        }
    }

    /// The text of a login file.
    fn logins(&self, random: &mut Random, parts: &mut Vec<String>) -> String {
        let authority = self.registry.authority();
        let port = self.registry.port();
        let keys = [
            authority.clone(),
            authority.clone(),
            authority.clone(),
            format!("{authority}/"),
            format!("https://{authority}"),
            format!("https://{authority}/"),
            format!("https://{authority}/v1/"),
            format!("https://{authority}/v2/"),
            format!("https://{authority}/v2"),
            format!("http://{authority}"),
            format!("http://{authority}/v1/"),
            format!("HTTPS://{authority}"),
            format!("//{authority}"),
            format!("{authority}/v1"),
            format!("{authority}/v2/"),
            format!("{authority}/a"),
            format!("{authority}/a/"),
            format!("{authority}/a/b"),
            format!("{authority}/a/b/c"),
            format!("{authority}/a/b/c/d"),
            format!("{authority}/a/b/c:ours"),
            format!("{authority}/a/bb"),
            format!("{authority}/A"),
            format!("https://{authority}/a/b"),
            format!("https://u@{authority}"),
            format!("localhost:{port}"),
            "127.0.0.1".to_owned(),
            "https://index.docker.io/v1/".to_owned(),
            "*".to_owned(),
            "127.0.0.*".to_owned(),
            String::new(),
        ];
        let good = BASE64_STANDARD.encode(format!("pusher:{PASSWORD}"));
        let bad = |user: &str| BASE64_STANDARD.encode(format!("{user}:wrong"));
        let entry = |random: &mut Random, wrong: bool| match (wrong, random.below(18)) {
            (true, _) => ("wrong", json!({"auth": bad("other")})),
            (_, 0) => ("empty", json!({})),
            (_, 1) => ("empty auth", json!({"auth": ""})),
            (_, 2) => ("with a newline", json!({"auth": format!("{good}\n")})),
            (_, 3) => ("without padding", json!({"auth": good.trim_end_matches('=')})),
            (_, 4) => ("with NUL", json!({"auth": BASE64_STANDARD.encode(format!("pusher:{PASSWORD}\0\0"))})),
            (_, 5) => ("user and password", json!({"username": "pusher", "password": PASSWORD})),
            (_, 6) => ("auth, user and password", json!({"auth": good, "username": "other", "password": "wrong"})),
            (_, 7) => ("no colon", json!({"auth": BASE64_STANDARD.encode("pusher")})),
            (_, 8) => ("no base64", json!({"auth": "%%%"})),
            (_, 9) => ("null", Value::Null),
            (_, 10) => ("more fields", json!({"auth": good, "email": "a@b.example", "serveraddress": "x", "more": [1]})),
            (_, 11) => ("auth null", json!({"auth": null})),
            (_, 12) => ("no user", json!({"auth": BASE64_STANDARD.encode(format!(":{PASSWORD}"))})),
            (_, 13) => ("wrong", json!({"auth": bad("pusher")})),
            _ => ("good", json!({"auth": good})),
        };
        let mut auths = Map::new();
        for number in 0..random.of(&[0, 1, 1, 1, 2, 2, 3]) {
            let key = if number == 0 && !random.one_in(3) { authority.clone() } else { random.of(&keys) };
            let wrong = number > 0 && random.one_in(2);
            let (name, value) = entry(random, wrong);
            parts.push(format!("{}: {name}", key.replace(&authority, "HOST")));
            auths.insert(key, value);
        }
        let mut file = json!({"auths": auths});
        self.helpers(random, parts, &mut file);
        let (name, text) = match random.below(24) {
            0 => ("auths null", json!({"auths": null}).to_string()),
            1 => ("no auths", json!({"HttpHeaders": {"User-Agent": "x"}}).to_string()),
            2 => ("empty file", String::new()),
            3 => ("cut", file.to_string().trim_end_matches('}').to_owned()),
            4 => ("a list", "[]".to_owned()),
            5 => ("byte order mark", format!("\u{feff}{file}")),
            6 => ("text after it", format!("{file}garbage")),
            7 => ("upper case", file.to_string().replace("auths", "Auths")),
            8 => ("a key twice", file.to_string().replace("{\"auths\"", "{\"auths\":{},\"auths\"")),
            9 => {
                file["credHelpers"] = Value::Null;
                ("helpers null", file.to_string())
            }
            10 => {
                file["psFormat"] = json!("table");
                file["proxies"] = json!({"default": {"httpsProxy": "http://127.0.0.1:1"}});
                ("other fields", file.to_string())
            }
            _ => ("usual", file.to_string()),
        };
        parts.push(format!("file: {name}"));
        text
    }

    fn helpers(&self, random: &mut Random, parts: &mut Vec<String>, file: &mut Value) {
        let authority = self.registry.authority();
        let answer = json!({"ServerURL": authority, "Username": "pusher", "Secret": PASSWORD});
        let scripts = [
            ("good", format!("test \"$1\" = get && test \"$(cat)\" = {authority} && echo '{answer}'")),
            ("good", format!("echo '{answer}'")),
            ("not found", "echo 'credentials not found in native keychain'; exit 1".to_owned()),
            ("fails", "echo 'the keyring is locked' >&2; exit 1".to_owned()),
            ("nonsense", "echo nonsense".to_owned()),
            ("silent", ":".to_owned()),
            ("no user", "echo '{\"ServerURL\":\"\",\"Username\":\"\",\"Secret\":\"x\"}'".to_owned()),
            ("no secret", "echo '{\"ServerURL\":\"\",\"Username\":\"pusher\",\"Secret\":\"\"}'".to_owned()),
            ("wrong", "echo '{\"ServerURL\":\"\",\"Username\":\"pusher\",\"Secret\":\"wrong\"}'".to_owned()),
        ];
        let (which, script) = random.of(&scripts);
        self.keep("bin/docker-credential-lab", &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(self.folder.path().join("bin/docker-credential-lab"), fs::Permissions::from_mode(0o755)).unwrap();
        let own = [
            authority.clone(),
            authority.clone(),
            format!("https://{authority}"),
            format!("{authority}/a"),
            "127.0.0.1".to_owned(),
            "other.example".to_owned(),
        ];
        match random.below(10) {
            0 | 1 => {
                let key = random.of(&own);
                parts.push(format!("helper of {}: {which}", key.replace(&authority, "HOST")));
                file["credHelpers"] = json!({(key): "lab"});
            }
            2 => {
                parts.push(format!("store: {which}"));
                file["credsStore"] = json!("lab");
            }
            3 => {
                parts.push("helper: missing".to_owned());
                file["credHelpers"] = json!({(authority): "missing"});
            }
            4 if random.one_in(2) => {
                parts.push("store: missing".to_owned());
                file["credsStore"] = json!("missing");
            }
            5 if random.one_in(2) => {
                parts.push("store: empty name".to_owned());
                file["credsStore"] = json!("");
            }
            _ => {}
        }
    }
}
