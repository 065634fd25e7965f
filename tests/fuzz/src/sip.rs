//! What must hold for any bytes that a SIP peer sends. Shared by the fuzz targets and by the test that
//! runs seeded mutations (`node/sip-core/tests/mutations.rs`).

use std::time::Instant;

use bytes::Bytes;
use entente_sip_core::build::RequestBuilder;
use entente_sip_core::framer::{Frame, Framer, FramingLost};
use entente_sip_core::message::Limits;
use entente_sip_core::owner::{Owner, OwnerKey};
use entente_sip_core::profile::Profile;
use entente_sip_core::session::sdp::Offer;
use entente_sip_core::session::{Input, Output, Session, SessionConfig};
use entente_sip_core::status::Status;
use entente_sip_core::usage::{Pair, RequestId};
use entente_sip_core::validate::{Checked, Rejection, check};
use entente_sip_core::{HeaderName, Message, Method, NameAddr, Uri, Via};

const LIMITS: Limits = Limits {
    head_bytes: 4_000,
    headers: 30,
    body_bytes: 2_000,
};

/// The bytes come from a peer, in one piece and in pieces whose size the first byte gives; and as a
/// datagram.
pub fn message(data: &[u8]) {
    let Some((&first, stream)) = data.split_first() else {
        return;
    };
    let whole = frames(&[stream]);
    let pieces: Vec<&[u8]> = stream.chunks(usize::from(first % 40) + 1).collect();
    let split = frames(&pieces);
    // With each byte's rejection or message in words: the bytes are in them.
    assert_eq!(
        format!("{whole:?}"),
        format!("{split:?}"),
        "pieces change the frames"
    );
    for frame in whole.0 {
        match frame {
            Frame::Message(message) => check_message(message),
            Frame::Rejected(rejection) => check_rejection(&rejection),
            Frame::Ping | Frame::Pong => {}
        }
    }
    match Message::parse(Bytes::copy_from_slice(stream), &LIMITS) {
        Ok(message) => check_message(message),
        Err(rejection) => check_rejection(&rejection),
    }
}

/// The body of an INVITE, which may be SDP or parts: it is taken with a description that can be read, or
/// refused with a status that says why.
pub fn invitation(data: &[u8]) {
    for content_type in ["application/sdp", "multipart/mixed;boundary=b"] {
        let mut bytes = format!(
            "INVITE sip:alice@entente.example SIP/2.0\r\nVia: SIP/2.0/TLS h;branch=z9hG4bK1\r\n\
             From: <sip:bob@peer.example>;tag=b\r\nTo: <sip:alice@entente.example>\r\nCall-ID: c\r\n\
             CSeq: 1 INVITE\r\nContact: <sip:bob@peer.example>\r\nContent-Type: {content_type}\r\n\
             Content-Length: {}\r\n\r\n",
            data.len()
        )
        .into_bytes();
        bytes.extend_from_slice(data);
        let Ok(request) = Message::parse(bytes.into(), &Limits::default()) else {
            continue;
        };
        let mut session = session();
        let now = some_moment();
        session.handle_input(
            now,
            Input::Request {
                id: RequestId(1),
                request: Box::new(request),
            },
        );
        let reply = std::iter::from_fn(|| session.poll_output())
            .find_map(|output| match output {
                Output::Respond { reply, .. } => Some(reply),
                _ => None,
            })
            .expect("an INVITE is answered");
        let response =
            Message::parse(reply.to_bytes(), &Limits::default()).expect("our own response");
        match response.status().map(Status::code) {
            Some(200) => {
                Offer::parse(response.body()).expect("our own description");
            }
            Some(415 | 488) => assert!(session.is_idle()),
            other => panic!("an answer that nobody expects: {other:?}"),
        }
    }
}

fn session() -> Session {
    let config = SessionConfig {
        contact: "<sip:h>".into(),
        host: "h".into(),
        key: OwnerKey::new(b"cluster"),
        profile: Profile::simple(),
    };
    let pair = Pair {
        local: "<sip:alice@entente.example>".into(),
        remote: "sip:bob@peer.example".into(),
        owner: Owner::new("b").expect("a word"),
    };
    Session::new(config.into(), pair, [1; 16])
}

#[allow(
    clippy::disallowed_methods,
    reason = "some moment to count from; nothing waits"
)]
fn some_moment() -> Instant {
    Instant::now()
}

/// Text that should be a URI, an address or a Via.
pub fn uri(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(uri) = Uri::parse(text) {
        check_uri(&uri);
        assert_eq!(uri.as_str(), text);
    }
    if let Some(address) = NameAddr::parse(text) {
        check_address(&address);
        let request = RequestBuilder::new(&Method::Options, address.uri())
            .address(HeaderName::Contact, &address)
            .build()
            .expect("an address that was read can be written");
        let again = request.contacts().count();
        // An unquoted comma in an address is only possible inside its brackets or quotes.
        assert_eq!(again, 1);
    }
    if let Some(via) = Via::parse(text) {
        check_via(&via);
    }
}

