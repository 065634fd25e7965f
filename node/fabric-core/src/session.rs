//! A bound session at its edge: what it accepted and nobody took over yet, what was delivered to it,
//! and what a new home has to be told.
//!
//! Inputs are method calls; what has to be done comes out of [`EdgeSession::poll_step`], in order.
//! What could not be given to a home is told by [`EdgeSession::refused`].

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use entente_cluster::NodeId;
use entente_cluster::custody::{Custody, CustodyFull, CustodyLimits, Resend};
use entente_home_core::{
    Deliveries, DeliveryId, EnvelopeId, SessionKey, SessionMirror, SessionSnapshot,
};
use entente_xmpp_core::jid::{BareJid, FullJid};
use entente_xmpp_core::stanza::Stanza;
use hashbrown::DefaultHashBuilder;

/// Entities with directed presence that a new home is told of; the home's own bound.
const DIRECTED: usize = 500;
/// Pause before a register or a report that found no home is tried again.
const UNPLACED_PAUSE: Duration = Duration::from_millis(100);

/// Bounds of every session.
#[derive(Debug, Clone, Copy)]
pub struct SessionLimits {
    /// Stanzas that may be in custody.
    pub custody_stanzas: usize,
    /// For how long a message that its sender repeats on another connection is recognised.
    pub repeat_window: Duration,
}

/// The homes by today's view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Homes {
    /// The home of the session's user, with its generation.
    pub own: Option<(NodeId, u64)>,
    /// Stands for all homes: see [`crate::way::homes_of`].
    pub all: u64,
}

/// Something to be done, in order.
#[derive(Debug)]
pub enum Step {
    /// Give a stanza of the client to its home; if that fails, [`EdgeSession::refused`].
    Give {
        /// What the home gives the receipt for.
        envelope: EnvelopeId,
        /// With the sender's address.
        stanza: Stanza,
    },
    /// Make the session known to the home of its user; then [`EdgeSession::registered`].
    Register(Box<SessionSnapshot>),
    /// Tell the home what became of deliveries. Without a home there is nobody who waits.
    Report {
        /// Which deliveries.
        ids: Vec<DeliveryId>,
        /// The client can't have them; else it has them.
        failed: bool,
    },
}

/// What [`EdgeSession::accept`] answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The envelope of the stanza.
    pub envelope: EnvelopeId,
    /// Give it to the home now. If not, it comes as a step when it is its turn.
    pub send: bool,
}

/// See the module.
#[derive(Debug)]
pub struct EdgeSession {
    key: SessionKey,
    user: BareJid,
    mirror: SessionMirror,
    custody: Custody<SessionKey>,
    /// What the client waits to hear of, in its order: envelopes with hashes of the stanzas.
    untold: VecDeque<(u64, u64)>,
    /// What the client has not heard of before a resumption, and sends again now.
    again: VecDeque<(u64, u64)>,
    hasher: DefaultHashBuilder,
    /// Who the homes were when this session last registered.
    homes: u64,
    /// The home that knows this session, with its generation.
    home: Option<(NodeId, u64)>,
    /// Who is being told of this session.
    following: Option<Homes>,
    /// When to tell the home of this session once more.
    register_again: Option<Instant>,
    /// When to look for a home again, if the last look found none.
    retry_home: Option<Instant>,
    /// What the client was given.
    deliveries: Deliveries,
    /// Its home has ended it: it must not make itself known there again.
    dismissed: bool,
    steps: VecDeque<Step>,
}

impl EdgeSession {
    /// A session that `home` has just bound.
    pub fn new(
        key: SessionKey,
        full: FullJid,
        bounds: SessionLimits,
        home: Option<(NodeId, u64)>,
    ) -> Self {
        let limits = CustodyLimits {
            max_envelopes: bounds.custody_stanzas,
            ..CustodyLimits::default()
        };
        Self {
            custody: Custody::new(key.clone(), limits),
            key,
            user: full.to_bare(),
            mirror: SessionMirror::new(full, DIRECTED),
            untold: VecDeque::new(),
            again: VecDeque::new(),
            hasher: DefaultHashBuilder::default(),
            home,
            homes: 0,
            following: None,
            register_again: None,
            retry_home: None,
            deliveries: Deliveries::new(bounds.repeat_window),
            dismissed: false,
            steps: VecDeque::new(),
        }
    }

