//! A model of chitchat: versions of every node's facts spread by push and answer, and a failure
//! detector over the intervals between heartbeats.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use entente_cluster::MemberState;
use rand::Rng;
use rand::rngs::StdRng;

/// The interval and threshold that membership configures.
pub(crate) const INTERVAL: Duration = Duration::from_millis(150);
const PHI: f64 = 30.0;
/// chitchat's: how much the configured interval weighs against the measured ones, how many are
/// kept, and which are too long to count.
const PRIOR_WEIGHT: f64 = 5.0;
const SAMPLES: usize = 1_000;
const LONGEST: Duration = Duration::from_secs(10);

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Facts {
    pub(crate) state: MemberState,
    pub(crate) announcement: Rc<str>,
}

/// One life of one node.
#[derive(Debug, Clone)]
pub(crate) struct Rumour {
    pub(crate) node: usize,
    pub(crate) generation: u64,
    pub(crate) heartbeat: u64,
    pub(crate) facts: Option<Facts>,
}

/// All that one node knows. Shared, because a message goes to several.
pub(crate) type Rumours = Rc<Vec<Rumour>>;

struct Known {
    rumour: Rumour,
    alive: bool,
    last: Option<Instant>,
    sum: f64,
    samples: usize,
}

impl Known {
    fn heard(&mut self, now: Instant) {
        if let Some(last) = self.last {
            let interval = now - last;
            if interval <= LONGEST {
                if self.samples == SAMPLES {
                    self.sum -= self.sum / SAMPLES as f64;
                    self.samples -= 1;
                }
                self.sum += interval.as_secs_f64();
                self.samples += 1;
            }
        }
        self.last = Some(now);
    }

    fn judge(&mut self, now: Instant) {
        let mean = (self.sum + PRIOR_WEIGHT * INTERVAL.as_secs_f64())
            / (self.samples as f64 + PRIOR_WEIGHT);
        let phi = match self.last {
            Some(last) if self.samples > 0 => (now - last).as_secs_f64() / mean,
            _ => f64::INFINITY,
        };
        self.alive = phi <= PHI;
        if !self.alive && phi.is_finite() {
            // A dead node has to be heard twice before it counts as alive again.
            (self.last, self.sum, self.samples) = (None, 0.0, 0);
        }
    }
}

/// The gossip of one process.
pub(crate) struct Gossip {
    me: usize,
    generation: u64,
    nodes: usize,
    heartbeat: u64,
    facts: Option<Facts>,
    known: BTreeMap<(usize, u64), Known>,
}

impl Gossip {
    pub(crate) fn new(me: usize, generation: u64, nodes: usize) -> Self {
        Self {
            me,
            generation,
            nodes,
            heartbeat: 1,
            facts: None,
            known: BTreeMap::new(),
        }
    }

    pub(crate) fn say(&mut self, facts: Option<Facts>) {
        self.facts = facts;
    }

    /// One round: whom to send to.
    pub(crate) fn round(&mut self, now: Instant, rng: &mut StdRng) -> Vec<usize> {
        self.heartbeat += 1;
        for known in self.known.values_mut() {
            known.judge(now);
        }
        let mut alive: Vec<usize> = self
            .known
            .values()
            .filter(|known| known.alive)
            .map(|known| known.rumour.node)
            .collect();
        alive.dedup();
        while alive.len() > 3 {
            alive.swap_remove(rng.random_range(0..alive.len()));
        }
        // Seeds and nodes believed dead are tried now and then.
        let other = rng.random_range(0..self.nodes);
        if other != self.me && !alive.contains(&other) && (alive.is_empty() || rng.random_bool(0.3))
        {
            alive.push(other);
        }
        alive
    }

    pub(crate) fn rumours(&self) -> Rumours {
        let own = Rumour {
            node: self.me,
            generation: self.generation,
            heartbeat: self.heartbeat,
            facts: self.facts.clone(),
        };
        let others = self.known.values().map(|known| known.rumour.clone());
        Rc::new(others.chain([own]).collect())
    }

    pub(crate) fn take(&mut self, now: Instant, rumours: &[Rumour]) {
        for rumour in rumours.iter().filter(|rumour| rumour.node != self.me) {
            let known = self
                .known
                .entry((rumour.node, rumour.generation))
                .or_insert_with(|| Known {
                    rumour: Rumour {
                        heartbeat: 0,
                        ..rumour.clone()
                    },
                    alive: false,
                    last: None,
                    sum: 0.0,
                    samples: 0,
                });
            if rumour.heartbeat > known.rumour.heartbeat {
                known.rumour = rumour.clone();
                known.heard(now);
            }
        }
    }

    /// The latest life of every other node, with whether it is believed alive.
    pub(crate) fn latest(&self) -> BTreeMap<usize, (&Rumour, bool)> {
        // Later generations overwrite earlier ones.
        self.known
            .values()
            .map(|known| (known.rumour.node, (&known.rumour, known.alive)))
            .collect()
    }
}
