//! Checks the lab's VerteX with the guide's own commands: curl and jq with the guide's options.
//!
//! Without curl, jq or bash the test is skipped; with `CI=true` it fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

use std::path::Path;
use std::process::{Command, Stdio};

use scar_lab::certs::Certs;
use scar_lab::server::{Listener, Server};
use scar_lab::vertex::{JOBS, SPECMAN, Vertex, router};
use serde_json::json;

/// Login, PUT, both jobs, and the GET of the section "Validate", as in the guide.
const SCRIPT: &str = r#"
set -u
authtoken=$(curl -k --location --silent --request POST "${ENDPOINT}/v1/auth/syslogin?setCookie=true" \
    --header 'Content-Type: application/json' \
    --data '{"username": "admin", "password": "'"${PASSWORD}"'"}' | jq ."Authorization")
[[ "${authtoken}" == null ]] && exit 9
curl -k --write-out '%{http_code}\n' --silent --output /dev/null --location --request PUT "${ENDPOINT}/v1/system/config/scar" \
    --header 'Content-Type: application/json' --header 'Accept: application/json' \
    --header "Cookie: Authorization=${authtoken}" \
    --data-raw '{"endpoint": "'"${SCAR_ENDPOINT}"'", "password": "", "username": ""}'
for job in syncCloudInstanceTypesData syncCloudStorageTypesData; do
    curl -k --write-out '%{http_code}\n' --silent --location "${ENDPOINT}/v1/jobs/internal/${job}/run" \
        --header 'Content-Type: application/json' --header 'Accept: application/json' \
        --header "Cookie: Authorization=${authtoken}"
done
curl --insecure --silent --location "${ENDPOINT}/v1/system/config/scar" --header "Cookie: Authorization=${authtoken}"
"#;

#[test]
fn the_commands_of_the_guide_do_on_the_lab_what_the_guide_says() {
    let missing = ["bash", "curl", "jq"].iter().find(|tool| !Path::new("/usr/bin").join(tool).exists());
    if let Some(tool) = missing {
        assert_ne!(std::env::var_os("CI"), Some("true".into()), "{tool} is missing");
        eprintln!("skipped: {tool} is missing");
        return;
    }
    let vertex = Vertex::start();
    let old = json!({"endpoint": "https://scar.example", "username": "scar", "password": "old"});
    vertex.set_scar(old);
    let server = Server::start(router(vertex.clone()), Listener::tls(Certs::new(&[]).server_config()));
    let run = |password: &str| {
        let output = Command::new("/usr/bin/bash")
            .args(["-c", SCRIPT])
            .env_clear()
            .env("PATH", "/usr/bin")
            .env("ENDPOINT", server.url())
            .env("PASSWORD", password)
            .env("SCAR_ENDPOINT", SPECMAN)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(run("wrong"), (9, String::new()));
    assert_eq!(vertex.scar()["endpoint"], "https://scar.example");
    let password = vertex.behaviour().password;
    assert_eq!(run(&password), (0, format!("204\n204\n204\n{{\"endpoint\":\"{SPECMAN}\"}}")));
    assert_eq!(vertex.scar(), json!({"endpoint": SPECMAN, "password": "", "username": ""}));
    assert_eq!(vertex.jobs(), JOBS);
    assert_eq!(vertex.violations(), Vec::<String>::new());
}
