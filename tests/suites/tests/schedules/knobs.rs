//! The knobs: each changes one thing of a random site, of its settings or of its tree. They are sorted by subject.
//!
//! Some faults have no knob, because preflight cannot see them without changing something:
//! - a quota or an immutable tag in Harbor, and a signing policy: only the PUT of the manifest shows them;
//! - a limit on the size of a body, and a route on which only some requests fail: only an upload shows them;
//! - an admission webhook: only a real delete shows it;
//! - a VerteX account that may read but not write: the API cannot be asked about it;
//! - a Specman address where nobody listens: Specman need not listen before it has content;
//! - a pod that is Pending or not ready: it may run in time, so preflight only warns.
//!
//! Others have none, because preflight is stricter than the lab, where the run would succeed:
//! - a clock that is off by more than five minutes (scar-preflight(1)): no clock decides a success, but tokens and signatures may
//!   expire;
//! - a claim that is too small for the archive: the lab's Specman stores its files elsewhere.
//!
//! A setting that names a missing file has none either: the script refuses it before it runs a tool.

use std::os::unix::fs::symlink;

use scar_lab::certs::Certs;
use scar_lab::kube::{Ca, Login, PodState};
use scar_lab::registry::{Profile, Rule};
use scar_lab::site::{REPOSITORY, SECRET, SiteOptions};
use scar_lab::vertex::{Masking, SPECMAN};
use serde_json::json;

use crate::site::Drawn;

/// One change to a site. A site gets at most one of each subject.
pub(crate) struct Knob {
    pub(crate) subject: &'static str,
    pub(crate) name: &'static str,
    pub(crate) turn: Turn,
}

/// When the change is made.
pub(crate) enum Turn {
    /// Before the site starts.
    Options(fn(&mut SiteOptions)),
    /// On the running site, its settings or its tree.
    Site(fn(&mut Drawn)),
}

const fn before(subject: &'static str, name: &'static str, turn: fn(&mut SiteOptions)) -> Knob {
    Knob { subject, name, turn: Turn::Options(turn) }
}

const fn then(subject: &'static str, name: &'static str, turn: fn(&mut Drawn)) -> Knob {
    Knob { subject, name, turn: Turn::Site(turn) }
}

/// An address of this host where nobody listens.
const NOBODY: &str = "127.0.0.1:1";

