//! Receipts on their way to holders, collected over one batch of work and sent together.

use entente_home_core::{EnvelopeId, SessionKey};

use super::switchboard::Switchboard;

/// Most holders that may wait for a full link; what is beyond is sent again by its holder.
const MAX_WAITING: usize = 65_536;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct ReceiptBatch {
    receipts: Vec<(SessionKey, Vec<u64>)>,
    retries: Vec<(SessionKey, Vec<u64>)>,
}

impl ReceiptBatch {
    /// The next holder took responsibility for `envelope`.
    pub(crate) fn receipt(&mut self, envelope: EnvelopeId) {
        add(&mut self.receipts, envelope);
    }

    /// `envelope` was not taken.
    pub(crate) fn retry(&mut self, envelope: EnvelopeId) {
        add(&mut self.retries, envelope);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.receipts.is_empty() && self.retries.is_empty()
    }

    /// Sends what was collected. What a full link refuses stays for the next time.
    pub(crate) fn flush(&mut self, switchboard: &Switchboard) {
        if !self.receipts.is_empty() {
            self.receipts = switchboard.send_receipts(std::mem::take(&mut self.receipts), false);
            self.receipts.truncate(MAX_WAITING);
        }
        if !self.retries.is_empty() {
            // A lost negative receipt costs time only: the holder's own deadline sends again.
            let _refused = switchboard.send_receipts(std::mem::take(&mut self.retries), true);
        }
    }
}

fn add(list: &mut Vec<(SessionKey, Vec<u64>)>, envelope: EnvelopeId) {
    // Batches have few holders, and mostly the last one again.
    let found = list
        .iter_mut()
        .rev()
        .take(32)
        .find(|(holder, _)| holder.conn == envelope.holder.conn && *holder == envelope.holder);
    match found {
        Some((_, seqs)) => seqs.push(envelope.seq),
        None => list.push((envelope.holder, vec![envelope.seq])),
    }
}
