//! What every rule of a shard works with: clock, ids, outputs, timers, the envelope window.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use entente_xmpp_core::jid::BareJid;
use entente_xmpp_core::stanza::Stanza;
use hashbrown::HashMap;

use crate::config::HomeConfig;
use crate::contract::{DeliveryId, EnvelopeId, Output, RequestId, SessionKey, StoreOp};
use crate::repeats::Repeats;
use crate::seen::{Role, SeenEnvelopes};
use crate::strays::Strays;

/// What a store request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The user's record.
    Load,
    /// A change that a client or contact asked for and that waits to be durable.
    Commit,
    /// Offline messages, deletions, last logout.
    Mailbox,
    /// A page of offline messages.
    Flood,
}

/// Why a shard wakes up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Timer {
    /// Messages of this user wait for an ack, or its store operations for another try.
    Mailbox(BareJid),
    /// This user may leave memory.
    Idle(BareJid),
    /// Try again to load this user.
    Reload(BareJid),
    /// Sessions of this user had the time to register.
    Settled(BareJid),
    /// Probe contacts of users that were taken over.
    Probes,
}

/// The shard's desk. Rules read the clock from it and put their outputs on it.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) config: Arc<HomeConfig>,
    pub(crate) now: Instant,
    pub(crate) wall_ms: u64,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) seen: SeenEnvelopes,
    pub(crate) repeats: Repeats,
    pub(crate) strays: Strays,
    /// Until then users may have sessions that this home does not know yet.
    pub(crate) unsettled_until: Option<Instant>,
    /// Whose session it is.
    pub(crate) sessions: HashMap<SessionKey, BareJid>,
    pub(crate) requests: HashMap<RequestId, (BareJid, Purpose)>,
    /// Users whose contacts are to be probed, oldest first.
    pub(crate) probes: VecDeque<BareJid>,
    timers: BTreeMap<(Instant, u64), Timer>,
    next_timer: u64,
    next_id: u64,
    next_own_envelope: u64,
    own_holder: SessionKey,
    random: u64,
}

impl Desk {
    pub(crate) fn new(config: HomeConfig) -> Self {
        let own_holder = SessionKey::new(
            format!("{}#home{}", config.node, config.shard),
            config.epoch,
            config.delivery_base,
        );
        Self {
            now: config.started,
            wall_ms: 0,
            outputs: VecDeque::new(),
            seen: SeenEnvelopes::new(config.limits.seen_envelopes),
            repeats: Repeats::new(
                config.seed,
                config.limits.repeats,
                config.limits.repeat_window,
            ),
            strays: Strays::default(),
            unsettled_until: None,
            sessions: HashMap::new(),
            requests: HashMap::new(),
            probes: VecDeque::new(),
            timers: BTreeMap::new(),
            next_timer: 0,
            next_id: config.delivery_base,
            next_own_envelope: 0,
            own_holder,
            random: config.seed,
            config: Arc::new(config),
        }
    }

    pub(crate) fn route(&mut self, envelope: Option<EnvelopeId>, stanza: Stanza) {
        self.outputs.push_back(Output::Route { envelope, stanza });
    }

    /// Gives a stanza to a session without waiting for an ack.
    pub(crate) fn tell(&mut self, session: &SessionKey, stanza: Stanza) {
        self.outputs.push_back(Output::ToSession {
            session: session.clone(),
            delivery: None,
            envelope: None,
            stanza,
        });
    }

    /// Custody ends; the recipient's role remembers it.
    pub(crate) fn receipt(&mut self, envelope: Option<EnvelopeId>) {
        if let Some(envelope) = envelope {
            self.seen.done(&envelope, Role::Recipient);
            self.outputs.push_back(Output::Receipt { envelope });
        }
    }

    /// The holder must send it again; it will count as new.
    pub(crate) fn retry(&mut self, envelope: Option<EnvelopeId>) {
        if let Some(envelope) = envelope {
            self.seen.forget(&envelope, Role::Recipient);
            self.outputs.push_back(Output::Retry { envelope });
        }
    }

    pub(crate) fn store(&mut self, user: &BareJid, purpose: Purpose, op: StoreOp) -> RequestId {
        let request = RequestId(self.id());
        self.requests.insert(request, (user.clone(), purpose));
        self.outputs.push_back(Output::Store { request, op });
        request
    }

    pub(crate) fn delivery_id(&mut self) -> DeliveryId {
        DeliveryId(self.id())
    }

    /// An id for a message that came without an envelope, for the offline store.
    pub(crate) fn own_envelope(&mut self) -> EnvelopeId {
        self.next_own_envelope += 1;
        EnvelopeId::new(self.own_holder.clone(), self.next_own_envelope)
    }

    /// A resource for a client that asked for none: 64 bits of SplitMix64 from the seed.
    pub(crate) fn resource(&mut self) -> String {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        format!("{:016x}", bits ^ (bits >> 31))
    }

    pub(crate) fn arm(&mut self, at: Instant, timer: Timer) {
        self.next_timer += 1;
        self.timers.insert((at, self.next_timer), timer);
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.timers.first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn due(&mut self) -> Option<Timer> {
        let first = self.timers.first_entry()?;
        (first.key().0 <= self.now).then(|| first.remove())
    }

    fn id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        id
    }
}
