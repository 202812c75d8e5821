//! Reads the archive from the registry: the layer of the record's artifact, while it streams in.

use std::io::{self, Read};

use bytes::{Buf, Bytes};
use futures::StreamExt;
use scar_http::Retry;
use scar_record::{Artifact, Digest};
use scar_registry::login::{self, LoginSources};
use scar_registry::{Fault, Reference, Registry, RegistryConfig};
use scar_tool::{Console, Deadline, Exit, Failure};
use scar_trust::Trust;
use tokio::sync::mpsc;

use crate::archive;
use crate::replica::SILENCE;
use crate::tree::Tree;

/// How to read from the registry.
pub(crate) struct Access {
    /// The registry that the operator named.
    pub(crate) registry: Option<String>,
    pub(crate) login: LoginSources,
    pub(crate) trust: Trust,
    pub(crate) config: RegistryConfig,
}

impl Access {
    /// Reads the tree in the artifact's layer.
    ///
    /// # Errors
    /// Exit 3 if the registry no longer has it; exit 7 if it is not what was pushed; errors of reading it.
    pub(crate) async fn read(self, artifact: &Artifact, deadline: Deadline, console: &Console) -> Result<Tree, Failure> {
        let act = format!("read the layer of '{}'", artifact.reference);
        let reference = Reference::parse(&artifact.reference, None)?;
        // The record may come from another host, or another site. A login goes only to a registry that the operator named, or
        // that this host has a login for.
        let named = login::is_named(&reference, self.registry.as_deref(), self.login.is_given())?;
        let login = self.login.find(&reference, console)?.map(|(login, _)| login);
        if login.is_none() && !named {
            return Err(login::unnamed(&reference, "this host has no login for it"));
        }
        let config = RegistryConfig { retry: Retry { deadline, ..self.config.retry }, ..self.config };
        let trust = login::with_certs_d(self.trust, &reference.registry, true, console)?;
        let mut registry = Registry::new(&reference, login, trust, config, console)?;
        registry.connect().await.map_err(|fault| registry.failure(&act, fault))?;
        registry.retry(|| once(&registry, artifact)).await.map_err(|fault| registry.failure(&act, fault))
    }
}

/// Tries once, from the first byte to the last.
async fn once(registry: &Registry, artifact: &Artifact) -> Result<Tree, Fault> {
    let url = registry.in_repository(&format!("blobs/{}", artifact.layer))?;
    let answer = registry.success(registry.download(&url, &[]).await?).await?;
    let request = format!("GET {}", scar_http::redacted(&url));
    let what = format!("in '{}'", artifact.reference);
    let progress = registry.console.progress_bytes("reading the layer", Some(artifact.size));
    let (pieces, taken) = mpsc::channel(16);
    let reading = tokio::task::spawn_blocking(move || archive::read(Pieces { taken, rest: Bytes::new() }, &what, progress));
    let mut stream = answer.stream();
    let sent: Result<(), scar_http::Error> = async move {
        while let Ok(piece) = tokio::time::timeout(SILENCE, stream.next()).await {
            let Some(piece) = piece.transpose()? else { return Ok(()) };
            // The reader reads to the end, whatever it finds.
            let _ = pieces.send(piece).await;
        }
        Err(scar_http::Error::silent(request, "the answer stalled"))
    }
    .await;
    let read = reading.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    // What was read of a broken answer says nothing about the layer.
    sent?;
    let (tree, digest) = read?;
    match digest == artifact.layer {
        true => Ok(tree?),
        false => Err(other(artifact, &digest).into()),
    }
}

fn other(artifact: &Artifact, digest: &Digest) -> Failure {
    let reference = &artifact.reference;
    Failure::new(
        Exit::Mismatch,
        format!("read the layer of '{reference}': what the registry sent is '{digest}', not '{}'", artifact.layer),
    )
    .hint("the registry's storage is damaged, or something in front of it alters the data: push the archive again")
}

/// The received bytes, for the reader on another thread.
struct Pieces {
    taken: mpsc::Receiver<Bytes>,
    rest: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.taken.blocking_recv() {
                Some(piece) => self.rest = piece,
                None => return Ok(0),
            }
        }
        let size = self.rest.len().min(buffer.len());
        self.rest.copy_to_slice(&mut buffer[..size]);
        Ok(size)
    }
}
