//! What is known of a stanza besides its bytes, gathered while the scanner goes over them.

use super::payload::{Payload, Payloads, of_child, of_content_child};
use super::{IqType, MessageType, PresenceType, Show, StanzaFault, StanzaKind, StanzaType};
use crate::jid::{Jid, JidError};
use crate::ns;
use crate::xml::{Event, RootScope, Scanner, Span, unescape};

/// The first child's name and namespace; no namespace stands for the content namespace.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChildName {
    pub(super) ns: Option<Span>,
    pub(super) name: Span,
}

/// See the module's words. Spans are offsets into the stanza's bytes.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(super) kind: StanzaType,
    pub(super) from: Option<Jid>,
    pub(super) to: Option<Jid>,
    pub(super) id: Option<Span>,
    pub(super) type_: Option<Span>,
    pub(super) lang: Option<Span>,
    pub(super) content: Span,
    pub(super) first_child: Option<ChildName>,
    pub(super) payloads: Payloads,
    pub(super) priority: i8,
    pub(super) show: Option<Show>,
    pub(super) malformed_from: bool,
    pub(super) malformed_to: bool,
    /// The first broken rule besides the addresses'.
    pub(super) other_fault: Option<StanzaFault>,
}

impl Head {
    pub(super) fn fault(&self) -> Option<StanzaFault> {
        match (self.malformed_from, self.malformed_to) {
            (true, _) => Some(StanzaFault::MalformedFrom),
            (false, true) => Some(StanzaFault::MalformedTo),
            (false, false) => self.other_fault,
        }
    }

    /// Moves everything behind `from` by `delta` bytes.
    pub(super) fn shift(&mut self, from: u32, delta: i64) {
        let moved = |at: u32| match at >= from {
            true => (i64::from(at) + delta) as u32,
            false => at,
        };
        let shift = |span: &mut Span| {
            span.start = moved(span.start);
            span.end = moved(span.end);
        };
        [&mut self.id, &mut self.type_, &mut self.lang]
            .into_iter()
            .flatten()
            .for_each(shift);
        shift(&mut self.content);
        if let Some(child) = &mut self.first_child {
            shift(&mut child.name);
            child.ns.as_mut().into_iter().for_each(shift);
        }
    }
}

/// Text of a child that is wanted, from here on.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    Show(u32),
    Priority(u32),
}

/// Parts of the stanza that canonical bytes do not have.
#[derive(Debug, Default)]
pub(crate) struct Surplus {
    /// `xmlns` on the first tag.
    pub(crate) first_tag: Option<Span>,
    /// `xmlns` of the content namespace repeated on children.
    pub(crate) children: Vec<Span>,
}

/// Builds a [`Head`] from the scanner's events, from the first tag on.
#[derive(Debug)]
pub(crate) struct HeadBuilder {
    head: Head,
    children: u32,
    wanted: Option<Wanted>,
    pub(crate) surplus: Surplus,
    /// The stanza's own namespace: jabber:client or jabber:server.
    content_ns: &'static str,
    in_muc_user: bool,
}

impl HeadBuilder {
    /// Takes the first tag just scanned. `None` if it is not a stanza in a content namespace, or is
    /// written with a prefix.
    pub(crate) fn start(scanner: &Scanner, bytes: &[u8], scope: &RootScope) -> Option<Self> {
        let name = scanner.name();
        if !name.prefix.is_empty() {
            return None;
        }
        let kind = StanzaKind::from_name(name.local.of(bytes))?;
        let content_ns = match scanner.lookup(Span::default(), bytes, scope) {
            namespace if namespace == ns::CLIENT.as_bytes() => ns::CLIENT,
            namespace if namespace == ns::SERVER.as_bytes() => ns::SERVER,
            _ => return None,
        };
        let end = scanner.token().end;
        let mut builder = Self {
            head: Head {
                kind: StanzaType::Message(MessageType::Normal),
                from: None,
                to: None,
                id: None,
                type_: None,
                lang: None,
                content: Span { start: end, end },
                first_child: None,
                payloads: Payloads::default(),
                priority: 0,
                show: None,
                malformed_from: false,
                malformed_to: false,
                other_fault: None,
            },
            children: 0,
            wanted: None,
            surplus: Surplus::default(),
            content_ns,
            in_muc_user: false,
        };
        builder.attributes(scanner, bytes);
        builder.classify(kind, bytes);
        Some(builder)
    }

