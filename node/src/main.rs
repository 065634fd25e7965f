//! `entente`: one program, every node of a cluster.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod admin;
mod app;
mod cli;
mod client;
mod clock;
mod commands;
mod config;
mod dns;
mod drain;
mod fabric;
mod gateway;
mod lease;
mod logging;
mod net;
mod phase;
mod secrets;
mod sip;
mod storage;
mod tls;
mod xmpp;

use std::process::ExitCode;

use clap::Parser;

/// The C library's allocator costs a static program a tenth of its time under load.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before anything can want TLS: one provider for the whole process.
    let _second = rustls::crypto::ring::default_provider().install_default();
    let cli = cli::Cli::parse();
    match commands::run(cli) {
        Ok(code) => code,
        Err(error) => {
            commands::complain(&error);
            ExitCode::FAILURE
        }
    }
}
