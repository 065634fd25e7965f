//! What became of each message.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use entente_load::histogram::Histogram;
use tokio::time::Instant;

/// Seconds for which the timeline is kept.
const TIMELINE: usize = 86_400;

/// One account for all messages of a run; shared by all clients.
pub(crate) struct Ledger {
    run: String,
    begin: Instant,
    inner: Mutex<Inner>,
}

#[derive(Clone, Default)]
struct Entry {
    sent: Option<Instant>,
    acked: bool,
    bounced: bool,
    offline: bool,
    deliveries: u32,
}

struct Inner {
    entries: Vec<Entry>,
    pairs: Vec<PairState>,
    last_delivery: Option<Instant>,
    longest_gap: Duration,
    longest_pair_gap: Duration,
    offline_phase: bool,
    sums: Sums,
    latency: Histogram,
    timeline: Vec<Second>,
}

#[derive(Clone, Default)]
struct PairState {
    highest: Option<u64>,
    last_delivery: Option<Instant>,
}

/// The sums of the account.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub(crate) struct Sums {
    /// Messages written to a server at least once.
    pub(crate) sent: u64,
    /// Acked by the sender's server.
    pub(crate) acked: u64,
    /// Delivered at least once.
    pub(crate) delivered: u64,
    /// Of these: found only after the final login, in offline storage.
    pub(crate) offline: u64,
    /// Deliveries beyond the first of each message.
    pub(crate) duplicates: u64,
    /// Came back to the sender as an error.
    pub(crate) bounced: u64,
    /// Delivered and bounced, both.
    pub(crate) delivered_and_bounced: u64,
    /// First deliveries that came after a later message of the same pair.
    pub(crate) reordered: u64,
    /// Messages of other runs, or unreadable ids.
    pub(crate) foreign: u64,
}

/// What happened in one second.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub(crate) struct Second {
    pub(crate) sent: u32,
    pub(crate) acked: u32,
    pub(crate) delivered: u32,
    pub(crate) bounced: u32,
}

/// The account as it stands at the end.
pub(crate) struct Statement {
    pub(crate) sums: Sums,
    pub(crate) lost: Vec<u64>,
    pub(crate) undelivered_unacked: u64,
    pub(crate) longest_gap: Duration,
    pub(crate) longest_pair_gap: Duration,
    pub(crate) latency: Histogram,
    pub(crate) timeline: Vec<Second>,
}

impl Ledger {
    pub(crate) fn new(messages: u64, pairs: u64, begin: Instant) -> Self {
        Self {
            run: format!("{:08x}", rand::random::<u32>()),
            begin,
            inner: Mutex::new(Inner {
                entries: vec![Entry::default(); messages as usize],
                pairs: vec![PairState::default(); pairs as usize],
                last_delivery: None,
                longest_gap: Duration::ZERO,
                longest_pair_gap: Duration::ZERO,
                offline_phase: false,
                sums: Sums::default(),
                latency: Histogram::default(),
                timeline: Vec::new(),
            }),
        }
    }

    /// The stanza id of a message.
    pub(crate) fn id(&self, number: u64) -> String {
        format!("{}-{number}", self.run)
    }

    fn number(&self, id: Option<&str>) -> Option<u64> {
        id?.strip_prefix(&self.run)?.strip_prefix('-')?.parse().ok()
    }

    /// The message was handed to a connection.
    pub(crate) fn sent(&self, number: u64, now: Instant) {
        let mut inner = self.lock();
        let entry = &mut inner.entries[number as usize];
        if entry.sent.is_none() {
            entry.sent = Some(now);
            inner.sums.sent += 1;
            self.second(&mut inner, now).sent += 1;
        }
    }

    /// The sender's server acked these.
    pub(crate) fn acked(&self, numbers: &[u64], now: Instant) {
        if numbers.is_empty() {
            return;
        }
        let mut inner = self.lock();
        for &number in numbers {
            let entry = &mut inner.entries[number as usize];
            if !entry.acked {
                entry.acked = true;
                inner.sums.acked += 1;
                self.second(&mut inner, now).acked += 1;
            }
        }
    }

    /// A message with this id reached its receiver.
    pub(crate) fn delivered(&self, id: Option<&str>, now: Instant) {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let entry = self
            .number(id)
            .and_then(|n| Some((n, inner.entries.get_mut(n as usize)?)));
        let Some((number, entry)) = entry else {
            inner.sums.foreign += 1;
            return;
        };
        entry.deliveries += 1;
        if entry.deliveries > 1 {
            inner.sums.duplicates += 1;
            return;
        }
        inner.sums.delivered += 1;
        inner.sums.delivered_and_bounced += u64::from(entry.bounced);
        if inner.offline_phase {
            entry.offline = true;
            inner.sums.offline += 1;
            return;
        }
        if let Some(sent) = entry.sent {
            inner.latency.record(now - sent);
        }
        let pairs = inner.pairs.len();
        let pair = &mut inner.pairs[number as usize % pairs];
        if pair.highest.is_some_and(|highest| highest > number) {
            inner.sums.reordered += 1;
        }
        pair.highest = pair.highest.max(Some(number));
        if let Some(last) = pair.last_delivery.replace(now) {
            inner.longest_pair_gap = inner.longest_pair_gap.max(now - last);
        }
        let last = inner.last_delivery.replace(now).unwrap_or(self.begin);
        inner.longest_gap = inner.longest_gap.max(now - last);
        self.second(inner, now).delivered += 1;
    }

