//! Opens the connection to a peer: TCP, TLS, HTTP/2.

use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::task::{Context as TaskContext, Poll};

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::Service;
use tonic::transport::{Channel, Endpoint, Uri};

use super::Context;
use super::fault::LinkFault;
use super::identity::{mesh_name, server_name};
use crate::NodeId;

/// A connection to the process at `addr`, which has proved to be `node`.
///
/// The channel does not reconnect: when it breaks, the link's driver decides what to do.
pub(super) async fn dial(
    context: &Context,
    node: &NodeId,
    addr: SocketAddr,
) -> Result<Channel, LinkFault> {
    let stream = tokio::time::timeout(
        context.limits.handshake_timeout,
        secure(context, node, addr),
    )
    .await
    .map_err(|_| LinkFault::Timeout)??;
    endpoint(context, node)?
        .connect_with_connector(Once(Some(stream)))
        .await
        .map_err(|error| LinkFault::Connection(causes(&error)))
}

async fn secure(
    context: &Context,
    node: &NodeId,
    addr: SocketAddr,
) -> Result<TlsStream<TcpStream>, LinkFault> {
    let connect = |error: io::Error| LinkFault::Connect(error.kind());
    let tcp = TcpStream::connect(addr).await.map_err(connect)?;
    tcp.set_nodelay(true).map_err(connect)?;
    let name = server_name(node).map_err(|error| LinkFault::Tls(error.to_string()))?;
    // Whether the certificate is the node's is checked by rustls against this name.
    TlsConnector::from(context.identity.client())
        .connect(name, tcp)
        .await
        .map_err(|error| LinkFault::Tls(error.to_string()))
}

fn endpoint(context: &Context, node: &NodeId) -> Result<Endpoint, LinkFault> {
    let limits = &context.limits;
    // The scheme only keeps tonic from adding TLS of its own.
    let endpoint = Endpoint::from_shared(format!("http://{}", mesh_name(node)))
        .map_err(|error| LinkFault::Connection(causes(&error)))?
        .http2_keep_alive_interval(limits.keepalive_interval)
        .keep_alive_timeout(limits.keepalive_timeout)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    Ok(endpoint)
}

/// What one stream may have under way: a few batches, so that a batch is under way while the one
/// before is being read.
pub(super) const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
/// What one connection may have under way; more than a stream, so that a link whose node does not
/// read leaves room for health checks and calls.
pub(super) const CONNECTION_WINDOW: u32 = 2 * STREAM_WINDOW;

/// Gives away one connection, once.
struct Once(Option<TlsStream<TcpStream>>);

impl Service<Uri> for Once {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let stream = self.0.take().map(TokioIo::new);
        ready(stream.ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}

/// An error with what caused it: tonic's own texts say little.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
