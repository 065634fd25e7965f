//! Every bound and every time of the mesh.

use std::time::Duration;

use super::link::LinkLimits;

/// Bounds and times of the mesh on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshLimits {
    /// The reliable link.
    pub link: LinkLimits,
    /// Most frames that wait in the queue to one peer.
    pub queue_frames: usize,
    /// Most bytes that wait in the queue to one peer. One frame is always taken.
    pub queue_bytes: usize,
    /// The largest frame, and the largest payload of a call or of its answer.
    pub max_frame_bytes: usize,
    /// Most batches that have arrived and wait for the node to take them.
    pub inbound_batches: usize,
    /// Most connections of other nodes.
    pub max_connections: usize,
    /// Most handshakes under way at the listener; one more ends the oldest.
    pub max_handshakes: usize,
    /// Time for the TCP connection and the TLS handshake, on both sides.
    pub handshake_timeout: Duration,
    /// Time for hello and welcome, on both sides.
    pub hello_timeout: Duration,
    /// Pause before the second attempt to connect; doubles with each failure.
    pub backoff_min: Duration,
    /// The longest pause between attempts to connect.
    pub backoff_max: Duration,
    /// Pause between HTTP/2 pings.
    pub keepalive_interval: Duration,
    /// A peer that does not answer a ping for so long is disconnected.
    pub keepalive_timeout: Duration,
    /// Pause between health checks of each peer.
    pub health_interval: Duration,
    /// A health check without an answer for so long has failed.
    pub health_timeout: Duration,
    /// Most calls under way to one peer, and most calls served at once for all peers.
    pub max_calls: usize,
}

impl Default for MeshLimits {
    fn default() -> Self {
        Self {
            link: LinkLimits::default(),
            queue_frames: 16 * 1024,
            queue_bytes: 16 * 1024 * 1024,
            max_frame_bytes: 1024 * 1024,
            inbound_batches: 64,
            max_connections: 512,
            max_handshakes: 128,
            handshake_timeout: Duration::from_secs(3),
            hello_timeout: Duration::from_secs(3),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(2),
            keepalive_interval: Duration::from_secs(1),
            keepalive_timeout: Duration::from_secs(2),
            health_interval: Duration::from_millis(500),
            health_timeout: Duration::from_secs(1),
            max_calls: 256,
        }
    }
}

impl MeshLimits {
    /// The largest message that is decoded: a batch, the frame that overfills it, and the framing
    /// of each frame. Doubled, so that a node with somewhat larger limits can still be understood.
    pub(super) fn max_message_bytes(&self) -> usize {
        2 * (self.link.batch_bytes + self.max_frame_bytes + 8 * self.link.batch_frames + 1024)
    }
}
