//! Messages with ids between two users whose connections may break at any time, and the account of
//! what became of each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use entente_load::{Client, ClientError, Login, Stanza};
use tokio::sync::watch;

use crate::harness::{Cluster, Node};

/// Between two messages.
const PERIOD: Duration = Duration::from_millis(10);

/// Messages that may be on the receiver's stream without its ack: 10 ms apart, on a slow machine.
const UNACKED_AT_A_BREAK: usize = 8;

/// Shared between sender, receiver and the test.
#[derive(Default)]
struct Book {
    /// Message number → how often it came.
    received: BTreeMap<u64, u32>,
    /// Sent a second time by the client itself, after its connection broke: may come twice.
    resent: BTreeSet<u64>,
    acked: BTreeSet<u64>,
    bounced: BTreeSet<u64>,
    /// When the sender had an ack last.
    last_ack: Option<Instant>,
    /// The longest time between two acks.
    longest_gap: Duration,
}

/// A running flow of messages.
pub struct Traffic {
    book: Arc<Mutex<Book>>,
    sent: watch::Receiver<u64>,
    stop: watch::Sender<bool>,
    sender: tokio::task::JoinHandle<()>,
    receiver: tokio::task::JoinHandle<()>,
}

/// What became of the messages.
#[derive(Debug)]
pub struct Outcome {
    pub acked: usize,
    pub lost: Vec<u64>,
    /// Came twice though the client sent them once.
    pub doubled: Vec<u64>,
    /// Came twice, for whatever reason.
    pub twice: usize,
    pub bounced: Vec<u64>,
    pub longest_gap: Duration,
}

impl Traffic {
    /// Starts to send from `sender`, connected to `from`, to `receiver`, connected to `to`; each
    /// takes another node when its own breaks.
    pub async fn start(
        cluster: &Cluster,
        sender: (&Login, &Node),
        receiver: (&Login, &Node),
    ) -> Self {
        let book = Arc::new(Mutex::new(Book::default()));
        let (stop, stopped) = watch::channel(false);
        let (progress, mut sent) = watch::channel(0);
        let (ready, mut is_ready) = watch::channel(false);
        let order = |first: &Node| {
            let start = cluster
                .nodes
                .iter()
                .position(|node| node.name == first.name)
                .unwrap();
            let count = cluster.nodes.len();
            (0..count)
                .map(|n| Arc::clone(&cluster.nodes[(start + n) % count]))
                .collect::<Vec<_>>()
        };
        let receiving = receive(
            order(receiver.1),
            receiver.0.clone(),
            Arc::clone(&book),
            ready,
        );
        let receiving = tokio::spawn(receiving);
        is_ready.wait_for(|ready| *ready).await.unwrap();
        let to = receiver.0.bare();
        let sending = send(
            order(sender.1),
            sender.0.clone(),
            to,
            Arc::clone(&book),
            progress,
            stopped,
        );
        let sending = tokio::spawn(sending);
        sent.wait_for(|sent| *sent >= 50).await.unwrap();
        Self {
            book,
            sent,
            stop,
            sender: sending,
            receiver: receiving,
        }
    }

    /// Waits until this many more messages were sent.
    pub async fn more(&mut self, count: u64) {
        let wanted = *self.sent.borrow() + count;
        self.sent.wait_for(|sent| *sent >= wanted).await.unwrap();
    }

    /// Waits until a message that was sent after this call is acked, and received.
    pub async fn flows(&mut self) {
        let next = *self.sent.borrow() + 1;
        crate::harness::eventually("messages flow again", Duration::from_secs(30), || async {
            let book = self.book.lock().unwrap();
            let acked = book.acked.range(next..).next().is_some();
            (acked && book.received.range(next..).next().is_some()).then_some(())
        })
        .await;
    }

    /// Stops sending, waits until everything sent is acked and everything acked is there, and
    /// tells.
    pub async fn finish(self) -> Outcome {
        self.stop.send_replace(true);
        crate::harness::within(
            "acks for everything sent",
            Duration::from_secs(40),
            self.sender,
        )
        .await
        .unwrap();
        let missing = || {
            let book = self.book.lock().unwrap();
            book.acked
                .iter()
                .filter(|id| !book.received.contains_key(id))
                .copied()
                .collect::<Vec<_>>()
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while !missing().is_empty() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.receiver.abort();
        let lost = missing();
        let book = self.book.lock().unwrap();
        Outcome {
            acked: book.acked.len(),
            lost,
            doubled: book
                .received
                .iter()
                .filter(|(id, times)| **times > 1 && !book.resent.contains(id))
                .map(|(id, _)| *id)
                .collect(),
            twice: book.received.values().filter(|times| **times > 1).count(),
            bounced: book.bounced.iter().copied().collect(),
            longest_gap: book.longest_gap,
        }
    }
}

impl Outcome {
    /// Nothing failed, so nothing is lost, comes back or comes twice.
    pub fn check_strictly(&self) {
        self.check();
        assert_eq!(self.twice, 0, "came twice: {self:?}");
    }

