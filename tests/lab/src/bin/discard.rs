//! `discard`: a registry on a free loopback port that computes the digest of every blob but stores no data, to measure a
//! push of any size. It prints its HOST:PORT and runs until it is killed.

#![allow(clippy::print_stdout)]

use scar_lab::registry::{LabRegistry, RegistryOptions, Storage};

fn main() {
    let registry = LabRegistry::start(RegistryOptions { storage: Storage::Discard, ..RegistryOptions::default() });
    println!("{}", registry.authority());
    loop {
        std::thread::park();
    }
}
