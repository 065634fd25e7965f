//! A bound session: stanzas both ways, stream management, signs of life.

use std::sync::Arc;
use std::time::Instant;

use super::farewell::{Farewell, Now};
use super::shared::Shared;
use super::{ClientDeadline, ClientOutput, ResumedState, State};
use crate::element::Element;
use crate::error::{StanzaCondition, StanzaError, StreamCondition, StreamError};
use crate::framer::Frame;
use crate::jid::FullJid;
use crate::management::{HandledCountTooHigh, Unacked};
use crate::ns;
use crate::stanza::{IqType, Stanza, StanzaFault};
use crate::stream::acks::Acks;
use crate::stream::wire::put_sm_failed;
use crate::stream::{CloseReason, earliest};

/// Between a bound resource and the end.
#[derive(Debug)]
pub(super) struct Session {
    jid: FullJid,
    acks: Option<Acks>,
    /// Stanzas without a receipt that came before acknowledgements were switched on: their receipts
    /// come first and do not count in `h`.
    uncounted: u64,
    /// The id by which the stream can be resumed.
    /// The id that the shell chose.
    named: Option<Arc<str>>,
    resume_id: Option<Arc<str>>,
    /// When the client was asked for a sign of life, if it has been silent since.
    probed: Option<Instant>,
    /// The id of the last ping that we sent; its answer is not the session's.
    ping: Option<String>,
    /// Until when the client's closing tag is awaited; ours is out.
    closing: Option<Instant>,
    farewell: Option<Box<Farewell>>,
    /// Stanzas that came to be sent after that.
    late: Vec<Unacked>,
    /// Whether the stream ended in a way after which the client may come back to it.
    resumable: bool,
}

/// What a frame led to.
#[derive(Debug)]
pub(super) enum Next {
    /// Something for the shell.
    Output(ClientOutput),
    /// Nothing: on to the next frame.
    Go,
    /// The end of the stream.
    End(CloseReason),
}

impl Session {
    pub(super) fn new(jid: FullJid) -> Self {
        Self {
            jid,
            acks: None,
            uncounted: 0,
            named: None,
            resume_id: None,
            probed: None,
            ping: None,
            closing: None,
            farewell: None,
            late: Vec::new(),
            resumable: false,
        }
    }

    /// Goes on with an old stream; the client says that it handled `h` stanzas of it.
    pub(super) fn resume(
        parked: ResumedState,
        h: u32,
        shared: &mut Shared,
    ) -> Result<Box<Self>, Box<(Self, HandledCountTooHigh)>> {
        let ResumedState {
            jid,
            id,
            sent,
            mut received,
        } = parked;
        received.forget_unhandled();
        let mut session = Self {
            acks: Some(Acks::resume(sent, received)),
            named: None,
            resume_id: Some(id),
            ..Self::new(jid)
        };
        match session.acknowledged(h, shared) {
            Ok(()) => Ok(Box::new(session)),
            Err(error) => Err(Box::new((session, error))),
        }
    }

    /// Sends what the client has not handled, on the new stream.
    pub(super) fn send_again(&mut self, shared: &mut Shared) {
        if let Some(acks) = &mut self.acks {
            for unacked in acks.sent().iter() {
                shared.wire.out.extend_from_slice(&unacked.stanza);
            }
        }
    }

    pub(super) fn acks(&self) -> Option<&Acks> {
        self.acks.as_ref()
    }

    pub(super) fn h(&self) -> u32 {
        self.acks.as_ref().map_or(0, Acks::h)
    }

    /// Writes a stanza, or gives it back when too many wait for acknowledgement.
    pub(super) fn send(&mut self, unacked: Unacked, shared: &mut Shared) -> Result<(), Unacked> {
        if self.closing.is_some() || self.farewell.as_ref().is_some_and(|f| f.keeps_back()) {
            // Nothing follows our closing tag, or our last question.
            self.late.push(unacked);
            return Ok(());
        }
        if let Some(acks) = &mut self.acks
            && acks.on_sent(unacked.stanza.clone(), unacked.token).is_err()
        {
            return Err(unacked);
        }
        shared.wire.out.extend_from_slice(&unacked.stanza);
        Ok(())
    }

