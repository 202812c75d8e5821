//! Reads the setting, compares it with the expected one, and lets VerteX validate it.

use scar_http::{Error, StatusCode};
use scar_record::Scar;
use scar_tool::{Console, Exit, Failure};
use scar_vertex::Api;
use scar_vertex::scar::{Setting, installed, validate};

/// Reads and prints the setting. `earlier` is the section of an earlier step; its `previous` and `jobs` are kept if the
/// endpoint is the same.
///
/// # Errors
/// Exit 7 if the endpoint is not the expected one, or VerteX does not accept the setting.
pub(crate) async fn at(
    api: &Api,
    expected: Option<&Setting>,
    validates: bool,
    earlier: Option<Scar>,
    console: &Console,
) -> Result<Scar, Failure> {
    let present = Setting::read(api).await?;
    match present.endpoint().as_str() {
        "" => console.note("SCAR has no endpoint"),
        endpoint => console.note(format!("SCAR is '{endpoint}'")),
    }
    let installed = installed(api).await.map_err(|error| api.failure("read the installed version", &error))?;
    if let Some(version) = &installed {
        console.note(format!("VerteX {version} is installed"));
    }
    if let Some(expected) = expected.filter(|expected| !present.same_endpoint(expected)) {
        let cause = format!("SCAR is '{}', not '{}'", present.endpoint(), expected.endpoint());
        return Err(Failure::new(Exit::Mismatch, format!("check the SCAR setting: {cause}"))
            .hint("scar-set sets it, scar-set --undo FILE restores a saved one"));
    }
    let version = if validates { Some(validated(api, console).await?) } else { None };
    let here = api.origin().to_string();
    let earlier =
        earlier.filter(|scar| scar.vertex == here && Setting::target(&scar.endpoint, None, false, None).same_endpoint(&present));
    let scar = Scar {
        endpoint: present.endpoint(),
        vertex: here,
        changed: false,
        validated: validates,
        spectro_version: version.or(installed),
        previous: present.previous(),
        backup: None,
        jobs: Vec::new(),
    };
    Ok(match earlier {
        // scar-set's section has what undo and the summary need; looking must not lose it.
        Some(Scar { changed, validated, previous, backup, jobs, .. }) => {
            Scar { changed, validated: validated || validates, previous, backup, jobs, ..scar }
        }
        None => scar,
    })
}

async fn validated(api: &Api, console: &Console) -> Result<String, Failure> {
    let act = "validate the SCAR setting";
    match validate(api).await {
        Ok(version) => {
            console.note(format!("VerteX accepts it, version {version}"));
            Ok(version)
        }
        // An error that is not about the session is VerteX's verdict on the setting (guide, section "Validate").
        Err(error) if error.status().is_some() && !session_is_to_blame(&error) => {
            Err(Failure::new(Exit::Mismatch, format!("{act}: VerteX does not accept it: {error}"))
                .hint("right after a change VerteX may need a minute: try again; scar-set --undo FILE restores a saved setting"))
        }
        Err(error) => Err(api.failure(act, &error)),
    }
}

fn session_is_to_blame(error: &Error) -> bool {
    // Then VerteX has not looked at the setting at all: that is exit 4, and no verdict.
    matches!(error.status(), Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN))
}
