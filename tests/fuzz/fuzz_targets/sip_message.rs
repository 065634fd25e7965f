//! Bytes of a SIP peer into the framer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| entente_fuzz::sip::message(data));
