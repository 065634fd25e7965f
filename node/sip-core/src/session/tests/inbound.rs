//! The peer speaks.

use super::*;

#[test]
fn invite_200_ack_message_200_bye() {
    let mut alice = Alice::new();
    assert_eq!(alice.invited(""), ["persist", "200"]);
    assert!(alice.request(0, "ACK", 1, "").is_empty());
    assert_eq!(alice.request(2, "MESSAGE", 2, &says("hi")), ["bob says hi"]);
    assert_eq!(alice.verdict(2, 200), ["200"]);
    assert_eq!(alice.request(3, "BYE", 3, ""), ["200", "closed"]);
    assert!(alice.core.is_idle());
}

#[test]
fn our_user_answers_in_the_session_that_the_peer_opened() {
    let mut alice = Alice::new();
    alice.invited("");
    assert!(alice.text(1, "hello").is_empty(), "not before the ACK");
    assert_eq!(alice.request(0, "ACK", 1, ""), ["MESSAGE hello"]);
    assert_eq!(alice.last().call_id(), Ok("bob1@contoso.example"));
}

#[test]
fn the_200_is_repeated_until_the_ack_and_the_session_ended_without_one() {
    let mut alice = Alice::new();
    alice.invited("");
    for pause in [500, 1000, 2000, 4000, 4000] {
        let repeat = (SessionTimer::Repeat2xx, pause, vec!["200".to_owned()]);
        assert_eq!(alice.next(), repeat);
    }
    let mut last = alice.next();
    while last.0 == SessionTimer::Repeat2xx {
        last = alice.next();
    }
    assert_eq!(last.0, SessionTimer::AckWait);
    assert_eq!(last.2, ["BYE", "closed"]);
    let mut alice = Alice::new();
    alice.invited("");
    alice.request(0, "ACK", 1, "");
    assert_eq!(
        alice.core.next_timer().unwrap().1,
        SessionTimer::SessionIdle
    );
}

#[test]
fn a_message_that_overtakes_the_ack_counts_as_one() {
    let mut alice = Alice::new();
    alice.invited("");
    alice.request(2, "MESSAGE", 2, &says("hi"));
    assert_eq!(alice.text(1, "hello"), ["MESSAGE hello"]);
}

#[test]
fn a_verdict_is_the_answer_with_what_explains_it() {
    let mut alice = Alice::new();
    alice.invited("");
    alice.request(2, "MESSAGE", 2, &says("hi"));
    alice.core.handle_input(
        alice.now,
        Input::Verdict {
            id: RequestId(2),
            status: Status::NOT_ACCEPTABLE_ANYWHERE,
            headers: vec![(HeaderName::Warning, "399 entente.example \"Policy\"".into())],
        },
    );
    let Some(Output::Respond { reply, .. }) = alice.core.poll_output() else {
        panic!("no response");
    };
    let response = read(reply.to_bytes());
    assert_eq!(response.status(), Some(Status::NOT_ACCEPTABLE_ANYWHERE));
    assert_eq!(
        response.get(HeaderName::Warning),
        Some("399 entente.example \"Policy\"")
    );
    alice.request(3, "MESSAGE", 3, "Content-Type: image/gif\n\nGIF");
    alice.core.handle_input(
        alice.now,
        Input::Verdict {
            id: RequestId(3),
            status: Status::UNSUPPORTED_MEDIA_TYPE,
            headers: Vec::new(),
        },
    );
    let Some(Output::Respond { reply, .. }) = alice.core.poll_output() else {
        panic!("no response");
    };
    let response = read(reply.to_bytes());
    assert!(
        response
            .get(HeaderName::Accept)
            .unwrap()
            .starts_with("text/plain, text/html")
    );
}

