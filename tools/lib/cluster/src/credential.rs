//! The credential for the cluster: read again or renewed for each request, because a wait outlives a token.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderValue;
use jiff::{SignedDuration, Timestamp};
use kube::config::{AuthInfo, Cluster, ExecAuthCluster};
use scar_tool::{Exit, Failure};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{Mutex, oneshot};

use crate::plugin::{Issued, Plugin};

/// How long before its end a token is renewed.
const MARGIN: SignedDuration = SignedDuration::from_secs(30);

/// A client certificate and its key, PEM.
pub(crate) type Identity = (String, SecretString);

/// A kubeconfig user's credential, apart from its client certificate.
pub(crate) enum Credential {
    /// None, or only the client certificate.
    None,
    /// A constant header.
    Fixed(HeaderValue),
    /// A file that is rewritten before its token expires, and the last token.
    File { path: PathBuf, whose: String, last: Mutex<HeaderValue> },
    /// A plugin and its last result.
    Plugin { plugin: Arc<Plugin>, last: Arc<Mutex<Option<Issued>>> },
}

impl Credential {
    /// Reads the credential of the kubeconfig; a token file is read once, to fail early.
    pub(crate) fn new(user: &AuthInfo, cluster: &Cluster, whose: &str) -> Result<Self, Failure> {
        if let Some(provider) = &user.auth_provider {
            return Err(Failure::misuse(format!("use {whose}: auth-provider '{}' is not supported", provider.name))
                .hint("use its exec plugin, as kubectl 1.26 and later do, or the admin kubeconfig"));
        }
        let token = user.token.as_ref().map(|token| bearer(token.expose_secret(), whose)).transpose()?;
        // A token is used instead of the token file until that can be read (client-go transport/round_trippers.go,
        // `NewBearerAuthWithRefreshRoundTripper`).
        if let Some(path) = &user.token_file {
            let path = PathBuf::from(path);
            let last = match token_in(&path, whose) {
                Ok(header) => header,
                Err(failure) => token.ok_or(failure)?,
            };
            return Ok(Self::File { path, whose: whose.to_owned(), last: Mutex::new(last) });
        }
        if let Some(token) = token {
            return Ok(Self::Fixed(token));
        }
        if let Some(username) = &user.username {
            let password = user.password.as_ref().map(|password| password.expose_secret()).unwrap_or_default();
            let pair = BASE64.encode(format!("{username}:{password}"));
            scar_tool::never_show(password);
            scar_tool::never_show(&pair);
            return sensitive(&format!("Basic {pair}"), whose).map(Self::Fixed);
        }
        // A plugin is used only for a user without any other login (client-go plugin/pkg/client/auth/exec/exec.go,
        // `UpdateTransportConfig`).
        let has_certificate = user.client_certificate.is_some() || user.client_certificate_data.is_some();
        if let Some(exec) = user.exec.as_ref().filter(|_| !has_certificate) {
            let cluster =
                match exec.provide_cluster_info {
                    true => Some(ExecAuthCluster::try_from(cluster).map_err(|_| {
                        Failure::misuse(format!("use {whose}: the cluster's certificate-authority cannot be read"))
                    })?),
                    false => None,
                };
            return Ok(Self::Plugin { plugin: Arc::new(Plugin::new(exec.clone(), cluster, whose)?), last: Arc::default() });
        }
        Ok(Self::None)
    }

    /// Whether a retry may have another credential.
    pub(crate) fn is_renewable(&self) -> bool {
        matches!(self, Self::File { .. } | Self::Plugin { .. })
    }

