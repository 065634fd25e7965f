//! DNS for outbound streams: the two services of a domain, and the addresses of a target.

use std::net::SocketAddr;

use entente_xmpp_core::jid::domain_to_ascii;

use super::failure::ConnectFailure;
use super::target::{DEFAULT_PORT, Services, SrvRecord, Target};
use crate::net::{ResolveFault, Resolver};

/// The SRV records of `domain` (A-labels).
pub(super) async fn services(resolver: &Resolver, domain: &str) -> Services {
    let direct = service(resolver, "_xmpps-server", domain, true);
    let starttls = service(resolver, "_xmpp-server", domain, false);
    let (direct, starttls) = tokio::join!(direct, starttls);
    merge(direct, starttls)
}

async fn service(
    resolver: &Resolver,
    service: &str,
    domain: &str,
    direct_tls: bool,
) -> Vec<SrvRecord> {
    // No answer counts as no records: the domain itself is tried then.
    let records = resolver.srv(&format!("{service}._tcp.{domain}")).await;
    records
        .unwrap_or_default()
        .into_iter()
        .map(|record| SrvRecord {
            priority: record.priority,
            weight: record.weight,
            target: Target {
                host: record.target,
                port: record.port,
                direct_tls,
            },
        })
        .collect()
}

/// The target of a domain without SRV records.
pub(super) fn fallback(domain: &str) -> Target {
    Target {
        host: format!("{domain}."),
        port: DEFAULT_PORT,
        direct_tls: false,
    }
}

/// The addresses of a target.
pub(super) async fn addresses(
    resolver: &Resolver,
    target: &Target,
) -> Result<Vec<SocketAddr>, ConnectFailure> {
    let host = domain_to_ascii(&target.host).map_err(|_| ConnectFailure::NoSuchDomain)?;
    let found = resolver.addresses(&host, target.port).await;
    found.map_err(|fault| match fault {
        ResolveFault::NoSuchHost => ConnectFailure::NoSuchDomain,
        ResolveFault::NoAnswer => ConnectFailure::Dns,
    })
}

fn merge(mut direct: Vec<SrvRecord>, mut starttls: Vec<SrvRecord>) -> Services {
    if direct.is_empty() && starttls.is_empty() {
        return Services::None;
    }
    direct.append(&mut starttls);
    direct.retain(|record| record.target.host != ".");
    if direct.is_empty() {
        Services::NotHere
    } else {
        Services::Found(direct)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(host: &str) -> SrvRecord {
        SrvRecord {
            priority: 0,
            weight: 0,
            target: Target {
                host: host.to_owned(),
                port: 5269,
                direct_tls: false,
            },
        }
    }

    #[test]
    fn a_dot_means_not_here_unless_the_other_service_is_there() {
        assert_eq!(merge(Vec::new(), Vec::new()), Services::None);
        assert_eq!(merge(Vec::new(), vec![record(".")]), Services::NotHere);
        assert_eq!(
            merge(vec![record(".")], vec![record(".")]),
            Services::NotHere
        );
        assert_eq!(
            merge(vec![record(".")], vec![record("a.")]),
            Services::Found(vec![record("a.")])
        );
    }
}
