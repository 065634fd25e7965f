//! TCP to a target with several addresses: the next one is tried when the last one failed or has
//! not answered for 250 ms, and the first to answer wins (RFC 8305 section 5).

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Connection attempt delay (RFC 8305 section 8).
const STAGGER: Duration = Duration::from_millis(250);

/// No address took the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DialFault {
    /// There was no address to try.
    NoAddress,
    /// What the last attempt gave.
    Tcp(std::io::ErrorKind),
}

/// Connects to the first of `addresses` that answers. Dropping the future gives up all attempts.
pub(crate) async fn dial(addresses: &[SocketAddr]) -> Result<TcpStream, DialFault> {
    let mut waiting = addresses.iter().copied();
    let mut attempts = JoinSet::new();
    let mut failure = DialFault::NoAddress;
    let mut next = waiting.next();
    loop {
        if let Some(address) = next.take() {
            attempts.spawn(async move { (address, TcpStream::connect(address).await) });
        }
        let more = waiting.len() > 0;
        if attempts.is_empty() && !more {
            return Err(failure);
        }
        tokio::select! {
            biased;
            Some(done) = attempts.join_next() => match done {
                Ok((_, Ok(socket))) => {
                    // Nothing is gained by waiting: writes are coalesced before they come here.
                    let _unsupported = socket.set_nodelay(true);
                    return Ok(socket);
                }
                Ok((address, Err(error))) => {
                    tracing::debug!(%address, %error, "no connection");
                    failure = DialFault::Tcp(error.kind());
                    next = waiting.next();
                }
                Err(_) => next = waiting.next(),
            },
            () = sleep(STAGGER), if more => next = waiting.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_refused_address_moves_on_at_once() {
        let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refused = dead.local_addr().unwrap();
        drop(dead);
        let alive = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = alive.local_addr().unwrap();
        let socket = dial(&[refused, address]).await.unwrap();
        assert_eq!(socket.peer_addr().unwrap(), address);
        assert_eq!(
            dial(&[refused]).await.unwrap_err(),
            DialFault::Tcp(std::io::ErrorKind::ConnectionRefused)
        );
    }
}
