//! The invariants.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use entente_cluster::Lease;
use entente_home_core::{EnvelopeId, SessionKey};

use super::client::MessageId;
use super::membership::node_id;
use super::node::Node;
use super::stage::Stage;

/// A broken invariant.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The seed of the run.
    pub seed: u64,
    /// When, in virtual time.
    pub at: Duration,
    /// What does not hold.
    pub what: String,
    /// What happened last.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        write!(
            f,
            "seed {} after {:.3} s: {}",
            self.seed,
            self.at.as_secs_f64(),
            self.what
        )
    }
}

/// What a run, or many, came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Messages that clients gave to the cluster for the first time.
    pub sent: u64,
    /// Messages acknowledged to their senders.
    pub acked: u64,
    /// Messages that a recipient got.
    pub delivered: u64,
    /// Copies beyond the first of messages that their client sent once.
    pub duplicates: u64,
    /// Copies beyond the first of messages that their client sent again.
    pub client_duplicates: u64,
    /// Messages that came first after a later one of the same sender, on another connection of a
    /// sender without acknowledgements.
    pub reordered: u64,
    /// Messages that the other organisation's server got.
    pub abroad: u64,
    /// Copies beyond the first of these.
    pub abroad_duplicates: u64,
    /// Messages for it that came back as errors.
    pub bounced: u64,
    /// Errors beyond the first for a message.
    pub bounced_again: u64,
    /// Messages that came back as errors and that the server got all the same.
    pub bounced_and_delivered: u64,
}

impl Totals {
    /// Adds another run's.
    pub fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.acked += other.acked;
        self.delivered += other.delivered;
        self.duplicates += other.duplicates;
        self.client_duplicates += other.client_duplicates;
        self.reordered += other.reordered;
        self.abroad += other.abroad;
        self.abroad_duplicates += other.abroad_duplicates;
        self.bounced += other.bounced;
        self.bounced_again += other.bounced_again;
        self.bounced_and_delivered += other.bounced_and_delivered;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |count: u64| 100.0 * count as f64 / self.delivered.max(1) as f64;
        write!(
            f,
            "{} sent, {} acknowledged, {} delivered; twice: {} ({:.3} %), and {} ({:.3} %) that their \
             clients sent again; {} late; abroad {}, twice {} ({:.3} %), bounced {}, again {}, though \
             delivered {}",
            self.sent,
            self.acked,
            self.delivered,
            self.duplicates,
            share(self.duplicates),
            self.client_duplicates,
            share(self.client_duplicates),
            self.reordered,
            self.abroad,
            self.abroad_duplicates,
            100.0 * self.abroad_duplicates as f64 / self.abroad.max(1) as f64,
            self.bounced,
            self.bounced_again,
            self.bounced_and_delivered,
        )
    }
}

/// What it knows of a run.
#[derive(Default)]
pub(crate) struct Checker {
    pub(crate) failure: Option<(Duration, String)>,
    /// A second copy ends the run like a broken invariant: to see where it comes from.
    pub(crate) stop_at_duplicates: bool,
    envelopes: HashMap<EnvelopeId, MessageId>,
    /// The envelopes in which a message came.
    sendings: HashMap<MessageId, Vec<EnvelopeId>>,
    /// How often clients gave a message to the cluster.
    sent: BTreeMap<MessageId, u32>,
    pub(crate) acked: BTreeSet<MessageId>,
    delivered: HashMap<MessageId, u32>,
    bounced: HashSet<MessageId>,
    /// How often the other organisation's server got a message.
    abroad: HashMap<MessageId, u32>,
    /// How often the sender of a message for it was told that it can't have it.
    errors: HashMap<MessageId, u32>,
    /// Which life of a node has answered which envelope with an error.
    answered: HashSet<((usize, u64), EnvelopeId)>,
    /// Clients with acknowledgements: what they did not get one for they send again, in order.
    sends_again: HashSet<usize>,
    seen: HashSet<(SessionKey, EnvelopeId)>,
    order: HashMap<(SessionKey, SessionKey), u64>,
    /// The newest message of each sender that came to each recipient.
    newest: HashMap<(usize, usize), u32>,
    pub(crate) totals: Totals,
}

