//! The instant messages of one local and one remote user: session mode (INVITE, MESSAGE in the dialog,
//! BYE), and pager mode (RFC 3428) where the profile or the peer wants it.
//!
//! A text goes out when the one before it has its answer, so order holds and each has one fate. A session
//! is opened by whoever speaks first and used by both; it is ended when nobody has spoken for a while.
//! The peer may open several, one from each of its endpoints: texts of all are heard, and our user's go in
//! the one that was opened or that the peer spoke in last.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dialog::DialogId;
use crate::draft::Draft;
use crate::generator::Generator;
use crate::message::Message;
use crate::method::Method;
use crate::owner::OwnerKey;
use crate::profile::{ImMode, Profile};
use crate::status::Status;
use crate::transaction::Failure;
use crate::usage::{Document, Outcome, Pair, RequestId, SendId};

mod contract;
mod inbound;
mod invitation;
mod open;
mod outbound;
mod record;
pub mod sdp;
#[cfg(test)]
mod tests;

pub use contract::{Cause, Input, Output, SessionTimer, TextToken};
use open::{Open, OpenSessions};
pub use record::StoredSession;

/// The methods that a session answers.
pub const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, MESSAGE, INFO, OPTIONS";

/// When a MESSAGE or BYE whose outcome was lost with another node counts as timed out: later than timer F.
const ANSWER_WITHIN: Duration = Duration::from_secs(40);

/// How long a peer may take to accept a session before the INVITE is cancelled.
const RING: Duration = Duration::from_secs(60);

/// How long ACK may take: 64·T1.
const ACK_WITHIN: Duration = Duration::from_secs(32);

/// The first and the longest pause between two sendings of a 2xx: T1 and T2.
const REPEAT_FIRST: Duration = Duration::from_millis(500);
const REPEAT_LONGEST: Duration = Duration::from_secs(4);

/// Answers that are remembered, for requests that come again past their transactions.
const REMEMBERED: usize = 8;

/// Checked settings that the sessions with one peer share.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// The value of our Contact.
    pub contact: Box<str>,
    /// Host of our Call-IDs and session descriptions.
    pub host: Box<str>,
    /// Seals our tags.
    pub key: OwnerKey,
    /// How the peer wants it.
    pub profile: Profile,
}

/// A text that waits, or is on its way.
#[derive(Debug)]
struct Text {
    token: TextToken,
    document: Document,
    /// Its session failed under it once; the next time it fails too.
    tried: bool,
    /// The session refused it; it goes by pager.
    by_pager: bool,
}

/// The first text of the queue, sent.
#[derive(Debug)]
struct OnItsWay {
    id: SendId,
    until: Instant,
    /// Our tag of the dialog it went in; none: by pager.
    dialog: Option<Box<str>>,
}

/// What is done to open a session.
#[derive(Debug)]
enum Opening {
    Nothing,
    /// The pause after 491.
    Pausing {
        until: Instant,
    },
    Inviting(Inviting),
}

/// Our INVITE is on its way.
#[derive(Debug)]
struct Inviting {
    id: SendId,
    until: Instant,
    cancelled: bool,
}

/// A text of the peer without a verdict.
#[derive(Debug)]
struct Unanswered {
    /// The caller's name for it.
    id: RequestId,
    /// The request that gets the answer.
    answer_to: RequestId,
    request: Box<Message>,
    tag: Box<str>,
    since: Instant,
}

/// How a request was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answered {
    call_id: Box<str>,
    cseq: u32,
    status: Status,
}

/// The instant messages of one pair of users.
#[derive(Debug)]
pub struct Session {
    config: Arc<SessionConfig>,
    pair: Pair,
    random: Generator,
    mode: ImMode,
    opening: Opening,
    open: OpenSessions,
    /// Our INVITE lost against the peer's and was cancelled.
    abandoned: Option<Inviting>,
    queue: VecDeque<Text>,
    on_its_way: Option<OnItsWay>,
    unanswered: Vec<Unanswered>,
    answered: VecDeque<Answered>,
    sent: u32,
    outputs: VecDeque<Output>,
}

impl Session {
    /// Nothing is open and nothing said.
    #[must_use]
    pub fn new(config: Arc<SessionConfig>, pair: Pair, seed: [u8; 16]) -> Self {
        Self {
            mode: config.profile.im,
            config,
            pair,
            random: Generator::new(seed),
            opening: Opening::Nothing,
            open: OpenSessions::default(),
            abandoned: None,
            queue: VecDeque::new(),
            on_its_way: None,
            unanswered: Vec::new(),
            answered: VecDeque::new(),
            sent: 0,
            outputs: VecDeque::new(),
        }
    }

