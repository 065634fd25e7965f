//! As much of SDP (RFC 8866) as sessions for instant messages need.

use std::fmt::Write;
use std::net::IpAddr;

/// Most media descriptions of one session.
pub const MAX_MEDIA: usize = 16;
/// Longest line, in bytes.
const MAX_LINE: usize = 4 * 1024;

/// The formats that we take in a session, for `accept-types`.
const ACCEPT_TYPES: &str = "text/plain multipart/alternative text/html text/rtf";

/// Why a session description was refused: the sender's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SdpFault {
    /// Not UTF-8, or lines that are none of SDP's.
    #[error("the session description is malformed")]
    Syntax,
    /// More than [`MAX_MEDIA`], or a line too long.
    #[error("the session description is too large")]
    TooLarge,
}

/// A session description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sdp {
    media: Vec<Media>,
}

/// One `m=` line and the attributes that matter.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Media {
    kind: String,
    port: u16,
    /// Protocol and formats.
    rest: String,
    accept_types: Vec<String>,
    is_file: bool,
}

/// How a peer names sessions for instant messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageMedia {
    /// `m=message 5060 sip null`
    Message,
    /// `m=x-ms-message 5060 sip null`: COMPAT old Microsoft clients.
    XMsMessage,
}

impl MessageMedia {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::XMsMessage => "x-ms-message",
        }
    }
}

impl Sdp {
    /// Reads a session description. Lines that do not matter here are passed over.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(body: &[u8]) -> Result<Self, SdpFault> {
        let text = std::str::from_utf8(body).map_err(|_| SdpFault::Syntax)?;
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        if lines.next().map(str::trim_end) != Some("v=0") {
            return Err(SdpFault::Syntax);
        }
        let mut media: Vec<Media> = Vec::new();
        for line in lines {
            if line.len() > MAX_LINE {
                return Err(SdpFault::TooLarge);
            }
            let (kind, value) = line.split_once('=').ok_or(SdpFault::Syntax)?;
            match kind {
                "m" if media.len() >= MAX_MEDIA => return Err(SdpFault::TooLarge),
                "m" => media.push(Media::parse(value).ok_or(SdpFault::Syntax)?),
                "a" => {
                    if let Some(media) = media.last_mut() {
                        media.attribute(value);
                    }
                }
                _ => {}
            }
        }
        Ok(Self { media })
    }

    /// How the session for instant messages is named, if one is offered.
    #[must_use]
    pub fn message_media(&self) -> Option<MessageMedia> {
        self.messages().map(|(_, kind)| kind)
    }

    /// The formats that the peer takes, lower case; `*` stands for all. Empty if it does not say.
    #[must_use]
    pub fn accept_types(&self) -> &[String] {
        self.messages()
            .map_or(&[], |(media, _)| media.accept_types.as_slice())
    }

    /// Whether the peer takes a format, given in lower case. Plain text is always taken.
    #[must_use]
    pub fn accepts(&self, format: &str) -> bool {
        let types = self.accept_types();
        format == "text/plain" || types.iter().any(|listed| listed == "*" || listed == format)
    }

    pub(super) fn is_file_transfer(&self) -> bool {
        self.media
            .iter()
            .any(|media| media.is_file || matches!(media.kind.as_str(), "data" | "file"))
    }

    fn messages(&self) -> Option<(&Media, MessageMedia)> {
        self.media.iter().find_map(|media| {
            let kind = [MessageMedia::Message, MessageMedia::XMsMessage]
                .into_iter()
                .find(|kind| media.kind == kind.as_str())?;
            // Not MSRP, which has `message` too.
            let is_sip = media
                .rest
                .split(' ')
                .next()
                .is_some_and(|protocol| protocol.eq_ignore_ascii_case("sip"));
            (is_sip && media.port != 0).then_some((media, kind))
        })
    }

    /// Our answer: instant messages as they were offered, everything else refused (RFC 3264 section 6).
    /// `host` is our public address or name.
    #[must_use]
    pub fn answer(&self, host: &str) -> String {
        let mut answer = session(host);
        let mut accepted = false;
        for media in &self.media {
            let ours = self
                .messages()
                .is_some_and(|(messages, _)| std::ptr::eq(messages, media));
            if ours && !accepted {
                accepted = true;
                media_line(&mut answer, &media.kind, &media.rest);
            } else {
                write!(answer, "m={} 0 {}\r\n", media.kind, media.rest)
                    .expect("writing to a string");
            }
        }
        answer
    }
}

impl Media {
    /// `kind port protocol formats`
    fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let kind = words.next()?.to_ascii_lowercase();
        let port = words.next()?.split('/').next()?.parse().ok()?;
        let rest: Vec<&str> = words.collect();
        if rest.is_empty() || !kind.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        Some(Self {
            kind,
            port,
            rest: rest.join(" "),
            accept_types: Vec::new(),
            is_file: false,
        })
    }

    fn attribute(&mut self, value: &str) {
        let (name, value) = value.split_once(':').unwrap_or((value, ""));
        match name.trim() {
            "accept-types" => self
                .accept_types
                .extend(value.split_ascii_whitespace().map(str::to_ascii_lowercase)),
            "file-selector" | "file-transfer-id" => self.is_file = true,
            _ => {}
        }
    }
}

/// Our offer of a session for instant messages. `host` is our public address or name.
#[must_use]
pub fn offer(host: &str, kind: MessageMedia) -> String {
    let mut offer = session(host);
    media_line(&mut offer, kind.as_str(), "sip null");
    offer
}

/// The session part. The version stays 0: we never change a session.
fn session(host: &str) -> String {
    let family = match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(_)) => "IP6",
        _ => "IP4",
    };
    format!("v=0\r\no=- 0 0 IN {family} {host}\r\ns=session\r\nc=IN {family} {host}\r\nt=0 0\r\n")
}

/// The port means nothing: messages take the session's way.
fn media_line(out: &mut String, kind: &str, rest: &str) {
    write!(
        out,
        "m={kind} 5060 {rest}\r\na=accept-types:{ACCEPT_TYPES}\r\n"
    )
    .expect("writing to a string");
}
