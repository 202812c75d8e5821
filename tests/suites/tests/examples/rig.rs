//! A host as the pages assume it: its names lead to a site, with logins and certificates in place.

use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use scar_kit::{Run, complaints, program, workspace};
use scar_lab::proxy::{Manner, Proxy};
use scar_lab::registry::{Auth, Credentials, LabRegistry, RegistryOptions};
use scar_lab::server::{Listener, Server};
use scar_lab::site::{PACK_REGISTRY, REPOSITORY, SiteOptions};
use scar_lab::vertex::{RegistryKind, ecr_registry};
use scar_suites::Migration;
use serde_json::{Value, json};

use crate::table;

const ECR: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com";
const ECR_API: &str = "api.ecr.us-east-1.amazonaws.com";
const ECR_VPC: &str = "ecr.vpc.example";
const ECR_PASSWORD: &str = "eyJwYXlsb2FkIjoiZXhhbXBsZXMifQ==";

/// Other programs that the examples run.
const PEERS: [&str; 6] = ["kubectl", "skopeo", "aws", "curl", "jq", "parallel"];

/// A site before its migration, and a working folder.
pub(crate) struct Rig {
    pub(crate) migration: Migration,
    pub(crate) ecr: LabRegistry,
    proxy: Proxy,
    _ecr_api: Server,
    folder: PathBuf,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let migration = Migration::on(SiteOptions {
            poll: Some(Duration::from_secs(1)),
            registry_user: Some("robot".to_owned()),
            ..SiteOptions::default()
        });
        let site = &migration.site;
        site.vertex.edit_registry(PACK_REGISTRY, |entry| {
            entry["spec"]["endpoint"] = json!("https://harbor.example");
            entry["metadata"]["name"] = json!("harbor");
        });
        let entry = ecr_registry("65f1a2b3c4d5e6f708192a3d", "ecr", &format!("https://{ECR}"), "AKIAEXAMPLES", "examples");
        site.vertex.add_registry(RegistryKind::Ecr, entry);
        let amazon = site.certs.named(&[ECR, ECR_API, ECR_VPC]);
        let ecr = LabRegistry::start(RegistryOptions {
            listener: Listener::tls(amazon.server_config()),
            auth: Auth::Basic(Credentials::new("AWS", ECR_PASSWORD)),
            ..RegistryOptions::default()
        });
        // A push to ECR creates no repository, so one exists, with another release's content.
        ecr.seed(REPOSITORY, "4.5.13", b"an older archive");
        let token = json!({"authorizationData": [{
            "authorizationToken": BASE64.encode(format!("AWS:{ECR_PASSWORD}")),
            "expiresAt": 4_102_444_800.0,
            "proxyEndpoint": format!("https://{ECR}"),
        }]});
        let api = Router::new().route("/", post(async move |_: axum::body::Bytes| axum::Json(token)));
        let api = Server::start(api, Listener::tls(amazon.server_config()));
        let proxy = Proxy::start(Manner::Open);
        proxy.lead("harbor.example:443", site.registry.as_ref().unwrap().addr());
        proxy.lead("vertex.example:443", site.vertex_server.addr());
        proxy.lead("specman.example:8443", site.specman.server(0).addr());
        proxy.lead(&format!("{ECR}:443"), ecr.addr());
        proxy.lead(&format!("{ECR_API}:443"), api.addr());
        proxy.lead(&format!("{ECR_VPC}:443"), api.addr());

