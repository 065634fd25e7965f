//! What nodes tell each other about SIP, as bytes of the mesh. Decoding checks everything.

use std::sync::Arc;

use bytes::Bytes;
use entente_proto::node::v1 as proto;
use entente_sip_core::draft::Draft;
use entente_sip_core::message::{Limits, Message};

use super::port::{Acking, Leg, Outcome, PeerRequest, SendFailure, Sending, SipCall};
use crate::fabric::wire::WireFault;

/// Between an edge node and a gateway shard, or two edge nodes.
#[derive(Debug, Clone)]
pub(crate) enum SipFrame {
    /// For the home of the user.
    Request { request: PeerRequest, hops: u32 },
    /// For the edge that the leg names.
    Respond { leg: Leg, response: Message },
    /// For a node with SIP.
    Send { sending: Sending, hops: u32 },
    /// For the node that the call names.
    Outcome { call: SipCall, outcome: Outcome },
    /// For a node with SIP, the same as for a [`SipFrame::Send`] of this user to this peer.
    Ack { acking: Acking, hops: u32 },
    /// For the node that the call was given to.
    Cancel(SipCall),
    /// For the node that the branch names.
    Stray(Message),
    /// For all.
    PeerUp(Arc<str>),
}

/// Messages were within the limits of the edge that took them; between nodes only absurd ones fail.
const LIMITS: Limits = Limits {
    head_bytes: usize::MAX,
    headers: usize::MAX,
    body_bytes: 4 * 1024 * 1024,
};

impl SipFrame {
    /// As the body of a node frame.
    pub(crate) fn encode(self) -> proto::Sip {
        use proto::sip::Body;
        let body = match self {
            Self::Request { request, hops } => Body::Request(proto::SipRequest {
                user: request.user,
                leg: request.leg.map(leg_out),
                peer: request.peer.as_ref().to_owned(),
                message: request.message.bytes().clone(),
                hops,
            }),
            Self::Respond { leg, response } => Body::Respond(proto::SipRespond {
                leg: Some(leg_out(leg)),
                response: response.bytes().clone(),
            }),
            Self::Send { sending, hops } => Body::Send(proto::SipSend {
                call: Some(call_out(sending.call)),
                user: sending.user,
                peer: sending.peer.as_ref().to_owned(),
                domain: sending.domain.as_ref().to_owned(),
                draft: sending.draft.encode().into(),
                hops,
            }),
            Self::Outcome { call, outcome } => Body::Outcome(proto::SipOutcome {
                call: Some(call_out(call)),
                outcome: Some(match outcome {
                    Outcome::Response(message) => {
                        proto::sip_outcome::Outcome::Response(message.bytes().clone())
                    }
                    Outcome::Failed(failure) => {
                        proto::sip_outcome::Outcome::Failure(failure_out(failure).into())
                    }
                }),
            }),
            Self::Ack { acking, hops } => Body::Ack(proto::SipAck {
                user: acking.user,
                peer: acking.peer.as_ref().to_owned(),
                domain: acking.domain.as_ref().to_owned(),
                draft: acking.draft.encode().into(),
                hops,
            }),
            Self::Cancel(call) => Body::Cancel(proto::SipCancel {
                call: Some(call_out(call)),
            }),
            Self::Stray(response) => Body::Stray(proto::SipStray {
                response: response.bytes().clone(),
            }),
            Self::PeerUp(peer) => Body::PeerUp(proto::SipPeerUp {
                peer: peer.as_ref().to_owned(),
            }),
        };
        proto::Sip { body: Some(body) }
    }

