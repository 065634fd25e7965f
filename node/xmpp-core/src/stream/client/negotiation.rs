//! From the first header to a bound resource (RFC 6120 sections 4, 5 and 7).

use std::sync::Arc;

use super::authentication::Exchange;
use super::features;
use super::session::Session;
use super::shared::Shared;
use super::{ClientAnswer, ClientOutput, ClientRequest, ResumedState, State};
use crate::element::Element;
use crate::error::{StanzaCondition, StanzaError, StreamCondition, StreamError};
use crate::framer::{Frame, StreamHeader};
use crate::jid::{BareJid, FullJid, Jid};
use crate::ns;
use crate::stanza::{IqType, Stanza};
use crate::stream::wire::put_sm_failed;
use crate::stream::{CloseReason, RequestId, TlsChannel};
use crate::writer::StreamKind;

/// The client owes a stream header.
#[derive(Debug)]
pub(super) struct AwaitingHeader {
    /// Who authenticated, when this is the stream after SASL.
    user: Option<BareJid>,
    first: bool,
}

impl AwaitingHeader {
    pub(super) fn first() -> Self {
        Self {
            user: None,
            first: true,
        }
    }

    pub(super) fn after_tls() -> Self {
        Self {
            user: None,
            first: false,
        }
    }

    pub(super) fn after_authentication(user: BareJid) -> Self {
        Self {
            user: Some(user),
            first: false,
        }
    }

    pub(super) fn is_first(&self) -> bool {
        self.first
    }

    pub(super) fn on_frame(self, frame: Frame, shared: &mut Shared) -> State {
        match frame {
            Frame::StreamOpen(header) => self.on_header(&header, shared),
            // The framer gives nothing else before a header.
            _ => shared.fail(StreamCondition::BadFormat),
        }
    }

    fn on_header(self, header: &StreamHeader, shared: &mut Shared) -> State {
        if header.kind() != Some(StreamKind::Client) {
            return shared.fail(StreamCondition::InvalidNamespace);
        }
        let to = header.to.as_deref().and_then(|to| Jid::new(to).ok());
        let domain = to.and_then(|to| {
            let mut ours = shared.config.domains.iter();
            ours.find(|ours| ***ours == *to.as_str()).cloned()
        });
        let Some(domain) = domain else {
            return shared.fail(StreamCondition::HostUnknown);
        };
        // The account belongs to the domain that it authenticated for.
        if self
            .user
            .as_ref()
            .is_some_and(|user| user.domain() != &*domain)
        {
            return shared.fail(StreamCondition::HostUnknown);
        }
        shared.domain = Some(Arc::clone(&domain));
        if header.version.is_none() {
            return shared.fail(StreamCondition::UnsupportedVersion);
        }
        let id = shared.wire.ids.fresh();
        // Told only once it is protected: the client's name is nobody else's business.
        let to = header.from.as_deref().filter(|_| shared.tls.is_some());
        shared.wire.put_header(Some(&domain), to, Some(&id));
        match self.user {
            Some(user) => {
                features::put_after_authentication(shared);
                State::Binding(Binding {
                    user,
                    waiting: None,
                })
            }
            None => {
                features::put_before_authentication(shared);
                State::Unauthenticated(Unauthenticated { domain })
            }
        }
    }
}

/// Features are out: the client starts TLS or SASL.
#[derive(Debug)]
pub(super) struct Unauthenticated {
    pub(super) domain: Arc<str>,
}

