//! The checked configuration.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use entente_cluster::{NodeId, Roles};

use super::sip::{SipConfig, SipPeerConfig, SipPeers};

/// Everything that the program needs to know, checked.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) node: NodeConfig,
    pub(crate) cluster: ClusterConfig,
    pub(crate) client: ClientConfig,
    pub(crate) xmpp: XmppConfig,
    pub(crate) sip: SipConfig,
    pub(crate) federation: Arc<FederationPolicy>,
    /// Local domains, lower case, with U-labels.
    pub(crate) domains: BTreeMap<String, DomainConfig>,
    pub(crate) dns: DnsConfig,
    pub(crate) drain: DrainConfig,
    pub(crate) admin: AdminConfig,
    pub(crate) log: LogConfig,
    pub(crate) limits: LimitsConfig,
}

#[derive(Debug, Clone)]
pub(crate) struct NodeConfig {
    pub(crate) id: NodeId,
    pub(crate) host: String,
    pub(crate) data_dir: PathBuf,
    pub(crate) public_addresses: Vec<IpAddr>,
    pub(crate) private_addresses: Vec<IpAddr>,
    pub(crate) roles: Roles,
    /// Threads that serve; zero: one for each core.
    pub(crate) threads: usize,
}

/// How the node meets others.
#[derive(Debug, Clone)]
pub(crate) struct ClusterConfig {
    pub(crate) name: String,
    pub(crate) seeds: Vec<String>,
    pub(crate) bootstrap: bool,
    pub(crate) advertise: Option<String>,
    pub(crate) listen: IpAddr,
    pub(crate) gossip_port: u16,
    pub(crate) mesh_port: u16,
    pub(crate) store_raft_port: u16,
    pub(crate) store_api_port: u16,
    /// `None`: a single node that makes its own (development).
    pub(crate) secrets: Option<ClusterSecrets>,
}

/// Files with the cluster's secrets. The files are read where they are used; `Debug` shows names only.
#[derive(Debug, Clone)]
pub(crate) struct ClusterSecrets {
    pub(crate) key_file: PathBuf,
    pub(crate) ca_file: PathBuf,
    pub(crate) identity: NodeIdentity,
}

#[derive(Debug, Clone)]
pub(crate) enum NodeIdentity {
    /// A certificate that was handed out.
    Files {
        certificate_file: PathBuf,
        private_key_file: PathBuf,
    },
    /// The node issues its own from the CA's key.
    Issued { ca_key_file: PathBuf },
}

#[derive(Debug, Clone)]
pub(crate) struct ClientConfig {
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) direct_tls_listen: Vec<SocketAddr>,
    pub(crate) require_tls: bool,
    pub(crate) plain: bool,
    pub(crate) max_stanza_bytes: usize,
    pub(crate) idle: Duration,
    pub(crate) resume: Duration,
    pub(crate) max_connections: usize,
    pub(crate) max_unauthenticated_per_address: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct XmppConfig {
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) direct_tls_listen: Vec<SocketAddr>,
    pub(crate) max_stanza_bytes: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) queue_stanzas: usize,
    pub(crate) queue_time: Duration,
    pub(crate) idle: Duration,
    pub(crate) dialback: bool,
    pub(crate) trusted_ca_file: Option<PathBuf>,
    pub(crate) max_connections: usize,
    pub(crate) max_unauthenticated_per_address: usize,
    pub(crate) resolver: Vec<SocketAddr>,
}

/// Who may federate, and how (E1, E2, F8). Swapped as a whole on reload.
#[derive(Debug, Clone)]
pub(crate) struct FederationPolicy {
    pub(crate) allow_by_default: bool,
    pub(crate) messages_per_second: u32,
    pub(crate) subscriptions_per_minute: u32,
    /// By domain, lower case, U-labels; exact matches only.
    pub(crate) peers: HashMap<String, PeerConfig>,
    /// The domains that are spoken to over SIP.
    pub(crate) sip: SipPeers,
}

