//! A datagram to the gossip port.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| entente_fuzz::cluster::gossip(data));
