//! Frames that other nodes sent.

use entente_fabric_core::way::MAX_HOPS;
use entente_home_core::{DeliveryId, Input, SessionEndReason};
use entente_xmpp_core::jid::{BareJid, Jid};

use super::inbox::Item;
use super::receipts::ReceiptBatch;
use super::shard::shard_of_delivery;
use super::switchboard::{Place, ShardLanes, Switchboard};
use super::wire::WireFrame;

impl Switchboard {
    /// Takes a frame that another node sent. Waits for room in a shard's lane, which pushes back on
    /// that node's link; shards wait for nobody, so this ends.
    pub(crate) async fn arrived(&self, frame: WireFrame, batch: &mut ReceiptBatch) {
        match frame {
            WireFrame::FromClient { .. } => self.client_stanza(frame, batch).await,
            WireFrame::ToUser {
                envelope,
                stanza,
                hops,
            } => {
                let Some(user) = stanza.to().map(Jid::to_bare) else {
                    return;
                };
                if !matches!(self.place(user.as_str()), Place::Here) {
                    return self.route(envelope, stanza, hops, batch);
                }
                let taken = WireFrame::ToUser {
                    envelope: envelope.clone(),
                    stanza,
                    hops,
                };
                if self.to_shard(user.as_str(), taken).await.is_err()
                    && let Some(envelope) = envelope
                {
                    batch.retry(envelope);
                }
            }
            WireFrame::Outbound {
                envelope,
                stanza,
                hops,
            } => self.route(envelope, stanza, hops, batch),
            WireFrame::ToSession {
                session,
                delivery,
                envelope,
                stanza,
            } => {
                // The home finds a failed delivery by session and id; the user names the home.
                let user = stanza.to().map(Jid::to_bare);
                let item = Item::Deliver {
                    delivery,
                    envelope,
                    stanza,
                };
                let taken = self
                    .connections
                    .get(&session)
                    .is_some_and(|inbox| inbox.push(item).is_ok());
                if let (false, Some(id), Some(user)) = (taken, delivery, user) {
                    let _later = self.delivered(session, &user, vec![id], true).await;
                }
            }
            // Who sent it is known where frames arrive.
            WireFrame::Resync => {}
            WireFrame::Sip(frame) => {
                if let Some(sip) = self.sip() {
                    sip.frame(*frame);
                }
            }
            WireFrame::Receipts(holders) => {
                self.send_receipts(holders, false);
            }
            WireFrame::Retry(holders) => {
                self.send_receipts(holders, true);
            }
            WireFrame::BindResult {
                session, result, ..
            } => {
                if let Some(inbox) = self.connections.get(&session) {
                    let _gone = inbox.push(Item::BindResult(result));
                } else if let Ok(full) = result {
                    // The client gave up before the answer.
                    let _no_home = self
                        .session_ended(session, full, SessionEndReason::Lost)
                        .await;
                }
            }
            WireFrame::EndSession { session, reason } => {
                if let Some(inbox) = self.connections.get(&session) {
                    let _gone = inbox.push(Item::End(reason));
                }
            }
            // The shard itself looks whether this node is the home.
            WireFrame::Bind { ref user, .. } => {
                let user = user.clone();
                self.about_a_session(&user, frame).await;
            }
            WireFrame::Register { ref snapshot, .. } => {
                let user = snapshot.full.to_bare();
                self.about_a_session(&user, frame).await;
            }
            WireFrame::SessionEnded { ref full, .. } => {
                let user = full.to_bare();
                self.about_a_session(&user, frame).await;
            }
            WireFrame::Delivered { session, ids } => {
                for (lanes, ids) in self.by_shard(ids) {
                    let session = session.clone();
                    let _stopping = lanes.inner.send(Input::Delivered { session, ids }).await;
                }
            }
            WireFrame::DeliveryFailed { session, ids } => {
                for (lanes, ids) in self.by_shard(ids) {
                    let session = session.clone();
                    let _stopping = lanes
                        .inner
                        .send(Input::DeliveryFailed { session, ids })
                        .await;
                }
            }
        }
    }

    /// A stanza of a client whose home the sending node took us for.
    async fn client_stanza(&self, frame: WireFrame, batch: &mut ReceiptBatch) {
        let WireFrame::FromClient {
            session,
            envelope,
            stanza,
            hops,
        } = frame
        else {
            return;
        };
        let Some(user) = stanza.from().map(Jid::to_bare) else {
            return;
        };
        let onward = WireFrame::FromClient {
            session,
            envelope: envelope.clone(),
            stanza,
            hops: hops + 1,
        };
        let taken = match self.place(user.as_str()) {
            Place::Here => self.to_shard(user.as_str(), onward).await.is_ok(),
            Place::There(node) if hops < MAX_HOPS => self.try_mesh(&node, onward).is_ok(),
            _ => false,
        };
        if !taken {
            batch.retry(envelope);
        }
    }

    async fn about_a_session(&self, user: &BareJid, frame: WireFrame) {
        let _stopping = self.to_shard(user.as_str(), frame).await;
    }

    /// Sorts delivery ids by the shard that gave them out; ids of nobody here are dropped.
    fn by_shard(&self, ids: Vec<DeliveryId>) -> Vec<(&ShardLanes, Vec<DeliveryId>)> {
        let mut sorted: Vec<(usize, Vec<DeliveryId>)> = Vec::new();
        for id in ids {
            let shard = shard_of_delivery(id);
            match sorted.iter_mut().find(|(known, _)| *known == shard) {
                Some((_, list)) => list.push(id),
                None => sorted.push((shard, vec![id])),
            }
        }
        sorted
            .into_iter()
            .filter_map(|(shard, list)| self.shards().get(shard).map(|lanes| (lanes, list)))
            .collect()
    }
}
