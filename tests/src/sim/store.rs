//! The replicated store: one serialised log. Who can reach its leader can write; the leader needs a
//! majority of the voters, and when it is gone there is a gap until the next one. Every node has a
//! copy that follows.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use entente_cluster::LeaseRow;
use entente_home_core::{EnvelopeId, OfflineMessage, StoreAnswer, UserRecord, Write, WriteOutcome};
use entente_xmpp_core::stanza::Stanza;

use super::agenda::Event;
use super::membership::node_id;
use super::node::NodeEvent;
use super::stage::Stage;

/// A call's time-out at the node.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_millis(100);
const AGAIN: Duration = Duration::from_millis(50);

/// What a node asks for.
#[derive(Debug, Clone)]
pub(crate) enum Call {
    Renew {
        generation: u64,
        counter: u64,
    },
    /// Takes effect once, and never after a later one of the same shard.
    Write {
        shard: usize,
        seq: u64,
        writes: Vec<Write>,
    },
    Sync,
}

/// What it hears.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) index: u64,
    pub(crate) outcomes: Vec<WriteOutcome>,
}

#[derive(Debug, Clone)]
pub(crate) struct Request {
    node: usize,
    life: u64,
    token: u64,
    deadline: Instant,
    call: Call,
}

#[derive(Debug, Clone)]
pub(crate) enum StoreEvent {
    Tick,
    /// The request looks for the leader.
    Serve(Request),
    /// This leader has it on a majority's disks.
    Apply(usize, Request),
    /// The answer looks for its way.
    Answer(usize, Request, Reply),
}

struct Kept {
    cursor: u64,
    id: EnvelopeId,
    stanza: Stanza,
    stored_at_ms: u64,
    put: u64,
    removed: Option<u64>,
}

/// See the module.
pub(crate) struct StoreModel {
    voters: Vec<usize>,
    leader: Option<usize>,
    /// Since when there is no leader that works, and for how long there will be none.
    gap: Option<(Instant, Duration)>,
    pub(crate) index: u64,
    users: BTreeMap<String, Vec<Kept>>,
    cursor: u64,
    leases: Vec<(u64, LeaseRow)>,
    /// The last renewal of each node, with its position in the log.
    pub(crate) renewed: BTreeMap<usize, (Instant, u64)>,
    done: HashMap<(usize, u64, usize), u64>,
    /// Bounds of the time of a write in milliseconds.
    pub(crate) latency: (u64, u64),
    /// Disks hang.
    pub(crate) stalled: bool,
    tokens: u64,
}

/// How long a write takes without a fault.
pub(crate) const QUICK: (u64, u64) = (1, 8);

impl StoreModel {
    pub(crate) fn new(nodes: usize) -> Self {
        let voters = if nodes >= 5 { 5 } else { nodes.min(3) };
        Self {
            voters: (0..voters).collect(),
            leader: None,
            gap: None,
            index: 0,
            users: BTreeMap::new(),
            cursor: 0,
            leases: Vec::new(),
            renewed: BTreeMap::new(),
            done: HashMap::new(),
            latency: QUICK,
            stalled: false,
            tokens: 0,
        }
    }

    /// Lease rows behind this position of the log.
    pub(crate) fn leases(&self, from: u64, to: u64) -> impl Iterator<Item = &LeaseRow> {
        let begin = self.leases.partition_point(|(index, _)| *index <= from);
        self.leases[begin..]
            .iter()
            .take_while(move |(index, _)| *index <= to)
            .map(|(_, row)| row)
    }

    /// Whether a message is kept now.
    pub(crate) fn keeps(&self, id: &EnvelopeId) -> bool {
        self.users
            .values()
            .flatten()
            .any(|kept| kept.id == *id && kept.removed.is_none())
    }

    /// All messages that are kept now.
    pub(crate) fn kept(&self) -> impl Iterator<Item = (&str, &EnvelopeId)> {
        self.users.iter().flat_map(|(user, list)| {
            list.iter()
                .filter(|kept| kept.removed.is_none())
                .map(move |kept| (user.as_str(), &kept.id))
        })
    }

