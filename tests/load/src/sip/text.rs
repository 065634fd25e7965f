//! A SIP message: cut from a stream, looked into by header name, written line by line.

use std::fmt::{self, Write as _};

use bytes::{Buf, Bytes, BytesMut};

/// The longest head, and the longest body, that is read.
const MAX_PART: usize = 256 * 1024;

/// Compact forms (RFC 3261 section 20, RFC 6665, RFC 3841).
const COMPACT: [(&str, &str); 14] = [
    ("accept-contact", "a"),
    ("allow-events", "u"),
    ("call-id", "i"),
    ("contact", "m"),
    ("content-encoding", "e"),
    ("content-length", "l"),
    ("content-type", "c"),
    ("event", "o"),
    ("from", "f"),
    ("refer-to", "r"),
    ("subject", "s"),
    ("supported", "k"),
    ("to", "t"),
    ("via", "v"),
];

/// Why bytes are no SIP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SipTextError {
    /// Head or body larger than anything that a test sends.
    #[error("more than {MAX_PART} bytes in head or body")]
    TooLarge,
    /// Bytes of the head are not UTF-8 (RFC 3261 section 25.1).
    #[error("the head is not UTF-8")]
    NotText,
    /// Over a stream every message says its length (RFC 3261 section 18.3).
    #[error("no Content-Length, or none that is a number")]
    NoLength,
    /// A line begins with a blank: legal, but nobody here writes it.
    #[error("a folded line")]
    Folded,
    /// A line without a colon, or no start line.
    #[error("a line that is no header")]
    NoHeader,
}

/// One message.
#[derive(Clone, PartialEq, Eq)]
pub struct SipText {
    head: String,
    body: Bytes,
}

impl SipText {
    /// Takes the first message from the buffer once it is whole. Line ends before it are dropped
    /// (RFC 3261 section 7.5).
    pub fn take(buffer: &mut BytesMut) -> Result<Option<Self>, SipTextError> {
        let blank = buffer
            .iter()
            .take_while(|byte| **byte == b'\r' || **byte == b'\n')
            .count();
        buffer.advance(blank);
        let Some(end) = memchr::memmem::find(buffer, b"\r\n\r\n") else {
            return if buffer.len() > MAX_PART {
                Err(SipTextError::TooLarge)
            } else {
                Ok(None)
            };
        };
        let head = std::str::from_utf8(&buffer[..end + 2]).map_err(|_| SipTextError::NotText)?;
        let length: usize = value_in(head, "content-length")
            .and_then(|value| value.parse().ok())
            .ok_or(SipTextError::NoLength)?;
        if length > MAX_PART {
            return Err(SipTextError::TooLarge);
        }
        let start = end + 4;
        if buffer.len() < start + length {
            buffer.reserve(start + length - buffer.len());
            return Ok(None);
        }
        for line in head.split("\r\n").skip(1).filter(|line| !line.is_empty()) {
            if line.starts_with([' ', '\t']) {
                return Err(SipTextError::Folded);
            }
            if !line.contains(':') {
                return Err(SipTextError::NoHeader);
            }
        }
        let head = head.to_owned();
        let mut whole = buffer.split_to(start + length);
        whole.advance(start);
        Ok(Some(Self {
            head,
            body: whole.freeze(),
        }))
    }

    /// The first line.
    pub fn start_line(&self) -> &str {
        self.head.split("\r\n").next().unwrap_or("")
    }

    /// The method of a request.
    pub fn method(&self) -> Option<&str> {
        let line = self.start_line();
        (!line.starts_with("SIP/2.0 ")).then(|| line.split(' ').next().unwrap_or(""))
    }

    /// Whether this is a request with the method.
    pub fn is(&self, method: &str) -> bool {
        self.method() == Some(method)
    }

    /// The code of a response.
    pub fn status(&self) -> Option<u16> {
        let rest = self.start_line().strip_prefix("SIP/2.0 ")?;
        rest.get(..3)?.parse().ok()
    }

    /// The Request-URI.
    pub fn request_uri(&self) -> &str {
        self.start_line().split(' ').nth(1).unwrap_or("")
    }

    /// The first header with this name (long form, any case), without surrounding blanks.
    pub fn header(&self, name: &str) -> Option<&str> {
        value_in(&self.head, name)
    }

    /// All headers with this name, in order. A line with a list of values is split at its commas.
    pub fn values(&self, name: &str) -> Vec<&str> {
        lines_in(&self.head, name).flat_map(split_list).collect()
    }

