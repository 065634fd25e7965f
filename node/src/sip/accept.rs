//! Connections that peers open: the balancer's header where one is in front, TLS with certificates on
//! both sides, then the loop of [`super::connection`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use entente_sip_core::via::Transport;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::connection::Connection;
use super::link::Opening;
use super::proof::Proof;
use super::service::SipService;
use crate::clock::now;
use crate::net::{Io, proxy, tls_version};
use crate::tls::CertificateNames;

/// A balancer's header that takes longer is given up.
const HEADER: Duration = Duration::from_secs(5);
/// A TLS handshake that takes longer is given up.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Serves one accepted connection.
pub(super) async fn serve(
    service: Arc<SipService>,
    mut socket: TcpStream,
    peer: SocketAddr,
    tls: bool,
) {
    let Some(address) = source(&service, &mut socket, peer).await else {
        return;
    };
    let permit = match service.admission.admit(address.ip()) {
        Ok(permit) => permit,
        Err(refusal) => {
            metrics::counter!("entente_sip_refused_connections_total").increment(1);
            tracing::debug!(%address, ?refusal, "a SIP connection was refused");
            return;
        }
    };
    let (io, proof, version) = if tls {
        match timeout(HANDSHAKE, handshake(&service, socket, address)).await {
            Ok(Some((io, proof, version))) => (io, proof, Some(version)),
            Ok(None) => return,
            Err(_) => {
                tracing::debug!(%address, "a SIP peer's TLS handshake took too long");
                return;
            }
        }
    } else {
        let proof = Proof::Address(address.ip().to_canonical());
        (Io::Plain(socket), proof, None)
    };
    tracing::info!(%address, proof = %proof.shown(), "SIP connection accepted");
    let opening = Opening {
        inbound: true,
        transport: match version {
            Some(_) => Transport::Tls,
            None => Transport::Tcp,
        },
        address,
        proof,
        tls: version,
    };
    let (link, outbox) = service.links.enter(now(), opening);
    let connection = Connection {
        service,
        link,
        io,
        outbox,
        permit: Some(permit),
    };
    Box::pin(connection.run()).await;
}

/// Where the connection really comes from; `None` when a balancer does not say it.
async fn source(
    service: &SipService,
    socket: &mut TcpStream,
    peer: SocketAddr,
) -> Option<SocketAddr> {
    let networks = &service.config.proxy_networks;
    if !networks.iter().any(|network| network.contains(peer.ip())) {
        return Some(peer);
    }
    match timeout(HEADER, proxy::take_source(socket)).await {
        Ok(Ok(source)) => Some(source.unwrap_or(peer)),
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "a balancer did not say whom it speaks for");
            None
        }
        Err(_) => None,
    }
}

async fn handshake(
    service: &SipService,
    socket: TcpStream,
    address: SocketAddr,
) -> Option<(Io, Proof, &'static str)> {
    let acceptor = TlsAcceptor::from(service.certificates.server());
    match acceptor.accept(socket).await {
        Ok(stream) => {
            let session = stream.get_ref().1;
            let leaf = session.peer_certificates().and_then(<[_]>::first)?;
            let proof = Proof::Certificate(CertificateNames::of(leaf));
            let version = tls_version(session.protocol_version());
            Some((Io::Server(Box::new(stream)), proof, version))
        }
        Err(error) => {
            metrics::counter!("entente_sip_handshake_failures_total").increment(1);
            tracing::info!(%address, %error, "a SIP peer's TLS handshake failed");
            None
        }
    }
}
