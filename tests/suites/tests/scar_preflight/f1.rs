//! F1: each prerequisite taken away alone. Its line is blocked with its way out, the status is 3, stdout is empty, every
//! other line is checked still (or skipped, where it hangs on the blocked one), and nothing is written.

use std::path::Path;

use scar_kit::{Outcome, binary, peer, program};
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::kube::{Access, PodState, Rule};
use scar_lab::site::PACK_REGISTRY;
use scar_lab::vertex::RegistryKind;
use serde_json::{Value, json};

use crate::rig::{ALL, Rig, but, is_allowed, lines, says};

const NAMESPACE: &str = "hubble-system";

/// The claims of F1, for one run.
#[track_caller]
fn is_blocked(rig: &Rig, outcome: &Outcome, name: &str, others: &[(&str, &str)], part: &str) {
    outcome.exits(3).writes_nothing();
    says(outcome, part);
    let mut expected = others.to_vec();
    expected.push((name, "blocked"));
    assert_eq!(lines(&outcome.stderr()), but(&expected), "{outcome}");
    let end = format!(
        "scar-preflight: error: check the site: blocked: {name} (1 of 36 checks)\n\
         scar-preflight: hint: each blocked line names its way out; then run this again\n"
    );
    assert!(outcome.stderr().ends_with(&end), "{outcome}");
    // The way out stands below the line, before the next one.
    let text = outcome.stderr();
    let row = text.lines().skip_while(|line| !line.starts_with(&format!("blocked  {name}"))).skip(1);
    let below: Vec<_> = row.take_while(|line| line.starts_with(' ')).collect();
    assert!(below.iter().any(|line| line.trim_start().starts_with("hint: ")), "{name} has no way out\n{outcome}");
    let writing = rig.writing();
    assert!(writing.iter().all(|line| is_allowed(line)), "{writing:#?}");
}

fn skipped<'a>(names: &[&'a str]) -> Vec<(&'a str, &'static str)> {
    names.iter().map(|name| (*name, "skipped")).collect()
}

const AFTER_LOGIN: [&str; 4] = ["platform.version", "platform.scar", "platform.pack-registry", "platform.flag"];
/// What hangs on the cluster's being reached.
fn after_cluster() -> Vec<(&'static str, &'static str)> {
    let hangs = |name: &&str| name.starts_with("cluster.") && *name != "cluster.reached" || *name == "content.claim";
    skipped(&ALL.into_iter().filter(|name| hangs(name)).collect::<Vec<_>>())
}

const AFTER_REGISTRY: [&str; 4] = ["registry.repository", "registry.tag", "registry.push", "registry.limit"];

/// An address where nobody listens.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn f1_vertex_is_not_reached() {
    let rig = Rig::new();
    let outcome = rig.run_with(&[("--endpoint", Some(&format!("https://{}", nobody())))]);
    is_blocked(
        &rig,
        &outcome,
        "platform.reached",
        &skipped(&[&["platform.login"], &AFTER_LOGIN[..]].concat()),
        "connection refused",
    );
}

#[test]
fn f1_vertex_is_not_trusted() {
    let rig = Rig::new();
    let outcome = rig.run_with(&[("--vertex-ca-file", None)]);
    is_blocked(
        &rig,
        &outcome,
        "platform.reached",
        &skipped(&[&["platform.login"], &AFTER_LOGIN[..]].concat()),
        "--vertex-ca-file",
    );
}

#[test]
fn f1_vertex_refuses_the_password_which_is_tried_once() {
    let rig = Rig::new();
    rig.migration.site.vertex.behave(|behaviour| behaviour.password = "another".into());
    let outcome = rig.run();
    is_blocked(&rig, &outcome, "platform.login", &skipped(&AFTER_LOGIN), "Invalid");
    assert_eq!(rig.migration.site.vertex.login_attempts(), 1);
}

#[test]
fn f1_the_password_file_is_missing() {
    let rig = Rig::new();
    let outcome = rig.run_with(&[("--vertex-password-file", Some("no-such-file"))]);
    is_blocked(&rig, &outcome, "platform.login", &skipped(&AFTER_LOGIN), "no-such-file");
}

#[test]
fn f1_vertex_is_too_old() {
    let rig = Rig::new();
    rig.migration.site.vertex.behave(|behaviour| behaviour.version = "4.5.9".into());
    is_blocked(&rig, &rig.run(), "platform.version", &[], "4.5.9 is older than 4.5.15");
}

