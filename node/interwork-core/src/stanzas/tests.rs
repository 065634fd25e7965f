use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::presence::Availability;

fn jid(text: &str) -> Jid {
    Jid::new(text).unwrap()
}

fn romeo() -> Jid {
    jid("romeo@sip.example")
}

fn juliet() -> Jid {
    jid("juliet@xmpp.example")
}

fn stanza(xml: &str) -> Stanza {
    Stanza::parse(Bytes::copy_from_slice(xml.as_bytes())).unwrap()
}

fn reading(content: &str) -> Outgoing {
    read_message(&stanza(&format!(
        "<message from='juliet@xmpp.example/b' to='romeo@sip.example' type='chat' id='1'>{content}</message>"
    )))
}

#[test]
fn a_text_becomes_a_message() {
    let (from, to) = (romeo(), juliet());
    let text = TextMessage {
        from: &from,
        to: &to,
        id: "x'1",
        text: "a <b> & c",
        subject: Some("Hi"),
        thread: Some("call@host"),
        sent: UtcTime::from_unix(0),
    };
    assert_eq!(
        format!("{:?}", text.to_stanza()),
        "<message from='romeo@sip.example' to='juliet@xmpp.example' type='chat' id='x&apos;1'>\
         <subject>Hi</subject><body>a &lt;b&gt; &amp; c</body><thread>call@host</thread>\
         <active xmlns='http://jabber.org/protocol/chatstates'/>\
         <delay xmlns='urn:xmpp:delay' from='sip.example' stamp='1970-01-01T00:00:00Z'/></message>"
    );
}

#[test]
fn notices_are_not_stored() {
    let notice = chat_state(&romeo(), &juliet(), "1", ChatState::Composing, None);
    assert!(notice.payload(Payload::ChatState) && notice.payload(Payload::NoStore));
    assert!(!notice.payload(Payload::Body));
}

#[test]
fn presence_becomes_stanzas() {
    let (from, to) = (romeo(), juliet());
    let busy = Presence::new(Availability::Away).with_text("Busy");
    assert_eq!(
        format!("{:?}", presence(&from, &to, &busy, ClientKind::Xmpp)),
        "<presence from='romeo@sip.example' to='juliet@xmpp.example'>\
         <show>away</show><status>Busy</status></presence>"
    );
    let gone = presence(&from, &to, &Presence::offline(), ClientKind::Rich);
    assert_eq!(gone.presence_type(), Some(PresenceType::Unavailable));
    for kind in [
        PresenceType::Subscribe,
        PresenceType::Subscribed,
        PresenceType::Unsubscribe,
        PresenceType::Unsubscribed,
        PresenceType::Probe,
        PresenceType::Unavailable,
    ] {
        let made = presence_of_type(&from, &to, kind);
        assert_eq!(made.presence_type(), Some(kind));
        assert_eq!((made.from(), made.to()), (Some(&from), Some(&to)));
    }
}

#[test]
fn a_failed_text_comes_back_with_the_reason() {
    let sent = stanza(
        "<message from='juliet@xmpp.example/b' to='romeo@sip.example' type='chat' id='1'><body>hi</body></message>",
    );
    let error = failed(&sent, &SipFailure::of_status(486)).unwrap();
    assert_eq!(error.to(), Some(&jid("juliet@xmpp.example/b")));
    assert_eq!(error.id().as_deref(), Some("1"));
    let text = format!("{error:?}");
    assert!(text.contains("<body>hi</body>"), "{text}");
    assert!(text.contains("does not want to be disturbed"), "{text}");
    assert_eq!(failed(&error, &SipFailure::of_status(486)), None);
}

