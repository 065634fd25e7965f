//! Presence broadcast in a closed loop: each user changes its presence again as soon as all its
//! contacts have heard of the last change.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use entente_load::histogram::Histogram;
use entente_load::{Client, ClientError, Stanza};
use serde::Serialize;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::fleet::{Fleet, Greeting};
use crate::options::{Common, PresenceArgs};
use crate::report::{Outcome, millis, rounded};

/// How long the contacts may take to subscribe to each other.
const SUBSCRIBING: Duration = Duration::from_secs(120);

/// What broadcasting presence gave.
#[derive(Debug, Serialize)]
pub(crate) struct PresenceReport {
    users: u32,
    contacts: u32,
    seconds: f64,
    deliveries: u64,
    deliveries_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    cpu_seconds_per_100k: Option<f64>,
    broken: usize,
}

impl Outcome for PresenceReport {
    fn success(&self) -> bool {
        self.deliveries > 0 && self.broken == 0
    }
}

impl fmt::Display for PresenceReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "presence, {} users with {} contacts: {:.0} deliveries/s, p50 {:.2} ms, p99 {:.2} ms",
            self.users, self.contacts, self.deliveries_per_second, self.p50_ms, self.p99_ms
        )?;
        match self.cpu_seconds_per_100k {
            Some(cpu) => write!(f, ", {cpu:.2} CPU s per 100,000 deliveries"),
            None => Ok(()),
        }
    }
}

/// The broadcasts of one user.
struct Broadcaster {
    heard: AtomicU64,
    contacts: u64,
    window: u64,
    room: Notify,
    stamps: Vec<AtomicU64>,
}

struct Run {
    epoch: Instant,
    measuring: AtomicBool,
    deliveries: AtomicU64,
    broadcasters: Vec<Broadcaster>,
    prefix: String,
}

pub(crate) async fn run(common: &Common, args: &PresenceArgs) -> anyhow::Result<PresenceReport> {
    ensure!(
        args.contacts < args.users && args.contacts.is_multiple_of(2),
        "--contacts must be even and below --users"
    );
    let fleet = Fleet::new(&args.server.domain, &args.server.addr, common);
    let greeting = Greeting {
        presence: true,
        sm: false,
    };
    let who = (1..=args.users).map(|n| (n, None)).collect();
    let clients = fleet.log_in(who, greeting).await?;
    let clients = befriend(&fleet, clients, args).await?;

    let run = Arc::new(Run {
        epoch: Instant::now(),
        measuring: AtomicBool::new(false),
        deliveries: AtomicU64::new(0),
        broadcasters: (0..args.users)
            .map(|_| Broadcaster {
                heard: AtomicU64::new(0),
                contacts: u64::from(args.contacts),
                window: u64::from(args.window),
                room: Notify::new(),
                stamps: (0..256).map(|_| AtomicU64::new(0)).collect(),
            })
            .collect(),
        prefix: common.user_prefix.clone(),
    });
    let stop = Arc::new(Notify::new());
    let mut tasks = JoinSet::new();
    for (index, client) in clients.into_iter().enumerate() {
        tasks.spawn(broadcast(run.clone(), stop.clone(), index, client));
    }
    sleep(Duration::from_secs_f64(args.warmup)).await;
    let processes = common.processes();
    let (cpu, before) = (processes.cpu_seconds(), run.deliveries.load(Relaxed));
    let begin = Instant::now();
    run.measuring.store(true, Relaxed);
    sleep(Duration::from_secs_f64(args.seconds)).await;
    run.measuring.store(false, Relaxed);
    let deliveries = run.deliveries.load(Relaxed) - before;
    let seconds = begin.elapsed().as_secs_f64();
    let cpu = processes.cpu_seconds() - cpu;
    stop.notify_waiters();

    let mut latency = Histogram::default();
    let mut broken = 0;
    while let Some(done) = tasks.join_next().await {
        let (histogram, outcome) = done?;
        latency.merge(&histogram);
        broken += usize::from(outcome.is_err());
    }
    Ok(PresenceReport {
        users: args.users,
        contacts: args.contacts,
        seconds: rounded(seconds),
        deliveries,
        deliveries_per_second: rounded(deliveries as f64 / seconds),
        p50_ms: millis(latency.quantile(0.5)),
        p99_ms: millis(latency.quantile(0.99)),
        cpu_seconds_per_100k: (!processes.is_empty())
            .then(|| rounded(cpu * 1e5 / deliveries.max(1) as f64)),
        broken,
    })
}

