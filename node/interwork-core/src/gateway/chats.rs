//! Texts between a local user and a remote person (requirements I1 to I4).
//!
//! A peer's MESSAGE gets its 200 when the user's home has taken responsibility for the text, and the
//! user's stanza is taken when the peer has said 200. What can't be delivered comes back in words.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use entente_sip_core::header::HeaderName;
use entente_sip_core::message::Message;
use entente_sip_core::profile::Typing as TypingStyle;
use entente_sip_core::session::{
    Cause, Input, Output, Session, SessionConfig, StoredSession, TextToken,
};
use entente_sip_core::status::Status;
use entente_sip_core::usage::{Document, Outcome, Pair, RequestId, RequestName, SendId};
use entente_xmpp_core::error::{StanzaCondition, StanzaError};
use entente_xmpp_core::stanza::Stanza;

use super::contract::StanzaId;
use super::ledger::Ledger;
use super::line::{Item, Line};
use crate::address::AddressError;
use crate::failure::{DeliveryFailure, SipAnswer, SipFailure};
use crate::stanzas::{self, Outgoing, TextMessage};
use crate::text::{self, Content};
use crate::typing::{ChatState, IS_COMPOSING, KEYBOARD_ACTIVITY, Typing};

/// A text of the user that the peer has not answered.
#[derive(Debug)]
struct Said {
    id: Option<StanzaId>,
    stanza: Stanza,
}

/// What is said between one local user and one remote person.
#[derive(Debug)]
pub(super) struct Chat {
    pub(super) line: Line,
    session: Session,
    said: HashMap<TextToken, Said>,
    /// Texts of the peer that the home has not answered. Their names are the ids of their stanzas.
    heard: HashMap<RequestName, RequestId>,
    last: u64,
}

impl Chat {
    /// Nothing is said yet.
    ///
    /// # Errors
    /// [`AddressError`] if one of the two has no SIP address.
    pub(super) fn new(
        ledger: &mut Ledger,
        line: Line,
        config: Arc<SessionConfig>,
    ) -> Result<Self, AddressError> {
        let rules = &line.peer.rules;
        let pair = Pair {
            local: format!("<{}>", rules.local_to_wire(&line.user)?).into(),
            remote: rules.remote_to_wire(&line.person)?.to_string().into(),
            owner: (ledger.settings.owner)(&line.user),
        };
        let session = Session::new(config, pair, ledger.seed());
        Ok(Self::of(line, session))
    }

    /// A record of the store: the session goes on.
    pub(super) fn wake(
        ledger: &mut Ledger,
        line: Line,
        config: Arc<SessionConfig>,
        stored: StoredSession,
    ) -> Self {
        let seed = ledger.seed();
        let mut session = stored.wake(ledger.moment, config, seed);
        session.take_over(ledger.now());
        let mut chat = Self::of(line.recorded(), session);
        chat.drain(ledger);
        chat
    }

    fn of(line: Line, session: Session) -> Self {
        Self {
            line,
            session,
            said: HashMap::new(),
            heard: HashMap::new(),
            last: 0,
        }
    }

    /// Our tags of the open sessions.
    pub(super) fn tags(&self) -> impl Iterator<Item = &str> {
        self.session.local_tags()
    }

    pub(super) fn is_over(&self) -> bool {
        self.session.is_idle()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.session.poll_timeout()
    }

    pub(super) fn timeout(&mut self, ledger: &mut Ledger) {
        let now = ledger.now();
        if self.poll_timeout().is_some_and(|at| at <= now) {
            self.input(ledger, Input::Timeout);
        }
    }

    fn input(&mut self, ledger: &mut Ledger, input: Input) {
        self.session.handle_input(ledger.now(), input);
        self.drain(ledger);
    }

