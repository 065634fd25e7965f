//! Who reaches whom, and how fast.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;

/// The network between the nodes. Clients reach every node.
pub(crate) struct Network {
    /// `cut[from][to]`.
    cut: Vec<Vec<bool>>,
    /// Share of datagrams that are lost, and of TCP segments that are sent again.
    pub(crate) loss: f64,
    /// Bounds of the delay in milliseconds.
    pub(crate) delay: (u64, u64),
}

/// What the delay is without a fault.
pub(crate) const CALM: (u64, u64) = (0, 3);

impl Network {
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            cut: vec![vec![false; nodes]; nodes],
            loss: 0.0,
            delay: CALM,
        }
    }

    pub(crate) fn set_cut(&mut self, from: usize, to: usize, cut: bool) {
        self.cut[from][to] = cut;
    }

    pub(crate) fn heal(&mut self) {
        for row in &mut self.cut {
            row.fill(false);
        }
        self.loss = 0.0;
        self.delay = CALM;
    }

    pub(crate) fn reaches(&self, from: usize, to: usize) -> bool {
        !self.cut[from][to]
    }

    /// Both ways: a request and its answer pass.
    pub(crate) fn talk(&self, a: usize, b: usize) -> bool {
        self.reaches(a, b) && self.reaches(b, a)
    }

    fn latency(&self, rng: &mut StdRng) -> Duration {
        let (low, high) = self.delay;
        Duration::from_micros(rng.random_range(low * 1000 + 50..=high * 1000 + 50))
    }

    /// When a datagram arrives; none if it is lost.
    pub(crate) fn datagram(&self, rng: &mut StdRng, from: usize, to: usize) -> Option<Duration> {
        if !self.reaches(from, to) || (self.loss > 0.0 && rng.random_bool(self.loss)) {
            return None;
        }
        Some(self.latency(rng))
    }

    /// How long TCP takes for a segment while the way is not cut.
    pub(crate) fn segment(&self, rng: &mut StdRng) -> Duration {
        let mut time = self.latency(rng);
        let mut pause = Duration::from_millis(200);
        while self.loss > 0.0 && pause < Duration::from_secs(3) && rng.random_bool(self.loss) {
            time += pause;
            pause *= 2;
        }
        time
    }
}
