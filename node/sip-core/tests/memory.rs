//! What a subscription costs in memory while nothing happens.

use std::alloc::System;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use entente_sip_core::message::{Limits, Message};
use entente_sip_core::profile::Profile;
use entente_sip_core::subscription::notifier::{Decision, Input, Notifier, NotifierConfig, Output};
use entente_sip_core::subscription::screen::screen;
use entente_sip_core::transaction::Failure;
use entente_sip_core::usage::{Document, Outcome, RequestId};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The full number where the compiler optimises; without, it takes minutes and says the same of each.
const SUBSCRIPTIONS: usize = if cfg!(debug_assertions) {
    10_000
} else {
    100_000
};
const BOUND: usize = 4096;

/// As a Microsoft edge sends it: two signed Record-Routes, a GRUU Contact.
fn subscribe(number: usize) -> Message {
    let signature = "x".repeat(120);
    let text = format!(
        "SUBSCRIBE sip:alice{number}@entente.example SIP/2.0\r\n\
         Via: SIP/2.0/TLS 192.0.2.7:5061;branch=z9hG4bK{number};ms-received-port=5061\r\n\
         Record-Route: <sip:edge.contoso.example:5061;transport=tls;lr;ms-key-info={signature};ms-route-sig={signature}>\r\n\
         Record-Route: <sip:pool.contoso.example:5061;transport=tls;lr;ms-route-sig={signature}>\r\n\
         From: \"Bob\" <sip:bob{number}@contoso.example>;tag=abc{number};epid=0123456789\r\n\
         To: <sip:alice{number}@entente.example>\r\n\
         Call-ID: 0123456789abcdef0123456789abcdef{number}\r\n\
         CSeq: 1 SUBSCRIBE\r\n\
         Contact: <sip:bob{number}@contoso.example;opaque=user:epid:0123456789abcdefABCDEF;gruu>\r\n\
         Event: presence\r\n\
         Accept: application/pidf+xml\r\n\
         Expires: 7200\r\n\
         Content-Length: 0\r\n\r\n"
    );
    Message::parse(Bytes::from(text), &Limits::default()).expect("a message")
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test needs some moment to count from"
)]
fn start() -> Instant {
    Instant::now()
}

#[test]
fn subscriptions_by_the_hundred_thousand_take_less_than_4_kib_each() {
    let now = start();
    let config = Arc::new(NotifierConfig::of(
        &Profile::microsoft_365(),
        "<sip:sip.entente.example:5061;transport=tls>",
    ));
    let mut held = Vec::with_capacity(SUBSCRIPTIONS);
    let region = Region::new(ALLOCATOR);
    for number in 0..SUBSCRIPTIONS {
        let request = subscribe(number);
        let asked = screen(&request, config.min_expires, config.max_expires).expect("it is taken");
        // Each has a document of its own, as if no two presentities were alike.
        let document = Document {
            content_type: "application/pidf+xml".into(),
            body: Bytes::from(vec![b'x'; 1024]),
        };
        let mut notifier = Notifier::accept(
            now,
            config.clone(),
            (RequestId(1), &request),
            asked,
            ("bucket.0123456789abcdef.0123456789abcdef", 1),
            Decision::Active(document),
        )
        .expect("a dialog");
        // The usual life until the next change: everything is sent, NOTIFY could not be delivered once.
        while let Some(output) = notifier.poll_output() {
            if let Output::Send { id, .. } = output {
                let outcome = Outcome::Failed(Failure::Transport);
                notifier.handle_input(now, Input::Answer { id, outcome });
            }
        }
        notifier.handle_input(now + Duration::from_secs(60), Input::Timeout);
        while notifier.poll_output().is_some() {}
        held.push(notifier);
    }
    let change = region.change();
    let bytes = change.bytes_allocated - change.bytes_deallocated;
    let each = bytes / SUBSCRIPTIONS + size_of::<Notifier>();
    assert!(each < BOUND, "{each} bytes each");
    drop(held);
}
