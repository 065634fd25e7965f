//! Instant messages over SIP in a closed loop: pager-mode MESSAGE through a relay to ourselves, or
//! MESSAGE in sessions to a gateway whose users we are, too.
//!
//! A text counts when its 200 is there, and its latency is that of the transaction: the code is what
//! the sender's user is shown.

mod receivers;
mod sender;
mod sink;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use entente_load::histogram::Histogram;
use entente_load::process::Usage;
use entente_load::sip::{Identity, client_config, server_config};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::closed_loop::own_process;
use crate::options::{Common, SipArgs, SipMode};
use crate::report::{Outcome, millis, rounded};
use sender::Sender;

/// What a run gave.
#[derive(Debug, Serialize)]
pub(crate) struct SipReport {
    mode: &'static str,
    senders: u32,
    window: u32,
    connections: u32,
    seconds: f64,
    messages: u64,
    messages_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// Texts that were answered with something else than 200.
    refused: u64,
    /// Connections that ended during the run.
    broken: u64,
    /// Texts that arrived at the sink, or at the XMPP clients.
    received: u64,
    /// CPU seconds of the watched processes for each 100,000 texts; absent if none is watched.
    cpu_seconds_per_100k: Option<f64>,
    /// CPU seconds of this generator for each 100,000 texts.
    generator_cpu_seconds_per_100k: f64,
    servers: Usage,
}

impl Outcome for SipReport {
    fn success(&self) -> bool {
        self.messages > 0 && self.broken == 0 && self.refused == 0
    }
}

impl fmt::Display for SipReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SIP {} {}x{} on {} connections: {:.0} texts/s, p50 {:.2} ms, p99 {:.2} ms, max {:.1} ms",
            self.mode,
            self.senders,
            self.window,
            self.connections,
            self.messages_per_second,
            self.p50_ms,
            self.p99_ms,
            self.max_ms
        )?;
        if let Some(cpu) = self.cpu_seconds_per_100k {
            let count = self.servers.processes;
            write!(f, ", {cpu:.2} CPU s per 100,000 ({count} processes)")?;
        }
        write!(
            f,
            "; generator {:.2} CPU s per 100,000; {} texts in {:.1} s, {} received in all, {} refused, {} broken",
            self.generator_cpu_seconds_per_100k,
            self.messages,
            self.seconds,
            self.received,
            self.refused,
            self.broken
        )
    }
}

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const STOPPED: u8 = 2;

/// What all tasks share.
pub(crate) struct Run {
    phase: AtomicU8,
    answered: AtomicU64,
    refused: AtomicU64,
    received: AtomicU64,
    broken: AtomicU64,
}

impl Run {
    fn is(&self, phase: u8) -> bool {
        self.phase.load(Relaxed) == phase
    }

    /// A connection ended.
    fn broke(&self, what: &str, error: &dyn fmt::Display) {
        if !self.is(STOPPED) {
            self.broken.fetch_add(1, Relaxed);
            crate::report::progress(format_args!("{what}: {error}"));
        }
    }
}

/// Runs it.
pub(crate) async fn run(common: &Common, args: &SipArgs) -> anyhow::Result<SipReport> {
    let identity = Identity {
        ca: args.ca_file.clone(),
        certificate: args.certificate.clone(),
        key: args.key.clone(),
    };
    let run = Arc::new(Run {
        phase: AtomicU8::new(WARMING),
        answered: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        received: AtomicU64::new(0),
        broken: AtomicU64::new(0),
    });
    let mut side = JoinSet::new();
    sink::listen(&mut side, &run, args.own_address, server_config(&identity)?).await?;
    if args.mode == SipMode::Session {
        receivers::log_in(&mut side, &run, common, args).await?;
    }
    let tls = client_config(&identity)?;
    let mut senders = JoinSet::new();
    for number in 0..args.connections.min(args.senders) {
        let sender = Sender::connect(&run, args, tls.clone(), number).await?;
        senders.spawn(sender.run());
    }

    sleep(Duration::from_secs_f64(args.warmup)).await;
    let (processes, myself) = (common.processes(), own_process());
    let (cpu, own_cpu) = (processes.cpu_seconds(), myself.cpu_seconds());
    let (begin, before) = (Instant::now(), run.answered.load(Relaxed));
    run.phase.store(MEASURING, Relaxed);
    sleep(Duration::from_secs_f64(args.seconds)).await;
    run.phase.store(STOPPED, Relaxed);
    let messages = run.answered.load(Relaxed) - before;
    let seconds = begin.elapsed().as_secs_f64();
    let cpu = processes.cpu_seconds() - cpu;
    let own_cpu = myself.cpu_seconds() - own_cpu;

    let mut latency = Histogram::default();
    while let Some(histogram) = senders.join_next().await {
        latency.merge(&histogram?);
    }
    side.shutdown().await;
    let per_100k = |cpu: f64| rounded(cpu * 1e5 / messages.max(1) as f64);
    Ok(SipReport {
        mode: args.mode.name(),
        senders: args.senders,
        window: args.window,
        connections: args.connections,
        seconds: rounded(seconds),
        messages,
        messages_per_second: rounded(messages as f64 / seconds),
        p50_ms: millis(latency.quantile(0.5)),
        p99_ms: millis(latency.quantile(0.99)),
        max_ms: millis(latency.max()),
        refused: run.refused.load(Relaxed),
        broken: run.broken.load(Relaxed),
        received: run.received.load(Relaxed),
        cpu_seconds_per_100k: (!processes.is_empty()).then(|| per_100k(cpu)),
        generator_cpu_seconds_per_100k: per_100k(own_cpu),
        servers: processes.usage(),
    })
}
