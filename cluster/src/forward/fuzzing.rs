//! Entry points for fuzzers: whatever the bytes, nothing panics and the invariants hold.

use std::time::Instant;

use bytes::Bytes;
use entente_proto::mesh::v1::{LinkAck, LinkBatch, link_ack};
use entente_proto::node::v1::Frame;
use prost::Message;

use super::link::{LinkLimits, LinkReceiver, LinkSender};
use super::{now, wire};
use crate::NodeId;

/// What a caller may send on a link: length-delimited [`LinkBatch`] messages.
pub fn link_batches(data: &[u8]) {
    let (Ok(caller), Ok(local)) = (NodeId::new("a"), NodeId::new("b")) else {
        return;
    };
    let mut data = Bytes::copy_from_slice(data);
    let mut receiver: Option<LinkReceiver> = None;
    let at: Instant = now();
    while let Ok(message) = LinkBatch::decode_length_delimited(&mut data) {
        match &mut receiver {
            None => {
                if let Ok(greeting) = wire::check_hello(&message, &caller, &local) {
                    let limits = LinkLimits::default();
                    let (generation, epoch) = (greeting.generation, greeting.epoch);
                    receiver = Some(LinkReceiver::new(generation, epoch, limits));
                }
            }
            Some(receiver) => {
                let before = receiver.received();
                match receiver.batch(at, message.first_seq, message.frames) {
                    Ok(fresh) => {
                        assert_eq!(receiver.received(), before + fresh.len() as u64);
                    }
                    Err(_) => assert_eq!(receiver.received(), before),
                }
            }
        }
    }
}

/// What a callee may answer on a link: length-delimited [`LinkAck`] messages.
pub fn link_acks(data: &[u8]) {
    let Ok(callee) = NodeId::new("b") else {
        return;
    };
    let mut data = Bytes::copy_from_slice(data);
    let mut sender = LinkSender::new(1, LinkLimits::default());
    let mut epoch = 1;
    while let Ok(message) = LinkAck::decode_length_delimited(&mut data) {
        if let Some(link_ack::Body::Received(received)) = message.body {
            let before = sender.outstanding();
            if let Ok(news) = sender.acked(received) {
                assert_eq!(sender.outstanding(), before - news);
            }
        } else if let Ok(welcome) = wire::check_welcome(message, &callee) {
            let attached = sender.attach(welcome.generation, welcome.resumed, welcome.received);
            if attached == super::link::Attached::MustReset {
                epoch += 1;
                sender.reset(epoch);
            }
        }
        sender.push(Bytes::from_static(b"frame"));
        sender.next_batch();
    }
}

/// One frame of the nodes, as it comes out of a link.
pub fn frame(data: &[u8]) {
    if let Ok(frame) = Frame::decode(Bytes::copy_from_slice(data)) {
        let again = Frame::decode(Bytes::from(frame.encode_to_vec()));
        assert_eq!(again.as_ref(), Ok(&frame), "a frame survives the way");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn batches() -> impl Strategy<Value = Vec<u8>> {
        let batch = (
            0u64..20,
            prop::collection::vec(any::<u8>(), 0..10),
            any::<bool>(),
        );
        prop::collection::vec(batch, 0..20).prop_map(|batches| {
            let (a, b) = (NodeId::new("a").unwrap(), NodeId::new("b").unwrap());
            let mut data = wire::hello(&a, 1, 1, &b).encode_length_delimited_to_vec();
            for (first_seq, frames, far) in batches {
                let message = LinkBatch {
                    hello: None,
                    first_seq: if far { u64::MAX - first_seq } else { first_seq },
                    frames: frames.iter().map(|n| Bytes::from(vec![*n])).collect(),
                };
                data.extend(message.encode_length_delimited_to_vec());
            }
            data
        })
    }

    fn acks() -> impl Strategy<Value = Vec<u8>> {
        let ack = prop_oneof![
            (0u64..30).prop_map(wire::ack),
            any::<u64>().prop_map(wire::ack),
            (0u64..3, any::<bool>(), 0u64..30).prop_map(|(generation, resumed, received)| {
                let b = NodeId::new("b").unwrap();
                wire::welcome(&b, generation, 1, resumed, received)
            }),
        ];
        prop::collection::vec(ack, 0..40).prop_map(|acks| {
            let encoded = acks.iter().map(Message::encode_length_delimited_to_vec);
            encoded.collect::<Vec<_>>().concat()
        })
    }

    proptest! {
        #[test]
        fn no_batches_break_the_receiver(data in batches(), noise in prop::collection::vec(any::<u8>(), 0..200)) {
            link_batches(&data);
            link_batches(&noise);
        }

        #[test]
        fn no_acks_break_the_sender(data in acks(), noise in prop::collection::vec(any::<u8>(), 0..200)) {
            link_acks(&data);
            link_acks(&noise);
        }

        #[test]
        fn no_frame_breaks_the_node(noise in prop::collection::vec(any::<u8>(), 0..200)) {
            frame(&noise);
        }
    }
}
