//! Messages in a closed loop: each sender keeps a fixed number under way to its own receiver.
//!
//! A message counts, and its latency is taken, when the receiver has it: both ends live in this
//! process and share one clock, so nothing has to travel back through the servers.

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use entente_load::histogram::Histogram;
use entente_load::process::Usage;
use entente_load::{Client, ClientError, Stanza};
use serde::Serialize;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::fleet::{Fleet, Greeting};
use crate::options::{Common, FederatedArgs, LocalArgs, LoopArgs};
use crate::report::{Outcome, millis, rounded};

/// What a closed loop gave.
#[derive(Debug, Serialize)]
pub(crate) struct LoopReport {
    kind: &'static str,
    senders: u32,
    window: u32,
    seconds: f64,
    messages: u64,
    messages_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    errors: u64,
    /// Senders and receivers whose connection ended during the run.
    broken: u64,
    /// CPU seconds of the watched processes for each 100,000 messages; absent if none is watched.
    cpu_seconds_per_100k: Option<f64>,
    /// CPU seconds of this generator for each 100,000 messages.
    generator_cpu_seconds_per_100k: f64,
    servers: Usage,
}

impl Outcome for LoopReport {
    fn success(&self) -> bool {
        self.messages > 0 && self.broken == 0
    }
}

impl fmt::Display for LoopReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}x{}: {:.0} messages/s, p50 {:.2} ms, p99 {:.2} ms, max {:.1} ms",
            self.kind,
            self.senders,
            self.window,
            self.messages_per_second,
            self.p50_ms,
            self.p99_ms,
            self.max_ms
        )?;
        if let Some(cpu) = self.cpu_seconds_per_100k {
            write!(
                f,
                ", {cpu:.2} CPU s per 100,000 ({} processes)",
                self.servers.processes
            )?;
        }
        write!(
            f,
            "; generator {:.2} CPU s per 100,000; {} messages in {:.1} s, {} errors, {} broken",
            self.generator_cpu_seconds_per_100k,
            self.messages,
            self.seconds,
            self.errors,
            self.broken
        )
    }
}

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const STOPPED: u8 = 2;

/// Slots for send times, a power of two above the largest window.
const STAMPS: u64 = 2048;

/// What all pairs share.
struct Run {
    phase: AtomicU8,
    epoch: Instant,
    delivered: AtomicU64,
    errors: AtomicU64,
    broken: AtomicU64,
    stopped: Notify,
}

/// What the two ends of a pair share.
struct Pair {
    window: u64,
    delivered: AtomicU64,
    room: Notify,
    stamps: Vec<AtomicU64>,
}

/// Senders on A, receivers on B.
pub(crate) async fn federated(common: &Common, args: &FederatedArgs) -> anyhow::Result<LoopReport> {
    let servers = &args.servers;
    let a = Fleet::new(&servers.a_domain, &servers.a_addr, common);
    let b = Fleet::new(&servers.b_domain, &servers.b_addr, common);
    run("federated", common, &args.shape, &a, &b, 0).await
}

/// Senders and receivers on one server: the receivers' numbers follow the senders'.
pub(crate) async fn local(common: &Common, args: &LocalArgs) -> anyhow::Result<LoopReport> {
    let fleet = Fleet::new(&args.server.domain, &args.server.addr, common);
    run(
        "local",
        common,
        &args.shape,
        &fleet,
        &fleet,
        args.shape.senders,
    )
    .await
}

