//! Texts in both directions, in sessions and by pager.

use std::time::Duration;

use entente_sip_core::header::HeaderName;
use entente_sip_core::usage::RequestId;

use super::world::World;
use crate::gateway::Input;

const SECOND: Duration = Duration::from_secs(1);

const OFFER: &str = "v=0\r\no=- 0 0 IN IP4 192.0.2.1\r\ns=session\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
                     m=message 5060 sip null\r\na=accept-types:text/plain text/rtf\r\n";

fn request(method: &str, cseq: u32, to_tag: &str, lines: &str, body: &str) -> String {
    format!(
        "{method} sip:alice@siena.example SIP/2.0
         Via: SIP/2.0/TLS edge.florence.example;branch=z9hG4bK{method}{cseq}
         Max-Forwards: 70
         From: \"Bob\" <sip:bob@florence.example>;tag=b1;epid=01010101
         To: <sip:alice@siena.example>{to_tag}
         Call-ID: c1
         CSeq: {cseq} {method}
         Contact: <sip:bob@florence.example;opaque=user:epid:Abc:gruu>
         Record-Route: <sip:edge.florence.example:5061;lr;ms-key-info=AAEC>
         {lines}\n\n{body}"
    )
}

fn code(world: &World, id: RequestId) -> u16 {
    world.response(id).status().unwrap().code()
}

/// The peer opens a session; our tag of it.
fn invited(world: &mut World) -> String {
    let invite = request("INVITE", 1, "", "Content-Type: application/sdp", OFFER);
    let id = world.peer("lync", &invite);
    assert_eq!(code(world, id), 200);
    let response = world.response(id);
    assert!(response.body().windows(9).any(|part| part == b"m=message"));
    let tag = format!(";tag={}", response.to().unwrap().tag().unwrap());
    world.peer_one_way("lync", &request("ACK", 1, &tag, "", ""));
    tag
}

#[test]
fn a_peers_text_gets_its_200_when_the_home_has_it() {
    let mut world = World::new();
    let tag = invited(&mut world);
    let text = request(
        "MESSAGE",
        2,
        &tag,
        "Content-Type: text/plain",
        "Hello, Alice",
    );
    let id = world.peer("lync", &text);
    let (ticket, stanza) = world.stanzas.pop().unwrap();
    assert!(stanza.contains("from='bob@florence.example'"), "{stanza}");
    assert!(stanza.contains("<body>Hello, Alice</body>"), "{stanza}");
    assert!(world.responses.iter().all(|(answered, _)| *answered != id));
    world.input(Input::Delivered(ticket.unwrap()));
    assert_eq!(code(&world, id), 200);
}

#[test]
fn a_text_that_the_home_returns_is_refused_in_words() {
    let mut world = World::new();
    let tag = invited(&mut world);
    let text = request("MESSAGE", 2, &tag, "Content-Type: text/plain", "Hello?");
    let id = world.peer("lync", &text);
    let (ticket, stanza) = world.stanzas.pop().unwrap();
    let stanza_id = stanza
        .split("id='")
        .nth(1)
        .unwrap()
        .split('\'')
        .next()
        .unwrap();
    world.user(&format!(
        "<message from='alice@siena.example' to='bob@florence.example' type='error' id='{stanza_id}'>\
         <error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
    ));
    assert_eq!(code(&world, id), 404);
    world.input(Input::Delivered(ticket.unwrap()));
    assert_eq!(code(&world, id), 404, "one answer");
}

#[test]
fn while_the_home_can_not_take_it_a_text_is_not_accepted() {
    let mut world = World::new();
    let tag = invited(&mut world);
    let text = request("MESSAGE", 2, &tag, "Content-Type: text/plain", "Hello?");
    let id = world.peer("lync", &text);
    let (ticket, _) = world.stanzas.pop().unwrap();
    world.input(Input::NotDelivered(ticket.unwrap()));
    assert_eq!(code(&world, id), 503);
}

#[test]
fn what_nobody_here_can_read_is_415_with_accept() {
    let mut world = World::new();
    let tag = invited(&mut world);
    let file = request("MESSAGE", 2, &tag, "Content-Type: image/png", "PNG");
    let id = world.peer("lync", &file);
    assert_eq!(code(&world, id), 415);
    assert!(
        world
            .response(id)
            .accept()
            .any(|type_| type_ == "text/plain")
    );
}

#[test]
fn typing_is_shown_and_told() {
    let mut world = World::new();
    let tag = invited(&mut world);
    world.said();
    let typing = request(
        "INFO",
        2,
        &tag,
        "Content-Type: application/xml",
        "<KeyboardActivity><status status=\"type\"/></KeyboardActivity>",
    );
    let id = world.peer("lync", &typing);
    assert_eq!(code(&world, id), 200);
    let said = world.said();
    assert!(said[0].contains("composing"), "{said:?}");

    world.user(
        "<message from='alice@siena.example/desk' to='bob@florence.example' type='chat'>\
         <composing xmlns='http://jabber.org/protocol/chatstates'/></message>",
    );
    let info = world.answer("200 OK", "");
    assert_eq!(info.method().as_str(), "INFO");
}

