//! The mesh of one node: the real link cores, and the rules of the loops around them.

use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use entente_cluster::forward::link::{Attached, LinkLimits, LinkReceiver, LinkSender};
use entente_cluster::{ClusterView, Standing};

use super::frame::Frame;
use super::membership::node_index;
use super::node::NodeEvent;
use super::pipe::{Segment, Side};
use super::stage::Stage;

/// Hello and welcome, with the handshakes before them.
const GREETING: Duration = Duration::from_secs(4);
/// A connection on which nothing was heard for so long is closed.
const SILENCE: Duration = Duration::from_secs(3);
const HEALTH: Duration = Duration::from_millis(500);
const HEALTH_TIMEOUT: Duration = Duration::from_secs(1);
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Target {
    generation: u64,
    up: bool,
}

#[derive(Debug, Clone, Copy)]
enum Connection {
    Pause { until: Instant },
    Greeting { pipe: u64, until: Instant },
    Up { pipe: u64, heard: Instant },
}

struct Peer {
    target: Target,
    open: bool,
    outbox: VecDeque<Bytes>,
    outdated: Option<usize>,
    sender: LinkSender,
    connection: Connection,
    backoff: Duration,
    /// The health check under way.
    asked: Option<(u64, Instant)>,
    next_check: Instant,
}

struct End {
    receiver: LinkReceiver,
    pipe: Option<(u64, Instant)>,
}

/// See the module.
pub(crate) struct Mesh {
    me: usize,
    generation: u64,
    limits: LinkLimits,
    epochs: u64,
    checks: u64,
    peers: BTreeMap<usize, Peer>,
    ends: BTreeMap<usize, End>,
    /// Frames that arrived, for the node to take.
    pub(crate) arrived: Vec<Bytes>,
    /// Frames given back, for the node to take.
    pub(crate) lost: Vec<Bytes>,
    /// Results of health checks, for the node to take.
    pub(crate) health: Vec<(usize, bool)>,
}

impl Mesh {
    pub(crate) fn new(me: usize, generation: u64) -> Self {
        Self {
            me,
            generation,
            limits: LinkLimits::default(),
            epochs: 0,
            checks: 0,
            peers: BTreeMap::new(),
            ends: BTreeMap::new(),
            arrived: Vec::new(),
            lost: Vec::new(),
            health: Vec::new(),
        }
    }

    fn epoch(&mut self) -> u64 {
        self.epochs += 1;
        self.epochs
    }

    /// Queues a frame; false if the peer is down or unknown.
    pub(crate) fn try_send(&mut self, stage: &mut Stage, to: usize, frame: Frame) -> bool {
        let Some(peer) = self.peers.get_mut(&to).filter(|peer| peer.open) else {
            return false;
        };
        peer.outbox.push_back(stage.frames.encode(frame));
        self.pump(stage, to);
        true
    }

    /// Brings the peers in line with the view.
    pub(crate) fn follow_view(&mut self, stage: &mut Stage, view: &ClusterView) {
        let now = stage.now;
        for member in view.members.iter().filter(|m| m.id != view.local) {
            let index = node_index(member.id.as_str());
            let target = Target {
                generation: member.generation,
                up: member.standing != Standing::Down,
            };
            let Some(peer) = self.peers.get_mut(&index) else {
                let sender = LinkSender::new(self.epoch(), self.limits.clone());
                let peer = Peer {
                    target,
                    open: target.up,
                    outbox: VecDeque::new(),
                    outdated: None,
                    sender,
                    connection: Connection::Pause { until: now },
                    backoff: BACKOFF_MIN,
                    asked: None,
                    next_check: now + HEALTH,
                };
                self.peers.insert(index, peer);
                self.dial(stage, index);
                continue;
            };
            if target.generation > peer.target.generation {
                peer.outdated = Some(peer.outbox.len());
            }
            peer.open = target.up;
            if peer.target == target {
                continue;
            }
            let old = std::mem::replace(&mut peer.target, target);
            let newer = peer.sender.callee().is_some_and(|g| target.generation > g);
            if let Connection::Up { pipe, .. } = peer.connection {
                if !newer {
                    peer.outdated = None;
                }
                if !newer && old.up == target.up {
                    self.pump(stage, index);
                    continue;
                }
                stage.pipe_close(pipe, Side::Caller);
            } else if let Connection::Greeting { pipe, .. } = peer.connection {
                stage.pipe_close(pipe, Side::Caller);
            }
            peer.backoff = BACKOFF_MIN;
            self.dial(stage, index);
        }
    }

