//! The switchboard: by today's view, where does this go?

use std::hash::BuildHasher;
use std::sync::{Arc, OnceLock};

use entente_cluster::forward::Mesh;
use entente_cluster::{ClusterView, Fence, NodeId};
use entente_fabric_core::outbound::OutboundItem;
use entente_fabric_core::session::Homes;
use entente_fabric_core::way::{self, Domain, HolderSeqs, Way};
use entente_home_core::{
    DeliveryId, EndReason, EnvelopeId, Input, Output, SessionEndReason, SessionKey, SessionSnapshot,
};
use entente_xmpp_core::jid::{BareJid, FullJid, Jid};
use entente_xmpp_core::stanza::Stanza;
use hashbrown::{DefaultHashBuilder, HashSet};
use tokio::sync::{mpsc, watch};

use super::connections::Connections;
use super::inbox::Item;
use super::receipts::ReceiptBatch;
use super::wire::WireFrame;
use crate::sip::frame::SipFrame;

/// Who sends to other domains. It takes everything: what it can't send, it answers.
pub(crate) trait OutboundSink: Send + Sync {
    fn submit(&self, item: OutboundItem);
}

/// SIP federation on this node.
pub(crate) trait SipPart: Send + Sync {
    /// Whether the domain is spoken to over SIP.
    fn takes(&self, domain: &str) -> bool;

    /// A stanza of a user whose home this is, for such a domain. It takes everything: what it can't
    /// send, it answers.
    fn submit(&self, item: OutboundItem);

    /// A frame that another node sent.
    fn frame(&self, frame: SipFrame);

    /// A frame of this node that its receiver never got.
    fn frame_lost(&self, frame: SipFrame);
}

/// There is no node to give it to now; the holder tries again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unplaced;

/// The two ways into a shard. Edges wait for room in `edge`; the rest is taken from `inner` first.
#[derive(Clone)]
pub(crate) struct ShardLanes {
    pub(crate) edge: mpsc::Sender<Input>,
    pub(crate) inner: mpsc::Sender<Input>,
}

/// See the module.
pub(crate) struct Switchboard {
    pub(crate) local: NodeId,
    pub(crate) connections: Arc<Connections>,
    pub(crate) fence: Arc<Fence>,
    pub(crate) view: watch::Receiver<Arc<ClusterView>>,
    domains: HashSet<String>,
    shards: Vec<ShardLanes>,
    hasher: DefaultHashBuilder,
    mesh: OnceLock<Mesh>,
    outbound: OnceLock<Arc<dyn OutboundSink>>,
    sip: OnceLock<Arc<dyn SipPart>>,
}

pub(super) enum Place {
    Here,
    There(NodeId),
    Nowhere,
}

impl Switchboard {
    pub(crate) fn new(
        connections: Arc<Connections>,
        fence: Arc<Fence>,
        view: watch::Receiver<Arc<ClusterView>>,
        domains: impl IntoIterator<Item = String>,
        shards: Vec<ShardLanes>,
    ) -> Arc<Self> {
        let local = view.borrow().local.clone();
        Arc::new(Self {
            local,
            connections,
            fence,
            view,
            domains: domains.into_iter().collect(),
            shards,
            hasher: DefaultHashBuilder::default(),
            mesh: OnceLock::new(),
            outbound: OnceLock::new(),
            sip: OnceLock::new(),
        })
    }

    /// Connects the mesh; once, at the start.
    pub(crate) fn connect_mesh(&self, mesh: Mesh) {
        assert!(self.mesh.set(mesh).is_ok(), "the mesh is connected once");
    }

    /// Connects the outbound streams; once, at the start.
    pub(crate) fn connect_outbound(&self, sink: Arc<dyn OutboundSink>) {
        assert!(
            self.outbound.set(sink).is_ok(),
            "the outbound streams are connected once"
        );
    }

    /// Connects SIP federation, where it is on; once, at the start.
    pub(crate) fn connect_sip(&self, sip: Arc<dyn SipPart>) {
        assert!(self.sip.set(sip).is_ok(), "SIP is connected once");
    }

    /// SIP federation, where it is on.
    pub(super) fn sip(&self) -> Option<&Arc<dyn SipPart>> {
        self.sip.get()
    }

    /// A frame about SIP to another node, never waiting.
    pub(crate) fn send_sip(&self, node: &NodeId, frame: SipFrame) -> Result<(), Unplaced> {
        self.try_mesh(node, WireFrame::Sip(Box::new(frame)))
    }

