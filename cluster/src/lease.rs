//! Leases: which nodes can still write to the store, and whether the local node may answer for
//! what it accepts.
//!
//! Every node writes a growing counter into its row of the store each second. The store's quorum
//! is the witness in a partition: only the side that can write renews. Observers compare a node's
//! last change with the *newest* change, never with the clock, so when nobody can renew (an
//! election, a stalled disk) nobody becomes stale.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::node_id::NodeId;

/// One row of the lease table in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRow {
    /// Whose lease it is.
    pub node: NodeId,
    /// Which life of the node wrote it.
    pub generation: u64,
    /// Grows with every renewal.
    pub counter: u64,
}

/// What the table says about one life of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lease {
    /// No lease of this generation has been seen.
    Absent,
    /// The lease was renewed about as lately as the newest one.
    Fresh,
    /// Others have renewed for longer than the time to live while this lease did not change.
    Stale,
}

#[derive(Debug, Clone)]
struct Entry {
    generation: u64,
    counter: u64,
    /// When it last changed, in lease time.
    changed: Duration,
    stale: bool,
}

/// Judges leases relative to the newest one.
///
/// It keeps its own *lease time*, which runs only while renewals arrive: a gap between two changes
/// (of whichever rows) counts for at most [`LeaseTable::longest_step`]. Without that, the first
/// renewal after an election of 5 s would make every other node stale at once. The rule costs
/// detection time only when the death itself stops all renewals (the store's leader died).
#[derive(Debug, Clone)]
pub struct LeaseTable {
    ttl: Duration,
    longest_step: Duration,
    time: Duration,
    newest: Option<Instant>,
    entries: BTreeMap<NodeId, Entry>,
}

impl LeaseTable {
    /// The time to live that the cluster is designed for.
    pub const TTL: Duration = Duration::from_secs(4);
    /// Bound on rows: far above any real cluster; what exceeds it is not judged.
    pub const MAX_ROWS: usize = 1024;

    /// A table in which a lease is stale when it lags the newest by more than `ttl`.
    #[must_use]
    pub fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            // After a gap the others need a period and a retry (2.5 s of the 4 s) to follow the
            // first who renews.
            longest_step: ttl * 3 / 8,
            time: Duration::ZERO,
            newest: None,
            entries: BTreeMap::new(),
        }
    }

    /// By how much one gap without any renewal may age a lease: 3/8 of the time to live.
    #[must_use]
    pub fn longest_step(&self) -> Duration {
        self.longest_step
    }

    /// Takes in one row as read now. Prefer [`LeaseTable::observe_all`], which judges all rows of
    /// one reading together.
    pub fn observe(&mut self, now: Instant, node: &NodeId, generation: u64, counter: u64) {
        self.take(now, node, generation, counter);
        if let Some(entry) = self.entries.get_mut(node) {
            entry.stale = self.time.saturating_sub(entry.changed) > self.ttl;
        }
    }

    /// Takes in the whole table as read now. A row that is missing is one that did not change.
    pub fn observe_all(&mut self, now: Instant, rows: &[LeaseRow]) {
        for row in rows {
            self.take(now, &row.node, row.generation, row.counter);
        }
        for entry in self.entries.values_mut() {
            entry.stale = self.time.saturating_sub(entry.changed) > self.ttl;
        }
    }

    /// What the table says about this life of a node, as of the last reading.
    #[must_use]
    pub fn lease(&self, node: &NodeId, generation: u64) -> Lease {
        match self.entries.get(node) {
            Some(entry) if entry.generation == generation => {
                if entry.stale {
                    Lease::Stale
                } else {
                    Lease::Fresh
                }
            }
            // A newer life holds the lease: this one is history.
            Some(entry) if entry.generation > generation => Lease::Stale,
            Some(_) | None => Lease::Absent,
        }
    }

    /// Every lease seen, with its verdict, sorted by node.
    pub fn judge(&self) -> impl Iterator<Item = (&NodeId, u64, Lease)> {
        self.entries.iter().map(|(node, entry)| {
            let lease = if entry.stale {
                Lease::Stale
            } else {
                Lease::Fresh
            };
            (node, entry.generation, lease)
        })
    }

    /// Forgets a node that has been removed from the cluster.
    pub fn forget(&mut self, node: &NodeId) {
        self.entries.remove(node);
    }

    fn take(&mut self, now: Instant, node: &NodeId, generation: u64, counter: u64) {
        let known = self.entries.get(node);
        // An old life's late row, and a counter read from a replica that lags, are no renewals.
        if known.is_some_and(|k| (generation, counter) <= (k.generation, k.counter)) {
            return;
        }
        if known.is_none() && self.entries.len() >= Self::MAX_ROWS {
            return;
        }
        let first = known.is_none();
        // The first sight of a row says nothing about when it was written. It counts as a change
        // of its own, so a dead node's old row takes the time to live to be found out, but it does
        // not move lease time for the others.
        if !first {
            if let Some(newest) = self.newest {
                let gap = now.saturating_duration_since(newest);
                self.time += gap.min(self.longest_step);
            }
            self.newest = Some(self.newest.map_or(now, |newest| newest.max(now)));
        }
        let entry = Entry {
            generation,
            counter,
            changed: self.time,
            stale: false,
        };
        self.entries.insert(node.clone(), entry);
    }
}

