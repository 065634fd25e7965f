//! What a peer sends on an established stream, or on one that only verifies keys.

use super::{OutboundOutput, Shared, State};
use crate::dialback::{DialbackBody, DialbackElement, DialbackKind, DialbackOutcome};
use crate::element::Element;
use crate::error::{StanzaCondition, StreamCondition, StreamError};
use crate::framer::Frame;
use crate::ns;
use crate::stanza::Stanza;

impl Shared {
    pub(super) fn on_frame(&mut self, state: State, frame: Frame) -> Result<(), Box<StreamError>> {
        match frame {
            Frame::Stanza(stanza) => self.on_stanza(state, stanza),
            Frame::AckRequest => {
                self.flow.question(&mut self.wire);
                Ok(())
            }
            Frame::Ack(h) => {
                let tokens = self.flow.acknowledged(h)?;
                let delivered = tokens.into_iter().map(OutboundOutput::Delivered);
                self.outputs.extend(delivered);
                Ok(())
            }
            Frame::Nonza(element) => self.on_nonza(&element),
            Frame::StreamOpen(_) | Frame::StreamClose => Err(StreamCondition::BadFormat.into()),
        }
    }

    fn on_stanza(&mut self, state: State, stanza: Stanza) -> Result<(), Box<StreamError>> {
        if state != State::Established || !self.bidi {
            // The peer never proved anything on this stream.
            return Err(StreamCondition::NotAuthorized.into());
        }
        let (Some(from), Some(to)) = (stanza.from(), stanza.to()) else {
            return Err(StreamCondition::ImproperAddressing.into());
        };
        if from.domain() != &*self.config.remote {
            return Err(StreamCondition::InvalidFrom.into());
        }
        if to.domain() != &*self.config.local {
            return Err(StreamCondition::HostUnknown.into());
        }
        if self.flow.refuses() {
            return Ok(());
        }
        self.last_stanza = self.wire.now;
        self.flow.received();
        self.outputs.push_back(OutboundOutput::Stanza(stanza));
        Ok(())
    }

    fn on_nonza(&mut self, element: &Element) -> Result<(), Box<StreamError>> {
        if let Some(dialback) = DialbackElement::read(element) {
            match (&dialback.body, dialback.kind) {
                (DialbackBody::Outcome(outcome), DialbackKind::Verify) => {
                    self.answered(&dialback, *outcome);
                }
                // We asked for one pair only, and it is decided.
                (DialbackBody::Outcome(_), DialbackKind::Result) => {}
                (DialbackBody::Key(_), _) => self.answer_key(&dialback),
            }
            return Ok(());
        }
        match (element.ns(), element.name()) {
            (ns::STREAM_MANAGEMENT, "enabled") => self.sm_pending = false,
            (ns::STREAM_MANAGEMENT, "failed") => self.sm_refused(),
            // COMPAT: features that come late, after an authentication that needed none.
            (ns::STREAM, "features") => {}
            _ => return Err(StreamCondition::UnsupportedStanzaType.into()),
        }
        Ok(())
    }

    /// The peer will not acknowledge: what was sent counts as written.
    fn sm_refused(&mut self) {
        if !std::mem::take(&mut self.sm_pending) {
            return;
        }
        if let Some(acks) = self.flow.acks.take() {
            let (mut sent, _) = acks.into_parts();
            let tokens = sent.drain().map(|unacked| unacked.token);
            let written = tokens.filter(|token| *token != 0);
            self.outputs.extend(written.map(OutboundOutput::Written));
        }
    }

    /// The peer asks on our stream: about a key of ours, which any stream may; or for a pair of
    /// its own, which needs a stream of its own.
    pub(super) fn answer_key(&mut self, element: &DialbackElement) {
        let DialbackBody::Key(key) = &element.body else {
            return;
        };
        let outcome = match element.kind {
            DialbackKind::Result => DialbackOutcome::Error(StanzaCondition::NotAllowed),
            DialbackKind::Verify if element.to != self.config.local => {
                DialbackOutcome::Error(StanzaCondition::ItemNotFound)
            }
            DialbackKind::Verify => {
                let id = element.id.as_deref().unwrap_or_default();
                let secret = &self.config.secret;
                match secret.verify(&element.from, &element.to, id, key) {
                    true => DialbackOutcome::Valid,
                    false => DialbackOutcome::Invalid,
                }
            }
        };
        if self.flow.closing.is_none() {
            self.wire.put_nonza(&element.answer(outcome).to_element());
        }
    }
}
