//! The mesh: frames and calls between the nodes of the cluster, over gRPC with mutual TLS.
//!
//! One reliable, ordered link for each direction of each pair of nodes ([`link`]). Frames are
//! opaque here. They are lost only when a process dies, and then the sender's node is told
//! ([`MeshHandler::lost`]). Everything is bounded: a full queue to a peer refuses
//! ([`Mesh::try_send`]) or makes wait ([`Mesh::send`]); a node that does not take what arrives makes
//! its peers' windows fill, and so their queues.
//!
//! Who the peers are comes from the view: there is a link to every listed member, also to one that
//! is down, so that its health is known when it comes back; frames are taken only for members that
//! are not down.

use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{ClusterView, NodeId};

mod backoff;
mod dial;
mod driver;
mod fault;
#[doc(hidden)]
pub mod fuzzing;
mod handler;
mod health;
mod identity;
mod inbox;
mod limits;
mod line;
pub mod link;
mod listener;
mod outbox;
mod peer;
mod peers;
mod server;
mod wire;

pub use fault::{CallError, CallRefusal, LinkFault, MeshError, SendError};
pub use handler::{HealthReport, Lost, MeshHandler};
pub use identity::{CertificateNameError, IdentityError, MeshIdentity, mesh_name, node_of};
pub use limits::MeshLimits;
pub use peer::LinkState;
pub use wire::{VERSION_MAX, VERSION_MIN};

use identity::CurrentIdentity;
use inbox::Inbox;
use peers::Peers;

/// What the mesh of one node needs to know.
#[derive(Debug)]
pub struct MeshConfig {
    /// The name of this node.
    pub local: NodeId,
    /// Which life of this node this is; grows with every start, as in the view.
    pub generation: u64,
    /// Where to listen. Port 0 takes any, see [`Mesh::local_addr`].
    pub listen: SocketAddr,
    /// Certificate, key and CA.
    pub identity: MeshIdentity,
    /// Bounds and times.
    pub limits: MeshLimits,
}

/// Frames from another node, in the order in which it sent them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// The node that sent them, as its certificate says.
    pub from: NodeId,
    /// Which life of that node.
    pub generation: u64,
    /// The frames. They are slices of one received message: whoever keeps a small one for long
    /// should copy it, or it keeps the whole message in memory.
    pub frames: Vec<Bytes>,
}

/// What the tasks of a mesh share.
struct Context {
    local: NodeId,
    generation: u64,
    limits: MeshLimits,
    identity: CurrentIdentity,
    handler: Arc<dyn MeshHandler>,
    /// The last epoch given out; epochs grow over all links.
    epochs: AtomicU64,
}

impl Context {
    fn next_epoch(&self) -> u64 {
        self.epochs
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed)
            + 1
    }
}

/// The mesh of one node; a handle that can be cloned. It ends when the last handle is dropped.
#[derive(Clone)]
pub struct Mesh {
    inner: Arc<Inner>,
}

struct Inner {
    context: Arc<Context>,
    peers: Arc<Peers>,
    local_addr: SocketAddr,
    stop: CancellationToken,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    _ends_with_the_last_handle: DropGuard,
}

impl Mesh {
    /// Opens the listener and begins to connect to the members of the view.
    ///
    /// What arrives comes out of the receiver; a node that does not take it in time pushes back on
    /// its peers. Calls, lost frames and health results go to the `handler`.
    ///
    /// # Errors
    /// [`MeshError`] if the certificate is another node's or the address cannot be listened at.
    pub async fn start(
        config: MeshConfig,
        view: watch::Receiver<Arc<ClusterView>>,
        handler: Arc<dyn MeshHandler>,
    ) -> Result<(Self, mpsc::Receiver<Inbound>), MeshError> {
        let MeshConfig {
            local,
            generation,
            listen,
            identity,
            limits,
        } = config;
        if identity.node() != &local {
            return Err(MeshError::WrongIdentity {
                certificate: identity.node().clone(),
                local,
            });
        }
        let cannot_listen = |source| MeshError::Listen { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(cannot_listen)?;
        let local_addr = listener.local_addr().map_err(cannot_listen)?;

        let stop = CancellationToken::new();
        let (inbound, arrivals) = mpsc::channel(limits.inbound_batches.max(1));
        let context = Arc::new(Context {
            local,
            generation,
            limits,
            identity: CurrentIdentity::new(identity),
            handler,
            epochs: AtomicU64::new(0),
        });
        let inbox = Arc::new(Inbox::new(inbound, context.limits.link.clone()));
        let peers = Arc::new(Peers::new(
            Arc::clone(&context),
            Arc::clone(&inbox),
            view,
            stop.clone(),
        ));
        let tasks = vec![
            tokio::spawn(server::serve(
                Arc::clone(&context),
                listener,
                inbox,
                Arc::clone(&peers),
                stop.clone(),
            )),
            tokio::spawn(Arc::clone(&peers).run()),
        ];
        let inner = Inner {
            context,
            peers,
            local_addr,
            stop: stop.clone(),
            tasks: Mutex::new(tasks),
            _ends_with_the_last_handle: stop.drop_guard(),
        };
        Ok((
            Self {
                inner: Arc::new(inner),
            },
            arrivals,
        ))
    }

    /// Where the mesh listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.local_addr
    }

