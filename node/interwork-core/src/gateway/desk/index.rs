//! Finds a dialog by our tag, and says which one wakes next: nobody looks through ten thousand watchers
//! for one.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use crate::gateway::ledger::Slot;
use crate::gateway::shard::release;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Index {
    by_tag: HashMap<u64, Slot>,
    deadlines: BTreeSet<(Instant, Slot)>,
}

/// What of one dialog user is in the index.
#[derive(Debug, Default)]
pub(super) struct Indexed {
    tags: Box<[u64]>,
    due: Option<Instant>,
}

impl Index {
    /// Whose dialog may have this tag of ours. The caller asks it.
    pub(super) fn find(&self, tag: &str) -> Option<Slot> {
        self.by_tag.get(&number(tag)?).copied()
    }

    /// When the first one wakes.
    pub(super) fn next(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Who wakes now.
    pub(super) fn due(&self, now: Instant) -> Vec<Slot> {
        self.deadlines
            .iter()
            .take_while(|(at, _)| *at <= now)
            .map(|(_, slot)| *slot)
            .collect()
    }

    /// Takes note of how it is now.
    pub(super) fn update<'a>(
        &mut self,
        slot: Slot,
        indexed: &mut Indexed,
        tags: impl Iterator<Item = &'a str> + Clone,
        due: Option<Instant>,
    ) {
        let tags = tags.filter_map(number);
        if !indexed.tags.iter().copied().eq(tags.clone()) {
            for tag in &indexed.tags {
                self.by_tag.remove(tag);
            }
            indexed.tags = tags.collect();
            for tag in &indexed.tags {
                self.by_tag.insert(*tag, slot);
            }
        }
        if indexed.due != due {
            if let Some(before) = indexed.due {
                self.deadlines.remove(&(before, slot));
            }
            self.deadlines.extend(due.map(|due| (due, slot)));
            indexed.due = due;
        }
    }

    /// It is over.
    pub(super) fn remove(&mut self, slot: Slot, mut indexed: Indexed) {
        self.update(slot, &mut indexed, std::iter::empty(), None);
        release(&mut self.by_tag);
    }
}

/// The random number in a tag of ours ([`entente_sip_core::owner`]): 64 bits of our choice, so no peer
/// can make two of them meet.
fn number(tag: &str) -> Option<u64> {
    let random = tag.split('.').nth(1)?;
    u64::from_str_radix(random, 16).ok()
}
