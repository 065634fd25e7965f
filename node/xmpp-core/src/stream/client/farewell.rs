//! Taking leave of a client: a stream that we end (drain, stop, another session with the resource)
//! must not leave the client in doubt about what we have, or it says those stanzas again on its next
//! stream and they arrive twice; nor us about what it has.
//!
//! XEP-0198 section 4 has the words, RFC 6120 section 4.9.3.19 the end. The order:
//! 1. nothing more is taken: later stanzas are dropped, and as `h` does not count them, the client
//!    knows that it has to send them elsewhere;
//! 2. the receipts of those taken are awaited, while deliveries still go out;
//! 3. the last `<a/>`, and an `<r/>` if anything that we sent is open; later deliveries are kept back;
//! 4. the client's `<a/>`, then the error and the closing tag.

use std::time::Instant;

use crate::error::StreamError;

/// How far the farewell is.
#[derive(Debug)]
pub(super) struct Farewell {
    error: Box<StreamError>,
    step: Step,
    until: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Receipts are awaited.
    Settling,
    /// The client was told the last `h` and asked for its own.
    Asking,
}

/// What the session has to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Now {
    Wait,
    /// Say the last `<a/>` and ask; then [`Farewell::asked`].
    Ask,
    /// The end.
    End,
}

impl Farewell {
    /// Begins; receipts are awaited until then.
    pub(super) fn new(error: Box<StreamError>, until: Instant) -> Self {
        Self {
            error,
            step: Step::Settling,
            until,
        }
    }

    /// The question is out; the answer is awaited until then.
    pub(super) fn asked(&mut self, until: Instant) {
        self.step = Step::Asking;
        self.until = until;
    }

    /// Whether deliveries are kept back by now.
    pub(super) fn keeps_back(&self) -> bool {
        self.step == Step::Asking
    }

    pub(super) fn deadline(&self) -> Instant {
        self.until
    }

    /// `unhandled`: stanzas of the client wait for receipts. `unacked`: stanzas for it wait for its
    /// acknowledgement.
    pub(super) fn next(&self, now: Instant, unhandled: bool, unacked: bool) -> Now {
        let late = now >= self.until;
        match self.step {
            Step::Settling if unhandled && !late => Now::Wait,
            Step::Settling if unacked => Now::Ask,
            Step::Asking if unacked && !late => Now::Wait,
            Step::Settling | Step::Asking => Now::End,
        }
    }

    pub(super) fn into_error(self) -> Box<StreamError> {
        self.error
    }
}
