//! Placeholder for the wiring while the federation connection manager is being built.
use crate::config::{FederationPolicy, XmppConfig};
use crate::fabric::{OutboundItem, OutboundSink, Switchboard};
use crate::tls::{DomainCertificates, PeerTrust};
use entente_home_core::HomeConfig;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;
#[derive(Debug, thiserror::Error)]
pub(crate) enum XmppError {
    #[error("no resolver")]
    Resolver,
}
pub(crate) struct XmppService;
impl XmppService {
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn new(
        _c: &XmppConfig,
        _p: Arc<FederationPolicy>,
        _d: Vec<String>,
        _s: Arc<Switchboard>,
        _t: DomainCertificates,
        _r: PeerTrust,
        _k: [u8; 32],
        _h: HomeConfig,
    ) -> Result<Arc<Self>, XmppError> {
        Ok(Arc::new(Self))
    }
    pub(crate) async fn listen(
        self: Arc<Self>,
        _a: SocketAddr,
        _t: bool,
        _o: watch::Receiver<bool>,
    ) {
        std::future::pending().await
    }
    pub(crate) fn set_policy(&self, _p: Arc<FederationPolicy>) {}
    pub(crate) async fn drain(&self) {}
    pub(crate) fn undrain(&self) {}
    pub(crate) fn status(&self) -> Vec<String> {
        Vec::new()
    }
}
impl OutboundSink for XmppService {
    fn submit(&self, _i: OutboundItem) {}
}
