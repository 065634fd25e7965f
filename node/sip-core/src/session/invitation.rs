//! Whether an INVITE is one to an IM session of two.

use bytes::Bytes;

use super::sdp::Offer;
use crate::header::HeaderName;
use crate::message::Message;
use crate::reply::Reply;
use crate::status::Status;

/// What the INVITE offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Invitation {
    /// This description is to be answered.
    Offered(Offer),
    /// None: ours is an offer, the answer comes with the ACK (RFC 3261 section 13.2.1).
    Bare,
}

/// Why an INVITE is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Extensions that we do not have: 420 with Unsupported. Among them that of Microsoft's
    /// conferences, `com.microsoft.rtc-multiparty`.
    Extensions(Box<str>),
    /// A conference, a call, a file: 488.
    NotAcceptable,
}

impl Refusal {
    pub(super) fn reply(&self, request: &Message, tag: &str) -> Reply {
        match self {
            Self::Extensions(tags) => {
                let mut reply = Reply::new(request, Status::BAD_EXTENSION, tag);
                reply.header(HeaderName::Unsupported, tags);
                reply
            }
            Self::NotAcceptable => Reply::new(request, Status::NOT_ACCEPTABLE_HERE, tag),
        }
    }
}

pub(super) fn read(request: &Message) -> Result<Invitation, Refusal> {
    let required: Vec<&str> = request.require().collect();
    if !required.is_empty() {
        return Err(Refusal::Extensions(required.join(", ").into()));
    }
    if is_conference(request) {
        return Err(Refusal::NotAcceptable);
    }
    if request.body().is_empty() {
        return Ok(Invitation::Bare);
    }
    let description = description(request).ok_or(Refusal::NotAcceptable)?;
    Offer::parse(&description)
        .map(Invitation::Offered)
        .map_err(|_| Refusal::NotAcceptable)
}

/// COMPAT Microsoft: a conference shows itself by its body, by `TriggeredInvite: TRUE`, or by more than
/// two addresses in EndPoints.
fn is_conference(request: &Message) -> bool {
    let conference_body = request
        .content_type()
        .ok()
        .flatten()
        .is_some_and(|media| media.is("application", "ms-conf-invite+xml"));
    let triggered = request
        .other("TriggeredInvite")
        .is_some_and(|value| value.trim().eq_ignore_ascii_case("true"));
    let ends = request.other("EndPoints").map_or(0, |value| {
        value
            .matches('<')
            .count()
            .max(value.matches("sip:").count())
    });
    conference_body || triggered || ends > 2
}

/// The session description of the body: all of it, or the first such part of several.
pub(super) fn description(message: &Message) -> Option<Bytes> {
    let media = message.content_type().ok()??;
    if media.is("application", "sdp") {
        return Some(message.body_bytes());
    }
    if !media.type_.eq_ignore_ascii_case("multipart") {
        return None;
    }
    let boundary = format!("--{}", media.params.unquoted("boundary")?);
    let body = std::str::from_utf8(message.body()).ok()?;
    let part = body.split(boundary.as_str()).skip(1).find_map(|part| {
        let (head, content) = part.split_once("\r\n\r\n")?;
        head.lines()
            .filter_map(|line| line.split_once(':'))
            .any(|(name, value)| {
                name.eq_ignore_ascii_case("content-type")
                    && value
                        .trim()
                        .to_ascii_lowercase()
                        .starts_with("application/sdp")
            })
            .then_some(content)
    })?;
    Some(Bytes::copy_from_slice(part.as_bytes()))
}
