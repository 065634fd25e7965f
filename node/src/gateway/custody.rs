//! Texts of peers until a user's home has them: the gateway is their holder, as a federation stream is
//! of its stanzas.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use entente_cluster::ClusterView;
use entente_cluster::custody::{Custody, CustodyLimits, Resend};
use entente_home_core::{EnvelopeId, SessionKey};
use entente_interwork_core::gateway::Ticket;
use entente_xmpp_core::jid::Jid;
use entente_xmpp_core::stanza::Stanza;
use tokio::sync::watch;

use crate::fabric::{ConnectionHandle, Item, Switchboard};

/// How long answers stay back before the fence is asked again.
const FENCE_PAUSE: Duration = Duration::from_millis(250);

/// See the module.
pub(super) struct Entrusted {
    switchboard: Arc<Switchboard>,
    handle: ConnectionHandle,
    custody: Custody<SessionKey>,
    tickets: HashMap<u64, Ticket>,
    /// What the homes have, while the fence does not let this node say so.
    held_back: Vec<Ticket>,
    ask_fence: Option<Instant>,
    placed: Arc<ClusterView>,
}

impl Entrusted {
    pub(super) fn new(
        switchboard: &Arc<Switchboard>,
        view: &mut watch::Receiver<Arc<ClusterView>>,
    ) -> Self {
        let handle = switchboard.connections.open_standing();
        Self {
            custody: Custody::new(handle.key.clone(), CustodyLimits::default()),
            handle,
            switchboard: Arc::clone(switchboard),
            tickets: HashMap::new(),
            held_back: Vec::new(),
            ask_fence: None,
            placed: view.borrow_and_update().clone(),
        }
    }

    /// A text for a local user; `false` when too many wait.
    pub(super) async fn entrust(&mut self, now: Instant, ticket: Ticket, stanza: Stanza) -> bool {
        let Some(user) = stanza.to().map(Jid::to_bare) else {
            return false;
        };
        let payload = stanza.bytes().clone();
        let chain = Some(user.as_str());
        let Ok(accepted) = self
            .custody
            .accept_chained(now, user.as_str(), chain, payload)
        else {
            return false;
        };
        self.tickets.insert(accepted.seq, ticket);
        if accepted.send {
            self.give(now, accepted.seq, accepted.after, stanza).await;
        }
        true
    }

    async fn give(&mut self, now: Instant, seq: u64, after: Option<u64>, stanza: Stanza) {
        let Some(user) = stanza.to().map(Jid::to_bare) else {
            return;
        };
        let envelope = EnvelopeId {
            holder: self.handle.key.clone(),
            seq,
            after,
        };
        let given = self
            .switchboard
            .accept_from_peer(Some(envelope), stanza, &user)
            .await;
        if given.is_err() {
            self.custody.retry(now, seq);
        }
    }

    async fn give_again(&mut self, now: Instant, again: Vec<Resend>) {
        for resend in again {
            match Stanza::parse(resend.payload) {
                Ok(stanza) => self.give(now, resend.seq, resend.after, stanza).await,
                Err(error) => tracing::error!(%error, "an entrusted stanza does not read back"),
            }
        }
    }

    /// Something came for the holder. Cancel-safe.
    pub(super) async fn ready(&self) {
        self.handle.inbox.ready().await;
    }

    /// The tickets of what the homes have, as far as this node may say so.
    pub(super) fn take_receipts(&mut self, now: Instant) -> Vec<Ticket> {
        for item in self.handle.inbox.take() {
            match item {
                Item::Receipt(seq) => {
                    self.custody.receipt(seq);
                    self.held_back.extend(self.tickets.remove(&seq));
                }
                Item::Retry(seq) => {
                    self.custody.retry(now, seq);
                }
                // A gateway is no session: it stays until the node ends.
                _ => {}
            }
        }
        if self.held_back.is_empty() || self.switchboard.fence.may_ack(now) {
            self.ask_fence = None;
            std::mem::take(&mut self.held_back)
        } else {
            self.ask_fence = Some(now + FENCE_PAUSE);
            Vec::new()
        }
    }

    /// The homes may be others now.
    pub(super) async fn view_changed(&mut self, now: Instant, view: &Arc<ClusterView>) {
        let before = std::mem::replace(&mut self.placed, Arc::clone(view));
        let home = |view: &ClusterView, user: &str| {
            view.home_of(user)
                .map(|id| (id.clone(), view.member(id).map(|member| member.generation)))
        };
        let again = self
            .custody
            .view_changed(now, |user| home(&before, user) != home(view, user));
        self.give_again(now, again).await;
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.custody.poll_timeout(), self.ask_fence]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) async fn timeout(&mut self, now: Instant) {
        let again = self.custody.overdue(now);
        self.give_again(now, again).await;
    }
}
