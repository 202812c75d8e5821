//! scar-set against the lab's VerteX: the change and its undo, with everything that can go wrong.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod inputs;
mod setting;
mod settle;
mod undo;
#[path = "../vertex_site/mod.rs"]
mod vertex_site;

use std::path::{Path, PathBuf};

use scar_kit::{Run, secret, tool};
use scar_lab::faults::{Action, Match, Times};
use scar_lab::vertex::{ContentServer, Masking, SPECMAN};
use serde_json::{Value, json};
use vertex_site::Site;

pub(crate) const SCAR: &str = "/v1/system/config/scar";
pub(crate) const VALIDATE: &str = "/v1/system/config/scar/validate";
pub(crate) const OLD_PASSWORD: &str = "scar-canary-3";

/// A site whose old SCAR needs a login, and whose Specman serves.
pub(crate) fn site() -> Site {
    let site = Site::start();
    secret(OLD_PASSWORD);
    site.vertex.set_scar(old());
    site.vertex.set_persisted(true);
    let login = Some(("scar".to_owned(), OLD_PASSWORD.to_owned()));
    site.vertex.behave(|b| {
        b.content_servers = vec![ContentServer { endpoint: "https://old.example".into(), login }];
        b.scar_masking = Masking::Shown;
    });
    site
}

pub(crate) fn old() -> Value {
    json!({
        "endpoint": "https://old.example", "username": "scar", "password": OLD_PASSWORD,
        "caCert": "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n", "baseContentPath": "content", "note": 1.50
    })
}

/// What the guide's script sets.
pub(crate) fn new() -> Value {
    json!({"endpoint": SPECMAN, "username": "", "password": ""})
}

pub(crate) fn set(site: &Site, home: &Path) -> Run {
    tool("scar-set")
        .record(&site.persisted())
        .home(home)
        .args(["--settle", "1s"])
        .called(site.url(), "[VERTEX]")
        .called(home.display(), "[STATE]")
}

/// Makes the server show a modified setting, whatever it stores.
pub(crate) fn shown_as(site: &Site, change: impl Fn(&mut Value) + Send + Sync + 'static) {
    let vertex = site.vertex.clone();
    let show = Action::edit(move |response| {
        let mut setting = vertex.scar();
        change(&mut setting);
        *response.body_mut() = setting.to_string().into();
        response.headers_mut().remove("content-length");
    });
    site.fault(Match::get(SCAR), Times::Always, show);
}

pub(crate) fn home() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// The files in the state folder below a home.
pub(crate) fn backups(home: &Path) -> Vec<PathBuf> {
    let folder = std::fs::read_dir(home.join(".local/state/scar-tools"));
    let mut files: Vec<_> = folder.into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

pub(crate) fn undo(site: &Site, file: &Path) -> Run {
    let record = json!({"record": "scar-tools/1", "session": site.session()});
    tool("scar-set").record(&record).args(["--settle", "1s", "--undo"]).arg(file).called(site.url(), "[VERTEX]")
}
