//! What everything in a run shares: time, chance, the network, the store, the checker.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::abroad::Abroad;
use super::agenda::{Agenda, Event};
use super::checker::Checker;
use super::frame::Frames;
use super::network::Network;
use super::node::NodeEvent;
use super::pipe::Pipes;
use super::store::StoreModel;
use super::trace::Trace;

/// Unix time at the start of every run.
const WALL: u64 = 1_760_000_000;

/// Whether a node runs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Life {
    /// Which process it is.
    pub(crate) life: u64,
    pub(crate) up: bool,
    /// Stopped by a signal: the kernel still takes what comes.
    pub(crate) paused: bool,
}

impl Life {
    pub(crate) fn acts(self) -> bool {
        self.up && !self.paused
    }
}

/// See the module.
pub(crate) struct Stage {
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    pub(crate) rng: StdRng,
    pub(crate) agenda: Agenda,
    pub(crate) network: Network,
    pub(crate) pipes: Pipes,
    pub(crate) store: StoreModel,
    pub(crate) abroad: Abroad,
    pub(crate) frames: Frames,
    pub(crate) checker: Checker,
    pub(crate) trace: Trace,
    pub(crate) lives: Vec<Life>,
    next_connection: u64,
    verbose: bool,
}

impl Stage {
    pub(crate) fn new(seed: u64, nodes: usize) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "virtual time has to begin somewhere; no decision depends on where"
        )]
        let start = Instant::now();
        Self {
            start,
            now: start,
            rng: StdRng::seed_from_u64(seed),
            agenda: Agenda::default(),
            network: Network::new(nodes),
            pipes: Pipes::default(),
            store: StoreModel::new(nodes),
            abroad: Abroad::new(),
            frames: Frames::default(),
            checker: Checker::new(std::env::var_os("SIM_STOP_AT_DUPLICATES").is_some()),
            trace: Trace::default(),
            lives: vec![Life::default(); nodes],
            next_connection: 0,
            verbose: std::env::var_os("SIM_TRACE").is_some(),
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Unix time in seconds.
    pub(crate) fn unix(&self) -> u64 {
        WALL + self.elapsed().as_secs()
    }

    /// Unix time in milliseconds.
    pub(crate) fn wall_ms(&self) -> u64 {
        WALL * 1000 + self.elapsed().as_millis() as u64
    }

    pub(crate) fn at(&mut self, node: usize, after: Duration, event: NodeEvent) {
        let life = self.lives[node].life;
        self.agenda
            .add(self.now + after, Event::Node(node, life, event));
    }

    /// A time between the two, in microseconds.
    pub(crate) fn micros(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_micros(self.rng.random_range(low..=high))
    }

    /// A time between the two, in milliseconds.
    pub(crate) fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.rng.random_range(low..=high))
    }

    pub(crate) fn connection(&mut self) -> u64 {
        self.next_connection += 1;
        self.next_connection
    }

    /// Like [`Self::note`], for what happens often: only with `SIM_TRACE` in the environment.
    pub(crate) fn detail(&mut self, line: impl FnOnce() -> String) {
        if self.verbose {
            self.note(line());
        }
    }

    pub(crate) fn note(&mut self, line: String) {
        let at = self.elapsed();
        self.trace.add(at, line);
    }

    /// An invariant does not hold.
    pub(crate) fn violated(&mut self, what: String) {
        let at = self.elapsed();
        self.trace.add(at, format!("VIOLATED {what}"));
        self.checker.fail(at, what);
    }
}
