//! One local watcher's subscription to one remote presentity (RFC 6665 section 4.1).
//!
//! It wants to be subscribed until it is told otherwise: it refreshes early, makes a new dialog when the
//! peer has forgotten the old one, and waits longer and longer while the peer is not there. Only a
//! refusal that time won't change stops it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dialog::{Dialog, DialogId};
use crate::generator::Generator;
use crate::header::HeaderName;
use crate::message::Message;
use crate::method::Method;
use crate::owner::OwnerKey;
use crate::profile::Profile;
use crate::transaction::Failure;
pub use crate::usage::Pair;
use crate::usage::{Document, Outcome, SendId};

mod asking;
mod contract;
mod notified;
mod record;
mod verdict;

pub use contract::{Input, Output, RefusedBy, Standing, SubscriberTimer};
pub use record::StoredSubscriber;
use verdict::Again;

/// Timer N (section 4.1.2.4): how long the first NOTIFY may take; 64·T1.
const FIRST_NOTIFY: Duration = Duration::from_secs(32);

/// When a SUBSCRIBE whose outcome was lost with another node counts as timed out: later than timer F, which
/// begins only when its turn has come, and after a node's death thousands wait for theirs.
const ANSWER_WITHIN: Duration = Duration::from_secs(300);

/// The pause after the first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(30);

/// The same where an outage may have made what is known old.
const SHORT_PAUSE: Duration = Duration::from_secs(2);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// A dialog that ended sooner than this is not made anew at once: the two sides would go round and round.
const SHORT_LIVED: Duration = Duration::from_secs(30);

/// The longest Min-Expires that is obeyed.
const MAX_MIN_EXPIRES: u32 = 86_400;

/// Checked settings that subscribers share.
#[derive(Debug, Clone)]
pub struct SubscriberConfig {
    /// The value of our Contact.
    pub contact: Box<str>,
    /// Host of our Call-IDs.
    pub host: Box<str>,
    /// The value of Accept.
    pub accept: Box<str>,
    /// What Expires asks for.
    pub expires: Duration,
    /// Seals our tags.
    pub key: OwnerKey,
}

impl SubscriberConfig {
    /// The settings of a profile.
    #[must_use]
    pub fn of(profile: &Profile, contact: &str, host: &str, key: OwnerKey) -> Self {
        Self {
            contact: contact.into(),
            host: host.into(),
            accept: profile.presence_accept.clone(),
            expires: profile.subscribe_expires,
            key,
        }
    }
}

/// A SUBSCRIBE outside of any dialog.
#[derive(Debug)]
struct Attempt {
    call_id: Box<str>,
    tag: Box<str>,
    cseq: u32,
    /// `None` when 2xx came that made no dialog; the NOTIFY may still make one.
    id: Option<SendId>,
    until: Instant,
}

/// A subscription that the peer knows.
#[derive(Debug)]
struct Subscribed {
    dialog: Dialog,
    /// `None`: on another node.
    began: Option<Instant>,
    expires: Instant,
    refresh: Instant,
    /// The SUBSCRIBE on its way.
    request: Option<(SendId, Instant)>,
    /// Until when the first NOTIFY must come, if it has not.
    first_notify: Option<Instant>,
    /// The request on its way asks whether a peer that came back still knows the subscription: if not,
    /// however young it is, a new dialog follows at once.
    asks_after_outage: bool,
}

#[derive(Debug)]
enum Phase {
    /// SUBSCRIBE goes out then.
    Waiting {
        until: Instant,
    },
    Asking(Attempt),
    Subscribed(Box<Subscribed>),
    /// SUBSCRIBE with Expires 0 went out; the last NOTIFY is waited for.
    Ending {
        dialog: Box<Dialog>,
        until: Instant,
    },
    /// Refused for good.
    Stopped,
    Ended,
}

/// One watcher's subscription.
#[derive(Debug)]
pub struct Subscriber {
    config: Arc<SubscriberConfig>,
    pair: Pair,
    random: Generator,
    phase: Phase,
    /// What Expires asks for; a 423 may have raised it.
    ask: Duration,
    standing: Standing,
    document: Option<Document>,
    /// The user does not want it any more.
    unwanted: bool,
    failures: u32,
    sent: u32,
    outputs: VecDeque<Output>,
}