    /// Whether we serve `domain`.
    pub(crate) fn is_local_domain(&self, domain: &str) -> bool {
        self.domains.contains(domain)
    }

    /// The homes by today's view, for a session of `user`.
    pub(crate) fn homes(&self, user: &str) -> Homes {
        let view = self.view.borrow();
        Homes {
            own: way::home(&view, user),
            all: way::homes_of(&view),
        }
    }

    /// Tells every session here that `home` wants to hear of those whose home it is.
    pub(crate) fn resync(&self, home: &NodeId) {
        for inbox in self.connections.all() {
            let _gone = inbox.push(Item::Resync(home.clone()));
        }
    }

    /// Asks nodes for the sessions of this node's users, after a change of the view.
    pub(crate) fn ask_for_sessions(&self, before: &ClusterView, now: &ClusterView) {
        for node in way::to_ask_for_sessions(before, now) {
            if *node == self.local {
                self.resync(node);
            } else if self.try_mesh(node, WireFrame::Resync).is_err() {
                tracing::warn!(%node, "could not be asked for the sessions of our users");
            }
        }
    }

    /// The home of a user by today's view, with its generation: what a session registers with.
    pub(crate) fn home(&self, user: &str) -> Option<(NodeId, u64)> {
        way::home(&self.view.borrow(), user)
    }

    /// A client's stanza, to the client's home. Waits for room.
    pub(crate) async fn accept_from_client(
        &self,
        session: SessionKey,
        envelope: EnvelopeId,
        stanza: Stanza,
        user: &BareJid,
    ) -> Result<(), Unplaced> {
        let frame = WireFrame::FromClient {
            session,
            envelope,
            stanza,
            hops: 1,
        };
        self.to_home(user.as_str(), frame).await
    }

    /// A peer's stanza, to the home of its recipient. Waits for room.
    pub(crate) async fn accept_from_peer(
        &self,
        envelope: Option<EnvelopeId>,
        stanza: Stanza,
        user: &BareJid,
    ) -> Result<(), Unplaced> {
        let frame = WireFrame::ToUser {
            envelope,
            stanza,
            hops: 1,
        };
        self.to_home(user.as_str(), frame).await
    }

    /// A client asks for a resource.
    pub(crate) async fn bind(
        &self,
        session: SessionKey,
        user: BareJid,
        resource: Option<String>,
        request: u64,
    ) -> Result<(), Unplaced> {
        let frame = WireFrame::Bind {
            session,
            user: user.clone(),
            resource,
            request,
        };
        self.to_home(user.as_str(), frame).await
    }

    /// A session makes itself known to the home that its user has now.
    pub(crate) async fn register(
        &self,
        session: SessionKey,
        snapshot: Box<SessionSnapshot>,
    ) -> Result<(), Unplaced> {
        let user = snapshot.full.to_bare();
        let frame = WireFrame::Register { session, snapshot };
        self.to_home(user.as_str(), frame).await
    }

    /// A session is over.
    pub(crate) async fn session_ended(
        &self,
        session: SessionKey,
        full: FullJid,
        reason: SessionEndReason,
    ) -> Result<(), Unplaced> {
        let user = full.to_bare();
        let frame = WireFrame::SessionEnded {
            session,
            full,
            reason,
        };
        self.to_home(user.as_str(), frame).await
    }

    /// Ends a session wherever it is. Never waits.
    pub(crate) fn end_session(&self, session: SessionKey, reason: EndReason) {
        match self.connections.get(&session) {
            Some(inbox) => {
                let _gone = inbox.push(Item::End(reason));
            }
            None => {
                let edge = Arc::clone(&session.edge);
                let _gone = self.try_mesh_by_name(&edge, WireFrame::EndSession { session, reason });
            }
        }
    }

    /// The client has these deliveries (`failed`: can't have them).
    pub(crate) async fn delivered(
        &self,
        session: SessionKey,
        user: &BareJid,
        ids: Vec<DeliveryId>,
        failed: bool,
    ) -> Result<(), Unplaced> {
        let frame = if failed {
            WireFrame::DeliveryFailed { session, ids }
        } else {
            WireFrame::Delivered { session, ids }
        };
        self.to_home(user.as_str(), frame).await
    }

