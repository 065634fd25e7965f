//! Membership: gossip (chitchat, sealed) and leases in, an immutable [`ClusterView`] out.
//!
//! Everything runs on a thread of its own with a runtime of its own, so that a busy or blocked
//! program does not look dead to its peers. chitchat is known only in this folder.

mod facts;
mod generation;
mod node;
pub(crate) mod sealed;
mod transport;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub use facts::{FactsError, MemberFacts};
pub use sealed::DropReason;
pub use transport::Drops;

use crate::filter::FilterConfig;
use crate::lease::{Fence, FenceTimes, LeaseRow, LeaseTable};
use crate::node_id::NodeId;
use crate::view::ClusterView;
use node::{Command, Intent, MembershipNode};

/// Bound on reports that wait for the membership thread. Reports repeat, so what does not fit is
/// dropped.
const COMMANDS: usize = 1024;

/// Settings of membership. [`MembershipConfig::new`] fills in the times that the cluster is
/// designed for.
#[derive(Clone)]
pub struct MembershipConfig {
    /// The node's name.
    pub node_id: NodeId,
    /// The cluster's name: nodes of another cluster are not heard even with the same key.
    pub cluster_id: String,
    /// Where to listen (UDP). Port 0 lets the system choose.
    pub gossip_listen: SocketAddr,
    /// The address that peers send to; by default the one listened on.
    pub gossip_advertise: Option<SocketAddr>,
    /// `host:port` or `address:port` of any other nodes. Names are looked up again while few peers
    /// are seen.
    pub seeds: Vec<String>,
    /// The cluster's secret.
    pub key: [u8; 32],
    /// Where the generation is kept.
    pub data_dir: PathBuf,
    /// How often to gossip. More often finds deaths earlier and costs datagrams: 3 a round.
    pub gossip_interval: Duration,
    /// Suspicion at which chitchat calls a node dead. About phi mean heartbeat intervals.
    pub phi: f64,
    /// When a lease is stale: so long after the newest change.
    pub lease_ttl: Duration,
    /// The limits of the local fence; its `ack` must not exceed `lease_ttl`.
    pub fence: FenceTimes,
    /// The filter's times.
    pub filter: FilterConfig,
}

impl MembershipConfig {
    /// Settings with the default times, without seeds.
    #[must_use]
    pub fn new(
        node_id: NodeId,
        cluster_id: impl Into<String>,
        gossip_listen: SocketAddr,
        key: [u8; 32],
        data_dir: impl Into<PathBuf>,
    ) -> Self {
        Self {
            node_id,
            cluster_id: cluster_id.into(),
            gossip_listen,
            gossip_advertise: None,
            seeds: Vec::new(),
            key,
            data_dir: data_dir.into(),
            gossip_interval: Duration::from_millis(150),
            phi: 30.0,
            lease_ttl: LeaseTable::TTL,
            fence: FenceTimes::default(),
            filter: FilterConfig::default(),
        }
    }
}

/// The secret is not shown.
impl std::fmt::Debug for MembershipConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MembershipConfig")
            .field("node_id", &self.node_id)
            .field("cluster_id", &self.cluster_id)
            .field("gossip_listen", &self.gossip_listen)
            .field("gossip_advertise", &self.gossip_advertise)
            .field("seeds", &self.seeds)
            .field("data_dir", &self.data_dir)
            .finish_non_exhaustive()
    }
}