async fn run(
    kind: &'static str,
    common: &Common,
    shape: &LoopArgs,
    a: &Fleet,
    b: &Fleet,
    first_receiver: u32,
) -> anyhow::Result<LoopReport> {
    let greeting = Greeting {
        presence: true,
        sm: shape.sm,
    };
    let numbers = |first| {
        (first + 1..=first + shape.senders)
            .map(|n| (n, None))
            .collect()
    };
    let receivers = b.log_in(numbers(first_receiver), greeting).await?;
    let senders = a.log_in(numbers(0), greeting).await?;

    let run = Arc::new(Run {
        phase: AtomicU8::new(WARMING),
        epoch: Instant::now(),
        delivered: AtomicU64::new(0),
        errors: AtomicU64::new(0),
        broken: AtomicU64::new(0),
        stopped: Notify::new(),
    });
    let mut histograms = JoinSet::new();
    let mut sending = JoinSet::new();
    for (index, (sender, receiver)) in senders.into_iter().zip(receivers).enumerate() {
        let pair = Arc::new(Pair {
            window: u64::from(shape.window),
            delivered: AtomicU64::new(0),
            room: Notify::new(),
            stamps: (0..STAMPS).map(|_| AtomicU64::new(0)).collect(),
        });
        let to = b.account(first_receiver + index as u32 + 1).bare();
        let message = Template::new(&to, shape.body as usize);
        histograms.spawn(receive(run.clone(), pair.clone(), receiver));
        sending.spawn(send(run.clone(), pair, sender, message, shape.sm));
    }

    sleep(Duration::from_secs_f64(shape.warmup)).await;
    let processes = common.processes();
    let myself = own_process();
    let (cpu, own_cpu) = (processes.cpu_seconds(), myself.cpu_seconds());
    let (begin, before) = (Instant::now(), run.delivered.load(Relaxed));
    run.phase.store(MEASURING, Relaxed);
    let limit = Duration::from_secs_f64(shape.seconds);
    while begin.elapsed() < limit && run.delivered.load(Relaxed) - before < shape.max_messages {
        let left = limit.saturating_sub(begin.elapsed());
        sleep(left.min(Duration::from_millis(20))).await;
    }
    run.phase.store(STOPPED, Relaxed);
    let messages = run.delivered.load(Relaxed) - before;
    let seconds = begin.elapsed().as_secs_f64();
    let cpu = processes.cpu_seconds() - cpu;
    let own_cpu = myself.cpu_seconds() - own_cpu;

    run.stopped.notify_waiters();
    let mut latency = Histogram::default();
    while let Some(histogram) = histograms.join_next().await {
        latency.merge(&histogram?);
    }
    sending.join_all().await;
    let per_100k = |cpu: f64| rounded(cpu * 1e5 / messages.max(1) as f64);
    Ok(LoopReport {
        kind,
        senders: shape.senders,
        window: shape.window,
        seconds: rounded(seconds),
        messages,
        messages_per_second: rounded(messages as f64 / seconds),
        p50_ms: millis(latency.quantile(0.5)),
        p99_ms: millis(latency.quantile(0.99)),
        max_ms: millis(latency.max()),
        errors: run.errors.load(Relaxed),
        broken: run.broken.load(Relaxed),
        cpu_seconds_per_100k: (!processes.is_empty()).then(|| per_100k(cpu)),
        generator_cpu_seconds_per_100k: per_100k(own_cpu),
        servers: processes.usage(),
    })
}

/// This generator, as a process to watch.
pub(crate) fn own_process() -> entente_load::process::ProcessSet {
    entente_load::process::ProcessSet {
        pids: vec![std::process::id()],
        names: Vec::new(),
    }
}

async fn send(run: Arc<Run>, pair: Arc<Pair>, mut client: Client, message: Template, sm: bool) {
    let outcome = send_until_stopped(&run, &pair, &mut client, &message, sm).await;
    finish(&run, client, outcome).await;
}

async fn send_until_stopped(
    run: &Run,
    pair: &Pair,
    client: &mut Client,
    message: &Template,
    sm: bool,
) -> Result<(), ClientError> {
    let mut sent = 0;
    let mut text = String::with_capacity(512);
    loop {
        while sent < pair.delivered.load(Relaxed) + pair.window {
            let now = run.epoch.elapsed().as_nanos() as u64;
            pair.stamps[(sent % STAMPS) as usize].store(now, Relaxed);
            message.write(&mut text, sent);
            client.queue(&text);
            sent += 1;
        }
        if sm {
            client.ask_for_ack();
        }
        client.flush().await?;
        while let Some(stanza) = client.pop()? {
            if stanza.name() == "message" && stanza.raw_attr("type") == Some("error") {
                run.errors.fetch_add(1, Relaxed);
                // A bounced message will not be delivered: its place in the window is free.
                pair.delivered.fetch_add(1, Relaxed);
                pair.room.notify_one();
            }
        }
        let stopped = run.stopped.notified();
        if run.phase.load(Relaxed) == STOPPED {
            return Ok(());
        }
        tokio::select! {
            () = pair.room.notified() => {}
            () = stopped => return Ok(()),
            filled = client.fill() => filled?,
        }
    }
}

