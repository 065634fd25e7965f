//! A steady rate of messages with unique ids, and an account of each, while servers are killed,
//! stopped, cut off and brought back by somebody else.
//!
//! The promise under test: a message that the server acked (XEP-0198) is delivered, bounced, or
//! waits in offline storage. The plan (which message is due when) is fixed at the start, so a
//! server that is down does not lower the count: messages due meanwhile are sent after the
//! reconnect.

mod account;
mod ledger;
mod link;
mod receiver;
mod sender;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::fleet::Fleet;
use crate::options::{Common, SteadyArgs};
use crate::report::progress;
pub(crate) use account::SteadyReport;
use ledger::Ledger;
use link::{Link, LinkConfig};

/// The largest plan: the ledger keeps some 64 bytes for each message.
const MAX_MESSAGES: u64 = 5_000_000;

/// Which message is due when, and who sends it to whom.
struct Plan {
    begin: Instant,
    interval: Duration,
    pairs: u64,
    messages: u64,
}

impl Plan {
    fn due(&self, number: u64) -> Instant {
        self.begin + self.interval.mul_f64(number as f64)
    }

    fn end(&self) -> Instant {
        self.due(self.messages)
    }
}

/// How far the run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    /// Receivers log in anew, without resumption, and fetch what is stored for them.
    FetchingOffline,
    Over,
}

/// Counts of what happened to connections.
#[derive(Debug, Default)]
struct Counters {
    breaks: AtomicU64,
    resumed: AtomicU64,
    bound_anew: AtomicU64,
    failed_attempts: AtomicU64,
    resent: AtomicU64,
}

/// What all tasks of the run share.
struct Shared {
    plan: Plan,
    ledger: Ledger,
    counters: Counters,
    phase: watch::Receiver<Phase>,
}

pub(crate) async fn run(common: &Common, args: &SteadyArgs) -> anyhow::Result<SteadyReport> {
    let messages = (args.rate * args.seconds).round();
    ensure!(
        messages >= 1.0 && messages <= MAX_MESSAGES as f64,
        "--rate times --seconds must be between 1 and {MAX_MESSAGES}"
    );
    let (senders, receivers) = logged_in(common, args).await?;

    let plan = Plan {
        begin: Instant::now(),
        interval: Duration::from_secs_f64(1.0 / args.rate),
        pairs: u64::from(args.senders),
        messages: messages as u64,
    };
    let (phase, watching) = watch::channel(Phase::Running);
    let shared = Arc::new(Shared {
        ledger: Ledger::new(plan.messages, plan.pairs, plan.begin),
        plan,
        counters: Counters::default(),
        phase: watching,
    });
    announce(args)?;
    let mut tasks = JoinSet::new();
    for (index, (link, client)) in senders.into_iter().enumerate() {
        let (domain, number) = receiver_account(args, index as u32);
        let to = format!("{}{number}@{domain}", common.user_prefix);
        let body = crate::closed_loop::body_text(args.body as usize);
        tasks.spawn(sender::run(
            shared.clone(),
            link,
            client,
            sender::Script::new(index as u64, &to, &body),
        ));
    }
    for (link, client) in receivers {
        tasks.spawn(receiver::run(shared.clone(), link, client));
    }

    let settle = Duration::from_secs_f64(args.settle);
    let complete = wait(&shared, shared.plan.end() + settle, args.progress, true).await;
    let offline_from = Instant::now();
    if !complete {
        shared.ledger.begin_offline();
        phase.send_replace(Phase::FetchingOffline);
        wait(&shared, offline_from + settle, args.progress, false).await;
    }
    phase.send_replace(Phase::Over);
    tasks.join_all().await;
    Ok(SteadyReport::new(&shared, args))
}

type Clients = Vec<(Link, entente_load::Client)>;

/// All clients, receivers first, so that no message meets an empty chair. At this stage a refusal
/// ends the run.
async fn logged_in(common: &Common, args: &SteadyArgs) -> anyhow::Result<(Clients, Clients)> {
    let servers = &args.servers;
    let a = Arc::new(Fleet::new(&servers.a_domain, &servers.a_addr, common));
    let b = Arc::new(Fleet::new(&servers.b_domain, &servers.b_addr, common));
    let config = LinkConfig {
        resume: args.resume,
        step_timeout: Duration::from_secs_f64(args.step_timeout),
        retry: Duration::from_secs_f64(args.retry),
        dead_after: Duration::from_secs_f64(args.dead_after),
    };
    let mut all = Vec::new();
    for (fleet, receiving) in [(&b, true), (&a, false)] {
        let mut clients = Vec::new();
        for index in 0..args.senders {
            let number = if receiving {
                receiver_account(args, index).1
            } else {
                index + 1
            };
            let mut link = Link::new(fleet.clone(), number, index as usize, config);
            let client = link
                .first()
                .await
                .with_context(|| format!("{}{number}@{}", common.user_prefix, fleet.domain))?;
            clients.push((link, client));
        }
        all.push(clients);
    }
    let senders = all.pop().unwrap_or_default();
    let receivers = all.pop().unwrap_or_default();
    Ok((senders, receivers))
}

/// On one domain the receivers are the accounts after the senders.
fn receiver_account(args: &SteadyArgs, index: u32) -> (&str, u32) {
    let servers = &args.servers;
    let first = if servers.a_domain == servers.b_domain {
        args.senders
    } else {
        0
    };
    (&servers.b_domain, first + index + 1)
}

fn announce(args: &SteadyArgs) -> anyhow::Result<()> {
    progress(format_args!("all clients are online; sending begins"));
    if let Some(path) = &args.ready_file {
        std::fs::write(path, "ready\n").with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

/// Until nothing is missing (after the plan's end) or the deadline; whether nothing is missing.
async fn wait(shared: &Shared, deadline: Instant, verbose: bool, whole_plan: bool) -> bool {
    let mut tick = Instant::now();
    loop {
        tick += Duration::from_millis(100);
        sleep_until(tick).await;
        let now = Instant::now();
        let since = now.duration_since(shared.plan.begin);
        if verbose && since.as_millis() % 1000 < 100 {
            progress(format_args!(
                "{:4} s  {}",
                since.as_secs(),
                shared.ledger.line()
            ));
        }
        let sent_all = !whole_plan || now >= shared.plan.end();
        if sent_all && shared.ledger.complete() {
            return true;
        }
        if now >= deadline {
            return false;
        }
    }
}

impl Counters {
    fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Relaxed);
    }
}
