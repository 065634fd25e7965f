//! The session descriptions of IM sessions: an `m=message` line and the types that are taken.
//!
//! No media flows: the description only says that MESSAGE will be sent in the dialog. So a few lines
//! are read and a fixed form is written; this is no SDP library.

use std::fmt::Write;

use thiserror::Error;

use crate::profile::Media;

/// The longest description that is read, in bytes; conference offers with many candidates have 4 KiB.
const MAX_OFFER: usize = 16 << 10;

/// The most media lines that are answered.
const MAX_MEDIA: usize = 8;

/// What makes a media line one of a file (RFC 5547 section 6).
const FILE_ATTRIBUTES: [&str; 2] = ["a=file-selector:", "a=file-transfer-id:"];

/// Why an offer can't be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SdpFault {
    /// No media line is for messages (a call, a shared screen): 488.
    #[error("the offer has no message media")]
    NoMessages,
    /// A file is to be sent, beside messages or alone: 415.
    #[error("the offer is of a file")]
    File,
    /// Too long, too many media lines, or not text: 488.
    #[error("the offer can't be read")]
    Unreadable,
}

/// What an offer says of the message media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Each media line in order: its kind if it is for messages, else its first word.
    lines: Vec<Line>,
    /// `a=accept-types` of the message line; empty if there was none.
    pub accept_types: Box<str>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Line {
    Messages(Media),
    /// `KIND PROTO FORMAT` of a line that is answered with port 0.
    Refused(Box<str>),
}

impl Offer {
    /// Reads an offer.
    ///
    /// # Errors
    /// [`SdpFault`], each with its answer.
    pub fn parse(body: &[u8]) -> Result<Self, SdpFault> {
        if body.len() > MAX_OFFER {
            return Err(SdpFault::Unreadable);
        }
        let text = std::str::from_utf8(body).map_err(|_| SdpFault::Unreadable)?;
        let mut lines = Vec::new();
        let mut accept_types = "";
        let mut messages = false;
        let mut file = false;
        for line in text.lines() {
            if let Some(media) = line.strip_prefix("m=") {
                if lines.len() == MAX_MEDIA {
                    return Err(SdpFault::Unreadable);
                }
                lines.push(Self::media_line(media, messages)?);
                messages |= matches!(lines.last(), Some(Line::Messages(_)));
                file |= is_file_media(media);
            } else if FILE_ATTRIBUTES.iter().any(|name| line.starts_with(name)) {
                file = true;
            } else if let Some(types) = line.strip_prefix("a=accept-types:")
                && matches!(lines.last(), Some(Line::Messages(_)))
            {
                accept_types = types.trim();
            }
        }
        if file {
            return Err(SdpFault::File);
        }
        if !messages {
            return Err(SdpFault::NoMessages);
        }
        Ok(Self {
            lines,
            accept_types: accept_types.into(),
        })
    }

    fn media_line(line: &str, taken: bool) -> Result<Line, SdpFault> {
        let mut words = line.split_ascii_whitespace();
        let (Some(kind), Some(port), Some(protocol), Some(format)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(SdpFault::Unreadable);
        };
        let media = match kind {
            "message" => Some(Media::Message),
            "x-ms-message" => Some(Media::XMsMessage),
            _ => None,
        };
        Ok(match media {
            // `m=message ... TCP/MSRP` (RFC 4975) wants another protocol; port 0 is an offer taken back.
            Some(media) if !taken && port != "0" && protocol.eq_ignore_ascii_case("sip") => {
                Line::Messages(media)
            }
            _ => Line::Refused(format!("{kind} 0 {protocol} {format}").into()),
        })
    }

    /// The answer: the same media lines in the same order (RFC 3264 section 6), all but the messages
    /// refused with port 0.
    #[must_use]
    pub fn answer(&self, host: &str, accept: &str) -> String {
        let mut answer = head(host);
        for line in &self.lines {
            match line {
                Line::Messages(media) => message_line(&mut answer, *media, accept),
                Line::Refused(line) => {
                    let _ = write!(answer, "m={line}\r\n");
                }
            }
        }
        answer
    }
}

/// `m=data` of Microsoft's communicators, and its older names.
fn is_file_media(line: &str) -> bool {
    let kind = line.split_ascii_whitespace().next().unwrap_or_default();
    ["data", "file", "x-file"].contains(&kind)
}

