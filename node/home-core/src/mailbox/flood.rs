//! The flood: messages from the offline store on their way to a session, oldest first.

use entente_xmpp_core::jid::BareJid;

use super::{Copy, Mailbox, OnLoss, Targets, hand_out};
use crate::contract::{EnvelopeId, OfflineMessage, RequestId, SessionKey, StoreOp};
use crate::desk::{Desk, Purpose};
use crate::seen::Role;
use crate::stanzas;

/// Where a flood stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FloodPhase {
    /// A page was asked for.
    Loading,
    /// Enough is on its way; acks go on with it.
    Full,
    /// New messages are being written behind it.
    AwaitsWrites,
    /// The store failed; the timer goes on with it.
    Paused,
}

/// What a message that was read from the store is to us.
enum Met {
    New,
    /// Some session has it, or it is about to be deleted.
    OnTheWay,
    /// A copy is being written; the outcome tells.
    BeingWritten,
}

#[derive(Debug)]
pub(super) struct Flood {
    pub(super) session: SessionKey,
    pub(super) after: Option<u64>,
    pub(super) started_ms: u64,
    pub(super) phase: FloodPhase,
    /// Messages before the cursor lost their session: once more from the beginning.
    pub(super) again: bool,
    /// The page that was asked for.
    pub(super) request: Option<RequestId>,
}

impl Mailbox {
    /// Reads the stored messages for a session that became available.
    pub(crate) fn start_flood(&mut self, desk: &mut Desk, user: &BareJid, session: &SessionKey) {
        if self.flood.is_some() {
            return;
        }
        self.surprise = false;
        self.flood = Some(Flood {
            session: session.clone(),
            after: None,
            started_ms: desk.wall_ms,
            phase: FloodPhase::Loading,
            again: false,
            request: None,
        });
        self.load_page(desk, user);
    }

    /// The store has these messages. Those that this home did not write came from another one, too
    /// late for what was read when the user came here. `others`: sessions that take messages.
    pub(crate) fn found(
        &mut self,
        desk: &mut Desk,
        user: &BareJid,
        ids: &[EnvelopeId],
        others: &[SessionKey],
    ) {
        let ours = |id: &EnvelopeId| {
            self.removes.contains(id)
                || self.removing.contains(id)
                || self.pending.iter().any(|pending| pending.envelope == *id)
        };
        if ids.iter().all(ours) {
            return;
        }
        self.surprise = true;
        if let Some(flood) = &mut self.flood {
            // What was read may be from before.
            flood.again = true;
        } else if let Some(session) = others.first() {
            self.start_flood(desk, user, session);
        }
    }

    /// Reads the stored messages for a session after a pause.
    pub(super) fn pause_flood(&mut self, desk: &mut Desk, user: &BareJid, session: &SessionKey) {
        self.flood = Some(Flood {
            session: session.clone(),
            after: None,
            started_ms: desk.wall_ms,
            phase: FloodPhase::Paused,
            again: false,
            request: None,
        });
        // Short: a new home that reads the store sees what waits here.
        let at = desk.now + desk.config.limits.store_pause / 20;
        self.arm(desk, user, at);
    }

    pub(super) fn load_page(&mut self, desk: &mut Desk, user: &BareJid) {
        if let Some(flood) = &mut self.flood {
            flood.phase = FloodPhase::Loading;
            let op = StoreOp::LoadOffline {
                user: user.clone(),
                after: flood.after,
                limit: desk.config.limits.offline_page,
            };
            flood.request = Some(desk.store(user, Purpose::Flood, op));
        }
    }

