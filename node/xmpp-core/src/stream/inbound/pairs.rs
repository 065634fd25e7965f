//! Which domains are authenticated on a stream.

use std::sync::Arc;

/// Domain pairs that were authenticated (XEP-0220 section 2.3, multiplexing).
#[derive(Debug, Default)]
pub(super) struct Pairs(Vec<Pair>);

#[derive(Debug)]
struct Pair {
    remote: Arc<str>,
    /// Proved by a certificate: good for every domain of ours.
    any_local: bool,
    local: Arc<str>,
}

impl Pairs {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn add(&mut self, remote: Arc<str>, local: Arc<str>, any_local: bool) {
        if !self.contains(&remote, &local) {
            self.0.push(Pair {
                remote,
                any_local,
                local,
            });
        }
    }

    /// Whether stanzas from `remote` to `local`, which is ours, are authenticated.
    pub(super) fn contains(&self, remote: &str, local: &str) -> bool {
        self.0
            .iter()
            .any(|pair| *pair.remote == *remote && (pair.any_local || *pair.local == *local))
    }
}