    pub(crate) fn content_ns(&self) -> &'static str {
        self.content_ns
    }

    fn attributes(&mut self, scanner: &Scanner, bytes: &[u8]) {
        for attribute in scanner.attributes() {
            let value = attribute.value;
            match attribute.name.whole().of(bytes) {
                b"to" => match address(value.of(bytes)) {
                    Ok(jid) => self.head.to = Some(jid),
                    Err(_) => self.head.malformed_to = true,
                },
                b"from" => match address(value.of(bytes)) {
                    Ok(jid) => self.head.from = Some(jid),
                    Err(_) => self.head.malformed_from = true,
                },
                b"id" => self.head.id = Some(value),
                b"type" => self.head.type_ = Some(value),
                b"xml:lang" => self.head.lang = Some(value),
                b"xmlns" => self.surplus.first_tag = Some(attribute.whole()),
                _ => {}
            }
        }
    }

    fn classify(&mut self, kind: StanzaKind, bytes: &[u8]) {
        let value = self.head.type_.map(|span| text(span.of(bytes)));
        let kind = match kind {
            StanzaKind::Message => StanzaType::Message(MessageType::from_attribute(value)),
            StanzaKind::Presence => match PresenceType::from_attribute(value) {
                Some(known) => StanzaType::Presence(known),
                None => {
                    self.blame(StanzaFault::UnknownType);
                    // Whatever asks before it looks at the fault must not take it for presence.
                    StanzaType::Presence(PresenceType::Error)
                }
            },
            StanzaKind::Iq => {
                if self.head.id.is_none() {
                    self.blame(StanzaFault::MissingId);
                }
                match IqType::from_attribute(value) {
                    Some(known) => StanzaType::Iq(known),
                    None => {
                        self.blame(StanzaFault::UnknownType);
                        StanzaType::Iq(IqType::Error)
                    }
                }
            }
        };
        self.head.kind = kind;
    }

    /// Keeps the first fault.
    fn blame(&mut self, fault: StanzaFault) {
        self.head.other_fault.get_or_insert(fault);
    }

    /// Takes an event after the first tag.
    pub(crate) fn event(
        &mut self,
        event: Event,
        scanner: &Scanner,
        bytes: &[u8],
        scope: &RootScope,
    ) {
        match event {
            Event::Start { empty } => match scanner.depth() - usize::from(!empty) {
                1 => self.child(empty, scanner, bytes, scope),
                2 => self.grandchild(scanner, bytes),
                _ => {}
            },
            Event::End if scanner.depth() == 1 => self.child_end(scanner, bytes),
            Event::End if scanner.depth() == 0 => self.head.content.end = scanner.token().start,
            Event::End | Event::Text | Event::Cdata | Event::Incomplete => {}
        }
    }

    fn child(&mut self, empty: bool, scanner: &Scanner, bytes: &[u8], scope: &RootScope) {
        self.children += 1;
        let name = scanner.name();
        let declared = scanner.declared_inside(name.prefix, bytes);
        let namespace = scanner.lookup(name.prefix, bytes, scope);
        let is_content = namespace == self.content_ns.as_bytes();
        if is_content && name.prefix.is_empty() {
            self.surplus.children.extend(
                scanner
                    .attributes()
                    .iter()
                    .filter(|attribute| attribute.name.whole().of(bytes) == b"xmlns")
                    .map(|attribute| attribute.whole()),
            );
        }
        let local = name.local.of(bytes);
        if self.head.first_child.is_none() {
            self.head.first_child = Some(ChildName {
                ns: declared.filter(|_| !is_content),
                name: name.local,
            });
        }
        let payload = match is_content {
            true => of_content_child(local),
            false => of_child(namespace, local),
        };
        let Some(payload) = payload else { return };
        self.head.payloads.insert(payload);
        let end = scanner.token().end;
        match payload {
            Payload::Show if !empty => self.wanted = Some(Wanted::Show(end)),
            Payload::Priority if !empty => self.wanted = Some(Wanted::Priority(end)),
            Payload::MucUser => self.in_muc_user = !empty,
            _ => {}
        }
    }

    fn grandchild(&mut self, scanner: &Scanner, bytes: &[u8]) {
        if self.in_muc_user && scanner.name().local.of(bytes) == b"invite" {
            self.head.payloads.insert(Payload::Invite);
        }
    }

    fn child_end(&mut self, scanner: &Scanner, bytes: &[u8]) {
        self.in_muc_user = false;
        let end = scanner.token().start;
        match self.wanted.take() {
            None => {}
            Some(Wanted::Show(start)) => {
                let span = Span { start, end };
                self.head.show = Show::from_text(text(span.of(bytes)).trim());
            }
            Some(Wanted::Priority(start)) => {
                let span = Span { start, end };
                // Out of range or no number: as if absent (RFC 6121 section 4.7.2.3).
                self.head.priority = text(span.of(bytes)).trim().parse().unwrap_or(0);
            }
        }
    }

    /// The head, when the scanner is at depth 0 again.
    pub(crate) fn finish(mut self) -> (Head, Surplus) {
        let wants_child = matches!(self.head.kind, StanzaType::Iq(IqType::Get | IqType::Set));
        if wants_child && self.children != 1 {
            self.blame(StanzaFault::NotOneChild);
        }
        (self.head, self.surplus)
    }
}

fn address(raw: &[u8]) -> Result<Jid, JidError> {
    Jid::new(&unescape(text(raw)))
}

/// The scanner has checked text and values.
pub(super) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the scanner lets only UTF-8 through")
}
