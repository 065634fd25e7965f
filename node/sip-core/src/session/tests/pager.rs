//! Texts outside of sessions (RFC 3428).

use super::*;

#[test]
fn a_pager_peer_gets_each_text_as_a_message_of_its_own() {
    let mut alice = Alice::of(Profile::simple());
    assert_eq!(alice.text(1, "one"), ["MESSAGE one"]);
    assert!(alice.text(2, "two").is_empty());
    let first = alice.last().clone();
    assert_eq!(first.to().unwrap().tag(), None);
    assert_eq!(first.get(HeaderName::Contact), None, "RFC 3428 section 4");
    assert_eq!(alice.answered(202), ["1 delivered", "MESSAGE two"]);
    assert_ne!(first.call_id(), alice.last().call_id());
    assert_eq!(alice.failed(Failure::Timeout), ["2 failed 408"]);
    assert!(alice.core.is_idle());
}

#[test]
fn a_text_comes_in_without_a_session() {
    let mut alice = Alice::of(Profile::simple());
    assert_eq!(
        alice.request(1, "MESSAGE", 1, &says("Watson, come here.")),
        ["bob says Watson, come here."]
    );
    assert_eq!(alice.verdict(1, 200), ["200"]);
    assert!(!alice.tag.is_empty(), "To has a tag");
    alice.tag.clear();
    assert_eq!(
        alice.request(2, "MESSAGE", 1, &says("Watson, come here.")),
        ["200"]
    );
}

#[test]
fn a_text_that_comes_again_while_it_waits_is_heard_once() {
    let mut alice = Alice::of(Profile::simple());
    let first = alice.request(1, "MESSAGE", 1, &says("late"));
    assert_eq!(first, ["bob says late"]);
    alice.now += Duration::from_secs(90);
    assert!(alice.request(2, "MESSAGE", 1, &says("late")).is_empty());
    assert_eq!(alice.verdict(1, 200), ["200"]);
}

#[test]
fn a_session_that_the_peer_opened_is_used() {
    let mut alice = Alice::of(Profile::simple());
    alice.invited("");
    alice.request(0, "ACK", 1, "");
    assert_eq!(alice.text(1, "one"), ["MESSAGE one"]);
    assert_eq!(alice.last().call_id(), Ok("bob1@contoso.example"));
}

#[test]
fn a_refused_session_becomes_pager_mode_where_the_profile_allows() {
    let mut profile = Profile::simple();
    profile.im = ImMode::Session;
    for code in [405, 415, 488, 501] {
        let mut alice = Alice::of(profile.clone());
        assert_eq!(alice.text(1, "one"), ["INVITE"]);
        assert_eq!(alice.answered(code), ["MESSAGE one"]);
        assert_eq!(alice.answered(200), ["1 delivered"]);
        assert_eq!(alice.text(2, "two"), ["MESSAGE two"]);
    }
    let mut alice = Alice::new();
    alice.text(1, "one");
    assert_eq!(alice.answered(488), ["1 failed 488"]);
}

#[test]
fn a_text_that_a_session_refuses_goes_by_pager_where_the_profile_allows() {
    let mut profile = Profile::simple();
    profile.im = ImMode::Session;
    let mut alice = Alice::of(profile);
    alice.text(1, "one");
    alice.accepted();
    assert_eq!(alice.answered(415), ["MESSAGE one"]);
    assert_eq!(alice.last().to().unwrap().tag(), None);
    assert_eq!(alice.answered(415), ["1 failed 415"]);
}

#[test]
fn a_peer_without_pager_mode_is_asked_for_a_session() {
    let mut alice = Alice::of(Profile::simple());
    alice.text(1, "one");
    assert_eq!(alice.answered(405), ["INVITE"]);
    assert_eq!(alice.accepted()[2], "MESSAGE one");
}
