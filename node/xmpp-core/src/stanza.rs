//! Stanzas: parsed once, forwarded as bytes.
//!
//! A [`Stanza`] is its canonical bytes and a small head. Canonical: the first tag has no `xmlns` for
//! jabber:client or jabber:server, so it takes the default namespace of whatever stream it is written
//! to; and every prefix in it is declared in it. So the same bytes go to clients, to other servers, to
//! other nodes and into the store.
//!
//! A stanza may break rules that are no matter of XML (an address that is none, an IQ without id):
//! [`Stanza::fault`] says so, and the holder answers as its stream demands.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use crate::element::Element;
use crate::jid::Jid;
use crate::ns;
use crate::xml::{Event, Limits, RootScope, Scanner, Span, XmlFault, unescape};

mod fault;
mod head;
mod kind;
mod payload;
mod rewrite;

pub use fault::StanzaFault;
pub(crate) use head::{Head, HeadBuilder, Surplus};
pub use kind::{IqType, MessageType, PresenceType, Show, StanzaKind, StanzaType};
pub use payload::{Payload, Payloads};
pub(crate) use rewrite::canonical_copy;

/// A message, presence or IQ stanza. Cloning copies no bytes.
#[derive(Clone)]
pub struct Stanza {
    bytes: Bytes,
    /// Shared by the clones, and small where a stanza is moved: that happens a dozen times on its way.
    head: Arc<Head>,
}

/// Name and namespace of a child; [`ns::CLIENT`] stands for the content namespace, whichever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Child<'a> {
    /// The namespace.
    pub ns: &'a str,
    /// The local name.
    pub name: &'a str,
}

impl Stanza {
    /// Reads canonical bytes: from the mesh, the store or a builder. Bytes from streams go through
    /// the [`Framer`](crate::framer::Framer).
    ///
    /// # Errors
    /// Whatever breaks XML, the canonical form or the rules for stanzas.
    pub fn parse(bytes: Bytes) -> Result<Self, StanzaFault> {
        let stanza = Self::parse_tolerant(bytes)?;
        match stanza.fault() {
            Some(fault) => Err(fault),
            None => Ok(stanza),
        }
    }

    /// Like [`Stanza::parse`], but a stanza that only breaks the rules for stanzas is returned with
    /// its [`fault`](Stanza::fault), for an answer.
    ///
    /// # Errors
    /// Whatever breaks XML or the canonical form.
    pub fn parse_tolerant(bytes: Bytes) -> Result<Self, StanzaFault> {
        let limits = Limits::TRUSTED;
        if bytes.len() > limits.bytes {
            return Err(XmlFault::TooLarge.into());
        }
        if bytes.first() != Some(&b'<') {
            return Err(XmlFault::StrayText.into());
        }
        let scope = RootScope::with_default(ns::CLIENT);
        let mut scanner = Scanner::default();
        let mut builder = None;
        loop {
            let event = scanner.step(&bytes, &scope, &limits)?;
            match (&mut builder, event) {
                (_, Event::Incomplete) => return Err(XmlFault::Incomplete.into()),
                (None, _) => {
                    let head = HeadBuilder::start(&scanner, &bytes, &scope);
                    builder = Some(head.ok_or(StanzaFault::NotAStanza)?);
                }
                (Some(builder), event) => builder.event(event, &scanner, &bytes, &scope),
            }
            if scanner.depth() == 0 {
                break;
            }
        }
        if scanner.position() != bytes.len() {
            return Err(XmlFault::TrailingBytes.into());
        }
        let builder = builder.ok_or(StanzaFault::NotAStanza)?;
        let (head, surplus) = builder.finish();
        if surplus.first_tag.is_some() {
            return Err(StanzaFault::NotCanonical);
        }
        Ok(Self::from_parts(bytes, head))
    }

    pub(crate) fn from_parts(bytes: Bytes, head: Head) -> Self {
        let head = Arc::new(head);
        Self { bytes, head }
    }

    /// Which of the three stanzas.
    #[must_use]
    pub fn kind(&self) -> StanzaKind {
        match self.head.kind {
            StanzaType::Message(_) => StanzaKind::Message,
            StanzaType::Presence(_) => StanzaKind::Presence,
            StanzaType::Iq(_) => StanzaKind::Iq,
        }
    }

    /// Kind and type. Where the type is unknown (see [`Stanza::fault`]) it counts as error.
    #[must_use]
    pub fn stanza_type(&self) -> StanzaType {
        self.head.kind
    }

    /// The type, if it is a message.
    #[must_use]
    pub fn message_type(&self) -> Option<MessageType> {
        match self.head.kind {
            StanzaType::Message(type_) => Some(type_),
            _ => None,
        }
    }

