//! The driver of one gateway shard.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use entente_cluster::ClusterView;
use entente_cluster::custody::{Seen, SeenLimits, SeenWindow};
use entente_cluster::home::key_hash;
use entente_home_core::{EnvelopeId, SessionKey};
use entente_interwork_core::gateway::{Counts, Gateway, Input, Output, Settings, StanzaId};
use entente_sip_core::message::{Limits, Message};
use entente_sip_core::record::Moment;
use entente_sip_core::transaction::Failure;
use entente_sip_core::usage::RequestId;
use entente_store::GatewayChange;
use entente_xmpp_core::jid::BareJid;
use tokio::sync::{mpsc, watch};

use super::custody::Entrusted;
use super::records::{self, Answer, Job};
use super::{GatewayParts, NoRandomness};
use crate::clock::{now, until, wall_ms};
use crate::fabric::{OutboundItem, ReceiptBatch, Switchboard};
use crate::sip::SipService;
use crate::sip::port::{Acking, Leg, Outcome, PeerRequest, SendFailure, Sending, SipCall};

/// Commands that are worked on before the clock is looked at again.
const BATCH: usize = 128;
/// When the store, which could not say whose dialogs it has, is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Answers of the store that may wait.
const ANSWERS: usize = 1024;

/// Something for the shard.
pub(super) enum Command {
    Stanza(Box<OutboundItem>),
    Request(Box<PeerRequest>),
    Outcome(u64, Box<Outcome>),
    PeerUp(Arc<str>),
    Settings(Arc<Settings>),
    Drain,
}

/// See the module.
pub(super) struct GatewayShard {
    core: Gateway,
    index: u32,
    shards: u64,
    sip: Arc<SipService>,
    switchboard: Arc<Switchboard>,
    view: watch::Receiver<Arc<ClusterView>>,
    commands: mpsc::Receiver<Command>,
    jobs: mpsc::Sender<Job>,
    answers: mpsc::Receiver<Answer>,
    entrusted: Entrusted,
    /// Peers' requests that wait for the core.
    legs: HashMap<RequestId, Leg>,
    /// Users' stanzas that wait for the core.
    envelopes: HashMap<StanzaId, (EnvelopeId, BareJid)>,
    /// Stanzas that were taken: their holders may not have heard.
    seen: SeenWindow<SessionKey>,
    receipts: ReceiptBatch,
    /// When the store is asked again for the users with dialogs.
    ask_users: Option<Instant>,
    node: Arc<str>,
    epoch: u64,
    last: u64,
}

