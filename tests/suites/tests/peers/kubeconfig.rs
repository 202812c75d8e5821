//! Kubeconfigs, in one file or several, through kubectl.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use base64::Engine as _;
use scar_kit::{Outcome, peer, program, tool};
use scar_lab::log::Request;
use scar_suites::kubeconfig::{TEXTS, plugin};
use scar_suites::{KubeSite, Random, new_record};
use serde_json::{Value, json};

use crate::{Known, Verdict, each, is_known, same};

const NAME: &str = "spectro-manifest-registry-secrets";
const PATH: &str = "/api/v1/namespaces/hubble-system/secrets/spectro-manifest-registry-secrets";

use Verdict::{Accepted, Refused};

const DAMAGED: &str = "an entry without its name or its content is named with its line: the file is damaged";
const NUMBER: &str = "a number is taken for the text that it is written as";

const KNOWN: &[Known] = &[
    ("contexts+null", Accepted, DAMAGED),
    ("users+null", Accepted, DAMAGED),
    ("contexts+{\"name\":\"more\",\"context\":{}}", Accepted, DAMAGED),
    ("+{\"cluster\"", Accepted, DAMAGED),
    ("+{\"user\"", Accepted, DAMAGED),
    ("+{\"context\"", Accepted, DAMAGED),
    ("a key twice", Accepted, "which of two is meant is for the user to say"),
    ("an entry twice", Accepted, "which of two is meant is for the user to say (FAULTS, bad input 27)"),
    ("another is \"\\t\"", Refused, "a file of one tab says as little as an empty one"),
    ("\"certificate-authority-data\":\"%\"", Refused, "of a cluster that is not used"),
    (
        "HTTPS_PROXY=",
        Accepted,
        "Go reaches loopback without the environment's proxy; curl uses it, and so do we, unless NO_PROXY says so",
    ),
    ("https_proxy=proxy:1", Accepted, "a proxy needs its scheme (FAULTS, bad input 26)"),
    ("u:p@", Accepted, "an address with a login is refused (FAULTS Q25)"),
    ("[::1]", Accepted, "Go takes an address in brackets for a certificate's name"),
    ("127.1:", Refused, "an address is read as browsers read it"),
    ("=7", Refused, NUMBER),
    ("RAW:", Refused, NUMBER),
    ("\"value\":7", Refused, NUMBER),
];

#[test]
fn a_kubeconfig_works_here_if_it_works_in_kubectl() {
    let Some(kubectl) = peer("kubectl") else { return };
    each(60, |random| {
        let bench = Bench::new();
        let case = bench.draw(random);
        let run = |outcome: &dyn Fn() -> Outcome| {
            bench.site.server.log().clear();
            let outcome = outcome();
            let requests = bench.site.server.log().requests();
            (Verdict::of(&outcome), outcome, requests)
        };
        let theirs = run(&|| case.run(program(&kubectl).args(["get", "--raw", PATH]), &bench).stdin("").run());
        let ours = run(&|| case.run(tool("scar-secret-rm").arg("--dry-run"), &bench).record(&new_record()).run());
        same(&case.parts, (theirs.0, &theirs.1), (ours.0, &ours.1), KNOWN);
        // kubectl prompts if the user has no login.
        if theirs.0 == ours.0 && !is_known(&case.parts, KNOWN) && !theirs.1.stdout().contains("Username") {
            assert_eq!(
                identity(&theirs.2),
                identity(&ours.2),
                "DIFFERS in what is sent: {:?}\n{}\n{}",
                case.parts,
                theirs.1,
                ours.1
            );
        }
    });
}

/// Who the requests came from; `None` if nothing was sent.
fn identity(requests: &[Request]) -> Option<Vec<(String, String)>> {
    let last = requests.last()?;
    let says = |name: &str| name == "authorization" || name.starts_with("impersonate-");
    let mut headers: Vec<_> = last
        .headers
        .iter()
        .filter(|(name, _)| says(name.as_str()))
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    headers.sort();
    Some(headers)
}