impl Unauthenticated {
    pub(super) fn on_frame(self, frame: Frame, shared: &mut Shared) -> State {
        let element = match frame {
            Frame::Nonza(element) => element,
            Frame::StreamClose => return shared.close(),
            _ => return shared.unexpected(),
        };
        match (element.ns(), element.name()) {
            (ns::TLS, "starttls") if shared.tls.is_none() => {
                shared
                    .wire
                    .put("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
                shared.wire.restart_under_tls();
                shared.outputs.push_back(ClientOutput::StartTls);
                State::HandshakingTls(HandshakingTls(()))
            }
            (ns::TLS, "starttls") => {
                // RFC 6120 section 5.4.2.2: the failure, then the end of the stream.
                shared
                    .wire
                    .put("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
                shared.wire.put_close();
                shared.end(CloseReason::Error(StreamCondition::PolicyViolation.into()))
            }
            (ns::SASL, _) => Exchange::begin(self, &element, shared),
            (ns::STREAM, "error") => shared.end(CloseReason::PeerError(Box::new(
                StreamError::from_element(&element),
            ))),
            _ => shared.unexpected(),
        }
    }
}

/// The TLS handshake is under way; nothing is read.
#[derive(Debug)]
pub(super) struct HandshakingTls(());

impl HandshakingTls {
    #[expect(clippy::unused_self, reason = "a transition consumes the state")]
    pub(super) fn established(self, channel: TlsChannel, shared: &mut Shared) -> State {
        shared.tls = Some(channel);
        State::AwaitingHeader(AwaitingHeader::after_tls())
    }
}

/// Authenticated: the client binds a resource or resumes an old stream.
#[derive(Debug)]
pub(super) struct Binding {
    user: BareJid,
    waiting: Option<(RequestId, Asked)>,
}

/// What the open request is about.
#[derive(Debug)]
enum Asked {
    Bind { iq_id: String },
    Resume { previd: String, h: u32 },
}

impl Binding {
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    pub(super) fn on_frame(self, frame: Frame, shared: &mut Shared) -> State {
        match frame {
            Frame::Stanza(stanza) => self.on_stanza(&stanza, shared),
            Frame::Nonza(element) => self.on_element(&element, shared),
            Frame::StreamClose => shared.close(),
            Frame::AckRequest => {
                put_sm_failed(&mut shared.wire, None, "unexpected-request");
                State::Binding(self)
            }
            Frame::Ack(_) => State::Binding(self),
            Frame::StreamOpen(_) => shared.unexpected(),
        }
    }

    fn on_stanza(mut self, stanza: &Stanza, shared: &mut Shared) -> State {
        let element = stanza.to_element();
        let bind = element.get_child(ns::BIND, "bind");
        let (Some(IqType::Set), Some(bind), Some(iq_id)) =
            (stanza.iq_type(), bind, element.get_attr("id"))
        else {
            // RFC 6120 section 7.1: nothing is processed before a resource is bound.
            return shared.unexpected();
        };
        let wanted = bind
            .get_child(ns::BIND, "resource")
            .map(|resource| resource.content_text().into_owned())
            .filter(|resource| !resource.is_empty());
        let resource = match wanted
            .map(|wanted| self.user.with_resource(&wanted))
            .transpose()
        {
            Ok(full) => full.map(|full| full.resource().to_owned()),
            Err(_) => {
                // RFC 6120 section 7.7.2.1.
                put_iq_error(shared, iq_id, &StanzaCondition::BadRequest.into());
                return State::Binding(self);
            }
        };
        let request = shared.request(ClientRequest::Bind {
            user: self.user.clone(),
            resource,
        });
        let iq_id = iq_id.to_owned();
        self.waiting = Some((request, Asked::Bind { iq_id }));
        State::Binding(self)
    }

    fn on_element(mut self, element: &Element, shared: &mut Shared) -> State {
        match (element.ns(), element.name()) {
            (ns::STREAM_MANAGEMENT, "resume") => {
                let previd = element.get_attr("previd");
                let h = element.get_attr("h").and_then(|h| h.parse().ok());
                let (Some(previd), Some(h)) = (previd, h) else {
                    put_sm_failed(&mut shared.wire, None, "bad-request");
                    return State::Binding(self);
                };
                let previd = previd.to_owned();
                let request = shared.request(ClientRequest::Resume {
                    user: self.user.clone(),
                    previd: previd.clone(),
                });
                self.waiting = Some((request, Asked::Resume { previd, h }));
                State::Binding(self)
            }
            // XEP-0198 section 3: only after a resource is bound.
            (ns::STREAM_MANAGEMENT, "enable") => {
                put_sm_failed(&mut shared.wire, None, "unexpected-request");
                State::Binding(self)
            }
            (ns::CLIENT_STATE, _) => State::Binding(self),
            (ns::STREAM, "error") => shared.end(CloseReason::PeerError(Box::new(
                StreamError::from_element(element),
            ))),
            _ => shared.fail(StreamCondition::UnsupportedStanzaType),
        }
    }

    pub(super) fn on_answer(
        mut self,
        id: RequestId,
        answer: ClientAnswer,
        shared: &mut Shared,
    ) -> State {
        let Some((_, asked)) = self.waiting.take_if(|(open, _)| *open == id) else {
            return State::Binding(self);
        };
        match (asked, answer) {
            (Asked::Bind { iq_id }, ClientAnswer::Bound(jid)) => bound(&iq_id, jid, shared),
            (Asked::Bind { iq_id }, ClientAnswer::BindRefused(error)) => {
                put_iq_error(shared, &iq_id, &error);
                State::Binding(self)
            }
            (Asked::Resume { previd, h }, ClientAnswer::Resumed(parked)) => {
                resumed(&previd, h, *parked, shared)
            }
            (Asked::Resume { .. }, ClientAnswer::ResumeFailed { h }) => {
                put_sm_failed(&mut shared.wire, h, "item-not-found");
                State::Binding(self)
            }
            _ => {
                debug_assert!(false, "the answer does not fit the request");
                shared.fail(StreamCondition::InternalServerError)
            }
        }
    }
}

fn bound(iq_id: &str, jid: FullJid, shared: &mut Shared) -> State {
    let wire = &mut shared.wire;
    wire.put("<iq type='result'");
    wire.put_attr("id", iq_id);
    wire.put("><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>");
    wire.put_text(jid.as_str());
    wire.put("</jid></bind></iq>");
    shared.outputs.push_back(ClientOutput::Bound(jid.clone()));
    State::Session(Box::new(Session::new(jid)))
}

/// XEP-0198 section 5.
fn resumed(previd: &str, h: u32, parked: ResumedState, shared: &mut Shared) -> State {
    let jid = parked.jid().clone();
    let mut session = match Session::resume(parked, h, shared) {
        Ok(session) => session,
        Err(refused) => {
            let (session, error) = *refused;
            let error = Box::<StreamError>::from(error);
            shared.wire.put_error(&error, shared.domain.as_deref());
            shared
                .outputs
                .push_back(ClientOutput::Closed(CloseReason::Error(error)));
            return State::Closed(super::Closed {
                session: Some(Box::new(session)),
                returned: Vec::new(),
            });
        }
    };
    let wire = &mut shared.wire;
    wire.put("<resumed xmlns='urn:xmpp:sm:3'");
    wire.put_attr("previd", previd);
    wire.put_fmt(format_args!(" h='{}'/>", session.h()));
    shared.outputs.push_back(ClientOutput::Resumed(jid));
    session.send_again(shared);
    State::Session(session)
}

pub(super) fn put_iq_error(shared: &mut Shared, id: &str, error: &StanzaError) {
    let wire = &mut shared.wire;
    wire.put("<iq type='error'");
    wire.put_attr("id", id);
    wire.put(">");
    error
        .to_element(ns::CLIENT)
        .write(&mut wire.out, ns::CLIENT);
    wire.put("</iq>");
}
