//! scar-preflight: what it finds on a site that is ready, and that it changes nothing there.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cluster;
mod content;
mod platform;
mod profiles;
mod registry;
mod rig;
mod token_server;

use std::time::Duration;

use rig::{Rig, but, is_allowed, lines, says};
use scar_kit::tool;
use scar_lab::faults::{Action, Match, Times};
use scar_lab::proxy::{Manner, Proxy};
use scar_suites::new_record;
use serde_json::json;

#[test]
fn a_site_that_is_ready_is_found_ready_and_left_as_it_is() {
    let rig = Rig::new();
    let before = rig.migration.site.state();
    let outcome = rig.run();
    let record = outcome.succeeds().json();
    assert_eq!(lines(&outcome.stderr()), but(&[]), "{outcome}");
    let checks = record["preflight"]["checks"].as_array().unwrap();
    let names: Vec<_> = checks.iter().map(|check| check["name"].as_str().unwrap()).collect();
    assert_eq!(names, [&rig::ALL[..], &["network.certificates"]].concat());
    let found = |name: &str| checks.iter().find(|check| check["name"] == name).unwrap()["found"].as_str().unwrap();
    assert_eq!(found("platform.version"), "4.5.15; 4.5.15 or later is needed");
    assert!(
        found("platform.login").starts_with("as 'admin', administrator type 'root', with the password; the session ends at "),
        "{outcome}"
    );
    assert_eq!(found("cluster.identity"), "'kubernetes-admin'");
    assert!(found("content.tree").contains("3 files in 3 folders, 1 link, 75.0 KiB; about "), "{outcome}");
    assert_eq!(found("registry.login"), "user 'robot$packs' from the options");
    assert_eq!(found("registry.push"), "allowed: an upload was opened, and cancelled");
    assert!(outcome.stderr().ends_with("scar-preflight: nothing blocks: 35 ok, 0 to be looked at, 1 skipped\n"), "{outcome}");
    // Nothing was changed, and no upload was left open.
    assert_eq!(rig.migration.site.state(), before);
    let writing = rig.writing();
    assert!(writing.iter().all(|line| is_allowed(line)), "{writing:#?}");
    let count = |method: &str| writing.iter().filter(|line| line.starts_with(&format!("registry {method} "))).count();
    assert_eq!((count("POST"), count("DELETE")), (1, 1), "{writing:#?}");
    assert!(writing.iter().any(|line| line.starts_with("registry DELETE ") && line.ends_with(" -> 204")), "{writing:#?}");
    assert!(outcome.took() < Duration::from_secs(10), "{outcome}");
}

/// Each side waits for its own answers alone: four slow servers take as long as one.
#[test]
fn the_sides_are_checked_side_by_side() {
    let rig = Rig::new();
    for (name, server) in rig.migration.site.servers() {
        if ["vertex", "kube", "registry"].contains(&name.as_str()) {
            server.faults().on(Match::any("/**"), Times::First(2), Action::Delay(Duration::from_millis(1500)));
        }
    }
    let outcome = rig.run();
    outcome.succeeds();
    assert!(outcome.took() < Duration::from_secs(8), "{outcome}");
}

#[test]
fn a_server_that_never_answers_costs_its_side_the_time_of_a_check() {
    for (silent, side) in [("vertex", "platform"), ("kube", "cluster"), ("registry", "registry")] {
        let rig = Rig::new();
        let servers = rig.migration.site.servers();
        let (_, server) = servers.iter().find(|(name, _)| name == silent).unwrap();
        server.faults().on(Match::any("/**"), Times::Always, Action::Stall);
        let outcome = rig.run_with(&[("--timeout", Some("2s"))]);
        outcome.exits(3).writes_nothing();
        says(&outcome, "route and firewall");
        let found = lines(&outcome.stderr());
        let of_side = |name: &str| name.starts_with(&format!("{side}.")) || side == "cluster" && name == "content.claim";
        let (own, others): (rig::Lines, rig::Lines) = found.into_iter().partition(|(name, _)| of_side(name));
        assert_eq!(own[&format!("{side}.reached")], "blocked", "{outcome}");
        assert!(own.iter().all(|(name, result)| name.ends_with(".reached") || result == "skipped"), "{outcome}");
        let expected: rig::Lines = but(&[]).into_iter().filter(|(name, _)| !of_side(name)).collect();
        assert_eq!(others, expected, "{outcome}");
        assert!(outcome.took() < Duration::from_secs(8), "{outcome}");
    }
}