impl Checker {
    pub(crate) fn new(stop_at_duplicates: bool) -> Self {
        Self {
            stop_at_duplicates,
            ..Self::default()
        }
    }

    pub(crate) fn fail(&mut self, at: Duration, what: String) {
        self.failure.get_or_insert((at, what));
    }

    /// A client's message got its envelope.
    pub(crate) fn accepted(&mut self, envelope: EnvelopeId, message: MessageId) {
        let sendings = self.sendings.entry(message).or_default();
        sendings.push(envelope.clone());
        self.envelopes.insert(envelope, message);
    }

    /// A client gave a message to the cluster, perhaps again.
    pub(crate) fn sent(&mut self, message: MessageId) {
        *self.sent.entry(message).or_default() += 1;
    }

    /// This client sends again what was not acknowledged.
    pub(crate) fn sends_again(&mut self, client: usize) {
        self.sends_again.insert(client);
    }

    pub(crate) fn bounced(&mut self, message: MessageId) {
        self.bounced.insert(message);
    }

    /// It came to its recipient, or, if that is another organisation's, to its server or back.
    pub(crate) fn is_delivered(&self, message: MessageId) -> bool {
        self.delivered.contains_key(&message)
            || self.abroad.contains_key(&message)
            || self.errors.contains_key(&message)
    }

    pub(crate) fn finish(&mut self) {
        let totals = &mut self.totals;
        totals.sent = self.sent.len() as u64;
        totals.acked = self.acked.len() as u64;
        totals.delivered = self.delivered.len() as u64;
        totals.abroad = self.abroad.len() as u64;
        let extra = |counts: &HashMap<MessageId, u32>| -> u64 {
            counts.values().map(|count| u64::from(count - 1)).sum()
        };
        totals.abroad_duplicates = extra(&self.abroad);
        totals.bounced = self.errors.len() as u64;
        totals.bounced_again = extra(&self.errors);
        let both = |message: &&MessageId| self.abroad.contains_key(message);
        totals.bounced_and_delivered = self.errors.keys().filter(both).count() as u64;
        for (message, count) in &self.delivered {
            let extra = u64::from(count - 1);
            if self.sent.get(message).is_some_and(|sent| *sent > 1) {
                totals.client_duplicates += extra;
            } else {
                totals.duplicates += extra;
            }
        }
    }
}

impl Stage {
    /// Whether somebody who survives has the message.
    fn is_safe(&self, message: MessageId) -> bool {
        self.checker.is_delivered(message)
            || self.checker.bounced.contains(&message)
            || self.keeps(message)
    }

    /// Whether the store has the message, in whichever envelope it came.
    fn keeps(&self, message: MessageId) -> bool {
        let sendings = self.checker.sendings.get(&message);
        sendings.is_some_and(|all| all.iter().any(|envelope| self.store.keeps(envelope)))
    }

    /// A client (or its socket, without acks) has a message.
    pub(crate) fn delivered(
        &mut self,
        recipient: usize,
        session: &SessionKey,
        envelope: &EnvelopeId,
        message: MessageId,
    ) {
        let times = self.checker.delivered.entry(message).or_default();
        *times += 1;
        let first = *times == 1;
        if !first && self.checker.stop_at_duplicates {
            self.violated(format!(
                "{message} ({envelope}) comes once more, to {}",
                session.conn
            ));
        }
        let newest = self.checker.newest.entry((message.client, recipient));
        let newest = newest.or_default();
        let late = first && message.number < *newest;
        *newest = message.number.max(*newest);
        if late && self.checker.sends_again.contains(&message.client) {
            self.violated(format!(
                "order: {message} ({envelope}) came after a later one to client {recipient}"
            ));
        } else if late {
            self.checker.totals.reordered += 1;
        }
        self.note(format!("{message} ({envelope}) comes to {}", session.conn));
        if !self
            .checker
            .seen
            .insert((session.clone(), envelope.clone()))
        {
            self.violated(format!(
                "envelope {envelope} came twice to session {session:?}"
            ));
        }
        let pair = (session.clone(), envelope.holder.clone());
        let last = self.checker.order.entry(pair).or_default();
        let before = std::mem::replace(last, envelope.seq.max(*last));
        if envelope.seq < before {
            self.violated(format!(
                "order: envelope {envelope} ({message}) came after number {before} to {session:?}"
            ));
        }
    }

