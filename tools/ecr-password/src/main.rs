//! `ecr-password`: the password of an Amazon ECR registry, as `aws ecr get-login-password` prints it, without the AWS
//! CLI. It is no stage of the pipe: it reads no record and writes none.

mod ask;
mod connect;
mod host;
mod looked;
mod options;
mod refusal;
mod target;
mod token;

use std::process::ExitCode;

use options::{Environment, Options};
use scar_tool::{Console, Deadline, Failure, Stdout};
use scar_trust::Trust;
use secrecy::ExposeSecret;
use target::Target;

fn main() -> ExitCode {
    scar_tool::main(include_str!("../../../man/ecr-password.1"), run)
}

fn run(options: Options, console: &Console) -> Result<(), Failure> {
    let target = Target::new(&options, &Environment::read())?;
    let trust = Trust::load(&options.tls)?.by(options.route);
    if options.common.dry_run {
        let region = target.region.as_deref().unwrap_or("the AWS configuration's region");
        console.plan(format!("get a token for {}", target.named(region)));
        return Ok(());
    }
    let stdout = Stdout::open()?;
    if trust.is_insecure() {
        console.warn("the certificates of AWS are not checked (--insecure)");
    }
    if stdout.is_terminal() {
        console.warn("standard output is a terminal: the password will stand on it");
    } else if stdout.is_readable_by_others() {
        console.warn("standard output is a file that others can read: the password will stand in it");
    }
    let deadline = Deadline::after(options.timeout);
    let password = scar_http::run(deadline, console, "get a token of ECR", ask::password_of(&target, &trust, console))?;
    stdout.write(format!("{}\n", password.expose_secret()).as_bytes())
}
