//! Checks the lab's cluster with the real kubectl: what kubectl does not accept proves nothing about our tools.
//!
//! Without kubectl the tests are skipped; with `CI=true` they fail.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use scar_lab::PodLog as _;
use scar_lab::certs::Certs;
use scar_lab::kube::{Access, Ca, Cluster, Kubeconfig, Login, PodState, Rule, router};
use scar_lab::server::{Listener, Server};

const KUBECTL: &str = "/usr/bin/kubectl";
const LIMIT: Duration = Duration::from_secs(20);

struct Site {
    cluster: Arc<Cluster>,
    certs: Certs,
    server: Server,
    home: tempfile::TempDir,
}

impl Site {
    /// A cluster with one Specman, and an admin's kubeconfig. `None` without kubectl.
    fn start() -> Option<Self> {
        if !Path::new(KUBECTL).exists() {
            assert_ne!(std::env::var_os("CI"), Some("true".into()), "{KUBECTL} is missing");
            eprintln!("skipped: {KUBECTL} is missing");
            return None;
        }
        let (certs, cluster) = (Certs::new(&[]), Cluster::start());
        cluster.add_specman(1);
        let tls = certs.server().server_config_with_clients(certs.ca_pem(), false);
        let server = Server::start(router(cluster.clone()), Listener::tls(tls));
        let home = tempfile::tempdir().unwrap();
        let site = Self { cluster, certs, server, home };
        site.configure(Login::Token(site.cluster.token()));
        Some(site)
    }

    fn configure(&self, login: Login) {
        let mut config = Kubeconfig::new(&self.server.url(), Ca::Inline(self.certs.ca_pem().into()));
        config.login = login;
        config.namespace = Some("hubble-system".into());
        config.write(&self.home.path().join("config")).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(KUBECTL);
        command.args(arguments).env_clear().env("HOME", self.home.path());
        command.env("KUBECONFIG", self.home.path().join("config")).stdin(Stdio::null());
        command
    }

