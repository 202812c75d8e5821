//! scar-secret-rm against the lab's cluster: what it deletes, what it never touches, what it says.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, Instant};

use scar_kit::{Run, Signal, peer, program};
use scar_lab::certs::Certs;
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::kube::{Access, Ca, Login, Rule};
use scar_lab::proxy::{Manner, Proxy};
use scar_lab::server::Listener;
use scar_suites::{KubeSite, new_record};
use serde_json::{Value, json};

const NAME: &str = "spectro-manifest-registry-secrets";
const NAMESPACE: &str = "hubble-system";
const PATH: &str = "/api/v1/namespaces/hubble-system/secrets/spectro-manifest-registry-secrets";
const CANARY: &str = "canary-of-the-secret";

/// A cluster with the secret.
fn site() -> KubeSite {
    let site = KubeSite::new(0);
    seed(&site);
    site
}

fn seed(site: &KubeSite) -> String {
    scar_kit::secret(CANARY);
    let data = BTreeMap::from([("password".to_owned(), CANARY.as_bytes().to_vec()), ("username".to_owned(), b"scar".to_vec())]);
    site.cluster.put_secret(NAMESPACE, NAME, data);
    uid(site)
}

fn uid(site: &KubeSite) -> String {
    let object = site.cluster.object("secrets", NAMESPACE, NAME).expect("the secret is there");
    object["metadata"]["uid"].as_str().unwrap().to_owned()
}

fn is_there(site: &KubeSite) -> bool {
    site.cluster.object("secrets", NAMESPACE, NAME).is_some()
}

fn tool(site: &KubeSite) -> Run {
    site.tool("scar-secret-rm").record(&new_record())
}

fn requests(site: &KubeSite) -> Vec<String> {
    site.server.log().lines().into_iter().map(|line| line.replace(PATH, "SECRET")).collect()
}

#[test]
fn deletes_what_it_read_and_looks_again() {
    let site = site();
    let uid = uid(&site);
    let outcome = tool(&site).run();
    outcome.succeeds().tells("scar-secret-rm: deleted secret 'spectro-manifest-registry-secrets' in namespace 'hubble-system'\n");
    let expected = json!({"namespace": NAMESPACE, "name": NAME, "found": true, "deleted": true, "uid": uid});
    assert_eq!(outcome.json(), json!({"record": "scar-tools/1", "secret": expected}));
    assert!(!is_there(&site));
    assert_eq!(requests(&site), ["GET SECRET -> 200", "DELETE SECRET? -> 200", "GET SECRET -> 404"]);
    let delete = &site.server.log().matching(&Match::delete(PATH))[0];
    assert_eq!(delete.json()["preconditions"]["uid"], uid);
    assert!(delete.json()["preconditions"]["resourceVersion"].is_string());
}

#[test]
fn s2_an_absent_secret_is_a_success_each_time_and_a_failure_with_must_exist() {
    let site = KubeSite::new(0);
    for _ in 0..2 {
        let outcome = tool(&site).run();
        outcome.succeeds();
        outcome.says("secret 'spectro-manifest-registry-secrets' in namespace 'hubble-system' is absent: nothing to delete\n");
        assert_eq!(outcome.json()["secret"], json!({"namespace": NAMESPACE, "name": NAME, "found": false, "deleted": false}));
    }
    tool(&site).arg("--must-exist").run().fails(
        3,
        "scar-secret-rm: error: delete secret 'spectro-manifest-registry-secrets' in namespace 'hubble-system': it does not exist\n",
    );
}

#[test]
fn a_namespace_that_does_not_exist_is_no_success() {
    let site = KubeSite::new(0);
    tool(&site).args(["-n", "hubble"]).run().fails(
        2,
        "scar-secret-rm: error: look for namespace 'hubble': context 'lab' of 'FOLDER/kubeconfig' has none of that name\n\
         scar-secret-rm: hint: is this the right cluster? there is 'default', 'hubble-system', 'kube-system'\n",
    );
}

#[test]
fn a_404_of_something_on_the_way_is_no_success() {
    let site = site();
    for answer in [Answer::html(404, "<html><title>Not here</title>"), Answer::status(404).body("404 page not found")] {
        site.server.faults().on(Match::get(PATH), Times::First(1), Action::Answer(answer));
        tool(&site)
            .run()
            .exits(3)
            .writes_nothing()
            .says("hint: is the server of context 'lab' of 'FOLDER/kubeconfig' a Kubernetes API server?");
    }
    assert!(is_there(&site));
}

