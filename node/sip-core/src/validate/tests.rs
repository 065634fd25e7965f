use bytes::Bytes;

use crate::header::HeaderName;
use crate::message::{Limits, Message};
use crate::status::Status;
use crate::validate::{Checked, DropReason, Rejection, Request, check};

fn text(method: &str, replace: &[(&str, &str)]) -> String {
    let text = format!(
        "{method} sip:b@example.net SIP/2.0\r\nVia: SIP/2.0/TLS a.example;branch=z9hG4bK1;rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.net>\r\n\
         Call-ID: 1@a\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
    );
    replace.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{from} is not there");
        text.replace(from, to)
    })
}

fn checked(text: &str) -> Result<Checked, Rejection> {
    Message::parse(Bytes::copy_from_slice(text.as_bytes()), &Limits::default()).and_then(check)
}

fn request(text: &str) -> Box<Request> {
    match checked(text) {
        Ok(Checked::Request(request)) => request,
        other => panic!("no request: {other:?}"),
    }
}

#[test]
fn each_rule_is_asked() {
    for (from, to) in [
        ("Call-ID: 1@a\r\n", ""),
        ("Call-ID: 1@a", "Call-ID: a b"),
        ("Call-ID: 1@a", "Call-ID: 1@a\r\ni: 2@a"),
        ("From: <sip:a@example.com>;tag=1\r\n", ""),
        (
            "From: <sip:a@example.com>;tag=1",
            "From: <sip:a@example.com>;tag=1;tag=2",
        ),
        (
            "From: <sip:a@example.com>;tag=1",
            "From: <sip:a@example.com>;tag",
        ),
        (
            "From: <sip:a@example.com>;tag=1",
            "From: <sip:a@example.com>;tag=\"1\"",
        ),
        (
            "From: <sip:a@example.com>;tag=1",
            "From: <sip:a@example.com>, <sip:c@example.com>",
        ),
        ("To: <sip:b@example.net>", "To: b"),
        ("CSeq: 1", "CSeq: 2147483648"),
        ("CSeq: 1 MESSAGE", "CSeq: 1 message"),
        ("CSeq: 1 MESSAGE", "CSeq: 1"),
        ("Max-Forwards: 70", "Max-Forwards: 256"),
        ("Max-Forwards: 70", "Max-Forwards: 1\r\nMax-Forwards: 1"),
        ("branch=z9hG4bK1", "branch=z9hG4bK"),
        ("Max-Forwards: 70", "Route: <sip:a"),
        ("Max-Forwards: 70", "Record-Route: sip:a b"),
        ("Max-Forwards: 70", "Contact: <sip:a@b>,"),
        ("Max-Forwards: 70", "Expires: never"),
        ("Max-Forwards: 70", "Event: a b"),
        ("Content-Length: 0", "Content-Length: 0\r\nl: 0"),
        ("sip:b@example.net SIP", "sip:b@example.net?x=y SIP"),
        ("sip:b@example.net SIP", "<sip:b@example.net> SIP"),
    ] {
        let rejection = checked(&text("MESSAGE", &[(from, to)])).expect_err(to);
        assert_eq!(
            rejection.status(),
            Some(Status::BAD_REQUEST),
            "{to:?}: {rejection}"
        );
    }
    request(&text("MESSAGE", &[]));
    assert_eq!(
        request(&text("MESSAGE", &[("Max-Forwards: 70\r\n", "")])).max_forwards(),
        None
    );
}

#[test]
fn what_must_not_be_answered_is_dropped() {
    let drop = |text: &str| match checked(text) {
        Err(Rejection::Drop(reason)) => reason,
        other => panic!("{other:?}"),
    };
    let broken = [("Call-ID: 1@a\r\n", "")];
    assert!(matches!(drop(&text("ACK", &broken)), DropReason::Ack(_)));
    assert!(matches!(
        drop(&text("BENOTIFY", &broken)),
        DropReason::Benotify(_)
    ));
    let no_via = [("Via: SIP/2.0/TLS a.example;branch=z9hG4bK1;rport\r\n", "")];
    assert!(matches!(
        drop(&text("MESSAGE", &no_via)),
        DropReason::NoVia(_)
    ));
    let response = text(
        "MESSAGE",
        &[
            ("MESSAGE sip:b@example.net SIP/2.0", "SIP/2.0 200 OK"),
            broken[0],
        ],
    );
    assert!(matches!(drop(&response), DropReason::Response(_)));
    assert_eq!(drop("hello\r\n\r\n"), DropReason::NotSip);
}

#[test]
fn the_source_is_noted_in_the_top_via_only() {
    let second = "Via: SIP/2.0/TLS [::2];branch=z9hG4bK2;rport\r\nMax";
    let request = request(&text("MESSAGE", &[("Max", second)]));
    let response = request
        .response(Status::OK)
        .to_tag("t")
        .source("[::ffff:192.0.2.9]:4444".parse().unwrap())
        .build()
        .unwrap();
    let vias: Vec<&str> = response.values(HeaderName::Via).collect();
    assert_eq!(
        vias,
        [
            "SIP/2.0/TLS a.example;branch=z9hG4bK1;rport=4444;received=192.0.2.9",
            "SIP/2.0/TLS [::2];branch=z9hG4bK2;rport"
        ]
    );
}

#[test]
fn a_refusal_for_policy_has_its_own_headers_and_words() {
    let request = request(&text("SUBSCRIBE", &[]));
    let response = request
        .refuse(Status::INTERVAL_TOO_BRIEF)
        .with(HeaderName::MinExpires, "600")
        .with_phrase("Too soon")
        .response("t", None)
        .unwrap();
    assert_eq!(response.min_expires().unwrap(), Some(600));
    assert!(response.as_bytes().starts_with(b"SIP/2.0 423 Too soon\r\n"));
    let injected = request
        .refuse(Status::FORBIDDEN)
        .with(HeaderName::Warning, "a\r\nX: y");
    assert_eq!(injected.response("t", None), None);
}