    /// Exit status, stdout, stderr.
    fn kubectl(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn done(&self, arguments: &[&str]) -> String {
        let (status, stdout, stderr) = self.kubectl(arguments);
        assert_eq!(status, 0, "kubectl {arguments:?}: {stderr}");
        stdout
    }

    fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn seed(&self, name: &str) {
        let data = BTreeMap::from([("username".to_owned(), b"scar".to_vec())]);
        self.cluster.put_secret("hubble-system", name, data);
    }
}

fn ended(child: Child) -> (i32, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn kubectl_lists_what_a_site_has() {
    let Some(site) = Site::start() else { return };
    assert!(site.done(&["version"]).contains("Server Version: v1.32.4"));
    let table = site.done(&["get", "pods"]);
    let words: Vec<&str> = table.split_whitespace().collect();
    assert_eq!(words[..9], ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "specman-0", "1/1", "Running", "0"]);
    assert_eq!(site.done(&["get", "pods", "-l", "app=specman", "-o", "name"]), "pod/specman-0\n");
    assert!(site.done(&["get", "po,sts,svc,pvc"]).contains("persistentvolumeclaim/data-specman-0"));
    assert!(site.done(&["get", "sc,csidrivers,ns,nodes", "-A"]).contains("namespace/hubble-system"));
    let owner = "jsonpath={.metadata.ownerReferences[0].name} {.status.containerStatuses[0].restartCount}";
    assert_eq!(site.done(&["get", "pod", "specman-0", "-o", owner]), "specman 0");
    assert!(site.done(&["api-resources"]).contains("statefulsets"));
    assert!(site.done(&["wait", "--for=condition=Ready", "pod/specman-0", "--timeout=10s"]).contains("condition met"));
}

#[test]
fn kubectl_deletes_the_secret_as_the_guide_does() {
    let Some(site) = Site::start() else { return };
    let name = "spectro-manifest-registry-secrets";
    site.seed(name);
    let delete = ["delete", "secret", name, "--namespace", "hubble-system"];
    let (status, stdout, _) = site.kubectl(&delete);
    assert_eq!(status, 0);
    assert!(stdout.starts_with(&format!("secret \"{name}\" deleted")), "{stdout}");
    assert_eq!(site.cluster.secret("hubble-system", name), None);
    let (status, _, stderr) = site.kubectl(&delete);
    assert_eq!((status, stderr), (1, format!("Error from server (NotFound): secrets \"{name}\" not found\n")));
}

#[test]
fn kubectl_waits_for_a_finalizer_and_can_take_it_off() {
    let Some(site) = Site::start() else { return };
    site.seed("held");
    let hold = |o: &mut serde_json::Value| o["metadata"]["finalizers"] = serde_json::json!(["lab.example/hold"]);
    site.cluster.edit("secrets", "hubble-system", "held", hold);
    let waiting = site.spawn(&["delete", "secret", "held", "--timeout=20s"]);
    let marked = |c: &Cluster| {
        let object = c.object("secrets", "hubble-system", "held").unwrap();
        !object["metadata"]["deletionTimestamp"].is_null()
    };
    assert!(site.cluster.wait(LIMIT, marked));
    let patch = r#"[{"op": "remove", "path": "/metadata/finalizers"}]"#;
    site.done(&["patch", "secret", "held", "--type=json", "-p", patch]);
    assert_eq!(ended(waiting).0, 0);
    assert_eq!(site.cluster.secret("hubble-system", "held"), None);
}

#[test]
fn kubectl_applies_a_secret_in_each_of_its_ways() {
    let Some(site) = Site::start() else { return };
    let file = site.home.path().join("secret.yaml");
    let path = file.to_str().unwrap().to_owned();
    let secret = |value: &str| {
        let text =
            format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\n  namespace: hubble-system\ndata:\n  k: {value}\n");
        std::fs::write(&file, text).unwrap();
    };
    let stored = || site.cluster.secret("hubble-system", "s").unwrap()["k"].clone();
    secret("b25l");
    assert_eq!(site.done(&["apply", "-f", &path]), "secret/s created\n");
    assert_eq!(stored(), b"one");
    secret("dHdv");
    assert_eq!(site.done(&["apply", "-f", &path]), "secret/s configured\n");
    assert_eq!(stored(), b"two");
    assert_eq!(site.done(&["apply", "-f", &path]), "secret/s unchanged\n");
    secret("dGhyZWU=");
    assert_eq!(site.done(&["apply", "--server-side", "--force-conflicts", "-f", &path]), "secret/s serverside-applied\n");
    assert_eq!(stored(), b"three");
    let (status, _, stderr) = site.kubectl(&["create", "-f", &path]);
    assert_eq!(status, 1);
    assert!(stderr.contains("secrets \"s\" already exists"), "{stderr}");
    secret("no base64!");
    assert_eq!(site.kubectl(&["apply", "-f", &path]).0, 1);
}

#[test]
fn kubectl_reads_logs_whole_narrowed_and_of_the_previous_container() {
    let Some(site) = Site::start() else { return };
    let at = |second: u32| format!("2024-12-06T12:43:{second}.25Z").parse().unwrap();
    site.cluster.line_at("specman-0", at(14), "Syncing with OCI repo");
    site.cluster.line_at("specman-0", at(15), "Persisting 0.0.0");
    let logs = ["logs", "--namespace", "hubble-system", "specman-0"];
    let with = |more: &[&str]| site.done(&[&logs[..], more].concat());
    assert_eq!(with(&[]), "Syncing with OCI repo\nPersisting 0.0.0\n");
    assert_eq!(with(&["--tail=1", "--timestamps"]), "2024-12-06T12:43:15.250000000Z Persisting 0.0.0\n");
    // `sinceTime` loses the fraction, so the line of the same second comes again.
    assert_eq!(with(&["--since-time=2024-12-06T12:43:15.9Z"]), "Persisting 0.0.0\n");
    assert_eq!(with(&["--limit-bytes=7"]), "Syncing");
    site.cluster.restart_container("specman-0");
    assert_eq!(with(&[]), "");
    assert_eq!(with(&["--previous", "-c", "specman"]), "Syncing with OCI repo\nPersisting 0.0.0\n");
    site.cluster.set_pod("specman-0", PodState::ContainerCreating);
    let (status, _, stderr) = site.kubectl(&logs);
    assert_eq!(status, 1);
    let words = "container \"specman\" in pod \"specman-0\" is waiting to start: ContainerCreating";
    assert_eq!(stderr, format!("Error from server (BadRequest): {words}\n"));
}

#[test]
fn kubectl_follows_a_log_until_the_container_ends_and_hears_nothing_after_a_rotation() {
    let Some(site) = Site::start() else { return };
    site.cluster.split_lines(true);
    site.cluster.line("specman-0", "before");
    let follow = site.spawn(&["logs", "-f", "specman-0"]);
    assert!(site.cluster.wait_for_streams("specman-0", 1, LIMIT));
    site.cluster.line("specman-0", "heard");
    site.cluster.rotate_log("specman-0");
    site.cluster.line("specman-0", "unheard");
    assert_eq!(site.done(&["logs", "specman-0"]), "unheard\n");
    site.cluster.restart_container("specman-0");
    assert_eq!(ended(follow), (0, "before\nheard\n".to_owned()));
    assert!(site.cluster.wait_for_streams("specman-0", 0, LIMIT));
}

#[test]
fn kubectl_restarts_specman_and_meets_a_new_pod() {
    let Some(site) = Site::start() else { return };
    let before = site.cluster.pod_uid("specman-0").unwrap();
    assert_eq!(site.done(&["rollout", "restart", "statefulset/specman"]), "statefulset.apps/specman restarted\n");
    assert_ne!(site.cluster.pod_uid("specman-0").unwrap(), before);
    site.done(&["rollout", "status", "statefulset/specman", "--timeout=20s"]);
    site.done(&["patch", "statefulset", "specman", "-p", r#"{"spec": {"replicas": 3}}"#]);
    assert_eq!(site.done(&["get", "pods", "-o", "name"]).lines().count(), 3);
    let middle = site.cluster.pod_uid("specman-1").unwrap();
    site.done(&["delete", "pod", "specman-1"]);
    assert_ne!(site.cluster.pod_uid("specman-1").unwrap(), middle);
}

#[test]
fn kubectl_is_known_by_token_or_certificate_and_refused_in_the_servers_words() {
    let Some(site) = Site::start() else { return };
    site.cluster.add_token("reader-token", "reader");
    site.configure(Login::Token("reader-token".into()));
    site.cluster.set_access(Access::Only(vec![Rule::new("get", "pods").within("hubble-system")]));
    let (_, _, stderr) = site.kubectl(&["get", "secret", "x"]);
    let words = "secrets \"x\" is forbidden: User \"reader\" cannot get resource \"secrets\" in API group \"\" in the namespace \"hubble-system\"";
    assert_eq!(stderr, format!("Error from server (Forbidden): {words}\n"));
    assert_eq!(site.kubectl(&["auth", "can-i", "delete", "secrets"]).1, "no\n");
    assert_eq!(site.kubectl(&["auth", "can-i", "get", "pods"]).1, "yes\n");
    assert!(site.done(&["auth", "can-i", "--list"]).contains("pods"));
    let (status, _, stderr) = site.kubectl(&["logs", "specman-0"]);
    assert_eq!(status, 1);
    assert!(stderr.contains("cannot get resource \"pods/log\""), "{stderr}");
    let pair = site.certs.client("carol");
    site.configure(Login::Certificate { certificate: pair.cert_pem, key: pair.key_pem });
    assert!(site.done(&["auth", "whoami"]).contains("carol"));
    site.configure(Login::Token("unknown".into()));
    let (status, _, stderr) = site.kubectl(&["get", "pod", "specman-0"]);
    assert_eq!(status, 1);
    assert!(stderr.contains("You must be logged in to the server"), "{stderr}");
}
