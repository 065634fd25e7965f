//! The node's switchboard: carries out what the real `way` decides.

use std::sync::Arc;

use entente_cluster::{ClusterView, NodeId};
use entente_fabric_core::outbound::OutboundItem;
use entente_fabric_core::way::{self, Domain, MAX_HOPS, Way};
use entente_home_core::{
    DeliveryId, EnvelopeId, Input, Output, SessionEndReason, SessionKey, SessionSnapshot,
};
use entente_xmpp_core::jid::{BareJid, FullJid, Jid};
use entente_xmpp_core::stanza::Stanza;

use super::client::MessageId;
use super::frame::{Frame, Receipts};
use super::membership::node_index;
use super::node::{DOMAIN, Node};
use super::session::Item;
use super::stage::Stage;

enum Place {
    Here,
    There(usize),
    Nowhere,
}

impl Node {
    fn place(&self, user: &str) -> Place {
        match way::place(&self.membership.view, user) {
            way::Place::Here => Place::Here,
            way::Place::There(id) => Place::There(node_index(id.as_str())),
            way::Place::Nowhere => Place::Nowhere,
        }
    }

    /// A user's home and its generation.
    pub(crate) fn home(&self, user: &str) -> Option<(NodeId, u64)> {
        way::home(&self.membership.view, user)
    }

    /// All homes with their generations.
    pub(crate) fn homes(&self) -> Vec<(NodeId, u64)> {
        homes(&self.membership.view)
    }

    fn queue_for_edge_lane(&mut self, stage: &mut Stage, user: &str, input: Input) {
        let shard = self.shard_of(user);
        self.lanes[shard].edge.push_back(input);
        self.wake_shards(stage);
    }

    pub(crate) fn queue_for_inner_lane(&mut self, stage: &mut Stage, user: &str, input: Input) {
        let shard = self.shard_of(user);
        self.lanes[shard].inner.push_back(input);
        self.wake_shards(stage);
    }

    pub(crate) fn send(&mut self, stage: &mut Stage, to: usize, frame: Frame) -> bool {
        self.mesh.try_send(stage, to, frame)
    }

    /// A client's stanza, to the client's home; false if there is none.
    pub(crate) fn give_to_home(
        &mut self,
        stage: &mut Stage,
        session: SessionKey,
        envelope: EnvelopeId,
        stanza: Stanza,
        user: &BareJid,
    ) -> bool {
        match self.place(user.as_str()) {
            Place::Here => {
                let input = Input::FromClient {
                    session,
                    envelope,
                    stanza,
                };
                self.queue_for_edge_lane(stage, user.as_str(), input);
                true
            }
            Place::There(node) => {
                let frame = Frame::FromClient {
                    session,
                    envelope,
                    stanza,
                    hops: 1,
                };
                self.send(stage, node, frame)
            }
            Place::Nowhere => false,
        }
    }

    /// A client asks for a resource.
    pub(crate) fn ask_to_bind(
        &mut self,
        stage: &mut Stage,
        session: SessionKey,
        user: BareJid,
        resource: Option<String>,
        request: u64,
    ) -> bool {
        match self.place(user.as_str()) {
            Place::Here => {
                let text = user.as_str().to_owned();
                let input = Input::Bind {
                    session,
                    user,
                    resource,
                    request,
                };
                self.queue_for_edge_lane(stage, &text, input);
                true
            }
            Place::There(node) => {
                let frame = Frame::Bind {
                    session,
                    user,
                    resource,
                    request,
                };
                self.send(stage, node, frame)
            }
            Place::Nowhere => false,
        }
    }

    /// A session makes itself known to the home that its user has now.
    pub(crate) fn register(
        &mut self,
        stage: &mut Stage,
        session: SessionKey,
        snapshot: SessionSnapshot,
    ) -> bool {
        let user = snapshot.full.to_bare();
        match self.place(user.as_str()) {
            Place::Here => {
                let input = Input::Register { session, snapshot };
                self.queue_for_edge_lane(stage, user.as_str(), input);
                true
            }
            Place::There(node) => {
                let snapshot = Box::new(snapshot);
                self.send(stage, node, Frame::Register { session, snapshot })
            }
            Place::Nowhere => false,
        }
    }

