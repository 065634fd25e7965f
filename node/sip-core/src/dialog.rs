//! Dialogs (RFC 3261 section 12): who talks to whom, by which way, and which number comes next.
//!
//! Route set and remote target are kept byte for byte: edges put signed parameters in them. A dialog
//! can be written to the store and taken over by another node; the exact local CSeq is not stored,
//! the new owner jumps ahead instead, because gaps are legal (section 12.2.1.1).

use std::borrow::Cow;

use thiserror::Error;

use crate::draft::Draft;
use crate::header::{CSeq, HeaderFault, HeaderName};
use crate::message::Message;
use crate::method::Method;
use crate::name_addr::NameAddr;
use crate::uri::{Scheme, Uri};

mod head;
mod record;
#[cfg(test)]
mod tests;

pub use head::Head;

/// How far the local CSeq jumps when another node takes over: more requests than a dialog sends
/// between two writes of its record.
pub const TAKE_OVER_STEP: u32 = 1 << 16;

/// The longest route set that is taken, in routes.
pub const MAX_ROUTES: usize = 32;

/// Numbers stay below 2^31 (section 8.1.1.5).
const MAX_CSEQ: u32 = (1 << 31) - 1;

/// Names a dialog on our side (section 12: Call-ID, local tag, remote tag).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DialogId {
    /// Call-ID.
    pub call_id: Box<str>,
    /// Our tag.
    pub local_tag: Box<str>,
    /// The peer's tag; empty for one that speaks RFC 2543.
    pub remote_tag: Box<str>,
}

/// Why no dialog can be made of a message. The peer's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DialogFault {
    /// A header is missing or malformed.
    #[error("{0}")]
    Header(#[from] HeaderFault),
    /// No tag of ours is in the message.
    #[error("our tag is missing")]
    NoLocalTag,
    /// More than [`MAX_ROUTES`] routes.
    #[error("the route set is too long")]
    TooManyRoutes,
}

/// The local CSeq has no room left: the dialog has to be made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the dialog's CSeq is used up")]
pub struct CseqExhausted;

/// What the CSeq of a request in a dialog says (section 12.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Higher than all before; gaps are legal.
    Fresh,
    /// The number of the last one: a repeat that its transaction did not absorb, because that was on a
    /// node that died. What it asks for was done.
    Repeated,
    /// Lower: answered with 500.
    Stale,
}

/// One side's address.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Party {
    /// The value of From or To without its tag.
    address: Box<str>,
    tag: Box<str>,
}

impl Party {
    fn of(address: &NameAddr) -> Self {
        let tag = address.tag().unwrap_or_default();
        let whole = address.as_str();
        let params = address.params();
        let head = whole
            .strip_suffix(params.as_str())
            .unwrap_or(whole)
            .trim_end();
        let mut text = if head.ends_with('>') {
            head.to_owned()
        } else {
            format!("<{head}>")
        };
        for param in params.iter() {
            if param.name.eq_ignore_ascii_case("tag") {
                continue;
            }
            text.push(';');
            text.push_str(param.name);
            if let Some(value) = param.value {
                text.push('=');
                text.push_str(value);
            }
        }
        Self {
            address: text.into(),
            tag: tag.into(),
        }
    }

    fn header(&self) -> String {
        if self.tag.is_empty() {
            self.address.to_string()
        } else {
            format!("{};tag={}", self.address, self.tag)
        }
    }
}

/// One dialog, early or confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialog {
    early: bool,
    call_id: Box<str>,
    local: Party,
    remote: Party,
    /// The last one used.
    local_cseq: u32,
    /// The last one seen.
    remote_cseq: Option<u32>,
    target: Box<str>,
    /// Topmost first, each as it was written.
    routes: Box<[Box<str>]>,
}

