//! Changes the setting: look, warn about what will be lost, save, write, read back, wait until VerteX accepts it, start the
//! sync jobs.

use scar_record::{Previous, Scar};
use scar_tool::{Exit, Failure, Interrupt, signal};
use scar_vertex::scar::Setting;

use crate::options::Plan;
use crate::setting_backup::SettingBackup;
use crate::site::{NotWritten, Site};
use crate::{jobs, setting_backup, settle, undo};

/// The message at the end of the guide's script (step 12).
const CLOSING: &str = "VerteX needs about five minutes to complete the syncs; to check later";

/// What is needed to go back.
struct UndoInfo {
    /// The path of the backup; `None` if there was no setting to save.
    backup: Option<String>,
    /// The old setting, ready to be written back.
    old: Option<Setting>,
}

/// Changes the setting as planned; `earlier` is the section of an earlier run. Returns `None` after a dry run.
pub(crate) async fn run(site: &Site<'_>, mut plan: Plan, earlier: Option<&Scar>) -> Result<Option<Scar>, Failure> {
    let here = site.api.origin().to_string();
    // Of another VerteX, or for another address, that section says nothing here (FAULTS Q9).
    let earlier = earlier
        .filter(|scar| scar.vertex == here && Setting::target(&scar.endpoint, None, false, None).same_endpoint(&plan.target));
    // What is not a setting is saved, and nothing is written: it may be a proxy's answer, or a form that we do not know (FAULTS
    // Q7).
    let present = Setting::read_or(site.api, |text| keep_unexpected(site, &plan, text)).await?;
    if site.dry_run {
        show(site, &present, &plan, earlier);
        return Ok(None);
    }
    let changed = !present.matches(&plan.target);
    // Prompt before signals are blocked, so that the user can leave the prompt.
    let old = (changed && plan.undo_on_failure).then(|| undo::complete(site, &present, plan.password.as_ref())).transpose()?;
    // A signal between writing and reading back would leave the state unknown (FAULTS C5).
    let hold = signal::catch();
    let undo = match changed {
        true => UndoInfo { backup: set(site, &present, &mut plan, &hold).await?, old },
        false => {
            site.console.note(format!("SCAR is '{}' already", present.endpoint()));
            UndoInfo { backup: earlier.and_then(|scar| scar.backup.clone()), old: None }
        }
    };
    let version = match hold.race(settle::until_valid(site)).await.and_then(|settled| settled) {
        Ok(version) => version,
        // The guide's script, too, starts the jobs only after it has slept for 60 s (step 10).
        Err(failure) => return Err(not_accepted(site, &plan, &undo, failure).await),
    };
    site.console.note(format!("VerteX accepts it, version {version}"));
    let jobs =
        hold.race(jobs::start(site, earlier.filter(|_| !changed))).await.and_then(|started| started).map_err(|failure| {
            failure.detail(format!(
                "SCAR is set to '{}' and stays so; run this step again to start the syncs",
                plan.target.endpoint()
            ))
        })?;
    let check = format!("scar-get --validate --expect {}", scar_tool::shell_word(&plan.target.endpoint()));
    site.console.note(format!("{CLOSING}: {} | {check}", site.api.login()));
    Ok(Some(Scar {
        endpoint: plan.target.endpoint(),
        vertex: here,
        changed,
        validated: true,
        spectro_version: Some(version),
        previous: previous(&present, changed, earlier),
        backup: undo.backup,
        jobs,
    }))
}

/// Saves the old setting, writes the new one, and returns the backup's path.
async fn set(site: &Site<'_>, present: &Setting, plan: &mut Plan, hold: &Interrupt) -> Result<Option<String>, Failure> {
    changes(present, plan).iter().chain(&losses(present)).for_each(|line| site.console.note(line));
    // On disk first: if this process is killed during the write, --undo still has the old setting (FAULTS C5).
    let backup = save(site, present, plan)?;
    // The last moment at which a signal may end the step with nothing changed.
    hold.check()?;
    match site.write(present, &plan.target).await {
        Ok(_) => {}
        Err(NotWritten::Untouched(failure)) => return Err(failure),
        Err(NotWritten::Unsure(failure)) => return Err(with_command(site, failure, backup.as_deref())),
    }
    site.console.note(format!("SCAR is set to '{}'", plan.target.endpoint()));
    Ok(backup)
}

/// Describes the changes, one line each.
fn changes(present: &Setting, plan: &Plan) -> Vec<String> {
    present.differences_from(&plan.target).iter().map(|change| format!("SCAR {change}")).collect()
}

