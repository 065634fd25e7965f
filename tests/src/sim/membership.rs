//! Membership around the real filter, lease table and fence: the rules of the membership thread,
//! with gossip modelled.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use entente_cluster::filter::{Filter, FilterConfig, Health, Sighting};
use entente_cluster::{
    ClusterView, Fence, FenceTimes, Lease, LeaseRow, LeaseTable, Member, MemberState, NodeId,
    Roles, Standing,
};

use super::gossip::{Facts, Gossip};

/// The name of a node.
pub(crate) fn node_id(node: usize) -> NodeId {
    NodeId::new(&format!("n{node}")).expect("a fine name")
}

/// The node of a name.
pub(crate) fn node_index(id: &str) -> usize {
    id[1..].parse().expect("made by node_id")
}

struct Heard {
    generation: u64,
    heartbeat: u64,
    at: Instant,
}

/// What the operator and the start-up say about this node.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Intent {
    /// The self-check is done.
    pub(crate) published: bool,
    pub(crate) draining: bool,
    pub(crate) leaving: bool,
}

/// See the module.
pub(crate) struct Membership {
    me: usize,
    generation: u64,
    started_at: Instant,
    /// Since when the others hear of this node.
    told_at: Option<Instant>,
    held_until: Instant,
    settle: Duration,
    pub(crate) fence: Fence,
    pub(crate) gossip: Gossip,
    pub(crate) intent: Intent,
    pub(crate) announcement: Rc<str>,
    pub(crate) leases: LeaseTable,
    filter: Filter,
    heard: BTreeMap<usize, Heard>,
    health: BTreeMap<usize, Health>,
    settled: bool,
    pub(crate) view: Arc<ClusterView>,
}

impl Membership {
    pub(crate) fn new(
        now: Instant,
        me: usize,
        nodes: usize,
        generation: u64,
        crashes: &[Instant],
    ) -> Self {
        let config = FilterConfig::default();
        let held_back = if crashes.len() < 2 {
            Duration::ZERO
        } else {
            config.hold(crashes.len())
        };
        let mut filter = Filter::new(node_id(me), config);
        filter.remember_crashes(now, crashes.iter().rev().map(|at| now - *at));
        Self {
            me,
            generation,
            started_at: now,
            told_at: None,
            held_until: now + held_back,
            settle: config.settle,
            fence: Fence::new(now, FenceTimes::default()),
            gossip: Gossip::new(me, generation, nodes),
            intent: Intent::default(),
            announcement: Rc::from(""),
            leases: LeaseTable::new(LeaseTable::TTL),
            filter,
            heard: BTreeMap::new(),
            health: BTreeMap::new(),
            settled: nodes == 1,
            view: Arc::new(ClusterView::empty(node_id(me))),
        }
    }

    pub(crate) fn report_health(&mut self, node: usize, ok: bool) {
        let health = if ok { Health::Ok } else { Health::Failed };
        self.health.insert(node, health);
    }

    pub(crate) fn report_leases(&mut self, now: Instant, rows: &[LeaseRow]) {
        self.leases.observe_all(now, rows);
    }

    fn announced(&self, unready: bool) -> Option<Facts> {
        if !self.intent.published {
            return None;
        }
        let state = if self.intent.leaving {
            MemberState::Leaving
        } else if unready {
            MemberState::Joining
        } else if self.intent.draining {
            MemberState::Draining
        } else {
            MemberState::Ready
        };
        Some(Facts {
            state,
            announcement: Rc::clone(&self.announcement),
        })
    }

    /// Judges everybody; true if the view changed.
    pub(crate) fn judge(&mut self, now: Instant) -> bool {
        let isolated = self.fence.must_close(now);
        let unready =
            isolated || !self.settled || now < self.held_until || self.filter.holds_back();
        let facts = self.announced(unready);
        if facts.is_some() {
            self.told_at.get_or_insert(now);
        }
        self.gossip.say(facts.clone());

        let mut sightings = Vec::new();
        let mut shown = Vec::new();
        let mut unknown_alive = false;
        for (node, (rumour, alive)) in self.gossip.latest() {
            let Some(facts) = &rumour.facts else {
                unknown_alive |= alive;
                continue;
            };
            let heard = self.heard.entry(node).or_insert(Heard {
                generation: rumour.generation,
                heartbeat: rumour.heartbeat,
                at: now,
            });
            if heard.generation != rumour.generation {
                self.health.remove(&node);
            }
            if (heard.generation, heard.heartbeat) != (rumour.generation, rumour.heartbeat) {
                *heard = Heard {
                    generation: rumour.generation,
                    heartbeat: rumour.heartbeat,
                    at: now,
                };
            }
            let id = node_id(node);
            sightings.push(Sighting {
                lease: self.leases.lease(&id, rumour.generation),
                node: id,
                generation: rumour.generation,
                state: facts.state,
                alive,
                last_heard: heard.at,
                health: self.health.get(&node).copied().unwrap_or_default(),
            });
            shown.push((node, rumour.generation, facts.clone()));
        }
        if let Some(facts) = facts {
            sightings.push(Sighting {
                node: node_id(self.me),
                generation: self.generation,
                state: facts.state,
                alive: true,
                last_heard: now,
                health: Health::Unknown,
                lease: if self.fence.may_ack(now) {
                    Lease::Fresh
                } else {
                    Lease::Stale
                },
            });
            shown.push((self.me, self.generation, facts));
        }
        let standings = self.filter.judge(now, &sightings);
        if !self.settled {
            let others = sightings
                .iter()
                .any(|s| s.alive && s.node != node_id(self.me));
            let unplaced = unknown_alive
                || sightings.iter().any(|s| {
                    s.node != node_id(self.me)
                        && s.alive
                        && s.state == MemberState::Ready
                        && standings.get(&s.node) != Some(&Standing::Serving)
                });
            let joining = sightings
                .iter()
                .any(|s| s.node != node_id(self.me) && s.alive && s.state == MemberState::Joining);
            let elapsed = now - self.started_at;
            let told = self.told_at.map_or(Duration::ZERO, |at| now - at);
            self.settled = told >= self.settle * 3
                || (elapsed >= self.settle
                    && others
                    && !unplaced
                    && (!joining || told >= self.settle));
        }
        let members = shown
            .into_iter()
            .filter_map(|(node, generation, facts)| {
                let standing = *standings.get(&node_id(node))?;
                Some(self.member(node, generation, standing, &facts))
            })
            .collect();
        let next = ClusterView::new(self.view.version + 1, node_id(self.me), members, isolated);
        let changed = next != *self.view;
        if changed {
            self.view = Arc::new(next);
        }
        changed
    }

    fn member(&self, node: usize, generation: u64, standing: Standing, facts: &Facts) -> Member {
        let last = node as u8 + 1;
        Member {
            id: node_id(node),
            generation,
            roles: Roles::HOME | Roles::CLIENT | Roles::XMPP | Roles::DNS,
            state: facts.state,
            standing,
            mesh: SocketAddr::from(([10, 0, 0, last], 1)),
            public: vec![[192, 0, 2, last].into()],
            private: Vec::new(),
            host: format!("n{node}.nodes.example.net"),
            started: generation,
            announcement: facts.announcement.to_string(),
        }
    }
}
