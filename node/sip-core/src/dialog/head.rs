//! The headers that name a dialog, read once.

use crate::dialog::{DialogFault, DialogId, MAX_ROUTES};
use crate::header::{CSeq, HeaderFault};
use crate::message::Message;
use crate::name_addr::NameAddr;

/// From, To, Call-ID and CSeq of a message: what every message must have (RFC 3261 section 8.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head<'a> {
    /// From, with its tag.
    pub from: NameAddr,
    /// To, with its tag if it has one.
    pub to: NameAddr,
    /// Call-ID as written.
    pub call_id: &'a str,
    /// CSeq.
    pub cseq: CSeq,
}

impl<'a> Head<'a> {
    /// Reads them.
    ///
    /// # Errors
    /// The first header that is missing, repeated or malformed.
    pub fn of(message: &'a Message) -> Result<Self, HeaderFault> {
        Ok(Self {
            from: message.from()?,
            to: message.to()?,
            call_id: message.call_id()?,
            cseq: message.cseq()?,
        })
    }

    /// The dialog that a request which came in belongs to: our tag is that of To.
    #[must_use]
    pub fn dialog_of_request(&self) -> DialogId {
        self.dialog(&self.to, &self.from)
    }

    /// The dialog that a response to our request belongs to: our tag is that of From.
    #[must_use]
    pub fn dialog_of_response(&self) -> DialogId {
        self.dialog(&self.from, &self.to)
    }

    fn dialog(&self, local: &NameAddr, remote: &NameAddr) -> DialogId {
        DialogId {
            call_id: self.call_id.into(),
            local_tag: local.tag().unwrap_or_default().into(),
            remote_tag: remote.tag().unwrap_or_default().into(),
        }
    }
}

/// The URI of the one Contact.
pub(super) fn contact(message: &Message) -> Result<Box<str>, HeaderFault> {
    Ok(message.contact()?.uri().as_str().into())
}

/// The addresses of Record-Route as they were written.
pub(super) fn record_routes(message: &Message) -> Result<Vec<Box<str>>, DialogFault> {
    let mut routes = Vec::new();
    for route in message.record_routes() {
        if routes.len() == MAX_ROUTES {
            return Err(DialogFault::TooManyRoutes);
        }
        routes.push(one_line(route?.as_str()));
    }
    Ok(routes)
}

/// A folded address on one line; every other one stays as it is to the byte.
fn one_line(text: &str) -> Box<str> {
    if text.contains(['\r', '\n']) {
        text.replace(['\r', '\n'], " ").into()
    } else {
        text.into()
    }
}