/// Describes what will be lost although no change shows it, one line each.
fn losses(present: &Setting) -> Vec<String> {
    let mut lines = Vec::new();
    // What a PUT does to fields that it leaves out is not documented; the guide's has three fields only (step 10).
    let unknown = present.unknown_fields();
    if !unknown.is_empty() {
        lines.push(format!("SCAR fields that will be lost: {}", unknown.join(", ")));
    }
    if present.hides_its_password() {
        lines.push("SCAR has a password that VerteX does not show: it will be lost, and undoing will ask for it".to_owned());
    }
    if let Some(name) = present.masked_field() {
        lines.push(format!("SCAR has a '{name}' that VerteX does not show: it will be lost, and undoing cannot bring it back"));
    }
    lines
}

/// Saves an answer that is not a setting, and returns a note that says where.
fn keep_unexpected(site: &Site<'_>, plan: &Plan, text: &str) -> Result<Option<String>, Failure> {
    if site.dry_run {
        return Ok(None);
    }
    let path = setting_backup::unexpected(plan.backup.as_ref(), &site.api.origin().to_string(), text, site.console)?;
    Ok(Some(format!("what was read is saved in '{}'", path.display())))
}

/// Saves the old setting, if there is one, and syncs it to disk before anything is changed.
fn save(site: &Site<'_>, present: &Setting, plan: &mut Plan) -> Result<Option<String>, Failure> {
    if present.endpoint().is_empty() {
        site.console.note("SCAR had no endpoint: there is nothing to save");
        return Ok(None);
    }
    let saved =
        SettingBackup { vertex: site.api.origin().to_string(), setting: present.clone(), replaced_by: plan.target.clone() };
    let file = saved.save(plan.backup.take(), site.console)?;
    let path = file.path.display().to_string();
    match (file.written, file.renamed) {
        (true, false) => site.console.note(format!("the old setting is saved in '{path}'")),
        (true, true) => {
            site.console.warn(format!("the file that was named holds an earlier setting and is kept; saved in '{path}'"))
        }
        (false, _) => site.console.note(format!("the old setting is saved already in '{path}'")),
    }
    Ok(Some(path))
}

/// The failure for a setting that VerteX does not accept: the present state, and how to undo.
async fn not_accepted(site: &Site<'_>, plan: &Plan, undo: &UndoInfo, failure: Failure) -> Failure {
    let endpoint = plan.target.endpoint();
    // Not after a signal or an ended session: they say nothing about the setting.
    if let Some(old) = undo.old.as_ref().filter(|_| failure.exit == Exit::Mismatch) {
        return match site.write(&plan.target, old).await {
            Ok(now) => failure
                .detail(format!("the old setting '{}' is restored (--undo-on-failure); no sync job was started", now.endpoint()))
                .hint("find out why VerteX cannot use the new setting, then run this step again"),
            Err(other) => {
                let other = other.into_failure();
                let failure = failure.detail(format!("SCAR is set to '{endpoint}', and restoring the old setting failed:"));
                let failure = other.details.into_iter().fold(failure.detail(other.message), |failure, line| failure.detail(line));
                with_command(site, failure, undo.backup.as_deref())
            }
        };
    }
    let failure = failure.detail(format!("SCAR is set to '{endpoint}' and stays so; no sync job was started"));
    with_command(site, failure, undo.backup.as_deref())
}

/// Adds the undo command, if there is something to restore.
fn with_command(site: &Site<'_>, failure: Failure, backup: Option<&str>) -> Failure {
    match backup {
        Some(backup) => {
            let command = format!("to restore the old setting: {}", site.undo_command(backup));
            match failure.hint.clone() {
                None => failure.hint(command),
                // The hint that the failure has already is about its cause, so it comes first.
                Some(cause) => failure.hint(format!("{cause}; {command}")),
            }
        }
        None => failure,
    }
}

/// The setting from before the first run.
fn previous(present: &Setting, changed: bool, earlier: Option<&Scar>) -> Previous {
    match earlier.filter(|_| !changed) {
        Some(scar) => scar.previous.clone(),
        None => present.previous(),
    }
}

fn show(site: &Site<'_>, present: &Setting, plan: &Plan, earlier: Option<&Scar>) {
    let is_set = present.matches(&plan.target);
    if is_set {
        site.console.plan(format!("change nothing: SCAR is '{}' already", present.endpoint()));
    } else {
        if !present.endpoint().is_empty() {
            let place = plan.backup.as_ref().map_or("the state folder".to_owned(), |file| format!("'{}'", file.path().display()));
            site.console.plan(format!("save the present setting in {place}"));
        }
        changes(present, plan).iter().for_each(|line| site.console.plan(format!("change {line}")));
        losses(present).iter().for_each(|line| site.console.note(line));
    }
    let long = if site.settle.is_zero() { "once".to_owned() } else { format!("for {} s at most", site.settle.as_secs_f32()) };
    site.console.plan(format!("have VerteX validate it, {long}"));
    for name in jobs::NAMES {
        if !is_set || earlier.is_none_or(|scar| scar.jobs.iter().all(|job| job.name != name)) {
            site.console.plan(format!("start the job '{name}'"));
        }
    }
}
