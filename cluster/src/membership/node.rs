//! The loop of the membership thread: chitchat and reports in, views out.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use chitchat::{
    Chitchat, ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, ProtocolVersion,
};
use tokio::net::lookup_host;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::facts::{self, MemberFacts};
use super::sealed::SealedChannel;
use super::transport::{Drops, SealedTransport};
use super::{MembershipConfig, MembershipError, generation, now};
use crate::filter::{Filter, Health, Sighting};
use crate::lease::{Fence, Lease, LeaseRow, LeaseTable};
use crate::node_id::NodeId;
use crate::view::{ClusterView, Member, MemberState, Standing};

/// Gossip forgets a dead node after this. The default of a day makes digests outgrow a datagram.
const DEAD_GRACE: Duration = Duration::from_secs(15 * 60);
/// How often seeds are contacted while nobody else is seen, and otherwise.
const SEED_ALONE: Duration = Duration::from_secs(1);
const SEED_SETTLED: Duration = Duration::from_secs(30);
/// Bound on looking up one seed.
const SEED_LOOKUP: Duration = Duration::from_secs(2);
/// Bounds on seeds and on the addresses of one.
const MAX_SEEDS: usize = 32;
const MAX_SEED_ADDRESSES: usize = 16;
/// How often every live peer is told of a leave: with a fifth of the datagrams lost, about one in
/// a hundred misses all of them, and hears it from another peer.
const LEAVE_ROUNDS: u32 = 6;

/// What reports bring.
#[derive(Debug)]
pub(super) enum Command {
    Health { node: NodeId, ok: bool },
    Lease(LeaseRow),
    Leases(Vec<LeaseRow>),
    Reseed(Vec<String>),
}

/// What the program wants to be told about this node.
#[derive(Debug, Clone, Default)]
pub(super) struct Intent {
    pub(super) facts: Option<MemberFacts>,
    pub(super) draining: bool,
    pub(super) leaving: bool,
    pub(super) announcement: String,
}

impl Intent {
    /// The facts as announced now. A node whose listeners the fence has closed must not be in
    /// anybody's DNS: it is as good as joining, like one that holds itself back after its start.
    fn announced(&self, unready: bool) -> Option<MemberFacts> {
        let mut facts = self.facts.clone()?;
        facts.state = match facts.state {
            _ if self.leaving => MemberState::Leaving,
            MemberState::Leaving => MemberState::Leaving,
            _ if unready => MemberState::Joining,
            MemberState::Ready if self.draining => MemberState::Draining,
            state => state,
        };
        facts.announcement.clone_from(&self.announcement);
        Some(facts)
    }
}

/// Everything that moves to the membership thread.
pub(super) struct MembershipNode {
    pub(super) config: MembershipConfig,
    pub(super) advertise: SocketAddr,
    pub(super) generation: u64,
    pub(super) started_at: Instant,
    /// Until then this node does not call itself ready.
    pub(super) held_until: Instant,
    /// How long before the start earlier lives crashed, the latest first.
    pub(super) crashes: Vec<Duration>,
    pub(super) fence: Arc<Fence>,
    pub(super) view: watch::Sender<Arc<ClusterView>>,
    pub(super) intent: watch::Receiver<Intent>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) left: watch::Sender<bool>,
    pub(super) stop: CancellationToken,
}

/// What the loop remembers between rounds.
struct Round {
    filter: Filter,
    leases: LeaseTable,
    health: BTreeMap<NodeId, Health>,
    heard: BTreeMap<NodeId, Heard>,
    seeds: Vec<String>,
    announced: Option<MemberFacts>,
    /// Since when the others can hear of this node.
    told_at: Option<Instant>,
    /// This node can know whom else there is.
    settled: bool,
}

/// The last heartbeat of a node's latest life.
struct Heard {
    generation: u64,
    heartbeat: u64,
    at: Instant,
}

/// A node as chitchat shows it, of its highest generation.
struct Seen {
    generation: u64,
    alive: bool,
    heartbeat: u64,
    gossip: SocketAddr,
    facts: Option<MemberFacts>,
}

