//! What can go wrong between the client and a server.

use std::io;
use std::time::Duration;

use crate::splitter::SplitError;
use crate::stanza::Stanza;

/// A failed step of a client's conversation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The connection could not be made, or broke.
    #[error("connection: {0}")]
    Io(#[from] io::Error),
    /// The server closed the connection or the stream.
    #[error("the server closed the stream")]
    Closed,
    /// The server sent `<stream:error/>` (RFC 6120 section 4.9).
    #[error("stream error: {0}")]
    StreamError(Stanza),
    /// A step did not finish in time.
    #[error("nothing suitable within {0:?}")]
    Timeout(Duration),
    /// What came was not a stream of XML elements, or an element was too large.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// The server does not offer STARTTLS and the endpoint demands it.
    #[error("STARTTLS is not offered")]
    NoStartTls,
    /// The domain can't be a TLS server name, or a certificate file is unusable.
    #[error("TLS set-up: {0}")]
    Tls(#[from] TlsSetupError),
    /// None of the offered mechanisms suits.
    #[error("no usable SASL mechanism in {0}")]
    NoMechanism(Stanza),
    /// `<failure/>` of SASL (RFC 6120 section 6.5).
    #[error("authentication refused: {0}")]
    AuthRefused(Stanza),
    /// The server's SCRAM message is malformed, or its signature is wrong (RFC 5802).
    #[error("SCRAM: the server's {0} is malformed or wrong")]
    Scram(&'static str),
    /// Resource binding or enabling stream management was refused.
    #[error("refused: {0}")]
    Refused(Stanza),
    /// The server answered with something else than the step demands.
    #[error("unexpected element: {0}")]
    Unexpected(Stanza),
    /// More stanzas than the bound are waiting unread.
    #[error("more than {0} stanzas unread")]
    InboxFull(usize),
}

/// Why no TLS configuration could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsSetupError {
    /// The domain is no valid server name.
    #[error("not a server name")]
    ServerName,
    /// The file with the CA certificates can't be read or holds none.
    #[error("no usable CA certificate")]
    CaFile,
    /// rustls refused the configuration.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}
