//! scar-secret-rm against the lab's cluster: what it deletes, keeps and prints.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod access;
mod backup;
mod removal;
mod undo;

use std::collections::BTreeMap;

use scar_kit::Run;
use scar_suites::{KubeSite, new_record};

pub(crate) const NAME: &str = "spectro-manifest-registry-secrets";
pub(crate) const NAMESPACE: &str = "hubble-system";
pub(crate) const PATH: &str = "/api/v1/namespaces/hubble-system/secrets/spectro-manifest-registry-secrets";
pub(crate) const BACKUP: &str = "FOLDER/.local/state/scar-tools/secret-HOST-hubble-system-spectro-manifest-registry-secrets.json";
pub(crate) const CANARY: &str = "canary-of-the-secret";

/// A cluster with the secret.
pub(crate) fn site() -> KubeSite {
    let site = KubeSite::new(0);
    seed(&site);
    site
}

pub(crate) fn seed(site: &KubeSite) -> String {
    scar_kit::secret(CANARY);
    let data = BTreeMap::from([("password".to_owned(), CANARY.as_bytes().to_vec()), ("username".to_owned(), b"scar".to_vec())]);
    site.cluster.put_secret(NAMESPACE, NAME, data);
    uid(site)
}

pub(crate) fn uid(site: &KubeSite) -> String {
    let object = site.cluster.object("secrets", NAMESPACE, NAME).expect("the secret is there");
    object["metadata"]["uid"].as_str().unwrap().to_owned()
}

pub(crate) fn is_there(site: &KubeSite) -> bool {
    site.cluster.object("secrets", NAMESPACE, NAME).is_some()
}

pub(crate) fn tool(site: &KubeSite) -> Run {
    let host = site.server.url().replace("https://", "").replace(':', "_");
    site.tool("scar-secret-rm").home(site.folder()).record(&new_record()).called(host, "HOST")
}

pub(crate) fn requests(site: &KubeSite) -> Vec<String> {
    site.server.log().lines().into_iter().map(|line| line.replace(PATH, "SECRET")).collect()
}
