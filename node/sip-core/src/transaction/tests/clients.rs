//! Requests that we send.

use super::*;

#[test]
fn an_invite_is_accepted_and_each_2xx_reaches_the_user() {
    let mut table = Table::over(Transport::Tls);
    table.send(1, draft(Method::Invite));
    let invite = table.transmitted();
    table.receive(answer(&invite, 100));
    table.receive(answer(&invite, 180));
    table.receive(answer(&invite, 200));
    table.receive(answer(&invite, 200));
    assert_eq!(
        table.said(),
        [
            "response to 1: 100",
            "response to 1: 180",
            "response to 1: 200",
            "response to 1: 200"
        ]
    );
    // RFC 6026: a refusal behind a 2xx belongs to nobody.
    table.receive(answer(&invite, 486));
    assert!(table.said().is_empty());
}

#[test]
fn our_via_names_this_node_and_carries_its_branch() {
    let mut table = Table::over(Transport::Tls);
    table.send(1, draft(Method::Options));
    let via = table.transmitted().top_via().unwrap();
    assert_eq!(via.host_str(), "sip.entente.example");
    let branch = via.unique_branch().unwrap();
    let owner = key().owner_of_branch(branch.as_bytes()).unwrap();
    assert_eq!(owner.as_str(), "node1");
}

#[test]
fn a_refused_invite_is_acknowledged_inside_with_the_invites_branch() {
    let mut table = Table::over(Transport::Udp);
    table.send(1, draft(Method::Invite));
    let invite = table.transmitted();
    table.receive(answer(&invite, 486));
    let ack = table.transmitted();
    assert_eq!(ack.method(), Some(&Method::Ack));
    assert_eq!(ack.top_via(), invite.top_via());
    assert_eq!(ack.get(HeaderName::CSeq), Some("1 ACK"));
    assert_eq!(
        ack.get(HeaderName::To),
        Some("<sip:bob@biloxi.example>;tag=theirs")
    );
    assert_eq!(
        ack.get(HeaderName::Route),
        Some("<sip:p1.biloxi.example;lr>")
    );
    // The response comes again: so does the ACK, but not the response to the user.
    table.receive(answer(&invite, 486));
    assert_eq!(table.said(), ["> ACK"]);
}

#[test]
fn the_ack_of_a_2xx_goes_out_with_a_branch_of_its_own() {
    let mut table = Table::over(Transport::Tls);
    table.send(1, draft(Method::Invite));
    let invite = table.transmitted();
    let flow = table.flow();
    let ack = draft(Method::Ack);
    table.input(Input::SendAck { flow, ack });
    let ack = table.transmitted();
    assert_eq!(ack.method(), Some(&Method::Ack));
    assert_ne!(
        ack.top_via().unwrap().branch(),
        invite.top_via().unwrap().branch()
    );
}

#[test]
fn cancel_waits_for_a_provisional_response() {
    let mut table = Table::over(Transport::Tls);
    table.send(1, draft(Method::Invite));
    let invite = table.transmitted();
    table.input(Input::Cancel {
        token: ClientToken(1),
    });
    assert!(table.said().is_empty());
    table.receive(answer(&invite, 180));
    let cancel = table.transmitted();
    assert_eq!(cancel.method(), Some(&Method::Cancel));
    assert_eq!(cancel.top_via(), invite.top_via());
    assert_eq!(cancel.get(HeaderName::CSeq), Some("1 CANCEL"));
    // Its own response ends it; the INVITE's says how it went.
    table.receive(answer(&cancel, 200));
    assert!(table.said().is_empty());
    table.receive(answer(&invite, 487));
    assert_eq!(table.said(), ["> ACK", "response to 1: 487"]);
    assert!(table.core.is_empty());
}

#[test]
fn a_cancelled_invite_may_be_accepted_all_the_same() {
    let mut table = Table::over(Transport::Tls);
    table.send(1, draft(Method::Invite));
    let invite = table.transmitted();
    table.receive(answer(&invite, 180));
    table.input(Input::Cancel {
        token: ClientToken(1),
    });
    table.receive(answer(&invite, 200));
    assert_eq!(
        table.said(),
        ["response to 1: 180", "> CANCEL", "response to 1: 200"]
    );
}

#[test]
fn a_broken_connection_fails_what_waits_on_it_and_nothing_else() {
    let mut table = Table::over(Transport::Tls);
    table.send(1, draft(Method::Message));
    table.said();
    table.input(Input::Lost {
        connection: ConnectionId(8),
    });
    assert!(table.said().is_empty());
    table.input(Input::Lost { connection: PEER });
    assert_eq!(table.said(), ["1 failed: the connection broke"]);
    assert!(table.core.is_empty());
    assert_eq!(Failure::Transport.status(), Status::SERVICE_UNAVAILABLE);
    assert_eq!(Failure::Timeout.status(), Status::REQUEST_TIMEOUT);
}

#[test]
fn a_response_to_another_nodes_request_names_that_node_and_a_foreign_one_is_dropped() {
    let mut table = Table::over(Transport::Tls);
    let other = key().branch(
        &Owner::new("node2").unwrap(),
        &mut crate::generator::Generator::new([1; 16]),
    );
    let via = format!("SIP/2.0/TLS sip.entente.example;branch={other}");
    let sent = read(draft(Method::Message).to_bytes(&via));
    table.receive(answer(&sent, 200));
    assert_eq!(table.said(), ["stray of node2"]);
    let forged = "SIP/2.0/TLS sip.entente.example;branch=z9hG4bKforged";
    let sent = read(draft(Method::Message).to_bytes(forged));
    table.receive(answer(&sent, 200));
    assert!(table.said().is_empty());
    assert_eq!(table.core.counters().strays, 1);
}

#[test]
fn a_late_response_is_dropped_and_counted() {
    let mut table = Table::over(Transport::Tls);
    table.send(1, draft(Method::Message));
    let sent = table.transmitted();
    table.pass(Duration::from_secs(33));
    table.receive(answer(&sent, 200));
    assert!(table.said().is_empty());
    assert_eq!(table.core.counters().strays, 1);
}
