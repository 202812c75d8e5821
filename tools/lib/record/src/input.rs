//! Reads the record from standard input to its end, before anything is done.

use std::io::{IsTerminal, Read};

use rustix::fs::FileType;
use scar_tool::{Common, Failure};

use crate::{FORMAT, Record};

/// The largest record in bytes.
const LIMIT: u64 = 16 * 1024 * 1024;

/// Where a tool's record comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Standard input: a pipe or file is read; a terminal or `/dev/null` begins a new record.
    Stdin,
    /// A new record; standard input holds something else (a password, an archive).
    New,
}

impl Record {
    /// Reads the record of this run. Exit 2 for an empty, malformed or foreign record.
    pub fn read(common: &Common, input: Input) -> Result<Self, Failure> {
        let mut record =
            if common.new_record || input == Input::New || starts_new_record() { Self::new() } else { from_stdin()? };
        if common.dry_run {
            record.fields.set("dry_run", &true);
        }
        Ok(record)
    }

    /// Parses a record. Exit 2, naming the position.
    pub fn parse(text: &[u8]) -> Result<Self, Failure> {
        let fields = serde_json::from_slice(text).map_err(|error| {
            Failure::misuse(format!("read the record: {error}"))
                .hint("a record is one JSON object, as scar-record(5) describes it")
        })?;
        let record = Self { fields };
        let format = record.raw("record").and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
        match format.as_deref() {
            Some(FORMAT) => record.check().map(|()| record),
            Some(other) => Err(Failure::misuse(format!("read the record: its format is '{other}', not '{FORMAT}'"))
                .hint("use the same version of all tools in one pipe")),
            None => Err(Failure::misuse(format!("read the record: it has no field \"record\": \"{FORMAT}\""))
                .hint("standard input must be the record of an earlier step; --new-record starts without one")),
        }
    }
}

/// Whether standard input is a terminal or `/dev/null`: then there is no record to wait for.
fn starts_new_record() -> bool {
    let stdin = std::io::stdin();
    // The device of /dev/null (null(4)), under whatever name it was opened.
    let null = rustix::fs::makedev(1, 3);
    stdin.is_terminal()
        || rustix::fs::fstat(&stdin)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == null)
}

fn from_stdin() -> Result<Record, Failure> {
    let mut text = Vec::new();
    std::io::stdin()
        // To its end before anything else: the stage before may still fail, and then this one must do nothing.
        .take(LIMIT + 1)
        .read_to_end(&mut text)
        .map_err(|error| Failure::io("read the record from standard input", &error))?;
    if text.len() as u64 > LIMIT {
        return Err(Failure::misuse(format!("read the record: it is larger than {LIMIT} bytes")));
    }
    if text.iter().all(u8::is_ascii_whitespace) {
        // The failed stage has printed the reason on the same terminal.
        return Err(Failure::misuse("not run: the stage before it wrote no record"));
    }
    Record::parse(&text)
}

/// A section's defect, without its position in the text, which would not help the user.
pub(crate) fn cause(error: &serde_json::Error) -> String {
    let text = error.to_string().replace('`', "'");
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_pass_through_byte_for_byte_and_in_order() {
        let text = br#"{"zeta":1.50000000000000000000001,"record":"scar-tools/1","a":{"b":[ 1e400 ]},"c":[{}]}"#;
        let record = Record::parse(text).unwrap();
        assert_eq!(record.to_line(false), std::str::from_utf8(text).unwrap().to_owned() + "\n");
        assert!(!record.is_dry_run());
    }

    #[test]
    fn refuses_other_input_than_a_record() {
        for (text, says) in [
            ("[]", "a JSON object"),
            ("{", "EOF"),
            ("{}", "no field \"record\""),
            (r#"{"record":"scar-tools/2"}"#, "'scar-tools/2', not"),
            (r#"{"record":"scar-tools/1","a":1,"a":2}"#, "the field 'a' twice"),
            (r#"{"record":"scar-tools/1"} {}"#, "trailing"),
        ] {
            let failure = Record::parse(text.as_bytes()).unwrap_err();
            assert!(failure.message.contains(says), "{text}: {}", failure.message);
            assert_eq!(failure.exit, scar_tool::Exit::Misuse);
        }
    }
}