#[test]
fn a_text_that_comes_again_past_its_transaction_is_delivered_once() {
    let mut alice = Alice::new();
    alice.invited("");
    alice.request(2, "MESSAGE", 2, &says("hi"));
    assert!(alice.request(7, "MESSAGE", 2, &says("hi")).is_empty());
    alice.core.handle_input(
        alice.now,
        Input::Verdict {
            id: RequestId(2),
            status: Status::OK,
            headers: Vec::new(),
        },
    );
    let answered = alice.core.poll_output();
    assert!(
        matches!(
            answered,
            Some(Output::Respond {
                id: RequestId(7),
                ..
            })
        ),
        "the newest transaction gets the answer: {answered:?}"
    );
    assert_eq!(alice.request(8, "MESSAGE", 2, &says("hi")), ["200"]);
    alice.request(9, "MESSAGE", 9, &says("later"));
    assert_eq!(alice.request(10, "MESSAGE", 5, &says("old")), ["500"]);
}

#[test]
fn more_texts_than_may_wait_get_503() {
    let mut profile = Profile::microsoft_lync();
    profile.unanswered_texts = 1;
    let mut alice = Alice::of(profile);
    alice.invited("");
    alice.request(2, "MESSAGE", 2, &says("one"));
    assert_eq!(alice.request(3, "MESSAGE", 3, &says("two")), ["503"]);
    alice.verdict(2, 200);
    assert_eq!(
        alice.request(4, "MESSAGE", 4, &says("three")),
        ["bob says three"]
    );
}

#[test]
fn typing_is_passed_on_and_answered_at_once() {
    let mut alice = Alice::new();
    alice.invited("");
    let keyboard = "Content-Type: application/xml\n\n<KeyboardActivity/>";
    assert_eq!(
        alice.request(2, "INFO", 2, keyboard),
        ["200", "bob types application/xml"]
    );
    let composing = "Content-Type: application/im-iscomposing+xml\n\n<isComposing/>";
    assert_eq!(
        alice.request(3, "MESSAGE", 3, composing),
        ["200", "bob types application/im-iscomposing+xml"]
    );
    let tones = "Content-Type: application/dtmf-relay\n\nSignal=5";
    assert_eq!(alice.request(4, "INFO", 4, tones), ["415"]);
}

#[test]
fn three_parties_calls_and_files_are_refused() {
    for (extra, code) in [
        ("Require: com.microsoft.rtc-multiparty", "420"),
        ("Require: 100rel", "420"),
        ("TriggeredInvite: TRUE", "488"),
        (
            "EndPoints: \"A\" <sip:a@x.example>, \"B\" <sip:b@x.example>, \"C\" <sip:c@x.example>",
            "488",
        ),
    ] {
        let mut alice = Alice::new();
        assert_eq!(alice.invited(extra), [code], "{extra}");
        assert!(alice.core.is_idle());
    }
    for two in [
        "EndPoints: \"A\" <sip:a@x.example>, \"B\" <sip:b@x.example>",
        "EndPoints: <sip:a@x.example>;epid=1, <SIP:A@x.example>;epid=2, <sip:b@x.example>",
        "TriggeredInvite: FALSE",
    ] {
        let mut alice = Alice::new();
        assert_eq!(alice.invited(two), ["persist", "200"], "{two}");
    }
    let mixed = |part: &str| {
        format!(
            "Content-Type: multipart/mixed;boundary=b\n\n--b\nContent-Type: application/sdp\n\u{20}\n{SDP}\n\
             --b\nContent-Type: {part}\n\u{20}\nx\n--b--"
        )
    };
    for (body, code) in [
        (
            "Content-Type: application/ms-conf-invite+xml\n\n<Conferencing/>",
            "488",
        ),
        (
            "Content-Type: application/sdp\n\nv=0\nm=audio 4000 RTP/AVP 0",
            "488",
        ),
        ("Content-Type: text/plain\n\nlet me in", "488"),
        (
            "Content-Type: application/sdp\n\nv=0\nm=x-file 5060 sip null",
            "415",
        ),
        (
            "Content-Type: text/x-msmsgsinvite; charset=UTF-8\n\nApplication-Name: File Transfer",
            "415",
        ),
        (&mixed("application/ms-conf-invite+xml"), "488"),
        (&mixed("application/ms-filetransfer+xml"), "415"),
        (&mixed("text/xml"), "200"),
    ] {
        let mut alice = Alice::new();
        let said = alice.request(1, "INVITE", 1, body);
        assert_eq!(said.last().unwrap(), code, "{body}");
    }
}

