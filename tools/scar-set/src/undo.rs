//! Restores the backup, if the present setting is still the one that replaced it.

use scar_http::{Login, LoginOptions, Origin};
use scar_record::Scar;
use scar_tool::{Exit, Failure, signal};
use scar_vertex::scar::Setting;
use secrecy::{ExposeSecret, SecretString};

use crate::options::UndoPlan;
use crate::settle;
use crate::site::{NotWritten, Site, with_differences};

/// Restores the backup; returns `None` after a dry run.
pub(crate) async fn run(site: &Site<'_>, plan: &UndoPlan) -> Result<Option<Scar>, Failure> {
    let saved = &plan.saved;
    let act = format!("set SCAR to '{}' again", saved.setting.endpoint());
    // The setting contains a password: it must not go to another VerteX.
    if saved.vertex != site.api.origin().to_string() && !site.force {
        return Err(Failure::new(
            Exit::Unsafe,
            format!("{act}: the backup is of '{}', and this is '{}'", saved.vertex, site.api.origin()),
        )
        .hint("log in there; if both are the same VerteX under two names, --force"));
    }
    let present = Setting::read(site.api).await?;
    // A hidden password cannot be compared, so --force writes even if nothing seems to differ.
    let changed = site.force || !present.matches(&saved.setting);
    // Undo takes back this tool's change, not what somebody has set since.
    if changed && !site.force {
        let differences = present.differences_from(&saved.replaced_by);
        if !differences.is_empty() {
            let failure =
                Failure::new(Exit::Mismatch, format!("{act}: the present setting is not the one that replaced the saved one:"));
            return Err(
                with_differences(failure, &differences).hint("someone has changed it since; --force restores the old one anyway")
            );
        }
    }
    if site.dry_run {
        show(site, &present, saved, changed);
        return Ok(None);
    }
    // Prompt before signals are blocked, so that the user can leave the prompt.
    let old = changed.then(|| complete(site, &saved.setting, plan.password.as_ref())).transpose()?;
    let hold = signal::catch();
    if let Some(old) = old {
        for change in present.differences_from(&old) {
            site.console.note(format!("SCAR {change}"));
        }
        hold.check()?;
        site.write(&present, &old).await.map_err(NotWritten::into_failure)?;
        site.console.note(format!("SCAR is set to '{}' again", saved.setting.endpoint()));
        hold.check()?;
    } else {
        site.console.note(format!("SCAR is '{}' already", present.endpoint()));
    }
    let version = hold.race(settle::until_valid(site)).await.and_then(|settled| settled).map_err(|failure| {
        let failure = failure.detail(format!("SCAR is set to '{}' again and stays so", saved.setting.endpoint()));
        match saved.setting.hides_its_password() {
            true => failure.hint("the password that was given may be wrong; undo again with --force and the right one"),
            false => failure,
        }
    })?;
    Ok(Some(Scar {
        endpoint: saved.setting.endpoint(),
        vertex: site.api.origin().to_string(),
        changed,
        validated: true,
        spectro_version: Some(version),
        previous: present.previous(),
        backup: None,
        jobs: Vec::new(),
    }))
}

/// Adds the password that VerteX hid: the given one, else from a prompt.
///
/// # Errors
/// Exit 2 if there is neither.
pub(crate) fn complete(site: &Site<'_>, setting: &Setting, password: Option<&SecretString>) -> Result<Setting, Failure> {
    if let Some(name) = setting.masked_field() {
        return Err(Failure::misuse(format!(
            "restore the old setting: VerteX did not show its '{name}', and it cannot be given here"
        ))
        .hint("set it in VerteX by hand; what was shown is in the backup"));
    }
    if !setting.hides_its_password() {
        return Ok(setting.clone());
    }
    let password = match password {
        Some(password) => password.clone(),
        None => {
            let login: Login = <LoginOptions>::default().open(None, site.console)?;
            let username = setting.username().unwrap_or_else(|| "the SCAR's user".to_owned());
            let origin = Origin::parse(&setting.endpoint())?.0;
            login.password(&username, &origin).map_err(|failure| {
                failure.hint("VerteX does not show the old SCAR's password: give it with --scar-password-file FILE")
            })?
        }
    };
    Ok(setting.clone().with_password(password.expose_secret()))
}

fn show(site: &Site<'_>, present: &Setting, saved: &crate::setting_backup::SettingBackup, changed: bool) {
    if !changed {
        return site.console.plan(format!("change nothing: SCAR is '{}' already", present.endpoint()));
    }
    for change in present.differences_from(&saved.setting) {
        site.console.plan(format!("change SCAR {change}"));
    }
    if saved.setting.hides_its_password() {
        site.console.plan("give the old SCAR's password, which VerteX did not show, back to it");
    }
}