impl Subscriber {
    /// Subscribes now.
    #[must_use]
    pub fn start(now: Instant, config: Arc<SubscriberConfig>, pair: Pair, seed: [u8; 16]) -> Self {
        let mut subscriber = Self::idle(now, config, pair, seed);
        subscriber.ask(now);
        subscriber
    }

    fn idle(now: Instant, config: Arc<SubscriberConfig>, pair: Pair, seed: [u8; 16]) -> Self {
        Self {
            ask: config.expires,
            config,
            pair,
            random: Generator::new(seed),
            phase: Phase::Waiting { until: now },
            standing: Standing::Unknown,
            document: None,
            unwanted: false,
            failures: 0,
            sent: 0,
            outputs: VecDeque::new(),
        }
    }

    /// Who watches whom.
    #[must_use]
    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    /// The name of the dialog that NOTIFY comes in; of an attempt without the peer's tag.
    #[must_use]
    pub fn dialog_id(&self) -> Option<DialogId> {
        match &self.phase {
            Phase::Asking(attempt) => Some(DialogId {
                call_id: attempt.call_id.clone(),
                local_tag: attempt.tag.clone(),
                remote_tag: "".into(),
            }),
            Phase::Subscribed(subscribed) => Some(subscribed.dialog.id()),
            Phase::Ending { dialog, .. } => Some(dialog.id()),
            Phase::Waiting { .. } | Phase::Stopped | Phase::Ended => None,
        }
    }

