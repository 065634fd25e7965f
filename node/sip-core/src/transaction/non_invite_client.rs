//! The non-INVITE client transaction (RFC 3261 section 17.1.2).

use std::time::Instant;

use super::timing::{Effects, Pace, Timing, TransactionTimer, earlier};

/// The machine of one request other than INVITE and ACK that we sent.
#[derive(Debug)]
pub(crate) struct NonInviteClient(State);

#[derive(Debug)]
enum State {
    /// The request went out.
    Trying {
        again: Option<Pace>,
        give_up: Instant,
    },
    /// A provisional response came; the request is still repeated, every T2.
    Proceeding {
        again: Option<Pace>,
        give_up: Instant,
    },
    /// The final response came; repeats of it are absorbed.
    Completed { until: Instant },
    /// Over.
    Terminated,
}

impl NonInviteClient {
    /// The request goes out now.
    pub(crate) fn start(now: Instant, timing: &Timing, reliable: bool) -> Self {
        Self(State::Trying {
            again: (!reliable).then(|| Pace::start(now, timing.t1, timing.t2)),
            give_up: now + timing.bound(),
        })
    }

    /// A response came in.
    pub(crate) fn response(
        &mut self,
        now: Instant,
        timing: &Timing,
        reliable: bool,
        status: u16,
    ) -> Effects {
        match (&self.0, status) {
            (State::Trying { give_up, .. }, 100..=199) => {
                self.0 = State::Proceeding {
                    again: (!reliable).then(|| Pace::start(now, timing.t2, timing.t2)),
                    give_up: *give_up,
                };
                Effects::DELIVER
            }
            (State::Proceeding { .. }, 100..=199) => Effects::DELIVER,
            (State::Trying { .. } | State::Proceeding { .. }, _) => {
                self.0 = if reliable {
                    State::Terminated
                } else {
                    State::Completed {
                        until: now + timing.t4,
                    }
                };
                Effects {
                    ended: reliable,
                    ..Effects::DELIVER
                }
            }
            (State::Completed { .. } | State::Terminated, _) => Effects::NONE,
        }
    }

    /// A deadline passed.
    pub(crate) fn timer(&mut self, now: Instant) -> Effects {
        match &mut self.0 {
            State::Trying { give_up, .. } | State::Proceeding { give_up, .. }
                if *give_up <= now =>
            {
                self.0 = State::Terminated;
                Effects::TIMEOUT
            }
            State::Trying {
                again: Some(again), ..
            }
            | State::Proceeding {
                again: Some(again), ..
            } if again.due <= now => {
                again.step(now);
                Effects::SEND
            }
            State::Completed { until } if *until <= now => {
                self.0 = State::Terminated;
                Effects::ENDED
            }
            _ => Effects::NONE,
        }
    }

    /// Whether the user still waits for a final response.
    pub(crate) fn unanswered(&self) -> bool {
        matches!(self.0, State::Trying { .. } | State::Proceeding { .. })
    }

    /// The next deadline.
    pub(crate) fn next(&self) -> Option<(Instant, TransactionTimer)> {
        match &self.0 {
            State::Trying { again, give_up } | State::Proceeding { again, give_up } => earlier(
                again.map(|pace| (pace.due, TransactionTimer::E)),
                Some((*give_up, TransactionTimer::F)),
            ),
            State::Completed { until } => Some((*until, TransactionTimer::K)),
            State::Terminated => None,
        }
    }
}