    /// Names of all headers as they came.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.head
            .split("\r\n")
            .skip(1)
            .filter_map(|line| Some(line.split_once(':')?.0.trim_end()))
    }

    /// Call-ID.
    pub fn call_id(&self) -> &str {
        self.header("call-id").unwrap_or("")
    }

    /// The number in CSeq.
    pub fn cseq(&self) -> u32 {
        let value = self.header("cseq").unwrap_or("");
        value
            .split(' ')
            .next()
            .and_then(|number| number.parse().ok())
            .unwrap_or(0)
    }

    /// The method in CSeq: what a response answers.
    pub fn cseq_method(&self) -> &str {
        let value = self.header("cseq").unwrap_or("");
        value.split(' ').next_back().unwrap_or("")
    }

    /// The tag in From.
    pub fn from_tag(&self) -> Option<&str> {
        parameter(self.header("from")?, "tag")
    }

    /// The tag in To: there is one inside a dialog.
    pub fn to_tag(&self) -> Option<&str> {
        parameter(self.header("to")?, "tag")
    }

    /// The branch of the topmost Via.
    pub fn branch(&self) -> Option<&str> {
        parameter(self.values("via").first()?, "branch")
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The body as text.
    pub fn body_text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Begins the response to this request: Via, From, To, Call-ID, CSeq and Record-Route as they
    /// came; `tag` goes into a To that has none (RFC 3261 section 8.2.6).
    pub fn answer(&self, code: u16, reason: &str, tag: &str) -> SipWriter {
        let mut writer = SipWriter::new(format_args!("SIP/2.0 {code} {reason}"));
        for name in ["via", "record-route", "from", "call-id", "cseq"] {
            for value in lines_in(&self.head, name) {
                writer = writer.header(name, value);
            }
        }
        let to = self.header("to").unwrap_or("");
        if self.to_tag().is_some() || tag.is_empty() {
            writer.header("to", to)
        } else {
            writer.header("to", format_args!("{to};tag={tag}"))
        }
    }
}

impl fmt::Display for SipText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}\r\n{}",
            self.head,
            String::from_utf8_lossy(&self.body)
        )
    }
}

impl fmt::Debug for SipText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn lines_in<'a>(head: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let compact = COMPACT
        .iter()
        .find(|(long, _)| long.eq_ignore_ascii_case(name))
        .map_or("", |(_, short)| short);
    let name = name.to_owned();
    head.split("\r\n").skip(1).filter_map(move |line| {
        let (found, value) = line.split_once(':')?;
        let found = found.trim_end();
        (found.eq_ignore_ascii_case(&name) || found.eq_ignore_ascii_case(compact))
            .then(|| value.trim())
    })
}

fn value_in<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    lines_in(head, name).next()
}

