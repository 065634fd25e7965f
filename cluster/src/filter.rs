//! The membership filter: from what is seen of the nodes to their standings.
//!
//! No single sign is enough. Gossip falls silent when datagrams are lost, the mesh's health check
//! fails when one link is cut, and a lease goes stale when a node cannot reach the store's quorum.
//! The lease decides who may be a home, because every node reads the same leases; gossip and the
//! mesh decide who is reachable. Going down takes all three, coming up takes time.
//!
//! | gossip | lease | mesh or silence | standing |
//! |---|---|---|---|
//! | alive | fresh | | serving |
//! | alive | stale or absent | | edge only |
//! | dead | fresh | | as before: others hear it, and views must agree |
//! | dead | stale or absent | healthy, and heard within 4 s | edge only if it was up |
//! | dead | stale or absent | failed, or silent for 4 s | down |
//!
//! Whoever announces that it leaves is down at once; joining and draining nodes are at most edge
//! only.
//!
//! Nodes that go down again and again are held down for longer each time. A lapse of the lease alone
//! is no such failure: it moves users but changes nothing in DNS, a store that is slow for all makes
//! every node lapse for itself without any other noticing, and a node that held itself back then
//! would send its users' messages where nobody else does. Two nodes differ about a lapse for about
//! [`FilterConfig::stable`], not for the hold against flapping. A node counts an outage of its own
//! when the others must have seen it down: it was stopped for longer than they wait, or could not
//! renew while it heard of no majority of those it knows; and it begins with the crashes of its
//! earlier lives. While it holds itself back it announces that it is joining, because others may
//! have counted less than it did.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::lease::Lease;
use crate::node_id::NodeId;
use crate::view::{MemberState, Standing};

/// The filter's times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilterConfig {
    /// Silence after which a node that gossip calls dead needs no failed health check to be down.
    pub silence: Duration,
    /// For so long a node must look well without a break before it is taken up. Zero for the local
    /// node's first time, and for those whom a filter younger than `settle` sees: it is the
    /// newcomer then, not they.
    pub stable: Duration,
    /// How long a new filter takes nodes up as it finds them, from the first judgement in which the
    /// local node is seen.
    pub settle: Duration,
    /// Failures older than this are forgotten.
    pub flap_window: Duration,
    /// For so long a node must look well after it was down for the second time within the window;
    /// doubles with each further time.
    pub flap_hold: Duration,
    /// The bound of the doubling.
    pub longest_hold: Duration,
    /// A pause between two judgements longer than this was the observer's own (it was stopped or
    /// starved): silence is counted from its end.
    pub stall: Duration,
    /// A pause longer than this the others have seen as an outage of the observer: `silence` and the
    /// time in which gossip and leases notice.
    pub noticed: Duration,
}

impl Default for FilterConfig {
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(4),
            stable: Duration::from_secs(1),
            settle: Duration::from_secs(2),
            flap_window: Duration::from_secs(300),
            flap_hold: Duration::from_secs(15),
            longest_hold: Duration::from_secs(240),
            stall: Duration::from_secs(1),
            noticed: Duration::from_secs(4),
        }
    }
}

impl FilterConfig {
    /// For how long a node that has failed so often within the window must look well to be taken
    /// up. A node in a crash loop shorter than the hold stays down: it is taken up once, and after
    /// its second failure no more.
    #[must_use]
    pub fn hold(&self, failures: usize) -> Duration {
        match failures {
            0 | 1 => self.stable,
            _ => {
                let doublings = failures.min(Filter::MAX_FAILURES) - 2;
                let doubled = self.flap_hold.saturating_mul(1 << doublings);
                doubled.min(self.longest_hold).max(self.stable)
            }
        }
    }
}

/// What the mesh's health checks of a node last said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Health {
    /// Nothing yet for this life of the node.
    #[default]
    Unknown,
    /// It answers.
    Ok,
    /// It does not answer.
    Failed,
}

/// What is seen of one node now: of its highest known generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Which node.
    pub node: NodeId,
    /// Which life of it.
    pub generation: u64,
    /// What it says about itself.
    pub state: MemberState,
    /// Whether gossip's failure detector believes that it lives. Always for the local node.
    pub alive: bool,
    /// When gossip last brought a new heartbeat of it.
    pub last_heard: Instant,
    /// The mesh's word.
    pub health: Health,
    /// The lease table's word; for the local node its own fence: fresh while it may acknowledge.
    pub lease: Lease,
}

/// What the filter remembers of one node.
#[derive(Debug, Clone)]
struct Track {
    generation: u64,
    /// The standing by signs alone, before what the node says about itself caps it.
    level: Standing,
    /// Since when it has looked at least like an edge, without a break.
    edge_since: Option<Instant>,
    /// Since when it has looked like a home, without a break.
    home_since: Option<Instant>,
    /// The present outage has been counted.
    in_outage: bool,
    /// It was a home once in this life and is none now, or was not for a while.
    lapsed: bool,
    /// It announced that it leaves.
    left: bool,
    /// It was first seen while the filter was new.
    found_at_start: bool,
    /// When it failed unannounced, within the window; the oldest first.
    failures: VecDeque<Instant>,
    seen: bool,
}

