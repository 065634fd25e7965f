//! Dialogs as the RFC's examples tell them.

use super::*;
use crate::testing::message;

/// RFC 3261 section 16.12.1.1 in spirit: two proxies with signed parameters stay on the way.
fn invite() -> Message {
    message(
        "INVITE sip:alice@entente.example SIP/2.0
         Via: SIP/2.0/TLS edge.contoso.example;branch=z9hG4bK776asdhds
         Record-Route: <sip:edge.contoso.example:5061;transport=tls;lr;ms-key-info=AAEAAZ/+x;ms-route-sig=fI:x&y>
         Record-Route: <sip:pool.contoso.example;transport=tls;opaque=state:T;lr>
         From: \"Bob\" <sip:bob@contoso.example>;tag=a6c85cf;epid=1a2b
         To: <sip:alice@entente.example>
         Call-ID: a84b4c76e66710
         CSeq: 314159 INVITE
         Contact: <sip:bob@contoso.example;opaque=user:epid:x:y;gruu>",
    )
}

fn uas() -> Dialog {
    Dialog::of_request(&invite(), "ours", 100).unwrap()
}

fn response(code: u16, record_route: &str) -> Message {
    message(&format!(
        "SIP/2.0 {code} OK
         Via: SIP/2.0/TLS sip.entente.example;branch=z9hG4bKnashds8
         {record_route}
         From: <sip:alice@entente.example>;tag=ours
         To: <sip:bob@contoso.example>;tag=theirs
         Call-ID: f81d4fae
         CSeq: 7 INVITE
         Contact: <sip:bob@contoso.example;gruu>"
    ))
}

fn lines(draft: &Draft, name: HeaderName) -> Vec<&str> {
    draft.all(name).collect()
}

#[test]
fn the_called_side_takes_the_routes_in_order_and_byte_for_byte() {
    let bye = uas().request(Method::Bye).unwrap();
    assert_eq!(
        bye.uri(),
        "sip:bob@contoso.example;opaque=user:epid:x:y;gruu"
    );
    assert_eq!(
        lines(&bye, HeaderName::Route),
        [
            "<sip:edge.contoso.example:5061;transport=tls;lr;ms-key-info=AAEAAZ/+x;ms-route-sig=fI:x&y>",
            "<sip:pool.contoso.example;transport=tls;opaque=state:T;lr>"
        ]
    );
    assert_eq!(
        bye.get(HeaderName::From),
        Some("<sip:alice@entente.example>;tag=ours")
    );
    assert_eq!(
        bye.get(HeaderName::To),
        Some("\"Bob\" <sip:bob@contoso.example>;epid=1a2b;tag=a6c85cf")
    );
    assert_eq!(bye.get(HeaderName::CSeq), Some("101 BYE"));
}

#[test]
fn the_calling_side_takes_the_routes_in_reverse() {
    let routes = "Record-Route: <sip:p2.example;lr>, <sip:p1.example;lr>";
    let mut dialog = Dialog::of_response(&response(200, routes)).unwrap();
    assert!(!dialog.is_early());
    assert_eq!(
        dialog.routes().collect::<Vec<_>>(),
        ["<sip:p1.example;lr>", "<sip:p2.example;lr>"]
    );
    assert_eq!(dialog.ack(7).get(HeaderName::CSeq), Some("7 ACK"));
    let message = dialog.request(Method::Message).unwrap();
    assert_eq!(message.get(HeaderName::CSeq), Some("8 MESSAGE"));
    assert_eq!(message.uri(), "sip:bob@contoso.example;gruu");
}

/// RFC 3261 section 12.2.1.1: the example of a strict router.
#[test]
fn a_strict_router_gets_the_request_for_itself_and_the_target_as_last_route() {
    let routes = "Record-Route: <sip:proxy4>, <sip:proxy3;lr>, <sip:proxy2>, <sip:proxy1?x=y>";
    let mut dialog = Dialog::of_response(&response(200, routes)).unwrap();
    let request = dialog.request(Method::Message).unwrap();
    assert_eq!(request.uri(), "sip:proxy1");
    assert_eq!(request.next_hop(), "sip:proxy1");
    assert_eq!(Draft::decode(&request.encode()), Ok(request.clone()));
    assert_eq!(
        lines(&request, HeaderName::Route),
        [
            "<sip:proxy2>",
            "<sip:proxy3;lr>",
            "<sip:proxy4>",
            "<sip:bob@contoso.example;gruu>"
        ]
    );
}

#[test]
fn a_provisional_response_makes_an_early_dialog_and_a_2xx_confirms_it_with_its_routes() {
    let mut dialog = Dialog::of_response(&response(180, "")).unwrap();
    assert!(dialog.is_early());
    let routes = "Record-Route: <sip:p1.example;lr>";
    dialog.confirm(&response(200, routes)).unwrap();
    assert!(!dialog.is_early());
    assert_eq!(dialog.routes().collect::<Vec<_>>(), ["<sip:p1.example;lr>"]);
}

#[test]
fn numbers_may_have_gaps_but_not_go_back() {
    let mut dialog = uas();
    assert_eq!(dialog.admit(314_159), Admission::Repeated);
    assert_eq!(dialog.admit(314_160), Admission::Fresh);
    assert_eq!(dialog.admit(999_999), Admission::Fresh);
    assert_eq!(dialog.admit(314_161), Admission::Stale);
}

