//! The text in a message body, whatever the format it comes in.
//!
//! In: plain text in any charset, HTML and RTF reduced to what they say, the best part of
//! multipart/alternative and the root of multipart/related, CPIM, and notices that somebody types.
//! Out: plain text in UTF-8 ([`CONTENT_TYPE`]). Everything else is refused with [`ACCEPT`].

use crate::media::MediaType;
use crate::time::UtcTime;
use crate::typing::{self, Typing};

mod charset;
mod cpim;
mod entities;
mod html;
mod multipart;
mod rtf;

use multipart::{Part, parts};

/// The Content-Type of what we send.
pub const CONTENT_TYPE: &str = "text/plain;charset=UTF-8";

/// What we take, for Accept beside 415 and in answers to OPTIONS.
pub const ACCEPT: &str = "text/plain, text/html, text/rtf, multipart/alternative, \
                          multipart/related, message/cpim, application/im-iscomposing+xml, \
                          application/xml";

/// Largest body that is read, in bytes.
pub const MAX_BODY: usize = 64 * 1024;
/// Most parts of one multipart body.
pub const MAX_PARTS: usize = 32;
/// Most multipart and CPIM bodies around the text.
pub const MAX_DEPTH: usize = 4;

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A text: UTF-8, line ends `\n`, no control characters besides `\n` and tab, not empty.
    Text(String),
    /// Somebody types, or has stopped.
    Typing(Typing),
    /// Nothing that anybody could read. Not an error: clients send empty messages to keep alive.
    Nothing,
}

/// A message body that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// What it says.
    pub content: Content,
    /// The subject, if the body has one of its own (CPIM).
    pub subject: Option<String>,
    /// When it was sent, if the body says so (CPIM).
    pub sent: Option<UtcTime>,
}

impl From<Content> for Incoming {
    fn from(content: Content) -> Self {
        Self {
            content,
            subject: None,
            sent: None,
        }
    }
}

/// Why a body was refused: the sender's fault, or a format that we do not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextFault {
    /// A format that we do not take: 415 with [`ACCEPT`].
    #[error("the message is in a format that is not accepted here")]
    Unsupported,
    /// Text in a charset that we do not know: 415.
    #[error("the message is in an unknown charset")]
    Charset,
    /// Not what its type says: 400.
    #[error("the message body is malformed")]
    Malformed,
    /// Beyond [`MAX_BODY`], [`MAX_PARTS`] or [`MAX_DEPTH`]: 413.
    #[error("the message body is too large")]
    TooLarge,
}

impl TextFault {
    /// The status to answer the request with.
    #[must_use]
    pub const fn sip_status(self) -> u16 {
        match self {
            Self::Unsupported | Self::Charset => 415,
            Self::Malformed => 400,
            Self::TooLarge => 413,
        }
    }
}

/// Reads a message body. A request without Content-Type is text/plain, as RFC 2045 has it.
///
/// # Errors
/// Says which status to answer with.
pub fn read(content_type: Option<&str>, body: &[u8]) -> Result<Incoming, TextFault> {
    if body.len() > MAX_BODY {
        return Err(TextFault::TooLarge);
    }
    let media = match content_type {
        Some(value) => MediaType::parse(value).ok_or(TextFault::Unsupported)?,
        None => MediaType::plain_text(),
    };
    read_part(&media, body, MAX_DEPTH)
}

fn read_part(media: &MediaType, body: &[u8], depth: usize) -> Result<Incoming, TextFault> {
    let Some(inner) = depth.checked_sub(1) else {
        return Err(TextFault::TooLarge);
    };
    if body.is_empty() {
        return Ok(Content::Nothing.into());
    }
    match media.name() {
        "text/plain" => Ok(text(&charset::decode(body, media)?)),
        "text/html" => Ok(text(&html::to_text(&charset::decode(body, media)?))),
        "text/rtf" | "application/rtf" => Ok(text(&rtf::to_text(body)?)),
        "multipart/alternative" => {
            let parts = parts(media, body)?;
            best(&parts, inner)
        }
        "multipart/related" => {
            let parts = parts(media, body)?;
            let root = multipart::root(media, &parts).ok_or(TextFault::Malformed)?;
            root.read(inner)
        }
        "message/cpim" => cpim::read(body, inner),
        typing::IS_COMPOSING | "application/xml" | "text/xml" => {
            typing::read(media, body).map(|typing| Content::Typing(typing).into())
        }
        _ => Err(TextFault::Unsupported),
    }
}

/// The best alternative: plain text if there is one, for it is what the others would become, else the
/// last that we take (RFC 2046 section 5.1.4).
fn best(parts: &[Part<'_>], depth: usize) -> Result<Incoming, TextFault> {
    let plain = parts
        .iter()
        .filter(|part| part.media.name() == "text/plain");
    let others = parts
        .iter()
        .rev()
        .filter(|part| part.media.name() != "text/plain");
    let mut first_fault = None;
    for part in plain.chain(others) {
        match part.read(depth) {
            Ok(read) if read.content != Content::Nothing => return Ok(read),
            Ok(_) => {}
            Err(fault) => first_fault = first_fault.or(Some(fault)),
        }
    }
    match first_fault {
        Some(fault) => Err(fault),
        None => Ok(Content::Nothing.into()),
    }
}

/// The text as XMPP takes it.
fn text(raw: &str) -> Incoming {
    let unix = raw.replace("\r\n", "\n").replace('\r', "\n");
    let clean: String = unix
        .trim_start_matches('\u{feff}')
        .trim_end_matches(['\n', '\0'])
        .chars()
        .filter(|&c| {
            !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}') || c == '\n' || c == '\t'
        })
        .collect();
    if clean.trim().is_empty() {
        Content::Nothing.into()
    } else {
        Content::Text(clean).into()
    }
}

#[cfg(test)]
mod tests;
