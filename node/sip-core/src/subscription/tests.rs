//! Subscriptions as the RFCs' examples tell them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::dialog::Head;
use crate::draft::Draft;
use crate::header::HeaderName;
use crate::message::Message;
use crate::owner::{Owner, OwnerKey};
use crate::profile::Profile;
use crate::record::Moment;
use crate::reply::Reply;
use crate::status::Status;
use crate::testing::{message, read, start};
use crate::usage::{Document, Outcome, RequestId, SendId};

mod network;
mod notifier;
mod subscriber;

const OFFLINE: &str = "<presence>closed</presence>";

fn document(text: &str) -> Document {
    Document {
        content_type: super::PIDF.into(),
        body: Bytes::copy_from_slice(text.as_bytes()),
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The request of a draft, as the peer reads it.
fn sent(draft: &Draft) -> Message {
    read(draft.to_bytes("SIP/2.0/TLS h;branch=z9hG4bK1"))
}

/// The peer's response to a request of ours.
fn response(request: &Message, code: u16, headers: &[(HeaderName, &str)]) -> Outcome {
    let mut reply = Reply::new(request, Status::new(code).unwrap(), "theirs");
    for (name, value) in headers {
        reply.header(*name, value);
    }
    Outcome::Response(Box::new(read(reply.to_bytes())))
}

fn header(message: &Message, name: HeaderName) -> &str {
    message.get(name).unwrap_or("-")
}