impl Dialog {
    /// The dialog of a request that a peer sent: an INVITE or SUBSCRIBE that we answer with `local_tag`
    /// in To, or a NOTIFY that came before the response to our SUBSCRIBE. It is confirmed: we answer
    /// with 2xx or not at all. `local_cseq` is the last number that we used (of our SUBSCRIBE), or what
    /// comes before the first (section 12.1.1).
    ///
    /// # Errors
    /// [`DialogFault`]; the answer is 400.
    pub fn of_request(
        request: &Message,
        local_tag: &str,
        local_cseq: u32,
    ) -> Result<Self, DialogFault> {
        let head = Head::of(request)?;
        let mut local = Party::of(&head.to);
        local.tag = local_tag.into();
        if local.tag.is_empty() {
            return Err(DialogFault::NoLocalTag);
        }
        Ok(Self {
            early: false,
            call_id: head.call_id.into(),
            local,
            remote: Party::of(&head.from),
            local_cseq,
            remote_cseq: Some(head.cseq.number),
            target: head::contact(request)?,
            routes: head::record_routes(request)?.into(),
        })
    }

    /// The dialog of a response to a request of ours: early for 1xx, confirmed for 2xx (section
    /// 12.1.2). The route set is Record-Route in reverse.
    ///
    /// # Errors
    /// [`DialogFault`]: the peer broke the standard, there is no dialog.
    pub fn of_response(response: &Message) -> Result<Self, DialogFault> {
        let head = Head::of(response)?;
        let local = Party::of(&head.from);
        if local.tag.is_empty() {
            return Err(DialogFault::NoLocalTag);
        }
        let mut routes = head::record_routes(response)?;
        routes.reverse();
        Ok(Self {
            early: response
                .status()
                .is_some_and(|status| status.is_provisional()),
            call_id: head.call_id.into(),
            local,
            remote: Party::of(&head.to),
            local_cseq: head.cseq.number,
            remote_cseq: None,
            target: head::contact(response)?,
            routes: routes.into(),
        })
    }

    /// A 2xx of the same dialog came: it is confirmed, and the route set is taken again from it, as
    /// section 13.2.2.4 wants.
    ///
    /// # Errors
    /// As for [`of_response`](Self::of_response); the dialog is unchanged then.
    pub fn confirm(&mut self, response: &Message) -> Result<(), DialogFault> {
        let fresh = Self::of_response(response)?;
        *self = Self {
            remote_cseq: self.remote_cseq,
            local_cseq: self.local_cseq.max(fresh.local_cseq),
            early: false,
            ..fresh
        };
        Ok(())
    }

    /// Whether only a provisional response was seen.
    #[must_use]
    pub fn is_early(&self) -> bool {
        self.early
    }

    /// The name of the dialog.
    #[must_use]
    pub fn id(&self) -> DialogId {
        DialogId {
            call_id: self.call_id.clone(),
            local_tag: self.local.tag.clone(),
            remote_tag: self.remote.tag.clone(),
        }
    }

    /// Call-ID.
    #[must_use]
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// Our tag.
    #[must_use]
    pub fn local_tag(&self) -> &str {
        &self.local.tag
    }

    /// The peer's tag.
    #[must_use]
    pub fn remote_tag(&self) -> &str {
        &self.remote.tag
    }

    /// Our address as From of our requests, without tag.
    #[must_use]
    pub fn local_address(&self) -> &str {
        &self.local.address
    }

    /// The peer's address as To of our requests, without tag.
    #[must_use]
    pub fn remote_address(&self) -> &str {
        &self.remote.address
    }

    /// Where the peer's end is.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The route set, topmost first.
    pub fn routes(&self) -> impl ExactSizeIterator<Item = &str> {
        self.routes.iter().map(|route| &**route)
    }

