//! How fast messages are read on one core, beside rsip: `cargo run --release -p entente-sip-core
//! --example parse_speed`.
//!
//! Both read the same bytes up to what routing needs: method, Request-URI, top Via with its branch,
//! From and To with tags, Call-ID and CSeq. Ours checks everything else on the way.
#![expect(clippy::print_stdout, reason = "the figures are the point")]
#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use entente_sip_core::Message;
use entente_sip_core::framer::{Frame, Framer};
use entente_sip_core::message::Limits;
use entente_sip_core::validate::{Checked, check};
use rsip::prelude::{HeadersExt, ToTypedHeader};

const MESSAGES: [(&str, &[u8]); 2] = [
    (
        "MESSAGE",
        include_bytes!("../../../tests/corpus/sip/usual/message.dat"),
    ),
    (
        "INVITE",
        include_bytes!("../../../tests/corpus/sip/usual/invite.dat"),
    ),
];
/// Short runs, many of them and in turns: so that a busy machine leaves some of each undisturbed.
const ROUNDS: usize = 1_000;
const RUNS: usize = 200;
const READ: usize = 16 * 1024;

fn main() {
    for (name, bytes) in MESSAGES {
        println!("{name}, {} bytes:", bytes.len());
        let shared = Bytes::from_static(bytes);
        let stream = bytes.repeat(ROUNDS);
        let [mut best_ours, mut best_framed, mut best_theirs] = [Duration::MAX; 3];
        for _ in 0..RUNS {
            best_ours = best_ours.min(time(|| repeat(|| ours(shared.clone()))));
            best_framed = best_framed.min(time(|| framed(&stream)));
            best_theirs = best_theirs.min(time(|| repeat(|| theirs(bytes))));
        }
        let [ours, framed, theirs] =
            [best_ours, best_framed, best_theirs].map(|best| ROUNDS as f64 / best.as_secs_f64());
        println!("  read and checked   {:>10.0} a second", ours);
        println!("  framed and checked {:>10.0} a second", framed);
        println!("  rsip               {:>10.0} a second", theirs);
        println!("  {:.1} times rsip", ours / theirs);
    }
}

fn ours(bytes: Bytes) -> usize {
    let message = Message::parse(bytes, &Limits::default()).expect("a message");
    let Ok(Checked::Request(request)) = check(message) else {
        panic!("a good request");
    };
    request.uri().host_str().len()
        + request.via().branch().map_or(0, str::len)
        + request.from().tag().map_or(0, str::len)
        + request.to().tag().map_or(0, str::len)
        + request.call_id().len()
        + request.method().as_str().len()
        + request.cseq().number as usize
}

fn framed(stream: &[u8]) {
    let mut framer = Framer::new(Limits::default());
    let mut found = 0;
    for read in stream.chunks(READ) {
        framer.push(read);
        while let Some(frame) = framer.next_frame().expect("a good stream") {
            let Frame::Message(message) = frame else {
                panic!("a good message");
            };
            found += black_box(check(message)).map_or(0, |_| 1);
        }
    }
    assert_eq!(found, ROUNDS);
}

fn theirs(bytes: &[u8]) -> usize {
    let request = rsip::Request::try_from(bytes).expect("a request");
    let via = request
        .via_header()
        .and_then(|via| via.typed())
        .expect("Via");
    let from = request
        .from_header()
        .and_then(|from| from.typed())
        .expect("From");
    let to = request.to_header().and_then(|to| to.typed()).expect("To");
    let cseq = request
        .cseq_header()
        .and_then(|cseq| cseq.typed())
        .expect("CSeq");
    let call_id = request.call_id_header().expect("Call-ID");
    request.uri().host().to_string().len()
        + via.branch().map_or(0, |branch| branch.value().len())
        + from.tag().map_or(0, |tag| tag.value().len())
        + to.tag().map_or(0, |tag| tag.value().len())
        + call_id.to_string().len()
        + request.method().to_string().len()
        + cseq.seq as usize
}

fn repeat(mut read: impl FnMut() -> usize) {
    for _ in 0..ROUNDS {
        black_box(read());
    }
}

fn time(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}
