//! Messages in the hands of a user's home: those that wait for an ack of a session, and those on
//! their way into or out of the offline store.
//!
//! A message is given to sessions and waits. The first ack of any session ends custody. Without an
//! ack for two seconds a copy goes to the store, which ends custody too; a later ack removes it. When
//! the last session that had the message is gone, another one gets it, else the store.
//!
//! Order: while older messages are read from the store (the *flood*), new ones go to the store behind
//! them. One write at a time, so that a failed write can't be overtaken.

use std::collections::VecDeque;
use std::time::Instant;

use entente_xmpp_core::jid::BareJid;
use entente_xmpp_core::stanza::Stanza;
use smallvec::SmallVec;

use crate::contract::{
    DeliveryId, EnvelopeId, Output, RequestId, SessionKey, StoreOp, Write, WriteOutcome,
};
use crate::desk::{Desk, Purpose, Timer};
use crate::fingerprint::Fingerprint;
use crate::seen::Role;
use crate::stanzas;

mod flood;

use flood::{Flood, FloodPhase};

/// Sessions that get a message.
pub(crate) type Targets = SmallVec<[SessionKey; 2]>;

/// What becomes of a message that no session acks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnLoss {
    /// It is kept in the offline store.
    Store,
    /// It is worth nothing later (chat states, headlines).
    Drop,
    /// The sender hears of it (rooms, messages that must not be stored).
    Bounce,
}

/// Where the copy in the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copy {
    None,
    Queued,
    Writing,
    Kept,
}

#[derive(Debug)]
struct Pending {
    id: DeliveryId,
    /// The sender's, or our own if it came without.
    envelope: EnvelopeId,
    /// The holder waits for a receipt.
    custody: bool,
    /// Tells repeats of it, which share its fate.
    print: Option<Fingerprint>,
    stanza: Stanza,
    targets: Targets,
    on_loss: OnLoss,
    copy: Copy,
    /// A session acked while the copy was being written.
    acked: bool,
    /// A write failed that may have been done all the same: the store may have a copy.
    unsure: bool,
    /// It was given to other sessions once; the next loss ends at the store.
    moved: bool,
    taken_at_ms: u64,
    due: Option<Instant>,
}

impl Pending {
    /// Somebody has it for good: the store, or a client. Custody ends, that of its repeats as well.
    fn held(&mut self, desk: &mut Desk) {
        if std::mem::take(&mut self.custody) {
            desk.receipt(Some(self.envelope.clone()));
        }
        if let Some(print) = self.print {
            let (now, at) = (desk.wall_ms, self.taken_at_ms);
            for repeat in desk.repeats.held(now, print, &self.envelope, at) {
                desk.receipt(Some(repeat));
            }
        }
    }

    /// Custody ends, though nobody may ever have it: it was refused, or is worth nothing later.
    fn receipted(&mut self, desk: &mut Desk) {
        if std::mem::take(&mut self.custody) {
            desk.receipt(Some(self.envelope.clone()));
        }
        if let Some(print) = self.print {
            for repeat in desk.repeats.receipted(print, &self.envelope) {
                desk.receipt(Some(repeat));
            }
        }
    }

    /// It leaves without anybody who has it for good. Whoever still waits sends again.
    fn forgotten(&mut self, desk: &mut Desk) {
        if std::mem::take(&mut self.custody) {
            desk.retry(Some(self.envelope.clone()));
        }
        if let Some(print) = self.print {
            for repeat in desk.repeats.forget(print, &self.envelope) {
                desk.retry(Some(repeat));
            }
        }
    }
}

/// One user's messages under custody.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    /// In the order of arrival, so of their ids.
    pending: VecDeque<Pending>,
    /// Copies to be deleted.
    removes: VecDeque<EnvelopeId>,
    removing: Vec<EnvelopeId>,
    logout_ms: Option<u64>,
    writing: Option<RequestId>,
    /// Messages of this user in the store, as far as we know.
    stored: u64,
    /// The store may have more than that: somebody else wrote, or a flood did not end.
    surprise: bool,
    flood: Option<Flood>,
    armed: bool,
}

impl Mailbox {
    /// How many messages the store has, from the record.
    pub(crate) fn set_stored(&mut self, stored: u64) {
        self.stored = stored;
    }

