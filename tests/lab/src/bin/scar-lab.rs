//! `scar-lab`: the rehearsal site in the foreground.
//!
//! It starts the site with its state in DIR, writes DIR/site.env when everything listens, and runs until SIGTERM, SIGINT or
//! SIGHUP, or until its stdin ends if that is a pipe. Then it removes DIR/site.env and exits 0.

#![allow(clippy::print_stdout)]

use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use scar_lab::registry::Credentials;
use scar_lab::site::{Site, SiteOptions};
use scar_lab::specman::RegistryAccess;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// A rehearsal site on loopback: registry, VerteX, Kubernetes API, Specman
#[derive(Parser)]
#[command(name = "scar-lab", version, about)]
struct Options {
    /// Where the site keeps its files; DIR/site.env appears when it is up
    #[arg(value_name = "DIR", required_unless_present = "state_of", conflicts_with = "state_of")]
    directory: Option<PathBuf>,
    /// Print the state of the site that runs in DIR, as JSON
    #[arg(long, value_name = "DIR")]
    state_of: Option<PathBuf>,
    /// Use this registry instead of the lab's own
    #[arg(long, value_name = "URL")]
    registry: Option<String>,
    /// The CA of that registry, PEM
    #[arg(long, value_name = "FILE", requires = "registry")]
    registry_ca: Option<PathBuf>,
    /// The user of that registry
    #[arg(long, value_name = "USER", requires = "registry", requires = "registry_password_file")]
    registry_user: Option<String>,
    /// The user's password, one line
    #[arg(long, value_name = "FILE", requires = "registry_user")]
    registry_password_file: Option<PathBuf>,
    /// Number of Specman replicas
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=9))]
    replicas: u32,
    /// Make the pack registry's entry one for ECR, with static keys
    #[arg(long)]
    ecr: bool,
    /// Interval at which Specman looks at the registry itself, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    poll: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match (&options.state_of, &options.directory) {
        (Some(directory), _) => print_state(directory),
        (None, Some(directory)) => serve(directory, &options),
        (None, None) => Err(io::Error::other("no DIR")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            println!("scar-lab: error: {cause}");
            ExitCode::FAILURE
        }
    }
}

fn serve(directory: &Path, options: &Options) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Handle signals from here on, so that none ends the process while the site is half started.
    let end = runtime.block_on(async { ends() })?;
    let site = Arc::new(Site::start(SiteOptions {
        directory: Some(directory.to_owned()),
        registry: access(options)?,
        replicas: options.replicas,
        ecr: options.ecr,
        poll: Some(Duration::from_secs(options.poll)),
        ..SiteOptions::default()
    }));
    // Here a user may send any request, with curl for example; unexpected ones are printed at the end.
    site.servers().iter().for_each(|(_, server)| server.tolerate_unexpected());
    let control = site.control();
    control.tolerate_unexpected();
    std::fs::write(site.directory().join("control"), control.url())?;
    let environment = site.directory().join("site.env");
    site.write_environment(&environment);
    println!("the site is up, its settings are in {}", environment.display());
    runtime.block_on(end);
    std::fs::remove_file(&environment)?;
    std::fs::remove_file(site.directory().join("control"))?;
    for (name, server) in site.servers() {
        server.log().unexpected().iter().for_each(|r| println!("{name} has no such route: {}", r.line()));
    }
    Ok(())
}

/// Resolves when the site must end.
fn ends() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let closed = stdin_closed();
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
            Ok(()) = closed => {}
        }
    })
}

/// Waits for the end of stdin, if it is a pipe or socket; /dev/null has ended before it began.
fn stdin_closed() -> oneshot::Receiver<()> {
    let (closed, hears) = oneshot::channel();
    let watched = std::fs::metadata("/dev/stdin").map(|stdin| stdin.file_type());
    if watched.is_ok_and(|stdin| stdin.is_fifo() || stdin.is_socket()) {
        std::thread::spawn(move || {
            let mut buffer = [0; 1024];
            while io::stdin().read(&mut buffer).is_ok_and(|size| size > 0) {}
            // The process may already be ending.
            let _ = closed.send(());
        });
    }
    hears
}

/// The registry from the options.
fn access(options: &Options) -> io::Result<Option<RegistryAccess>> {
    let Some(url) = &options.registry else { return Ok(None) };
    let read = |path: &PathBuf| {
        std::fs::read_to_string(path).map_err(|cause| io::Error::new(cause.kind(), format!("{}: {cause}", path.display())))
    };
    let ca_pem = options.registry_ca.as_ref().map(read).transpose()?;
    let password = options.registry_password_file.as_ref().map(read).transpose()?;
    let credentials = options.registry_user.as_ref().zip(password);
    let credentials = credentials.map(|(user, password)| Credentials::new(user, password.trim_end_matches(['\r', '\n'])));
    Ok(Some(RegistryAccess { url: url.trim_end_matches('/').to_owned(), ca_pem, credentials }))
}

/// Requests the state of the site in `directory`.
fn print_state(directory: &Path) -> io::Result<()> {
    let url = std::fs::read_to_string(directory.join("control"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let state: serde_json::Value = runtime
        .block_on(async {
            let client = reqwest::Client::builder().tls_certs_only([]).no_proxy().build()?;
            client.get(url + "/state").send().await?.json().await
        })
        .map_err(|cause: reqwest::Error| io::Error::other(format!("no site runs in {}: {cause}", directory.display())))?;
    println!("{state:#}");
    Ok(())
}
