//! From the connection to an established stream (RFC 6120 sections 4 to 6, XEP-0178, XEP-0220).

use std::sync::Arc;

use super::{OutboundError, OutboundOutput, Purpose, Shared, State};
use crate::dialback::{DialbackBody, DialbackElement, DialbackKind, DialbackOutcome};
use crate::element::Element;
use crate::error::StreamCondition;
use crate::framer::{Frame, StreamHeader};
use crate::ns;
use crate::sasl::{SaslCondition, external_initial_response};
use crate::stream::acks::Acks;
use crate::stream::{AuthMethod, PeerLimits, TlsPolicy};
use crate::writer::StreamKind;

/// Which of the streams on one connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Without TLS.
    Plain,
    /// Under TLS.
    Secured,
    /// After EXTERNAL.
    Authenticated,
}

impl Shared {
    /// Sends our header.
    pub(super) fn open(&mut self, stage: Stage) -> State {
        let config = Arc::clone(&self.config);
        self.wire
            .put_header(Some(&config.local), Some(&config.remote), None);
        State::AwaitingHeader(stage)
    }

    pub(super) fn tls_established(&mut self, certificate_valid: bool) -> State {
        self.tls = true;
        if self.config.require_certificate && !certificate_valid {
            return self.give_up(OutboundError::CertificateInvalid);
        }
        self.open(Stage::Secured)
    }

    pub(super) fn negotiate(&mut self, state: State, frame: Frame) -> State {
        let element = match (state, frame) {
            (State::AwaitingHeader(stage), Frame::StreamOpen(header)) => {
                return self.on_header(stage, &header);
            }
            (_, Frame::Nonza(element)) => element,
            (state, _) => return self.fail(state, StreamCondition::BadFormat),
        };
        if let Some(dialback) = DialbackElement::read(&element) {
            return self.on_dialback(state, &dialback);
        }
        match (state, element.ns(), element.name()) {
            (State::AwaitingFeatures(stage), ns::STREAM, "features") => {
                self.on_features(stage, &element)
            }
            (State::AwaitingProceed, ns::TLS, "proceed") => {
                self.wire.restart_under_tls();
                self.outputs.push_back(OutboundOutput::StartTls);
                State::HandshakingTls
            }
            (State::AwaitingProceed, ns::TLS, "failure") => {
                self.give_up(OutboundError::TlsUnavailable)
            }
            (State::AwaitingExternal, ns::SASL, "success") => {
                self.wire.restart();
                self.open(Stage::Authenticated)
            }
            (State::AwaitingExternal, ns::SASL, "failure") => {
                let condition = element
                    .elements()
                    .find(|child| child.name() != "text")
                    .map_or(SaslCondition::NotAuthorized, |child| {
                        SaslCondition::from_name(child.name())
                    });
                self.external_refused = Some(condition);
                // XEP-0178: the stream goes on; dialback is what remains.
                self.start_dialback()
            }
            (State::AwaitingExternal, ns::SASL, "challenge") => {
                // The initial response said it already; old servers ask all the same.
                let authzid = external_initial_response(&self.config.local);
                self.wire.put_fmt(format_args!(
                    "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{authzid}</response>"
                ));
                State::AwaitingExternal
            }
            (state, ..) => self.fail(state, StreamCondition::UnsupportedStanzaType),
        }
    }

    fn on_header(&mut self, stage: Stage, header: &StreamHeader) -> State {
        if header.kind() != Some(StreamKind::Server) {
            let state = State::AwaitingHeader(stage);
            return self.fail(state, StreamCondition::InvalidNamespace);
        }
        self.id = header.id.clone().unwrap_or_default();
        if header.version.is_some() {
            return State::AwaitingFeatures(stage);
        }
        // A server from before RFC 3920 sends no features and knows no TLS.
        match stage {
            Stage::Plain if self.config.tls == TlsPolicy::Required => {
                self.give_up(OutboundError::TlsUnavailable)
            }
            Stage::Plain | Stage::Secured => self.authenticate(None),
            Stage::Authenticated => self.establish(AuthMethod::External),
        }
    }