impl GatewayShard {
    pub(super) fn new(
        parts: &GatewayParts,
        index: usize,
        settings: Arc<Settings>,
        commands: mpsc::Receiver<Command>,
    ) -> Result<Self, NoRandomness> {
        let mut seed = [0; 16];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut seed)
            .map_err(|_| NoRandomness)?;
        let (jobs, queue) = records::queue();
        let (answered, answers) = mpsc::channel(ANSWERS);
        let mut view = parts.switchboard.view.clone();
        tokio::spawn(records::serve(
            parts.store.clone(),
            view.clone(),
            queue,
            answered,
        ));
        let (node, epoch) = parts.sip.identity();
        Ok(Self {
            core: Gateway::new(settings, seed, moment()),
            index: u32::try_from(index).unwrap_or(u32::MAX),
            shards: parts.shards as u64,
            sip: Arc::clone(&parts.sip),
            entrusted: Entrusted::new(&parts.switchboard, &mut view),
            switchboard: Arc::clone(&parts.switchboard),
            view,
            commands,
            jobs,
            answers,
            legs: HashMap::new(),
            envelopes: HashMap::new(),
            seen: SeenWindow::new(SeenLimits::default()),
            receipts: ReceiptBatch::default(),
            ask_users: None,
            node,
            epoch,
            last: 0,
        })
    }

    pub(super) fn counts(&self) -> Arc<Counts> {
        self.core.counts()
    }

    /// Runs until the node ends.
    pub(super) async fn run(mut self) {
        self.ask_for_users();
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let deadlines = [
                self.core.poll_timeout(),
                self.entrusted.poll_timeout(),
                self.ask_users,
            ];
            let deadline = deadlines.into_iter().flatten().min();
            tokio::select! {
                count = self.commands.recv_many(&mut batch, BATCH) => if count == 0 { return },
                answer = self.answers.recv() => match answer {
                    Some(answer) => self.answered(answer),
                    None => return,
                },
                () = self.entrusted.ready() => {}
                changed = self.view.changed() => if changed.is_err() { return } else { self.follow().await },
                () = until(deadline) => {}
            }
            for command in batch.drain(..) {
                self.command(command);
                self.drain().await;
            }
            self.on_time(now()).await;
            self.drain().await;
            self.receipts.flush(&self.switchboard);
        }
    }

    async fn on_time(&mut self, now: Instant) {
        self.entrusted.timeout(now).await;
        let receipts = self.entrusted.take_receipts(now);
        if !receipts.is_empty() {
            // A home that returns a text as an error says so before it gives its receipt: what came
            // before the receipts is worked on before them, or the peer would hear 200.
            for _ in 0..self.commands.len() {
                if let Ok(command) = self.commands.try_recv() {
                    self.command(command);
                    self.drain().await;
                }
            }
        }
        for ticket in receipts {
            self.core.handle_input(moment(), Input::Delivered(ticket));
        }
        if self.core.poll_timeout().is_some_and(|at| at <= now) {
            self.core.handle_input(moment(), Input::Timeout);
        }
        if self.ask_users.is_some_and(|at| at <= now) {
            self.ask_for_users();
        }
    }

    fn call(&self, id: u64) -> SipCall {
        SipCall {
            node: Arc::clone(&self.node),
            epoch: self.epoch,
            shard: self.index,
            id,
        }
    }

    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn command(&mut self, command: Command) {
        let input = match command {
            Command::Stanza(item) => return self.stanza(*item),
            Command::Request(request) => {
                let id = request.leg.map(|leg| {
                    let id = RequestId(self.next());
                    self.legs.insert(id, leg);
                    id
                });
                Input::Request {
                    id,
                    peer: request.peer,
                    message: request.message,
                }
            }
            Command::Outcome(call, outcome) => {
                let call = entente_interwork_core::gateway::CallId(call);
                match *outcome {
                    Outcome::Response(message) => Input::Response {
                        call,
                        message: *message,
                    },
                    Outcome::Failed(failure) => Input::Failed {
                        call,
                        failure: failure_of(failure),
                    },
                }
            }
            Command::PeerUp(peer) => Input::PeerUp { peer },
            Command::Settings(settings) => Input::Settings(settings),
            Command::Drain => Input::Drain,
        };
        self.core.handle_input(moment(), input);
    }

    /// A user's stanza. One that comes again is not done again: it was taken, or is under way.
    fn stanza(&mut self, item: OutboundItem) {
        let OutboundItem { envelope, stanza } = item;
        let id = match envelope {
            None => None,
            Some(envelope) => {
                if self.seen.observe(now(), &envelope.holder, envelope.seq) == Seen::Duplicate {
                    let under_way = self.envelopes.values().any(|(known, _)| *known == envelope);
                    if !under_way {
                        self.receipts.receipt(envelope);
                    }
                    return;
                }
                let id = StanzaId(self.next());
                let Some(sender) = stanza.from().map(|from| from.to_bare()) else {
                    return self.receipts.receipt(envelope);
                };
                self.envelopes.insert(id, (envelope, sender));
                Some(id)
            }
        };
        self.core
            .handle_input(moment(), Input::FromUser { id, stanza });
    }

    fn answered(&mut self, answer: Answer) {
        // A store without a leader, say: the node that died may have been it. Without another question
        // nobody would own the dialogs of users who came from there.
        if matches!(answer, Answer::Users(None) | Answer::Loaded(_, None)) {
            self.ask_users = Some(now() + ASK_AGAIN);
        }
        let input = match answer {
            Answer::Stored(id, durable) => Input::Stored { id, durable },
            Answer::Loaded(id, records) => Input::Loaded { id, records },
            Answer::Users(users) => Input::Adopt {
                users: users
                    .iter()
                    .flatten()
                    .filter(|user| self.is_ours(user))
                    .filter_map(|user| BareJid::new(user).ok())
                    .collect(),
            },
        };
        self.core.handle_input(moment(), input);
    }

    fn is_ours(&self, user: &str) -> bool {
        let view = self.view.borrow();
        key_hash(user) % self.shards == u64::from(self.index)
            && view.home_of(user) == Some(&self.switchboard.local)
    }

    /// The homes may be others now: users who went are let go, users who came are taken up.
    async fn follow(&mut self) {
        let view = self.view.borrow_and_update().clone();
        let users = self
            .core
            .users()
            .filter(|user| view.home_of(user.as_str()) != Some(&self.switchboard.local))
            .cloned()
            .collect::<Vec<_>>();
        if !users.is_empty() {
            // Their stanzas that are under way go to the new home, by the holders.
            let (receipts, seen) = (&mut self.receipts, &mut self.seen);
            self.envelopes.retain(|_, (envelope, sender)| {
                let stays = !users.contains(sender);
                if !stays {
                    seen.forget(&envelope.holder, envelope.seq);
                    receipts.retry(envelope.clone());
                }
                stays
            });
            self.core.handle_input(moment(), Input::Release { users });
        }
        self.entrusted.view_changed(now(), &view).await;
        self.ask_for_users();
    }

    fn ask_for_users(&mut self) {
        let asked = self.jobs.try_send(Job::Users).is_ok();
        self.ask_users = (!asked).then(|| now() + ASK_AGAIN);
    }

    async fn drain(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::ToUser { ticket, stanza } => match ticket {
                    Some(ticket) => {
                        if !self.entrusted.entrust(now(), ticket, stanza).await {
                            self.core
                                .handle_input(moment(), Input::NotDelivered(ticket));
                        }
                    }
                    None => {
                        let user = stanza.to().map(|to| to.to_bare());
                        if let Some(user) = user {
                            let _nowhere =
                                self.switchboard.accept_from_peer(None, stanza, &user).await;
                        }
                    }
                },
                Output::Taken(id) => {
                    if let Some((envelope, _)) = self.envelopes.remove(&id) {
                        self.receipts.receipt(envelope);
                    }
                }
                Output::NotTaken(id) => {
                    if let Some((envelope, _)) = self.envelopes.remove(&id) {
                        self.seen.forget(&envelope.holder, envelope.seq);
                        self.receipts.retry(envelope);
                    }
                }
                Output::Respond { id, reply } => {
                    let response = Message::parse(reply.to_bytes(), &Limits::default());
                    match (self.legs.remove(&id), response) {
                        (Some(leg), Ok(response)) => self.sip.respond(&leg, response),
                        (Some(_), Err(_)) => {
                            tracing::error!("a response of ours does not read back");
                        }
                        (None, _) => {}
                    }
                }
                Output::Send {
                    call,
                    user,
                    peer,
                    domain,
                    draft,
                } => self.sip.send(Sending {
                    call: self.call(call.0),
                    user: key_hash(user.as_str()),
                    peer,
                    domain,
                    draft,
                }),
                Output::Ack {
                    user,
                    peer,
                    domain,
                    draft,
                } => self.sip.acknowledge(Acking {
                    user: key_hash(user.as_str()),
                    peer,
                    domain,
                    draft,
                }),
                Output::Cancel { call } => self.sip.cancel(self.call(call.0)),
                Output::Store {
                    id,
                    user,
                    key,
                    bytes,
                } => {
                    let change = GatewayChange {
                        user: user.to_string(),
                        key: key.into(),
                        bytes: bytes.map(|bytes| bytes.to_vec()),
                    };
                    if self.jobs.try_send(Job::Change(id, change)).is_err() {
                        let durable = false;
                        self.core
                            .handle_input(moment(), Input::Stored { id, durable });
                    }
                }
                Output::Load { id, user } => {
                    if self.jobs.try_send(Job::Load(id, user.to_string())).is_err() {
                        let records = None;
                        self.core
                            .handle_input(moment(), Input::Loaded { id, records });
                    }
                }
            }
        }
    }
}

fn moment() -> Moment {
    Moment {
        now: now(),
        unix_ms: wall_ms(),
    }
}

const fn failure_of(failure: SendFailure) -> Failure {
    match failure {
        SendFailure::Timeout => Failure::Timeout,
        SendFailure::Broken | SendFailure::Unreachable => Failure::Transport,
        SendFailure::Refused => Failure::Full,
    }
}
