//! Message bodies of a SIP peer: text, HTML, RTF, parts.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| entente_fuzz::interwork::body(data));