/// Turns sightings into standings. Pure: time comes in with each judgement.
#[derive(Debug, Clone)]
pub struct Filter {
    local: NodeId,
    config: FilterConfig,
    tracks: BTreeMap<NodeId, Track>,
    /// What the local node begins its record of failures with; the oldest first.
    crashes: Vec<Instant>,
    started: Option<Instant>,
    judged: Option<Instant>,
    resumed: Option<Instant>,
}

impl Filter {
    /// Bound on remembered nodes; sightings of further ones are ignored.
    pub const MAX_NODES: usize = 1024;
    /// Bound on remembered failures of one node: enough for the doubling to reach its bound.
    pub(crate) const MAX_FAILURES: usize = 16;

    /// A filter that has seen nobody.
    #[must_use]
    pub fn new(local: NodeId, config: FilterConfig) -> Self {
        Self {
            local,
            config,
            tracks: BTreeMap::new(),
            crashes: Vec::new(),
            started: None,
            judged: None,
            resumed: None,
        }
    }

    /// The local node's earlier lives that ended without a leave, the latest first: how long ago. The
    /// others have counted them, and count on from there.
    pub fn remember_crashes(&mut self, now: Instant, ages: impl IntoIterator<Item = Duration>) {
        let at = |age| now.checked_sub(age).unwrap_or(now);
        let mut failures: Vec<_> = ages.into_iter().map(at).collect();
        failures.truncate(Self::MAX_FAILURES);
        failures.reverse();
        self.crashes = failures;
    }

    /// Whether the local node has failed so often that it waits with serving. It must say so to the
    /// others, because they may have counted less.
    #[must_use]
    pub fn holds_back(&self) -> bool {
        let local = self.tracks.get(&self.local);
        local.is_some_and(|track| track.failures.len() >= 2 && track.level < Standing::Serving)
    }

    /// Judges everybody who is seen now, one sighting for each node. A node that is missing has
    /// been forgotten by gossip and is down. To be called at every change and a few times a
    /// second: the passing of time is judged only here.
    pub fn judge(&mut self, now: Instant, sightings: &[Sighting]) -> BTreeMap<NodeId, Standing> {
        // Others that start at the same time publish themselves about when this node does, however
        // long all of them waited for the store before.
        if self.started.is_none() && sightings.iter().any(|s| s.node == self.local) {
            self.started = Some(now);
        }
        let started = self.started.unwrap_or(now);
        let pause = self.judged.map_or(Duration::ZERO, |judged| {
            now.saturating_duration_since(judged)
        });
        if pause > self.config.stall {
            self.resumed = Some(now);
        }
        self.judged = Some(now);
        let missed = pause > self.config.noticed || self.is_cut_off(sightings);

        let mut standings = BTreeMap::new();
        for sighting in sightings {
            if !self.tracks.contains_key(&sighting.node) && self.tracks.len() >= Self::MAX_NODES {
                continue;
            }
            // After a crash the local node waits with serving, but it knows that it is there. The start
            // of such a life belongs to the outage that the crash was.
            let crashes = if sighting.node == self.local {
                std::mem::take(&mut self.crashes)
            } else {
                Vec::new()
            };
            let track = self
                .tracks
                .entry(sighting.node.clone())
                .or_insert_with(|| Track {
                    generation: sighting.generation,
                    level: if crashes.is_empty() {
                        Standing::Down
                    } else {
                        Standing::EdgeOnly
                    },
                    edge_since: None,
                    home_since: None,
                    in_outage: !crashes.is_empty(),
                    lapsed: false,
                    left: false,
                    found_at_start: now.saturating_duration_since(started) <= self.config.settle,
                    failures: crashes.into(),
                    seen: true,
                });
            track.seen = true;
            let silent = now.saturating_duration_since(
                self.resumed
                    .map_or(sighting.last_heard, |r| r.max(sighting.last_heard)),
            );
            let at_once = sighting.node == self.local || track.found_at_start;
            if sighting.node == self.local && missed {
                track.own_outage(now);
            }
            let standing = track.judge(now, &self.config, sighting, silent, at_once);
            standings.insert(sighting.node.clone(), standing);
        }
        self.forget_missing(now);
        standings
    }

    /// Whether the others must see this node as down: it can't renew, and gossip shows it no majority.
    fn is_cut_off(&self, sightings: &[Sighting]) -> bool {
        let lapsed = |s: &Sighting| s.node == self.local && s.lease != Lease::Fresh;
        let alive = sightings.iter().filter(|s| s.alive).count();
        sightings.iter().any(lapsed) && alive * 2 <= sightings.len() && sightings.len() > 1
    }