    /// Our tag in that dialog.
    #[must_use]
    pub fn local_tag(&self) -> Option<&str> {
        match &self.phase {
            Phase::Asking(attempt) => Some(&attempt.tag),
            Phase::Subscribed(subscribed) => Some(subscribed.dialog.local_tag()),
            Phase::Ending { dialog, .. } => Some(dialog.local_tag()),
            Phase::Waiting { .. } | Phase::Stopped | Phase::Ended => None,
        }
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// The last document.
    #[must_use]
    pub fn document(&self) -> Option<&Document> {
        self.document.as_ref()
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if self.outputs.is_empty() {
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
    pub fn next_timer(&self) -> Option<(Instant, SubscriberTimer)> {
        use SubscriberTimer::{Answer, Ending, Expiry, FirstNotify, Refresh, Retry};
        match &self.phase {
            Phase::Waiting { until } => Some((*until, Retry)),
            Phase::Asking(attempt) => Some((attempt.until, Answer)),
            Phase::Subscribed(subscribed) => {
                let request = match subscribed.request {
                    Some((_, until)) => (until, Answer),
                    None => (subscribed.refresh, Refresh),
                };
                [request, (subscribed.expires, Expiry)]
                    .into_iter()
                    .chain(subscribed.first_notify.map(|until| (until, FirstNotify)))
                    .min()
            }
            Phase::Ending { until, .. } => Some((*until, Ending)),
            Phase::Stopped | Phase::Ended => None,
        }
    }

    /// Takes an input.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Notify { id, request } => self.notify(now, id, &request),
            Input::Answer { id, outcome } => self.answer(now, id, &outcome),
            Input::Refresh => self.refresh(now),
            Input::Unsubscribe => self.unsubscribe(now),
            Input::Timeout => self.timeout(now),
        }
    }

    /// This node owns the subscription from now on: the CSeq jumps, and the peer is asked for the whole
    /// state at once. The caller paces.
    pub fn take_over(&mut self, now: Instant) {
        match &mut self.phase {
            Phase::Subscribed(subscribed) if subscribed.expires > now => {
                subscribed.dialog.take_over();
                self.refresh(now);
            }
            Phase::Subscribed(_) | Phase::Waiting { .. } => self.ask(now),
            _ => {}
        }
    }

    fn refresh(&mut self, now: Instant) {
        match &self.phase {
            Phase::Waiting { .. } | Phase::Stopped => self.ask(now),
            Phase::Subscribed(subscribed) if subscribed.request.is_none() => {
                self.resubscribe(now, self.ask);
                if let Phase::Subscribed(subscribed) = &mut self.phase {
                    subscribed.asks_after_outage = true;
                }
            }
            _ => {}
        }
    }

    fn unsubscribe(&mut self, now: Instant) {
        self.unwanted = true;
        match &mut self.phase {
            Phase::Waiting { .. } | Phase::Stopped => self.end(),
            // What is on its way is waited for: only then there is a dialog to end.
            Phase::Asking(_) | Phase::Ending { .. } | Phase::Ended => {}
            Phase::Subscribed(subscribed) => match subscribed.dialog.request(Method::Subscribe) {
                Ok(request) => {
                    let dialog = Box::new(subscribed.dialog.clone());
                    self.send(request, Duration::ZERO);
                    self.phase = Phase::Ending {
                        dialog,
                        until: now + FIRST_NOTIFY,
                    };
                }
                Err(_) => self.end(),
            },
        }
    }

    fn end(&mut self) {
        if !matches!(self.phase, Phase::Ended) {
            self.phase = Phase::Ended;
            self.outputs.push_back(Output::Ended);
        }
    }

    fn timeout(&mut self, now: Instant) {
        while let Some((at, timer)) = self.next_timer().filter(|(at, _)| *at <= now) {
            match timer {
                SubscriberTimer::Retry => self.ask(now),
                SubscriberTimer::Answer => {
                    let timed_out = Outcome::Failed(Failure::Timeout);
                    match &self.phase {
                        Phase::Asking(Attempt { id: Some(id), .. }) => {
                            self.answer(now, *id, &timed_out);
                        }
                        Phase::Subscribed(subscribed) => {
                            if let Some((id, _)) = subscribed.request {
                                self.answer(now, id, &timed_out);
                            }
                        }
                        _ => self.again(now, Again::Later(None)),
                    }
                }
                SubscriberTimer::Refresh => self.resubscribe(now, self.ask),
                SubscriberTimer::Expiry | SubscriberTimer::FirstNotify => {
                    self.stand(Standing::Unknown);
                    self.again(now, Again::Later(None));
                }
                SubscriberTimer::Ending => self.end(),
            }
            debug_assert!(
                self.next_timer() != Some((at, timer)),
                "a timer that fired is over"
            );
        }
    }

    /// A dialog is over: a new one, or none.
    fn again(&mut self, now: Instant, again: Again) {
        if self.unwanted {
            return self.end();
        }
        let short_lived = match &self.phase {
            Phase::Subscribed(subscribed) => subscribed
                .began
                .is_some_and(|began| now < began + SHORT_LIVED),
            _ => true,
        };
        let pause = match again {
            Again::Never => {
                self.phase = Phase::Stopped;
                self.stand(Standing::Unknown);
                self.outputs.push_back(Output::Persist);
                return;
            }
            Again::AtOnce if !short_lived => return self.ask(now),
            Again::AtOnce | Again::Later(None) => {
                self.failures += 1;
                self.pause()
            }
            Again::Later(Some(pause)) => {
                self.failures += 1;
                pause + self.random.between(Duration::ZERO, pause / 10)
            }
        };
        self.phase = Phase::Waiting { until: now + pause };
    }

    /// Doubles with each failure; a fifth of it is chance.
    fn pause(&mut self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        let pause = (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE);
        self.random.between(pause * 9 / 10, pause * 11 / 10)
    }

    /// The pause of one that asks after an outage: from 2 s on, up to the usual one.
    fn short_pause(&mut self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(4);
        let pause = SHORT_PAUSE * (1 << doublings);
        self.random.between(pause * 9 / 10, pause * 11 / 10)
    }

    fn stand(&mut self, standing: Standing) {
        if self.standing != standing {
            self.standing = standing;
            self.outputs.push_back(Output::Standing(standing));
        }
    }

    fn show(&mut self, document: Document) {
        self.document = Some(document.clone());
        self.outputs.push_back(Output::Document(document));
    }
}

/// The document of a message that has one, in memory of its own: it is kept for hours.
fn document_of(message: &Message) -> Option<Document> {
    if message.body().is_empty() {
        return None;
    }
    let content_type = message.get(HeaderName::ContentType)?;
    Some(Document {
        content_type: content_type.into(),
        body: bytes::Bytes::copy_from_slice(message.body()),
    })
}
