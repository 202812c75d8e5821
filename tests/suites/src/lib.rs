//! The suites are in `tests/`: one file or folder for each tool, and one for each promise across tools.
//!
//! Several of them share this: a site before its migration, and the tools as the guide's steps run them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cluster;
pub mod crates;
pub mod kubeconfig;
mod random;

pub use cluster::KubeSite;
pub use random::{Random, number};

use std::path::{Path, PathBuf};

use scar_kit::{DockerRegistry, Outcome, Run, STEPS, tool};
use scar_lab::registry::Credentials;
use scar_lab::site::{Site, SiteOptions};
use scar_lab::specman::RegistryAccess;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How the first message of each stage of a migration begins, in the order of the pipe.
pub const STAGES: [&str; 7] = [
    "scar-secret-rm: ",
    "ocipush: ",
    "vertex-login: logged in",
    "pack-registry-set: ",
    "specman-wait: ",
    "specman-verify: ",
    "scar-set: ",
];

/// A site, a tree to migrate, and a folder for the steps' files. All its passwords are registered secrets.
pub struct Migration {
    /// The site.
    pub site: Site,
    folder: TempDir,
    secrets: Vec<String>,
}

impl Drop for Migration {
    fn drop(&mut self) {
        self.secrets.iter().for_each(|secret| scar_kit::forget_secret(secret));
    }
}

impl Migration {
    /// With the lab's own registry.
    pub fn new() -> Self {
        Self::on(SiteOptions::default())
    }

    /// With Debian's docker-registry.
    pub fn on_docker(registry: &DockerRegistry) -> Self {
        let access = RegistryAccess {
            url: registry.url(),
            ca_pem: Some(registry.ca_pem().to_owned()),
            credentials: Some(Credentials::new(registry.username(), registry.password())),
        };
        Self::on(SiteOptions { registry: Some(access), ..SiteOptions::default() })
    }

