//! Compares with the real kubectl: the tools accept and refuse the same kubeconfigs.
//!
//! Without kubectl the comparison is skipped; in CI it is required.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use scar_kit::{Outcome, peer, program};
use scar_suites::kubeconfig::{TEXTS, plugin};
use scar_suites::{KubeSite, new_record};
use serde_json::{Value, json};

const NAME: &str = "spectro-manifest-registry-secrets";
const PATH: &str = "/api/v1/namespaces/hubble-system/secrets/spectro-manifest-registry-secrets";

/// A cluster with the secret, its files, and the base kubeconfig of every case.
struct Bench {
    site: KubeSite,
    base: Value,
}

impl Bench {
    fn new() -> Self {
        let site = KubeSite::new(0);
        site.cluster.put_secret("hubble-system", NAME, BTreeMap::from([("k".to_owned(), b"v".to_vec())]));
        let client = site.certs.client("root");
        let token = site.cluster.token();
        let credential = |version: &str, status: Value| {
            json!({"apiVersion": format!("client.authentication.k8s.io/{version}"), "kind": "ExecCredential", "status": status})
                .to_string()
        };
        let keep = |name: &str, text: &str| std::fs::write(site.folder().join(name), text).unwrap();
        keep("ca.pem", site.certs.ca_pem());
        keep("blank", "\n");
        keep("token", &format!("{token}\n"));
        keep("client.pem", &client.cert_pem);
        keep("client.key", &client.key_pem);
        keep("v1", &credential("v1", json!({"token": token})));
        keep("v1beta1", &credential("v1beta1", json!({"token": token})));
        keep("half", &credential("v1", json!({"token": token, "clientKeyData": client.key_pem})));
        let base = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "lab",
            "clusters": [{"name": "lab", "cluster": {"server": site.server.url()}}],
            "users": [{"name": "lab", "user": {}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}]
        });
        Self { site, base }
    }

    /// The base with these changes: `/`-separated path and value; null removes it.
    fn write(&self, settings: &[(&str, Value)]) {
        let mut config = self.base.clone();
        for (path, value) in settings {
            let (section, field) = path.split_once('/').unwrap();
            let entry = match section {
                "cluster" => &mut config["clusters"][0]["cluster"],
                "user" => &mut config["users"][0]["user"],
                "context" => &mut config["contexts"][0]["context"],
                _ => &mut config,
            };
            let object = entry.as_object_mut().unwrap();
            match value {
                Value::Null => drop(object.shift_remove(field)),
                value => drop(object.insert(field.to_owned(), value.clone())),
            }
        }
        std::fs::write(self.site.kubeconfig(), config.to_string()).unwrap();
    }

    /// A file in base64, as in a kubeconfig's data field.
    fn data(&self, file: &str) -> Value {
        use base64::Engine as _;
        json!(base64::engine::general_purpose::STANDARD.encode(std::fs::read(self.site.folder().join(file)).unwrap()))
    }

    fn file(&self, name: &str) -> Value {
        json!(self.site.folder().join(name))
    }

    fn ours(&self) -> Outcome {
        self.site.tool("scar-secret-rm").arg("--dry-run").record(&new_record()).run()
    }

    fn kubectl(&self, kubectl: &Path) -> Outcome {
        let run = program(kubectl).args(["get", "--raw", PATH]).env("KUBECONFIG", self.site.kubeconfig());
        run.home(self.site.folder()).stdin("").run()
    }

    /// The valid credentials, each alone.
    fn logins(&self) -> Vec<Vec<(&'static str, Value)>> {
        vec![
            vec![("user/token", json!(self.site.cluster.token()))],
            vec![("user/tokenFile", self.file("token"))],
            vec![("user/tokenFile", json!("token"))],
            vec![("user/client-certificate", json!("client.pem")), ("user/client-key", self.file("client.key"))],
            vec![("user/client-certificate-data", self.data("client.pem")), ("user/client-key-data", self.data("client.key"))],
            vec![("user/exec", plugin("v1"))],
            vec![("user/exec", plugin("v1beta1"))],
        ]
    }

    /// The valid certificate settings, each alone.
    fn authorities(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("cluster/certificate-authority", json!("ca.pem")),
            ("cluster/certificate-authority", self.file("ca.pem")),
            ("cluster/certificate-authority-data", self.data("ca.pem")),
            ("cluster/insecure-skip-tls-verify", json!(true)),
        ]
    }

    /// Additions and replacements: mistakes, contradictions, and harmless fields.
    fn twists(&self) -> Vec<(&'static str, Value)> {
        let exec = |field: &str, value: Value| {
            let mut exec = plugin("v1");
            exec[field] = value;
            exec
        };
        vec![
            ("cluster/server", json!("")),
            ("cluster/server", json!(self.site.server.url().replace("https://", ""))),
            ("cluster/server", json!(format!("{}/", self.site.server.url()))),
            ("cluster/certificate-authority", json!("ca.pem")),
            ("cluster/certificate-authority", json!("missing")),
            ("cluster/certificate-authority", json!("token")),
            ("cluster/certificate-authority-data", self.data("ca.pem")),
            ("cluster/certificate-authority-data", self.data("client.pem")),
            ("cluster/insecure-skip-tls-verify", json!(true)),
            ("cluster/insecure-skip-tls-verify", json!(false)),
            ("cluster/tls-server-name", json!("localhost")),
            ("cluster/tls-server-name", json!("elsewhere.example")),
            ("cluster/proxy-url", json!("proxy:1")),
            ("user/token", json!(self.site.cluster.token())),
            ("user/token", json!("nobody's")),
            ("user/tokenFile", json!("token")),
            ("user/tokenFile", json!("missing")),
            ("user/tokenFile", json!("blank")),
            ("user/username", json!("u")),
            ("user/password", json!("p")),
            ("user/client-certificate", json!("client.pem")),
            ("user/client-certificate", json!("missing")),
            ("user/client-certificate-data", self.data("client.pem")),
            ("user/client-key", json!("client.key")),
            ("user/client-key-data", self.data("client.key")),
            ("user/as", json!("someone")),
            ("user/as-uid", json!("7")),
            ("user/as-groups", json!([])),
            ("user/as-groups", json!(["g"])),
            ("user/as-user-extra", json!({"a/B": ["x"]})),
            ("user/exec", plugin("v1")),
            ("user/exec", plugin("half")),
            ("user/exec", exec("args", json!(["missing"]))),
            ("user/exec", exec("command", json!(""))),
            ("user/exec", exec("command", json!("no-such-plugin"))),
            ("user/exec", exec("apiVersion", json!(""))),
            ("user/exec", exec("apiVersion", json!("client.authentication.k8s.io/v1beta1"))),
            ("user/exec", exec("apiVersion", json!("client.authentication.k8s.io/v1alpha1"))),
            ("user/exec", exec("interactiveMode", Value::Null)),
            ("user/exec", exec("interactiveMode", json!("Always"))),
            ("user/exec", exec("env", json!([{"name": "", "value": "x"}]))),
            ("user/exec", exec("env", json!([{"name": "A", "value": "x"}]))),
            ("user/exec", exec("provideClusterInfo", json!(true))),
            ("user/auth-provider", json!({"name": "gcp"})),
            ("context/user", json!("other")),
            ("context/cluster", json!("other")),
            ("context/namespace", json!("Not_A_Name")),
            ("config/current-context", json!("")),
            ("config/current-context", json!("other")),
            ("config/kind", json!("Pod")),
            ("config/kind", Value::Null),
            ("config/apiVersion", json!("v2")),
        ]
    }
}