    pub(super) fn handled(&mut self, count: u64, shared: &mut Shared) {
        let uncounted = count.min(self.uncounted);
        self.uncounted -= uncounted;
        let Some(acks) = &mut self.acks else { return };
        acks.on_handled(count - uncounted);
        if self.closing.is_none() {
            acks.answer_if_complete(&mut shared.wire.out);
        }
    }

    pub(super) fn before_write(&mut self, shared: &mut Shared) {
        if self.closing.is_none()
            && let Some(acks) = &mut self.acks
        {
            acks.ask_if_due(shared.wire.now, &mut shared.wire.out);
        }
    }

    pub(super) fn answer(&mut self, shared: &mut Shared) {
        if let Some(acks) = &mut self.acks {
            acks.answer(&mut shared.wire.out);
        }
    }

    /// Asks for a sign of life: with `<r/>`, else with a ping (XEP-0199).
    pub(super) fn probe(&mut self, shared: &mut Shared) {
        self.probed = Some(shared.wire.now);
        let wire = &mut shared.wire;
        if let Some(acks) = &mut self.acks {
            acks.ask(wire.now, &mut wire.out);
            return;
        }
        let id = wire.ids.fresh();
        wire.put("<iq type='get'");
        wire.put_attr("id", &id);
        wire.put_attr("from", self.jid.domain());
        wire.put_attr("to", self.jid.as_str());
        wire.put("><ping xmlns='urn:xmpp:ping'/></iq>");
        self.ping = Some(id);
    }

    /// Closes our side; the client may still finish its own.
    pub(super) fn close(mut self: Box<Self>, shared: &mut Shared) -> State {
        if self.closing.is_none() {
            shared.wire.put_close();
            self.closing = Some(shared.wire.now + shared.config.close_timeout);
        }
        State::Session(self)
    }

    /// Ends the stream in the order of [`super::farewell`].
    pub(super) fn leave(&mut self, error: Box<StreamError>, shared: &Shared) {
        if self.closing.is_none() && self.farewell.is_none() {
            let until = shared.wire.now + shared.config.farewell_receipts;
            self.farewell = Some(Box::new(Farewell::new(error, until)));
        }
    }

    /// Whether nothing is taken from the client any more.
    pub(super) fn is_leaving(&self) -> bool {
        self.farewell.is_some()
    }

    /// Takes the next step of a farewell, if it is time; the error when it is over.
    pub(super) fn take_leave(&mut self, shared: &mut Shared) -> Option<Box<StreamError>> {
        let farewell = self.farewell.as_mut()?;
        let unhandled =
            self.uncounted > 0 || self.acks.as_ref().is_some_and(|acks| acks.unhandled() > 0);
        let unacked = self.acks.as_ref().is_some_and(Acks::awaits_answer);
        let now = shared.wire.now;
        match farewell.next(now, unhandled, unacked) {
            Now::Wait => return None,
            Now::Ask => {
                farewell.asked(now + shared.config.farewell_answer);
                if let Some(acks) = &mut self.acks {
                    acks.answer_finally(&mut shared.wire.out);
                    acks.ask(now, &mut shared.wire.out);
                }
                return None;
            }
            Now::End => {}
        }
        if let Some(acks) = &mut self.acks {
            acks.answer_finally(&mut shared.wire.out);
        }
        self.farewell.take().map(|farewell| farewell.into_error())
    }

    pub(super) fn next_deadline(&self, shared: &Shared) -> Option<(Instant, ClientDeadline)> {
        if let Some(closing) = self.closing {
            return Some((closing, ClientDeadline::Close));
        }
        let config = &shared.config;
        let heard = shared.wire.heard;
        let probed = self.probed.is_some_and(|probed| probed >= heard);
        earliest([
            (
                (!probed).then(|| heard + config.probe_after),
                ClientDeadline::Probe,
            ),
            (Some(heard + config.idle_timeout), ClientDeadline::Idle),
            (
                self.farewell.as_ref().map(|farewell| farewell.deadline()),
                ClientDeadline::Farewell,
            ),
            (
                self.acks.as_ref().and_then(Acks::answer_deadline),
                ClientDeadline::AckAnswer,
            ),
            (
                self.acks
                    .as_ref()
                    .and_then(Acks::asked)
                    .map(|asked| asked + config.ack_timeout),
                ClientDeadline::AckWait,
            ),
        ])
    }

