//! Stream management on the client's side (XEP-0198): counting, unacked stanzas, resumption.

use std::collections::VecDeque;

use bytes::Bytes;

/// Counters and unacked stanzas of a stream with stream management.
#[derive(Debug, Default)]
pub(crate) struct StreamManagement {
    /// The id for resumption, if the server granted it.
    pub(crate) id: Option<String>,
    /// Stanzas received and taken since `<enabled/>`, modulo 2^32.
    pub(crate) handled: u32,
    /// The last `h` of the server.
    acked: u32,
    unacked: VecDeque<(Option<u64>, Bytes)>,
    newly_acked: Vec<u64>,
    /// An `<r/>` of ours waits for its `<a/>`.
    pub(crate) asked: bool,
}

/// What survives a broken connection.
#[derive(Debug)]
pub struct ResumeState {
    pub(crate) sm: StreamManagement,
    pub(crate) jid: String,
}

impl ResumeState {
    /// The tags of stanzas that the server has not acked, oldest first.
    pub fn unacked_tags(&self) -> Vec<u64> {
        self.sm.unacked_tags()
    }

    /// Whether the server granted resumption.
    pub fn resumable(&self) -> bool {
        self.sm.id.is_some()
    }

    /// Tags acked since they were last taken: `<failed h=…/>` may ack some more.
    pub fn take_acked(&mut self) -> Vec<u64> {
        self.sm.take_acked()
    }
}

impl StreamManagement {
    pub(crate) fn enabled(id: Option<String>) -> Self {
        Self {
            id,
            ..Self::default()
        }
    }

    pub(crate) fn sent(&mut self, tag: Option<u64>, bytes: Bytes) {
        self.unacked.push_back((tag, bytes));
    }

    /// The server has handled `h` stanzas, modulo 2^32. A count that is not between the last one
    /// and what was sent is ignored: the run must not crash on a server's mistake, and the message
    /// stays unacked in the report.
    pub(crate) fn ack(&mut self, h: u32) {
        let newly = h.wrapping_sub(self.acked) as usize;
        if newly > self.unacked.len() {
            return;
        }
        self.acked = h;
        self.newly_acked
            .extend(self.unacked.drain(..newly).filter_map(|(tag, _)| tag));
    }

    pub(crate) fn take_acked(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.newly_acked)
    }

    pub(crate) fn unacked(&self) -> usize {
        self.unacked.len()
    }

    pub(crate) fn unacked_tags(&self) -> Vec<u64> {
        self.unacked.iter().filter_map(|(tag, _)| *tag).collect()
    }

    /// The stanzas to send again after a resumption.
    pub(crate) fn unacked_stanzas(&self) -> impl Iterator<Item = &Bytes> {
        self.unacked.iter().map(|(_, bytes)| bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_sent(tags: &[u64]) -> StreamManagement {
        let mut sm = StreamManagement::default();
        for &tag in tags {
            sm.sent(Some(tag), Bytes::from_static(b"<message/>"));
        }
        sm
    }

    #[test]
    fn acks_release_in_order_and_skip_untagged() {
        let mut sm = with_sent(&[1, 2]);
        sm.sent(None, Bytes::from_static(b"<presence/>"));
        sm.sent(Some(3), Bytes::from_static(b"<message/>"));
        sm.ack(1);
        assert_eq!(sm.take_acked(), [1]);
        sm.ack(3);
        assert_eq!(sm.take_acked(), [2]);
        assert_eq!(sm.unacked_tags(), [3]);
    }

    #[test]
    fn impossible_counts_are_ignored() {
        let mut sm = with_sent(&[1, 2]);
        sm.ack(3);
        assert_eq!(sm.unacked(), 2);
        sm.ack(2);
        sm.ack(1);
        assert_eq!(sm.take_acked(), [1, 2]);
    }

    #[test]
    fn the_count_wraps() {
        let mut sm = StreamManagement {
            acked: u32::MAX,
            ..Default::default()
        };
        sm.sent(Some(7), Bytes::new());
        sm.sent(Some(8), Bytes::new());
        sm.ack(1);
        assert_eq!(sm.take_acked(), [7, 8]);
    }
}
