//! What our user says: queue, INVITE, one MESSAGE at a time.

use std::time::{Duration, Instant};

use super::{
    ANSWER_WITHIN, Cause, Inviting, OnItsWay, Open, Opening, Output, RING, Session, Text,
    TextToken, invitation, sdp,
};
use crate::dialog::{Dialog, Head};
use crate::draft::Draft;
use crate::header::HeaderName;
use crate::message::Message;
use crate::method::Method;
use crate::profile::{ImMode, Typing};
use crate::status::Status;
use crate::transaction::Failure;
use crate::usage::{Damage, Document, Outcome, SendId};

/// After a cancelled INVITE its final response may take this long.
const CANCELLED_WITHIN: Duration = Duration::from_secs(40);

/// RFC 3261 section 14.1: the pause after 491.
const GLARE_PAUSE: Duration = Duration::from_secs(2);

/// When the second of two sessions is ended: some while after both have been accepted, and by chance, so
/// that two that follow the same rule do not end both.
const SECOND_FROM: Duration = Duration::from_secs(2);
const SECOND_TO: Duration = Duration::from_secs(20);

impl Session {
    pub(super) fn text(&mut self, token: TextToken, document: Document) {
        if self.queue.len() >= self.config.profile.queued_texts {
            self.outputs.push_back(Output::Failed {
                token,
                cause: Cause::QueueFull,
            });
            return;
        }
        self.queue.push_back(Text {
            token,
            document,
            tried: false,
            by_pager: false,
        });
    }

    /// Typing is worth nothing later, and must not get a higher number than a text that it could overtake
    /// on the way: it goes at once or not at all.
    pub(super) fn typing(&mut self, document: &Document) {
        let method = match self.config.profile.typing {
            Typing::Info => Method::Info,
            Typing::IsComposing => Method::Message,
            Typing::Off => return,
        };
        if self.on_its_way.is_some() || !self.queue.is_empty() {
            return;
        }
        if let Some(open) = self.open.speaker()
            && let Ok(mut request) = open.dialog.request(method)
        {
            let contact = open.dialog.contact(&self.config.contact);
            request.header(HeaderName::Contact, &contact);
            request.body(&document.content_type, document.body.clone());
            self.send(request);
        }
    }

    /// Does for the first text what can be done now.
    pub(super) fn speak(&mut self, now: Instant) {
        let Some(text) = self.queue.front().filter(|_| self.on_its_way.is_none()) else {
            return;
        };
        let document = text.document.clone();
        if !text.by_pager && !self.open.is_empty() {
            self.speak_in_session(now, document);
        } else if text.by_pager || self.mode == ImMode::Pager {
            let mut request = self.outside(Method::Message).0;
            request.body(&document.content_type, document.body);
            self.message(now, request, None);
        } else if matches!(self.opening, Opening::Nothing) && self.abandoned.is_none() {
            self.invite(now);
        }
    }

    fn speak_in_session(&mut self, now: Instant, document: Document) {
        // None before the first ACK.
        let Some(open) = self.open.speaker() else {
            return;
        };
        let tag: Box<str> = open.dialog.local_tag().into();
        match open.dialog.request(Method::Message) {
            Ok(mut request) => {
                open.spoken = now;
                request.body(&document.content_type, document.body);
                self.message(now, request, Some(tag));
            }
            Err(_) => {
                // Its numbers are used up, for a BYE too.
                self.forget(&tag);
                self.speak(now);
            }
        }
    }

    fn message(&mut self, now: Instant, request: Draft, dialog: Option<Box<str>>) {
        let id = self.send(request);
        self.on_its_way = Some(OnItsWay {
            id,
            until: now + ANSWER_WITHIN,
            dialog,
        });
    }

