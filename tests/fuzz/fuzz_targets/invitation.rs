//! Bodies of INVITEs.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| entente_fuzz::sip::invitation(data));
