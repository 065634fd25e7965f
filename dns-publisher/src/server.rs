//! The name server's sockets.
//!
//! hickory gives the message format; the sockets are our own, because this port is open to
//! everybody: connections are counted and capped, running out of file descriptors makes a pause and
//! not a busy loop, every answer including an error passes the rate limiting, and addresses that
//! don't fit an answer do not make it look truncated.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::publication::Published;
use crate::responder::Responder;
use crate::rrl::RrlConfig;
use crate::tcp::{self, TcpLimits};
use crate::telemetry::Telemetry;
use crate::udp;
use crate::zone::ZoneIndex;

/// How often a free port is looked for that UDP and TCP both have, if the configured port is 0.
const PORT_ATTEMPTS: u32 = 32;
/// Connections that the kernel may hold for us.
const BACKLOG: i32 = 128;

/// Settings of the name server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsConfig {
    /// UDP and TCP addresses. Port 0: a free port, the same for both, for tests. On a machine with
    /// several addresses list each one: answers from a wildcard address leave with the address that
    /// the route prefers, and resolvers drop answers from another address than they asked.
    pub listen: Vec<SocketAddr>,
    /// Receiving tasks for each UDP address. Default: one for each core, at most 4.
    pub udp_workers: usize,
    /// Response rate limiting over UDP.
    pub rrl: RrlConfig,
    /// TCP connections at once. Default 256.
    pub tcp_connections: usize,
    /// TCP connections at once from one address (IPv6: one /56). Default 16.
    pub tcp_connections_per_peer: usize,
    /// A TCP connection without a whole question for this long is closed. Default 10 s.
    pub tcp_idle: Duration,
    /// No TCP connection lasts longer. Default 120 s.
    pub tcp_lifetime: Duration,
}

impl DnsConfig {
    /// The defaults, on `listen`.
    #[must_use]
    pub fn new(listen: Vec<SocketAddr>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            listen,
            udp_workers: cores.min(4),
            rrl: RrlConfig::default(),
            tcp_connections: 256,
            tcp_connections_per_peer: 16,
            tcp_idle: Duration::from_secs(10),
            tcp_lifetime: Duration::from_secs(120),
        }
    }
}

/// Why the name server can't start.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// No address to listen on.
    #[error("the name server has no address to listen on")]
    NoAddress,
    /// An address can't be had: taken, not ours, or a low port without the right to it.
    #[error("can't listen on {address} ({transport})")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// `udp` or `tcp`.
        transport: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

/// The name server.
#[derive(Debug)]
pub struct DnsServer;

impl DnsServer {
    /// Binds all sockets and begins to answer from whatever `published` holds. Must be called inside
    /// a tokio runtime.
    ///
    /// # Errors
    /// [`DnsError`]; nothing stays bound then.
    #[expect(
        clippy::disallowed_methods,
        reason = "a shell: starts the limiter's clock"
    )]
    pub fn start(
        config: DnsConfig,
        published: watch::Receiver<Arc<Published>>,
    ) -> Result<DnsHandle, DnsError> {
        if config.listen.is_empty() {
            return Err(DnsError::NoAddress);
        }
        let mut sockets = Vec::new();
        for address in &config.listen {
            sockets.push(Sockets::bind(*address, config.udp_workers.max(1))?);
        }
        let addresses = sockets.iter().map(|sockets| sockets.address).collect();
        let seed = RandomState::new().hash_one(0);
        let (zones, index) = watch::channel(Arc::new(ZoneIndex::new(&published.borrow())));
        let shared = Arc::new(Shared {
            responder: Responder::new(config.rrl.clone(), seed, Instant::now()),
            telemetry: Telemetry::new(),
            zones: index,
        });
        let limits = Arc::new(TcpLimits::new(&config));
        let mut tasks = JoinSet::new();
        tasks.spawn(keep_index(published, zones, shared.clone()));
        for sockets in sockets {
            for socket in sockets.udp {
                tasks.spawn(udp::serve(socket, shared.clone()));
            }
            tasks.spawn(tcp::serve(sockets.tcp, shared.clone(), limits.clone()));
        }
        Ok(DnsHandle { addresses, tasks })
    }
}

/// A running name server; dropping it stops it.
#[derive(Debug)]
pub struct DnsHandle {
    addresses: Vec<SocketAddr>,
    tasks: JoinSet<()>,
}

impl DnsHandle {
    /// The bound addresses, in the order of the configuration.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Closes all sockets and connections and waits until they are closed.
    pub async fn shutdown(mut self) {
        self.tasks.shutdown().await;
    }

    /// Comes back only if a part of the server ends by itself, which would be a bug of ours.
    pub async fn failed(&mut self) {
        // The tasks loop for ever; only a panic ends one.
        let _ = self.tasks.join_next().await;
    }
}

/// What all sockets use.
pub(crate) struct Shared {
    pub(crate) responder: Responder,
    pub(crate) telemetry: Telemetry,
    /// Cloned by each task, so that each sees when the index changes.
    pub(crate) zones: watch::Receiver<Arc<ZoneIndex>>,
}

/// Makes the index for each publication. Never ends: when the publisher is gone, its last word holds.
async fn keep_index(
    mut published: watch::Receiver<Arc<Published>>,
    zones: watch::Sender<Arc<ZoneIndex>>,
    shared: Arc<Shared>,
) {
    loop {
        let current = published.borrow_and_update().clone();
        shared.telemetry.serial.set(f64::from(current.serial.0));
        let isolated = f64::from(u8::from(current.isolated));
        shared.telemetry.isolated.set(isolated);
        zones.send_replace(Arc::new(ZoneIndex::new(&current)));
        if published.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The sockets of one address.
struct Sockets {
    address: SocketAddr,
    udp: Vec<UdpSocket>,
    tcp: TcpListener,
}

impl Sockets {
    fn bind(address: SocketAddr, workers: usize) -> Result<Self, DnsError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let tcp = listen_tcp(address).map_err(failed(address, "tcp"))?;
            let bound = tcp.local_addr().map_err(failed(address, "tcp"))?;
            match listen_udp(bound, workers) {
                Ok(udp) => {
                    return Ok(Self {
                        address: bound,
                        udp,
                        tcp,
                    });
                }
                // Somebody has that port for UDP: another one will be free.
                Err(_) if address.port() == 0 && attempt < PORT_ATTEMPTS => {}
                Err(error) => return Err(failed(address, "udp")(error)),
            }
        }
    }
}

fn failed(address: SocketAddr, transport: &'static str) -> impl Fn(io::Error) -> DnsError {
    move |source| DnsError::Listen {
        address,
        transport,
        source,
    }
}

fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn listen_udp(address: SocketAddr, workers: usize) -> io::Result<Vec<UdpSocket>> {
    // SO_REUSEPORT would let a second server in unnoticed: make sure first that nobody is there.
    drop(udp_socket(address, false)?);
    (0..workers)
        .map(|_| UdpSocket::from_std(udp_socket(address, workers > 1)?.into()))
        .collect()
}

fn udp_socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests;
