//! A user in its home: record, sessions, messages, and the order in which inputs are dealt with.

use std::collections::VecDeque;
use std::time::Instant;

use entente_xmpp_core::error::StanzaCondition;
use entente_xmpp_core::jid::{BareJid, Jid};
use entente_xmpp_core::stanza::Stanza;
use entente_xmpp_core::stanza::{IqType, PresenceType, StanzaType};

use crate::blocklist::BlockList;
use crate::contract::{
    BindError, EndReason, EnvelopeId, Input, Output, PendingIn, RequestId, SessionKey, StoreOp,
    UserRecord, Write, WriteOutcome,
};
use crate::desk::{Desk, Purpose, Timer};
use crate::mailbox::Mailbox;
use crate::roster::Roster;
use crate::session::Session;
use crate::stanzas;

/// Whether the user can be served now.
#[derive(Debug)]
pub(crate) enum Phase {
    /// The record is being read.
    Loading(RequestId),
    /// The record could not be read; a timer tries again.
    Unread,
    /// There is no such account.
    Unknown,
    /// The record is in memory.
    Ready,
    /// A change is being written; its consequences wait.
    Committing {
        request: RequestId,
        held: Vec<Output>,
        undo: Box<Undo>,
    },
}

/// What to say if a change can't be written.
#[derive(Debug, Default)]
pub(crate) struct Undo {
    pub(crate) envelope: Option<EnvelopeId>,
    /// The session that asked, and what.
    pub(crate) request: Option<(SessionKey, Stanza)>,
}

/// One user of this home.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) jid: BareJid,
    pub(crate) phase: Phase,
    /// Inputs that wait for `Ready`, oldest first.
    queue: VecDeque<Input>,
    pub(crate) roster: Roster,
    pub(crate) pending_in: Vec<PendingIn>,
    pub(crate) blocked: BlockList,
    pub(crate) last_logout_ms: Option<u64>,
    pub(crate) sessions: Vec<Session>,
    pub(crate) mailbox: Mailbox,
    /// Until then there may be sessions that have not registered yet.
    unsettled_until: Option<Instant>,
    /// Changes made by the input at hand.
    pub(crate) writes: Vec<Write>,
    /// What to say if they fail.
    pub(crate) undo: Undo,
    /// Last use; decides when an idle user leaves.
    pub(crate) used: Instant,
    pub(crate) idle_armed: bool,
    /// Waits in the desk's list of users whose contacts are to be probed.
    pub(crate) probes_queued: bool,
}

impl User {
    /// A user that is not in memory yet: the record is asked for.
    pub(crate) fn load(jid: BareJid, desk: &mut Desk) -> Self {
        let mut user = Self {
            jid,
            phase: Phase::Unknown,
            queue: VecDeque::new(),
            roster: Roster::default(),
            pending_in: Vec::new(),
            blocked: BlockList::default(),
            last_logout_ms: None,
            sessions: Vec::new(),
            mailbox: Mailbox::default(),
            unsettled_until: desk.unsettled_until.filter(|at| *at > desk.now),
            writes: Vec::new(),
            undo: Undo::default(),
            used: desk.now,
            idle_armed: false,
            probes_queued: false,
        };
        if let Some(at) = user.unsettled_until {
            desk.arm(at, Timer::Settled(user.jid.clone()));
        }
        user.read(desk);
        user
    }

    /// Whether an input waits for sessions that may register: to one whose session did not, a message
    /// would look like one for somebody who is away. The homes changed a moment ago.
    fn awaits_sessions(&self, desk: &Desk, input: &Input) -> bool {
        matches!(input, Input::ToUser { .. })
            && self.unsettled_until.is_some_and(|at| desk.now < at)
            && !self.sessions.iter().any(Session::takes_messages)
    }

    fn read(&mut self, desk: &mut Desk) {
        let op = StoreOp::Load {
            user: self.jid.clone(),
        };
        self.phase = Phase::Loading(desk.store(&self.jid, Purpose::Load, op));
    }

