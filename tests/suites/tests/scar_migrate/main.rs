//! `scar-migrate`: settings are checked first, the failed stage is named, the state folder has no session; it can be stopped
//! anywhere, run again, also on another host, and undone.
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

pub(crate) fn script() -> Run {
    program(workspace().join("shell/scar-migrate"))
}

/// Runs it with the site's settings in a file and a state folder, without a question.
pub(crate) fn migrate(migration: &Migration) -> Run {
    at(migration, &state(migration)).arg("--yes").env("SCAR_CONTENT", migration.tree())
}

/// The same with another state folder, without --yes.
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

/// How often the site has served such a request, as `vertex PUT /v1/...`, successfully.
pub(crate) fn done(migration: &Migration, begin: &str, end: &str) -> usize {
    migration.site.requests().iter().filter(|line| line.starts_with(begin) && line.ends_with(end)).count()
}

/// A record of the state folder.
pub(crate) fn saved(migration: &Migration, name: &str) -> Option<Value> {
    let text = std::fs::read(state(migration).join(format!("{name}.json"))).ok()?;
    Some(serde_json::from_slice(&text).unwrap())
}
