use std::time::Duration;

use rustix::process::Signal;

use super::{Run, program};

fn sh(script: &str) -> Run {
    program("sh").args(["-c", script])
}

#[test]
fn streams_lead_where_the_run_says() {
    let outcome = sh("cat; echo warning >&2; exit 3").stdin("given").run();
    outcome.exits(3).prints("given").reports("warning\n");
    sh("[ -e /proc/self/fd/0 ] || echo closed").stdin_closed().run().prints("closed\n");
    sh("echo x; echo $? >&2").stdout_closed().run().says("1").writes_nothing();
    sh("echo x || exit 9").stdout_full().run().exits(9);
    sh("kill -TERM $$").run().exits(143);
}

#[test]
fn a_terminal_is_typed_on_beside_a_record_on_stdin() {
    let script = "printf 'Name: ' >/dev/tty; read -r name </dev/tty; echo \"$name $(cat)\"; [ -t 2 ] && echo drawn >&2";
    let outcome = sh(script).stdin("record").stderr_terminal().answer("Name: ", "robot\n").run();
    outcome.succeeds().prints("robot record\n");
    assert!(outcome.screen().ends_with("drawn\n"), "{outcome}");
    sh("test -t 0 && test -t 1 && tput cols").stdin_terminal().stdout_terminal().terminal(132).run().succeeds();
}

#[test]
#[should_panic(expected = "it hung")]
fn a_hang_fails() {
    sh("echo begun; sleep 600").timeout(Duration::from_millis(300)).run();
}

#[test]
#[should_panic(expected = "in the arguments of tail")]
fn a_secret_in_a_childs_arguments_fails() {
    sh("tail -f /dev/null 'argv canary 1' 2>/dev/null & sleep 0.5; kill $!")
        .env("X", "argv canary 1")
        .secret("argv canary 1")
        .run();
}

#[test]
#[should_panic(expected = "in the environment of sleep")]
fn a_secret_in_a_childs_environment_fails() {
    sh("sleep 0.3; exit").env("X", "environment canary 1").secret("environment canary 1").run();
}

#[test]
#[should_panic(expected = "on stderr")]
fn a_secret_on_stderr_fails() {
    sh("printf c3RkZXJyIGNhbmFyeSAx | base64 -d >&2").secret("stderr canary 1").run();
}

#[test]
fn a_run_is_met_in_its_middle_and_signalled() {
    let mut running = sh("trap 'echo ended; exit 7' TERM; echo begun >&2; while :; do sleep 0.01; done").start();
    running.until("begun");
    running.signal(Signal::TERM);
    running.wait().exits(7).prints("ended\n");
}

#[test]
fn a_session_may_hold_one() {
    let record = r#"{"session":{"authorization":"session canary 1"}}"#;
    sh("cat").stdin(record).secret("session canary 1").run().prints(record);
}