/// Our offer: one message line.
#[must_use]
pub fn offer(host: &str, media: Media, accept: &str) -> String {
    let mut offer = head(host);
    message_line(&mut offer, media, accept);
    offer
}

fn head(host: &str) -> String {
    let family = if host.contains(':') { "IP6" } else { "IP4" };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    format!("v=0\r\no=- 0 0 IN {family} {host}\r\ns=session\r\nc=IN {family} {host}\r\nt=0 0\r\n")
}

fn message_line(description: &mut String, media: Media, accept: &str) {
    let kind = match media {
        Media::Message => "message",
        Media::XMsMessage => "x-ms-message",
    };
    let _ = write!(
        description,
        "m={kind} 5060 sip null\r\na=accept-types:{accept}\r\n"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMUNICATOR: &[u8] = b"v=0\r\n\
        o=- 0 0 IN IP4 192.0.2.7\r\n\
        s=session\r\n\
        c=IN IP4 192.0.2.7\r\n\
        t=0 0\r\n\
        m=message 5060 sip sip:ann@contoso.example\r\n\
        a=accept-types:text/plain multipart/alternative image/gif text/rtf\r\n";

    #[test]
    fn a_communicators_offer_is_taken() {
        let offer = Offer::parse(COMMUNICATOR).unwrap();
        assert_eq!(
            &*offer.accept_types,
            "text/plain multipart/alternative image/gif text/rtf"
        );
        assert_eq!(
            offer.answer("sip.entente.example", "text/plain"),
            "v=0\r\no=- 0 0 IN IP4 sip.entente.example\r\ns=session\r\n\
             c=IN IP4 sip.entente.example\r\nt=0 0\r\n\
             m=message 5060 sip null\r\na=accept-types:text/plain\r\n"
        );
    }

    #[test]
    fn an_answer_has_a_line_for_each_line_of_the_offer() {
        let offer = b"v=0\no=- 0 0 IN IP4 h\ns=-\nt=0 0\nm=audio 4000 RTP/AVP 0 8\nm=x-ms-message 5060 sip null\n";
        let answer = Offer::parse(offer).unwrap().answer("h", "text/plain");
        let media: Vec<_> = answer.lines().filter(|l| l.starts_with("m=")).collect();
        assert_eq!(
            media,
            ["m=audio 0 RTP/AVP 0", "m=x-ms-message 5060 sip null"]
        );
    }

    #[test]
    fn calls_and_msrp_are_not_taken() {
        for media in [
            "m=audio 4000 RTP/AVP 0",
            "m=message 7394 TCP/MSRP *",
            "m=message 0 sip null",
        ] {
            let offer = format!("v=0\r\n{media}\r\n");
            assert_eq!(
                Offer::parse(offer.as_bytes()),
                Err(SdpFault::NoMessages),
                "{media}"
            );
        }
    }

    #[test]
    fn files_are_told_from_the_rest_beside_messages_too() {
        for media in [
            "m=x-file 5060 sip null",
            "m=data 6891 TCP/TLS/FTP *",
            "m=message 7654 TCP/MSRP *\r\na=file-selector:name:\"x.jpg\"",
            "m=message 5060 sip null\r\nm=data 6891 TCP/TLS/FTP *",
        ] {
            let offer = format!("v=0\r\n{media}\r\n");
            let read = Offer::parse(offer.as_bytes());
            assert_eq!(read, Err(SdpFault::File), "{media}");
        }
    }

    #[test]
    fn what_is_no_description_is_refused() {
        assert_eq!(Offer::parse(b""), Err(SdpFault::NoMessages));
        assert_eq!(Offer::parse(b"m=message"), Err(SdpFault::Unreadable));
        assert_eq!(Offer::parse(&[0xff; 9]), Err(SdpFault::Unreadable));
        let long = [b'a'; MAX_OFFER + 1];
        assert_eq!(Offer::parse(&long), Err(SdpFault::Unreadable));
        let many = "m=audio 1 RTP 0\n".repeat(MAX_MEDIA + 1);
        assert_eq!(Offer::parse(many.as_bytes()), Err(SdpFault::Unreadable));
    }

    #[test]
    fn our_offer_can_be_read_again() {
        let text = offer("[2001:db8::1]", Media::Message, "text/plain text/html");
        assert!(text.contains("c=IN IP6 2001:db8::1\r\n"), "{text}");
        let read = Offer::parse(text.as_bytes()).unwrap();
        assert_eq!(&*read.accept_types, "text/plain text/html");
    }
}
