//! The gateway shards of this node: the shells around `entente_interwork_core::gateway`, between the
//! users' homes and the SIP federation connection manager.

mod custody;
mod records;
mod settings;
mod shard;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use entente_cluster::home::key_hash;
use entente_interwork_core::gateway::{Counts, Holdings, Settings};
use entente_store::Store;
use tokio::sync::mpsc;

use self::shard::{Command, GatewayShard};
use crate::config::{FederationPolicy, SipConfig};
use crate::fabric::{OutboundItem, ReceiptBatch, Switchboard};
use crate::sip::SipService;
use crate::sip::port::{Busy, GatewayPort, Outcome, PeerRequest, SipCall};

/// Commands that may wait for one shard. What does not fit is refused or said again.
const QUEUE: usize = 4096;

/// What the shards of a node share.
pub(crate) struct GatewayParts {
    pub(crate) config: SipConfig,
    pub(crate) policy: Arc<FederationPolicy>,
    pub(crate) secret: [u8; 32],
    pub(crate) switchboard: Arc<Switchboard>,
    pub(crate) sip: Arc<SipService>,
    pub(crate) store: Store,
    pub(crate) shards: usize,
}

/// See the module.
pub(crate) struct Gateways {
    shards: OnceLock<Vec<mpsc::Sender<Command>>>,
    counts: OnceLock<Vec<Arc<Counts>>>,
    switchboard: Arc<Switchboard>,
    config: SipConfig,
    secret: [u8; 32],
}

/// The system gives no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random bytes")]
pub(crate) struct NoRandomness;

impl Gateways {
    /// Starts the shards and connects them with the connection manager.
    pub(crate) fn start(parts: &GatewayParts) -> Result<Arc<Self>, NoRandomness> {
        let gateways = Arc::new(Self {
            shards: OnceLock::new(),
            counts: OnceLock::new(),
            switchboard: Arc::clone(&parts.switchboard),
            config: parts.config.clone(),
            secret: parts.secret,
        });
        let settings = gateways.settings(&parts.policy);
        let (shards, counts) = (0..parts.shards)
            .map(|index| {
                let (commands, queue) = mpsc::channel(QUEUE);
                let shard = GatewayShard::new(parts, index, Arc::clone(&settings), queue)?;
                let counts = shard.counts();
                tokio::spawn(shard.run());
                Ok((commands, counts))
            })
            .collect::<Result<(Vec<_>, Vec<_>), NoRandomness>>()?;
        let _first = gateways.shards.set(shards);
        let _first = gateways.counts.set(counts);
        parts
            .sip
            .connect_gateway(Arc::clone(&gateways) as Arc<dyn GatewayPort>);
        Ok(gateways)
    }

    fn settings(&self, policy: &FederationPolicy) -> Arc<Settings> {
        Arc::new(settings::settings(&self.config, policy, &self.secret))
    }

    /// A new policy counts from now on.
    pub(crate) fn set_policy(&self, policy: &FederationPolicy) {
        let settings = self.settings(policy);
        self.all(|| Command::Settings(Arc::clone(&settings)));
    }

    /// This node hands over. Dialogs go on at the users' next home, which finds them in the store; only
    /// if there is none, watchers are told to subscribe again.
    pub(crate) fn hand_over(&self) {
        let view = self.switchboard.view.borrow().clone();
        let alone = view.serving_homes().all(|member| member.id == view.local);
        if alone {
            self.all(|| Command::Drain);
        }
    }

    fn all(&self, command: impl Fn() -> Command) {
        for shard in self.shards.get().into_iter().flatten() {
            let (shard, command) = (shard.clone(), command());
            // Waits for room elsewhere: the caller must not.
            tokio::spawn(async move {
                let _stopping = shard.send(command).await;
            });
        }
    }

    fn shard(&self, user: u64) -> Option<&mpsc::Sender<Command>> {
        let shards = self.shards.get()?;
        shards.get(user as usize % shards.len().max(1))
    }
}

impl GatewayPort for Gateways {
    fn request(&self, request: PeerRequest) -> Result<(), Busy> {
        self.shard(request.user)
            .and_then(|shard| shard.try_send(Command::Request(Box::new(request))).ok())
            .ok_or(Busy)
    }

    fn outcome(&self, call: SipCall, outcome: Outcome) {
        let shard = self
            .shards
            .get()
            .and_then(|shards| shards.get(call.shard as usize));
        let given = shard.and_then(|shard| {
            let outcome = Box::new(outcome);
            shard.try_send(Command::Outcome(call.id, outcome)).ok()
        });
        if given.is_none() {
            // The core counts it as timed out.
            metrics::counter!("entente_gateway_dropped_total", "what" => "outcome").increment(1);
        }
    }

    fn peer_up(&self, peer: Arc<str>) {
        self.all(|| Command::PeerUp(Arc::clone(&peer)));
    }

    fn holdings(&self) -> BTreeMap<Arc<str>, Holdings> {
        let mut all = BTreeMap::new();
        for counts in self.counts.get().into_iter().flatten() {
            counts.add_to(&mut all);
        }
        all
    }

    fn submit(&self, item: OutboundItem) {
        let user = item
            .stanza
            .from()
            .map_or(0, |from| key_hash(from.bare_str()));
        let refused = match self.shard(user) {
            Some(shard) => match shard.try_send(Command::Stanza(Box::new(item))) {
                Ok(()) => None,
                Err(mpsc::error::TrySendError::Full(command))
                | Err(mpsc::error::TrySendError::Closed(command)) => Some(command),
            },
            None => Some(Command::Stanza(Box::new(item))),
        };
        if let Some(Command::Stanza(item)) = refused
            && let Some(envelope) = item.envelope
        {
            // The holder says it again.
            let mut batch = ReceiptBatch::default();
            batch.retry(envelope);
            batch.flush(&self.switchboard);
        }
    }
}
