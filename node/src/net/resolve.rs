//! Questions to DNS for connections that we open. Answers are cached for their TTL and no longer.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};

/// One question to one resolver; with two tries a dead resolver costs twice that.
const QUESTION: Duration = Duration::from_secs(2);
/// Addresses of one host that are tried.
const MAX_ADDRESSES: usize = 8;

/// Asks DNS.
#[derive(Clone)]
pub(crate) struct Resolver {
    inner: TokioResolver,
}

/// A question without records for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResolveFault {
    /// DNS says that there are none.
    NoSuchHost,
    /// DNS gave no answer.
    NoAnswer,
}

/// One SRV record (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Srv {
    pub(crate) priority: u16,
    pub(crate) weight: u16,
    pub(crate) port: u16,
    /// With a dot at the end; `.` alone says that the service is not offered.
    pub(crate) target: String,
}

/// One NAPTR record (RFC 3403), as far as locating servers needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Naptr {
    pub(crate) order: u16,
    pub(crate) preference: u16,
    pub(crate) flags: Box<[u8]>,
    pub(crate) services: Box<[u8]>,
    /// With a dot at the end.
    pub(crate) replacement: String,
}

impl Resolver {
    /// Asks `servers`, or the system's resolvers if there are none.
    pub(crate) fn new(servers: &[SocketAddr]) -> Result<Self, NetError> {
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

    /// The SRV records of `owner` (A-labels, no dot at the end).
    pub(crate) async fn srv(&self, owner: &str) -> Result<Vec<Srv>, ResolveFault> {
        self.records(owner, RecordType::SRV, |data| match data {
            RData::SRV(srv) => Some(Srv {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: if srv.target.is_root() {
                    ".".to_owned()
                } else {
                    srv.target.to_ascii()
                },
            }),
            _ => None,
        })
        .await
    }

    /// The NAPTR records of `domain`, likewise.
    pub(crate) async fn naptr(&self, domain: &str) -> Result<Vec<Naptr>, ResolveFault> {
        self.records(domain, RecordType::NAPTR, |data| match data {
            RData::NAPTR(naptr) => Some(Naptr {
                order: naptr.order,
                preference: naptr.preference,
                flags: naptr.flags.clone(),
                services: naptr.services.clone(),
                replacement: naptr.replacement.to_ascii(),
            }),
            _ => None,
        })
        .await
    }

    async fn records<T>(
        &self,
        owner: &str,
        kind: RecordType,
        read: impl Fn(&RData) -> Option<T>,
    ) -> Result<Vec<T>, ResolveFault> {
        match self.inner.lookup(format!("{owner}."), kind).await {
            Ok(answer) => Ok(answer
                .answers()
                .iter()
                .filter_map(|record| read(&record.data))
                .collect()),
            Err(error) if error.is_no_records_found() => Err(ResolveFault::NoSuchHost),
            Err(error) => {
                tracing::debug!(%owner, %kind, %error, "a question to DNS failed");
                Err(ResolveFault::NoAnswer)
            }
        }
    }

    /// The addresses of `host` (A-labels) with `port`, IPv6 and IPv4 in turns (RFC 8305 section 4). A
    /// host that is an address itself needs no question.
    pub(crate) async fn addresses(
        &self,
        host: &str,
        port: u16,
    ) -> Result<Vec<SocketAddr>, ResolveFault> {
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        match self.inner.lookup_ip(host).await {
            Ok(found) => {
                let addresses = alternating(found.iter());
                if addresses.is_empty() {
                    return Err(ResolveFault::NoSuchHost);
                }
                Ok(addresses
                    .into_iter()
                    .map(|address| SocketAddr::new(address, port))
                    .collect())
            }
            Err(error) if error.is_no_records_found() => Err(ResolveFault::NoSuchHost),
            Err(error) => {
                tracing::debug!(%host, %error, "a host has no address");
                Err(ResolveFault::NoAnswer)
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