    /// Gives back what cannot be delivered any more, then connects.
    fn dial(&mut self, stage: &mut Stage, index: usize) {
        let Some(peer) = self.peers.get_mut(&index) else {
            return;
        };
        if !peer.target.up {
            if !peer.outbox.is_empty() || peer.sender.outstanding() > 0 {
                self.give_back(stage, index, true);
            }
        } else if peer.outdated.is_some() {
            if peer
                .sender
                .callee()
                .is_some_and(|g| g >= peer.target.generation)
            {
                peer.outdated = None;
            } else {
                self.give_back(stage, index, false);
            }
        }
        let pipe = stage.pipe_open(self.me, index);
        let Some(peer) = self.peers.get_mut(&index) else {
            return;
        };
        peer.asked = None;
        peer.connection = Connection::Greeting {
            pipe,
            until: stage.now + GREETING,
        };
        let hello = Segment::Hello {
            generation: self.generation,
            epoch: peer.sender.epoch(),
        };
        stage.pipe_send(pipe, Side::Caller, hello);
    }

    fn give_back(&mut self, stage: &mut Stage, index: usize, all: bool) {
        let epoch = self.epoch();
        let Some(peer) = self.peers.get_mut(&index) else {
            return;
        };
        let mut frames = peer.sender.reset(epoch);
        let count = match peer.outdated.take() {
            Some(outdated) if !all => outdated,
            _ => peer.outbox.len(),
        };
        frames.extend(peer.outbox.drain(..count.min(peer.outbox.len())));
        if !frames.is_empty() {
            stage.note(format!(
                "n{} mesh: {} frames to n{index} lost",
                self.me,
                frames.len()
            ));
        }
        self.lost.append(&mut frames);
    }

    fn broken(&mut self, stage: &mut Stage, index: usize) {
        let Some(peer) = self.peers.get_mut(&index) else {
            return;
        };
        let pause = peer.backoff;
        peer.backoff = (pause * 2).min(BACKOFF_MAX);
        let pause = stage.micros(pause.as_micros() as u64 / 2, pause.as_micros() as u64);
        peer.asked = None;
        peer.sender.broken(stage.now);
        peer.connection = Connection::Pause {
            until: stage.now + pause,
        };
    }

    fn pump(&mut self, stage: &mut Stage, index: usize) {
        let Some(peer) = self.peers.get_mut(&index) else {
            return;
        };
        let Connection::Up { pipe, .. } = peer.connection else {
            return;
        };
        loop {
            if peer.outdated.is_none() {
                let room = self
                    .limits
                    .batch_frames
                    .saturating_sub(peer.sender.unwritten())
                    .min(peer.sender.room());
                for frame in peer.outbox.drain(..room.min(peer.outbox.len())) {
                    peer.sender.push(frame);
                }
            }
            let Some(batch) = peer.sender.next_batch() else {
                return;
            };
            let segment = Segment::Batch {
                first_seq: batch.first_seq,
                frames: batch.frames,
            };
            stage.pipe_send(pipe, Side::Caller, segment);
        }
    }

    /// Whether everything queued has arrived.
    pub(crate) fn is_flushed(&self) -> bool {
        self.peers
            .values()
            .all(|peer| !peer.open || (peer.outbox.is_empty() && peer.sender.outstanding() == 0))
    }

    /// Something came over a pipe.
    pub(crate) fn segment(&mut self, stage: &mut Stage, pipe: u64, side: Side, segment: Segment) {
        match side {
            Side::Caller => self.answer(stage, pipe, segment),
            Side::Callee => self.request(stage, pipe, segment),
        }
    }

    fn answer(&mut self, stage: &mut Stage, pipe: u64, segment: Segment) {
        let now = stage.now;
        let Some((&index, peer)) = self.peers.iter_mut().find(|(_, peer)| {
            matches!(peer.connection,
                Connection::Greeting { pipe: p, .. } | Connection::Up { pipe: p, .. } if p == pipe)
        }) else {
            return;
        };
        if let Connection::Up { heard, .. } = &mut peer.connection {
            *heard = now;
        }
        match segment {
            Segment::Welcome {
                generation,
                resumed,
                received,
            } => {
                let never = peer.sender.callee().is_none();
                match peer.sender.attach(generation, resumed, received) {
                    Attached::MustReset if never => {
                        stage.pipe_close(pipe, Side::Caller);
                        self.broken(stage, index);
                    }
                    Attached::MustReset => {
                        stage.pipe_close(pipe, Side::Caller);
                        self.give_back(stage, index, false);
                        self.dial(stage, index);
                    }
                    Attached::Fresh | Attached::Resumed { .. } => {
                        peer.backoff = BACKOFF_MIN;
                        peer.connection = Connection::Up { pipe, heard: now };
                        if peer.sender.mended(now) {
                            let frames = &stage.frames;
                            let perishable = |frame: &Bytes| frames.in_custody(frame);
                            self.lost.append(&mut peer.sender.withdraw(perishable));
                            let (gone, kept): (Vec<_>, Vec<_>) =
                                peer.outbox.drain(..).partition(perishable);
                            peer.outbox = kept.into();
                            self.lost.extend(gone);
                        }
                        self.pump(stage, index);
                    }
                }
            }
            Segment::Ack(received) => {
                if let Err(violation) = peer.sender.acked(received) {
                    stage.violated(format!("link n{} to n{index}: {violation}", self.me));
                }
                self.pump(stage, index);
            }
            Segment::Pong(number) => {
                if peer.asked.take_if(|(asked, _)| *asked == number).is_some() {
                    self.health.push((index, true));
                }
            }
            Segment::Fin => self.broken(stage, index),
            Segment::Hello { .. } | Segment::Batch { .. } | Segment::Ping(_) => {}
        }
    }

