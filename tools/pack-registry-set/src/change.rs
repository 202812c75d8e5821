//! Changes the flag: finds and reads the entry, validates, backs up, writes, reads back; or undoes that.

use scar_record::{Artifact, PackRegistry};
use scar_tool::backup::Backup;
use scar_tool::{Console, Exit, Failure};
use scar_vertex::entry::{self, EntryObject, FLAG, Selector, path};
use scar_vertex::{Api, differences};

use crate::backup::{self, EntryBackup};
use crate::options::Plan;
use crate::{sync, write};

/// A change, and everything that it needs.
pub(crate) struct Change<'a> {
    pub(crate) api: &'a Api,
    pub(crate) console: &'a Console,
    pub(crate) plan: &'a Plan,
    /// The pushed artifact; an undo does not need it.
    pub(crate) artifact: Option<&'a Artifact>,
    pub(crate) backup: Option<Backup>,
    pub(crate) check: bool,
    pub(crate) dry_run: bool,
}

impl Change<'_> {
    /// Sets the entry's flag; returns `None` after a dry run.
    pub(crate) async fn run(&mut self, wanted: &Selector) -> Result<Option<PackRegistry>, Failure> {
        let before = match &self.plan.undo {
            Some(saved) => self.saved_entry(saved, wanted).await?,
            None => self.choose(wanted, self.artifact.map(|artifact| artifact.repository.as_str())).await?,
        };
        self.check_place(&before)?;
        let (name, flag) = (&before.entry.name, self.plan.flag);
        // No write, so that a second run needs no login of the entry and starts no sync (FAULTS R8).
        if before.object.flag(FLAG) == flag {
            match self.dry_run {
                true => self.console.plan(format!("change nothing: the flag of '{name}' is {flag} already")),
                false => self.console.note(format!("the flag of '{name}' is {flag} already")),
            }
            return Ok((!self.dry_run).then(|| self.section(&before, false)));
        }
        // The flag is compared before a login is asked for: --check needs none.
        if self.check {
            let cause = format!("it is {}, not {flag}", before.object.flag(FLAG));
            return Err(Failure::new(Exit::Mismatch, format!("check the flag of '{name}': {cause}"))
                .hint("without --check this step sets it"));
        }
        let mut after = self.plan.given.fill(&before, !self.dry_run)?;
        after.set(FLAG, &flag);
        let changes = differences(&before.object, &after, &[]);
        if self.dry_run {
            self.console.plan(format!("validate the entry '{name}' ({}) and write it with", before.entry.uid));
            changes.iter().for_each(|change| self.console.plan(format!("change {}", shown(change))));
            return Ok(None);
        }
        changes.iter().for_each(|change| self.console.note(format!("'{name}': {}", shown(change))));
        // The guide validates before it confirms (step 8): VerteX tries the login that is about to be stored. With a wrong one
        // VerteX could no longer read its packs.
        entry::validate(self.api, &before, &after).await?;
        if let Some(backup) = self.backup.take() {
            backup::keep(backup, &self.api.origin().to_string(), &before, self.console)?;
        }
        let path = path(&before.entry.uid, before.kind);
        // A sync status does not say which change it belongs to. Only one that differs from the status before the write can
        // belong to this one.
        let stale = sync::status(self.api, &path).await;
        write::run(self.api, self.console, &before, &after).await?;
        self.console.note(format!("the flag of '{name}' is {flag} now"));
        sync::wait(self.api, self.console, &path, stale.as_ref()).await;
        Ok(Some(self.section(&before, true)))
    }

    async fn choose(&self, wanted: &Selector, repository: Option<&str>) -> Result<EntryObject, Failure> {
        entry::choose(self.api, wanted, self.plan.given.spelling, repository).await
    }

    /// The entry of the backup as it is now; its other changes since then are kept.
    async fn saved_entry(&self, saved: &EntryBackup, wanted: &Selector) -> Result<EntryObject, Failure> {
        let (act, here) = ("undo the change of the entry", self.api.origin().to_string());
        if saved.vertex != here {
            return Err(Failure::new(Exit::Unsafe, format!("{act}: the backup is of '{}', and this is '{here}'", saved.vertex))
                .hint("log in there"));
        }
        let now = self.choose(wanted, None).await.map_err(|failure| match failure.exit {
            Exit::Absent => failure.hint("the entry is gone, and its flag with it: nothing is left to undo"),
            _ => failure,
        })?;
        if !entry::same_endpoint(&saved.endpoint, &now.entry.endpoint) {
            let cause = format!("its endpoint was '{}', and is '{}'", saved.endpoint, now.entry.endpoint);
            let command = format!("--uid {} --contains-spectro-manifests={}", saved.uid, saved.flag);
            return Err(Failure::new(Exit::Mismatch, format!("{act}: {cause}")).hint(format!("if this is intended: {command}")));
        }
        let flag = FLAG.join(".");
        let own = [write::OWN, &[flag.as_str()]].concat();
        for change in differences(&saved.entry, &now.object, &own) {
            self.console.note(format!("changed since the backup, and left as it is: {change}"));
        }
        Ok(now)
    }

    /// Checks that the artifact is in the repository that Specman makes of the entry's endpoint and base content path.
    fn check_place(&self, before: &EntryObject) -> Result<(), Failure> {
        let entry = &before.entry;
        if !entry.has_packs() {
            let (name, provider) = (&entry.name, &entry.provider);
            self.console
                .warn(format!("the entry '{name}' is of the provider '{provider}': is it where VerteX takes its packs from?"));
        }
        let Some(Artifact { registry, repository, .. }) = self.artifact else { return Ok(()) };
        // Only a warning: a registry may have another name in the cluster's network.
        if !entry::same_host(registry, &entry.endpoint) {
            self.console.warn(format!("the entry's endpoint is '{}', and the artifact went to '{registry}'", entry.endpoint));
        }
        let Some(way_out) = before.misplaced(registry, repository).filter(|_| self.plan.flag) else { return Ok(()) };
        let expected = before.expected_repository();
        let found = format!("the artifact is in '{repository}', and Specman will look in '{expected}'");
        Err(Failure::new(Exit::Mismatch, format!("set the flag of '{}': {found}", entry.name)).hint(way_out))
    }

    fn section(&self, before: &EntryObject, changed: bool) -> PackRegistry {
        PackRegistry {
            uid: before.entry.uid.clone(),
            name: before.entry.name.clone(),
            kind: before.kind.word().to_owned(),
            endpoint: before.entry.endpoint.clone(),
            vertex: self.api.origin().to_string(),
            contains_spectro_manifest: self.plan.flag,
            changed,
        }
    }
}

fn shown(change: &scar_vertex::Change) -> String {
    if change.secret { format!("{}: as given", change.path) } else { change.to_string() }
}
