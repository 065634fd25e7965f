//! Why a stream cannot be read any further.

use crate::element::Element;
use crate::error::{StreamCondition, StreamError};
use crate::ns;
use crate::xml::XmlFault;

/// The peer broke a rule that ends the stream. A retry of the same bytes does not help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamFault {
    /// Not XML that XMPP allows, or beyond a limit.
    #[error(transparent)]
    Xml(#[from] XmlFault),
    /// The XML declaration names another encoding than UTF-8.
    #[error("only UTF-8 is supported")]
    UnsupportedEncoding,
    /// The first element is not `<stream/>`.
    #[error("the root is not a stream")]
    NotAStream,
    /// The stream or a stanza is in a namespace that does not belong there.
    #[error("invalid namespace")]
    InvalidNamespace,
    /// A stanza in the content namespace has a prefix.
    #[error("the content namespace must have no prefix")]
    BadNamespacePrefix,
    /// The version is no version, or XML's is not 1.0.
    #[error("unsupported version")]
    UnsupportedVersion,
}

impl StreamFault {
    /// The stream error's condition (RFC 6120 section 4.9.3).
    #[must_use]
    pub const fn condition(self) -> StreamCondition {
        match self {
            Self::Xml(fault) => fault.condition(),
            Self::UnsupportedEncoding => StreamCondition::UnsupportedEncoding,
            Self::NotAStream => StreamCondition::BadFormat,
            Self::InvalidNamespace => StreamCondition::InvalidNamespace,
            Self::BadNamespacePrefix => StreamCondition::BadNamespacePrefix,
            Self::UnsupportedVersion => StreamCondition::UnsupportedVersion,
        }
    }
}

/// With the reason in words, and as an application condition for an element that is too large.
impl From<StreamFault> for StreamError {
    fn from(fault: StreamFault) -> Self {
        let error = StreamError::new(fault.condition()).with_text(fault.to_string());
        match fault {
            StreamFault::Xml(XmlFault::TooLarge) => {
                error.with_application(Element::new(ns::ERRORS, "stanza-too-big"))
            }
            _ => error,
        }
    }
}
