//! The checked settings of SIP federation, and who its peers are.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use entente_interwork_core::address::AddressMap;

use super::types::{DnsMode, Network};

/// The SIP federation connection manager of one node.
#[derive(Debug, Clone)]
pub(crate) struct SipConfig {
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) tcp_listen: Vec<SocketAddr>,
    /// In Via and Contact of every node, in A-labels; empty when SIP is off.
    pub(crate) host: String,
    pub(crate) public_port: u16,
    /// Certificate and key of all connections; `None`: those of the local domains.
    pub(crate) identity: Option<SipIdentityFiles>,
    pub(crate) trusted_ca_file: Option<PathBuf>,
    pub(crate) max_message_bytes: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) queue_requests: usize,
    pub(crate) idle: Duration,
    /// `None`: no probes.
    pub(crate) probe_after: Option<Duration>,
    pub(crate) max_connections: usize,
    pub(crate) max_unauthenticated_per_address: usize,
    pub(crate) proxy_networks: Vec<Network>,
    /// `None`: as all other records.
    pub(crate) dns_mode: Option<DnsMode>,
}

impl SipConfig {
    /// Whether the cluster does SIP at all.
    pub(crate) fn is_on(&self) -> bool {
        !self.listen.is_empty() || !self.tcp_listen.is_empty()
    }
}

/// The files of a certificate of SIP's own.
#[derive(Debug, Clone)]
pub(crate) struct SipIdentityFiles {
    pub(crate) certificate_file: PathBuf,
    pub(crate) private_key_file: PathBuf,
}

/// Which peer speaks for which external domain (F4, F5, F8).
#[derive(Debug, Clone, Default)]
pub(crate) struct SipPeers {
    /// By name.
    pub(crate) peers: BTreeMap<String, Arc<SipPeerConfig>>,
    /// By domain, lower case, U-labels; exact matches only.
    pub(crate) by_domain: HashMap<String, Arc<SipPeerConfig>>,
    /// The clearing house.
    pub(crate) other: Option<Arc<SipPeerConfig>>,
    /// Users whose address for SIP peers is another than their JID.
    pub(crate) addresses: Arc<AddressMap>,
}

/// One peer: a server, or a pool of servers, that serves one domain or many.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SipPeerConfig {
    /// The operator's name for it.
    pub(crate) name: Arc<str>,
    /// Its domains; with U-labels.
    pub(crate) domains: Vec<String>,
    /// `host:port`, instead of DNS.
    pub(crate) targets: Vec<(String, u16)>,
    pub(crate) transport: SipTransport,
    pub(crate) profile: SipProfile,
    /// Lower case.
    pub(crate) tls_subjects: Vec<String>,
    pub(crate) allow_common_name: bool,
    pub(crate) requests_per_second: u32,
    /// From the alias to the domain that users see.
    pub(crate) aliases: BTreeMap<String, String>,
    pub(crate) one_node: bool,
}

impl SipPeerConfig {
    /// Whether the address is one of the targets: all that plain TCP has to go by.
    pub(crate) fn is_target_address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.targets
            .iter()
            .any(|(host, _)| host.parse::<IpAddr>().is_ok_and(|known| known == address))
    }
}

/// How bytes go to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SipTransport {
    Tls,
    /// Labs.
    Tcp,
}

/// What software the peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SipProfile {
    /// RFC-conforming.
    Simple,
    /// Office Communications Server 2007 and 2007 R2.
    Ocs,
    /// Lync 2010, 2013 and Skype for Business 2015.
    Lync,
    Office365,
    /// AOL's SIP Access Gateway.
    Aol,
}

impl SipProfile {
    /// By the word in the configuration.
    pub(super) fn named(word: &str) -> Self {
        match word {
            "ocs" => Self::Ocs,
            "lync" => Self::Lync,
            "office365" => Self::Office365,
            "aol" => Self::Aol,
            _ => Self::Simple,
        }
    }

    /// The word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Ocs => "ocs",
            Self::Lync => "lync",
            Self::Office365 => "office365",
            Self::Aol => "aol",
        }
    }
}
