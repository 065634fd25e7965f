//! Receipts on their way to holders, collected over one batch of work and sent together.

use entente_fabric_core::way::{self, HolderSeqs};
use entente_home_core::EnvelopeId;

use super::switchboard::Switchboard;

/// Most holders that may wait for a full link; what is beyond is sent again by its holder.
const MAX_WAITING: usize = 65_536;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct ReceiptBatch {
    receipts: Vec<HolderSeqs>,
    retries: Vec<HolderSeqs>,
}

impl ReceiptBatch {
    /// The next holder took responsibility for `envelope`.
    pub(crate) fn receipt(&mut self, envelope: EnvelopeId) {
        way::collect(&mut self.receipts, envelope);
    }

    /// `envelope` was not taken.
    pub(crate) fn retry(&mut self, envelope: EnvelopeId) {
        way::collect(&mut self.retries, envelope);
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
