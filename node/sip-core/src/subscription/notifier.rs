//! One remote watcher's subscription to one local presentity (RFC 6665 section 4.2).
//!
//! The caller decides about the watcher; the notifier holds the dialog and sends the newest state, at
//! most one NOTIFY at a time and never two within the gap. A watcher that is blocked politely sees a
//! subscription like any other, to somebody who is offline: states of the presentity don't reach it.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::PACKAGE;
use super::screen::{self, Asked};
use crate::dialog::{Admission, Dialog, DialogFault, DialogId};
use crate::draft::Draft;
use crate::header::HeaderName;
use crate::message::Message;
use crate::method::Method;
use crate::profile::Profile;
use crate::reply::Reply;
use crate::status::Status;
use crate::transaction::Failure;
use crate::usage::{Damage, Document, Outcome, RequestId, SendId};

mod contract;
mod record;

pub use contract::{Decision, Ending, Input, NotifierTimer, Output, Reason};
pub use record::StoredNotifier;

/// Attempts of one NOTIFY that is refused for a while; then the watcher counts as gone.
const MAX_ATTEMPTS: u8 = 5;

/// The pause before a NOTIFY is tried again if the watcher names none.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// The first and the longest pause before a NOTIFY is tried again that did not get there; it doubles.
const UNREACHED_FIRST: Duration = Duration::from_secs(2);
const UNREACHED_LONGEST: Duration = Duration::from_secs(60);

/// When a NOTIFY whose outcome was lost with another node counts as timed out: later than timer F, which
/// begins only when its turn has come, and after a node's death thousands wait for theirs.
const ANSWER_WITHIN: Duration = Duration::from_secs(300);

/// Checked settings that notifiers share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifierConfig {
    /// The value of our Contact.
    pub contact: Box<str>,
    /// Less than this is refused with 423.
    pub min_expires: Duration,
    /// More than this is not granted.
    pub max_expires: Duration,
    /// The shortest pause between two NOTIFY.
    pub gap: Duration,
}

impl NotifierConfig {
    /// The settings of a profile.
    #[must_use]
    pub fn of(profile: &Profile, contact: &str) -> Self {
        Self {
            contact: contact.into(),
            min_expires: profile.min_expires,
            max_expires: profile.max_expires,
            gap: profile.notify_gap,
        }
    }
}

/// How it stands with the watcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Pending,
    Active,
    /// As active, but deaf to states.
    Polite,
    /// The last NOTIFY is due or on its way.
    Terminated(Reason),
    Ended,
}

/// One watcher's subscription.
#[derive(Debug)]
pub struct Notifier {
    config: Arc<NotifierConfig>,
    dialog: Dialog,
    event_id: Option<Box<str>>,
    standing: Standing,
    document: Option<Document>,
    expires: Instant,
    /// There is something to say.
    due: bool,
    /// Nothing is said before.
    not_before: Instant,
    /// The NOTIFY on its way, and when it counts as lost.
    on_its_way: Option<(SendId, Instant)>,
    sent: u32,
    failures: u8,
    /// NOTIFY in a row that did not get there.
    unreached: u8,
    outputs: VecDeque<Output>,
}

impl Notifier {
    /// Accepts the SUBSCRIBE of a watcher that [`screen`](screen::screen) let pass and the caller did
    /// not refuse: 200 and a NOTIFY at once. `tag` is ours and fresh, `first_cseq` the number before
    /// our first.
    ///
    /// # Errors
    /// [`DialogFault`]: the request can't make a dialog; the answer is 400.
    pub fn accept(
        now: Instant,
        config: Arc<NotifierConfig>,
        (id, request): (RequestId, &Message),
        asked: Asked,
        (tag, first_cseq): (&str, u32),
        decision: Decision,
    ) -> Result<Self, DialogFault> {
        let dialog = Dialog::of_request(request, tag, first_cseq)?;
        let mut notifier = Self {
            config,
            dialog,
            event_id: asked.event_id,
            standing: Standing::Pending,
            document: None,
            expires: now,
            due: false,
            not_before: now,
            on_its_way: None,
            sent: 0,
            failures: 0,
            unreached: 0,
            outputs: VecDeque::new(),
        };
        notifier.decide(decision);
        notifier.granted(now, id, request, asked.expires);
        notifier.speak(now);
        Ok(notifier)
    }

    /// The dialog's name.
    #[must_use]
    pub fn dialog_id(&self) -> DialogId {
        self.dialog.id()
    }

    /// The dialog.
    #[must_use]
    pub fn dialog(&self) -> &Dialog {
        &self.dialog
    }

