//! SUBSCRIBE and what comes of it.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use super::verdict::{Again, after_refusal};
use super::{
    ANSWER_WITHIN, Attempt, FIRST_NOTIFY, MAX_MIN_EXPIRES, Output, Phase, RefusedBy, Standing,
    Subscribed, Subscriber, document_of,
};
use crate::dialog::{Dialog, Head};
use crate::draft::Draft;
use crate::header::HeaderName;
use crate::message::Message;
use crate::method::Method;
use crate::status::Status;
use crate::subscription::PACKAGE;
use crate::usage::{Damage, Outcome, SendId, route_set_lost};

impl Subscriber {
    /// SUBSCRIBE outside of any dialog.
    pub(super) fn ask(&mut self, now: Instant) {
        let random = self.random.number();
        let call_id: Box<str> = format!("{random:016x}@{}", self.config.host).into();
        let tag = self.config.key.tag(&self.pair.owner, &mut self.random);
        let cseq = self.random.first_cseq();
        let mut request = Draft::new(Method::Subscribe, &self.pair.remote);
        request
            .header(HeaderName::From, &format!("{};tag={tag}", self.pair.local))
            .header(HeaderName::To, &format!("<{}>", self.pair.remote))
            .header(HeaderName::CallId, &call_id)
            .header(HeaderName::CSeq, &format!("{cseq} SUBSCRIBE"));
        let id = self.send(request, self.ask);
        self.phase = Phase::Asking(Attempt {
            call_id,
            tag,
            cseq,
            id: Some(id),
            until: now + ANSWER_WITHIN,
        });
    }

    /// SUBSCRIBE in the dialog.
    pub(super) fn resubscribe(&mut self, now: Instant, expires: Duration) {
        let Phase::Subscribed(subscribed) = &mut self.phase else {
            return;
        };
        let Ok(request) = subscribed.dialog.request(Method::Subscribe) else {
            return self.ask(now);
        };
        let id = self.send(request, expires);
        if let Phase::Subscribed(subscribed) = &mut self.phase {
            subscribed.request = Some((id, now + ANSWER_WITHIN));
        }
    }

    pub(super) fn send(&mut self, mut request: Draft, expires: Duration) -> SendId {
        let ours = &self.config.contact;
        let contact = match &self.phase {
            Phase::Subscribed(subscribed) => subscribed.dialog.contact(ours),
            _ => Cow::Borrowed(&**ours),
        };
        request
            .header(HeaderName::Contact, &contact)
            .header(HeaderName::Event, PACKAGE)
            .header(HeaderName::Accept, &self.config.accept)
            .header(HeaderName::Expires, &expires.as_secs().to_string());
        self.sent = self.sent.wrapping_add(1);
        let id = SendId(self.sent);
        self.outputs.push_back(Output::Send { id, request });
        id
    }

    /// The outcome of a SUBSCRIBE.
    pub(super) fn answer(&mut self, now: Instant, id: SendId, outcome: &Outcome) {
        let ours = match &self.phase {
            Phase::Asking(attempt) => attempt.id == Some(id),
            Phase::Subscribed(subscribed) => subscribed.request.is_some_and(|(sent, _)| sent == id),
            Phase::Ending { .. } => {
                // Whatever it says, the subscription is over; only the last NOTIFY may still come.
                if outcome.damage() != Damage::None {
                    self.end();
                }
                return;
            }
            Phase::Waiting { .. } | Phase::Stopped | Phase::Ended => false,
        };
        if !ours {
            return;
        }
        match outcome {
            Outcome::Response(response) if outcome.damage() == Damage::None => {
                self.accepted(now, response);
            }
            Outcome::Response(response) if outcome.status() == Status::INTERVAL_TOO_BRIEF => {
                self.too_brief(now, response);
            }
            _ => self.failed(now, outcome),
        }
    }