    fn at(&self, user: &str, index: u64) -> impl Iterator<Item = &Kept> {
        self.users
            .get(user)
            .into_iter()
            .flatten()
            .filter(move |kept| kept.put <= index && kept.removed.is_none_or(|at| at > index))
    }

    /// A user's record in a copy that has come so far.
    pub(crate) fn load(&self, user: &str, index: u64) -> StoreAnswer {
        StoreAnswer::Loaded(Some(UserRecord {
            offline_count: self.at(user, index).count() as u64,
            ..UserRecord::default()
        }))
    }

    /// Offline messages in a copy that has come so far.
    pub(crate) fn load_offline(
        &self,
        user: &str,
        after: u64,
        limit: u32,
        index: u64,
    ) -> StoreAnswer {
        let page = self
            .at(user, index)
            .filter(|kept| kept.cursor > after)
            .take(limit as usize)
            .map(|kept| OfflineMessage {
                cursor: kept.cursor,
                id: kept.id.clone(),
                stanza: kept.stanza.clone(),
                stored_at_ms: kept.stored_at_ms,
            });
        StoreAnswer::Offline(page.collect())
    }

    /// Messages behind `after` in a copy that has come so far: cursor, for whom, key.
    pub(crate) fn stored_behind(
        &self,
        after: u64,
        index: u64,
    ) -> impl Iterator<Item = (u64, &str, &EnvelopeId)> {
        self.users.iter().flat_map(move |(user, list)| {
            list.iter()
                .filter(move |kept| kept.cursor > after && kept.put <= index)
                .filter(move |kept| kept.removed.is_none_or(|at| at > index))
                .map(move |kept| (kept.cursor, user.as_str(), &kept.id))
        })
    }

    fn write(&mut self, write: Write) -> Option<EnvelopeId> {
        match write {
            Write::PutOffline {
                user,
                id,
                stanza,
                stored_at_ms,
            } => {
                let list = self.users.entry(user.as_str().to_owned()).or_default();
                if !list
                    .iter()
                    .any(|kept| kept.id == id && kept.removed.is_none())
                {
                    self.cursor += 1;
                    list.push(Kept {
                        cursor: self.cursor,
                        id,
                        stanza,
                        stored_at_ms,
                        put: self.index,
                        removed: None,
                    });
                }
                None
            }
            Write::RemoveOffline { user, id } => {
                let list = self.users.entry(user.as_str().to_owned()).or_default();
                let kept = list
                    .iter_mut()
                    .find(|kept| kept.id == id && kept.removed.is_none())?;
                kept.removed = Some(self.index);
                Some(id)
            }
            _ => None,
        }
    }
}

impl Stage {
    /// Asks the store; the answer or a time-out comes as an event with the token.
    pub(crate) fn store_call(&mut self, node: usize, call: Call) -> u64 {
        self.store.tokens += 1;
        let token = self.store.tokens;
        let request = Request {
            node,
            life: self.lives[node].life,
            token,
            deadline: self.now + CALL_TIMEOUT,
            call,
        };
        let after = self.micros(50, 300);
        self.agenda
            .add(self.now + after, Event::Store(StoreEvent::Serve(request)));
        self.at(node, CALL_TIMEOUT, NodeEvent::StoreReply(token, None));
        token
    }

    pub(crate) fn store_event(&mut self, event: StoreEvent) {
        match event {
            StoreEvent::Tick => {
                self.elect();
                self.replicate();
                self.agenda
                    .add(self.now + TICK, Event::Store(StoreEvent::Tick));
            }
            StoreEvent::Serve(request) => self.serve(request),
            StoreEvent::Apply(leader, request) => self.apply(leader, request),
            StoreEvent::Answer(leader, request, reply) => self.answer(leader, request, reply),
        }
    }

    /// Whether this node could lead: it runs and has a majority of the voters.
    fn leads(&self, node: usize) -> bool {
        let voters = &self.store.voters;
        let with = voters
            .iter()
            .filter(|&&voter| {
                voter == node || (self.lives[voter].acts() && self.network.talk(node, voter))
            })
            .count();
        self.lives[node].acts() && with * 2 > voters.len()
    }

