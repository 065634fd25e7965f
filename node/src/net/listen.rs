//! Listening sockets that can be closed and opened again: an isolated or draining node refuses TCP
//! instead of accepting and failing, because most servers try the next SRV target only then.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const BACKLOG: i32 = 1024;
/// Pause after the process ran out of file descriptors or memory for a socket.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("{purpose}: cannot listen on {address}: {source}; free the port or set another address")]
pub(crate) struct ListenError {
    pub(crate) address: SocketAddr,
    pub(crate) purpose: &'static str,
    pub(crate) source: io::Error,
}

/// Opens one listening socket.
pub(crate) fn bind(address: SocketAddr, purpose: &'static str) -> Result<TcpListener, ListenError> {
    let open = || -> io::Result<TcpListener> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            // `[::]` serves IPv4 as well, whatever the system's default is.
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    match open() {
        // A machine without IPv6: the same for IPv4.
        Err(error)
            if address.is_ipv6()
                && address.ip().is_unspecified()
                && error.raw_os_error() == Some(97) =>
        {
            bind(SocketAddr::from(([0, 0, 0, 0], address.port())), purpose)
        }
        result => result.map_err(|source| ListenError {
            address,
            purpose,
            source,
        }),
    }
}

/// Accepts on `address` while `open` says so, giving each socket to `serve`. The first opening is
/// done by the caller, so that a port in use is an error at the start.
pub(crate) async fn accept_while_open(
    address: SocketAddr,
    purpose: &'static str,
    mut open: watch::Receiver<bool>,
    serve: impl Fn(TcpStream, SocketAddr) + Send,
) {
    loop {
        if open.wait_for(|open| *open).await.is_err() {
            return;
        }
        let listener = match bind(address, purpose) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "a listener could not be opened again");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        tracing::info!(%address, purpose, "listening");
        loop {
            tokio::select! {
                ended = closed(&mut open) => {
                    if ended {
                        return;
                    }
                    tracing::info!(%address, purpose, "closed");
                    break;
                }
                accepted = listener.accept() => match accepted {
                    Ok((socket, peer)) => {
                        // Nothing is gained by waiting: writes are coalesced before they come here.
                        let _unsupported = socket.set_nodelay(true);
                        serve(socket, peer);
                    }
                    Err(error) if is_of_one_connection(&error) => {}
                    Err(error) => {
                        tracing::warn!(%error, purpose, "accepting failed; trying again shortly");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }
}

/// Waits until the listener is to be closed; `true` when for ever.
async fn closed(open: &mut watch::Receiver<bool>) -> bool {
    open.wait_for(|open| !*open).await.is_err()
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