#[test]
fn f1_the_scar_setting_may_not_be_read() {
    let rig = Rig::new();
    let answer = Answer::json(403, &json!({"code": "Forbidden", "message": "not for you", "details": null, "ref": ""}));
    rig.migration.site.vertex_server.faults().on(Match::get("/v1/system/config/scar"), Times::Always, Action::Answer(answer));
    is_blocked(&rig, &rig.run(), "platform.scar", &[], "not for you");
}

#[test]
fn f1_there_is_no_entry_for_the_registry() {
    let rig = Rig::new();
    let answer = Answer::json(200, &json!({"items": []}));
    rig.migration.site.vertex_server.faults().on(Match::get("/v1/registries/oci/summary"), Times::Always, Action::Answer(answer));
    is_blocked(&rig, &rig.run(), "platform.pack-registry", &skipped(&["platform.flag"]), "add the pack registry for");
}

#[test]
fn f1_the_entrys_base_path_is_another() {
    let rig = Rig::new();
    let outcome = rig.run_with(&[("--base-path", Some("other"))]);
    is_blocked(&rig, &outcome, "platform.pack-registry", &skipped(&["platform.flag"]), "other/spectro-manifests/manifest");
}

/// What pack-registry-set would be refused for: the right password is asked for by VerteX, which tries it.
#[test]
fn f1_vertex_cannot_use_the_entrys_login() {
    let rig = Rig::new();
    let (user, file) = (rig.migration.setting("OCI_USERNAME"), rig.migration.folder().join("wrong"));
    std::fs::write(&file, "another-password").unwrap();
    let outcome = rig.run_with(&[("--pack-registry-username", Some(&user)), ("--pack-registry-password-file", file.to_str())]);
    is_blocked(&rig, &outcome, "platform.flag", &[], "VerteX cannot use the registry with this login");
}

#[test]
fn f1_two_entries_are_meant() {
    let rig = Rig::new();
    let vertex = &rig.migration.site.vertex;
    let mut second = vertex.registry(PACK_REGISTRY).unwrap();
    second["metadata"]["uid"] = json!("65f1a2b3c4d5e6f708192a3f");
    vertex.add_registry(RegistryKind::Basic, second);
    is_blocked(&rig, &rig.run(), "platform.pack-registry", &skipped(&["platform.flag"]), "choose one with --pack-registry-uid");
    let outcome = rig.run_with(&[("--pack-registry-uid", Some(PACK_REGISTRY))]);
    assert_eq!(lines(&outcome.succeeds().stderr()), but(&[]), "{outcome}");
}

#[test]
fn f1_the_kubeconfig_is_broken() {
    let rig = Rig::new();
    let file = rig.migration.folder().join("broken");
    std::fs::write(&file, "clusters: [").unwrap();
    let outcome = rig.run_with(&[("--kubeconfig", file.to_str())]);
    outcome.exits(3).writes_nothing();
    says(&outcome, "this is not the YAML");
    let expected = [after_cluster(), vec![("cluster.reached", "blocked")]].concat();
    assert_eq!(lines(&outcome.stderr()), but(&expected), "{outcome}");
}

#[test]
fn f1_the_cluster_is_not_reached() {
    let rig = Rig::new();
    let file = rig.migration.folder().join("config");
    let mut config = rig.migration.site.kubeconfig();
    config.server = format!("https://{}", nobody());
    config.write(&file).unwrap();
    is_blocked(&rig, &rig.run_with(&[("--kubeconfig", file.to_str())]), "cluster.reached", &after_cluster(), "connection");
}

#[test]
fn f1_the_cluster_does_not_know_the_user() {
    let rig = Rig::new();
    let token = rig.migration.site.cluster.token();
    rig.migration.site.cluster.revoke_token(&token);
    is_blocked(&rig, &rig.run(), "cluster.reached", &after_cluster(), "does not accept the credentials");
}

#[test]
fn f1_the_secret_may_not_be_deleted() {
    let rig = Rig::new();
    rig.migration.site.cluster.set_access(Access::AllBut(vec![Rule::new("delete", "secrets")]));
    is_blocked(&rig, &rig.run(), "cluster.secret-access", &[], "scar-secret-rm may not delete secrets");
}