    /// A page of stored messages came. `sessions`: those that take messages now.
    pub(crate) fn page(
        &mut self,
        desk: &mut Desk,
        user: &BareJid,
        request: RequestId,
        page: Vec<OfflineMessage>,
        sessions: &[SessionKey],
    ) {
        let Some(mut flood) = self.flood.take() else {
            return;
        };
        if flood.request.take_if(|mine| *mine == request).is_none() {
            // An answer to a flood that ended: the present one waits for its own.
            self.flood = Some(flood);
            return;
        }
        let last = page.len() < desk.config.limits.offline_page as usize;
        let mut stopped = false;
        for message in page {
            match self.meets(desk, &message.id) {
                Met::New => {}
                Met::OnTheWay => {
                    flood.after = Some(message.cursor);
                    continue;
                }
                // What stands behind it must not pass it.
                Met::BeingWritten => {
                    stopped = true;
                    break;
                }
            }
            flood.after = Some(message.cursor);
            // Another home may have stored what this one had already, or a third one.
            let print = desk.repeats.fingerprint(&message.stanza);
            if print.is_some_and(|print| {
                let repeats = &desk.repeats;
                repeats.has_other(message.stored_at_ms, print, &message.id)
            }) {
                self.delete(message.id);
                continue;
            }
            let targets: Targets =
                if message.stored_at_ms > flood.started_ms && !sessions.is_empty() {
                    sessions.iter().cloned().collect()
                } else {
                    std::iter::once(flood.session.clone()).collect()
                };
            // Should its holder send it again (it never heard that it was stored): it is in safe hands.
            desk.seen.meet(&message.id, Role::Recipient);
            desk.seen.done(&message.id, Role::Recipient);
            let stanza = stanzas::delayed(&message.stanza, user.domain(), message.stored_at_ms);
            let pending = self.push(desk, Some(message.id), stanza, targets, OnLoss::Store);
            pending.custody = false;
            pending.copy = Copy::Kept;
            pending.taken_at_ms = message.stored_at_ms;
            pending.held(desk);
            hand_out(desk, pending);
        }
        // Repeats that were found leave the store.
        self.flush(desk, user);
        if stopped {
            flood.phase = FloodPhase::AwaitsWrites;
            self.flood = Some(flood);
            return;
        }
        let writes_wait = self
            .pending
            .iter()
            .any(|p| matches!(p.copy, Copy::Queued | Copy::Writing));
        let full = self.pending.len() >= desk.config.limits.pending_per_user;
        flood.phase = match (last, writes_wait, full) {
            (true, true, _) => FloodPhase::AwaitsWrites,
            (true, false, _) if !flood.again => {
                // All that the store has is on its way; a count that was wrong is right now.
                self.surprise = false;
                self.stored = self.pending.iter().filter(|p| p.copy == Copy::Kept).count() as u64;
                return;
            }
            (_, _, true) => FloodPhase::Full,
            _ => {
                if last {
                    (flood.after, flood.again) = (None, false);
                }
                self.flood = Some(flood);
                return self.load_page(desk, user);
            }
        };
        if last && flood.again {
            (flood.after, flood.again) = (None, false);
        }
        self.flood = Some(flood);
    }

    /// A page could not be read.
    pub(crate) fn page_failed(&mut self, desk: &mut Desk, user: &BareJid, request: RequestId) {
        if let Some(flood) = &mut self.flood
            && flood.request.take_if(|mine| *mine == request).is_some()
        {
            flood.phase = FloodPhase::Paused;
            let at = desk.now + desk.config.limits.store_pause;
            self.arm(desk, user, at);
        }
    }

    /// What a message that was read from the store is to us. A message that came again, because its
    /// holder never heard that it was stored, is as good as stored.
    fn meets(&mut self, desk: &mut Desk, id: &EnvelopeId) -> Met {
        if self.removes.contains(id) || self.removing.contains(id) {
            return Met::OnTheWay;
        }
        let Some(at) = self
            .pending
            .iter()
            .position(|pending| pending.envelope == *id)
        else {
            return Met::New;
        };
        let pending = &mut self.pending[at];
        if pending.copy == Copy::Writing {
            return Met::BeingWritten;
        }
        pending.held(desk);
        if pending.copy == Copy::Kept {
            return Met::OnTheWay;
        }
        self.stored += 1;
        if !pending.targets.is_empty() {
            pending.copy = Copy::Kept;
            return Met::OnTheWay;
        }
        self.pending.remove(at);
        Met::New
    }

    pub(super) fn go_on(&mut self, desk: &mut Desk, user: &BareJid) {
        let Some(flood) = &self.flood else { return };
        let room = self.pending.len() <= desk.config.limits.pending_per_user / 2;
        match flood.phase {
            FloodPhase::Full if room => self.load_page(desk, user),
            FloodPhase::AwaitsWrites if self.writing.is_none() => self.load_page(desk, user),
            _ => {}
        }
    }

    /// A write has ended, and another one may have begun.
    pub(super) fn write_ended(&mut self, desk: &mut Desk, user: &BareJid) {
        let awaits = |flood: &Flood| flood.phase == FloodPhase::AwaitsWrites;
        if self.flood.as_ref().is_some_and(awaits) {
            self.load_page(desk, user);
        }
    }
}
