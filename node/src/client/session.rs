//! A bound session at its edge: what it accepted and nobody took over yet, what was delivered to it,
//! and what a new home has to be told.

use std::time::{Duration, Instant};

use entente_cluster::NodeId;
use entente_cluster::custody::{Custody, CustodyLimits, Resend};
use entente_home_core::{
    Deliveries, DeliveryId, EnvelopeId, SessionEndReason, SessionKey, SessionMirror,
};
use entente_xmpp_core::jid::{BareJid, FullJid};
use entente_xmpp_core::stanza::Stanza;

use crate::fabric::{ConnectionHandle, Switchboard};

/// Entities with directed presence that a new home is told of; the home's own bound.
const DIRECTED: usize = 500;
/// Pause before a register or a report that found no home is tried again.
const UNPLACED_PAUSE: Duration = Duration::from_millis(100);

/// Bounds of every session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionLimits {
    /// Stanzas that may be in custody.
    pub(crate) custody_stanzas: usize,
    /// For how long a message that its sender repeats on another connection is recognised.
    pub(crate) repeat_window: Duration,
}

pub(super) struct Session {
    pub(super) handle: ConnectionHandle,
    pub(super) user: BareJid,
    full: FullJid,
    mirror: SessionMirror,
    custody: Custody<SessionKey>,
    /// Stanzas taken so far.
    accepted: u64,
    /// Stanzas whose receipts are told so far.
    told: u64,
    /// Stanzas from before a resumption whose receipts must not be told any more: the client sends
    /// them again.
    forgotten: u64,
    /// Who the homes were when this session last registered.
    homes: u64,
    /// The home that knows this session, with its generation.
    home: Option<(NodeId, u64)>,
    /// When to tell the home of this session once more.
    register_again: Option<Instant>,
    /// When to look for a home again, if the last look found none.
    retry_home: Option<Instant>,
    /// What the client was given.
    deliveries: Deliveries,
    /// Its home has ended it: it must not make itself known there again.
    dismissed: bool,
}

impl Session {
    pub(super) fn new(
        handle: ConnectionHandle,
        full: FullJid,
        bounds: SessionLimits,
        home: Option<(NodeId, u64)>,
    ) -> Self {
        let limits = CustodyLimits {
            max_envelopes: bounds.custody_stanzas,
            ..CustodyLimits::default()
        };
        Self {
            custody: Custody::new(handle.key.clone(), limits),
            handle,
            user: full.to_bare(),
            mirror: SessionMirror::new(full.clone(), DIRECTED),
            full,
            accepted: 0,
            told: 0,
            forgotten: 0,
            home,
            homes: 0,
            register_again: None,
            retry_home: None,
            deliveries: Deliveries::new(bounds.repeat_window),
            dismissed: false,
        }
    }

    pub(super) fn full(&self) -> &FullJid {
        &self.full
    }

    /// Nothing more may be read from the client until receipts come.
    pub(super) fn is_full(&self) -> bool {
        self.custody.is_full()
    }

    /// Takes a client's stanza into custody and gives it to the home. Waits for room there.
    pub(super) async fn accept(&mut self, now: Instant, stanza: Stanza, switchboard: &Switchboard) {
        self.mirror.client_sent(&stanza);
        // The reader stops when custody is full, but one read may bring a few stanzas more.
        let user = self.user.as_str();
        let chain = stanza
            .message_type()
            .map(|_| stanza.to().map_or(user, |to| to.bare_str()));
        let Ok(accepted) = self
            .custody
            .accept_chained(now, user, chain, stanza.bytes().clone())
        else {
            tracing::warn!(session = %self.full, "a stanza came while custody was full");
            return;
        };
        self.accepted += 1;
        if accepted.send {
            let envelope = self.envelope(accepted.seq, accepted.after);
            self.give(now, envelope, stanza, switchboard).await;
        }
    }

    fn envelope(&self, seq: u64, after: Option<u64>) -> EnvelopeId {
        EnvelopeId {
            holder: self.handle.key.clone(),
            seq,
            after,
        }
    }

    async fn give(
        &mut self,
        now: Instant,
        envelope: EnvelopeId,
        stanza: Stanza,
        switchboard: &Switchboard,
    ) {
        let seq = envelope.seq;
        let sent = switchboard
            .accept_from_client(self.handle.key.clone(), envelope, stanza, &self.user)
            .await;
        if sent.is_err() {
            self.custody.retry(now, seq);
        }
    }

    async fn give_again(&mut self, now: Instant, again: Vec<Resend>, switchboard: &Switchboard) {
        for resend in again {
            let envelope = self.envelope(resend.seq, resend.after);
            match Stanza::parse(resend.payload) {
                Ok(stanza) => self.give(now, envelope, stanza, switchboard).await,
                Err(error) => tracing::error!(%error, "an accepted stanza does not read back"),
            }
        }
    }