/// Only the way back would make one; and what is not there need not be deleted.
#[test]
fn f1_a_right_that_the_run_does_not_use_blocks_nothing() {
    let rig = Rig::new();
    let cluster = &rig.migration.site.cluster;
    cluster.set_access(Access::AllBut(vec![Rule::new("create", "secrets"), Rule::new("delete", "secrets")]));
    cluster.remove("secrets", NAMESPACE, "spectro-manifest-registry-secrets");
    let outcome = rig.run();
    assert_eq!(lines(&outcome.succeeds().stderr()), but(&[("cluster.undo-access", "warning")]), "{outcome}");
    says(&outcome, "only the way back needs it");
}

/// specman-verify needs a port-forward, unless it goes another way or nowhere.
#[test]
fn f1_no_port_may_be_forwarded() {
    for verb in ["get", "create"] {
        let rig = Rig::new();
        rig.migration.site.cluster.set_access(Access::AllBut(vec![Rule::new(verb, "pods/portforward")]));
        is_blocked(&rig, &rig.run(), "cluster.verify-access", &[], "--specman-url URL");
        let outcome = rig.run_with(&[("--specman-url", Some("https://specman.example:8443"))]);
        assert_eq!(lines(&outcome.succeeds().stderr()), but(&[("cluster.verify-access", "skipped")]), "{outcome}");
        let outcome = rig.call(&[]).arg("--unverified").run();
        assert_eq!(lines(&outcome.succeeds().stderr()), but(&[("cluster.verify-access", "skipped")]), "{outcome}");
    }
}

#[test]
fn f1_the_secret_may_not_be_read() {
    let rig = Rig::new();
    rig.migration.site.cluster.set_access(Access::AllBut(vec![Rule::new("get", "secrets")]));
    is_blocked(&rig, &rig.run(), "cluster.secret-access", &skipped(&["cluster.secret"]), "may not get secrets");
}

#[test]
fn f1_specmans_log_may_not_be_read() {
    let rig = Rig::new();
    rig.migration.site.cluster.set_access(Access::AllBut(vec![Rule::new("get", "pods/log")]));
    is_blocked(&rig, &rig.run(), "cluster.wait-access", &[], "specman-wait may not get pods/log");
}

#[test]
fn f1_specmans_set_may_not_be_read() {
    let rig = Rig::new();
    rig.migration.site.cluster.set_access(Access::AllBut(vec![Rule::new("get", "statefulsets")]));
    let others = skipped(&["cluster.specman", "cluster.pods", "cluster.claim", "cluster.storage", "content.claim"]);
    let others = [others, skipped(&["cluster.verify-access"])].concat();
    let outcome = rig.run_with(&[("--specman-url", Some("https://specman.example:8443"))]);
    is_blocked(&rig, &outcome, "cluster.wait-access", &others, "may not get statefulsets");
}

#[test]
fn f1_there_is_no_namespace() {
    let rig = Rig::new();
    let outcome = rig.run_with(&[("--namespace", Some("elsewhere"))]);
    outcome.exits(3).writes_nothing();
    says(&outcome, "'hubble-system'");
    let expected = [
        skipped(&["cluster.pods", "cluster.claim", "cluster.storage", "content.claim"]),
        ["cluster.namespace", "cluster.specman", "cluster.service"].map(|name| (name, "blocked")).to_vec(),
    ];
    assert_eq!(lines(&outcome.stderr()), but(&expected.concat()), "{outcome}");
}

#[test]
fn f1_there_is_no_specman() {
    let rig = Rig::new();
    rig.migration.site.cluster.remove("statefulsets", NAMESPACE, "specman");
    let others = skipped(&["cluster.pods", "cluster.claim", "cluster.storage", "content.claim"]);
    is_blocked(&rig, &rig.run(), "cluster.specman", &others, "is Specman deployed?");
}

#[test]
fn q74_specman_is_scaled_to_nothing_and_its_claim_is_looked_at() {
    let rig = Rig::new();
    rig.migration.site.cluster.edit("statefulsets", NAMESPACE, "specman", |set| set["spec"]["replicas"] = json!(0));
    let outcome = rig.run();
    is_blocked(&rig, &outcome, "cluster.specman", &skipped(&["cluster.pods"]), "scaled to no replica");
    says(&outcome, "data-specman-0 is bound");
}

#[test]
fn f1_specmans_pod_does_not_run() {
    for state in [PodState::CrashLoopBackOff, PodState::ImagePullBackOff, PodState::Evicted] {
        let rig = Rig::new();
        rig.migration.site.cluster.set_pod("specman-0", state);
        is_blocked(&rig, &rig.run(), "cluster.pods", &[], "specman-0 does not run");
    }
    let rig = Rig::new();
    rig.migration.site.cluster.set_pod("specman-0", PodState::NotReady);
    let outcome = rig.run();
    assert_eq!(lines(&outcome.succeeds().stderr()), but(&[("cluster.pods", "warning")]), "{outcome}");
}

