//! The failure conditions of RFC 6120 section 6.5.

use thiserror::Error;

/// Why an authentication attempt failed, as the peer is told.
///
/// The names are those of the elements inside `<failure/>`. Which one is sent never depends on
/// whether the account exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum SaslCondition {
    /// The peer sent `<abort/>` (6.5.1).
    #[error("aborted")]
    Aborted,
    /// The account is disabled for now (6.5.2).
    #[error("account-disabled")]
    AccountDisabled,
    /// The credentials have expired (6.5.3).
    #[error("credentials-expired")]
    CredentialsExpired,
    /// The mechanism needs an encrypted stream (6.5.4).
    #[error("encryption-required")]
    EncryptionRequired,
    /// The payload is not base64 (6.5.5).
    #[error("incorrect-encoding")]
    IncorrectEncoding,
    /// The authorization identity is malformed or not the peer's own (6.5.6).
    #[error("invalid-authzid")]
    InvalidAuthzid,
    /// The mechanism was not offered (6.5.7).
    #[error("invalid-mechanism")]
    InvalidMechanism,
    /// The payload does not follow the mechanism's grammar (6.5.8).
    #[error("malformed-request")]
    MalformedRequest,
    /// The mechanism is too weak for this user (6.5.9).
    #[error("mechanism-too-weak")]
    MechanismTooWeak,
    /// Wrong credentials, or a reason that is none of the peer's business (6.5.10).
    #[error("not-authorized")]
    NotAuthorized,
    /// We could not decide, for example because the store did not answer; a later try may
    /// succeed (6.5.11).
    #[error("temporary-auth-failure")]
    TemporaryAuthFailure,
}

impl SaslCondition {
    /// The element name inside `<failure/>`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aborted => "aborted",
            Self::AccountDisabled => "account-disabled",
            Self::CredentialsExpired => "credentials-expired",
            Self::EncryptionRequired => "encryption-required",
            Self::IncorrectEncoding => "incorrect-encoding",
            Self::InvalidAuthzid => "invalid-authzid",
            Self::InvalidMechanism => "invalid-mechanism",
            Self::MalformedRequest => "malformed-request",
            Self::MechanismTooWeak => "mechanism-too-weak",
            Self::NotAuthorized => "not-authorized",
            Self::TemporaryAuthFailure => "temporary-auth-failure",
        }
    }

    /// The condition for an element name that a peer sent; unknown names count as
    /// `not-authorized`, the general one.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "aborted" => Self::Aborted,
            "account-disabled" => Self::AccountDisabled,
            "credentials-expired" => Self::CredentialsExpired,
            "encryption-required" => Self::EncryptionRequired,
            "incorrect-encoding" => Self::IncorrectEncoding,
            "invalid-authzid" => Self::InvalidAuthzid,
            "invalid-mechanism" => Self::InvalidMechanism,
            "malformed-request" => Self::MalformedRequest,
            "mechanism-too-weak" => Self::MechanismTooWeak,
            "temporary-auth-failure" => Self::TemporaryAuthFailure,
            _ => Self::NotAuthorized,
        }
    }
}