    /// How many messages the store has.
    pub(crate) fn stored(&self) -> u64 {
        self.stored
    }

    /// Nothing waits: the user may leave memory.
    pub(crate) fn is_idle(&self) -> bool {
        self.pending.is_empty()
            && self.removes.is_empty()
            && self.writing.is_none()
            && self.flood.is_none()
            && self.logout_ms.is_none()
    }

    /// Whether the store has messages that are not on their way.
    pub(crate) fn has_backlog(&self) -> bool {
        let on_the_way = self.pending.iter().filter(|p| p.copy == Copy::Kept).count() as u64;
        self.surprise || self.stored > on_the_way
    }

    /// Gives a message to sessions, or behind the flood if one is going on.
    pub(crate) fn send(
        &mut self,
        desk: &mut Desk,
        user: &BareJid,
        envelope: Option<EnvelopeId>,
        stanza: Stanza,
        targets: Targets,
        on_loss: OnLoss,
    ) {
        if on_loss == OnLoss::Store {
            if self.flood.is_none() && self.pending.len() >= desk.config.limits.pending_per_user {
                // Clients that are too slow: the rest waits in the store.
                let session = targets.first().cloned();
                self.keep(desk, user, envelope, stanza);
                if let Some(session) = session {
                    self.flood = Some(Flood {
                        session,
                        after: None,
                        started_ms: desk.wall_ms,
                        phase: FloodPhase::Full,
                        again: false,
                        request: None,
                    });
                }
                return;
            }
            if self.flood.is_some() || self.older_ones_go_to_the_store() {
                return self.keep(desk, user, envelope, stanza);
            }
        } else if self.pending.len() >= desk.config.limits.pending_per_user {
            return desk.retry(envelope);
        }
        let due = desk.now + desk.config.limits.ack_wait;
        let pending = self.push(desk, envelope, stanza, targets, on_loss);
        pending.due = Some(due);
        hand_out(desk, pending);
        self.arm(desk, user, due);
    }

    /// Whether messages that no session has are being written. A session that came meanwhile gets
    /// them from the store, and what is newer must not be there before them.
    fn older_ones_go_to_the_store(&self) -> bool {
        self.writing.is_some()
            && self.pending.iter().any(|pending| {
                matches!(pending.copy, Copy::Queued | Copy::Writing)
                    && pending.targets.is_empty()
                    && !pending.acked
            })
    }

    /// Puts a message into the offline store.
    pub(crate) fn keep(
        &mut self,
        desk: &mut Desk,
        user: &BareJid,
        envelope: Option<EnvelopeId>,
        stanza: Stanza,
    ) {
        if self.pending.len() >= 2 * desk.config.limits.pending_per_user {
            return desk.retry(envelope);
        }
        self.push(desk, envelope, stanza, Targets::new(), OnLoss::Store)
            .copy = Copy::Queued;
        self.flush(desk, user);
    }

    /// Notes when the last session went, for XEP-0012.
    pub(crate) fn set_logout(&mut self, desk: &mut Desk, user: &BareJid) {
        self.logout_ms = Some(desk.wall_ms);
        self.flush(desk, user);
    }

    fn push(
        &mut self,
        desk: &mut Desk,
        envelope: Option<EnvelopeId>,
        stanza: Stanza,
        targets: Targets,
        on_loss: OnLoss,
    ) -> &mut Pending {
        let custody = envelope.is_some();
        let print = custody.then(|| desk.repeats.fingerprint(&stanza)).flatten();
        let envelope = envelope.unwrap_or_else(|| desk.own_envelope());
        if let Some(print) = print {
            desk.repeats.begin(print, &envelope);
        }
        self.pending.push_back(Pending {
            id: desk.delivery_id(),
            envelope,
            custody,
            print,
            stanza,
            targets,
            on_loss,
            copy: Copy::None,
            acked: false,
            unsure: false,
            moved: false,
            taken_at_ms: desk.wall_ms,
            due: None,
        });
        self.pending.back_mut().expect("just pushed")
    }

