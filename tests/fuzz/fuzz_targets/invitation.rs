//! Bodies of a SIP peer's INVITE.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| entente_fuzz::interwork::invitation(data));
