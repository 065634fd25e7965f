//! What a session was given: nothing twice, and each delivery reported to the home that made it.

use std::collections::VecDeque;

use entente_home_core::{DeliveryId, EnvelopeId};

/// Envelopes remembered against a second delivery by a new home.
const RECENT: usize = 256;

struct Recent {
    envelope: EnvelopeId,
    delivery: DeliveryId,
    acked: bool,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Deliveries {
    recent: VecDeque<Recent>,
    /// A second delivery of something still unacked: first id, second id.
    aliases: Vec<(DeliveryId, DeliveryId)>,
    /// To be told to the home.
    pub(crate) delivered: Vec<DeliveryId>,
    /// To be told to the home.
    pub(crate) failed: Vec<DeliveryId>,
}

impl Deliveries {
    /// Whether a delivery has to be written: not if an earlier home sent it before.
    pub(crate) fn is_new(
        &mut self,
        delivery: Option<DeliveryId>,
        envelope: Option<&EnvelopeId>,
    ) -> bool {
        let (Some(envelope), Some(delivery)) = (envelope, delivery) else {
            return true;
        };
        let known = self.recent.iter().rev().find(|r| r.envelope == *envelope);
        match known {
            Some(recent) if recent.acked => {
                self.delivered.push(delivery);
                false
            }
            Some(recent) => {
                if recent.delivery != delivery {
                    self.aliases.push((recent.delivery, delivery));
                }
                false
            }
            None => {
                if self.recent.len() == RECENT {
                    self.recent.pop_front();
                }
                self.recent.push_back(Recent {
                    envelope: envelope.clone(),
                    delivery,
                    acked: false,
                });
                true
            }
        }
    }

    /// The client has this delivery.
    pub(crate) fn delivered(&mut self, id: DeliveryId) {
        if let Some(recent) = self.recent.iter_mut().find(|r| r.delivery == id) {
            recent.acked = true;
        }
        self.delivered.push(id);
        let delivered = &mut self.delivered;
        self.aliases.retain(|(first, second)| {
            if *first == id {
                delivered.push(*second);
            }
            *first != id
        });
    }

    /// The client will not get this delivery here.
    pub(crate) fn failed(&mut self, id: DeliveryId) {
        self.failed.push(id);
        let failed = &mut self.failed;
        self.aliases.retain(|(first, second)| {
            if *first == id {
                failed.push(*second);
            }
            *first != id
        });
    }
}