        let folder = migration.folder().join("here");
        for name in ["here", "root", "srv", "home/.docker"] {
            std::fs::create_dir_all(migration.folder().join(name)).unwrap();
        }
        let rig = Self { migration, ecr, proxy, _ecr_api: api, folder };
        let login = BASE64.encode(format!("{}:{}", rig.migration.setting("OCI_USERNAME"), rig.registry_password()));
        let amazon = BASE64.encode(format!("AWS:{ECR_PASSWORD}"));
        let logins = json!({"auths": {"harbor.example": {"auth": login}, (ECR): {"auth": amazon}}});
        std::fs::write(rig.migration.folder().join("home/.docker/config.json"), logins.to_string()).unwrap();
        rig
    }

    fn registry_password(&self) -> String {
        std::fs::read_to_string(self.migration.setting("OCI_PASSWORD_FILE")).unwrap().trim_end().to_owned()
    }

    /// Adapts the text to this host: only paths outside the folder change.
    fn here(&self, text: &str) -> String {
        let at = |name: &str| self.migration.folder().join(name).display().to_string();
        text.replace("/var/www/html", &at("tree")).replace("/root/", &at("root/")).replace("/srv/", &at("srv/"))
    }

    /// Runs this script with bash in the folder.
    pub(crate) fn bash(&self, script: &str) -> Run {
        let setting = |name: &str| self.migration.setting(name);
        let script = format!("PATH=$PATH:{}\n{}", workspace().join("shell").display(), self.here(script));
        // It names the site's registry for every tool, so it is only set for examples about ECR.
        let ecr = if script.contains("$ECR_PACK_REGISTRY") || script.contains("ecr-password") { ECR } else { "" };
        program("bash")
            .args(["-e", "-o", "pipefail", "-c", &script])
            .home(self.migration.folder().join("home"))
            .folder(&self.folder)
            .env("HTTPS_PROXY", self.proxy.url())
            .env("NO_PROXY", "127.0.0.1")
            .env("SSL_CERT_FILE", setting("VERTEX_CA_FILE"))
            .env("AWS_CA_BUNDLE", setting("VERTEX_CA_FILE"))
            .env("KUBECONFIG", setting("KUBECONFIG"))
            .env("VERTEX_PASSWORD_FILE", setting("VERTEX_PASSWORD_FILE"))
            .env("REGISTRY_AUTH_FILE", self.migration.folder().join("home/.docker/config.json"))
            .env("HARBOR_PASSWORD_FILE", setting("OCI_PASSWORD_FILE"))
            .env("OLD_SCAR_PASSWORD_FILE", setting("SCAR_PASSWORD_FILE"))
            .env("ECR_PACK_REGISTRY", ecr)
            .env("AWS_ACCESS_KEY_ID", "AKIAEXAMPLES")
            .env("AWS_SECRET_ACCESS_KEY", "examples/SecretAccessKey+0b1c")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .timeout(Duration::from_secs(120))
    }

    /// Creates missing files that a command reads, as the table says.
    fn provide(&self, text: &str) {
        self.provide_for("", text);
    }

    /// The same for the commands that create `made`.
    fn provide_for(&self, made: &str, text: &str) {
        for (name, script) in table::FILES {
            if name != made && is_read(text, name) && !self.there(name) {
                self.provide_for(name, script);
                self.bash(script).run().succeeds();
                assert!(self.there(name), "'{script}' makes no '{name}'");
            }
        }
    }

    fn there(&self, name: &str) -> bool {
        self.folder.join(self.here(name)).exists()
    }

    /// Writes a settings file, with the files that it names.
    pub(crate) fn settings(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join(name), self.here(text) + "\n").unwrap();
        self.provide(&text.replace('=', " "));
    }

    /// Runs one example, and checks its effect. Returns false if a program that it runs is missing.
    #[track_caller]
    pub(crate) fn example(&self, text: &str, before: Option<&str>) -> bool {
        if PEERS.iter().any(|name| words(text).any(|word| word == *name) && scar_kit::peer(name).is_none()) {
            return false;
        }
        if let Some(script) = before {
            self.provide(script);
            self.bash(script).run().succeeds();
        }
        self.provide(text);
        let state = self.migration.site.state();
        let outcome = self.bash(text).run();
        outcome.succeeds();
        let stdout = outcome.stdout();
        for record in stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            assert!(record.get("record").is_none() || complaints(&record).is_empty(), "{text}\n{outcome}");
        }
        self.did(text, &state);
        true
    }

    /// Checks the site after such a command.
    #[track_caller]
    fn did(&self, text: &str, before: &Value) {
        let state = self.migration.site.state();
        if text.contains("--dry-run") {
            assert_eq!(state, *before, "a dry run changed something: {text}");
            return;
        }
        let calls = |name: &str| words(text).any(|word| word == name);
        let undone = text.contains("--undo");
        let part = ["preflight", "push", "status", "undo"].into_iter().any(calls);
        if calls("scar-set") || calls("scar-migrate") && !part || text.contains("/v1/system/config/scar") {
            let scar = if undone { "https://scar.example" } else { table::SPECMAN };
            assert_eq!(state["scar"]["endpoint"], scar, "{text}");
        }
        if calls("scar-set") && !undone || text.contains("/v1/jobs/") {
            assert!(state["jobs"].as_array().unwrap().len() >= 2, "{text}: {}", state["jobs"]);
        }
        if calls("pack-registry-set") {
            let off = undone || text.contains("manifests=false");
            assert_eq!(state["pack_registry"]["contains_spectro_manifest"], !off, "{text}");
        }
        if calls("ocipush") && !undone && !text.contains("--oci-layout") {
            let at_ecr = self.ecr.store().tags(REPOSITORY);
            assert!(
                state["tags"] == json!(["0.0.0"]) || at_ecr.iter().any(|tag| tag == "0.0.0"),
                "no tag in any registry: {text}"
            );
        }
        if (calls("scar-secret-rm") || calls("delete")) && !calls("pack-registry-set") {
            assert_eq!(state["secret"]["present"], undone, "{text}");
        }
    }
}

/// The words of a command, without redirections and pipes.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || "|<>();'\"".contains(c)).filter(|word| !word.is_empty())
}

/// Whether the command reads the file, and does not write it.
fn is_read(text: &str, name: &str) -> bool {
    let writes = [format!(">{name}"), format!("-o {name}"), format!("--backup {name}")];
    words(text).any(|word| word == name) && !writes.iter().any(|written| text.contains(written.as_str()))
}
