//! The crates of the workspace and all that they stand on, as cargo tells of them. No network is asked: what is not built on
//! this platform may never have been fetched, and is left out.

// Which cargo runs this, and where its registry is.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeSet;

use cargo_metadata::{Metadata, MetadataCommand};
use scar_kit::{program, workspace};

/// Every package that the lock names for this platform, optional ones included.
pub fn metadata() -> Metadata {
    let options = ["--offline", "--locked", "--filter-platform", "host-tuple"];
    MetadataCommand::new().current_dir(workspace()).other_options(options.map(str::to_owned)).exec().unwrap()
}

/// Every crate that is built, for the tests too, as its name and version. cargo's metadata also lists optional
/// dependencies that no feature takes (ring is one); its tree does not.
pub fn built() -> BTreeSet<(String, String)> {
    let arguments = ["tree", "--workspace", "--offline", "--locked", "--prefix", "none", "--format", "{p}"];
    let tree = program(std::env::var_os("CARGO").unwrap()).folder(workspace()).args(arguments);
    // cargo finds its registry through the real HOME.
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