impl MembershipNode {
    /// The body of the thread.
    pub(super) fn run(
        self,
        socket: std::net::UdpSocket,
        channel: SealedChannel,
        drops: watch::Sender<Drops>,
        started: &SyncSender<Result<(), MembershipError>>,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                // The receiver waits for exactly this; if it is gone there is nobody to tell.
                let _ = started.send(Err(MembershipError::Thread(error)));
                return;
            }
        };
        let stop = self.stop.clone();
        runtime.block_on(async {
            let gossip = match self.start_gossip(socket, channel, drops).await {
                Ok(gossip) => gossip,
                Err(error) => {
                    let _ = started.send(Err(error));
                    return;
                }
            };
            let _ = started.send(Ok(()));
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.serve(gossip) => tracing::error!("gossip has ended"),
            }
        });
        // Lookups of seeds may hang in the resolver: they are left behind.
        runtime.shutdown_background();
    }

    async fn start_gossip(
        &self,
        socket: std::net::UdpSocket,
        channel: SealedChannel,
        drops: watch::Sender<Drops>,
    ) -> Result<ChitchatHandle, MembershipError> {
        let config = &self.config;
        let socket =
            tokio::net::UdpSocket::from_std(socket).map_err(|source| MembershipError::Bind {
                address: config.gossip_listen,
                source,
            })?;
        let transport = SealedTransport::new(socket, channel, drops);
        let chitchat = ChitchatConfig {
            chitchat_id: ChitchatId::new(config.node_id.as_str(), self.generation, self.advertise),
            cluster_id: config.cluster_id.clone(),
            gossip_interval: config.gossip_interval,
            listen_addr: config.gossip_listen,
            // Seeds are contacted here: chitchat would wait for their names before it starts, and
            // looks them up only once a minute.
            seed_nodes: Vec::new(),
            failure_detector_config: FailureDetectorConfig {
                phi_threshold: config.phi,
                sampling_window_size: 1_000,
                max_interval: Duration::from_secs(10),
                initial_interval: config.gossip_interval,
                dead_node_grace_period: DEAD_GRACE,
            },
            marked_for_deletion_grace_period: DEAD_GRACE,
            catchup_callback: None,
            extra_liveness_predicate: None,
            protocol_version: ProtocolVersion::V1,
        };
        chitchat::spawn_chitchat(chitchat, Vec::new(), &transport)
            .await
            .map_err(|error| {
                tracing::error!(%error, "gossip did not start");
                MembershipError::Gossip
            })
    }

    /// Runs until gossip ends or every handle is gone.
    async fn serve(mut self, gossip: ChitchatHandle) {
        let mut filter = Filter::new(self.config.node_id.clone(), self.config.filter);
        filter.remember_crashes(self.started_at, std::mem::take(&mut self.crashes));
        let mut round = Round {
            filter,
            leases: LeaseTable::new(self.config.lease_ttl),
            health: BTreeMap::new(),
            heard: BTreeMap::new(),
            seeds: self.config.seeds.clone(),
            announced: None,
            told_at: None,
            settled: self.config.seeds.is_empty(),
        };
        let (found, mut found_rx) = mpsc::channel::<SocketAddr>(MAX_SEEDS * MAX_SEED_ADDRESSES);
        // Twice in a gossip round, because a death is one of the things that only time shows.
        let mut tick = interval((self.config.gossip_interval / 2).min(Duration::from_millis(100)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut leave = interval(self.config.gossip_interval);
        leave.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut leave_rounds = 0;
        let mut next_seeding = now();
        let mut live = watch_live(&gossip).await;
        let ended = gossip.termination_watcher();
        tokio::pin!(ended);

        loop {
            tokio::select! {
                _ = &mut ended => return,
                _ = tick.tick() => {}
                changed = live.changed() => if changed.is_err() { return },
                changed = self.intent.changed() => if changed.is_err() { return },
                command = self.commands.recv() => match command {
                    Some(command) => {
                        if matches!(command, Command::Reseed(_)) {
                            next_seeding = now();
                        }
                        round.take(now(), command);
                        // Take what else has queued, so that one reading is judged together.
                        while let Ok(command) = self.commands.try_recv() {
                            round.take(now(), command);
                        }
                    }
                    None => return,
                },
                Some(address) = found_rx.recv() => {
                    if gossip.gossip(address).is_err() {
                        return;
                    }
                    continue;
                }
                _ = leave.tick(), if self.intent.borrow().leaving && leave_rounds < LEAVE_ROUNDS => {
                    leave_rounds += 1;
                    for peer in live_peers(&gossip).await {
                        if gossip.gossip(peer).is_err() {
                            return;
                        }
                    }
                    if leave_rounds == LEAVE_ROUNDS {
                        // The next start only waits longer if this fails.
                        if let Err(error) = generation::end(&self.config.data_dir) {
                            tracing::warn!(%error, "this leave will count as a crash");
                        }
                        self.left.send_replace(true);
                    }
                    continue;
                }
            }
            let now = now();
            let others = self.judge(now, &gossip, &mut round).await;
            if now >= next_seeding {
                next_seeding = now
                    + if others > 0 {
                        SEED_SETTLED
                    } else if round.settled {
                        SEED_ALONE
                    } else {
                        // The first contact with a peer is always lost on its hello.
                        self.config.gossip_interval * 2
                    };
                contact_seeds(&round.seeds, self.advertise, &found);
            }
        }
    }

    /// Announces, collects what is seen, judges it and publishes the view if it changed. Returns
    /// how many other nodes gossip believes alive.
    async fn judge(&self, now: Instant, gossip: &ChitchatHandle, round: &mut Round) -> usize {
        let isolated = self.fence.must_close(now);
        let unready =
            isolated || !round.settled || now < self.held_until || round.filter.holds_back();
        let announced = self.intent.borrow().announced(unready);
        let shared = gossip.chitchat();
        let seen = {
            let mut chitchat = shared.lock().await;
            if announced != round.announced
                && let Some(facts) = &announced
            {
                chitchat.self_node_state().set(facts::KEY, facts.to_value());
            }
            collect(&chitchat)
        };
        if announced.is_some() {
            round.told_at.get_or_insert(now);
        }
        round.announced = announced;
        let local = &self.config.node_id;
        let others = seen
            .iter()
            .filter(|(id, seen)| *id != local && seen.alive)
            .count();
        let sightings: Vec<_> = seen
            .iter()
            .filter_map(|(id, seen)| self.sighting(now, round, id, seen))
            .collect();
        round.heard.retain(|id, _| seen.contains_key(id));
        round.health.retain(|id, _| seen.contains_key(id));
        let standings = round.filter.judge(now, &sightings);
        if !round.settled {
            // A ready node that is not serving may just not have been placed yet: its lease has not
            // been read, or it has not been stable for long enough.
            let unplaced = sightings.iter().any(|s| {
                s.node != *local
                    && s.alive
                    && s.state == MemberState::Ready
                    && standings.get(&s.node) != Some(&Standing::Serving)
            }) || seen.values().any(|seen| seen.alive && seen.facts.is_none());
            // Those that start now, as after a failure of the whole cluster, wait for their stores
            // for unequal times. Whoever took no notice of them would be the home of everybody.
            let joining = sightings
                .iter()
                .any(|s| s.node != *local && s.alive && s.state == MemberState::Joining);
            let settle = self.config.filter.settle;
            let elapsed = now.saturating_duration_since(self.started_at);
            let told = round
                .told_at
                .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
            round.settled = told >= settle * 3
                || (elapsed >= settle && others > 0 && !unplaced && (!joining || told >= settle));
        }
        let members = seen
            .into_iter()
            .filter_map(|(id, seen)| {
                let standing = *standings.get(&id)?;
                let facts = seen.facts?;
                Some(Member {
                    id,
                    generation: seen.generation,
                    roles: facts.roles,
                    state: facts.state,
                    standing,
                    mesh: facts.mesh,
                    public: facts.public,
                    private: facts.private,
                    host: facts.host,
                    started: facts.started,
                    announcement: facts.announcement,
                })
            })
            .collect();
        self.view.send_if_modified(|view| {
            let next = ClusterView::new(view.version + 1, local.clone(), members, isolated);
            let changed = next != **view;
            if changed {
                *view = Arc::new(next);
            }
            changed
        });
        others
    }

    /// What is seen of a node; none while its facts have not come.
    fn sighting(
        &self,
        now: Instant,
        round: &mut Round,
        id: &NodeId,
        seen: &Seen,
    ) -> Option<Sighting> {
        let facts = seen.facts.as_ref()?;
        let heard = round.heard.entry(id.clone()).or_insert(Heard {
            generation: seen.generation,
            heartbeat: seen.heartbeat,
            at: now,
        });
        if heard.generation != seen.generation {
            // The old life's health says nothing about the new one.
            round.health.remove(id);
        }
        if (heard.generation, heard.heartbeat) != (seen.generation, seen.heartbeat) {
            *heard = Heard {
                generation: seen.generation,
                heartbeat: seen.heartbeat,
                at: now,
            };
        }
        let is_local = *id == self.config.node_id;
        let lease = if !is_local {
            round.leases.lease(id, seen.generation)
        } else if self.fence.may_ack(now) {
            Lease::Fresh
        } else {
            Lease::Stale
        };
        Some(Sighting {
            node: id.clone(),
            generation: seen.generation,
            state: facts.state,
            alive: is_local || seen.alive,
            last_heard: heard.at,
            health: round.health.get(id).copied().unwrap_or_default(),
            lease,
        })
    }
}

impl Round {
    fn take(&mut self, now: Instant, command: Command) {
        match command {
            Command::Health { node, ok } => {
                let health = if ok { Health::Ok } else { Health::Failed };
                if self.health.len() < Filter::MAX_NODES || self.health.contains_key(&node) {
                    self.health.insert(node, health);
                }
            }
            Command::Lease(row) => {
                self.leases
                    .observe(now, &row.node, row.generation, row.counter);
            }
            Command::Leases(rows) => self.leases.observe_all(now, &rows),
            Command::Reseed(seeds) => self.seeds = seeds,
        }
    }
}

async fn watch_live(
    gossip: &ChitchatHandle,
) -> watch::Receiver<BTreeMap<ChitchatId, chitchat::NodeState>> {
    let shared = gossip.chitchat();
    let chitchat = shared.lock().await;
    chitchat.live_nodes_watcher()
}

/// Every known node's latest life. After a restart both lives can look alive for a while.
fn collect(chitchat: &Chitchat) -> BTreeMap<NodeId, Seen> {
    let live: HashSet<_> = chitchat.live_nodes().collect();
    let mut nodes = BTreeMap::<NodeId, Seen>::new();
    for (id, state) in chitchat.node_states() {
        let Ok(name) = NodeId::new(&id.node_id) else {
            continue;
        };
        let known = nodes.get(&name);
        if known.is_some_and(|known| known.generation > id.generation_id) {
            continue;
        }
        let facts = state.get(facts::KEY).and_then(|value| {
            MemberFacts::from_value(value)
                .inspect_err(|error| tracing::debug!(node = %name, %error, "unreadable facts"))
                .ok()
        });
        let seen = Seen {
            generation: id.generation_id,
            alive: live.contains(id),
            heartbeat: state.heartbeat().into(),
            gossip: id.gossip_advertise_addr,
            facts,
        };
        nodes.insert(name, seen);
    }
    nodes
}

async fn live_peers(gossip: &ChitchatHandle) -> Vec<SocketAddr> {
    let own = gossip.chitchat_id().gossip_advertise_addr;
    let shared = gossip.chitchat();
    let chitchat = shared.lock().await;
    collect(&chitchat)
        .into_values()
        .filter(|seen| seen.alive && seen.gossip != own)
        .map(|seen| seen.gossip)
        .collect()
}

/// Looks the seeds up, each in a task of its own, and sends what was found.
fn contact_seeds(seeds: &[String], own: SocketAddr, found: &mpsc::Sender<SocketAddr>) {
    for seed in seeds.iter().take(MAX_SEEDS) {
        let (seed, found) = (seed.clone(), found.clone());
        tokio::spawn(async move {
            let addresses = match timeout(SEED_LOOKUP, lookup_host(&seed)).await {
                Ok(Ok(addresses)) => addresses,
                Ok(Err(error)) => {
                    tracing::debug!(%seed, %error, "seed not found");
                    return;
                }
                Err(_) => return,
            };
            for address in addresses.take(MAX_SEED_ADDRESSES) {
                // A full queue means that they are being contacted already.
                if address != own && found.try_send(address).is_err() {
                    return;
                }
            }
        });
    }
}