    /// The other organisation's server has a message.
    pub(crate) fn delivered_abroad(&mut self, message: MessageId, recipient: usize) {
        let times = self.checker.abroad.entry(message).or_default();
        *times += 1;
        let first = *times == 1;
        // Its users stand behind ours.
        let pair = (message.client, usize::MAX - recipient);
        let newest = self.checker.newest.entry(pair).or_default();
        // What came back as an error and is said again is said later.
        let again = self.checker.errors.contains_key(&message);
        let late = first && !again && message.number < *newest;
        *newest = message.number.max(*newest);
        self.note(format!("{message} comes to x{recipient} abroad"));
        if late && self.checker.sends_again.contains(&message.client) {
            self.violated(format!(
                "order: {message} came after a later one to x{recipient} abroad"
            ));
        } else if late {
            self.checker.totals.reordered += 1;
        }
    }

    /// The sender of a message for the other organisation gets an error.
    pub(crate) fn bounced_abroad(
        &mut self,
        life: (usize, u64),
        envelope: Option<&EnvelopeId>,
        message: MessageId,
    ) {
        *self.checker.errors.entry(message).or_default() += 1;
        self.note(format!(
            "{message} ({envelope:?}) is answered with an error"
        ));
        let Some(envelope) = envelope else { return };
        if !self.checker.answered.insert((life, envelope.clone())) {
            self.violated(format!(
                "n{} answers {envelope} ({message}) with an error once more",
                life.0
            ));
        }
    }

    /// A home says that custody of this envelope ends.
    pub(crate) fn receipted(&mut self, home: usize, envelope: &EnvelopeId) {
        let Some(&message) = self.checker.envelopes.get(envelope) else {
            return;
        };
        if !self.is_safe(message) {
            self.violated(format!(
                "n{home} gave a receipt for {envelope} ({message}), which nobody has"
            ));
        }
    }

    /// The store forgets a message.
    pub(crate) fn removed(&mut self, envelope: &EnvelopeId) {
        let Some(&message) = self.checker.envelopes.get(envelope) else {
            return;
        };
        if !self.checker.is_delivered(message) && !self.keeps(message) {
            self.violated(format!(
                "{envelope} ({message}) was removed from the store and nobody has it"
            ));
        }
    }

    /// A node acknowledges to a client.
    pub(crate) fn acknowledged(&mut self, node: usize, messages: &[(MessageId, EnvelopeId)]) {
        for (message, envelope) in messages {
            if !self.is_safe(*message) {
                self.violated(format!(
                    "n{node} acknowledged {envelope} ({message}), which nobody has"
                ));
            }
            self.checker.acked.insert(*message);
        }
        // Whatever the fence believes: the renewal was committed then.
        let renewed = self.store.renewed.get(&node).copied();
        if renewed.is_none_or(|(at, _)| self.now - at >= Duration::from_secs(4)) {
            self.violated(format!(
                "n{node} acknowledges without a lease renewed in 4 s"
            ));
        }
    }
}

/// Nobody who has read the last renewal of a node that may acknowledge has given up its lease.
pub(crate) fn check_fences(stage: &mut Stage, nodes: &[Option<Node>]) {
    let now = stage.now;
    for (index, node) in nodes.iter().enumerate() {
        let Some(node) = node.as_ref().filter(|_| stage.lives[index].up) else {
            continue;
        };
        if !node.membership.fence.may_ack(now) {
            continue;
        }
        for (other, observer) in nodes.iter().enumerate() {
            let Some(observer) = observer.as_ref().filter(|_| other != index) else {
                continue;
            };
            let lease = observer
                .membership
                .leases
                .lease(&node_id(index), node.generation);
            let read = stage.store.renewed.get(&index);
            let read = read.is_some_and(|(_, at)| *at <= observer.leases_from);
            if lease == Lease::Stale && read {
                stage.violated(format!(
                    "n{index} may acknowledge while n{other} has given up its lease"
                ));
            }
        }
    }
}
