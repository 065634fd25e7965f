//! Who can be connected to: our own public addresses, the targets in DNS, the configured peers.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use entente_cluster::Roles;
use entente_xmpp_core::jid::domain_to_ascii;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Report;
use super::names::Target;
use crate::config::{Config, PeerConfig};
use crate::net::Resolver;

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// The ports of this node, at the addresses that it publishes.
pub(super) async fn own(config: &Config, report: &mut Report) {
    let mut wanted: Vec<(String, SocketAddr)> = Vec::new();
    let lists = [
        (Roles::XMPP, "xmpp.listen", &config.xmpp.listen),
        (
            Roles::XMPP,
            "xmpp.direct_tls_listen",
            &config.xmpp.direct_tls_listen,
        ),
        (Roles::CLIENT, "client.listen", &config.client.listen),
        (
            Roles::CLIENT,
            "client.direct_tls_listen",
            &config.client.direct_tls_listen,
        ),
        (Roles::DNS, "dns.listen", &config.dns.listen),
    ];
    for &address in &config.node.public_addresses {
        for (role, key, listen) in lists {
            if config.node.roles.contains(role) {
                let ports: BTreeSet<u16> = listen.iter().map(SocketAddr::port).collect();
                let addresses = ports.iter().map(|port| SocketAddr::new(address, *port));
                wanted.extend(addresses.map(|at| (format!("{key} at {at}"), at)));
            }
        }
        if config.node.roles.contains(Roles::SIP) && config.sip.is_on() {
            let at = SocketAddr::new(address, config.sip.public_port);
            wanted.push((format!("sip.listen at {at}"), at));
        }
    }
    connect(
        wanted,
        "start the node; let the port through the firewall and any address translation",
        report,
    )
    .await;
}

/// The targets that DNS leads others to.
pub(super) async fn published(outside: &Resolver, targets: BTreeSet<Target>, report: &mut Report) {
    let mut wanted = Vec::new();
    for (host, port) in targets {
        let about = format!("{host}:{port} in DNS");
        match outside.addresses(&format!("{host}."), port).await {
            Ok(addresses) => wanted.extend(
                addresses
                    .into_iter()
                    .map(|at| (format!("{about}, {at}"), at)),
            ),
            Err(_) => report.fault(
                about,
                "the host has no address",
                "publish its A or AAAA record, or correct node.host",
            ),
        }
    }
    connect(
        wanted,
        "a peer that is led there fails: start the node, or let the port through the firewall",
        report,
    )
    .await;
}

/// Whether the servers that the configuration names can be found.
pub(super) async fn peers(config: &Config, outside: &Resolver, report: &mut Report) {
    let policy = &config.federation;
    let mut named: Vec<(&String, &PeerConfig)> = policy.peers.iter().collect();
    named.sort_by_key(|(domain, _)| domain.as_str());
    for (domain, peer) in named {
        for (host, port) in peer.targets.iter().filter(|_| peer.allowed) {
            let about = format!("federation.domains.\"{domain}\".targets {host}:{port}");
            match outside.addresses(host, *port).await {
                Ok(addresses) => report.ok(about, joined(&addresses)),
                Err(_) => report.fault(about, "the host has no address", "correct the name"),
            }
        }
    }
    for (name, peer) in &policy.sip.peers {
        for domain in &peer.domains {
            let about = format!("sip.peer.{name} for {domain}");
            let ascii = domain_to_ascii(domain).map_or_else(|_| domain.clone(), |a| a.into_owned());
            match crate::sip::locate(outside, peer, &ascii).await {
                Some(addresses) => report.ok(about, joined(&addresses)),
                None => report.fault(
                    about,
                    "no server can be found",
                    format!("ask them for _sipfederationtls._tcp.{ascii}, or name servers in sip.peer.{name}.targets"),
                ),
            }
        }
    }
}

fn joined(addresses: &[SocketAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    texts.join(" ")
}

/// Connects to all at the same time; reports in order.
async fn connect(wanted: Vec<(String, SocketAddr)>, cure: &str, report: &mut Report) {
    let mut attempts = JoinSet::new();
    for (place, (_, address)) in wanted.iter().enumerate() {
        let address = *address;
        attempts.spawn(async move {
            let outcome = match timeout(PATIENCE, TcpStream::connect(address)).await {
                Ok(Ok(_)) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(format!("no answer in {} s", PATIENCE.as_secs())),
            };
            (place, outcome)
        });
    }
    let mut outcomes = attempts.join_all().await;
    outcomes.sort_by_key(|(place, _)| *place);
    for (place, outcome) in outcomes {
        let about = wanted[place].0.clone();
        match outcome {
            None => report.ok(about, "accepts connections"),
            Some(error) => report.fault(about, error, cure),
        }
    }
}
