//! Why a connection to a SIP peer could not be had.

use std::borrow::Cow;
use std::time::Duration;

use crate::net::DialFault;

/// One failed attempt, or all of them.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum ConnectFailure {
    /// The peer's side: its DNS.
    #[error("DNS knows no SIP server of the domain")]
    NoSuchDomain,
    /// Ours or the peer's; later it may work.
    #[error("DNS gave no answer")]
    Dns,
    /// The peer is unavailable.
    #[error("no connection: {0}")]
    Tcp(std::io::ErrorKind),
    /// One of the two certificates, or the versions of TLS.
    #[error("the TLS handshake failed: {0}")]
    Tls(Cow<'static, str>),
    /// The configuration or the peer's certificate.
    #[error(
        "the certificate is for `{0}`, which is neither the domain, nor a host in targets, nor one of tls_subjects"
    )]
    Certificate(String),
    /// The peer is unavailable.
    #[error("nothing after {} s", .0.as_secs())]
    Timeout(Duration),
    /// The configuration was reloaded without the peer or without the domain's certificate.
    #[error("the peer is configured no more")]
    NotConfigured,
}

impl ConnectFailure {
    /// The label of metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::NoSuchDomain => "no-such-domain",
            Self::Dns => "dns",
            Self::Tcp(_) => "tcp",
            Self::Tls(_) => "tls",
            Self::Certificate(_) => "certificate",
            Self::Timeout(_) => "timeout",
            Self::NotConfigured => "not-configured",
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
