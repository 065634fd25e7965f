use crate::framer::{Frame, Framer, FramingLost};
use crate::message::{Limits, MessageFault};
use crate::validate::{DropReason, Rejection};

const LIMITS: Limits = Limits {
    head_bytes: 400,
    headers: 7,
    body_bytes: 20,
};

fn message(length: &str, more: &str, body: &str) -> String {
    format!(
        "MESSAGE sip:b@example.net SIP/2.0\r\nVia: SIP/2.0/TLS a.example;branch=z9hG4bK1\r\n\
         From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.net>\r\nCall-ID: 1\r\n\
         CSeq: 1 MESSAGE\r\n{length}{more}\r\n{body}"
    )
}

fn framer(bytes: &str) -> Framer {
    let mut framer = Framer::new(LIMITS);
    framer.push(bytes.as_bytes());
    framer
}

/// The status of the next frame, which is a rejection.
fn status(framer: &mut Framer) -> u16 {
    match framer.next_frame().unwrap() {
        Some(Frame::Rejected(rejection)) => rejection.status().unwrap().code(),
        other => panic!("no refusal: {other:?}"),
    }
}

fn body(framer: &mut Framer) -> Vec<u8> {
    match framer.next_frame().unwrap() {
        Some(Frame::Message(message)) => message.body().to_vec(),
        other => panic!("no message: {other:?}"),
    }
}

#[test]
fn a_message_waits_for_its_whole_body() {
    let mut framer = framer(&message("l: 5\r\n", "", "hel"));
    assert!(framer.next_frame().unwrap().is_none());
    framer.push(b"lo");
    assert_eq!(body(&mut framer), b"hello");
    assert!(framer.next_frame().unwrap().is_none());
    assert_eq!(framer.unread(), 0);
}

#[test]
fn two_line_ends_are_a_ping_and_one_is_a_pong() {
    let mut framer = framer("\r\n");
    assert!(matches!(framer.next_frame(), Ok(Some(Frame::Pong))));
    assert!(matches!(framer.next_frame(), Ok(None)));
    framer.push(b"\r");
    assert!(matches!(framer.next_frame(), Ok(None)));
    framer.push(b"\n");
    assert!(matches!(framer.next_frame(), Ok(Some(Frame::Ping))));
    framer.push(message("l: 0\r\n", "", "").as_bytes());
    assert_eq!(body(&mut framer), b"");
}

#[test]
fn a_body_at_the_limit_passes_and_one_above_gets_413_and_is_skipped() {
    let good = message("l: 20\r\n", "", &"x".repeat(20));
    let large = message("l: 21\r\n", "", &"y".repeat(21));
    let mut framer = framer(&format!("{good}{large}{good}"));
    assert_eq!(body(&mut framer).len(), 20);
    assert_eq!(status(&mut framer), 413);
    assert_eq!(body(&mut framer).len(), 20);
}

#[test]
fn a_body_that_is_not_worth_skipping_ends_the_connection() {
    let mut framer = framer(&message("l: 321\r\n", "", ""));
    assert_eq!(status(&mut framer), 413);
    let lost = FramingLost {
        cause: MessageFault::BodyTooLarge,
    };
    assert_eq!(framer.next_frame().unwrap_err(), lost);
    framer.push(b"more");
    assert_eq!(framer.next_frame().unwrap_err(), lost);
    assert_eq!(framer.unread(), 0);
}

#[test]
fn too_many_headers_get_513_and_the_stream_goes_on() {
    let good = message("l: 1\r\n", "a: 1\r\n", "x");
    let many = message("l: 1\r\n", "a: 1\r\nb: 1\r\n", "x");
    let mut framer = framer(&format!("{good}{many}{good}"));
    assert_eq!(body(&mut framer), b"x");
    assert_eq!(status(&mut framer), 513);
    assert_eq!(body(&mut framer), b"x");
}

#[test]
fn the_length_is_found_although_there_are_too_many_headers_before_it() {
    let good = message("l: 1\r\n", "", "x");
    let many = message("a: 1\r\nb: 1\r\nc: 1\r\n", "l: 1\r\n", "x");
    let mut framer = framer(&format!("{many}{good}"));
    assert_eq!(status(&mut framer), 513);
    assert_eq!(body(&mut framer), b"x");
}

#[test]
fn a_head_at_the_limit_passes_and_a_longer_one_ends_the_connection_with_513() {
    let filler = |length: usize| {
        let bare = message("l: 0\r\n", "X: \r\n", "").len();
        message(
            "l: 0\r\n",
            &format!("X: {}\r\n", "x".repeat(length - bare)),
            "",
        )
    };
    let mut exact = framer(&filler(LIMITS.head_bytes));
    assert_eq!(body(&mut exact), b"");
    let mut long = framer(&filler(LIMITS.head_bytes + 1));
    assert_eq!(status(&mut long), 513);
    assert!(long.next_frame().is_err());
}

#[test]
fn without_a_usable_length_the_request_is_answered_and_the_connection_ends() {
    for length in [
        "",
        "l: -1\r\n",
        "l: 1x\r\n",
        "l:\r\n",
        "l: 1\r\nl: 2\r\n",
        "l: 1, 1\r\n",
        "l: +1\r\n",
    ] {
        let mut framer = framer(&message(length, "", "x"));
        assert_eq!(status(&mut framer), 400, "{length}");
        assert_eq!(
            framer.next_frame().unwrap_err().cause,
            MessageFault::ContentLength
        );
    }
}

#[test]
fn the_same_length_twice_is_framed() {
    let mut framer = framer(&message("l: 1\r\nContent-Length: 01\r\n", "", "x"));
    assert_eq!(body(&mut framer), b"x");
}

#[test]
fn a_broken_head_with_a_length_is_refused_alone() {
    let good = message("l: 1\r\n", "", "x");
    for broken in [
        "no colon\r\n",
        " name: 1\r\n",
        "a: b\rc\r\n",
        "a: b\nc: d\r\n",
        "a: \0\r\n",
        ": x\r\n",
        "a b: x\r\n",
    ] {
        let bad = message(broken, "l: 3\r\n", "abc");
        let mut framer = framer(&format!("{bad}{good}"));
        let first = framer.next_frame().unwrap();
        if broken.starts_with(' ') {
            // A fold of the CSeq before it: that is for validation.
            assert!(matches!(first, Some(Frame::Message(_))));
        } else {
            let Some(Frame::Rejected(rejection)) = first else {
                panic!("{broken:?}: {first:?}");
            };
            assert_eq!(rejection.status().unwrap().code(), 400, "{broken:?}");
        }
        assert_eq!(body(&mut framer), b"x", "{broken:?}");
    }
}

#[test]
fn what_is_no_sip_is_dropped_with_the_connection() {
    let mut framer = framer("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let Ok(Some(Frame::Rejected(Rejection::Drop(reason)))) = framer.next_frame() else {
        panic!("nothing is dropped");
    };
    assert_eq!(reason, DropReason::NotSip);
    assert!(framer.next_frame().is_err());
}