    /// A session has these messages.
    pub(crate) fn acked(&mut self, desk: &mut Desk, user: &BareJid, ids: &[DeliveryId]) {
        for id in ids {
            let Ok(at) = self.pending.binary_search_by_key(id, |pending| pending.id) else {
                continue;
            };
            let pending = &mut self.pending[at];
            pending.held(desk);
            if pending.copy == Copy::Writing {
                pending.acked = true;
                pending.targets.clear();
                continue;
            }
            match self.pending.remove(at) {
                Some(pending) if pending.copy == Copy::Kept => self.delete(pending.envelope),
                // Not among those counted, but perhaps there.
                Some(pending) if pending.unsure => self.removes.push_back(pending.envelope),
                _ => {}
            }
        }
        self.flush(desk, user);
        self.go_on(desk, user);
    }

    /// A session that is gone had this delivery all the same.
    pub(crate) fn acked_late(
        &mut self,
        desk: &mut Desk,
        user: &BareJid,
        id: DeliveryId,
        envelope: EnvelopeId,
    ) {
        if self.pending.binary_search_by_key(&id, |p| p.id).is_ok() {
            return self.acked(desk, user, &[id]);
        }
        let on_the_way = self.pending.iter().any(|p| p.envelope == envelope)
            || self.removes.contains(&envelope)
            || self.removing.contains(&envelope);
        if !on_the_way {
            // The store may have a copy. It counts until the next flood looks.
            self.removes.push_back(envelope);
            self.flush(desk, user);
        }
    }

    /// A session can't have these messages: `others` are the user's sessions that take messages.
    pub(crate) fn failed(
        &mut self,
        desk: &mut Desk,
        user: &BareJid,
        session: &SessionKey,
        ids: &[DeliveryId],
        others: &[SessionKey],
    ) {
        let mut stranded = false;
        for id in ids {
            if let Ok(at) = self.pending.binary_search_by_key(id, |pending| pending.id) {
                stranded |= self.lose(desk, user, at, session, others);
            }
        }
        let to_others = |flood: &Flood| flood.session != *session;
        if stranded
            && !self.flood.as_ref().is_some_and(to_others)
            && others.first() == Some(session)
        {
            // It would fail there again at once, and again: its edge node may be on its way out.
            self.pause_flood(desk, user, session);
        }
        self.after_loss(desk, user, stranded, others);
    }

    /// A session is gone: `others` are the user's remaining sessions that take messages.
    pub(crate) fn session_gone(
        &mut self,
        desk: &mut Desk,
        user: &BareJid,
        session: &SessionKey,
        others: &[SessionKey],
    ) {
        if self
            .flood
            .as_ref()
            .is_some_and(|flood| flood.session == *session)
        {
            self.flood = None;
            self.surprise = true;
        }
        let mut stranded = false;
        for pending in &self.pending {
            if pending.targets.contains(session) && pending.on_loss == OnLoss::Store {
                desk.strays.add(pending.id, user, &pending.envelope);
            }
        }
        for at in 0..self.pending.len() {
            stranded |= self.lose(desk, user, at, session, others);
        }
        self.after_loss(desk, user, stranded, others);
    }

    /// A session is there but takes no messages any more: what it was not given yet goes to others.
    pub(crate) fn session_away(
        &mut self,
        desk: &mut Desk,
        user: &BareJid,
        session: &SessionKey,
        others: &[SessionKey],
    ) {
        if self
            .flood
            .as_ref()
            .is_some_and(|flood| flood.session == *session)
        {
            self.flood = None;
            self.surprise = true;
            self.after_loss(desk, user, false, others);
        }
    }

    /// Takes a target away. True if a kept copy has no session any more.
    fn lose(
        &mut self,
        desk: &mut Desk,
        user: &BareJid,
        at: usize,
        session: &SessionKey,
        others: &[SessionKey],
    ) -> bool {
        let pending = &mut self.pending[at];
        let before = pending.targets.len();
        pending.targets.retain(|target| target != session);
        if pending.targets.len() == before || !pending.targets.is_empty() || pending.acked {
            return false;
        }
        if pending.copy != Copy::None {
            return true;
        }
        if !pending.moved && others.iter().any(|other| other != session) {
            pending.moved = true;
            pending.targets = others
                .iter()
                .filter(|other| *other != session)
                .cloned()
                .collect();
            let due = desk.now + desk.config.limits.ack_wait;
            pending.due.get_or_insert(due);
            hand_out(desk, pending);
            let due = pending.due.unwrap_or(due);
            self.arm(desk, user, due);
            return false;
        }
        match pending.on_loss {
            OnLoss::Store => {
                // Those before it wait for acks that may never come; the store must not have it first.
                for earlier in self.pending.iter_mut().take(at + 1) {
                    if earlier.copy == Copy::None && earlier.on_loss == OnLoss::Store {
                        earlier.copy = Copy::Queued;
                    }
                }
            }
            // Marked here, dropped in `after_loss`.
            OnLoss::Drop | OnLoss::Bounce => pending.acked = true,
        }
        false
    }

