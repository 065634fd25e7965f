//! The two tables of errors.

use entente_xmpp_core::error::StanzaCondition;

/// The stanza error for a SIP status. Unknown ones count as the first of their class (RFC 3261 section
/// 8.1.3.2).
#[must_use]
pub const fn condition_of(status: u16) -> StanzaCondition {
    use StanzaCondition as C;
    match status {
        300 | 302 | 305 => C::Redirect,
        301 | 410 => C::Gone,
        400 | 413..=416 | 420 | 421 | 423 | 513 => C::BadRequest,
        401 => C::NotAuthorized,
        403 => C::Forbidden,
        404 | 481 | 485 | 604 => C::ItemNotFound,
        405 => C::NotAllowed,
        406 | 482 | 483 | 488 | 505 | 606 => C::NotAcceptable,
        407 => C::RegistrationRequired,
        480 => C::RecipientUnavailable,
        484 => C::JidMalformed,
        489 | 501 => C::FeatureNotImplemented,
        491 => C::UnexpectedRequest,
        500 => C::InternalServerError,
        502 => C::RemoteServerNotFound,
        504 => C::RemoteServerTimeout,
        // 486 and 487 are answers of the user's client, as 600 and 603 are.
        408 | 486 | 487 | 503 | 600 | 603 => C::ServiceUnavailable,
        _ => match status / 100 {
            3 => C::Redirect,
            4 => C::BadRequest,
            5 => C::InternalServerError,
            6 => C::ServiceUnavailable,
            _ => C::UndefinedCondition,
        },
    }
}

/// The SIP status for a stanza error.
#[must_use]
pub const fn status_of(condition: StanzaCondition) -> u16 {
    use StanzaCondition as C;
    match condition {
        C::ItemNotFound | C::RemoteServerNotFound => 404,
        C::RecipientUnavailable | C::ServiceUnavailable => 480,
        // Nobody who is refused may try again with credentials: 401 and 407 would ask for some.
        C::Forbidden
        | C::NotAuthorized
        | C::PolicyViolation
        | C::NotAllowed
        | C::RegistrationRequired
        | C::SubscriptionRequired => 403,
        C::NotAcceptable => 488,
        C::JidMalformed => 484,
        C::RemoteServerTimeout => 504,
        C::FeatureNotImplemented => 501,
        C::ResourceConstraint => 503,
        C::Gone => 410,
        C::InternalServerError => 500,
        // A redirection needs a SIP address, which a stanza error does not have.
        C::Redirect => 480,
        C::BadRequest | C::Conflict | C::UndefinedCondition | C::UnexpectedRequest => 400,
    }
}

/// What a SIP status means to the person whose message or request failed.
#[must_use]
pub const fn explanation(status: u16) -> &'static str {
    match status {
        300..=399 | 410 => "The recipient has moved to another address.",
        401 | 407 => "The recipient's organisation wants credentials that we do not have.",
        403 => "The recipient's organisation does not allow this.",
        404 | 604 => "There is no such user.",
        405 | 489 | 501 => "The recipient's system does not support this.",
        408 => "The recipient's organisation did not answer in time.",
        413 | 513 => "The message is too large for the recipient's system.",
        415 => "The recipient's system does not take messages of this kind.",
        480 => "The recipient is not online.",
        481 => "The conversation has ended.",
        482 | 483 => "The message went in circles and was dropped.",
        484 => "This is not a complete address.",
        485 => "More than one user has this address.",
        486 | 600 => "The recipient does not want to be disturbed.",
        487 => "The request was cancelled.",
        406 | 488 => "The recipient's system does not take this conversation.",
        500 => "The recipient's system has failed.",
        502 => "The recipient's organisation cannot be found.",
        503 => "The recipient's organisation cannot be reached now.",
        504 => "The recipient's organisation did not answer in time.",
        603 => "The recipient has declined.",
        606 => "The recipient's organisation refuses this by policy.",
        _ => match status / 100 {
            4 => "The recipient's system did not understand the message.",
            5 => "The recipient's system has failed.",
            _ => "The message could not be delivered.",
        },
    }
}

/// The reason phrase of a status (RFC 3261 section 21, RFC 6665).
#[must_use]
pub const fn reason_phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        410 => "Gone",
        413 => "Request Entity Too Large",
        415 => "Unsupported Media Type",
        420 => "Bad Extension",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        484 => "Address Incomplete",
        486 => "Busy Here",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        606 => "Not Acceptable",
        _ => match status / 100 {
            3 => "Moved",
            4 => "Request Failure",
            5 => "Server Failure",
            _ => "Failure",
        },
    }
}
