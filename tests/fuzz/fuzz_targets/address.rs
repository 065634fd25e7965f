//! Addresses in headers and documents of a SIP peer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| entente_fuzz::interwork::address(data));