/// At commas outside quotes and angle brackets.
fn split_list(value: &str) -> Vec<&str> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped, mut angle) = (false, false, false);
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' if !angle => quoted = !quoted,
            b'<' if !quoted => angle = true,
            b'>' if !quoted => angle = false,
            b',' if !quoted && !angle => {
                parts.push(value[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(value[start..].trim());
    parts
}

/// What stands between the angle brackets of a name-addr; without brackets, what stands before the
/// first parameter.
pub fn uri_of(value: &str) -> &str {
    let after_name = match value.trim_start().strip_prefix('"') {
        Some(_) => {
            let open = value.find('"').unwrap_or(0) + 1;
            let close = value[open..].find('"').map_or(0, |at| open + at + 1);
            &value[close..]
        }
        None => value,
    };
    match after_name.split_once('<') {
        Some((_, rest)) => rest.split('>').next().unwrap_or(""),
        None => after_name.split(';').next().unwrap_or("").trim(),
    }
}

/// A parameter of the header (not of the URI in angle brackets), any case of the name.
pub fn parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let after = value.rfind('>').map_or(value, |at| &value[at + 1..]);
    after.split(';').skip(1).find_map(|part| {
        let (found, text) = part.split_once('=').unwrap_or((part, ""));
        found
            .trim()
            .eq_ignore_ascii_case(name)
            .then(|| text.trim().trim_matches('"'))
    })
}

/// A random token for tags, branches and Call-IDs.
pub fn token() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// A message that is being written; Content-Length comes last.
#[derive(Debug, Clone)]
#[must_use]
pub struct SipWriter(String);

impl SipWriter {
    /// With the start line.
    pub fn new(start: impl fmt::Display) -> Self {
        Self(format!("{start}\r\n"))
    }

    /// Adds a header as it is given.
    pub fn header(mut self, name: &str, value: impl fmt::Display) -> Self {
        // Writing to a String does not fail.
        let _infallible = write!(self.0, "{name}: {value}\r\n");
        self
    }

    /// The bytes, without a body.
    pub fn end(self) -> Bytes {
        Bytes::from(self.0 + "content-length: 0\r\n\r\n")
    }

    /// The bytes, with a body of the type.
    pub fn body(mut self, content_type: &str, body: &[u8]) -> Bytes {
        self = self.header("content-type", content_type);
        let mut bytes = self.header("content-length", body.len()).0.into_bytes();
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        Bytes::from(bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MESSAGE: &str = "MESSAGE sip:b@y.example;gr=a:b SIP/2.0\r\n\
        v: SIP/2.0/TLS one.example;branch=z9hG4bK1, SIP/2.0/TCP two.example;branch=z9hG4bK2\r\n\
        Via: SIP/2.0/UDP three.example\r\n\
        From: \"A <,;tag=no> \" <sip:a@x.example;tag=neither>;tag=yes\r\n\
        t: sip:b@y.example\r\nCall-ID: c1\r\nCSeq: 7 MESSAGE\r\nl: 3\r\n\r\n";

    fn read(text: &str) -> SipText {
        SipText::take(&mut BytesMut::from(text)).unwrap().unwrap()
    }

    #[test]
    fn messages_are_cut_by_their_length_wherever_the_stream_breaks() {
        let whole = format!("\r\n\r\n{MESSAGE}abc{MESSAGE}def");
        for cut in 0..whole.len() {
            let mut buffer = BytesMut::new();
            let mut bodies = Vec::new();
            for part in [&whole[..cut], &whole[cut..]] {
                buffer.extend_from_slice(part.as_bytes());
                while let Some(message) = SipText::take(&mut buffer).unwrap() {
                    bodies.push(message.body_text());
                }
            }
            assert_eq!(bodies, ["abc", "def"], "cut at {cut}");
        }
    }

    #[test]
    fn headers_are_found_in_long_and_compact_form() {
        let message = read(&format!("{MESSAGE}abc"));
        assert!(message.is("MESSAGE") && message.status().is_none());
        assert_eq!(message.request_uri(), "sip:b@y.example;gr=a:b");
        assert_eq!(message.values("Via").len(), 3);
        assert_eq!(message.branch(), Some("z9hG4bK1"));
        assert_eq!(message.from_tag(), Some("yes"));
        assert_eq!(
            uri_of(message.header("from").unwrap()),
            "sip:a@x.example;tag=neither"
        );
        assert_eq!(uri_of(message.header("to").unwrap()), "sip:b@y.example");
        assert_eq!((message.cseq(), message.cseq_method()), (7, "MESSAGE"));
    }

    #[test]
    fn an_answer_copies_what_identifies_the_request() {
        let mut bytes = BytesMut::from(
            &read(&format!("{MESSAGE}abc"))
                .answer(200, "OK", "mine")
                .end()[..],
        );
        let answer = SipText::take(&mut bytes).unwrap().unwrap();
        assert_eq!(answer.status(), Some(200));
        assert_eq!(answer.to_tag(), Some("mine"));
        assert_eq!(answer.branch(), Some("z9hG4bK1"));
        assert_eq!(answer.values("via").len(), 3);
        assert!(bytes.is_empty());
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for (text, error) in [
            (
                "OPTIONS sip:a SIP/2.0\r\nVia: x\r\n\r\n",
                SipTextError::NoLength,
            ),
            (
                "OPTIONS sip:a SIP/2.0\r\nl: 0\r\n folded\r\n\r\n",
                SipTextError::Folded,
            ),
            (
                "OPTIONS sip:a SIP/2.0\r\nl: 0\r\nnothing\r\n\r\n",
                SipTextError::NoHeader,
            ),
            (
                "OPTIONS sip:a SIP/2.0\r\nl: 9999999\r\n\r\n",
                SipTextError::TooLarge,
            ),
        ] {
            assert_eq!(
                SipText::take(&mut BytesMut::from(text)),
                Err(error),
                "{text}"
            );
        }
    }
}