    fn forget_missing(&mut self, now: Instant) {
        let config = self.config;
        self.tracks.retain(|_, track| {
            if track.seen {
                track.seen = false;
                return true;
            }
            track.lower(now, Standing::Down);
            track.edge_since = None;
            track.home_since = None;
            track.prune(now, &config);
            !track.failures.is_empty()
        });
    }
}

impl Track {
    fn judge(
        &mut self,
        now: Instant,
        config: &FilterConfig,
        sighting: &Sighting,
        silent: Duration,
        at_once: bool,
    ) -> Standing {
        self.prune(now, config);
        if sighting.generation < self.generation {
            // An older life can only be an echo.
            return Standing::Down;
        }
        if sighting.generation > self.generation {
            self.restart(now, sighting.generation);
        }
        if sighting.state == MemberState::Leaving {
            self.left = true;
            self.found_at_start = false;
            self.level = Standing::Down;
            self.edge_since = None;
            self.home_since = None;
            return Standing::Down;
        }

        let signs = self.signs(config, sighting, silent);
        if signs == Standing::Down {
            self.break_off(now);
        }
        since(&mut self.edge_since, now, signs >= Standing::EdgeOnly);
        since(&mut self.home_since, now, signs == Standing::Serving);
        if signs < self.level {
            self.lower(now, signs);
        } else {
            let wait = if at_once && !self.lapsed && self.failures.is_empty() {
                Duration::ZERO
            } else {
                config.hold(self.failures.len())
            };
            let steady = |since: Option<Instant>| {
                since.is_some_and(|since| now.saturating_duration_since(since) >= wait)
            };
            let earned = if steady(self.home_since) {
                Standing::Serving
            } else if steady(self.edge_since) {
                Standing::EdgeOnly
            } else {
                Standing::Down
            };
            if earned > self.level {
                self.level = earned;
                self.in_outage = false;
            }
        }
        match sighting.state {
            MemberState::Ready => self.level,
            MemberState::Joining | MemberState::Draining => self.level.min(Standing::EdgeOnly),
            MemberState::Leaving => Standing::Down,
        }
    }

    /// The table of the module's documentation.
    fn signs(&self, config: &FilterConfig, sighting: &Sighting, silent: Duration) -> Standing {
        match (sighting.alive, sighting.lease) {
            (true, Lease::Fresh) => Standing::Serving,
            (true, Lease::Stale | Lease::Absent) => Standing::EdgeOnly,
            (false, Lease::Fresh) => self.level,
            (false, Lease::Stale | Lease::Absent) => {
                if sighting.health == Health::Failed || silent >= config.silence {
                    Standing::Down
                } else {
                    self.level.min(Standing::EdgeOnly)
                }
            }
        }
    }

    /// A new life of the node. If nobody announced the end of the old one, that was a failure,
    /// even if it was too short to be noticed otherwise.
    fn restart(&mut self, now: Instant, generation: u64) {
        self.generation = generation;
        self.break_off(now);
        self.lower(now, Standing::Down);
        self.edge_since = None;
        self.home_since = None;
        self.left = false;
        self.lapsed = false;
        // It is the same newcomer no more.
        self.found_at_start = false;
    }

    fn lower(&mut self, now: Instant, to: Standing) {
        if to >= self.level {
            return;
        }
        self.lapsed |= self.level == Standing::Serving;
        self.level = to;
        if to == Standing::Down && !self.in_outage && !self.left {
            self.in_outage = true;
            self.count_failure(now);
        }
    }

    /// The local node has been down in the eyes of the others, once for each outage.
    fn own_outage(&mut self, now: Instant) {
        if !std::mem::replace(&mut self.in_outage, true) {
            self.lapsed = true;
            self.home_since = None;
            self.level = self.level.min(Standing::EdgeOnly);
            self.count_failure(now);
        }
    }

    /// A flapping node that is held down fails again before its time is over. That counts too, or
    /// the loop's first failures would be forgotten while it goes on.
    fn break_off(&mut self, now: Instant) {
        let held = self.level == Standing::Down && self.failures.len() >= 2;
        if held && self.edge_since.is_some() && !self.left {
            self.count_failure(now);
        }
    }

    fn count_failure(&mut self, now: Instant) {
        if self.failures.len() == Filter::MAX_FAILURES {
            self.failures.pop_front();
        }
        self.failures.push_back(now);
    }

    fn prune(&mut self, now: Instant, config: &FilterConfig) {
        while let Some(oldest) = self.failures.front()
            && now.saturating_duration_since(*oldest) > config.flap_window
        {
            self.failures.pop_front();
        }
    }
}

fn since(since: &mut Option<Instant>, now: Instant, holds: bool) {
    if holds {
        since.get_or_insert(now);
    } else {
        *since = None;
    }
}

#[cfg(test)]
mod tests;