    /// Nothing keeps the user in memory.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Ready | Phase::Unknown)
            && self.sessions.is_empty()
            && self.queue.is_empty()
            && self.mailbox.is_idle()
    }

    /// Deals with an input, or queues it behind what waits.
    pub(crate) fn take(&mut self, desk: &mut Desk, input: Input) {
        self.used = desk.now;
        if matches!(self.phase, Phase::Unknown)
            && matches!(input, Input::Bind { .. } | Input::Register { .. })
        {
            // An account made a moment ago.
            self.read(desk);
        }
        let ready = matches!(self.phase, Phase::Ready | Phase::Unknown);
        let waits = self.awaits_sessions(desk, &input);
        // What waits for sessions must not hold up what makes them known.
        let held_up = self
            .queue
            .front()
            .is_some_and(|first| !self.awaits_sessions(desk, first));
        if ready && !waits && !held_up {
            self.deal(desk, input);
            return self.catch_up(desk);
        }
        // Ends and registrations are bounded by the number of sessions and must not get lost.
        let must_wait = matches!(input, Input::SessionEnded { .. } | Input::Register { .. });
        if must_wait || self.queue.len() < desk.config.limits.queue_per_user {
            self.queue.push_back(input);
        } else {
            refuse(desk, input, StanzaCondition::ResourceConstraint);
        }
    }

    /// Goes on with the queue as far as possible.
    pub(crate) fn catch_up(&mut self, desk: &mut Desk) {
        while matches!(self.phase, Phase::Ready | Phase::Unknown) {
            let next = self
                .queue
                .iter()
                .position(|input| !self.awaits_sessions(desk, input));
            let Some(input) = next.and_then(|at| self.queue.remove(at)) else {
                return;
            };
            self.deal(desk, input);
        }
    }

    fn deal(&mut self, desk: &mut Desk, input: Input) {
        if matches!(self.phase, Phase::Unknown) {
            return no_such_user(desk, &self.jid, input);
        }
        let mark = desk.outputs.len();
        match input {
            Input::FromClient {
                session,
                envelope,
                stanza,
            } => self.client_sent(desk, &session, envelope, stanza),
            Input::ToUser { envelope, stanza } => self.stanza_received(desk, envelope, stanza),
            Input::Bind {
                session,
                resource,
                request,
                ..
            } => self.bind(desk, session, resource, request),
            Input::Register { session, snapshot } => self.register(desk, session, snapshot),
            Input::SessionEnded { session, .. } => self.session_ended(desk, &session),
            _ => unreachable!("the shard passes only inputs of one user"),
        }
        if !self.writes.is_empty() {
            self.commit(desk, mark);
        }
        self.undo = Undo::default();
    }

    /// Holds back what the input at hand put out until its changes are durable.
    fn commit(&mut self, desk: &mut Desk, mark: usize) {
        let mut held = Vec::new();
        let mut at_once = Vec::new();
        for output in desk.outputs.drain(mark..) {
            match output {
                Output::Store { .. } => at_once.push(output),
                _ => held.push(output),
            }
        }
        desk.outputs.extend(at_once);
        let op = StoreOp::Write(std::mem::take(&mut self.writes));
        let request = desk.store(&self.jid, Purpose::Commit, op);
        self.phase = Phase::Committing {
            request,
            held,
            undo: Box::new(std::mem::take(&mut self.undo)),
        };
    }

    /// The change is durable: its consequences follow. False: the account is gone.
    pub(crate) fn committed(
        &mut self,
        desk: &mut Desk,
        request: RequestId,
        outcomes: &[WriteOutcome],
    ) -> bool {
        match std::mem::replace(&mut self.phase, Phase::Ready) {
            Phase::Committing {
                request: mine,
                held,
                ..
            } if mine == request => {
                if outcomes.contains(&WriteOutcome::NoSuchUser) {
                    return false;
                }
                desk.outputs.extend(held);
                self.catch_up(desk);
            }
            other => self.phase = other,
        }
        true
    }

    /// The change may or may not be durable: whoever asked must try again, and the record is read anew.
    pub(crate) fn commit_failed(&mut self, desk: &mut Desk, request: RequestId) {
        match std::mem::replace(&mut self.phase, Phase::Ready) {
            Phase::Committing {
                request: mine,
                undo,
                ..
            } if mine == request => {
                match undo.request {
                    Some((session, iq)) => {
                        if let Some(error) =
                            stanzas::refused(&iq, StanzaCondition::ResourceConstraint)
                        {
                            desk.tell(&session, error);
                        }
                        desk.receipt(undo.envelope);
                    }
                    None => desk.retry(undo.envelope),
                }
                self.read(desk);
            }
            other => self.phase = other,
        }
    }

    /// The record came.
    pub(crate) fn loaded(
        &mut self,
        desk: &mut Desk,
        request: RequestId,
        record: Option<UserRecord>,
    ) {
        if !matches!(self.phase, Phase::Loading(mine) if mine == request) {
            return;
        }
        match record {
            None => self.phase = Phase::Unknown,
            Some(record) => {
                self.roster = Roster::new(record.roster, record.roster_version);
                self.pending_in = record.pending_in;
                self.blocked = BlockList::new(record.blocked);
                self.last_logout_ms = record.last_logout_ms;
                self.mailbox.set_stored(record.offline_count);
                self.phase = Phase::Ready;
            }
        }
        self.catch_up(desk);
    }

    /// The record can't be read now. Sessions stay and wait for another try; others are sent back.
    pub(crate) fn load_failed(&mut self, desk: &mut Desk, request: RequestId) {
        if !matches!(self.phase, Phase::Loading(mine) if mine == request) {
            return;
        }
        self.phase = Phase::Unread;
        for input in std::mem::take(&mut self.queue) {
            match input {
                Input::Register { .. } | Input::SessionEnded { .. } => self.queue.push_back(input),
                other => refuse(desk, other, StanzaCondition::ResourceConstraint),
            }
        }
        let at = desk.now + desk.config.limits.store_pause;
        desk.arm(at, Timer::Reload(self.jid.clone()));
    }

    /// Time to read again. False: nobody needs it any more.
    pub(crate) fn reload(&mut self, desk: &mut Desk) -> bool {
        if !matches!(self.phase, Phase::Unread) {
            return true;
        }
        if self.sessions.is_empty() && self.queue.is_empty() && self.mailbox.is_idle() {
            return false;
        }
        self.read(desk);
        true
    }

    /// Everything that waits goes back to its holders; sessions register at the new home.
    pub(crate) fn release(mut self, desk: &mut Desk) {
        if let Phase::Committing { undo, .. } = std::mem::replace(&mut self.phase, Phase::Unread) {
            desk.retry(undo.envelope);
        }
        for input in self.queue {
            match input {
                // The edge node registers it at the new home.
                Input::Register { session, .. } => _ = desk.sessions.remove(&session),
                other => refuse(desk, other, StanzaCondition::ResourceConstraint),
            }
        }
        for session in &self.sessions {
            desk.sessions.remove(&session.key);
        }
        self.mailbox.release(desk);
    }

    /// The account was deleted.
    pub(crate) fn remove(mut self, desk: &mut Desk) {
        if let Phase::Committing { undo, .. } = std::mem::replace(&mut self.phase, Phase::Ready) {
            desk.receipt(undo.envelope);
        }
        while let Some(session) = self.sessions.pop() {
            desk.sessions.remove(&session.key);
            self.say_unavailable(desk, &session);
            desk.outputs.push_back(Output::EndSession {
                session: session.key,
                reason: EndReason::AccountRemoved,
            });
        }
        for item in self.roster.iter() {
            let contact: &Jid = &item.jid;
            if item.subscription.seen_by_contact() {
                desk.route(
                    None,
                    stanzas::presence(PresenceType::Unsubscribed, &self.jid, contact),
                );
            }
            if item.subscription.sees_contact() || item.ask {
                desk.route(
                    None,
                    stanzas::presence(PresenceType::Unsubscribe, &self.jid, contact),
                );
            }
        }
        for input in self.queue {
            no_such_user(desk, &self.jid, input);
        }
        self.mailbox.abandon(desk);
    }

    /// Sessions that take messages to the bare JID.
    pub(crate) fn takers(&self) -> Vec<SessionKey> {
        self.sessions
            .iter()
            .filter(|session| session.takes_messages())
            .map(|session| session.key.clone())
            .collect()
    }

    pub(crate) fn session(&mut self, key: &SessionKey) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|session| session.key == *key)
    }

    /// Whether this address sees the user's presence.
    pub(crate) fn is_seen_by(&self, other: &Jid) -> bool {
        other.bare_str() == self.jid.as_str()
            || self
                .roster
                .get(other.bare_str())
                .is_some_and(|item| item.subscription.seen_by_contact())
    }
}

