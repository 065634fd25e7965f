//! What a table of transactions works with during one input.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::contract::{ConnectionId, Counters, Output};
use super::timing::Timing;

/// Time, constants, and where results go.
pub(crate) struct Desk<'a> {
    pub(crate) now: Instant,
    pub(crate) timing: Timing,
    pub(crate) out: &'a mut VecDeque<Output>,
    pub(crate) counters: &'a mut Counters,
}

impl Desk<'_> {
    pub(crate) fn transmit(&mut self, connection: ConnectionId, bytes: Bytes) {
        self.out.push_back(Output::Transmit { connection, bytes });
    }

    pub(crate) fn put(&mut self, output: Output) {
        self.out.push_back(output);
    }
}
