//! Requests that come in.

use super::*;

#[test]
fn a_repeated_request_gets_the_last_response_and_is_seen_once() {
    let mut table = Table::over(Transport::Udp);
    table.receive(request("MESSAGE", "z9hG4bK1"));
    let (id, asked) = table.requested();
    table.receive(request("MESSAGE", "z9hG4bK1"));
    assert!(table.said().is_empty(), "nothing to repeat yet");
    table.respond(id, &asked, 200);
    table.receive(request("MESSAGE", "z9hG4bK1"));
    assert_eq!(table.said(), ["> 200", "> 200"]);
    assert_eq!(table.core.counters().repeated, 2);
}

#[test]
fn a_response_that_another_node_wrote_goes_out_as_it_is() {
    let mut table = Table::over(Transport::Tls);
    table.receive(request("MESSAGE", "z9hG4bK1"));
    let (id, asked) = table.requested();
    let response = answer(&asked, 202);
    let bytes = response.bytes().clone();
    table.input(Input::Relay { id, response });
    assert_eq!(table.transmitted().bytes(), &bytes);
    assert!(table.core.is_empty());
    // A request is none.
    let (late, response) = (id, asked);
    table.input(Input::Relay { id: late, response });
    assert!(table.said().is_empty());
}

#[test]
fn an_accepted_invite_absorbs_its_repeats_and_its_ack_reaches_the_user() {
    let mut table = Table::over(Transport::Udp);
    table.receive(request("INVITE", "z9hG4bK1"));
    let (id, invite) = table.requested();
    table.respond(id, &invite, 200);
    assert_eq!(table.said(), ["> 200"]);
    table.receive(request("INVITE", "z9hG4bK1"));
    assert!(table.said().is_empty());
    // The user repeats its 2xx until the ACK comes, which has a branch of its own.
    table.respond(id, &invite, 200);
    table.receive(request("ACK", "z9hG4bK2"));
    assert_eq!(table.said(), ["> 200", "one way ACK"]);
}

#[test]
fn a_user_agent_that_sends_the_ack_of_a_2xx_with_the_invites_branch_is_understood() {
    let mut table = Table::over(Transport::Tls);
    table.receive(request("INVITE", "z9hG4bK1"));
    let (id, invite) = table.requested();
    table.respond(id, &invite, 200);
    table.receive(request("ACK", "z9hG4bK1"));
    assert_eq!(table.said(), ["> 200", "one way ACK"]);
}

#[test]
fn cancel_is_answered_and_the_user_ends_the_invite() {
    let mut table = Table::over(Transport::Tls);
    table.receive(request("INVITE", "z9hG4bK1"));
    let (id, invite) = table.requested();
    table.receive(request("CANCEL", "z9hG4bK1"));
    assert_eq!(table.said(), ["> 200", "cancelled"]);
    table.respond(id, &invite, 487);
    table.receive(request("ACK", "z9hG4bK1"));
    assert_eq!(table.said(), ["> 487"]);
    assert!(table.core.is_empty());
}

#[test]
fn cancel_of_an_answered_invite_changes_nothing_and_of_an_unknown_one_gets_481() {
    let mut table = Table::over(Transport::Tls);
    table.receive(request("INVITE", "z9hG4bK1"));
    let (id, invite) = table.requested();
    table.respond(id, &invite, 200);
    table.receive(request("CANCEL", "z9hG4bK1"));
    table.receive(request("CANCEL", "z9hG4bKother"));
    assert_eq!(table.said(), ["> 200", "> 200", "> 481"]);
}

#[test]
fn a_second_answer_and_one_for_a_forgotten_request_are_dropped_and_counted() {
    let mut table = Table::over(Transport::Udp);
    table.receive(request("MESSAGE", "z9hG4bK1"));
    let (id, asked) = table.requested();
    table.respond(id, &asked, 200);
    table.respond(id, &asked, 480);
    table.respond(ServerId(99), &asked, 200);
    assert_eq!(table.said(), ["> 200"]);
    assert_eq!(table.core.counters().late_replies, 2);
}

