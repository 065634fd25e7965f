//! Responses of ours that go a long way before they are sent: from a user of a dialog to its node's
//! transactions.

use std::fmt::Write as _;

use bytes::Bytes;
use ring::digest;

use crate::header::HeaderName;
use crate::message::Message;
use crate::status::Status;

/// A response to one request: what [`ResponseBuilder`](crate::build::ResponseBuilder) needs, without
/// borrowing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    request: Box<Message>,
    status: Status,
    tag: Box<str>,
    headers: Vec<(HeaderName, Box<str>)>,
    body: Option<(Box<str>, Bytes)>,
}

impl Reply {
    /// The response of a dialog's user: To gets `tag` if it has none.
    #[must_use]
    pub fn new(request: &Message, status: Status, tag: &str) -> Self {
        Self {
            request: Box::new(request.clone()),
            status,
            tag: tag.into(),
            headers: Vec::new(),
            body: None,
        }
    }

    /// The response of an element without state. Its tag follows from the request, so that a repeated
    /// request gets the same one (RFC 3261 section 8.2.7).
    #[must_use]
    pub fn stateless(request: &Message, status: Status) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for name in [HeaderName::Via, HeaderName::From, HeaderName::CallId] {
            context.update(request.get(name).unwrap_or_default().as_bytes());
            context.update(b"\n");
        }
        let mut tag = String::with_capacity(16);
        for byte in &context.finish().as_ref()[..8] {
            let _ = write!(tag, "{byte:02x}");
        }
        Self::new(request, status, &tag)
    }

    /// Adds a header. Line breaks and other controls in the value become spaces.
    pub fn header(&mut self, name: HeaderName, value: &str) -> &mut Self {
        let value = value.replace(|c: char| c.is_ascii_control(), " ");
        self.headers.push((name, value.into()));
        self
    }

    /// Sets Content-Type and body.
    pub fn body(&mut self, content_type: &str, body: Bytes) -> &mut Self {
        self.body = Some((content_type.into(), body));
        self
    }

    /// The code.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// The request that is answered.
    #[must_use]
    pub fn request(&self) -> &Message {
        &self.request
    }

    /// The whole response. Nothing for a request without the headers that every response copies, which
    /// [`validate`](crate::validate) does not let pass.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut builder = self.request.response(self.status).to_tag(&self.tag);
        for (name, value) in &self.headers {
            builder = builder.header(*name, &**value);
        }
        if let Some((content_type, body)) = &self.body {
            builder = builder.body(content_type, body.clone());
        }
        builder
            .build()
            .map(|response| response.bytes().clone())
            .unwrap_or_default()
    }
}
