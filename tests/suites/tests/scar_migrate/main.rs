//! `scar-migrate`: settings checked before anything is done, the failed stage named, a state folder that holds no session;
//! stopped anywhere and run again, also on another host, and undone.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod guide;
mod hosts;
mod kill;
mod resume;
mod settings;
mod sites;
mod state_folder;
mod undo;

use std::path::{Path, PathBuf};

use scar_kit::{Run, program, workspace};
use scar_lab::server::Server;
use scar_suites::Migration;
use serde_json::Value;

/// What each stage says first, in the order of the pipe: a run that says it has come that far.
pub(crate) const STAGES: [&str; 7] = [
    "scar-secret-rm: ",
    "ocipush: ",
    "vertex-login: logged in",
    "pack-registry-set: ",
    "specman-wait: ",
    "specman-verify: ",
    "scar-set: ",
];

pub(crate) fn script() -> Run {
    program(workspace().join("shell/scar-migrate"))
}

/// The site's settings in a file, a state folder, and no question asked.
pub(crate) fn migrate(migration: &Migration) -> Run {
    at(migration, &state(migration)).arg("--yes").env("SCAR_CONTENT", migration.tree())
}

/// The same on another state folder, without --yes.
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

/// How often the site has done what such a line says, as `vertex PUT /v1/...`; the status is that of success.
pub(crate) fn done(migration: &Migration, begin: &str, end: &str) -> usize {
    migration.site.requests().iter().filter(|line| line.starts_with(begin) && line.ends_with(end)).count()
}

/// A record of the state folder.
pub(crate) fn saved(migration: &Migration, name: &str) -> Option<Value> {
    let text = std::fs::read(state(migration).join(format!("{name}.json"))).ok()?;
    Some(serde_json::from_slice(&text).unwrap())
}
