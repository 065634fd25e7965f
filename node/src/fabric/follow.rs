//! Following the cluster: frames from other nodes, and nodes that went.

use std::sync::Arc;

use bytes::Bytes;
use entente_cluster::MembershipHandle;
use entente_cluster::forward::{CallRefusal, HealthReport, Inbound, Lost, MeshHandler};
use entente_cluster::{ClusterView, NodeId};
use entente_fabric_core::way;
use entente_home_core::Input;
use entente_store::Store;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};

use super::everywhere;
use super::receipts::ReceiptBatch;
use super::switchboard::Switchboard;
use super::wire::WireFrame;

/// Takes what the mesh brings until it stops.
pub(crate) async fn frames(switchboard: Arc<Switchboard>, mut inbound: mpsc::Receiver<Inbound>) {
    let mut batch = ReceiptBatch::default();
    while let Some(Inbound { from, frames, .. }) = inbound.recv().await {
        for frame in frames {
            match WireFrame::decode(frame) {
                Ok(WireFrame::Resync) => switchboard.resync(&from),
                Ok(frame) => switchboard.arrived(frame, &mut batch).await,
                Err(error) => {
                    metrics::counter!("entente_mesh_bad_frames_total").increment(1);
                    tracing::warn!(node = %from, %error, "a frame was dropped");
                }
            }
        }
        batch.flush(&switchboard);
    }
}

/// Tells the shards of edge nodes that died or came back as another process, and asks for sessions
/// that this node may have let go of.
pub(crate) async fn lost_edges(
    switchboard: Arc<Switchboard>,
    mut view: watch::Receiver<Arc<ClusterView>>,
) {
    let mut before = view.borrow_and_update().clone();
    while view.changed().await.is_ok() {
        let now = view.borrow_and_update().clone();
        for (edge, epoch) in way::lost_edges(&before, &now) {
            tracing::info!(node = %edge, generation = epoch, "an edge node is gone: its sessions end");
            for shard in switchboard.shards() {
                let _stopping = shard
                    .inner
                    .send(Input::EdgeLost {
                        edge: Arc::clone(&edge),
                        epoch,
                    })
                    .await;
            }
        }
        switchboard.ask_for_sessions(&before, &now);
        before = now;
    }
}

/// What the mesh tells the node.
pub(crate) struct NodeSide {
    pub(crate) membership: Arc<MembershipHandle>,
    pub(crate) switchboard: Arc<Switchboard>,
    pub(crate) store: Store,
}

impl MeshHandler for NodeSide {
    fn call(
        &self,
        _from: NodeId,
        kind: u32,
        payload: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, CallRefusal>> {
        match kind {
            everywhere::REACHED => Box::pin(everywhere::answer(self.store.clone(), payload)),
            _ => Box::pin(std::future::ready(Err(CallRefusal::UnknownKind))),
        }
    }

    fn lost(&self, lost: Lost) -> BoxFuture<'static, ()> {
        let mut batch = ReceiptBatch::default();
        for frame in lost.frames {
            match WireFrame::decode(frame) {
                // The holders send again, by a view that knows of the death.
                Ok(
                    WireFrame::ToUser {
                        envelope: Some(envelope),
                        ..
                    }
                    | WireFrame::Outbound {
                        envelope: Some(envelope),
                        ..
                    }
                    | WireFrame::FromClient { envelope, .. },
                ) => batch.retry(envelope),
                Ok(WireFrame::Sip(frame)) => {
                    if let Some(sip) = self.switchboard.sip() {
                        sip.frame_lost(*frame);
                    }
                }
                _ => {}
            }
        }
        batch.flush(&self.switchboard);
        Box::pin(std::future::ready(()))
    }

    fn perishable(&self, frame: &Bytes) -> bool {
        WireFrame::decode(frame.clone()).is_ok_and(|frame| frame.is_in_custody())
    }

    fn health(&self, report: HealthReport) {
        self.membership.report_health(&report.peer, report.is_ok());
    }
}
