//! End to end: real nodes as processes on loopback addresses, real clients and real servers of
//! other makes around them.
//!
//! Nothing is built here. The program under test is the one that `ENTENTE_BIN` names, else
//! `entente` in the target folder that this test was built into. Each test function owns a set of
//! processes on addresses of its own (127.61.x.y, ports as in production), so that they may run at
//! the same time and under any test runner; its cases share these processes.
//! `E2E_ONLY=word` runs only the cases with this word in their name; `E2E_KEEP=1` keeps the folders.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    unreachable_pub,
    missing_docs
)]
#![allow(
    clippy::disallowed_methods,
    reason = "a test of whole processes is a shell: it reads the clock"
)]

mod bad_input;
mod clients;
mod cluster;
mod configuration;
mod federation;
mod harness;
mod single;
mod sip;