    /// A session is over.
    pub(crate) fn session_ended(
        &mut self,
        stage: &mut Stage,
        session: SessionKey,
        full: FullJid,
        reason: SessionEndReason,
    ) {
        let user = full.to_bare();
        match self.place(user.as_str()) {
            Place::Here => {
                let input = Input::SessionEnded {
                    session,
                    full,
                    reason,
                };
                self.queue_for_edge_lane(stage, user.as_str(), input);
            }
            Place::There(node) => {
                let frame = Frame::SessionEnded {
                    session,
                    full,
                    reason,
                };
                self.send(stage, node, frame);
            }
            Place::Nowhere => {}
        }
    }

    /// A client has these (`failed`: can't have them).
    pub(crate) fn report(
        &mut self,
        stage: &mut Stage,
        session: SessionKey,
        user: &BareJid,
        ids: Vec<DeliveryId>,
        failed: bool,
    ) {
        match self.place(user.as_str()) {
            Place::Here => {
                let input = if failed {
                    Input::DeliveryFailed { session, ids }
                } else {
                    Input::Delivered { session, ids }
                };
                self.queue_for_inner_lane(stage, user.as_str(), input);
            }
            Place::There(node) => {
                let frame = if failed {
                    Frame::DeliveryFailed { session, ids }
                } else {
                    Frame::Delivered { session, ids }
                };
                self.send(stage, node, frame);
            }
            Place::Nowhere => {}
        }
    }

    /// Carries out what a shard wants; returns what the core has to hear at once.
    pub(crate) fn perform(&mut self, stage: &mut Stage, output: Output) -> Option<Input> {
        stage.detail(|| format!("n{} home: {}", self.index, summary(&output)));
        match output {
            Output::ToSession {
                session,
                delivery,
                envelope,
                stanza,
            } => {
                let taken = if self.is_local(&session) {
                    let item = Item::Deliver {
                        delivery,
                        envelope,
                        stanza,
                    };
                    self.push_item(stage, &session, item)
                } else {
                    let to = node_index(&session.edge);
                    let frame = Frame::ToSession {
                        session: session.clone(),
                        delivery,
                        envelope,
                        stanza,
                    };
                    self.is_member(to) && self.send(stage, to, frame)
                };
                match delivery {
                    Some(id) if !taken => Some(Input::DeliveryFailed {
                        session,
                        ids: vec![id],
                    }),
                    _ => None,
                }
            }
            Output::BindResult {
                session, result, ..
            } => {
                if self.is_local(&session) {
                    let full = result.clone();
                    if !self.push_item(stage, &session, Item::BindResult(result))
                        && let Ok(full) = full
                    {
                        // The client gave up before the answer.
                        let reason = SessionEndReason::Lost;
                        return Some(Input::SessionEnded {
                            session,
                            full,
                            reason,
                        });
                    }
                } else {
                    let to = node_index(&session.edge);
                    self.send(stage, to, Frame::BindResult { session, result });
                }
                None
            }
            Output::EndSession { session, reason } => {
                if self.is_local(&session) {
                    self.push_item(stage, &session, Item::End(reason));
                } else {
                    let to = node_index(&session.edge);
                    self.send(stage, to, Frame::EndSession { session, reason });
                }
                None
            }
            Output::Route { envelope, stanza } => {
                if stanza.is_error()
                    && let Some(message) = stanza.id().and_then(|id| MessageId::parse(&id))
                {
                    stage.checker.bounced(message);
                }
                self.route(stage, envelope, stanza, 0);
                None
            }
            Output::Receipt { envelope } => {
                stage.receipted(self.index, &envelope);
                self.receipt(envelope);
                None
            }
            Output::Retry { envelope } => {
                self.retry(envelope);
                None
            }
            Output::Store { .. } => unreachable!("the shard's driver takes these"),
        }
    }

    pub(crate) fn receipt(&mut self, envelope: EnvelopeId) {
        way::collect(&mut self.receipts, envelope);
    }

    pub(crate) fn retry(&mut self, envelope: EnvelopeId) {
        way::collect(&mut self.retries, envelope);
    }

