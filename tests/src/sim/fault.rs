//! What goes wrong, when, by the seed.

use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;

/// One change of the world.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The process dies; with `power` its machine too.
    Kill {
        node: usize,
        power: bool,
    },
    Restart(usize),
    Pause(usize),
    Continue(usize),
    /// These do not reach those.
    Cut(Vec<usize>, Vec<usize>),
    /// Every way is free and fast again.
    HealNetwork,
    Weather {
        loss: f64,
        delay: (u64, u64),
    },
    Slow(u64, u64),
    Stall(bool),
    Drain(usize),
    Away(usize),
    Back(usize),
    /// A client's connection breaks, and its node hears of it.
    Break(usize),
    /// The other organisation's server is there, or not.
    Abroad(bool),
    /// All streams to it break.
    BreakAbroad,
    /// Everything that is still broken is repaired.
    HealAll,
    /// No new messages.
    Silence,
    /// These have been cut off for so long that they must have closed, and the rest must serve alone.
    Parted(Vec<usize>),
    /// A cut has lasted for so long that nobody may change its mind about the homes from now on.
    Steady,
    /// Until now.
    StillSteady,
    /// The views must agree now.
    Converged,
    /// Everything must be acknowledged now; all clients go.
    Settled,
    /// They come back for what was kept for them, when no home has them in memory any more.
    Return,
    /// The run is over.
    End,
}

/// The faults of a run.
pub(crate) struct Plan {
    pub(crate) faults: Vec<(Duration, Fault)>,
    /// Each node went at most once: the filter's holds against flapping play no part.
    pub(crate) calm: bool,
}

/// What goes wrong in the runs of a kind.
pub(crate) const KINDS: [&str; 12] = [
    "kill",
    "pause of 1 to 2 s",
    "pause of 4 to 20 s",
    "partition",
    "one-way cut",
    "cut of a pair",
    "loss and delay",
    "slow store",
    "crash loop",
    "drain",
    "all killed",
    "several",
];

/// The first fault does not come before.
const BEGIN: u64 = 7_000;
/// After a cut the minority closes 8 s after its last renewal, found out within 3 s; the majority has
/// a leader again in 3 s and needs the time to live and the silence of the others.
const CLOSED: u64 = 12_000;
/// After so long a cut that stays changes nothing more.
const SETTLED: u64 = 20_000;

struct Planner<'a> {
    rng: &'a mut StdRng,
    nodes: usize,
    faults: Vec<(Duration, Fault)>,
    outages: usize,
}

/// Makes the plan of a seed.
pub(crate) fn plan(rng: &mut StdRng, kind: u64, nodes: usize, clients: usize) -> Plan {
    let mut planner = Planner {
        rng,
        nodes,
        faults: Vec::new(),
        outages: 0,
    };
    let end = planner.faults_of(kind);
    planner.absences(clients);
    planner.abroad();
    let heal = end + 500;
    for (at, fault) in [
        (heal, Fault::HealAll),
        (heal + 10_500, Fault::Converged),
        (heal + 12_000, Fault::Silence),
        (heal + 62_000, Fault::Settled),
        (heal + 80_000, Fault::Return),
        (heal + 90_000, Fault::End),
    ] {
        planner.add(at, fault);
    }
    Plan {
        calm: planner.outages <= 1,
        faults: planner.faults,
    }
}

