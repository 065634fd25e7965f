//! The messages of RFC 4475 and RFC 5118, with the answer to each.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use entente_sip_core::framer::{Frame, Framer};
use entente_sip_core::message::Limits;
use entente_sip_core::validate::{Checked, Rejection, check};
use entente_sip_core::{HeaderName, Message};

mod corpus;

/// What becomes of a message.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// It is worked on; what comes of it is a matter of the application.
    Accepted,
    /// It gets this response, for this reason.
    Refused(u16, &'static str),
    /// It gets none, for this reason.
    Dropped(&'static str),
}
use Answer::{Accepted, Dropped, Refused};

/// Section 3.1.1 is valid, 3.1.2 is not, 3.2 to 3.4 are about transactions and applications. As
/// datagrams, which most of them are.
const RFC_4475: [(&str, Answer); 49] = [
    ("wsinv", Accepted),
    ("intmeth", Accepted), // an unknown method: 501 or 405 from the application
    ("esc01", Accepted),
    ("escnull", Accepted),
    ("esc02", Accepted), // %47 in a method or header name is no escape
    ("lwsdisp", Accepted),
    ("longreq", Accepted),
    ("dblreq", Accepted), // the bytes behind the first are ignored
    ("semiuri", Accepted),
    ("transports", Accepted),
    ("mpart01", Accepted),
    ("unreason", Accepted),
    ("noreason", Accepted),
    ("badinv01", Refused(400, "malformed Via header")),
    ("clerr", Refused(400, "incomplete message")),
    ("ncl", Refused(400, "no usable Content-Length")),
    ("scalar02", Refused(400, "malformed CSeq header")),
    (
        "scalarlg",
        Dropped("a broken response: malformed CSeq header"),
    ),
    ("quotbal", Refused(400, "malformed To header")),
    (
        "ltgtruri",
        Refused(400, "Request-URI: a character that a URI cannot have"),
    ),
    ("lwsruri", Refused(400, "malformed start line")),
    ("lwsstart", Refused(400, "malformed start line")),
    ("trws", Refused(400, "malformed start line")),
    ("escruri", Refused(400, "Request-URI: malformed URI header")),
    ("baddate", Accepted), // a Date that nothing depends on
    ("regbadct", Refused(400, "malformed Contact header")),
    ("badaspec", Refused(400, "malformed To header")),
    ("baddn", Refused(400, "malformed From header")),
    ("badvers", Refused(505, "unsupported SIP version")),
    ("mismatch01", Refused(400, "CSeq names another method")),
    ("mismatch02", Refused(400, "CSeq names another method")),
    ("bigcode", Dropped("no SIP message")),
    ("badbranch", Refused(400, "malformed Via header")),
    ("insuf", Refused(400, "no From header")),
    ("unkscm", Refused(416, "unsupported URI scheme")),
    ("novelsc", Refused(416, "unsupported URI scheme")),
    ("unksm2", Accepted), // To and From may have any scheme; the registrar refuses it
    ("bext01", Accepted), // 420 once Require is asked, see below
    ("invut", Accepted),  // 415 from the application
    ("regaut01", Accepted),
    ("multi01", Refused(400, "more than one Call-ID header")),
    ("mcl01", Refused(400, "no usable Content-Length")),
    ("bcast", Accepted),  // a response of no transaction of ours: dropped there
    ("zeromf", Accepted), // 483 where it would be forwarded
    ("cparam01", Accepted),
    ("cparam02", Accepted),
    ("regescrt", Accepted),
    ("sdp01", Accepted), // 488 from the application
    ("inv2543", Accepted),
];

const RFC_5118: [(&str, Answer); 12] = [
    ("ipv6-good", Accepted),
    ("ipv6-bad", Refused(400, "Request-URI: malformed port")),
    ("port-ambiguous", Accepted),
    ("port-unambiguous", Accepted),
    ("via-received-param-with-delim", Accepted),
    ("via-received-param-no-delim", Accepted),
    // The RFC's Content-Length is larger than its body; see below.
    ("ipv6-in-sdp", Refused(400, "incomplete message")),
    ("mult-ip-in-header", Accepted),
    ("mult-ip-in-sdp", Accepted),
    ("ipv4-mapped-ipv6", Accepted),
    ("ipv6-bug-abnf-3-colons", Accepted),
    ("ipv6-correct-abnf-2-colons", Accepted),
];

fn checked(bytes: Vec<u8>) -> Result<Checked, Rejection> {
    Message::parse(Bytes::from(bytes), &Limits::default()).and_then(check)
}

fn message(checked: Checked) -> Message {
    match checked {
        Checked::Request(request) => request.into_message(),
        Checked::Response(response) => response.into_message(),
    }
}

fn accepted(rfc: &str, name: &str) -> Message {
    message(checked(corpus::read(rfc, name)).expect(name))
}

fn assert_answer(name: &str, outcome: &Result<Checked, Rejection>, expected: &Answer) {
    match (outcome, expected) {
        (Ok(_), Accepted) => {}
        (Err(Rejection::Refuse(refusal)), Refused(code, why)) => {
            assert_eq!(refusal.status().code(), *code, "{name}");
            assert_eq!(refusal.cause().to_string(), *why, "{name}");
        }
        (Err(Rejection::Drop(reason)), Dropped(why)) => {
            assert_eq!(reason.to_string(), *why, "{name}");
        }
        _ => panic!("{name}: {outcome:?} instead of {expected:?}"),
    }
}

#[test]
fn every_message_gets_the_right_answer() {
    for (rfc, table) in [("rfc4475", RFC_4475.as_slice()), ("rfc5118", &RFC_5118)] {
        assert_eq!(
            corpus::names(rfc).len(),
            table.len(),
            "messages without an answer"
        );
        for (name, expected) in table {
            let bytes = corpus::read(rfc, name);
            let outcome = checked(bytes.clone());
            assert_answer(name, &outcome, expected);
            if let Ok(checked) = outcome {
                let message = message(checked);
                assert!(bytes.starts_with(message.as_bytes()), "{name} was changed");
            }
        }
    }
}

#[test]
fn every_refusal_can_be_sent() {
    for (rfc, name) in corpus::all() {
        let bytes = corpus::read(rfc, &name);
        let Err(Rejection::Refuse(refusal)) = checked(bytes) else {
            continue;
        };
        let response = refusal.response("ours", None).expect(&name);
        assert_eq!(response.status(), Some(refusal.status()), "{name}");
        for copied in [
            HeaderName::Via,
            HeaderName::From,
            HeaderName::CallId,
            HeaderName::CSeq,
        ] {
            let in_request: Vec<_> = refusal.headers().lines(copied).collect();
            let in_response: Vec<_> = response.lines(copied).collect();
            assert_eq!(in_request, in_response, "{copied} of {name}");
        }
        if let Ok(to) = refusal.headers().to() {
            let tag = to.tag().unwrap_or("ours");
            assert_eq!(response.to().expect(&name).tag(), Some(tag), "{name}");
        }
    }
}

#[test]
fn on_a_stream_a_bad_message_does_not_end_it_unless_its_length_is_unknown() {
    // What is behind the first message of these is framed for itself, or never comes.
    const OTHER: [&str; 5] = [
        "dblreq",
        "mult-ip-in-sdp",
        "ipv4-mapped-ipv6",
        "clerr",
        "ipv6-in-sdp",
    ];
    const UNUSABLE_LENGTH: [&str; 2] = ["ncl", "mcl01"];
    let good = corpus::read("usual", "message");
    let mut ended = Vec::new();
    for (rfc, name) in corpus::all() {
        if OTHER.contains(&name.as_str()) {
            continue;
        }
        let bytes = corpus::read(rfc, &name);
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        let has_length = ["\r\nl:", "\r\ncontent-length"]
            .iter()
            .any(|l| text.contains(l));
        let mut framer = Framer::new(Limits::default());
        framer.push(&bytes);
        framer.push(&good);
        let first = framer.next_frame().expect(&name);
        assert!(
            matches!(first, Some(Frame::Message(_) | Frame::Rejected(_))),
            "{name}: {first:?}"
        );
        let second = framer.next_frame();
        if has_length && !UNUSABLE_LENGTH.contains(&name.as_str()) {
            assert!(
                matches!(second, Ok(Some(Frame::Message(_)))),
                "{name}: {second:?}"
            );
        } else {
            assert!(second.is_err(), "{name}: {second:?}");
            ended.push(name);
        }
    }
    assert!(ended.len() < 12, "too many end the stream: {ended:?}");
}

#[test]
fn the_tortuous_invite_reads_as_meant() {
    let message = accepted("rfc4475", "wsinv");
    assert_eq!(message.to().unwrap().tag(), Some("1918181833n"));
    let from = message.from().unwrap();
    assert_eq!(from.display_name().unwrap(), "J Rosenberg \\\"");
    assert_eq!(from.tag(), Some("98asjd8"));
    assert_eq!(message.max_forwards().unwrap(), Some(68));
    assert_eq!(message.cseq().unwrap().number, 9);
    let vias: Vec<_> = message.vias().map(Result::unwrap).collect();
    assert_eq!(vias.len(), 3);
    assert_eq!(vias[0].host_str(), "192.0.2.2");
    assert_eq!(vias[0].branch(), Some("390skdjuw"));
    assert_eq!(vias[0].unique_branch(), None);
    assert_eq!(vias[1].branch(), Some("z9hG4bK9ikj8"));
    assert_eq!(vias[2].transport_str(), "UDP");
    assert_eq!(vias[2].unique_branch(), Some("z9hG4bK30239"));
    assert_eq!(message.get(HeaderName::Subject), Some(""));
    let unusual = message.other("UnknownHeaderWithUnusualValue");
    assert_eq!(unusual, Some(";;,,;;,;"));
    let fangled = message
        .iter()
        .find(|h| h.written_name == "NewFangledHeader");
    assert_eq!(
        fangled.unwrap().unfolded(),
        "newfangled value continued newfangled value"
    );
    let contact = message.contact().unwrap();
    assert_eq!(contact.display_name().unwrap(), "Quoted string \"\"");
    assert_eq!(contact.params().get("newparam"), Some("newvalue"));
    assert_eq!(contact.params().get("q"), Some("0.33"));
    assert!(contact.params().has("secondparam"));
    let route = message.routes().next().unwrap().unwrap();
    assert_eq!(route.uri().host_str(), "services.example.com");
    assert!(route.uri().params().has("unknown-no-value"));
}

#[test]
fn unusual_characters_stay_what_they_are() {
    let message = accepted("rfc4475", "intmeth");
    assert_eq!(
        message.method().unwrap().as_str(),
        "!interesting-Method0123456789_*+`.%indeed'~"
    );
    let uri = message.request_uri().unwrap().unwrap();
    assert_eq!(
        uri.user(),
        Some("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*")
    );
    assert_eq!(
        uri.password(),
        Some("&it+has=1,weird!*pas$wo~d_too.(doesn't-it)")
    );
    assert_eq!(uri.host_str(), "example.com");
    let to = message.to().unwrap();
    assert_eq!(to.display_name().unwrap(), "BEL:\u{7} NUL:\0 DEL:\u{7f}");
    assert_eq!(message.from().unwrap().tag(), Some("_token~1'+`*%!-."));

    let escaped = accepted("rfc4475", "escnull");
    let user = escaped.to().unwrap();
    assert_eq!(user.uri().decoded_user().unwrap().as_ref(), b"null-\0-null");

    let semicolons = accepted("rfc4475", "semiuri")
        .request_uri()
        .unwrap()
        .unwrap();
    assert_eq!(semicolons.user(), Some("user;par=u%40example.net"));
    assert!(semicolons.params().as_str().is_empty());
}

#[test]
fn a_required_extension_that_nobody_knows_is_named_in_420() {
    let Ok(Checked::Request(request)) = checked(corpus::read("rfc4475", "bext01")) else {
        panic!("bext01 is a request");
    };
    let refusal = request.check_required(&["eventlist"]).unwrap_err();
    let response = refusal.response("t", None).unwrap();
    assert_eq!(response.status().unwrap().code(), 420);
    let unsupported: Vec<_> = response.values(HeaderName::Unsupported).collect();
    let required: Vec<_> = request.require().collect();
    assert_eq!(unsupported, required);
}

#[test]
fn binary_bodies_are_kept() {
    let message = accepted("rfc4475", "mpart01");
    let length: usize = message
        .get(HeaderName::ContentLength)
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(message.body().len(), length);
    assert!(std::str::from_utf8(message.body()).is_err());
    assert_eq!(message.content_type().unwrap().unwrap().type_, "multipart");
}

#[test]
fn ipv6_addresses_are_read_with_and_without_brackets() {
    let uri = |name| accepted("rfc5118", name).request_uri().unwrap().unwrap();
    for name in [
        "via-received-param-with-delim",
        "via-received-param-no-delim",
    ] {
        let via = accepted("rfc5118", name).top_via().unwrap();
        assert_eq!(
            via.received(),
            Some("2001:db8::9:255".parse().unwrap()),
            "{name}"
        );
    }
    let ambiguous = uri("port-ambiguous");
    assert_eq!(
        (ambiguous.host_str(), ambiguous.port()),
        ("[2001:db8::10:5070]", None)
    );
    let clear = uri("port-unambiguous");
    assert_eq!(
        (clear.host_str(), clear.port()),
        ("[2001:db8::10]", Some(5070))
    );
    let three = uri("ipv6-bug-abnf-3-colons");
    let two = uri("ipv6-correct-abnf-2-colons");
    assert_eq!(three.host(), two.host());
    assert!(three.equivalent(&two));
    let ports: Vec<_> = accepted("rfc5118", "mult-ip-in-header")
        .vias()
        .map(|via| via.unwrap().port())
        .collect();
    assert_eq!(ports, [Some(6050), None, None]);
}

#[test]
fn ipv6_in_sdp_is_accepted_once_its_length_is_right() {
    let text = String::from_utf8(corpus::read("rfc5118", "ipv6-in-sdp")).unwrap();
    let message = message(checked(text.replace(": 268", ": 251").into_bytes()).unwrap());
    assert!(
        message
            .body()
            .ends_with(b"a=rtpmap:107 H263-1998/90000\r\n")
    );
}