#[test]
fn a_target_refresh_changes_the_target_and_leaves_the_routes() {
    let mut dialog = uas();
    let before: Vec<String> = dialog.routes().map(str::to_owned).collect();
    dialog.refresh_target(&message(
        "UPDATE sip:alice@entente.example SIP/2.0
         Via: SIP/2.0/TLS h;branch=z9hG4bK1
         Record-Route: <sip:evil.example;lr>
         Contact: <sip:bob@elsewhere.example>",
    ));
    assert_eq!(dialog.target(), "sip:bob@elsewhere.example");
    assert_eq!(dialog.routes().collect::<Vec<_>>(), before);
    dialog.refresh_target(&message(
        "UPDATE sip:alice@entente.example SIP/2.0
         Via: SIP/2.0/TLS h;branch=z9hG4bK1",
    ));
    assert_eq!(dialog.target(), "sip:bob@elsewhere.example");
}

#[test]
fn requests_and_responses_are_recognised_by_call_id_and_both_tags() {
    let dialog = uas();
    let bye = |from: &str, to: &str, call_id: &str| {
        message(&format!(
            "BYE sip:alice@entente.example SIP/2.0
             From: <sip:bob@contoso.example>;tag={from}
             To: <sip:alice@entente.example>;tag={to}
             Call-ID: {call_id}
             CSeq: 314160 BYE"
        ))
    };
    let owns = |message: Message| dialog.owns_request(&Head::of(&message).unwrap());
    assert!(owns(bye("a6c85cf", "ours", "a84b4c76e66710")));
    assert!(!owns(bye("A6c85cf", "ours", "a84b4c76e66710")));
    assert!(!owns(bye("a6c85cf", "others", "a84b4c76e66710")));
    assert!(!owns(bye("a6c85cf", "ours", "A84b4c76e66710")));
    let head = bye("a6c85cf", "ours", "a84b4c76e66710");
    assert_eq!(Head::of(&head).unwrap().dialog_of_request(), dialog.id());
}

#[test]
fn the_address_of_a_peer_that_writes_no_brackets_gets_them() {
    let dialog = Dialog::of_request(
        &message(
            "SUBSCRIBE sip:alice@entente.example SIP/2.0
             From: sip:bob@old.example;tag=1
             To: sip:alice@entente.example
             Call-ID: old
             CSeq: 1 SUBSCRIBE
             Contact: sip:bob@192.0.2.1",
        ),
        "ours",
        1,
    )
    .unwrap();
    assert_eq!(dialog.remote_address(), "<sip:bob@old.example>");
    assert_eq!(dialog.local_address(), "<sip:alice@entente.example>");
}

#[test]
fn a_message_without_contact_or_with_too_many_routes_makes_no_dialog() {
    let without = message(
        "SUBSCRIBE sip:alice@entente.example SIP/2.0
         From: <sip:bob@old.example>;tag=1
         To: <sip:alice@entente.example>
         Call-ID: old
         CSeq: 1 SUBSCRIBE",
    );
    assert_eq!(
        Dialog::of_request(&without, "ours", 1),
        Err(DialogFault::Header(HeaderFault::Missing(
            HeaderName::Contact
        )))
    );
    assert_eq!(
        Dialog::of_request(&invite(), "", 1),
        Err(DialogFault::NoLocalTag)
    );
    let many = vec!["<sip:p.example;lr>"; MAX_ROUTES + 1].join(", ");
    let many = format!("Record-Route: {many}");
    assert_eq!(
        Dialog::of_response(&response(200, &many)),
        Err(DialogFault::TooManyRoutes)
    );
}

#[test]
fn a_dialog_comes_back_from_the_store_and_jumps_ahead() {
    let dialog = uas();
    let mut read = Dialog::decode(&dialog.encode()).unwrap();
    assert_eq!(read, dialog);
    read.take_over();
    let number = read.request(Method::Notify).unwrap();
    let expected = format!("{} NOTIFY", 101 + TAKE_OVER_STEP);
    assert_eq!(number.get(HeaderName::CSeq), Some(&*expected));
}

#[test]
fn a_used_up_cseq_ends_the_dialog_instead_of_wrapping() {
    let mut dialog = uas();
    for _ in 0..1 << 15 {
        dialog.take_over();
    }
    assert_eq!(dialog.request(Method::Notify), Err(CseqExhausted));
}

#[test]
fn no_damaged_record_is_taken_for_a_dialog() {
    let record = uas().encode();
    for end in 0..record.len() {
        assert!(Dialog::decode(&record[..end]).is_err(), "cut at {end}");
    }
    for at in 0..record.len() {
        for flip in [0x01, 0x20, 0x80, 0xff] {
            let mut damaged = record.clone();
            damaged[at] ^= flip;
            // It may be another dialog then, but one that can be used.
            if let Ok(mut dialog) = Dialog::decode(&damaged) {
                let _ = dialog.request(Method::Notify);
                assert_eq!(Dialog::decode(&dialog.encode()), Ok(dialog));
            }
        }
    }
}

/// RFC 3261 section 12.1.1.
#[test]
fn where_the_peer_is_at_a_sips_address_so_are_we() {
    const OURS: &str = "<sip:alice@sip.entente.example:5061;transport=tls>";
    const SECURE: &str = "<sips:alice@sip.entente.example:5061>";
    assert_eq!(uas().contact(OURS), OURS);
    let text = String::from_utf8(invite().bytes().to_vec()).unwrap();
    let text = text.replace("Content-Length: 0\r\n", "");
    for (plain, secure) in [
        ("Contact: <sip:", "Contact: <sips:"),
        ("Record-Route: <sip:edge", "Record-Route: <sips:edge"),
    ] {
        let invite = message(&text.replace(plain, secure).replace("\r\n", "\n"));
        let dialog = Dialog::of_request(&invite, "ours", 100).unwrap();
        assert_eq!(dialog.contact(OURS), SECURE, "{secure}");
    }
}
