//! Why a stream to a peer could not be had, and what its senders are told.

use std::borrow::Cow;
use std::time::Duration;

use entente_xmpp_core::error::{ErrorType, StanzaCondition, StanzaError};
use entente_xmpp_core::stream::CloseReason;

use crate::net::DialFault;

/// One failed attempt, or all of them.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum ConnectFailure {
    #[error("DNS knows no server of the domain")]
    NoSuchDomain,
    #[error("the domain's DNS says that it does not federate")]
    NotHere,
    #[error("DNS gave no answer")]
    Dns,
    #[error("no connection: {0}")]
    Tcp(std::io::ErrorKind),
    #[error("the TLS handshake failed: {0}")]
    Tls(Cow<'static, str>),
    #[error("the certificate does not prove the domain")]
    Certificate,
    #[error("the stream was not set up: {0}")]
    Stream(Cow<'static, str>),
    #[error("nothing after {} s", .0.as_secs())]
    Timeout(Duration),
    #[error("policy denies the domain")]
    Denied,
    #[error("a local domain without a certificate")]
    NoIdentity,
}

impl ConnectFailure {
    /// A stream that ended before it was up.
    pub(super) fn closed(reason: &CloseReason) -> Self {
        Self::Stream(match reason {
            CloseReason::Clean => Cow::Borrowed("the peer closed it"),
            CloseReason::Eof => Cow::Borrowed("the peer closed the connection"),
            CloseReason::CloseTimeout => Cow::Borrowed("it was closed"),
            CloseReason::PeerError(error) => {
                format!("the peer's error {:?}", error.condition).into()
            }
            CloseReason::Error(error) => format!("our error {:?}", error.condition).into(),
        })
    }

    /// The label of metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::NoSuchDomain => "no-such-domain",
            Self::NotHere => "not-here",
            Self::Dns => "dns",
            Self::Tcp(_) => "tcp",
            Self::Tls(_) => "tls",
            Self::Certificate => "certificate",
            Self::Stream(_) => "stream",
            Self::Timeout(_) => "timeout",
            Self::Denied => "denied",
            Self::NoIdentity => "no-identity",
        }
    }

    /// What the senders of waiting stanzas are told (RFC 6120 section 10.4).
    pub(super) fn stanza_error(&self) -> StanzaError {
        match self {
            Self::NoSuchDomain | Self::NotHere => {
                StanzaError::new(StanzaCondition::RemoteServerNotFound)
            }
            Self::Denied => StanzaError::new(StanzaCondition::NotAllowed)
                .with_text("This server does not communicate with that domain"),
            Self::Certificate => StanzaError::new(StanzaCondition::RemoteServerTimeout)
                .with_type(ErrorType::Cancel)
                .with_text("That domain's server has no valid certificate"),
            Self::Dns
            | Self::Tcp(_)
            | Self::Tls(_)
            | Self::Stream(_)
            | Self::Timeout(_)
            | Self::NoIdentity => StanzaError::new(StanzaCondition::RemoteServerTimeout),
        }
    }

    /// Of two failures of one domain, the one that tells more: a server that answered badly says
    /// more than one that did not answer, and that more than a name without an address.
    pub(super) fn or_stronger(self, other: Self) -> Self {
        if other.rank() >= self.rank() {
            other
        } else {
            self
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::NoSuchDomain => 0,
            Self::NotHere | Self::Dns => 1,
            Self::Tcp(_) => 2,
            Self::Timeout(_) => 3,
            Self::Tls(_) => 4,
            Self::Stream(_) => 5,
            Self::Certificate => 6,
            Self::Denied | Self::NoIdentity => 7,
        }
    }
}

impl From<DialFault> for ConnectFailure {
    fn from(fault: DialFault) -> Self {
        match fault {
            DialFault::NoAddress => Self::NoSuchDomain,
            DialFault::Tcp(kind) => Self::Tcp(kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_hear_not_found_without_dns_and_timeout_otherwise() {
        let condition = |failure: ConnectFailure| failure.stanza_error().condition;
        assert_eq!(
            condition(ConnectFailure::NoSuchDomain),
            StanzaCondition::RemoteServerNotFound
        );
        assert_eq!(
            condition(ConnectFailure::NotHere),
            StanzaCondition::RemoteServerNotFound
        );
        assert_eq!(
            condition(ConnectFailure::Dns),
            StanzaCondition::RemoteServerTimeout
        );
        assert_eq!(
            condition(ConnectFailure::Tcp(std::io::ErrorKind::ConnectionRefused)),
            StanzaCondition::RemoteServerTimeout
        );
        assert_eq!(
            condition(ConnectFailure::Certificate),
            StanzaCondition::RemoteServerTimeout
        );
        assert_eq!(
            condition(ConnectFailure::Denied),
            StanzaCondition::NotAllowed
        );
    }

    #[test]
    fn one_dead_host_name_does_not_hide_a_server_that_was_there() {
        let refused = ConnectFailure::Tcp(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(
            refused.clone().or_stronger(ConnectFailure::NoSuchDomain),
            refused
        );
        assert_eq!(
            ConnectFailure::NoSuchDomain.or_stronger(refused.clone()),
            refused
        );
    }
}
