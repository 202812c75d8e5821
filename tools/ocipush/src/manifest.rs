//! The manifest: its bytes as ORAS v1.0.0 writes them, and what the manifest that a tag holds says.

use std::collections::BTreeMap;

use bytes::Bytes;
use oci_client::annotations::{ORG_OPENCONTAINERS_IMAGE_CREATED, ORG_OPENCONTAINERS_IMAGE_TITLE};
use oci_client::manifest::{IMAGE_LAYER_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest};
use scar_record::{Digest, Time};
pub(crate) use scar_registry::digest;
use scar_tool::{Exit, Failure};

use crate::body::{ByteSource, Content};

pub(crate) const MEDIA_TYPE: &str = OCI_IMAGE_MEDIA_TYPE;
/// The configuration of an artifact that has none. It is not an empty blob, which Google's registry refuses with 400
/// (oras-project/oras-go#294).
pub(crate) const CONFIG: &[u8] = b"{}";

// ORAS v1.0.0 (oras-go v2.0.2 pack.go, `MediaTypeUnknownConfig`). It writes no `artifactType`; ORAS 1.1 does, and ECR refused
// that with 405 (oras-project/oras#1133).
const CONFIG_MEDIA_TYPE: &str = "application/vnd.unknown.config.v1+json";

/// The artifact's only layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layer {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// The title annotation: the file name under which Specman unpacks the layer.
    pub(crate) title: String,
}

/// The manifest that a tag holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RemoteManifest {
    pub(crate) digest: Digest,
    /// The artifact, or why Specman would not accept the manifest.
    pub(crate) artifact: Result<Parts, String>,
}

impl RemoteManifest {
    /// The artifact's parts, if it has this layer with this title.
    pub(crate) fn of(&self, layer: &Layer) -> Option<&Parts> {
        self.artifact.as_ref().ok().filter(|parts| parts.layer == *layer)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) layer: Layer,
    /// Digest and size of the configuration, which another tool may have chosen.
    pub(crate) config: (Digest, u64),
    pub(crate) created: Time,
}

pub(crate) fn parse(bytes: &[u8], digest: Digest) -> RemoteManifest {
    RemoteManifest { digest, artifact: artifact(bytes) }
}

fn artifact(bytes: &[u8]) -> Result<Parts, String> {
    let manifest: OciImageManifest =
        serde_json::from_slice(bytes).map_err(|error| format!("it is not a manifest of one image or artifact ({error})"))?;
    // Specman takes one file, `manifests.tgz` (guide, step 9).
    let [layer] = manifest.layers.as_slice() else {
        return Err(format!("it has {} layers, not one", manifest.layers.len()));
    };
    let of = |annotations: &Option<BTreeMap<String, String>>, key: &str| annotations.as_ref()?.get(key).cloned();
    let title = of(&layer.annotations, ORG_OPENCONTAINERS_IMAGE_TITLE).ok_or("its layer has no title")?;
    let created = of(&manifest.annotations, ORG_OPENCONTAINERS_IMAGE_CREATED).ok_or("it has no creation time")?;
    let size = u64::try_from(layer.size).map_err(|_| "its layer has a negative size")?;
    let config = &manifest.config;
    Ok(Parts {
        layer: Layer { digest: Digest::parse(&layer.digest)?, size, title },
        config: (
            Digest::parse(&config.digest)?,
            u64::try_from(config.size).map_err(|_| "its configuration has a negative size")?,
        ),
        created: Time::parse(&created)?,
    })
}

/// The artifact to push.
#[derive(Debug)]
pub(crate) struct LocalManifest {
    pub(crate) layer: Layer,
    pub(crate) manifest: Bytes,
    /// Of the manifest.
    pub(crate) digest: Digest,
}

impl LocalManifest {
    /// Writes the manifest for this layer, byte for byte as ORAS v1.0.0 does.
    ///
    /// # Errors
    /// Serialization errors, which no input causes.
    pub(crate) fn new(layer: Layer, created: Time) -> Result<Self, Failure> {
        let annotation = |key: &str, value: String| Some(BTreeMap::from([(key.to_owned(), value)]));
        // Serialized in the order of the Go type that ORAS serializes (image-spec v1.1.0-rc2 specs-go/v1/manifest.go). Another
        // order would be as valid, but have another digest.
        let manifest = OciImageManifest {
            media_type: Some(MEDIA_TYPE.to_owned()),
            config: OciDescriptor {
                media_type: CONFIG_MEDIA_TYPE.to_owned(),
                digest: digest(CONFIG).to_string(),
                size: CONFIG.len() as i64,
                ..OciDescriptor::default()
            },
            layers: vec![OciDescriptor {
                // ORAS gives every file this type, compressed or not (oras-go content/file/file.go, `defaultBlobMediaType`).
                media_type: IMAGE_LAYER_MEDIA_TYPE.to_owned(),
                digest: layer.digest.to_string(),
                size: layer.size as i64,
                annotations: annotation(ORG_OPENCONTAINERS_IMAGE_TITLE, layer.title.clone()),
                ..OciDescriptor::default()
            }],
            // In UTC and whole seconds, as ORAS writes it (oras-go v2.0.2 pack.go, `ensureAnnotationCreated`).
            annotations: annotation(ORG_OPENCONTAINERS_IMAGE_CREATED, created.to_string()),
            ..OciImageManifest::default()
        };
        let manifest =
            serde_json::to_vec(&manifest).map_err(|error| Failure::new(Exit::Failed, format!("write the manifest: {error}")))?;
        Ok(Self { digest: digest(&manifest), manifest: manifest.into(), layer })
    }
}

pub(crate) fn config() -> Content {
    let size = CONFIG.len() as u64;
    Content { source: ByteSource::Memory(CONFIG), size, digest: digest(CONFIG) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_reads_back_as_it_was_written() {
        let layer = Layer { digest: digest(b"x"), size: 1, title: "manifests.tgz".into() };
        let created = Time::from_epoch(1_733_488_994).unwrap();
        let local = LocalManifest::new(layer.clone(), created).unwrap();
        let parts = Parts { layer, config: (digest(CONFIG), 2), created };
        assert_eq!(parse(&local.manifest, local.digest.clone()), RemoteManifest { digest: local.digest, artifact: Ok(parts) });
    }

    #[test]
    fn says_why_another_manifest_is_not_our_artifact() {
        let with = |layers: &str| {
            format!(
                r#"{{"schemaVersion":2,"config":{{"mediaType":"x","digest":"sha256:{:064}","size":2}},"layers":[{layers}]}}"#,
                0
            )
        };
        let layer = format!(r#"{{"mediaType":"x","digest":"sha256:{:064}","size":2}}"#, 0);
        for (text, says) in [
            ("[]".to_owned(), "not a manifest"),
            (with(""), "0 layers"),
            (with(&format!("{layer},{layer}")), "2 layers"),
            (with(&layer), "no title"),
        ] {
            assert!(parse(text.as_bytes(), digest(b"")).artifact.unwrap_err().contains(says), "{text}");
        }
    }
}