    /// Sends a stanza on by its `to`.
    fn route(
        &mut self,
        stage: &mut Stage,
        envelope: Option<EnvelopeId>,
        stanza: Stanza,
        hops: u32,
    ) {
        let Some(to) = stanza.to() else { return };
        let user = to.to_bare();
        let domain = if to.domain() == DOMAIN {
            Domain::Ours
        } else {
            Domain::Xmpp
        };
        let view = Arc::clone(&self.membership.view);
        let held = envelope.clone();
        let hops_then = hops + 1;
        let taken = match way::onward(&view, &stanza, domain, hops) {
            Way::Shard => {
                let input = Input::ToUser { envelope, stanza };
                self.queue_for_inner_lane(stage, user.as_str(), input);
                true
            }
            Way::Home(node) => {
                let frame = Frame::ToUser {
                    envelope,
                    stanza,
                    hops: hops_then,
                };
                self.send(stage, node_index(node.as_str()), frame)
            }
            Way::OutBy(node) => {
                let frame = Frame::Outbound {
                    envelope,
                    stanza,
                    hops: hops_then,
                };
                self.send(stage, node_index(node.as_str()), frame)
            }
            Way::Out => {
                self.submit(stage, OutboundItem { envelope, stanza });
                true
            }
            Way::Gateway | Way::Back => false,
        };
        if let (false, Some(envelope)) = (taken, held) {
            self.retry(envelope);
        }
    }

    /// Takes a frame that another node sent.
    pub(crate) fn arrived(&mut self, stage: &mut Stage, frame: Frame) {
        match frame {
            Frame::FromClient {
                session,
                envelope,
                stanza,
                hops,
            } => {
                let Some(user) = stanza.from().map(Jid::to_bare) else {
                    return;
                };
                match self.place(user.as_str()) {
                    Place::Here => {
                        let input = Input::FromClient {
                            session,
                            envelope,
                            stanza,
                        };
                        self.queue_for_edge_lane(stage, user.as_str(), input);
                    }
                    Place::There(node) if hops < MAX_HOPS => {
                        let frame = Frame::FromClient {
                            session,
                            envelope: envelope.clone(),
                            stanza,
                            hops: hops + 1,
                        };
                        if !self.send(stage, node, frame) {
                            self.retry(envelope);
                        }
                    }
                    _ => self.retry(envelope),
                }
            }
            Frame::ToUser {
                envelope,
                stanza,
                hops,
            } => {
                let Some(user) = stanza.to().map(Jid::to_bare) else {
                    return;
                };
                if let Place::Here = self.place(user.as_str()) {
                    let input = Input::ToUser { envelope, stanza };
                    self.queue_for_edge_lane(stage, user.as_str(), input);
                } else {
                    self.route(stage, envelope, stanza, hops);
                }
            }
            Frame::Outbound {
                envelope,
                stanza,
                hops,
            } => self.route(stage, envelope, stanza, hops),
            Frame::ToSession {
                session,
                delivery,
                envelope,
                stanza,
            } => {
                let user = stanza.to().map(Jid::to_bare);
                let item = Item::Deliver {
                    delivery,
                    envelope,
                    stanza,
                };
                let taken = self.is_local(&session) && self.push_item(stage, &session, item);
                if let (false, Some(id), Some(user)) = (taken, delivery, user) {
                    self.report(stage, session, &user, vec![id], true);
                }
            }
            Frame::Receipts(holders) => self.send_receipts(stage, holders, false),
            Frame::Retry(holders) => self.send_receipts(stage, holders, true),
            Frame::Bind {
                session,
                user,
                resource,
                request,
            } => {
                let text = user.as_str().to_owned();
                let input = Input::Bind {
                    session,
                    user,
                    resource,
                    request,
                };
                self.queue_for_edge_lane(stage, &text, input);
            }
            Frame::BindResult { session, result } => {
                let full = result.clone();
                if !self.push_item(stage, &session, Item::BindResult(result))
                    && let Ok(full) = full
                {
                    self.session_ended(stage, session, full, SessionEndReason::Lost);
                }
            }
            Frame::Register { session, snapshot } => {
                let user = snapshot.full.to_bare();
                let input = Input::Register {
                    session,
                    snapshot: *snapshot,
                };
                self.queue_for_edge_lane(stage, user.as_str(), input);
            }
            Frame::Resync { home } => self.resync(stage, &home),
            Frame::SessionEnded {
                session,
                full,
                reason,
            } => {
                let user = full.to_bare();
                let input = Input::SessionEnded {
                    session,
                    full,
                    reason,
                };
                self.queue_for_edge_lane(stage, user.as_str(), input);
            }
            Frame::EndSession { session, reason } => {
                self.push_item(stage, &session, Item::End(reason));
            }
            Frame::Delivered { session, ids } => self.reported(stage, &session, ids, false),
            Frame::DeliveryFailed { session, ids } => self.reported(stage, &session, ids, true),
        }
    }