/// The limits of a [`Fence`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FenceTimes {
    /// So long after its last renewal the node may acknowledge. Must not exceed the time to live
    /// by which the others judge its lease, or two homes could both acknowledge.
    pub ack: Duration,
    /// So long after its last renewal the node closes its listeners and streams.
    pub close: Duration,
}

impl Default for FenceTimes {
    fn default() -> Self {
        Self {
            ack: Duration::from_secs(4),
            close: Duration::from_secs(8),
        }
    }
}

/// Whether the local node may still answer for what it accepts.
///
/// Checked on the path of every acknowledgement, with the clock read there and then: a node that
/// was paused finds out with its first acknowledgement, before any timer runs. One relaxed load.
#[derive(Debug)]
pub struct Fence {
    epoch: Instant,
    times: FenceTimes,
    /// Milliseconds from the epoch to the start of the last successful renewal, plus one; zero
    /// before the first.
    renewed: AtomicU64,
}

impl Fence {
    /// A closed fence: it opens with the first renewal. `epoch` is any moment before that, such as
    /// the start of the process.
    #[must_use]
    pub fn new(epoch: Instant, times: FenceTimes) -> Self {
        Self {
            epoch,
            times,
            renewed: AtomicU64::new(0),
        }
    }

    /// The lease was renewed. `started_at` is when the write was *sent*, not when it returned:
    /// others may have seen it that early. Late answers of earlier writes change nothing.
    pub fn renewed(&self, started_at: Instant) {
        let millis = self.millis(started_at).saturating_add(1);
        self.renewed.fetch_max(millis, Ordering::Relaxed);
    }

    /// Closes the fence at once, until the next renewal.
    pub fn revoke(&self) {
        self.renewed.store(0, Ordering::Relaxed);
    }

    /// Whether an acknowledgement may go out now.
    #[must_use]
    pub fn may_ack(&self, now: Instant) -> bool {
        self.age(now).is_some_and(|age| age < self.times.ack)
    }

    /// Whether listeners and streams must be closed now. True before the first renewal.
    #[must_use]
    pub fn must_close(&self, now: Instant) -> bool {
        self.age(now).is_none_or(|age| age >= self.times.close)
    }

    /// Time since the start of the last successful renewal; none before the first.
    #[must_use]
    pub fn age(&self, now: Instant) -> Option<Duration> {
        let renewed = self.renewed.load(Ordering::Relaxed).checked_sub(1)?;
        // Rounded up by a millisecond, because the stored moment was rounded down.
        let age = self.millis(now).saturating_sub(renewed).saturating_add(1);
        Some(Duration::from_millis(age))
    }

