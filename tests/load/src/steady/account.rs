//! The report of a steady run.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;

use serde::Serialize;

use super::Shared;
use super::ledger::{Second, Sums};
use crate::options::SteadyArgs;
use crate::report::{Outcome, millis, rounded};

/// What became of all messages.
#[derive(Debug, Serialize)]
pub(crate) struct SteadyReport {
    rate: f64,
    seconds: f64,
    senders: u32,
    planned: u64,
    #[serde(flatten)]
    sums: Sums,
    /// Acked, and neither delivered, bounced nor in offline storage.
    lost: u64,
    /// Ids of lost messages, the first ones.
    lost_ids: Vec<String>,
    /// Never acked and never seen again: no promise was broken.
    unacked_undelivered: u64,
    longest_gap_ms: f64,
    /// The longest silence between two messages of one pair.
    longest_pair_gap_ms: f64,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    connection_breaks: u64,
    resumed: u64,
    bound_anew: u64,
    failed_attempts: u64,
    resent: u64,
    /// For each second since the begin.
    timeline: Vec<Second>,
}

impl SteadyReport {
    pub(super) fn new(shared: &Shared, args: &SteadyArgs) -> Self {
        let statement = shared.ledger.statement(shared.plan.end());
        let counters = &shared.counters;
        let latency = &statement.latency;
        Self {
            rate: args.rate,
            seconds: args.seconds,
            senders: args.senders,
            planned: shared.plan.messages,
            sums: statement.sums,
            lost: statement.lost.len() as u64,
            lost_ids: statement
                .lost
                .iter()
                .take(args.list)
                .map(|&number| shared.ledger.id(number))
                .collect(),
            unacked_undelivered: statement.undelivered_unacked,
            longest_gap_ms: rounded(millis(statement.longest_gap)),
            longest_pair_gap_ms: rounded(millis(statement.longest_pair_gap)),
            p50_ms: millis(latency.quantile(0.5)),
            p99_ms: millis(latency.quantile(0.99)),
            max_ms: millis(latency.max()),
            connection_breaks: counters.breaks.load(Relaxed),
            resumed: counters.resumed.load(Relaxed),
            bound_anew: counters.bound_anew.load(Relaxed),
            failed_attempts: counters.failed_attempts.load(Relaxed),
            resent: counters.resent.load(Relaxed),
            timeline: statement.timeline,
        }
    }
}

impl Outcome for SteadyReport {
    fn success(&self) -> bool {
        self.lost == 0 && self.sums.acked > 0
    }
}

impl fmt::Display for SteadyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sums = &self.sums;
        writeln!(
            f,
            "steady {}/s for {} s: planned {}, sent {}, acked {}, delivered {} ({} from offline \
             storage), duplicates {}, bounced {}, reordered {}, LOST {}",
            self.rate,
            self.seconds,
            self.planned,
            sums.sent,
            sums.acked,
            sums.delivered,
            sums.offline,
            sums.duplicates,
            sums.bounced,
            sums.reordered,
            self.lost
        )?;
        writeln!(
            f,
            "longest gap {:.0} ms (one pair: {:.0} ms), p50 {:.1} ms, p99 {:.1} ms, max {:.0} ms",
            self.longest_gap_ms, self.longest_pair_gap_ms, self.p50_ms, self.p99_ms, self.max_ms
        )?;
        write!(
            f,
            "connections: {} broke, {} resumed, {} bound anew, {} attempts failed, {} messages \
             sent again; {} neither acked nor delivered",
            self.connection_breaks,
            self.resumed,
            self.bound_anew,
            self.failed_attempts,
            self.resent,
            self.unacked_undelivered
        )?;
        for id in &self.lost_ids {
            write!(f, "\nlost: {id}")?;
        }
        Ok(())
    }
}
