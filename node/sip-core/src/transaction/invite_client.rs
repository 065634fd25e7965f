//! The INVITE client transaction (RFC 3261 section 17.1.1, state machine of RFC 6026 section 8.4).

use std::time::Instant;

use super::timing::{Effects, Pace, Timing, TransactionTimer, earlier};

/// The machine of one INVITE that we sent.
#[derive(Debug)]
pub(crate) struct InviteClient {
    state: State,
    /// CANCEL is wanted, but no provisional response came yet (section 9.1).
    cancel_wanted: bool,
}

#[derive(Debug)]
enum State {
    /// INVITE went out, nothing came back.
    Calling {
        again: Option<Pace>,
        give_up: Instant,
    },
    /// A provisional response came.
    Proceeding { give_up: Instant, cancelled: bool },
    /// A final response other than 2xx came and was acknowledged.
    Completed { until: Instant },
    /// 2xx came; further ones (repeats, forks) are the user's (RFC 6026).
    Accepted { until: Instant },
    /// Over.
    Terminated,
}

impl InviteClient {
    /// INVITE goes out now.
    pub(crate) fn start(now: Instant, timing: &Timing, reliable: bool) -> Self {
        let again = (!reliable).then(|| Pace::start(now, timing.t1, timing.bound()));
        Self {
            state: State::Calling {
                again,
                give_up: now + timing.bound(),
            },
            cancel_wanted: false,
        }
    }

    /// A response came in.
    pub(crate) fn response(
        &mut self,
        now: Instant,
        timing: &Timing,
        reliable: bool,
        status: u16,
    ) -> Effects {
        match (&mut self.state, status) {
            (State::Calling { .. }, 100..=199) => {
                let cancelled = self.cancel_wanted;
                self.state = State::Proceeding {
                    give_up: now
                        + if cancelled {
                            timing.bound()
                        } else {
                            timing.ringing
                        },
                    cancelled,
                };
                Effects {
                    cancel: cancelled,
                    ..Effects::DELIVER
                }
            }
            (State::Proceeding { give_up, cancelled }, 100..=199) => {
                // Section 16.6 item 11: each provisional response but 100 winds timer C up again.
                if status > 100 && !*cancelled {
                    *give_up = now + timing.ringing;
                }
                Effects::DELIVER
            }
            (State::Calling { .. } | State::Proceeding { .. }, 200..=299) => {
                self.state = State::Accepted {
                    until: now + timing.bound(),
                };
                Effects::DELIVER
            }
            (State::Calling { .. } | State::Proceeding { .. }, _) => {
                self.state = if reliable {
                    State::Terminated
                } else {
                    State::Completed {
                        until: now + timing.wait_for_repeats(),
                    }
                };
                Effects {
                    ack: true,
                    deliver: true,
                    ended: reliable,
                    ..Effects::NONE
                }
            }
            (State::Completed { .. }, 300..) => Effects {
                ack: true,
                ..Effects::NONE
            },
            (State::Accepted { .. }, 200..=299) => Effects::DELIVER,
            (State::Completed { .. } | State::Accepted { .. } | State::Terminated, _) => {
                Effects::NONE
            }
        }
    }

    /// The user wants to give up. CANCEL goes out at once or with the first provisional response.
    pub(crate) fn cancel(&mut self, now: Instant, timing: &Timing) -> Effects {
        match &mut self.state {
            State::Calling { .. } => {
                self.cancel_wanted = true;
                Effects::NONE
            }
            State::Proceeding { give_up, cancelled } if !*cancelled => {
                *cancelled = true;
                // Section 9.1: with no final response 64·T1 after CANCEL the INVITE counts as cancelled.
                *give_up = now + timing.bound();
                Effects {
                    cancel: true,
                    ..Effects::NONE
                }
            }
            _ => Effects::NONE,
        }
    }

    /// A deadline passed.
    pub(crate) fn timer(&mut self, now: Instant, timing: &Timing) -> Effects {
        match &mut self.state {
            State::Calling { give_up, .. } if *give_up <= now => {
                self.state = State::Terminated;
                Effects::TIMEOUT
            }
            State::Calling {
                again: Some(again), ..
            } if again.due <= now => {
                again.step(now);
                Effects::SEND
            }
            State::Proceeding { give_up, cancelled } if *give_up <= now => {
                if *cancelled {
                    self.state = State::Terminated;
                    Effects::TIMEOUT
                } else {
                    self.cancel(now, timing)
                }
            }
            State::Completed { until } | State::Accepted { until } if *until <= now => {
                self.state = State::Terminated;
                Effects::ENDED
            }
            _ => Effects::NONE,
        }
    }

    /// Whether the user still waits for a final response.
    pub(crate) fn unanswered(&self) -> bool {
        matches!(self.state, State::Calling { .. } | State::Proceeding { .. })
    }

    /// The next deadline.
    pub(crate) fn next(&self) -> Option<(Instant, TransactionTimer)> {
        match &self.state {
            State::Calling { again, give_up } => earlier(
                again.map(|pace| (pace.due, TransactionTimer::A)),
                Some((*give_up, TransactionTimer::B)),
            ),
            State::Proceeding { give_up, .. } => Some((*give_up, TransactionTimer::C)),
            State::Completed { until } => Some((*until, TransactionTimer::D)),
            State::Accepted { until } => Some((*until, TransactionTimer::M)),
            State::Terminated => None,
        }
    }
}
