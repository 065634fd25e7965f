//! What the peer sends: INVITE, ACK, MESSAGE, INFO, BYE and the rest.

use std::time::{Duration, Instant};

use super::open::{Open, Unacked};
use super::{
    ACK_WITHIN, ALLOW, Answered, Opening, Output, REMEMBERED, REPEAT_FIRST, Session, Unanswered,
    invitation, sdp,
};
use crate::dialog::{Admission, Dialog, Head};
use crate::header::HeaderName;
use crate::message::Message;
use crate::method::Method;
use crate::reply::Reply;
use crate::status::Status;
use crate::usage::{Document, RequestId, RequestName};

/// A session that was silent for this long makes room for a new one: its endpoint may have forgotten it.
const SILENT: Duration = Duration::from_secs(60);

/// A text whose verdict does not come is forgotten after this. Much longer than its transaction: a home
/// that takes it late must not take it again when the peer repeats it.
const VERDICT_WITHIN: Duration = Duration::from_secs(600);

/// What a full queue of the peer's texts tells it, in seconds.
const RETRY_AFTER: &str = "5";

impl Session {
    pub(super) fn request(&mut self, now: Instant, id: RequestId, request: Box<Message>) {
        let (Ok(head), Some(method)) = (Head::of(&request), request.method().cloned()) else {
            return self.respond(id, Reply::stateless(&request, Status::BAD_REQUEST));
        };
        if head.to.tag().is_none() {
            let (call_id, cseq) = (head.call_id.to_owned(), head.cseq.number);
            return match method {
                Method::Invite => self.invited(now, id, &head, &request),
                Method::Message => {
                    let tag = self.fresh_tag();
                    self.heard(now, id, (&call_id, cseq), tag, request);
                }
                _ => self.not_allowed(id, &request),
            };
        }
        let Some(open) = self.open.of_request(&head) else {
            return self.respond(id, Reply::new(&request, Status::CALL_DOES_NOT_EXIST, ""));
        };
        let (call_id, cseq) = (head.call_id.to_owned(), head.cseq.number);
        let tag: Box<str> = open.dialog.local_tag().into();
        let admission = open.dialog.admit(cseq);
        if method == Method::Message && admission != Admission::Fresh {
            return self.heard_before(id, (&call_id, cseq), tag, request);
        }
        if admission == Admission::Stale {
            return self.respond(id, Reply::new(&request, Status::SERVER_INTERNAL_ERROR, ""));
        }
        match method {
            Method::Message => {
                // A peer that speaks has our 2xx: its ACK was overtaken.
                open.acknowledged(None);
                self.heard(now, id, (&call_id, cseq), tag, request);
            }
            Method::Info => self.informed(now, id, &tag, &request),
            Method::Invite => self.invited_again(now, id, &tag, &request),
            Method::Bye => self.left(id, &tag, &request),
            Method::Options => {
                let mut reply = Reply::new(&request, Status::OK, "");
                reply
                    .header(HeaderName::Allow, ALLOW)
                    .header(HeaderName::Accept, &self.accepted_types());
                self.respond(id, reply);
            }
            _ => self.not_allowed(id, &request),
        }
    }

    fn respond(&mut self, id: RequestId, reply: Reply) {
        self.outputs.push_back(Output::Respond { id, reply });
    }

    /// UPDATE, PRACK and REFER are methods that we know and do not do; others we do not know.
    fn not_allowed(&mut self, id: RequestId, request: &Message) {
        let status = match request.method() {
            Some(Method::Extension(_)) => Status::NOT_IMPLEMENTED,
            _ => Status::METHOD_NOT_ALLOWED,
        };
        let tag = self.fresh_tag();
        let mut reply = Reply::new(request, status, &tag);
        reply.header(HeaderName::Allow, ALLOW);
        self.respond(id, reply);
    }