    /// To the home that `user` has now: this node's shard, or over the mesh. Waits for room.
    async fn to_home(&self, user: &str, frame: WireFrame) -> Result<(), Unplaced> {
        match self.place(user) {
            Place::Here => self.to_shard(user, frame).await,
            Place::There(node) => self.mesh_send(&node, frame).await,
            Place::Nowhere => Err(Unplaced),
        }
    }

    /// Into the shard of `user` on this node. Waits for room.
    pub(super) async fn to_shard(&self, user: &str, frame: WireFrame) -> Result<(), Unplaced> {
        let lanes = self.shard(user);
        let lane = match frame {
            WireFrame::Delivered { .. } | WireFrame::DeliveryFailed { .. } => &lanes.inner,
            _ => &lanes.edge,
        };
        let input = frame.into_home_input().ok_or(Unplaced)?;
        lane.send(input).await.map_err(|_| Unplaced)
    }

    /// An error for one of our users, made on this node.
    pub(crate) fn bounce(&self, stanza: Stanza) {
        let Some(user) = stanza.to().map(Jid::to_bare) else {
            return;
        };
        match self.place(user.as_str()) {
            Place::Here => {
                if self
                    .shard(user.as_str())
                    .inner
                    .try_send(Input::Bounced { stanza })
                    .is_err()
                {
                    metrics::counter!("entente_bounces_dropped_total").increment(1);
                }
            }
            Place::There(node) => {
                let sent = self.try_mesh(
                    &node,
                    WireFrame::ToUser {
                        envelope: None,
                        stanza,
                        hops: 1,
                    },
                );
                if sent.is_err() {
                    metrics::counter!("entente_bounces_dropped_total").increment(1);
                }
            }
            Place::Nowhere => {}
        }
    }

    /// Carries out what a shard wants, except `Store`, which is the shard driver's. Answers that the
    /// core has to hear at once go into `feedback`.
    pub(crate) fn perform(
        &self,
        output: Output,
        batch: &mut ReceiptBatch,
        feedback: &mut Vec<Input>,
    ) {
        match output {
            Output::ToSession {
                session,
                delivery,
                envelope,
                stanza,
            } => {
                let refused = match self.connections.get(&session) {
                    Some(inbox) => inbox
                        .push(Item::Deliver {
                            delivery,
                            envelope,
                            stanza,
                        })
                        .is_err(),
                    None if self.connections.is_local(&session) => true,
                    None => self
                        .try_mesh_by_name(
                            &session.edge,
                            WireFrame::ToSession {
                                session: session.clone(),
                                delivery,
                                envelope,
                                stanza,
                            },
                        )
                        .is_err(),
                };
                if let (true, Some(id)) = (refused, delivery) {
                    feedback.push(Input::DeliveryFailed {
                        session,
                        ids: vec![id],
                    });
                }
            }
            Output::BindResult {
                session,
                request,
                result,
            } => match self.connections.get(&session) {
                Some(inbox) => {
                    // A connection that is gone needs no answer; its end is on the way.
                    let _gone = inbox.push(Item::BindResult(result));
                }
                None => {
                    if self.connections.is_local(&session) {
                        // The client gave up before the answer.
                        if let Ok(full) = result {
                            feedback.push(Input::SessionEnded {
                                session,
                                full,
                                reason: SessionEndReason::Lost,
                            });
                        }
                        return;
                    }
                    let edge = Arc::clone(&session.edge);
                    let _gone = self.try_mesh_by_name(
                        &edge,
                        WireFrame::BindResult {
                            session,
                            request,
                            result,
                        },
                    );
                }
            },
            Output::EndSession { session, reason } => self.end_session(session, reason),
            Output::Route { envelope, stanza } => self.route(envelope, stanza, 0, batch),
            Output::Receipt { envelope } => batch.receipt(envelope),
            Output::Retry { envelope } => batch.retry(envelope),
            Output::Store { .. } => unreachable!("the shard driver takes store operations itself"),
        }
    }

    /// Sends a stanza on by its `to`, never waiting.
    pub(super) fn route(
        &self,
        envelope: Option<EnvelopeId>,
        stanza: Stanza,
        hops: u32,
        batch: &mut ReceiptBatch,
    ) {
        let Some(to) = stanza.to() else {
            debug_assert!(false, "a routed stanza has an address");
            return;
        };
        let domain = match &self.sip.get() {
            _ if self.is_local_domain(to.domain()) => Domain::Ours,
            Some(sip) if sip.takes(to.domain()) => Domain::Sip,
            _ => Domain::Xmpp,
        };
        let held = envelope.clone();
        if let (Err(Unplaced), Some(envelope)) = (self.go_on(envelope, stanza, domain, hops), held)
        {
            batch.retry(envelope);
        }
    }