#[test]
fn f1_there_is_no_service() {
    let rig = Rig::new();
    rig.migration.site.cluster.remove("services", NAMESPACE, "specman-service");
    is_blocked(&rig, &rig.run(), "cluster.service", &[], "SCAR would lead nowhere");
}

#[test]
fn f1_the_service_has_another_port() {
    let rig = Rig::new();
    let other = |service: &mut Value| service["spec"]["ports"][0]["port"] = json!(443);
    rig.migration.site.cluster.edit("services", NAMESPACE, "specman-service", other);
    is_blocked(&rig, &rig.run(), "cluster.service", &[], "has the ports 443, not 8443: SCAR would lead nowhere");
}

/// Specman's own container is not known: specman-wait would not know either.
#[test]
fn f1_nothing_says_which_container_is_specmans() {
    let rig = Rig::new();
    rig.migration.site.cluster.add_statefulset("specman", 1, &["proxy", "serve"]);
    is_blocked(&rig, &rig.run(), "cluster.pods", &[], "--container NAME says which is Specman");
    let outcome = rig.run_with(&[("--container", Some("serve"))]);
    assert_eq!(lines(&outcome.succeeds().stderr()), but(&[]), "{outcome}");
}

#[test]
fn f1_the_claim_is_not_bound() {
    let rig = Rig::new();
    let loose = |claim: &mut Value| claim["status"] = json!({"phase": "Pending"});
    rig.migration.site.cluster.edit("persistentvolumeclaims", NAMESPACE, "data-specman-0", loose);
    is_blocked(&rig, &rig.run(), "cluster.claim", &skipped(&["content.claim"]), "is Pending");
}

/// Before Specman has started for the first time.
#[test]
fn f1_nothing_makes_a_claim() {
    for (plural, name, part) in
        [("storageclasses", "standard", "no default storage class"), ("csidrivers", "csi.lab.example", "no CSI driver")]
    {
        let rig = Rig::new();
        let cluster = &rig.migration.site.cluster;
        cluster.remove("persistentvolumeclaims", NAMESPACE, "data-specman-0");
        let unmade = [vec![("cluster.claim", "warning")], skipped(&["content.claim"])].concat();
        let outcome = rig.run();
        assert_eq!(lines(&outcome.succeeds().stderr()), but(&unmade), "{outcome}");
        says(&outcome, "is not known");
        cluster.remove(plural, "", name);
        is_blocked(&rig, &rig.run(), "cluster.storage", &unmade, part);
    }
    // A claim that is bound needs neither.
    let rig = Rig::new();
    rig.migration.site.cluster.remove("storageclasses", "", "standard");
    assert_eq!(lines(&rig.run().succeeds().stderr()), but(&[]));
}

/// Some CSI driver is not the driver of this class.
#[test]
fn q74_the_provisioner_of_the_class_is_compared_with_the_drivers() {
    for (provisioner, result) in [("kubernetes.io/no-provisioner", "blocked"), ("rancher.io/local-path", "warning")] {
        let rig = Rig::new();
        let cluster = &rig.migration.site.cluster;
        cluster.remove("persistentvolumeclaims", NAMESPACE, "data-specman-0");
        cluster.edit("storageclasses", "", "standard", |class| class["provisioner"] = json!(provisioner));
        let expected = [vec![("cluster.claim", "warning"), ("cluster.storage", result)], skipped(&["content.claim"])].concat();
        let outcome = rig.run();
        assert_eq!(lines(&outcome.stderr()), but(&expected), "{outcome}");
        says(&outcome, provisioner);
    }
}

#[test]
fn f1_the_secret_is_held() {
    let rig = Rig::new();
    let held = |secret: &mut Value| secret["metadata"]["finalizers"] = json!(["held.example/x"]);
    rig.migration.site.cluster.edit("secrets", NAMESPACE, "spectro-manifest-registry-secrets", held);
    is_blocked(&rig, &rig.run(), "cluster.secret", &[], "held.example/x");
}

const AFTER_TREE: [&str; 6] =
    ["content.readable", "content.special", "content.links", "content.quiet", "content.disk", "content.claim"];