    /// A message stanza of the user.
    pub(super) fn say(&mut self, ledger: &mut Ledger, id: Option<StanzaId>, stanza: Stanza) {
        match stanzas::read_message(&stanza) {
            Outgoing::Text(text) => {
                self.last += 1;
                let token = TextToken(self.last);
                self.said.insert(token, Said { id, stanza });
                let document = Document {
                    content_type: text::CONTENT_TYPE.into(),
                    body: Bytes::from(text.text),
                };
                self.input(ledger, Input::Text { token, document });
            }
            Outgoing::ChatState(state) => {
                if let Some(document) = self.notice(state) {
                    self.input(ledger, Input::Typing(document));
                }
                ledger.taken(id);
            }
            Outgoing::Nothing => ledger.taken(id),
            Outgoing::Refused(error) => {
                if let Some(reply) = stanza.error_reply(&error, false) {
                    ledger.tell(reply);
                }
                ledger.taken(id);
            }
        }
    }

    /// The user's answer to a text that could not be delivered: an error stanza of the home.
    pub(super) fn returned(&mut self, ledger: &mut Ledger, stanza: &Stanza) {
        let name = stanza.id().and_then(|id| RequestName::parse(&id));
        let Some(request) = name.and_then(|name| self.heard.remove(&name)) else {
            return;
        };
        let element = stanza.to_element();
        let error = element.get_child(element.ns(), "error").map_or_else(
            || StanzaError::new(StanzaCondition::ServiceUnavailable),
            StanzaError::from_element,
        );
        self.verdict(ledger, request, &SipAnswer::of_stanza_error(&error));
    }

    /// The home has taken a text of the peer, or can't now.
    pub(super) fn receipt(&mut self, ledger: &mut Ledger, request: RequestId, taken: bool) {
        let name = self
            .heard
            .iter()
            .find_map(|(name, waiting)| (*waiting == request).then_some(*name));
        let Some(name) = name else {
            // The error came first, and was told.
            return;
        };
        self.heard.remove(&name);
        let answer = if taken {
            ledger.heard.note(ledger.moment.now, name);
            SipAnswer::of_status(200)
        } else {
            SipAnswer::of_status(503)
        };
        self.verdict(ledger, request, &answer);
    }

    fn verdict(&mut self, ledger: &mut Ledger, id: RequestId, answer: &SipAnswer) {
        let status = Status::new(answer.status).unwrap_or(Status::SERVER_INTERNAL_ERROR);
        let mut headers: Vec<(HeaderName, Box<str>)> = Vec::new();
        if let Some(warning) = answer.warning(self.line.user.domain()) {
            headers.push((HeaderName::Warning, warning.into()));
        }
        if answer.status == 415 {
            headers.push((HeaderName::Accept, text::ACCEPT.into()));
        }
        self.input(
            ledger,
            Input::Verdict {
                id,
                status,
                headers,
            },
        );
    }

    /// A request of the peer.
    pub(super) fn request(&mut self, ledger: &mut Ledger, id: RequestId, request: Message) {
        let request = Box::new(request);
        self.input(ledger, Input::Request { id, request });
    }

    /// The ACK of a 2xx of ours.
    pub(super) fn ack(&mut self, ledger: &mut Ledger, request: Message) {
        let request = Box::new(request);
        self.input(ledger, Input::Ack { request });
    }

    pub(super) fn answer(&mut self, ledger: &mut Ledger, id: SendId, outcome: Outcome) {
        self.input(ledger, Input::Answer { id, outcome });
    }

    /// What our side does not write to this peer any more: sessions end.
    pub(super) fn end(&mut self, ledger: &mut Ledger) {
        self.input(ledger, Input::End);
    }

    fn notice(&self, state: ChatState) -> Option<Document> {
        let typing: Typing = state.typing();
        let (content_type, body) = match self.line.peer.profile.typing {
            TypingStyle::Info => (
                KEYBOARD_ACTIVITY,
                Bytes::from_static(typing.to_keyboard_activity().as_bytes()),
            ),
            TypingStyle::IsComposing => (IS_COMPOSING, typing.to_is_composing()),
            TypingStyle::Off => return None,
        };
        Some(Document {
            content_type: content_type.into(),
            body,
        })
    }

