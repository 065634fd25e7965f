//! A cluster on loopback: a CA, nodes, and proxies between them that can be cut.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use entente_cluster::forward::{
    CallRefusal, HealthReport, Inbound, LinkState, Lost, Mesh, MeshConfig, MeshHandler,
    MeshIdentity, MeshLimits, mesh_name,
};
use entente_cluster::{ClusterView, Member, MemberState, NodeId, Roles, Standing};
use futures_util::future::BoxFuture;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Nothing here takes this long unless it never happens.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn node_id(name: &str) -> NodeId {
    NodeId::new(name).expect("a node id")
}

pub(crate) fn number(n: u64) -> Bytes {
    Bytes::copy_from_slice(&n.to_be_bytes())
}

/// Waits for something that must happen.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what)
        .await
        .expect("this must happen soon")
}

pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a CA").pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// Certificate and key in PEM.
    pub(crate) fn certify(&self, names: &[String]) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(names).expect("DNS names");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    pub(crate) fn identity(&self, node: &NodeId) -> MeshIdentity {
        let (chain, key) = self.certify(&[mesh_name(node)]);
        MeshIdentity::from_pem(chain.as_bytes(), key.as_bytes(), self.pem.as_bytes())
            .expect("an identity")
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }
}

/// Echoes calls of kind 1, lets those of kind 2 hang, and remembers what it is told.
pub(crate) struct Recorder {
    pub(crate) lost: mpsc::Sender<Lost>,
    pub(crate) health: mpsc::Sender<HealthReport>,
    pub(crate) calls_hanging: watch::Sender<usize>,
}

impl MeshHandler for Recorder {
    fn call(
        &self,
        from: NodeId,
        kind: u32,
        payload: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, CallRefusal>> {
        if kind == 2 {
            self.calls_hanging.send_modify(|n| *n += 1);
        }
        Box::pin(async move {
            match kind {
                1 => Ok([from.as_str().as_bytes(), b":", &payload].concat().into()),
                2 => std::future::pending().await,
                _ => Err(CallRefusal::UnknownKind),
            }
        })
    }

    fn lost(&self, lost: Lost) -> BoxFuture<'static, ()> {
        let to = self.lost.clone();
        Box::pin(async move {
            let _ = to.send(lost).await;
        })
    }

    fn health(&self, report: HealthReport) {
        let _ = self.health.try_send(report);
    }
}

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) mesh: Mesh,
    pub(crate) inbound: mpsc::Receiver<Inbound>,
    pub(crate) lost: mpsc::Receiver<Lost>,
    pub(crate) health: mpsc::Receiver<HealthReport>,
    pub(crate) calls_hanging: watch::Receiver<usize>,
    view: watch::Sender<Arc<ClusterView>>,
    version: Mutex<u64>,
}

/// A member as another node's view lists it.
pub(crate) fn member(id: &NodeId, generation: u64, mesh: SocketAddr, standing: Standing) -> Member {
    Member {
        id: id.clone(),
        generation,
        roles: Roles::HOME,
        state: MemberState::Ready,
        standing,
        mesh,
        public: Vec::new(),
        private: Vec::new(),
        host: format!("{id}.example"),
        started: 0,
        announcement: String::new(),
    }
}

impl Node {
    pub(crate) async fn start(ca: &Ca, name: &str, generation: u64) -> Self {
        Self::start_with(
            ca.identity(&node_id(name)),
            generation,
            MeshLimits::default(),
        )
        .await
    }