#[test]
fn a_420_names_what_is_not_understood() {
    let mut alice = Alice::new();
    let rest = format!(
        "Require: com.microsoft.rtc-multiparty, timer\nContent-Type: application/sdp\n\n{SDP}"
    );
    let text = format!(
        "INVITE sip:alice@entente.example SIP/2.0
         Via: SIP/2.0/TLS edge.contoso.example;branch=z9hG4bKx
         From: <sip:bob@contoso.example>;tag=bobs
         To: <sip:alice@entente.example>
         Call-ID: x
         CSeq: 1 INVITE
         Contact: <sip:bob@contoso.example>\n{rest}"
    );
    let request = Box::new(message(&text));
    let id = RequestId(1);
    alice
        .core
        .handle_input(alice.now, Input::Request { id, request });
    let Some(Output::Respond { reply, .. }) = alice.core.poll_output() else {
        panic!("no response");
    };
    assert_eq!(
        read(reply.to_bytes()).get(HeaderName::Unsupported),
        Some("com.microsoft.rtc-multiparty, timer")
    );
}

#[test]
fn an_offer_among_other_parts_and_none_at_all_are_taken() {
    let mut alice = Alice::new();
    let parts = format!(
        "Content-Type: multipart/mixed;boundary=\"b 1\"\n\n--b 1\nContent-Type: text/xml\n\u{20}\n<x/>\n--b 1\nContent-Type: application/sdp\n\u{20}\n{SDP}\n--b 1--"
    );
    assert_eq!(alice.request(1, "INVITE", 1, &parts), ["persist", "200"]);
    let mut alice = Alice::new();
    assert_eq!(alice.request(1, "INVITE", 1, ""), ["persist", "200"]);
}

#[test]
fn a_re_invite_is_answered_in_the_dialog_and_a_conference_refused_in_it() {
    let mut alice = Alice::new();
    alice.invited("");
    alice.request(0, "ACK", 1, "");
    let again = format!("Content-Type: application/sdp\n\n{SDP}");
    assert_eq!(alice.request(2, "INVITE", 2, &again), ["persist", "200"]);
    assert_eq!(alice.core.next_timer().unwrap().1, SessionTimer::Repeat2xx);
    alice.request(0, "ACK", 2, "");
    let conference = format!("TriggeredInvite: TRUE\n{again}");
    assert_eq!(alice.request(3, "INVITE", 3, &conference), ["488"]);
    assert_eq!(
        alice.text(1, "still two of us"),
        ["MESSAGE still two of us"]
    );
}

#[test]
fn methods_that_a_session_does_not_do_are_named() {
    let mut alice = Alice::new();
    alice.invited("");
    for (cseq, method, code) in [
        (2, "UPDATE", "405"),
        (3, "PRACK", "405"),
        (4, "REFER", "405"),
        (5, "FROBNICATE", "501"),
        (6, "OPTIONS", "200"),
    ] {
        assert_eq!(alice.request(1, method, cseq, ""), [code], "{method}");
    }
}

#[test]
fn a_request_in_an_unknown_dialog_gets_481() {
    let mut alice = Alice::new();
    alice.tag = "unknown".to_owned();
    assert_eq!(alice.request(1, "MESSAGE", 2, &says("hi")), ["481"]);
    assert_eq!(alice.request(1, "BYE", 3, ""), ["481"]);
}

#[test]
fn numbers_that_go_back_get_500() {
    let mut alice = Alice::new();
    alice.invited("");
    alice.request(2, "INFO", 9, "");
    assert_eq!(alice.request(3, "INFO", 8, ""), ["500"]);
    assert_eq!(alice.request(4, "BYE", 8, ""), ["500"]);
}