#[test]
fn messages_are_texts_for_the_peer() {
    let Outgoing::Text(text) = reading(
        "<subject>the\nsubject</subject><body xml:lang='de'>eins</body><body>one\ntwo</body>\
         <thread>t1</thread><composing xmlns='http://jabber.org/protocol/chatstates'/>\
         <delay xmlns='urn:xmpp:delay' stamp='2002-09-10T23:08:25Z'/>\
         <html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'>no</body></html>",
    ) else {
        panic!("a text");
    };
    assert_eq!(
        *text,
        OutgoingText {
            text: "one\r\ntwo".into(),
            subject: Some("the subject".into()),
            thread: Some("t1".into()),
            sent: UtcTime::from_datetime("2002-09-10T23:08:25Z"),
            language: None,
            state: ChatState::Composing,
        }
    );
    let date = text.sent.unwrap().to_sip_date();
    assert_eq!(date, "Tue, 10 Sep 2002 23:08:25 GMT");
}

#[test]
fn chat_states_alone_are_notices() {
    let state = "<paused xmlns='http://jabber.org/protocol/chatstates'/>";
    assert_eq!(reading(state), Outgoing::ChatState(ChatState::Paused));
    let with_empty_body = format!("<body> </body>{state}");
    assert_eq!(
        reading(&with_empty_body),
        Outgoing::ChatState(ChatState::Paused)
    );
}

#[test]
fn what_says_nothing_to_a_peer_is_dropped() {
    for content in [
        "",
        "<body/>",
        "<received xmlns='urn:xmpp:receipts' id='1'/>",
        "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/><store xmlns='urn:xmpp:hints'/>",
        "<subject>only</subject>",
    ] {
        assert_eq!(reading(content), Outgoing::Nothing, "{content}");
    }
    let error = stanza("<message type='error' from='a@b' to='c@d'><body>x</body></message>");
    assert_eq!(read_message(&error), Outgoing::Nothing);
    let presence = stanza("<presence/>");
    assert_eq!(read_message(&presence), Outgoing::Nothing);
}

#[test]
fn what_the_peer_cannot_be_told_is_refused() {
    let condition = |outgoing| match outgoing {
        Outgoing::Refused(error) => error.condition,
        other => panic!("not refused: {other:?}"),
    };
    let room = stanza("<message type='groupchat' to='a@b'><body>x</body></message>");
    assert_eq!(
        condition(read_message(&room)),
        StanzaCondition::FeatureNotImplemented
    );
    assert_eq!(
        condition(reading(
            "<x xmlns='jabber:x:conference' jid='room@conf.example'/>"
        )),
        StanzaCondition::FeatureNotImplemented
    );
    assert_eq!(
        condition(reading(
            "<encrypted xmlns='eu.siacs.conversations.axolotl'/><body>unreadable</body>"
        )),
        StanzaCondition::NotAcceptable
    );
    let request = stanza("<iq type='get' id='1' from='a@b/c' to='d@e'><x xmlns='y'/></iq>");
    assert!(refuse_request(&request).unwrap().is_error());
}

proptest! {
    /// Whatever the text, what a peer's user says is what a local user's answer would say.
    #[test]
    fn a_text_goes_there_and_back(text in "[a-zé<&'\" ]{0,30}[a-z]", thread in "[!-~]{1,20}") {
        let (from, to) = (romeo(), juliet());
        let made = TextMessage {
            from: &from, to: &to, id: "1", text: &text,
            subject: None, thread: Some(&thread), sent: None,
        }
        .to_stanza();
        let Outgoing::Text(read) = read_message(&made) else {
            return Err(TestCaseError::fail("a text"));
        };
        prop_assert_eq!(read.text, text);
        prop_assert_eq!(read.thread.as_deref(), Some(thread.as_str()));
    }

    /// Whatever characters a peer sends, a stanza is a stanza, and a header's value one line.
    #[test]
    fn any_text_makes_a_sound_stanza(text in any::<String>(), id in any::<String>()) {
        let (from, to) = (romeo(), juliet());
        let made = TextMessage {
            from: &from, to: &to, id: &id, text: &text,
            subject: Some(&text), thread: Some(&text), sent: None,
        }
        .to_stanza();
        if let Outgoing::Text(read) = read_message(&made) {
            let one_line = |value: &Option<String>| {
                value.as_ref().is_none_or(|value| !value.contains(|c: char| c.is_control()))
            };
            prop_assert!(one_line(&read.subject) && one_line(&read.thread));
        }
    }
}
