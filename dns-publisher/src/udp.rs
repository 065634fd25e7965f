//! The UDP loop: one task for each socket, no task for each datagram.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio::net::UdpSocket;

use crate::responder::Outcome;
use crate::response::Transport;
use crate::server::Shared;
use crate::zone::ZoneIndex;

/// Longest question that is read; RFC 6891 lets no sane one come near.
const MAX_DATAGRAM: usize = 4096;
/// Datagrams answered before other tasks get their turn.
const BATCH: usize = 64;

/// Answers datagrams for ever.
pub(crate) async fn serve(socket: UdpSocket, shared: Arc<Shared>) {
    let mut zones = shared.zones.clone();
    let mut current = zones.borrow_and_update().clone();
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        if socket.readable().await.is_err() {
            tokio::task::yield_now().await;
            continue;
        }
        // An error means that the sender is gone: what it holds stays valid.
        if zones.has_changed().unwrap_or(false) {
            current = zones.borrow_and_update().clone();
        }
        for _ in 0..BATCH {
            match answer_one(&socket, &shared, &current, &mut buffer) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An ICMP error of an earlier answer: nobody's fault here.
                Err(error) => tracing::debug!(%error, "datagram not received"),
            }
        }
        tokio::task::yield_now().await;
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a shell: reads the clock for the rate limiting"
)]
fn answer_one(
    socket: &UdpSocket,
    shared: &Shared,
    zones: &ZoneIndex,
    buffer: &mut [u8],
) -> io::Result<()> {
    let (length, asker) = socket.try_recv_from(buffer)?;
    let message = &buffer[..length];
    let now = Instant::now();
    let outcome = shared
        .responder
        .respond(zones, message, asker, Transport::Udp, now);
    shared.telemetry.count(&outcome);
    if let Outcome::Answer(_, answer) | Outcome::Slipped(answer) = &outcome {
        // A full socket buffer loses the answer, as UDP may; the asker asks again.
        if let Err(error) = socket.try_send_to(answer, asker) {
            tracing::debug!(%error, %asker, "answer not sent");
        }
    }
    Ok(())
}