    /// The limits.
    #[must_use]
    pub fn times(&self) -> FenceTimes {
        self.times
    }

    fn millis(&self, moment: Instant) -> u64 {
        let elapsed = moment.saturating_duration_since(self.epoch);
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn node(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    fn row(name: &str, counter: u64) -> LeaseRow {
        LeaseRow {
            node: node(name),
            generation: 1,
            counter,
        }
    }

    /// Reads the table every `period` for `steps` times; `counters` gives each node's counter at a
    /// step. Returns the first step at which each node was stale.
    fn first_stale<const N: usize>(
        period: Duration,
        steps: u32,
        counters: [(&str, &dyn Fn(u32) -> u64); N],
    ) -> [Option<u32>; N] {
        let start = Instant::now();
        let mut table = LeaseTable::new(LeaseTable::TTL);
        let mut first = [None; N];
        for step in 0..steps {
            let rows: Vec<_> = counters.iter().map(|(n, c)| row(n, c(step))).collect();
            table.observe_all(start + period * step, &rows);
            for (slot, (name, _)) in first.iter_mut().zip(&counters) {
                if slot.is_none() && table.lease(&node(name), 1) == Lease::Stale {
                    *slot = Some(step);
                }
            }
        }
        first
    }

    fn always(step: u32) -> u64 {
        u64::from(step)
    }

    #[test]
    fn a_lease_that_stops_is_stale_once_the_others_are_more_than_the_ttl_ahead() {
        let stops = |step: u32| u64::from(step.min(10));
        let first = first_stale(SECOND, 30, [("a", &always), ("b", &stops), ("c", &always)]);
        // Its last change was at 10 s; at 14 s it lags by exactly the ttl, at 15 s by more.
        assert_eq!(first, [None, Some(15), None]);
    }

    #[test]
    fn when_nobody_renews_nobody_is_stale_and_resuming_one_after_the_other_is_fine() {
        for gap in [3, 10, 600] {
            let a = move |step: u32| {
                u64::from(if step < 20 {
                    step
                } else {
                    20 + step.saturating_sub(20 + gap * 2)
                })
            };
            // The second and third follow half a second and a second later.
            let b = move |step: u32| a(step.saturating_sub(1));
            let c = move |step: u32| a(step.saturating_sub(2));
            let first = first_stale(SECOND / 2, 80 + gap * 2, [("a", &a), ("b", &b), ("c", &c)]);
            assert_eq!(first, [None; 3], "gap of {gap} s");
        }
    }

    #[test]
    fn the_death_of_who_held_up_all_renewals_is_found_after_the_gap() {
        // The leader dies at 10 s, the others renew again from 13 s on.
        let others = |step: u32| u64::from(if step <= 10 { step } else { 10.max(step - 3) });
        let leader = |step: u32| u64::from(step.min(10));
        let first = first_stale(SECOND, 40, [("a", &others), ("b", &leader), ("c", &others)]);
        assert_eq!(first[0], None);
        assert_eq!(first[2], None);
        let found = first[1].unwrap();
        assert!((15..=18).contains(&found), "{found}");
    }

    #[test]
    fn a_row_that_disappears_goes_stale_like_one_that_stops() {
        let start = Instant::now();
        let mut table = LeaseTable::new(LeaseTable::TTL);
        table.observe_all(start, &[row("a", 1), row("b", 1)]);
        for second in 1..=6_u32 {
            table.observe_all(start + SECOND * second, &[row("a", 1 + u64::from(second))]);
        }
        assert_eq!(table.lease(&node("b"), 1), Lease::Stale);
        assert_eq!(table.lease(&node("a"), 1), Lease::Fresh);
    }

    #[test]
    fn rows_read_one_by_one_are_not_stale_before_their_own_turn() {
        let start = Instant::now();
        let mut table = LeaseTable::new(LeaseTable::TTL);
        for second in [0, 1, 7, 13] {
            // A reader that stalls for six seconds between rounds.
            for (offset, name) in ["a", "b", "c"].iter().enumerate() {
                let now = start + SECOND * second + Duration::from_millis(offset as u64);
                table.observe(now, &node(name), 1, u64::from(second) + 1);
                for (_, _, lease) in table.judge() {
                    assert_eq!(lease, Lease::Fresh, "{name} at {second} s");
                }
            }
        }
    }

    #[test]
    fn generations_are_judged_apart() {
        let start = Instant::now();
        let mut table = LeaseTable::new(LeaseTable::TTL);
        table.observe(start, &node("a"), 5, 100);
        assert_eq!(table.lease(&node("a"), 4), Lease::Stale);
        assert_eq!(table.lease(&node("a"), 5), Lease::Fresh);
        assert_eq!(table.lease(&node("a"), 6), Lease::Absent);
        assert_eq!(table.lease(&node("b"), 1), Lease::Absent);
        // A new life starts counting at one; a late row of the old life changes nothing.
        table.observe(start, &node("a"), 6, 1);
        table.observe(start, &node("a"), 5, 101);
        assert_eq!(table.lease(&node("a"), 6), Lease::Fresh);
        assert_eq!(table.lease(&node("a"), 5), Lease::Stale);
    }

    #[test]
    fn rows_are_bounded() {
        let start = Instant::now();
        let mut table = LeaseTable::new(LeaseTable::TTL);
        for n in 0..LeaseTable::MAX_ROWS + 10 {
            table.observe(start, &node(&format!("n{n}")), 1, 1);
        }
        assert_eq!(table.judge().count(), LeaseTable::MAX_ROWS);
        table.forget(&node("n0"));
        assert_eq!(table.judge().count(), LeaseTable::MAX_ROWS - 1);
    }

    #[test]
    fn the_fence_opens_with_a_renewal_and_closes_in_two_steps() {
        let epoch = Instant::now();
        let fence = Fence::new(epoch, FenceTimes::default());
        assert!(!fence.may_ack(epoch) && fence.must_close(epoch));
        let sent = epoch + SECOND;
        fence.renewed(sent);
        let table = [
            (0, true, false),
            (3_990, true, false),
            (4_000, false, false),
            (7_990, false, false),
            (8_000, false, true),
        ];
        for (millis, ack, close) in table {
            let now = sent + Duration::from_millis(millis);
            assert_eq!(
                (fence.may_ack(now), fence.must_close(now)),
                (ack, close),
                "{millis} ms"
            );
        }
        // An answer to an earlier write that comes late does not set the clock back.
        fence.renewed(epoch);
        assert!(fence.may_ack(sent + Duration::from_millis(3_990)));
        fence.revoke();
        assert!(!fence.may_ack(sent) && fence.must_close(sent));
    }

    /// The safety argument in one test: the fence closes before any observer can call the lease
    /// stale, whatever the delays of writes and readings.
    #[test]
    fn the_fence_closes_before_anybody_calls_the_lease_stale() {
        for seed in 0..200_u64 {
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut below = |limit: u64| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random % limit
            };
            let start = Instant::now();
            let fence = Fence::new(start, FenceTimes::default());
            let mut table = LeaseTable::new(LeaseTable::TTL);
            let (mut a, mut b) = (1, 1);
            let mut now = start;
            let stops_after = below(20);
            let mut stale_seen = false;
            for round in 0..60 {
                now += Duration::from_millis(100 + below(1_500));
                b += 1;
                if round < stops_after {
                    fence.renewed(now);
                    a += 1;
                }
                let read = now + Duration::from_millis(below(90));
                table.observe_all(read, &[row("a", a), row("b", b)]);
                if table.lease(&node("a"), 1) == Lease::Stale {
                    stale_seen = true;
                    assert!(!fence.may_ack(read), "seed {seed}, round {round}");
                }
            }
            assert!(stale_seen, "seed {seed}");
        }
    }
}
