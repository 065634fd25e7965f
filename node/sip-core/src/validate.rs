//! Whether a message may be worked on: asked once, at the edge (RFC 3261 sections 8.1.1, 8.2, 16.3).
//!
//! [`check`] makes of a [`Message`] a [`Request`] or [`Response`] whose headers for routing are read
//! and known to be right. Otherwise a [`Rejection`] says how a server answers, or that it must not.

use crate::grammar::is_token;
use crate::header::{CSeq, HeaderFault, HeaderName};
use crate::message::{Message, StartLine};
use crate::method::Method;
use crate::name_addr::NameAddr;
use crate::status::Status;
use crate::uri::{Scheme, Uri, UriFault};
use crate::via::Via;

mod refusal;

pub use refusal::{DropReason, Refusal, RefusalCause, Rejection};

/// A message that was checked.
#[derive(Debug, Clone)]
pub enum Checked {
    /// A request.
    Request(Box<Request>),
    /// A response.
    Response(Box<Response>),
}

/// What requests and responses share.
#[derive(Debug, Clone)]
struct Common {
    via: Via,
    from: NameAddr,
    to: NameAddr,
    cseq: CSeq,
}

/// A request whose mandatory headers are there and well-formed.
#[derive(Debug, Clone)]
pub struct Request {
    message: Message,
    common: Common,
    uri: Uri,
    max_forwards: Option<u8>,
}

/// A response whose mandatory headers are there and well-formed.
#[derive(Debug, Clone)]
pub struct Response {
    message: Message,
    common: Common,
    status: Status,
}

/// Checks a message.
///
/// # Errors
/// The first rule that it breaks.
pub fn check(message: Message) -> Result<Checked, Rejection> {
    match message.start_line() {
        StartLine::Request { .. } => Request::check(message).map(Box::new).map(Checked::Request),
        StartLine::Response { status, .. } => Response::check(message, status)
            .map(Box::new)
            .map(Checked::Response),
    }
}

impl Common {
    fn read(message: &Message) -> Result<Self, HeaderFault> {
        if let Some(name) = message.repeated_single() {
            return Err(HeaderFault::Repeated(name));
        }
        let via = message.top_via()?;
        let from = message.from()?;
        let to = message.to()?;
        for (name, address) in [(HeaderName::From, &from), (HeaderName::To, &to)] {
            if !has_sound_tag(address) {
                return Err(HeaderFault::Malformed(name));
            }
        }
        message.call_id()?;
        Ok(Self {
            via,
            from,
            to,
            cseq: message.cseq()?,
        })
    }
}

/// Two tags would name two dialogs, and one without a value none.
fn has_sound_tag(address: &NameAddr) -> bool {
    let mut tags = address
        .params()
        .iter()
        .filter(|param| param.name.eq_ignore_ascii_case("tag"));
    match (tags.next(), tags.next()) {
        (None, _) => true,
        (Some(tag), None) => tag.value.is_some_and(is_token),
        (Some(_), Some(_)) => false,
    }
}

impl Request {
    fn check(message: Message) -> Result<Self, Rejection> {
        match Self::read(&message) {
            Ok((common, uri, max_forwards)) => Ok(Self {
                message,
                common,
                uri,
                max_forwards,
            }),
            Err(cause) => Err(Rejection::refuse(&message, cause)),
        }
    }

