//! What is built reads back as it was meant, and no value becomes a second header.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use entente_sip_core::build::RequestBuilder;
use entente_sip_core::framer::{Frame, Framer};
use entente_sip_core::message::Limits;
use entente_sip_core::status::Status;
use entente_sip_core::validate::{Checked, Request, check};
use entente_sip_core::via::Transport;
use entente_sip_core::{HeaderName, Message, Method, NameAddr, Uri, Via};
use proptest::prelude::*;
use rsip::prelude::{HeadersExt, ToTypedHeader, UntypedHeader};

mod corpus;

fn token() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9.!%*_+`'~-]{1,12}"
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]([a-z0-9-]{0,6}[a-z0-9])?\\.example(\\.com)?",
        any::<std::net::Ipv4Addr>().prop_map(|address| address.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|address| format!("[{address}]")),
    ]
}

prop_compose! {
    fn uri()(
        scheme in "sips?",
        user in "[a-zA-Z0-9_.!~*'()&=+$,;?/-]{1,10}(%[0-9A-F]{2})?",
        host in host(),
        port in prop::option::of(any::<u16>()),
        params in "(;[a-z]{1,5}(=[a-zA-Z0-9:/&+$-]{1,9})?){0,3}",
        headers in "(\\?[a-z]{1,4}=[a-z0-9]{0,4}(&[a-z]{1,4}=[a-z0-9]{0,4})?)?",
    ) -> (String, String, String, Option<u16>, String, String) {
        let port_text = port.map(|port| format!(":{port}")).unwrap_or_default();
        let text = format!("{scheme}:{user}@{host}{port_text}{params}{headers}");
        (text, user, host, port, params, headers)
    }
}

#[derive(Debug, Clone)]
struct Parts {
    method: Method,
    target: Uri,
    via: Via,
    from: NameAddr,
    to: NameAddr,
    call_id: String,
    cseq: u32,
    hops: u8,
    routes: Vec<NameAddr>,
    body: Vec<u8>,
}

/// Addresses that rsip 0.4 reads as well: host names, no parameters with colons.
fn plain_uri() -> impl Strategy<Value = Uri> {
    "sip:[a-z][a-z0-9]{0,8}@[a-z]{1,8}\\.example\\.com(:[1-9][0-9]{3})?(;transport=(tcp|tls|udp))?"
        .prop_map(|text| Uri::parse(&text).unwrap())
}

prop_compose! {
    fn parts()(
        method in prop_oneof![
            Just(Method::Invite), Just(Method::Message), Just(Method::Subscribe),
            Just(Method::Notify), Just(Method::Options), Just(Method::Bye),
        ],
        target in plain_uri(),
        (host, port, branch) in ("[a-z]{1,8}\\.example\\.com", prop::option::of(1000_u16..), "[a-zA-Z0-9]{1,20}"),
        (display, from, tag) in (prop::option::of("[a-zA-Z ]{1,10}"), plain_uri(), "[a-z0-9]{1,10}"),
        (to, to_tag) in (plain_uri(), prop::option::of("[a-z0-9]{1,10}")),
        call_id in "[a-zA-Z0-9]{1,20}@[a-z]{1,9}",
        cseq in 0_u32..1 << 31,
        hops in any::<u8>(),
        routes in prop::collection::vec(plain_uri(), 0..4),
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) -> Parts {
        let from = match display {
            Some(display) => NameAddr::with_display(&display, &from),
            None => NameAddr::of(&from),
        };
        let to = NameAddr::of(&to);
        Parts {
            via: Via::new(Transport::Tls, &host, port, &format!("z9hG4bK{branch}")),
            from: from.with_tag(&tag),
            to: to_tag.map_or(to.clone(), |tag| to.with_tag(&tag)),
            routes: routes.iter().map(|route| NameAddr::parse(&format!("<{route};lr>")).unwrap()).collect(),
            method, target, call_id, cseq, hops, body,
        }
    }
}

fn build(parts: &Parts) -> Message {
    RequestBuilder::new(&parts.method, &parts.target)
        .via(&parts.via)
        .max_forwards(parts.hops)
        .from(&parts.from)
        .to(&parts.to)
        .call_id(&parts.call_id)
        .cseq(parts.cseq)
        .routes(&parts.routes)
        .body("text/plain", parts.body.clone())
        .build()
        .unwrap()
}

fn request(message: Message) -> Box<Request> {
    match check(message).unwrap() {
        Checked::Request(request) => request,
        Checked::Response(_) => panic!("a request was built"),
    }
}

proptest! {
    #[test]
    fn what_is_built_reads_back(parts in parts()) {
        let message = build(&parts);
        let mut framer = Framer::new(Limits::default());
        framer.push(message.as_bytes());
        let Ok(Some(Frame::Message(framed))) = framer.next_frame() else {
            panic!("one message");
        };
        prop_assert_eq!(&framed, &message);
        let request = request(framed);
        prop_assert_eq!(request.method(), &parts.method);
        prop_assert_eq!(request.uri(), &parts.target);
        prop_assert_eq!(request.via(), &parts.via);
        prop_assert_eq!(request.from(), &parts.from);
        prop_assert_eq!(request.to(), &parts.to);
        prop_assert_eq!(request.call_id(), parts.call_id);
        prop_assert_eq!(request.cseq().number, parts.cseq);
        prop_assert_eq!(request.max_forwards(), Some(parts.hops));
        let routes: Vec<NameAddr> = request.routes().map(Result::unwrap).collect();
        prop_assert_eq!(routes, parts.routes);
        prop_assert_eq!(request.body(), parts.body);
    }

    #[test]
    fn rsip_reads_the_same(parts in parts()) {
        // Its bodies are text.
        let parts = Parts { body: b"hello".to_vec(), ..parts };
        let message = build(&parts);
        let theirs = rsip::Request::try_from(message.as_bytes()).unwrap();
        prop_assert_eq!(theirs.method().to_string(), parts.method.as_str());
        prop_assert_eq!(theirs.uri().host().to_string(), parts.target.host_str());
        prop_assert_eq!(theirs.uri().user(), parts.target.user());
        prop_assert_eq!(theirs.uri().port().map(|port| *port.value()), parts.target.port());
        let via = theirs.via_header().unwrap().typed().unwrap();
        prop_assert_eq!(via.sent_by().host().to_string(), parts.via.host_str());
        prop_assert_eq!(via.branch().map(|branch| branch.value()), parts.via.branch());
        let from = theirs.from_header().unwrap().typed().unwrap();
        prop_assert_eq!(from.tag().map(|tag| tag.value()), parts.from.tag());
        // It writes transports in capitals.
        let from_uri = Uri::parse(&from.uri.to_string()).unwrap();
        prop_assert!(from_uri.equivalent(parts.from.uri()));
        let to = theirs.to_header().unwrap().typed().unwrap();
        prop_assert_eq!(to.tag().map(|tag| tag.value()), parts.to.tag());
        let cseq = theirs.cseq_header().unwrap().typed().unwrap();
        prop_assert_eq!(cseq.seq, parts.cseq);
        prop_assert_eq!(theirs.call_id_header().unwrap().value(), parts.call_id);
        prop_assert_eq!(theirs.body(), message.body());
    }

    #[test]
    fn a_response_is_what_rsip_takes_for_one(parts in parts(), code in 100_u16..700) {
        let request = build(&parts);
        let status = Status::new(code).unwrap();
        let response = request.response(status).to_tag("ours").build().unwrap();
        let theirs = rsip::Response::try_from(response.as_bytes()).unwrap();
        prop_assert_eq!(u16::from(theirs.status_code().clone()), code);
        let to = theirs.to_header().unwrap().typed().unwrap();
        let tag = parts.to.tag().or((code > 100).then_some("ours"));
        prop_assert_eq!(to.tag().map(|tag| tag.value()), tag);
    }

    #[test]
    fn the_parts_of_a_uri_are_found((text, user, host, port, params, headers) in uri()) {
        let uri = Uri::parse(&text).unwrap();
        prop_assert_eq!(uri.as_str(), text);
        prop_assert_eq!(uri.user(), Some(user.as_str()));
        prop_assert_eq!(uri.host_str(), host);
        prop_assert_eq!(uri.port(), port);
        prop_assert_eq!(uri.params().as_str(), params);
        prop_assert_eq!(uri.headers().unwrap_or_default(), headers.trim_start_matches('?'));
        prop_assert!(uri.equivalent(&uri));
    }

    #[test]
    fn any_user_survives_a_uri(user in "\\PC{1,20}") {
        let uri = Uri::sip(&user, "example.com").unwrap();
        let decoded = uri.decoded_user().unwrap();
        prop_assert_eq!(decoded.as_ref(), user.as_bytes());
    }

    #[test]
    fn any_display_name_survives(name in "\\PC{1,30}") {
        let uri = Uri::parse("sip:a@example.com").unwrap();
        let address = NameAddr::with_display(&name, &uri);
        prop_assert_eq!(address.display_name().unwrap(), name);
        prop_assert_eq!(address.uri(), &uri);
    }

    #[test]
    fn no_value_becomes_a_header(parts in parts(), name in token(), value in "[ -~\r\n\t\0é]{0,40}") {
        let plain = build(&parts);
        let built = RequestBuilder::new(&parts.method, &parts.target)
            .via(&parts.via)
            .from(&parts.from)
            .to(&parts.to)
            .header(HeaderName::Subject, &value)
            .raw_header(&name, &value)
            .call_id(&parts.call_id)
            .cseq(parts.cseq)
            .build();
        prop_assert_eq!(built.is_err(), value.contains(['\r', '\n', '\0']));
        if let Ok(built) = built {
            prop_assert_eq!(built.len(), 8);
            prop_assert_eq!(built.get(HeaderName::Subject), Some(value.trim_matches([' ', '\t'])));
        }
        let refused = plain.response(Status::OK).phrase(&value).header(HeaderName::Warning, &value).build();
        prop_assert_eq!(refused.is_err(), value.contains(['\r', '\n', '\0']));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Message::parse(Bytes::from(bytes.clone()), &Limits::default()).map(check);
        let mut framer = Framer::new(Limits::default());
        framer.push(&bytes);
        while let Ok(Some(_)) = framer.next_frame() {}
    }
}

#[test]
fn framing_split_at_every_byte_gives_the_same_frames() {
    let stream = [
        b"\r\n\r\n".as_slice(),
        &corpus::read("usual", "message"),
        b"\r\n",
        &corpus::read("rfc4475", "badinv01"),
        &corpus::read("rfc4475", "wsinv"),
        &corpus::read("rfc4475", "mpart01"),
        b"\r\n\r\n",
        &corpus::read("usual", "invite"),
    ]
    .concat();
    let frames = |pieces: [&[u8]; 2]| {
        let mut framer = Framer::new(Limits::default());
        let mut frames = Vec::new();
        for piece in pieces {
            framer.push(piece);
            while let Some(frame) = framer.next_frame().unwrap() {
                frames.push(format!("{frame:?}"));
            }
        }
        assert_eq!(framer.unread(), 0);
        frames
    };
    let whole = frames([&stream, b""]);
    assert_eq!(whole.len(), 10);
    for at in 0..stream.len() {
        assert_eq!(frames([&stream[..at], &stream[at..]]), whole, "cut at {at}");
    }
}
