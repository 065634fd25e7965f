//! The receiving ends of all links: one for each node that has ever connected and is still in the
//! view.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use entente_proto::mesh::v1::LinkBatch;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Inbound;
use super::link::{LinkLimits, LinkReceiver, LinkViolation};
use super::wire::Greeting;
use crate::NodeId;

/// Shared by the connections; the lock is held for moments and never while waiting.
#[derive(Debug)]
pub(super) struct Inbox {
    inbound: mpsc::Sender<Inbound>,
    limits: LinkLimits,
    ends: Mutex<HashMap<NodeId, End>>,
}

#[derive(Debug)]
struct End {
    receiver: LinkReceiver,
    /// The connection that may add to it; an older one that still lingers may not.
    present: CancellationToken,
}

/// The right of one connection to add to a link, until a newer connection takes it.
#[derive(Debug, Clone)]
pub(super) struct Attachment {
    caller: NodeId,
    pub(super) superseded: CancellationToken,
    pub(super) resumed: bool,
    pub(super) received: u64,
}

/// The hello came from an older life of the caller, or from before a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stale;

/// Why a connection must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rejected {
    /// A newer connection carries the link.
    Superseded,
    /// The caller broke the rules.
    Violation(LinkViolation),
    /// The node takes nothing any more.
    Closed,
}

impl Inbox {
    pub(super) fn new(inbound: mpsc::Sender<Inbound>, limits: LinkLimits) -> Self {
        Self {
            inbound,
            limits,
            ends: Mutex::default(),
        }
    }

    /// A connection of `caller` takes over its link.
    pub(super) fn attach(&self, caller: NodeId, greeting: Greeting) -> Result<Attachment, Stale> {
        let Greeting {
            generation, epoch, ..
        } = greeting;
        let superseded = CancellationToken::new();
        let mut ends = self.lock();
        let known = ends
            .get_mut(&caller)
            .map(|end| (end.receiver.compare(generation, epoch), end));
        let (resumed, received) = match known {
            Some((Ordering::Less, _)) => return Err(Stale),
            Some((Ordering::Equal, end)) => {
                end.present.cancel();
                end.present = superseded.clone();
                end.receiver.resume();
                (true, end.receiver.received())
            }
            Some((Ordering::Greater, _)) | None => {
                let end = End {
                    receiver: LinkReceiver::new(generation, epoch, self.limits.clone()),
                    present: superseded.clone(),
                };
                if let Some(old) = ends.insert(caller.clone(), end) {
                    old.present.cancel();
                }
                (false, 0)
            }
        };
        Ok(Attachment {
            caller,
            superseded,
            resumed,
            received,
        })
    }

    /// Hands the new frames of a batch to the node; waits while the node is behind.
    pub(super) async fn deliver(
        &self,
        attachment: &Attachment,
        now: impl Fn() -> Instant,
        batch: LinkBatch,
    ) -> Result<(), Rejected> {
        let place = self.inbound.reserve().await.map_err(|_| Rejected::Closed)?;
        // Taking and handing over under one lock: a newer connection sees both or neither.
        self.with(attachment, |receiver| {
            let frames: Vec<Bytes> = receiver
                .batch(now(), batch.first_seq, batch.frames)
                .map_err(Rejected::Violation)?;
            if !frames.is_empty() {
                place.send(Inbound {
                    from: attachment.caller.clone(),
                    generation: receiver.generation(),
                    frames,
                });
            }
            Ok(())
        })?
    }

    /// The acknowledgement that is due now, and else the time of the next one.
    pub(super) fn poll_ack(
        &self,
        attachment: &Attachment,
        now: Instant,
    ) -> Result<(Option<u64>, Option<Instant>), Rejected> {
        self.with(attachment, |receiver| {
            (receiver.poll_ack(now), receiver.poll_timeout())
        })
    }

    /// Forgets the links of nodes that are not in the view and not connected.
    pub(super) fn retain(&self, in_view: impl Fn(&NodeId) -> bool) {
        self.lock()
            .retain(|caller, end| in_view(caller) || !end.present.is_cancelled());
    }

    /// The connection has ended.
    pub(super) fn detach(&self, attachment: &Attachment) {
        attachment.superseded.cancel();
    }

    fn with<T>(
        &self,
        attachment: &Attachment,
        act: impl FnOnce(&mut LinkReceiver) -> T,
    ) -> Result<T, Rejected> {
        let mut ends = self.lock();
        // Cancelled under this lock, so there is no moment between the check and the act.
        if attachment.superseded.is_cancelled() {
            return Err(Rejected::Superseded);
        }
        let end = ends
            .get_mut(&attachment.caller)
            .ok_or(Rejected::Superseded)?;
        Ok(act(&mut end.receiver))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, End>> {
        // Nothing panics while the lock is held.
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