    /// A message with this id came back as an error.
    pub(crate) fn bounced(&self, id: Option<&str>, now: Instant) {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let entry = self
            .number(id)
            .and_then(|n| inner.entries.get_mut(n as usize));
        let Some(entry) = entry else {
            inner.sums.foreign += 1;
            return;
        };
        if !entry.bounced {
            entry.bounced = true;
            inner.sums.bounced += 1;
            inner.sums.delivered_and_bounced += u64::from(entry.deliveries > 0);
            self.second(inner, now).bounced += 1;
        }
    }

    /// From now on deliveries come from offline storage: they count, but not for gaps and latency.
    pub(crate) fn begin_offline(&self) {
        self.lock().offline_phase = true;
    }

    /// Whether every message of the plan is acked, and delivered or bounced.
    pub(crate) fn complete(&self) -> bool {
        let inner = self.lock();
        let sums = &inner.sums;
        let planned = inner.entries.len() as u64;
        sums.acked == planned
            && sums.delivered + sums.bounced - sums.delivered_and_bounced == planned
    }

    /// A line of progress.
    pub(crate) fn line(&self) -> String {
        let sums = self.lock().sums;
        format!(
            "sent {} acked {} delivered {} duplicates {} bounced {}",
            sums.sent, sums.acked, sums.delivered, sums.duplicates, sums.bounced
        )
    }

    /// Closes the account. `sending_ended`: silence until then counts as a gap if something is
    /// missing.
    pub(crate) fn statement(&self, sending_ended: Instant) -> Statement {
        let inner = self.lock();
        let arrived = |e: &Entry| e.deliveries > 0 || e.bounced;
        let lost: Vec<u64> = (0..)
            .zip(&inner.entries)
            .filter(|(_, e)| e.acked && !arrived(e))
            .map(|(number, _)| number)
            .collect();
        let missing = inner.entries.iter().any(|e| e.deliveries == 0 || e.offline);
        let silence = |last: Option<Instant>| {
            if missing {
                sending_ended.saturating_duration_since(last.unwrap_or(self.begin))
            } else {
                Duration::ZERO
            }
        };
        let pair_silence = inner.pairs.iter().map(|p| silence(p.last_delivery)).max();
        Statement {
            sums: inner.sums,
            undelivered_unacked: inner
                .entries
                .iter()
                .filter(|e| !e.acked && !arrived(e))
                .count() as u64,
            lost,
            longest_gap: inner.longest_gap.max(silence(inner.last_delivery)),
            longest_pair_gap: inner.longest_pair_gap.max(pair_silence.unwrap_or_default()),
            latency: inner.latency.clone(),
            timeline: inner.timeline.clone(),
        }
    }

    fn second<'a>(&self, inner: &'a mut Inner, now: Instant) -> &'a mut Second {
        let second = (now - self.begin).as_secs() as usize;
        let second = second.min(TIMELINE);
        if inner.timeline.len() <= second {
            inner.timeline.resize(second + 1, Second::default());
        }
        &mut inner.timeline[second]
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(messages: u64) -> (Ledger, Instant) {
        let begin = Instant::now();
        (Ledger::new(messages, 2, begin), begin)
    }

    #[test]
    fn lost_is_acked_and_neither_delivered_nor_bounced() {
        let (ledger, t) = ledger(4);
        for number in 0..4 {
            ledger.sent(number, t);
        }
        ledger.acked(&[0, 1, 2], t);
        ledger.delivered(Some(&ledger.id(0)), t);
        ledger.bounced(Some(&ledger.id(1)), t);
        let statement = ledger.statement(t);
        assert_eq!(statement.lost, [2]);
        assert_eq!(statement.undelivered_unacked, 1);
        assert!(!ledger.complete());
    }

    #[test]
    fn found_in_offline_storage_is_not_lost() {
        let (ledger, t) = ledger(1);
        ledger.sent(0, t);
        ledger.acked(&[0], t);
        ledger.begin_offline();
        ledger.delivered(Some(&ledger.id(0)), t);
        let statement = ledger.statement(t + Duration::from_secs(3));
        assert!(statement.lost.is_empty());
        assert_eq!(statement.sums.offline, 1);
        assert_eq!(statement.longest_gap, Duration::from_secs(3));
        assert!(ledger.complete());
    }

    #[test]
    fn duplicates_order_gaps_and_strangers() {
        let (ledger, t) = ledger(6);
        let at = |ms| t + Duration::from_millis(ms);
        for number in 0..6 {
            ledger.sent(number, t);
        }
        for (number, ms) in [
            (0, 1),
            (1, 2),
            (4, 500),
            (2, 501),
            (2, 502),
            (3, 503),
            (5, 504),
        ] {
            ledger.delivered(Some(&ledger.id(number)), at(ms));
        }
        ledger.delivered(Some("other-1"), at(505));
        ledger.delivered(Some(&ledger.id(99)), at(505));
        let statement = ledger.statement(at(10_000));
        assert_eq!(statement.sums.duplicates, 1);
        assert_eq!(statement.sums.reordered, 1);
        assert_eq!(statement.sums.foreign, 2);
        assert_eq!(statement.longest_gap, Duration::from_millis(498));
        assert_eq!(statement.longest_pair_gap, Duration::from_millis(501));
    }
}
