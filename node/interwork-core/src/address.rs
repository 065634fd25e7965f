//! JIDs and SIP URIs, both ways (RFC 7247 section 5).
//!
//! A URI becomes a JID by percent-decoding its user part and escaping what a localpart may not hold
//! (XEP-0106); a JID becomes a URI by the reverse. Localparts and domains are folded to lower case on
//! the way in, because JIDs are; SIP compares user parts by case, but no peer tells two people apart
//! by it. A resource is the `gr` parameter of a Contact and of a Request-URI; an address of record
//! ([`AddressOfRecord`]) has no room for one, and nothing else is written into From and To.
//!
//! No two JIDs have one URI, so that nobody gets what was meant for somebody else: a localpart that is
//! not the escaped form of any user part (`a\5cb`, which reads like `a\b`) has none. URIs that differ
//! only in what JIDs fold (case, forms of one character) have one JID.

use entente_xmpp_core::jid::JidError;

mod escape;
mod percent;
mod rules;
mod uri;

pub use escape::{escape_localpart, unescape_localpart};
pub use rules::{AddressMap, AddressRules, DomainAliases, RuleFault};
pub use uri::{AddressOfRecord, ContactUri, bare_jid_of_uri, jid_of_uri};

/// Longest URI that is read, in bytes: more than the longest JID with every byte percent-encoded and a
/// generous set of parameters.
pub const MAX_URI_LEN: usize = 8 * 1024;

/// Why an address has no counterpart. The fault of whoever wrote the address; a retry does not help.
/// To SIP it is 484 Address Incomplete, to XMPP jid-malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Longer than [`MAX_URI_LEN`].
    #[error("the address is too long")]
    TooLong,
    /// A scheme that names no user here, such as `tel:`.
    #[error("the address has a scheme other than sip, sips, pres and im")]
    Scheme,
    /// No host, or characters where none may stand.
    #[error("the address is not a URI")]
    Syntax,
    /// `%` without two hexadecimal digits, or bytes that are no UTF-8.
    #[error("the address has a malformed percent encoding")]
    Percent,
    /// The user part begins or ends with a space, or the localpart holds an escape sequence that
    /// escaping never writes (XEP-0106 sections 3 and 4).
    #[error("the address cannot be escaped")]
    Escape,
    /// Does not make a JID.
    #[error("the address is not a JID: {0}")]
    Jid(#[from] JidError),
}
