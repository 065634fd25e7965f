//! A bound session at its edge: the shell around `EdgeSession`, which gives the home what it says.

use std::time::Instant;

use entente_cluster::NodeId;
use entente_fabric_core::session::{EdgeSession, Step};
use entente_home_core::{EnvelopeId, SessionEndReason};
use entente_xmpp_core::jid::FullJid;
use entente_xmpp_core::stanza::Stanza;

use crate::fabric::{ConnectionHandle, Item, Switchboard};

pub(crate) use entente_fabric_core::session::SessionLimits;

pub(super) struct Session {
    pub(super) handle: ConnectionHandle,
    core: EdgeSession,
}

impl Session {
    pub(super) fn new(
        handle: ConnectionHandle,
        full: FullJid,
        bounds: SessionLimits,
        home: Option<(NodeId, u64)>,
    ) -> Self {
        Self {
            core: EdgeSession::new(handle.key.clone(), full, bounds, home),
            handle,
        }
    }

    /// What is decided without the home.
    pub(super) fn core(&mut self) -> &mut EdgeSession {
        &mut self.core
    }

    pub(super) fn full(&self) -> &FullJid {
        self.core.full()
    }

    /// Nothing more may be read from the client until receipts come.
    pub(super) fn is_full(&self) -> bool {
        self.core.is_full()
    }

    /// How many stanzas have no receipt.
    pub(super) fn waiting(&self) -> usize {
        self.core.waiting()
    }

    /// Takes a client's stanza into custody and gives it to the home. Waits for room there.
    pub(super) async fn accept(&mut self, now: Instant, stanza: Stanza, switchboard: &Switchboard) {
        match self.core.accept(now, &stanza) {
            Ok(accepted) if accepted.send => {
                self.give(now, accepted.envelope, stanza, switchboard).await;
            }
            Ok(_) => {}
            // The reader stops when custody is full, but one read may bring a few stanzas more.
            Err(_) => {
                tracing::warn!(session = %self.full(), "a stanza came while custody was full");
            }
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
        let key = self.handle.key.clone();
        let sent = switchboard
            .accept_from_client(key, envelope, stanza, self.core.user())
            .await;
        if sent.is_err() {
            self.core.refused(now, seq);
        }
    }

    async fn carry_out(&mut self, now: Instant, switchboard: &Switchboard) {
        while let Some(step) = self.core.poll_step() {
            match step {
                Step::Give { envelope, stanza } => {
                    self.give(now, envelope, stanza, switchboard).await;
                }
                Step::Register(snapshot) => {
                    let key = self.handle.key.clone();
                    let placed = switchboard.register(key, snapshot).await.is_ok();
                    self.core.registered(now, placed);
                }
                Step::Report { ids, failed } => {
                    let key = self.handle.key.clone();
                    // Without a home there is nobody who waits: a new one starts with no deliveries.
                    let _no_home = switchboard
                        .delivered(key, self.core.user(), ids, failed)
                        .await;
                }
            }
        }
    }

    /// Tells the home what was delivered and what failed since the last time.
    pub(super) async fn report(&mut self, now: Instant, switchboard: &Switchboard) {
        self.core.report();
        self.carry_out(now, switchboard).await;
    }

    /// Looks whether the user has another home now.
    pub(super) async fn follow_home(&mut self, now: Instant, switchboard: &Switchboard) {
        let homes = switchboard.homes(self.core.user().as_str());
        self.core.follow(now, homes);
        self.carry_out(now, switchboard).await;
    }

    /// When [`Self::timeout`] wants to be called.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.core.poll_timeout()
    }

    /// A deadline came.
    pub(super) async fn timeout(&mut self, now: Instant, switchboard: &Switchboard) {
        let user = self.core.user().clone();
        self.core.timeout(now, || switchboard.homes(user.as_str()));
        self.carry_out(now, switchboard).await;
    }

    /// The session is over for good. What the client did not get goes back to the home first.
    pub(super) async fn end(
        mut self,
        now: Instant,
        reason: SessionEndReason,
        switchboard: &Switchboard,
    ) {
        for item in self.handle.inbox.close() {
            if let Item::Deliver {
                delivery: Some(id), ..
            } = item
            {
                self.core.failed(id);
            }
        }
        self.report(now, switchboard).await;
        let _no_home = switchboard
            .session_ended(self.handle.key.clone(), self.full().clone(), reason)
            .await;
    }
}
