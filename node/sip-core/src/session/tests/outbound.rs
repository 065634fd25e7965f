//! Our user speaks.

use super::*;

#[test]
fn invite_200_ack_message_200_bye() {
    let mut alice = Alice::new();
    assert_eq!(alice.text(1, "hello"), ["INVITE"]);
    let invite = alice.last();
    assert_eq!(invite.get(HeaderName::Contact), Some(CONTACT));
    assert_eq!(invite.get(HeaderName::Supported), None, "no ms-text-format");
    let sdp = String::from_utf8(invite.body().to_vec()).unwrap();
    assert!(
        sdp.contains("m=message 5060 sip null\r\na=accept-types:text/plain "),
        "{sdp}"
    );
    let cseq = invite.cseq().unwrap().number;
    assert_eq!(
        alice.accepted(),
        [
            format!("ACK {cseq} ACK"),
            "persist".to_owned(),
            "MESSAGE hello".to_owned()
        ]
    );
    assert_eq!(alice.last().cseq().unwrap().number, cseq + 1);
    assert_eq!(alice.answered(200), ["1 delivered"]);
    assert_eq!(
        alice.next(),
        (
            SessionTimer::SessionIdle,
            600_000,
            vec!["BYE".to_owned(), "closed".to_owned()]
        )
    );
    assert!(alice.core.is_idle());
}

#[test]
fn texts_go_one_at_a_time_and_each_has_its_fate() {
    let mut alice = Alice::new();
    alice.text(1, "one");
    assert!(alice.text(2, "two").is_empty());
    assert!(alice.text(3, "three").is_empty());
    assert_eq!(alice.accepted()[2], "MESSAGE one");
    assert_eq!(alice.answered(200), ["1 delivered", "MESSAGE two"]);
    assert_eq!(alice.answered(486), ["2 failed 486", "MESSAGE three"]);
    assert_eq!(alice.answered(202), ["3 delivered"]);
}

#[test]
fn a_refused_invite_fails_all_that_waits() {
    let mut alice = Alice::new();
    alice.text(1, "one");
    alice.text(2, "two");
    assert_eq!(alice.answered(480), ["1 failed 480", "2 failed 480"]);
    assert!(alice.core.is_idle());
    let mut alice = Alice::new();
    alice.text(1, "one");
    assert_eq!(alice.failed(Failure::Timeout), ["1 failed 408"]);
}

#[test]
fn one_text_more_than_may_wait_fails_at_once() {
    let mut profile = Profile::microsoft_lync();
    profile.queued_texts = 2;
    let mut alice = Alice::of(profile);
    alice.text(1, "one");
    alice.text(2, "two");
    assert_eq!(alice.text(3, "three"), ["3 failed 503"]);
}

#[test]
fn a_session_that_the_peer_forgot_is_opened_again_once() {
    for code in [408, 480, 481] {
        let mut alice = Alice::talking();
        assert_eq!(alice.text(2, "there?"), ["MESSAGE there?"]);
        assert_eq!(alice.answered(code), ["closed", "INVITE"], "{code}");
        assert_eq!(alice.accepted()[2], "MESSAGE there?");
        assert_eq!(
            alice.answered(code),
            ["closed".to_owned(), format!("2 failed {code}")]
        );
    }
    let mut alice = Alice::talking();
    alice.text(2, "there?");
    assert_eq!(alice.failed(Failure::Transport), ["closed", "INVITE"]);
    assert_eq!(alice.answered(404), ["2 failed 404"]);
}

#[test]
fn an_edge_that_lost_the_route_set_gets_a_new_session() {
    let mut alice = Alice::talking();
    alice.text(2, "there?");
    let (id, request) = alice.sends.last().unwrap();
    let mut reply = Reply::new(request, Status::SERVER_TIMEOUT, "theirs");
    reply.header(
        HeaderName::MsDiagnostics,
        "1004;reason=\"Route set no longer valid\"",
    );
    let outcome = Outcome::Response(Box::new(read(reply.to_bytes())));
    let input = Input::Answer { id: *id, outcome };
    assert_eq!(alice.input(input), ["closed", "INVITE"]);
}