#[test]
fn the_users_texts_open_a_session_and_go_in_order() {
    let mut world = World::new();
    let say = |world: &mut World, text: &str| {
        world.user(&format!(
            "<message from='alice@siena.example/desk' to='bob@florence.example' type='chat' id='m'>\
             <body>{text}</body></message>"
        ))
    };
    let first = say(&mut world, "one");
    let second = say(&mut world, "two");
    let sdp = format!(
        "Contact: <sip:bob@florence.example;opaque=user:epid:Abc:gruu>\nContent-Type: application/sdp\n\n{OFFER}"
    );
    let invite = world.answer("200 OK", &sdp);
    assert_eq!(invite.method().as_str(), "INVITE");
    assert!(
        invite
            .get(HeaderName::Supported)
            .is_none_or(|supported| !supported.contains("ms-text-format"))
    );
    assert_eq!(world.acks.len(), 1);
    assert!(world.taken.is_empty());
    let text = world.answer("200 OK", "");
    assert!(
        String::from_utf8(text.to_bytes("v").to_vec())
            .unwrap()
            .ends_with("one")
    );
    assert_eq!(world.taken, [first]);
    let text = world.answer("200 OK", "");
    assert!(
        String::from_utf8(text.to_bytes("v").to_vec())
            .unwrap()
            .ends_with("two")
    );
    assert_eq!(world.taken, [first, second]);
    assert_eq!(world.records.len(), 1, "the session is in the store");

    world.pass(Duration::from_secs(3600));
    let bye = world.answer("200 OK", "");
    assert_eq!(bye.method().as_str(), "BYE");
    assert!(world.records.is_empty());
}

#[test]
fn a_refused_text_comes_back_in_words_that_a_person_understands() {
    let mut world = World::new();
    let id = world.user(
        "<message from='alice@siena.example/desk' to='bob@pisa.example' type='chat' id='m1'>\
         <body>Hello</body></message>",
    );
    let message = world.answer("404 Not Found", "");
    assert_eq!(message.method().as_str(), "MESSAGE", "a pager peer");
    assert_eq!(world.taken, [id]);
    let said = world.said();
    assert!(said[0].contains("item-not-found"), "{said:?}");
    assert!(said[0].contains("id='m1'"), "{said:?}");
    world.pass(SECOND);
    assert_eq!(world.gateway.users().count(), 0, "nothing is kept");
}

#[test]
fn a_pager_text_is_delivered() {
    let mut world = World::new();
    let text = request(
        "MESSAGE",
        1,
        "",
        "Content-Type: text/plain;charset=utf-8",
        "Ciao",
    )
    .replace("florence", "pisa");
    let id = world.peer("kamailio", &text);
    let (ticket, stanza) = world.stanzas.pop().unwrap();
    assert!(stanza.contains("<body>Ciao</body>"), "{stanza}");
    world.input(Input::Delivered(ticket.unwrap()));
    assert_eq!(code(&world, id), 200);
}

#[test]
fn a_conference_is_refused() {
    let mut world = World::new();
    let invite = request(
        "INVITE",
        1,
        "",
        "Require: com.microsoft.rtc-multiparty\nContent-Type: application/sdp",
        OFFER,
    );
    let id = world.peer("lync", &invite);
    assert_eq!(code(&world, id), 420);
}

#[test]
fn a_session_goes_on_at_another_node() {
    let mut world = World::new();
    let tag = invited(&mut world);
    let mut world = world.successor();
    let text = request(
        "MESSAGE",
        2,
        &tag,
        "Content-Type: text/plain",
        "Still there?",
    );
    let id = world.peer("lync", &text);
    let (ticket, _) = world.stanzas.pop().unwrap();
    world.input(Input::Delivered(ticket.unwrap()));
    assert_eq!(code(&world, id), 200);
    let said = world.user(
        "<message from='alice@siena.example/desk' to='bob@florence.example' type='chat'>\
         <body>Yes</body></message>",
    );
    let answer = world.answer("200 OK", "");
    assert_eq!(answer.method().as_str(), "MESSAGE", "in the same session");
    assert_eq!(world.taken, [said]);
}