    fn request(&mut self, stage: &mut Stage, pipe: u64, segment: Segment) {
        let now = stage.now;
        let Some(caller) = stage.pipes.peer(pipe, Side::Callee) else {
            return;
        };
        if let Segment::Hello { generation, epoch } = segment {
            let known = self
                .ends
                .get_mut(&caller)
                .map(|end| (end.receiver.compare(generation, epoch), end));
            let (resumed, received) = match known {
                Some((Ordering::Less, _)) => return stage.pipe_close(pipe, Side::Callee),
                Some((Ordering::Equal, end)) => {
                    if let Some((old, _)) = end.pipe.replace((pipe, now)) {
                        stage.pipe_close(old, Side::Callee);
                    }
                    end.receiver.resume();
                    (true, end.receiver.received())
                }
                Some((Ordering::Greater, _)) | None => {
                    let end = End {
                        receiver: LinkReceiver::new(generation, epoch, self.limits.clone()),
                        pipe: Some((pipe, now)),
                    };
                    if let Some((old, _)) = self.ends.insert(caller, end).and_then(|end| end.pipe) {
                        stage.pipe_close(old, Side::Callee);
                    }
                    (false, 0)
                }
            };
            let welcome = Segment::Welcome {
                generation: self.generation,
                resumed,
                received,
            };
            return stage.pipe_send(pipe, Side::Callee, welcome);
        }
        let Some(end) = self
            .ends
            .get_mut(&caller)
            .filter(|end| end.pipe.is_some_and(|(present, _)| present == pipe))
        else {
            return;
        };
        if let Some((_, heard)) = &mut end.pipe {
            *heard = now;
        }
        match segment {
            Segment::Batch { first_seq, frames } => {
                match end.receiver.batch(now, first_seq, frames) {
                    Ok(mut frames) => self.arrived.append(&mut frames),
                    Err(violation) => {
                        stage.violated(format!("link n{caller} to n{}: {violation}", self.me));
                    }
                }
                if let Some(at) = end.receiver.poll_timeout() {
                    stage.at(
                        self.me,
                        at.saturating_duration_since(now),
                        NodeEvent::AckDue(caller),
                    );
                }
            }
            Segment::Ping(number) => stage.pipe_send(pipe, Side::Callee, Segment::Pong(number)),
            Segment::Fin => end.pipe = None,
            _ => {}
        }
    }

    /// An acknowledgement may be due.
    pub(crate) fn ack_due(&mut self, stage: &mut Stage, caller: usize) {
        if let Some(end) = self.ends.get_mut(&caller)
            && let Some((pipe, _)) = end.pipe
            && let Some(received) = end.receiver.poll_ack(stage.now)
        {
            stage.pipe_send(pipe, Side::Callee, Segment::Ack(received));
        }
    }

    /// Looks at deadlines.
    pub(crate) fn tick(&mut self, stage: &mut Stage) {
        let now = stage.now;
        let indexes: Vec<usize> = self.peers.keys().copied().collect();
        for index in indexes {
            self.check(stage, index);
            let Some(peer) = self.peers.get(&index) else {
                continue;
            };
            match peer.connection {
                Connection::Pause { until } if until <= now => self.dial(stage, index),
                Connection::Greeting { pipe, until } if until <= now => {
                    stage.pipe_close(pipe, Side::Caller);
                    self.broken(stage, index);
                }
                Connection::Up { pipe, heard } if now - heard > SILENCE => {
                    stage.pipe_close(pipe, Side::Caller);
                    self.broken(stage, index);
                }
                _ => {}
            }
        }
        for end in self.ends.values_mut() {
            if let Some((pipe, _)) = end.pipe.take_if(|(_, heard)| now - *heard > SILENCE) {
                stage.pipe_close(pipe, Side::Callee);
            }
        }
    }

    /// The health check of one peer.
    fn check(&mut self, stage: &mut Stage, index: usize) {
        let now = stage.now;
        let Some(peer) = self.peers.get_mut(&index) else {
            return;
        };
        if peer
            .asked
            .take_if(|(_, since)| now - *since > HEALTH_TIMEOUT)
            .is_some()
        {
            self.health.push((index, false));
        }
        if peer.next_check > now || peer.asked.is_some() {
            return;
        }
        peer.next_check = now + HEALTH;
        match peer.connection {
            Connection::Up { pipe, .. } => {
                self.checks += 1;
                peer.asked = Some((self.checks, now));
                stage.pipe_send(pipe, Side::Caller, Segment::Ping(self.checks));
            }
            _ => self.health.push((index, false)),
        }
    }
}
