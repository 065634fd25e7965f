//! Checked forms of the mesh's own messages.

use bytes::Bytes;
use entente_proto::mesh::v1::{
    CallReply, Hello, LinkAck, LinkBatch, Refused, Welcome, call_reply, link_ack, refused,
};

use super::fault::{CallError, CallRefusal, LinkFault};
use super::link::Batch;
use crate::NodeId;

/// The lowest version of the mesh protocol that this program speaks.
pub const VERSION_MIN: u32 = 1;
/// The highest version of the mesh protocol that this program speaks.
pub const VERSION_MAX: u32 = 1;

/// The first message of a link.
pub(super) fn hello(local: &NodeId, generation: u64, epoch: u64, callee: &NodeId) -> LinkBatch {
    LinkBatch {
        hello: Some(Hello {
            node_id: local.to_string(),
            generation,
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            epoch,
            callee_id: callee.to_string(),
        }),
        first_seq: 0,
        frames: Vec::new(),
    }
}

/// Frames on a link.
pub(super) fn batch(batch: Batch) -> LinkBatch {
    LinkBatch {
        hello: None,
        first_seq: batch.first_seq,
        frames: batch.frames,
    }
}

/// What a good hello says, once the name has been compared with the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) generation: u64,
    pub(super) epoch: u64,
    pub(super) version: u32,
}

/// Checks a caller's first message. `caller` is what its certificate says.
pub(super) fn check_hello(
    message: &LinkBatch,
    caller: &NodeId,
    local: &NodeId,
) -> Result<Greeting, refused::Reason> {
    let hello = message.hello.as_ref().ok_or(refused::Reason::Malformed)?;
    if !message.frames.is_empty() {
        return Err(refused::Reason::Malformed);
    }
    if hello.node_id != caller.as_str() || hello.callee_id != local.as_str() {
        return Err(refused::Reason::Identity);
    }
    let version = hello.version_max.min(VERSION_MAX);
    if version < hello.version_min.max(VERSION_MIN) {
        return Err(refused::Reason::Version);
    }
    Ok(Greeting {
        generation: hello.generation,
        epoch: hello.epoch,
        version,
    })
}

/// The only answer to a hello that is not accepted.
pub(super) fn refused(reason: refused::Reason) -> LinkAck {
    LinkAck {
        body: Some(link_ack::Body::Refused(Refused {
            reason: reason.into(),
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
        })),
    }
}

/// The answer to a good hello.
pub(super) fn welcome(
    local: &NodeId,
    generation: u64,
    version: u32,
    resumed: bool,
    received: u64,
) -> LinkAck {
    LinkAck {
        body: Some(link_ack::Body::Welcome(Welcome {
            node_id: local.to_string(),
            generation,
            version,
            resumed,
            received,
        })),
    }
}

/// All frames up to this number have been taken over.
pub(super) fn ack(received: u64) -> LinkAck {
    LinkAck {
        body: Some(link_ack::Body::Received(received)),
    }
}

/// Checks the first answer on a link to `callee`.
pub(super) fn check_welcome(message: LinkAck, callee: &NodeId) -> Result<Welcome, LinkFault> {
    match message.body {
        Some(link_ack::Body::Welcome(welcome)) => {
            if welcome.node_id != callee.as_str() {
                return Err(LinkFault::Identity);
            }
            if !(VERSION_MIN..=VERSION_MAX).contains(&welcome.version) {
                return Err(LinkFault::Protocol);
            }
            Ok(welcome)
        }
        Some(link_ack::Body::Refused(refused)) => Err(match refused.reason() {
            refused::Reason::Version => LinkFault::Incompatible {
                ours_min: VERSION_MIN,
                ours_max: VERSION_MAX,
                theirs_min: refused.version_min,
                theirs_max: refused.version_max,
            },
            refused::Reason::Identity => LinkFault::Identity,
            refused::Reason::Stale => LinkFault::Stale,
            refused::Reason::Unspecified | refused::Reason::Malformed => LinkFault::Protocol,
        }),
        Some(link_ack::Body::Received(_)) | None => Err(LinkFault::Protocol),
    }
}

