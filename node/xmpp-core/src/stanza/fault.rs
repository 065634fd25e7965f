//! What is wrong with a stanza.

use crate::error::{StanzaCondition, StreamCondition};
use crate::xml::XmlFault;

/// Why bytes are no stanza, or which rule a well-formed stanza breaks. The sender's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StanzaFault {
    /// Not XML that XMPP allows.
    #[error("not XML: {0}")]
    Xml(#[from] XmlFault),
    /// Another element than the three.
    #[error("neither message, presence nor iq")]
    NotAStanza,
    /// The bytes use a namespace or declaration that canonical bytes do not have.
    #[error("not in canonical form")]
    NotCanonical,
    /// `from` is not an address.
    #[error("`from` is not an address")]
    MalformedFrom,
    /// `to` is not an address.
    #[error("`to` is not an address")]
    MalformedTo,
    /// An IQ or presence stanza of no known type.
    #[error("unknown type")]
    UnknownType,
    /// An IQ stanza without `id`.
    #[error("iq without id")]
    MissingId,
    /// An IQ request without exactly one child (RFC 6120 section 8.2.3).
    #[error("iq request without exactly one child")]
    NotOneChild,
}

impl StanzaFault {
    /// The stanza error for it, when the stream may go on.
    #[must_use]
    pub const fn stanza_condition(self) -> StanzaCondition {
        match self {
            Self::MalformedFrom | Self::MalformedTo => StanzaCondition::JidMalformed,
            _ => StanzaCondition::BadRequest,
        }
    }

    /// The stream error for it, when the stream must end (between servers, addresses are a matter of
    /// the stream: RFC 6120 section 4.9.3.7).
    #[must_use]
    pub const fn stream_condition(self) -> StreamCondition {
        match self {
            Self::Xml(fault) => fault.condition(),
            Self::MalformedFrom | Self::MalformedTo => StreamCondition::ImproperAddressing,
            Self::NotAStanza => StreamCondition::UnsupportedStanzaType,
            Self::NotCanonical => StreamCondition::InvalidNamespace,
            Self::UnknownType | Self::MissingId | Self::NotOneChild => StreamCondition::InvalidXml,
        }
    }
}
