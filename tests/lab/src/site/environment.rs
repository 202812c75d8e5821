//! The site for `scar-migrate` and the tools: files, and settings by name.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{ECR_ACCESS_KEY, ECR_SECRET_KEY, PACK_REGISTRY, Site};

impl Site {
    /// The settings, under the names that `scar-migrate` documents, as pairs for `KEY=value` lines.
    pub fn environment(&self) -> Vec<(String, String)> {
        let file = |name: &str| self.directory.join(name).display().to_string();
        let mut settings =
            vec![("OCI_PACK_REGISTRY", self.registry_host().to_owned()), ("OCI_PACK_BASE", "spectro-packs".to_owned())];
        if let Some(credentials) = &self.access.credentials {
            settings.push(("OCI_USERNAME", credentials.user.clone()));
            settings.push(("OCI_PASSWORD_FILE", file("oci-password")));
        }
        if self.vertex.registry(PACK_REGISTRY).is_some_and(|entry| entry["kind"] == "ecr") {
            settings.push(("PACK_REGISTRY_ACCESS_KEY_FILE", file("ecr-access-key")));
            settings.push(("PACK_REGISTRY_SECRET_KEY_FILE", file("ecr-secret-key")));
        }
        if self.access.ca_pem.is_some() {
            settings.push(("OCI_CA_FILE", file("oci-ca.crt")));
        }
        if self.access.url.starts_with("http://") {
            settings.push(("OCI_PLAIN_HTTP", "true".to_owned()));
        }
        settings.extend([
            ("VERTEX_ENDPOINT", self.vertex_server.url()),
            ("VERTEX_USERNAME", self.vertex.behaviour().username),
            ("VERTEX_PASSWORD_FILE", file("vertex-password")),
            ("VERTEX_CA_FILE", file("ca.crt")),
            ("KUBECONFIG", file("kubeconfig")),
            ("SPECMAN_NAMESPACE", crate::kube::SPECMAN_NAMESPACE.to_owned()),
            ("SPECMAN_URL", self.specman.url(0)),
            ("SPECMAN_CA_FILE", file("ca.crt")),
            ("SCAR_PASSWORD_FILE", file("scar-password")),
        ]);
        settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// Writes [`Site::environment`] as `KEY=value` lines, quoted where a shell that sources them would need it.
    /// The file appears atomically, so its presence means that the site is up.
    pub fn write_environment(&self, path: &Path) {
        let lines: Vec<_> = self.environment().iter().map(|(key, value)| format!("{key}={}\n", quoted(value))).collect();
        write_file(path, &lines.concat(), 0o644);
    }

    /// `HOST[:PORT]` of the registry, as a reference begins.
    pub fn registry_host(&self) -> &str {
        let url = self.access.url.split_once("://").map_or(&*self.access.url, |(_, host)| host);
        url.trim_end_matches('/')
    }

    /// The files that [`Site::environment`] names; those with secrets are 0600.
    pub(super) fn write_files(&self) {
        let write = |name: &str, text: &str, mode| write_file(&self.directory.join(name), text, mode);
        write("ca.crt", self.certs.ca_pem(), 0o644);
        if let Some(pem) = &self.access.ca_pem {
            write("oci-ca.crt", pem, 0o644);
        }
        if let Some(credentials) = &self.access.credentials {
            write("oci-password", &format!("{}\n", credentials.password), 0o600);
        }
        write("vertex-password", &format!("{}\n", self.vertex.behaviour().password), 0o600);
        write("scar-password", &format!("{}\n", self.scar_password), 0o600);
        write("ecr-access-key", ECR_ACCESS_KEY, 0o600);
        write("ecr-secret-key", ECR_SECRET_KEY, 0o600);
        write("kubeconfig", &self.kubeconfig().to_yaml(), 0o600);
    }
}

/// Quotes text with special characters. No setting of the site contains a quote.
fn quoted(value: &str) -> String {
    let plain = value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.,:/@+".contains(c));
    if plain { value.to_owned() } else { format!("'{value}'") }
}

/// Writes a file atomically, with its final mode.
fn write_file(path: &Path, text: &str, mode: u32) {
    let beside = path.with_extension("new");
    // A leftover of an earlier run may have another mode.
    let _ = std::fs::remove_file(&beside);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside).expect("a file of the site");
    file.write_all(text.as_bytes()).expect("a file of the site");
    std::fs::rename(&beside, path).expect("a file of the site");
}