    /// Names the session to its home.
    pub fn key(&self) -> &SessionKey {
        &self.key
    }

    /// Whose session it is.
    pub fn user(&self) -> &BareJid {
        &self.user
    }

    /// The address that the client is bound to.
    pub fn full(&self) -> &FullJid {
        &self.mirror.snapshot().full
    }

    /// The next thing to do.
    pub fn poll_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// Nothing more may be read from the client until receipts come.
    pub fn is_full(&self) -> bool {
        self.custody.is_full()
    }

    /// Takes a client's stanza into custody. After a resumption the client says again what it had not
    /// heard of (XEP-0198 section 5): that is in custody, or was, and is not given to the home anew.
    ///
    /// # Errors
    /// [`CustodyFull`] if [`Self::is_full`]; the stanza was not taken.
    pub fn accept(&mut self, now: Instant, stanza: &Stanza) -> Result<Accepted, CustodyFull> {
        let hash = self.hasher.hash_one(stanza.bytes());
        if let Some((seq, known)) = self.again.pop_front() {
            if known == hash {
                self.untold.push_back((seq, hash));
                return Ok(Accepted {
                    envelope: self.envelope(seq, None),
                    send: false,
                });
            }
            // It says something else, so what it does not say again it does not want to be told.
            self.again.clear();
        }
        self.mirror.client_sent(stanza);
        let user = self.user.as_str();
        let chain = stanza
            .message_type()
            .map(|_| stanza.to().map_or(user, |to| to.bare_str()));
        let accepted = self
            .custody
            .accept_chained(now, user, chain, stanza.bytes().clone())?;
        self.untold.push_back((accepted.seq, hash));
        Ok(Accepted {
            envelope: self.envelope(accepted.seq, accepted.after),
            send: accepted.send,
        })
    }

    fn envelope(&self, seq: u64, after: Option<u64>) -> EnvelopeId {
        EnvelopeId {
            holder: self.key.clone(),
            seq,
            after,
        }
    }

    fn give_again(&mut self, again: Vec<Resend>) {
        for resend in again {
            let envelope = self.envelope(resend.seq, resend.after);
            match Stanza::parse(resend.payload) {
                Ok(stanza) => self.steps.push_back(Step::Give { envelope, stanza }),
                Err(_) => debug_assert!(false, "an accepted stanza reads back"),
            }
        }
    }

    /// There was no way to a home for `seq`.
    pub fn refused(&mut self, now: Instant, seq: u64) {
        self.custody.retry(now, seq);
    }

    /// The home took responsibility for `seq`.
    pub fn receipt(&mut self, seq: u64) {
        self.custody.receipt(seq);
    }

    /// A home did not take `seq`.
    pub fn retry(&mut self, now: Instant, seq: u64) {
        self.custody.retry(now, seq);
        if self.dismissed {
            return;
        }
        // One reason is that the home does not know this session: it is told again first.
        self.register_again.get_or_insert(now + UNPLACED_PAUSE);
    }

    /// `home` asks for the sessions of its users.
    pub fn resync(&mut self, now: Instant, home: &NodeId) {
        if !self.dismissed && self.home.as_ref().is_some_and(|(known, _)| known == home) {
            self.register_again = Some(now);
        }
    }

    /// The home has ended the session, and the stream takes its leave.
    pub fn dismissed(&mut self) {
        self.dismissed = true;
        self.register_again = None;
    }

    /// How many more of the client's stanzas may be acknowledged. Call only when acks are allowed.
    pub fn handled(&mut self) -> u64 {
        let done = self.custody.handled_total();
        let before = self.untold.len();
        while self.untold.pop_front_if(|(seq, _)| *seq <= done).is_some() {}
        (before - self.untold.len()) as u64
    }

