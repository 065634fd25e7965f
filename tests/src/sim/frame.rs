//! What nodes tell each other over the mesh.

use bytes::Bytes;
use entente_cluster::NodeId;
use entente_home_core::{
    BindError, DeliveryId, EndReason, EnvelopeId, SessionEndReason, SessionKey, SessionSnapshot,
};
use entente_xmpp_core::jid::{BareJid, FullJid};
use entente_xmpp_core::stanza::Stanza;

/// Receipts of one holder.
pub(crate) type Receipts = Vec<(SessionKey, Vec<u64>)>;

/// The node's wire frames, without their encoding.
#[derive(Debug, Clone)]
pub(crate) enum Frame {
    FromClient {
        session: SessionKey,
        envelope: EnvelopeId,
        stanza: Stanza,
        hops: u32,
    },
    ToUser {
        envelope: Option<EnvelopeId>,
        stanza: Stanza,
        hops: u32,
    },
    ToSession {
        session: SessionKey,
        delivery: Option<DeliveryId>,
        envelope: Option<EnvelopeId>,
        stanza: Stanza,
    },
    Outbound {
        envelope: Option<EnvelopeId>,
        stanza: Stanza,
        hops: u32,
    },
    Receipts(Receipts),
    Retry(Receipts),
    Bind {
        session: SessionKey,
        user: BareJid,
        resource: Option<String>,
        request: u64,
    },
    BindResult {
        session: SessionKey,
        result: Result<FullJid, BindError>,
    },
    Register {
        session: SessionKey,
        snapshot: Box<SessionSnapshot>,
    },
    /// This home may not know your sessions of its users: make them known again.
    Resync {
        home: NodeId,
    },
    SessionEnded {
        session: SessionKey,
        full: FullJid,
        reason: SessionEndReason,
    },
    EndSession {
        session: SessionKey,
        reason: EndReason,
    },
    Delivered {
        session: SessionKey,
        ids: Vec<DeliveryId>,
    },
    DeliveryFailed {
        session: SessionKey,
        ids: Vec<DeliveryId>,
    },
}

/// All frames of a run: links carry their numbers.
#[derive(Default)]
pub(crate) struct Frames {
    frames: Vec<Frame>,
}

impl Frames {
    pub(crate) fn encode(&mut self, frame: Frame) -> Bytes {
        let number = self.frames.len() as u64;
        self.frames.push(frame);
        Bytes::copy_from_slice(&number.to_le_bytes())
    }

    /// Whether a holder keeps what is in it and sends it again.
    pub(crate) fn in_custody(&self, bytes: &Bytes) -> bool {
        !bytes.is_empty()
            && matches!(
                self.decode(bytes),
                Frame::FromClient { .. }
                    | Frame::ToUser {
                        envelope: Some(_),
                        ..
                    }
                    | Frame::Outbound {
                        envelope: Some(_),
                        ..
                    }
            )
    }

    pub(crate) fn decode(&self, bytes: &Bytes) -> Frame {
        let number = <[u8; 8]>::try_from(&bytes[..]).expect("made by encode");
        self.frames[u64::from_le_bytes(number) as usize].clone()
    }
}
