//! The timers of RFC 3261 appendix A, as corrected by RFC 6026, over UDP and over a stream.

use super::*;

fn times(said: &[(u128, String)], word: &str) -> Vec<u128> {
    said.iter()
        .filter(|(_, said)| said == word)
        .map(|(at, _)| *at)
        .collect()
}

const LONG: Duration = Duration::from_secs(400);

#[test]
fn an_invite_without_response_is_repeated_over_udp_and_fails_by_timer_b() {
    let mut table = Table::over(Transport::Udp);
    table.send(1, draft(Method::Invite));
    assert_eq!(table.said(), ["> INVITE"]);
    assert_eq!(table.core.next_timer().unwrap().1, TransactionTimer::A);
    let said = table.pass(LONG);
    assert_eq!(
        times(&said, "> INVITE"),
        [500, 1500, 3500, 7500, 15_500, 31_500]
    );
    assert_eq!(times(&said, "1 failed: no response in time"), [32_000]);
    assert!(table.core.is_empty());
}

#[test]
fn over_a_stream_an_invite_is_sent_once_and_timer_b_runs_all_the_same() {
    let mut table = Table::over(Transport::Tls);
    table.send(1, draft(Method::Invite));
    table.said();
    assert_eq!(table.core.next_timer().unwrap().1, TransactionTimer::B);
    let said = table.pass(LONG);
    assert_eq!(said, [(32_000, "1 failed: no response in time".to_owned())]);
}

#[test]
fn a_request_without_response_is_repeated_over_udp_up_to_every_4_s_and_fails_by_timer_f() {
    let mut table = Table::over(Transport::Udp);
    table.send(1, draft(Method::Message));
    table.said();
    assert_eq!(table.core.next_timer().unwrap().1, TransactionTimer::E);
    let said = table.pass(LONG);
    assert_eq!(
        times(&said, "> MESSAGE"),
        [
            500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500
        ]
    );
    assert_eq!(times(&said, "1 failed: no response in time"), [32_000]);
}

#[test]
fn timer_f_runs_over_a_stream() {
    let mut table = Table::over(Transport::Tls);
    table.send(1, draft(Method::Message));
    table.said();
    assert_eq!(table.core.next_timer().unwrap().1, TransactionTimer::F);
    assert_eq!(table.pass(LONG).len(), 1);
}

#[test]
fn a_provisional_response_slows_repeats_down_to_every_4_s() {
    let mut table = Table::over(Transport::Udp);
    table.send(1, draft(Method::Message));
    let sent = table.transmitted();
    table.receive(answer(&sent, 100));
    let said = table.pass(LONG);
    let expected: Vec<u128> = (1..8).map(|n| n * 4000).collect();
    assert_eq!(times(&said, "> MESSAGE"), expected);
}

/// How long a finished transaction is kept, by transport.
#[test]
fn finished_transactions_linger_as_long_as_the_standard_says() {
    use TransactionTimer::{D, J, K, L, M};
    let udp = Transport::Udp;
    let tls = Transport::Tls;
    // Ours: method, final response, transport, timer and its seconds; none: forgotten at once.
    for (method, code, transport, timer) in [
        (Method::Invite, 486, udp, Some((D, 32))),
        (Method::Invite, 486, tls, None),
        (Method::Invite, 200, udp, Some((M, 32))),
        (Method::Invite, 200, tls, Some((M, 32))),
        (Method::Message, 200, udp, Some((K, 5))),
        (Method::Message, 200, tls, None),
    ] {
        let mut table = Table::over(transport);
        table.send(1, draft(method.clone()));
        let sent = table.transmitted();
        table.receive(answer(&sent, code));
        table.said();
        let lingers = table
            .core
            .next_timer()
            .map(|(at, timer)| (timer, (at - table.began).as_secs()));
        assert_eq!(lingers, timer, "{method} {code} {transport:?}");
    }
    // The peer's.
    for (method, code, transport, timer) in [
        ("INVITE", 200, udp, Some((L, 32))),
        ("INVITE", 200, tls, Some((L, 32))),
        ("MESSAGE", 200, udp, Some((J, 32))),
        ("MESSAGE", 200, tls, None),
    ] {
        let mut table = Table::over(transport);
        table.receive(request(method, "z9hG4bK1"));
        let (id, request) = table.requested();
        table.respond(id, &request, code);
        let lingers = table
            .core
            .next_timer()
            .map(|(at, timer)| (timer, (at - table.began).as_secs()));
        assert_eq!(lingers, timer, "{method} {code} {transport:?}");
    }
}

#[test]
fn a_refused_invite_is_repeated_over_udp_until_its_ack_and_then_waits_for_timer_i() {
    let mut table = Table::over(Transport::Udp);
    table.receive(request("INVITE", "z9hG4bK1"));
    let (id, invite) = table.requested();
    table.respond(id, &invite, 486);
    assert_eq!(table.said(), ["> 486"]);
    assert_eq!(table.core.next_timer().unwrap().1, TransactionTimer::G);
    let said = table.pass(Duration::from_secs(8));
    assert_eq!(times(&said, "> 486"), [500, 1500, 3500, 7500]);
    table.receive(request("ACK", "z9hG4bK1"));
    assert!(table.said().is_empty());
    let (at, timer) = table.core.next_timer().unwrap();
    assert_eq!(timer, TransactionTimer::I);
    assert_eq!(at - table.now, Duration::from_secs(5));
    assert!(table.pass(LONG).is_empty());
    assert!(table.core.is_empty());
}

#[test]
fn timer_h_ends_a_refused_invite_without_ack_on_streams_too() {
    let mut table = Table::over(Transport::Tls);
    table.receive(request("INVITE", "z9hG4bK1"));
    let (id, invite) = table.requested();
    table.respond(id, &invite, 486);
    table.said();
    assert_eq!(table.core.next_timer().unwrap().1, TransactionTimer::H);
    assert_eq!(
        table.pass(LONG),
        [(
            32_000,
            "unheard: the response was not acknowledged".to_owned()
        )]
    );
}

#[test]
fn an_ack_ends_a_refused_invite_at_once_on_a_stream() {
    let mut table = Table::over(Transport::Tls);
    table.receive(request("INVITE", "z9hG4bK1"));
    let (id, invite) = table.requested();
    table.respond(id, &invite, 486);
    table.receive(request("ACK", "z9hG4bK1"));
    assert!(table.core.is_empty());
}

#[test]
fn an_invite_that_nobody_answers_gets_100_after_200_ms_and_is_forgotten_in_the_end() {
    let mut table = Table::over(Transport::Tls);
    table.receive(request("INVITE", "z9hG4bK1"));
    table.said();
    assert_eq!(
        table.pass(LONG),
        [
            (200, "> 100".to_owned()),
            (180_000, "unheard: it was not answered in time".to_owned())
        ]
    );
    assert!(table.core.is_empty());
}

#[test]
fn an_invite_that_rings_too_long_is_cancelled_by_timer_c() {
    let mut table = Table::over(Transport::Tls);
    table.send(1, draft(Method::Invite));
    let sent = table.transmitted();
    table.receive(answer(&sent, 180));
    assert_eq!(table.said(), ["response to 1: 180"]);
    assert_eq!(table.core.next_timer().unwrap().1, TransactionTimer::C);
    let said = table.pass(LONG);
    assert_eq!(times(&said, "> CANCEL"), [180_000]);
    assert_eq!(times(&said, "1 failed: no response in time"), [212_000]);
    assert!(table.core.is_empty());
}
