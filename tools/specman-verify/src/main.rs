//! Compares every file that Specman serves with what was pushed, and waits until it serves that (guide, step 9).
//!
//! It changes nothing: it only sends GET requests, and writes no file.

mod archive;
mod compare;
mod folder;
mod forward;
mod layer;
mod options;
mod replica;
mod report;
mod run;
mod sample;
mod source;
mod tree;
mod tunnel;

use std::process::ExitCode;

use scar_cluster::Opened;
use scar_record::{Input, Record};
use scar_tool::{Console, Deadline, Failure};
use scar_trust::Trust;

use crate::options::Options;
use crate::report::Report;
use crate::run::Run;
use crate::source::{Named, Recorded};

fn main() -> ExitCode {
    scar_tool::main(include_str!("../../../man/specman-verify.1"), run)
}

fn run(options: Options, console: &Console) -> Result<(), Failure> {
    let endpoint = options.endpoint()?;
    let trust = Trust::load(&options.tls)?.by(options.route);
    let access = options.access(console)?;
    let opened = if endpoint.forwarded { Some(Opened::open(&options.specman.cluster, options.route, console)?) } else { None };
    let named = options.source.as_deref().map(Named::open).transpose()?;
    let mut record = Record::read(&options.common, Input::Stdin)?;
    let recorded = Recorded::of(&record)?;
    if record.is_dry_run() {
        console.plan(format!("compare {} with what Specman serves at {}", recorded.words(named.as_ref()), endpoint.words()));
        return record.write(console);
    }
    let deadline = Deadline::after(options.timeout);
    let run = Run { options: &options, endpoint: &endpoint, trust: &trust, deadline, console };
    let verified = scar_http::run(deadline, console, "compare with Specman", async {
        let source = recorded.source(named, access, deadline, console).await?;
        let files = options.choose(&source, console)?;
        let replicas = run.replicas(opened).await?;
        let names: Vec<String> = replicas.iter().map(|replica| replica.name.clone()).collect();
        let mut report =
            Report { files: &files, replicas: &names, findings: Vec::new(), source: &source.name, layer: source.layer.as_ref() };
        run.verify(&replicas, &mut report).await?;
        report.finish(options.report, console)?;
        Ok(report.section())
    })?;
    record.set(&verified);
    record.write(console)
}
