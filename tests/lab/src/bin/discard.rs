//! `discard`: a registry on a free port of loopback that computes the digest of every blob and keeps none of its bytes,
//! so that a push of any size can be measured. It tells its HOST:PORT and runs until it is ended.

#![allow(clippy::print_stdout)]

use scar_lab::registry::{LabRegistry, RegistryOptions, Storage};

fn main() {
    let registry = LabRegistry::start(RegistryOptions { storage: Storage::Discard, ..RegistryOptions::default() });
    println!("{}", registry.authority());
    loop {
        std::thread::park();
    }
}
