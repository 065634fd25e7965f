//! Stanzas that a home makes itself.

use entente_xmpp_core::element::Element;
use entente_xmpp_core::error::{StanzaCondition, StanzaError};
use entente_xmpp_core::jid::{FullJid, Jid};
use entente_xmpp_core::ns;
use entente_xmpp_core::stanza::Stanza;
use entente_xmpp_core::stanza::{IqType, MessageType, Payload, PresenceType};

use crate::roster::RosterItem;
use crate::subscription::Subscription;

/// `service-unavailable` back to the sender; none for what must not be answered.
pub(crate) fn undeliverable(stanza: &Stanza) -> Option<Stanza> {
    refused(stanza, StanzaCondition::ServiceUnavailable)
}

/// An error back to the sender; none for what must not be answered.
pub(crate) fn refused(stanza: &Stanza, condition: StanzaCondition) -> Option<Stanza> {
    stanza.error_reply(&StanzaError::new(condition), false)
}

/// The answer to a stanza for somebody whom the sender blocks, XEP-0191 section 3.
pub(crate) fn blocked_by_sender(stanza: &Stanza) -> Option<Stanza> {
    let error = StanzaError::new(StanzaCondition::NotAcceptable)
        .with_type(entente_xmpp_core::error::ErrorType::Cancel)
        .with_application(Element::new(ns::BLOCKING_ERRORS, "blocked"));
    stanza.error_reply(&error, false)
}

/// A presence stanza without content.
pub(crate) fn presence(kind: PresenceType, from: &Jid, to: &Jid) -> Stanza {
    let element = Element::new(ns::CLIENT, "presence")
        .attr("from", from.as_str().to_owned())
        .attr("to", to.as_str().to_owned())
        .attr_opt("type", kind.as_str());
    made(&element)
}

/// The message with a delay stamp of the user's domain, XEP-0203.
pub(crate) fn delayed(message: &Stanza, domain: &str, at_ms: u64) -> Stanza {
    let delay = Element::new(ns::DELAY, "delay")
        .attr("from", domain.to_owned())
        .attr("stamp", timestamp(at_ms));
    message.with_child(&delay)
}

/// Which way a carbon's message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CarbonKind {
    Sent,
    Received,
}

/// A carbon of a message, without `to`; XEP-0280 sections 6 to 8.
pub(crate) fn carbon(message: &Stanza, kind: CarbonKind, user: &Jid) -> Option<Stanza> {
    let wrapper = match kind {
        CarbonKind::Sent => "sent",
        CarbonKind::Received => "received",
    };
    let type_ = message.message_type().unwrap_or(MessageType::Normal);
    let outer = made(
        &Element::new(ns::CLIENT, "message")
            .attr("from", user.as_str().to_owned())
            .attr("type", type_.as_str()),
    );
    // Canonical bytes have no `xmlns` on the first tag; inside <forwarded/> it must be said.
    let rest = message.bytes().strip_prefix(b"<message")?;
    let mut xml = Vec::with_capacity(rest.len() + 192);
    for part in [
        b"<".as_slice(),
        wrapper.as_bytes(),
        b" xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'",
        rest,
        b"</forwarded></",
        wrapper.as_bytes(),
        b">",
    ] {
        xml.extend_from_slice(part);
    }
    outer.with_content_appended(&xml).ok()
}

/// Whether a message is copied to the user's other sessions: XEP-0280 section 6.1.
pub(crate) fn wants_carbons(message: &Stanza) -> bool {
    if [
        Payload::CarbonsPrivate,
        Payload::NoCopy,
        Payload::CarbonsEnvelope,
    ]
    .into_iter()
    .any(|p| message.payload(p))
    {
        return false;
    }
    let body = message.payload(Payload::Body);
    match message.message_type() {
        // A private message of a room belongs to the session that is in the room; invitations go to all.
        Some(_) if message.payload(Payload::MucUser) && !message.payload(Payload::Invite) => false,
        Some(MessageType::Chat) => true,
        Some(MessageType::Normal) => {
            body || [
                Payload::Encrypted,
                Payload::ChatState,
                Payload::Receipt,
                Payload::ReceiptRequest,
                Payload::ChatMarker,
                Payload::Invite,
            ]
            .into_iter()
            .any(|payload| message.payload(payload))
        }
        _ => false,
    }
}

/// Whether a message is worth keeping for a user who is away: XEP-0160 section 3, XEP-0334.
pub(crate) fn is_storable(message: &Stanza) -> bool {
    if message.payload(Payload::NoStore) {
        return false;
    }
    if message.payload(Payload::Store)
        || message.payload(Payload::Body)
        || message.payload(Payload::Encrypted)
    {
        return true;
    }
    // Not chat states alone, nor an empty message; receipts, markers, invitations and subjects are.
    [
        Payload::Subject,
        Payload::Receipt,
        Payload::ChatMarker,
        Payload::Invite,
    ]
    .into_iter()
    .any(|payload| message.payload(payload))
        || (!message.payload(Payload::ChatState) && message.first_child().is_some())
}

/// A roster item as XML.
pub(crate) fn roster_item(item: &RosterItem) -> Element {
    let mut element = Element::new(ns::ROSTER, "item").attr("jid", item.jid.as_str().to_owned());
    if let Some(name) = &item.name {
        element.set_attr("name", name.to_string());
    }
    element.set_attr("subscription", item.subscription.as_str());
    if item.ask {
        element.set_attr("ask", "subscribe");
    }
    if item.approved && item.subscription != Subscription::Both {
        element.set_attr("approved", "true");
    }
    element.children(
        item.groups
            .iter()
            .map(|group| Element::new(ns::ROSTER, "group").text(group.to_string())),
    )
}

/// A request that the server sends to one of its user's sessions (a push).
pub(crate) fn push(to: &FullJid, id: String, payload: Element) -> Stanza {
    let element = Element::new(ns::CLIENT, "iq")
        .attr("to", to.as_str().to_owned())
        .attr("id", id)
        .attr("type", IqType::Set.as_str())
        .child(payload);
    made(&element)
}

fn made(element: &Element) -> Stanza {
    element
        .to_stanza()
        .expect("a stanza built from checked parts")
}

/// Unix milliseconds as XEP-0082 UTC date and time.
pub(crate) fn timestamp(unix_ms: u64) -> String {
    let (days, second) = (unix_ms / 86_400_000, unix_ms / 1_000 % 86_400);
    // Civil date from a day count; eras of 400 years that begin on 1 March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z",
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp(1_709_210_096_789), "2024-02-29T12:34:56Z");
        assert_eq!(timestamp(4_102_444_799_000), "2099-12-31T23:59:59Z");
    }
}
