//! The basis of every suite: the built tools, runs whose outcome can be asserted, and other programs (Debian's
//! docker-registry, skopeo, kubectl) to compare with.
//!
//! ```no_run
//! use scar_kit::tool;
//! use serde_json::json;
//!
//! # let certs = String::new();
//! let outcome = tool("mkmanifests").arg("/var/www/html").record(&json!({"record": "scar-tools/1"})).run();
//! outcome.succeeds().quiet();
//! assert_eq!(outcome.json()["archive"]["files"], 3);
//!
//! let outcome = tool("ocipush").args(["127.0.0.1:5000", "none.tgz"]).run();
//! outcome.fails(2, "ocipush: error: open the archive 'none.tgz': no such file or directory\n");
//! ```
//!
//! Every run is checked: no registered secret is in stdout (except the section `session`), stderr, arguments or a child's
//! environment; a record fits `man/scar-record.schema.json`; the run ends in time, and leaves no process that holds its
//! output open.

// A fixture that cannot start panics, and says why: only its test can report it.
#![allow(clippy::unwrap_used, clippy::expect_used)]
// The environment says where tests run, and with what.
#![allow(clippy::disallowed_methods)]

mod binaries;
mod canary;
mod messages;
mod outcome;
mod peer;
mod registry;
mod run;
mod schema;
mod terminal;
mod token_server;
pub mod web;

pub use binaries::{binaries, binary, workspace};
pub use canary::{find_secrets, forget_secret, secret};
pub use outcome::Outcome;
pub use peer::peer;
pub use registry::{DockerRegistry, docker_registry, docker_registry_with_tokens};
pub use run::{Run, Running, bash, program, tool};
pub use rustix::process::Signal;
pub use schema::complaints;
pub use token_server::{Account, Asked, TokenServer};

/// The tools of a migration, in the guide's order.
pub const STEPS: [&str; 8] = [
    "scar-secret-rm",
    "mkmanifests",
    "ocipush",
    "vertex-login",
    "pack-registry-set",
    "specman-wait",
    "specman-verify",
    "scar-set",
];

/// The tools of a whole run: the preflight, then the steps.
pub const TOOLS: [&str; 9] = {
    let [secret, archive, push, login, flag, wait, verify, set] = STEPS;
    ["scar-preflight", secret, archive, push, login, flag, wait, verify, set]
};
