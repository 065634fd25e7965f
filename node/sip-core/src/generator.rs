//! Unguessable values from a seed: tags, branches, Call-IDs, jitter.
//!
//! A core may not ask the system for entropy. It gets 16 bytes of it once and stretches them here:
//! SHA-256 over seed and counter. The same seed gives the same conversation, which is what the
//! simulations replay.

use std::fmt;
use std::time::Duration;

use ring::digest;

/// A stream of unguessable bytes from one seed. 24 bytes large, so that every dialog may own one.
#[derive(Clone)]
pub struct Generator {
    seed: [u8; 16],
    counter: u64,
}

impl fmt::Debug for Generator {
    /// The seed tells all later tags, so it is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generator")
            .field("counter", &self.counter)
            .finish_non_exhaustive()
    }
}

impl Generator {
    /// Starts a stream. Whoever knows `seed` knows all its values: take it from the system's entropy.
    #[must_use]
    pub fn new(seed: [u8; 16]) -> Self {
        Self { seed, counter: 0 }
    }

    fn block(&mut self) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&self.seed);
        context.update(&self.counter.to_be_bytes());
        self.counter = self.counter.wrapping_add(1);
        let mut block = [0; 32];
        block.copy_from_slice(context.finish().as_ref());
        block
    }

    /// Eight bytes, what a tag or branch carries (RFC 3261 section 19.3 asks for four or more).
    #[must_use]
    pub fn bytes(&mut self) -> [u8; 8] {
        let [a, b, c, d, e, f, g, h, ..] = self.block();
        [a, b, c, d, e, f, g, h]
    }

    /// A number below 2^64.
    #[must_use]
    pub fn number(&mut self) -> u64 {
        u64::from_be_bytes(self.bytes())
    }

    /// A seed for another generator that says nothing about this one.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        let block = self.block();
        let mut seed = [0; 16];
        seed.copy_from_slice(&block[16..]);
        Self::new(seed)
    }

    /// The first CSeq of a dialog: below 2^16, so that it has room to grow and to jump (RFC 3261
    /// section 8.1.1.5 asks for less than 2^31).
    #[must_use]
    pub fn first_cseq(&mut self) -> u32 {
        (self.number() & 0xffff) as u32 + 1
    }

    /// A span evenly between `low` and `high`, in milliseconds; `low` if the two are the wrong way
    /// round.
    #[must_use]
    pub fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let width = high.saturating_sub(low).as_millis() as u64;
        low + Duration::from_millis(self.number() % width.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_values_and_another_seed_others() {
        let (mut one, mut same, mut other) = (
            Generator::new([1; 16]),
            Generator::new([1; 16]),
            Generator::new([2; 16]),
        );
        let first = one.number();
        assert_eq!(first, same.number());
        assert_ne!(first, other.number());
        assert_ne!(first, one.number());
    }

    #[test]
    fn a_fork_does_not_repeat_its_origin() {
        let mut origin = Generator::new([1; 16]);
        let mut fork = origin.fork();
        assert_ne!(origin.number(), fork.number());
    }

    #[test]
    fn jitter_stays_between_its_bounds() {
        let mut generator = Generator::new([3; 16]);
        let (low, high) = (Duration::from_secs(2), Duration::from_secs(3));
        for _ in 0..1000 {
            let span = generator.between(low, high);
            assert!(low <= span && span <= high, "{span:?}");
        }
        assert_eq!(generator.between(high, low), high);
    }
}
