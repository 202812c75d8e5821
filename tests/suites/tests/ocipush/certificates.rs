//! Certificates: which ones a push trusts, and what it says about others.

use scar_lab::certs::{Certs, Pair};
use scar_lab::faults::{Action, Answer, Match, Times};
use scar_lab::proxy::{Manner, Proxy};
use scar_lab::registry::RegistryOptions;
use scar_lab::server::Listener;

use crate::Site;

fn secure(pair: &Pair) -> Site {
    Site::start(RegistryOptions { listener: Listener::tls(pair.server_config()), ..RegistryOptions::default() })
}

fn file(site: &Site, name: &str, text: &str) -> std::path::PathBuf {
    let path = site.folder.path().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn p3_a_certificate_that_is_not_trusted_ends_the_step_at_once() {
    let certs = Certs::new(&[]);
    for (pair, cause) in [
        (certs.expired(), "it has expired"),
        (certs.wrong_name(), "it is for other names"),
        (certs.unknown_ca(), "its issuer is not known here"),
    ] {
        let site = secure(&pair);
        let ca = file(&site, "ca.pem", certs.ca_pem());
        let run = site.bare().arg(site.archive(10)).arg("--new-record").arg("--ca-file").arg(ca);
        let outcome = run.args(["-u", "user", "--password-stdin"]).stdin("canary/tls").secret("canary/tls").run();
        outcome.exits(5).writes_nothing().says(cause).says("subject: ").says("SHA-256: ");
        assert_eq!(site.registry.log().connections(), 1, "{cause}: tried again");
        assert!(site.registry.log().requests().is_empty());
    }
}

#[test]
fn p3_the_configured_certificate_itself_is_trusted_also_if_it_is_a_ca() {
    let certs = Certs::new(&[]);
    for pair in [certs.self_signed(), certs.self_signed_ca()] {
        let site = secure(&pair);
        let ca = file(&site, "server.pem", &pair.cert_pem);
        site.bare().arg(site.archive(10)).arg("--new-record").arg("--ca-file").arg(ca).run().succeeds();
        site.bare()
            .arg(site.archive(10))
            .args(["--new-record", "--insecure"])
            .run()
            .succeeds()
            .says("is not checked (--insecure)");
    }
}

/// A registry behind a proxy that ends TLS, which is not told so, and one whose store has no TLS.
#[test]
fn q52_a_tls_registry_that_points_to_plain_http_is_reported_with_a_fix() {
    let certs = Certs::new(&[]);
    for (host, hint) in [
        ("[REGISTRY]".to_owned(), "set its external URL, or X-Forwarded-Proto in the proxy in front of it".to_owned()),
        (
            "store.invalid".to_owned(),
            "'http://store.invalid' is where the registry keeps its blobs: give that store TLS".to_owned(),
        ),
    ] {
        let site = secure(certs.server());
        let ca = file(&site, "ca.pem", certs.ca_pem());
        let host = host.replace("[REGISTRY]", &site.registry.authority());
        let away = format!("http://{host}/v2/upload?state=canary-52");
        let push = || {
            let run = site.bare().arg(site.archive(1000)).arg("--new-record").arg("--ca-file").arg(&ca);
            run.args(["--retries", "0"])
        };
        for method in [Match::post("/v2/**/blobs/uploads/"), Match::head("/v2/**/blobs/*")] {
            let redirect = Action::Answer(Answer::status(307).header("location", &away));
            let fault = site.registry.faults().on(method, Times::Always, redirect);
            push().run().exits(5).writes_nothing().says("which is plain HTTP").says(&hint).never_says("canary-52");
            assert!(fault.hits() > 0);
            site.registry.faults().clear();
        }
        let begun = Action::Answer(Answer::status(202).header("location", &away));
        site.registry.faults().on(Match::post("/v2/**/blobs/uploads/"), Times::Always, begun);
        push().run().exits(5).writes_nothing().says("which is plain HTTP").says(&hint);
    }
}

#[test]
fn plain_http_to_a_tls_port_is_reported() {
    let certs = Certs::new(&[]);
    let site = secure(certs.server());
    let outcome = site.ocipush(site.archive(10)).run();
    outcome.exits(2).says("connect to '127.0.0.1:PORT'").says("leave out --plain-http").writes_nothing();
    assert_eq!(site.registry.log().connections(), 1, "tried again");
    let Some(registry) = scar_kit::docker_registry() else { return };
    let run = scar_kit::tool("ocipush").arg(registry.authority()).arg(site.archive(10)).args(["--new-record", "--plain-http"]);
    run.run().exits(2).says("Client sent an HTTP request to an HTTPS server").says("leave out --plain-http").writes_nothing();
}

#[test]
fn a_registrys_own_folder_in_certs_d_is_trusted() {
    let certs = Certs::new(&[]);
    for below in [".config/docker/certs.d", ".config/containers/certs.d"] {
        let site = secure(certs.server());
        site.bare().arg(site.archive(10)).arg("--new-record").run().exits(5);
        file(&site, &format!("home/{below}/{}/ca.crt", site.registry.authority()), certs.ca_pem());
        let run = site.bare().home(site.folder.path().join("home")).arg(site.archive(10)).args(["--new-record", "-v"]);
        run.run().succeeds().says(&format!("ocipush: trust for '127.0.0.1:PORT': '[DIR]/home/{below}/127.0.0.1:PORT/ca.crt'"));
    }
}

#[test]
fn a_client_certificate_in_certs_d_is_presented_to_the_registry() {
    let certs = Certs::new(&[]);
    let config = certs.server().server_config_with_clients(certs.ca_pem(), true);
    let site = Site::start(RegistryOptions { listener: Listener::tls(config), ..RegistryOptions::default() });
    let at = format!("home/.config/containers/certs.d/{}", site.registry.authority());
    file(&site, &format!("{at}/ca.crt"), certs.ca_pem());
    let client = certs.client("pusher");
    file(&site, &format!("{at}/client.cert"), &client.cert_pem);
    let push = || site.bare().home(site.folder.path().join("home")).arg(site.archive(10)).arg("--new-record").run();
    push().exits(2).says("its key is missing");
    assert_eq!(site.registry.log().connections(), 0);
    let ca = site.folder.path().join(&at).join("ca.crt");
    let without = site.bare().arg("--ca-file").arg(&ca).arg(site.archive(10)).arg("--new-record").run();
    without.exits(4).says("/v2/: it demands a client certificate").says("certs.d").writes_nothing();
    assert_eq!(site.registry.log().connections(), 1, "tried again: {without}");
    file(&site, &format!("{at}/client.key"), &client.key_pem);
    push().succeeds();
}

#[test]
fn a_host_without_system_certificates_works() {
    let certs = Certs::new(&[]);
    let site = secure(certs.server());
    let ca = file(&site, "ca.pem", certs.ca_pem());
    let empty = site.folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let run = || site.bare().arg(site.archive(10)).args(["--new-record", "-v"]).env("SSL_CERT_DIR", &empty);
    run().run().exits(5).says("its issuer is not known here");
    run()
        .arg("--ca-file")
        .arg(&ca)
        .run()
        .succeeds()
        .says("checked against the system's 0 certificates and --ca-file '[DIR]/ca.pem'");
    run().env("SSL_CERT_FILE", &ca).run().succeeds().says("checked against SSL_CERT_FILE '[DIR]/ca.pem'");
    let plain = Site::plain();
    plain.ocipush(plain.archive(10)).env("SSL_CERT_DIR", &empty).run().succeeds();
}

#[test]
fn bad_input_22_a_ca_file_that_holds_something_else_is_reported_before_a_connection() {
    let certs = Certs::new(&[]);
    let site = secure(certs.server());
    let der = site.folder.path().join("ca.der");
    std::fs::write(&der, certs.server().der()).unwrap();
    for (path, says) in [
        (der, "it holds a DER certificate, not a PEM certificate"),
        (file(&site, "key.pem", &certs.server().key_pem), "it holds a private key, not a PEM certificate"),
        (file(&site, "empty.pem", ""), "it holds nothing, not a PEM certificate"),
        (site.folder.path().join("none.pem"), "no such file"),
    ] {
        let run = site.bare().arg(site.archive(10)).arg("--new-record").arg("--ca-file").arg(&path);
        run.run().exits(2).says("read --ca-file '[DIR]/").says(says).writes_nothing();
    }
    assert_eq!(site.registry.log().connections(), 0);
    // An expired certificate or a leaf is valid input: whether it is the server's shows later.
    let leaf = file(&site, "leaf.pem", &certs.server().cert_pem);
    site.bare().arg(site.archive(10)).arg("--new-record").arg("--ca-file").arg(leaf).run().succeeds();
    let expired = certs.expired();
    let site = secure(&expired);
    let pem = file(&site, "expired.pem", &expired.cert_pem);
    let run = site.bare().arg(site.archive(10)).arg("--new-record").arg("--ca-file").arg(pem);
    run.run().exits(5).says("it has expired").writes_nothing();
}

#[test]
fn bad_input_23_half_a_client_certificate_is_reported_before_a_connection() {
    let certs = Certs::new(&[]);
    let site = secure(certs.server());
    let (one, other) = (certs.client("one"), certs.client("other"));
    let cert = file(&site, "one.pem", &one.cert_pem);
    let key = |name: &str, text: &str| file(&site, name, text);
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let run = || site.bare().arg(site.archive(10)).arg("--new-record").arg("--cert-file").arg(&cert);
    run().run().exits(2).says("--key-file").writes_nothing();
    for (key, says) in [
        (key("other.key", &other.key_pem), "the key is not the certificate's"),
        (key("locked.key", locked), "the key is encrypted"),
        (key("none.key", "x"), "it holds no PEM private key"),
    ] {
        run().arg("--key-file").arg(key).run().exits(2).says(says).writes_nothing();
    }
    assert_eq!(site.registry.log().connections(), 0);
}

#[test]
fn bad_inputs_24_and_26_plain_http_warns_and_a_proxy_needs_a_scheme_that_is_known() {
    let site = Site::plain();
    let run = |arguments: &[&str]| {
        scar_kit::tool("ocipush").args(arguments).arg(site.archive(10)).args(["--new-record", "--retries", "0"])
    };
    let plain = run(&["registry.invalid", "--plain-http"]).run();
    plain.exits(6).says("warning: credentials and content go to 'http://registry.invalid' in clear");
    for (proxy, says) in [
        ("proxy:3128", "read HTTPS_PROXY 'proxy:3128': it has no scheme"),
        (
            "socks4://u:canary-proxy-26@proxy:1080",
            "read HTTPS_PROXY 'socks4://proxy:1080': proxies of the kind 'socks4' are not supported",
        ),
    ] {
        let outcome = run(&["registry.invalid"]).env("HTTPS_PROXY", proxy).run();
        outcome.exits(2).says(says).says("write http://HOST:PORT or https://HOST:PORT").never_says("canary-proxy-26");
    }
}

#[test]
fn a_ca_file_may_be_a_pipe() {
    let certs = Certs::new(&[]);
    let site = secure(certs.server());
    file(&site, "ca.pem", certs.ca_pem());
    let script =
        format!("ocipush {} {} --new-record --ca-file <(cat ca.pem)", site.registry.authority(), site.archive(10).display());
    scar_kit::bash(&script).folder(site.folder.path()).run().succeeds();
}

#[test]
fn p42_a_proxys_refusal_is_never_taken_for_the_registrys() {
    let certs = Certs::new(&[]);
    let site = secure(certs.server());
    let ca = file(&site, "ca.pem", certs.ca_pem());
    let archive = site.archive(100_000);
    let run = |proxy: String| {
        let run = site.bare().arg(&archive).args(["--new-record", "--retry-max-wait", "20ms"]);
        run.arg("--ca-file").arg(&ca).env("HTTPS_PROXY", proxy)
    };
    let login = Manner::Login { user: "user".into(), password: "proxy-canary-42".into() };
    scar_kit::secret("proxy-canary-42");
    let proxy = Proxy::start(login.clone());
    run(proxy.url()).run().exits(4).writes_nothing().says("from the proxy").says("it requires a login (407)");
    assert_eq!(proxy.asked().len(), 1, "tried again");
    proxy.behave(Manner::Refuse);
    let refused = run(proxy.url()).args(["--retries", "1"]).run();
    refused.exits(6).writes_nothing().says("from the proxy").says("it refused the connection to the server");
    proxy.behave(Manner::Reset);
    run(proxy.url()).args(["--retries", "1"]).run().exits(6).writes_nothing().says("proxy");
    proxy.behave(Manner::Silent);
    let silent = run(proxy.url()).args(["--retries", "0"]).run();
    silent.exits(8).says(&format!("from the proxy '{}': no connection to the server in time", proxy.url())).writes_nothing();
    assert_eq!(site.registry.log().connections(), 0);

    proxy.behave(login);
    let before = proxy.asked().len();
    run(proxy.url_with("user", "proxy-canary-42")).run().succeeds();
    let tunnels = proxy.asked().split_off(before);
    assert!(!tunnels.is_empty() && tunnels.iter().all(|asked| asked.status == Some(200)), "{tunnels:?}");
    assert!(site.registry.log().requests().iter().all(|request| request.header("proxy-authorization").is_none()));
    let before = proxy.asked().len();
    run(proxy.url()).arg("--no-proxy").run().succeeds().says("nothing was sent");
    run(proxy.url()).env("NO_PROXY", format!("127.0.0.1:{}", site.registry.port())).run().succeeds();
    for no in ["127.0.0.0/8", "*", "registry.example, *"] {
        run(proxy.url()).env("NO_PROXY", no).run().succeeds().says("nothing was sent");
    }
    assert_eq!(proxy.asked().len(), before, "NO_PROXY was not honoured");
}
