//! The service: what all connections share, the table of trunks, and the ways between peers, gateways and
//! other nodes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};
use std::time::Duration;

use entente_cluster::{NodeId, Standing};
use entente_interwork_core::gateway::Holdings;
use entente_sip_core::Message;
use entente_sip_core::draft::Draft;
use entente_sip_core::header::HeaderName;
use entente_sip_core::name_addr::NameAddr;
use entente_sip_core::owner::{Owner, OwnerKey};
use entente_sip_core::transaction::{Timing, TransactionConfig, TransactionLimits};
use entente_xmpp_core::jid::domain_to_ascii;
use tokio::sync::{mpsc, watch};

use super::away::Away;
use super::frame::SipFrame;
use super::gate::{Gate, domain_of};
use super::link::{Link, Links};
use super::port::{
    Acking, Busy, GatewayPort, Leg, Outcome, PeerRequest, SendFailure, Sending, SipCall,
};
use super::route::owner_of_node;
use super::status::{PeerStatus, add_link, add_trunk};
use super::transactions::{self, Job, TransactionsDriver, options};
use super::trunk::{self, Offer, Parcel, Trunk, TrunkKey};
use crate::clock::now;
use crate::config::{DomainConfig, FederationPolicy, SipConfig, SipPeerConfig};
use crate::fabric::{Switchboard, Unplaced};
use crate::net::throttle::Throttles;
use crate::net::{Admission, Resolver, listen};
use crate::tls::{SipCertificates, TlsError};

/// Forwardings after which a frame is refused: two nodes whose views differ must not play ping-pong.
const MAX_HOPS: u32 = 4;
/// Trunks at one time; one peer has one, one that is found by DNS has one for each domain.
const MAX_TRUNKS: usize = 10_000;
/// How long a drain waits for requests to be answered.
const DRAIN_TRANSACTIONS: Duration = Duration::from_secs(5);
/// How often a drain looks.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// The service could not be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SipError {
    /// The resolver could not be built.
    #[error("the resolver: {0}; check /etc/resolv.conf, or name resolvers in xmpp.resolver")]
    Resolver(#[from] hickory_resolver::net::NetError),
    /// The system has no entropy.
    #[error("the system gives no random bytes")]
    NoRandomness,
}

/// What the service is made of.
pub(crate) struct SipParts {
    pub(crate) config: SipConfig,
    pub(crate) resolvers: Vec<SocketAddr>,
    pub(crate) policy: Arc<FederationPolicy>,
    /// Our domains, with U-labels.
    pub(crate) domains: Vec<String>,
    pub(crate) switchboard: Arc<Switchboard>,
    pub(crate) certificates: SipCertificates,
    /// Seals tags and branches; the same on all nodes.
    pub(crate) secret: [u8; 32],
    /// Of this run of this node.
    pub(crate) epoch: u64,
}

/// See the module.
pub(crate) struct SipService {
    me: Weak<Self>,
    pub(super) config: SipConfig,
    policy: watch::Sender<Arc<FederationPolicy>>,
    switchboard: Arc<Switchboard>,
    pub(super) certificates: SipCertificates,
    pub(super) resolver: Resolver,
    pub(super) gate: Gate,
    pub(super) links: Links,
    pub(super) admission: Arc<Admission>,
    pub(super) throttles: Throttles,
    jobs: mpsc::Sender<Job>,
    trunks: RwLock<HashMap<TrunkKey, Arc<Trunk>>>,
    gateway: OnceLock<Arc<dyn GatewayPort>>,
    away: Mutex<Away>,
    node: Arc<str>,
    epoch: u64,
    /// Whose certificate is shown where it makes no difference; in A-labels.
    default_local: Arc<str>,
    /// Requests of ours that wait for an answer, and of peers.
    under_way: (AtomicUsize, AtomicUsize),
}