    /// Who talks to whom.
    #[must_use]
    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    /// The names of the dialogs that requests may come in.
    pub fn dialogs(&self) -> impl Iterator<Item = DialogId> + '_ {
        self.open.iter().map(|open| open.dialog.id())
    }

    /// Our tags in those dialogs.
    pub fn local_tags(&self) -> impl Iterator<Item = &str> {
        self.open.iter().map(|open| open.dialog.local_tag())
    }

    /// Whether nothing is open, waits or is on its way: this may be dropped.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.opening, Opening::Nothing)
            && self.open.is_empty()
            && self.abandoned.is_none()
            && self.queue.is_empty()
            && self.unanswered.is_empty()
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_timer().map(|(at, _)| at)
    }

    /// Like [`poll_timeout`](Self::poll_timeout), with the reason.
    #[must_use]
    pub fn next_timer(&self) -> Option<(Instant, SessionTimer)> {
        self.due().map(|(at, timer, _)| (at, timer))
    }

    /// The next deadline; of an open session, with its place.
    fn due(&self) -> Option<(Instant, SessionTimer, Option<usize>)> {
        let opening = match &self.opening {
            Opening::Nothing => None,
            Opening::Pausing { until } => Some((*until, SessionTimer::InviteAgain)),
            Opening::Inviting(inviting) => Some((inviting.until, SessionTimer::InviteAnswer)),
        };
        let abandoned = self
            .abandoned
            .as_ref()
            .map(|inviting| (inviting.until, SessionTimer::InviteAnswer));
        let message = self
            .on_its_way
            .as_ref()
            .map(|sent| (sent.until, SessionTimer::MessageAnswer));
        // While something is to be answered or sent, no session is idle.
        let quiet = self.queue.is_empty() && self.unanswered.is_empty();
        let idle = quiet.then_some(self.config.profile.session_idle);
        let open = self.open.next(idle);
        [opening, abandoned, message]
            .into_iter()
            .flatten()
            .map(|(at, timer)| (at, timer, None))
            .chain(open.map(|(at, timer, place)| (at, timer, Some(place))))
            .min()
    }

    /// Takes an input.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Text { token, document } => self.text(token, document),
            Input::Typing(document) => self.typing(&document),
            Input::Request { id, request } => self.request(now, id, request),
            Input::Ack { request } => self.acknowledged(&request),
            Input::Verdict {
                id,
                status,
                headers,
            } => self.verdict(now, id, status, &headers),
            Input::Answer { id, outcome } => self.answer(now, id, outcome),
            Input::End => self.finish(),
            Input::Timeout => self.timeout(now),
        }
        self.speak(now);
    }

    /// This node owns the sessions from now on: the CSeq jumps.
    pub fn take_over(&mut self, now: Instant) {
        for open in self.open.iter_mut() {
            open.dialog.take_over();
            open.spoken = now;
        }
    }

    fn timeout(&mut self, now: Instant) {
        while let Some((_, timer, place)) = self.due().filter(|(at, ..)| *at <= now) {
            match timer {
                // Section 13.3.1.4: a session that is never acknowledged is ended.
                SessionTimer::SessionIdle | SessionTimer::AckWait | SessionTimer::Glare => {
                    if let Some(open) = place.and_then(|place| self.open.remove_at(place)) {
                        self.bye(open);
                        self.one_less();
                    }
                }
                SessionTimer::Repeat2xx => {
                    if let Some(open) = place.and_then(|place| self.open.at(place))
                        && let Some(unacked) = &mut open.unacked
                    {
                        unacked.pause = (unacked.pause * 2).min(REPEAT_LONGEST);
                        unacked.again = now + unacked.pause;
                        let (id, reply) = (unacked.id, unacked.reply.clone());
                        self.outputs.push_back(Output::Respond { id, reply });
                    }
                }
                SessionTimer::InviteAnswer => self.invite_is_late(now),
                SessionTimer::InviteAgain => self.opening = Opening::Nothing,
                SessionTimer::MessageAnswer => {
                    if let Some(id) = self.on_its_way.as_ref().map(|sent| sent.id) {
                        self.answer(now, id, Outcome::Failed(Failure::Timeout));
                    }
                }
            }
        }
    }

    fn send(&mut self, request: Draft) -> SendId {
        self.sent = self.sent.wrapping_add(1);
        let id = SendId(self.sent);
        self.outputs.push_back(Output::Send { id, request });
        id
    }

    /// A session was removed.
    fn one_less(&mut self) {
        self.outputs.push_back(match self.open.is_empty() {
            true => Output::Closed,
            false => Output::Persist,
        });
    }

    /// The session is over for the peer too: nothing is said in it any more.
    fn forget(&mut self, tag: &str) {
        if self.open.remove(tag).is_some() {
            self.one_less();
        }
    }

    fn bye(&mut self, mut open: Open) {
        if let Ok(request) = open.dialog.request(Method::Bye) {
            self.send(request);
        }
    }

    /// Our side wants an end.
    fn finish(&mut self) {
        if let Opening::Inviting(inviting) = std::mem::replace(&mut self.opening, Opening::Nothing)
        {
            self.outputs.push_back(Output::Cancel { id: inviting.id });
            self.abandoned = Some(inviting);
        }
        if !self.open.is_empty() {
            for open in std::mem::take(&mut self.open).drain() {
                self.bye(open);
            }
            self.outputs.push_back(Output::Closed);
        }
        // The text on its way may arrive: its own answer says so, and a later text waits for that.
        let mut on_its_way = None;
        if self.on_its_way.is_some() {
            on_its_way = self.queue.pop_front();
        }
        self.fail_all(&Cause::Closed);
        if let Some(mut text) = on_its_way {
            text.tried = true;
            self.queue.push_back(text);
        }
    }

    fn fail_all(&mut self, cause: &Cause) {
        for text in self.queue.drain(..) {
            self.outputs.push_back(Output::Failed {
                token: text.token,
                cause: cause.clone(),
            });
        }
    }

    fn fresh_call_id(&mut self) -> String {
        format!("{:016x}@{}", self.random.number(), self.config.host)
    }

    fn fresh_tag(&mut self) -> Box<str> {
        self.config.key.tag(&self.pair.owner, &mut self.random)
    }
}
