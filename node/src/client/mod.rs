//! Client access (C2S): the shells around `ClientStream`.

mod driver;
mod farewell;
mod parked;
mod resumption;
mod session;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use entente_store::Store;
use entente_xmpp_core::stream::ClientConfig;
use entente_xmpp_core::stream::ClientStream;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::clock::now;
use crate::fabric::Switchboard;
use crate::net::{Admission, Io, listen};
use crate::tls::DomainCertificates;

pub(crate) use resumption::{Resumable, Seal as ResumptionSeal};
pub(crate) use session::SessionLimits;

/// A TLS handshake that takes longer is given up.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What all client connections share.
pub(crate) struct ClientService {
    pub(crate) stream: Arc<ClientConfig>,
    pub(crate) switchboard: Arc<Switchboard>,
    pub(crate) store: Store,
    pub(crate) certificates: DomainCertificates,
    pub(crate) admission: Arc<Admission>,
    pub(crate) resumable: Resumable,
    pub(crate) resumption_ids: ResumptionSeal,
    /// Bounds of every session.
    pub(crate) session: SessionLimits,
    pub(crate) random: ring::rand::SystemRandom,
}

impl ClientService {
    /// Listens on `address` while `open` says so.
    pub(crate) async fn listen(
        self: Arc<Self>,
        address: SocketAddr,
        direct_tls: bool,
        open: watch::Receiver<bool>,
    ) {
        let purpose = if direct_tls {
            "clients, direct TLS"
        } else {
            "clients"
        };
        listen::accept_while_open(address, purpose, open, move |socket, peer| {
            let service = Arc::clone(&self);
            match service.admission.admit(peer.ip()) {
                Ok(permit) => {
                    tokio::spawn(
                        async move { service.serve(socket, peer, permit, direct_tls).await },
                    );
                }
                Err(refusal) => {
                    metrics::counter!("entente_client_refused_total").increment(1);
                    tracing::debug!(%peer, ?refusal, "a client connection was refused");
                }
            }
        })
        .await;
    }

    async fn serve(
        self: Arc<Self>,
        socket: TcpStream,
        peer: SocketAddr,
        permit: crate::net::Permit,
        direct_tls: bool,
    ) {
        let mut seed = [0; 32];
        if ring::rand::SecureRandom::fill(&self.random, &mut seed).is_err() {
            tracing::error!("the system gives no random bytes: a client connection was dropped");
            return;
        }
        let stream = ClientStream::new(Arc::clone(&self.stream), &seed, now());
        let mut connection = driver::Connection::new(self, Io::Plain(socket), stream, peer, permit);
        if direct_tls && !Box::pin(connection.handshake()).await {
            return;
        }
        connection.run().await;
    }
}
