//! Text into URIs, addresses and Vias.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| entente_fuzz::sip::uri(data));
