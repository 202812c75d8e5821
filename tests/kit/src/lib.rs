//! What every suite stands on: the built tools, runs whose whole outcome can be asserted, and the peers of the field
//! (Debian's docker-registry, skopeo, kubectl) to check against.
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
//! tool("ocipush").args(["127.0.0.1:5000", "none.tgz"]).run().fails(2, "ocipush: error: open the archive 'none.tgz': no such file or directory\n");
//! ```
//!
//! Always checked, in every run: no registered secret shows in stdout (the `session` section aside), stderr, argv or a
//! child's environment; a record that a tool wrote fits `man/scar-record.schema.json`; a run ends in time, and leaves
//! nobody behind that holds its output open.

// A rig that cannot start has nobody to report to but its test: it panics, and says what it wanted.
#![allow(clippy::unwrap_used, clippy::expect_used)]
// Where tests run and what they run with is told by the environment.
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

/// The steps of a migration, in the order of the guide.
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

/// The tools that take part in a whole run: the look before it, then its steps.
pub const TOOLS: [&str; 9] = {
    let [secret, archive, push, login, flag, wait, verify, set] = STEPS;
    ["scar-preflight", secret, archive, push, login, flag, wait, verify, set]
};