    pub(super) fn on_frame(
        &mut self,
        frame: Frame,
        shared: &mut Shared,
    ) -> Result<Next, Box<StreamError>> {
        match frame {
            Frame::Stanza(stanza) => self.on_stanza(stanza, shared),
            Frame::Ack(h) => {
                self.acknowledged(h, shared)?;
                Ok(Next::Go)
            }
            Frame::AckRequest => {
                match &mut self.acks {
                    _ if self.closing.is_some() => {}
                    Some(acks) => acks.on_question(shared.wire.now, &mut shared.wire.out),
                    None => put_sm_failed(&mut shared.wire, None, "unexpected-request"),
                }
                Ok(Next::Go)
            }
            Frame::Nonza(element) => self.on_nonza(&element, shared),
            Frame::StreamClose => {
                shared.wire.put_close();
                Ok(Next::End(CloseReason::Clean))
            }
            Frame::StreamOpen(_) => Err(StreamCondition::BadFormat.into()),
        }
    }

    fn on_stanza(&mut self, stanza: Stanza, shared: &mut Shared) -> Result<Next, Box<StreamError>> {
        if self.is_leaving() {
            return Ok(Next::Go);
        }
        // RFC 6120 section 8.1.2.1: `from` is absent, or the client's own, bare or full.
        let own = match stanza.from() {
            None => stanza.fault() != Some(StanzaFault::MalformedFrom),
            Some(from) => from == self.jid.as_jid() || from.as_str() == self.jid.bare_str(),
        };
        if !own {
            return Err(StreamCondition::InvalidFrom.into());
        }
        if self.is_ours_to_answer(&stanza, shared) {
            if let Some(acks) = &mut self.acks {
                acks.on_received_and_handled();
            }
            return Ok(Next::Go);
        }
        match &mut self.acks {
            Some(acks) => acks.on_received(),
            None => self.uncounted += 1,
        }
        // RFC 7622 section 3.2.1: A-labels become U-labels before they reach other servers, which
        // would end a stream for a domain by another name than theirs.
        let to = stanza.to().filter(|to| !to.domain().is_ascii());
        let stamped = stanza.restamped(Some(self.jid.as_jid()), to);
        Ok(Next::Output(ClientOutput::Stanza(stamped)))
    }

    /// Deals with stanzas that are the stream's own business: those that break the rules for
    /// stanzas, the old session request, a second binding, the answer to our ping.
    fn is_ours_to_answer(&mut self, stanza: &Stanza, shared: &mut Shared) -> bool {
        if let Some(fault) = stanza.fault() {
            self.refuse(stanza, fault.stanza_condition(), shared);
            return true;
        }
        match stanza.iq_type() {
            Some(IqType::Set) if stanza.is_about(ns::SESSION, "session") => {
                if let Some(result) = stanza.iq_result(None) {
                    self.put_answer(&result, shared);
                }
                true
            }
            // RFC 6120 section 7.7.2.2: one resource for each stream.
            Some(IqType::Set) if stanza.is_about(ns::BIND, "bind") => {
                self.refuse(stanza, StanzaCondition::NotAllowed, shared);
                true
            }
            Some(IqType::Result | IqType::Error) => {
                self.ping.is_some() && stanza.id().as_deref() == self.ping.as_deref()
            }
            _ => false,
        }
    }

    fn refuse(&mut self, stanza: &Stanza, condition: StanzaCondition, shared: &mut Shared) {
        if let Some(error) = stanza.error_reply(&StanzaError::new(condition), false) {
            self.put_answer(&error, shared);
        }
    }