    fn on_features(&mut self, stage: Stage, features: &Element) -> State {
        self.sm_offered |= features.has_child(ns::STREAM_MANAGEMENT, "sm");
        // The last word counts: limits may change with each stream on the connection.
        self.peer_limits = PeerLimits::read(features).unwrap_or_default();
        match stage {
            Stage::Plain => {
                let starttls = features.has_child(ns::TLS, "starttls");
                match (starttls, self.config.tls) {
                    (true, TlsPolicy::Required | TlsPolicy::Optional) => {
                        self.wire
                            .put("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
                        State::AwaitingProceed
                    }
                    (false, TlsPolicy::Required) => self.give_up(OutboundError::TlsUnavailable),
                    _ => self.authenticate(Some(features)),
                }
            }
            Stage::Secured => self.authenticate(Some(features)),
            Stage::Authenticated => self.establish(AuthMethod::External),
        }
    }

    fn authenticate(&mut self, features: Option<&Element>) -> State {
        if self.config.purpose == Purpose::Verify {
            self.ask();
            return State::Ready;
        }
        let offers_bidi = features.is_some_and(|f| f.has_child(ns::BIDI_FEATURE, "bidi"));
        if self.config.bidi && self.tls && offers_bidi {
            // XEP-0478 section 3.2: we send no features in which the peer could read it.
            self.wire.put_fmt(format_args!(
                "<bidi xmlns='urn:xmpp:bidi'><limits xmlns='urn:xmpp:stream-limits:0'>\
                 <max-bytes>{}</max-bytes></limits></bidi>",
                self.config.limits.bytes
            ));
            self.bidi = true;
        }
        // COMPAT ejabberd: it may send a list of mechanisms that is empty.
        let offers_external = features
            .and_then(|features| features.get_child(ns::SASL, "mechanisms"))
            .is_some_and(|mechanisms| {
                let mut names = mechanisms.elements().map(Element::content_text);
                names.any(|name| name.trim() == "EXTERNAL")
            });
        if self.config.external && self.tls && offers_external {
            let authzid = external_initial_response(&self.config.local);
            self.wire.put_fmt(format_args!(
                "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>{authzid}</auth>"
            ));
            return State::AwaitingExternal;
        }
        self.start_dialback()
    }

    /// COMPAT MongooseIM: it does not offer the dialback feature; so dialback is always tried.
    fn start_dialback(&mut self) -> State {
        if !self.config.dialback || self.id.is_empty() {
            return self.give_up(match self.external_refused {
                Some(condition) => OutboundError::ExternalRefused(condition),
                None => OutboundError::NoAuthentication,
            });
        }
        let config = &self.config;
        let claim = DialbackElement {
            kind: DialbackKind::Result,
            from: Arc::clone(&config.local),
            to: Arc::clone(&config.remote),
            id: None,
            body: DialbackBody::Key(config.secret.key(&config.remote, &config.local, &self.id)),
        };
        self.wire.put_nonza(&claim.to_element());
        // The peer now connects to us before it answers.
        self.negotiation_deadline = self.wire.now + config.negotiation_timeout;
        State::AwaitingDialback
    }

    fn on_dialback(&mut self, state: State, element: &DialbackElement) -> State {
        let ours = element.from == self.config.remote && element.to == self.config.local;
        match (&element.body, element.kind) {
            (DialbackBody::Outcome(outcome), DialbackKind::Result)
                if state == State::AwaitingDialback && ours =>
            {
                match outcome {
                    DialbackOutcome::Valid => self.establish(AuthMethod::Dialback),
                    DialbackOutcome::Invalid => self.give_up(OutboundError::DialbackInvalid),
                    DialbackOutcome::Error(condition) => {
                        self.give_up(OutboundError::Dialback(*condition))
                    }
                }
            }
            (DialbackBody::Key(_), _) => {
                self.answer_key(element);
                state
            }
            (DialbackBody::Outcome(_), _) => self.fail(state, StreamCondition::InvalidXml),
        }
    }

    fn establish(&mut self, method: AuthMethod) -> State {
        self.wire.set_limits(self.config.limits);
        let sm = self.config.sm && self.sm_offered;
        if sm {
            // What is sent from here on counts, though the answer is still out.
            self.wire.put("<enable xmlns='urn:xmpp:sm:3'/>");
            self.flow.acks = Some(Acks::new(self.config.queue));
            self.sm_pending = true;
        }
        self.last_stanza = self.wire.now;
        self.ask();
        self.outputs.push_back(OutboundOutput::Established {
            bidi: self.bidi,
            sm,
            method,
        });
        State::Established
    }
}
