//! Stanzas for local users, made of what peers sent, and what a local user's message says to a peer
//! (RFC 7572, 7573, 8048).

use std::borrow::Cow;

use entente_xmpp_core::element::Element;
use entente_xmpp_core::error::{StanzaCondition, StanzaError};
use entente_xmpp_core::jid::Jid;
use entente_xmpp_core::ns;
use entente_xmpp_core::stanza::{MessageType, Payload, PresenceType, Stanza};

use crate::failure::SipFailure;
use crate::presence::{ClientKind, Presence, children};
use crate::time::UtcTime;
use crate::typing::ChatState;

/// A text from a peer for a local user.
#[derive(Debug, Clone, Copy)]
pub struct TextMessage<'a> {
    /// The peer's user; with the device's resource if the Contact has one (`gr`).
    pub from: &'a Jid,
    /// The local user.
    pub to: &'a Jid,
    /// Unique for the sender: of Call-ID and CSeq, so that a repetition is the same message.
    pub id: &'a str,
    /// The text.
    pub text: &'a str,
    /// The value of Subject.
    pub subject: Option<&'a str>,
    /// The conversation: the Call-ID of the session (RFC 7572 section 5.1).
    pub thread: Option<&'a str>,
    /// When it was sent, if that is long ago (Date); who stamps is the peer's domain.
    pub sent: Option<UtcTime>,
}

impl TextMessage<'_> {
    /// The message stanza, of type chat, with the state active.
    #[must_use]
    pub fn to_stanza(&self) -> Stanza {
        let mut message = message(self.from, self.to, self.id);
        if let Some(subject) = self.subject.filter(|subject| !subject.trim().is_empty()) {
            message.push(Element::new(ns::CLIENT, "subject").text(subject));
        }
        message.push(Element::new(ns::CLIENT, "body").text(self.text));
        push_thread(&mut message, self.thread);
        message.push(Element::new(ns::CHAT_STATES, ChatState::Active.as_str()));
        if let Some(sent) = self.sent {
            let delay = Element::new(ns::DELAY, "delay")
                .attr("from", self.from.domain().to_owned())
                .attr("stamp", sent.to_datetime());
            message.push(delay);
        }
        made(&message)
    }
}

/// A notice that a peer's user types, or has stopped. It is not to be stored.
#[must_use]
pub fn chat_state(
    from: &Jid,
    to: &Jid,
    id: &str,
    state: ChatState,
    thread: Option<&str>,
) -> Stanza {
    let mut message = message(from, to, id);
    message.push(Element::new(ns::CHAT_STATES, state.as_str()));
    push_thread(&mut message, thread);
    message.push(Element::new(ns::HINTS, "no-store"));
    made(&message)
}

/// What a peer's user does, for a local client of that kind. See [`read`](crate::presence::read).
#[must_use]
pub fn presence(from: &Jid, to: &Jid, shown: &Presence, receiver: ClientKind) -> Stanza {
    let kind = if shown.availability.is_open() {
        PresenceType::Available
    } else {
        PresenceType::Unavailable
    };
    made(&bare_presence(from, to, kind).children(children(shown, receiver)))
}

/// Presence without content: subscription requests and answers, probes, unavailable.
#[must_use]
pub fn presence_of_type(from: &Jid, to: &Jid, kind: PresenceType) -> Stanza {
    made(&bare_presence(from, to, kind))
}

/// The answer to a local user's stanza that a peer refused or never got; none for what must not be
/// answered with an error. The original content goes along, so that the client shows which text it was.
#[must_use]
pub fn failed(stanza: &Stanza, failure: &SipFailure<'_>) -> Option<Stanza> {
    stanza.error_reply(&failure.to_stanza_error(), true)
}

fn message(from: &Jid, to: &Jid, id: &str) -> Element {
    Element::new(ns::CLIENT, "message")
        .attr("from", from.as_str().to_owned())
        .attr("to", to.as_str().to_owned())
        .attr("type", MessageType::Chat.as_str())
        .attr("id", id.to_owned())
}

fn push_thread(message: &mut Element, thread: Option<&str>) {
    if let Some(thread) = thread {
        message.push(Element::new(ns::CLIENT, "thread").text(thread));
    }
}

fn bare_presence(from: &Jid, to: &Jid, kind: PresenceType) -> Element {
    Element::new(ns::CLIENT, "presence")
        .attr("from", from.as_str().to_owned())
        .attr("to", to.as_str().to_owned())
        .attr_opt("type", kind.as_str())
}

fn made(element: &Element) -> Stanza {
    element
        .to_stanza()
        .expect("a stanza built from checked parts")
}

