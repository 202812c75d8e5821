#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| scar_fuzz::manifest(data));
