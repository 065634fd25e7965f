//! SIP federation as a part of the node.

use std::sync::Arc;

use entente_cluster::MembershipHandle;
use entente_store::Store;

use super::AppError;
use crate::config::Config;
use crate::fabric::{Switchboard, shard};
use crate::gateway::{GatewayParts, Gateways};
use crate::secrets::Secrets;
use crate::sip::{SipParts, SipService};
use crate::tls::{PeerTrust, SipCertificates, proof};

/// SIP federation, where it is on.
pub(super) struct Sip {
    pub(super) service: Arc<SipService>,
    pub(super) gateways: Arc<Gateways>,
    trust: PeerTrust,
}

impl Sip {
    /// SIGHUP: as for XMPP.
    pub(super) fn reload(&self, config: &Config) {
        match proof::load_anchors(config.sip.trusted_ca_file.as_deref()) {
            Ok(anchors) => self.trust.replace(anchors),
            Err(error) => {
                tracing::error!(%error, "trusted CAs of SIP were not reloaded; the old ones stay")
            }
        }
        if let Err(error) = self.service.reload(&config.sip, &config.domains) {
            tracing::error!(%error, "certificates of SIP were not reloaded; the old ones stay");
        }
        self.service.set_policy(Arc::clone(&config.federation));
        self.gateways.set_policy(&config.federation);
    }
}

/// Every node of a cluster with SIP has the service, for its users' requests; whether it listens is a
/// matter of its role.
pub(super) fn start(
    config: &Config,
    secrets: &Secrets,
    membership: &MembershipHandle,
    switchboard: &Arc<Switchboard>,
    store: &Store,
) -> Result<Option<Sip>, AppError> {
    if !config.sip.is_on() {
        return Ok(None);
    }
    let trust = PeerTrust::new(proof::load_anchors(config.sip.trusted_ca_file.as_deref())?);
    let service = SipService::new(SipParts {
        config: config.sip.clone(),
        resolvers: config.xmpp.resolver.clone(),
        policy: Arc::clone(&config.federation),
        domains: config.domains.keys().cloned().collect(),
        switchboard: Arc::clone(switchboard),
        certificates: SipCertificates::load(&config.sip, &config.domains, trust.clone())?,
        secret: secrets.sip,
        epoch: membership.generation,
    })?;
    switchboard.connect_sip(Arc::clone(&service) as Arc<dyn crate::fabric::SipPart>);
    let gateways = Gateways::start(&GatewayParts {
        config: config.sip.clone(),
        policy: Arc::clone(&config.federation),
        secret: secrets.sip,
        switchboard: Arc::clone(switchboard),
        sip: Arc::clone(&service),
        store: store.clone(),
        shards: shard::shard_count(),
    })?;
    Ok(Some(Sip {
        service,
        gateways,
        trust,
    }))
}
