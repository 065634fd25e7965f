//! The service: what all streams share, the table of pairs, and the way in for what goes out.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Instant;

use entente_fabric_core::outbound::QueueBounds;
use entente_home_core::{EnvelopeId, HomeConfig};
use entente_xmpp_core::dialback::DialbackSecret;
use entente_xmpp_core::error::{StanzaCondition, StanzaError};
use entente_xmpp_core::stanza::Stanza;
use entente_xmpp_core::stream::{InboundConfig, TlsPolicy};
use hashbrown::HashMap;
use tokio::sync::{Semaphore, watch};

use super::inbound;
use super::pair::{Offer, Pair};
use super::status::{InboundList, StreamStatus};
use crate::clock::{now, wall_ms};
use crate::config::{FederationPolicy, PeerTls, XmppConfig};
use crate::fabric::{OutboundItem, OutboundSink, ReceiptBatch, Switchboard};
use crate::net::throttle::Throttles;
use crate::net::{Admission, Resolver, listen};
use crate::tls::{DomainCertificates, PeerTrust};

/// Bytes that wait for one domain pair.
const QUEUE_BYTES: usize = 8 * 1024 * 1024;
/// Dialback keys that are being verified at one time; each costs a connection.
const MAX_VERIFICATIONS: usize = 128;

/// The service could not be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum XmppError {
    /// The resolver could not be built.
    #[error("the resolver: {0}; check /etc/resolv.conf, or name resolvers in xmpp.resolver")]
    Resolver(#[from] hickory_resolver::net::NetError),
}

/// The table of pairs: by the peer's domain, then by ours.
type Pairs = HashMap<Arc<str>, HashMap<Arc<str>, Arc<Pair>>>;

/// See the module.
pub(crate) struct XmppService {
    me: Weak<Self>,
    pub(super) config: XmppConfig,
    pub(super) policy: watch::Sender<Arc<FederationPolicy>>,
    pub(super) switchboard: Arc<Switchboard>,
    pub(super) certificates: DomainCertificates,
    pub(super) trust: PeerTrust,
    pub(super) secret: DialbackSecret,
    pub(super) home: HomeConfig,
    pub(super) resolver: Resolver,
    pub(super) inbound_config: Arc<InboundConfig>,
    pub(super) inbound: Arc<InboundList>,
    pub(super) admission: Arc<Admission>,
    pub(super) throttles: Throttles,
    pub(super) verifications: Semaphore,
    /// The node hands over: outbound streams close as soon as the peers have what was sent.
    pub(super) leaving: watch::Sender<bool>,
    /// Registered once, because finding a metric by its labels costs more than counting.
    pub(super) stanzas_in: metrics::Counter,
    pub(super) stanzas_out: metrics::Counter,
    pairs: RwLock<Pairs>,
    carriers: AtomicU64,
    random: ring::rand::SystemRandom,
}

