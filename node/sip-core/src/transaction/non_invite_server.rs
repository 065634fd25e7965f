//! The non-INVITE server transaction (RFC 3261 section 17.2.2, with RFC 4320: no late answers).

use std::time::Instant;

use super::timing::{Effects, Timing, TransactionTimer};

/// The machine of one request other than INVITE and ACK that we got.
#[derive(Debug)]
pub(crate) struct NonInviteServer(State);

#[derive(Debug)]
enum State {
    /// The user has it and said nothing; repeats are absorbed.
    Trying { give_up: Instant },
    /// A provisional response went out; repeats get it again.
    Proceeding { give_up: Instant },
    /// The final response went out; repeats get it again.
    Completed { until: Instant },
    /// Over.
    Terminated,
}

impl NonInviteServer {
    /// The request came in and goes to the user.
    pub(crate) fn start(now: Instant, timing: &Timing) -> Self {
        Self(State::Trying {
            give_up: now + timing.bound(),
        })
    }

    /// The request came again.
    pub(crate) fn repeated(&self) -> Effects {
        match &self.0 {
            State::Proceeding { .. } | State::Completed { .. } => Effects::SEND,
            State::Trying { .. } | State::Terminated => Effects::NONE,
        }
    }

    /// The user answers. `None`: too late, the response is dropped.
    pub(crate) fn respond(
        &mut self,
        now: Instant,
        timing: &Timing,
        reliable: bool,
        status: u16,
    ) -> Option<Effects> {
        match (&self.0, status) {
            (State::Trying { give_up } | State::Proceeding { give_up }, 100..=199) => {
                self.0 = State::Proceeding { give_up: *give_up };
                Some(Effects::SEND)
            }
            (State::Trying { .. } | State::Proceeding { .. }, _) => {
                // Timer J is zero on reliable transports.
                self.0 = if reliable {
                    State::Terminated
                } else {
                    State::Completed {
                        until: now + timing.bound(),
                    }
                };
                Some(Effects {
                    ended: reliable,
                    ..Effects::SEND
                })
            }
            (State::Completed { .. } | State::Terminated, _) => None,
        }
    }

    /// A deadline passed.
    pub(crate) fn timer(&mut self, now: Instant) -> Effects {
        match &self.0 {
            State::Trying { give_up } | State::Proceeding { give_up } if *give_up <= now => {
                self.0 = State::Terminated;
                Effects::TIMEOUT
            }
            State::Completed { until } if *until <= now => {
                self.0 = State::Terminated;
                Effects::ENDED
            }
            _ => Effects::NONE,
        }
    }

    /// The next deadline.
    pub(crate) fn next(&self) -> Option<(Instant, TransactionTimer)> {
        match &self.0 {
            State::Trying { give_up } | State::Proceeding { give_up } => {
                Some((*give_up, TransactionTimer::Unanswered))
            }
            State::Completed { until } => Some((*until, TransactionTimer::J)),
            State::Terminated => None,
        }
    }
}
