//! DNS over TCP (RFC 7766): for answers that don't fit a datagram and askers over the rate limit.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::network::masked;
use crate::responder::Outcome;
use crate::response::Transport;
use crate::server::{DnsConfig, Shared};

/// Longest question that is read, as over UDP.
const MAX_MESSAGE: usize = 4096;
/// Pause after the system refused a connection, usually for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Counts connections in total and for each peer.
pub(crate) struct TcpLimits {
    total: usize,
    per_peer: usize,
    idle: Duration,
    lifetime: Duration,
    /// Connections now open; never more keys than connections.
    open: Mutex<HashMap<IpAddr, usize>>,
}

impl TcpLimits {
    pub(crate) fn new(config: &DnsConfig) -> Self {
        Self {
            total: config.tcp_connections,
            per_peer: config.tcp_connections_per_peer,
            idle: config.tcp_idle,
            lifetime: config.tcp_lifetime,
            open: Mutex::new(HashMap::new()),
        }
    }

    /// A place for a connection, given back when it is dropped.
    fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let peer = match peer.to_canonical() {
            v6 @ IpAddr::V6(_) => masked(v6, 56),
            v4 => v4,
        };
        let mut open = self.open();
        if open.values().sum::<usize>() >= self.total {
            return None;
        }
        let count = open.entry(peer).or_insert(0);
        if *count >= self.per_peer {
            return None;
        }
        *count += 1;
        Some(Place {
            limits: self.clone(),
            peer,
        })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Place {
    limits: Arc<TcpLimits>,
    peer: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.limits.open();
        if let Some(count) = open.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.peer);
            }
        }
    }
}

/// Accepts connections for ever.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>, limits: Arc<TcpLimits>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = limits.admit(peer.ip()) else {
            shared.telemetry.tcp_refused.increment(1);
            continue; // dropped, so closed
        };
        let (shared, limits) = (shared.clone(), limits.clone());
        connections.spawn(async move {
            let _place = place;
            let served = converse(stream, peer, &shared, limits.idle);
            if let Ok(Err(error)) = timeout(limits.lifetime, served).await {
                tracing::debug!(%error, %peer, "connection ended");
            }
        });
    }
}

/// Answers one question after the other until the peer closes, is idle or breaks a rule.
async fn converse(
    mut stream: TcpStream,
    asker: SocketAddr,
    shared: &Shared,
    idle: Duration,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut message = Vec::new();
    loop {
        timeout(idle, read_message(&mut stream, &mut message)).await??;
        let outcome = respond(shared, &message, asker);
        shared.telemetry.count(&outcome);
        let Outcome::Answer(_, answer) = outcome else {
            return Ok(()); // no question: nothing good will follow
        };
        timeout(idle, write_message(&mut stream, &answer)).await??;
    }
}

#[expect(clippy::disallowed_methods, reason = "a shell: passes the clock on")]
fn respond(shared: &Shared, message: &[u8], asker: SocketAddr) -> Outcome {
    let zones = shared.zones.borrow().clone();
    let responder = &shared.responder;
    responder.respond(&zones, message, asker, Transport::Tcp, Instant::now())
}

async fn read_message(stream: &mut TcpStream, message: &mut Vec<u8>) -> io::Result<()> {
    let length = usize::from(stream.read_u16().await?);
    if length > MAX_MESSAGE {
        return Err(io::ErrorKind::InvalidData.into());
    }
    message.resize(length, 0);
    stream.read_exact(message).await?;
    Ok(())
}

async fn write_message(stream: &mut TcpStream, answer: &[u8]) -> io::Result<()> {
    let length = u16::try_from(answer.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut framed = Vec::with_capacity(2 + answer.len());
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(answer);
    stream.write_all(&framed).await
}
