//! Several sessions between the same two: the peer has several endpoints.

use super::*;

/// Alice with open sessions from bob's desk and from his phone, the phone's opened last.
fn two_endpoints() -> Alice {
    let mut alice = Alice::new();
    for bob in ["desk", "phone"] {
        assert_eq!(alice.at(bob).invited(""), ["persist", "200"]);
        alice.request(0, "ACK", 1, "");
    }
    alice
}

fn last_call(alice: &Alice) -> &str {
    alice.last().call_id().unwrap()
}

#[test]
fn texts_of_each_endpoint_are_heard() {
    let mut alice = two_endpoints();
    for (id, bob) in [(2, "desk"), (3, "phone"), (4, "desk")] {
        let heard = alice.at(bob).request(id, "MESSAGE", id as u32, &says(bob));
        assert_eq!(heard, [format!("bob says {bob}")]);
        assert_eq!(alice.verdict(id, 200), ["200"]);
    }
    assert_eq!(alice.core.dialogs().count(), 2);
}

#[test]
fn our_users_text_goes_where_the_peer_spoke_last() {
    let mut alice = two_endpoints();
    alice.text(1, "one");
    assert_eq!(last_call(&alice), "phone@contoso.example", "opened last");
    alice.answered(200);
    alice.at("desk").request(2, "MESSAGE", 2, &says("hi"));
    alice.verdict(2, 200);
    alice.text(2, "two");
    assert_eq!(last_call(&alice), "desk@contoso.example");
}

#[test]
fn a_new_session_is_not_spoken_in_before_its_ack() {
    let mut alice = two_endpoints();
    alice.at("tablet").invited("");
    assert_eq!(alice.text(1, "one"), ["MESSAGE one"]);
    assert_eq!(last_call(&alice), "phone@contoso.example");
}

#[test]
fn each_session_ends_for_itself() {
    let mut alice = two_endpoints();
    assert_eq!(
        alice.at("phone").request(2, "BYE", 2, ""),
        ["200", "persist"]
    );
    assert_eq!(alice.text(1, "one"), ["MESSAGE one"]);
    assert_eq!(last_call(&alice), "desk@contoso.example");
    alice.answered(200);
    assert_eq!(alice.at("desk").request(3, "BYE", 2, ""), ["200", "closed"]);
    assert!(alice.core.is_idle());
}

#[test]
fn a_session_that_only_the_peer_forgot_is_left_for_the_other() {
    let mut alice = two_endpoints();
    alice.text(1, "one");
    assert_eq!(alice.answered(481), ["persist", "MESSAGE one"]);
    assert_eq!(last_call(&alice), "desk@contoso.example");
    assert_eq!(alice.answered(200), ["1 delivered"]);
}

#[test]
fn the_one_that_is_silent_is_ended_and_the_other_stays() {
    let mut alice = two_endpoints();
    alice.now += Duration::from_secs(300);
    alice.at("desk").request(2, "MESSAGE", 2, &says("hi"));
    alice.verdict(2, 200);
    let (timer, waited, said) = alice.next();
    assert_eq!((timer, waited), (SessionTimer::SessionIdle, 300_000));
    assert_eq!(said, ["BYE", "persist"]);
    assert_eq!(last_call(&alice), "phone@contoso.example");
    let (_, waited, said) = alice.next();
    assert_eq!(waited, 300_000);
    assert_eq!(said, ["BYE", "closed"]);
}

#[test]
fn one_more_than_may_be_is_busy_in_words_until_one_was_silent_for_long() {
    const ENDPOINTS: [&str; 4] = ["a", "b", "c", "d"];
    let mut alice = Alice::new();
    for bob in ENDPOINTS {
        assert_eq!(alice.at(bob).invited(""), ["persist", "200"]);
        alice.request(0, "ACK", 1, "");
    }
    let invite = format!("Content-Type: application/sdp\n\n{SDP}");
    let request = alice.at("e").message("INVITE", 1, &invite);
    let id = RequestId(9);
    alice
        .core
        .handle_input(alice.now, Input::Request { id, request });
    let Some(Output::Respond { reply, .. }) = alice.core.poll_output() else {
        panic!("no response");
    };
    let response = read(reply.to_bytes());
    assert_eq!(response.status(), Some(Status::BUSY_HERE));
    for name in [HeaderName::Warning, HeaderName::Reason] {
        assert!(response.get(name).unwrap().contains("as many sessions"));
    }
    assert_eq!(alice.core.dialogs().count(), ENDPOINTS.len());

    alice.now += Duration::from_secs(59);
    for (cseq, bob) in (2..).zip(["a", "c", "d"]) {
        alice.at(bob).request(cseq, "MESSAGE", 2, &says("hi"));
        alice.verdict(cseq, 200);
    }
    alice.now += Duration::from_secs(1);
    assert_eq!(alice.at("e").invited(""), ["BYE", "persist", "200"]);
    assert_eq!(last_call(&alice), "b@contoso.example");
}

#[test]
fn an_invite_that_comes_again_past_its_transaction_opens_nothing_new() {
    let mut alice = Alice::new();
    alice.invited("");
    let tag = alice.tag.clone();
    alice.invited("");
    assert_eq!(alice.tag, tag, "the same dialog");
    assert_eq!(alice.core.dialogs().count(), 1);
    alice.request(0, "ACK", 1, "");
    assert_eq!(alice.text(1, "one"), ["MESSAGE one"]);
}

#[test]
fn another_node_takes_all_of_them_over() {
    let mut alice = two_endpoints();
    alice.at("desk").request(2, "MESSAGE", 2, &says("hi"));
    alice.verdict(2, 200);
    let record = alice.core.encode().unwrap();
    let moment = Moment {
        now: alice.now,
        unix_ms: 0,
    };
    let stored = StoredSession::decode(&record).unwrap();
    alice.core = stored.wake(moment, config(Profile::microsoft_lync()), [1; 16]);
    alice.core.take_over(moment.now);
    alice.text(1, "still here");
    assert_eq!(last_call(&alice), "desk@contoso.example");
    alice.answered(200);
    assert_eq!(
        alice.at("phone").request(3, "MESSAGE", 2, &says("me too")),
        ["bob says me too"]
    );
    for end in 0..record.len() {
        assert!(StoredSession::decode(&record[..end]).is_err());
    }
}
