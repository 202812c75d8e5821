//! `scar-migrate`: settings checked before anything is done, the failed step named, a state folder that keeps no secret;
//! stopped anywhere, carried on, also on another host, and taken back.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod hosts;
mod kill;
mod resume;
mod settings;
mod sites;
mod told;
mod undo;

use std::path::{Path, PathBuf};

use scar_kit::{Run, program, workspace};
use scar_lab::server::Server;
use scar_suites::Migration;
use serde_json::Value;

/// The steps, in the guide's order.
pub(crate) const STEPS: [&str; 9] = ["preflight", "secret", "archive", "push", "login", "flag", "wait", "verify", "set"];

pub(crate) fn script() -> Run {
    program(workspace().join("shell/scar-migrate"))
}

/// The site's settings in a file, a state folder, and no question asked.
pub(crate) fn migrate(migration: &Migration) -> Run {
    at(migration, &state(migration)).arg("--yes").env("SCAR_CONTENT", migration.tree())
}

/// The same on another state folder, as nobody has said yes.
pub(crate) fn at(migration: &Migration, state: &Path) -> Run {
    let config = migration.folder().join("site.conf");
    migration.site.write_environment(&config);
    let run = script().arg("-c").arg(&config).arg("--state").arg(state);
    run.env("SCAR_SETTLE", "5s").called(state.display(), "[STATE]").called(config.display(), "[CONF]")
}

pub(crate) fn state(migration: &Migration) -> PathBuf {
    migration.folder().join("state")
}

pub(crate) fn log(migration: &Migration) -> String {
    std::fs::read_to_string(state(migration).join("scar-migrate.log")).unwrap()
}

/// One of the site's servers.
pub(crate) fn server<'m>(migration: &'m Migration, name: &str) -> &'m Server {
    migration.site.servers().into_iter().find(|(known, _)| known == name).unwrap().1
}

/// How often the site has done what such a line tells, as `vertex PUT /v1/...`; the status is that of success.
pub(crate) fn done(migration: &Migration, begin: &str, end: &str) -> usize {
    migration.site.requests().iter().filter(|line| line.starts_with(begin) && line.ends_with(end)).count()
}

/// What a record of the state folder holds.
pub(crate) fn saved(migration: &Migration, step: &str) -> Option<Value> {
    let text = std::fs::read(state(migration).join(format!("{step}.json"))).ok()?;
    Some(serde_json::from_slice(&text).unwrap())
}