async fn receive(run: Arc<Run>, pair: Arc<Pair>, mut client: Client) -> Histogram {
    let mut histogram = Histogram::default();
    let outcome = receive_until_stopped(&run, &pair, &mut client, &mut histogram).await;
    finish(&run, client, outcome).await;
    histogram
}

async fn receive_until_stopped(
    run: &Run,
    pair: &Pair,
    client: &mut Client,
    histogram: &mut Histogram,
) -> Result<(), ClientError> {
    loop {
        let stopped = run.stopped.notified();
        if run.phase.load(Relaxed) == STOPPED {
            return Ok(());
        }
        tokio::select! {
            filled = client.fill() => filled?,
            () = stopped => return Ok(()),
        }
        let now = run.epoch.elapsed();
        let mut count = 0;
        while let Some(stanza) = client.pop()? {
            let Some(number) = message_number(&stanza) else {
                continue;
            };
            count += 1;
            if run.phase.load(Relaxed) == MEASURING {
                let stamp = pair.stamps[(number % STAMPS) as usize].load(Relaxed);
                histogram.record(now.saturating_sub(Duration::from_nanos(stamp)));
            }
        }
        if count > 0 {
            run.delivered.fetch_add(count, Relaxed);
            pair.delivered.fetch_add(count, Relaxed);
            pair.room.notify_one();
        }
    }
}

async fn finish(run: &Run, client: Client, outcome: Result<(), ClientError>) {
    if let Err(error) = outcome {
        run.broken.fetch_add(1, Relaxed);
        crate::report::progress(format_args!("{}: {error}", client.jid()));
        return;
    }
    // Messages still under way are read and dropped, so that no server stores them as offline.
    let _: Result<(), _> = timeout(Duration::from_millis(300), drain(client)).await;
}

async fn drain(mut client: Client) {
    while client.fill().await.is_ok() {
        while let Ok(Some(_)) = client.pop() {}
    }
}

/// The number in the id of one of our messages.
fn message_number(stanza: &Stanza) -> Option<u64> {
    if stanza.name() != "message" {
        return None;
    }
    stanza.raw_attr("id")?.strip_prefix('n')?.parse().ok()
}

/// A message with everything but its number.
struct Template {
    before: String,
    after: String,
}

impl Template {
    fn new(to: &str, body: usize) -> Self {
        Self {
            before: format!("<message to='{to}' type='chat' id='n"),
            after: format!("'><body>{}</body></message>", body_text(body)),
        }
    }

    fn write(&self, text: &mut String, number: u64) {
        text.clear();
        text.push_str(&self.before);
        let _ = write!(text, "{number}");
        text.push_str(&self.after);
    }
}

/// Text of so many bytes.
pub(crate) fn body_text(bytes: usize) -> String {
    "Wherefore art thou Romeo? Deny thy father and refuse thy name, or if thou wilt not, be but sworn. "
        .chars()
        .cycle()
        .take(bytes)
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_message_carries_its_number_and_the_wanted_body() {
        let mut text = String::new();
        Template::new("r@b.example", 120).write(&mut text, 41);
        let stanza = Stanza::from_bytes(text.into()).unwrap();
        assert_eq!(message_number(&stanza), Some(41));
        assert_eq!(stanza.text_of("body").unwrap().len(), 120);
        assert_eq!(stanza.attr("to").as_deref(), Some("r@b.example"));
    }
}