#[test]
fn q14_each_check_of_a_side_without_settings_is_a_skipped_line_and_the_summary_names_the_side() {
    let rig = Rig::new();
    let outcome = tool("scar-preflight").args(["--content", rig.migration.tree().to_str().unwrap()]).run();
    assert_eq!(
        lines(&outcome.succeeds().stderr())
            .into_iter()
            .filter(|(_, result)| result != "ok")
            .map(|(name, _)| name)
            .collect::<Vec<_>>(),
        but(&[]).into_keys().filter(|name| !name.starts_with("content.") || name == "content.claim").collect::<Vec<_>>(),
        "{outcome}"
    );
    assert!(outcome.stderr().ends_with(" skipped; not looked at: platform, cluster, registry\n"), "{outcome}");
    let record = outcome.succeeds().json();
    let found = |name: &str| {
        record["preflight"]["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).cloned().unwrap()
    };
    for (side, why) in [
        ("platform.flag", "no endpoint: --endpoint URL or VERTEX_ENDPOINT"),
        ("cluster.secret", "no kubeconfig: --kubeconfig FILE or KUBECONFIG"),
        ("registry.push", "no registry: --reference HOST or OCI_PACK_REGISTRY"),
        ("content.claim", "the claim's room is not known here"),
        ("network.route", "no server was reached"),
    ] {
        assert_eq!(found(side), json!({"name": side, "result": "skipped", "found": why}), "{outcome}");
    }
}

#[test]
fn only_makes_the_settings_of_its_side_needed_and_leaves_the_others_out() {
    for (side, message) in [
        ("platform", "no endpoint: --endpoint URL or VERTEX_ENDPOINT"),
        ("cluster", "no kubeconfig: --kubeconfig FILE or KUBECONFIG"),
        ("content", "no folder: --content DIR"),
        ("registry", "no registry: --reference HOST or OCI_PACK_REGISTRY"),
    ] {
        tool("scar-preflight")
            .args(["--only", side])
            .run()
            .fails(2, &format!("scar-preflight: error: missing: {message}\nscar-preflight: hint: --only asks for this part\n"));
    }
    let rig = Rig::new();
    for side in ["platform", "cluster", "content", "registry"] {
        let outcome = rig.run_with(&[("--only", Some(side))]);
        outcome.succeeds();
        let expected: rig::Lines = but(&[])
            .into_iter()
            .filter(|(name, _)| name.starts_with(&format!("{side}.")) || name.starts_with("network.") && side != "content")
            .map(|(name, result)| if name == "content.claim" { (name, "skipped".to_owned()) } else { (name, result) })
            .collect();
        assert_eq!(lines(&outcome.stderr()), expected, "{outcome}");
    }
}

#[test]
fn nothing_to_check_is_no_success() {
    tool("scar-preflight").run().fails(
        2,
        "scar-preflight: error: there is nothing to check: no side of the site has its settings\n\
         scar-preflight: hint: name them: --content DIR --reference HOST --endpoint URL --kubeconfig FILE\n",
    );
}

#[test]
fn the_environment_names_the_site() {
    let rig = Rig::new();
    let site = &rig.migration;
    let names =
        ["VERTEX_ENDPOINT", "VERTEX_USERNAME", "VERTEX_PASSWORD_FILE", "OCI_PACK_REGISTRY", "OCI_PACK_BASE", "KUBECONFIG"];
    let ca = site.setting("VERTEX_CA_FILE");
    let run = tool("scar-preflight").env("SSL_CERT_FILE", ca).args(["--only", "platform", "--only", "cluster"]);
    let run = run.args(["--pack-registry-username".to_owned(), site.setting("OCI_USERNAME")]);
    let run = run.args(["--pack-registry-password-file".to_owned(), site.setting("OCI_PASSWORD_FILE")]);
    let outcome = names.iter().fold(run, |run, name| run.env(name, site.setting(name))).run();
    outcome.succeeds();
    assert!(lines(&outcome.stderr()).values().all(|result| result == "ok"), "{outcome}");
}

#[test]
fn the_route_names_the_proxy() {
    let rig = Rig::new();
    let proxy = Proxy::start(Manner::Open);
    let vertex = rig.migration.setting("VERTEX_ENDPOINT").replace("https://", "");
    let run = rig.call(&[]).env("HTTPS_PROXY", proxy.url());
    let outcome = run.run();
    assert_eq!(lines(&outcome.succeeds().stderr()), but(&[]), "{outcome}");
    says(&outcome, &format!("{vertex} through '{}'", proxy.url()));
    let outcome = rig.call(&[]).env("HTTPS_PROXY", proxy.url()).env("NO_PROXY", "127.0.0.0/8").run();
    outcome.succeeds();
    says(&outcome, &format!("{vertex} directly"));

    let refusing = Proxy::start(Manner::Refuse);
    let session = rig.migration.tool("vertex-login").record(&new_record()).run().succeeds().json();
    scar_kit::secret(session["session"]["authorization"].as_str().unwrap());
    let run = rig.call(&[]).env("HTTPS_PROXY", refusing.url()).record(&session);
    assert_eq!(lines(&run.arg("--no-proxy").run().succeeds().stderr()), but(&[]));

    let outcome = rig.call(&[]).env("HTTPS_PROXY", refusing.url()).run();
    outcome.exits(3);
    let found = lines(&outcome.stderr());
    let blocked: Vec<_> = found.iter().filter(|(_, result)| *result == "blocked").map(|(name, _)| name.as_str()).collect();
    assert_eq!(blocked, ["cluster.reached", "platform.reached", "registry.reached"], "{outcome}");
    says(&outcome, "from the proxy");
}

#[test]
fn a_hint_spells_the_options_of_its_server() {
    let rig = Rig::new();
    for option in ["--registry-ca-file", "--vertex-ca-file"] {
        let outcome = rig.run_with(&[(option, None)]);
        outcome.exits(3);
        says(&outcome, &format!("and {option} server.pem"));
    }
}

#[test]
fn q5_a_clock_that_is_off_is_a_warning_and_above_five_minutes_it_blocks() {
    for (seconds, result, exit) in [(120, "warning", 0), (1200, "blocked", 3)] {
        let rig = Rig::new();
        let late = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds);
        let date = late.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        rig.migration.site.vertex_server.faults().on(Match::any("/**"), Times::Always, Action::set_header("date", &date));
        let outcome = rig.run();
        outcome.exits(exit);
        assert_eq!(lines(&outcome.stderr()), but(&[("network.clock", result)]), "{outcome}");
        says(&outcome, "behind this host (there ");
    }
}

