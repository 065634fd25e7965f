//! The header names that something here asks for.

use std::fmt;

macro_rules! names {
    ($($variant:ident $text:literal $($compact:literal)?),* $(,)?) => {
        /// A header's name. Compact forms and any case are understood (RFC 3261 section 7.3).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum HeaderName {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
            /// Any other; the message knows the name as it was written.
            Other,
        }

        const ALL: &[(HeaderName, &str)] = &[$((HeaderName::$variant, $text),)*];

        impl HeaderName {
            /// The name as it is usually written; empty for [`HeaderName::Other`].
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other => "",
                }
            }

            const fn from_compact(letter: u8) -> Self {
                match letter.to_ascii_lowercase() {
                    $($($compact => Self::$variant,)?)*
                    _ => Self::Other,
                }
            }
        }
    };
}

names! {
    Accept "Accept",
    AcceptEncoding "Accept-Encoding",
    AcceptLanguage "Accept-Language",
    Allow "Allow",
    AllowEvents "Allow-Events" b'u',
    Authorization "Authorization",
    CallId "Call-ID" b'i',
    CallInfo "Call-Info",
    Contact "Contact" b'm',
    ContentDisposition "Content-Disposition",
    ContentEncoding "Content-Encoding" b'e',
    ContentLanguage "Content-Language",
    ContentLength "Content-Length" b'l',
    ContentType "Content-Type" b'c',
    CSeq "CSeq",
    Date "Date",
    Event "Event" b'o',
    Expires "Expires",
    From "From" b'f',
    HistoryInfo "History-Info",
    Identity "Identity" b'y',
    InReplyTo "In-Reply-To",
    MaxForwards "Max-Forwards",
    MimeVersion "MIME-Version",
    MinExpires "Min-Expires",
    MsDiagnostics "ms-diagnostics",
    MsDiagnosticsPublic "ms-diagnostics-public",
    Organization "Organization",
    PAssertedIdentity "P-Asserted-Identity",
    PPreferredIdentity "P-Preferred-Identity",
    Path "Path",
    Privacy "Privacy",
    ProxyAuthenticate "Proxy-Authenticate",
    ProxyAuthorization "Proxy-Authorization",
    ProxyRequire "Proxy-Require",
    RAck "RAck",
    Reason "Reason",
    RecordRoute "Record-Route",
    ReferTo "Refer-To" b'r',
    ReferredBy "Referred-By" b'b',
    Replaces "Replaces",
    ReplyTo "Reply-To",
    Require "Require",
    RetryAfter "Retry-After",
    Route "Route",
    RSeq "RSeq",
    Server "Server",
    SessionExpires "Session-Expires" b'x',
    SipEtag "SIP-ETag",
    SipIfMatch "SIP-If-Match",
    Subject "Subject" b's',
    SubscriptionState "Subscription-State",
    Supported "Supported" b'k',
    Timestamp "Timestamp",
    To "To" b't',
    Unsupported "Unsupported",
    UserAgent "User-Agent",
    Via "Via" b'v',
    Warning "Warning",
    WwwAuthenticate "WWW-Authenticate",
}

// The sets of seen and repeated headers are bit sets of one word.
const _: () = assert!(ALL.len() <= 63);

/// One more than the longest name.
const LENGTHS: usize = 24;

/// The names in order of length, so that a look-up compares with a handful.
static BY_LENGTH: [(HeaderName, &str); ALL.len()] = by_length().0;

/// Where in [`BY_LENGTH`] the names of a length begin.
static STARTS: [u8; LENGTHS + 1] = by_length().1;

const fn by_length() -> ([(HeaderName, &'static str); ALL.len()], [u8; LENGTHS + 1]) {
    let mut names = [(HeaderName::Other, ""); ALL.len()];
    let mut starts = [0; LENGTHS + 1];
    let mut placed = 0;
    let mut length = 0;
    while length < LENGTHS {
        starts[length] = placed as u8;
        let mut index = 0;
        while index < ALL.len() {
            if ALL[index].1.len() == length {
                names[placed] = ALL[index];
                placed += 1;
            }
            index += 1;
        }
        length += 1;
    }
    starts[LENGTHS] = placed as u8;
    assert!(placed == ALL.len());
    (names, starts)
}

impl HeaderName {
    /// The name that these bytes are, in full or compact.
    #[must_use]
    pub fn from_bytes(name: &[u8]) -> Self {
        match name.len() {
            1 => Self::from_compact(name[0]),
            length @ 2..LENGTHS => {
                let from = usize::from(STARTS[length]);
                let to = usize::from(STARTS[length + 1]);
                BY_LENGTH[from..to]
                    .iter()
                    .find(|(_, known)| known.as_bytes().eq_ignore_ascii_case(name))
                    .map_or(Self::Other, |(known, _)| *known)
            }
            _ => Self::Other,
        }
    }

    /// Whether a message may have only one of it and its value is no list (RFC 3261 section 7.3.1
    /// and the headers' own sections).
    #[must_use]
    pub const fn is_single(self) -> bool {
        matches!(
            self,
            Self::CallId
                | Self::ContentDisposition
                | Self::ContentLength
                | Self::ContentType
                | Self::CSeq
                | Self::Date
                | Self::Event
                | Self::Expires
                | Self::From
                | Self::MaxForwards
                | Self::MimeVersion
                | Self::MinExpires
                | Self::RAck
                | Self::ReferTo
                | Self::Replaces
                | Self::ReplyTo
                | Self::RetryAfter
                | Self::RSeq
                | Self::SessionExpires
                | Self::SipEtag
                | Self::SipIfMatch
                | Self::Subject
                | Self::SubscriptionState
                | Self::Timestamp
                | Self::To
        )
    }

    /// The bit of the name in the sets of a message.
    pub(crate) const fn bit(self) -> u64 {
        match self {
            Self::Other => 0,
            known => 1 << (known as u8),
        }
    }

    /// The names of which a set has the bits.
    pub(crate) fn of_bits(set: u64) -> impl Iterator<Item = Self> {
        ALL.iter()
            .map(|(name, _)| *name)
            .filter(move |name| set & name.bit() != 0)
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Other => "unknown",
            known => known.as_str(),
        })
    }
}
