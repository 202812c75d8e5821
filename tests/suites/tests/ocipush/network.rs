//! Name resolution and connections.

use std::time::Duration;

use scar_kit::{peer, tool};

use crate::{SIZE, Site, assert_pushed};

#[test]
fn p1_a_name_that_does_not_resolve_is_reported() {
    let site = Site::plain();
    let run = tool("ocipush").arg("registry.invalid").arg(site.archive(10)).args(["--new-record", "--retries", "1"]);
    run.args(["--retry-max-wait", "20ms"]).run().exits(6).says("registry.invalid").says("it is safe to run this step again");
}

/// Names come from a file, through a library that replaces the system's resolver.
#[test]
fn p1_a_name_lookup_is_retried() {
    let Some(wrapper) = peer("libnss_wrapper.so") else { return };
    let site = Site::plain();
    let hosts = site.folder.path().join("hosts");
    std::fs::write(&hosts, "127.0.0.1 other.example\n").unwrap();
    let run = tool("ocipush").arg(format!("registry.example:{}", site.registry.port())).arg(site.archive(SIZE));
    let run = run.args(["--new-record", "--plain-http", "-v"]).env("LD_PRELOAD", wrapper).env("NSS_WRAPPER_HOSTS", &hosts);
    let mut running = run.start();
    running.until("trying again in");
    assert_eq!(site.registry.log().connections(), 0);
    // Replace the file: the library checks its time, in whole seconds.
    let later = site.folder.path().join("later");
    std::fs::write(&later, "127.0.0.1 registry.example\n").unwrap();
    std::fs::rename(later, hosts).unwrap();
    running.wait().succeeds().says("registry.example");
    assert_pushed(&site, SIZE);
}

#[test]
fn p2_reset_connections_are_retried() {
    let site = Site::plain();
    site.registry.faults().reset_connections(2);
    site.ocipush(site.archive(SIZE)).run().succeeds();
    assert_pushed(&site, SIZE);
    site.registry.faults().reset_connections(100);
    site.ocipush(site.archive(SIZE)).args(["--retries", "2"]).run().exits(6).writes_nothing();
}

/// A port whose connection queue is full, so that connections are dropped silently.
#[test]
fn p2_a_host_that_drops_packets_times_out() {
    let Some(python) = peer("python3") else { return };
    let hole = "import socket, sys\ns = socket.socket()\ns.bind((\"127.0.0.1\", 0))\ns.listen(0)\n\
                c = [socket.socket() for _ in range(3)]\n[(x.setblocking(False), x.connect_ex(s.getsockname())) for x in c]\n\
                print(s.getsockname()[1], flush=True)\nsys.stdin.read()";
    let mut child = std::process::Command::new(python)
        .args(["-c", hole])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut port = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut port).unwrap();
    let site = Site::plain();
    let run =
        tool("ocipush").arg(format!("127.0.0.1:{}", port.trim())).arg(site.archive(10)).args(["--new-record", "--plain-http"]);
    let outcome = run.args(["--retries", "1", "--retry-max-wait", "20ms"]).run();
    drop(child.stdin.take());
    child.wait().unwrap();
    outcome.exits(8).says("no connection in time").writes_nothing();
    assert!(outcome.took() < Duration::from_secs(25), "{:?}", outcome.took());
}
