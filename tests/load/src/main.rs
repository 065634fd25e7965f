//! Load generator: drives XMPP servers through clients, and SIP servers as their peer, and reports rates, latencies, CPU,
//! memory, and what became of every message.

mod closed_loop;
mod fleet;
mod idle;
mod login;
mod options;
mod presence;
mod report;
mod sip_texts;
mod steady;

use std::process::ExitCode;

use clap::Parser;

use crate::options::{Command, Options};

fn main() -> ExitCode {
    let options = Options::parse();
    let mut runtime = match options.threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        threads => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(threads);
            builder
        }
    };
    let outcome = runtime
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run(options)));
    match outcome {
        Ok(code) => code,
        Err(error) => {
            report::complain(&error);
            ExitCode::from(2)
        }
    }
}

async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let common = options.common;
    match options.command {
        Command::Federated(args) => {
            let report = closed_loop::federated(&common, &args).await?;
            report::publish(&common, &report)
        }
        Command::Local(args) => {
            let report = closed_loop::local(&common, &args).await?;
            report::publish(&common, &report)
        }
        Command::Presence(args) => {
            let report = presence::run(&common, &args).await?;
            report::publish(&common, &report)
        }
        Command::Idle(args) => report::publish(&common, &idle::run(&common, &args).await?),
        Command::Login(args) => report::publish(&common, &login::run(&common, &args).await?),
        Command::Sip(args) => report::publish(&common, &sip_texts::run(&common, &args).await?),
        Command::Steady(args) => {
            let report = Box::pin(steady::run(&common, &args)).await?;
            report::publish(&common, &report)
        }
    }
}
