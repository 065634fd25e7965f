//! What is wrong with a piece of XML.

use crate::error::StreamCondition;

/// Why bytes were refused. Always the sender's fault; the same bytes will be refused again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum XmlFault {
    /// Not UTF-8.
    #[error("not UTF-8")]
    Encoding,
    /// A character that XML forbids.
    #[error("a character that XML forbids")]
    Character,
    /// A tag that breaks the grammar.
    #[error("malformed tag")]
    Tag,
    /// A name that breaks the grammar.
    #[error("malformed name")]
    Name,
    /// `<` in an attribute value, or no quotes around it.
    #[error("malformed attribute")]
    Attribute,
    /// An attribute twice, be it under two prefixes of one namespace.
    #[error("duplicate attribute")]
    DuplicateAttribute,
    /// An end tag that does not match.
    #[error("mismatched end tag")]
    Mismatch,
    /// `&` that starts no reference, or a reference to a forbidden character.
    #[error("malformed reference")]
    Reference,
    /// `]]>` in text.
    #[error("a CDATA end without a CDATA section")]
    CdataEnd,
    /// A prefix that was not declared.
    #[error("undeclared prefix")]
    UndeclaredPrefix,
    /// A declaration that Namespaces in XML forbids.
    #[error("forbidden namespace declaration")]
    NamespaceDeclaration,
    /// Text where only elements belong.
    #[error("text between first-level elements")]
    StrayText,
    /// Ends before its element is complete.
    #[error("incomplete")]
    Incomplete,
    /// Something after the element.
    #[error("more than one root")]
    TrailingBytes,
    /// A comment.
    #[error("comments are not allowed")]
    Comment,
    /// A processing instruction, or an XML declaration in a wrong place.
    #[error("processing instructions are not allowed")]
    ProcessingInstruction,
    /// A document type declaration.
    #[error("document types are not allowed")]
    Doctype,
    /// A reference to an entity that is not one of the five predefined.
    #[error("entities are not allowed")]
    Entity,
    /// More bytes than [`Limits::bytes`](super::Limits::bytes).
    #[error("too large")]
    TooLarge,
    /// More than [`Limits::depth`](super::Limits::depth).
    #[error("nested too deep")]
    TooDeep,
    /// More than [`Limits::attributes`](super::Limits::attributes).
    #[error("too many attributes")]
    TooManyAttributes,
    /// More than [`Limits::namespaces`](super::Limits::namespaces).
    #[error("too many namespaces")]
    TooManyNamespaces,
}

impl XmlFault {
    /// The stream error for it (RFC 6120 section 4.9.3).
    #[must_use]
    pub const fn condition(self) -> StreamCondition {
        match self {
            Self::Encoding => StreamCondition::UnsupportedEncoding,
            Self::StrayText => StreamCondition::BadFormat,
            Self::Comment | Self::ProcessingInstruction | Self::Doctype | Self::Entity => {
                StreamCondition::RestrictedXml
            }
            Self::TooLarge | Self::TooDeep | Self::TooManyAttributes | Self::TooManyNamespaces => {
                StreamCondition::PolicyViolation
            }
            Self::Character
            | Self::Tag
            | Self::Name
            | Self::Attribute
            | Self::DuplicateAttribute
            | Self::Mismatch
            | Self::Reference
            | Self::CdataEnd
            | Self::UndeclaredPrefix
            | Self::NamespaceDeclaration
            | Self::Incomplete
            | Self::TrailingBytes => StreamCondition::NotWellFormed,
        }
    }
}
