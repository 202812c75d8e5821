//! Reads the SCAR setting of VerteX, without changing anything (guide, section "Validate").

mod look;
mod options;

use std::process::ExitCode;

use options::Options;
use scar_record::{Input, Record, Scar, Session};
use scar_tool::{Console, Failure};
use scar_vertex::Api;

fn main() -> ExitCode {
    scar_tool::main(include_str!("../../../man/scar-get.1"), run)
}

fn run(options: Options, console: &Console) -> Result<(), Failure> {
    let expected = options.expected()?;
    let mut record = Record::read(&options.common, Input::Stdin)?;
    let session = match record.section::<Session>()? {
        None if record.is_dry_run() => {
            console.plan("log in and read the SCAR setting");
            return record.write(console);
        }
        None => record.need::<Session>()?,
        Some(session) => session,
    };
    let api = Api::open(&session, &options.api, console)?;
    let earlier = record.section::<Scar>()?;
    let look = look::at(&api, expected.as_ref(), options.validate, earlier, console);
    let scar = scar_http::run(api.deadline(), console, "read the SCAR setting", look)?;
    if !record.is_dry_run() {
        record.set(&scar);
    }
    if !options.keep_session {
        record.remove::<Session>();
    }
    record.write(console)
}
