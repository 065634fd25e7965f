//! The node's frames: between our types and the protobuf that links carry. Decoding checks
//! everything; behind it nothing validates again.

use bytes::Bytes;
use entente_home_core::{
    BindError, DeliveryId, EndReason, EnvelopeId, Input, SessionEndReason, SessionKey,
    SessionSnapshot,
};
use entente_proto::node::v1 as proto;
use entente_xmpp_core::jid::{BareJid, FullJid, Jid};
use entente_xmpp_core::stanza::Stanza;
use prost::Message;

use crate::sip::frame::SipFrame;

/// What nodes tell each other about users, sessions and streams.
#[derive(Debug, Clone)]
pub(crate) enum WireFrame {
    /// Sessions whose home is the sending node register there again.
    Resync,
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
    Receipts(Vec<(SessionKey, Vec<u64>)>),
    Retry(Vec<(SessionKey, Vec<u64>)>),
    Bind {
        session: SessionKey,
        user: BareJid,
        resource: Option<String>,
        request: u64,
    },
    BindResult {
        session: SessionKey,
        request: u64,
        result: Result<FullJid, BindError>,
    },
    Register {
        session: SessionKey,
        snapshot: Box<SessionSnapshot>,
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
    /// About SIP federation.
    Sip(Box<SipFrame>),
}

/// A frame that another node should not have sent; it is counted and dropped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireFault {
    #[error("not a frame: {0}")]
    Protobuf(#[from] prost::DecodeError),
    #[error("a frame without a body or without a field it must have")]
    Incomplete,
    #[error("a frame with a bad stanza")]
    Stanza,
    #[error("a frame with a bad address")]
    Address,
    #[error("an unknown condition or reason")]
    Condition,
    #[error("a frame with a bad SIP message")]
    Sip,
}

impl WireFrame {
    /// What a home shard makes of it; `None` for what no shard takes.
    pub(crate) fn into_home_input(self) -> Option<Input> {
        Some(match self {
            Self::FromClient {
                session,
                envelope,
                stanza,
                ..
            } => Input::FromClient {
                session,
                envelope,
                stanza,
            },
            Self::ToUser {
                envelope, stanza, ..
            } => Input::ToUser { envelope, stanza },
            Self::Bind {
                session,
                user,
                resource,
                request,
            } => Input::Bind {
                session,
                user,
                resource,
                request,
            },
            Self::Register { session, snapshot } => Input::Register {
                session,
                snapshot: *snapshot,
            },
            Self::SessionEnded {
                session,
                full,
                reason,
            } => Input::SessionEnded {
                session,
                full,
                reason,
            },
            Self::Delivered { session, ids } => Input::Delivered { session, ids },
            Self::DeliveryFailed { session, ids } => Input::DeliveryFailed { session, ids },
            _ => return None,
        })
    }

    /// Whether a holder keeps what is in it and sends it again.
    pub(crate) fn is_in_custody(&self) -> bool {
        match self {
            Self::FromClient { .. } => true,
            Self::ToUser { envelope, .. } | Self::Outbound { envelope, .. } => envelope.is_some(),
            _ => false,
        }
    }

