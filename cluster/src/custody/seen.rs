//! Recognises envelopes that were seen before.

use std::collections::VecDeque;
use std::hash::Hash;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

const WORD: u64 = u64::BITS as u64;

/// Bounds of a [`SeenWindow`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenLimits {
    /// How far behind the highest number of a holder a number is still looked at; whatever is
    /// further behind counts as seen. At least the holders' `CustodyLimits::max_envelopes`.
    /// Rounded up to a multiple of 64; memory per holder is one bit for each.
    pub window: u64,
    /// Most holders remembered; beyond that the ones silent for longest are forgotten, half of
    /// them at once.
    pub max_holders: usize,
    /// A holder is remembered for at least this long after its last envelope (and for twice as
    /// long at most), unless there are too many.
    pub idle: Duration,
}

impl Default for SeenLimits {
    fn default() -> Self {
        Self {
            window: 2048,
            max_holders: 200_000,
            idle: Duration::from_secs(600),
        }
    }
}

/// The verdict about an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Not seen before: process it.
    New,
    /// Seen, or so far behind that it must have been: drop it.
    Duplicate,
}

/// A bounded duplicate filter: for each holder a sliding bitmap of the envelope numbers seen.
///
/// Holders live in two halves. What is touched moves to the young half; when the idle time has
/// passed or the young half is full, the old half is forgotten and the young one becomes old. So
/// every step costs the same, and no list of ages has to be kept.
#[derive(Debug)]
pub struct SeenWindow<H> {
    limits: SeenLimits,
    young: HashMap<H, Bitmap>,
    old: HashMap<H, Bitmap>,
    turn_at: Option<Instant>,
}

impl<H: Hash + Eq> SeenWindow<H> {
    /// An empty filter.
    pub fn new(limits: SeenLimits) -> Self {
        Self {
            limits,
            young: HashMap::new(),
            old: HashMap::new(),
            turn_at: None,
        }
    }

    /// Looks the envelope up and remembers it.
    pub fn observe(&mut self, now: Instant, holder: &H, seq: u64) -> Seen
    where
        H: Clone,
    {
        self.turn(now);
        if let Some(bitmap) = self.young.get_mut(holder) {
            return bitmap.insert(seq, self.limits.window);
        }
        let (holder, mut bitmap) = self
            .old
            .remove_entry(holder)
            .unwrap_or_else(|| (holder.clone(), Bitmap::default()));
        let seen = bitmap.insert(seq, self.limits.window);
        self.young.insert(holder, bitmap);
        seen
    }

    /// Whether the envelope has been seen, without remembering it.
    pub fn contains(&self, holder: &H, seq: u64) -> bool {
        self.young
            .get(holder)
            .or_else(|| self.old.get(holder))
            .is_some_and(|bitmap| bitmap.contains(seq, self.limits.window))
    }

    /// Takes an envelope back, so that the next attempt counts as new: for a receiver that could
    /// not take responsibility after all.
    pub fn forget(&mut self, holder: &H, seq: u64) {
        if let Some(bitmap) = self
            .young
            .get_mut(holder)
            .or_else(|| self.old.get_mut(holder))
        {
            bitmap.remove(seq);
        }
    }

    /// The holder is gone for good; nothing of it will come any more.
    pub fn forget_holder(&mut self, holder: &H) {
        self.young.remove(holder);
        self.old.remove(holder);
    }

    /// How many holders are remembered.
    pub fn holders(&self) -> usize {
        self.young.len() + self.old.len()
    }

    fn turn(&mut self, now: Instant) {
        let at = *self.turn_at.get_or_insert(now + self.limits.idle);
        if now >= at || self.young.len() >= (self.limits.max_holders / 2).max(1) {
            self.old = std::mem::take(&mut self.young);
            if now >= at + self.limits.idle {
                // Nothing was observed for so long that the young half is stale as well.
                self.old.clear();
            }
            self.turn_at = Some(now + self.limits.idle);
        }
    }
}

/// Bits for consecutive words of numbers; grows only as far as numbers were seen.
#[derive(Debug, Default)]
struct Bitmap {
    first_word: u64,
    words: VecDeque<u64>,
}

