//! A request of ours before it has a Via: what a dialog, subscription or session hands to whoever keeps
//! the transaction, which may be another node.

use std::fmt::Write as _;

use bytes::Bytes;

use crate::header::HeaderName;
use crate::method::Method;
use crate::record::{RecordError, RecordReader, RecordWriter};

const KIND: u8 = b'q';
const VERSION: u8 = 2;
const MAX_HEADERS: u64 = 256;

/// A request of ours that lacks Via, Max-Forwards and Content-Length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    method: Method,
    uri: Box<str>,
    headers: Vec<(HeaderName, Box<str>)>,
    body: Bytes,
    /// The Request-URI is a strict router's, and not what the Routes lead to.
    strict: bool,
}

impl Draft {
    /// A request with no headers.
    #[must_use]
    pub fn new(method: Method, uri: &str) -> Self {
        Self {
            method,
            uri: clean(uri),
            headers: Vec::with_capacity(12),
            body: Bytes::new(),
            strict: false,
        }
    }

    /// Adds a header behind those that are there. Line breaks in the value become spaces: what came
    /// from a peer can't start a header of its own.
    pub fn header(&mut self, name: HeaderName, value: &str) -> &mut Self {
        self.headers.push((name, clean(value)));
        self
    }

    /// Sets Content-Type and body.
    pub fn body(&mut self, content_type: &str, body: Bytes) -> &mut Self {
        self.body = body;
        self.header(HeaderName::ContentType, content_type)
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The Request-URI.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The first value of a header.
    #[must_use]
    pub fn get(&self, name: HeaderName) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of a header, in order.
    pub fn all(&self, name: HeaderName) -> impl Iterator<Item = &str> {
        self.headers
            .iter()
            .filter(move |(n, _)| *n == name)
            .map(|(_, value)| &**value)
    }

    /// The first router is one of RFC 2543: the request goes to its Request-URI.
    pub(crate) fn strictly_routed(mut self) -> Self {
        self.strict = true;
        self
    }

    /// Where the request has to go first: the topmost Route, else the Request-URI, which is first
    /// where it is a strict router's (RFC 3261 section 8.1.2).
    #[must_use]
    pub fn next_hop(&self) -> &str {
        match self.get(HeaderName::Route) {
            Some(route) if !self.strict => route,
            _ => &self.uri,
        }
    }

    /// The whole request with this Via on top.
    #[must_use]
    pub fn to_bytes(&self, via: &str) -> Bytes {
        let mut text = String::with_capacity(256 + 64 * self.headers.len() + self.body.len());
        let _ = write!(
            text,
            "{} {} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\n",
            self.method, self.uri
        );
        for (name, value) in &self.headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        let _ = write!(text, "Content-Length: {}\r\n\r\n", self.body.len());
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes.into()
    }

    /// The ACK of a final response other than 2xx, or the CANCEL of this request (RFC 3261 sections
    /// 17.1.1.3 and 9.1): Request-URI, Call-ID, From, CSeq number and Route are the request's.
    pub(crate) fn follow_up(&self, method: Method, to: Option<&str>) -> Self {
        let mut draft = Self::new(method, &self.uri);
        draft.strict = self.strict;
        for name in [HeaderName::Route, HeaderName::From] {
            for value in self.all(name) {
                draft.header(name, value);
            }
        }
        draft.header(
            HeaderName::To,
            to.or(self.get(HeaderName::To)).unwrap_or_default(),
        );
        draft.header(
            HeaderName::CallId,
            self.get(HeaderName::CallId).unwrap_or_default(),
        );
        let number = self
            .get(HeaderName::CSeq)
            .and_then(|cseq| cseq.split(' ').next())
            .unwrap_or_default();
        let cseq = format!("{number} {}", draft.method);
        draft.header(HeaderName::CSeq, &cseq);
        draft
    }

    /// For the way to another node.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = RecordWriter::new(KIND, VERSION);
        writer.text(self.method.as_str()).text(&self.uri);
        writer.number(self.headers.len() as u64);
        for (name, value) in &self.headers {
            writer.text(name.as_str()).text(value);
        }
        writer.bytes(&self.body).flag(self.strict);
        writer.finish()
    }