#[test]
fn a_refusal_of_one_text_leaves_the_session() {
    for code in [403, 413, 415, 486, 503, 606] {
        let mut alice = Alice::talking();
        alice.text(2, "x");
        assert_eq!(alice.answered(code), [format!("2 failed {code}")]);
        assert_eq!(alice.text(3, "y"), ["MESSAGE y"]);
    }
}

#[test]
fn an_outcome_that_is_lost_with_another_node_counts_as_a_timeout() {
    let mut alice = Alice::talking();
    alice.text(2, "x");
    let (timer, waited, said) = alice.next();
    assert_eq!((timer, waited), (SessionTimer::MessageAnswer, 40_000));
    assert_eq!(said, ["closed", "INVITE"]);
}

#[test]
fn a_peer_that_does_not_take_the_session_is_cancelled() {
    let mut alice = Alice::new();
    alice.text(1, "x");
    let (timer, waited, said) = alice.next();
    assert_eq!((timer, waited), (SessionTimer::InviteAnswer, 60_000));
    assert_eq!(said, ["CANCEL"]);
    assert_eq!(alice.answered(487), ["1 failed 408"]);
}

#[test]
fn a_bye_while_a_text_is_on_its_way_opens_a_new_session_for_it() {
    let mut alice = Alice::talking();
    alice.text(2, "wait");
    let sent = alice.last().clone();
    let tag = sent.from().unwrap().tag().unwrap().to_owned();
    let bye = message(&format!(
        "BYE sip:sip.entente.example SIP/2.0
         Via: SIP/2.0/TLS edge.contoso.example;branch=z9hG4bKbye
         From: <sip:bob@contoso.example>;tag=theirs
         To: <sip:alice@entente.example>;tag={tag}
         Call-ID: {}
         CSeq: 9 BYE",
        sent.call_id().unwrap()
    ));
    let request = Box::new(bye);
    let id = RequestId(5);
    assert_eq!(
        alice.input(Input::Request { id, request }),
        ["200", "closed"]
    );
    assert_eq!(alice.answered(481), ["INVITE"]);
    assert_eq!(alice.accepted()[2], "MESSAGE wait");
    assert_eq!(alice.answered(200), ["2 delivered"]);
}

#[test]
fn a_repeated_200_is_acknowledged_again_and_a_fork_ended() {
    let mut alice = Alice::new();
    alice.text(1, "hello");
    let id = alice.sends[0].0;
    let cseq = alice.sends[0].1.cseq().unwrap().number;
    alice.accepted();
    assert_eq!(
        alice.answered_to(id, 200, "theirs", SDP),
        [format!("ACK {cseq} ACK")]
    );
    assert_eq!(
        alice.answered_to(id, 200, "fork", SDP),
        [format!("ACK {cseq} ACK"), "BYE".to_owned()]
    );
    assert_eq!(alice.last().to().unwrap().tag(), Some("fork"));
}

#[test]
fn an_answer_without_messages_is_no_session() {
    let mut alice = Alice::new();
    alice.text(1, "hello");
    let id = alice.sends[0].0;
    let said = alice.answered_to(id, 200, "theirs", "v=0\nm=message 0 sip null\n");
    assert_eq!(said[1..], ["BYE", "1 failed 200"]);
}

#[test]
fn both_inviting_at_once_the_peers_session_is_kept() {
    let mut alice = Alice::new();
    alice.text(1, "hello");
    let ours = alice.sends[0].0;
    assert_eq!(alice.invited(""), ["CANCEL", "persist", "200"]);
    assert_eq!(alice.request(0, "ACK", 1, ""), ["MESSAGE hello"]);
    assert_eq!(alice.last().call_id(), Ok("bob1@contoso.example"));
    assert_eq!(alice.answered(200), ["1 delivered"]);
    assert!(alice.answered_to(ours, 487, "theirs", "").is_empty());
}

