use super::*;
use crate::error::{ErrorType, StanzaCondition, StanzaError};

fn stanza(xml: &str) -> Stanza {
    Stanza::parse_tolerant(Bytes::copy_from_slice(xml.as_bytes())).unwrap()
}

fn jid(text: &str) -> Jid {
    Jid::new(text).unwrap()
}

/// Bytes as expected, and a head as if read from them.
fn assert_is(made: &Stanza, xml: &str) {
    assert_eq!(made.bytes(), xml);
    let read = stanza(xml);
    assert_eq!(format!("{:?}", made.head()), format!("{:?}", read.head()));
}

#[test]
fn the_head_of_a_message() {
    let message = stanza(
        "<message from='a@x/1' to='b@y' id='&lt;1>' type='chat' xml:lang='de'><body>hi</body>\
         <active xmlns='http://jabber.org/protocol/chatstates'/><no-copy xmlns='urn:xmpp:hints'/></message>",
    );
    assert_eq!(message.kind(), StanzaKind::Message);
    assert_eq!(message.message_type(), Some(MessageType::Chat));
    assert_eq!(message.presence_type(), None);
    assert_eq!(message.from(), Some(&jid("a@x/1")));
    assert_eq!(message.to(), Some(&jid("b@y")));
    assert_eq!(message.id().as_deref(), Some("<1>"));
    assert_eq!(message.type_(), Some("chat"));
    assert_eq!(message.lang(), Some("de"));
    assert!(message.is_about(ns::CLIENT, "body"));
    assert!(message.content().starts_with(b"<body>") && message.content().ends_with(b"'/>"));
    assert_eq!(message.content_bytes(), message.content());
    assert!(message.payload(Payload::ChatState) && message.payload(Payload::NoCopy));
    assert!(!message.payload(Payload::NoStore) && !message.payload(Payload::Subject));
}

#[test]
fn payloads_by_name_and_namespace() {
    for (payload, xml) in [
        (Payload::Subject, "<subject/>"),
        (Payload::Thread, "<thread>1</thread>"),
        (Payload::Error, "<error/>"),
        (Payload::NoStore, "<no-store xmlns='urn:xmpp:hints'/>"),
        (
            Payload::NoPermanentStore,
            "<h:no-permanent-store xmlns:h='urn:xmpp:hints'/>",
        ),
        (Payload::Store, "<store xmlns='urn:xmpp:hints'/>"),
        (
            Payload::CarbonsPrivate,
            "<private xmlns='urn:xmpp:carbons:2'/>",
        ),
        (
            Payload::CarbonsEnvelope,
            "<sent xmlns='urn:xmpp:carbons:2'/>",
        ),
        (
            Payload::ReceiptRequest,
            "<request xmlns='urn:xmpp:receipts'/>",
        ),
        (
            Payload::Receipt,
            "<received xmlns='urn:xmpp:receipts' id='1'/>",
        ),
        (
            Payload::ChatMarker,
            "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>",
        ),
        (
            Payload::Encrypted,
            "<encrypted xmlns='eu.siacs.conversations.axolotl'/>",
        ),
        (Payload::Encrypted, "<encryption xmlns='urn:xmpp:eme:0'/>"),
        (Payload::Delay, "<delay xmlns='urn:xmpp:delay' stamp='x'/>"),
        (
            Payload::MucUser,
            "<x xmlns='http://jabber.org/protocol/muc#user'/>",
        ),
        (
            Payload::MucJoin,
            "<x xmlns='http://jabber.org/protocol/muc'/>",
        ),
        (Payload::Invite, "<x xmlns='jabber:x:conference'/>"),
        (
            Payload::Invite,
            "<x xmlns='http://jabber.org/protocol/muc#user'><invite/></x>",
        ),
        (
            Payload::Caps,
            "<c xmlns='http://jabber.org/protocol/caps'/>",
        ),
        (Payload::Idle, "<idle xmlns='urn:xmpp:idle:1'/>"),
        (
            Payload::OriginId,
            "<origin-id xmlns='urn:xmpp:sid:0' id='1'/>",
        ),
        (
            Payload::StanzaId,
            "<stanza-id xmlns='urn:xmpp:sid:0' id='1'/>",
        ),
        (Payload::Show, "<show>dnd</show>"),
        (Payload::Status, "<status>x</status>"),
    ] {
        let with = stanza(&format!("<message>{xml}</message>"));
        assert!(with.payload(payload), "{xml}");
        let below = stanza(&format!("<message><w xmlns='urn:w'>{xml}</w></message>"));
        assert!(!below.payload(payload), "{xml} one level down");
    }
    let foreign = stanza("<message><body xmlns='urn:x'/><no-copy/><invite/></message>");
    assert_eq!(foreign.payloads(), Payloads::default());
}