    /// A request outside of any dialog, and its number.
    fn outside(&mut self, method: Method) -> (Draft, u32) {
        let call_id = self.fresh_call_id();
        let tag = self.fresh_tag();
        let cseq = self.random.first_cseq();
        let number = format!("{cseq} {method}");
        let mut request = Draft::new(method, &self.pair.remote);
        request
            .header(HeaderName::From, &format!("{};tag={tag}", self.pair.local))
            .header(HeaderName::To, &format!("<{}>", self.pair.remote))
            .header(HeaderName::CallId, &call_id)
            .header(HeaderName::CSeq, &number);
        (request, cseq)
    }

    fn invite(&mut self, now: Instant) {
        let config = self.config.clone();
        let profile = &config.profile;
        let offer = sdp::offer(&config.host, profile.media, &profile.session_accept);
        let (mut request, _) = self.outside(Method::Invite);
        request
            .header(HeaderName::Contact, &config.contact)
            .header(HeaderName::Allow, super::ALLOW)
            .body("application/sdp", offer.into());
        let id = self.send(request);
        self.opening = Opening::Inviting(Inviting {
            id,
            until: now + RING,
            cancelled: false,
        });
    }

    /// Nobody takes the session, or the outcome of the INVITE was lost.
    pub(super) fn invite_is_late(&mut self, now: Instant) {
        if self
            .abandoned
            .as_ref()
            .is_some_and(|inviting| inviting.until <= now)
        {
            self.abandoned = None;
        }
        if let Opening::Inviting(inviting) = &mut self.opening
            && inviting.until <= now
        {
            let id = inviting.id;
            if inviting.cancelled {
                self.answer(now, id, Outcome::Failed(Failure::Timeout));
            } else {
                inviting.cancelled = true;
                inviting.until = now + CANCELLED_WITHIN;
                self.outputs.push_back(Output::Cancel { id });
            }
        }
    }

    /// The peer's INVITE came while ours was on its way: theirs is kept.
    pub(super) fn abandon(&mut self, now: Instant) {
        let Opening::Inviting(inviting) = &self.opening else {
            return;
        };
        let id = inviting.id;
        if !inviting.cancelled {
            self.outputs.push_back(Output::Cancel { id });
        }
        self.opening = Opening::Nothing;
        self.abandoned = Some(Inviting {
            id,
            until: now + CANCELLED_WITHIN + RING,
            cancelled: true,
        });
    }

    /// The outcome of any request of ours.
    pub(super) fn answer(&mut self, now: Instant, id: SendId, outcome: Outcome) {
        if let Some(sent) = self.on_its_way.take_if(|sent| sent.id == id) {
            return self.message_answered(now, sent.dialog, outcome);
        }
        let inviting = matches!(&self.opening, Opening::Inviting(inviting) if inviting.id == id);
        let abandoned = self
            .abandoned
            .as_ref()
            .is_some_and(|inviting| inviting.id == id);
        match outcome {
            Outcome::Response(response) if response.status().is_some_and(Status::is_success) => {
                if inviting || abandoned {
                    self.accepted(now, id, response);
                } else {
                    self.accepted_again(now, id, &response);
                }
            }
            outcome if inviting => self.refused(now, outcome),
            _ if abandoned => self.abandoned = None,
            // Typing and BYE. A peer that has forgotten the session says so with the next text.
            _ => {}
        }
    }

    /// 2xx to our INVITE: it is acknowledged in any case.
    fn accepted(&mut self, now: Instant, id: SendId, response: Box<Message>) {
        let abandoned = self
            .abandoned
            .take_if(|inviting| inviting.id == id)
            .is_some();
        if !abandoned {
            self.opening = Opening::Nothing;
        }
        let Ok(dialog) = Dialog::of_response(&response) else {
            // It can't be acknowledged and will end at the peer for want of an ACK.
            if !abandoned {
                self.fail_all(&Cause::Peer(Outcome::Response(response)));
            }
            return;
        };
        let cseq = dialog.local_cseq();
        self.outputs.push_back(Output::Ack(dialog.ack(cseq)));
        let mut open = Open::confirmed(dialog, now);
        open.invited = Some((id, cseq));
        let takes_texts = response.body().is_empty()
            || invitation::description(&response)
                .is_some_and(|description| sdp::Offer::parse(&description).is_ok());
        if !takes_texts {
            self.bye(open);
            if !abandoned {
                self.fall_back(Outcome::Response(response));
            }
        } else if abandoned && !self.open.is_empty() {
            // Both were accepted. This one still takes what comes, and stays if the other goes.
            open.ends = Some(now + self.random.between(SECOND_FROM, SECOND_TO));
            self.open.push_behind(open);
            self.outputs.push_back(Output::Persist);
        } else if !self.queue.is_empty() {
            self.open.push(open);
            self.outputs.push_back(Output::Persist);
        } else {
            // Nobody has anything to say any more.
            self.bye(open);
        }
    }

