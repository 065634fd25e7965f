//! Accepts connections of other nodes and finds out who they are.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;
use tracing::{debug, warn};

use super::Context;
use super::identity::node_of;
use crate::NodeId;

/// A connection whose other end has proved to be a node of the cluster.
pub(super) struct NodeStream {
    stream: TlsStream<TcpStream>,
    caller: Caller,
    _place: OwnedSemaphorePermit,
}

/// Who is at the other end of a connection, by its certificate.
#[derive(Debug, Clone)]
pub(super) struct Caller(pub(super) NodeId);

/// Accepts until stopped. Handshakes run beside each other, a bounded number at a time: whoever
/// says nothing keeps nobody else waiting.
pub(super) async fn accept(
    context: Arc<Context>,
    listener: TcpListener,
    streams: mpsc::Sender<io::Result<NodeStream>>,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(context.limits.max_connections));
    let mut handshakes = Handshakes::new(context.limits.max_handshakes);
    let mut pause = SHORTEST_PAUSE;
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (tcp, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: the waiting connection stays in the backlog,
                // and trying again at once would only burn time.
                warn!(%error, "the mesh cannot accept a connection");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
                continue;
            }
        };
        pause = SHORTEST_PAUSE;
        let evicted = handshakes.begin();
        let (context, streams, stop) = (Arc::clone(&context), streams.clone(), stop.clone());
        let places = Arc::clone(&places);
        tokio::spawn(async move {
            // Cancelled when dropped too, which frees the place among the handshakes.
            let _done = evicted.clone().drop_guard();
            let greeted = tokio::select! {
                () = stop.cancelled() => return,
                () = evicted.cancelled() => {
                    debug!(%from, "the mesh dropped a connection: newer ones need its place");
                    return;
                }
                greeted = greet(&context, tcp, from) => greeted,
            };
            let Some((stream, caller)) = greeted else {
                return;
            };
            let Ok(place) = places.try_acquire_owned() else {
                warn!(%from, peer = %caller.0, "the mesh has too many connections");
                return;
            };
            let stream = NodeStream {
                stream,
                caller,
                _place: place,
            };
            // Fails only when the server is gone.
            let _ = streams.send(Ok(stream)).await;
        });
    }
}

/// The handshakes under way, oldest first. When there are too many the oldest is given up: an
/// honest one takes milliseconds, so it is nearly always somebody who says nothing.
struct Handshakes {
    max: usize,
    under_way: VecDeque<CancellationToken>,
}

impl Handshakes {
    fn new(max: usize) -> Self {
        Self {
            max: max.max(1),
            under_way: VecDeque::new(),
        }
    }

    fn begin(&mut self) -> CancellationToken {
        if self.under_way.len() >= self.max {
            self.under_way.retain(|other| !other.is_cancelled());
        }
        if self.under_way.len() >= self.max
            && let Some(oldest) = self.under_way.pop_front()
        {
            oldest.cancel();
        }
        let token = CancellationToken::new();
        self.under_way.push_back(token.clone());
        token
    }
}

const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

async fn greet(
    context: &Context,
    tcp: TcpStream,
    from: SocketAddr,
) -> Option<(TlsStream<TcpStream>, Caller)> {
    if let Err(error) = tcp.set_nodelay(true) {
        debug!(%from, %error, "the mesh dropped a connection");
        return None;
    }
    let handshake = TlsAcceptor::from(context.identity.server()).accept(tcp);
    let stream = match tokio::time::timeout(context.limits.handshake_timeout, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            debug!(%from, %error, "the mesh dropped a connection");
            return None;
        }
        Err(_) => {
            debug!(%from, "the mesh dropped a connection: no handshake in time");
            return None;
        }
    };
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let caller = match certificates.first().map(|own| node_of(own)) {
        Some(Ok(caller)) if caller != context.local => caller,
        Some(Ok(_)) => {
            warn!(%from, "a node uses the name and a certificate of this node");
            return None;
        }
        Some(Err(error)) => {
            warn!(%from, %error, "the mesh refused a certificate of the cluster CA");
            return None;
        }
        None => return None,
    };
    Some((stream, Caller(caller)))
}

impl Connected for NodeStream {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for NodeStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for NodeStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