    /// The client resumes on another connection: it sends again what it was not told of.
    pub fn resumed(&mut self) {
        // What it had not got round to say again stands behind.
        let rest = std::mem::take(&mut self.again);
        self.again = std::mem::take(&mut self.untold);
        self.again.extend(rest);
    }

    /// How many stanzas have no receipt.
    pub fn waiting(&self) -> usize {
        self.custody.waiting()
    }

    /// Whether a delivery has to be written: not if the client was given it before.
    pub fn is_new(
        &mut self,
        now: Instant,
        delivery: Option<DeliveryId>,
        envelope: Option<&EnvelopeId>,
        stanza: &Stanza,
    ) -> bool {
        self.deliveries.is_new(now, delivery, envelope, stanza)
    }

    /// The client has this delivery.
    pub fn delivered(&mut self, id: DeliveryId) {
        self.deliveries.delivered(id);
    }

    /// The client will not get this delivery here.
    pub fn failed(&mut self, id: DeliveryId) {
        self.deliveries.failed(id);
    }

    /// Makes steps of what was delivered and what failed since the last time.
    pub fn report(&mut self) {
        let (delivered, failed) = self.deliveries.take_reports();
        for (ids, failed) in [(delivered, false), (failed, true)] {
            if !ids.is_empty() {
                self.steps.push_back(Step::Report { ids, failed });
            }
        }
    }

    /// The view may have changed: if the user has another home now, the session is made known there
    /// and gives it all that has no receipt.
    pub fn follow(&mut self, now: Instant, homes: Homes) {
        self.retry_home = None;
        if self.dismissed {
            return;
        }
        // The home of a recipient may have moved too: then what has no receipt waits in a link to a
        // node that no longer takes it.
        if homes.own == self.home && homes.all == self.homes && homes.own.is_some() {
            return;
        }
        if homes.own.is_none() {
            self.retry_home = Some(now + UNPLACED_PAUSE);
            return;
        }
        self.following = Some(homes);
        self.register();
    }

    fn register(&mut self) {
        let snapshot = Box::new(self.mirror.snapshot().clone());
        self.steps.push_back(Step::Register(snapshot));
    }

    /// The registration is on its way (`done`), or found no home.
    pub fn registered(&mut self, now: Instant, done: bool) {
        let Some(homes) = self.following.take() else {
            // Without a home the custody's own deadline brings us back here.
            return;
        };
        if !done {
            self.retry_home = Some(now + UNPLACED_PAUSE);
            return;
        }
        self.home = homes.own;
        self.homes = homes.all;
        let again = self.custody.view_changed(now, |_| true);
        self.give_again(again);
    }

