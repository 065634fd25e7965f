//! What the gateway keeps for each subscription of a remote watcher while nothing happens, and that it
//! lets go of it. Prints what it counted:
//! `cargo test --release -p entente-interwork-core --test memory -- --nocapture`.
#![expect(
    clippy::print_stderr,
    reason = "the figures are what the test is run for"
)]

use std::alloc::System;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use entente_interwork_core::address::AddressRules;
use entente_interwork_core::gateway::{Bounds, CallId, Gateway, Input, Output, Peer, Settings};
use entente_interwork_core::pidf::{Dialect, Style};
use entente_interwork_core::presence::RichClients;
use entente_sip_core::draft::Draft;
use entente_sip_core::message::{Limits, Message};
use entente_sip_core::owner::{Owner, OwnerKey};
use entente_sip_core::profile::{Product, Profile};
use entente_sip_core::record::Moment;
use entente_sip_core::usage::RequestId;
use entente_xmpp_core::stanza::Stanza;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The full number where the compiler optimises; without, it takes minutes and says the same of each.
const SUBSCRIPTIONS: usize = if cfg!(debug_assertions) {
    2_000
} else {
    100_000
};
const BOUND: usize = 4096;
/// What queues and tables keep, however many there were.
const LEFT: usize = 128 * 1024;

#[test]
fn a_subscription_takes_less_than_4_kib_and_goes_without_a_trace() {
    for watchers in [1, SUBSCRIPTIONS.min(10_000)] {
        measure(watchers);
    }
}

fn measure(watchers: usize) {
    let mut world = World::new();
    // Maps and tables of the first one are not counted.
    world.subscribe(SUBSCRIPTIONS + 1, 1);
    let region = Region::new(ALLOCATOR);
    let began = world.clock();
    for number in 0..SUBSCRIPTIONS {
        world.subscribe(number, watchers);
    }
    let held = held(&region) / SUBSCRIPTIONS;
    let took = world.clock() - began;
    // Past the pause between two NOTIFY.
    world.at += Duration::from_secs(6);
    let began = world.clock();
    for number in 0..SUBSCRIPTIONS {
        world.unsubscribe(number, watchers);
    }
    let ended = world.clock() - began;
    let left = self::held(&region);
    eprintln!(
        "{SUBSCRIPTIONS} subscriptions, {watchers} to each user: {held} bytes each; {left} bytes left when they ended; \
         {:.1} µs to begin one, {:.1} µs to end it",
        micros(took),
        micros(ended),
    );
    assert!(held < BOUND, "{held} bytes for each");
    assert!(left < LEFT, "{left} bytes are left when all have ended");
}

fn held(region: &Region<'_, System>) -> usize {
    let change = region.change();
    change
        .bytes_allocated
        .saturating_sub(change.bytes_deallocated)
}

fn micros(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6 / SUBSCRIPTIONS as f64
}

/// A gateway whose store answers at once, whose users allow all and whose peer takes every NOTIFY.
struct World {
    gateway: Gateway,
    start: Instant,
    at: Duration,
    tags: HashMap<usize, Box<str>>,
    next: u64,
}

impl World {
    fn new() -> Self {
        let peer = Arc::new(Peer {
            name: "lync".into(),
            profile: Profile::of(Product::MicrosoftLync),
            system: Peer::system_of(Product::MicrosoftLync),
            style: Style::new(Dialect::Microsoft),
            rules: AddressRules::default(),
        });
        let settings = Settings {
            domains: HashMap::from([("florence.example".into(), "lync".into())]),
            peers: HashMap::from([(Arc::clone(&peer.name), peer)]),
            other_domains: None,
            key: OwnerKey::new(b"cluster"),
            owner: |_| Owner::new("u1").expect("a word"),
            contact: "sip.siena.example:5061;transport=tls".into(),
            rich: RichClients::default(),
            bounds: Bounds::default(),
        };
        let start = some_moment();
        let moment = Moment {
            now: start,
            unix_ms: 0,
        };
        Self {
            gateway: Gateway::new(Arc::new(settings), [7; 16], moment),
            start,
            at: Duration::ZERO,
            tags: HashMap::with_capacity(2 * SUBSCRIPTIONS),
            next: 0,
        }
    }

    #[expect(clippy::disallowed_methods, reason = "it is the time that it takes")]
    fn clock(&self) -> Instant {
        Instant::now()
    }

    fn input(&mut self, input: Input) {
        let moment = Moment {
            now: self.start + self.at,
            unix_ms: 0,
        };
        self.gateway.handle_input(moment, input);
    }

