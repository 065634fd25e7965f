//! A bound session: addresses, acknowledgements, resumption, ends.

use std::sync::Arc;
use std::time::Duration;

use entente_xmpp_core::error::StreamCondition;
use entente_xmpp_core::stream::{
    ClientAnswer, ClientDeadline, ClientInput, ClientOutput, CloseReason, ResumedState,
};

use super::client_support::{Talk, config};

const ENABLE: &str = "<enable xmlns='urn:xmpp:sm:3' resume='true'/>";
const ASK: &str = "<r xmlns='urn:xmpp:sm:3'/>";

fn enabled() -> (Talk, Arc<str>) {
    let mut talk = Talk::bound(config());
    let got = talk.send(ENABLE);
    assert!(
        got.starts_with("<enabled xmlns='urn:xmpp:sm:3' resume='true' id='"),
        "{got}"
    );
    assert!(got.ends_with("' max='300'/>"), "{got}");
    let ClientOutput::SmEnabled(Some(id)) = talk.next() else {
        panic!("not resumable");
    };
    (talk, id)
}

fn stanza(talk: &mut Talk) -> String {
    let output = talk.next();
    let ClientOutput::Stanza(stanza) = output else {
        panic!("not a stanza: {output:?}");
    };
    String::from_utf8(stanza.bytes().to_vec()).unwrap()
}

fn ended(talk: &mut Talk) -> CloseReason {
    let last = talk.outputs.pop_back();
    let Some(ClientOutput::Closed(reason)) = last else {
        panic!("not closed: {last:?}");
    };
    reason
}

#[test]
fn the_shell_may_choose_the_id_for_resumption() {
    let mut talk = Talk::bound(config());
    talk.input(ClientInput::ResumptionId(Arc::from("n1.7")));
    assert_eq!(
        talk.send(ENABLE),
        "<enabled xmlns='urn:xmpp:sm:3' resume='true' id='n1.7' max='300'/>"
    );
}

#[test]
fn a_labels_are_written_as_u_labels() {
    let mut talk = Talk::bound(config());
    talk.send("<message to='a@xn--bcher-kva.example/r' id='1'/>");
    assert_eq!(
        stanza(&mut talk),
        "<message id='1' from='juliet@example.com/balcony' to='a@bücher.example/r'/>"
    );
}

#[test]
fn from_is_stamped_or_checked() {
    let mut talk = Talk::bound(config());
    talk.send("<message to='romeo@example.net'><body>hi</body></message>");
    assert_eq!(
        stanza(&mut talk),
        "<message to='romeo@example.net' from='juliet@example.com/balcony'>\
         <body>hi</body></message>"
    );
    talk.send("<presence from='juliet@example.com'/>");
    assert_eq!(
        stanza(&mut talk),
        "<presence from='juliet@example.com/balcony'/>"
    );
    for from in ["nurse@example.com", "juliet@example.com/x", "@@"] {
        let mut talk = Talk::bound(config());
        let got = talk.send(&format!("<message from='{from}'/>"));
        assert!(got.contains("<invalid-from "), "{from}: {got}");
        assert!(matches!(ended(&mut talk), CloseReason::Error(_)));
    }
}

#[test]
fn broken_stanzas_are_answered_and_count() {
    let (mut talk, _) = enabled();
    assert_eq!(
        talk.send("<iq type='get' id='1' to='@'><query xmlns='x'/></iq>"),
        "<iq type='error' id='1' from='@'><error type='modify'><jid-malformed \
         xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq><r xmlns='urn:xmpp:sm:3'/>"
    );
    assert!(talk.outputs.is_empty());
    assert_eq!(talk.send(ASK), "<a xmlns='urn:xmpp:sm:3' h='1'/>");
}