    fn after_loss(
        &mut self,
        desk: &mut Desk,
        user: &BareJid,
        stranded: bool,
        others: &[SessionKey],
    ) {
        self.pending.retain_mut(|pending| {
            if pending.copy == Copy::None && pending.acked {
                if pending.on_loss == OnLoss::Bounce
                    && let Some(error) = stanzas::undeliverable(&pending.stanza)
                {
                    desk.route(None, error);
                }
                pending.receipted(desk);
                pending.forgotten(desk);
                return false;
            }
            pending.copy != Copy::Kept || !pending.targets.is_empty()
        });
        self.flush(desk, user);
        if stranded || self.has_backlog() {
            if let Some(flood) = &mut self.flood {
                flood.again |= stranded;
            } else if let Some(session) = others.first() {
                self.start_flood(desk, user, session);
            }
        }
        self.go_on(desk, user);
    }

    fn delete(&mut self, id: EnvelopeId) {
        self.stored = self.stored.saturating_sub(1);
        self.removes.push_back(id);
    }

    /// Writes what waits, one store operation at a time.
    fn flush(&mut self, desk: &mut Desk, user: &BareJid) {
        if self.writing.is_some() {
            return;
        }
        let batch = desk.config.limits.write_batch;
        let mut writes = Vec::new();
        for pending in self
            .pending
            .iter_mut()
            .filter(|p| p.copy == Copy::Queued)
            .take(batch)
        {
            pending.copy = Copy::Writing;
            writes.push(Write::PutOffline {
                user: user.clone(),
                id: pending.envelope.clone(),
                stanza: pending.stanza.clone(),
                stored_at_ms: pending.taken_at_ms,
            });
        }
        while writes.len() < batch
            && let Some(id) = self.removes.pop_front()
        {
            self.removing.push(id.clone());
            writes.push(Write::RemoveOffline {
                user: user.clone(),
                id,
            });
        }
        if let Some(at_ms) = self.logout_ms.take() {
            writes.push(Write::SetLastLogout {
                user: user.clone(),
                at_ms,
            });
        }
        if !writes.is_empty() {
            self.writing = Some(desk.store(user, Purpose::Mailbox, StoreOp::Write(writes)));
        }
    }

    /// The store did as asked. `others`: sessions that take messages now.
    pub(crate) fn written(
        &mut self,
        desk: &mut Desk,
        user: &BareJid,
        request: RequestId,
        outcomes: &[WriteOutcome],
        others: &[SessionKey],
    ) {
        if self.writing != Some(request) {
            return;
        }
        self.writing = None;
        self.removing.clear();
        let again = desk.now + desk.config.limits.ack_wait;
        let mut outcomes = outcomes.iter().copied();
        let mut rearm = false;
        let (mut stored, mut deletes) = (0, Vec::new());
        self.pending.retain_mut(|pending| {
            if pending.copy != Copy::Writing {
                return true;
            }
            match outcomes.next().unwrap_or(WriteOutcome::Done) {
                WriteOutcome::Done => {
                    stored += 1;
                    pending.copy = Copy::Kept;
                    pending.held(desk);
                    if pending.acked {
                        deletes.push(pending.envelope.clone());
                    }
                    !pending.acked && !pending.targets.is_empty()
                }
                WriteOutcome::Full | WriteOutcome::NoSuchUser if pending.targets.is_empty() => {
                    if !pending.acked
                        && let Some(error) = stanzas::undeliverable(&pending.stanza)
                    {
                        desk.route(None, error);
                    }
                    pending.receipted(desk);
                    pending.forgotten(desk);
                    false
                }
                WriteOutcome::Full | WriteOutcome::NoSuchUser => {
                    // A session still has it: no room for an insurance, so its ack is waited for.
                    pending.copy = Copy::None;
                    pending.due = Some(again);
                    rearm = true;
                    true
                }
            }
        });
        self.stored += stored;
        for id in deletes {
            self.delete(id);
        }
        if rearm {
            self.arm(desk, user, again);
        }
        self.flush(desk, user);
        if self.flood.is_none()
            && self.has_backlog()
            && let Some(session) = others.first()
        {
            // It was stored for want of a session, and now there is one.
            self.start_flood(desk, user, session);
        }
        self.write_ended(desk, user);
        self.go_on(desk, user);
    }

