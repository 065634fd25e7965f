//! A home shard: many users, one thread of decisions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use entente_xmpp_core::error::StanzaCondition;
use entente_xmpp_core::jid::BareJid;
use hashbrown::HashMap;

use crate::config::HomeConfig;
use crate::contract::{
    DeliveryId, Input, Output, RequestId, SessionEndReason, SessionKey, StoreAnswer,
};
use crate::desk::{Desk, Purpose, Timer};
use crate::domain;
use crate::user::{User, refuse};

/// The users that one home shard serves.
///
/// Feed it with [`handle_input`](Self::handle_input), then drain [`poll_output`](Self::poll_output);
/// call it with [`Input::Timeout`] at [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct HomeShard {
    users: HashMap<BareJid, Box<User>>,
    desk: Desk,
}

impl HomeShard {
    /// An empty shard.
    pub fn new(config: HomeConfig) -> Self {
        Self {
            users: HashMap::new(),
            desk: Desk::new(config),
        }
    }

    /// The settings.
    pub fn config(&self) -> &Arc<HomeConfig> {
        &self.desk.config
    }

    /// Users in memory, in no order; for [`Input::Release`].
    pub fn users(&self) -> impl Iterator<Item = &BareJid> {
        self.users.keys()
    }

    /// Sessions bound or registered here.
    pub fn session_count(&self) -> usize {
        self.desk.sessions.len()
    }