    /// When [`Self::timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [
            self.custody.poll_timeout(),
            self.retry_home,
            self.register_again,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// A deadline may have come.
    pub fn timeout(&mut self, now: Instant, homes: impl FnOnce() -> Homes) {
        if self.retry_home.is_some_and(|at| at <= now) {
            self.follow(now, homes());
        }
        if self.register_again.is_some_and(|at| at <= now) {
            self.register_again = None;
            if self.following.is_none() {
                self.register();
            }
        }
        let again = self.custody.overdue(now);
        self.give_again(again);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any fixed instant will do")]
    fn start() -> Instant {
        Instant::now()
    }

    fn session() -> EdgeSession {
        let key = SessionKey::new("n1", 1, 1);
        let limits = SessionLimits {
            custody_stanzas: 8,
            repeat_window: Duration::from_secs(120),
        };
        EdgeSession::new(
            key,
            FullJid::new("a@x/1").expect("an address"),
            limits,
            homes(1).own,
        )
    }

    fn homes(all: u64) -> Homes {
        let name = format!("h{all}");
        Homes {
            own: Some((NodeId::new(&name).expect("a name"), 1)),
            all,
        }
    }

    fn message(n: u64) -> Stanza {
        let text = format!("<message from='a@x/1' to='b@x' id='{n}'/>");
        Stanza::parse(Bytes::from(text)).expect("a stanza")
    }

    /// The steps in short: `r` to register, numbers of envelopes, `+` and `-` for reports.
    fn steps(session: &mut EdgeSession, now: Instant, placed: bool) -> String {
        let mut text = String::new();
        while let Some(step) = session.poll_step() {
            match step {
                Step::Give { envelope, .. } => {
                    text += &envelope.seq.to_string();
                    if !placed {
                        session.refused(now, envelope.seq);
                    }
                }
                Step::Register(_) => {
                    text.push('r');
                    session.registered(now, placed);
                }
                Step::Report { failed, .. } => text.push(if failed { '-' } else { '+' }),
            }
        }
        text
    }

    #[test]
    fn another_home_hears_of_the_session_before_it_gets_what_waits() {
        let (now, mut session) = (start(), session());
        session.follow(now, homes(1));
        assert_eq!(
            steps(&mut session, now, true),
            "r",
            "the recipients' homes are new to it"
        );
        for n in 1..=3 {
            assert!(
                session
                    .accept(now, &message(n))
                    .is_ok_and(|taken| taken.send)
            );
        }
        session.receipt(2);
        session.follow(now, homes(1));
        assert_eq!(steps(&mut session, now, true), "");
        session.follow(now, homes(2));
        assert_eq!(steps(&mut session, now, true), "r13");
        assert_eq!(session.waiting(), 2);
    }

    #[test]
    fn without_a_home_it_looks_again_and_a_dismissed_one_does_not() {
        let (mut now, mut session) = (start(), session());
        session.accept(now, &message(1)).expect("room");
        session.follow(now, homes(2));
        assert_eq!(steps(&mut session, now, false), "r");
        for (placed, expected) in [(false, "r"), (true, "r1")] {
            now = session.poll_timeout().expect("it looks again");
            session.timeout(now, || homes(2));
            assert_eq!(steps(&mut session, now, placed), expected);
        }
        session.retry(now, 1);
        now = session.poll_timeout().expect("soon");
        session.timeout(now, || homes(2));
        assert_eq!(
            steps(&mut session, now, true),
            "r1",
            "told again before it gives again"
        );
        session.dismissed();
        session.resync(now, &homes(2).own.expect("a home").0);
        session.follow(now, homes(3));
        assert_eq!(steps(&mut session, now, true), "");
    }

    #[test]
    fn what_a_client_says_again_after_a_resumption_is_in_custody_already() {
        let (now, mut session) = (start(), session());
        for n in 1..=4 {
            session.accept(now, &message(n)).expect("room");
        }
        session.receipt(1);
        assert_eq!(session.handled(), 1);
        session.receipt(2);
        session.resumed();
        assert_eq!(
            session.handled(),
            0,
            "the client counts from what it has heard of"
        );
        for n in 2..=3 {
            let again = session.accept(now, &message(n)).expect("known");
            assert_eq!((again.envelope.seq, again.send), (n, false));
        }
        assert_eq!(session.handled(), 1, "2");
        // Once more, before it could say 4 again.
        session.resumed();
        for n in 3..=4 {
            assert!(!session.accept(now, &message(n)).expect("known").send);
        }
        assert_eq!(
            session.accept(now, &message(4)).expect("room").envelope.seq,
            5
        );
        for seq in 3..=5 {
            session.receipt(seq);
        }
        assert_eq!(session.handled(), 3);
    }

    #[test]
    fn a_client_that_goes_on_with_something_else_is_not_told_of_the_rest() {
        let (now, mut session) = (start(), session());
        for n in 1..=3 {
            session.accept(now, &message(n)).expect("room");
        }
        session.resumed();
        assert!(!session.accept(now, &message(1)).expect("known").send);
        assert_eq!(
            session.accept(now, &message(9)).expect("room").envelope.seq,
            4
        );
        for seq in 1..=4 {
            session.receipt(seq);
        }
        assert_eq!(session.handled(), 2);
    }
}
