//! Connections that we open: the servers of a peer in order (RFC 3263), TCP, TLS, and the check that the
//! other end is whom we meant.

use std::sync::Arc;

use entente_sip_core::via::Transport;
use entente_xmpp_core::jid::domain_to_ascii;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::connection::Connection;
use super::failure::ConnectFailure;
use super::link::{Link, Opening};
use super::proof::Proof;
use super::server::{Server, servers};
use super::service::SipService;
use super::trunk::TrunkKey;
use crate::clock::now;
use crate::config::{SipPeerConfig, SipTransport};
use crate::net::{Io, dial, tls_version};
use crate::tls::CertificateNames;

/// An open connection, and where it leads.
pub(super) struct Opened {
    pub(super) link: Arc<Link>,
    pub(super) server: (String, u16),
    /// How many servers the peer has.
    pub(super) servers: usize,
}

/// Opens a connection to the first server that works; those in `avoided` are tried last.
pub(super) async fn open(
    service: &Arc<SipService>,
    peer: &SipPeerConfig,
    key: &TrunkKey,
    avoided: &[(String, u16)],
) -> Result<Opened, ConnectFailure> {
    let domain = domain_to_ascii(&key.domain).map_err(|_| ConnectFailure::NoSuchDomain)?;
    let patience = service.config.connect_timeout;
    let located = timeout(patience, servers(&service.resolver, peer, &domain)).await;
    let mut list = located.unwrap_or(Err(ConnectFailure::Dns))?;
    list.sort_by_key(|server| {
        avoided
            .iter()
            .any(|(host, port)| *host == server.host && *port == server.port)
    });
    let count = list.len();
    let mut failure = ConnectFailure::NoSuchDomain;
    for server in list {
        let attempt = attempt(service, peer, key, &domain, &server);
        let attempt = timeout(patience, attempt).await;
        match attempt.unwrap_or(Err(ConnectFailure::Timeout(patience))) {
            Ok((io, opening)) => {
                let link = start(service, io, opening, key, peer);
                return Ok(Opened {
                    link,
                    server: (server.host, server.port),
                    servers: count,
                });
            }
            Err(failed) => {
                metrics::counter!("entente_sip_connect_failures_total", "reason" => failed.label())
                    .increment(1);
                tracing::debug!(peer = %peer.name, host = %server.host, port = server.port, failure = %failed, "no connection to this server");
                failure = failed;
            }
        }
    }
    Err(failure)
}

fn start(
    service: &Arc<SipService>,
    io: Io,
    opening: Opening,
    key: &TrunkKey,
    peer: &SipPeerConfig,
) -> Arc<Link> {
    tracing::info!(peer = %peer.name, address = %opening.address, proof = %opening.proof.shown(), "SIP connection opened");
    let (link, outbox) = service.links.enter(now(), opening);
    link.heard(&key.domain, &peer.name);
    let connection = Connection {
        service: Arc::clone(service),
        link: Arc::clone(&link),
        io,
        outbox,
        permit: None,
    };
    tokio::spawn(async move { Box::pin(connection.run()).await });
    link
}

async fn attempt(
    service: &SipService,
    peer: &SipPeerConfig,
    key: &TrunkKey,
    domain: &str,
    server: &Server,
) -> Result<(Io, Opening), ConnectFailure> {
    let socket = dial(&server.addresses).await?;
    let address = socket
        .peer_addr()
        .map_err(|error| ConnectFailure::Tcp(error.kind()))?;
    let mut opening = Opening {
        inbound: false,
        transport: Transport::Tcp,
        address,
        proof: Proof::Address(address.ip().to_canonical()),
        tls: None,
    };
    if peer.transport == SipTransport::Tcp {
        return Ok((Io::Plain(socket), opening));
    }
    let stream = handshake(service, key, domain, server, socket).await?;
    let session = stream.get_ref().1;
    let leaf = session.peer_certificates().and_then(<[_]>::first);
    let names = leaf
        .map(|leaf| CertificateNames::of(leaf))
        .unwrap_or_default();
    let shown = names.shown();
    opening.proof = Proof::Certificate(names);
    if !opening.proof.speaks_for(peer, domain) {
        return Err(ConnectFailure::Certificate(shown));
    }
    opening.transport = Transport::Tls;
    opening.tls = Some(tls_version(session.protocol_version()));
    Ok((Io::Client(Box::new(stream)), opening))
}

async fn handshake(
    service: &SipService,
    key: &TrunkKey,
    domain: &str,
    server: &Server,
    socket: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, ConnectFailure> {
    let config = service
        .certificates
        .outbound(&key.local)
        .ok_or(ConnectFailure::NotConfigured)?;
    let name = ServerName::try_from(server.called(domain).to_owned())
        .map_err(|_| ConnectFailure::NoSuchDomain)?;
    TlsConnector::from(config)
        .connect(name, socket)
        .await
        .map_err(|error| ConnectFailure::Tls(error.to_string().into()))
}