#[test]
fn a_cancelled_invite_that_was_accepted_all_the_same_is_ended_later() {
    let mut alice = Alice::new();
    alice.text(1, "hello");
    let ours = alice.sends[0].0;
    alice.invited("");
    alice.request(0, "ACK", 1, "");
    alice.answered(200);
    let said = alice.answered_to(ours, 200, "theirs", SDP);
    assert!(said[0].starts_with("ACK"), "{said:?}");
    assert_eq!(said[1..], ["persist"]);
    let (timer, _, said) = alice.next();
    assert_eq!(timer, SessionTimer::Glare);
    assert_eq!(said, ["BYE", "persist"]);
    assert_ne!(alice.last().call_id(), Ok("bob1@contoso.example"));
    assert_eq!(alice.text(2, "more"), ["MESSAGE more"]);
    assert_eq!(alice.last().call_id(), Ok("bob1@contoso.example"));
}

#[test]
fn the_peers_491_is_waited_out() {
    let mut alice = Alice::new();
    alice.text(1, "hello");
    assert!(alice.answered(491).is_empty());
    let (timer, waited, said) = alice.next();
    assert_eq!(timer, SessionTimer::InviteAgain);
    assert!(waited <= 2000, "{waited}");
    assert_eq!(said, ["INVITE"]);
}

#[test]
fn typing_goes_as_the_profile_says_and_only_in_an_open_session() {
    let types = || {
        Input::Typing(Document {
            content_type: "application/xml".into(),
            body: Bytes::from_static(b"<KeyboardActivity/>"),
        })
    };
    let mut alice = Alice::new();
    assert!(alice.input(types()).is_empty(), "typing opens no session");
    let mut alice = Alice::talking();
    assert_eq!(alice.input(types()), ["INFO"]);
    alice.text(2, "x");
    assert!(
        alice.input(types()).is_empty(),
        "it must not overtake a text"
    );
    let mut alice = Alice::of(Profile::aol());
    alice.text(1, "hello");
    alice.accepted();
    alice.answered(200);
    assert_eq!(alice.input(types()), ["MESSAGE <KeyboardActivity/>"]);
}

#[test]
fn an_end_says_bye_and_fails_what_waits() {
    let mut alice = Alice::talking();
    alice.text(2, "x");
    alice.text(3, "y");
    assert_eq!(alice.input(Input::End), ["BYE", "closed", "3 failed 480"]);
    let on_its_way = alice.sends[alice.sends.len() - 2].0;
    assert!(
        alice.text(4, "z").is_empty(),
        "not before it is known of the last"
    );
    assert_eq!(
        alice.answered_to(on_its_way, 481, "theirs", ""),
        ["2 failed 481", "INVITE"]
    );
    let mut alice = Alice::new();
    alice.text(1, "x");
    assert_eq!(alice.input(Input::End), ["CANCEL", "1 failed 480"]);
    assert!(!alice.core.is_idle(), "the INVITE may still be accepted");
    let said = alice.accepted();
    assert!(said[0].starts_with("ACK"), "{said:?}");
    assert_eq!(said[1..], ["BYE"]);
    assert!(alice.core.is_idle());
}

#[test]
fn another_node_takes_the_session_over() {
    let mut alice = Alice::talking();
    let record = alice.core.encode().unwrap();
    let moment = Moment {
        now: alice.now,
        unix_ms: 0,
    };
    let stored = StoredSession::decode(&record).unwrap();
    assert_eq!(stored.pair(), &pair());
    let before = alice.last().cseq().unwrap().number;
    alice.core = stored.wake(moment, config(Profile::microsoft_lync()), [1; 16]);
    alice.core.take_over(moment.now);
    assert_eq!(alice.text(2, "still here"), ["MESSAGE still here"]);
    assert!(alice.last().cseq().unwrap().number > before + 60_000);
    for end in 0..record.len() {
        assert!(StoredSession::decode(&record[..end]).is_err());
    }
}