impl FederationPolicy {
    /// The rule for XMPP with `domain`, `None` when it is denied or a SIP domain (F4).
    pub(crate) fn peer(&self, domain: &str) -> Option<PeerConfig> {
        match self.peers.get(domain) {
            Some(peer) if peer.allowed => Some(peer.clone()),
            Some(_) => None,
            None if self.sip_peer(domain).is_some() => None,
            None => self.allow_by_default.then(PeerConfig::default),
        }
    }

    /// The SIP peer that speaks for `domain`; `None` when the domain is not a SIP domain. A clearing
    /// house speaks for what no other place names, whatever the default for XMPP is.
    pub(crate) fn sip_peer(&self, domain: &str) -> Option<&Arc<SipPeerConfig>> {
        self.sip.by_domain.get(domain).or_else(|| {
            self.sip
                .other
                .as_ref()
                .filter(|_| !self.peers.contains_key(domain))
        })
    }
}

#[derive(Debug, Clone)]
pub(crate) struct PeerConfig {
    pub(crate) allowed: bool,
    pub(crate) tls: PeerTls,
    /// `host:port`, instead of DNS.
    pub(crate) targets: Vec<(String, u16)>,
    pub(crate) direct_tls: bool,
    pub(crate) require_certificate: bool,
}

impl Default for PeerConfig {
    fn default() -> Self {
        Self {
            allowed: true,
            tls: PeerTls::Required,
            targets: Vec::new(),
            direct_tls: false,
            require_certificate: false,
        }
    }
}

/// TLS on the streams with one external domain (E1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PeerTls {
    Required,
    Optional,
    None,
}

#[derive(Debug, Clone)]
pub(crate) struct DomainConfig {
    pub(crate) certificate_file: PathBuf,
    pub(crate) private_key_file: PathBuf,
    pub(crate) chat_domains: Vec<String>,
    /// Target of the domain's SIP records, in A-labels.
    pub(crate) sip_host: Option<String>,
}

#[derive(Debug, Clone)]
pub(crate) struct DnsConfig {
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) zones: Vec<String>,
    pub(crate) name_servers: Vec<String>,
    pub(crate) ttl: Duration,
    pub(crate) mode: DnsMode,
    pub(crate) private_networks: Vec<Network>,
    /// 0: off.
    pub(crate) responses_per_second: u32,
}

/// Which nodes the SRV records name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DnsMode {
    All,
    Single,
    Subset(Vec<String>),
}

/// An IP network in CIDR form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    pub(crate) address: IpAddr,
    pub(crate) prefix: u8,
}

impl Network {
    /// Whether `address` lies in it; an IPv4 address in IPv6 form counts as IPv4.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address.to_canonical() {
            IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, true),
            IpAddr::V6(v6) => (v6.to_bits(), false),
        };
        let ((ours, our_kind), (theirs, their_kind)) = (bits(self.address), bits(address));
        let differing = (ours ^ theirs).leading_zeros();
        our_kind == their_kind && differing >= u32::from(self.prefix)
    }
}

/// How the node is taken out.
#[derive(Debug, Clone)]
pub(crate) struct DrainConfig {
    /// From the records' end in DNS to their end in caches.
    pub(crate) dns_wait: Duration,
    /// Whether a stop waits as an operator's drain does.
    pub(crate) patient_stop: bool,
    pub(crate) streams_per_second: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct AdminConfig {
    pub(crate) listen: SocketAddr,
    pub(crate) health_listen: Option<SocketAddr>,
}

#[derive(Debug, Clone)]
pub(crate) struct LogConfig {
    pub(crate) level: String,
    pub(crate) json: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct LimitsConfig {
    pub(crate) offline_messages: u32,
    pub(crate) roster_items: u32,
    pub(crate) sessions_per_user: u32,
    pub(crate) custody_stanzas: usize,
    pub(crate) repeat_window: Duration,
    pub(crate) repeats: usize,
}
