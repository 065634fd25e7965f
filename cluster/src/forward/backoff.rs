//! Pauses between attempts to connect.

use std::time::Duration;

/// Exponential, each pause shortened at random by up to a half, so that the nodes of a cluster do
/// not come back in step.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max,
            next: min,
        }
    }

    /// The next pause. `chance` is between 0 and 1.
    pub(super) fn pause(&mut self, chance: f64) -> Duration {
        let pause = self.next.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 2.0);
        self.next = self.next.saturating_mul(2).min(self.max);
        pause
    }

    /// Something speaks for success: begin with the shortest pause.
    pub(super) fn reset(&mut self) {
        self.next = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_maximum_and_starts_anew() {
        let millis = Duration::from_millis;
        let mut backoff = Backoff::new(millis(50), millis(300));
        let pauses: Vec<_> = (0..5).map(|_| backoff.pause(0.0)).collect();
        assert_eq!(pauses, [50, 100, 200, 300, 300].map(millis));
        assert_eq!(backoff.pause(1.0), millis(150));
        backoff.reset();
        assert_eq!(backoff.pause(0.5), Duration::from_micros(37_500));
    }
}