    /// Our Contact in this dialog: where the peer's end or the first hop has a `sips` URI, ours has one
    /// too (RFC 3261 sections 8.1.1.8 and 12.1.1).
    #[must_use]
    pub fn contact<'a>(&self, ours: &'a str) -> Cow<'a, str> {
        let is_sips = |uri: Option<&Uri>| uri.is_some_and(|uri| uri.scheme() == Scheme::Sips);
        let target = Uri::parse(&self.target).ok();
        let first = self.routes.first().and_then(|route| NameAddr::parse(route));
        if is_sips(target.as_ref()) || is_sips(first.as_ref().map(NameAddr::uri)) {
            // `transport=tls` says nothing more there (RFC 5630 section 3.1.4).
            let ours = ours.replacen("<sip:", "<sips:", 1);
            Cow::Owned(ours.replacen(";transport=tls", "", 1))
        } else {
            Cow::Borrowed(ours)
        }
    }

    /// The last CSeq that we used.
    #[must_use]
    pub fn local_cseq(&self) -> u32 {
        self.local_cseq
    }

    /// The last CSeq that the peer used, if it has.
    #[must_use]
    pub fn remote_cseq(&self) -> Option<u32> {
        self.remote_cseq
    }

    /// Whether a request that came in belongs to this dialog (section 12.2.2).
    #[must_use]
    pub fn owns_request(&self, head: &Head<'_>) -> bool {
        head.call_id == &*self.call_id
            && head.to.tag().unwrap_or_default() == &*self.local.tag
            && head.from.tag().unwrap_or_default() == &*self.remote.tag
    }

    /// Whether a response to our request belongs to this dialog.
    #[must_use]
    pub fn owns_response(&self, head: &Head<'_>) -> bool {
        head.call_id == &*self.call_id
            && head.from.tag().unwrap_or_default() == &*self.local.tag
            && head.to.tag().unwrap_or_default() == &*self.remote.tag
    }

    /// Checks and notes the number of a request that came in. ACK and CANCEL carry the number of their
    /// INVITE and are not asked about.
    pub fn admit(&mut self, number: u32) -> Admission {
        match self.remote_cseq {
            Some(last) if number < last => Admission::Stale,
            Some(last) if number == last => Admission::Repeated,
            _ => {
                self.remote_cseq = Some(number);
                Admission::Fresh
            }
        }
    }

    /// Takes the Contact of a target refresh: a request or 2xx of INVITE, SUBSCRIBE, NOTIFY or UPDATE
    /// (sections 12.2.1.2 and 12.2.2, RFC 6665 section 4.4.1). The route set stays. A message without a
    /// usable Contact changes nothing.
    pub fn refresh_target(&mut self, message: &Message) {
        if let Ok(contact) = head::contact(message)
            && contact != self.target
        {
            self.target = contact;
        }
    }

    /// The next request in the dialog (section 12.2.1.1).
    ///
    /// # Errors
    /// [`CseqExhausted`] after 2^31 requests, or less with take-overs.
    pub fn request(&mut self, method: Method) -> Result<Draft, CseqExhausted> {
        if self.local_cseq >= MAX_CSEQ {
            return Err(CseqExhausted);
        }
        self.local_cseq += 1;
        Ok(self.numbered(method, self.local_cseq))
    }

    /// The ACK for the 2xx of the INVITE with this number (section 13.2.2.4).
    #[must_use]
    pub fn ack(&self, number: u32) -> Draft {
        self.numbered(Method::Ack, number)
    }

    fn numbered(&self, method: Method, number: u32) -> Draft {
        let first = self.routes.first().and_then(|route| NameAddr::parse(route));
        let mut draft = match first.as_ref().map(NameAddr::uri) {
            Some(first) if !first.is_loose_router() => {
                // A strict router of RFC 2543 wants its own address as the Request-URI and the target
                // as the last Route.
                let mut draft = Draft::new(method, without_headers(first)).strictly_routed();
                for route in &self.routes[1..] {
                    draft.header(HeaderName::Route, route);
                }
                draft.header(HeaderName::Route, &format!("<{}>", self.target));
                draft
            }
            _ => {
                let mut draft = Draft::new(method, &self.target);
                for route in &self.routes {
                    draft.header(HeaderName::Route, route);
                }
                draft
            }
        };
        let cseq = CSeq {
            number,
            method: draft.method().clone(),
        };
        draft
            .header(HeaderName::From, &self.local.header())
            .header(HeaderName::To, &self.remote.header())
            .header(HeaderName::CallId, &self.call_id)
            .header(HeaderName::CSeq, &cseq.to_string());
        draft
    }

    /// Another node, or this one after a restart, owns the dialog from now on: the local CSeq jumps
    /// past everything that the owner before may have sent.
    pub fn take_over(&mut self) {
        self.local_cseq = self.local_cseq.saturating_add(TAKE_OVER_STEP).min(MAX_CSEQ);
    }
}

/// A URI that may stand in the Request-URI: without what follows `?` (section 19.1.5).
fn without_headers(uri: &Uri) -> &str {
    let text = uri.as_str();
    text.split_once('?').map_or(text, |(uri, _)| uri)
}
