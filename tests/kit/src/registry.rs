//! Debian's docker-registry (Distribution 2.8, which Harbor builds on) on a free loopback port, with TLS, and htpasswd or a
//! token server.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use scar_lab::certs::Certs;
use tempfile::TempDir;

use crate::TokenServer;
use crate::token_server::Tokens;

/// `robot` with [`DockerRegistry::password`], with bcrypt's lowest cost.
const HTPASSWD: &str = "robot:$2y$04$JyPaEfVYbk3MgguBNiP5XuWtWJ95KyuGSjzvpyvK6fLquVifXYGb.\n";

/// A registry that runs until it is dropped.
pub struct DockerRegistry {
    folder: TempDir,
    child: Child,
    authority: String,
    ca_pem: String,
    /// The signer of the tokens that it accepts; `None` if it uses passwords.
    tokens: Option<Arc<Tokens>>,
    log: Arc<Mutex<Vec<String>>>,
}

/// Starts one with htpasswd; `None` if it is not installed (see [`crate::peer()`]).
///
/// # Panics
/// If it is installed but does not answer.
#[track_caller]
pub fn docker_registry() -> Option<DockerRegistry> {
    crate::peer("docker-registry").map(|program| DockerRegistry::start(&program, &Certs::new(&[]), None))
}

/// Starts one that only accepts this server's tokens, with a certificate of the same authority; `None` as above.
///
/// # Panics
/// If it is installed but does not answer.
#[track_caller]
pub fn docker_registry_with_tokens(server: &TokenServer) -> Option<DockerRegistry> {
    crate::peer("docker-registry").map(|program| DockerRegistry::start(&program, server.certs(), Some(server)))
}

impl DockerRegistry {
    fn start(program: &Path, certs: &Certs, tokens: Option<&TokenServer>) -> Self {
        crate::secret(PASSWORD);
        let folder = TempDir::new().unwrap();
        let put = |name: &str, text: &str| {
            let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.path().join(name));
            file.unwrap().write_all(text.as_bytes()).unwrap();
        };
        put("ca.pem", certs.ca_pem());
        put("cert.pem", &certs.server().cert_pem);
        put("key.pem", &certs.server().key_pem);
        put("htpasswd", HTPASSWD);
        put("password", PASSWORD);
        let at = folder.path().display();
        let auth = match tokens {
            None => format!("htpasswd: {{realm: kit, path: {at}/htpasswd}}"),
            Some(server) => format!(
                "token: {{realm: '{}', service: {}, issuer: {}, rootcertbundle: {at}/ca.pem}}",
                server.realm(),
                Tokens::SERVICE,
                Tokens::ISSUER
            ),
        };
        let config = format!(
            "version: 0.1\nlog: {{level: info, formatter: text}}\nstorage:\n  filesystem: {{rootdirectory: {at}/data}}\n  \
             delete: {{enabled: true}}\nauth:\n  {auth}\nhttp:\n  addr: 127.0.0.1:0\n  \
             tls: {{certificate: {at}/cert.pem, key: {at}/key.pem}}\n"
        );
        put("config.yml", &config);
        let mut child = Command::new(program)
            .arg("serve")
            .arg(folder.path().join("config.yml"))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry starts");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (send, bound) = mpsc::channel();
        let (stderr, kept) = (child.stderr.take().unwrap(), log.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("listening on ") {
                    // The receiver is gone if the test gave up.
                    let _ = send.send(rest.split([',', '"', ' ']).next().unwrap_or_default().to_owned());
                }
                kept.lock().unwrap().push(line);
            }
        });
        let tokens = tokens.map(|server| server.tokens().clone());
        let authority = bound.recv_timeout(Duration::from_secs(30));
        let mut registry = Self { folder, child, authority: String::new(), ca_pem: certs.ca_pem().to_owned(), tokens, log };
        registry.authority = authority.unwrap_or_else(|_| panic!("docker-registry binds no port: {:#?}", registry.log()));
        assert_eq!(registry.get("/v2/").status, 200, "docker-registry answers /v2/: {:#?}", registry.log());
        registry
    }

    /// `127.0.0.1:PORT`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("https://{}", self.authority)
    }

    /// The user who may push.
    pub fn username(&self) -> &'static str {
        "robot"
    }

    /// That user's password, a registered secret.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// A file with the password.
    pub fn password_file(&self) -> PathBuf {
        self.folder.path().join("password")
    }

    /// A file with the authority's certificate.
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The authority's certificate.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// A login file, for `HOME/.docker/config.json` or `--registry-config`.
    pub fn login_json(&self) -> String {
        use base64::Engine;
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("{}:{PASSWORD}", self.username()));
        serde_json::json!({"auths": {(self.authority.as_str()): {"auth": auth}}}).to_string()
    }

    /// Sends a `GET` with the login, accepting any media type of a manifest.
    pub fn get(&self, path: &str) -> crate::web::Answer {
        let url = self.url() + path;
        crate::web::send(reqwest::Method::GET, &url, Some(self.ca_pem()), |request| {
            let request = match &self.tokens {
                None => request.basic_auth(self.username(), Some(PASSWORD)),
                Some(tokens) => request.bearer_auth(tokens.to_read(repository(path))),
            };
            request.header("Accept", "application/vnd.oci.image.manifest.v1+json, */*")
        })
        .unwrap_or_else(|error| panic!("GET {url}: {error:?}\n{:#?}", self.log()))
    }

    /// Its log so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

/// The repository of a path; empty for any other path.
fn repository(path: &str) -> &str {
    let rest = path.strip_prefix("/v2/").unwrap_or_default();
    ["/manifests/", "/blobs/", "/tags/"].iter().find_map(|part| rest.split_once(part)).map_or("", |(name, _)| name)
}

/// Characters with a meaning in URLs, forms, base64 and shells.
pub(crate) const PASSWORD: &str = "registry+canary/7f3a=%";

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        // It has already ended if it crashed; its test has seen that.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn answers_its_user_alone() {
        let Some(registry) = super::docker_registry() else { return };
        assert_eq!(registry.get("/v2/_catalog").body, b"{\"repositories\":[]}\n");
        assert_eq!(crate::web::get(&(registry.url() + "/v2/"), Some(registry.ca_pem())).status, 401);
    }
}
