//! A summary of the migration for the change ticket: the old and the new state, from the record.

use scar_record::{Archive, Artifact, PackRegistry, Record, Scar, Secret, Specman, Verified};
use scar_tool::{Colour, Console, Failure};

/// Prints a line for each section of the record.
///
/// # Errors
/// Exit 2 for a malformed section.
pub(crate) fn show(record: &Record, console: &Console) -> Result<(), Failure> {
    for (what, text) in lines(record)? {
        console.row(&[(Colour::Dim, &format!("{what:<14}")), (Colour::Plain, &text)]);
    }
    Ok(())
}

fn lines(record: &Record) -> Result<Vec<(&'static str, String)>, Failure> {
    let mut lines = Vec::new();
    if let Some(scar) = record.section::<Scar>()? {
        let was = if scar.changed { format!("{} -> ", scar.previous.endpoint) } else { String::new() };
        let version = scar.spectro_version.map(|version| format!(", VerteX {version}")).unwrap_or_default();
        let validated = if scar.validated { "validated" } else { "not validated" };
        lines.push(("SCAR setting", format!("{was}{} ({validated}{version})", scar.endpoint)));
        let jobs: Vec<_> = scar.jobs.iter().map(|job| format!("{} {}", job.name, job.status)).collect();
        lines.push(("sync jobs", jobs.join(", ")));
    }
    if let Some(entry) = record.section::<PackRegistry>()? {
        let flag = match (entry.contains_spectro_manifest, entry.changed) {
            (true, true) => "contains Spectro manifests, set by this run",
            (true, false) => "contains Spectro manifests, was set before",
            (false, _) => "does not contain Spectro manifests",
        };
        lines.push(("pack registry", format!("'{}' ({}): {flag}", entry.name, entry.uid)));
    }
    if let Some(artifact) = record.section::<Artifact>()? {
        let was = artifact.replaced.map(|digest| format!("{digest} -> ")).unwrap_or_default();
        lines.push(("tag", format!("{}: {was}{}", artifact.reference, artifact.digest)));
    }
    if let Some(secret) = record.section::<Secret>()? {
        let uid = secret.uid.unwrap_or_default();
        let was = match (secret.found, secret.deleted) {
            (false, _) => "was absent".to_owned(),
            (true, true) => format!("uid {uid} was deleted"),
            (true, false) => format!("uid {uid} stays, the platform has made it"),
        };
        lines.push(("secret", format!("{}/{}: {was}", secret.namespace, secret.name)));
    }
    if let Some(archive) = record.section::<Archive>()? {
        let Archive { digest, files, directories, links, bytes, .. } = archive;
        lines.push(("archive", format!("{digest}: {files} files, {directories} folders, {links} links, {bytes} bytes")));
    }
    if let Some(specman) = record.section::<Specman>()? {
        lines.push(("Specman", format!("{} at {} in {}", specman.tag, specman.persisted_at, specman.pods.join(", "))));
    }
    if let Some(Verified { compared, missing, different, unreadable, bytes, .. }) = record.section()? {
        let found = format!("{missing} missing, {different} different, {unreadable} unreadable");
        lines.push(("compared", format!("{compared} files, {bytes} bytes: {found}")));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_is_summarized_as_old_and_new_state() {
        let layer = format!("sha256:{}", "a".repeat(64));
        let text = format!(
            r#"{{"record":"scar-tools/1","secret":{{"namespace":"n","name":"s","found":true,"deleted":true,"uid":"u-1"}},
            "archive":{{"path":"/m.tgz","title":"manifests.tgz","digest":"{layer}","size":9,"files":3,"directories":2,"links":1,"bytes":70,"source":"/s"}}}}"#
        );
        let lines = lines(&Record::parse(text.as_bytes()).unwrap()).unwrap();
        assert_eq!(lines[0], ("secret", "n/s: uid u-1 was deleted".to_owned()));
        assert_eq!(lines[1], ("archive", format!("{layer}: 3 files, 2 folders, 1 links, 70 bytes")));
        assert_eq!(lines.len(), 2);
    }
}
