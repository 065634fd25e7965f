//! What the tests of this crate share: a first moment, and messages as one reads them in the RFCs.

use std::time::Instant;

use bytes::Bytes;

use crate::message::{Limits, Message};

pub(crate) mod network;

/// Some moment. Tests count from it; none waits.
#[expect(
    clippy::disallowed_methods,
    reason = "a test needs some moment to count from"
)]
pub(crate) fn start() -> Instant {
    Instant::now()
}

/// The message of a text with one header per line, an empty line, and the body. White space around
/// a line is left out, and Content-Length is added.
pub(crate) fn message(text: &str) -> Message {
    let (head, body) = text.trim_start().split_once("\n\n").unwrap_or((text, ""));
    let mut bytes = String::new();
    for line in head.lines().filter(|line| !line.trim().is_empty()) {
        bytes.push_str(line.trim());
        bytes.push_str("\r\n");
    }
    let body: String = body.lines().map(str::trim).collect::<Vec<_>>().join("\r\n");
    bytes.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    read(Bytes::from(bytes))
}

/// The message of bytes that we wrote.
pub(crate) fn read(bytes: Bytes) -> Message {
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Message::parse(bytes, &Limits::default()).unwrap_or_else(|_| panic!("no message: {text}"))
}