#[test]
fn get_and_delete_on_the_one_name_are_enough() {
    let rules = || ["get", "delete"].map(|verb| Rule::new(verb, "secrets").within(NAMESPACE).named(NAME)).to_vec();
    let site = site();
    site.cluster.set_access(Access::Only(rules()));
    tool(&site).args(["--backup", "b.json"]).run().succeeds();
    assert!(!is_there(&site));
    tool(&site).run().succeeds().says("is absent");
}

#[test]
fn s3_a_refusal_names_the_rule_to_ask_for() {
    let site = site();
    site.cluster.set_access(Access::Only(vec![Rule::new("get", "secrets")]));
    let outcome = tool(&site).run();
    outcome.exits(4).writes_nothing();
    outcome.says(
        "error: delete secret 'spectro-manifest-registry-secrets' in namespace 'hubble-system': no permission to delete secrets \
         'spectro-manifest-registry-secrets' in namespace 'hubble-system': DELETE SERVER",
    );
    outcome.says(
        "403 Forbidden: secrets \"spectro-manifest-registry-secrets\" is forbidden: User \"kubernetes-admin\" cannot delete",
    );
    outcome.says(
        "hint: ask the cluster's administrator for a Role in 'hubble-system' with the rule {apiGroups: [\"\"], resources: \
         [\"secrets\"], resourceNames: [\"spectro-manifest-registry-secrets\"], verbs: [\"delete\"]}\n",
    );
    site.cluster.set_access(Access::Only(vec![]));
    tool(&site).run().exits(4).says("no permission to get secrets");
    assert!(is_there(&site));
}

#[test]
fn wrong_credentials_are_refused_with_the_context() {
    let site = site();
    site.configure(|config| config.login = Login::Token("token-of-nobody".into()));
    let outcome = tool(&site).secret("token-of-nobody").run();
    outcome.exits(4).says("the cluster does not accept the credentials of context 'lab' of 'FOLDER/kubeconfig'");
}

#[test]
fn s4_a_secret_that_was_replaced_after_it_was_read_stays() {
    let site = site();
    let before = uid(&site);
    // The read is answered, and held back until the secret was replaced.
    let hold = site.server.faults().on(Match::delete(PATH), Times::First(1), Action::Delay(Duration::from_millis(1500)));
    let running = tool(&site).start();
    assert!(site.server.log().wait(Duration::from_secs(20), |all| all.iter().any(|r| r.method == "DELETE")));
    let after = seed(&site);
    let outcome = running.wait();
    assert_eq!(hold.hits(), 1);
    outcome.fails(
        7,
        &format!(
            "scar-secret-rm: error: delete secret 'spectro-manifest-registry-secrets' in namespace 'hubble-system': it was replaced \
             after it was read (uid {before} is now {after}); the new one was not touched\n\
             scar-secret-rm: hint: find out who made it; run this step again only if the new one is to go, too\n"
        ),
    );
    assert_eq!(uid(&site), after);
}

#[test]
fn s4_a_secret_that_was_changed_after_it_was_read_stays() {
    let site = site();
    site.server.faults().on(Match::delete(PATH), Times::First(1), Action::Delay(Duration::from_millis(1500)));
    let running = tool(&site).start();
    assert!(site.server.log().wait(Duration::from_secs(20), |all| all.iter().any(|r| r.method == "DELETE")));
    assert!(site.cluster.edit("secrets", NAMESPACE, NAME, |secret| secret["metadata"]["labels"] = json!({"changed": "1"})));
    running.wait().exits(7).writes_nothing().says("it was changed after it was read (resource version ");
    assert!(is_there(&site));
}

#[test]
fn s5_a_lost_reply_is_decided_by_another_look() {
    let site = site();
    let lost = site.server.faults().on(Match::delete(PATH), Times::First(1), Action::LoseReply);
    let outcome = tool(&site).run();
    assert_eq!(outcome.succeeds().json()["secret"]["deleted"], true);
    assert_eq!(lost.hits(), 1);
    assert_eq!(site.server.log().count(&Match::delete(PATH)), 1);
}