#[test]
fn two_endpoints_of_one_person_have_a_session_each() {
    let mut world = World::new();
    let phone = |text: String| {
        text.replace("Call-ID: c1", "Call-ID: c2")
            .replace("b1", "b2")
    };
    let desk_tag = invited(&mut world);
    let invite = request("INVITE", 1, "", "Content-Type: application/sdp", OFFER);
    let id = world.peer("lync", &phone(invite));
    let phone_tag = format!(";tag={}", world.response(id).to().unwrap().tag().unwrap());
    world.peer_one_way("lync", &phone(request("ACK", 1, &phone_tag, "", "")));
    assert_eq!(world.records.len(), 1, "one record for the two people");

    let say = |world: &mut World, text: String| {
        let id = world.peer("lync", &text);
        let (ticket, _) = world.stanzas.pop().expect("the user hears it");
        world.input(Input::Delivered(ticket.unwrap()));
        assert_eq!(code(world, id), 200);
    };
    let plain = "Content-Type: text/plain";
    say(
        &mut world,
        phone(request("MESSAGE", 2, &phone_tag, plain, "On my way")),
    );
    say(
        &mut world,
        request("MESSAGE", 2, &desk_tag, plain, "Back at my desk"),
    );
    let ask = "<message from='alice@siena.example/desk' to='bob@florence.example' type='chat'>\
               <body>Where?</body></message>";
    world.user(ask);
    let text = world.answer("200 OK", "");
    assert_eq!(
        text.get(HeaderName::CallId),
        Some("c1"),
        "he spoke there last"
    );

    // Both go on at another node.
    let mut world = world.successor();
    say(
        &mut world,
        phone(request("MESSAGE", 3, &phone_tag, plain, "Still on the way")),
    );
    world.user(ask);
    let text = world.answer("200 OK", "");
    assert_eq!(text.get(HeaderName::CallId), Some("c2"));
    let bye = request("BYE", 3, &desk_tag, "", "");
    let id = world.peer("lync", &bye);
    assert_eq!(code(&world, id), 200);
    assert_eq!(world.records.len(), 1, "the other one is still open");
}

#[test]
fn a_file_is_refused_in_words() {
    let mut world = World::new();
    let offer = OFFER.replace("m=message", "m=data 6891 TCP/TLS/FTP *\r\nm=message");
    let invite = request("INVITE", 1, "", "Content-Type: application/sdp", &offer);
    let id = world.peer("lync", &invite);
    assert_eq!(code(&world, id), 415);
    assert!(world.records.is_empty());
}

/// The peer did not hear our 200 and says its text again, as it was.
#[test]
fn a_text_that_the_home_took_late_comes_once() {
    let pager = |cseq| {
        request("MESSAGE", cseq, "", "Content-Type: text/plain", "Ciao").replace("florence", "pisa")
    };
    let mut world = World::new();
    world.peer("kamailio", &pager(1));
    let (ticket, first) = world.stanzas.pop().unwrap();
    world.pass(Duration::from_secs(70));
    let again = world.peer("kamailio", &pager(1));
    assert!(world.stanzas.is_empty(), "it is under way");
    world.input(Input::Delivered(ticket.unwrap()));
    assert_eq!(code(&world, again), 200, "the one that waits is answered");
    assert_eq!(
        world.gateway.users().count(),
        0,
        "nothing is kept of the talk"
    );

    let again = world.peer("kamailio", &pager(1));
    assert!(world.stanzas.is_empty(), "the home has it");
    assert_eq!(code(&world, again), 200);
    world.peer("kamailio", &pager(2));
    assert_eq!(world.stanzas.len(), 1, "the same words, said anew");

    // Another node does not know, but gives the stanza the id by which the home does.
    let mut world = world.successor();
    world.peer("kamailio", &pager(1));
    assert_eq!(world.stanzas.pop().unwrap().1, first);
    world.pass(Duration::from_secs(120));
}

#[test]
fn what_was_heard_long_ago_may_be_said_again() {
    let mut world = World::new();
    let text =
        request("MESSAGE", 1, "", "Content-Type: text/plain", "Ciao").replace("florence", "pisa");
    for _ in 0..2 {
        world.peer("kamailio", &text);
        let (ticket, _) = world.stanzas.pop().expect("it is heard");
        world.input(Input::Delivered(ticket.unwrap()));
        world.pass(Duration::from_secs(120));
    }
}

/// Her address for SIP peers is not her JID.
#[test]
fn a_user_with_another_address_is_found_by_it_and_shows_no_other() {
    let mut world = World::new();
    let hers = |text: String| text.replace("alice@", "c.rossi@");
    let invite = request("INVITE", 1, "", "Content-Type: application/sdp", OFFER);
    let id = world.peer("lync", &hers(invite));
    let contact = world.response(id).get(HeaderName::Contact).unwrap();
    assert!(contact.starts_with("<sip:c.rossi@"), "{contact}");
    let tag = format!(";tag={}", world.response(id).to().unwrap().tag().unwrap());
    world.peer_one_way("lync", &hers(request("ACK", 1, &tag, "", "")));
    let text = request("MESSAGE", 2, &tag, "Content-Type: text/plain", "Ciao");
    world.peer("lync", &hers(text));
    let (_, stanza) = world.stanzas.pop().unwrap();
    assert!(stanza.contains("to='carol@im.siena.example'"), "{stanza}");

    world.user(
        "<message from='carol@im.siena.example/desk' to='ben@pisa.example' type='chat'>\
         <body>Ciao</body></message>",
    );
    let text = world.answer("200 OK", "");
    let from = text.get(HeaderName::From).unwrap();
    assert!(from.starts_with("<sip:c.rossi@siena.example>"), "{from}");
    let whole = String::from_utf8(text.to_bytes("v").to_vec()).unwrap();
    assert!(!whole.contains("carol"), "{whole}");
}
