//! What the gateway knows of the peers and of this cluster. Replaced as a whole when the configuration
//! is loaded again.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use entente_sip_core::owner::{Owner, OwnerKey};
use entente_sip_core::profile::{Product, Profile};
use entente_xmpp_core::jid::BareJid;

use crate::address::AddressRules;
use crate::pidf::Style;
use crate::presence::{PeerSystem, RichClients};

/// One peer: a set of SIP domains behind one route.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// How to speak to it.
    pub profile: Profile,
    /// Whose clients its users have (requirement M1).
    pub system: PeerSystem,
    /// How presence documents for it are written.
    pub style: Style,
    /// Aliases and mapped addresses.
    pub rules: AddressRules,
}

impl Peer {
    /// The system whose tables hold for a product.
    #[must_use]
    pub const fn system_of(product: Product) -> PeerSystem {
        match product {
            Product::MicrosoftOcs => PeerSystem::OfficeCommunicator,
            Product::MicrosoftLync | Product::Microsoft365 => PeerSystem::Lync,
            Product::Aol => PeerSystem::Aim,
            Product::Simple => PeerSystem::Simple,
        }
    }
}

/// Bounds of one shard; what goes past them is refused with 503 or `resource-constraint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// Subscriptions of remote watchers to one local user.
    pub watchers: usize,
    /// Subscriptions of one local user to remote people.
    pub contacts: usize,
    /// Sessions of one local user.
    pub chats: usize,
    /// Inputs of one user that wait for its records to be read.
    pub waiting: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            watchers: 10_000,
            contacts: 2_000,
            chats: 200,
            waiting: 64,
        }
    }
}

/// See the module.
#[derive(Clone)]
pub struct Settings {
    /// The peers by name.
    pub peers: HashMap<Arc<str>, Arc<Peer>>,
    /// Peers by domain, lower case, with U-labels.
    pub domains: HashMap<Box<str>, Arc<str>>,
    /// The clearing house: the peer for all other domains (requirement F5).
    pub other_domains: Option<Arc<str>>,
    /// Signs our tags.
    pub key: OwnerKey,
    /// The word for a user in our tags: any node finds the home by it.
    pub owner: fn(&BareJid) -> Owner,
    /// `host:port` and parameters of our Contact, e.g. `sip.example.com:5061;transport=tls`.
    pub contact: Box<str>,
    /// How rich clients are told from others.
    pub rich: RichClients,
    /// Bounds.
    pub bounds: Bounds,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("peers", &self.peers.len())
            .field("contact", &self.contact)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// The peer that serves a domain.
    #[must_use]
    pub fn peer_of(&self, domain: &str) -> Option<&Arc<Peer>> {
        let name = self.domains.get(domain).or(self.other_domains.as_ref())?;
        self.peers.get(name)
    }
}
