//! When a connection to a peer is tried.

use std::time::{Duration, Instant};

use crate::generator::Generator;

/// How eagerly a peer is dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiallerConfig {
    /// How long one attempt over all targets may take: finding, connecting, TLS. Default 30 s, so
    /// that timer F of a waiting request is not reached.
    pub attempt_within: Duration,
    /// The pause after the first failure. It doubles with each further one. Default 1 s.
    pub first_pause: Duration,
    /// The longest pause. Default 60 s.
    pub longest_pause: Duration,
    /// How long a connection must hold for its failures to be forgotten. Default 30 s: a peer that
    /// accepts and closes is not dialled in a loop.
    pub stable_after: Duration,
}

impl Default for DiallerConfig {
    fn default() -> Self {
        Self {
            attempt_within: Duration::from_secs(30),
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
            stable_after: Duration::from_secs(30),
        }
    }
}

/// What a dialler is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialInput {
    /// Something wants to go to the peer and no link takes it.
    Wanted,
    /// The connection stands.
    Connected,
    /// The attempt failed at all targets.
    Failed,
    /// The connection is gone, whoever closed it.
    Closed {
        /// Whether a message came over it: then it did what it was for.
        served: bool,
    },
    /// Nothing is waiting any more.
    Unwanted,
}

/// What a dialler wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialOutput {
    /// Start an attempt.
    Dial,
    /// The attempt took too long: stop it.
    Abandon,
    /// What waits is to be refused now: there will be no attempt before this instant.
    Refuse(Instant),
}

/// Why a dialler wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DialTimer {
    /// The attempt takes too long.
    Attempt,
    /// The connection has held: failures are forgotten.
    Stable,
    /// The pause is over.
    Pause,
}

/// Dials one hop of one peer when it is wanted: a connection that a peer closed while it was idle is
/// not restored for its own sake.
#[derive(Debug)]
pub struct Dialler {
    config: DiallerConfig,
    random: Generator,
    state: State,
    failures: u32,
    output: Option<DialOutput>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing is wanted.
    Idle,
    /// An attempt runs.
    Dialling { until: Instant },
    /// The connection stands; from an instant on it counts as stable.
    Up { stable_at: Option<Instant> },
    /// After a failure. Who wants something now is refused, so that senders hear it at once.
    Pausing { until: Instant },
}

impl Dialler {
    /// One that has not dialled yet.
    #[must_use]
    pub fn new(config: DiallerConfig, random: Generator) -> Self {
        Self {
            config,
            random,
            state: State::Idle,
            failures: 0,
            output: None,
        }
    }

