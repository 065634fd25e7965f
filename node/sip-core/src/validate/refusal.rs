//! How what breaks the rules is answered.

use std::borrow::Cow;
use std::net::SocketAddr;

use crate::build::ResponseBuilder;
use crate::header::{HeaderFault, HeaderName};
use crate::message::{Headers, Message, MessageFault};
use crate::method::Method;
use crate::status::Status;
use crate::uri::UriFault;

/// What a server does with a message that it cannot work on. Never a reason to end a connection.
#[derive(Debug, Clone)]
pub enum Rejection {
    /// Answer it.
    Refuse(Box<Refusal>),
    /// Say nothing.
    Drop(DropReason),
}

/// Which rule a request breaks. The sender's fault; the same request again does not help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefusalCause {
    /// The form of the message.
    #[error(transparent)]
    Message(#[from] MessageFault),
    /// A header.
    #[error(transparent)]
    Header(#[from] HeaderFault),
    /// The Request-URI.
    #[error("Request-URI: {0}")]
    RequestUri(UriFault),
    /// The Request-URI's scheme is none that we route.
    #[error("unsupported URI scheme")]
    Scheme,
    /// CSeq names another method than the request (RFC 3261 section 8.1.1.5).
    #[error("CSeq names another method")]
    CSeqMethod,
    /// The request is well-formed, and refused for another reason.
    #[error("refused")]
    Policy,
}

impl RefusalCause {
    /// The response's code.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::Message(fault) => fault.status(),
            Self::Scheme => Status::UNSUPPORTED_URI_SCHEME,
            Self::RequestUri(UriFault::TooLong) => Status::REQUEST_URI_TOO_LONG,
            _ => Status::BAD_REQUEST,
        }
    }
}

/// Why nothing is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DropReason {
    /// Neither a request nor a response.
    #[error("no SIP message")]
    NotSip,
    /// A response is never answered.
    #[error("a broken response: {0}")]
    Response(RefusalCause),
    /// An ACK is never answered.
    #[error("a broken ACK: {0}")]
    Ack(RefusalCause),
    /// COMPAT Microsoft: nor is a BENOTIFY.
    #[error("a broken BENOTIFY: {0}")]
    Benotify(RefusalCause),
    /// Nothing says where an answer would go.
    #[error("no Via: {0}")]
    NoVia(RefusalCause),
}

/// A request with the answer it gets.
#[derive(Debug, Clone)]
pub struct Refusal {
    headers: Headers,
    status: Status,
    cause: RefusalCause,
    phrase: Option<Cow<'static, str>>,
    extra: Vec<(HeaderName, String)>,
}

impl Rejection {
    /// For bytes that are no good message.
    pub(crate) fn damaged(
        (method, headers): (Option<Method>, Headers),
        fault: MessageFault,
    ) -> Self {
        match method {
            Some(method) => Self::of(&method, headers, fault.into()),
            None if fault == MessageFault::StartLine => Self::Drop(DropReason::NotSip),
            None => Self::Drop(DropReason::Response(fault.into())),
        }
    }

    /// For a request that breaks a rule.
    pub(crate) fn refuse(request: &Message, cause: RefusalCause) -> Self {
        match request.method() {
            Some(method) => Self::of(method, request.headers().clone(), cause),
            None => Self::Drop(DropReason::Response(cause)),
        }
    }

    fn of(method: &Method, headers: Headers, cause: RefusalCause) -> Self {
        match method {
            Method::Ack => Self::Drop(DropReason::Ack(cause)),
            Method::Benotify => Self::Drop(DropReason::Benotify(cause)),
            _ if !headers.has(HeaderName::Via) => Self::Drop(DropReason::NoVia(cause)),
            _ => Self::Refuse(Box::new(Refusal {
                headers,
                status: cause.status(),
                cause,
                phrase: None,
                extra: Vec::new(),
            })),
        }
    }

    /// The code of the answer, if there is one.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        match self {
            Self::Refuse(refusal) => Some(refusal.status),
            Self::Drop(_) => None,
        }
    }
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refuse(refusal) => write!(f, "{}: {}", refusal.status, refusal.cause),
            Self::Drop(reason) => reason.fmt(f),
        }
    }
}

impl std::error::Error for Rejection {}

impl Refusal {
    pub(crate) fn new(request: &Message, status: Status) -> Self {
        Self {
            headers: request.headers().clone(),
            status,
            cause: RefusalCause::Policy,
            phrase: None,
            extra: Vec::new(),
        }
    }

    /// With another header.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.extra.push((name, value.into()));
        self
    }

    /// With another reason phrase.
    #[must_use]
    pub fn with_phrase(mut self, phrase: impl Into<Cow<'static, str>>) -> Self {
        self.phrase = Some(phrase.into());
        self
    }

    /// The code.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// Why.
    #[must_use]
    pub fn cause(&self) -> RefusalCause {
        self.cause
    }

    /// The request's headers, as far as they could be read.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The response; the fault in words is its reason phrase. `None` if so little of the request
    /// could be read that there is nothing to send back.
    #[must_use]
    pub fn response(&self, to_tag: &str, source: Option<SocketAddr>) -> Option<Message> {
        let phrase = match (&self.phrase, self.cause) {
            (Some(phrase), _) => phrase.clone(),
            (None, RefusalCause::Policy) => self.status.phrase().into(),
            (None, cause) => {
                let usual = self.status.phrase();
                Cow::Owned(format!("{usual} ({cause})"))
            }
        };
        let builder = ResponseBuilder::to_headers(&self.headers, self.status)
            .phrase(&phrase)
            .to_tag(to_tag);
        let builder = match source {
            Some(source) => builder.source(source),
            None => builder,
        };
        self.extra
            .iter()
            .fold(builder, |builder, (name, value)| {
                builder.header(*name, value)
            })
            .build()
            .ok()
    }
}
