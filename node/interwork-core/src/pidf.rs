//! Presence documents (RFC 3863) in the dialects of those who write and read them.
//!
//! - Microsoft's and AOL's: activities of an early RPID draft inside `status`, one tuple; AOL names
//!   people without a scheme.
//! - RFC 4479 and 4480: activities of a person, beside one tuple for each device.
//! - plain: open or closed, and a note.
//!
//! The reader takes all of them at once, by namespace and whatever the prefixes. It yields a
//! [`Document`], which keeps what the document says of each device and of the person, and
//! [`Document::presence`] makes one status of it.

use crate::document::DocumentFault;

mod activity;
mod read;
mod resolve;
mod write;

pub use read::{Basic, Details, Document, Tuple, read};
pub use write::{Author, Device, Dialect, Style, write};

/// The media type of presence documents, exactly as baresip compares it.
pub const CONTENT_TYPE: &str = "application/pidf+xml";

/// The value of Accept in our SUBSCRIBE, and beside 415. Nothing else: Microsoft's servers would choose
/// formats of their own.
pub const ACCEPT: &str = CONTENT_TYPE;

/// The namespace of RFC 3863.
const PIDF_NS: &str = "urn:ietf:params:xml:ns:pidf";
/// The namespace of RFC 4479.
const DATA_MODEL_NS: &str = "urn:ietf:params:xml:ns:pidf:data-model";
/// The namespace of RFC 4480.
const RPID_NS: &str = "urn:ietf:params:xml:ns:pidf:rpid";
/// The namespace of the draft that Microsoft follows.
const DRAFT_STATUS_NS: &str = "urn:ietf:params:xml:ns:pidf:status:rpid-status";
/// The namespace of RFC 4482 (contact information), as Microsoft follows its draft.
const CIPID_NS: &str = "urn:ietf:params:xml:ns:pidf:cipid";
/// The namespace of the instant messaging status in RFC 3863 section 3.
const IM_STATUS_NS: &str = "urn:ietf:params:xml:ns:pidf:im";

/// Why a presence document was refused: the sender's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PidfFault {
    /// Another format, such as `application/xpidf+xml`: 415 with [`ACCEPT`].
    #[error("the presence document is not application/pidf+xml")]
    ContentType,
    /// Not XML, or more than we read.
    #[error(transparent)]
    Document(#[from] DocumentFault),
    /// XML, but not a presence document.
    #[error("the document is not a presence document")]
    NotPresence,
}

impl PidfFault {
    /// The status to answer the request with.
    #[must_use]
    pub const fn sip_status(self) -> u16 {
        match self {
            Self::ContentType => 415,
            Self::Document(DocumentFault::TooLarge | DocumentFault::TooComplex) => 413,
            Self::Document(_) | Self::NotPresence => 400,
        }
    }
}