    /// A further 2xx: a repeat is acknowledged again, a fork acknowledged and ended.
    fn accepted_again(&mut self, now: Instant, id: SendId, response: &Message) {
        let Ok(head) = Head::of(response) else {
            return;
        };
        if head.cseq.method != Method::Invite {
            return;
        }
        let number = head.cseq.number;
        let known = self
            .open
            .iter()
            .find(|open| open.invited == Some((id, number)) && open.dialog.owns_response(&head));
        if let Some(open) = known {
            self.outputs.push_back(Output::Ack(open.dialog.ack(number)));
        } else if let Ok(dialog) = Dialog::of_response(response) {
            self.outputs.push_back(Output::Ack(dialog.ack(number)));
            self.bye(Open::confirmed(dialog, now));
        }
    }

    /// Another final response to our INVITE, or none.
    fn refused(&mut self, now: Instant, outcome: Outcome) {
        let cancelled = matches!(&self.opening, Opening::Inviting(inviting) if inviting.cancelled);
        self.opening = Opening::Nothing;
        if cancelled && outcome.status() == Status::REQUEST_TERMINATED {
            // The cancelling was ours: nobody took the session in time.
            return self.fall_back(Outcome::Failed(Failure::Timeout));
        }
        if outcome.status() == Status::REQUEST_PENDING {
            let until = now + self.random.between(Duration::ZERO, GLARE_PAUSE);
            self.opening = Opening::Pausing { until };
        } else {
            self.fall_back(outcome);
        }
    }

    /// The peer takes no session: pager mode, or the end for all that waits.
    fn fall_back(&mut self, outcome: Outcome) {
        let no_session = matches!(outcome.status().code(), 200..=299 | 405 | 415 | 488 | 501);
        if no_session && self.config.profile.pager_fallback {
            self.mode = ImMode::Pager;
        } else {
            self.fail_all(&Cause::Peer(outcome));
        }
    }

    /// The outcome of a text.
    fn message_answered(&mut self, now: Instant, dialog: Option<Box<str>>, outcome: Outcome) {
        if let Some(tag) = &dialog {
            self.open.spoken(now, tag);
        }
        let Some(text) = self.queue.front_mut() else {
            return;
        };
        let damage = outcome.damage();
        if damage == Damage::None {
            let token = text.token;
            self.queue.pop_front();
            return self.outputs.push_back(Output::Delivered(token));
        }
        let code = outcome.status().code();
        let profile = &self.config.profile;
        let again = match &dialog {
            Some(_) if matches!(code, 415 | 488) && profile.pager_fallback => {
                text.by_pager = true;
                true
            }
            Some(tag)
                if matches!(damage, Damage::Usage | Damage::Dialog)
                    || outcome == Outcome::Failed(Failure::Transport) =>
            {
                // Once more in a new session; the peer may have forgotten this one or be another
                // server by now. It does not hear a BYE.
                let again = !std::mem::replace(&mut text.tried, true);
                self.forget(tag);
                again
            }
            None if matches!(code, 405 | 501) && profile.session_fallback && !text.by_pager => {
                self.mode = ImMode::Session;
                !std::mem::replace(&mut text.tried, true)
            }
            _ => false,
        };
        if !again && let Some(text) = self.queue.pop_front() {
            self.outputs.push_back(Output::Failed {
                token: text.token,
                cause: Cause::Peer(outcome),
            });
        }
    }
}
