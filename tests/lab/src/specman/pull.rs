//! How Specman reads a registry: tags, manifest and layer, each verified by digest.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use reqwest::{Client, Response, StatusCode};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::trust::client_config;
use crate::registry::{Credentials, digest_of};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A registry, and the access to it.
#[derive(Clone)]
pub struct RegistryAccess {
    /// Its address, `https://HOST[:PORT]`.
    pub url: String,
    /// The certificates to verify it with; one of these is trusted itself. The system's are not used.
    pub ca_pem: Option<String>,
    /// The login; `None` for a registry without.
    pub credentials: Option<Credentials>,
}

/// A manifest with its only layer.
pub(super) struct Artifact {
    pub(super) digest: String,
    pub(super) created: String,
    title: String,
    layer: String,
    size: u64,
}

/// One repository, open for reading. The token is valid for one sync.
pub(super) struct Repository {
    access: RegistryAccess,
    client: Client,
    name: String,
    authorization: Option<String>,
}

impl Repository {
    pub(super) fn open(access: &RegistryAccess, name: &str) -> Result<Self, String> {
        let builder = Client::builder().no_proxy().user_agent(super::USER_AGENT);
        let builder = match &access.ca_pem {
            Some(pem) => builder.tls_backend_preconfigured(client_config(pem)?),
            None => builder.tls_certs_only([]),
        };
        let client = builder.build().map_err(words)?;
        Ok(Self { access: access.clone(), client, name: name.to_owned(), authorization: None })
    }

    /// The tags in the registry's order, all pages.
    pub(super) async fn tags(&mut self) -> Result<Vec<String>, String> {
        let mut tags = Vec::new();
        let mut next = Some(format!("/v2/{}/tags/list", self.name));
        while let Some(path) = next {
            let response = self.get(&path).await?;
            next = response.headers().get("link").and_then(|link| link.to_str().ok()).and_then(next_page);
            let page: Value = response.json().await.map_err(words)?;
            let page = page["tags"].as_array().cloned().unwrap_or_default();
            tags.extend(page.iter().filter_map(Value::as_str).map(str::to_owned));
        }
        Ok(tags)
    }

    /// A tag's manifest. Images, and anything without exactly one layer, are refused.
    pub(super) async fn artifact(&mut self, tag: &str) -> Result<Artifact, String> {
        let response = self.get(&format!("/v2/{}/manifests/{tag}", self.name)).await?;
        let said = response.headers().get("docker-content-digest").cloned();
        let bytes = response.bytes().await.map_err(words)?;
        let digest = digest_of(&bytes);
        if said.is_some_and(|said| said != digest.as_str()) {
            return Err(format!("manifest of {tag} does not match its digest"));
        }
        let manifest: Value = serde_json::from_slice(&bytes).map_err(words)?;
        let [layer] = manifest["layers"].as_array().map(Vec::as_slice).unwrap_or_default() else {
            return Err(format!("manifest of {tag} has not one layer"));
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(Artifact {
            digest,
            created: text(&manifest["annotations"]["org.opencontainers.image.created"]),
            title: text(&layer["annotations"]["org.opencontainers.image.title"]),
            layer: text(&layer["digest"]),
            size: layer["size"].as_u64().unwrap_or_default(),
        })
    }

    /// Writes the layer into `directory` under its title, verified. The title must be a plain file name.
    pub(super) async fn download(&mut self, artifact: &Artifact, directory: &Path) -> Result<String, String> {
        let title = &artifact.title;
        if title.is_empty() || title.contains('/') || title == "." || title == ".." {
            return Err(format!("layer title {title:?} is no file name"));
        }
        let path = format!("/v2/{}/blobs/{}", self.name, artifact.layer);
        let mut response = self.get(&path).await?;
        let mut file = File::create_new(directory.join(title)).map_err(words)?;
        let (mut hash, mut size) = (Sha256::new(), 0);
        while let Some(chunk) = response.chunk().await.map_err(words)? {
            hash.update(&chunk);
            size += chunk.len() as u64;
            file.write_all(&chunk).map_err(words)?;
        }
        let digest = format!("sha256:{}", hex::encode(hash.finalize()));
        if digest != artifact.layer || size != artifact.size {
            return Err(format!("layer {} arrived as {digest}, {size} bytes", artifact.layer));
        }
        Ok(title.clone())
    }

    /// A GET that logs in once, if asked to.
    async fn get(&mut self, path: &str) -> Result<Response, String> {
        let mut response = self.send(path).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            let challenge = response.headers().get("www-authenticate").cloned();
            let challenge = challenge.as_ref().and_then(|c| c.to_str().ok()).unwrap_or_default();
            self.authorization = Some(self.login(challenge).await?);
            response = self.send(path).await?;
        }
        if response.status().is_success() {
            return Ok(response);
        }
        Err(format!("GET {}{path}: {}", self.access.url, response.status()))
    }

    async fn send(&self, path: &str) -> Result<Response, String> {
        let mut request = self.client.get(format!("{}{path}", self.access.url)).header("accept", MANIFEST);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        request.send().await.map_err(words)
    }

    /// The `Authorization` that answers a challenge.
    async fn login(&self, challenge: &str) -> Result<String, String> {
        use base64::{Engine, prelude::BASE64_STANDARD};
        let login = self.access.credentials.as_ref().ok_or("unauthorized: no credentials")?;
        let Some(bearer) = challenge.strip_prefix("Bearer ") else {
            let pair = format!("{}:{}", login.user, login.password);
            return Ok(format!("Basic {}", BASE64_STANDARD.encode(pair)));
        };
        let realm = parameter(bearer, "realm").ok_or("unauthorized: no realm")?;
        let query: Vec<_> = ["service", "scope"].into_iter().filter_map(|key| Some((key, parameter(bearer, key)?))).collect();
        let request = self.client.get(realm).query(&query).basic_auth(&login.user, Some(&login.password));
        let response = request.send().await.map_err(words)?;
        if !response.status().is_success() {
            return Err(format!("GET {realm}: {}", response.status()));
        }
        let answer: Value = response.json().await.map_err(words)?;
        let token = answer["token"].as_str().or(answer["access_token"].as_str());
        Ok(format!("Bearer {}", token.ok_or("the token service gave no token")?))
    }
}

/// One quoted parameter of a challenge.
fn parameter<'a>(challenge: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = challenge.split_once(&format!("{key}=\""))?;
    Some(rest.split_once('"')?.0)
}

/// The path in `<PATH>; rel="next"`.
fn next_page(link: &str) -> Option<String> {
    let (target, relation) = link.split_once(';')?;
    let target = target.trim().strip_prefix('<')?.strip_suffix('>')?;
    (relation.trim() == "rel=\"next\"" && target.starts_with('/')).then(|| target.to_owned())
}

/// An error with its causes, as one line.
pub(super) fn words(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