#[test]
fn s5_a_lost_reply_after_which_the_platform_made_it_anew_is_a_success() {
    let site = site();
    site.server.faults().on(Match::delete(PATH), Times::First(1), Action::LoseReply);
    let hold = site.server.faults().on(Match::get(PATH), Times::Nth(2), Action::Delay(Duration::from_millis(1500)));
    let running = tool(&site).start();
    assert!(site.server.log().wait(Duration::from_secs(20), |all| all.iter().filter(|r| r.method == "GET").count() == 2));
    let after = seed(&site);
    assert_eq!(running.wait().succeeds().json()["secret"]["deleted"], true);
    assert_eq!((hold.hits(), uid(&site)), (1, after));
}

#[test]
fn s6_finalizers_are_waited_for() {
    let site = site();
    site.cluster.edit("secrets", NAMESPACE, NAME, |secret| {
        secret["metadata"]["finalizers"] = json!(["keep.example/a", "keep.example/b"])
    });
    let outcome = tool(&site).args(["--timeout", "1s"]).run();
    outcome.fails(
        8,
        "scar-secret-rm: error: delete secret 'spectro-manifest-registry-secrets' in namespace 'hubble-system': its deletion waits \
         for the finalizers keep.example/a, keep.example/b\n\
         scar-secret-rm: hint: whatever set them must take them off; run this step again then, or with a longer --timeout\n",
    );
    // A second run finds it on its way out, and goes on waiting.
    let running = tool(&site).start();
    assert!(site.server.log().wait(Duration::from_secs(20), |all| all.iter().filter(|r| r.method == "GET").count() > 6));
    assert!(site.cluster.edit("secrets", NAMESPACE, NAME, |secret| secret["metadata"]["finalizers"] = json!([])));
    let outcome = running.wait();
    assert_eq!(outcome.succeeds().json()["secret"]["found"], true);
    assert_eq!(site.server.log().count(&Match::delete(PATH)), 1);
    assert!(!is_there(&site));
}

#[test]
fn s7_a_cluster_that_stumbles_is_asked_again_within_our_own_time() {
    for action in [
        Action::Answer(Answer::status(503)),
        Action::Answer(Answer::status(504)),
        Action::Answer(Answer::status(429).header("retry-after", "1")),
        Action::Reset,
        Action::CutReply(10),
    ] {
        let site = site();
        let read = site.server.faults().on(Match::get(PATH), Times::First(2), action.clone());
        let delete = site.server.faults().on(Match::delete(PATH), Times::First(2), action);
        let outcome = tool(&site).run();
        outcome.succeeds();
        assert_eq!(read.hits(), 2);
        assert!(delete.hits() >= 1, "{outcome}");
        assert!(!is_there(&site));
        assert!(outcome.took() < Duration::from_secs(15), "{outcome}");
    }
}

#[test]
fn s7_what_the_server_asks_to_wait_does_not_outlast_the_deadline() {
    let site = site();
    let answer = Answer::status(503).header("retry-after", "99999");
    site.server.faults().on(Match::any("/**"), Times::Always, Action::Answer(answer));
    let begun = Instant::now();
    let outcome = tool(&site).args(["--timeout", "3s"]).run();
    outcome.exits(6).writes_nothing().says("503 Service Unavailable").says("it is safe to run this step again");
    assert!(begun.elapsed() < Duration::from_secs(8), "{outcome}");
    assert!(is_there(&site));
}

#[test]
fn a_server_that_never_answers_ends_with_the_deadline() {
    let site = site();
    site.server.faults().on(Match::any("/**"), Times::Always, Action::Stall);
    let outcome = tool(&site).args(["--timeout", "2s"]).run();
    outcome.exits(6).writes_nothing();
    assert!(outcome.took() < Duration::from_secs(7), "{outcome}");
}

#[test]
fn s8_another_name_needs_the_users_word() {
    let site = site();
    tool(&site).arg("other").run().fails(
        2,
        "scar-secret-rm: error: delete secret 'other': the migration deletes 'spectro-manifest-registry-secrets' and no other\n\
         scar-secret-rm: hint: add --yes if this one is meant\n",
    );
    assert_eq!(site.server.log().connections(), 0);
    site.cluster.put_secret(NAMESPACE, "other", BTreeMap::new());
    tool(&site).args(["other", "--yes"]).run().succeeds();
    assert!(site.cluster.object("secrets", NAMESPACE, "other").is_none() && is_there(&site));
}