    /// When it runs out if it is not refreshed.
    #[must_use]
    pub fn expires(&self) -> Instant {
        self.expires
    }

    /// Whether the watcher waits for a decision.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.standing == Standing::Pending
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if self.outputs.is_empty() {
            // A hundred thousand of these wait for hours: no memory is kept for the next burst.
            self.outputs = VecDeque::new();
        }
        output
    }

    /// When [`Input::Timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_timer().map(|(at, _)| at)
    }

    /// Like [`poll_timeout`](Self::poll_timeout), with the reason.
    #[must_use]
    pub fn next_timer(&self) -> Option<(Instant, NotifierTimer)> {
        let speak = (self.due && self.on_its_way.is_none())
            .then_some((self.not_before, NotifierTimer::NotifyGap));
        let answer = self
            .on_its_way
            .map(|(_, at)| (at, NotifierTimer::NotifyAnswer));
        let expiry = (!self.is_over()).then_some((self.expires, NotifierTimer::Expiry));
        if self.standing == Standing::Ended {
            return None;
        }
        speak.into_iter().chain(answer).chain(expiry).min()
    }

    /// Takes an input.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Subscribe { id, request } => self.subscribe(now, id, &request),
            _ if self.standing == Standing::Ended => {}
            Input::Decide(decision) => {
                if !self.is_over() {
                    self.decide(decision);
                    self.outputs.push_back(Output::Persist);
                }
            }
            Input::State(document) => {
                if self.standing == Standing::Active && self.document.as_ref() != Some(&document) {
                    self.document = Some(document);
                    self.due = true;
                }
            }
            Input::Answer { id, outcome } => self.answer(now, id, &outcome),
            Input::Reachable => {
                if self.unreached > 0 {
                    self.not_before = now;
                }
            }
            Input::End(reason) => self.terminate(now, reason),
            Input::Timeout => {
                if let Some((id, at)) = self.on_its_way
                    && at <= now
                {
                    self.answer(now, id, &Outcome::Failed(Failure::Timeout));
                }
                if self.expires <= now {
                    self.terminate(now, Reason::Timeout);
                }
            }
        }
        self.speak(now);
    }

    /// This node owns the subscription from now on: the CSeq jumps, and the watcher gets the whole
    /// state, because it may have missed some. It is said by [`take_up`](Self::take_up): until then
    /// SUBSCRIBE is answered, but the caller is still to find out what the state is.
    pub fn take_over(&mut self, until: Instant) {
        self.dialog.take_over();
        self.due = true;
        self.not_before = until;
    }

    /// The caller has said what the state is, or won't know it in time.
    pub fn take_up(&mut self, now: Instant) {
        self.not_before = now;
        self.speak(now);
    }

    fn is_over(&self) -> bool {
        matches!(self.standing, Standing::Terminated(_) | Standing::Ended)
    }

    fn decide(&mut self, decision: Decision) {
        (self.standing, self.document) = match decision {
            Decision::Pending => (Standing::Pending, None),
            Decision::Active(document) => (Standing::Active, Some(document)),
            Decision::Polite(document) => (Standing::Polite, Some(document)),
        };
        self.due = true;
    }

    /// A SUBSCRIBE in the dialog (section 4.2.1.2).
    fn subscribe(&mut self, now: Instant, id: RequestId, request: &Message) {
        let tag = self.dialog.local_tag().to_owned();
        let refuse = |status| Output::Respond {
            id,
            reply: Reply::new(request, status, &tag),
        };
        if self.is_over() {
            self.outputs.push_back(refuse(Status::CALL_DOES_NOT_EXIST));
            return;
        }
        let Ok(cseq) = request.cseq() else {
            self.outputs.push_back(refuse(Status::BAD_REQUEST));
            return;
        };
        let admission = self.dialog.admit(cseq.number);
        if admission == Admission::Stale {
            self.outputs
                .push_back(refuse(Status::SERVER_INTERNAL_ERROR));
            return;
        }
        let asked = match screen::screen(request, self.config.min_expires, self.config.max_expires)
        {
            Ok(asked) => asked,
            Err(refusal) => {
                let reply = refusal.reply(request, &tag);
                self.outputs.push_back(Output::Respond { id, reply });
                return;
            }
        };
        if asked.event_id != self.event_id {
            // Another subscription in this dialog, which we don't share (section 4.5.2).
            self.outputs.push_back(refuse(Status::CALL_DOES_NOT_EXIST));
            return;
        }
        self.dialog.refresh_target(request);
        let owed = self.due;
        self.granted(now, id, request, asked.expires);
        if admission == Admission::Repeated {
            self.due = owed;
        }
    }

    /// 200, the new expiry, and a NOTIFY to follow.
    fn granted(&mut self, now: Instant, id: RequestId, request: &Message, expires: Duration) {
        let mut reply = Reply::new(request, Status::OK, self.dialog.local_tag());
        reply
            .header(HeaderName::Contact, &self.contact())
            .header(HeaderName::Expires, &expires.as_secs().to_string());
        self.expires = now + expires;
        self.outputs.push_back(Output::Persist);
        self.outputs.push_back(Output::Respond { id, reply });
        self.due = true;
        if expires.is_zero() {
            self.terminate(now, Reason::Timeout);
        }
    }

    fn contact(&self) -> Cow<'_, str> {
        self.dialog.contact(&self.config.contact)
    }

    fn terminate(&mut self, now: Instant, reason: Reason) {
        if self.is_over() {
            return;
        }
        if self.standing == Standing::Pending
            || !matches!(reason, Reason::Timeout | Reason::Deactivated)
        {
            self.document = None;
        }
        self.standing = Standing::Terminated(reason);
        self.due = true;
        if reason == Reason::Deactivated {
            // The node goes away: there is no later.
            self.not_before = now;
        }
    }

    /// Sends the newest state if it is time.
    fn speak(&mut self, now: Instant) {
        if !self.due || self.on_its_way.is_some() || now < self.not_before {
            return;
        }
        let Some(request) = self.notify(now) else {
            return self.end(Ending::Gone(Status::CALL_DOES_NOT_EXIST));
        };
        self.due = false;
        self.not_before = now + self.config.gap;
        self.sent = self.sent.wrapping_add(1);
        let id = SendId(self.sent);
        self.on_its_way = Some((id, now + ANSWER_WITHIN));
        self.outputs.push_back(Output::Send { id, request });
    }

    fn notify(&mut self, now: Instant) -> Option<Draft> {
        let mut request = self.dialog.request(Method::Notify).ok()?;
        let left = self.expires.saturating_duration_since(now).as_secs();
        let state = match self.standing {
            Standing::Pending => format!("pending;expires={left}"),
            Standing::Active | Standing::Polite => format!("active;expires={left}"),
            Standing::Terminated(reason) => format!("terminated;reason={}", reason.as_str()),
            Standing::Ended => return None,
        };
        let event = match &self.event_id {
            Some(id) => format!("{PACKAGE};id={id}"),
            None => PACKAGE.to_owned(),
        };
        request
            .header(HeaderName::Contact, &self.contact())
            .header(HeaderName::Event, &event)
            .header(HeaderName::SubscriptionState, &state);
        if let Some(document) = &self.document {
            request.body(&document.content_type, document.body.clone());
        }
        Some(request)
    }

    /// What became of a NOTIFY (section 4.2.2).
    fn answer(&mut self, now: Instant, id: SendId, outcome: &Outcome) {
        if self.on_its_way.is_none_or(|(sent, _)| sent != id) {
            return;
        }
        self.on_its_way = None;
        if let Standing::Terminated(reason) = self.standing
            && !self.due
        {
            return self.end(Ending::Told(reason));
        }
        match outcome.damage() {
            Damage::None => {
                (self.failures, self.unreached) = (0, 0);
                if let Outcome::Response(response) = outcome {
                    self.dialog.refresh_target(response);
                }
            }
            Damage::Usage | Damage::Dialog => self.end(Ending::Gone(outcome.status())),
            // Nobody has refused anything: it is said as long as the subscription runs.
            Damage::Transaction if matches!(outcome, Outcome::Failed(_)) => {
                let doublings = u32::from(self.unreached).min(8);
                self.unreached = self.unreached.saturating_add(1);
                let pause = (UNREACHED_FIRST * (1 << doublings)).min(UNREACHED_LONGEST);
                self.not_before = self.not_before.max(now + pause);
                self.due = true;
            }
            Damage::Transaction => {
                self.failures += 1;
                if self.failures >= MAX_ATTEMPTS {
                    return self.end(Ending::Gone(outcome.status()));
                }
                let pause = outcome.retry_after().unwrap_or(RETRY_AFTER);
                self.not_before = self.not_before.max(now + pause);
                self.due = true;
            }
        }
    }

    fn end(&mut self, ending: Ending) {
        self.standing = Standing::Ended;
        self.due = false;
        self.on_its_way = None;
        self.document = None;
        self.outputs.push_back(Output::Ended(ending));
    }
}
