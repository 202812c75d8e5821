//! Waits until Specman has persisted what was pushed (guide, step 9).
//!
//! It succeeds only if every replica has logged the marker after the push.

mod follow;
mod message;
mod options;
mod report;
mod restart;
mod splitter;
mod verdict;
mod wait;

use std::process::ExitCode;

use scar_cluster::Opened;
use scar_record::{Input, Record};
use scar_tool::{Console, Deadline, Failure};

use crate::options::Options;
use crate::wait::Wait;

fn main() -> ExitCode {
    scar_tool::main(include_str!("../../../man/specman-wait.1"), run)
}

fn run(options: Options, console: &Console) -> Result<(), Failure> {
    let opened = Opened::open(&options.specman.cluster, options.route, console)?;
    let mut record = Record::read(&options.common, Input::Stdin)?;
    let plan = options.plan(&record, console)?;
    let deadline = Deadline::after(options.timeout);
    let dry_run = record.is_dry_run();
    let act = format!("wait for Specman to persist '{}'", plan.tag);
    let specman = scar_http::run(deadline, console, &act, async {
        let specman = options.specman.at(opened.client(), options.container.clone());
        let wait = Wait { options: &options, plan, specman, console: console.clone(), deadline };
        match dry_run {
            true => wait.plan().await.map(|()| None),
            false => wait.run().await.map(Some),
        }
    })?;
    if let Some(specman) = specman {
        record.set(&specman);
    }
    record.write(console)
}
