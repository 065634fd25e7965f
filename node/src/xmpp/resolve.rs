//! DNS for outbound streams. Answers are cached for their TTL and no longer.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use entente_xmpp_core::jid::domain_to_ascii;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};

use super::failure::ConnectFailure;
use super::target::{DEFAULT_PORT, Services, SrvRecord, Target};

/// One question to one resolver; with two tries a dead resolver costs twice that.
const QUESTION: Duration = Duration::from_secs(2);
/// Addresses of one host that are tried.
const MAX_ADDRESSES: usize = 8;

/// Finds the servers of domains.
#[derive(Clone)]
pub(super) struct Resolver {
    inner: TokioResolver,
}

impl Resolver {
    /// Asks `servers`, or the system's resolvers if there are none.
    pub(super) fn new(servers: &[SocketAddr]) -> Result<Self, NetError> {
        let provider = TokioRuntimeProvider::default();
        let mut builder = if servers.is_empty() {
            TokioResolver::builder(provider)?
        } else {
            let servers = servers.iter().map(name_server).collect();
            TokioResolver::builder_with_config(ResolverConfig::from_name_servers(servers), provider)
        };
        let options = builder.options_mut();
        options.ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
        options.timeout = QUESTION;
        options.attempts = 2;
        Ok(Self {
            inner: builder.build()?,
        })
    }

    /// The SRV records of `domain` (A-labels).
    pub(super) async fn services(&self, domain: &str) -> Services {
        let direct = self.service("_xmpps-server", domain, true);
        let starttls = self.service("_xmpp-server", domain, false);
        let (direct, starttls) = tokio::join!(direct, starttls);
        merge(direct, starttls)
    }

    async fn service(&self, service: &str, domain: &str, direct_tls: bool) -> Vec<SrvRecord> {
        let answer = match self
            .inner
            .lookup(format!("{service}._tcp.{domain}."), RecordType::SRV)
            .await
        {
            Ok(answer) => answer,
            Err(error) => {
                if !error.is_no_records_found() {
                    tracing::debug!(%domain, service, %error, "an SRV question failed");
                }
                return Vec::new();
            }
        };
        answer
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::SRV(srv) => Some(SrvRecord {
                    priority: srv.priority,
                    weight: srv.weight,
                    target: Target {
                        host: if srv.target.is_root() {
                            ".".to_owned()
                        } else {
                            srv.target.to_ascii()
                        },
                        port: srv.port,
                        direct_tls,
                    },
                }),
                _ => None,
            })
            .collect()
    }

    /// The targets of a domain without SRV records.
    pub(super) fn fallback(domain: &str) -> Target {
        Target {
            host: format!("{domain}."),
            port: DEFAULT_PORT,
            direct_tls: false,
        }
    }

    /// The addresses of a target, IPv6 and IPv4 in turns (RFC 8305 section 4).
    pub(super) async fn addresses(
        &self,
        target: &Target,
    ) -> Result<Vec<SocketAddr>, ConnectFailure> {
        if let Ok(address) = target.host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, target.port)]);
        }
        let host = domain_to_ascii(&target.host).map_err(|_| ConnectFailure::NoSuchDomain)?;
        match self.inner.lookup_ip(host.as_ref()).await {
            Ok(found) => {
                let addresses = alternating(found.iter());
                if addresses.is_empty() {
                    return Err(ConnectFailure::NoSuchDomain);
                }
                Ok(addresses
                    .into_iter()
                    .map(|address| SocketAddr::new(address, target.port))
                    .collect())
            }
            Err(error) if error.is_no_records_found() => Err(ConnectFailure::NoSuchDomain),
            Err(error) => {
                tracing::debug!(%target, %error, "a host has no address");
                Err(ConnectFailure::Dns)
            }
        }
    }
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()]
        .into_iter()
        .map(|mut connection| {
            connection.port = address.port();
            connection
        })
        .collect();
    NameServerConfig::new(address.ip(), true, connections)
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

fn alternating(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let (six, four): (Vec<_>, Vec<_>) = addresses.partition(IpAddr::is_ipv6);
    let longer = six.len().max(four.len());
    (0..longer)
        .flat_map(|index| [six.get(index), four.get(index)])
        .flatten()
        .copied()
        .take(MAX_ADDRESSES)
        .collect()
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

    #[test]
    fn addresses_alternate_and_begin_with_ipv6() {
        let four = |last| IpAddr::from([192, 0, 2, last]);
        let six = |last| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]);
        let mixed = [four(1), four(2), four(3), six(1)];
        assert_eq!(
            alternating(mixed.into_iter()),
            [six(1), four(1), four(2), four(3)]
        );
        assert_eq!(alternating((0..200).map(four)).len(), MAX_ADDRESSES);
    }
}