    /// Takes an input.
    pub fn handle_input(&mut self, now: Instant, input: DialInput) {
        self.handle_timeout(now);
        match (self.state, input) {
            (State::Idle, DialInput::Wanted) => self.dial(now),
            // The link that stands did not take it (it is closing, or full): that is the pool's
            // matter. One that is being dialled will.
            (State::Up { .. } | State::Dialling { .. }, DialInput::Wanted) => {}
            (State::Pausing { until }, DialInput::Wanted) => {
                self.output = Some(DialOutput::Refuse(until));
            }
            (State::Dialling { .. }, DialInput::Connected) => {
                let stable_at = Some(now + self.config.stable_after);
                self.state = State::Up { stable_at };
            }
            (State::Dialling { .. }, DialInput::Failed | DialInput::Closed { .. }) => {
                self.pause(now);
            }
            (State::Dialling { .. }, DialInput::Unwanted) => {
                self.output = Some(DialOutput::Abandon);
                self.state = State::Idle;
            }
            (State::Up { stable_at: None }, DialInput::Closed { .. })
            | (State::Up { .. }, DialInput::Closed { served: true }) => self.state = State::Idle,
            (State::Up { .. }, DialInput::Closed { served: false }) => {
                // It did not hold: as good as a failure.
                self.pause(now);
                self.output = None;
            }
            _ => {}
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some((timer, _)) = self.poll_timeout().filter(|(_, deadline)| *deadline <= now) else {
            return;
        };
        match timer {
            DialTimer::Attempt => {
                self.pause(now);
                self.output = Some(DialOutput::Abandon);
            }
            DialTimer::Stable => {
                self.failures = 0;
                self.state = State::Up { stable_at: None };
            }
            DialTimer::Pause => self.state = State::Idle,
        }
    }

    /// When to wake, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(DialTimer, Instant)> {
        match self.state {
            State::Idle => None,
            State::Dialling { until } => Some((DialTimer::Attempt, until)),
            State::Up { stable_at } => Some((DialTimer::Stable, stable_at?)),
            State::Pausing { until } => Some((DialTimer::Pause, until)),
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<DialOutput> {
        self.output.take()
    }

    /// Failures in a row, for operators.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    fn dial(&mut self, now: Instant) {
        self.state = State::Dialling {
            until: now + self.config.attempt_within,
        };
        self.output = Some(DialOutput::Dial);
    }

    /// Doubles, and is up to a quarter longer by chance, so that the nodes of a cluster do not come
    /// back to a restarted peer in step.
    fn pause(&mut self, now: Instant) {
        let doubled = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        let pause = self
            .config
            .first_pause
            .saturating_mul(doubled)
            .min(self.config.longest_pause);
        let until = now + self.random.between(pause, pause.mul_f32(1.25));
        self.failures = self.failures.saturating_add(1);
        self.state = State::Pausing { until };
        self.output = Some(DialOutput::Refuse(until));
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{DialInput, DialOutput, DialTimer, Dialler, DiallerConfig};
    use crate::generator::Generator;

    const SECOND: Duration = Duration::from_secs(1);

    #[expect(clippy::disallowed_methods, reason = "an instant to count from")]
    fn dialler() -> (Dialler, Instant) {
        let dialler = Dialler::new(DiallerConfig::default(), Generator::new([3; 16]));
        (dialler, Instant::now())
    }

    fn tell(dialler: &mut Dialler, now: Instant, input: DialInput) -> Option<DialOutput> {
        dialler.handle_input(now, input);
        dialler.poll_output()
    }

    /// Fails an attempt; says how long the pause is.
    fn fail(dialler: &mut Dialler, now: Instant) -> Duration {
        assert_eq!(
            tell(dialler, now, DialInput::Wanted),
            Some(DialOutput::Dial)
        );
        match tell(dialler, now, DialInput::Failed) {
            Some(DialOutput::Refuse(until)) => until - now,
            other => panic!("no pause: {other:?}"),
        }
    }

    #[test]
    fn it_dials_when_wanted_and_once() {
        let (mut dialler, now) = dialler();
        assert_eq!(dialler.poll_timeout(), None);
        assert_eq!(
            tell(&mut dialler, now, DialInput::Wanted),
            Some(DialOutput::Dial)
        );
        assert_eq!(tell(&mut dialler, now, DialInput::Wanted), None);
        assert_eq!(tell(&mut dialler, now, DialInput::Connected), None);
        assert_eq!(tell(&mut dialler, now, DialInput::Wanted), None);
    }

    #[test]
    fn an_idle_link_that_the_peer_closed_is_restored_only_when_wanted() {
        let (mut dialler, now) = dialler();
        tell(&mut dialler, now, DialInput::Wanted);
        tell(&mut dialler, now, DialInput::Connected);
        let later = now + 600 * SECOND;
        assert_eq!(
            tell(&mut dialler, later, DialInput::Closed { served: false }),
            None
        );
        assert_eq!(dialler.poll_timeout(), None);
        assert_eq!(
            tell(&mut dialler, later, DialInput::Wanted),
            Some(DialOutput::Dial)
        );
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_refuse_meanwhile() {
        let (mut dialler, mut now) = dialler();
        for expected in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            let pause = fail(&mut dialler, now);
            let least = expected * SECOND;
            assert!(
                (least..=least + least / 4 + SECOND / 100).contains(&pause),
                "{pause:?} for {expected}"
            );
            let refused = tell(&mut dialler, now + SECOND / 2, DialInput::Wanted);
            assert_eq!(refused, Some(DialOutput::Refuse(now + pause)));
            assert_eq!(
                dialler.poll_timeout(),
                Some((DialTimer::Pause, now + pause))
            );
            now += pause;
        }
        assert_eq!(dialler.failures(), 9);
    }

    #[test]
    fn failures_are_forgotten_once_a_connection_has_held() {
        let (mut dialler, mut now) = dialler();
        for _ in 0..5 {
            now += fail(&mut dialler, now);
        }
        tell(&mut dialler, now, DialInput::Wanted);
        tell(&mut dialler, now, DialInput::Connected);
        assert_eq!(
            dialler.poll_timeout(),
            Some((DialTimer::Stable, now + 30 * SECOND))
        );
        dialler.handle_timeout(now + 30 * SECOND);
        assert_eq!(dialler.failures(), 0);
        tell(
            &mut dialler,
            now + 31 * SECOND,
            DialInput::Closed { served: false },
        );
        assert!(fail(&mut dialler, now + 32 * SECOND) < 2 * SECOND);
    }

    #[test]
    fn a_peer_that_accepts_and_closes_is_not_dialled_in_a_loop() {
        let (mut dialler, mut now) = dialler();
        for expected in [1, 2, 4] {
            assert_eq!(
                tell(&mut dialler, now, DialInput::Wanted),
                Some(DialOutput::Dial)
            );
            tell(&mut dialler, now, DialInput::Connected);
            let closed = DialInput::Closed { served: false };
            assert_eq!(tell(&mut dialler, now, closed), None);
            let (timer, until) = dialler.poll_timeout().unwrap();
            assert_eq!(timer, DialTimer::Pause);
            assert!(until - now >= expected * SECOND);
            now = until;
        }
    }

    #[test]
    fn a_peer_that_closes_after_each_exchange_is_dialled_again_at_once() {
        let (mut dialler, now) = dialler();
        for _ in 0..3 {
            assert_eq!(
                tell(&mut dialler, now, DialInput::Wanted),
                Some(DialOutput::Dial)
            );
            tell(&mut dialler, now, DialInput::Connected);
            assert_eq!(
                tell(&mut dialler, now, DialInput::Closed { served: true }),
                None
            );
        }
    }

    #[test]
    fn an_attempt_that_takes_too_long_is_abandoned() {
        let (mut dialler, now) = dialler();
        tell(&mut dialler, now, DialInput::Wanted);
        assert_eq!(
            dialler.poll_timeout(),
            Some((DialTimer::Attempt, now + 30 * SECOND))
        );
        dialler.handle_timeout(now + 30 * SECOND);
        assert_eq!(dialler.poll_output(), Some(DialOutput::Abandon));
        assert_eq!(dialler.poll_timeout().unwrap().0, DialTimer::Pause);
        // Its late success is no news.
        assert_eq!(
            tell(&mut dialler, now + 30 * SECOND, DialInput::Connected),
            None
        );
        assert_eq!(dialler.poll_timeout().unwrap().0, DialTimer::Pause);
    }

    #[test]
    fn an_attempt_that_nobody_waits_for_is_abandoned() {
        let (mut dialler, now) = dialler();
        tell(&mut dialler, now, DialInput::Wanted);
        assert_eq!(
            tell(&mut dialler, now, DialInput::Unwanted),
            Some(DialOutput::Abandon)
        );
        assert_eq!(
            tell(&mut dialler, now, DialInput::Wanted),
            Some(DialOutput::Dial)
        );
    }
}
