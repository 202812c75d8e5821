//! The record that travels through the pipe: one JSON object, read completely from standard input, extended by one section,
//! and written once to standard output after success. See `scar-record(5)` and `scar-record.schema.json`.
//!
//! Invariants: unknown fields pass through unchanged and in order, byte for byte; nothing is written after a failure; no
//! terminal shows the token in `session`.

mod check;
mod digest;
mod fields;
mod input;
mod output;
mod sections;
mod time;

pub use digest::Digest;
pub use fields::Fields;
pub use input::Input;
pub use sections::{Archive, Artifact, Check, CheckResult, Job, PackRegistry, Preflight, Previous, Scar, Secret};
pub use sections::{Section, Session, Specman, Verified};
pub use time::Time;

use scar_tool::Failure;
use serde_json::value::RawValue;

/// The value of the field `record`: name and version of the format.
pub const FORMAT: &str = "scar-tools/1";

/// The sections that build on each other, in the guide's order.
// The others are not in it: what preflight, secret and session say holds whatever is pushed.
const CHAIN: [&str; 6] = ["archive", "artifact", "pack_registry", "specman", "verified", "scar"];

/// A record: fields in order, as they were read.
#[derive(Debug, Clone)]
pub struct Record {
    fields: Fields,
}

impl Record {
    /// The record that a pipe begins with.
    pub fn new() -> Self {
        let mut fields = Fields::default();
        fields.set("record", &FORMAT);
        Self { fields }
    }

    /// Whether the run only prints its plan: the record says so, or `--dry-run` does.
    pub fn is_dry_run(&self) -> bool {
        self.raw("dry_run").is_some_and(|value| value.get().trim() == "true")
    }

    /// Whether no step has written anything yet, as in a new record.
    pub fn is_new(&self) -> bool {
        self.fields.iter().all(|(name, _)| name == "record" || name == "dry_run")
    }

    /// A section, if the record has it. Exit 2 if the section exists but is malformed, naming the field.
    pub fn section<S: Section>(&self) -> Result<Option<S>, Failure> {
        let Some(raw) = self.raw(S::NAME) else { return Ok(None) };
        serde_json::from_str(raw.get()).map(Some).map_err(|error| {
            Failure::misuse(format!("read the record: section '{}': {}", S::NAME, input::cause(&error)))
                .hint(format!("{} writes this section; scar-record(5) describes it", S::WRITER))
        })
    }

    /// A section that the step needs. Exit 2 if it is missing (the hint names the tool that writes it) or malformed.
    pub fn need<S: Section>(&self) -> Result<S, Failure> {
        self.section::<S>()?.ok_or_else(|| {
            Failure::misuse(format!("read the record: it has no section '{}'", S::NAME))
                .hint(format!("run {} before this step, and pass its record on", S::WRITER))
        })
    }

    /// Adds a section, or replaces it in its place. Drops later sections, which were made from the old one.
    pub fn set<S: Section>(&mut self, section: &S) {
        self.drop_after(S::NAME);
        self.fields.set(S::NAME, section);
    }

    /// Removes a section, and the later ones that were made from it.
    pub fn remove<S: Section>(&mut self) {
        self.drop_after(S::NAME);
        self.fields.retain(|name| name != S::NAME);
    }

    fn drop_after(&mut self, name: &str) {
        let Some(at) = CHAIN.iter().position(|link| *link == name) else { return };
        self.fields.retain(|field| !CHAIN[at + 1..].contains(&field));
    }

    fn raw(&self, name: &str) -> Option<&RawValue> {
        self.fields.get(name)
    }
}

impl Default for Record {
    fn default() -> Self {
        Self::new()
    }
}