    fn read(message: &Message) -> Result<(Common, Uri, Option<u8>), RefusalCause> {
        let uri = message
            .request_uri()
            .map_err(RefusalCause::RequestUri)?
            .ok_or(RefusalCause::RequestUri(UriFault::Scheme))?;
        let common = Common::read(message)?;
        // A branch that is nothing but the cookie names no transaction (RFC 4475, `badbranch`).
        if common.via.is_bare_cookie() {
            return Err(HeaderFault::Malformed(HeaderName::Via).into());
        }
        if Some(&common.cseq.method) != message.method() {
            return Err(RefusalCause::CSeqMethod);
        }
        match uri.scheme() {
            Scheme::Other => return Err(RefusalCause::Scheme),
            // RFC 3261 section 19.1.1: a Request-URI has no headers.
            _ if uri.headers().is_some() => {
                return Err(RefusalCause::RequestUri(UriFault::Headers));
            }
            _ => {}
        }
        let max_forwards = message.max_forwards()?;
        // What routing and dialogs will read: refused here, so that nothing later has to.
        message.routes().try_for_each(|read| read.map(drop))?;
        message
            .record_routes()
            .try_for_each(|read| read.map(drop))?;
        message.contacts().try_for_each(|read| read.map(drop))?;
        message.expires()?;
        message.event()?;
        message.subscription_state()?;
        if !message.body().is_empty() {
            message.content_type()?;
        }
        Ok((common, uri, max_forwards))
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.common.cseq.method
    }

    /// The Request-URI.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Max-Forwards; `None` from clients of RFC 2543, to be taken as 70.
    #[must_use]
    pub fn max_forwards(&self) -> Option<u8> {
        self.max_forwards
    }

    /// Checks Require against the option tags that we understand (RFC 3261 section 8.2.2.3). ACK and
    /// CANCEL are not asked.
    ///
    /// # Errors
    /// 420 with Unsupported.
    pub fn check_required(&self, understood: &[&str]) -> Result<(), Box<Refusal>> {
        if matches!(self.method(), Method::Ack | Method::Cancel) {
            return Ok(());
        }
        let unknown: Vec<&str> = self
            .require()
            .filter(|tag| {
                !understood
                    .iter()
                    .any(|known| known.eq_ignore_ascii_case(tag))
            })
            .collect();
        match unknown.is_empty() {
            true => Ok(()),
            false => Err(Box::new(
                Refusal::new(&self.message, Status::BAD_EXTENSION)
                    .with(HeaderName::Unsupported, unknown.join(", ")),
            )),
        }
    }

    /// A refusal of this request, for policy and the like.
    #[must_use]
    pub fn refuse(&self, status: Status) -> Refusal {
        Refusal::new(&self.message, status)
    }
}

impl Response {
    fn check(message: Message, status: Status) -> Result<Self, Rejection> {
        let common = Common::read(&message)
            .map_err(|fault| Rejection::Drop(DropReason::Response(fault.into())))?;
        Ok(Self {
            message,
            common,
            status,
        })
    }

    /// The code.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// The reason phrase as written.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self.message.start_line() {
            StartLine::Response { reason, .. } => reason,
            StartLine::Request { .. } => "",
        }
    }
}

macro_rules! shared {
    ($type:ident) => {
        impl $type {
            /// The message with all its headers.
            #[must_use]
            pub fn message(&self) -> &Message {
                &self.message
            }

            /// The message with all its headers.
            #[must_use]
            pub fn into_message(self) -> Message {
                self.message
            }

            /// The first Via.
            #[must_use]
            pub fn via(&self) -> &Via {
                &self.common.via
            }

            /// From.
            #[must_use]
            pub fn from(&self) -> &NameAddr {
                &self.common.from
            }

            /// To.
            #[must_use]
            pub fn to(&self) -> &NameAddr {
                &self.common.to
            }

            /// Call-ID.
            #[must_use]
            pub fn call_id(&self) -> &str {
                self.get(HeaderName::CallId).unwrap_or_default()
            }

            /// CSeq; its method is the request's own, or of a response that of its request.
            #[must_use]
            pub fn cseq(&self) -> &CSeq {
                &self.common.cseq
            }
        }

        /// All other headers, and the body.
        impl std::ops::Deref for $type {
            type Target = Message;

            fn deref(&self) -> &Message {
                &self.message
            }
        }
    };
}

shared!(Request);
shared!(Response);

#[cfg(test)]
mod tests;