    /// Queues a frame without waiting.
    ///
    /// # Errors
    /// [`SendError`]; the frame was not queued.
    pub fn try_send(&self, to: &NodeId, frame: Bytes) -> Result<(), SendError> {
        self.check_frame(&frame)?;
        let peer = self.inner.peers.get(to).ok_or(SendError::NoSuchMember)?;
        peer.try_send(&frame)
    }

    /// Queues a frame; waits while the queue is full.
    ///
    /// # Errors
    /// [`SendError`] other than [`SendError::Full`]; the frame was not queued.
    pub async fn send(&self, to: &NodeId, frame: Bytes) -> Result<(), SendError> {
        self.check_frame(&frame)?;
        let peer = self.inner.peers.get(to).ok_or(SendError::NoSuchMember)?;
        peer.send(&frame).await
    }

    /// Asks another node, outside of the order of the link. Waits for a connection too, within the
    /// deadline. What `kind` means is the nodes' affair.
    ///
    /// # Errors
    /// [`CallError`]; it says whether the call may have been done.
    pub async fn call(
        &self,
        to: &NodeId,
        kind: u32,
        payload: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, CallError> {
        if payload.len() > self.inner.context.limits.max_frame_bytes {
            return Err(CallError::TooLarge);
        }
        let peer = self.inner.peers.get(to).ok_or(CallError::NoSuchMember)?;
        peer.call(&self.inner.context, kind, payload, deadline)
            .await
    }

    /// How each link is, sorted by node.
    #[must_use]
    pub fn link_states(&self) -> Vec<LinkState> {
        let mut states: Vec<_> = self
            .inner
            .peers
            .all()
            .iter()
            .map(|peer| peer.state())
            .collect();
        states.sort_by(|a, b| a.peer.cmp(&b.peer));
        states
    }

    /// Uses another certificate, key and CA for connections to come; those that stand stay.
    ///
    /// # Errors
    /// [`MeshError::WrongIdentity`] if the certificate is another node's; nothing changes then.
    pub fn reload(&self, identity: MeshIdentity) -> Result<(), MeshError> {
        let local = &self.inner.context.local;
        if identity.node() != local {
            return Err(MeshError::WrongIdentity {
                certificate: identity.node().clone(),
                local: local.clone(),
            });
        }
        self.inner.context.identity.replace(identity);
        Ok(())
    }

    /// Waits until everything queued so far for all peers has arrived there or was given back as
    /// lost. `false` if that takes longer than `patience`.
    pub async fn flush(&self, patience: Duration) -> bool {
        let peers = self.inner.peers.all();
        let all = async {
            for peer in &peers {
                peer.outbox.settled().await;
            }
        };
        tokio::time::timeout(patience, all).await.is_ok()
    }

    /// Ends all links and the listener, and waits for their tasks, for some seconds at most. What
    /// is not delivered by then is given back as lost: call [`Self::flush`] before.
    pub async fn shutdown(&self) {
        self.inner.stop.cancel();
        let tasks = std::mem::take(
            &mut *self
                .inner
                .tasks
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        for mut task in tasks {
            if tokio::time::timeout(SHUTDOWN_PATIENCE, &mut task)
                .await
                .is_err()
            {
                task.abort();
            }
        }
    }

    fn check_frame(&self, frame: &Bytes) -> Result<(), SendError> {
        if self.inner.stop.is_cancelled() {
            return Err(SendError::Closed);
        }
        if frame.len() > self.inner.context.limits.max_frame_bytes {
            return Err(SendError::TooLarge);
        }
        Ok(())
    }
}

impl std::fmt::Debug for Mesh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mesh")
            .field("local", &self.inner.context.local)
            .field("local_addr", &self.inner.local_addr)
            .finish_non_exhaustive()
    }
}

const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(3);

/// The one place where the mesh reads the clock.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the shell around the link cores"
)]
fn now() -> Instant {
    Instant::now()
}