    /// 2xx.
    pub(super) fn accepted(&mut self, now: Instant, response: &Message) {
        let granted = match response.expires() {
            Ok(Some(seconds)) => Duration::from_secs(seconds.into()).min(self.ask),
            // COMPAT: the header is mandatory (section 4.1.2.1), but some leave it out.
            _ => self.ask,
        };
        if let Phase::Asking(attempt) = &mut self.phase {
            match Dialog::of_response(response) {
                Ok(dialog) => {
                    self.phase = Phase::Subscribed(Box::new(Subscribed {
                        dialog,
                        began: Some(now),
                        expires: now,
                        refresh: now,
                        request: None,
                        first_notify: Some(now + FIRST_NOTIFY),
                        asks_after_outage: false,
                    }));
                }
                Err(_) => {
                    // The NOTIFY makes the dialog, or timer N ends the attempt.
                    attempt.id = None;
                    attempt.until = now + FIRST_NOTIFY;
                    return;
                }
            }
        }
        let Phase::Subscribed(subscribed) = &mut self.phase else {
            return;
        };
        subscribed.request = None;
        subscribed.asks_after_outage = false;
        if Head::of(response).is_ok_and(|head| subscribed.dialog.owns_response(&head)) {
            // A NOTIFY that overtook this response made the dialog. Where that carried no
            // Record-Route, the way is the response's, as if it had come first.
            if subscribed.dialog.routes().len() == 0 {
                let _as_before = subscribed.dialog.confirm(response);
            }
            subscribed.dialog.refresh_target(response);
        }
        // COMPAT Microsoft, ms-piggyback-first-notify: the first document is in the response. We never
        // ask for it. Event is not looked at: OCS leaves it out of its 200.
        let document = document_of(response);
        if document.is_some() {
            subscribed.first_notify = None;
        }
        self.failures = 0;
        self.expires(now, granted);
        self.outputs.push_back(Output::Persist);
        if let Some(document) = document {
            self.stand(Standing::Active);
            self.show(document);
        }
        if self.unwanted {
            self.unsubscribe(now);
        }
    }

    /// The subscription runs out after this.
    pub(super) fn expires(&mut self, now: Instant, granted: Duration) {
        // A fifth to a tenth early: a lost SUBSCRIBE takes 32 s to be noticed, and many subscriptions
        // that began together spread out.
        let early = self.random.between(granted * 4 / 5, granted * 9 / 10);
        if let Phase::Subscribed(subscribed) = &mut self.phase {
            subscribed.expires = now + granted;
            subscribed.refresh = now + early;
        }
    }

    pub(super) fn too_brief(&mut self, now: Instant, response: &Message) {
        let min = response.min_expires().ok().flatten().unwrap_or_default();
        let longer = Duration::from_secs(min.min(MAX_MIN_EXPIRES).into());
        if longer <= self.ask {
            // The peer contradicts itself.
            return self.again(now, Again::Later(None));
        }
        self.ask = longer;
        if self.unwanted {
            return self.end();
        }
        match &mut self.phase {
            Phase::Subscribed(_) => self.resubscribe(now, self.ask),
            _ => self.ask(now),
        }
    }

    /// Another final response than 2xx and 423, or none.
    pub(super) fn failed(&mut self, now: Instant, outcome: &Outcome) {
        if self.unwanted {
            return self.end();
        }
        let status = outcome.status();
        if let Phase::Subscribed(subscribed) = &mut self.phase {
            subscribed.request = None;
            let after_outage = std::mem::take(&mut subscribed.asks_after_outage);
            let forgotten = match outcome {
                Outcome::Response(response) => {
                    status == Status::CALL_DOES_NOT_EXIST || route_set_lost(response)
                }
                Outcome::Failed(_) => false,
            };
            if forgotten && after_outage {
                return self.ask(now);
            }
            if forgotten {
                return self.again(now, Again::AtOnce);
            }
            if outcome.damage() == Damage::Transaction && after_refusal(status) != Again::Never {
                // The subscription lives; the refresh is tried again before it ends.
                self.failures += 1;
                let pause = match outcome.retry_after() {
                    Some(pause) => pause,
                    // What is known may be old, and the way to the peer is being made anew.
                    None if after_outage => self.short_pause(),
                    None => self.pause(),
                };
                if let Phase::Subscribed(subscribed) = &mut self.phase {
                    subscribed.refresh = now + pause;
                    subscribed.asks_after_outage = after_outage;
                }
                return;
            }
        }
        let again = match (after_refusal(status), outcome.retry_after()) {
            (Again::Later(_), Some(pause)) => Again::Later(Some(pause)),
            (again, _) => again,
        };
        let refused = matches!(outcome, Outcome::Response(_));
        self.again(now, again);
        if refused {
            let by = RefusedBy::Status(status);
            let final_ = matches!(self.phase, Phase::Stopped);
            self.outputs.push_back(Output::Refused { by, final_ });
        }
    }
}