    /// The header to send, and the client certificate that a plugin gave; `was_refused` after the last one was refused. Exit
    /// 4 if there is no credential; exit 2 if a plugin cannot be started.
    pub(crate) async fn get(&self, was_refused: bool) -> Result<(Option<HeaderValue>, Option<Identity>), Failure> {
        match self {
            Self::None => Ok((None, None)),
            Self::Fixed(header) => Ok((Some(header.clone()), None)),
            Self::File { path, whose, last } => {
                let mut last = last.lock().await;
                // The kubelet replaces a pod's token when 80 % of its time is over; client-go, too, keeps the last one if the
                // file cannot be read (transport/token_source.go, `NewCachedFileTokenSource`).
                if let Ok(header) = token_in(path, whose) {
                    *last = header;
                }
                Ok((Some(last.clone()), None))
            }
            Self::Plugin { plugin, last } => {
                let (plugin, last) = (Arc::clone(plugin), Arc::clone(last));
                let (reply, answer) = oneshot::channel();
                // A task of its own: a plugin that waits for a login in a browser outlives the request that began it, and the
                // next request takes its result instead of starting another plugin.
                tokio::spawn(async move {
                    let mut last = last.lock().await;
                    if !reply.is_closed() {
                        // Who asked may be gone meanwhile.
                        let _ = reply.send(issued(&plugin, &mut last, was_refused).await);
                    }
                });
                answer.await.unwrap_or_else(|_| Err(Failure::new(Exit::Failed, "ask the exec plugin: it was interrupted")))
            }
        }
    }

    /// The failure to show for a request that was given up after `limit`, if a plugin has held it up.
    pub(crate) fn overdue(&self, limit: Duration) -> Option<Failure> {
        match self {
            Self::Plugin { plugin, .. } => plugin.overdue(limit),
            _ => None,
        }
    }
}

/// What the plugin gave last, or gives now.
async fn issued(
    plugin: &Plugin,
    last: &mut Option<Issued>,
    was_refused: bool,
) -> Result<(Option<HeaderValue>, Option<Identity>), Failure> {
    // Without a date it holds until it is refused (Kubernetes documentation, "client-go credential plugins", "Input and output
    // formats").
    let fresh = |issued: &Issued| issued.expires.is_none_or(|end| Timestamp::now() + MARGIN < end);
    let issued = match last.take().filter(|issued| !was_refused && fresh(issued)) {
        Some(issued) => issued,
        None => plugin.run().await?,
    };
    let header = issued.token.as_ref().map(|token| bearer(token.expose_secret(), "the exec plugin")).transpose()?;
    Ok((header, last.insert(issued).identity.clone()))
}

fn token_in(path: &std::path::Path, whose: &str) -> Result<HeaderValue, Failure> {
    let act = format!("read the token file '{}' of {whose}", path.display());
    let token = SecretString::from(std::fs::read_to_string(path).map_err(|error| Failure::unreadable(&act, &error))?);
    match token.expose_secret().trim() {
        "" => Err(Failure::misuse(format!("{act}: it is empty"))),
        token => bearer(token, whose),
    }
}

fn bearer(token: &str, whose: &str) -> Result<HeaderValue, Failure> {
    scar_tool::never_show(token);
    sensitive(&format!("Bearer {token}"), whose)
}

fn sensitive(text: &str, whose: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| Failure::misuse(format!("use {whose}: its token or password holds characters that no header can carry")))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn q32_a_plugin_slower_than_a_request_serves_the_next_one() {
        let folder = tempfile::TempDir::new().unwrap();
        let script = format!(
            r#"echo run >>{}/runs; sleep 1; echo '{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{"token":"t"}}}}'"#,
            folder.path().display()
        );
        let exec = kube::config::ExecConfig {
            command: Some("sh".into()),
            args: Some(vec!["-c".into(), script]),
            api_version: Some("client.authentication.k8s.io/v1".into()),
            ..Default::default()
        };
        let user = AuthInfo { exec: Some(exec), ..AuthInfo::default() };
        let credential = Credential::new(&user, &Cluster::default(), "user 'u'").map_err(|failure| failure.message).unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(200), credential.get(false)).await.is_err());
        assert!(credential.overdue(Duration::from_millis(200)).unwrap().message.ends_with("it did not end within 1 s"));
        assert_eq!(credential.get(false).await.map_err(|failure| failure.message).unwrap().0.unwrap(), "Bearer t");
        assert_eq!(std::fs::read_to_string(folder.path().join("runs")).unwrap(), "run\n");
        assert!(credential.overdue(Duration::ZERO).is_none());
    }
}