impl Bitmap {
    fn insert(&mut self, seq: u64, window: u64) -> Seen {
        let word = seq / WORD;
        let span = window.div_ceil(WORD).max(1);
        if self.words.is_empty() {
            self.first_word = word;
            self.words.push_back(0);
        }
        let last = self.first_word + self.words.len() as u64 - 1;
        if word > last {
            if word - last >= span {
                self.words.clear();
                self.first_word = word;
                self.words.push_back(0);
            } else {
                for _ in last..word {
                    self.words.push_back(0);
                }
                // One word more than the span, because the newest one is only partly used.
                while self.words.len() as u64 > span + 1 {
                    self.words.pop_front();
                    self.first_word += 1;
                }
            }
        } else if word < self.first_word {
            if last - word > span {
                return Seen::Duplicate;
            }
            for _ in word..self.first_word {
                self.words.push_front(0);
            }
            self.first_word = word;
        }
        let Some(bits) = self.word_mut(word) else {
            return Seen::Duplicate;
        };
        let bit = 1 << (seq % WORD);
        if *bits & bit != 0 {
            return Seen::Duplicate;
        }
        *bits |= bit;
        Seen::New
    }

    fn contains(&self, seq: u64, window: u64) -> bool {
        let word = seq / WORD;
        if word < self.first_word {
            let last = self.first_word + self.words.len() as u64 - 1;
            return last - word > window.div_ceil(WORD).max(1);
        }
        usize::try_from(word - self.first_word)
            .ok()
            .and_then(|n| self.words.get(n))
            .is_some_and(|bits| bits & (1 << (seq % WORD)) != 0)
    }

    fn remove(&mut self, seq: u64) {
        if let Some(bits) = self.word_mut(seq / WORD) {
            *bits &= !(1 << (seq % WORD));
        }
    }

    fn word_mut(&mut self, word: u64) -> Option<&mut u64> {
        let n = usize::try_from(word.checked_sub(self.first_word)?).ok()?;
        self.words.get_mut(n)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::custody::tests::start;

    fn limits(window: u64, max_holders: usize) -> SeenLimits {
        SeenLimits {
            window,
            max_holders,
            idle: Duration::from_secs(60),
        }
    }

    #[test]
    fn a_jump_clears_the_window_and_old_numbers_count_as_seen() {
        let now = start();
        let mut seen = SeenWindow::new(limits(128, 10));
        assert_eq!(seen.observe(now, &'a', 1), Seen::New);
        assert_eq!(seen.observe(now, &'a', u64::MAX), Seen::New);
        assert_eq!(seen.observe(now, &'a', 2), Seen::Duplicate);
        assert_eq!(seen.observe(now, &'b', 2), Seen::New);
        assert_eq!(seen.observe(now, &'a', u64::MAX), Seen::Duplicate);
        assert_eq!(seen.observe(now, &'a', u64::MAX - 100), Seen::New);
    }

    #[test]
    fn silent_holders_are_forgotten_and_busy_ones_kept() {
        let now = start();
        let step = Duration::from_secs(40);
        let mut seen = SeenWindow::new(limits(128, 10));
        seen.observe(now, &'a', 1);
        seen.observe(now, &'b', 1);
        for n in 1..6 {
            assert_eq!(seen.observe(now + step * n, &'a', 1), Seen::Duplicate);
        }
        assert_eq!(seen.observe(now + step * 6, &'b', 1), Seen::New);
    }

    #[test]
    fn a_taken_back_envelope_is_new_again() {
        let now = start();
        let mut seen = SeenWindow::new(limits(128, 10));
        seen.observe(now, &'a', 7);
        assert!(seen.contains(&'a', 7));
        seen.forget(&'a', 7);
        assert!(!seen.contains(&'a', 7));
        assert_eq!(seen.observe(now, &'a', 7), Seen::New);
    }

    proptest! {
        /// Within the window the filter equals a set, and it never holds more than its bounds.
        #[test]
        fn equals_a_set_within_the_window(steps in prop::collection::vec((0u8..20, 0u64..200), 1..500)) {
            let now = start();
            let mut seen = SeenWindow::new(limits(200, 40));
            let mut model = std::collections::HashSet::new();
            for (holder, seq) in steps {
                prop_assert_eq!(seen.contains(&holder, seq), model.contains(&(holder, seq)));
                let new = seen.observe(now, &holder, seq) == Seen::New;
                prop_assert_eq!(new, model.insert((holder, seq)));
                prop_assert!(seen.holders() <= 40);
            }
        }

        #[test]
        fn memory_is_bounded_by_the_window(seqs in prop::collection::vec(any::<u64>(), 1..200)) {
            let mut bitmap = Bitmap::default();
            for seq in seqs {
                bitmap.insert(seq, 256);
                prop_assert!(bitmap.words.len() <= 256 / 64 + 1);
                prop_assert_eq!(bitmap.insert(seq, 256), Seen::Duplicate);
            }
        }
    }
}
