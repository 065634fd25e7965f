//! We end a client's stream: neither side is left in doubt about what the other has.

use std::time::Duration;

use entente_xmpp_core::error::{StreamCondition, StreamError};
use entente_xmpp_core::stream::{ClientDeadline, ClientInput, ClientOutput, CloseReason};

use super::client_support::{Talk, config};

const ASK: &str = "<r xmlns='urn:xmpp:sm:3'/>";
const SHUTDOWN: &str = "<stream:error><system-shutdown \
    xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>";

fn managed() -> Talk {
    let mut talk = Talk::bound(config());
    talk.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
    talk.outputs.clear();
    talk
}

fn leave(talk: &mut Talk) -> String {
    let error = StreamError::new(StreamCondition::SystemShutdown);
    talk.input(ClientInput::Leave(error))
}

fn is_over(talk: &Talk) -> bool {
    matches!(
        talk.outputs.back(),
        Some(ClientOutput::Closed(CloseReason::Error(error)))
            if error.condition == StreamCondition::SystemShutdown
    )
}

#[test]
fn with_nothing_open_the_end_comes_at_once() {
    let mut talk = managed();
    assert_eq!(leave(&mut talk), SHUTDOWN);
    assert!(is_over(&talk));
}

#[test]
fn receipts_come_first_then_the_clients_ack_then_the_error() {
    let mut talk = managed();
    talk.send("<message to='a@example.net'/><message to='b@example.net'/>");
    assert_eq!(leave(&mut talk), "");
    assert_eq!(
        talk.stream.next_deadline().unwrap().1,
        ClientDeadline::Farewell
    );
    // A delivery still goes out, as long as receipts are awaited anyway.
    let got = talk.deliver("<message id='1'/>", 1);
    assert_eq!(got, format!("<message id='1'/>{ASK}"));
    assert_eq!(talk.input(ClientInput::Handled(1)), "");
    assert_eq!(
        talk.input(ClientInput::Handled(1)),
        format!("<a xmlns='urn:xmpp:sm:3' h='2'/>{ASK}")
    );
    assert_eq!(
        talk.deliver("<message id='2'/>", 2),
        "",
        "it comes too late"
    );
    assert!(!is_over(&talk));
    assert_eq!(talk.send("<a xmlns='urn:xmpp:sm:3' h='1'/>"), SHUTDOWN);
    assert!(is_over(&talk));
    assert_eq!(talk.delivered(), [1]);
    let left: Vec<_> = talk.stream.unacked().iter().map(|u| u.token).collect();
    assert_eq!(left, [2], "for another session or the store");
}

#[test]
fn what_comes_after_is_not_taken_and_not_counted() {
    let mut talk = managed();
    talk.send("<message to='a@example.net'/>");
    talk.outputs.clear();
    leave(&mut talk);
    assert_eq!(
        talk.send(
            "<message to='late@example.net'/><iq type='get' id='1' to='@'><query xmlns='x'/></iq>"
        ),
        ""
    );
    assert!(talk.outputs.is_empty());
    assert_eq!(
        talk.input(ClientInput::Handled(1)),
        format!("<a xmlns='urn:xmpp:sm:3' h='1'/>{SHUTDOWN}")
    );
}

#[test]
fn an_answer_that_was_given_already_is_not_repeated() {
    let mut talk = managed();
    talk.send(&format!("<message to='a@example.net'/>{ASK}"));
    leave(&mut talk);
    assert_eq!(
        talk.input(ClientInput::Handled(1)),
        format!("<a xmlns='urn:xmpp:sm:3' h='1'/>{SHUTDOWN}")
    );
}

#[test]
fn both_waits_are_bounded() {
    let mut talk = managed();
    talk.deliver("<message id='1'/>", 1);
    talk.send("<message to='a@example.net'/><message to='b@example.net'/>");
    talk.input(ClientInput::Handled(1));
    assert_eq!(leave(&mut talk), "");
    assert_eq!(
        talk.wait(Duration::from_secs(2)),
        format!("<a xmlns='urn:xmpp:sm:3' h='1'/>{ASK}"),
        "with the receipts that there are"
    );
    // One that comes while the client is silent is still told.
    talk.input(ClientInput::Handled(1));
    assert_eq!(
        talk.wait(Duration::from_secs(2)),
        format!("<a xmlns='urn:xmpp:sm:3' h='2'/>{SHUTDOWN}")
    );
    assert!(is_over(&talk));
    assert_eq!(talk.stream.unacked().len(), 1);
}

#[test]
fn a_client_without_management_waits_for_its_receipts_too() {
    let mut talk = Talk::bound(config());
    talk.send("<message to='a@example.net'/>");
    talk.deliver("<message id='1'/>", 0);
    assert_eq!(leave(&mut talk), "");
    assert_eq!(talk.input(ClientInput::Handled(1)), SHUTDOWN);
    assert!(is_over(&talk));
}

#[test]
fn a_client_that_closes_meanwhile_is_let_go() {
    let mut talk = managed();
    talk.deliver("<message id='1'/>", 1);
    assert_eq!(leave(&mut talk), ASK);
    assert_eq!(talk.send("</stream:stream>"), "</stream:stream>");
    assert!(matches!(
        talk.outputs.back(),
        Some(ClientOutput::Closed(CloseReason::Clean))
    ));
}

#[test]
fn without_a_session_there_is_nothing_to_wait_for() {
    let mut talk = Talk::authenticated(config());
    assert_eq!(leave(&mut talk), SHUTDOWN);
    assert!(is_over(&talk));
}
