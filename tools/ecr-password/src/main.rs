//! Prints the password of an Amazon ECR registry, as `aws ecr get-login-password` does, without the AWS CLI (guide, step 4).
//! It is not a stage of the pipe: it reads and writes no record.

mod ask;
mod connect;
mod host;
mod no_credentials;
mod options;
mod refusal;
mod registry;
mod token;

use std::process::ExitCode;

use options::{Environment, Options};
use registry::Registry;
use scar_tool::{Console, Deadline, Failure, stdout};
use scar_trust::Trust;
use secrecy::ExposeSecret;

fn main() -> ExitCode {
    scar_tool::main(include_str!("../../../man/ecr-password.1"), run)
}

fn run(options: Options, console: &Console) -> Result<(), Failure> {
    let registry = Registry::new(&options, &Environment::read())?;
    let trust = Trust::load(&options.tls)?.by(options.route);
    if options.common.dry_run {
        let region = registry.region.as_deref().unwrap_or("the AWS configuration's region");
        console.plan(format!("get a token for {}", registry.named(region)));
        return Ok(());
    }
    if trust.insecure {
        console.warn("the certificates of AWS are not checked (--insecure)");
    }
    if stdout::is_terminal() {
        console.warn("standard output is a terminal: the password will be shown on it");
    } else if stdout::is_readable_by_others() {
        console.warn("standard output is a file that others can read: the password will be written to it");
    }
    // The AWS SDK has its own limits and retries; this limit includes them.
    let deadline = Deadline::after(options.timeout);
    let password = scar_http::run(deadline, console, "get a token of ECR", ask::password_of(&registry, &trust, console))?;
    stdout::write(format!("{}\n", password.expose_secret()).as_bytes())
}