    /// Every acked message came; hardly any came twice: what the receiver's client had and had not
    /// acked when its connection broke must come again (XEP-0198 section 5), and that is all.
    pub fn check(&self) {
        assert!(self.acked > 100, "too few: {self:?}");
        assert!(self.lost.is_empty(), "acked and lost: {self:?}");
        let allowed = (self.acked / 1000).max(UNACKED_AT_A_BREAK);
        assert!(
            self.doubled.len() <= allowed,
            "too many came twice: {self:?}"
        );
        assert!(self.bounced.is_empty(), "bounced: {self:?}");
    }
}

/// A session at the first of `nodes` that gives one; tries until it works.
async fn connect(nodes: &[Arc<Node>], login: &Login) -> Client {
    loop {
        for node in nodes {
            let mut endpoint = node.clients();
            endpoint.step_timeout = Duration::from_secs(3);
            let session = async {
                let mut client = Client::session(&endpoint, login).await?;
                client.enable_sm(false).await?;
                Ok::<_, ClientError>(client)
            };
            if let Ok(client) = session.await {
                return client;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn receive(
    nodes: Vec<Arc<Node>>,
    login: Login,
    book: Arc<Mutex<Book>>,
    ready: watch::Sender<bool>,
) {
    loop {
        let mut client = connect(&nodes, &login).await;
        if client.send("<presence/>").await.is_err() {
            continue;
        }
        while let Ok(stanza) = client.recv().await {
            if stanza.is("presence") {
                ready.send_replace(true);
            }
            if let Some(id) = number(&stanza) {
                *book.lock().unwrap().received.entry(id).or_default() += 1;
            }
        }
    }
}

async fn send(
    nodes: Vec<Arc<Node>>,
    login: Login,
    to: String,
    book: Arc<Mutex<Book>>,
    progress: watch::Sender<u64>,
    stop: watch::Receiver<bool>,
) {
    let mut waiting = BTreeSet::new();
    let mut next = 0;
    loop {
        let mut client = connect(&nodes, &login).await;
        book.lock().unwrap().resent.extend(&waiting);
        for &id in &waiting {
            client.queue_stanza(message(&to, id), id);
        }
        let broken = run(
            &mut client,
            &to,
            &mut waiting,
            &mut next,
            &book,
            &progress,
            &stop,
        )
        .await;
        if broken.is_ok() {
            client.close().await;
            return;
        }
    }
}

async fn run(
    client: &mut Client,
    to: &str,
    waiting: &mut BTreeSet<u64>,
    next: &mut u64,
    book: &Mutex<Book>,
    progress: &watch::Sender<u64>,
    stop: &watch::Receiver<bool>,
) -> Result<(), ClientError> {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let stopping = *stop.borrow();
                if stopping && waiting.is_empty() {
                    return Ok(());
                }
                if !stopping && waiting.len() < 200 {
                    client.queue_stanza(message(to, *next), *next);
                    waiting.insert(*next);
                    *next += 1;
                    progress.send_replace(*next);
                }
                client.ask_for_ack();
                client.flush().await?;
            }
            filled = client.fill() => filled?,
        }
        let popped = loop {
            match client.pop() {
                Ok(Some(stanza)) => {
                    if let Some(id) = number(&stanza) {
                        book.lock().unwrap().bounced.insert(id);
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        // What was acked before the stream's end counts.
        let acked = client.take_acked();
        if !acked.is_empty() {
            let mut book = book.lock().unwrap();
            let now = Instant::now();
            let gap = book
                .last_ack
                .replace(now)
                .map_or(Duration::ZERO, |last| now - last);
            book.longest_gap = book.longest_gap.max(gap);
            for id in acked {
                waiting.remove(&id);
                book.acked.insert(id);
            }
        }
        popped?;
    }
}

fn message(to: &str, id: u64) -> Bytes {
    Bytes::from(format!(
        "<message to='{to}' type='chat' id='n{id}'><body>{id}</body></message>"
    ))
}

fn number(stanza: &Stanza) -> Option<u64> {
    if !stanza.is("message") {
        return None;
    }
    stanza.raw_attr("id")?.strip_prefix('n')?.parse().ok()
}
