//! After features: TLS, EXTERNAL, dialback, stanzas.

use std::sync::Arc;

use super::greeting::{AwaitingHeader, Peer};
use super::{InboundAnswer, InboundOutput, InboundRequest, Shared, State};
use crate::dialback::{DialbackBody, DialbackElement, DialbackKind, DialbackOutcome};
use crate::element::Element;
use crate::error::{StanzaCondition, StreamCondition, StreamError};
use crate::framer::Frame;
use crate::ns;
use crate::sasl::{
    AuthorizedDomain, SaslCondition, authorize_external, decode_initial_response, decode_response,
};
use crate::stanza::Stanza;
use crate::stream::acks::Acks;
use crate::stream::wire::{put_sm_failed, stream_error};
use crate::stream::{AuthMethod, CloseReason, PeerLimits, RequestId, TlsPolicy};

/// EXTERNAL attempts that may fail on one stream; each is cheap, and dialback remains.
const MAX_FAILURES: u8 = 3;

/// The stream runs.
#[derive(Debug)]
pub(super) struct Open {
    /// The id that we gave this stream: dialback keys are bound to it.
    id: Arc<str>,
    peer: Peer,
    /// EXTERNAL began without an initial response.
    challenged: bool,
    verifications: Vec<Verification>,
}

/// A `db:result` that is being decided.
#[derive(Debug)]
struct Verification {
    request: RequestId,
    asked: Asked,
    claim: DialbackElement,
}

/// What is asked about a claim, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Policy,
    Certificate { dialback: bool },
    Key,
}

impl Open {
    pub(super) fn new(id: Arc<str>, peer: Peer) -> Self {
        Self {
            id,
            peer,
            challenged: false,
            verifications: Vec::new(),
        }
    }

    pub(super) fn on_frame(mut self, frame: Frame, shared: &mut Shared) -> State {
        let done = match frame {
            Frame::Stanza(stanza) => on_stanza(stanza, shared),
            Frame::AckRequest => {
                shared.flow.question(&mut shared.wire);
                Ok(())
            }
            Frame::Ack(h) => match shared.flow.acknowledged(h) {
                Ok(tokens) => {
                    let delivered = tokens.into_iter().map(InboundOutput::Delivered);
                    shared.outputs.extend(delivered);
                    Ok(())
                }
                Err(error) => Err(error.into()),
            },
            Frame::StreamClose => return shared.close(),
            Frame::StreamOpen(_) => Err(StreamCondition::BadFormat.into()),
            Frame::Nonza(element) => match (element.ns(), element.name()) {
                (ns::TLS, "starttls") => return self.on_starttls(shared),
                (ns::SASL, _) => return self.on_sasl(&element, shared),
                (ns::STREAM, "error") => {
                    shared.wire.put_close();
                    let error = Box::new(StreamError::from_element(&element));
                    return shared.end(CloseReason::PeerError(error));
                }
                (ns::DIALBACK, _) => self.on_dialback(&element, shared),
                _ => on_other(&element, shared),
            },
        };
        match done {
            Ok(()) => State::Open(self),
            Err(error) => shared.fail(error),
        }
    }

