use bytes::Bytes;

use crate::header::HeaderName;
use crate::message::{Limits, Message, StartLine};
use crate::method::Method;
use crate::status::Status;

fn parse(text: &str) -> Message {
    Message::parse(Bytes::copy_from_slice(text.as_bytes()), &Limits::default()).unwrap()
}

const SUBSCRIBE: &str = "SUBSCRIBE sip:bob@example.net SIP/2.0\r\n\
    v: SIP/2.0/TLS edge.example.com:5061;branch=z9hG4bKabc;alias, SIP/2.0/TLS [2001:db8::1];branch=z9hG4bKdef\r\n\
    Record-Route: <sip:a.example.com;ms-key=\"x\";lr>\r\n\
    Route: <sip:p1.example.com;lr>,\r\n <sip:p2.example.com;lr;sig=ab%20>\r\n\
    f: \"Alice, the first\" <sip:alice@example.com>;tag=1;epid=2\r\n\
    t: <sip:bob@example.net>\r\n\
    i: 99@example.com\r\n\
    CSEQ: 0007 SUBSCRIBE\r\n\
    m: <sip:alice@example.com;opaque=user:epid:X_y;gruu>\r\n\
    Max-Forwards: 70\r\n\
    o: presence;id=4\r\n\
    Accept: application/pidf+xml, text/plain\r\n\
    k: ms-dialog-route-set-update\r\n\
    Expires: 3600\r\n\
    ms-diagnostics: 1004;reason=\"no route, sorry\";source=\"edge\"\r\n\
    l: 2\r\n\r\nhi";

#[test]
fn a_message_reads_back_as_it_came() {
    let message = parse(&SUBSCRIBE.replace("ms-key=\"x\";", ""));
    assert_eq!(message.method(), Some(&Method::Subscribe));
    assert_eq!(message.body(), b"hi");
    assert!(message.as_bytes().ends_with(b"\r\n\r\nhi"));
    let via = message.top_via().unwrap();
    assert_eq!(via.host_str(), "edge.example.com");
    assert_eq!(via.port(), Some(5061));
    assert_eq!(via.unique_branch(), Some("z9hG4bKabc"));
    assert!(via.has_alias());
    assert_eq!(message.vias().count(), 2);
    let from = message.from().unwrap();
    assert_eq!(from.display_name().unwrap(), "Alice, the first");
    assert_eq!(from.tag(), Some("1"));
    assert_eq!(message.to().unwrap().tag(), None);
    assert_eq!(message.call_id().unwrap(), "99@example.com");
    assert_eq!(message.cseq().unwrap().number, 7);
    let routes: Vec<_> = message.routes().map(Result::unwrap).collect();
    assert_eq!(routes[1].as_str(), "<sip:p2.example.com;lr;sig=ab%20>");
    assert!(routes[1].uri().is_loose_router());
    let contact = message.contact().unwrap();
    assert_eq!(contact.uri().param("opaque"), Some("user:epid:X_y"));
    assert!(contact.uri().params().has("gruu"));
    assert_eq!(message.event().unwrap().unwrap().id(), Some("4"));
    assert_eq!(
        message.accept().collect::<Vec<_>>(),
        ["application/pidf+xml", "text/plain"]
    );
    let diagnostics = message.ms_diagnostics().unwrap();
    assert_eq!(diagnostics.id, 1004);
    assert_eq!(diagnostics.reason().unwrap(), "no route, sorry");
    assert_eq!(message.expires().unwrap(), Some(3600));
    assert!(message.has(HeaderName::Supported));
}

#[test]
fn a_response_copies_what_the_request_said() {
    let request = parse(&SUBSCRIBE.replace("ms-key=\"x\";", ""));
    let response = request
        .response(Status::OK)
        .to_tag("9")
        .header(HeaderName::Expires, 60)
        .build()
        .unwrap();
    assert_eq!(
        response.start_line(),
        StartLine::Response {
            status: Status::OK,
            reason: "OK"
        }
    );
    assert_eq!(response.to().unwrap().tag(), Some("9"));
    assert_eq!(response.from().unwrap(), request.from().unwrap());
    assert_eq!(response.get(HeaderName::Via), request.get(HeaderName::Via));
    assert_eq!(
        response.get(HeaderName::RecordRoute),
        request.get(HeaderName::RecordRoute)
    );
    assert_eq!(response.cseq().unwrap(), request.cseq().unwrap());
}

#[test]
fn trust_headers_are_taken_out() {
    let message = parse(SUBSCRIBE).without_trust_headers();
    assert!(message.ms_diagnostics().is_none());
    assert_eq!(message.body(), b"hi");
    assert_eq!(message.len(), 14);
}