#[test]
fn a_name_that_no_secret_can_have_is_refused() {
    let site = site();
    let outcome = tool(&site).args(["My_Secret", "--yes"]).run();
    outcome
        .exits(2)
        .writes_nothing()
        .says("'M' at 1 in 'My_Secret' is not allowed; a name has lower-case letters, digits, '-' and '.'");
    assert_eq!(site.server.log().connections(), 0);
}

fn behind(pair: &scar_lab::certs::Pair, certs: Certs) -> KubeSite {
    let site = KubeSite::behind(0, certs, Listener::tls(pair.server_config()));
    seed(&site);
    site
}

#[test]
fn s9_the_configured_certificate_itself_is_trusted_also_as_a_ca() {
    for pair in [Certs::new(&[]).self_signed(), Certs::new(&[]).self_signed_ca()] {
        let site = behind(&pair, Certs::new(&[]));
        site.configure(|config| config.ca = Ca::Inline(pair.cert_pem.clone()));
        tool(&site).run().succeeds();
        assert!(!is_there(&site));
    }
}

#[test]
fn s9_an_untrusted_certificate_is_shown_and_nothing_is_sent() {
    let certs = Certs::new(&[]);
    let site = behind(&certs.unknown_ca(), certs);
    let outcome = tool(&site).run();
    outcome.exits(5).writes_nothing();
    outcome.says("error: read secret 'spectro-manifest-registry-secrets' in namespace 'hubble-system': the certificate of '127.0.0.1' is not trusted: its issuer is not known here");
    outcome.says("SHA-256: ").says("kubectl config set-cluster lab --embed-certs --certificate-authority=server.pem");
    assert!(site.server.log().requests().is_empty());
    site.configure(|config| config.ca = Ca::Insecure);
    tool(&site).run().succeeds().says("warning: context 'lab' of 'FOLDER/kubeconfig' has insecure-skip-tls-verify");
}

#[test]
fn s9_tls_server_name_says_under_which_name_the_server_is_known() {
    let certs = Certs::new(&["api.cluster.example"]);
    let pair = certs.server().server_config();
    let site = KubeSite::behind(0, certs, Listener::tls(pair));
    seed(&site);
    site.configure(|config| config.tls_server_name = Some("elsewhere.example".into()));
    tool(&site)
        .run()
        .exits(5)
        .says("the certificate of 'elsewhere.example' is not trusted: it is for other names")
        .says("--tls-server-name");
    site.configure(|config| config.tls_server_name = Some("api.cluster.example".into()));
    tool(&site).run().succeeds();
}