    /// What [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`RecordError`] if it did not write this.
    pub fn decode(record: &[u8]) -> Result<Self, RecordError> {
        let mut reader = RecordReader::new(record, KIND, VERSION)?;
        let method = Method::parse(reader.text()?).ok_or(RecordError::Damaged)?;
        let mut draft = Self::new(method, reader.text()?);
        let count = reader.number()?;
        if count > MAX_HEADERS {
            return Err(RecordError::Damaged);
        }
        for _ in 0..count {
            let name = HeaderName::from_bytes(reader.text()?.as_bytes());
            let value = reader.text()?;
            if name == HeaderName::Other {
                return Err(RecordError::Damaged);
            }
            draft.header(name, value);
        }
        draft.body = Bytes::copy_from_slice(reader.bytes()?);
        draft.strict = reader.flag()?;
        reader.finish()?;
        Ok(draft)
    }
}

fn clean(value: &str) -> Box<str> {
    if value.contains(['\r', '\n', '\0']) {
        value.replace(['\r', '\n', '\0'], " ").into()
    } else {
        value.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite() -> Draft {
        let mut draft = Draft::new(Method::Invite, "sip:bob@biloxi.example");
        draft
            .header(HeaderName::Route, "<sip:p1.example;lr>")
            .header(HeaderName::From, "<sip:alice@atlanta.example>;tag=1")
            .header(HeaderName::To, "<sip:bob@biloxi.example>")
            .header(HeaderName::CallId, "a84b4c76e66710")
            .header(HeaderName::CSeq, "314159 INVITE")
            .body("text/plain", Bytes::from_static(b"hi"));
        draft
    }

    #[test]
    fn a_request_is_written_with_its_via_on_top() {
        let text = invite().to_bytes("SIP/2.0/TLS h;branch=z9hG4bK1");
        assert_eq!(
            std::str::from_utf8(&text).unwrap(),
            "INVITE sip:bob@biloxi.example SIP/2.0\r\n\
             Via: SIP/2.0/TLS h;branch=z9hG4bK1\r\n\
             Max-Forwards: 70\r\n\
             Route: <sip:p1.example;lr>\r\n\
             From: <sip:alice@atlanta.example>;tag=1\r\n\
             To: <sip:bob@biloxi.example>\r\n\
             Call-ID: a84b4c76e66710\r\n\
             CSeq: 314159 INVITE\r\n\
             Content-Type: text/plain\r\n\
             Content-Length: 2\r\n\r\nhi"
        );
    }

    #[test]
    fn ack_takes_the_responses_to_and_cancel_the_requests() {
        let ack = invite().follow_up(Method::Ack, Some("<sip:bob@biloxi.example>;tag=2"));
        assert_eq!(
            ack.get(HeaderName::To),
            Some("<sip:bob@biloxi.example>;tag=2")
        );
        assert_eq!(ack.get(HeaderName::CSeq), Some("314159 ACK"));
        assert_eq!(ack.next_hop(), "<sip:p1.example;lr>");
        let cancel = invite().follow_up(Method::Cancel, None);
        assert_eq!(cancel.get(HeaderName::To), Some("<sip:bob@biloxi.example>"));
        assert_eq!(cancel.get(HeaderName::CSeq), Some("314159 CANCEL"));
        assert_eq!(cancel.get(HeaderName::ContentType), None);
    }

    #[test]
    fn a_value_can_not_start_a_header() {
        let mut draft = Draft::new(Method::Message, "sip:a@b");
        draft.header(HeaderName::Subject, "x\r\nRoute: <sip:evil>");
        let text = draft.to_bytes("v");
        assert!(!String::from_utf8_lossy(&text).contains("\r\nRoute"));
    }

    #[test]
    fn a_draft_survives_the_way_to_another_node() {
        assert_eq!(Draft::decode(&invite().encode()), Ok(invite()));
        let record = invite().encode();
        for end in 0..record.len() {
            assert!(Draft::decode(&record[..end]).is_err(), "{end}");
        }
    }
}
