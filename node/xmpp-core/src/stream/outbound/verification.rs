//! Questions about dialback keys (XEP-0220 section 2.2).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::{OutboundOutput, Shared};
use crate::dialback::{DialbackBody, DialbackElement, DialbackKind, DialbackOutcome};
use crate::error::StanzaCondition;

/// Questions open at once on one stream.
const MAX_OPEN: usize = 256;

/// The questions that have no answer yet.
#[derive(Debug, Default)]
pub(super) struct Verifications(VecDeque<Verification>);

#[derive(Debug)]
struct Verification {
    token: u64,
    stream_id: String,
    key: String,
    /// When it was sent; `None` until the stream is ready.
    asked: Option<Instant>,
}

impl Verifications {
    /// When the oldest question went out.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.0.iter().filter_map(|open| open.asked).min()
    }

    /// Answers what was asked at `before` or earlier.
    pub(super) fn expire(&mut self, before: Instant, outputs: &mut VecDeque<OutboundOutput>) {
        self.0.retain(|open| {
            let expired = open.asked.is_some_and(|asked| asked <= before);
            if expired {
                let outcome = DialbackOutcome::Error(StanzaCondition::RemoteServerTimeout);
                outputs.push_back(OutboundOutput::Verified {
                    token: open.token,
                    outcome,
                });
            }
            !expired
        });
    }

    /// The stream ends: nobody will answer.
    pub(super) fn abandon(&mut self, outputs: &mut VecDeque<OutboundOutput>) {
        let outcome = DialbackOutcome::Error(StanzaCondition::RemoteServerNotFound);
        outputs.extend(self.0.drain(..).map(|open| OutboundOutput::Verified {
            token: open.token,
            outcome,
        }));
    }
}

impl Shared {
    /// Takes a question; `live` says whether it can be sent now, later, or (`None`) never.
    pub(super) fn verify(
        &mut self,
        token: u64,
        stream_id: String,
        key: String,
        live: Option<bool>,
    ) {
        let refused = match live {
            None => Some(StanzaCondition::RemoteServerNotFound),
            Some(_) if self.verifications.0.len() >= MAX_OPEN => {
                Some(StanzaCondition::ResourceConstraint)
            }
            Some(_) => None,
        };
        if let Some(condition) = refused {
            let outcome = DialbackOutcome::Error(condition);
            let refused = OutboundOutput::Verified { token, outcome };
            return self.outputs.push_back(refused);
        }
        self.verifications.0.push_back(Verification {
            token,
            stream_id,
            key,
            asked: None,
        });
        if live == Some(true) {
            self.ask();
        }
    }

    /// Sends the questions that wait.
    pub(super) fn ask(&mut self) {
        let wire = &mut self.wire;
        for open in self
            .verifications
            .0
            .iter_mut()
            .filter(|o| o.asked.is_none())
        {
            open.asked = Some(wire.now);
            let question = DialbackElement {
                kind: DialbackKind::Verify,
                from: Arc::clone(&self.config.local),
                to: Arc::clone(&self.config.remote),
                id: Some(open.stream_id.clone()),
                body: DialbackBody::Key(std::mem::take(&mut open.key)),
            };
            wire.put_nonza(&question.to_element());
        }
        self.last_stanza = wire.now;
    }

    /// Takes the peer's answer; one that was never asked for is ignored.
    pub(super) fn answered(&mut self, answer: &DialbackElement, outcome: DialbackOutcome) {
        if answer.from != self.config.remote || answer.to != self.config.local {
            return;
        }
        let fits = |open: &Verification| {
            open.asked.is_some() && Some(&open.stream_id) == answer.id.as_ref()
        };
        if let Some(index) = self.verifications.0.iter().position(fits)
            && let Some(open) = self.verifications.0.remove(index)
        {
            self.outputs.push_back(OutboundOutput::Verified {
                token: open.token,
                outcome,
            });
        }
    }
}
