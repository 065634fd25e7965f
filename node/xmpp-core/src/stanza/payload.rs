//! The payloads that rules ask about, found while a stanza is scanned.

use crate::ns;

/// A payload that some rule asks about: a child of the stanza, or something directly below one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Payload {
    /// `<body/>` of a message.
    Body,
    /// `<subject/>` of a message.
    Subject,
    /// `<thread/>` of a message.
    Thread,
    /// `<error/>`.
    Error,
    /// Not to be copied to other sessions (XEP-0334).
    NoCopy,
    /// Not to be stored anywhere (XEP-0334).
    NoStore,
    /// Not to be archived (XEP-0334).
    NoPermanentStore,
    /// To be stored although it would not be (XEP-0334).
    Store,
    /// Not to be copied by carbons (XEP-0280 section 6.1 `<private/>`).
    CarbonsPrivate,
    /// Is a carbon: `<sent/>` or `<received/>` (XEP-0280).
    CarbonsEnvelope,
    /// A chat state (XEP-0085).
    ChatState,
    /// Asks for a delivery receipt (XEP-0184).
    ReceiptRequest,
    /// Is a delivery receipt (XEP-0184).
    Receipt,
    /// A chat marker (XEP-0333).
    ChatMarker,
    /// End-to-end encrypted, whatever the way (XEP-0380, 0384, 0373, 0027).
    Encrypted,
    /// A delay stamp (XEP-0203).
    Delay,
    /// A room's word about the stanza (XEP-0045 `muc#user`).
    MucUser,
    /// Joins a room (XEP-0045 `muc`).
    MucJoin,
    /// An invitation to a room, mediated (XEP-0045) or direct (XEP-0249).
    Invite,
    /// Entity capabilities (XEP-0115).
    Caps,
    /// Time of last interaction (XEP-0319).
    Idle,
    /// An `<origin-id/>` (XEP-0359).
    OriginId,
    /// A `<stanza-id/>` (XEP-0359).
    StanzaId,
    /// `<show/>` of a presence.
    Show,
    /// `<status/>` of a presence.
    Status,
    /// `<priority/>` of a presence.
    Priority,
}

/// A set of [`Payload`]s.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Payloads(u32);

impl Payloads {
    /// Whether the payload is there.
    #[must_use]
    pub const fn contains(self, payload: Payload) -> bool {
        self.0 & (1 << payload as u8) != 0
    }

    /// Adds a payload.
    pub const fn insert(&mut self, payload: Payload) {
        self.0 |= 1 << payload as u8;
    }
}

/// A child in the content namespace.
pub(super) fn of_content_child(name: &[u8]) -> Option<Payload> {
    Some(match name {
        b"body" => Payload::Body,
        b"subject" => Payload::Subject,
        b"thread" => Payload::Thread,
        b"error" => Payload::Error,
        b"show" => Payload::Show,
        b"status" => Payload::Status,
        b"priority" => Payload::Priority,
        _ => return None,
    })
}

/// A child in another namespace.
pub(super) fn of_child(namespace: &[u8], name: &[u8]) -> Option<Payload> {
    let namespace = std::str::from_utf8(namespace).ok()?;
    Some(match (namespace, name) {
        (ns::HINTS, b"no-copy") => Payload::NoCopy,
        (ns::HINTS, b"no-store") => Payload::NoStore,
        (ns::HINTS, b"no-permanent-store") => Payload::NoPermanentStore,
        (ns::HINTS, b"store") => Payload::Store,
        (ns::CARBONS, b"private") => Payload::CarbonsPrivate,
        (ns::CARBONS, b"sent" | b"received") => Payload::CarbonsEnvelope,
        (ns::CHAT_STATES, _) => Payload::ChatState,
        (ns::RECEIPTS, b"request") => Payload::ReceiptRequest,
        (ns::RECEIPTS, b"received") => Payload::Receipt,
        (ns::CHAT_MARKERS, b"received" | b"displayed" | b"acknowledged") => Payload::ChatMarker,
        (ns::ENCRYPTION, b"encryption")
        | (ns::OMEMO_SIACS | ns::OMEMO_2, b"encrypted")
        | (ns::OPENPGP, b"openpgp")
        | (ns::OPENPGP_LEGACY, b"x") => Payload::Encrypted,
        (ns::DELAY, b"delay") => Payload::Delay,
        (ns::MUC_USER, b"x") => Payload::MucUser,
        (ns::MUC, b"x") => Payload::MucJoin,
        (ns::CONFERENCE, b"x") => Payload::Invite,
        (ns::CAPS, b"c") => Payload::Caps,
        (ns::IDLE, b"idle") => Payload::Idle,
        (ns::STANZA_ID, b"origin-id") => Payload::OriginId,
        (ns::STANZA_ID, b"stanza-id") => Payload::StanzaId,
        _ => return None,
    })
}