    /// INVITE to a new session.
    fn invited(&mut self, now: Instant, id: RequestId, head: &Head<'_>, request: &Message) {
        if let Some(tag) = self.open.made_by(head) {
            return self.invited_again(now, id, &tag, request);
        }
        let tag = self.fresh_tag();
        let invitation = match invitation::read(request) {
            Ok(invitation) => invitation,
            Err(refusal) => return self.respond(id, refusal.reply(request, &tag)),
        };
        let first_cseq = self.random.first_cseq();
        let Ok(dialog) = Dialog::of_request(request, &tag, first_cseq) else {
            return self.respond(id, Reply::new(request, Status::BAD_REQUEST, &tag));
        };
        if self.open.len() >= self.config.profile.sessions {
            match self.open.remove_silent(now, SILENT) {
                Some(silent) => self.bye(silent),
                None => return self.too_many(id, request, &tag),
            }
        }
        // Glare: the peer's INVITE is kept.
        self.abandon(now);
        self.opening = Opening::Nothing;
        let contact = dialog.contact(&self.config.contact).into_owned();
        let unacked = self.accept(now, id, (&tag, &contact), &invitation, request);
        self.open.push(Open {
            unacked: Some(unacked),
            confirmed: false,
            ..Open::confirmed(dialog, now)
        });
    }

    /// As many sessions as may be are in use.
    fn too_many(&mut self, id: RequestId, request: &Message, tag: &str) {
        let mut reply = Reply::new(request, Status::BUSY_HERE, tag);
        let text = "as many sessions as may be are open between the two";
        reply
            .header(
                HeaderName::Warning,
                &format!("399 {} \"{text}\"", self.config.host),
            )
            .header(
                HeaderName::Reason,
                &format!("SIP;cause={};text=\"{text}\"", Status::BUSY_HERE),
            )
            .header(HeaderName::RetryAfter, &SILENT.as_secs().to_string());
        self.respond(id, reply);
    }

    /// INVITE within the session: a new description, or a way to see whether we live.
    fn invited_again(&mut self, now: Instant, id: RequestId, tag: &str, request: &Message) {
        let invitation = match invitation::read(request) {
            Ok(invitation) => invitation,
            Err(refusal) => return self.respond(id, refusal.reply(request, "")),
        };
        let Some(open) = self.open.tagged(tag) else {
            return;
        };
        open.dialog.refresh_target(request);
        open.spoken = now;
        let contact = open.dialog.contact(&self.config.contact).into_owned();
        let unacked = self.accept(now, id, (tag, &contact), &invitation, request);
        if let Some(open) = self.open.tagged(tag) {
            open.unacked = Some(unacked);
        }
    }

    /// 200 with our description; it goes out again until ACK comes.
    fn accept(
        &mut self,
        now: Instant,
        id: RequestId,
        (tag, contact): (&str, &str),
        invitation: &invitation::Invitation,
        request: &Message,
    ) -> Unacked {
        let config = &self.config;
        let accept = &config.profile.session_accept;
        let description = match invitation {
            invitation::Invitation::Offered(offer) => offer.answer(&config.host, accept),
            invitation::Invitation::Bare => sdp::offer(&config.host, config.profile.media, accept),
        };
        let mut reply = Reply::new(request, Status::OK, tag);
        reply
            .header(HeaderName::Contact, contact)
            .header(HeaderName::Allow, ALLOW)
            .body("application/sdp", description.into());
        self.outputs.push_back(Output::Persist);
        self.respond(id, reply.clone());
        Unacked {
            id,
            reply,
            cseq: request.cseq().map_or(0, |cseq| cseq.number),
            again: now + REPEAT_FIRST,
            pause: REPEAT_FIRST,
            give_up: now + ACK_WITHIN,
        }
    }

    /// ACK of a 2xx of ours.
    pub(super) fn acknowledged(&mut self, request: &Message) {
        if let Ok(head) = Head::of(request)
            && let Some(open) = self.open.of_request(&head)
        {
            open.acknowledged(Some(head.cseq.number));
        }
    }

    fn left(&mut self, id: RequestId, tag: &str, request: &Message) {
        self.respond(id, Reply::new(request, Status::OK, ""));
        // A text on its way has its own answer still to come: 481 if it crossed the BYE.
        self.forget(tag);
    }

