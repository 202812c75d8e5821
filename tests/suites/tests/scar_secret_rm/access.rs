//! Access to the cluster: kubeconfig, permissions, plugins, certificates and the proxy.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use scar_lab::certs::Certs;
use scar_lab::faults::Match;
use scar_lab::kube::{Access, Ca, Login, Rule, Webhook};
use scar_lab::proxy::{Manner, Proxy};
use scar_lab::server::Listener;
use scar_suites::KubeSite;
use serde_json::json;

use crate::{NAME, NAMESPACE, PATH, is_there, seed, site, tool};

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
fn s9_the_certificate_is_checked_for_tls_server_name() {
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
    // The name is for TLS alone.
    let host = site.server.authority();
    assert!(site.server.log().requests().iter().all(|request| request.header("host") == Some(&host)));
    seed(&site);
    let proxy = Proxy::start(Manner::Open);
    tool(&site).env("HTTPS_PROXY", proxy.url()).run().succeeds();
    assert!(proxy.asked().iter().all(|asked| asked.target == host));
}

#[test]
fn s9_a_client_certificate_is_presented_and_an_expired_one_is_reported() {
    let site = site();
    let client = site.certs.client("root");
    let login =
        |pair: &scar_lab::certs::Pair| Login::Certificate { certificate: pair.cert_pem.clone(), key: pair.key_pem.clone() };
    site.configure(|config| config.login = login(&site.certs.expired_client("root")));
    let outcome = tool(&site).run();
    outcome.exits(5).says("use user 'lab' (context 'lab' of 'FOLDER/kubeconfig'): its client certificate expired at ");
    assert_eq!(site.server.log().connections(), 0);
    site.configure(|config| config.login = login(&client));
    // A proxy with TLS could ask for it, too.
    let outcome = tool(&site).env("HTTPS_PROXY", "https://127.0.0.1:1").run();
    outcome
        .exits(5)
        .writes_nothing()
        .says("the client certificate for it would be shown to the proxy 'https://127.0.0.1:1', too");
    tool(&site).run().succeeds();
    assert!(site.server.log().requests().iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn s1_a_kubeconfig_that_cannot_be_used_is_reported_before_anything_is_read_or_sent() {
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
        // Standard input stays open and empty, so that a tool that reads it would hang.
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
fn s1_missing_files_in_a_kubeconfig_list_are_skipped() {
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

/// One that waits for a person, who must see what it says.
#[test]
fn q32_a_plugin_that_outlasts_the_time_limit_is_named_with_its_own_words() {
    let site = site();
    let script = "echo 'open https://login.example and enter AB-12' >&2; exec sleep 60";
    let arguments = ["-c", script].map(str::to_owned).to_vec();
    site.configure(|config| config.login = Login::Exec { command: "sh".into(), arguments });
    let outcome = tool(&site).args(["--timeout", "2s"]).run();
    outcome.exits(8).writes_nothing().says("ask the exec plugin 'sh' of user 'lab' (context 'lab' of 'FOLDER/kubeconfig'): ");
    outcome.says("it did not end within 2 s: open https://login.example and enter AB-12\n").never_says("firewall");
}

#[test]
fn a_plugin_may_hand_out_a_client_certificate() {
    let site = site();
    let client = site.certs.client("root");
    let status = json!({"clientCertificateData": client.cert_pem, "clientKeyData": client.key_pem});
    let credential = site.folder().join("credential");
    let api = "client.authentication.k8s.io/v1";
    std::fs::write(&credential, json!({"apiVersion": api, "kind": "ExecCredential", "status": status}).to_string()).unwrap();
    let arguments = vec![credential.display().to_string()];
    site.configure(|config| config.login = Login::Exec { command: "cat".into(), arguments });
    let outcome = tool(&site).arg("-vv").run();
    outcome.succeeds();
    assert!(!outcome.stderr().contains("PRIVATE KEY"));
    assert!(site.server.log().requests().iter().all(|request| request.header("authorization").is_none()));
    // A plugin without an answer is reported, but not its output.
    std::fs::write(&credential, "canary-of-the-plugin").unwrap();
    let outcome = tool(&site).secret("canary-of-the-plugin").run();
    outcome.exits(4).says(
        "ask the exec plugin 'cat' of user 'lab' (context 'lab' of 'FOLDER/kubeconfig'): its output is not an ExecCredential",
    );
}

#[test]
fn the_proxy_is_used_named_when_it_refuses_and_bypassed_for_no_proxy() {
    let site = site();
    let login = Manner::Login { user: "user".into(), password: "proxy-canary-1".into() };
    let proxy = Proxy::start(login);
    scar_kit::secret("proxy-canary-1");
    let target = format!("127.0.0.1:{}", site.server.port());
    tool(&site)
        .env("HTTPS_PROXY", proxy.url())
        .run()
        .exits(4)
        .says(&format!("from the proxy '{}': it requires a login (407)", proxy.url()))
        .says("hint: put the proxy's login into HTTPS_PROXY");
    proxy.behave(Manner::Refuse);
    let refused = tool(&site).env("HTTPS_PROXY", proxy.url()).args(["--timeout", "2s"]).run();
    refused.exits(6).says(&format!("from the proxy '{}': it refused the connection to the server", proxy.url()));
    proxy.behave(Manner::Silent);
    let silent = tool(&site).env("HTTPS_PROXY", proxy.url()).args(["--timeout", "18s", "-v"]).run();
    silent.exits(8).says(&format!("from the proxy '{}': no connection to the server in time", proxy.url()));
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
    // The kubeconfig's proxy-url takes precedence over NO_PROXY, as in kubectl.
    seed(&site);
    proxy.behave(Manner::Open);
    let text = std::fs::read_to_string(site.kubeconfig()).unwrap();
    std::fs::write(site.kubeconfig(), text.replace("    server:", &format!("    proxy-url: {}\n    server:", proxy.url())))
        .unwrap();
    tool(&site).env("NO_PROXY", "*").run().succeeds();
    let asked = proxy.asked().len();
    assert!(asked > before);
    // The user's option takes precedence over both.
    seed(&site);
    tool(&site).arg("--no-proxy").run().succeeds();
    assert_eq!(proxy.asked().len(), asked);
}

/// A webhook is not a permission: no RBAC rule helps.
#[test]
fn q54_a_webhook_that_denies_the_delete_is_named_whatever_code_it_chose() {
    for code in [400, 401, 403, 404, 409, 500] {
        let site = site();
        site.cluster.set_webhook(Some(("keep.policy.example", Webhook::Denies(code))));
        let outcome = tool(&site).run();
        outcome.exits(4).writes_nothing().says("': the admission webhook 'keep.policy.example' denies it: DELETE SERVER");
        outcome.says("denied the request: secrets stay\n").never_says("RBAC").never_says("Role").never_says("log in");
        assert_eq!(site.server.log().count(&Match::delete(PATH)), 1, "{outcome}");
        assert!(is_there(&site));
    }
}

#[test]
fn q54_a_webhook_that_could_not_be_asked_is_named_and_asked_again() {
    let site = site();
    site.cluster.set_webhook(Some(("keep.policy.example", Webhook::IsDown)));
    let outcome = tool(&site).args(["--timeout", "2s"]).run();
    outcome.exits(6).writes_nothing().says("the API server could not ask the admission webhook 'keep.policy.example': DELETE ");
    outcome.says("hint: make the webhook's service answer, or have its owner remove it").never_says("firewall");
    assert!(is_there(&site) && site.server.log().count(&Match::delete(PATH)) > 1);

    let running = tool(&site).start();
    site.server.log().clear();
    assert!(site.server.log().wait(Duration::from_secs(20), |all| all.iter().any(|request| request.method == "DELETE")));
    site.cluster.set_webhook(None);
    assert_eq!(running.wait().succeeds().json()["secret"]["deleted"], true);
}

#[test]
fn q54_a_webhook_that_is_silent_is_named_although_the_deadline_came_in_the_next_try() {
    let site = site();
    site.cluster.set_webhook(Some(("keep.policy.example", Webhook::TimesOut(Duration::from_secs(2)))));
    let outcome = tool(&site).args(["--timeout", "4s"]).run();
    outcome.exits(6).writes_nothing().says("the API server could not ask the admission webhook 'keep.policy.example': DELETE ");
    assert!(site.server.log().count(&Match::delete(PATH)) > 1);
}

/// What another deletes while the webhook keeps us from it was not deleted by us.
#[test]
fn q54_a_delete_that_a_webhook_held_up_was_not_done_by_us() {
    let site = site();
    site.cluster.set_webhook(Some(("keep.policy.example", Webhook::IsDown)));
    let running = tool(&site).start();
    assert!(site.server.log().wait(Duration::from_secs(20), |all| all.iter().any(|request| request.method == "DELETE")));
    site.cluster.remove("secrets", NAMESPACE, NAME);
    assert_eq!(running.wait().succeeds().json()["secret"]["deleted"], false);
}

#[test]
fn s3_a_request_without_a_login_is_reported_as_such() {
    let site = site();
    site.cluster.accept_anonymous(true);
    site.cluster.set_access(Access::Only(vec![]));
    site.configure(|config| config.login = Login::None);
    let outcome = tool(&site).run();
    outcome.exits(4).writes_nothing().says("User \"system:anonymous\" cannot get resource \"secrets\"");
    outcome.says("hint: the request came without a login: does context 'lab' of 'FOLDER/kubeconfig' hold a token or a client");
}