#[test]
fn a_request_that_comes_on_a_second_way_gets_482() {
    let mut table = Table::over(Transport::Tls);
    table.receive(request("MESSAGE", "z9hG4bKfirst"));
    assert_eq!(table.said(), ["request MESSAGE"]);
    table.receive(request("MESSAGE", "z9hG4bKsecond"));
    assert_eq!(table.said(), ["> 482"]);
    assert_eq!(table.core.counters().loops, 1);
}

#[test]
fn a_request_that_carries_a_branch_of_ours_gets_482() {
    let mut table = Table::over(Transport::Tls);
    let ours = key().branch(
        &Owner::new("node3").unwrap(),
        &mut crate::generator::Generator::new([1; 16]),
    );
    table.receive(message(&format!(
        "MESSAGE sip:alice@entente.example SIP/2.0
         Via: SIP/2.0/TLS edge.biloxi.example;branch=z9hG4bK1, SIP/2.0/TLS x;branch={ours}
         From: <sip:bob@biloxi.example>;tag=1
         To: <sip:alice@entente.example>
         Call-ID: loop
         CSeq: 1 MESSAGE"
    )));
    assert_eq!(table.said(), ["> 482"]);
}

#[test]
fn the_same_branch_from_another_host_is_another_transaction() {
    let mut table = Table::over(Transport::Udp);
    table.receive(request("MESSAGE", "z9hG4bK1"));
    table.receive(message(
        "MESSAGE sip:alice@entente.example SIP/2.0
         Via: SIP/2.0/UDP pc33.atlanta.example;branch=z9hG4bK1
         From: <sip:carol@atlanta.example>;tag=1
         To: <sip:alice@entente.example>
         Call-ID: another
         CSeq: 1 MESSAGE",
    ));
    assert_eq!(table.said(), ["request MESSAGE", "request MESSAGE"]);
}

#[test]
fn a_peer_of_rfc_2543_is_matched_without_a_branch() {
    let mut table = Table::over(Transport::Udp);
    let old = |method: &str, to_tag: &str| {
        message(&format!(
            "{method} sip:alice@entente.example SIP/2.0
             Via: SIP/2.0/UDP old.example:5060
             From: <sip:bob@old.example>;tag=1
             To: <sip:alice@entente.example>{to_tag}
             Call-ID: old
             CSeq: 1 {method}"
        ))
    };
    table.receive(old("INVITE", ""));
    let (id, invite) = table.requested();
    table.receive(old("INVITE", ""));
    assert!(table.said().is_empty());
    table.respond(id, &invite, 486);
    table.receive(old("ACK", ";tag=ours"));
    assert_eq!(table.said(), ["> 486"]);
    assert_eq!(table.core.next_timer().unwrap().1, TransactionTimer::I);
}

#[test]
fn benotify_is_passed_on_and_keeps_nothing() {
    let mut table = Table::over(Transport::Tls);
    table.receive(request("BENOTIFY", "z9hG4bK1"));
    assert_eq!(table.said(), ["one way BENOTIFY"]);
    assert!(table.core.is_empty());
}

#[test]
fn an_ack_that_belongs_to_nothing_but_names_no_branch_is_dropped() {
    let mut table = Table::over(Transport::Tls);
    table.receive(request("ACK", "old"));
    assert!(table.said().is_empty());
    assert_eq!(table.core.counters().unusable, 1);
}

#[test]
fn a_broken_connection_ends_the_requests_that_came_on_it() {
    let mut table = Table::over(Transport::Tls);
    table.receive(request("MESSAGE", "z9hG4bK1"));
    let (id, asked) = table.requested();
    table.input(Input::Lost { connection: PEER });
    assert_eq!(table.said(), ["unheard: the connection broke"]);
    table.respond(id, &asked, 200);
    assert!(table.said().is_empty());
}
