//! Bytes of a peer into the framer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| entente_fuzz::xmpp::xml_stream(data));