    /// The bytes for a link.
    pub(crate) fn encode(self) -> Bytes {
        use proto::frame::Body;
        let body = match self {
            Self::Resync => Body::Resync(proto::Resync {}),
            Self::FromClient {
                session,
                envelope,
                stanza,
                hops,
            } => Body::ToHome(proto::FromClient {
                session: Some(key_out(&session)),
                envelope: Some(envelope_out(&envelope)),
                stanza: stanza.bytes().clone(),
                hops,
            }),
            Self::ToUser {
                envelope,
                stanza,
                hops,
            } => Body::ToUser(proto::ToUser {
                envelope: envelope.as_ref().map(envelope_out),
                stanza: stanza.bytes().clone(),
                hops,
            }),
            Self::ToSession {
                session,
                delivery,
                envelope,
                stanza,
            } => Body::ToSession(proto::ToSession {
                session: Some(key_out(&session)),
                delivery: delivery.map_or(0, |id| id.0),
                envelope: envelope.as_ref().map(envelope_out),
                stanza: stanza.bytes().clone(),
            }),
            Self::Outbound {
                envelope,
                stanza,
                hops,
            } => Body::Outbound(proto::Outbound {
                envelope: envelope.as_ref().map(envelope_out),
                stanza: stanza.bytes().clone(),
                hops,
            }),
            Self::Receipts(holders) => Body::Receipts(proto::Receipts {
                holders: holders_out(holders),
            }),
            Self::Retry(holders) => Body::Retry(proto::Retry {
                holders: holders_out(holders),
            }),
            Self::Bind {
                session,
                user,
                resource,
                request,
            } => Body::Bind(proto::Bind {
                session: Some(key_out(&session)),
                user: user.as_str().to_owned(),
                resource,
                request,
            }),
            Self::BindResult {
                session,
                request,
                result,
            } => Body::BindResult(proto::BindResult {
                session: Some(key_out(&session)),
                request,
                result: Some(match result {
                    Ok(full) => proto::bind_result::Result::Bound(full.as_str().to_owned()),
                    Err(error) => {
                        proto::bind_result::Result::Refused(refusal_out(error).to_owned())
                    }
                }),
            }),
            Self::Register { session, snapshot } => Body::Register(proto::Register {
                session: Some(key_out(&session)),
                full: snapshot.full.as_str().to_owned(),
                presence: snapshot
                    .presence
                    .as_ref()
                    .map(|presence| presence.bytes().clone()),
                carbons: snapshot.carbons,
                roster_interested: snapshot.roster_interested,
                blocklist_interested: snapshot.blocklist_interested,
                directed: snapshot
                    .directed
                    .iter()
                    .map(|jid| jid.as_str().to_owned())
                    .collect(),
            }),
            Self::SessionEnded {
                session,
                full,
                reason,
            } => Body::SessionEnded(proto::SessionEnded {
                session: Some(key_out(&session)),
                full: full.as_str().to_owned(),
                reason: match reason {
                    SessionEndReason::Closed => proto::session_ended::Reason::Closed,
                    SessionEndReason::Lost => proto::session_ended::Reason::Lost,
                    SessionEndReason::Terminated => proto::session_ended::Reason::Ended,
                }
                .into(),
            }),
            Self::EndSession { session, reason } => Body::EndSession(proto::EndSession {
                session: Some(key_out(&session)),
                reason: match reason {
                    EndReason::Conflict => proto::end_session::Reason::Conflict,
                    EndReason::AccountRemoved => proto::end_session::Reason::Account,
                    EndReason::Refused => proto::end_session::Reason::Resources,
                }
                .into(),
            }),
            Self::Delivered { session, ids } => Body::Delivered(proto::Delivered {
                session: Some(key_out(&session)),
                deliveries: ids.into_iter().map(|id| id.0).collect(),
            }),
            Self::DeliveryFailed { session, ids } => Body::DeliveryFailed(proto::DeliveryFailed {
                session: Some(key_out(&session)),
                deliveries: ids.into_iter().map(|id| id.0).collect(),
            }),
            Self::Sip(frame) => Body::Sip(frame.encode()),
        };
        Bytes::from(proto::Frame { body: Some(body) }.encode_to_vec())
    }

