//! TCP between two nodes: reliable and in order while it stands, silent while the way is cut, and
//! gone with everything in flight when an end closes it.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::agenda::Event;
use super::node::NodeEvent;
use super::stage::Stage;

/// What goes over a pipe of the mesh.
#[derive(Debug, Clone)]
pub(crate) enum Segment {
    Hello {
        generation: u64,
        epoch: u64,
    },
    Welcome {
        generation: u64,
        resumed: bool,
        received: u64,
    },
    Batch {
        first_seq: u64,
        frames: Vec<Bytes>,
    },
    Ack(u64),
    Ping(u64),
    Pong(u64),
    /// The other end has closed.
    Fin,
}

/// An end of a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Caller,
    Callee,
}

impl Side {
    fn index(self) -> usize {
        match self {
            Self::Caller => 0,
            Self::Callee => 1,
        }
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Self::Caller => Self::Callee,
            Self::Callee => Self::Caller,
        }
    }
}

struct End {
    node: usize,
    life: u64,
    open: bool,
    /// Sent by this end, not arrived.
    sent: VecDeque<(Instant, Segment)>,
    last: Instant,
}

struct Pipe {
    ends: [End; 2],
}

/// How often a stuck segment is tried again.
const RETRANSMIT: Duration = Duration::from_millis(250);

#[derive(Default)]
pub(crate) struct Pipes {
    pipes: BTreeMap<u64, Pipe>,
    next: u64,
}

impl Pipes {
    /// Who is at the other end.
    pub(crate) fn peer(&self, pipe: u64, side: Side) -> Option<usize> {
        let pipe = self.pipes.get(&pipe)?;
        Some(pipe.ends[side.other().index()].node)
    }
}

impl Stage {
    /// `from` dials whatever life of `to` is there when the first segment arrives.
    pub(crate) fn pipe_open(&mut self, from: usize, to: usize) -> u64 {
        let now = self.now;
        let end = |node: usize, life| End {
            node,
            life,
            open: true,
            sent: VecDeque::new(),
            last: now,
        };
        let ends = [
            end(from, self.lives[from].life),
            end(to, self.lives[to].life),
        ];
        self.pipes.next += 1;
        let id = self.pipes.next;
        self.pipes.pipes.insert(id, Pipe { ends });
        id
    }

    pub(crate) fn pipe_send(&mut self, id: u64, side: Side, segment: Segment) {
        let time = self.network.segment(&mut self.rng);
        let Some(pipe) = self.pipes.pipes.get_mut(&id) else {
            return;
        };
        let end = &mut pipe.ends[side.index()];
        if !end.open {
            return;
        }
        let at = (self.now + time).max(end.last);
        end.last = at;
        end.sent.push_back((at, segment));
        if end.sent.len() == 1 {
            self.agenda.add(at, Event::Pipe(id, side));
        }
    }

    /// Closes one end; the other hears of it if the way is free.
    pub(crate) fn pipe_close(&mut self, id: u64, side: Side) {
        self.pipe_send(id, side, Segment::Fin);
        if let Some(pipe) = self.pipes.pipes.get_mut(&id) {
            pipe.ends[side.index()].open = false;
            if pipe.ends.iter().all(|end| !end.open) {
                self.pipes.pipes.remove(&id);
            }
        }
    }

    /// A process died. With `power` its machine too, which says nothing to anybody.
    pub(crate) fn pipes_of_dead(&mut self, node: usize, power: bool) {
        let ids: Vec<u64> = self.pipes.pipes.keys().copied().collect();
        for id in ids {
            for side in [Side::Caller, Side::Callee] {
                let ends_here = self
                    .pipes
                    .pipes
                    .get(&id)
                    .is_some_and(|pipe| pipe.ends[side.index()].node == node);
                if !ends_here {
                    continue;
                }
                if power {
                    if let Some(pipe) = self.pipes.pipes.get_mut(&id) {
                        pipe.ends[side.index()].sent.clear();
                        pipe.ends[side.index()].open = false;
                    }
                } else {
                    self.pipe_close(id, side);
                }
            }
        }
    }

    /// The first segment that `side` sent is due.
    pub(crate) fn pipe_pump(&mut self, id: u64, side: Side) {
        let Some(pipe) = self.pipes.pipes.get_mut(&id) else {
            return;
        };
        let [from, to] = [side, side.other()].map(|side| pipe.ends[side.index()].node);
        let Some(&(at, _)) = pipe.ends[side.index()].sent.front() else {
            return;
        };
        if at > self.now {
            // The queue was cleared and filled again meanwhile.
            self.agenda.add(at, Event::Pipe(id, side));
            return;
        }
        if !self.network.reaches(from, to) {
            self.agenda
                .add(self.now + RETRANSMIT, Event::Pipe(id, side));
            return;
        }
        let Some((_, segment)) = pipe.ends[side.index()].sent.pop_front() else {
            return;
        };
        if let Some((next, _)) = pipe.ends[side.index()].sent.front() {
            let next = (*next).max(self.now);
            self.agenda.add(next, Event::Pipe(id, side));
        }
        let receiver = &mut pipe.ends[side.other().index()];
        let life = self.lives[to].life;
        let there = self.lives[to].up && receiver.open && receiver.life == life;
        if !there {
            // Nobody listens, or the process that had this connection is gone: RST.
            let reset = self.network.reaches(to, from);
            let sender = &mut pipe.ends[side.index()];
            if reset && sender.open && !matches!(segment, Segment::Fin) {
                sender.open = false;
                let life = sender.life;
                let at = self.now + Duration::from_millis(1);
                let gone = NodeEvent::PipeIn(id, side, Segment::Fin);
                self.agenda.add(at, Event::Node(from, life, gone));
            }
            return;
        }
        if matches!(segment, Segment::Fin) {
            receiver.open = false;
            if pipe.ends.iter().all(|end| !end.open) {
                self.pipes.pipes.remove(&id);
            }
        }
        let arrived = NodeEvent::PipeIn(id, side.other(), segment);
        self.agenda.add(self.now, Event::Node(to, life, arrived));
    }
}
