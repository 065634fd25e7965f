//! Whether an INVITE is one to an IM session of two.

use bytes::Bytes;

use super::sdp::{Offer, SdpFault};
use crate::header::{ContentType, HeaderName};
use crate::message::Message;
use crate::reply::Reply;
use crate::status::Status;

/// The most parts of a body that are looked at.
const MAX_PARTS: usize = 16;

/// The most addresses of EndPoints that are looked at; three people are too many already.
const MAX_ENDS: usize = 16;

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
    /// A conference, a call, or nothing that we know: 488.
    NotAcceptable,
    /// A file: 415 with Accept, which clients put into words for their users.
    File,
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
            Self::File => {
                let mut reply = Reply::new(request, Status::UNSUPPORTED_MEDIA_TYPE, tag);
                reply.header(HeaderName::Accept, "application/sdp");
                reply
            }
        }
    }
}

impl From<SdpFault> for Refusal {
    fn from(fault: SdpFault) -> Self {
        match fault {
            SdpFault::File => Self::File,
            SdpFault::NoMessages | SdpFault::Unreadable => Self::NotAcceptable,
        }
    }
}

pub(super) fn read(request: &Message) -> Result<Invitation, Refusal> {
    let required: Vec<&str> = request.require().collect();
    if !required.is_empty() {
        return Err(Refusal::Extensions(required.join(", ").into()));
    }
    if is_for_many(request) {
        return Err(Refusal::NotAcceptable);
    }
    if request.body().is_empty() {
        return Ok(Invitation::Bare);
    }
    let parts = parts(request);
    // A part that says conference or file speaks for the whole, wherever it stands.
    for part in &parts {
        match part.kind() {
            Kind::Conference => return Err(Refusal::NotAcceptable),
            Kind::File => return Err(Refusal::File),
            Kind::Description | Kind::Other => {}
        }
    }
    let description = first_description(&parts).ok_or(Refusal::NotAcceptable)?;
    Ok(Invitation::Offered(Offer::parse(description)?))
}

/// The session description of a body: all of it, or the first such part of several.
pub(super) fn description(message: &Message) -> Option<Bytes> {
    let parts = parts(message);
    first_description(&parts).map(Bytes::copy_from_slice)
}

fn first_description<'a>(parts: &[Part<'a>]) -> Option<&'a [u8]> {
    parts
        .iter()
        .find(|part| part.kind() == Kind::Description)
        .map(|part| part.body)
}

/// COMPAT Microsoft: besides its body, `TriggeredInvite: TRUE` shows a conference, and more than two
/// people in EndPoints.
fn is_for_many(request: &Message) -> bool {
    let triggered = request
        .other("TriggeredInvite")
        .is_some_and(|value| !value.trim().eq_ignore_ascii_case("false"));
    let people = request.other("EndPoints").map_or(0, people);
    triggered || people > 2
}

/// How many people EndPoints names. One person may stand there with each of several devices.
fn people(ends: &str) -> usize {
    let mut seen: Vec<String> = Vec::new();
    for end in ends.split(',').take(MAX_ENDS) {
        let uri = end
            .rsplit_once('<')
            .map_or(end, |(_, uri)| uri)
            .split(['>', ';'])
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        if !uri.is_empty() && !seen.contains(&uri) {
            seen.push(uri);
        }
    }
    seen.len()
}

/// The whole body, or one part of a multipart body. Parts with parts of their own are more than any
/// client sends.
#[derive(Debug, Clone, Copy)]
struct Part<'a> {
    media: ContentType<'a>,
    body: &'a [u8],
}

/// What a part is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Description,
    Conference,
    File,
    Other,
}

impl Part<'_> {
    fn kind(&self) -> Kind {
        let is = |type_, subtype| self.media.is(type_, subtype);
        if is("application", "sdp") {
            Kind::Description
        } else if is("application", "ms-conf-invite+xml") {
            Kind::Conference
        } else if is("application", "ms-filetransfer+xml") || is("text", "x-msmsgsinvite") {
            Kind::File
        } else {
            Kind::Other
        }
    }
}

fn parts(message: &Message) -> Vec<Part<'_>> {
    let Ok(Some(media)) = message.content_type() else {
        return Vec::new();
    };
    let body = message.body();
    if !media.type_.eq_ignore_ascii_case("multipart") {
        return vec![Part { media, body }];
    }
    let (Some(boundary), Ok(body)) = (media.params.unquoted("boundary"), std::str::from_utf8(body))
    else {
        return Vec::new();
    };
    let delimiter = format!("--{boundary}");
    body.split(delimiter.as_str())
        .skip(1)
        .take(MAX_PARTS)
        .filter_map(|part| {
            let (head, content) = part.split_once("\r\n\r\n")?;
            let (_, value) = head
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.trim().eq_ignore_ascii_case("content-type"))?;
            Some(Part {
                media: ContentType::parse(value.trim())?,
                body: content.as_bytes(),
            })
        })
        .collect()
}