    /// Reads a frame of a link.
    pub(crate) fn decode(bytes: Bytes) -> Result<Self, WireFault> {
        use proto::frame::Body;
        let body = proto::Frame::decode(bytes)?
            .body
            .ok_or(WireFault::Incomplete)?;
        Ok(match body {
            Body::ToHome(frame) => Self::FromClient {
                session: key_in(frame.session)?,
                envelope: envelope_in(frame.envelope)?.ok_or(WireFault::Incomplete)?,
                stanza: stanza_in(frame.stanza)?,
                hops: frame.hops,
            },
            Body::ToUser(frame) => Self::ToUser {
                envelope: envelope_in(frame.envelope)?,
                stanza: stanza_in(frame.stanza)?,
                hops: frame.hops,
            },
            Body::ToSession(frame) => Self::ToSession {
                session: key_in(frame.session)?,
                delivery: (frame.delivery != 0).then_some(DeliveryId(frame.delivery)),
                envelope: envelope_in(frame.envelope)?,
                stanza: stanza_in(frame.stanza)?,
            },
            Body::Outbound(frame) => Self::Outbound {
                envelope: envelope_in(frame.envelope)?,
                stanza: stanza_in(frame.stanza)?,
                hops: frame.hops,
            },
            Body::Receipts(frame) => Self::Receipts(holders_in(frame.holders)?),
            Body::Retry(frame) => Self::Retry(holders_in(frame.holders)?),
            Body::Bind(frame) => Self::Bind {
                session: key_in(frame.session)?,
                user: BareJid::new(&frame.user).map_err(|_| WireFault::Address)?,
                resource: frame.resource,
                request: frame.request,
            },
            Body::BindResult(frame) => Self::BindResult {
                session: key_in(frame.session)?,
                request: frame.request,
                result: match frame.result.ok_or(WireFault::Incomplete)? {
                    proto::bind_result::Result::Bound(full) => Ok(full_in(&full)?),
                    proto::bind_result::Result::Refused(condition) => Err(refusal_in(&condition)?),
                },
            },
            Body::Register(frame) => Self::Register {
                session: key_in(frame.session)?,
                snapshot: Box::new(SessionSnapshot {
                    full: full_in(&frame.full)?,
                    presence: frame.presence.map(stanza_in).transpose()?,
                    carbons: frame.carbons,
                    roster_interested: frame.roster_interested,
                    blocklist_interested: frame.blocklist_interested,
                    directed: frame
                        .directed
                        .iter()
                        .map(|jid| Jid::new(jid).map_err(|_| WireFault::Address))
                        .collect::<Result<_, _>>()?,
                }),
            },
            Body::SessionEnded(frame) => Self::SessionEnded {
                reason: match frame.reason() {
                    proto::session_ended::Reason::Closed => SessionEndReason::Closed,
                    proto::session_ended::Reason::Lost => SessionEndReason::Lost,
                    _ => SessionEndReason::Terminated,
                },
                session: key_in(frame.session)?,
                full: full_in(&frame.full)?,
            },
            Body::EndSession(frame) => Self::EndSession {
                reason: match frame.reason() {
                    proto::end_session::Reason::Conflict => EndReason::Conflict,
                    proto::end_session::Reason::Account => EndReason::AccountRemoved,
                    _ => EndReason::Refused,
                },
                session: key_in(frame.session)?,
            },
            Body::Delivered(frame) => Self::Delivered {
                session: key_in(frame.session)?,
                ids: frame.deliveries.into_iter().map(DeliveryId).collect(),
            },
            Body::DeliveryFailed(frame) => Self::DeliveryFailed {
                session: key_in(frame.session)?,
                ids: frame.deliveries.into_iter().map(DeliveryId).collect(),
            },
            Body::Resync(_) => Self::Resync,
            Body::Sip(frame) => Self::Sip(Box::new(SipFrame::decode(frame)?)),
        })
    }
}

fn key_out(key: &SessionKey) -> proto::SessionKey {
    proto::SessionKey {
        edge: Bytes::copy_from_slice(key.edge.as_bytes()),
        epoch: key.epoch,
        conn: key.conn,
    }
}

fn key_in(key: Option<proto::SessionKey>) -> Result<SessionKey, WireFault> {
    let key = key.ok_or(WireFault::Incomplete)?;
    let edge = std::str::from_utf8(&key.edge).map_err(|_| WireFault::Address)?;
    if edge.is_empty() || edge.len() > 63 {
        return Err(WireFault::Address);
    }
    Ok(SessionKey::new(edge, key.epoch, key.conn))
}

fn envelope_out(envelope: &EnvelopeId) -> proto::EnvelopeId {
    proto::EnvelopeId {
        holder: Some(key_out(&envelope.holder)),
        seq: envelope.seq,
        after: envelope.after.unwrap_or(0),
    }
}

fn envelope_in(envelope: Option<proto::EnvelopeId>) -> Result<Option<EnvelopeId>, WireFault> {
    envelope
        .map(|envelope| {
            Ok(EnvelopeId {
                holder: key_in(envelope.holder)?,
                seq: envelope.seq,
                after: (envelope.after != 0).then_some(envelope.after),
            })
        })
        .transpose()
}

fn holders_out(holders: Vec<(SessionKey, Vec<u64>)>) -> Vec<proto::HolderSeqs> {
    holders
        .into_iter()
        .map(|(holder, seqs)| proto::HolderSeqs {
            holder: Some(key_out(&holder)),
            seqs,
        })
        .collect()
}

fn holders_in(holders: Vec<proto::HolderSeqs>) -> Result<Vec<(SessionKey, Vec<u64>)>, WireFault> {
    holders
        .into_iter()
        .map(|holder| Ok((key_in(holder.holder)?, holder.seqs)))
        .collect()
}

fn stanza_in(bytes: Bytes) -> Result<Stanza, WireFault> {
    Stanza::parse(bytes).map_err(|_| WireFault::Stanza)
}

fn full_in(text: &str) -> Result<FullJid, WireFault> {
    FullJid::new(text).map_err(|_| WireFault::Address)
}

const REFUSALS: [(BindError, &str); 4] = [
    (BindError::BadResource, "bad-request"),
    (BindError::TooManySessions, "resource-constraint"),
    (BindError::NoSuchUser, "not-allowed"),
    (BindError::Unavailable, "internal-server-error"),
];

fn refusal_out(error: BindError) -> &'static str {
    REFUSALS
        .iter()
        .find(|(known, _)| *known == error)
        .map_or("internal-server-error", |(_, name)| name)
}

fn refusal_in(condition: &str) -> Result<BindError, WireFault> {
    REFUSALS
        .iter()
        .find(|(_, name)| *name == condition)
        .map(|(error, _)| *error)
        .ok_or(WireFault::Condition)
}