    /// As a Microsoft edge sends it: two signed Record-Routes, a GRUU Contact.
    fn request(&mut self, number: usize, watchers: usize, cseq: u32, expires: u32) -> Input {
        let user = number / watchers;
        let tag = self
            .tags
            .get(&number)
            .map(|tag| format!(";tag={tag}"))
            .unwrap_or_default();
        let signature = "x".repeat(120);
        let text = format!(
            "SUBSCRIBE sip:alice{user}@entente.example SIP/2.0\r\n\
             Via: SIP/2.0/TLS 192.0.2.7:5061;branch=z9hG4bK{number}.{cseq};ms-received-port=5061\r\n\
             Record-Route: <sip:edge.florence.example:5061;transport=tls;lr;ms-key-info={signature};ms-route-sig={signature}>\r\n\
             Record-Route: <sip:pool.florence.example:5061;transport=tls;lr;ms-route-sig={signature}>\r\n\
             From: \"Bob\" <sip:bob{number}@florence.example>;tag=abc{number};epid=0123456789\r\n\
             To: <sip:alice{user}@entente.example>{tag}\r\n\
             Call-ID: 0123456789abcdef0123456789abcdef{number}\r\n\
             CSeq: {cseq} SUBSCRIBE\r\n\
             Contact: <sip:bob{number}@florence.example;opaque=user:epid:0123456789abcdefABCDEF;gruu>\r\n\
             Event: presence\r\n\
             Accept: application/pidf+xml\r\n\
             Expires: {expires}\r\n\
             Content-Length: 0\r\n\r\n"
        );
        self.next += 1;
        Input::Request {
            id: Some(RequestId(self.next)),
            peer: "lync".into(),
            message: Message::parse(Bytes::from(text), &Limits::default()).expect("a message"),
        }
    }

    fn subscribe(&mut self, number: usize, watchers: usize) {
        let request = self.request(number, watchers, 1, 7200);
        self.input(request);
        self.settle();
        let (user, person) = (
            format!("alice{}@entente.example", number / watchers),
            format!("bob{number}@florence.example"),
        );
        self.stanza(&format!(
            "<presence type='subscribed' from='{user}' to='{person}'/>"
        ));
        self.stanza(&format!(
            "<presence from='{user}/desk' to='{person}'><show>away</show><status>Lunch</status></presence>"
        ));
        // What the home says is gathered for a moment.
        self.at += Duration::from_millis(30);
        self.input(Input::Timeout);
        let tag = self.settle().expect("an answer with our tag");
        self.tags.insert(number, tag);
    }

    fn unsubscribe(&mut self, number: usize, watchers: usize) {
        let request = self.request(number, watchers, 2, 0);
        self.tags.remove(&number);
        self.input(request);
        self.settle();
    }

    fn stanza(&mut self, xml: &str) {
        let stanza = Stanza::parse(Bytes::copy_from_slice(xml.as_bytes())).expect("a stanza");
        self.input(Input::FromUser { id: None, stanza });
        self.settle();
    }

    /// Does what is wanted; our tag of the last answer.
    fn settle(&mut self) -> Option<Box<str>> {
        let mut tag = None;
        while let Some(output) = self.gateway.poll_output() {
            match output {
                Output::Store { id, .. } => self.input(Input::Stored { id, durable: true }),
                Output::Load { id, .. } => self.input(Input::Loaded {
                    id,
                    records: Some(Vec::new()),
                }),
                Output::Send { call, draft, .. } => self.ok(call, &draft),
                Output::Respond { reply, .. } => {
                    let response = Message::parse(reply.to_bytes(), &Limits::default());
                    let response = response.expect("a response");
                    assert_eq!(response.status().map(|status| status.code()), Some(200));
                    tag = response.to().ok().and_then(|to| to.tag().map(Into::into));
                }
                _ => {}
            }
        }
        tag
    }

    fn ok(&mut self, call: CallId, draft: &Draft) {
        let request = Message::parse(
            draft.to_bytes("SIP/2.0/TLS h;branch=z9hG4bKx"),
            &Limits::default(),
        )
        .expect("a request");
        let ok = entente_sip_core::status::Status::OK;
        let response = entente_sip_core::reply::Reply::new(&request, ok, "");
        let message = Message::parse(response.to_bytes(), &Limits::default()).expect("a response");
        self.input(Input::Response { call, message });
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test needs some moment to count from"
)]
fn some_moment() -> Instant {
    Instant::now()
}