    /// A text of the peer, or a sign that it types one.
    fn heard(
        &mut self,
        now: Instant,
        id: RequestId,
        (call_id, cseq): (&str, u32),
        tag: Box<str>,
        request: Box<Message>,
    ) {
        if self.answered_before(call_id, cseq).is_some() || self.waits(call_id, cseq).is_some() {
            return self.heard_before(id, (call_id, cseq), tag, request);
        }
        self.unanswered
            .retain(|text| now < text.since + VERDICT_WITHIN);
        if is(&request, "application", "im-iscomposing+xml") {
            self.open.spoken(now, &tag);
            self.respond(id, Reply::new(&request, Status::OK, &tag));
            return self.outputs.push_back(Output::Typing(document(&request)));
        }
        if self.unanswered.len() >= self.config.profile.unanswered_texts {
            let mut reply = Reply::new(&request, Status::SERVICE_UNAVAILABLE, &tag);
            reply.header(HeaderName::RetryAfter, RETRY_AFTER);
            return self.respond(id, reply);
        }
        self.open.prefer(now, &tag);
        let document = document(&request);
        let name = RequestName::of(&request);
        self.unanswered.push(Unanswered {
            id,
            answer_to: id,
            request,
            tag,
            since: now,
        });
        self.outputs.push_back(Output::Text { id, name, document });
    }

    /// A MESSAGE whose number came before: the same text past its transaction, because a node died. It
    /// is delivered once.
    fn heard_before(
        &mut self,
        id: RequestId,
        (call_id, cseq): (&str, u32),
        tag: Box<str>,
        request: Box<Message>,
    ) {
        if let Some(status) = self.answered_before(call_id, cseq) {
            return self.respond(id, Reply::new(&request, status, &tag));
        }
        match self.waits(call_id, cseq) {
            Some(text) => {
                // Its first transaction died with a node, so this one gets the answer; the verdict
                // still comes by the first name.
                text.request = request;
                text.tag = tag;
                text.answer_to = id;
            }
            None => self.respond(
                id,
                Reply::new(&request, Status::SERVER_INTERNAL_ERROR, &tag),
            ),
        }
    }

    fn waits(&mut self, call_id: &str, cseq: u32) -> Option<&mut Unanswered> {
        self.unanswered.iter_mut().find(|text| {
            text.request.call_id() == Ok(call_id)
                && text.request.cseq().is_ok_and(|known| known.number == cseq)
        })
    }

    fn answered_before(&self, call_id: &str, cseq: u32) -> Option<Status> {
        self.answered
            .iter()
            .find(|known| &*known.call_id == call_id && known.cseq == cseq)
            .map(|known| known.status)
    }

    /// What became of a text of the peer.
    pub(super) fn verdict(
        &mut self,
        now: Instant,
        id: RequestId,
        status: Status,
        headers: &[(HeaderName, Box<str>)],
    ) {
        let Some(at) = self.unanswered.iter().position(|text| text.id == id) else {
            return;
        };
        let text = self.unanswered.remove(at);
        self.open.spoken(now, &text.tag);
        if let (Ok(call_id), Ok(cseq)) = (text.request.call_id(), text.request.cseq()) {
            if self.answered.len() == REMEMBERED {
                self.answered.pop_front();
            }
            self.answered.push_back(Answered {
                call_id: call_id.into(),
                cseq: cseq.number,
                status,
            });
        }
        let mut reply = Reply::new(&text.request, status, &text.tag);
        if status == Status::UNSUPPORTED_MEDIA_TYPE {
            reply.header(HeaderName::Accept, &self.accepted_types());
        }
        for (name, value) in headers {
            reply.header(*name, value);
        }
        self.respond(text.answer_to, reply);
    }

    fn informed(&mut self, now: Instant, id: RequestId, tag: &str, request: &Message) {
        if !request.body().is_empty() && !is(request, "application", "xml") {
            let mut reply = Reply::new(request, Status::UNSUPPORTED_MEDIA_TYPE, "");
            reply.header(HeaderName::Accept, "application/xml");
            return self.respond(id, reply);
        }
        self.open.spoken(now, tag);
        self.respond(id, Reply::new(request, Status::OK, ""));
        if !request.body().is_empty() {
            self.outputs.push_back(Output::Typing(document(request)));
        }
    }

    fn accepted_types(&self) -> String {
        self.config.profile.session_accept.replace(' ', ", ")
    }
}

fn is(message: &Message, type_: &str, subtype: &str) -> bool {
    message
        .content_type()
        .ok()
        .flatten()
        .is_some_and(|media| media.is(type_, subtype))
}

fn document(message: &Message) -> Document {
    Document {
        content_type: message
            .get(HeaderName::ContentType)
            .unwrap_or("text/plain")
            .into(),
        body: message.body_bytes(),
    }
}
