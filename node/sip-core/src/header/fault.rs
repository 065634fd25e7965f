//! What is wrong with a header.

use crate::header::HeaderName;

/// Why a header cannot be read as what its name promises. The sender's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// A header that must be there is not.
    #[error("no {0} header")]
    Missing(HeaderName),
    /// The value does not follow the header's grammar.
    #[error("malformed {0} header")]
    Malformed(HeaderName),
    /// More than one of a header that may stand once.
    #[error("more than one {0} header")]
    Repeated(HeaderName),
}

impl HeaderFault {
    /// Which header it is about.
    #[must_use]
    pub const fn header(self) -> HeaderName {
        match self {
            Self::Missing(name) | Self::Malformed(name) | Self::Repeated(name) => name,
        }
    }
}
