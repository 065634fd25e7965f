//! What a peer sends: into custody, on to the recipients' homes, and acknowledged when they have it.
//! The counterpart of a client's session, for inbound streams and for outbound ones that are used in
//! both directions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use entente_cluster::ClusterView;
use entente_cluster::custody::{Custody, CustodyLimits, Resend};
use entente_home_core::{EnvelopeId, SessionKey};
use entente_xmpp_core::error::{StanzaCondition, StanzaError};
use entente_xmpp_core::jid::Jid;
use entente_xmpp_core::stanza::PresenceType;
use entente_xmpp_core::stanza::Stanza;
use tokio::sync::watch;

use super::service::XmppService;
use crate::clock::now;
use crate::fabric::{ConnectionHandle, Item};
use crate::net::throttle::DomainThrottle;

/// How long acks stay back before the fence is asked again.
const FENCE_PAUSE: Duration = Duration::from_millis(250);

/// See the module.
pub(super) struct Acceptance {
    service: Arc<XmppService>,
    handle: ConnectionHandle,
    custody: Custody<SessionKey>,
    view: watch::Receiver<Arc<ClusterView>>,
    /// The view by which stanzas were given out.
    placed: Arc<ClusterView>,
    /// The buckets of the domain that sent last.
    throttle: Option<(Box<str>, Arc<DomainThrottle>)>,
    /// The peer's rate is used up until then.
    paced: Option<Instant>,
    /// Receipts are here that may not be acknowledged now.
    ask_fence: Option<Instant>,
}

/// What the inbox held besides receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice {
    Nothing,
    /// The node hands over.
    Leave,
    /// The node is isolated.
    Shutdown,
}

impl Acceptance {
    pub(super) fn new(service: &Arc<XmppService>) -> Self {
        let handle = service.switchboard.connections.open();
        let mut view = service.switchboard.view.clone();
        let placed = view.borrow_and_update().clone();
        Self {
            custody: Custody::new(handle.key.clone(), CustodyLimits::default()),
            handle,
            view,
            placed,
            throttle: None,
            paced: None,
            ask_fence: None,
            service: Arc::clone(service),
        }
    }

    /// Nothing more may be taken from the peer for now: neither read nor cut out of what was read.
    pub(super) fn is_blocked(&mut self, now: Instant) -> bool {
        if self.paced.is_some_and(|until| until <= now) {
            self.paced = None;
        }
        self.paced.is_some() || self.custody.is_full()
    }

    /// Takes a stanza of an authenticated domain for one of ours. Waits for room at the home.
    pub(super) async fn accept(&mut self, now: Instant, stanza: Stanza) {
        self.service.stanzas_in.increment(1);
        let answer = match self.examine(now, &stanza) {
            Verdict::Deliver => {
                let Some(user) = stanza.to().map(Jid::to_bare) else {
                    return;
                };
                let chain = stanza.message_type().map(|_| user.as_str());
                match self
                    .custody
                    .accept_chained(now, user.as_str(), chain, stanza.bytes().clone())
                {
                    Ok(accepted) if accepted.send => {
                        let envelope = self.envelope(accepted.seq, accepted.after);
                        self.give(now, envelope, stanza).await;
                    }
                    Ok(_) => {}
                    Err(_) => debug_assert!(false, "nothing is taken while custody is full"),
                }
                return;
            }
            Verdict::Answer(answer) => answer,
        };
        if let Some(answer) = answer {
            self.service.send_own(answer);
        }
        // It counts for the peer's acknowledgements, in its place.
        if let Ok(done) = self.custody.accept(now, "", Bytes::new()) {
            self.custody.receipt(done.seq);
        }
    }

    fn examine(&mut self, now: Instant, stanza: &Stanza) -> Verdict {
        let Some(from) = stanza.from() else {
            return Verdict::Answer(None);
        };
        let (per_second, per_minute) = {
            let policy = self.service.policy.borrow();
            (policy.messages_per_second, policy.subscriptions_per_minute)
        };
        let throttle = match &self.throttle {
            Some((domain, throttle)) if **domain == *from.domain() => throttle,
            _ => {
                let throttle =
                    self.service
                        .throttles
                        .of(now, from.domain(), per_second, per_minute);
                &self.throttle.insert((Box::from(from.domain()), throttle)).1
            }
        };
        if let Some(pause) = throttle.stanza(now, per_second) {
            self.paced = Some(now + pause);
        }
        let refused =
            |condition| Verdict::Answer(stanza.error_reply(&StanzaError::new(condition), false));
        if stanza.fault().is_some() {
            return refused(StanzaCondition::BadRequest);
        }
        if stanza.presence_type() == Some(PresenceType::Subscribe)
            && !throttle.subscription(now, per_minute)
        {
            metrics::counter!("entente_xmpp_subscriptions_refused_total").increment(1);
            return refused(StanzaCondition::PolicyViolation);
        }
        match stanza.to() {
            Some(to) if to.node().is_none() => {
                Verdict::Answer(self.service.answer_of_domain(now, stanza))
            }
            Some(_) => Verdict::Deliver,
            None => Verdict::Answer(None),
        }
    }

