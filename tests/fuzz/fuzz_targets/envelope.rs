//! Bytes on a link between nodes.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| entente_fuzz::cluster::envelope(data));