    /// Reports go to the shards that gave out the ids.
    fn reported(
        &mut self,
        stage: &mut Stage,
        session: &SessionKey,
        ids: Vec<DeliveryId>,
        failed: bool,
    ) {
        for shard in 0..self.shard_count() {
            let ids: Vec<DeliveryId> = ids
                .iter()
                .copied()
                .filter(|id| Self::shard_of_delivery(*id) == shard)
                .collect();
            if ids.is_empty() {
                continue;
            }
            let session = session.clone();
            let input = if failed {
                Input::DeliveryFailed { session, ids }
            } else {
                Input::Delivered { session, ids }
            };
            self.lanes[shard].inner.push_back(input);
        }
        self.wake_shards(stage);
    }

    /// Asks edges for their sessions of this home's users.
    pub(crate) fn ask_for_sessions(
        &mut self,
        stage: &mut Stage,
        before: &ClusterView,
        now: &ClusterView,
    ) {
        let home = self.id.clone();
        for node in way::to_ask_for_sessions(before, now) {
            if *node == self.id {
                self.resync(stage, &home);
            } else {
                let home = home.clone();
                self.send(stage, node_index(node.as_str()), Frame::Resync { home });
            }
        }
    }

    /// Sends what was collected.
    pub(crate) fn flush_receipts(&mut self, stage: &mut Stage) {
        let receipts = std::mem::take(&mut self.receipts);
        self.send_receipts(stage, receipts, false);
        let retries = std::mem::take(&mut self.retries);
        self.send_receipts(stage, retries, true);
    }

    fn send_receipts(&mut self, stage: &mut Stage, holders: Receipts, retry: bool) {
        let mut elsewhere = Vec::new();
        for (holder, seqs) in holders {
            if !self.is_local(&holder) {
                elsewhere.push((holder, seqs));
                continue;
            }
            for seq in seqs {
                let item = if retry {
                    Item::Retry(seq)
                } else {
                    Item::Receipt(seq)
                };
                self.push_item(stage, &holder, item);
            }
        }
        for (edge, list) in way::by_edge(elsewhere) {
            let frame = if retry {
                Frame::Retry(list)
            } else {
                Frame::Receipts(list)
            };
            self.send(stage, node_index(&edge), frame);
        }
    }

    fn is_local(&self, key: &SessionKey) -> bool {
        key.epoch == self.generation && key.edge == self.name
    }

    fn is_member(&self, node: usize) -> bool {
        node != self.index
    }
}

/// What a home wants, in short.
fn summary(output: &Output) -> String {
    match output {
        Output::ToSession {
            session,
            envelope: Some(envelope),
            stanza,
            ..
        } => format!(
            "{envelope} ({:?}) to session {}/{}",
            stanza.id(),
            session.edge,
            session.conn
        ),
        Output::Route {
            envelope: Some(envelope),
            stanza,
        } => format!("{envelope} ({:?}) to {:?}", stanza.id(), stanza.to()),
        Output::Receipt { envelope } => format!("{envelope} receipt"),
        Output::Retry { envelope } => format!("{envelope} retry"),
        other => {
            let text = format!("{other:?}");
            text.split([' ', '{', '('])
                .next()
                .unwrap_or_default()
                .to_owned()
        }
    }
}

fn homes(view: &ClusterView) -> Vec<(NodeId, u64)> {
    view.serving_homes()
        .map(|member| (member.id.clone(), member.generation))
        .collect()
}
