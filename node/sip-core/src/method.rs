//! Request methods.

use std::fmt;

use crate::grammar;

macro_rules! methods {
    ($($(#[$doc:meta])* $variant:ident = $text:literal),* $(,)?) => {
        /// What a request asks for. Names are case-sensitive (RFC 3261 section 7.1).
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub enum Method {
            $($(#[$doc])* $variant,)*
            /// Another method, by its name.
            Extension(Extension),
        }

        impl Method {
            /// As it stands on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Extension(name) => &name.0,
                }
            }

            /// The method of this name; `None` if it is no token.
            #[must_use]
            pub fn parse(name: &str) -> Option<Self> {
                match name {
                    $($text => Some(Self::$variant),)*
                    other => grammar::is_token(other).then(|| Self::Extension(Extension(other.into()))),
                }
            }
        }
    };
}

methods! {
    /// RFC 3261 section 13.
    Invite = "INVITE",
    /// RFC 3261 section 13; never answered.
    Ack = "ACK",
    /// RFC 3261 section 15.
    Bye = "BYE",
    /// RFC 3261 section 9.
    Cancel = "CANCEL",
    /// RFC 3261 section 11.
    Options = "OPTIONS",
    /// RFC 3261 section 10.
    Register = "REGISTER",
    /// RFC 6086.
    Info = "INFO",
    /// RFC 3428.
    Message = "MESSAGE",
    /// RFC 6665.
    Subscribe = "SUBSCRIBE",
    /// RFC 6665.
    Notify = "NOTIFY",
    /// COMPAT Microsoft: a NOTIFY that wants no response (MS-SIPRE).
    Benotify = "BENOTIFY",
    /// COMPAT Microsoft (MS-SIPRE).
    Service = "SERVICE",
    /// RFC 3903.
    Publish = "PUBLISH",
    /// RFC 3262.
    Prack = "PRACK",
    /// RFC 3311.
    Update = "UPDATE",
    /// RFC 3515.
    Refer = "REFER",
}

/// The name of a method that we have no word for: a token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Extension(Box<str>);

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