/// What a local user's message is to a SIP peer.
#[derive(Debug, Clone, PartialEq)]
pub enum Outgoing {
    /// A text, for MESSAGE.
    Text(Box<OutgoingText>),
    /// A chat state alone, for a notice as the peer likes it.
    ChatState(ChatState),
    /// Nothing that the peer could be told: receipts, markers, hints, errors. Taken and dropped.
    Nothing,
    /// Something that the peer cannot be told and the sender must know about.
    Refused(StanzaError),
}

/// A text for a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingText {
    /// The text.
    pub text: String,
    /// For Subject: one line.
    pub subject: Option<String>,
    /// The conversation (RFC 7572 section 4).
    pub thread: Option<String>,
    /// For Date: when it was sent, if it was delayed (XEP-0203).
    pub sent: Option<UtcTime>,
    /// For Content-Language.
    pub language: Option<String>,
    /// The state that came with it; a text that does not say otherwise is active.
    pub state: ChatState,
}

/// Reads a local user's message for a peer.
///
/// Messages of type groupchat mean a room, which a SIP user is not (RFC 7702 is another protocol).
/// Encrypted messages are refused, because their body, if any, says only that the receiver cannot
/// read them.
#[must_use]
pub fn read_message(stanza: &Stanza) -> Outgoing {
    match stanza.message_type() {
        None | Some(MessageType::Error) => return Outgoing::Nothing,
        Some(MessageType::Groupchat) => {
            return refused(
                StanzaCondition::FeatureNotImplemented,
                "The recipient is no room.",
            );
        }
        Some(MessageType::Chat | MessageType::Headline | MessageType::Normal) => {}
    }
    if stanza.payload(Payload::Encrypted) {
        return refused(
            StanzaCondition::NotAcceptable,
            "The recipient's system cannot read encrypted messages.",
        );
    }
    let element = stanza.to_element();
    let state = element
        .elements()
        .filter(|child| child.ns() == ns::CHAT_STATES)
        .find_map(|child| ChatState::from_name(child.name()));
    let body = in_language(&element, "body")
        .map(|body| clean(&body))
        .filter(|body| !body.trim().is_empty());
    match (body, state) {
        (Some(text), state) => Outgoing::Text(Box::new(OutgoingText {
            text,
            subject: in_language(&element, "subject").and_then(|subject| one_line(&subject)),
            thread: in_language(&element, "thread").and_then(|thread| one_line(&thread)),
            sent: element
                .get_child(ns::DELAY, "delay")
                .and_then(|delay| delay.get_attr("stamp"))
                .and_then(UtcTime::from_datetime),
            language: stanza
                .lang()
                .filter(|lang| is_language(lang))
                .map(str::to_owned),
            state: state.unwrap_or(ChatState::Active),
        })),
        (None, Some(state)) => Outgoing::ChatState(state),
        (None, None) if element.elements().all(says_nothing) => Outgoing::Nothing,
        (None, None) => refused(
            StanzaCondition::FeatureNotImplemented,
            "The recipient's system takes text only.",
        ),
    }
}

/// The answer to a local user's request for a peer's user: SIP has nothing like it.
#[must_use]
pub fn refuse_request(request: &Stanza) -> Option<Stanza> {
    request.error_reply(
        &StanzaError::new(StanzaCondition::FeatureNotImplemented),
        false,
    )
}

fn refused(condition: StanzaCondition, text: &'static str) -> Outgoing {
    Outgoing::Refused(StanzaError::new(condition).with_text(text))
}

/// Children that matter to XMPP only, or that are no loss.
fn says_nothing(child: &Element) -> bool {
    matches!(
        child.ns(),
        ns::RECEIPTS | ns::CHAT_MARKERS | ns::HINTS | ns::STANZA_ID | ns::DELAY | ns::CARBONS
    ) || matches!(
        (child.ns(), child.name()),
        (ns::CLIENT, "body" | "subject" | "thread" | "error")
    )
}

/// The text of the child without a language of its own, or else of the first.
fn in_language<'a>(message: &'a Element, name: &str) -> Option<Cow<'a, str>> {
    let all = || {
        message
            .elements()
            .filter(|child| child.is(message.ns(), name))
    };
    all()
        .find(|child| child.get_attr("xml:lang").is_none())
        .or_else(|| all().next())
        .map(Element::content_text)
}

/// Line ends as SIP clients expect them in text/plain (RFC 2046 section 4.1.1).
fn clean(text: &str) -> String {
    text.replace("\r\n", "\n")
        .replace('\r', "\n")
        .replace('\n', "\r\n")
}

/// A header's value: control characters become spaces.
fn one_line(text: &str) -> Option<String> {
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let line = line.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// A language tag that may stand in a header (RFC 5646, roughly).
fn is_language(tag: &str) -> bool {
    (1..=35).contains(&tag.len())
        && tag
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests;
