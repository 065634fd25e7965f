//! Bytes of the mesh or the store into a stanza.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| entente_fuzz::xmpp::stanza(data));
