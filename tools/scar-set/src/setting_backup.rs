//! The backup of the setting: what VerteX showed before the change, and what replaced it.

use std::path::{Path, PathBuf};

use scar_record::Time;
use scar_tool::backup::{self, Backup};
use scar_tool::{Console, Failure};
use scar_vertex::Object;
use scar_vertex::scar::Setting;

const FORMAT: &str = "scar-tools/1 scar";

#[derive(Debug)]
pub(crate) struct SettingBackup {
    /// The origin of its VerteX: `https://HOST[:PORT]`.
    pub(crate) vertex: String,
    /// The old setting, as VerteX showed it.
    pub(crate) setting: Setting,
    /// The new setting.
    pub(crate) replaced_by: Setting,
}

impl SettingBackup {
    /// Reads a backup.
    ///
    /// # Errors
    /// Exit 2 if the file is not a backup.
    pub(crate) fn read(path: &Path, console: &Console) -> Result<Self, Failure> {
        let text = backup::read(path, console)?;
        Self::parse(&String::from_utf8_lossy(&text)).map_err(|cause| {
            Failure::misuse(format!("read the backup '{}': {cause}", path.display()))
                .hint("give the file that scar-set named when it saved the setting")
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let object = Object::parse(text.trim())?;
        if object.text_or_empty(&["backup"]) != FORMAT {
            return Err(format!("it has no field \"backup\": \"{FORMAT}\""));
        }
        object.never_show_secrets();
        let part = |name: &str| object.object(&[name]).ok_or_else(|| format!("its field '{name}' is missing or no object"));
        let setting = Setting::new(part("setting")?);
        if setting.endpoint().is_empty() {
            return Err("the setting in it has no endpoint: there was nothing to go back to".to_owned());
        }
        Ok(Self { vertex: object.text_or_empty(&["vertex"]), setting, replaced_by: Setting::new(part("replaced_by")?) })
    }

    fn to_json(&self) -> String {
        let mut object = Object::default();
        object.set(&["backup"], &FORMAT);
        object.set(&["vertex"], &self.vertex);
        object.set(&["saved_at"], &Time::now());
        object.set(&["setting"], self.setting.object());
        object.set(&["replaced_by"], self.replaced_by.object());
        object.to_json() + "\n"
    }

    /// Whether a file is a backup of the same change in the same VerteX.
    fn is_in(&self, text: &str) -> bool {
        Self::parse(text).is_ok_and(|other| {
            other.vertex == self.vertex
                && scar_vertex::differences(other.setting.object(), self.setting.object(), &[]).is_empty()
                && other.replaced_by.matches(&self.replaced_by)
        })
    }

    /// Saves it in the named file, else under a new name in the state folder.
    pub(crate) fn save(&self, named: Option<Backup>, console: &Console) -> Result<backup::Saved, Failure> {
        let file = match named {
            Some(file) => file,
            None => Backup::in_state_folder(&own_name(&self.vertex), console)?,
        };
        file.save_beside(&self.to_json(), |kept| self.is_in(kept), console)
    }
}

/// Saves an answer that is not a setting; the backup's own name stays free for a real one.
pub(crate) fn unexpected(named: Option<&Backup>, vertex: &str, text: &str, console: &Console) -> Result<PathBuf, Failure> {
    let file = match named {
        Some(file) => {
            let mut path = file.path().as_os_str().to_owned();
            path.push(".unexpected");
            Backup::find(Path::new(&path), console)?
        }
        None => Backup::in_state_folder(&(own_name(vertex) + ".unexpected"), console)?,
    };
    Ok(file.save_beside(&format!("{text}\n"), |kept| kept.trim_end() == text, console)?.path)
}

/// A new name for a backup in the state folder.
fn own_name(vertex: &str) -> String {
    let host = vertex.split_once("://").map_or(vertex, |(_, host)| host);
    let host: String = host.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    let time: String = Time::now().to_string().chars().filter(|c| *c != '-' && *c != ':').collect();
    format!("scar-{host}-{time}.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_vertex_showed_comes_back_value_for_value() {
        let setting = Object::parse(r#"{"endpoint":"https://old","n":1.50,"password":"pw","username":"u"}"#).unwrap();
        let target = Setting::target("https://new", None, false, None);
        let saved =
            SettingBackup { vertex: "https://v.example".into(), setting: Setting::new(setting.clone()), replaced_by: target };
        let text = saved.to_json();
        let read = SettingBackup::parse(&text).unwrap();
        assert_eq!(read.setting.object().to_json(), setting.to_json());
        assert!(saved.is_in(&text) && !saved.is_in(&text.replace("https://v.example", "https://w.example")));
        assert!(!saved.is_in(&text.replace("\"pw\"", "\"***\"")));
    }

    #[test]
    fn another_file_is_not_a_saved_setting() {
        for text in ["", "[]", r#"{"record":"scar-tools/1"}"#, r#"{"backup":"scar-tools/1 scar","setting":{}}"#] {
            assert!(SettingBackup::parse(text).is_err(), "{text}");
        }
        let nothing = r#"{"backup":"scar-tools/1 scar","setting":{"endpoint":""},"replaced_by":{}}"#;
        assert!(SettingBackup::parse(nothing).unwrap_err().contains("nothing to go back to"));
    }
}