    /// With these options for the site.
    pub fn on(options: SiteOptions) -> Self {
        let site = Site::start(options);
        let mut secrets = vec![scar_kit::secret(&site.cluster.token())];
        for (key, path) in site.environment() {
            if key.ends_with("_PASSWORD_FILE") {
                secrets.push(scar_kit::secret(std::fs::read_to_string(path).unwrap().trim_end()));
            }
        }
        let migration = Self { site, folder: TempDir::new().unwrap(), secrets };
        let tree = migration.tree();
        std::fs::create_dir_all(tree.join("charts/deep")).unwrap();
        std::fs::write(tree.join("charts/deep/a file.yaml"), "kind: ConfigMap\n").unwrap();
        std::fs::write(tree.join("charts/empty"), "").unwrap();
        std::fs::write(tree.join("image.bin"), (0..=255).collect::<Vec<u8>>().repeat(300)).unwrap();
        std::os::unix::fs::symlink("image.bin", tree.join("latest.bin")).unwrap();
        migration
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The file server's tree.
    pub fn tree(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    /// The archive's path.
    pub fn archive(&self) -> PathBuf {
        self.folder.path().join("manifests.tgz")
    }

    /// One of the site's settings.
    #[track_caller]
    pub fn setting(&self, name: &str) -> String {
        let settings = self.site.environment();
        settings.into_iter().find(|(key, _)| key == name).unwrap_or_else(|| panic!("the site has no {name}")).1
    }

    /// The guide's reference, `HOST:PORT/REPOSITORY:TAG`.
    pub fn reference(&self) -> String {
        format!("{}/spectro-packs/spectro-manifests/manifest:0.0.0", self.setting("OCI_PACK_REGISTRY"))
    }

    /// The arguments of a tool on this site, as a user would type them.
    pub fn arguments(&self, name: &str) -> Vec<String> {
        let path = |path: PathBuf| path.display().to_string();
        let login = |prefix: &'static str, peer: String| {
            let options = [("--username", "USERNAME"), ("--password-file", "PASSWORD_FILE"), ("--ca-file", "CA_FILE")];
            let options =
                options.into_iter().flat_map(|(option, key)| [option.to_owned(), self.setting(&format!("{prefix}_{key}"))]);
            options.chain([peer]).collect()
        };
        match name {
            "scar-preflight" => {
                let of = |option: &str, key: &str| [option.to_owned(), self.setting(key)];
                [
                    ["--content".to_owned(), path(self.tree())],
                    ["--archive".to_owned(), path(self.archive())],
                    of("--reference", "OCI_PACK_REGISTRY"),
                    of("--registry-username", "OCI_USERNAME"),
                    of("--registry-password-file", "OCI_PASSWORD_FILE"),
                    of("--registry-ca-file", "OCI_CA_FILE"),
                    of("--endpoint", "VERTEX_ENDPOINT"),
                    of("--vertex-username", "VERTEX_USERNAME"),
                    of("--vertex-password-file", "VERTEX_PASSWORD_FILE"),
                    of("--vertex-ca-file", "VERTEX_CA_FILE"),
                ]
                .concat()
            }
            "mkmanifests" => vec!["-o".to_owned(), path(self.archive()), path(self.tree())],
            "ocipush" => login("OCI", self.setting("OCI_PACK_REGISTRY")),
            "vertex-login" => login("VERTEX", self.setting("VERTEX_ENDPOINT")),
            "pack-registry-set" => ["-u", "--password-file"]
                .into_iter()
                .zip(["OCI_USERNAME", "OCI_PASSWORD_FILE"])
                .flat_map(|(option, key)| [option.to_owned(), self.setting(key)])
                .collect(),
            "specman-wait" => ["--timeout", "30s"].map(str::to_owned).to_vec(),
            "specman-verify" => vec!["--ca-file".to_owned(), self.setting("SPECMAN_CA_FILE")],
            _ => Vec::new(),
        }
    }

    /// A tool as a user would run it on this site; stdin is still `/dev/null`.
    #[track_caller]
    pub fn tool(&self, name: &str) -> Run {
        tool(name).args(self.arguments(name)).env("KUBECONFIG", self.setting("KUBECONFIG")).folder(self.folder())
    }

    /// Runs the steps before `name`, starting with the record `begin`, and returns the resulting record.
    #[track_caller]
    pub fn steps_before(&self, name: &str, begin: &Value) -> Value {
        let steps = STEPS.into_iter().take_while(|step| *step != name);
        steps.fold(begin.clone(), |record, step| written(&self.tool(step).record(&record).run()))
    }
}

impl Default for Migration {
    fn default() -> Self {
        Self::new()
    }
}

/// The record that a run wrote, byte for byte. [`Outcome::json`] replaces folders by names, but paths in a record must be
/// real.
#[track_caller]
pub fn written(outcome: &Outcome) -> Value {
    serde_json::from_slice(outcome.succeeds().stdout_bytes()).unwrap()
}

/// The record that a pipe begins with.
pub fn new_record() -> Value {
    json!({"record": "scar-tools/1"})
}

/// Which tool sent a request, by its line in [`Site::requests`]; `None` for the platform and for Specman, which only reads
/// the registry after the flag is set.
pub fn sender(line: &str) -> Option<&'static str> {
    let (server, request) = line.split_once(' ').unwrap();
    let path = request.split_once(' ').unwrap().1;
    match server {
        "kube" if path.contains("/secrets") => Some("scar-secret-rm"),
        "kube" if path.contains("/portforward") => Some("specman-verify"),
        "kube" => Some("specman-wait"),
        "registry" => Some("ocipush"),
        "vertex" if path.starts_with("/v1/auth/") => Some("vertex-login"),
        "vertex" if path.starts_with("/v1/registries/") => Some("pack-registry-set"),
        "vertex" if path.starts_with("/v1/system/config/scar") || path.starts_with("/v1/jobs/") => Some("scar-set"),
        _ => None,
    }
}