    fn envelope(&self, seq: u64, after: Option<u64>) -> EnvelopeId {
        EnvelopeId {
            holder: self.handle.key.clone(),
            seq,
            after,
        }
    }

    async fn give(&mut self, now: Instant, envelope: EnvelopeId, stanza: Stanza) {
        let Some(user) = stanza.to().map(Jid::to_bare) else {
            return;
        };
        let seq = envelope.seq;
        if self
            .service
            .switchboard
            .accept_from_peer(Some(envelope), stanza, &user)
            .await
            .is_err()
        {
            self.custody.retry(now, seq);
        }
    }

    async fn give_again(&mut self, now: Instant, again: Vec<Resend>) {
        for resend in again {
            let envelope = self.envelope(resend.seq, resend.after);
            match Stanza::parse(resend.payload) {
                Ok(stanza) => self.give(now, envelope, stanza).await,
                Err(error) => tracing::error!(%error, "an accepted stanza does not read back"),
            }
        }
    }

    /// Something is in the inbox, or the view changed, or a deadline came. Cancel-safe.
    pub(super) async fn ready(&mut self) -> Ready {
        tokio::select! {
            () = self.handle.inbox.ready() => Ready::Inbox,
            changed = self.view.changed() => match changed {
                Ok(()) => Ready::View,
                // The node is stopping; receipts may still come.
                Err(_) => {
                    self.handle.inbox.ready().await;
                    Ready::Inbox
                }
            },
        }
    }

    /// Acts on what [`Self::ready`] reported.
    pub(super) async fn take(&mut self, now: Instant, ready: Ready) -> Notice {
        match ready {
            Ready::Inbox => self.take_inbox(now),
            Ready::View => {
                let before =
                    std::mem::replace(&mut self.placed, self.view.borrow_and_update().clone());
                let after = Arc::clone(&self.placed);
                let home = |view: &ClusterView, user: &str| {
                    view.home_of(user)
                        .map(|id| (id.clone(), view.member(id).map(|member| member.generation)))
                };
                let again = self
                    .custody
                    .view_changed(now, |user| home(&before, user) != home(&after, user));
                self.give_again(now, again).await;
                Notice::Nothing
            }
        }
    }

    fn take_inbox(&mut self, now: Instant) -> Notice {
        let mut notice = Notice::Nothing;
        for item in self.handle.inbox.take() {
            match item {
                Item::Receipt(seq) => {
                    self.custody.receipt(seq);
                }
                Item::Retry(seq) => {
                    self.custody.retry(now, seq);
                }
                Item::Leave if notice == Notice::Nothing => notice = Notice::Leave,
                Item::Leave => {}
                Item::Shutdown => notice = Notice::Shutdown,
                Item::Resync(_) => {}
                Item::Deliver { .. } | Item::BindResult(_) | Item::End(_) => {
                    debug_assert!(false, "nothing but receipts is for a federation stream");
                }
            }
        }
        notice
    }

    /// How many more of the peer's stanzas may be acknowledged. The fence is asked here, on the way
    /// of every ack.
    pub(super) fn acknowledged(&mut self, now: Instant) -> u64 {
        if !self.service.switchboard.fence.may_ack(now) {
            self.ask_fence =
                (self.custody.waiting() > 0 || self.ask_fence.is_some()).then(|| now + FENCE_PAUSE);
            return 0;
        }
        self.ask_fence = None;
        self.custody.handled()
    }

    /// When [`Self::timeout`] wants to be called.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.custody.poll_timeout(), self.paced, self.ask_fence]
            .into_iter()
            .flatten()
            .min()
    }

    /// A deadline may have come.
    pub(super) async fn timeout(&mut self, now: Instant) {
        let again = self.custody.overdue(now);
        self.give_again(now, again).await;
    }

    /// Stanzas that nobody has taken over.
    pub(super) fn waiting(&self) -> usize {
        self.custody.waiting()
    }

    /// The stream is over. What it brought and nobody has yet is held until somebody has: a peer
    /// without acks will not send it again.
    pub(super) async fn linger(mut self, patience: Duration) {
        let end = now() + patience;
        while self.waiting() > 0 && now() < end {
            let deadline = self.poll_timeout().map_or(end, |at| at.min(end));
            let ready = tokio::time::timeout_at(deadline.into(), self.ready()).await;
            let now = now();
            match ready {
                Ok(ready) => {
                    self.take(now, ready).await;
                }
                Err(_) => self.timeout(now).await,
            }
        }
        if self.waiting() > 0 {
            tracing::warn!(
                stanzas = self.waiting(),
                "a federation stream's stanzas found no home in time"
            );
        }
    }
}

enum Verdict {
    /// For a user.
    Deliver,
    /// Decided here.
    Answer(Option<Stanza>),
}

/// See [`Acceptance::ready`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ready {
    Inbox,
    View,
}
