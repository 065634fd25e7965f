//! Whether a SUBSCRIBE can be worked on at all, before anybody is asked about the watcher.

use std::time::Duration;

use super::{DEFAULT_EXPIRES, PACKAGE, PIDF};
use crate::header::HeaderName;
use crate::message::Message;
use crate::reply::Reply;
use crate::status::Status;

/// What a SUBSCRIBE asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The id of Event, which tells several subscriptions of one dialog apart.
    pub event_id: Option<Box<str>>,
    /// How long it will be granted; zero is a fetch or an end.
    pub expires: Duration,
}

/// Why a SUBSCRIBE is refused whoever sends it. The peer's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Another event package, or none: 489 with Allow-Events.
    BadEvent,
    /// PIDF is not among the documents that the watcher reads: 406 with Accept.
    NotAcceptable,
    /// Shorter than we want: 423 with Min-Expires.
    TooBrief {
        /// The shortest, in seconds.
        min: u32,
    },
    /// A header can't be read: 400.
    Malformed,
}

impl Refusal {
    /// The response.
    #[must_use]
    pub fn reply(self, request: &Message, tag: &str) -> Reply {
        let with = |status| Reply::new(request, status, tag);
        match self {
            Self::BadEvent => {
                let mut reply = with(Status::BAD_EVENT);
                reply.header(HeaderName::AllowEvents, PACKAGE);
                reply
            }
            Self::NotAcceptable => {
                let mut reply = with(Status::NOT_ACCEPTABLE);
                reply.header(HeaderName::Accept, PIDF);
                reply
            }
            Self::TooBrief { min } => {
                let mut reply = with(Status::INTERVAL_TOO_BRIEF);
                reply.header(HeaderName::MinExpires, &min.to_string());
                reply
            }
            Self::Malformed => with(Status::BAD_REQUEST),
        }
    }
}

/// Reads what a SUBSCRIBE asks for.
///
/// # Errors
/// [`Refusal`] says how it is answered.
pub fn screen(request: &Message, min: Duration, max: Duration) -> Result<Asked, Refusal> {
    let event = request
        .event()
        .map_err(|_| Refusal::Malformed)?
        .ok_or(Refusal::BadEvent)?;
    if !event.package.eq_ignore_ascii_case(PACKAGE) {
        return Err(Refusal::BadEvent);
    }
    if request.has(HeaderName::Accept) && !request.accept().any(takes_pidf) {
        return Err(Refusal::NotAcceptable);
    }
    let asked = request
        .expires()
        .map_err(|_| Refusal::Malformed)?
        .unwrap_or(DEFAULT_EXPIRES);
    let expires = Duration::from_secs(asked.into());
    // RFC 6665 section 4.2.1.1: only what is below an hour may be called too brief.
    if !expires.is_zero() && expires < min && asked < 3600 {
        return Err(Refusal::TooBrief {
            min: u32::try_from(min.as_secs()).unwrap_or(u32::MAX),
        });
    }
    Ok(Asked {
        event_id: event.id().map(Into::into),
        expires: expires.min(max),
    })
}

fn takes_pidf(range: &str) -> bool {
    let range = range.split(';').next().unwrap_or_default().trim();
    ["*/*", "application/*", PIDF]
        .iter()
        .any(|taken| range.eq_ignore_ascii_case(taken))
}