    /// The type, if it is a presence stanza.
    #[must_use]
    pub fn presence_type(&self) -> Option<PresenceType> {
        match self.head.kind {
            StanzaType::Presence(type_) => Some(type_),
            _ => None,
        }
    }

    /// The type, if it is an IQ stanza.
    #[must_use]
    pub fn iq_type(&self) -> Option<IqType> {
        match self.head.kind {
            StanzaType::Iq(type_) => Some(type_),
            _ => None,
        }
    }

    /// Whether the stanza reports an error: nothing may answer it with an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.head.other_fault != Some(StanzaFault::UnknownType)
            && matches!(
                self.head.kind,
                StanzaType::Message(MessageType::Error)
                    | StanzaType::Presence(PresenceType::Error)
                    | StanzaType::Iq(IqType::Error)
            )
    }

    /// Which rule for stanzas this one breaks, if any.
    #[must_use]
    pub fn fault(&self) -> Option<StanzaFault> {
        self.head.fault()
    }

    /// The sender; `None` too if it is not an address (see [`Stanza::fault`]).
    #[must_use]
    pub fn from(&self) -> Option<&Jid> {
        self.head.from.as_ref()
    }

    /// The recipient; `None` too if it is not an address (see [`Stanza::fault`]).
    #[must_use]
    pub fn to(&self) -> Option<&Jid> {
        self.head.to.as_ref()
    }

    /// The id, references resolved.
    #[must_use]
    pub fn id(&self) -> Option<Cow<'_, str>> {
        self.head.id.map(|span| unescape(self.text(span)))
    }

    /// The `type` attribute as it is written.
    #[must_use]
    pub fn type_(&self) -> Option<&str> {
        self.head.type_.map(|span| self.text(span))
    }

    /// The `xml:lang` attribute as it is written.
    #[must_use]
    pub fn lang(&self) -> Option<&str> {
        self.head.lang.map(|span| self.text(span))
    }

    /// The canonical bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The same stanza in memory of its own. One that comes from a stream shares the memory of the
    /// whole read, up to what the shell reads at once: whoever keeps stanzas for long keeps these.
    #[must_use]
    pub fn unshared(&self) -> Self {
        Self {
            bytes: Bytes::copy_from_slice(&self.bytes),
            head: Arc::clone(&self.head),
        }
    }

    /// The canonical bytes, without a clone.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// What stands between the first and the last tag; empty for `<x/>`.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        self.head.content.of(&self.bytes)
    }

    /// Like [`Stanza::content`], sharing the stanza's memory.
    #[must_use]
    pub fn content_bytes(&self) -> Bytes {
        let Span { start, end } = self.head.content;
        self.bytes.slice(start as usize..end as usize)
    }

    /// The first child element.
    #[must_use]
    pub fn first_child(&self) -> Option<Child<'_>> {
        self.head.first_child.map(|child| Child {
            ns: child.ns.map_or(ns::CLIENT, |span| self.text(span)),
            name: self.text(child.name),
        })
    }

    /// Whether the first child element is `name` in `ns`: what an IQ is about.
    #[must_use]
    pub fn is_about(&self, ns: &str, name: &str) -> bool {
        self.first_child() == Some(Child { ns, name })
    }

    /// Whether the stanza holds the payload.
    #[must_use]
    pub fn payload(&self, payload: Payload) -> bool {
        self.head.payloads.contains(payload)
    }

    /// All payloads that rules ask about.
    #[must_use]
    pub fn payloads(&self) -> Payloads {
        self.head.payloads
    }

    /// The priority of a presence stanza; 0 if there is none or it is no number from -128 to 127.
    #[must_use]
    pub fn priority(&self) -> i8 {
        self.head.priority
    }

    /// What a presence stanza shows; `None` is plainly available, or unknown.
    #[must_use]
    pub fn show(&self) -> Option<Show> {
        self.head.show
    }

    /// The stanza as a tree.
    #[must_use]
    pub fn to_element(&self) -> Element {
        Element::parse(&self.bytes, ns::CLIENT, &Limits::TRUSTED)
            .expect("the bytes of a stanza were scanned before")
    }

    #[cfg(test)]
    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    fn text(&self, span: Span) -> &str {
        head::text(span.of(&self.bytes))
    }
}

impl Element {
    /// The tree as a stanza. Its namespace must be jabber:client or jabber:server; descendants in the
    /// same namespace follow it.
    ///
    /// # Errors
    /// As for [`Stanza::parse`].
    pub fn to_stanza(&self) -> Result<Stanza, StanzaFault> {
        match self.ns() {
            ns::CLIENT | ns::SERVER => Stanza::parse(self.to_bytes(self.ns())),
            _ => Err(StanzaFault::NotAStanza),
        }
    }
}

impl PartialEq for Stanza {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Stanza {}

impl std::fmt::Debug for Stanza {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.bytes))
    }
}

#[cfg(test)]
mod tests;
