//! Two of our nodes over a network that loses, delays and reorders datagrams, on virtual time. All chance
//! comes from one seed: a failure prints it and comes again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{read, start};
use crate::draft::Draft;
use crate::generator::Generator;
use crate::message::Message;
use crate::owner::{Owner, OwnerKey};
use crate::reply::Reply;
use crate::transaction::{
    ClientToken, ConnectionId, Failure, Flow, Input, Output, ServerId, Timing, TransactionConfig,
    TransactionLimits, Transactions,
};
use crate::via::Transport;

/// Runs a story for many seeds and names the one that fails. `SIP_SEED=7` runs that one, `SIP_SEEDS=5000`
/// as many.
pub(crate) fn seeds(usual: u64, run: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let (first, count) = match number("SIP_SEED") {
        Some(seed) => (seed, 1),
        None => (0, number("SIP_SEEDS").unwrap_or(usual)),
    };
    for seed in first..first + count {
        let result = std::panic::catch_unwind(|| run(seed));
        assert!(result.is_ok(), "SIP_SEED={seed}");
    }
}

/// What a user of transactions wants.
pub(crate) enum Act {
    Send(ClientToken, Draft),
    Ack(Draft),
    Cancel(ClientToken),
    Respond(ServerId, Reply),
}

/// One side's user of transactions.
pub(crate) trait User {
    fn request(&mut self, now: Instant, id: ServerId, message: Message);
    fn one_way(&mut self, now: Instant, message: Message);
    fn cancelled(&mut self, now: Instant, id: ServerId);
    fn response(&mut self, now: Instant, token: ClientToken, message: Message);
    fn failed(&mut self, now: Instant, token: ClientToken, failure: Failure);
    fn timeout(&mut self, now: Instant);
    fn next(&self) -> Option<Instant>;
    fn acts(&mut self, now: Instant) -> Vec<Act>;
}

/// Two sides and what is between them.
pub(crate) struct World<A, B> {
    pub(crate) now: Instant,
    pub(crate) a: A,
    pub(crate) b: B,
    pub(crate) random: Generator,
    /// Datagrams lost, of a hundred.
    pub(crate) loss: u64,
    tables: [Transactions; 2],
    wire: BTreeMap<(Instant, u64), (usize, Bytes)>,
    sent: u64,
}

const FLOW: Flow = Flow {
    connection: ConnectionId(1),
    transport: Transport::Udp,
};

impl<A: User, B: User> World<A, B> {
    pub(crate) fn new(a: A, b: B, seed: u64) -> Self {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let mut random = Generator::new(bytes);
        let mut table = |name: &str| {
            let config = TransactionConfig {
                host: format!("{name}.example").into(),
                port: None,
                owner: Owner::new(name).unwrap(),
                key: OwnerKey::new(name.as_bytes()),
                timing: Timing::default(),
                limits: TransactionLimits::default(),
            };
            Transactions::new(config, [random.number() as u8; 16])
        };
        let tables = [table("a"), table("b")];
        Self {
            now: start(),
            a,
            b,
            random,
            loss: 20,
            tables,
            wire: BTreeMap::new(),
            sent: 0,
        }
    }

    /// Everything that happens within this time.
    pub(crate) fn pass(&mut self, span: Duration) {
        let until = self.now + span;
        self.settle();
        while let Some(at) = self.next().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.step();
            self.settle();
        }
        self.now = until;
    }

    fn next(&self) -> Option<Instant> {
        self.wire
            .keys()
            .next()
            .map(|(at, _)| *at)
            .into_iter()
            .chain(self.tables.iter().filter_map(Transactions::poll_timeout))
            .chain(self.a.next())
            .chain(self.b.next())
            .min()
    }

    fn step(&mut self) {
        while let Some(entry) = self.wire.first_entry().filter(|e| e.key().0 <= self.now) {
            let (to, bytes) = entry.remove();
            let message = read(bytes);
            self.tables[to].handle_input(
                self.now,
                Input::Received {
                    flow: FLOW,
                    message,
                },
            );
            self.settle();
        }
        for table in &mut self.tables {
            if table.poll_timeout().is_some_and(|at| at <= self.now) {
                table.handle_input(self.now, Input::Timeout);
            }
        }
        if self.a.next().is_some_and(|at| at <= self.now) {
            self.a.timeout(self.now);
        }
        if self.b.next().is_some_and(|at| at <= self.now) {
            self.b.timeout(self.now);
        }
    }

    /// Carries everything between users and tables until nothing is left to carry.
    pub(crate) fn settle(&mut self) {
        loop {
            let mut quiet = true;
            for side in 0..2 {
                let acts = if side == 0 {
                    self.a.acts(self.now)
                } else {
                    self.b.acts(self.now)
                };
                for act in acts {
                    quiet = false;
                    let input = match act {
                        Act::Send(token, request) => Input::Send {
                            token,
                            flow: FLOW,
                            request,
                        },
                        Act::Ack(ack) => Input::SendAck { flow: FLOW, ack },
                        Act::Cancel(token) => Input::Cancel { token },
                        Act::Respond(id, reply) => Input::Respond { id, reply },
                    };
                    self.tables[side].handle_input(self.now, input);
                }
                while let Some(output) = self.tables[side].poll_output() {
                    quiet = false;
                    self.deliver(side, output);
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn deliver(&mut self, side: usize, output: Output) {
        let now = self.now;
        if let Output::Transmit { bytes, .. } = output {
            if self.random.number() % 100 >= self.loss {
                let delay = self
                    .random
                    .between(Duration::from_millis(1), Duration::from_millis(400));
                self.sent += 1;
                self.wire
                    .insert((now + delay, self.sent), (1 - side, bytes));
            }
            return;
        }
        let user: &mut dyn User = if side == 0 { &mut self.a } else { &mut self.b };
        match output {
            Output::Transmit { .. } | Output::Unheard { .. } => {}
            Output::Request { id, message, .. } => user.request(now, id, message),
            Output::OneWay { message, .. } => user.one_way(now, message),
            Output::Cancelled { id } => user.cancelled(now, id),
            Output::Response { token, message } => user.response(now, token, message),
            Output::Failed { token, failure } => user.failed(now, token, failure),
            Output::Stray { .. } => panic!("each side has one node"),
        }
    }
}