#[test]
fn s9_a_client_certificate_says_who_asks_and_an_expired_one_is_told() {
    let site = site();
    let client = site.certs.client("root");
    let login =
        |pair: &scar_lab::certs::Pair| Login::Certificate { certificate: pair.cert_pem.clone(), key: pair.key_pem.clone() };
    site.configure(|config| config.login = login(&site.certs.expired_client("root")));
    let outcome = tool(&site).run();
    outcome.exits(5).says("use user 'lab' (context 'lab' of 'FOLDER/kubeconfig'): its client certificate expired at ");
    assert_eq!(site.server.log().connections(), 0);
    site.configure(|config| config.login = login(&client));
    tool(&site).run().succeeds();
    assert!(site.server.log().requests().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn s10_nothing_that_the_secret_holds_shows_at_any_verbosity() {
    // The kit fails every run that shows the canary, in base64 too.
    let site = site();
    tool(&site).args(["-vv", "--backup", "b.json"]).run().succeeds().says("GET SERVER/api/v1/namespaces/hubble-system/secrets/");
    let site = self::site();
    let broken = format!("{{\"kind\":\"Secret\",\"metadata\":{{\"name\":7}},\"data\":{{\"password\":\"{CANARY}\"}}}}");
    site.server.faults().on(Match::get(PATH), Times::Always, Action::Answer(Answer::status(200).body(broken)));
    tool(&site).arg("-vv").run().exits(7).says("it is not the object that was asked for");
    let words = Answer::json(500, &json!({"kind": "Status", "message": "etcd: no leader\u{1b}[2J", "code": 500}));
    site.server.faults().clear();
    site.server.faults().on(Match::get(PATH), Times::Always, Action::Answer(words));
    tool(&site).args(["-vv", "--timeout", "1s"]).run().exits(6).says("etcd: no leader\\x1b[2J");
    let token = site.cluster.token();
    let repeated = Answer::json(403, &json!({"kind": "Status", "message": format!("no rights for {token}"), "code": 403}));
    site.server.faults().clear();
    site.server.faults().on(Match::get(PATH), Times::Always, Action::Answer(repeated));
    tool(&site).arg("-vv").run().exits(4).says("no rights for (not shown)");
}

#[test]
fn a_backup_is_written_first_and_kubectl_restores_it() {
    let site = site();
    let before = site.cluster.object("secrets", NAMESPACE, NAME).unwrap();
    let outcome = tool(&site).args(["--backup", "backup.json"]).run();
    let file = site.folder().join("backup.json");
    assert_eq!(outcome.succeeds().json()["secret"]["backup"], "FOLDER/backup.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    let names: Vec<_> =
        std::fs::read_dir(site.folder()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().all(|name| !name.ends_with(".tmp")), "{names:?}");
    let text: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!((&text["data"], &text["type"]), (&before["data"], &before["type"]));
    for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields"] {
        assert!(text["metadata"].get(field).is_none(), "{field}");
    }
    let Some(kubectl) = peer("kubectl") else { return };
    program(kubectl).args(["apply", "-f"]).arg(&file).env("KUBECONFIG", site.kubeconfig()).run().succeeds();
    let after = site.cluster.object("secrets", NAMESPACE, NAME).unwrap();
    assert_eq!((&after["data"], &after["type"]), (&before["data"], &before["type"]));
}

#[test]
fn the_first_backup_is_kept_and_a_newer_secret_stays() {
    let site = site();
    let first = uid(&site);
    // The delete fails for good: the backup is there, the secret too.
    site.server.faults().on(Match::delete(PATH), Times::First(1), Action::Answer(Answer::status(403)));
    tool(&site).args(["--backup", "b.json"]).run().exits(4);
    let file = site.folder().join("b.json");
    let kept = std::fs::read(&file).unwrap();
    site.cluster.edit("secrets", NAMESPACE, NAME, |secret| secret["metadata"]["labels"] = json!({"later": "1"}));
    let outcome = tool(&site).args(["--backup", "b.json"]).run();
    outcome.succeeds().says("warning: 'FOLDER/b.json' is of an earlier state of this secret and is kept as it is\n");
    assert_eq!(std::fs::read(&file).unwrap(), kept);
    // Absent, and the backup from before is still told.
    assert_eq!(tool(&site).args(["--backup", "b.json"]).run().succeeds().json()["secret"]["backup"], "FOLDER/b.json");
    let second = seed(&site);
    site.server.log().clear();
    let outcome = tool(&site).args(["--backup", "b.json"]).run();
    outcome.exits(7).writes_nothing();
    outcome.says(&format!("error: keep the first backup 'FOLDER/b.json': it is of the secret with uid {first}, but the one that is there now has uid {second}"));
    outcome.says(
        "hint: the platform made the secret anew after the migration's step was done: it stays; go on with the next step\n",
    );
    assert_eq!(site.server.log().count(&Match::delete("/**")), 0);
    assert_eq!((uid(&site), std::fs::read(&file).unwrap()), (second, kept));
}

#[test]
fn a_file_that_is_no_backup_is_never_overwritten() {
    let site = site();
    std::fs::write(site.folder().join("notes"), "mine\n").unwrap();
    std::fs::create_dir(site.folder().join("folder")).unwrap();
    symlink("elsewhere", site.folder().join("link")).unwrap();
    for (path, says) in [
        ("notes", "it exists and is no backup of secret 'spectro-manifest-registry-secrets'"),
        ("folder", "it is no regular file"),
        ("link", "it is a symbolic link"),
        ("none/b.json", "folder 'FOLDER/none': no such file or directory"),
        ("-", "a backup goes into a file"),
    ] {
        tool(&site).args(["--backup", path]).run().exits(2).writes_nothing().says(says);
    }
    assert_eq!(std::fs::read_to_string(site.folder().join("notes")).unwrap(), "mine\n");
    assert!(!site.folder().join("elsewhere").exists());
    assert_eq!(site.server.log().connections(), 0);
}

#[test]
fn a_backup_that_cannot_be_written_leaves_the_secret() {
    let Some(strace) = peer("strace") else { return };
    for call in ["fsync:error=EIO", "renameat2,linkat,rename,renameat:error=EIO"] {
        let site = site();
        let tool = scar_kit::binary("scar-secret-rm");
        let outcome = program(strace.clone())
            .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("inject={call}")])
            .arg(tool)
            .args(["--backup", "b.json"])
            .env("KUBECONFIG", site.kubeconfig())
            .folder(site.folder())
            .record(&new_record())
            .run();
        outcome.exits(1).writes_nothing().says("save the secret in '").says("input/output error");
        assert!(is_there(&site), "{call}");
        assert_eq!(site.server.log().count(&Match::delete("/**")), 0);
    }
}

