//! The workspace's crates and their dependencies, from cargo, without network. Crates that are not built on this platform
//! may never have been downloaded, and are left out.

// Which cargo runs this, and its registry folder.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeSet;

use cargo_metadata::{Metadata, MetadataCommand};
use scar_kit::{program, workspace};

/// Every package in the lock file for this platform, including optional ones.
pub fn metadata() -> Metadata {
    let options = ["--offline", "--locked", "--filter-platform", "host-tuple"];
    MetadataCommand::new().current_dir(workspace()).other_options(options.map(str::to_owned)).exec().unwrap()
}

/// Every crate that is built, also for tests, with its version. cargo's metadata includes optional dependencies that are not
/// used (such as ring); its tree does not.
pub fn built() -> BTreeSet<(String, String)> {
    let arguments = ["tree", "--workspace", "--offline", "--locked", "--prefix", "none", "--format", "{p}"];
    let tree = program(std::env::var_os("CARGO").unwrap()).folder(workspace()).args(arguments);
    // cargo finds its registry folder through the real HOME.
    let homes = ["CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"].map(|name| (name, std::env::var_os(name)));
    let tree = homes.into_iter().fold(tree, |tree, (name, value)| match value {
        Some(value) => tree.env(name, value),
        None => tree,
    });
    let tree = tree.home(std::env::var_os("HOME").unwrap()).run();
    let lines = tree.succeeds().stdout();
    let words = lines.lines().filter_map(|line| line.split_once(" v"));
    words.map(|(name, rest)| (name.to_owned(), rest.split(' ').next().unwrap().to_owned())).collect()
}
