//! How many dialogs there are with each peer, for operators: counted as long as they live on this node,
//! however they end, so that the numbers go where the users go.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What a dialog is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A remote person watches the user.
    Watch,
    /// The user watches a remote person.
    Contact,
    /// They talk.
    Chat,
}

impl Purpose {
    /// The first word in the keys of its records.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Contact => "contact",
            Self::Chat => "chat",
        }
    }

    pub(super) fn named(word: &str) -> Option<Self> {
        [Self::Watch, Self::Contact, Self::Chat]
            .into_iter()
            .find(|purpose| purpose.word() == word)
    }
}

/// Dialogs with one peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Subscriptions of its users to ours.
    pub watchers: u64,
    /// Subscriptions of our users to its users.
    pub contacts: u64,
    /// Pairs of users that talk.
    pub sessions: u64,
}

#[derive(Debug, Default)]
struct Numbers([AtomicU64; 3]);

/// The numbers of one shard, which others may look at.
#[derive(Debug, Default)]
pub struct Counts {
    /// As many as peers are configured.
    peers: Mutex<BTreeMap<Arc<str>, Arc<Numbers>>>,
}

/// One dialog, counted until it is dropped.
#[derive(Debug)]
pub(super) struct Counted {
    numbers: Arc<Numbers>,
    purpose: Purpose,
}

impl Counts {
    /// Adds what this shard has with each peer.
    pub fn add_to(&self, all: &mut BTreeMap<Arc<str>, Holdings>) {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        for (peer, numbers) in peers.iter() {
            let [watchers, contacts, sessions] =
                [0, 1, 2].map(|at: usize| numbers.0[at].load(Ordering::Relaxed));
            let sum = all.entry(Arc::clone(peer)).or_default();
            sum.watchers += watchers;
            sum.contacts += contacts;
            sum.sessions += sessions;
        }
    }

    pub(super) fn count(&self, peer: &Arc<str>, purpose: Purpose) -> Counted {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let numbers = Arc::clone(peers.entry(Arc::clone(peer)).or_default());
        numbers.0[purpose as usize].fetch_add(1, Ordering::Relaxed);
        Counted { numbers, purpose }
    }
}

impl Counted {
    pub(super) const fn purpose(&self) -> Purpose {
        self.purpose
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.numbers.0[self.purpose as usize].fetch_sub(1, Ordering::Relaxed);
    }
}