impl XmppService {
    /// Sets the service up; nothing listens and nothing is connected yet.
    #[expect(
        clippy::too_many_arguments,
        reason = "called once, by the wiring, which names each part"
    )]
    pub(crate) fn new(
        config: &XmppConfig,
        policy: Arc<FederationPolicy>,
        domains: Vec<String>,
        switchboard: Arc<Switchboard>,
        certificates: DomainCertificates,
        trust: PeerTrust,
        dialback: [u8; 32],
        home: HomeConfig,
    ) -> Result<Arc<Self>, XmppError> {
        let resolver = Resolver::new(&config.resolver)?;
        let secret = DialbackSecret::new(&dialback);
        let domains = domains
            .iter()
            .map(|domain| Arc::from(domain.as_str()))
            .collect();
        let mut inbound_config = InboundConfig::new(domains, secret.clone());
        inbound_config.limits.bytes = config.max_stanza_bytes;
        inbound_config.idle_timeout = config.idle;
        Ok(Arc::new_cyclic(|me| Self {
            me: me.clone(),
            policy: watch::Sender::new(policy),
            switchboard,
            certificates,
            trust,
            secret,
            home,
            resolver,
            inbound_config: Arc::new(inbound_config),
            inbound: Arc::default(),
            admission: Admission::new(
                config.max_connections,
                config.max_unauthenticated_per_address,
            ),
            throttles: Throttles::default(),
            verifications: Semaphore::new(MAX_VERIFICATIONS),
            leaving: watch::Sender::new(false),
            stanzas_in: metrics::counter!("entente_xmpp_stanzas_total", "direction" => "in"),
            stanzas_out: metrics::counter!("entente_xmpp_stanzas_total", "direction" => "out"),
            pairs: RwLock::default(),
            carriers: AtomicU64::new(0),
            random: ring::rand::SystemRandom::new(),
            config: config.clone(),
        }))
    }

    /// Listens on `address` while `open` says so.
    pub(crate) async fn listen(
        self: Arc<Self>,
        address: SocketAddr,
        direct_tls: bool,
        open: watch::Receiver<bool>,
    ) {
        let purpose = if direct_tls {
            "federation, direct TLS"
        } else {
            "federation"
        };
        listen::accept_while_open(address, purpose, open, move |socket, peer| {
            match self.admission.admit(peer.ip()) {
                Ok(permit) => {
                    tokio::spawn(inbound::serve(
                        Arc::clone(&self),
                        socket,
                        peer,
                        permit,
                        direct_tls,
                    ));
                }
                Err(refusal) => {
                    metrics::counter!("entente_xmpp_refused_total").increment(1);
                    tracing::debug!(%peer, ?refusal, "a federation connection was refused");
                }
            }
        })
        .await;
    }

    /// Replaces the policy. Streams with domains that are denied now are closed.
    pub(crate) fn set_policy(&self, policy: Arc<FederationPolicy>) {
        self.policy.send_replace(policy);
    }

    /// Ends the outbound streams, each when its peer has what was sent. What still waits then gets no
    /// receipt: its holders send it again by way of another node.
    pub(crate) fn leave(&self) {
        self.leaving.send_replace(true);
    }

    /// Takes [`Self::leave`] back. Streams open on demand.
    pub(crate) fn stay(&self) {
        self.leaving.send_replace(false);
    }

    /// Outbound streams that are up, or not yet closed to the end.
    pub(crate) fn connected(&self) -> usize {
        let pairs = self.all_pairs();
        pairs.iter().filter(|pair| pair.is_connected()).count()
    }

    /// All streams, and pairs without one.
    pub(crate) fn status(&self) -> Vec<StreamStatus> {
        let mut streams: Vec<_> = self.all_pairs().iter().map(|pair| pair.status()).collect();
        streams.extend(self.inbound.all());
        streams
    }

    /// 32 random bytes for one stream; `None` if the system has none.
    pub(super) fn seed(&self) -> Option<[u8; 32]> {
        let mut seed = [0; 32];
        if ring::rand::SecureRandom::fill(&self.random, &mut seed).is_err() {
            tracing::error!("the system gives no random bytes: no stream can be opened");
            return None;
        }
        Some(seed)
    }

    /// A name for an inbound stream that carries our stanzas.
    pub(super) fn next_carrier(&self) -> u64 {
        self.carriers.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a stanza that we made ourselves, for a domain of ours.
    pub(super) fn send_own(&self, stanza: Stanza) {
        self.submit(OutboundItem {
            envelope: None,
            stanza,
        });
    }

    /// What our domain itself answers to `stanza`.
    pub(super) fn answer_of_domain(&self, now: Instant, stanza: &Stanza) -> Option<Stanza> {
        entente_home_core::domain::answer(&self.home, now, wall_ms(), stanza)
    }

    /// Answers a stanza that does not go out: the error to its sender, then the receipt.
    pub(super) fn bounce(
        &self,
        envelope: Option<EnvelopeId>,
        stanza: &Stanza,
        error: &StanzaError,
        batch: &mut ReceiptBatch,
    ) {
        let from_user = stanza.from().is_some_and(|from| from.node().is_some());
        if from_user && let Some(reply) = stanza.error_reply(error, false) {
            metrics::counter!("entente_xmpp_bounces_total", "condition" => error.condition.as_str()).increment(1);
            self.switchboard.bounce(reply);
        }
        if let Some(envelope) = envelope {
            batch.receipt(envelope);
        }
    }

    /// The pair is idle and takes no more: out of the table.
    pub(super) fn remove(&self, pair: &Arc<Pair>) {
        let mut pairs = self.pairs.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(locals) = pairs.get_mut(&pair.remote) {
            if locals
                .get(&pair.local)
                .is_some_and(|known| Arc::ptr_eq(known, pair))
            {
                locals.remove(&pair.local);
            }
            if locals.is_empty() {
                pairs.remove(&pair.remote);
            }
        }
    }

    fn all_pairs(&self) -> Vec<Arc<Pair>> {
        let pairs = self.pairs.read().unwrap_or_else(PoisonError::into_inner);
        pairs.values().flat_map(HashMap::values).cloned().collect()
    }

    /// The pair, made if needed; `None` when there are too many.
    pub(super) fn pair(&self, local: &str, remote: &str) -> Option<Arc<Pair>> {
        {
            let pairs = self.pairs.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(pair) = pairs.get(remote).and_then(|locals| locals.get(local)) {
                return Some(Arc::clone(pair));
            }
        }
        let mut pairs = self.pairs.write().unwrap_or_else(PoisonError::into_inner);
        if pairs.len() >= self.config.max_connections {
            return None;
        }
        let remote: Arc<str> = Arc::from(remote);
        let local: Arc<str> = Arc::from(local);
        let locals = pairs.entry(Arc::clone(&remote)).or_default();
        if let Some(pair) = locals.get(&local) {
            return Some(Arc::clone(pair));
        }
        let bounds = QueueBounds {
            stanzas: self.config.queue_stanzas,
            bytes: QUEUE_BYTES,
            wait: self.config.queue_time,
        };
        let pair = Arc::new(Pair::new(Arc::clone(&local), remote, bounds));
        locals.insert(local, Arc::clone(&pair));
        if let Some(me) = self.me.upgrade() {
            tokio::spawn(super::outbound::serve(me, Arc::clone(&pair)));
        }
        Some(pair)
    }

    /// Queues `item`, or says why not.
    fn queue(&self, now: Instant, mut item: OutboundItem, batch: &mut ReceiptBatch) {
        let stanza = item.stanza.clone();
        let (local, remote) = match (stanza.from(), stanza.to()) {
            (Some(from), Some(to)) => (from.domain(), to.domain()),
            _ => {
                debug_assert!(false, "a stanza for another domain has both addresses");
                return item
                    .envelope
                    .into_iter()
                    .for_each(|envelope| batch.receipt(envelope));
            }
        };
        if !self.switchboard.is_local_domain(local) || self.switchboard.is_local_domain(remote) {
            tracing::warn!(
                local,
                remote,
                "a stanza that is not for another domain was not sent to it"
            );
            let error = StanzaError::new(StanzaCondition::InternalServerError);
            return self.bounce(item.envelope, &item.stanza, &error, batch);
        }
        if self.policy.borrow().peer(remote).is_none() {
            let error = super::failure::ConnectFailure::Denied.stanza_error();
            return self.bounce(item.envelope, &item.stanza, &error, batch);
        }
        loop {
            let Some(pair) = self.pair(local, remote) else {
                break;
            };
            match pair.offer(now, item) {
                Offer::Taken => return,
                Offer::Done(envelope) => return batch.receipt(envelope),
                Offer::Early(envelope) => return batch.retry(envelope),
                Offer::Full(back) => {
                    item = back;
                    break;
                }
                // It retired between the look-up and now.
                Offer::Retired(back) => {
                    self.remove(&pair);
                    item = back;
                }
            }
        }
        let error = StanzaError::new(StanzaCondition::ResourceConstraint)
            .with_text("Too much waits for that domain");
        self.bounce(item.envelope, &item.stanza, &error, batch);
    }
}

