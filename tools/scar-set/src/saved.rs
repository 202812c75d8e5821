//! The saved setting: what VerteX showed before the change, and what was set in its place.

use std::path::{Path, PathBuf};

use scar_record::Time;
use scar_tool::Failure;
use scar_vertex::scar::{Setting, state_folder};
use scar_vertex::{Object, save};

/// Name and version of the file's format.
const FORMAT: &str = "scar-tools/1 scar";
/// The largest file that is read, in bytes.
const LARGEST: u64 = 16 * 1024 * 1024;

/// A saved setting.
#[derive(Debug)]
pub(crate) struct Saved {
    /// Where VerteX is: `https://HOST[:PORT]`.
    pub(crate) vertex: String,
    /// The setting as VerteX showed it.
    pub(crate) setting: Setting,
    /// What was set in its place.
    pub(crate) replaced_by: Setting,
}

impl Saved {
    /// Reads a saved setting.
    ///
    /// # Errors
    /// Exit 2 where the file is none.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let read = || -> std::io::Result<String> {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut std::io::Read::take(std::fs::File::open(path)?, LARGEST), &mut text)?;
            Ok(text)
        };
        let text = read().map_err(|error| Failure::misuse(Failure::io(format!("read the backup '{shown}'"), &error).message))?;
        Self::parse(&text).map_err(|cause| {
            Failure::misuse(format!("read the backup '{shown}': {cause}"))
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

    /// Whether a file holds the same setting of the same VerteX, replaced by the same.
    fn is_in(&self, text: &str) -> bool {
        Self::parse(text).is_ok_and(|other| {
            other.vertex == self.vertex
                && scar_vertex::differences(other.setting.object(), self.setting.object(), &[]).is_empty()
                && other.replaced_by.is(&self.replaced_by)
        })
    }

    /// Saves it at `path`, else under a name of its own in the state folder. What is there already is kept.
    pub(crate) fn save(&self, path: Option<&Path>) -> Result<scar_vertex::Saved, Failure> {
        let path = match path {
            Some(path) => path.to_owned(),
            None => self.own_name()?,
        };
        save(&path, &self.to_json(), |held| self.is_in(held))
    }

    fn own_name(&self) -> Result<PathBuf, Failure> {
        let folder = state_folder(std::env::var_os("XDG_STATE_HOME").as_deref(), std::env::var_os("HOME").as_deref())?;
        let host = self.vertex.split_once("://").map_or(self.vertex.as_str(), |(_, host)| host);
        let host: String = host.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
        let time: String = Time::now().to_string().chars().filter(|c| *c != '-' && *c != ':').collect();
        Ok(folder.join(format!("scar-{host}-{time}.json")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_vertex_showed_comes_back_value_for_value() {
        let setting = Object::parse(r#"{"endpoint":"https://old","n":1.50,"password":"pw","username":"u"}"#).unwrap();
        let target = Setting::target("https://new", None, false, None);
        let saved = Saved { vertex: "https://v.example".into(), setting: Setting::new(setting.clone()), replaced_by: target };
        let text = saved.to_json();
        let read = Saved::parse(&text).unwrap();
        assert_eq!(read.setting.object().to_json(), setting.to_json());
        assert!(saved.is_in(&text) && !saved.is_in(&text.replace("https://v.example", "https://w.example")));
        assert!(!saved.is_in(&text.replace("\"pw\"", "\"***\"")));
    }

    #[test]
    fn another_file_is_no_saved_setting() {
        for text in ["", "[]", r#"{"record":"scar-tools/1"}"#, r#"{"backup":"scar-tools/1 scar","setting":{}}"#] {
            assert!(Saved::parse(text).is_err(), "{text}");
        }
        let nothing = r#"{"backup":"scar-tools/1 scar","setting":{"endpoint":""},"replaced_by":{}}"#;
        assert!(Saved::parse(nothing).unwrap_err().contains("nothing to go back to"));
    }
}