/// A cluster with the secret, and the files that kubeconfigs name.
struct Bench {
    site: KubeSite,
}

/// The files of a kubeconfig, in the order of the list, and the words of a command line.
struct Case {
    parts: Vec<String>,
    list: String,
    arguments: Vec<String>,
    variables: Vec<(&'static str, String)>,
}

impl Case {
    fn run(&self, run: scar_kit::Run, bench: &Bench) -> scar_kit::Run {
        let run = run.args(&self.arguments).home(bench.site.folder()).env("KUBECONFIG", &self.list);
        self.variables.iter().fold(run, |run, (name, value)| run.env(name, value))
    }
}

/// A change: its name, the section and field, and the value; null removes the field.
type Change = (&'static str, Value);

impl Bench {
    fn new() -> Self {
        let site = KubeSite::new(0);
        site.cluster.put_secret("hubble-system", NAME, BTreeMap::from([("k".to_owned(), b"v".to_vec())]));
        let bench = Self { site };
        let client = bench.site.certs.client("root");
        let token = bench.site.cluster.token();
        let credential = |version: &str, status: Value| {
            let version = format!("client.authentication.k8s.io/{version}");
            json!({"apiVersion": version, "kind": "ExecCredential", "status": status}).to_string()
        };
        let pair = json!({"clientCertificateData": client.cert_pem, "clientKeyData": client.key_pem});
        for folder in ["", "sub/"] {
            let keep = |name: &str, text: &str| bench.keep(&format!("{folder}{name}"), text);
            keep("ca.pem", bench.site.certs.ca_pem());
            keep("two.pem", &(scar_lab::certs::Certs::new(&[]).ca_pem().to_owned() + bench.site.certs.ca_pem()));
            keep("blank", "\n");
            keep("token", &format!("{token}\n"));
            keep("spaced", &format!(" {token} \r\n\n"));
            keep("wrong", "nobody's");
            keep("client.pem", &client.cert_pem);
            keep("client.key", &client.key_pem);
            keep("both.pem", &(client.key_pem.clone() + &client.cert_pem));
            keep("v1", &credential("v1", json!({"token": token})));
            keep("v1beta1", &credential("v1beta1", json!({"token": token})));
            keep("pair", &credential("v1", pair.clone()));
            keep("half", &credential("v1", json!({"token": token, "clientKeyData": client.key_pem})));
            keep("none", &credential("v1", json!({})));
            keep("no-status", &credential("v1", Value::Null));
            keep("old", &credential("v1", json!({"token": token, "expirationTimestamp": "2001-01-01T00:00:00Z"})));
            keep("later", &credential("v1", json!({"token": token, "expirationTimestamp": "later"})));
            keep("number", &credential("v1", json!({"token": 7})));
            keep("more", &credential("v1", json!({"token": token, "unknown": 1})));
            keep("twice", &(credential("v1", json!({"token": token})) + &credential("v1", json!({"token": token}))));
            keep("noise", &(credential("v1", json!({"token": token})) + "noise"));
            keep(
                "yaml",
                &format!("apiVersion: client.authentication.k8s.io/v1\nkind: ExecCredential\nstatus:\n  token: {token}\n"),
            );
            let plugin = format!("#!/bin/sh\nexec cat '{}'/\"$1\"\n", bench.site.folder().display());
            let path = keep("plugin", &plugin);
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
            keep("no-program", &plugin);
        }
        bench
    }

    fn keep(&self, name: &str, text: &str) -> PathBuf {
        let path = self.site.folder().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn file(&self, name: &str) -> Value {
        json!(self.site.folder().join(name))
    }

    /// A file in base64, as in a kubeconfig's data field.
    fn data(&self, file: &str) -> String {
        base64::engine::general_purpose::STANDARD.encode(std::fs::read(self.site.folder().join(file)).unwrap())
    }

    fn logins(&self) -> Vec<Vec<Change>> {
        let token = self.site.cluster.token();
        vec![
            vec![("user/token", json!(token))],
            vec![("user/token", json!(token))],
            vec![("user/tokenFile", self.file("token"))],
            vec![("user/tokenFile", json!("token"))],
            vec![("user/tokenFile", json!("../sub/token"))],
            vec![("user/tokenFile", json!("spaced"))],
            vec![("user/client-certificate", json!("client.pem")), ("user/client-key", self.file("client.key"))],
            vec![("user/client-certificate", json!("both.pem")), ("user/client-key", json!("both.pem"))],
            vec![
                ("user/client-certificate-data", json!(self.data("client.pem"))),
                ("user/client-key-data", json!(self.data("client.key"))),
            ],
            vec![("user/client-certificate-data", json!(self.data("client.pem"))), ("user/client-key", json!("client.key"))],
            vec![("user/username", json!("u")), ("user/password", json!("p"))],
            vec![("user/exec", plugin("v1"))],
            vec![("user/exec", plugin("pair"))],
            vec![("user/exec", plugin("v1beta1"))],
        ]
    }

    fn authorities(&self) -> Vec<Vec<Change>> {
        vec![
            vec![("cluster/certificate-authority", json!("ca.pem"))],
            vec![("cluster/certificate-authority", json!("./ca.pem"))],
            vec![("cluster/certificate-authority", self.file("ca.pem"))],
            vec![("cluster/certificate-authority", json!("two.pem"))],
            vec![("cluster/certificate-authority-data", json!(self.data("ca.pem")))],
            vec![("cluster/insecure-skip-tls-verify", json!(true))],
        ]
    }

    /// Additions and replacements: mistakes, contradictions, and harmless fields.
    fn twists(&self) -> Vec<Change> {
        let url = self.site.server.url();
        let exec = |field: &str, value: Value| {
            let mut exec = plugin("v1");
            exec[field] = value;
            exec
        };
        let wrapped =
            |text: String| text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line) + "\n").collect::<String>();
        let ca = self.data("ca.pem");
        vec![
            ("cluster/server", json!("")),
            ("cluster/server", Value::Null),
            ("cluster/server", json!(url.replace("https://", ""))),
            ("cluster/server", json!(url.replace("https://", "HTTPS://"))),
            ("cluster/server", json!(url.replace("127.0.0.1", "localhost"))),
            ("cluster/server", json!(url.replace("127.0.0.1", "127.1"))),
            ("cluster/server", json!(format!("{url}/"))),
            ("cluster/server", json!(format!("{url}//"))),
            ("cluster/server", json!(format!(" {url}"))),
            ("cluster/server", json!(format!("{url} "))),
            ("cluster/server", json!(format!("{url}?x=1"))),
            ("cluster/server", json!(format!("{url}#x"))),
            ("cluster/server", json!(url.replace("https://", "https://u:p@"))),
            ("cluster/server", json!(url.replace("https://", "http://"))),
            ("cluster/server", json!(7)),
            ("cluster/certificate-authority", json!("ca.pem")),
            ("cluster/certificate-authority", json!("missing")),
            ("cluster/certificate-authority", json!("token")),
            ("cluster/certificate-authority", json!("blank")),
            ("cluster/certificate-authority", json!("sub")),
            ("cluster/certificate-authority-data", json!(ca)),
            ("cluster/certificate-authority-data", json!(wrapped(ca.clone()))),
            ("cluster/certificate-authority-data", json!(ca.trim_end_matches('='))),
            ("cluster/certificate-authority-data", json!(format!(" {ca}"))),
            ("cluster/certificate-authority-data", json!(ca.replace('+', "-").replace('/', "_"))),
            ("cluster/certificate-authority-data", json!(self.data("client.pem"))),
            ("cluster/certificate-authority-data", json!(self.data("blank"))),
            ("cluster/certificate-authority-data", json!("%")),
            ("cluster/insecure-skip-tls-verify", json!(true)),
            ("cluster/insecure-skip-tls-verify", json!(false)),
            ("cluster/insecure-skip-tls-verify", Value::Null),
            ("cluster/insecure-skip-tls-verify", json!("true")),
            ("cluster/insecure-skip-tls-verify", json!("RAW:yes")),
            ("cluster/insecure-skip-tls-verify", json!("RAW:True")),
            ("cluster/insecure-skip-tls-verify", json!("RAW:~")),
            ("cluster/tls-server-name", json!("localhost")),
            ("cluster/tls-server-name", json!("LOCALHOST")),
            ("cluster/tls-server-name", json!("localhost.")),
            ("cluster/tls-server-name", json!("127.0.0.1")),
            ("cluster/tls-server-name", json!("::1")),
            ("cluster/tls-server-name", json!("[::1]")),
            ("cluster/tls-server-name", json!("elsewhere.example")),
            ("cluster/tls-server-name", json!("not a name")),
            ("cluster/tls-server-name", json!("under_score")),
            ("cluster/proxy-url", json!("proxy:1")),
            ("cluster/proxy-url", json!("http://127.0.0.1:1")),
            ("cluster/proxy-url", json!("ftp://127.0.0.1:1")),
            ("cluster/proxy-url", json!("socks5://127.0.0.1:1")),
            ("cluster/proxy-url", json!("//127.0.0.1:1")),
            ("cluster/disable-compression", json!(true)),
            ("cluster/disable-compression", json!("x")),
            ("cluster/extensions", json!([{"name": "minikube.sigs.k8s.io", "extension": {"a": 1}}])),
            ("cluster/extensions", json!([])),
            ("cluster/unknown", json!({"a": [1]})),
            ("cluster/Server", json!("https://elsewhere.example")),
            ("user/token", json!(self.site.cluster.token())),
            ("user/token", json!("nobody's")),
            ("user/token", json!(format!("{}\n", self.site.cluster.token()))),
            ("user/token", json!(format!(" {}", self.site.cluster.token()))),
            ("user/token", json!("a b")),
            ("user/token", json!("é")),
            ("user/token", json!(7)),
            ("user/token", json!("RAW:0x10")),
            ("user/token", json!("RAW:1e3")),
            ("user/token", json!("RAW:~")),
            ("user/token", json!("RAW:2001-01-01")),
            ("user/tokenFile", json!("token")),
            ("user/tokenFile", json!("missing")),
            ("user/tokenFile", json!("blank")),
            ("user/tokenFile", json!("sub")),
            ("user/tokenFile", json!("wrong")),
            ("user/username", json!("u")),
            ("user/username", json!("u:x")),
            ("user/username", json!("é")),
            ("user/username", json!(7)),
            ("user/password", json!("p")),
            ("user/client-certificate", json!("client.pem")),
            ("user/client-certificate", json!("missing")),
            ("user/client-certificate", json!("ca.pem")),
            ("user/client-certificate-data", json!(self.data("client.pem"))),
            ("user/client-key", json!("client.key")),
            ("user/client-key", json!("missing")),
            ("user/client-key-data", json!(self.data("client.key"))),
            ("user/client-key-data", json!("%")),
            ("user/as", json!("someone")),
            ("user/as", json!("sömeone")),
            ("user/as", json!("a b\tc")),
            ("user/as-uid", json!("7")),
            ("user/as-groups", json!([])),
            ("user/as-groups", json!(["g"])),
            ("user/as-groups", json!(["g", "h", ""])),
            ("user/as-groups", json!("g")),
            ("user/as-groups", Value::Null),
            ("user/as-user-extra", json!({"a/B": ["x"]})),
            ("user/as-user-extra", json!({"a": ["x", "y"], "é %": ["z"], "e": []})),
            ("user/as-user-extra", json!({})),
            ("user/exec", plugin("v1")),
            ("user/exec", plugin("half")),
            ("user/exec", plugin("none")),
            ("user/exec", plugin("no-status")),
            ("user/exec", plugin("old")),
            ("user/exec", plugin("later")),
            ("user/exec", plugin("number")),
            ("user/exec", plugin("more")),
            ("user/exec", plugin("twice")),
            ("user/exec", plugin("noise")),
            ("user/exec", plugin("yaml")),
            ("user/exec", plugin("wrong")),
            ("user/exec", exec("args", json!(["missing"]))),
            ("user/exec", exec("args", Value::Null)),
            ("user/exec", exec("command", json!(""))),
            ("user/exec", exec("command", json!("no-such-plugin"))),
            ("user/exec", exec("command", json!("./no-program"))),
            ("user/exec", exec("command", json!("plugin"))),
            ("user/exec", exec("command", json!("../sub/plugin"))),
            ("user/exec", exec("command", json!("./sub"))),
            ("user/exec", exec("command", self.file("plugin"))),
            ("user/exec", exec("apiVersion", json!(""))),
            ("user/exec", exec("apiVersion", json!("client.authentication.k8s.io/v1beta1"))),
            ("user/exec", exec("apiVersion", json!("client.authentication.k8s.io/v1alpha1"))),
            ("user/exec", exec("interactiveMode", Value::Null)),
            ("user/exec", exec("interactiveMode", json!(""))),
            ("user/exec", exec("interactiveMode", json!("Always"))),
            ("user/exec", exec("interactiveMode", json!("Never"))),
            ("user/exec", exec("interactiveMode", json!("Sometimes"))),
            ("user/exec", exec("env", json!([{"name": "", "value": "x"}]))),
            ("user/exec", exec("env", json!([{"name": "A", "value": "x"}]))),
            ("user/exec", exec("env", json!([{"name": "A"}]))),
            ("user/exec", exec("env", json!([{"name": "A", "value": "x", "more": "y"}]))),
            ("user/exec", exec("env", json!([{"name": "A", "value": 7}]))),
            ("user/exec", exec("env", Value::Null)),
            ("user/exec", exec("env", json!({"A": "x"}))),
            ("user/exec", exec("installHint", json!(""))),
            ("user/exec", exec("provideClusterInfo", json!(true))),
            ("user/exec", Value::Null),
            ("user/exec", json!({})),
            ("user/auth-provider", json!({"name": "gcp"})),
            ("user/auth-provider", json!({"name": "oidc", "config": {"id-token": "x"}})),
            ("user/auth-provider", Value::Null),
            ("user/extensions", json!([])),
            ("user/unknown", json!(1)),
            ("context/user", json!("other")),
            ("context/user", json!("")),
            ("context/user", Value::Null),
            ("context/cluster", json!("other")),
            ("context/cluster", json!("")),
            ("context/cluster", Value::Null),
            ("context/namespace", json!("Not_A_Name")),
            ("context/namespace", json!("elsewhere")),
            ("context/namespace", json!(7)),
            ("context/extensions", json!([{"name": "x", "extension": null}])),
            ("config/current-context", json!("")),
            ("config/current-context", json!("other")),
            ("config/current-context", Value::Null),
            ("config/current-context", json!(7)),
            ("config/kind", json!("Pod")),
            ("config/kind", Value::Null),
            ("config/kind", json!("")),
            ("config/kind", json!("config")),
            ("config/apiVersion", json!("v2")),
            ("config/apiVersion", Value::Null),
            ("config/apiVersion", json!("")),
            ("config/preferences", json!({})),
            ("config/preferences", json!({"colors": true})),
            ("config/preferences", json!([])),
            ("config/extensions", json!([{"name": "x", "extension": {}}])),
            ("config/extensions", json!({})),
            ("config/users", Value::Null),
            ("config/users", json!([])),
            ("config/users", json!("RAW:~")),
            ("config/clusters", json!("RAW:~")),
            ("config/contexts", json!("RAW:~")),
            ("config/unknown", json!([{}])),
        ]
    }

    /// Another entry, or a change of the one that is used.
    fn entries(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("clusters", json!({"name": "more", "cluster": {"server": "https://more.example"}})),
            ("clusters", json!({"name": "more", "cluster": {}})),
            ("clusters", json!({"name": "more"})),
            ("clusters", json!({"name": "more", "cluster": null})),
            ("clusters", json!({"name": "", "cluster": {"server": "https://more.example"}})),
            ("clusters", json!({"cluster": {"server": "https://more.example"}})),
            (
                "clusters",
                json!({"name": "more", "cluster": {"server": "https://more.example", "certificate-authority-data": "%"}}),
            ),
            ("clusters", json!({"name": "more", "cluster": {"server": "https://m.example", "certificate-authority": "missing"}})),
            ("users", json!({"name": "more", "user": {"token": "canary"}})),
            ("users", json!({"name": "more", "user": {"client-certificate": "missing", "client-key": "missing"}})),
            ("users", json!({"name": "more", "user": {"token": "x", "username": "y"}})),
            ("users", json!({"name": "more"})),
            ("users", json!({"name": "more", "user": null})),
            ("users", json!({"user": {}})),
            ("users", json!({"name": "more", "user": {"exec": {}}})),
            ("users", json!({"name": "more", "user": {"exec": {"apiVersion": "v7", "command": ""}}})),
            ("contexts", json!({"name": "more", "context": {"cluster": "none", "user": "none"}})),
            ("contexts", json!({"name": "more", "context": {}})),
            ("contexts", json!({"name": "more"})),
            ("contexts", json!({"name": "more", "context": null})),
            ("contexts", json!({"context": {"cluster": "lab", "user": "lab"}})),
            ("contexts", json!(null)),
            ("users", json!(null)),
            ("users", json!(7)),
        ]
    }

