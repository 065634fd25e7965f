//! Finding the headers in a head, in one pass.

use bytes::Bytes;
use smallvec::SmallVec;

use crate::grammar::{is_lws, is_token, number};
use crate::header::HeaderName;
use crate::message::{Headers, Limits, MessageFault};
use crate::method::Method;
use crate::status::Status;
use crate::text::{Span, str_of};

/// One header line. Eight bytes, so that a usual message's index is three cache lines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) name: HeaderName,
    pub(crate) name_len: u8,
    pub(crate) name_start: u16,
    pub(crate) value: Span,
}

impl Entry {
    pub(crate) fn name_of(self, bytes: &[u8]) -> &[u8] {
        let start = usize::from(self.name_start);
        bytes
            .get(start..start + usize::from(self.name_len))
            .unwrap_or_default()
    }
}

pub(crate) type Entries = SmallVec<[Entry; 24]>;

#[derive(Debug, Clone)]
pub(crate) enum Start {
    Request { method: Method, uri: Span },
    Response { status: Status, reason: Span },
}

/// What a head holds, as far as it could be read.
#[derive(Debug)]
pub(crate) struct Indexed {
    start: Option<Start>,
    entries: Entries,
    seen: u64,
    repeated: u64,
    /// The first one.
    fault: Option<MessageFault>,
}

/// The length of the head that `bytes` starts with, its empty line counted. `scanned` bytes were
/// looked at before without finding one.
pub(crate) fn head_len(bytes: &[u8], scanned: usize) -> Option<usize> {
    let mut from = scanned.saturating_sub(3);
    loop {
        from += memchr::memchr(b'\n', bytes.get(from..)?)? + 1;
        if from >= 4 && &bytes[from - 4..from] == b"\r\n\r\n" {
            return Some(from);
        }
    }
}

/// Reads a head of at most [`MAX_HEAD_BYTES`](crate::message::MAX_HEAD_BYTES). Goes on after a fault
/// as well as it can, so that a damaged request can be answered.
pub(crate) fn index(head: &[u8], limits: &Limits) -> Indexed {
    let mut indexed = Indexed {
        start: None,
        entries: Entries::new(),
        seen: 0,
        repeated: 0,
        fault: None,
    };
    indexed.check_characters(head);
    let mut lines = Lines { head, at: 0 };
    match lines.next_line(&mut indexed, false) {
        Some((start, end)) => indexed.start_line(head, start, end),
        None => indexed.blame(MessageFault::StartLine),
    }
    while let Some((start, end)) = lines.next_line(&mut indexed, true) {
        if start == end {
            break;
        }
        indexed.header_line(head, start, end);
        if indexed.entries.len() > limits.headers {
            indexed.blame(MessageFault::TooManyHeaders);
            // The stream goes on behind this message: its length still counts.
            let last = indexed.entries.last().map(|entry| entry.name);
            if last != Some(HeaderName::ContentLength) {
                indexed.entries.pop();
            }
        }
    }
    indexed
}

struct Lines<'a> {
    head: &'a [u8],
    at: usize,
}

impl Lines<'_> {
    /// Start and end (without CRLF) of the next line, folds included; `None` at the end. A piece
    /// without CRLF at the end is no line.
    fn next_line(&mut self, indexed: &mut Indexed, foldable: bool) -> Option<(usize, usize)> {
        let start = self.at;
        let mut from = start;
        loop {
            let end = from + memchr::memchr2(b'\r', b'\n', self.head.get(from..)?)?;
            if self.head[end..].starts_with(b"\r\n") {
                let folded = matches!(self.head.get(end + 2), Some(b' ' | b'\t'));
                if !(foldable && folded && end > start) {
                    self.at = end + 2;
                    return Some((start, end));
                }
                from = end + 2;
            } else {
                indexed.blame(MessageFault::LineEnd);
                from = end + 1;
            }
        }
    }
}

impl Indexed {
    /// Notes a fault; the first counts.
    pub(crate) fn blame(&mut self, fault: MessageFault) {
        self.fault.get_or_insert(fault);
    }

    pub(crate) fn verdict(&self) -> Result<(), MessageFault> {
        match (self.fault, &self.start) {
            (Some(fault), _) => Err(fault),
            (None, None) => Err(MessageFault::StartLine),
            (None, Some(_)) => Ok(()),
        }
    }

    pub(crate) fn into_parts(self, bytes: Bytes) -> (Option<Start>, Headers) {
        let headers = Headers::new(bytes, self.entries, self.seen, self.repeated);
        (self.start, headers)
    }

    /// What is left of a damaged message: its method, if it is a request, and its headers.
    pub(crate) fn into_headers(self, bytes: Bytes) -> (Option<Method>, Headers) {
        let (start, headers) = self.into_parts(bytes);
        let method = match start {
            Some(Start::Request { method, .. }) => Some(method),
            _ => None,
        };
        (method, headers)
    }

    /// The length of the body, if it is said. The same number twice is a matter of validation; two
    /// numbers would let two readers cut the stream at different places.
    pub(crate) fn content_length(&self, bytes: &[u8]) -> Result<Option<usize>, MessageFault> {
        let bit = HeaderName::ContentLength.bit();
        if self.seen & bit == 0 {
            return Ok(None);
        }
        let mut found = None;
        for entry in &self.entries {
            if entry.name != HeaderName::ContentLength {
                continue;
            }
            let length = number(str_of(entry.value.of(bytes)))
                .and_then(|length| usize::try_from(length).ok())
                .ok_or(MessageFault::ContentLength)?;
            if found.is_some_and(|before| before != length) {
                return Err(MessageFault::ContentLength);
            }
            found = Some(length);
        }
        Ok(found)
    }

