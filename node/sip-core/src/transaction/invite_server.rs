//! The INVITE server transaction (RFC 3261 section 17.2.1, state machine of RFC 6026 section 8.5).

use std::time::{Duration, Instant};

use super::timing::{Effects, Pace, Timing, TransactionTimer, earlier};

/// How long the user may stay silent before 100 goes out.
const TRYING_AFTER: Duration = Duration::from_millis(200);

/// The machine of one INVITE that we got.
#[derive(Debug)]
pub(crate) struct InviteServer(State);

#[derive(Debug)]
enum State {
    /// The user has it. `trying` is set until a provisional response went out.
    Proceeding {
        trying: Option<Instant>,
        give_up: Instant,
    },
    /// A final response other than 2xx went out; ACK is waited for.
    Completed {
        again: Option<Pace>,
        give_up: Instant,
    },
    /// ACK came; its repeats are absorbed.
    Confirmed { until: Instant },
    /// 2xx went out; the user repeats it, INVITE's repeats are absorbed (RFC 6026).
    Accepted { until: Instant },
    /// Over.
    Terminated,
}

impl InviteServer {
    /// INVITE came in and goes to the user.
    pub(crate) fn start(now: Instant, timing: &Timing) -> Self {
        Self(State::Proceeding {
            trying: Some(now + TRYING_AFTER),
            give_up: now + timing.ringing,
        })
    }

    /// INVITE came again.
    pub(crate) fn repeated(&self) -> Effects {
        match &self.0 {
            // Before the first response there is nothing to repeat; the caller has none kept.
            State::Proceeding { .. } | State::Completed { .. } => Effects::SEND,
            State::Confirmed { .. } | State::Accepted { .. } | State::Terminated => Effects::NONE,
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
        match (&mut self.0, status) {
            (State::Proceeding { trying, .. }, 100..=199) => {
                *trying = None;
                Some(Effects::SEND)
            }
            (State::Proceeding { .. }, 200..=299) => {
                self.0 = State::Accepted {
                    until: now + timing.bound(),
                };
                Some(Effects::SEND)
            }
            (State::Proceeding { .. }, _) => {
                self.0 = State::Completed {
                    again: (!reliable).then(|| Pace::start(now, timing.t1, timing.t2)),
                    give_up: now + timing.bound(),
                };
                Some(Effects::SEND)
            }
            (State::Accepted { .. }, 200..=299) => Some(Effects::SEND),
            _ => None,
        }
    }

    /// ACK came in with this transaction's branch.
    pub(crate) fn ack(&mut self, now: Instant, timing: &Timing, reliable: bool) -> Effects {
        match &self.0 {
            State::Completed { .. } if reliable => {
                self.0 = State::Terminated;
                Effects::ENDED
            }
            State::Completed { .. } => {
                self.0 = State::Confirmed {
                    until: now + timing.t4,
                };
                Effects::NONE
            }
            // COMPAT: some user agents give the ACK of a 2xx the INVITE's branch.
            State::Accepted { .. } => Effects::DELIVER,
            State::Proceeding { .. } | State::Confirmed { .. } | State::Terminated => Effects::NONE,
        }
    }

    /// A deadline passed.
    pub(crate) fn timer(&mut self, now: Instant) -> Effects {
        match &mut self.0 {
            State::Proceeding { give_up, .. } | State::Completed { give_up, .. }
                if *give_up <= now =>
            {
                self.0 = State::Terminated;
                Effects::TIMEOUT
            }
            State::Proceeding { trying, .. } if trying.is_some_and(|due| due <= now) => {
                *trying = None;
                Effects {
                    trying: true,
                    ..Effects::NONE
                }
            }
            State::Completed {
                again: Some(again), ..
            } if again.due <= now => {
                again.step(now);
                Effects::SEND
            }
            State::Confirmed { until } | State::Accepted { until } if *until <= now => {
                self.0 = State::Terminated;
                Effects::ENDED
            }
            _ => Effects::NONE,
        }
    }

    /// Whether CANCEL can still change the answer (section 9.2).
    pub(crate) fn cancellable(&self) -> bool {
        matches!(self.0, State::Proceeding { .. })
    }

    /// The next deadline.
    pub(crate) fn next(&self) -> Option<(Instant, TransactionTimer)> {
        match &self.0 {
            State::Proceeding { trying, give_up } => earlier(
                trying.map(|due| (due, TransactionTimer::Trying)),
                Some((*give_up, TransactionTimer::Unanswered)),
            ),
            State::Completed { again, give_up } => earlier(
                again.map(|pace| (pace.due, TransactionTimer::G)),
                Some((*give_up, TransactionTimer::H)),
            ),
            State::Confirmed { until } => Some((*until, TransactionTimer::I)),
            State::Accepted { until } => Some((*until, TransactionTimer::L)),
            State::Terminated => None,
        }
    }
}
