//! A client that sends its share of the plan and books acks and bounces.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use entente_load::{Client, ClientError};
use tokio::time::{Instant, sleep_until, timeout};

use super::link::Link;
use super::{Phase, Shared};

/// What one sender has to say, and to whom.
pub(crate) struct Script {
    pair: u64,
    to: String,
    body: String,
}

impl Script {
    pub(crate) fn new(pair: u64, to: &str, body: &str) -> Self {
        Self {
            pair,
            to: to.to_owned(),
            body: body.to_owned(),
        }
    }

    fn message(&self, id: &str) -> Bytes {
        let (to, body) = (&self.to, &self.body);
        Bytes::from(format!(
            "<message to='{to}' type='chat' id='{id}'><body>{body}</body></message>"
        ))
    }
}

/// What is still to be sent.
struct Backlog {
    /// Sent before on a connection that broke.
    again: VecDeque<u64>,
    /// The next number of the plan.
    next: u64,
}

impl Backlog {
    fn pop(&mut self, shared: &Shared, now: Instant) -> Option<u64> {
        if let Some(number) = self.again.pop_front() {
            return Some(number);
        }
        let number = self.next;
        let due = number < shared.plan.messages && shared.plan.due(number) <= now;
        due.then(|| {
            self.next += shared.plan.pairs;
            number
        })
    }

    fn next_due(&self, shared: &Shared) -> Option<Instant> {
        (self.next < shared.plan.messages).then(|| shared.plan.due(self.next))
    }
}

/// Sends until the run is over, through as many connections as it takes.
pub(crate) async fn run(shared: Arc<Shared>, mut link: Link, client: Client, script: Script) {
    let mut phase = shared.phase.clone();
    let mut backlog = Backlog {
        again: VecDeque::new(),
        next: script.pair,
    };
    let mut client = client;
    loop {
        let outcome = tokio::select! {
            outcome = drive(&shared, &link, &mut client, &mut backlog, &script) => Some(outcome),
            _ = phase.wait_for(|p| *p == Phase::Over) => None,
        };
        let Some(Err(error)) = outcome else {
            return client.close().await;
        };
        crate::report::progress(format_args!("{} (sender): {error}", client.jid()));
        // What was acked just before the end counts.
        shared.ledger.acked(&client.take_acked(), Instant::now());
        link.broke(client, &shared.counters);
        let connected = tokio::select! {
            connected = link.reconnect(&shared.counters) => connected,
            _ = phase.wait_for(|p| *p == Phase::Over) => return,
        };
        shared.ledger.acked(&connected.acked, Instant::now());
        // Oldest first, and before anything that is due now.
        for number in connected.resend.into_iter().rev() {
            backlog.again.push_front(number);
        }
        client = connected.client;
    }
}

enum Never {}

async fn drive(
    shared: &Shared,
    link: &Link,
    client: &mut Client,
    backlog: &mut Backlog,
    script: &Script,
) -> Result<Never, ClientError> {
    let patience = link.config().dead_after;
    let mut asked_at = Instant::now();
    loop {
        let now = Instant::now();
        while let Some(number) = backlog.pop(shared, now) {
            shared.ledger.sent(number, now);
            client.queue_stanza(script.message(&shared.ledger.id(number)), number);
        }
        if client.unacked() > 0 && !client.waits_for_ack() {
            client.ask_for_ack();
            asked_at = now;
        }
        timeout(patience, client.flush())
            .await
            .map_err(|_| ClientError::Timeout(patience))??;

        let death = client.waits_for_ack().then(|| asked_at + patience);
        let wake = [backlog.next_due(shared), death]
            .into_iter()
            .flatten()
            .min();
        tokio::select! {
            filled = client.fill() => filled?,
            () = sleep_until(wake.unwrap_or(now + patience)) => {}
        }
        let now = Instant::now();
        let popped = book(shared, client, now);
        shared.ledger.acked(&client.take_acked(), now);
        popped?;
        if client.waits_for_ack() && now >= asked_at + patience {
            return Err(ClientError::Timeout(patience));
        }
    }
}

fn book(shared: &Shared, client: &mut Client, now: Instant) -> Result<(), ClientError> {
    while let Some(stanza) = client.pop()? {
        if stanza.name() == "message" && stanza.raw_attr("type") == Some("error") {
            shared.ledger.bounced(stanza.raw_attr("id"), now);
        }
    }
    Ok(())
}
