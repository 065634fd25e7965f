//! The ports for clients and for peers of other organisations: one list of them for the check at the
//! start, for opening them, and for the self-check before the node is announced.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use entente_cluster::Roles;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::sip::Sip;
use crate::client::ClientService;
use crate::config::Config;
use crate::net::listen::{ListenError, bind};
use crate::xmpp::XmppService;

/// Between two tries of the self-check.
const AGAIN: Duration = Duration::from_millis(20);

/// Whom a port is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Client { direct_tls: bool },
    Xmpp { direct_tls: bool },
    Sip { tls: bool },
}

impl Purpose {
    /// The key of the configuration that names the port.
    fn key(self) -> &'static str {
        match self {
            Self::Client { direct_tls: false } => "client.listen",
            Self::Client { direct_tls: true } => "client.direct_tls_listen",
            Self::Xmpp { direct_tls: false } => "xmpp.listen",
            Self::Xmpp { direct_tls: true } => "xmpp.direct_tls_listen",
            Self::Sip { tls: true } => "sip.listen",
            Self::Sip { tls: false } => "sip.tcp_listen",
        }
    }
}

/// The services that serve what comes in.
pub(super) struct Services<'a> {
    pub(super) clients: &'a Arc<ClientService>,
    pub(super) xmpp: &'a Arc<XmppService>,
    pub(super) sip: Option<&'a Sip>,
}

/// The ports that this node has by its roles.
pub(super) struct Listeners(Vec<(Purpose, SocketAddr)>);

impl Listeners {
    pub(super) fn of(config: &Config) -> Self {
        let (client, xmpp, sip) = (&config.client, &config.xmpp, &config.sip);
        let all = [
            (
                Roles::CLIENT,
                Purpose::Client { direct_tls: false },
                &client.listen,
            ),
            (
                Roles::CLIENT,
                Purpose::Client { direct_tls: true },
                &client.direct_tls_listen,
            ),
            (
                Roles::XMPP,
                Purpose::Xmpp { direct_tls: false },
                &xmpp.listen,
            ),
            (
                Roles::XMPP,
                Purpose::Xmpp { direct_tls: true },
                &xmpp.direct_tls_listen,
            ),
            (Roles::SIP, Purpose::Sip { tls: true }, &sip.listen),
            (Roles::SIP, Purpose::Sip { tls: false }, &sip.tcp_listen),
        ];
        let ports = all
            .into_iter()
            .filter(|(role, purpose, _)| {
                config.node.roles.contains(*role)
                    && (config.sip.is_on() || !matches!(purpose, Purpose::Sip { .. }))
            })
            .flat_map(|(_, purpose, addresses)| {
                addresses.iter().map(move |&address| (purpose, address))
            });
        Self(ports.collect())
    }

    /// Opens each port once: one that is taken is an error at the start.
    pub(super) fn probe(&self) -> Result<(), ListenError> {
        self.0
            .iter()
            .try_for_each(|&(purpose, address)| bind(address, purpose.key()).map(drop))
    }

    /// Serves every port while `open` says so.
    pub(super) fn open(&self, services: &Services<'_>, open: &watch::Receiver<bool>) {
        for &(purpose, address) in &self.0 {
            let open = open.clone();
            match purpose {
                Purpose::Client { direct_tls } => {
                    let clients = Arc::clone(services.clients);
                    tokio::spawn(clients.listen(address, direct_tls, open));
                }
                Purpose::Xmpp { direct_tls } => {
                    let xmpp = Arc::clone(services.xmpp);
                    tokio::spawn(xmpp.listen(address, direct_tls, open));
                }
                Purpose::Sip { tls } => {
                    if let Some(sip) = services.sip {
                        tokio::spawn(Arc::clone(&sip.service).listen(address, tls, open));
                    }
                }
            }
        }
    }

    /// Connects to each port: a node is announced when it can be reached.
    pub(super) async fn self_check(&self) {
        for &(purpose, mut target) in &self.0 {
            if target.ip().is_unspecified() {
                target.set_ip(IpAddr::from([127, 0, 0, 1]));
            }
            while TcpStream::connect(target).await.is_err() {
                tracing::debug!(%target, key = purpose.key(), "the self-check waits for a listener");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}
