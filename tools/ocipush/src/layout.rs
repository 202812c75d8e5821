//! Writes the artifact as an OCI image layout into a directory, to be carried by hand (OCI image specification, "Image
//! Layout").
//!
//! Invariant: `index.json` makes a directory a layout, so it is written last, after everything else is on disk.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use scar_tool::{Console, Exit, Failure};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::archive::{Archive, BLOCK};
use crate::body::{self, Content};
use crate::manifest::{self, LocalManifest};
use scar_registry::Reference;

/// Checks, before anything is read, that the directory can take a layout.
///
/// # Errors
/// Exit 2 if it is not empty.
pub(crate) fn vacant(directory: &Path) -> Result<(), Failure> {
    let act = format!("write the layout '{}'", directory.display());
    match std::fs::read_dir(directory) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => {
                Err(Failure::misuse(format!("{act}: the directory is not empty")).hint("name one that does not exist yet"))
            }
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::io(act, &error)),
    }
}

/// Writes the layout; in a dry run, prints the plan.
///
/// # Errors
/// Exit 1 if writing fails or the archive changed.
pub(crate) fn write(
    directory: &Path,
    archive: &Archive,
    local: &LocalManifest,
    reference: &Reference,
    dry_run: bool,
    console: &Console,
) -> Result<(), Failure> {
    let shown = directory.display();
    if dry_run {
        console.plan(format!("write the manifest '{}' and its layer to '{shown}'", local.digest));
        return Ok(());
    }
    write_all(directory, &archive.content, local, reference)?;
    archive.unchanged()?;
    let tag = &reference.tag;
    console.note(format!("wrote '{shown}'; to push it: skopeo copy oci:{shown}:{tag} docker://{reference}"));
    Ok(())
}

fn write_all(directory: &Path, content: &Content, local: &LocalManifest, reference: &Reference) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::io(format!("write the layout '{}'", directory.display()), &error);
    let blobs = directory.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).map_err(failed)?;
    let name = |digest: &scar_record::Digest| blobs.join(digest.as_str().trim_start_matches("sha256:"));

    let mut layer = File::create_new(name(&content.digest)).map_err(failed)?;
    let mut hash = Sha256::new();
    let mut at = 0;
    while at < content.size {
        let mut block = vec![0; usize::try_from(content.size - at).unwrap_or(BLOCK).min(BLOCK)];
        content.source.read_exact_at(&mut block, at).map_err(|error| Failure::io("read the archive", &error))?;
        hash.update(&block);
        layer.write_all(&block).map_err(failed)?;
        at += block.len() as u64;
    }
    if scar_record::Digest::from_sha256(&hash.finalize().into()) != content.digest {
        return Err(
            Failure::new(Exit::Failed, "read the archive: it has changed since its digest was taken").hint(body::CHANGED_HINT)
        );
    }
    layer.sync_all().map_err(failed)?;

    let write = |path: &Path, bytes: &[u8]| {
        let mut file = File::create_new(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    // skopeo finds a tag of `oci:DIR:TAG` by this annotation (OCI image specification, "Pre-Defined Annotation Keys";
    // containers/image oci/layout/oci_transport.go).
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": manifest::MEDIA_TYPE,
            "digest": local.digest.as_str(),
            "size": local.manifest.len(),
            "annotations": {"org.opencontainers.image.ref.name": reference.tag},
        }],
    });
    write(&name(&manifest::digest(manifest::CONFIG)), manifest::CONFIG).map_err(failed)?;
    write(&name(&local.digest), &local.manifest).map_err(failed)?;
    // This version stays as long as the layout does not change, whatever the version of the specification (OCI image-spec,
    // image-layout.md, "oci-layout file").
    write(&directory.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#).map_err(failed)?;
    File::open(&blobs).and_then(|blobs| blobs.sync_all()).map_err(failed)?;
    write(&directory.join("index.json"), index.to_string().as_bytes()).map_err(failed)?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
}