#[test]
fn the_old_session_request_and_a_second_bind() {
    let mut talk = Talk::bound(config());
    assert_eq!(
        talk.send(
            "<iq type='set' id='s'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>"
        ),
        "<iq type='result' id='s'/>"
    );
    let got =
        talk.send("<iq type='set' id='b2'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
    assert!(got.contains("<not-allowed "), "{got}");
    assert!(talk.outputs.is_empty());
}

#[test]
fn without_management_nothing_is_counted() {
    let mut talk = Talk::bound(config());
    assert!(!talk.stream.sm_enabled());
    assert_eq!(talk.deliver("<message/>", 5), "<message/>");
    assert!(talk.send(ASK).contains("<unexpected-request "));
    talk.send("<message to='a@example.net'/>");
    assert_eq!(talk.stream.unhandled(), 0);
}

#[test]
fn answers_wait_for_receipts_and_only_so_long() {
    let (mut talk, _) = enabled();
    talk.send("<message to='a@example.net'/><message to='b@example.net'/>");
    assert_eq!(talk.send(ASK), "");
    assert_eq!(talk.stream.unhandled(), 2);
    assert_eq!(talk.input(ClientInput::Handled(1)), "");
    assert_eq!(
        talk.input(ClientInput::Handled(1)),
        "<a xmlns='urn:xmpp:sm:3' h='2'/>"
    );
    talk.send("<message to='c@example.net'/>");
    talk.send(ASK);
    let (_, why) = talk.stream.next_deadline().unwrap();
    assert_eq!(why, ClientDeadline::AckAnswer);
    assert_eq!(
        talk.wait(Duration::from_secs(1)),
        "<a xmlns='urn:xmpp:sm:3' h='2'/>"
    );
}

#[test]
fn deliveries_are_reported_by_token() {
    let (mut talk, _) = enabled();
    assert_eq!(
        talk.deliver("<message id='1'/>", 11),
        format!("<message id='1'/>{ASK}")
    );
    assert_eq!(talk.deliver("<message id='2'/>", 0), "<message id='2'/>");
    assert_eq!(talk.deliver("<message id='3'/>", 13), "<message id='3'/>");
    assert_eq!(talk.send("<a xmlns='urn:xmpp:sm:3' h='2'/>"), ASK);
    assert_eq!(talk.delivered(), [11]);
    talk.send("<a xmlns='urn:xmpp:sm:3' h='3'/>");
    assert_eq!(talk.delivered(), [13]);
    let got = talk.send("<a xmlns='urn:xmpp:sm:3' h='4'/>");
    assert!(
        got.contains("<handled-count-too-high xmlns='urn:xmpp:sm:3' h='4' send-count='3'/>"),
        "{got}"
    );
    assert!(matches!(ended(&mut talk), CloseReason::Error(_)));
}

#[test]
fn what_was_never_acknowledged_comes_back() {
    let (mut talk, _) = enabled();
    talk.deliver("<message id='1'/>", 1);
    talk.deliver("<message id='2'/>", 2);
    talk.send("<a xmlns='urn:xmpp:sm:3' h='1'/>");
    assert!(talk.stream.unacked().is_empty(), "the stream lives");
    talk.input(ClientInput::Eof);
    talk.deliver("<message id='3'/>", 3);
    assert_eq!(ended(&mut talk), CloseReason::Eof);
    let tokens: Vec<_> = talk.stream.unacked().iter().map(|u| u.token).collect();
    assert_eq!(tokens, [2, 3]);
    assert!(talk.stream.unacked().is_empty());
}

fn resume(parked: ResumedState, h: u32) -> (Talk, String) {
    let mut talk = Talk::authenticated(config());
    let got = talk.send(&format!(
        "<resume xmlns='urn:xmpp:sm:3' previd='{}' h='{h}'/>",
        parked.id()
    ));
    assert_eq!(got, "");
    let (id, _) = talk.request();
    let got = talk.answer(id, ClientAnswer::Resumed(Box::new(parked)));
    (talk, got)
}

fn parked() -> ResumedState {
    let (mut talk, _) = enabled();
    talk.send("<message to='a@example.net'/><message to='b@example.net'/>");
    talk.input(ClientInput::Handled(1));
    talk.deliver("<message id='1'/>", 1);
    talk.deliver("<message id='2'/>", 2);
    talk.input(ClientInput::Eof);
    talk.stream.park().expect("it can be resumed")
}

#[test]
fn a_lost_stream_is_resumed() {
    let mut parked = parked();
    let id = Arc::clone(parked.id());
    assert_eq!(parked.unhandled(), 1);
    parked
        .push("<message id='3'/>".into(), 3)
        .expect("there is room");
    let (mut talk, got) = resume(parked, 1);
    assert_eq!(
        got,
        format!(
            "<resumed xmlns='urn:xmpp:sm:3' previd='{id}' h='1'/>\
             <message id='2'/><message id='3'/>{ASK}"
        )
    );
    assert_eq!(talk.delivered(), [1]);
    talk.send("<a xmlns='urn:xmpp:sm:3' h='3'/>");
    assert_eq!(talk.delivered(), [2, 3]);
    // The client sends again what was not handled: it counts once.
    talk.send("<message to='b@example.net'/>");
    talk.input(ClientInput::Handled(1));
    assert_eq!(talk.send(ASK), "<a xmlns='urn:xmpp:sm:3' h='2'/>");
    // And can be lost and found once more.
    talk.input(ClientInput::Eof);
    assert!(talk.stream.park().is_ok());
}

#[test]
fn a_resumption_with_a_wrong_count_loses_nothing() {
    let (mut talk, got) = resume(parked(), 3);
    assert!(got.contains("<handled-count-too-high "), "{got}");
    let tokens: Vec<_> = talk.stream.unacked().iter().map(|u| u.token).collect();
    assert_eq!(tokens, [1, 2]);
}

#[test]
fn a_resumption_that_fails_leads_to_a_new_session() {
    let mut talk = Talk::authenticated(config());
    talk.send("<resume xmlns='urn:xmpp:sm:3' previd='gone' h='0'/>");
    let (id, _) = talk.request();
    assert_eq!(
        talk.answer(id, ClientAnswer::ResumeFailed { h: Some(7) }),
        "<failed xmlns='urn:xmpp:sm:3' h='7'><item-not-found \
         xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>"
    );
    talk.send("<iq type='set' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
    talk.request();
}

#[test]
fn a_stream_that_was_closed_in_order_cannot_be_resumed() {
    let (mut talk, _) = enabled();
    talk.deliver("<message id='1'/>", 1);
    assert_eq!(talk.send("</stream:stream>"), "</stream:stream>");
    assert_eq!(ended(&mut talk), CloseReason::Clean);
    let mut back = talk.stream.park().expect_err("closed in order");
    assert_eq!(back.unacked().len(), 1);
}

#[test]
fn our_close_waits_for_the_clients() {
    let (mut talk, _) = enabled();
    talk.deliver("<message id='1'/>", 1);
    assert_eq!(talk.input(ClientInput::Close(None)), "</stream:stream>");
    assert_eq!(talk.deliver("<message id='2'/>", 2), "");
    assert_eq!(talk.send("<a xmlns='urn:xmpp:sm:3' h='1'/>"), "");
    assert_eq!(talk.delivered(), [1]);
    assert_eq!(talk.send("</stream:stream>"), "");
    assert_eq!(ended(&mut talk), CloseReason::Clean);
    assert_eq!(talk.stream.unacked().len(), 1);

    let (mut talk, _) = enabled();
    talk.input(ClientInput::Close(None));
    assert_eq!(talk.wait(Duration::from_secs(3)), "");
    assert_eq!(ended(&mut talk), CloseReason::CloseTimeout);
}

#[test]
fn a_full_queue_ends_the_stream_and_loses_nothing() {
    let mut settings = config();
    settings.queue.stanzas = 2;
    let mut talk = Talk::bound(settings);
    talk.send(ENABLE);
    for token in 1..=2 {
        talk.deliver("<message/>", token);
    }
    let got = talk.deliver("<message/>", 3);
    assert!(got.contains("<resource-constraint "), "{got}");
    let tokens: Vec<_> = talk.stream.unacked().iter().map(|u| u.token).collect();
    assert_eq!(tokens, [1, 2, 3]);
}

#[test]
fn a_silent_client_is_asked_and_then_dropped() {
    let mut talk = Talk::bound(config());
    let got = talk.wait(Duration::from_secs(300));
    assert!(got.contains("<ping xmlns='urn:xmpp:ping'/>"), "{got}");
    let id = got
        .split("id='")
        .nth(1)
        .unwrap()
        .split('\'')
        .next()
        .unwrap()
        .to_owned();
    talk.send(&format!("<iq type='result' id='{id}'/>"));
    assert!(talk.outputs.is_empty(), "the pong is not for the shell");
    talk.wait(Duration::from_secs(300));
    let got = talk.wait(Duration::from_secs(600));
    assert!(got.contains("<connection-timeout "), "{got}");

    let (mut talk, _) = enabled();
    assert_eq!(talk.wait(Duration::from_secs(300)), ASK);
    let (_, why) = talk.stream.next_deadline().unwrap();
    assert_eq!(why, ClientDeadline::AckWait);
    talk.wait(Duration::from_secs(60));
    let CloseReason::Error(error) = ended(&mut talk) else {
        panic!("no error");
    };
    assert_eq!(error.condition, StreamCondition::ConnectionTimeout);
    assert!(talk.stream.park().is_ok(), "it may come back");
}

#[test]
fn unknown_elements_and_bad_xml_end_the_stream() {
    for (xml, condition) in [
        ("<query xmlns='x'/>", "unsupported-stanza-type"),
        (
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
            "unsupported-stanza-type",
        ),
        ("<message><body></message>", "not-well-formed"),
        ("<!DOCTYPE x>", "restricted-xml"),
        ("<message><x:y/></message>", "not-well-formed"),
    ] {
        let mut talk = Talk::bound(config());
        let got = talk.send(xml);
        assert!(got.contains(&format!("<{condition} ")), "{xml}: {got}");
        assert!(matches!(ended(&mut talk), CloseReason::Error(_)));
    }
}