    pub(crate) async fn start_with(
        identity: MeshIdentity,
        generation: u64,
        limits: MeshLimits,
    ) -> Self {
        let id = identity.node().clone();
        let (lost, lost_rx) = mpsc::channel(1000);
        let (health, health_rx) = mpsc::channel(1000);
        let calls_hanging = watch::Sender::new(0);
        let hanging = calls_hanging.subscribe();
        let handler = Recorder {
            lost,
            health,
            calls_hanging,
        };
        let (view, views) = watch::channel(Arc::new(ClusterView::empty(id.clone())));
        let config = MeshConfig {
            local: id.clone(),
            generation,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            identity,
            limits,
        };
        let (mesh, inbound) = Mesh::start(config, views, Arc::new(handler))
            .await
            .expect("a mesh");
        Self {
            id,
            mesh,
            inbound,
            lost: lost_rx,
            health: health_rx,
            calls_hanging: hanging,
            view,
            version: Mutex::new(0),
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.mesh.local_addr()
    }

    pub(crate) fn see(&self, members: Vec<Member>) {
        let mut version = self.version.lock().expect("not poisoned");
        *version += 1;
        let view = ClusterView::new(*version, self.id.clone(), members, false);
        self.view.send_replace(Arc::new(view));
    }

    /// Sees one other node, up.
    pub(crate) fn see_one(&self, id: &NodeId, generation: u64, addr: SocketAddr) {
        self.see(vec![member(id, generation, addr, Standing::Serving)]);
    }

    /// Waits until the state of the link to `peer` is as wanted.
    pub(crate) async fn link(
        &self,
        peer: &NodeId,
        wanted: impl Fn(&LinkState) -> bool,
    ) -> LinkState {
        soon(async {
            loop {
                let states = self.mesh.link_states();
                if let Some(state) = states.into_iter().find(|s| &s.peer == peer)
                    && wanted(&state)
                {
                    return state;
                }
                // Status is meant to be polled; there is no event for it.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
    }

    pub(crate) async fn connected(&self, peer: &NodeId) -> LinkState {
        self.link(peer, |state| state.connected).await
    }

    /// Sends a number; a view that was just seen counts already.
    pub(crate) async fn send(&self, to: &NodeId, n: u64) {
        soon(self.mesh.send(to, number(n))).await.expect("queued");
    }

    /// The next `count` numbers that arrive.
    pub(crate) async fn numbers(&mut self, count: usize) -> Vec<u64> {
        let mut numbers = Vec::new();
        while numbers.len() < count {
            let inbound = soon(self.inbound.recv()).await.expect("open");
            numbers.extend(
                inbound
                    .frames
                    .iter()
                    .map(|frame| u64::from_be_bytes(frame[..8].try_into().expect("eight bytes"))),
            );
        }
        numbers
    }
}

/// Two nodes that see each other.
pub(crate) async fn pair(ca: &Ca) -> (Node, Node) {
    let a = Node::start(ca, "a", 1).await;
    let b = Node::start(ca, "b", 1).await;
    a.see_one(&b.id, 1, b.addr());
    b.see_one(&a.id, 1, a.addr());
    a.connected(&b.id).await;
    b.connected(&a.id).await;
    (a, b)
}

/// Passes bytes on, until it is cut.
pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    cut: Arc<Mutex<CancellationToken>>,
    frozen: watch::Sender<bool>,
    stop: CancellationToken,
}

/// Passes bytes on in one direction, none while frozen.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut frozen: watch::Receiver<bool>,
) -> Option<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await.ok()?;
        frozen.wait_for(|frozen| !frozen).await.ok()?;
        if read == 0 {
            return None;
        }
        to.write_all(&buffer[..read]).await.ok()?;
    }
}

impl Proxy {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("bound");
        let stop = CancellationToken::new();
        let cut = Arc::new(Mutex::new(CancellationToken::new()));
        let (token, cuts) = (stop.clone(), Arc::clone(&cut));
        let frozen = watch::Sender::new(false);
        let ice = frozen.subscribe();
        tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    () = token.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                let (near, _) = accepted.expect("accepted");
                let cut = cuts.lock().expect("not poisoned").clone();
                let ice = ice.clone();
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(target).await else {
                        return;
                    };
                    let (near_read, near_write) = near.into_split();
                    let (far_read, far_write) = far.into_split();
                    tokio::select! {
                        () = cut.cancelled() => {}
                        _ = pass(near_read, far_write, ice.clone()) => {}
                        _ = pass(far_read, near_write, ice) => {}
                    }
                });
            }
        });
        Self {
            addr,
            cut,
            frozen,
            stop,
        }
    }

    /// Breaks all connections; new ones are possible.
    pub(crate) fn cut(&self) {
        let mut cut = self.cut.lock().expect("not poisoned");
        cut.cancel();
        *cut = CancellationToken::new();
    }
}

impl Proxy {
    /// Keeps the connections open and passes nothing on, until thawed.
    pub(crate) fn freeze(&self, frozen: bool) {
        self.frozen.send_replace(frozen);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.cancel();
        self.cut.lock().expect("not poisoned").cancel();
    }
}