#[test]
fn f1_there_is_no_folder() {
    let rig = Rig::new();
    is_blocked(
        &rig,
        &rig.run_with(&[("--content", Some("no-such-folder"))]),
        "content.tree",
        &skipped(&AFTER_TREE),
        "no such file",
    );
}

#[test]
fn f1_the_folder_is_empty() {
    let rig = Rig::new();
    let empty = rig.migration.folder().join("empty");
    std::fs::create_dir(&empty).unwrap();
    is_blocked(&rig, &rig.run_with(&[("--content", empty.to_str())]), "content.tree", &[], "has no file");
}

/// mkmanifests packs it, and specman-verify finds nothing to compare.
#[test]
fn f1_the_folder_has_a_link_alone() {
    let rig = Rig::new();
    let folder = rig.migration.folder().join("link");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink("nothing", folder.join("dangling")).unwrap();
    let run = || rig.call(&[("--content", folder.to_str())]);
    is_blocked(&rig, &run().run(), "content.tree", &[("content.links", "warning")], "has no file");
    let outcome = run().arg("--unverified").run();
    let expected = but(&[("content.links", "warning"), ("cluster.verify-access", "skipped")]);
    assert_eq!(lines(&outcome.succeeds().stderr()), expected, "{outcome}");
}

#[test]
fn f1_a_file_is_no_file() {
    let rig = Rig::new();
    let fifo = rig.migration.tree().join("charts/fifo");
    program("mkfifo").arg(&fifo).run().succeeds();
    is_blocked(&rig, &rig.run(), "content.special", &[], "'./charts/fifo' is a FIFO");
}

/// Root can read everything, so the tool runs as somebody else, on the content alone.
#[test]
fn f1_a_file_cannot_be_read() {
    use std::os::unix::fs::PermissionsExt;
    let Some(setpriv) = peer("setpriv") else { return };
    let folder = tempfile::TempDir::new().unwrap();
    let mode = |path: &Path, mode: u32| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    let (tree, out) = (folder.path().join("tree"), folder.path().join("out"));
    mode(folder.path(), 0o755);
    std::fs::create_dir_all(tree.join("closed")).unwrap();
    std::fs::create_dir(&out).unwrap();
    for name in ["open", "secret"] {
        std::fs::write(tree.join(name), "text").unwrap();
    }
    crate::rig::age(&tree);
    mode(&tree.join("secret"), 0o600);
    mode(&tree.join("closed"), 0o700);
    mode(&out, 0o777);
    std::fs::copy(binary("scar-preflight"), folder.path().join("scar-preflight")).unwrap();
    let outcome = program(setpriv)
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"])
        .arg(folder.path().join("scar-preflight"))
        .args(["--only", "content", "--content", tree.to_str().unwrap(), "--archive", "out/m.tgz"])
        .folder(folder.path())
        .run();
    outcome.exits(3).writes_nothing();
    says(&outcome, "'./secret'");
    says(&outcome, "'./closed'");
    let found = lines(&outcome.stderr());
    let blocked: Vec<_> = found.iter().filter(|(_, result)| *result == "blocked").map(|(name, _)| name.as_str()).collect();
    assert_eq!((blocked, found["content.disk"].as_str()), (vec!["content.readable"], "ok"), "{outcome}");
}

#[test]
fn f1_the_archive_has_no_place() {
    let rig = Rig::new();
    is_blocked(&rig, &rig.run_with(&[("--archive", Some("no-such-folder/m.tgz"))]), "content.disk", &[], "no such file");
}

#[test]
fn f1_the_claim_is_too_small() {
    let rig = Rig::new();
    let small = |claim: &mut Value| claim["status"]["capacity"]["storage"] = json!("100");
    rig.migration.site.cluster.edit("persistentvolumeclaims", NAMESPACE, "data-specman-0", small);
    is_blocked(&rig, &rig.run(), "content.claim", &[("cluster.claim", "warning")], "Specman cannot keep it");
}

/// The reference is another then, so the entry of VerteX is not looked for.
#[test]
fn f1_the_registry_is_not_reached() {
    let rig = Rig::new();
    rig.migration.site.registry.as_ref().unwrap().faults().on(Match::any("/**"), Times::Always, Action::Reset);
    is_blocked(&rig, &rig.run(), "registry.reached", &skipped(&[&["registry.login"], &AFTER_REGISTRY[..]].concat()), "hint: ");
}

