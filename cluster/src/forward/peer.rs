//! What is known about one peer, shared between senders, the link, health checks and status.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use entente_proto::mesh::v1::CallRequest;
use entente_proto::mesh::v1::mesh_client::MeshClient;
use tokio::sync::{Notify, Semaphore, watch};
use tonic::transport::Channel;
use tonic::{Code, Request};

use super::fault::{CallError, LinkFault, SendError};
use super::outbox::{NotQueued, Outbox};
use super::{Context, now, wire};
use crate::NodeId;

/// How the link to one node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkState {
    /// The node.
    pub peer: NodeId,
    /// Whether the link stands.
    pub connected: bool,
    /// When it last came up or broke; `None` if it has never been up.
    pub since: Option<Instant>,
    /// Which life of the peer it was last connected to.
    pub generation: Option<u64>,
    /// Frames in the queue.
    pub queued_frames: usize,
    /// Bytes in the queue.
    pub queued_bytes: usize,
    /// Frames queued or sent and not acknowledged.
    pub pending_frames: usize,
    /// Round-trip time of the last health check that was answered.
    pub rtt: Option<Duration>,
    /// Why it is down, or why it last was.
    pub last_error: Option<LinkFault>,
    /// How often the link has come up.
    pub connects: u64,
    /// Frames given back as lost so far.
    pub lost_frames: u64,
}

/// A member of the view other than the local node.
pub(super) struct Peer {
    pub(super) id: NodeId,
    pub(super) outbox: Outbox,
    /// The peer has connected to us: a reason to try at once.
    pub(super) nudge: Notify,
    pub(super) metrics: PeerMetrics,
    channel: watch::Sender<Option<Channel>>,
    calls: Arc<Semaphore>,
    status: Mutex<Status>,
}

/// Registered once, because finding a metric by its labels costs more than counting.
pub(super) struct PeerMetrics {
    pub(super) sent_frames: metrics::Counter,
    pub(super) sent_batches: metrics::Counter,
    pub(super) sent_bytes: metrics::Counter,
    pub(super) lost_frames: metrics::Counter,
    pub(super) connects: metrics::Counter,
    pub(super) up: metrics::Gauge,
    pub(super) rtt: metrics::Gauge,
}

#[derive(Debug, Default)]
struct Status {
    since: Option<Instant>,
    generation: Option<u64>,
    rtt: Option<Duration>,
    last_error: Option<LinkFault>,
    connects: u64,
    lost_frames: u64,
}

impl Peer {
    pub(super) fn new(context: &Context, id: NodeId) -> Self {
        let limits = &context.limits;
        Self {
            metrics: PeerMetrics::register(&id),
            id,
            outbox: Outbox::new(limits.queue_frames, limits.queue_bytes),
            nudge: Notify::new(),
            channel: watch::Sender::new(None),
            calls: Arc::new(Semaphore::new(limits.max_calls)),
            status: Mutex::default(),
        }
    }

    pub(super) fn try_send(&self, frame: &Bytes) -> Result<(), SendError> {
        self.outbox.try_push(frame).map_err(SendError::from)
    }

    pub(super) async fn send(&self, frame: &Bytes) -> Result<(), SendError> {
        self.outbox.push(frame).await.map_err(SendError::from)
    }

    pub(super) async fn call(
        &self,
        context: &Context,
        kind: u32,
        payload: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, CallError> {
        let Ok(_permit) = self.calls.try_acquire() else {
            return Err(CallError::TooMany);
        };
        let begin = now();
        let channel = tokio::time::timeout(deadline, self.connected())
            .await
            .map_err(|_| CallError::Unreachable)?;
        let rest = deadline.saturating_sub(now() - begin);
        let mut request = Request::new(CallRequest { kind, payload });
        request.set_timeout(rest);
        let mut client = client(channel, context);
        // The timeout of gRPC is for the other side; ours holds even if it does not answer at all.
        match tokio::time::timeout(rest, client.call(request)).await {
            Ok(Ok(reply)) => wire::call_result(reply.into_inner()),
            Ok(Err(status)) => Err(match status.code() {
                Code::DeadlineExceeded | Code::Cancelled => CallError::Deadline,
                _ => CallError::Broken,
            }),
            Err(_) => Err(CallError::Deadline),
        }
    }

    async fn connected(&self) -> Channel {
        let mut channel = self.channel.subscribe();
        loop {
            if let Some(channel) = &*channel.borrow_and_update() {
                return channel.clone();
            }
            if channel.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// The connection, if there is one.
    pub(super) fn channel(&self) -> Option<Channel> {
        self.channel.borrow().clone()
    }

    pub(super) fn link_up(&self, channel: Channel, generation: u64) {
        {
            let mut status = self.status();
            status.since = Some(now());
            status.generation = Some(generation);
            status.connects += 1;
        }
        self.metrics.connects.increment(1);
        self.metrics.up.set(1.0);
        self.channel.send_replace(Some(channel));
    }

    pub(super) fn link_down(&self, fault: Option<LinkFault>) {
        let was_up = self.channel.send_replace(None).is_some();
        self.metrics.up.set(0.0);
        let mut status = self.status();
        if was_up {
            status.since = Some(now());
        }
        if fault.is_some() {
            status.last_error = fault;
        }
    }

    pub(super) fn measured(&self, rtt: Duration) {
        self.metrics.rtt.set(rtt.as_secs_f64());
        self.status().rtt = Some(rtt);
    }

    pub(super) fn lost(&self, frames: usize) {
        self.metrics.lost_frames.increment(frames as u64);
        self.status().lost_frames += frames as u64;
    }

    pub(super) fn state(&self) -> LinkState {
        let depth = self.outbox.depth();
        let status = self.status();
        LinkState {
            peer: self.id.clone(),
            connected: self.channel.borrow().is_some(),
            since: status.since,
            generation: status.generation,
            queued_frames: depth.frames,
            queued_bytes: depth.bytes,
            pending_frames: depth.pending,
            rtt: status.rtt,
            last_error: status.last_error.clone(),
            connects: status.connects,
            lost_frames: status.lost_frames,
        }
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<NotQueued> for SendError {
    fn from(refused: NotQueued) -> Self {
        match refused {
            NotQueued::Full => Self::Full,
            NotQueued::Closed => Self::NoSuchMember,
        }
    }
}

impl PeerMetrics {
    fn register(peer: &NodeId) -> Self {
        let peer = peer.to_string();
        Self {
            sent_frames: metrics::counter!("entente_mesh_sent_frames_total", "peer" => peer.clone()),
            sent_batches: metrics::counter!("entente_mesh_sent_batches_total", "peer" => peer.clone()),
            sent_bytes: metrics::counter!("entente_mesh_sent_bytes_total", "peer" => peer.clone()),
            lost_frames: metrics::counter!("entente_mesh_lost_frames_total", "peer" => peer.clone()),
            connects: metrics::counter!("entente_mesh_connects_total", "peer" => peer.clone()),
            up: metrics::gauge!("entente_mesh_link_up", "peer" => peer.clone()),
            rtt: metrics::gauge!("entente_mesh_rtt_seconds", "peer" => peer),
        }
    }
}

/// The generated client with our bounds.
pub(super) fn client(channel: Channel, context: &Context) -> MeshClient<Channel> {
    let bytes = context.limits.max_message_bytes();
    MeshClient::new(channel)
        .max_decoding_message_size(bytes)
        .max_encoding_message_size(bytes)
}
