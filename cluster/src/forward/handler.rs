//! What the mesh tells its node, besides the frames.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::fault::CallRefusal;
use crate::NodeId;

/// Frames that were queued or sent and may not have arrived: the peer's process died, the peer is
/// down, or it left the view; or they are perishable and the link was broken for long. Some of them
/// may have arrived after all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The node that they were for.
    pub peer: NodeId,
    /// The frames, in order.
    pub frames: Vec<Bytes>,
}

/// The result of one health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthReport {
    /// The node that was asked.
    pub peer: NodeId,
    /// Which life of it answered; `None` if none did in time.
    pub generation: Option<u64>,
    /// How long the answer took.
    pub rtt: Option<Duration>,
}

impl HealthReport {
    /// Whether the node answered.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.rtt.is_some()
    }
}

/// The node's side of the mesh.
pub trait MeshHandler: Send + Sync + 'static {
    /// Another node asks. Calls run side by side, up to `MeshLimits::max_calls`; when the caller's
    /// deadline has passed the future is dropped.
    fn call(
        &self,
        from: NodeId,
        kind: u32,
        payload: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, CallRefusal>> {
        let _ = (from, kind, payload);
        Box::pin(async { Err(CallRefusal::UnknownKind) })
    }

    /// Frames were lost. The link to that node waits until the future is done, so that nothing
    /// sent later can arrive before the node knows; it must not wait for room in the queue to the
    /// same node.
    fn lost(&self, lost: Lost) -> BoxFuture<'static, ()> {
        let _ = lost;
        Box::pin(std::future::ready(()))
    }

    /// Whether somebody keeps what is in this frame and sends it again by another way. Asked only when
    /// a link stands again after a long break.
    fn perishable(&self, frame: &Bytes) -> bool {
        let _ = frame;
        false
    }

    /// A health check is done, once per `MeshLimits::health_interval` and peer. Must not block.
    fn health(&self, report: HealthReport) {
        let _ = report;
    }
}