/// The answer to a call.
pub(super) fn call_reply(result: Result<Bytes, CallRefusal>) -> CallReply {
    let result = match result {
        Ok(payload) => call_reply::Result::Payload(payload),
        Err(refusal) => call_reply::Result::Refusal(
            match refusal {
                CallRefusal::UnknownKind => call_reply::Refusal::UnknownKind,
                CallRefusal::Busy => call_reply::Refusal::Busy,
                CallRefusal::Malformed => call_reply::Refusal::Malformed,
                CallRefusal::Unavailable => call_reply::Refusal::Unavailable,
            }
            .into(),
        ),
    };
    CallReply {
        result: Some(result),
    }
}

/// Reads the answer to a call. Refusals of a newer version count as 'unavailable'.
pub(super) fn call_result(reply: CallReply) -> Result<Bytes, CallError> {
    match reply.result {
        Some(call_reply::Result::Payload(payload)) => Ok(payload),
        Some(call_reply::Result::Refusal(refusal)) => {
            Err(CallError::Refused(match refusal.try_into() {
                Ok(call_reply::Refusal::UnknownKind) => CallRefusal::UnknownKind,
                Ok(call_reply::Refusal::Busy) => CallRefusal::Busy,
                Ok(call_reply::Refusal::Malformed) => CallRefusal::Malformed,
                Ok(call_reply::Refusal::Unavailable | call_reply::Refusal::Unspecified)
                | Err(_) => CallRefusal::Unavailable,
            }))
        }
        None => Err(CallError::Broken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeId {
        NodeId::new(name).expect("a node id")
    }

    #[test]
    fn a_hello_is_held_against_the_certificate() {
        let (a, b) = (node("a"), node("b"));
        let good = hello(&a, 7, 1, &b);
        assert_eq!(
            check_hello(&good, &a, &b),
            Ok(Greeting {
                generation: 7,
                epoch: 1,
                version: VERSION_MAX
            })
        );
        let identity = Err(refused::Reason::Identity);
        assert_eq!(check_hello(&good, &b, &b), identity);
        assert_eq!(check_hello(&good, &a, &a), identity);
        let mut frames = good.clone();
        frames.frames.push(Bytes::new());
        assert_eq!(
            check_hello(&frames, &a, &b),
            Err(refused::Reason::Malformed)
        );
        assert_eq!(
            check_hello(&LinkBatch::default(), &a, &b),
            Err(refused::Reason::Malformed)
        );
    }

    #[test]
    fn versions_must_overlap() {
        let (a, b) = (node("a"), node("b"));
        for (min, max, fits) in [
            (0, VERSION_MIN, true),
            (VERSION_MAX, VERSION_MAX + 5, true),
            (VERSION_MAX + 1, VERSION_MAX + 5, false),
            (0, VERSION_MIN - 1, false),
            (VERSION_MAX, VERSION_MIN - 1, false),
        ] {
            let mut message = hello(&a, 7, 1, &b);
            let hello = message.hello.as_mut().expect("a hello");
            (hello.version_min, hello.version_max) = (min, max);
            let checked = check_hello(&message, &a, &b);
            assert_eq!(checked.is_ok(), fits, "{min}..={max}");
            if !fits {
                let reason = checked.expect_err("refused");
                let fault = check_welcome(refused(reason), &b).expect_err("refused");
                assert!(matches!(fault, LinkFault::Incompatible { .. }));
            }
        }
    }

    #[test]
    fn call_results_survive_the_way() {
        let payload = Ok(Bytes::from_static(b"x"));
        assert_eq!(
            call_result(call_reply(payload)),
            Ok(Bytes::from_static(b"x"))
        );
        for refusal in [
            CallRefusal::UnknownKind,
            CallRefusal::Busy,
            CallRefusal::Malformed,
            CallRefusal::Unavailable,
        ] {
            assert_eq!(
                call_result(call_reply(Err(refusal))),
                Err(CallError::Refused(refusal))
            );
        }
    }
}
