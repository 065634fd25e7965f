//! The service as the rest of the node sees it: stanzas for SIP domains, and frames of other nodes.

use entente_xmpp_core::error::{StanzaCondition, StanzaError};

use super::frame::SipFrame;
use super::service::SipService;
use crate::fabric::{OutboundItem, ReceiptBatch, SipPart};

impl SipPart for SipService {
    fn takes(&self, domain: &str) -> bool {
        self.policy().sip_peer(domain).is_some()
    }

    fn submit(&self, item: OutboundItem) {
        match self.gateway() {
            Some(gateway) => gateway.submit(item),
            None => {
                let error = StanzaError::new(StanzaCondition::ServiceUnavailable)
                    .with_text("SIP federation is not ready");
                let from_user = item.stanza.from().is_some_and(|from| from.node().is_some());
                if from_user && let Some(reply) = item.stanza.error_reply(&error, false) {
                    self.switchboard().bounce(reply);
                }
                if let Some(envelope) = item.envelope {
                    let mut batch = ReceiptBatch::default();
                    batch.receipt(envelope);
                    batch.flush(self.switchboard());
                }
            }
        }
    }

    fn frame(&self, frame: SipFrame) {
        Self::frame(self, frame);
    }

    fn frame_lost(&self, frame: SipFrame) {
        Self::frame_lost(self, frame);
    }
}