#[test]
fn priority_and_show() {
    for (xml, priority, show) in [
        ("<presence/>", 0, None),
        (
            "<presence><priority>127</priority><show>xa</show></presence>",
            127,
            Some(Show::Xa),
        ),
        (
            "<presence><show>\n chat</show><priority>-128</priority></presence>",
            -128,
            Some(Show::Chat),
        ),
        (
            "<presence><priority>128</priority><show>here</show></presence>",
            0,
            None,
        ),
        ("<presence><priority/><show/></presence>", 0, None),
    ] {
        let presence = stanza(xml);
        assert_eq!(
            (presence.priority(), presence.show()),
            (priority, show),
            "{xml}"
        );
    }
}

#[test]
fn restamping_keeps_the_rest() {
    let message = stanza(
        "<message id='1' from='x' x:y='z' xmlns:x='urn:x' type='chat'><body>a</body></message>",
    );
    assert_is(
        &message.restamped(Some(&jid("a@b/it's")), None),
        "<message id='1' x:y='z' xmlns:x='urn:x' type='chat' from='a@b/it&apos;s'><body>a</body></message>",
    );
    assert_is(
        &message.restamped(None, Some(&jid("c@d"))),
        "<message id='1' from='x' x:y='z' xmlns:x='urn:x' type='chat' to='c@d'><body>a</body></message>",
    );
    assert_eq!(message.restamped(None, None), message);
    let short = stanza("<presence to=\"a@b\"/>");
    assert_is(
        &short.stamped(Some(&jid("c@d/e")), Some(&jid("f@g")), Some("en")),
        "<presence from='c@d/e' to='f@g' xml:lang='en'/>",
    );
    let lang = stanza("<presence xml:lang='de'  ></presence>");
    assert_is(
        &lang.stamped(None, None, Some("en")),
        "<presence xml:lang='de'></presence>",
    );
}

#[test]
fn an_unshared_copy_is_the_same() {
    let message = stanza("<message id='1' to='a@b'><body>a</body></message>");
    let copy = message.unshared();
    assert_is(&copy, "<message id='1' to='a@b'><body>a</body></message>");
    assert_ne!(copy.bytes().as_ptr(), message.bytes().as_ptr());
}

#[test]
fn a_new_address_cures_a_malformed_one() {
    let message = stanza("<message from='@' to='b@c'/>");
    assert_eq!(message.fault(), Some(StanzaFault::MalformedFrom));
    assert_eq!(message.restamped(Some(&jid("a@b")), None).fault(), None);
    assert!(message.restamped(None, Some(&jid("a@b"))).fault().is_some());
}

#[test]
fn content_is_appended() {
    let delay = Element::new(ns::DELAY, "delay").attr("stamp", "2026");
    for (xml, expected) in [
        (
            "<message/>",
            "<message><delay xmlns='urn:xmpp:delay' stamp='2026'/></message>",
        ),
        (
            "<message id='1' />",
            "<message id='1' ><delay xmlns='urn:xmpp:delay' stamp='2026'/></message>",
        ),
        (
            "<message></message >",
            "<message><delay xmlns='urn:xmpp:delay' stamp='2026'/></message>",
        ),
        (
            "<message><body/></message>",
            "<message><body/><delay xmlns='urn:xmpp:delay' stamp='2026'/></message>",
        ),
    ] {
        let stamped = stanza(xml).with_child(&delay);
        assert_is(&stamped, expected);
        assert!(stamped.payload(Payload::Delay));
    }
    assert!(stanza("<message/>").with_content_appended(b"<a>").is_err());
    assert!(
        stanza("<message/>")
            .with_content_appended(b"</message><message>")
            .is_err()
    );
}