impl OutboundSink for XmppService {
    fn submit(&self, item: OutboundItem) {
        let mut batch = ReceiptBatch::default();
        self.queue(now(), item, &mut batch);
        if !batch.is_empty() {
            batch.flush(&self.switchboard);
        }
    }
}

/// Policy in the streams' terms.
pub(super) fn tls_policy(tls: PeerTls) -> TlsPolicy {
    match tls {
        PeerTls::Required => TlsPolicy::Required,
        PeerTls::Optional => TlsPolicy::Optional,
        PeerTls::None => TlsPolicy::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PeerConfig;

    fn policy(allow_by_default: bool, rules: &[(&str, bool)]) -> FederationPolicy {
        let rule = |allowed| PeerConfig {
            allowed,
            ..PeerConfig::default()
        };
        FederationPolicy {
            allow_by_default,
            messages_per_second: 500,
            subscriptions_per_minute: 600,
            peers: rules
                .iter()
                .map(|(domain, allowed)| ((*domain).to_owned(), rule(*allowed)))
                .collect(),
            sip: crate::config::SipPeers::default(),
        }
    }

    #[test]
    fn a_rule_is_for_its_domain_and_neither_for_subdomains_nor_for_parents() {
        let deny_all_but = policy(false, &[("foreign.example.com", true)]);
        assert!(deny_all_but.peer("foreign.example.com").is_some());
        for other in [
            "example.com",
            "im.foreign.example.com",
            "xforeign.example.com",
        ] {
            assert!(deny_all_but.peer(other).is_none(), "{other}");
        }
        let allow_all_but = policy(true, &[("example.com", false)]);
        assert!(allow_all_but.peer("example.com").is_none());
        for other in ["im.example.com", "com", "example.org"] {
            assert!(allow_all_but.peer(other).is_some(), "{other}");
        }
    }
}
