//! Datagrams to the name server.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| entente_fuzz::dns::message(data));