impl SipService {
    /// Sets the service up; nothing listens and nothing is connected yet.
    pub(crate) fn new(parts: SipParts) -> Result<Arc<Self>, SipError> {
        let resolver = Resolver::new(&parts.resolvers)?;
        let mut seed = [0; 16];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut seed)
            .map_err(|_| SipError::NoRandomness)?;
        let node: Arc<str> = Arc::from(parts.switchboard.local.as_str());
        let key = OwnerKey::new(&parts.secret);
        let transactions = TransactionConfig {
            host: parts.config.host.as_str().into(),
            port: (parts.config.public_port != 5061).then_some(parts.config.public_port),
            owner: owner_of_node(&node),
            key: key.clone(),
            timing: Timing::default(),
            limits: TransactionLimits::default(),
        };
        let (jobs, queue) = transactions::queue();
        let default_local = parts.domains.first().map_or_else(String::new, |domain| {
            domain_to_ascii(domain).map_or_else(|_| domain.clone(), |name| name.into_owned())
        });
        let service = Arc::new_cyclic(|me| Self {
            me: me.clone(),
            policy: watch::Sender::new(parts.policy),
            switchboard: parts.switchboard,
            certificates: parts.certificates,
            resolver,
            gate: Gate {
                domains: HashSet::from_iter(parts.domains),
                host: parts.config.host.clone(),
                key,
            },
            links: Links::default(),
            admission: Admission::new(
                parts.config.max_connections,
                parts.config.max_unauthenticated_per_address,
            ),
            throttles: Throttles::default(),
            jobs,
            trunks: RwLock::default(),
            gateway: OnceLock::new(),
            away: Mutex::default(),
            node,
            epoch: parts.epoch,
            default_local: default_local.into(),
            under_way: Default::default(),
            config: parts.config,
        });
        let driver = TransactionsDriver::new(Arc::clone(&service), transactions, seed, queue);
        tokio::spawn(driver.run());
        tokio::spawn(Arc::clone(&service).follow());
        Ok(service)
    }

    /// Tells the gateways of requests that were at a node when it died.
    async fn follow(self: Arc<Self>) {
        let mut view = self.switchboard.view.clone();
        while view.changed().await.is_ok() {
            let current = view.borrow_and_update().clone();
            let lost = self.away().lost(&current);
            for call in lost {
                self.deliver(call, Outcome::Failed(SendFailure::Broken));
            }
        }
    }

    fn away(&self) -> std::sync::MutexGuard<'_, Away> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects the gateway shards of this node; once, at the start.
    pub(crate) fn connect_gateway(&self, gateway: Arc<dyn GatewayPort>) {
        assert!(
            self.gateway.set(gateway).is_ok(),
            "the gateway is connected once"
        );
    }

    /// The name of this node, and the generation of this run of it.
    pub(crate) fn identity(&self) -> (Arc<str>, u64) {
        (Arc::clone(&self.node), self.epoch)
    }

    /// Listens on `address` while `open` says so.
    pub(crate) async fn listen(
        self: Arc<Self>,
        address: SocketAddr,
        tls: bool,
        open: watch::Receiver<bool>,
    ) {
        let purpose = if tls {
            "SIP federation"
        } else {
            "SIP federation, without TLS"
        };
        listen::accept_while_open(address, purpose, open, move |socket, peer| {
            tokio::spawn(super::accept::serve(Arc::clone(&self), socket, peer, tls));
        })
        .await;
    }

    /// Replaces the policy. Connections stay; each request is held against the new one.
    pub(crate) fn set_policy(&self, policy: Arc<FederationPolicy>) {
        self.policy.send_replace(policy);
    }

    /// Reads certificates again; on an error the old ones stay.
    pub(crate) fn reload(
        &self,
        sip: &SipConfig,
        domains: &BTreeMap<String, DomainConfig>,
    ) -> Result<(), TlsError> {
        self.certificates.reload(sip, domains)
    }

    /// What counts now.
    pub(super) fn policy(&self) -> Arc<FederationPolicy> {
        Arc::clone(&self.policy.borrow())
    }

    /// Takes leave of all peers: what is under way is answered first, for a while. New requests of our
    /// users leave by other nodes by now.
    pub(crate) fn leave(&self) {
        let Some(me) = self.me.upgrade() else { return };
        tokio::spawn(async move {
            let until = now() + DRAIN_TRANSACTIONS;
            while now() < until && me.is_busy() {
                tokio::time::sleep(DRAIN_LOOK).await;
            }
            for link in me.links.all() {
                link.close();
            }
        });
    }

    /// Connections that are open.
    pub(crate) fn connected(&self) -> usize {
        self.links.count()
    }

    fn is_busy(&self) -> bool {
        let (ours, theirs) = &self.under_way;
        ours.load(Ordering::Relaxed) + theirs.load(Ordering::Relaxed) > 0
            || self.all_trunks().iter().any(|trunk| !trunk.is_empty())
    }

    /// All peers of the configuration.
    pub(crate) fn status(&self) -> Vec<PeerStatus> {
        let policy = self.policy();
        let other = policy.sip.other.as_ref().map(|peer| &peer.name);
        let mut peers: BTreeMap<String, PeerStatus> = policy
            .sip
            .peers
            .iter()
            .map(|(name, peer)| {
                let is_other = other == Some(&peer.name);
                (name.clone(), PeerStatus::of(peer, is_other))
            })
            .collect();
        let now = now();
        for link in self.links.all() {
            add_link(&mut peers, now, &link);
        }
        for trunk in self.all_trunks() {
            add_trunk(&mut peers, &trunk);
        }
        for (name, held) in self.holdings() {
            if let Some(peer) = peers.get_mut(&*name) {
                peer.hold(held);
            }
        }
        peers.into_values().collect()
    }

    /// What the users of this node have with each peer.
    fn holdings(&self) -> BTreeMap<Arc<str>, Holdings> {
        self.gateway
            .get()
            .map(|gateway| gateway.holdings())
            .unwrap_or_default()
    }

    /// How many transactions there are, for metrics and drains.
    pub(super) fn show_transactions(&self, (ours, theirs): (usize, usize)) {
        self.under_way.0.store(ours, Ordering::Relaxed);
        self.under_way.1.store(theirs, Ordering::Relaxed);
        metrics::gauge!("entente_sip_transactions", "side" => "client").set(ours as f64);
        metrics::gauge!("entente_sip_transactions", "side" => "server").set(theirs as f64);
    }

    /// Gauges that are read off.
    pub(crate) fn gauge(&self) {
        let links = self.links.all();
        for (direction, inbound) in [("in", true), ("out", false)] {
            let count = links.iter().filter(|link| link.inbound == inbound).count();
            metrics::gauge!("entente_sip_connections", "direction" => direction).set(count as f64);
        }
        for (peer, held) in self.holdings() {
            for (kind, count) in [
                ("watchers", held.watchers),
                ("contacts", held.contacts),
                ("sessions", held.sessions),
            ] {
                metrics::gauge!("entente_sip_dialogs", "peer" => peer.to_string(), "kind" => kind)
                    .set(count as f64);
            }
        }
    }

    // --- To the transactions -------------------------------------------------------------------

    /// Gives work to the transactions; waits for room.
    pub(super) async fn submit(&self, job: Job) {
        let _stopping = self.jobs.send(job).await;
    }

    /// The same without waiting.
    fn try_submit(&self, job: Job) {
        if self.jobs.try_send(job).is_err() {
            metrics::counter!("entente_sip_dropped_total", "what" => "job").increment(1);
        }
    }

    /// The name of a server transaction in the cluster.
    pub(super) fn leg(&self, transaction: u64) -> Leg {
        Leg {
            edge: Arc::clone(&self.node),
            epoch: self.epoch,
            transaction,
        }
    }

    /// The probe for a connection; `None` where nobody spoke yet.
    pub(super) fn probe(&self, link: &Link) -> Option<Draft> {
        let speakers = link.speakers();
        let domain = domain_to_ascii(speakers.keys().next()?).ok()?.into_owned();
        let call_id = format!("{:016x}", rand::random::<u64>());
        Some(options(&domain, &self.default_local, &call_id))
    }

    // --- From peers to gateways ----------------------------------------------------------------

    /// To the gateway of the user: here, or on the node that is the user's home.
    pub(super) fn to_gateway(&self, request: PeerRequest) -> Result<(), Busy> {
        self.forward_request(request, 0)
    }

    fn forward_request(&self, request: PeerRequest, hops: u32) -> Result<(), Busy> {
        let home = {
            let view = self.switchboard.view.borrow();
            view.home_of_hash(request.user).cloned()
        };
        match home {
            Some(home) if home == self.switchboard.local => {
                self.gateway.get().ok_or(Busy)?.request(request)
            }
            Some(home) if hops < MAX_HOPS => {
                let hops = hops + 1;
                self.to_node(&home, SipFrame::Request { request, hops })
                    .map_err(|Unplaced| Busy)
            }
            _ => Err(Busy),
        }
    }

    /// What came of a parcel, to the gateway shard that sent it.
    pub(super) fn outcome(&self, parcel: &Parcel, outcome: Outcome) {
        if let Parcel::Request { sending, .. } = parcel {
            self.deliver(sending.call.clone(), outcome);
        }
    }

    fn deliver(&self, call: SipCall, outcome: Outcome) {
        if call.node == self.node {
            if outcome.is_final() {
                self.away().over(&call);
            }
            if let (true, Some(gateway)) = (call.epoch == self.epoch, self.gateway.get()) {
                gateway.outcome(call, outcome);
            }
            return;
        }
        let frame = SipFrame::Outcome {
            call: call.clone(),
            outcome,
        };
        let sent = NodeId::new(&call.node).map(|node| self.to_node(&node, frame));
        if !matches!(sent, Ok(Ok(()))) {
            metrics::counter!("entente_sip_dropped_total", "what" => "outcome").increment(1);
        }
    }

    /// A response to a transaction of another node.
    pub(super) fn stray(&self, owner: &Owner, response: Message) {
        let node = {
            let view = self.switchboard.view.borrow();
            let mut others = view.members.iter().filter(|member| member.id != view.local);
            others
                .find(|member| owner_of_node(member.id.as_str()) == *owner)
                .map(|member| member.id.clone())
        };
        match node.map(|node| self.to_node(&node, SipFrame::Stray(response))) {
            Some(Ok(())) => {}
            _ => metrics::counter!("entente_sip_dropped_total", "what" => "stray").increment(1),
        }
    }

    /// A peer is reachable again: the gateways of all nodes refresh what they have with it.
    pub(super) fn peer_up(&self, peer: &Arc<str>) {
        tracing::info!(%peer, "a SIP peer is reachable again");
        if let Some(gateway) = self.gateway.get() {
            gateway.peer_up(Arc::clone(peer));
        }
        let members = Arc::clone(&self.switchboard.view.borrow().members);
        let others = members.iter().filter(|member| {
            member.id != self.switchboard.local && member.standing != Standing::Down
        });
        for member in others {
            let _later = self.to_node(&member.id, SipFrame::PeerUp(Arc::clone(peer)));
        }
    }

    /// A peer spoke on a connection that it has just opened: who waits to reach it need not any longer.
    pub(super) fn peer_spoke(&self, peer: &str) {
        for trunk in self.all_trunks() {
            if *trunk.key.peer == *peer {
                trunk.peer_spoke();
            }
        }
    }

    // --- From gateways to peers ----------------------------------------------------------------

    /// A gateway's response to a peer's request. Never waits.
    pub(crate) fn respond(&self, leg: &Leg, response: Message) {
        if leg.edge != self.node {
            let frame = SipFrame::Respond {
                leg: leg.clone(),
                response,
            };
            let sent = NodeId::new(&leg.edge).map(|node| self.to_node(&node, frame));
            if !matches!(sent, Ok(Ok(()))) {
                metrics::counter!("entente_sip_dropped_total", "what" => "response").increment(1);
            }
        } else if leg.epoch == self.epoch {
            self.try_submit(Job::Respond {
                transaction: leg.transaction,
                response,
            });
        }
    }

    /// A gateway's request to a peer; what comes of it goes to [`GatewayPort::outcome`]. Never waits.
    pub(crate) fn send(&self, sending: Sending) {
        self.forward(
            Parcel::Request {
                sending: Box::new(sending),
                attempts: 0,
            },
            0,
        );
    }

    /// The ACK of a 2xx. Never waits.
    pub(crate) fn acknowledge(&self, acking: Acking) {
        self.forward(Parcel::Ack(Box::new(acking)), 0);
    }

    /// To the node by which the parcel leaves.
    fn forward(&self, parcel: Parcel, hops: u32) {
        let policy = self.policy();
        let (name, user) = match &parcel {
            Parcel::Request { sending, .. } => (&sending.peer, sending.user),
            Parcel::Ack(acking) => (&acking.peer, acking.user),
        };
        let Some(peer) = policy.sip.peers.get(&**name) else {
            return self.outcome(&parcel, Outcome::Failed(SendFailure::Refused));
        };
        let node = {
            let view = self.switchboard.view.borrow();
            let node = match peer.one_node {
                true => view.sip_for_peer(name),
                false => view.sip_for_user(user),
            };
            node.cloned()
        };
        match node {
            Some(node) if node == self.switchboard.local => self.enqueue(peer, parcel),
            Some(node) if hops < MAX_HOPS => {
                let hops = hops + 1;
                let frame = match parcel.clone() {
                    Parcel::Request { sending, .. } => SipFrame::Send {
                        sending: *sending,
                        hops,
                    },
                    Parcel::Ack(acking) => SipFrame::Ack {
                        acking: *acking,
                        hops,
                    },
                };
                match (self.to_node(&node, frame), &parcel) {
                    (Err(Unplaced), _) => {
                        self.outcome(&parcel, Outcome::Failed(SendFailure::Refused));
                    }
                    (Ok(()), Parcel::Request { sending, .. }) if sending.call.node == self.node => {
                        let call = sending.call.clone();
                        let generation = self.generation(&node);
                        self.away().left(call, node, generation);
                    }
                    (Ok(()), _) => {}
                }
            }
            _ => self.outcome(&parcel, Outcome::Failed(SendFailure::Unreachable)),
        }
    }

    fn generation(&self, node: &NodeId) -> u64 {
        let view = self.switchboard.view.borrow();
        view.member(node).map_or(0, |member| member.generation)
    }

    /// An INVITE of a gateway is not wanted any more: CANCEL goes out if it went out itself; its outcome
    /// still comes. Never waits.
    pub(crate) fn cancel(&self, call: SipCall) {
        let place = self.away().place(&call).cloned();
        match place {
            Some(node) => {
                if self.to_node(&node, SipFrame::Cancel(call)).is_err() {
                    metrics::counter!("entente_sip_dropped_total", "what" => "cancel").increment(1);
                }
            }
            None => self.cancel_here(call),
        }
    }

    fn cancel_here(&self, call: SipCall) {
        let withdrawn = self
            .all_trunks()
            .iter()
            .find_map(|trunk| trunk.withdraw(&call));
        match withdrawn {
            Some(parcel) => self.outcome(&parcel, Outcome::Failed(SendFailure::Refused)),
            None => self.try_submit(Job::Cancel(call)),
        }
    }

    fn enqueue(&self, peer: &Arc<SipPeerConfig>, mut parcel: Parcel) {
        loop {
            let Some(trunk) = self.trunk(peer, &parcel) else {
                break;
            };
            match trunk.offer(parcel) {
                Offer::Taken => return,
                Offer::Full(back) => {
                    parcel = back;
                    break;
                }
                // It retired between the look-up and now.
                Offer::Retired(back) => {
                    self.remove(&trunk);
                    parcel = back;
                }
            }
        }
        metrics::counter!("entente_sip_dropped_total", "what" => "request").increment(1);
        self.outcome(&parcel, Outcome::Failed(SendFailure::Refused));
    }

    /// The trunk for a parcel, made if needed; `None` when there are too many.
    fn trunk(&self, peer: &Arc<SipPeerConfig>, parcel: &Parcel) -> Option<Arc<Trunk>> {
        let key = self.key(peer, parcel);
        {
            let trunks = self.trunks.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(trunk) = trunks.get(&key) {
                return Some(Arc::clone(trunk));
            }
        }
        let mut trunks = self.trunks.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(trunk) = trunks.get(&key) {
            return Some(Arc::clone(trunk));
        }
        if trunks.len() >= MAX_TRUNKS {
            return None;
        }
        let trunk = Arc::new(Trunk::new(key.clone(), peer, self.config.queue_requests));
        trunks.insert(key, Arc::clone(&trunk));
        if let Some(me) = self.me.upgrade() {
            tokio::spawn(trunk::serve(me, Arc::clone(&trunk)));
        }
        Some(trunk)
    }

    fn key(&self, peer: &Arc<SipPeerConfig>, parcel: &Parcel) -> TrunkKey {
        let domain = match parcel {
            Parcel::Request { sending, .. } => &sending.domain,
            Parcel::Ack(acking) => &acking.domain,
        };
        let domain = match peer.targets.first() {
            // The same servers, whatever the domain.
            Some((host, _)) => match peer.domains.first() {
                Some(first) => Arc::from(first.as_str()),
                None => Arc::from(host.as_str()),
            },
            None => Arc::clone(domain),
        };
        let local = match &self.config.identity {
            Some(_) => None,
            None => parcel
                .draft()
                .get(HeaderName::From)
                .and_then(NameAddr::parse)
                .and_then(|from| domain_of(from.uri()))
                .and_then(|domain| domain_to_ascii(&domain).ok().map(|name| name.into_owned())),
        };
        TrunkKey {
            peer: Arc::clone(&peer.name),
            domain,
            local: local.map_or_else(|| Arc::clone(&self.default_local), Arc::from),
        }
    }

    /// The trunk is idle and takes no more: out of the table.
    pub(super) fn remove(&self, trunk: &Arc<Trunk>) {
        let mut trunks = self.trunks.write().unwrap_or_else(PoisonError::into_inner);
        if trunks
            .get(&trunk.key)
            .is_some_and(|known| Arc::ptr_eq(known, trunk))
        {
            trunks.remove(&trunk.key);
        }
    }

    fn all_trunks(&self) -> Vec<Arc<Trunk>> {
        let trunks = self.trunks.read().unwrap_or_else(PoisonError::into_inner);
        trunks.values().cloned().collect()
    }

    // --- Between nodes -------------------------------------------------------------------------

    fn to_node(&self, node: &NodeId, frame: SipFrame) -> Result<(), Unplaced> {
        self.switchboard.send_sip(node, frame)
    }

    /// A frame of another node.
    pub(super) fn frame(&self, frame: SipFrame) {
        match frame {
            SipFrame::Request { request, hops } => self.pass_on(request, hops),
            SipFrame::Respond { leg, response } => {
                // Only the edge that the leg names gets it; anything else is a stale frame.
                if leg.edge == self.node {
                    self.respond(&leg, response);
                }
            }
            SipFrame::Send { sending, hops } => self.forward(
                Parcel::Request {
                    sending: Box::new(sending),
                    attempts: 0,
                },
                hops,
            ),
            SipFrame::Ack { acking, hops } => self.forward(Parcel::Ack(Box::new(acking)), hops),
            SipFrame::Outcome { call, outcome } => {
                if call.node == self.node {
                    self.deliver(call, outcome);
                }
            }
            SipFrame::Cancel(call) => self.cancel_here(call),
            SipFrame::Stray(response) => self.try_submit(Job::Stray(response)),
            SipFrame::PeerUp(peer) => {
                for trunk in self.all_trunks() {
                    if trunk.key.peer == peer {
                        trunk.reached_by_another_node();
                    }
                }
                if let Some(gateway) = self.gateway.get() {
                    gateway.peer_up(peer);
                }
            }
        }
    }

    /// A frame that never arrived at the node it was for.
    pub(super) fn frame_lost(&self, frame: SipFrame) {
        match frame {
            SipFrame::Send { sending, .. } => {
                self.deliver(sending.call, Outcome::Failed(SendFailure::Unreachable));
            }
            // The home died, and this node did not know yet: by now the user has another.
            SipFrame::Request { request, hops } => self.pass_on(request, hops),
            _ => {}
        }
    }

    /// A request that has come over the mesh, or came back from it: to the user's home.
    fn pass_on(&self, request: PeerRequest, hops: u32) {
        let leg = request.leg.clone();
        let message = request.message.clone();
        if let (Err(Busy), Some(leg)) = (self.forward_request(request, hops), leg) {
            self.respond_busy(&leg, &message);
        }
    }

    fn respond_busy(&self, leg: &Leg, request: &Message) {
        let response = request
            .response(entente_sip_core::status::Status::SERVICE_UNAVAILABLE)
            .to_tag("busy")
            .header(HeaderName::RetryAfter, 5)
            .build();
        if let Ok(response) = response {
            self.respond(leg, response);
        }
    }

    /// The gateway shards, once they are connected.
    pub(super) fn gateway(&self) -> Option<&Arc<dyn GatewayPort>> {
        self.gateway.get()
    }

    pub(super) fn switchboard(&self) -> &Arc<Switchboard> {
        &self.switchboard
    }
}
