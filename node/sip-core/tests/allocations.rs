//! How many allocations reading costs. Alone in its program: the count is the whole program's.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::System;

use entente_sip_core::framer::{Frame, Framer};
use entente_sip_core::message::Limits;
use entente_sip_core::validate::{Checked, Request, check};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

mod corpus;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// From the bytes read to everything that routing looks at.
const MOST: usize = 4;

fn read(framer: &mut Framer, bytes: &[u8]) -> Box<Request> {
    framer.push(bytes);
    let Ok(Some(Frame::Message(message))) = framer.next_frame() else {
        panic!("one message");
    };
    let Ok(Checked::Request(request)) = check(message) else {
        panic!("a good request");
    };
    request
}

fn route(request: &Request) -> usize {
    let mut seen = request.uri().host_str().len() + request.call_id().len();
    seen += request.from().uri().user().unwrap().len() + request.from().tag().unwrap().len();
    seen += request.to().uri().user().unwrap().len() + request.via().branch().unwrap().len();
    seen += request.routes().chain(request.record_routes()).count();
    seen += request.contacts().filter(Result::is_ok).count();
    seen += usize::from(request.max_forwards().unwrap()) + request.require().count();
    seen + request.content_type().unwrap().unwrap().subtype.len() + request.body().len()
}

/// Allocations from the bytes to what routing sees.
fn count(bytes: &[u8]) -> usize {
    let mut framer = Framer::new(Limits::default());
    let region = Region::new(ALLOCATOR);
    let request = read(&mut framer, bytes);
    let seen = route(&request);
    let change = region.change();
    assert!(seen > 0);
    change.allocations + change.reallocations
}

#[test]
fn a_request_costs_four_allocations_at_most() {
    for (name, size) in [("message", 300), ("invite", 800)] {
        let bytes = corpus::read("usual", name);
        assert_eq!(bytes.len(), size);
        // The test's own harness has a thread that allocates when it likes: the least of a few counts.
        let spent = (0..5).map(|_| count(&bytes)).min().unwrap();
        assert!(spent <= MOST, "{name}: {spent}");
        assert!(spent > 0, "nothing was counted");
    }
}