    /// Control characters may stand behind a backslash only (RFC 3261 section 25.1, quoted-pair).
    fn check_characters(&mut self, head: &[u8]) {
        let is_control =
            |byte: u8| (byte < b' ' && !matches!(byte, b'\t' | b'\r' | b'\n')) || byte == 0x7f;
        // Without early exit: this loop is vectorised, and it almost never finds anything.
        let suspicious = head
            .iter()
            .fold(false, |found, byte| found | is_control(*byte));
        if suspicious {
            let bare = head
                .iter()
                .enumerate()
                .any(|(at, byte)| is_control(*byte) && (at == 0 || head[at - 1] != b'\\'));
            if bare {
                self.blame(MessageFault::ControlCharacter);
            }
        }
        if std::str::from_utf8(head).is_err() {
            self.blame(MessageFault::NotUtf8);
        }
    }

    fn start_line(&mut self, head: &[u8], start: usize, end: usize) {
        let line = &head[start..end];
        let read = match line {
            [b'S' | b's', b'I' | b'i', b'P' | b'p', b'/', ..] => status_line(line, start),
            _ => request_line(line, start),
        };
        match read {
            Ok(start) => self.start = Some(start),
            Err((start, fault)) => {
                self.start = start;
                self.blame(fault);
            }
        }
    }

    fn header_line(&mut self, head: &[u8], start: usize, end: usize) {
        let line = &head[start..end];
        let Some(colon) = memchr::memchr(b':', line) else {
            return self.blame(MessageFault::HeaderLine);
        };
        let name = line[..colon].trim_ascii_end();
        let value_start = start + colon + 1 + leading_lws(&line[colon + 1..]);
        let value_end = end - trailing_lws(&head[value_start.min(end)..end]);
        let span = Span::new(value_start.min(end), value_end);
        let (Some(value), Ok(name_start), Ok(name_len)) =
            (span, u16::try_from(start), u8::try_from(name.len()))
        else {
            return self.blame(MessageFault::HeaderLine);
        };
        let known = HeaderName::from_bytes(name);
        if known == HeaderName::Other && !is_token(str_of(name)) {
            return self.blame(MessageFault::HeaderLine);
        }
        let bit = known.bit();
        self.repeated |= self.seen & bit;
        self.seen |= bit;
        self.entries.push(Entry {
            name: known,
            name_len,
            name_start,
            value,
        });
    }
}

fn leading_lws(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| is_lws(**byte)).count()
}

fn trailing_lws(bytes: &[u8]) -> usize {
    bytes.iter().rev().take_while(|byte| is_lws(**byte)).count()
}

/// A start line, or the fault with what could be read all the same.
type Read = Result<Start, (Option<Start>, MessageFault)>;

/// `Method SP Request-URI SP SIP-Version`, with exactly one space each (RFC 3261 section 7.1).
fn request_line(line: &[u8], at: usize) -> Read {
    let bad = (None, MessageFault::StartLine);
    let first = memchr::memchr(b' ', line).ok_or_else(|| bad.clone())?;
    let method = Method::parse(str_of(&line[..first])).ok_or_else(|| bad.clone())?;
    let rest = line[first + 1..].trim_ascii_end();
    let last = memchr::memrchr(b' ', rest).ok_or_else(|| bad.clone())?;
    let (uri, version) = (&rest[..last], &rest[last + 1..]);
    let start = Span::new(at + first + 1, at + first + 1 + uri.len())
        .map(|uri| Start::Request { method, uri });
    if !version.eq_ignore_ascii_case(b"SIP/2.0") {
        let is_sip = version
            .get(..4)
            .is_some_and(|sip| sip.eq_ignore_ascii_case(b"SIP/"));
        return Err(match is_sip {
            true => (start, MessageFault::Version),
            false => bad,
        });
    }
    let one_space_each = rest.len() == line.len() - first - 1
        && !uri.is_empty()
        && !uri.iter().any(|byte| matches!(byte, b' ' | b'\t'));
    match start {
        Some(start) if one_space_each => Ok(start),
        start => Err((start, MessageFault::StartLine)),
    }
}

/// `SIP-Version SP Status-Code SP Reason-Phrase`.
fn status_line(line: &[u8], at: usize) -> Read {
    let bad = |fault| (None, fault);
    if !line
        .get(..8)
        .is_some_and(|version| version.eq_ignore_ascii_case(b"SIP/2.0 "))
    {
        return Err(bad(MessageFault::Version));
    }
    let code = str_of(line.get(8..11).unwrap_or_default());
    let status = number(code)
        .and_then(|code| Status::new(u16::try_from(code).ok()?))
        .ok_or_else(|| bad(MessageFault::StartLine))?;
    let reason = match line.get(11) {
        Some(b' ') => 12,
        // COMPAT: some leave the space out together with the phrase.
        None => 11,
        Some(_) => return Err(bad(MessageFault::StartLine)),
    };
    let reason = Span::new(at + reason, at + line.len());
    reason
        .map(|reason| Start::Response { status, reason })
        .ok_or_else(|| bad(MessageFault::StartLine))
}
