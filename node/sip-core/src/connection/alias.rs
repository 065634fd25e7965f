//! When a connection that a peer opened takes our requests to it (RFC 5923).

use crate::uri::Host;
use crate::via::{Transport, Via};

/// What a connection stands for besides itself: requests to this host and port may go over it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Alias {
    /// A name in lower case.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Alias {
    /// What the top Via of a request makes of the TLS connection that it came by (RFC 5923 section
    /// 8.2): it must ask for it, and its host must be one of the names that the peer's certificate
    /// proves, or anybody with a certificate could draw off others' requests. `None`: the connection
    /// stands for nothing else.
    #[must_use]
    pub fn of(via: &Via, proven: &[String]) -> Option<Self> {
        if via.transport() != Transport::Tls || !via.has_alias() {
            return None;
        }
        // An address proves nothing: certificates name hosts.
        let Host::Name(host) = via.host() else {
            return None;
        };
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        proven
            .iter()
            .any(|name| name.trim_end_matches('.').eq_ignore_ascii_case(&host))
            .then(|| Self {
                host,
                port: via.port().unwrap_or(crate::locate::TLS_PORT),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::Alias;
    use crate::via::Via;

    #[test]
    fn only_a_proven_name_that_asks_for_it_is_an_alias() {
        let proven = ["edge.Example.com".to_owned(), "example.com".to_owned()];
        let alias = |via: &str| Alias::of(&Via::parse(via).unwrap(), &proven);
        let expected = Some(Alias {
            host: "edge.example.com".into(),
            port: 5061,
        });
        assert_eq!(
            alias("SIP/2.0/TLS EDGE.example.com;alias;branch=z9hG4bK1"),
            expected
        );
        assert_eq!(
            alias("SIP/2.0/TLS example.com:7000;alias").unwrap().port,
            7000
        );
        for via in [
            "SIP/2.0/TLS edge.example.com;branch=z9hG4bK1",
            "SIP/2.0/TLS other.example.com;alias",
            "SIP/2.0/TLS a.edge.example.com;alias",
            "SIP/2.0/TLS 192.0.2.1;alias",
            "SIP/2.0/TCP edge.example.com;alias",
        ] {
            assert_eq!(alias(via), None, "{via}");
        }
    }
}