    fn go_on(
        &self,
        envelope: Option<EnvelopeId>,
        stanza: Stanza,
        domain: Domain,
        hops: u32,
    ) -> Result<(), Unplaced> {
        // The mesh has a lock of its own: the view's is not held across it.
        let view = Arc::clone(&self.view.borrow());
        let hops_then = hops + 1;
        match way::onward(&view, &stanza, domain, hops) {
            Way::Shard => {
                let user = stanza.to().ok_or(Unplaced)?.to_bare();
                let lane = &self.shard(user.as_str()).inner;
                let input = Input::ToUser { envelope, stanza };
                lane.try_send(input).map_err(|_| Unplaced)
            }
            Way::Home(node) => self.try_mesh(
                node,
                WireFrame::ToUser {
                    envelope,
                    stanza,
                    hops: hops_then,
                },
            ),
            Way::OutBy(node) => self.try_mesh(
                node,
                WireFrame::Outbound {
                    envelope,
                    stanza,
                    hops: hops_then,
                },
            ),
            Way::Out => {
                let outbound = self.outbound.get().ok_or(Unplaced)?;
                outbound.submit(OutboundItem { envelope, stanza });
                Ok(())
            }
            Way::Gateway => {
                let sip = self.sip.get().ok_or(Unplaced)?;
                sip.submit(OutboundItem { envelope, stanza });
                Ok(())
            }
            Way::Back => Err(Unplaced),
        }
    }

    /// Sends receipts to their holders; returns those that a full link refused.
    pub(super) fn send_receipts(
        &self,
        holders: Vec<(SessionKey, Vec<u64>)>,
        retry: bool,
    ) -> Vec<HolderSeqs> {
        let mut elsewhere = Vec::new();
        for (holder, seqs) in holders {
            if !self.connections.is_local(&holder) {
                elsewhere.push((holder, seqs));
            } else if let Some(inbox) = self.connections.get(&holder) {
                inbox.push_receipts(&seqs, retry);
            }
        }
        let mut refused = Vec::new();
        for (edge, list) in way::by_edge(elsewhere) {
            let frame = if retry {
                WireFrame::Retry(list.clone())
            } else {
                WireFrame::Receipts(list.clone())
            };
            // A holder on a node that is gone is gone as well.
            if self.knows(&edge) && self.try_mesh_by_name(&edge, frame).is_err() {
                refused.extend(list);
            }
        }
        refused
    }

    /// The lanes of every shard, for what all of them must hear.
    pub(crate) fn shards(&self) -> &[ShardLanes] {
        &self.shards
    }

    /// The lanes of the shard that has `user`.
    pub(crate) fn shard(&self, user: &str) -> &ShardLanes {
        let index = self.hasher.hash_one(user) as usize % self.shards.len();
        &self.shards[index]
    }

    fn knows(&self, edge: &str) -> bool {
        self.view
            .borrow()
            .members
            .iter()
            .any(|member| member.id.as_str() == edge)
    }

    pub(super) fn place(&self, user: &str) -> Place {
        let view = self.view.borrow();
        match way::place(&view, user) {
            way::Place::Here => Place::Here,
            way::Place::There(id) => Place::There(id.clone()),
            way::Place::Nowhere => Place::Nowhere,
        }
    }

    async fn mesh_send(&self, node: &NodeId, frame: WireFrame) -> Result<(), Unplaced> {
        let mesh = self.mesh.get().ok_or(Unplaced)?;
        mesh.send(node, frame.encode()).await.map_err(|_| Unplaced)
    }

    pub(super) fn try_mesh(&self, node: &NodeId, frame: WireFrame) -> Result<(), Unplaced> {
        let mesh = self.mesh.get().ok_or(Unplaced)?;
        mesh.try_send(node, frame.encode()).map_err(|_| Unplaced)
    }

    fn try_mesh_by_name(&self, node: &str, frame: WireFrame) -> Result<(), Unplaced> {
        let node = NodeId::new(node).map_err(|_| Unplaced)?;
        self.try_mesh(&node, frame)
    }
}