/// Why membership could not start, or could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// The fence would let this node acknowledge after others have given up its lease.
    #[error("the fence's ack limit must not exceed the lease's time to live")]
    FenceOutlivesLease,
    /// The advertised gossip address is unspecified (such as 0.0.0.0): peers could not send to it.
    #[error("the advertised gossip address {0} cannot be sent to")]
    NotAdvertisable(SocketAddr),
    /// The gossip socket could not be bound.
    #[error("cannot bind the gossip socket {address}")]
    Bind {
        /// Which address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The generation could not be kept.
    #[error("cannot keep the generation in {path}")]
    Generation {
        /// The data directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    NoEntropy,
    /// The thread or its runtime could not be started.
    #[error("cannot start the membership thread")]
    Thread(#[source] io::Error),
    /// Gossip could not be started on its thread.
    #[error("gossip did not start")]
    Gossip,
    /// The membership thread has ended.
    #[error("membership has ended")]
    Ended,
}

/// Starts membership.
#[derive(Debug)]
pub struct Membership;

impl Membership {
    /// Takes the next generation, binds the gossip socket and starts the membership thread.
    ///
    /// Blocks for some milliseconds (a durable write of the generation). Nothing is told to others
    /// before [`MembershipHandle::publish`].
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub fn start(config: MembershipConfig) -> Result<MembershipHandle, MembershipError> {
        if config.fence.ack > config.lease_ttl {
            return Err(MembershipError::FenceOutlivesLease);
        }
        let bind_error = |source| MembershipError::Bind {
            address: config.gossip_listen,
            source,
        };
        let socket = std::net::UdpSocket::bind(config.gossip_listen).map_err(bind_error)?;
        socket.set_nonblocking(true).map_err(bind_error)?;
        let listen = socket.local_addr().map_err(bind_error)?;
        let advertise = config.gossip_advertise.unwrap_or(listen);
        if advertise.ip().is_unspecified() || advertise.port() == 0 {
            return Err(MembershipError::NotAdvertisable(advertise));
        }
        let window = config.filter.flap_window;
        let life =
            generation::start(&config.data_dir, unix_seconds(), window).map_err(|source| {
                MembershipError::Generation {
                    path: config.data_dir.clone(),
                    source,
                }
            })?;
        let generation = life.generation;
        let mut incarnation = [0; 16];
        SystemRandom::new()
            .fill(&mut incarnation)
            .map_err(|_| MembershipError::NoEntropy)?;
        let channel = sealed::SealedChannel::new(
            &config.key,
            &config.cluster_id,
            config.node_id.clone(),
            generation,
            incarnation,
        );

        let started_at = now();
        let local_fence = Arc::new(Fence::new(started_at, config.fence));
        let (view_tx, view) = watch::channel(Arc::new(ClusterView::empty(config.node_id.clone())));
        let (intent, intent_rx) = watch::channel(Intent::default());
        let (commands, commands_rx) = mpsc::channel(COMMANDS);
        let (left_tx, left) = watch::channel(false);
        let (drops_tx, drops) = watch::channel(Drops::default());
        let stop = CancellationToken::new();
        let id = config.node_id.clone();
        let node = MembershipNode {
            advertise,
            generation,
            started_at,
            held_until: started_at + held_back(&config, life.crashes.len()),
            crashes: life.crashes,
            config,
            fence: Arc::clone(&local_fence),
            view: view_tx,
            intent: intent_rx,
            commands: commands_rx,
            left: left_tx,
            stop: stop.clone(),
        };
        // The thread says once whether gossip runs.
        let (started_tx, started) = std::sync::mpsc::sync_channel(1);
        std::thread::Builder::new()
            .name("membership".to_owned())
            .spawn(move || node.run(socket, channel, drops_tx, &started_tx))
            .map_err(MembershipError::Thread)?;
        match started.recv() {
            Ok(outcome) => outcome?,
            Err(_) => return Err(MembershipError::Gossip),
        }
        Ok(MembershipHandle {
            node_id: id,
            generation,
            gossip_addr: advertise,
            view,
            local_fence,
            intent,
            commands,
            left,
            drops,
            _stop: Arc::new(stop.drop_guard()),
        })
    }
}

/// The program's side of membership. When the last clone is dropped the thread ends without a
/// word, as if the node had died; [`MembershipHandle::leave`] first is the polite way.
#[derive(Debug, Clone)]
pub struct MembershipHandle {
    /// The local node's name.
    pub node_id: NodeId,
    /// This life's generation, to be written with the lease.
    pub generation: u64,
    /// The address that peers send gossip to.
    pub gossip_addr: SocketAddr,
    /// The local fence. Whoever renews the lease calls [`Fence::renewed`]; whoever acknowledges
    /// asks [`Fence::may_ack`]. The local node serves nothing before the first renewal.
    pub local_fence: Arc<Fence>,
    view: watch::Receiver<Arc<ClusterView>>,
    intent: watch::Sender<Intent>,
    commands: mpsc::Sender<Command>,
    left: watch::Receiver<bool>,
    drops: watch::Receiver<Drops>,
    _stop: Arc<tokio_util::sync::DropGuard>,
}

impl MembershipHandle {
    /// The view, and its changes. The channel closes when the membership thread ends.
    #[must_use]
    pub fn view(&self) -> watch::Receiver<Arc<ClusterView>> {
        self.view.clone()
    }

    /// Tells what this node is. Takes effect at once here and with the next gossip elsewhere;
    /// replaces what was published before.
    ///
    /// A node without a renewed lease (see [`ClusterView::isolated`]) is gossiped as joining,
    /// whatever it publishes; so is one that has seeds and does not yet know whom else there is
    /// (for [`FilterConfig::settle`], and up to three times that while it sees nobody or somebody
    /// whom it cannot place), and one that
    /// crashed repeatedly, for as long as the others would hold it down ([`FilterConfig::hold`]).
    ///
    /// # Errors
    /// [`FactsError`] if the facts exceed their bounds; nothing is published then.
    pub fn publish(&self, facts: MemberFacts) -> Result<(), FactsError> {
        facts.check()?;
        self.intent.send_modify(|intent| intent.facts = Some(facts));
        Ok(())
    }

    /// What a health check over the mesh said of a node. To be called at each change, or each time.
    pub fn report_health(&self, node: &NodeId, ok: bool) {
        self.report(Command::Health {
            node: node.clone(),
            ok,
        });
    }

    /// One lease as read from the store. Prefer [`MembershipHandle::report_leases`].
    pub fn report_lease(&self, node: &NodeId, generation: u64, counter: u64) {
        self.report(Command::Lease(LeaseRow {
            node: node.clone(),
            generation,
            counter,
        }));
    }

    /// The whole lease table as read from the store, the local node's row included. To be called a
    /// few times a second (every 250 ms): the time between two readings adds to the time in which
    /// a death is noticed.
    pub fn report_leases(&self, rows: Vec<LeaseRow>) {
        self.report(Command::Leases(rows));
    }

    /// Gossips what this node's name server serves.
    ///
    /// # Errors
    /// [`FactsError::BadAnnouncement`] beyond 64 visible ASCII characters.
    pub fn announce(&self, announcement: String) -> Result<(), FactsError> {
        if announcement.len() > 64 || !announcement.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(FactsError::BadAnnouncement);
        }
        self.intent
            .send_modify(|intent| intent.announcement = announcement);
        Ok(())
    }

    /// Announces that this node takes no new users: out of DNS and no home any more.
    pub fn drain(&self) {
        self.intent.send_modify(|intent| intent.draining = true);
    }

    /// Takes [`MembershipHandle::drain`] back.
    pub fn undrain(&self) {
        self.intent.send_modify(|intent| intent.draining = false);
    }

    /// Announces that this node leaves now, and waits until every live peer has been told several
    /// times (a few gossip intervals). Cannot be taken back: the next start joins again.
    ///
    /// # Errors
    /// [`MembershipError::Ended`] if the membership thread has ended.
    pub async fn leave(&self) -> Result<(), MembershipError> {
        self.intent.send_modify(|intent| intent.leaving = true);
        let mut left = self.left.clone();
        match left.wait_for(|left| *left).await {
            Ok(_) => Ok(()),
            Err(_) => Err(MembershipError::Ended),
        }
    }

    /// Replaces the seeds and contacts them now.
    pub fn reseed(&self, seeds: Vec<String>) {
        self.report(Command::Reseed(seeds));
    }

    /// How many gossip datagrams were dropped, by reason.
    #[must_use]
    pub fn drops(&self) -> watch::Receiver<Drops> {
        self.drops.clone()
    }

    fn report(&self, command: Command) {
        if self.commands.try_send(command).is_err() {
            metrics::counter!("entente_membership_reports_dropped_total").increment(1);
        }
    }
}

/// For how long after its start a node that crashed repeatedly does not call itself ready.
fn held_back(config: &MembershipConfig, crashes: usize) -> Duration {
    if crashes < 2 {
        return Duration::ZERO;
    }
    let hold = config.filter.hold(crashes);
    tracing::warn!(
        crashes,
        ?hold,
        "this node has crashed repeatedly and holds itself back"
    );
    hold
}

#[expect(
    clippy::disallowed_methods,
    reason = "the shell around the pure parts: the one place that reads the monotonic clock"
)]
fn now() -> Instant {
    Instant::now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the generation starts from the wall clock, so that it grows even if its file is lost"
)]
fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
