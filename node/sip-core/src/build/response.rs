//! Responses.

use std::fmt::Write as _;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::build::head::Head;
use crate::build::{BuildFault, Value};
use crate::grammar::{find_outside, is_token, unfold};
use crate::header::HeaderName;
use crate::message::{Headers, Message};
use crate::name_addr::NameAddr;
use crate::status::Status;
use crate::uri::Host;
use crate::via::Via;

/// Writes a response to a request (RFC 3261 section 8.2.6): all Vias, From, To, Call-ID and CSeq are
/// the request's, byte for byte; so is Record-Route where a dialog may come of it, and Timestamp in a
/// 100.
#[derive(Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct ResponseBuilder<'a> {
    request: &'a Headers,
    status: Status,
    phrase: Option<&'a str>,
    to_tag: Option<&'a str>,
    source: Option<SocketAddr>,
    more: Vec<(Name<'a>, String)>,
    body: Bytes,
}

#[derive(Debug)]
enum Name<'a> {
    Known(HeaderName),
    Raw(&'a str),
}

impl Message {
    /// A response to this request; see [`ResponseBuilder`].
    pub fn response(&self, status: Status) -> ResponseBuilder<'_> {
        ResponseBuilder::to_headers(self.headers(), status)
    }
}

impl<'a> ResponseBuilder<'a> {
    pub(crate) fn to_headers(request: &'a Headers, status: Status) -> Self {
        Self {
            request,
            status,
            phrase: None,
            to_tag: None,
            source: None,
            more: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// Another reason phrase than the usual one.
    pub fn phrase(mut self, phrase: &'a str) -> Self {
        self.phrase = Some(phrase);
        self
    }

    /// The tag that To gets if the request's has none. A 100 gets none.
    pub fn to_tag(mut self, tag: &'a str) -> Self {
        self.to_tag = Some(tag);
        self
    }

    /// Where the request came from: put into the top Via as `received`, and as `rport` where it asks
    /// (RFC 3261 section 18.2.1, RFC 3581).
    pub fn source(mut self, source: SocketAddr) -> Self {
        self.source = Some(source);
        self
    }

    /// Contact.
    pub fn contact(self, contact: &NameAddr) -> Self {
        self.header(HeaderName::Contact, unfold(contact.as_str()))
    }

    /// Any header. The value is one line.
    pub fn header(mut self, name: HeaderName, value: impl Value) -> Self {
        self.more.push((Name::Known(name), value.to_string()));
        self
    }

    /// A header that [`HeaderName`] does not know.
    pub fn raw_header(mut self, name: &'a str, value: impl Value) -> Self {
        self.more.push((Name::Raw(name), value.to_string()));
        self
    }

    /// Body and Content-Type.
    pub fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header(HeaderName::ContentType, content_type)
    }

    /// The message.
    ///
    /// # Errors
    /// See [`BuildFault`].
    pub fn build(self) -> Result<Message, BuildFault> {
        let phrase = self.phrase.unwrap_or(self.status.phrase());
        let mut head = Head::new(format_args!("SIP/2.0 {} {phrase}", self.status));
        self.vias(&mut head);
        head.copy(self.request, HeaderName::From);
        self.to(&mut head)?;
        head.copy(self.request, HeaderName::CallId);
        head.copy(self.request, HeaderName::CSeq);
        match self.status {
            Status::TRYING => head.copy(self.request, HeaderName::Timestamp),
            status if status.code() < 300 => head.copy(self.request, HeaderName::RecordRoute),
            _ => {}
        }
        for (name, value) in &self.more {
            match name {
                Name::Known(name) => head.header(*name, value),
                Name::Raw(name) => head.raw_header(name, value),
            }
        }
        head.finish(&self.body)
    }

    fn vias(&self, head: &mut Head) {
        let noted = self
            .source
            .zip(self.request.top_via().ok())
            .and_then(|(source, via)| with_source(&via, source));
        let mut lines = self
            .request
            .lines(HeaderName::Via)
            .filter(|line| !line.is_empty());
        let Some((top, first)) = noted.zip(lines.next()) else {
            return head.copy(self.request, HeaderName::Via);
        };
        // What follows the first element stays as it is, readable or not.
        let rest = find_outside(first, b',').map_or("", |comma| &first[comma..]);
        head.parsed(HeaderName::Via, &format!("{top}{rest}"));
        lines.for_each(|line| head.parsed(HeaderName::Via, line));
    }

    fn to(&self, head: &mut Head) -> Result<(), BuildFault> {
        let untagged = self
            .request
            .to()
            .is_ok_and(|to| to.params().find("tag").is_none());
        match (self.to_tag, self.request.get(HeaderName::To)) {
            (Some(tag), Some(to)) if untagged && self.status != Status::TRYING => {
                if !is_token(tag) {
                    return Err(BuildFault::ControlCharacter(HeaderName::To));
                }
                head.copy_tagged(to, tag);
            }
            _ => head.copy(self.request, HeaderName::To),
        }
        Ok(())
    }
}

/// The Via with where it really came from; `None` if it says so already.
fn with_source(via: &Via, source: SocketAddr) -> Option<String> {
    let says_so = via.host() == Host::Address(source.ip().to_canonical());
    let asks_port = via.rport() == Some(None);
    if (says_so && !asks_port) || via.params().has("received") {
        return None;
    }
    let mut text = String::with_capacity(via.as_str().len() + 64);
    // `rport` is filled in where it stands.
    let params_start = via.as_str().len() - via.params().as_str().len();
    text.push_str(&via.as_str()[..params_start]);
    for param in via.params().iter() {
        let _ = match (param.name, param.value) {
            (name, None) if asks_port && name.eq_ignore_ascii_case("rport") => {
                write!(text, ";rport={}", source.port())
            }
            (name, Some(value)) => write!(text, ";{name}={value}"),
            (name, None) => write!(text, ";{name}"),
        };
    }
    let _ = write!(text, ";received={}", source.ip().to_canonical());
    Some(text)
}
