//! The sessions that are open between the two users. A user may have several endpoints, and each of them
//! may open one; dialogs are told apart by Call-ID and tags (RFC 3261 section 12).

use std::time::{Duration, Instant};

use super::SessionTimer;
use crate::dialog::{Dialog, Head};
use crate::reply::Reply;
use crate::usage::{RequestId, SendId};

/// An established session.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) dialog: Dialog,
    /// The INVITE of ours that made it; further 2xx of it are acknowledged.
    pub(super) invited: Option<(SendId, u32)>,
    /// Our 2xx that has no ACK yet.
    pub(super) unacked: Option<Unacked>,
    /// The first ACK came: texts may go.
    pub(super) confirmed: bool,
    /// When something was said in it last.
    pub(super) spoken: Instant,
    /// The one of two that were opened at once which is not wanted: when it is ended.
    pub(super) ends: Option<Instant>,
}

/// A 2xx of ours to INVITE.
#[derive(Debug)]
pub(super) struct Unacked {
    pub(super) id: RequestId,
    pub(super) reply: Reply,
    pub(super) cseq: u32,
    pub(super) again: Instant,
    pub(super) pause: Duration,
    pub(super) give_up: Instant,
}

impl Open {
    /// One that texts may go in.
    pub(super) fn confirmed(dialog: Dialog, now: Instant) -> Self {
        Self {
            dialog,
            invited: None,
            unacked: None,
            confirmed: true,
            spoken: now,
            ends: None,
        }
    }

    /// ACK came: the one with this number, or one that was overtaken.
    pub(super) fn acknowledged(&mut self, cseq: Option<u32>) {
        let fits = self
            .unacked
            .as_ref()
            .is_some_and(|unacked| cseq.is_none_or(|cseq| cseq == unacked.cseq));
        if fits {
            self.unacked = None;
            self.confirmed = true;
        }
    }

    /// Whether an INVITE without a tag of ours is the one that made this dialog: it came again past its
    /// transaction, because a node died.
    fn was_made_by(&self, head: &Head<'_>) -> bool {
        let dialog = &self.dialog;
        dialog.call_id() == head.call_id
            && head.from.tag() == Some(dialog.remote_tag())
            && dialog
                .remote_cseq()
                .is_some_and(|last| head.cseq.number <= last)
    }

    /// `idle`: how long it may be silent, if nothing is to be said.
    fn next(&self, idle: Option<Duration>) -> Option<(Instant, SessionTimer)> {
        let idle = idle.map(|idle| (self.spoken + idle, SessionTimer::SessionIdle));
        let ends = self.ends.map(|at| (at, SessionTimer::Glare));
        let repeat = self.unacked.as_ref().map(|unacked| {
            let again = (unacked.again, SessionTimer::Repeat2xx);
            again.min((unacked.give_up, SessionTimer::AckWait))
        });
        [idle, ends, repeat].into_iter().flatten().min()
    }
}

/// All of them, the one that was opened or that the peer spoke in last at the end.
#[derive(Debug, Default)]
pub(super) struct OpenSessions(Vec<Open>);

impl OpenSessions {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Open> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Open> {
        self.0.iter_mut()
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Open> {
        self.0.drain(..)
    }

    /// The newest.
    pub(super) fn push(&mut self, open: Open) {
        self.0.push(open);
    }

    /// One that texts go in only if the others are gone.
    pub(super) fn push_behind(&mut self, open: Open) {
        self.0.insert(0, open);
    }

    pub(super) fn at(&mut self, index: usize) -> Option<&mut Open> {
        self.0.get_mut(index)
    }

    pub(super) fn tagged(&mut self, tag: &str) -> Option<&mut Open> {
        self.0
            .iter_mut()
            .find(|open| open.dialog.local_tag() == tag)
    }

    /// The one that a request is in.
    pub(super) fn of_request(&mut self, head: &Head<'_>) -> Option<&mut Open> {
        self.0
            .iter_mut()
            .find(|open| open.dialog.owns_request(head))
    }

    /// Our tag of the one that this INVITE has made before.
    pub(super) fn made_by(&self, head: &Head<'_>) -> Option<Box<str>> {
        self.0
            .iter()
            .find(|open| open.was_made_by(head))
            .map(|open| open.dialog.local_tag().into())
    }

    /// The one that our user's next text goes in.
    pub(super) fn speaker(&mut self) -> Option<&mut Open> {
        self.0.iter_mut().rev().find(|open| open.confirmed)
    }

    /// Something was said in this one.
    pub(super) fn spoken(&mut self, now: Instant, tag: &str) {
        if let Some(open) = self.tagged(tag) {
            open.spoken = now;
        }
    }

    /// The peer said something in this one: there it reads our answer.
    pub(super) fn prefer(&mut self, now: Instant, tag: &str) {
        if let Some(at) = self.position(tag) {
            self.0[at..].rotate_left(1);
            self.spoken(now, tag);
        }
    }

    fn position(&self, tag: &str) -> Option<usize> {
        self.0
            .iter()
            .position(|open| open.dialog.local_tag() == tag)
    }

    pub(super) fn remove(&mut self, tag: &str) -> Option<Open> {
        let at = self.position(tag)?;
        Some(self.removed(at))
    }

    pub(super) fn remove_at(&mut self, at: usize) -> Option<Open> {
        (at < self.0.len()).then(|| self.removed(at))
    }

    /// Removes the one that was silent for longest, if that was at least this long.
    pub(super) fn remove_silent(&mut self, now: Instant, least: Duration) -> Option<Open> {
        let (at, open) = self
            .0
            .iter()
            .enumerate()
            .min_by_key(|(_, open)| open.spoken)?;
        (open.spoken + least <= now).then(|| self.removed(at))
    }

    fn removed(&mut self, at: usize) -> Open {
        let open = self.0.remove(at);
        if self.0.iter().all(|open| open.ends.is_some())
            && let Some(last) = self.0.last_mut()
        {
            // The wanted one is gone, so this one is.
            last.ends = None;
        }
        open
    }

    /// The next deadline and whose it is.
    pub(super) fn next(&self, idle: Option<Duration>) -> Option<(Instant, SessionTimer, usize)> {
        self.0
            .iter()
            .enumerate()
            .filter_map(|(at, open)| open.next(idle).map(|(due, timer)| (due, timer, at)))
            .min()
    }
}