    fn drain(&mut self, ledger: &mut Ledger) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Persist => {
                    if let Some(record) = self.session.encode() {
                        self.line.push(ledger, Item::Persist(record));
                    }
                }
                Output::Send { id, request } => self.line.push(ledger, Item::Send(id, request)),
                Output::Ack(draft) => self.line.push(ledger, Item::Ack(draft)),
                Output::Cancel { id } => self.line.push(ledger, Item::Cancel(id)),
                Output::Respond { id, reply } => self.line.push(ledger, Item::Respond(id, reply)),
                Output::Text { id, name, document } => {
                    self.hear(ledger, (id, name), &document);
                }
                Output::Typing(document) => self.typing(ledger, &document),
                Output::Delivered(token) => {
                    if let Some(said) = self.said.remove(&token) {
                        ledger.taken(said.id);
                    }
                }
                Output::Failed { token, cause } => self.failed(ledger, token, &cause),
                Output::Closed => self.line.push(ledger, Item::Forget),
            }
        }
    }

    /// The peer says something.
    fn hear(
        &mut self,
        ledger: &mut Ledger,
        (request, name): (RequestId, RequestName),
        document: &Document,
    ) {
        let read = text::read(Some(&document.content_type), &document.body);
        let incoming = match read {
            Ok(incoming) => incoming,
            Err(fault) => {
                let answer = match fault.sip_status() {
                    415 => DeliveryFailure::Format.answer(),
                    status => SipAnswer::of_status(status),
                };
                return self.verdict(ledger, request, &answer);
            }
        };
        match incoming.content {
            Content::Text(text) => {
                let ticket = ledger.ticket_for(&self.line.user, self.line.slot, request);
                // A home knows by the id what another node gave it before.
                let id = name.to_string();
                let stanza = TextMessage {
                    from: self.line.person.as_jid(),
                    to: self.line.user.as_jid(),
                    id: &id,
                    text: &text,
                    subject: incoming.subject.as_deref(),
                    thread: None,
                    sent: incoming.sent,
                };
                self.heard.insert(name, request);
                ledger.entrust(ticket, stanza.to_stanza());
            }
            Content::Typing(typing) => {
                self.show_typing(ledger, typing);
                self.verdict(ledger, request, &SipAnswer::of_status(200));
            }
            Content::Nothing => self.verdict(ledger, request, &SipAnswer::of_status(200)),
        }
    }

    fn typing(&mut self, ledger: &mut Ledger, document: &Document) {
        if let Ok(incoming) = text::read(Some(&document.content_type), &document.body)
            && let Content::Typing(typing) = incoming.content
        {
            self.show_typing(ledger, typing);
        }
    }

    fn show_typing(&mut self, ledger: &mut Ledger, typing: Typing) {
        self.last += 1;
        let id = format!("typing-{}", self.last);
        let from = self.line.person.as_jid();
        let to = self.line.user.as_jid();
        ledger.tell(stanzas::chat_state(
            from,
            to,
            &id,
            typing.chat_state(),
            None,
        ));
    }

    /// A text of the user did not get there.
    fn failed(&mut self, ledger: &mut Ledger, token: TextToken, cause: &Cause) {
        let Some(said) = self.said.remove(&token) else {
            return;
        };
        if *cause == Cause::QueueFull && said.id.is_some() {
            // The holder waits and says it again.
            return ledger.not_taken(said.id);
        }
        let response = match cause {
            Cause::Peer(Outcome::Response(response)) => Some(response),
            _ => None,
        };
        let header = |name| response.and_then(|response| response.get(name));
        let contact = response
            .and_then(|response| response.contact().ok())
            .map(|contact| contact.uri().as_str().to_owned());
        let failure = SipFailure {
            status: cause.status().code(),
            warning: header(HeaderName::Warning),
            diagnostics: header(HeaderName::MsDiagnostics),
            contact: contact.as_deref(),
        };
        if let Some(error) = stanzas::failed(&said.stanza, &failure) {
            ledger.tell(error);
        }
        ledger.taken(said.id);
    }
}