    /// A case of this seed.
    fn draw(&self, random: &mut Random) -> Case {
        let mut parts = Vec::new();
        let mut config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "clusters": [{"name": "lab", "cluster": {"server": self.site.server.url()}}],
            "users": [{"name": "lab", "user": {}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}]
        });
        let mut changes: Vec<Change> = Vec::new();
        for field in TEXTS {
            if random.one_in(20) {
                changes.push((field, json!("")));
            }
        }
        changes.extend(random.of(&self.logins()));
        changes.extend(random.of(&self.authorities()));
        for _ in 0..random.of(&[0, 0, 1, 1, 1, 2, 3]) {
            changes.push(random.of(&self.twists()));
        }
        for (field, value) in changes {
            parts.push(format!("{field}={}", shown(&value)));
            set(&mut config, field, value);
        }
        if random.one_in(3) {
            let (list, entry) = random.of(&self.entries());
            parts.push(format!("{list}+{entry}"));
            let at = random.below(2);
            if let Some(list) = config[list].as_array_mut() {
                if at == 0 { list.insert(0, entry) } else { list.push(entry) }
            }
        }
        let mut case = Case { parts, list: String::new(), arguments: Vec::new(), variables: Vec::new() };
        self.write(random, &mut case, config);
        match random.below(12) {
            0 => case.arguments.extend(["--context".to_owned(), "lab".to_owned()]),
            1 => case.arguments.extend(["--context".to_owned(), "other".to_owned()]),
            2 => case.variables.push(("HTTPS_PROXY", "http://127.0.0.1:1".to_owned())),
            3 => case
                .variables
                .extend([("HTTPS_PROXY", "http://127.0.0.1:1".to_owned()), ("NO_PROXY", "127.0.0.0/8,localhost".to_owned())]),
            4 => case.variables.push(("https_proxy", "proxy:1".to_owned())),
            _ => {}
        }
        case.parts.extend(case.arguments.iter().cloned());
        case.parts.extend(case.variables.iter().map(|(name, value)| format!("{name}={value}")));
        case
    }

    /// Writes the configuration to one file or several, in some form.
    fn write(&self, random: &mut Random, case: &mut Case, config: Value) {
        let folder = random.of(&["", "", "sub/"]);
        let name = |number: usize| format!("{folder}config-{number}");
        let mut files = vec![config];
        match random.below(8) {
            0 => {
                case.parts.push("files: cluster and user apart".to_owned());
                let mut second = json!({"apiVersion": "v1", "kind": "Config"});
                let from = files[0].as_object_mut().unwrap();
                second["users"] = from.shift_remove("users").unwrap_or_default();
                files.push(second);
            }
            1 => {
                case.parts.push("files: the second says otherwise".to_owned());
                files.push(json!({
                    "apiVersion": "v1", "kind": "Config", "current-context": "elsewhere",
                    "clusters": [{"name": "lab", "cluster": {"server": "https://elsewhere.example", "tls-server-name": "elsewhere.example"}}],
                    "users": [{"name": "lab", "user": {"token": "nobody's", "as": "someone"}}],
                    "contexts": [{"name": "lab", "context": {"cluster": "none", "user": "none", "namespace": "none"}}]
                }));
            }
            2 => {
                case.parts.push("files: the first has only a current context".to_owned());
                files.insert(0, json!({"apiVersion": "v1", "kind": "Config", "current-context": "lab"}));
            }
            3 => {
                let text =
                    random.of(&["", "\n", "---\n", "{}", "null", "[]", "7", "kind: Config\n", "a: b\n", "\u{feff}", ": :", "\t"]);
                case.parts.push(format!("files: another is {text:?}"));
                self.keep("odd", text);
                case.list.push_str(&format!("{}:", self.site.folder().join("odd").display()));
            }
            4 => {
                case.parts.push("files: one is missing".to_owned());
                case.list.push_str(&format!("{}:", self.site.folder().join("nowhere/config").display()));
            }
            5 => {
                case.parts.push("files: an entry twice".to_owned());
                let list = random.of(&["clusters", "users", "contexts"]);
                let entry = files[0][list].get(0).cloned();
                if let Some(list) = files[0][list].as_array_mut() {
                    list.extend(entry);
                }
            }
            _ => {}
        }
        for (number, file) in files.iter().enumerate() {
            let text = render(random, case, file);
            let path = self.keep(&name(number), "");
            std::fs::write(&path, text).unwrap();
            let separator = if number > 0 { ":" } else { "" };
            case.list.push_str(&format!("{separator}{}", path.display()));
        }
        if random.one_in(8) {
            case.parts.push("list: ends with a colon".to_owned());
            case.list.push(':');
        }
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.len() > 200 { format!("{}...", text.chars().take(30).collect::<String>()) } else { text }
}

