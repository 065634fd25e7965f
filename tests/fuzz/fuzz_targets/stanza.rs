//! Bytes of the mesh or the store into a stanza.
#![no_main]

#[path = "../src/xmpp.rs"]
mod xmpp;

libfuzzer_sys::fuzz_target!(|data: &[u8]| xmpp::stanza(data));