    fn elect(&mut self) {
        if self.store.leader.is_some_and(|leader| self.leads(leader)) {
            self.store.gap = None;
            return;
        }
        let now = self.now;
        let Some((since, gap)) = self.store.gap else {
            let gap = self.millis(700, 3_000);
            self.store.gap = Some((now, gap));
            return;
        };
        if now - since < gap {
            return;
        }
        let able: Vec<usize> = self
            .store
            .voters
            .iter()
            .copied()
            .filter(|&voter| self.leads(voter))
            .collect();
        if !able.is_empty() {
            let index = self.millis(0, able.len() as u64 - 1).as_millis() as usize;
            self.store.leader = Some(able[index]);
            self.store.gap = None;
            self.note(format!("store: n{} leads", able[index]));
        }
    }

    fn serve(&mut self, request: Request) {
        let life = self.lives[request.node];
        if !life.up || life.life != request.life {
            return;
        }
        let leader = self.store.leader.filter(|&leader| {
            !life.paused
                && !self.store.stalled
                && self.network.talk(request.node, leader)
                && self.leads(leader)
        });
        match leader {
            Some(leader) => {
                let (low, high) = self.store.latency;
                let mut time = self.millis(low, high);
                if request.node != leader {
                    time += self.network.segment(&mut self.rng);
                }
                // Round to the other voters.
                time += self.network.segment(&mut self.rng);
                let event = StoreEvent::Apply(leader, request);
                self.agenda.add(self.now + time, Event::Store(event));
            }
            None if self.now + AGAIN < request.deadline => {
                let event = StoreEvent::Serve(request);
                self.agenda.add(self.now + AGAIN, Event::Store(event));
            }
            None => {}
        }
    }

    fn apply(&mut self, leader: usize, request: Request) {
        if self.store.leader != Some(leader) || !self.leads(leader) {
            return self.serve(request);
        }
        if self.store.stalled {
            let event = StoreEvent::Apply(leader, request);
            self.agenda.add(self.now + AGAIN, Event::Store(event));
            return;
        }
        let mut outcomes = Vec::new();
        match request.call.clone() {
            Call::Sync => {}
            Call::Renew {
                generation,
                counter,
            } => {
                self.store.index += 1;
                let row = LeaseRow {
                    node: node_id(request.node),
                    generation,
                    counter,
                };
                let index = self.store.index;
                self.store.leases.push((index, row));
                self.store.renewed.insert(request.node, (self.now, index));
            }
            Call::Write { shard, seq, writes } => {
                let last = self
                    .store
                    .done
                    .entry((request.node, request.life, shard))
                    .or_default();
                if seq <= *last {
                    return;
                }
                *last = seq;
                self.store.index += 1;
                for write in writes {
                    if let Write::PutOffline { user, id, .. } = &write {
                        let at = request.node;
                        self.detail(|| format!("store: {id} kept for {user} by n{at}"));
                    }
                    if let Some(id) = self.store.write(write) {
                        self.removed(&id);
                    }
                    outcomes.push(WriteOutcome::Done);
                }
            }
        }
        let reply = Reply {
            index: self.store.index,
            outcomes,
        };
        self.answer(leader, request, reply);
        self.replicate();
    }

    fn answer(&mut self, leader: usize, request: Request, reply: Reply) {
        if self.now >= request.deadline {
            return;
        }
        if !self.network.reaches(leader, request.node) {
            let event = StoreEvent::Answer(leader, request, reply);
            self.agenda.add(self.now + AGAIN, Event::Store(event));
            return;
        }
        let mut time = Duration::from_micros(100);
        if leader != request.node {
            time += self.network.segment(&mut self.rng);
        }
        let event = NodeEvent::StoreReply(request.token, Some(reply));
        self.agenda.add(
            self.now + time,
            Event::Node(request.node, request.life, event),
        );
    }

    /// The leader's log goes to the copies.
    fn replicate(&mut self) {
        let Some(leader) = self
            .store
            .leader
            .filter(|&leader| self.lives[leader].acts())
        else {
            return;
        };
        let index = self.store.index;
        for node in 0..self.lives.len() {
            if !self.lives[node].up || !self.network.reaches(leader, node) {
                continue;
            }
            let mut time = Duration::from_micros(100);
            if node != leader {
                time += self.network.segment(&mut self.rng);
            }
            self.at(node, time, NodeEvent::Replica(index));
        }
    }
}
