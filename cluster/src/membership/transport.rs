//! chitchat's transport over sealed datagrams.
//!
//! chitchat hands over messages whose encoding is private to it. Its own UDP socket can encode and
//! decode them, so one of those, bound to loopback, serves as the codec: what is to be sent goes
//! through it to a relay socket of ours, is sealed and leaves by the real socket; what arrives is
//! opened and goes through the relay into the codec. Both loopback sockets take datagrams only from
//! each other. One hop in each direction costs some ten microseconds at a few dozen messages a
//! second.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chitchat::ChitchatEnvelope;
use chitchat::transport::{RecvOutcome, SendOutcome, Socket, Transport, UdpSocket as Codec};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::timeout;

use super::sealed::{DropReason, MAX_DATAGRAM, Opened, SealedChannel};

/// Bound on one loopback hop. The kernel delivers at once; only a full buffer loses a datagram.
const HOP: Duration = Duration::from_millis(100);
/// Pause after an unexpected receive error, so that a broken socket does not spin.
const PAUSE: Duration = Duration::from_millis(20);

/// How many datagrams were dropped, by reason. Monotonic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drops([u64; DropReason::ALL.len()]);

impl Drops {
    /// The count of one reason.
    #[must_use]
    pub fn count(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }
}

/// Opens once, on the socket that was bound when membership started.
pub(super) struct SealedTransport {
    parts: Mutex<Option<(UdpSocket, SealedChannel)>>,
    drops: watch::Sender<Drops>,
}

impl SealedTransport {
    pub(super) fn new(
        socket: UdpSocket,
        channel: SealedChannel,
        drops: watch::Sender<Drops>,
    ) -> Self {
        Self {
            parts: Mutex::new(Some((socket, channel))),
            drops,
        }
    }
}

#[async_trait]
impl Transport for SealedTransport {
    async fn open(&self, _listen: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let parts = self
            .parts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let (outer, channel) = parts.ok_or_else(|| io::Error::from(io::ErrorKind::AddrInUse))?;
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let codec = Codec::open(loopback).await?;
        let codec_addr = codec.local_addr()?;
        let relay = UdpSocket::bind(loopback).await?;
        let relay_addr = relay.local_addr()?;
        Ok(Box::new(SealedSocket {
            outer,
            channel,
            codec,
            codec_addr,
            relay,
            relay_addr,
            in_codec: None,
            buffer: vec![0; MAX_DATAGRAM].into_boxed_slice(),
            drops: self.drops.clone(),
        }))
    }
}

struct SealedSocket {
    outer: UdpSocket,
    channel: SealedChannel,
    codec: Codec,
    codec_addr: SocketAddr,
    relay: UdpSocket,
    relay_addr: SocketAddr,
    /// Who sent the message that is in the codec and not yet out of it. Kept here, because chitchat
    /// cancels `recv` and calls it again.
    in_codec: Option<SocketAddr>,
    buffer: Box<[u8]>,
    drops: watch::Sender<Drops>,
}

#[async_trait]
impl Socket for SealedSocket {
    fn local_addr(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.outer.local_addr()?)
    }

    /// Never fails: to chitchat an error means that the transport is broken for good.
    async fn send(
        &mut self,
        to: SocketAddr,
        envelope: ChitchatEnvelope,
    ) -> anyhow::Result<SendOutcome> {
        let num_bytes_sent = match self.send_sealed(to, envelope).await {
            Ok(bytes) => bytes,
            Err(reason) => {
                self.count(reason, to);
                0
            }
        };
        Ok(SendOutcome { num_bytes_sent })
    }

    async fn recv(&mut self) -> anyhow::Result<RecvOutcome> {
        loop {
            if let Some(from_addr) = self.in_codec {
                let outcome = timeout(HOP, self.codec.recv()).await;
                match outcome {
                    Ok(Ok(outcome)) if outcome.from_addr == self.relay_addr => {
                        self.in_codec = None;
                        return Ok(RecvOutcome {
                            from_addr,
                            ..outcome
                        });
                    }
                    // Some other local process has found the codec's port.
                    Ok(Ok(_)) => continue,
                    Ok(Err(error)) => tracing::warn!(%error, "gossip codec failed"),
                    // Authentic, but chitchat could not decode it: another version of it.
                    Err(_) => self.count(DropReason::Malformed, from_addr),
                }
                self.in_codec = None;
            }
            match self.outer.recv_from(&mut self.buffer).await {
                Ok((len, from)) => self.receive(len, from),
                Err(error) => {
                    // A refused earlier datagram comes back as an error here, for instance.
                    tracing::debug!(%error, "gossip receive failed");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

impl SealedSocket {
    async fn send_sealed(
        &mut self,
        to: SocketAddr,
        envelope: ChitchatEnvelope,
    ) -> Result<usize, DropReason> {
        // Whatever a hop that timed out has left behind must not go out in the place of this one.
        let mut stale = [0; 1];
        while self.relay.try_recv_from(&mut stale).is_ok() {}
        self.codec
            .send(self.relay_addr, envelope)
            .await
            .map_err(|_| DropReason::NotSendable)?;
        let len = loop {
            let hop = timeout(HOP, self.relay.recv_from(&mut self.buffer)).await;
            match hop {
                Ok(Ok((len, from))) if from == self.codec_addr => break len,
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(_) => return Err(DropReason::NotSendable),
            }
        };
        let message = self.buffer.get(..len).ok_or(DropReason::NotSendable)?;
        let datagram = self.channel.seal(to, message)?;
        match self.outer.send_to(&datagram, to).await {
            Ok(sent) => Ok(sent),
            Err(error) => {
                tracing::debug!(%error, %to, "gossip send failed");
                Err(DropReason::NotSendable)
            }
        }
    }

    /// Takes in the datagram in the buffer. Without awaiting, so that it cannot be cancelled half
    /// way: the socket operations either succeed at once or the datagram is lost.
    fn receive(&mut self, len: usize, from: SocketAddr) {
        let datagram = self.buffer.get(..len).unwrap_or_default();
        match self.channel.open(from, datagram) {
            Ok(Opened::Gossip(message)) => {
                match self.relay.try_send_to(&message, self.codec_addr) {
                    Ok(_) => self.in_codec = Some(from),
                    Err(_) => self.count(DropReason::NotSendable, from),
                }
            }
            Ok(Opened::Learned) => {}
            Ok(Opened::Answer(hello)) => {
                self.count(DropReason::Unaddressed, from);
                if self.outer.try_send_to(&hello, from).is_err() {
                    self.count(DropReason::NotSendable, from);
                }
            }
            Err(reason) => self.count(reason, from),
        }
    }

    fn count(&self, reason: DropReason, peer: SocketAddr) {
        tracing::debug!(%peer, %reason, "gossip datagram dropped");
        self.drops
            .send_modify(|drops| drops.0[reason as usize] += 1);
        metrics::counter!("entente_gossip_dropped_total", "reason" => reason.name()).increment(1);
    }
}