fn set(config: &mut Value, path: &str, value: Value) {
    let (section, field) = path.split_once('/').unwrap();
    let entry = match section {
        "cluster" => config.pointer_mut("/clusters/0/cluster"),
        "user" => config.pointer_mut("/users/0/user"),
        "context" => config.pointer_mut("/contexts/0/context"),
        _ => Some(config),
    };
    // Another change may have removed it.
    let Some(object) = entry.and_then(Value::as_object_mut) else { return };
    match value {
        Value::Null => drop(object.shift_remove(field)),
        value => drop(object.insert(field.to_owned(), value)),
    }
}

/// The file's text: JSON, or YAML whose first level is in block style. `RAW:` marks a scalar without quotes.
fn render(random: &mut Random, case: &mut Case, config: &Value) -> Vec<u8> {
    let json = config.to_string();
    let form = if json.contains("RAW:") { 2 } else { random.below(9) };
    let raw = |text: String| regex::Regex::new(r#""RAW:([^"]*)""#).unwrap().replace_all(&text, "$1").into_owned();
    let block =
        || -> String { config.as_object().unwrap().iter().map(|(key, value)| raw(format!("{key}: {value}\n"))).collect() };
    let (name, text) = match form {
        0 => ("JSON", json),
        1 => ("JSON in lines", serde_json::to_string_pretty(config).unwrap()),
        3 => ("---", format!("---\n{}", block())),
        4 => ("CRLF", block().replace('\n', "\r\n")),
        5 => ("comments", format!("# a comment\n\n{}# and another\n", block())),
        6 => match random.below(4) {
            0 => ("byte order mark", format!("\u{feff}{}", block())),
            1 => ("two documents", format!("{}---\n{}", block(), block())),
            2 => ("ends with ...", format!("{}...\n", block())),
            _ => ("a key twice", format!("{}kind: Config\n", block())),
        },
        _ => ("YAML", block()),
    };
    case.parts.push(format!("form: {name}"));
    text.into_bytes()
}
