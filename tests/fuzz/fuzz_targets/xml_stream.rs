//! Bytes of a peer into the framer.
#![no_main]

#[path = "../src/xmpp.rs"]
mod xmpp;

libfuzzer_sys::fuzz_target!(|data: &[u8]| xmpp::xml_stream(data));