    fn on_starttls(self, shared: &mut Shared) -> State {
        if shared.tls || self.peer.tls == TlsPolicy::None {
            shared
                .wire
                .put("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
            shared.wire.put_close();
            return shared.end(CloseReason::Error(StreamCondition::PolicyViolation.into()));
        }
        shared
            .wire
            .put("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
        shared.wire.restart_under_tls();
        shared.outputs.push_back(InboundOutput::StartTls);
        State::HandshakingTls
    }

    /// EXTERNAL (XEP-0178). A failure leaves the stream as it was: dialback can follow.
    fn on_sasl(mut self, element: &Element, shared: &mut Shared) -> State {
        let text = element.content_text();
        let message = match (element.name(), self.challenged) {
            ("auth", false) if element.get_attr("mechanism") != Some("EXTERNAL") => {
                Err(SaslCondition::InvalidMechanism)
            }
            // Not offered: the certificate does not prove the domain.
            ("auth", false) if !self.peer.external => Err(SaslCondition::NotAuthorized),
            ("auth", false) => match decode_initial_response(&text) {
                Ok(Some(message)) => Ok(message),
                Ok(None) => {
                    shared
                        .wire
                        .put("<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>=</challenge>");
                    self.challenged = true;
                    return State::Open(self);
                }
                Err(condition) => Err(condition),
            },
            ("response", true) => decode_response(&text),
            ("abort", _) => Err(SaslCondition::Aborted),
            _ => Err(SaslCondition::MalformedRequest),
        };
        self.challenged = false;
        let remote = shared.remote.clone();
        let outcome = match (message, &remote) {
            (Ok(message), Some(remote)) => authorize_external(remote, &message),
            (Ok(_), None) => Err(SaslCondition::NotAuthorized),
            (Err(condition), _) => Err(condition),
        };
        match (outcome, remote) {
            (Ok(AuthorizedDomain(_)), Some(remote)) => {
                shared
                    .wire
                    .put("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
                shared.wire.restart();
                authenticated(
                    &remote,
                    &Arc::clone(&shared.local),
                    AuthMethod::External,
                    shared,
                );
                State::AwaitingHeader(AwaitingHeader::after_external(remote, self.peer))
            }
            (outcome, _) => {
                let condition = outcome.err().unwrap_or(SaslCondition::NotAuthorized);
                shared.wire.put_fmt(format_args!(
                    "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><{}/></failure>",
                    condition.name()
                ));
                shared.failures += 1;
                if shared.failures >= MAX_FAILURES {
                    return shared.fail(stream_error(
                        StreamCondition::PolicyViolation,
                        "too many failed authentication attempts",
                    ));
                }
                State::Open(self)
            }
        }
    }

    fn on_dialback(
        &mut self,
        element: &Element,
        shared: &mut Shared,
    ) -> Result<(), Box<StreamError>> {
        let element = DialbackElement::read(element)
            .ok_or_else(|| Box::<StreamError>::from(StreamCondition::ImproperAddressing))?;
        let DialbackBody::Key(key) = &element.body else {
            // An answer to a question that was never asked on this stream.
            return Err(StreamCondition::InvalidXml.into());
        };
        shared.extend_authentication();
        let ours = shared.config.domains.contains(&element.to);
        match element.kind {
            _ if !ours => answer(
                &element,
                DialbackOutcome::Error(StanzaCondition::ItemNotFound),
                shared,
            ),
            // COMPAT Openfire, ejabberd: they verify over a connection of its own that is never
            // authenticated, even one without TLS; Prosody over any.
            DialbackKind::Verify => {
                let id = element.id.as_deref().unwrap_or_default();
                let secret = &shared.config.dialback;
                let outcome = match secret.verify(&element.from, &element.to, id, key) {
                    true => DialbackOutcome::Valid,
                    false => DialbackOutcome::Invalid,
                };
                answer(&element, outcome, shared);
            }
            DialbackKind::Result => self.on_claim(element, shared),
        }
        Ok(())
    }

    fn on_claim(&mut self, claim: DialbackElement, shared: &mut Shared) {
        if shared.pairs.contains(&claim.from, &claim.to) {
            return answer(&claim, DialbackOutcome::Valid, shared);
        }
        if shared.config.domains.contains(&claim.from) {
            let refused = DialbackOutcome::Error(StanzaCondition::PolicyViolation);
            return answer(&claim, refused, shared);
        }
        let pairs = shared.pairs.len() + self.verifications.len();
        if pairs >= shared.config.max_pairs {
            let full = DialbackOutcome::Error(StanzaCondition::ResourceConstraint);
            return answer(&claim, full, shared);
        }
        let remote = Arc::clone(&claim.from);
        let request = shared.request(InboundRequest::Policy { remote });
        self.verifications.push(Verification {
            request,
            asked: Asked::Policy,
            claim,
        });
    }

    pub(super) fn on_answer(
        mut self,
        id: RequestId,
        given: InboundAnswer,
        shared: &mut Shared,
    ) -> State {
        let open = self.verifications.iter().position(|v| v.request == id);
        let Some(index) = open else {
            return State::Open(self);
        };
        let verification = self.verifications.swap_remove(index);
        let claim = &verification.claim;
        let refused = DialbackOutcome::Error(StanzaCondition::PolicyViolation);
        let outcome = match (verification.asked, given) {
            (Asked::Policy, InboundAnswer::Allowed { tls, dialback }) => {
                if tls == TlsPolicy::Required && !shared.tls {
                    refused
                } else if shared.tls {
                    let remote = Arc::clone(&claim.from);
                    let request = shared.request(InboundRequest::CertificateMatches { remote });
                    self.verifications.push(Verification {
                        request,
                        asked: Asked::Certificate { dialback },
                        ..verification
                    });
                    return State::Open(self);
                } else if dialback {
                    self.verify_key(verification, shared);
                    return State::Open(self);
                } else {
                    refused
                }
            }
            (Asked::Policy, InboundAnswer::Denied) => refused,
            // XEP-0344: with such a certificate nobody needs to be asked.
            (Asked::Certificate { .. }, InboundAnswer::CertificateMatches(true)) => {
                DialbackOutcome::Valid
            }
            (Asked::Certificate { dialback: true }, InboundAnswer::CertificateMatches(false)) => {
                self.verify_key(verification, shared);
                return State::Open(self);
            }
            (Asked::Certificate { dialback: false }, InboundAnswer::CertificateMatches(false)) => {
                DialbackOutcome::Error(StanzaCondition::NotAuthorized)
            }
            (Asked::Key, InboundAnswer::KeyVerified(outcome)) => outcome,
            _ => {
                debug_assert!(false, "the answer does not fit the request");
                DialbackOutcome::Error(StanzaCondition::InternalServerError)
            }
        };
        answer(claim, outcome, shared);
        match outcome {
            DialbackOutcome::Valid => {
                authenticated(&claim.from, &claim.to, AuthMethod::Dialback, shared);
            }
            // XEP-0220 section 2.1.2: somebody pretends; a stream that carries nothing else ends.
            DialbackOutcome::Invalid
                if shared.pairs.is_empty() && self.verifications.is_empty() =>
            {
                return shared.close();
            }
            DialbackOutcome::Invalid | DialbackOutcome::Error(_) => {}
        }
        State::Open(self)
    }

    fn verify_key(&mut self, verification: Verification, shared: &mut Shared) {
        let claim = &verification.claim;
        let DialbackBody::Key(key) = &claim.body else {
            return;
        };
        let request = shared.request(InboundRequest::VerifyKey {
            from: Arc::clone(&claim.from),
            to: Arc::clone(&claim.to),
            stream_id: Arc::clone(&self.id),
            key: key.clone(),
        });
        self.verifications.push(Verification {
            request,
            asked: Asked::Key,
            ..verification
        });
    }
}

fn authenticated(remote: &Arc<str>, local: &Arc<str>, method: AuthMethod, shared: &mut Shared) {
    shared.pairs.add(
        Arc::clone(remote),
        Arc::clone(local),
        method == AuthMethod::External,
    );
    shared.wire.set_limits(shared.config.limits);
    shared.outputs.push_back(InboundOutput::Authenticated {
        remote: Arc::clone(remote),
        local: Arc::clone(local),
        method,
        bidi: shared.bidi
            && *local == shared.local
            && shared.remote.as_ref().is_none_or(|named| named == remote),
    });
}

fn answer(claim: &DialbackElement, outcome: DialbackOutcome, shared: &mut Shared) {
    if shared.flow.closing.is_none() {
        shared.wire.put_nonza(&claim.answer(outcome).to_element());
    }
}

/// The path of every stanza (RFC 6120 sections 4.9.3 and 8.1).
fn on_stanza(stanza: Stanza, shared: &mut Shared) -> Result<(), Box<StreamError>> {
    if shared.pairs.is_empty() {
        return Err(StreamCondition::NotAuthorized.into());
    }
    let (Some(from), Some(to)) = (stanza.from(), stanza.to()) else {
        return Err(StreamCondition::ImproperAddressing.into());
    };
    let ours = |domain: &str| shared.config.domains.iter().any(|ours| **ours == *domain);
    if !ours(to.domain()) {
        return Err(StreamCondition::HostUnknown.into());
    }
    if !shared.pairs.contains(from.domain(), to.domain()) {
        return Err(StreamCondition::InvalidFrom.into());
    }
    if shared.flow.refuses() {
        return Ok(());
    }
    shared.flow.received();
    shared.outputs.push_back(InboundOutput::Stanza(stanza));
    Ok(())
}

fn on_other(element: &Element, shared: &mut Shared) -> Result<(), Box<StreamError>> {
    let authenticated = !shared.pairs.is_empty();
    match (element.ns(), element.name()) {
        (ns::BIDI, "bidi") if shared.config.bidi && shared.tls && !authenticated => {
            shared.bidi = true;
            shared.peer_limits = PeerLimits::read(element).unwrap_or_default();
            Ok(())
        }
        // COMPAT ejabberd up to 26.04: it asks in the feature's namespace. Ignored: each side then
        // uses a stream of its own.
        (ns::BIDI | ns::BIDI_FEATURE, _) => Ok(()),
        (ns::STREAM_MANAGEMENT, "enable")
            if authenticated && shared.config.sm && shared.flow.acks.is_none() =>
        {
            shared.flow.acks = Some(Acks::new(shared.config.queue));
            // Between servers a stream is not resumed: another one is as good.
            shared.wire.put("<enabled xmlns='urn:xmpp:sm:3'/>");
            shared.outputs.push_back(InboundOutput::SmEnabled);
            Ok(())
        }
        (ns::STREAM_MANAGEMENT, "resume") => {
            put_sm_failed(&mut shared.wire, None, "item-not-found");
            Ok(())
        }
        (ns::STREAM_MANAGEMENT, _) => {
            put_sm_failed(&mut shared.wire, None, "unexpected-request");
            Ok(())
        }
        _ if authenticated => Err(StreamCondition::UnsupportedStanzaType.into()),
        _ => Err(StreamCondition::NotAuthorized.into()),
    }
}