impl Planner<'_> {
    fn add(&mut self, at: u64, fault: Fault) {
        self.faults.push((Duration::from_millis(at), fault));
    }

    fn node(&mut self) -> usize {
        self.rng.random_range(0..self.nodes)
    }

    fn between(&mut self, low: u64, high: u64) -> u64 {
        self.rng.random_range(low..=high)
    }

    /// Adds the faults and returns when the last is over, in milliseconds.
    fn faults_of(&mut self, kind: u64) -> u64 {
        let at = BEGIN + self.between(0, 3_000);
        match kind % 12 {
            0 => self.kill(at),
            1 => self.pause(at, 1_000, 2_000),
            2 => self.pause(at, 4_000, 20_000),
            3 => {
                let (group, end) = self.part(at, 60_000);
                if end > at + CLOSED {
                    self.add(at + CLOSED, Fault::Parted(group));
                }
                end
            }
            4 => {
                let end = self.one_way(at, 45_000);
                self.steady(at, end)
            }
            5 => {
                let end = self.pair_cut(at, 45_000);
                self.steady(at, end)
            }
            6 => self.weather(at),
            7 => self.slow_store(at),
            8 => self.crash_loop(at),
            9 => self.drain(at),
            10 => self.kill_all(at),
            _ => {
                let mut end = at;
                for _ in 0..self.between(2, 4) {
                    let kind = self.between(0, 9);
                    let at = self.between(at, at + 15_000);
                    end = end.max(match kind {
                        0 | 1 => self.kill(at),
                        2 => self.pause(at, 1_000, 9_000),
                        3 => self.part(at, 25_000).1,
                        4 => self.one_way(at, 25_000),
                        5 => self.pair_cut(at, 25_000),
                        6 => self.weather(at),
                        7 => self.slow_store(at),
                        8 => self.drain(at),
                        _ => self.pause(at, 3_000, 15_000),
                    });
                }
                end
            }
        }
    }

    fn kill(&mut self, at: u64) -> u64 {
        self.outages += 1;
        let node = self.node();
        let power = self.rng.random_bool(0.3);
        let back = at + self.between(100, 15_000);
        self.add(at, Fault::Kill { node, power });
        self.add(back, Fault::Restart(node));
        back
    }

    fn pause(&mut self, at: u64, low: u64, high: u64) -> u64 {
        self.outages += 1;
        let node = self.node();
        let back = at + self.between(low, high);
        self.add(at, Fault::Pause(node));
        self.add(back, Fault::Continue(node));
        back
    }

    /// While a cut lasts, the homes are settled after 20 s.
    fn steady(&mut self, at: u64, end: u64) -> u64 {
        if end > at + SETTLED + 1_000 {
            self.add(at + SETTLED, Fault::Steady);
            self.add(end - 1, Fault::StillSteady);
        }
        end
    }

    /// Cuts some off from the rest; who, and until when.
    fn part(&mut self, at: u64, longest: u64) -> (Vec<usize>, u64) {
        self.outages += 1;
        let mut group = vec![self.node()];
        if self.nodes > 4 && self.rng.random_bool(0.5) {
            group.push((group[0] + 1) % self.nodes);
        }
        let rest: Vec<usize> = (0..self.nodes).filter(|n| !group.contains(n)).collect();
        let end = at + self.between(3_000, longest);
        self.add(at, Fault::Cut(group.clone(), rest.clone()));
        self.add(at, Fault::Cut(rest, group.clone()));
        self.add(end, Fault::HealNetwork);
        (group, end)
    }

    fn one_way(&mut self, at: u64, longest: u64) -> u64 {
        self.outages += 1;
        let node = self.node();
        let rest: Vec<usize> = (0..self.nodes).filter(|n| *n != node).collect();
        let end = at + self.between(3_000, longest);
        if self.rng.random_bool(0.5) {
            self.add(at, Fault::Cut(vec![node], rest));
        } else {
            self.add(at, Fault::Cut(rest, vec![node]));
        }
        self.add(end, Fault::HealNetwork);
        end
    }

    fn pair_cut(&mut self, at: u64, longest: u64) -> u64 {
        self.outages += 1;
        let a = self.node();
        let b = (a + 1 + self.between(0, self.nodes as u64 - 2) as usize) % self.nodes;
        let end = at + self.between(3_000, longest);
        self.add(at, Fault::Cut(vec![a], vec![b]));
        self.add(at, Fault::Cut(vec![b], vec![a]));
        self.add(end, Fault::HealNetwork);
        end
    }

    fn weather(&mut self, at: u64) -> u64 {
        let end = at + self.between(10_000, 30_000);
        let weather = Fault::Weather {
            loss: 0.2,
            delay: (100, 300),
        };
        self.add(at, weather);
        self.add(end, Fault::HealNetwork);
        end
    }

    fn slow_store(&mut self, at: u64) -> u64 {
        // Fences lapse, more than once and each for itself: no outage of anybody.
        let end = at + self.between(3_000, 12_000);
        if self.rng.random_bool(0.5) {
            self.add(at, Fault::Stall(true));
            self.add(end, Fault::Stall(false));
        } else {
            let slow = self.between(300, 4_000);
            self.add(at, Fault::Slow(100, slow));
            self.add(end, Fault::Slow(1, 8));
        }
        end
    }

    fn crash_loop(&mut self, at: u64) -> u64 {
        self.outages += 2;
        let node = self.node();
        let mut at = at;
        for _ in 0..self.between(3, 6) {
            self.add(at, Fault::Kill { node, power: false });
            at += self.between(300, 2_000);
            self.add(at, Fault::Restart(node));
            at += self.between(1_000, 5_000);
        }
        at
    }

    fn drain(&mut self, at: u64) -> u64 {
        self.outages += 1;
        let node = self.node();
        let back = at + self.between(8_000, 15_000);
        self.add(at, Fault::Drain(node));
        self.add(back, Fault::Restart(node));
        back
    }

    fn kill_all(&mut self, at: u64) -> u64 {
        self.outages += 2;
        let mut end = at;
        for node in 0..self.nodes {
            let at = at + self.between(0, 500);
            let back = at + self.between(500, 4_000);
            let power = self.rng.random_bool(0.5);
            self.add(at, Fault::Kill { node, power });
            self.add(back, Fault::Restart(node));
            end = end.max(back);
        }
        end
    }

    /// The other organisation's server goes now and then.
    fn abroad(&mut self) {
        for _ in 0..self.between(0, 2) {
            let at = self.between(5_000, 40_000);
            self.add(at, Fault::BreakAbroad);
        }
        if self.rng.random_bool(0.3) {
            let at = self.between(5_000, 30_000);
            let back = at + self.between(100, 15_000);
            self.add(at, Fault::Abroad(false));
            self.add(back, Fault::Abroad(true));
        }
    }

    /// Some clients are offline for a while, and some lose their connections.
    fn absences(&mut self, clients: usize) {
        for client in 0..clients {
            for _ in 0..self.between(0, 2) {
                let at = self.between(5_000, 40_000);
                self.add(at, Fault::Break(client));
            }
            if self.rng.random_bool(0.3) {
                let at = self.between(5_000, 25_000);
                let back = at + self.between(1_000, 20_000);
                self.add(at, Fault::Away(client));
                self.add(back, Fault::Back(client));
            }
        }
    }
}
