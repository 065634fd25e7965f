//! What the gateway core is to know of the configuration.

use std::collections::HashMap;
use std::sync::Arc;

use entente_cluster::home::key_hash;
use entente_interwork_core::address::{AddressMap, AddressRules, DomainAliases};
use entente_interwork_core::gateway::{Bounds, Peer, Settings};
use entente_interwork_core::pidf::{Dialect, Style};
use entente_interwork_core::presence::RichClients;
use entente_sip_core::owner::OwnerKey;
use entente_sip_core::profile::{Product, Profile};

use crate::config::{FederationPolicy, SipConfig, SipPeerConfig, SipProfile};
use crate::sip::owner_of_user;

/// The settings by this configuration. `secret` seals tags.
pub(super) fn settings(config: &SipConfig, policy: &FederationPolicy, secret: &[u8]) -> Settings {
    let peers: HashMap<Arc<str>, Arc<Peer>> = policy
        .sip
        .peers
        .values()
        .map(|peer| {
            let peer = gateway_peer(peer, &policy.sip.addresses);
            (Arc::clone(&peer.name), Arc::new(peer))
        })
        .collect();
    let domains = policy
        .sip
        .by_domain
        .iter()
        .map(|(domain, peer)| (domain.as_str().into(), Arc::clone(&peer.name)))
        .collect();
    Settings {
        peers,
        domains,
        other_domains: policy.sip.other.as_ref().map(|peer| Arc::clone(&peer.name)),
        key: OwnerKey::new(secret),
        owner: |user| owner_of_user(key_hash(user.as_str())),
        contact: contact(config),
        rich: RichClients::default(),
        bounds: Bounds::default(),
    }
}

/// The host and parameters of our Contact.
fn contact(config: &SipConfig) -> Box<str> {
    let transport = if config.listen.is_empty() {
        "tcp"
    } else {
        "tls"
    };
    format!(
        "{}:{};transport={transport}",
        config.host, config.public_port
    )
    .into()
}

fn gateway_peer(peer: &SipPeerConfig, addresses: &Arc<AddressMap>) -> Peer {
    let product = match peer.profile {
        SipProfile::Simple => Product::Simple,
        SipProfile::Ocs => Product::MicrosoftOcs,
        SipProfile::Lync => Product::MicrosoftLync,
        SipProfile::Office365 => Product::Microsoft365,
        SipProfile::Aol => Product::Aol,
    };
    let dialect = match product {
        Product::MicrosoftOcs | Product::MicrosoftLync | Product::Microsoft365 => {
            Dialect::Microsoft
        }
        Product::Aol => Dialect::Aol,
        Product::Simple => Dialect::Rpid,
    };
    let aliases = peer
        .aliases
        .iter()
        .map(|(alias, main)| (alias.clone(), main.clone()));
    let aliases = DomainAliases::new(aliases).unwrap_or_else(|fault| {
        // The configuration's check refuses what can't be.
        tracing::error!(peer = %peer.name, %fault, "the peer's aliases are not used");
        DomainAliases::default()
    });
    Peer {
        name: Arc::clone(&peer.name),
        profile: Profile::of(product),
        system: Peer::system_of(product),
        style: Style::new(dialect),
        rules: AddressRules {
            map: Arc::clone(addresses),
            aliases,
        },
    }
}
