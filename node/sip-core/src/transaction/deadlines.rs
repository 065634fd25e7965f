//! The next deadline of many transactions.

use std::collections::BTreeSet;
use std::time::Instant;

/// At most one deadline per transaction, the earliest first.
#[derive(Debug, Default)]
pub(crate) struct Deadlines(BTreeSet<(Instant, u64)>);

impl Deadlines {
    /// The transaction's deadline changed.
    pub(crate) fn change(&mut self, id: u64, old: Option<Instant>, new: Option<Instant>) {
        if old == new {
            return;
        }
        if let Some(old) = old {
            self.0.remove(&(old, id));
        }
        if let Some(new) = new {
            self.0.insert((new, id));
        }
    }

    /// The earliest.
    pub(crate) fn first(&self) -> Option<(Instant, u64)> {
        self.0.first().copied()
    }

    /// A transaction whose deadline has passed. It stays until its deadline changes.
    pub(crate) fn due(&self, now: Instant) -> Option<u64> {
        self.first().filter(|(at, _)| *at <= now).map(|(_, id)| id)
    }
}