/// Makes every user a mutual contact of its neighbours on a ring, where it is not yet.
async fn befriend(
    fleet: &Fleet,
    clients: Vec<Client>,
    args: &PresenceArgs,
) -> anyhow::Result<Vec<Client>> {
    let mut tasks = JoinSet::new();
    for (index, client) in clients.into_iter().enumerate() {
        let half = args.contacts / 2;
        let contacts: Vec<String> = (1..=half)
            .flat_map(|d| [d, args.users - d])
            .map(|d| fleet.account((index as u32 + d) % args.users + 1).bare())
            .collect();
        tasks.spawn(async move { (index, subscribe(client, contacts).await) });
    }
    let mut done = Vec::new();
    let all = async {
        while let Some(joined) = tasks.join_next().await {
            let (index, client) = joined?;
            done.push((index, client?));
        }
        anyhow::Ok(())
    };
    timeout(SUBSCRIBING, all)
        .await
        .with_context(|| format!("mutual subscriptions within {SUBSCRIBING:?}"))??;
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, client)| client).collect())
}

/// Subscribes to the contacts, accepts whoever asks, until the roster says `both` for all.
async fn subscribe(mut client: Client, contacts: Vec<String>) -> anyhow::Result<Client> {
    let mut asked = false;
    loop {
        let roster = client
            .iq(
                "get",
                "",
                "<query xmlns='jabber:iq:roster'/>",
                Duration::from_secs(30),
            )
            .await?;
        if roster.raw_attr("type") != Some("result") {
            bail!("roster refused: {roster}");
        }
        let missing: Vec<&String> = contacts
            .iter()
            .filter(|contact| !is_mutual(&roster, contact))
            .collect();
        if missing.is_empty() {
            return Ok(client);
        }
        if !asked {
            for contact in missing {
                client.queue(&format!("<presence to='{contact}' type='subscribe'/>"));
            }
            asked = true;
        }
        let until = Instant::now() + Duration::from_millis(300);
        while let Ok(stanza) = tokio::time::timeout_at(until, client.recv()).await {
            let stanza = stanza?;
            if stanza.name() == "presence" && stanza.raw_attr("type") == Some("subscribe") {
                let from = stanza.raw_attr("from").unwrap_or_default().to_owned();
                client.queue(&format!("<presence to='{from}' type='subscribed'/>"));
            }
        }
    }
}

fn is_mutual(roster: &Stanza, contact: &str) -> bool {
    let mut rest = Some(roster.clone());
    while let Some(item) = rest.and_then(|r| r.find("item")) {
        if item.raw_attr("jid") == Some(contact) {
            return item.raw_attr("subscription") == Some("both");
        }
        rest = Some(item);
    }
    false
}

async fn broadcast(
    run: Arc<Run>,
    stop: Arc<Notify>,
    index: usize,
    mut client: Client,
) -> (Histogram, Result<(), ClientError>) {
    let mut histogram = Histogram::default();
    let outcome = tokio::select! {
        outcome = broadcast_on(&run, index, &mut client, &mut histogram) => outcome,
        () = stop.notified() => Ok(()),
    };
    (histogram, outcome)
}

async fn broadcast_on(
    run: &Run,
    index: usize,
    client: &mut Client,
    histogram: &mut Histogram,
) -> Result<(), ClientError> {
    let mine = &run.broadcasters[index];
    let mut sent = 0;
    loop {
        while sent < mine.heard.load(Relaxed) / mine.contacts + mine.window {
            let now = run.epoch.elapsed().as_nanos() as u64;
            mine.stamps[(sent % 256) as usize].store(now, Relaxed);
            client.queue(&format!(
                "<presence><show>away</show><status>n{sent}</status></presence>"
            ));
            sent += 1;
        }
        client.flush().await?;
        let now = run.epoch.elapsed();
        while let Some(stanza) = client.pop()? {
            let Some((from, number)) = change(run, &stanza).filter(|(from, _)| *from != index)
            else {
                continue;
            };
            let theirs = &run.broadcasters[from];
            run.deliveries.fetch_add(1, Relaxed);
            if run.measuring.load(Relaxed) {
                let stamp = theirs.stamps[(number % 256) as usize].load(Relaxed);
                histogram.record(now.saturating_sub(Duration::from_nanos(stamp)));
            }
            let heard = theirs.heard.fetch_add(1, Relaxed) + 1;
            if heard.is_multiple_of(theirs.contacts) {
                theirs.room.notify_one();
            }
        }
        tokio::select! {
            () = mine.room.notified() => {}
            filled = client.fill() => filled?,
        }
    }
}

/// Whose change this is (index), and which.
fn change(run: &Run, stanza: &Stanza) -> Option<(usize, u64)> {
    if stanza.name() != "presence" {
        return None;
    }
    let number = stanza.text_of("status")?.strip_prefix('n')?.parse().ok()?;
    let from = stanza.raw_attr("from")?.strip_prefix(&run.prefix)?;
    let user: usize = from[..from.find('@')?].parse().ok()?;
    let index = user.checked_sub(1)?;
    (index < run.broadcasters.len()).then_some((index, number))
}
