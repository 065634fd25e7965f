//! What the other side of a stream announces that it accepts (XEP-0478).

use std::time::{Duration, Instant};

use crate::element::Element;
use crate::ns;

/// The limits of the peer for what it receives on one stream. It announces them in its features, or,
/// having opened a bidirectional stream, with its `<bidi/>`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PeerLimits {
    /// Bytes of one stanza; what is larger would cost the stream.
    pub max_bytes: Option<usize>,
    /// Silence from us after which the peer may close the stream.
    pub idle: Option<Duration>,
}

impl PeerLimits {
    /// Reads the `<limits/>` inside `parent`. A zero is no limit that anybody could keep: it counts as
    /// not said, like everything that is no number.
    pub(super) fn read(parent: &Element) -> Option<Self> {
        let limits = parent.get_child(ns::STREAM_LIMITS, "limits")?;
        let number = |name| -> Option<u32> {
            let text = limits.get_child(ns::STREAM_LIMITS, name)?.content_text();
            text.trim().parse().ok().filter(|number| *number > 0)
        };
        Some(Self {
            max_bytes: number("max-bytes").and_then(|bytes| usize::try_from(bytes).ok()),
            idle: number("idle-seconds").map(|seconds| Duration::from_secs(seconds.into())),
        })
    }

    /// When to write something, having written last at `sent`: at half the time, because what is written
    /// takes a while to be heard.
    pub(super) fn keepalive(&self, sent: Instant) -> Option<Instant> {
        self.idle.map(|idle| sent + idle / 2)
    }
}