fn script(bench: &Bench) {
    use std::os::unix::fs::PermissionsExt as _;
    let path = bench.site.folder().join("plugin");
    std::fs::write(&path, format!("#!/bin/sh\nexec cat '{}'/\"$1\"\n", bench.site.folder().display())).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn any_kubeconfig_works_if_it_works_in_kubectl_and_is_refused_if_kubectl_refuses_it() {
    let Some(kubectl) = peer("kubectl") else { return };
    let bench = Bench::new();
    script(&bench);
    let empty = subsequence(TEXTS.to_vec(), 0..=TEXTS.len());
    let twists = subsequence(bench.twists(), 0..=2);
    let strategy = (select(bench.logins()), select(bench.authorities()), empty, twists);
    let config = Config { cases: 60, failure_persistence: None, max_shrink_iters: 60, ..Config::default() };
    // The same cases in each run, so that only our changes can make it fail.
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    TestRunner::new_with_rng(config, rng)
        .run(&strategy, |(login, authority, empty, twists)| {
            let mut settings: Vec<(&str, Value)> = empty.into_iter().map(|field| (field, json!(""))).collect();
            settings.extend(login.into_iter().chain([authority]).chain(twists));
            bench.write(&settings);
            let asked = |run: &dyn Fn() -> Outcome| {
                bench.site.server.log().clear();
                (run(), !bench.site.server.log().requests().is_empty())
            };
            let (theirs, they_asked) = asked(&|| bench.kubectl(&kubectl));
            let (ours, we_asked) = asked(&|| bench.ours());
            let same = (theirs.status() == 0) == (ours.status() == 0);
            prop_assert!(same, "{settings:?}\nkubectl: {theirs}\nours: {ours}");
            // kubectl prompts if the user has no login.
            let prompted = theirs.stdout().contains("Username");
            prop_assert!(prompted || they_asked == we_asked, "{settings:?}\nkubectl: {theirs}\nours: {ours}");
            Ok(())
        })
        .unwrap();
}

#[test]
fn q43_an_empty_field_is_as_not_set() {
    let bench = Bench::new();
    script(&bench);
    let trusted = ("cluster/certificate-authority-data", bench.data("ca.pem"));
    for (empty, login) in [
        (vec!["user/token"], ("user/exec", plugin("v1"))),
        (vec!["user/username", "user/password"], ("user/exec", plugin("v1"))),
        (vec!["user/tokenFile", "user/client-certificate", "cluster/certificate-authority"], ("user/exec", plugin("v1"))),
        (TEXTS.iter().copied().filter(|field| !field.ends_with("authority-data")).collect(), ("user/tokenFile", json!("token"))),
    ] {
        let mut settings: Vec<_> = empty.into_iter().map(|field| (field, json!(""))).collect();
        settings.extend([trusted.clone(), login]);
        bench.write(&settings);
        bench.ours().succeeds();
    }
}

#[test]
fn a_key_without_its_certificate_is_not_read() {
    let bench = Bench::new();
    let login = ("user/token", json!(bench.site.cluster.token()));
    bench.write(&[("cluster/certificate-authority-data", bench.data("ca.pem")), login, ("user/client-key", json!("missing"))]);
    bench.ours().succeeds();
}

#[test]
fn q27_a_contradiction_is_refused_and_nothing_is_sent() {
    let bench = Bench::new();
    let trusted = ("cluster/certificate-authority-data", bench.data("ca.pem"));
    let login = ("user/token", json!(bench.site.cluster.token()));
    for (field, value, says) in [
        (
            "cluster/insecure-skip-tls-verify",
            json!(true),
            "use context 'lab' of 'FOLDER/kubeconfig': it has both a certificate authority and insecure-skip-tls-verify: true",
        ),
        ("cluster/certificate-authority", json!("ca.pem"), "both certificate-authority and certificate-authority-data"),
        ("user/as-groups", json!(["admins"]), "use user 'lab' (context 'lab' of 'FOLDER/kubeconfig'): it has as-uid, as-groups"),
        ("user/as-uid", json!("7"), "as-user-extra without as"),
        ("user/as-user-extra", json!({"scopes": ["x"]}), "as-user-extra without as"),
        ("user/username", json!("u"), "both a token and a username or password"),
        ("user/client-certificate", json!("client.pem"), "a client-certificate without its client-key"),
        ("config/kind", json!("Pod"), "read kubeconfig 'FOLDER/kubeconfig': it is not of the kind Config"),
    ] {
        bench.write(&[trusted.clone(), login.clone(), (field, value)]);
        bench.ours().exits(2).writes_nothing().says(says);
    }
    assert_eq!(bench.site.server.log().connections(), 0);
}
