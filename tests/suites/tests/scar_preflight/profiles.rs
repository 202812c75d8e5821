//! The registry's lines on every registry that the lab plays.

use std::sync::Arc;
use std::time::Duration;

use scar_kit::tool;
use scar_lab::registry::{Auth, Credentials, LabRegistry, Profile, RegistryOptions, TokenService};

use crate::rig::lines;

const PASSWORD: &str = "canary/preflight=1";

#[test]
fn q45_q62_every_registry_that_takes_a_push_is_found_ready() {
    for profile in Profile::ALL {
        let login = Credentials::new("robot$packs", PASSWORD);
        let auth = match profile.has_tokens() {
            true => Auth::Bearer(Arc::new(TokenService::new(login, Duration::from_secs(1800)))),
            false => Auth::Basic(login),
        };
        let registry = LabRegistry::start(RegistryOptions { profile, auth, ..RegistryOptions::default() });
        let folder = tempfile::tempdir().unwrap();
        let password = folder.path().join("pw");
        std::fs::write(&password, PASSWORD).unwrap();
        let run = tool("scar-preflight").args(["--only", "registry", "--new-record", "--registry-plain-http"]);
        let run = run.args(["--registry-username", "robot$packs", "--registry-password-file"]).arg(&password).secret(PASSWORD);
        let outcome = run.env("OCI_PACK_REGISTRY", registry.authority()).run();
        outcome.succeeds();
        let found = lines(&outcome.stderr());
        for line in ["registry.reached", "registry.login", "registry.repository", "registry.tag", "registry.push"] {
            assert_eq!(found[line], "ok", "{profile:?}: {outcome}");
        }
        assert!(outcome.stderr().contains("an upload was opened, and cancelled"), "{profile:?}: {outcome}");
        assert_eq!(registry.store().open_uploads(), 0, "{profile:?}");
    }
}