/// Not taken: overload, or the store is away. Holders try again.
pub(crate) fn refuse(desk: &mut Desk, input: Input, condition: StanzaCondition) {
    match input {
        Input::FromClient { envelope, .. }
        | Input::ToUser {
            envelope: Some(envelope),
            ..
        } => {
            desk.retry(Some(envelope));
        }
        Input::ToUser {
            envelope: None,
            stanza,
        } => {
            if let Some(error) = stanzas::refused(&stanza, condition) {
                desk.route(None, error);
            }
        }
        Input::Bind {
            session, request, ..
        } => {
            desk.outputs.push_back(Output::BindResult {
                session,
                request,
                result: Err(BindError::Unavailable),
            });
        }
        Input::Register { session, .. } => {
            desk.sessions.remove(&session);
            desk.outputs.push_back(Output::EndSession {
                session,
                reason: EndReason::Refused,
            });
        }
        _ => {}
    }
}

/// RFC 6121 section 8.5.1. The answers are those of an account that keeps its presence to itself.
fn no_such_user(desk: &mut Desk, user: &BareJid, input: Input) {
    match input {
        Input::ToUser { envelope, stanza } => {
            let answer = match stanza.stanza_type() {
                StanzaType::Message(_) | StanzaType::Iq(IqType::Get | IqType::Set) => {
                    stanzas::undeliverable(&stanza)
                }
                StanzaType::Presence(PresenceType::Probe) => stanza
                    .from()
                    .map(|from| stanzas::presence(PresenceType::Unsubscribed, user, from)),
                _ => None,
            };
            if let Some(answer) = answer {
                desk.route(None, answer);
            }
            desk.receipt(envelope);
        }
        Input::FromClient { envelope, .. } => desk.receipt(Some(envelope)),
        Input::Bind {
            session, request, ..
        } => {
            desk.outputs.push_back(Output::BindResult {
                session,
                request,
                result: Err(BindError::NoSuchUser),
            });
        }
        Input::Register { session, .. } => {
            desk.sessions.remove(&session);
            desk.outputs.push_back(Output::EndSession {
                session,
                reason: EndReason::AccountRemoved,
            });
        }
        _ => {}
    }
}