    /// Next output, in order; `None` when there is no more.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.desk.outputs.pop_front()
    }

    /// When to come back with [`Input::Timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.desk.next_deadline()
    }

    /// Takes an input. `now` never goes back; `wall_ms` is Unix time in milliseconds.
    pub fn handle_input(&mut self, now: Instant, wall_ms: u64, input: Input) {
        self.desk.now = now;
        self.desk.wall_ms = wall_ms;
        match input {
            Input::FromClient { ref session, .. } => match self.desk.sessions.get(session).cloned()
            {
                Some(user) => self.give(user, input),
                // The home is new and the edge node has not registered the session yet.
                None => refuse(&mut self.desk, input, StanzaCondition::ResourceConstraint),
            },
            Input::ToUser { ref stanza, .. } => match stanza.to().map(|to| to.to_bare()) {
                Some(user) => self.give(user, input),
                None => refuse(&mut self.desk, input, StanzaCondition::JidMalformed),
            },
            Input::Bounced { stanza } => self.handle_input(
                now,
                wall_ms,
                Input::ToUser {
                    envelope: None,
                    stanza,
                },
            ),
            Input::Bind { ref user, .. } => self.give(user.clone(), input),
            Input::Register {
                ref session,
                ref snapshot,
            } => {
                let user = snapshot.full.to_bare();
                // Known from now on, so that what the client sends meanwhile waits behind.
                self.desk.sessions.insert(session.clone(), user.clone());
                self.give(user, input);
            }
            Input::SessionEnded { ref session, .. } => {
                if let Some(user) = self.desk.sessions.get(session).cloned() {
                    self.give(user, input);
                }
            }
            Input::Delivered { session, ids } if self.desk.sessions.contains_key(&session) => {
                self.with_session(&session, |user, desk| {
                    user.mailbox.acked(desk, &user.jid, &ids);
                });
            }
            Input::Delivered { ids, .. } => self.delivered_late(&ids),
            Input::DeliveryFailed { session, ids } => self.with_session(&session, |user, desk| {
                let takers = user.takers();
                user.mailbox
                    .failed(desk, &user.jid, &session, &ids, &takers);
            }),
            Input::EdgeLost { edge, epoch } => self.edge_lost(&edge, epoch),
            Input::Release { users } => {
                for user in users {
                    if let Some(user) = self.users.remove(&user) {
                        user.release(&mut self.desk);
                    }
                }
            }
            Input::HomesChanged => {
                self.desk.unsettled_until = Some(now + self.desk.config.limits.takeover_wait);
            }
            Input::Stored { user, ids } => {
                if let Some(known) = self.users.get_mut(&user) {
                    let takers = known.takers();
                    known.mailbox.found(&mut self.desk, &user, &ids, &takers);
                }
            }
            Input::Store { request, answer } => self.store_answered(request, answer),
            Input::Timeout => self.run_timers(),
            Input::AccountRemoved { user } => self.remove_account(&user),
        }
    }

    /// Passes an input to its user, who is loaded if need be.
    fn give(&mut self, jid: BareJid, input: Input) {
        if jid.is_domain() {
            return self.domain_input(input);
        }
        let desk = &mut self.desk;
        if let Some(user) = self.users.get_mut(&jid) {
            user.take(desk, input);
        } else {
            if self.users.len() >= desk.config.limits.users {
                return refuse(desk, input, StanzaCondition::ResourceConstraint);
            }
            let mut user = Box::new(User::load(jid.clone(), desk));
            user.take(desk, input);
            self.users.insert(jid.clone(), user);
        }
        self.watch_idle(&jid);
    }

    fn domain_input(&mut self, input: Input) {
        let desk = &mut self.desk;
        match input {
            Input::ToUser { envelope, stanza } => {
                if let Some(answer) = domain::answer(&desk.config, desk.now, desk.wall_ms, &stanza)
                {
                    desk.route(None, answer);
                }
                desk.receipt(envelope);
            }
            other => refuse(desk, other, StanzaCondition::ServiceUnavailable),
        }
    }

    fn with_session(&mut self, session: &SessionKey, act: impl FnOnce(&mut User, &mut Desk)) {
        let Some(jid) = self.desk.sessions.get(session) else {
            return;
        };
        if let Some(user) = self.users.get_mut(jid) {
            act(user, &mut self.desk);
        }
    }

    /// Reports of a session that is over here.
    fn delivered_late(&mut self, ids: &[DeliveryId]) {
        for id in ids {
            if let Some((jid, envelope)) = self.desk.strays.take(*id)
                && let Some(user) = self.users.get_mut(&jid)
            {
                user.mailbox.acked_late(&mut self.desk, &jid, *id, envelope);
            }
        }
    }

    fn edge_lost(&mut self, edge: &str, epoch: u64) {
        let lost = self
            .desk
            .sessions
            .iter()
            .filter(|(key, _)| *key.edge == *edge && key.epoch <= epoch);
        let mut lost: Vec<(SessionKey, BareJid)> = lost
            .map(|(key, user)| (key.clone(), user.clone()))
            .collect();
        // The map's order is not ours to show.
        lost.sort();
        for (session, jid) in lost {
            let full = self.users.get(&jid).and_then(|user| {
                user.sessions
                    .iter()
                    .find(|known| known.key == session)
                    .map(|known| known.full.clone())
            });
            // A session that still waits in the queue ends behind its registration.
            let full = full.or_else(|| jid.with_resource("lost").ok());
            if let Some(full) = full {
                self.give(
                    jid,
                    Input::SessionEnded {
                        session,
                        full,
                        reason: SessionEndReason::Lost,
                    },
                );
            }
        }
    }

    fn store_answered(&mut self, request: RequestId, answer: StoreAnswer) {
        let Some((jid, purpose)) = self.desk.requests.remove(&request) else {
            return;
        };
        let desk = &mut self.desk;
        let Some(user) = self.users.get_mut(&jid) else {
            return;
        };
        let mut gone = false;
        match (purpose, answer) {
            (Purpose::Load, StoreAnswer::Loaded(record)) => user.loaded(desk, request, record),
            (Purpose::Load, _) => user.load_failed(desk, request),
            (Purpose::Commit, StoreAnswer::Written(outcomes)) => {
                gone = !user.committed(desk, request, &outcomes)
            }
            (Purpose::Commit, _) => user.commit_failed(desk, request),
            (Purpose::Mailbox, StoreAnswer::Written(outcomes)) => {
                let takers = user.takers();
                user.mailbox
                    .written(desk, &jid, request, &outcomes, &takers);
            }
            (Purpose::Mailbox, _) => user.mailbox.write_failed(desk, &jid, request),
            (Purpose::Flood, StoreAnswer::Offline(page)) => {
                let takers = user.takers();
                user.mailbox.page(desk, &jid, request, page, &takers);
            }
            (Purpose::Flood, _) => user.mailbox.page_failed(desk, &jid, request),
        }
        if gone {
            return self.remove_account(&jid);
        }
        self.watch_idle(&jid);
    }

    fn remove_account(&mut self, jid: &BareJid) {
        if let Some(user) = self.users.remove(jid) {
            user.remove(&mut self.desk);
        }
    }

    fn run_timers(&mut self) {
        while let Some(timer) = self.desk.due() {
            match timer {
                Timer::Mailbox(jid) => {
                    if let Some(user) = self.users.get_mut(&jid) {
                        user.mailbox.timer(&mut self.desk, &jid);
                    }
                }
                Timer::Reload(jid) => {
                    if self
                        .users
                        .get_mut(&jid)
                        .is_some_and(|user| !user.reload(&mut self.desk))
                    {
                        self.users.remove(&jid);
                    }
                }
                Timer::Settled(jid) => {
                    if let Some(user) = self.users.get_mut(&jid) {
                        user.catch_up(&mut self.desk);
                        self.watch_idle(&jid);
                    }
                }
                Timer::Idle(jid) => {
                    if let Some(user) = self.users.get_mut(&jid) {
                        user.idle_armed = false;
                        let stay = idle_time(user, &self.desk);
                        if user.is_idle() && self.desk.now >= user.used + stay {
                            self.users.remove(&jid);
                        } else {
                            self.watch_idle(&jid);
                        }
                    }
                }
                Timer::Probes => self.probe(),
            }
        }
    }

    /// A second's worth of probes, in tenths so that peers see no bursts.
    fn probe(&mut self) {
        let mut left = i64::from((self.desk.config.limits.probes_per_second / 10).max(1));
        while left > 0
            && let Some(jid) = self.desk.probes.pop_front()
        {
            let Some(user) = self.users.get_mut(&jid) else {
                continue;
            };
            user.probes_queued = false;
            left -= i64::from(user.probe_contacts(&mut self.desk));
        }
        if !self.desk.probes.is_empty() {
            // A long roster takes its time before the next user's turn.
            let tenths = 1 + left.unsigned_abs()
                / u64::from((self.desk.config.limits.probes_per_second / 10).max(1));
            let at = self.desk.now + Duration::from_millis(100 * tenths);
            self.desk.arm(at, Timer::Probes);
        }
    }

    /// Sees to it that a user who needs nothing leaves memory some time.
    fn watch_idle(&mut self, jid: &BareJid) {
        let Some(user) = self.users.get_mut(jid) else {
            return;
        };
        if user.is_idle() && !user.idle_armed {
            user.idle_armed = true;
            let at = user.used.max(self.desk.now) + idle_time(user, &self.desk);
            self.desk.arm(at, Timer::Idle(jid.clone()));
        }
    }
}

fn idle_time(user: &User, desk: &Desk) -> Duration {
    match user.phase {
        crate::user::Phase::Unknown => desk.config.limits.unknown_user,
        _ => desk.config.limits.idle_user,
    }
}