    /// The home took responsibility for `seq`.
    pub(super) fn receipt(&mut self, seq: u64) {
        self.custody.receipt(seq);
    }

    /// A home did not take `seq`.
    pub(super) fn retry(&mut self, now: Instant, seq: u64) {
        self.custody.retry(now, seq);
        if self.dismissed {
            return;
        }
        // One reason is that the home does not know this session: it is told again first.
        self.register_again.get_or_insert(now + UNPLACED_PAUSE);
    }

    /// `home` asks for the sessions of its users.
    pub(super) fn resync(&mut self, now: Instant, home: &NodeId) {
        if !self.dismissed && self.home.as_ref().is_some_and(|(known, _)| known == home) {
            self.register_again = Some(now);
        }
    }

    /// The home has ended the session, and the stream takes its leave.
    pub(super) fn dismissed(&mut self) {
        self.dismissed = true;
        self.register_again = None;
    }

    /// How many more of the client's stanzas may be acknowledged. Call only when acks are allowed.
    pub(super) fn handled(&mut self) -> u64 {
        let newly = self.custody.handled();
        self.told += newly;
        let forgotten = newly.min(self.forgotten);
        self.forgotten -= forgotten;
        newly - forgotten
    }

    /// The client resumes on another connection: it counts from what was told so far.
    pub(super) fn resumed(&mut self) {
        self.forgotten = self.accepted - self.told;
    }

    /// Whether receipts have come that `handled` has not told.
    pub(super) fn waiting(&self) -> usize {
        self.custody.waiting()
    }

    /// Whether a delivery has to be written: not if the client was given it before.
    pub(super) fn is_new(
        &mut self,
        now: Instant,
        delivery: Option<DeliveryId>,
        envelope: Option<&EnvelopeId>,
        stanza: &Stanza,
    ) -> bool {
        self.deliveries.is_new(now, delivery, envelope, stanza)
    }

    /// The client has this delivery.
    pub(super) fn delivered(&mut self, id: DeliveryId) {
        self.deliveries.delivered(id);
    }

    /// The client will not get this delivery here.
    pub(super) fn failed(&mut self, id: DeliveryId) {
        self.deliveries.failed(id);
    }

    /// Tells the home what was delivered and what failed since the last time.
    pub(super) async fn report(&mut self, switchboard: &Switchboard) {
        let (delivered, failed) = self.deliveries.take_reports();
        for (ids, failed) in [(delivered, false), (failed, true)] {
            if !ids.is_empty() {
                // Without a home there is nobody who waits: a new one starts with no deliveries.
                let _no_home = switchboard
                    .delivered(self.handle.key.clone(), &self.user, ids, failed)
                    .await;
            }
        }
    }

    /// Looks whether the user has another home now; if so, makes the session known there and gives
    /// it all that has no receipt.
    pub(super) async fn follow_home(&mut self, now: Instant, switchboard: &Switchboard) {
        self.retry_home = None;
        if self.dismissed {
            return;
        }
        let home = switchboard.home(self.user.as_str());
        let homes = switchboard.homes();
        // The home of a recipient may have moved too: then what has no receipt waits in a link to a
        // node that no longer takes it.
        if home == self.home && homes == self.homes && home.is_some() {
            return;
        }
        let registered = match &home {
            Some(_) => switchboard
                .register(self.handle.key.clone(), self.mirror.snapshot().clone())
                .await
                .is_ok(),
            None => false,
        };
        if !registered {
            self.retry_home = Some(now + UNPLACED_PAUSE);
            return;
        }
        self.home = home;
        self.homes = homes;
        let again = self.custody.view_changed(now, |_| true);
        self.give_again(now, again, switchboard).await;
    }

    /// When [`Self::timeout`] wants to be called.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [
            self.custody.poll_timeout(),
            self.retry_home,
            self.register_again,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// A deadline came.
    pub(super) async fn timeout(&mut self, now: Instant, switchboard: &Switchboard) {
        if self.retry_home.is_some_and(|at| at <= now) {
            self.follow_home(now, switchboard).await;
        }
        if self.register_again.is_some_and(|at| at <= now) {
            self.register_again = None;
            let snapshot = self.mirror.snapshot().clone();
            // Without a home the custody's own deadline brings us back here.
            let _no_home = switchboard
                .register(self.handle.key.clone(), snapshot)
                .await;
        }
        let again = self.custody.overdue(now);
        self.give_again(now, again, switchboard).await;
    }

    /// The session is over for good. What the client did not get goes back to the home first.
    pub(super) async fn end(mut self, reason: SessionEndReason, switchboard: &Switchboard) {
        for item in self.handle.inbox.close() {
            if let crate::fabric::Item::Deliver {
                delivery: Some(id), ..
            } = item
            {
                self.failed(id);
            }
        }
        self.report(switchboard).await;
        let _no_home = switchboard
            .session_ended(self.handle.key.clone(), self.full.clone(), reason)
            .await;
    }
}