#[test]
fn a_dry_run_reads_and_says() {
    let site = site();
    let uid = uid(&site);
    let outcome = tool(&site).args(["--dry-run", "--backup", "b.json"]).run();
    assert_eq!(outcome.succeeds().json(), json!({"record": "scar-tools/1", "dry_run": true}));
    outcome.says("would save secret 'spectro-manifest-registry-secrets' in namespace 'hubble-system' in the backup\n");
    outcome
        .says(&format!("would delete secret 'spectro-manifest-registry-secrets' in namespace 'hubble-system' (uid {uid}, made "));
    assert!(is_there(&site) && !site.folder().join("b.json").exists());
    assert!(site.server.log().requests().iter().all(|request| request.method == "GET"));
}

#[test]
fn s1_a_kubeconfig_that_cannot_be_used_is_told_before_anything_is_read_or_sent() {
    let site = site();
    let file = |name: &str, text: &str| {
        let path = site.folder().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let good = std::fs::read_to_string(site.kubeconfig()).unwrap();
    let cases = [
        (file("tab", &good.replace("    server", "\tserver")), None, "kubeconfig 'FOLDER/tab': line 6 is indented with a tab"),
        (file("yaml", "a: [\n"), None, "kubeconfig 'FOLDER/yaml': line "),
        (file("current", &good.replace("current-context", "x")), None, "kubeconfig 'FOLDER/current': no current context is set"),
        (site.kubeconfig(), Some("other"), "kubeconfig 'FOLDER/kubeconfig': there is no context 'other'"),
        (site.folder().join("none"), None, "kubeconfig 'FOLDER/none': no such file or directory"),
        (file("data", &good.replace("authority-data: \"", "authority-data: \"%")), None, "the data is not base64"),
        (
            file("socks", &good.replace("    server", "    proxy-url: socks5://p:1\n    server")),
            None,
            "proxies of the kind 'socks5' are not supported",
        ),
        (file("plain", &good.replace("https://127.0.0.1", "http://k8s.example")), None, "plain HTTP would show credentials"),
    ];
    for (path, context, says) in cases {
        // Standard input stays open and empty: a tool that read it would wait.
        let mut run = site.tool("scar-secret-rm").stdin_terminal().arg("--kubeconfig").arg(path);
        if let Some(context) = context {
            run = run.args(["--context", context]);
        }
        let outcome = run.run();
        outcome.says(says).writes_nothing();
        assert_eq!(outcome.status(), if says.starts_with("plain") { 5 } else { 2 }, "{outcome}");
    }
    assert_eq!(site.server.log().connections(), 0);
}

#[test]
fn s1_a_list_of_kubeconfigs_passes_over_what_is_missing() {
    let site = site();
    let list = format!("{}:{}", site.folder().join("none").display(), site.kubeconfig().display());
    let outcome = tool(&site).env("KUBECONFIG", list).arg("-v").run();
    outcome.succeeds().says("kubeconfig 'FOLDER/none' does not exist\n").says("context 'lab' of 'FOLDER/kubeconfig'");
}

#[test]
fn s1_a_plugin_hands_out_the_token_and_reads_no_record() {
    let site = site();
    let script = site.folder().join("plugin");
    let token = site.cluster.token();
    let text = format!(
        "#!/bin/sh\ncat >{}/stdin\necho '{{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{{\"token\":\"{token}\"}}}}'\n",
        site.folder().display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    site.configure(|config| config.login = Login::Exec { command: script.display().to_string(), arguments: vec![] });
    tool(&site).arg("-vv").run().succeeds();
    assert_eq!(std::fs::read_to_string(site.folder().join("stdin")).unwrap(), "");
    site.configure(|config| config.login = Login::Exec { command: "no-such-plugin".into(), arguments: vec![] });
    tool(&site)
        .run()
        .exits(2)
        .says("find the exec plugin 'no-such-plugin' of user 'lab' (context 'lab' of 'FOLDER/kubeconfig'): it is not installed");
}

#[test]
fn a_plugin_may_hand_out_a_client_certificate() {
    let site = site();
    let client = site.certs.client("root");
    let status = json!({"clientCertificateData": client.cert_pem, "clientKeyData": client.key_pem});
    let credential = site.folder().join("credential");
    std::fs::write(&credential, json!({"kind": "ExecCredential", "status": status}).to_string()).unwrap();
    let arguments = vec![credential.display().to_string()];
    site.configure(|config| config.login = Login::Exec { command: "cat".into(), arguments });
    let outcome = tool(&site).arg("-vv").run();
    outcome.succeeds();
    assert!(!outcome.stderr().contains("PRIVATE KEY"));
    assert!(site.server.log().requests().iter().all(|request| request.header("authorization").is_none()));
    // One that hands out nothing is told, and nothing that it wrote is.
    std::fs::write(&credential, "canary-of-the-plugin").unwrap();
    let outcome = tool(&site).secret("canary-of-the-plugin").run();
    outcome.exits(4).says(
        "ask the exec plugin 'cat' of user 'lab' (context 'lab' of 'FOLDER/kubeconfig'): what it wrote is no ExecCredential",
    );
}

#[test]
fn the_proxy_is_used_named_when_it_refuses_and_gone_around_for_no_proxy() {
    let site = site();
    let login = Manner::Login { user: "user".into(), password: "proxy-canary-1".into() };
    let proxy = Proxy::start(login);
    scar_kit::secret("proxy-canary-1");
    let target = format!("127.0.0.1:{}", site.server.port());
    tool(&site)
        .env("HTTPS_PROXY", proxy.url())
        .run()
        .exits(4)
        .says("from the proxy: it wants a login (407)")
        .says("hint: give the proxy's login");
    proxy.behave(Manner::Refuse);
    let refused = tool(&site).env("HTTPS_PROXY", proxy.url()).args(["--timeout", "2s"]).run();
    refused.exits(6).says("from the proxy: it refused the connection to the server");
    assert!(site.server.log().requests().is_empty());
    proxy.behave(Manner::Login { user: "user".into(), password: "proxy-canary-1".into() });
    let outcome = tool(&site).env("HTTPS_PROXY", proxy.url_with("user", "proxy-canary-1")).arg("-vv").run();
    outcome.succeeds().says(&format!("through the proxy '{}'", proxy.url()));
    let asked = proxy.asked().pop().unwrap();
    assert_eq!((asked.target.as_str(), asked.status), (target.as_str(), Some(200)));
    seed(&site);
    let before = proxy.asked().len();
    tool(&site).env("HTTPS_PROXY", proxy.url()).env("NO_PROXY", "127.0.0.0/8").run().succeeds();
    assert_eq!(proxy.asked().len(), before);
    // The kubeconfig's own proxy-url wins over NO_PROXY, as kubectl has it.
    seed(&site);
    proxy.behave(Manner::Open);
    let text = std::fs::read_to_string(site.kubeconfig()).unwrap();
    std::fs::write(site.kubeconfig(), text.replace("    server:", &format!("    proxy-url: {}\n    server:", proxy.url())))
        .unwrap();
    tool(&site).env("NO_PROXY", "*").run().succeeds();
    assert!(proxy.asked().len() > before);
}

#[test]
fn an_interrupt_ends_it_with_130() {
    let site = site();
    site.server.faults().on(Match::get(PATH), Times::Always, Action::Stall);
    let running = tool(&site).start();
    assert!(site.server.log().wait(Duration::from_secs(20), |all| !all.is_empty()));
    running.signal(Signal::INT);
    running.wait().fails(130, "scar-secret-rm: error: interrupted\n");
    assert!(is_there(&site));
}
