//! Requests.

use bytes::Bytes;

use crate::build::head::Head;
use crate::build::{BuildFault, Value};
use crate::header::HeaderName;
use crate::message::Message;
use crate::method::Method;
use crate::name_addr::NameAddr;
use crate::uri::Uri;
use crate::via::Via;

/// Writes a request, header after header in the order of the calls; Content-Length comes last.
#[derive(Debug)]
#[must_use = "a builder does nothing until it builds"]
pub struct RequestBuilder {
    head: Head,
    method: Method,
    body: Bytes,
}

impl RequestBuilder {
    /// A request of this method to this Request-URI.
    pub fn new(method: &Method, uri: &Uri) -> Self {
        Self {
            head: Head::new(format_args!("{method} {uri} SIP/2.0")),
            method: method.clone(),
            body: Bytes::new(),
        }
    }

    /// A Via.
    pub fn via(mut self, via: &Via) -> Self {
        self.head.parsed(HeaderName::Via, via.as_str());
        self
    }

    /// Max-Forwards.
    pub fn max_forwards(self, hops: u8) -> Self {
        self.header(HeaderName::MaxForwards, hops)
    }

    /// From, with its tag.
    pub fn from(self, from: &NameAddr) -> Self {
        self.address(HeaderName::From, from)
    }

    /// To, with its tag if the dialog has one.
    pub fn to(self, to: &NameAddr) -> Self {
        self.address(HeaderName::To, to)
    }

    /// Call-ID.
    pub fn call_id(self, call_id: &str) -> Self {
        self.header(HeaderName::CallId, call_id)
    }

    /// CSeq with the request's method.
    pub fn cseq(mut self, number: u32) -> Self {
        let value = format_args!("{number} {}", self.method);
        self.head.header(HeaderName::CSeq, value);
        self
    }

    /// Contact.
    pub fn contact(self, contact: &NameAddr) -> Self {
        self.address(HeaderName::Contact, contact)
    }

    /// A Route for each element of a route set, in order and byte for byte.
    pub fn routes<'a>(self, routes: impl IntoIterator<Item = &'a NameAddr>) -> Self {
        routes.into_iter().fold(self, |builder, route| {
            builder.address(HeaderName::Route, route)
        })
    }

    /// A header whose value is an address.
    pub fn address(mut self, name: HeaderName, address: &NameAddr) -> Self {
        self.head.parsed(name, address.as_str());
        self
    }

    /// Any header. The value is one line.
    pub fn header(mut self, name: HeaderName, value: impl Value) -> Self {
        self.head.header(name, value);
        self
    }

    /// A header that [`HeaderName`] does not know.
    pub fn raw_header(mut self, name: &str, value: impl Value) -> Self {
        self.head.raw_header(name, value);
        self
    }

    /// All headers of the name in another message, byte for byte.
    pub fn copy(mut self, from: &Message, name: HeaderName) -> Self {
        self.head.copy(from.headers(), name);
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
        self.head.finish(&self.body)
    }
}
