//! What users of dialogs share: names of requests, and what a failed request means for its dialog.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ring::digest;

use crate::header::HeaderName;
use crate::message::Message;
use crate::owner::Owner;
use crate::status::Status;
use crate::transaction::Failure;

/// Names a request that came in and waits for our response; the shell chose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Names what a request says, whichever transaction brings it: a request that comes again past its
/// transaction, perhaps at another node, has the same name. Call-ID, From with its tag, and CSeq make it
/// (RFC 3261 section 8.2.2.2), with the body, because some clients count from 1 each time they start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestName(pub u128);

impl RequestName {
    /// The name of a request.
    #[must_use]
    pub fn of(request: &Message) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for name in [HeaderName::CallId, HeaderName::From, HeaderName::CSeq] {
            context.update(request.get(name).unwrap_or_default().as_bytes());
            context.update(b"\n");
        }
        context.update(request.body());
        let mut cut = [0; 16];
        cut.copy_from_slice(&context.finish().as_ref()[..16]);
        Self(u128::from_be_bytes(cut))
    }

    /// Reads what [`Display`](fmt::Display) wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        u128::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for RequestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Names a request that one user of a dialog sent; unique for that user only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SendId(pub u32);

/// A local user and a remote one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The value of our From, without tag: `<sip:alice@entente.example>`.
    pub local: Box<str>,
    /// The remote user's URI.
    pub remote: Box<str>,
    /// Who owns the dialogs.
    pub owner: Owner,
}

/// A body with its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The value of Content-Type.
    pub content_type: Arc<str>,
    /// The bytes. Shared, like the type, where many watchers get the same.
    pub body: bytes::Bytes,
}

/// The final outcome of a request of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A final response.
    Response(Box<Message>),
    /// None.
    Failed(Failure),
}

impl Outcome {
    /// The response code, or the one that the failure counts as.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            // A message without a status is no response: an error of the caller, told as ours.
            Self::Response(response) => response.status().unwrap_or(Status::SERVER_INTERNAL_ERROR),
            Self::Failed(failure) => failure.status(),
        }
    }

    /// What Retry-After says, at most a day.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        const DAY: u32 = 86_400;
        match self {
            Self::Response(response) => response
                .retry_after()
                .ok()
                .flatten()
                .map(|seconds| Duration::from_secs(seconds.min(DAY).into())),
            Self::Failed(_) => None,
        }
    }

    /// What it means for the dialog.
    #[must_use]
    pub fn damage(&self) -> Damage {
        match self {
            Self::Failed(Failure::Timeout) => Damage::Usage,
            Self::Failed(Failure::Transport | Failure::Full) => Damage::Transaction,
            Self::Response(response) if route_set_lost(response) => Damage::Dialog,
            Self::Response(_) => Damage::of(self.status()),
        }
    }
}

/// COMPAT Microsoft: 504 with ms-diagnostics 1004: an edge does not know the route set any more, so the
/// dialog must be made anew.
#[must_use]
pub fn route_set_lost(response: &Message) -> bool {
    const ROUTE_SET_NO_LONGER_VALID: u32 = 1004;
    response.status() == Some(Status::SERVER_TIMEOUT)
        && response
            .ms_diagnostics()
            .is_some_and(|diagnostics| diagnostics.id == ROUTE_SET_NO_LONGER_VALID)
}

/// How much a failed request within a dialog takes down (RFC 5057 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// Nothing: it succeeded.
    None,
    /// The request only.
    Transaction,
    /// The subscription or session.
    Usage,
    /// The dialog with all that uses it.
    Dialog,
}

impl Damage {
    /// The table of RFC 5057.
    #[must_use]
    pub fn of(status: Status) -> Self {
        match status.code() {
            200..=299 => Self::None,
            404 | 410 | 416 | 482..=485 | 502 | 604 => Self::Dialog,
            405 | 408 | 480 | 481 | 489 | 501 => Self::Usage,
            _ => Self::Transaction,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_request_takes_down_what_rfc_5057_says() {
        for (codes, damage) in [
            (&[200, 202][..], Damage::None),
            (
                &[400, 403, 423, 488, 500, 503, 504, 600, 603],
                Damage::Transaction,
            ),
            (&[405, 408, 480, 481, 489, 501], Damage::Usage),
            (
                &[404, 410, 416, 482, 483, 484, 485, 502, 604],
                Damage::Dialog,
            ),
        ] {
            for code in codes {
                assert_eq!(Damage::of(Status::new(*code).unwrap()), damage, "{code}");
            }
        }
    }
}
