//! Options, record and session: what is refused before anything is sent, and what is passed on.

use scar_kit::tool;
use scar_lab::certs::Certs;
use serde_json::json;

use crate::vertex_site::Private;
use crate::{home, set, site};

#[test]
fn c11_a_ca_file_is_checked_here_and_sent_without_a_key() {
    let certs = Certs::new(&["specman"]);
    let expired = certs.expired();
    for (text, says) in [
        (String::new(), "holds nothing"),
        ("no pem".to_owned(), "holds something else"),
        (certs.server().key_pem.clone(), "holds a private key"),
        (expired.cert_pem.clone(), "only"),
    ] {
        let file = Private::new(&text);
        let run = tool("scar-set").record(&json!({"record": "scar-tools/1"})).arg("--ca-cert").arg(file.path());
        run.run().exits(2).writes_nothing().says("read --ca-cert").says(says);
    }
    let site = site();
    let home = home();
    let chain = format!("{}{}", certs.server().cert_pem, certs.ca_pem());
    let file = Private::new(&format!("# chain\r\n{chain}{}", certs.server().key_pem));
    set(&site, home.path()).arg("--ca-cert").arg(file.path()).args(["--base-content-path", "/c"]).run().succeeds();
    let scar = site.vertex.scar();
    let lines = |text: &str| text.lines().map(str::trim).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(scar["caCert"].as_str().unwrap()), lines(&chain));
    assert_eq!(scar["baseContentPath"], "/c");
    assert_eq!(scar.get("insecureVerify"), None);
}

#[test]
fn c11_checking_is_left_out_only_by_option_and_that_is_said() {
    let site = site();
    let home = home();
    let outcome = set(&site, home.path()).arg("--insecure-verify").run();
    outcome.succeeds().says("warning: VerteX will not check the certificate of").says("SCAR insecureVerify: false -> true");
    assert_eq!(site.vertex.scar()["insecureVerify"], true);
}

#[test]
fn c12_a_record_that_does_not_show_the_steps_before_is_refused() {
    for (missing, says, tool_named) in [
        ("artifact", "the manifests are pushed", "ocipush"),
        ("pack_registry", "the pack registry's flag is set in this VerteX", "pack-registry-set"),
        ("specman", "Specman has persisted the manifests", "specman-wait"),
        ("verified", "Specman serves the manifests", "specman-verify"),
    ] {
        let site = site();
        let home = home();
        let mut record = site.persisted();
        record.as_object_mut().unwrap().remove(missing);
        let run = || tool("scar-set").record(&record).home(home.path());
        let option = if missing == "verified" { "--unverified" } else { "--force" };
        run().run().fails(
            2,
            &format!(
                "scar-set: error: set SCAR: the record does not show that {says}\nscar-set: hint: run {tool_named} before this \
                 step and pass its record on; to continue without it, add {option}\n"
            ),
        );
        assert_eq!(site.server.log().connections(), 0);
        let outcome = run().arg(option).run();
        if missing == "verified" {
            outcome.succeeds()
        } else {
            outcome.succeeds().says("continuing (--force)")
        };
    }
}

/// It would claim that VerteX is changed, although it is not.
#[test]
fn q1_a_dry_runs_record_is_never_taken_for_a_real_one() {
    let site = site();
    let home = home();
    let mut record = site.persisted();
    record["dry_run"] = json!(true);
    set(&site, home.path()).record(&record).run().fails(
        2,
        "scar-set: error: set SCAR: the record is from a dry run: the steps before this one have changed nothing\n\
         scar-set: hint: run every step without --dry-run; scar-set --dry-run shows what this one would do\n",
    );
    assert_eq!(site.server.log().connections(), 0);
    let planned = set(&site, home.path()).record(&record).arg("--dry-run").run();
    assert_eq!(planned.succeeds().says("scar-set: would ").json()["dry_run"], true);
    assert_eq!(site.vertex.scar_writes(), 0);
}

#[test]
fn q2_a_dry_run_is_true_or_absent() {
    let site = site();
    let home = home();
    for value in [json!("true"), json!(1), json!("yes"), json!([true]), json!(false), json!(null)] {
        let mut record = site.persisted();
        record["dry_run"] = value;
        set(&site, home.path()).record(&record).run().exits(2).writes_nothing().says("field 'dry_run' must be true or absent");
    }
    assert_eq!(site.server.log().connections(), 0);
}

/// Clocks differ by minutes, so only the server knows whether a session has expired.
#[test]
fn q5_only_the_server_decides_that_a_session_has_expired() {
    let site = site();
    let home = home();
    let mut record = site.persisted();
    record["session"]["expires_at"] = json!("2024-12-06T12:43:14Z");
    tool("scar-set").record(&record).home(home.path()).run().succeeds();
    let site = crate::site();
    site.vertex.expire_tokens();
    let outcome = set(&site, home.path()).run();
    outcome.exits(4).writes_nothing().says("401 Unauthorized").says("log in again: vertex-login");
    assert!(site.writes().is_empty());
}

#[test]
fn bad_input_30_an_endpoint_is_scheme_host_and_port_alone() {
    for (endpoint, error) in [
        ("https://host/path?x=1#y", "it has a query or a fragment\nscar-set: hint: write https://HOST or https://HOST:PORT\n"),
        ("https://host/a/b", "it has a path\nscar-set: hint: give the path separately: --base-content-path a/b\n"),
        ("host:8443", "it is not an https:// or http:// address\nscar-set: hint: write https://HOST or https://HOST:PORT\n"),
    ] {
        let outcome = tool("scar-set").args(["--scar-endpoint", endpoint]).run();
        outcome.fails(2, &format!("scar-set: error: read the SCAR endpoint '{endpoint}': {error}"));
    }
    let outcome = tool("scar-set").args(["--scar-endpoint", "https://u:pw-in-url@host"]).run();
    outcome.exits(2).says("it holds a login").never_says("pw-in-url");
}

#[test]
fn the_session_leaves_the_record_unless_it_is_kept() {
    let site = site();
    let home = home();
    assert_eq!(set(&site, home.path()).run().json().get("session"), None);
    assert!(set(&site, home.path()).arg("--keep-session").run().json()["session"].is_object());
}

#[test]
fn the_record_is_read_to_its_end_before_anything_is_sent() {
    let site = site();
    let home = home();
    set(&site, home.path()).stdin("").run().exits(2).writes_nothing().says("not run: the stage before it wrote no record");
    assert_eq!(site.server.log().connections(), 0);
    set(&site, home.path()).stdout_full().run().exits(1).says("no space left on device");
    set(&site, home.path()).run().succeeds().says("already");
    assert_eq!(site.vertex.scar_writes(), 1);
}