fn frames(pieces: &[&[u8]]) -> (Vec<Frame>, Option<FramingLost>) {
    let mut framer = Framer::new(LIMITS);
    let mut found = Vec::new();
    for piece in pieces {
        framer.push(piece);
        loop {
            match framer.next_frame() {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => break,
                Err(lost) => return (found, Some(lost)),
            }
        }
        assert!(framer.unread() <= LIMITS.head_bytes + LIMITS.body_bytes);
    }
    (found, None)
}

fn check_message(message: Message) {
    let again = Message::parse(message.bytes().clone(), &LIMITS).expect("it was one before");
    assert_eq!(again, message);
    read_all(&message);
    let stripped = message.without_trust_headers();
    assert_eq!(stripped.body(), message.body());
    assert!(stripped.without_trust_headers() == stripped);
    match check(message) {
        Ok(Checked::Request(request)) => {
            check_uri(request.uri());
            check_address(request.from());
            check_address(request.to());
            check_via(request.via());
            let response = request
                .response(Status::OK)
                .to_tag("ours")
                .source("[2001:db8::1]:5061".parse().expect("an address"))
                .build()
                .expect("a good request can be answered");
            let Ok(Checked::Response(response)) = check(response) else {
                panic!("our response is none");
            };
            assert_eq!(response.vias().count(), request.vias().count());
            assert_eq!(response.via().branch(), request.via().branch());
            assert_eq!(response.from(), request.from());
            assert_eq!(
                response.to().tag(),
                Some(request.to().tag().unwrap_or("ours"))
            );
            assert_eq!(response.call_id(), request.call_id());
            assert_eq!(response.cseq(), request.cseq());
        }
        Ok(Checked::Response(response)) => check_via(response.via()),
        Err(rejection) => check_rejection(&rejection),
    }
}

fn check_rejection(rejection: &Rejection) {
    if let Rejection::Refuse(refusal) = rejection
        && let Some(response) = refusal.response("ours", None)
    {
        assert_eq!(response.status(), Some(refusal.status()));
        read_all(&response);
    }
}

/// Nothing that a message holds makes a reader panic.
fn read_all(message: &Message) {
    let vias = message.vias().count();
    assert!(
        vias >= message
            .lines(HeaderName::Via)
            .filter(|line| !line.is_empty())
            .count()
    );
    message.vias().flatten().for_each(|via| check_via(&via));
    for name in [
        HeaderName::Route,
        HeaderName::RecordRoute,
        HeaderName::Contact,
    ] {
        message
            .addresses(name)
            .flatten()
            .for_each(|address| check_address(&address));
    }
    let _ = (
        message.from(),
        message.to(),
        message.contact(),
        message.call_id(),
    );
    let _ = (
        message.cseq(),
        message.max_forwards(),
        message.expires(),
        message.min_expires(),
    );
    let _ = (
        message.retry_after(),
        message.user_agent(),
        message.request_uri(),
    );
    if let Ok(Some(event)) = message.event() {
        let _ = event.id();
    }
    if let Ok(Some(state)) = message.subscription_state() {
        let _ = (state.expires(), state.reason(), state.retry_after());
    }
    if let Ok(Some(type_)) = message.content_type() {
        let _ = type_.params.unquoted("charset");
    }
    if let Some(diagnostics) = message.ms_diagnostics() {
        let _ = (diagnostics.reason(), diagnostics.source());
    }
    let _ = message.warnings().count() + message.allow().count() + message.accept().count();
    message
        .reasons()
        .for_each(|reason| drop((reason.cause(), reason.text())));
    message.iter().for_each(|header| drop(header.unfolded()));
}

fn check_uri(uri: &Uri) {
    assert!(uri.equivalent(uri), "{uri} is not itself");
    assert_eq!(Uri::parse(uri.as_str()).as_ref(), Ok(uri));
    assert_eq!(&uri.unshared(), uri);
    assert!(uri.as_str().contains(uri.host_str()));
    let params: usize = uri.params().iter().map(|param| param.name.len() + 1).sum();
    assert!(params <= uri.params().as_str().len());
    let _ = (
        uri.decoded_user(),
        uri.password(),
        uri.headers(),
        uri.host(),
    );
}

fn check_address(address: &NameAddr) {
    check_uri(address.uri());
    assert_eq!(NameAddr::parse(address.as_str()).as_ref(), Some(address));
    assert_eq!(&address.unshared(), address);
    let _ = (address.display_name(), address.tag());
    if !address.params().has("tag") {
        assert_eq!(address.with_tag("t").tag(), Some("t"));
        assert_eq!(address.with_tag("t").uri(), address.uri());
    }
}

fn check_via(via: &Via) {
    assert_eq!(Via::parse(via.as_str()).as_ref(), Some(via));
    assert_eq!(&via.unshared(), via);
    let _ = (
        via.host(),
        via.port(),
        via.received(),
        via.rport(),
        via.unique_branch(),
    );
}