    /// Writes an answer of the stream's own; it counts like every stanza.
    fn put_answer(&mut self, answer: &Stanza, shared: &mut Shared) {
        let unacked = Unacked {
            stanza: answer.bytes().clone(),
            token: 0,
        };
        // An answer to a client that acknowledges nothing may be lost.
        let _ = self.send(unacked, shared);
    }

    fn acknowledged(&mut self, h: u32, shared: &mut Shared) -> Result<(), HandledCountTooHigh> {
        let Some(acks) = &mut self.acks else {
            return Ok(());
        };
        let tokens = acks.on_answer(h)?.map(|unacked| unacked.token);
        shared.outputs.extend(
            tokens
                .filter(|token| *token != 0)
                .map(ClientOutput::Delivered),
        );
        Ok(())
    }

    fn on_nonza(
        &mut self,
        element: &Element,
        shared: &mut Shared,
    ) -> Result<Next, Box<StreamError>> {
        match (element.ns(), element.name()) {
            (ns::STREAM_MANAGEMENT, "enable") if self.acks.is_none() => {
                if self.closing.is_none() {
                    self.enable(element, shared);
                }
            }
            (ns::STREAM_MANAGEMENT, "enable" | "resume") if self.closing.is_none() => {
                put_sm_failed(&mut shared.wire, None, "unexpected-request");
            }
            // Not offered, and harmless.
            (ns::CLIENT_STATE, _) => {}
            (ns::STREAM, "error") => {
                let error = Box::new(StreamError::from_element(element));
                shared.wire.put_close();
                return Ok(Next::End(CloseReason::PeerError(error)));
            }
            _ => return Err(StreamCondition::UnsupportedStanzaType.into()),
        }
        Ok(Next::Go)
    }

    /// The id for resumption, before it is asked for.
    pub(super) fn name(&mut self, id: Arc<str>) {
        self.named = Some(id);
    }

    /// XEP-0198 section 3.
    fn enable(&mut self, element: &Element, shared: &mut Shared) {
        let wanted = matches!(element.get_attr("resume"), Some("true" | "1"));
        let max = shared.config.resumption.as_secs();
        self.acks = Some(Acks::new(shared.config.queue));
        let wire = &mut shared.wire;
        if wanted && max > 0 {
            let id = match self.named.take() {
                Some(named) => named,
                None => wire.ids.fresh().into(),
            };
            wire.put("<enabled xmlns='urn:xmpp:sm:3' resume='true'");
            wire.put_attr("id", &id);
            wire.put_fmt(format_args!(" max='{max}'/>"));
            self.resume_id = Some(id);
        } else {
            wire.put("<enabled xmlns='urn:xmpp:sm:3'/>");
        }
        shared
            .outputs
            .push_back(ClientOutput::SmEnabled(self.resume_id.clone()));
    }

    /// The stream ended. Only where the client lost it, or may not have seen its end, can it come
    /// back to it.
    pub(super) fn ended(mut self: Box<Self>, reason: &CloseReason) -> Box<Self> {
        self.resumable = match reason {
            CloseReason::Eof | CloseReason::CloseTimeout => true,
            CloseReason::Error(error) => matches!(
                error.condition,
                StreamCondition::ConnectionTimeout
                    | StreamCondition::SystemShutdown
                    | StreamCondition::Reset
            ),
            CloseReason::Clean | CloseReason::PeerError(_) => false,
        };
        self
    }

    pub(super) fn park(mut self: Box<Self>) -> Result<ResumedState, Box<Self>> {
        if !self.resumable || self.resume_id.is_none() || self.acks.is_none() {
            return Err(self);
        }
        let (Some(id), Some(acks)) = (self.resume_id.take(), self.acks.take()) else {
            return Err(self);
        };
        let (mut sent, received) = acks.into_parts();
        for unacked in self.late.drain(..) {
            sent.push_above_limits(unacked);
        }
        Ok(ResumedState {
            jid: self.jid,
            id,
            sent,
            received,
        })
    }

    pub(super) fn into_unacked(mut self) -> Vec<Unacked> {
        let mut unacked: Vec<_> = self
            .acks
            .map(|acks| acks.into_parts().0.drain().collect())
            .unwrap_or_default();
        unacked.append(&mut self.late);
        unacked
    }
}
