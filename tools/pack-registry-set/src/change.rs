//! The change of one field: read the whole object, validate, read again, write, read back.
//!
//! Invariant: what is written is what was read with the flag changed, and the secrets that a person gave; whatever
//! someone else changes in between is found before the write and after it.

use scar_http::{Error, StatusCode};
use scar_record::PackRegistry;
use scar_tool::backup::Backup;
use scar_tool::{Console, Exit, Failure, signal};
use scar_vertex::entry::{self, Entry, FLAG, Kind, Wanted, path};
use scar_vertex::{Api, Object, Settled, differences};

use crate::credentials::Given;
use crate::{kept, sync};

/// What the server changes by itself.
const OWN: &[&str] = &["status", "metadata.lastModifiedTimestamp"];

/// What is to be done, and with what.
pub(crate) struct Change<'a> {
    pub(crate) api: &'a Api,
    pub(crate) console: &'a Console,
    pub(crate) flag: bool,
    pub(crate) given: &'a Given,
    pub(crate) repository: Option<&'a str>,
    pub(crate) registry: Option<&'a str>,
    pub(crate) backup: Option<Backup>,
    pub(crate) check: bool,
    pub(crate) dry_run: bool,
}

impl Change<'_> {
    /// Sets the flag of the entry that is wanted; `None` after a dry run.
    pub(crate) async fn run(&mut self, wanted: &Wanted) -> Result<Option<PackRegistry>, Failure> {
        let entries = entry::list(self.api).await?;
        let entry = entry::pick(&entries, wanted)?;
        let (kind, before) = entry.read(self.api).await?;
        self.check_place(entry, &before)?;
        if !entry.has_packs() {
            let (name, provider) = (&entry.name, &entry.provider);
            self.console
                .warn(format!("the entry '{name}' is of the provider '{provider}': is it where VerteX takes its packs from?"));
        }
        if before.flag(FLAG) == self.flag {
            match self.dry_run {
                true => self.console.plan(format!("change nothing: the flag of '{}' is {} already", entry.name, self.flag)),
                false => self.console.note(format!("the flag of '{}' is {} already", entry.name, self.flag)),
            }
            return Ok((!self.dry_run).then(|| self.section(entry, kind, false)));
        }
        if self.check {
            let act = format!("check the flag of '{}'", entry.name);
            return Err(Failure::new(Exit::Mismatch, format!("{act}: it is {}, not {}", before.flag(FLAG), self.flag))
                .hint("without --check this step sets it"));
        }
        let mut after = self.given.fill(&before, kind, !self.dry_run)?;
        after.set(FLAG, &self.flag);
        let changes = differences(&before, &after, &[]);
        if self.dry_run {
            self.console.plan(format!("validate the entry '{}' ({}) and write it with", entry.name, entry.uid));
            changes.iter().for_each(|change| self.console.plan(format!("change {change}")));
            return Ok(None);
        }
        changes.iter().for_each(|change| self.console.note(format!("'{}': {change}", entry.name)));
        self.validate(entry, kind, &after).await?;
        if let Some(backup) = self.backup.take() {
            let saved = backup.save_beside(&(before.to_json() + "\n"), |kept| same_text(kept, &before), self.console)?;
            self.console.note(format!("what the entry was is kept in '{}'", saved.path.display()));
        }
        self.write(entry, kind, &before, &after).await?;
        self.console.note(format!("the flag of '{}' is {} now", entry.name, self.flag));
        sync::wait(self.api, self.console, &path(&entry.uid, kind)).await;
        Ok(Some(self.section(entry, kind, true)))
    }

    /// Specman fetches from one place below the entry: what was pushed elsewhere would never be found.
    fn check_place(&self, entry: &Entry, object: &Object) -> Result<(), Failure> {
        if let Some(registry) = self.registry.filter(|registry| !entry::same_host(registry, &entry.endpoint)) {
            self.console.warn(format!("the entry's endpoint is '{}', and the artifact went to '{registry}'", entry.endpoint));
        }
        let Some(repository) = self.repository.filter(|_| self.flag) else { return Ok(()) };
        let base = object.text_or_empty(&["spec", "baseContentPath"]);
        let expected = entry::expected_repository(object);
        if repository == expected {
            return Ok(());
        }
        let found = format!("the artifact is in '{repository}', and Specman will look in '{expected}'");
        Err(Failure::new(Exit::Mismatch, format!("set the flag of '{}': {found}", entry.name)).hint(format!(
            "push it there: ocipush {}/{expected}:0.0.0; or correct the entry's base content path, now '{base}'",
            self.registry.unwrap_or(&entry.endpoint)
        )))
    }

    async fn validate(&self, entry: &Entry, kind: Kind, after: &Object) -> Result<(), Failure> {
        let spec = after.object(&["spec"]).unwrap_or_default().to_json();
        let path = format!("/v1/registries/oci/{}/validate", kind.word());
        self.api.check(&path, &spec).await.map_err(|error| {
            let failure = self.api.failure(&format!("validate the pack registry '{}'", entry.name), &error);
            match error {
                Error::Status { status, .. } if matches!(status.as_u16(), 400 | 404 | 409 | 422) => {
                    Failure { exit: Exit::Failed, ..failure }
                        .hint("VerteX cannot use the registry with this login; nothing was changed")
                }
                _ => failure.detail("nothing was changed"),
            }
        })
    }

    async fn write(&self, entry: &Entry, kind: Kind, before: &Object, after: &Object) -> Result<(), Failure> {
        let act = format!("set the flag of '{}'", entry.name);
        let (_, now) = entry.read(self.api).await?;
        let changed = differences(before, &now, OWN);
        if !changed.is_empty() {
            let failure =
                Failure::new(Exit::Mismatch, format!("{act}: someone else changed the entry meanwhile; it was left alone:"));
            return Err(told(failure, &changed).hint("look at the change, then run this step again"));
        }
        // Between the write and reading it back nobody would know what is there.
        let hold = signal::catch();
        let path = path(&entry.uid, kind);
        let done = |now: &Object| now.flag(FLAG) == self.flag;
        let untouched = |now: &Object| differences(before, now, OWN).is_empty();
        match self.api.put(&path, &after.to_json(), done, untouched).await {
            Ok(Settled::Answered) => {}
            Ok(Settled::ByReading) => self.console.note("the answer to the write was lost; reading shows that it is done"),
            Ok(Settled::Unknown(error)) => return Err(self.api.unknown(&act, &error)),
            Ok(Settled::Foreign(now)) => {
                let failure =
                    Failure::new(Exit::Mismatch, format!("{act}: the answer was lost, and someone else changed the entry:"));
                return Err(told(failure, &differences(after, &now, OWN)));
            }
            Err(error) => {
                let failure = self.api.failure(&act, &error);
                return Err(match error.status() {
                    Some(StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED) => Failure { exit: Exit::Mismatch, ..failure },
                    _ => failure,
                });
            }
        }
        let (_, now) =
            entry.read(self.api).await.map_err(|failure| failure.detail("the flag was written, and could not be read back"))?;
        if now.flag(FLAG) != self.flag {
            return Err(Failure::new(
                Exit::Mismatch,
                format!("{act}: VerteX said that it is done, and the flag reads {}", now.flag(FLAG)),
            )
            .hint("look at the entry in the console, then run this step again"));
        }
        let (wrong, other) = kept::otherwise(after, &now, OWN);
        if !wrong.is_empty() {
            let failure = Failure::new(Exit::Mismatch, format!("{act}: it is set, but the entry is another than was sent:"));
            return Err(told(failure, &wrong).hint("look at the entry in the console: VerteX, or someone else, changed it"));
        }
        for change in other {
            self.console.warn(format!("VerteX keeps another value than was sent: {change}"));
        }
        hold.check()
    }

    fn section(&self, entry: &Entry, kind: Kind, changed: bool) -> PackRegistry {
        PackRegistry {
            uid: entry.uid.clone(),
            name: entry.name.clone(),
            kind: kind.word().to_owned(),
            endpoint: entry.endpoint.clone(),
            vertex: self.api.origin().to_string(),
            contains_spectro_manifest: self.flag,
            changed,
        }
    }
}

fn told(failure: Failure, changes: &[scar_vertex::Change]) -> Failure {
    changes.iter().fold(failure, |failure, change| failure.detail(change))
}

fn same_text(kept: &str, object: &Object) -> bool {
    Object::parse(kept.trim()).is_ok_and(|kept| differences(&kept, object, OWN).is_empty())
}