#[test]
fn f1_the_registry_is_not_trusted() {
    let rig = Rig::new();
    let outcome = rig.run_with(&[("--registry-ca-file", None)]);
    is_blocked(
        &rig,
        &outcome,
        "registry.reached",
        &skipped(&[&["registry.login"], &AFTER_REGISTRY[..]].concat()),
        "--registry-ca-file",
    );
}

#[test]
fn f1_the_registry_refuses_the_login() {
    let rig = Rig::new();
    let file = rig.migration.folder().join("wrong");
    std::fs::write(&file, "another-password").unwrap();
    let (user, right) = (rig.migration.setting("OCI_USERNAME"), rig.migration.setting("OCI_PASSWORD_FILE"));
    // The entry's login is its own, so that its flag is no second line.
    let outcome = rig.run_with(&[
        ("--registry-password-file", file.to_str()),
        ("--pack-registry-username", Some(&user)),
        ("--pack-registry-password-file", Some(&right)),
    ]);
    is_blocked(&rig, &outcome, "registry.login", &skipped(&AFTER_REGISTRY), "401");
}

#[test]
fn f1_there_is_no_login_for_the_registry() {
    let rig = Rig::new();
    let (user, file) = (rig.migration.setting("OCI_USERNAME"), rig.migration.setting("OCI_PASSWORD_FILE"));
    // The entry's login is its own, so that its flag is no second line.
    let outcome = rig.run_with(&[
        ("--registry-username", None),
        ("--registry-password-file", None),
        ("--pack-registry-username", Some(&user)),
        ("--pack-registry-password-file", Some(&file)),
    ]);
    is_blocked(&rig, &outcome, "registry.login", &skipped(&AFTER_REGISTRY), "this host has none for it");
}

fn refuse(rig: &Rig, matches: Match) {
    let answer = Answer::json(403, &json!({"errors": [{"code": "DENIED", "message": "requested access is denied"}]}));
    rig.migration.site.registry.as_ref().unwrap().faults().on(matches, Times::Always, Action::Answer(answer));
}

#[test]
fn f1_there_is_no_project() {
    let rig = Rig::new();
    refuse(&rig, Match::get("/v2/**/tags/list"));
    refuse(&rig, Match::post("/v2/**/blobs/uploads/"));
    is_blocked(&rig, &rig.run(), "registry.repository", &skipped(&["registry.tag", "registry.push"]), "there is no project");
}

/// ocipush never lists tags, so that a user who may not do that can push.
#[test]
fn tags_that_may_not_be_listed_block_nothing() {
    let rig = Rig::new();
    refuse(&rig, Match::get("/v2/**/tags/list"));
    let outcome = rig.run();
    assert_eq!(lines(&outcome.succeeds().stderr()), but(&[("registry.repository", "warning")]), "{outcome}");
    says(&outcome, "its tags may not be listed");
}

#[test]
fn f1_the_tag_cannot_be_read() {
    let rig = Rig::new();
    rig.migration.site.registry.as_ref().unwrap().faults().on(
        Match::get("/v2/**/manifests/0.0.0"),
        Times::Always,
        Action::Answer(Answer::status(403)),
    );
    is_blocked(&rig, &rig.run(), "registry.tag", &[], "403");
}

#[test]
fn f1_a_push_is_not_allowed() {
    for (status, code, part) in
        [(403, "DENIED", "may not push"), (404, "NAME_UNKNOWN", "create the project"), (401, "UNAUTHORIZED", "may not push")]
    {
        let rig = Rig::new();
        let answer = Answer::json(status, &json!({"errors": [{"code": code, "message": "not here"}]}));
        let answer = if status == 401 { answer.header("www-authenticate", "Basic realm=\"x\"") } else { answer };
        rig.migration.site.registry.as_ref().unwrap().faults().on(
            Match::post("/v2/**/blobs/uploads/"),
            Times::Always,
            Action::Answer(answer),
        );
        is_blocked(&rig, &rig.run(), "registry.push", &[], part);
    }
}

/// A token of a robot that pushes may not hold the right to delete; then the registry ends the upload by itself.
#[test]
fn an_upload_that_cannot_be_cancelled_is_reported_and_blocks_nothing() {
    let rig = Rig::new();
    rig.migration.site.registry.as_ref().unwrap().faults().on(
        Match::delete("/v2/**/blobs/uploads/*"),
        Times::Always,
        Action::Answer(Answer::status(403)),
    );
    let outcome = rig.run();
    assert_eq!(lines(&outcome.succeeds().stderr()), but(&[]), "{outcome}");
    says(&outcome, "the registry itself will");
}