/// All knobs, grouped by subject.
pub(crate) static KNOBS: &[Knob] = &[
    before("registry", "there is no such project", |o| o.rule = Some(Rule::Missing)),
    before("registry", "the login may not push", |o| o.rule = Some(Rule::NoRight)),
    before("registry", "is read-only", |o| o.rule = Some(Rule::ReadOnly)),
    before("registry", "the project is a proxy", |o| o.rule = Some(Rule::Proxy)),
    before("registry", "the quota is used up", |o| o.rule = (o.profile == Some(Profile::Quay)).then_some(Rule::Quota)),
    before("registry", "asks nobody for a login", |o| o.open = true),
    before("registry", "its certificate has expired", |o| o.registry_certificate = Some(Certs::expired)),
    before("registry", "its certificate has another name", |o| o.registry_certificate = Some(Certs::wrong_name)),
    before("registry", "its certificate is of another authority", |o| o.registry_certificate = Some(Certs::unknown_ca)),
    before("entry's kind", "ECR", |o| o.ecr = true),
    before("replicas", "two", |o| o.replicas = 2),
    then("registry login", "wrong password", |s| s.set_file("OCI_PASSWORD_FILE", "wrong-password")),
    then("registry login", "none", |s| s.host_login(None)),
    then("registry login", "the host's", |s| s.host_login(Some(""))),
    then("registry login", "the host's, and wrong", |s| s.host_login(Some("wrong-password"))),
    then("registry login", "the host's file is broken", |s| {
        s.host_login(None);
        s.write_home(".docker/config.json", "{\"auths\": ");
    }),
    then("registry trust", "no CA", |s| s.unset("OCI_CA_FILE")),
    then("registry trust", "another CA", |s| s.set_file("OCI_CA_FILE", Certs::new(&[]).ca_pem())),
    then("registry trust", "certs.d", |s| {
        s.unset("OCI_CA_FILE");
        let ca = s.site().certs.ca_pem().to_owned();
        s.write_home(&format!(".config/docker/certs.d/{}/ca.crt", s.setting("OCI_PACK_REGISTRY")), &ca);
    }),
    then("registry trust", "unchecked", |s| {
        s.unset("OCI_CA_FILE");
        s.set("OCI_INSECURE", true);
    }),
    then("registry trust", "plain HTTP", |s| s.set("OCI_PLAIN_HTTP", true)),
    then("reference", "nobody listens", |s| s.set("OCI_PACK_REGISTRY", NOBODY)),
    then("reference", "another base path", |s| s.set("OCI_PACK_BASE", "other-packs")),
    then("reference", "in full", |s| s.set("SCAR_REFERENCE", format!("{}/{REPOSITORY}:0.0.0", s.setting("OCI_PACK_REGISTRY")))),
    then("reference", "another tag", |s| {
        s.set("SCAR_REFERENCE", format!("{}/{REPOSITORY}:4.5.15", s.setting("OCI_PACK_REGISTRY")))
    }),
    then("tag", "holds another archive", |s| drop(s.registry().seed(REPOSITORY, "0.0.0", b"\x1f\x8bof an earlier release"))),
    then("vertex login", "wrong password", |s| s.set_file("VERTEX_PASSWORD_FILE", "wrong-password")),
    then("vertex login", "another user", |s| s.set("VERTEX_USERNAME", "operator")),
    then("vertex login", "a second factor", |s| s.site().vertex.behave(|b| b.mfa = true)),
    then("vertex login", "answers no token", |s| s.site().vertex.behave(|b| b.no_token = true)),
    then("vertex login", "a token from the browser", |s| s.token(true)),
    then("vertex login", "a token that has ended", |s| s.token(false)),
    then("vertex", "too old", |s| s.site().vertex.behave(|b| b.version = "4.5.9".to_owned())),
    then("vertex", "newer", |s| s.site().vertex.behave(|b| b.version = "4.10.0".to_owned())),
    then("vertex", "not a version", |s| s.site().vertex.behave(|b| b.version = "edge".to_owned())),
    then("vertex", "nobody listens", |s| s.set("VERTEX_ENDPOINT", format!("https://{NOBODY}"))),
    then("vertex", "the console's address", |s| s.set("VERTEX_ENDPOINT", s.setting("VERTEX_ENDPOINT") + "/system")),
    then("vertex", "no CA", |s| s.unset("VERTEX_CA_FILE")),
    then("vertex", "another CA", |s| s.set_file("VERTEX_CA_FILE", Certs::new(&[]).ca_pem())),
    then("vertex", "unchecked", |s| {
        s.unset("VERTEX_CA_FILE");
        s.set("VERTEX_INSECURE", true);
    }),
    then("scar", "no endpoint", |s| s.site().vertex.set_scar(json!({"endpoint": ""}))),
    then("scar", "Specman already", |s| s.site().vertex.set_scar(json!({"endpoint": SPECMAN}))),
    then("scar", "no login", |s| s.site().vertex.set_scar(json!({"endpoint": "https://other.example"}))),
    then("scar", "its password is shown", |s| s.site().vertex.behave(|b| b.scar_masking = Masking::Shown)),
    then("scar", "its password is left out", |s| s.site().vertex.behave(|b| b.scar_masking = Masking::Absent)),
    then("entry", "of another host", |s| s.entry(|e| e["spec"]["endpoint"] = json!("https://other.example"))),
    then("entry", "of another base path", |s| s.entry(|e| e["spec"]["baseContentPath"] = json!("packs"))),
    then("entry", "without https://", |s| {
        s.entry(|e| e["spec"]["endpoint"] = json!(e["spec"]["endpoint"].as_str().unwrap()[8..]))
    }),
    then("entry", "without a CA", |s| {
        let login = if s.setting("PACK_REGISTRY_ACCESS_KEY_FILE").is_empty() { "/spec/auth/tls" } else { "/spec/tls" };
        s.entry(|e| e.pointer_mut(login).unwrap()["certificate"] = json!(""));
    }),
    then("entry", "for charts", |s| s.entry(|e| e["spec"]["providerType"] = json!("helm"))),
    then("entry", "twice", |s| s.second_entry(|_| {})),
    then("entry", "twice, one for charts", |s| s.second_entry(|e| e["spec"]["providerType"] = json!("helm"))),
    then("entry", "twice, one named", |s| {
        s.second_entry(|_| {});
        s.set("PACK_REGISTRY_NAME", "airgap-packs");
    }),
    then("entry", "a uid that does not exist", |s| s.set("PACK_REGISTRY_UID", "65f1a2b3c4d5e6f708190000")),
    then("entry", "the flag is set", |s| s.entry(|e| e["spec"]["containsSpectroManifest"] = json!(true))),
    then("entry's login", "shown", |s| s.site().vertex.behave(|b| b.registry_masking = Masking::Shown)),
    then("entry's login", "blank", |s| s.site().vertex.behave(|b| b.registry_masking = Masking::Blank)),
    then("entry's login", "left out", |s| s.site().vertex.behave(|b| b.registry_masking = Masking::Absent)),
    then("entry's login", "of another user", |s| {
        s.set("PACK_REGISTRY_USERNAME", "other");
        s.set("PACK_REGISTRY_PASSWORD_FILE", s.setting("OCI_PASSWORD_FILE"));
    }),
    then("entry's login", "wrong password", |s| {
        s.set("PACK_REGISTRY_USERNAME", s.setting("OCI_USERNAME"));
        s.set_file("PACK_REGISTRY_PASSWORD_FILE", "wrong-password");
    }),
    then("entry's login", "wrong secret key", |s| s.set_file("PACK_REGISTRY_SECRET_KEY_FILE", "wrong-secret-key")),
    then("entry's login", "none given", |s| {
        s.host_login(Some(""));
        for key in ["USERNAME", "PASSWORD_FILE", "ACCESS_KEY_FILE", "SECRET_KEY_FILE"] {
            s.unset(&format!("PACK_REGISTRY_{key}"));
        }
    }),
    then("kubeconfig", "a wrong token", |s| s.kubeconfig(|c| c.login = Login::Token("wrong-token".to_owned()))),
    then("kubeconfig", "no login", |s| s.kubeconfig(|c| c.login = Login::None)),
    then("kubeconfig", "a certificate", |s| {
        let pair = s.site().certs.client("kubernetes-admin");
        s.kubeconfig(|c| c.login = Login::Certificate { certificate: pair.cert_pem, key: pair.key_pem });
    }),
    then("kubeconfig", "a certificate that has expired", |s| {
        let pair = s.site().certs.expired_client("kubernetes-admin");
        s.kubeconfig(|c| c.login = Login::Certificate { certificate: pair.cert_pem, key: pair.key_pem });
    }),
    then("kubeconfig", "a plugin that is missing", |s| {
        s.kubeconfig(|c| c.login = Login::Exec { command: "no-such-plugin".to_owned(), arguments: Vec::new() });
    }),
    then("kubeconfig", "another CA", |s| s.kubeconfig(|c| c.ca = Ca::Inline(Certs::new(&[]).ca_pem().to_owned()))),
    then("kubeconfig", "unchecked", |s| s.kubeconfig(|c| c.ca = Ca::Insecure)),
    then("kubeconfig", "nobody listens", |s| s.kubeconfig(|c| c.server = format!("https://{NOBODY}"))),
    then("kubeconfig", "no such context", |s| s.set("KUBE_CONTEXT", "other")),
    then("kubeconfig", "no current context", |s| s.kubeconfig(|c| c.current = None)),
    then("kubeconfig", "no such namespace", |s| s.set("SPECMAN_NAMESPACE", "other")),
    then("rights", "no get secrets", |s| s.deny("get", "secrets")),
    then("rights", "no delete secrets", |s| s.deny("delete", "secrets")),
    then("rights", "no create secrets", |s| s.deny("create", "secrets")),
    then("rights", "no get statefulsets", |s| s.deny("get", "statefulsets")),
    then("rights", "no patch statefulsets", |s| s.deny("patch", "statefulsets")),
    then("rights", "no get pods", |s| s.deny("get", "pods")),
    then("rights", "no get pods/log", |s| s.deny("get", "pods/log")),
    then("rights", "no get pods/portforward", |s| s.deny("get", "pods/portforward")),
    then("rights", "no create pods/portforward", |s| s.deny("create", "pods/portforward")),
    then("rights", "no get services", |s| s.deny("get", "services")),
    then("rights", "no get namespaces", |s| s.deny("get", "namespaces")),
    then("rights", "no get persistentvolumeclaims", |s| s.deny("get", "persistentvolumeclaims")),
    then("rights", "no list storageclasses", |s| s.deny("list", "storageclasses")),
    then("specman", "is missing", |s| s.site().cluster.remove("statefulsets", "hubble-system", "specman")),
    then("specman", "no replica", |s| s.edit("statefulsets", "specman", |set| set["spec"]["replicas"] = json!(0))),
    then("specman", "a second container", |s| s.site().cluster.add_statefulset("specman", 1, &["proxy", "specman"])),
    then("specman", "two containers of other names", |s| s.site().cluster.add_statefulset("specman", 1, &["proxy", "serve"])),
    then("specman", "one container of another name", |s| s.site().cluster.add_statefulset("specman", 1, &["serve"])),
    then("specman", "its pod crashes", |s| s.site().cluster.set_pod("specman-0", PodState::CrashLoopBackOff)),
    then("specman", "its image is missing", |s| s.site().cluster.set_pod("specman-0", PodState::ImagePullBackOff)),
    then("specman", "its claim is not bound", |s| {
        s.edit("persistentvolumeclaims", "data-specman-0", |claim| claim["status"] = json!({"phase": "Pending"}));
        s.site().cluster.set_pod("specman-0", PodState::Pending);
    }),
    then("service", "is missing", |s| s.site().cluster.remove("services", "hubble-system", "specman-service")),
    then("service", "has another port", |s| {
        s.edit("services", "specman-service", |service| service["spec"]["ports"][0]["port"] = json!(443))
    }),
    then("secret", "is not there", |s| s.site().cluster.remove("secrets", "hubble-system", SECRET)),
    then("verify", "through the cluster", |s| s.unset("SPECMAN_URL")),
    then("verify", "not at all", |s| s.set("SCAR_VERIFY", "off")),
    then("hosts", "two", |s| s.two_hosts = true),
    then("tree", "is missing", |s| std::fs::remove_dir_all(s.in_tree("")).unwrap()),
    then("tree", "is a file", |s| {
        std::fs::remove_dir_all(s.in_tree("")).unwrap();
        std::fs::write(s.in_tree("").to_str().unwrap().trim_end_matches('/'), "x").unwrap();
    }),
    then("tree", "is empty", |s| s.empty_tree()),
    then("tree", "has folders alone", |s| {
        s.empty_tree();
        std::fs::create_dir(s.in_tree("folder")).unwrap();
    }),
    then("tree", "has a link alone", |s| {
        s.empty_tree();
        symlink("nothing", s.in_tree("link")).unwrap();
    }),
    then("tree", "has an empty file alone", |s| {
        s.empty_tree();
        std::fs::write(s.in_tree("file"), "").unwrap();
    }),
    then("tree", "has links that lead nowhere", |s| {
        symlink("nothing", s.in_tree("dangling")).unwrap();
        symlink("/etc/passwd", s.in_tree("absolute")).unwrap();
        symlink("loop", s.in_tree("loop")).unwrap();
        symlink("../../outside", s.in_tree("charts/outside")).unwrap();
    }),
    then("tree", "is a link", |s| {
        symlink(s.in_tree(""), s.migration.folder().join("link")).unwrap();
        s.set("SCAR_CONTENT", s.migration.folder().join("link").display());
    }),
    then("tree", "has a FIFO", |s| drop(scar_kit::program("mkfifo").arg(s.in_tree("fifo")).run())),
    then("tree", "has a socket", |s| drop(std::os::unix::net::UnixListener::bind(s.in_tree("socket")).unwrap())),
    then("tree", "has odd names", |s| {
        for name in ["a b'c\"d$e\\f", "new\nline", "-n", "%2e%2e", "?query#fragment", "\u{1f600}", &"n".repeat(255)] {
            std::fs::write(s.in_tree(name), name).unwrap();
        }
    }),
    then("tree", "has a name that is not UTF-8", |s| {
        use std::os::unix::ffi::OsStrExt as _;
        std::fs::write(s.migration.tree().join(std::ffi::OsStr::from_bytes(b"latin-\xe9")), "x").unwrap();
    }),
    then("tree", "is deep", |s| std::fs::create_dir_all(s.in_tree(&"folder/".repeat(200))).unwrap()),
    then("tree", "has a hard link", |s| std::fs::hard_link(s.in_tree("image.bin"), s.in_tree("same.bin")).unwrap()),
    then("archive", "in the tree", |s| s.set("SCAR_ARCHIVE", s.in_tree("manifests.tgz").display())),
    then("archive", "is a folder", |s| s.set("SCAR_ARCHIVE", s.home().display())),
    then("archive", "in a folder that is missing", |s| s.set("SCAR_ARCHIVE", s.home().join("none/manifests.tgz").display())),
    then("clock", "the registry's is ahead", |s| s.clock("registry", 100)),
    then("clock", "the registry's is behind", |s| s.clock("registry", -100)),
    then("clock", "VerteX's is ahead", |s| s.clock("vertex", 200)),
    then("clock", "the cluster's is behind", |s| s.clock("kube", -200)),
];