    /// The store did not write. Messages that only the store could take go back to their holders,
    /// those behind them too, so that order holds.
    pub(crate) fn write_failed(&mut self, desk: &mut Desk, user: &BareJid, request: RequestId) {
        if self.writing != Some(request) {
            return;
        }
        self.writing = None;
        let again = desk.now + desk.config.limits.store_pause;
        for id in std::mem::take(&mut self.removing).into_iter().rev() {
            self.removes.push_front(id);
        }
        self.removes
            .truncate(2 * desk.config.limits.pending_per_user);
        let mut perhaps_stored = 0;
        self.pending.retain_mut(|pending| {
            if !matches!(pending.copy, Copy::Queued | Copy::Writing) {
                return true;
            }
            pending.unsure |= pending.copy == Copy::Writing;
            if pending.acked {
                // The write may have been done all the same.
                self.removes.push_back(pending.envelope.clone());
                return false;
            }
            if pending.targets.is_empty() {
                if pending.custody {
                    pending.forgotten(desk);
                    perhaps_stored += u64::from(pending.unsure);
                    return false;
                }
                pending.copy = Copy::None;
                pending.due = Some(again);
                return true;
            }
            pending.copy = Copy::None;
            pending.due = Some(again);
            true
        });
        // Makes the next flood look; it corrects the count.
        self.stored += perhaps_stored;
        self.arm(desk, user, again);
        self.write_ended(desk, user);
        self.go_on(desk, user);
    }

    /// The timer fired: insurance copies, and whatever the store refused before.
    pub(crate) fn timer(&mut self, desk: &mut Desk, user: &BareJid) {
        self.armed = false;
        let mut next: Option<Instant> = None;
        for pending in &mut self.pending {
            let Some(due) = pending.due else { continue };
            if due > desk.now {
                next = Some(next.map_or(due, |next| next.min(due)));
                continue;
            }
            pending.due = None;
            if pending.on_loss == OnLoss::Store {
                if pending.copy == Copy::None {
                    pending.copy = Copy::Queued;
                }
            } else {
                // Nothing to insure: the edge session has it and goes on trying.
                pending.receipted(desk);
            }
        }
        self.flush(desk, user);
        if self
            .flood
            .as_ref()
            .is_some_and(|flood| flood.phase == FloodPhase::Paused)
        {
            self.load_page(desk, user);
        }
        if let Some(next) = next {
            self.arm(desk, user, next);
        }
    }

    /// The user has another home: un-receipted envelopes go back to their holders.
    pub(crate) fn release(self, desk: &mut Desk) {
        for mut pending in self.pending {
            if !pending.custody {
                desk.seen.forget(&pending.envelope, Role::Recipient);
            }
            pending.forgotten(desk);
        }
    }

    /// The account is gone: senders hear of what was not delivered.
    pub(crate) fn abandon(self, desk: &mut Desk) {
        for mut pending in self.pending {
            if pending.custody
                && let Some(error) = stanzas::undeliverable(&pending.stanza)
            {
                desk.route(None, error);
            }
            pending.receipted(desk);
            pending.forgotten(desk);
        }
    }

    fn arm(&mut self, desk: &mut Desk, user: &BareJid, at: Instant) {
        if !std::mem::replace(&mut self.armed, true) {
            desk.arm(at, Timer::Mailbox(user.clone()));
        }
    }
}

fn hand_out(desk: &mut Desk, pending: &Pending) {
    for session in &pending.targets {
        desk.outputs.push_back(Output::ToSession {
            session: session.clone(),
            delivery: Some(pending.id),
            envelope: Some(pending.envelope.clone()),
            stanza: pending.stanza.clone(),
        });
    }
}