    /// Reads the body of a node frame.
    pub(crate) fn decode(frame: proto::Sip) -> Result<Self, WireFault> {
        use proto::sip::Body;
        Ok(match frame.body.ok_or(WireFault::Incomplete)? {
            Body::Request(frame) => Self::Request {
                request: PeerRequest {
                    user: frame.user,
                    leg: frame.leg.map(leg_in).transpose()?,
                    peer: frame.peer.into(),
                    message: message_in(frame.message)?,
                },
                hops: frame.hops,
            },
            Body::Respond(frame) => Self::Respond {
                leg: leg_in(frame.leg.ok_or(WireFault::Incomplete)?)?,
                response: message_in(frame.response)?,
            },
            Body::Send(frame) => Self::Send {
                sending: Sending {
                    call: call_in(frame.call)?,
                    user: frame.user,
                    peer: frame.peer.into(),
                    domain: frame.domain.into(),
                    draft: draft_in(&frame.draft)?,
                },
                hops: frame.hops,
            },
            Body::Outcome(frame) => Self::Outcome {
                call: call_in(frame.call)?,
                outcome: match frame.outcome.ok_or(WireFault::Incomplete)? {
                    proto::sip_outcome::Outcome::Response(bytes) => {
                        Outcome::Response(Box::new(message_in(bytes)?))
                    }
                    proto::sip_outcome::Outcome::Failure(failure) => {
                        Outcome::Failed(failure_in(failure)?)
                    }
                },
            },
            Body::Ack(frame) => Self::Ack {
                acking: Acking {
                    user: frame.user,
                    peer: frame.peer.into(),
                    domain: frame.domain.into(),
                    draft: draft_in(&frame.draft)?,
                },
                hops: frame.hops,
            },
            Body::Cancel(frame) => Self::Cancel(call_in(frame.call)?),
            Body::Stray(frame) => Self::Stray(message_in(frame.response)?),
            Body::PeerUp(frame) => Self::PeerUp(frame.peer.into()),
        })
    }
}

fn leg_out(leg: Leg) -> proto::SipLeg {
    proto::SipLeg {
        edge: leg.edge.as_ref().to_owned(),
        epoch: leg.epoch,
        transaction: leg.transaction,
    }
}

fn leg_in(leg: proto::SipLeg) -> Result<Leg, WireFault> {
    Ok(Leg {
        edge: node_name(leg.edge)?,
        epoch: leg.epoch,
        transaction: leg.transaction,
    })
}

fn call_out(call: SipCall) -> proto::SipCall {
    proto::SipCall {
        node: call.node.as_ref().to_owned(),
        epoch: call.epoch,
        shard: call.shard,
        call: call.id,
    }
}

fn call_in(call: Option<proto::SipCall>) -> Result<SipCall, WireFault> {
    let call = call.ok_or(WireFault::Incomplete)?;
    Ok(SipCall {
        node: node_name(call.node)?,
        epoch: call.epoch,
        shard: call.shard,
        id: call.call,
    })
}

fn node_name(name: String) -> Result<Arc<str>, WireFault> {
    if name.is_empty() || name.len() > 63 {
        return Err(WireFault::Address);
    }
    Ok(name.into())
}

fn message_in(bytes: Bytes) -> Result<Message, WireFault> {
    Message::parse(bytes, &LIMITS).map_err(|_| WireFault::Sip)
}

fn draft_in(bytes: &[u8]) -> Result<Draft, WireFault> {
    Draft::decode(bytes).map_err(|_| WireFault::Sip)
}

const FAILURES: [(SendFailure, proto::sip_outcome::Failure); 4] = [
    (SendFailure::Timeout, proto::sip_outcome::Failure::Timeout),
    (SendFailure::Broken, proto::sip_outcome::Failure::Broken),
    (
        SendFailure::Unreachable,
        proto::sip_outcome::Failure::Unreachable,
    ),
    (SendFailure::Refused, proto::sip_outcome::Failure::Refused),
];

fn failure_out(failure: SendFailure) -> proto::sip_outcome::Failure {
    FAILURES
        .iter()
        .find(|(known, _)| *known == failure)
        .map_or(proto::sip_outcome::Failure::Unspecified, |(_, wire)| *wire)
}

fn failure_in(failure: i32) -> Result<SendFailure, WireFault> {
    FAILURES
        .iter()
        .find(|(_, wire)| i32::from(*wire) == failure)
        .map(|(known, _)| *known)
        .ok_or(WireFault::Condition)
}