#[test]
fn errors_go_back() {
    let error = StanzaError::new(StanzaCondition::ServiceUnavailable);
    let message = stanza(
        "<message from='a@b/c' to=\"d@e\" id='1' type='chat' xml:lang='x'><body>y</body></message>",
    );
    assert_is(
        &message.error_reply(&error, true).unwrap(),
        "<message type='error' to='a@b/c' from=\"d@e\" id='1'><body>y</body><error type='cancel'>\
         <service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>",
    );
    let back = message.error_reply(&error, false).unwrap();
    assert!(!back.payload(Payload::Body));
    let child = back.to_element();
    let read = StanzaError::from_element(child.get_child(ns::CLIENT, "error").unwrap());
    assert_eq!(read, error);
    assert_eq!(read.kind, ErrorType::Cancel);
}

#[test]
fn a_malformed_address_is_answered_too() {
    let error = StanzaError::new(StanzaCondition::JidMalformed);
    let message = stanza("<message from='a@b/c' to='not an address@'/>");
    let back = message.error_reply(&error, false).unwrap();
    assert_eq!(back.to(), Some(&jid("a@b/c")));
    assert!(
        back.bytes()
            .starts_with(b"<message type='error' to='a@b/c' from='not an address@'>")
    );
    let odd = stanza("<iq from='a@b/c' type='ask' id='1'/>");
    assert!(odd.error_reply(&error, false).is_some());
}

#[test]
fn some_stanzas_are_never_answered() {
    let error = StanzaError::new(StanzaCondition::ServiceUnavailable);
    for xml in [
        "<message type='error'/>",
        "<iq type='error' id='1'/>",
        "<iq type='result' id='1'/>",
        "<presence type='error'/>",
        "<presence type='unavailable'/>",
        "<presence type='probe'/>",
    ] {
        assert_eq!(stanza(xml).error_reply(&error, true), None, "{xml}");
    }
    assert!(
        stanza("<presence type='subscribe'/>")
            .error_reply(&error, false)
            .is_some()
    );
}

#[test]
fn results() {
    let iq = stanza("<iq from='a@b/c' id='1' type='get'><ping xmlns='urn:xmpp:ping'/></iq>");
    assert_is(
        &iq.iq_result(None).unwrap(),
        "<iq type='result' to='a@b/c' id='1'/>",
    );
    let payload = Element::new(ns::VERSION, "query");
    assert_is(
        &iq.iq_result(Some(&payload)).unwrap(),
        "<iq type='result' to='a@b/c' id='1'><query xmlns='jabber:iq:version'/></iq>",
    );
    assert_eq!(stanza("<iq id='1' type='result'/>").iq_result(None), None);
    assert_eq!(stanza("<message/>").iq_result(None), None);
}

#[test]
fn what_is_no_canonical_stanza() {
    for (xml, fault) in [
        ("", StanzaFault::Xml(XmlFault::StrayText)),
        ("<message>", StanzaFault::Xml(XmlFault::Incomplete)),
        ("<message/> ", StanzaFault::Xml(XmlFault::TrailingBytes)),
        ("<foo/>", StanzaFault::NotAStanza),
        ("<message xmlns='urn:x'/>", StanzaFault::NotAStanza),
        (
            "<message xmlns='jabber:client'/>",
            StanzaFault::NotCanonical,
        ),
        (
            "<message xmlns='jabber:server'/>",
            StanzaFault::NotCanonical,
        ),
        (
            "<message><stream:x/></message>",
            StanzaFault::Xml(XmlFault::UndeclaredPrefix),
        ),
        ("<iq id='1' type='get'/>", StanzaFault::NotOneChild),
        ("<message to='@'/>", StanzaFault::MalformedTo),
    ] {
        assert_eq!(Stanza::parse(Bytes::from(xml)), Err(fault), "{xml}");
    }
}

#[test]
fn trees_and_stanzas() {
    let tree = Element::new(ns::SERVER, "message")
        .attr("to", "a@b")
        .child(Element::new(ns::SERVER, "body").text("x & y"));
    let made = tree.to_stanza().unwrap();
    assert_is(&made, "<message to='a@b'><body>x &amp; y</body></message>");
    assert_eq!(
        made.to_element()
            .get_child(ns::CLIENT, "body")
            .unwrap()
            .content_text(),
        "x & y"
    );
    assert_eq!(
        Element::new("urn:x", "message").to_stanza(),
        Err(StanzaFault::NotAStanza)
    );
}