#[test]
fn every_line_fits_eighty_columns_and_colour_is_for_a_terminal_alone() {
    let rig = Rig::new();
    rig.migration.site.vertex.behave(|behaviour| behaviour.version = "4.5.9".into());
    let piped = rig.run();
    assert!(!piped.stderr().contains('\u{1b}'), "{piped}");
    let table =
        |text: &str| text.lines().take_while(|line| !line.starts_with("scar-preflight: ")).map(str::to_owned).collect::<Vec<_>>();
    let rows = table(&piped.stderr());
    assert!(rows.len() > 40 && rows.iter().all(|row| row.chars().count() <= 80), "{piped}");
    assert!(rows.iter().any(|row| row.starts_with("                                hint: upgrade VerteX or Palette")), "{piped}");

    let shown = rig.call(&[]).stderr_terminal().terminal(80).run();
    let screen = shown.screen();
    for piece in
        ["\u{1b}[32mok\u{1b}[0m", "\u{1b}[1;31mblocked\u{1b}[0m", "\u{1b}[2mskipped\u{1b}[0m", "\u{1b}[1;36mhint: \u{1b}[0m"]
    {
        assert!(screen.contains(piece), "no {piece:?}\n{shown}");
    }
    let plain = rig.call(&[]).stderr_terminal().terminal(80).env("NO_COLOR", "1").run();
    assert!(!plain.screen().contains("\u{1b}[32m") && !plain.screen().contains("\u{1b}[1;31m"), "{plain}");
}

#[test]
fn quiet_names_what_blocks_and_nothing_else() {
    let rig = Rig::new();
    rig.migration.site.vertex.behave(|behaviour| behaviour.version = "4.5.9".into());
    let outcome = rig.call(&[]).arg("-q").run();
    outcome.exits(3).writes_nothing();
    assert_eq!(
        outcome.stderr(),
        "scar-preflight: error: check the site: blocked: platform.version (1 of 36 checks)\n\
         scar-preflight: hint: do what the hint of each blocked line says, then run this again\n"
    );
}
