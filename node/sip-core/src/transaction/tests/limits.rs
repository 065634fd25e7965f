//! Full tables.

use super::*;

fn other_request(number: u32) -> Message {
    message(&format!(
        "MESSAGE sip:alice@entente.example SIP/2.0
         Via: SIP/2.0/TLS edge.biloxi.example;branch=z9hG4bK{number}
         From: <sip:bob@biloxi.example>;tag=1
         To: <sip:alice@entente.example>
         Call-ID: call{number}
         CSeq: 1 MESSAGE"
    ))
}

fn few(per_connection: usize, total: usize) -> TransactionLimits {
    TransactionLimits {
        per_connection,
        total,
        retry_after: 5,
    }
}

#[test]
fn one_request_more_than_a_connection_may_have_gets_503_until_one_is_answered() {
    let mut table = Table::bounded(Transport::Tls, few(2, 100));
    table.receive(other_request(1));
    let (first, asked) = table.requested();
    table.receive(other_request(2));
    assert_eq!(table.said(), ["request MESSAGE"]);
    table.receive(other_request(3));
    let refused = table.transmitted();
    assert_eq!(refused.status(), Some(Status::SERVICE_UNAVAILABLE));
    assert_eq!(refused.get(HeaderName::RetryAfter), Some("5"));
    assert_eq!(table.core.counters().refused, 1);
    table.respond(first, &asked, 200);
    table.receive(other_request(4));
    assert_eq!(table.said(), ["> 200", "request MESSAGE"]);
}

#[test]
fn all_connections_together_have_a_bound() {
    let mut table = Table::bounded(Transport::Tls, few(2, 3));
    for (connection, number) in [(1, 1), (1, 2), (2, 3), (2, 4)] {
        let flow = Flow {
            connection: ConnectionId(connection),
            transport: Transport::Tls,
        };
        table.input(Input::Received {
            flow,
            message: other_request(number),
        });
    }
    assert_eq!(
        table.said(),
        [
            "request MESSAGE",
            "request MESSAGE",
            "request MESSAGE",
            "> 503"
        ]
    );
}

#[test]
fn one_request_of_ours_more_than_the_table_holds_fails_at_once() {
    let mut table = Table::bounded(Transport::Tls, few(1, 100));
    table.send(1, draft(Method::Message));
    table.send(2, draft(Method::Message));
    assert_eq!(
        table.said(),
        ["> MESSAGE", "2 failed: too many transactions"]
    );
    assert_eq!(Failure::Full.status(), Status::SERVICE_UNAVAILABLE);
}
