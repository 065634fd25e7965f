use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::error::{StreamCondition, StreamError};
use crate::jid::Jid;
use crate::stanza::{IqType, Payload, StanzaFault};
use crate::writer::{HeaderOut, StreamKind, write_open};

const CLIENT: &str = "<?xml version='1.0'?><stream:stream to='a.example' version='1.0' \
    xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
const SERVER: &str = "<?xml version=\"1.0\" encoding='UTF-8'?>\n<stream:stream xmlns='jabber:server' \
    xmlns:db='jabber:server:dialback' xmlns:stream='http://etherx.jabber.org/streams' \
    from='b.example' to='a.example' id='i&amp;d' xml:lang='en' version='1.0'>";

/// All frames, and the fault that ended them.
fn frames(pieces: &[&[u8]]) -> (Vec<Frame>, Option<StreamFault>) {
    let mut framer = Framer::new(Limits::AUTHENTICATED);
    let mut found = Vec::new();
    for piece in pieces {
        framer.push(piece);
        loop {
            match framer.next_frame() {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => break,
                Err(fault) => return (found, Some(fault)),
            }
        }
    }
    (found, None)
}

/// What comes after a client's header.
fn after_header(xml: &str) -> (Vec<Frame>, Option<StreamFault>) {
    let (mut found, fault) = frames(&[CLIENT.as_bytes(), xml.as_bytes()]);
    assert!(matches!(found.remove(0), Frame::StreamOpen(_)));
    (found, fault)
}

fn one_stanza(xml: &str) -> Stanza {
    match after_header(xml) {
        (mut found, None) if found.len() == 1 => match found.remove(0) {
            Frame::Stanza(stanza) => stanza,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_header_is_read() {
    let (found, fault) = frames(&[SERVER.as_bytes()]);
    assert_eq!(fault, None);
    let [Frame::StreamOpen(header)] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(header.kind(), Some(StreamKind::Server));
    assert_eq!(header.from.as_deref(), Some("b.example"));
    assert_eq!(header.to.as_deref(), Some("a.example"));
    assert_eq!(header.id.as_deref(), Some("i&d"));
    assert_eq!(header.lang.as_deref(), Some("en"));
    assert_eq!(header.version, Some(Version { major: 1, minor: 0 }));
    assert!(header.declares_dialback);
}

#[test]
fn our_own_header_is_read() {
    let mut out = BytesMut::new();
    write_open(&mut out, StreamKind::Client, &HeaderOut::default());
    let (found, fault) = frames(&[&out]);
    assert_eq!(fault, None);
    assert!(matches!(&found[..], [Frame::StreamOpen(header)] if header.id.is_none()));
}

#[test]
fn a_canonical_stanza_is_passed_on_as_it_is() {
    let xml = "<message to='b@b.example/x' id='1'><body>&lt;hi&gt;</body></message>";
    assert_eq!(one_stanza(xml).bytes(), xml);
}

#[test]
fn the_content_namespace_is_cut_out() {
    for (written, canonical) in [
        (
            "<message xmlns='jabber:client' to='b@x' id='1'><a xmlns='urn:a'/><body>x</body></message>",
            "<message to='b@x' id='1'><a xmlns='urn:a'/><body>x</body></message>",
        ),
        (
            "<message to='b@x'\n id='1' xmlns=\"jabber:client\" ><body>x</body></message>",
            "<message to='b@x'\n id='1' ><body>x</body></message>",
        ),
        ("<presence xmlns='jabber:client'/>", "<presence/>"),
        (
            "<message id='1' xmlns='jabber:client'><body xmlns='jabber:client'>x</body>\
             <f xmlns='urn:f'><message xmlns='jabber:client'/></f></message>",
            "<message id='1'><body>x</body>\
             <f xmlns='urn:f'><message xmlns='jabber:client'/></f></message>",
        ),
    ] {
        let stanza = one_stanza(written);
        assert_eq!(stanza.bytes(), canonical);
        let again = Stanza::parse(stanza.bytes().clone()).unwrap();
        assert_eq!(stanza.id(), again.id());
        assert_eq!(stanza.content(), again.content());
        assert_eq!(stanza.first_child(), again.first_child());
        assert_eq!(stanza.payload(Payload::Body), again.payload(Payload::Body));
    }
}

#[test]
fn declarations_of_the_stream_root_move_into_the_stanza() {
    let header = "<s:stream xmlns='jabber:client' xmlns:s='http://etherx.jabber.org/streams' \
                  xmlns:q=\"urn:q'\" xmlns:unused='urn:u'>";
    let xml = "<iq id='1' type='get' q:x='y'><q:query><q:inner/></q:query></iq></s:stream>";
    let (found, fault) = frames(&[header.as_bytes(), xml.as_bytes()]);
    assert_eq!(fault, None);
    let [_, Frame::Stanza(stanza), Frame::StreamClose] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(
        stanza.bytes(),
        "<iq xmlns:q='urn:q&apos;' id='1' type='get' q:x='y'><q:query><q:inner/></q:query></iq>"
    );
    assert!(stanza.is_about("urn:q&apos;", "query"));
}

#[test]
fn a_stream_without_content_namespace_learns_it_from_the_first_stanza() {
    let header = "<stream xmlns='http://etherx.jabber.org/streams' version='1.0'>";
    let xml = "<message xmlns='jabber:client'><body>x</body></message>\
               <features/><message xmlns='jabber:server'/>";
    let (found, fault) = frames(&[header.as_bytes(), xml.as_bytes()]);
    assert_eq!(fault, Some(StreamFault::InvalidNamespace));
    assert!(
        matches!(&found[1..], [Frame::Stanza(stanza), Frame::Nonza(features)]
            if stanza.payload(Payload::Body) && features.is(ns::STREAM, "features"))
    );
}

#[test]
fn other_first_level_elements_become_trees() {
    let (found, fault) = after_header(
        "<stream:features><x xmlns='urn:x'/></stream:features>\
         <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    );
    assert_eq!(fault, None);
    assert!(
        matches!(&found[..], [Frame::Nonza(features), Frame::Nonza(starttls)]
            if features.is(ns::STREAM, "features") && starttls.is(ns::TLS, "starttls"))
    );
}

#[test]
fn acks_take_the_short_way() {
    let (found, fault) = after_header(
        "<r xmlns='urn:xmpp:sm:3'/><a xmlns='urn:xmpp:sm:3' h='4294967295'/>\
         <a h='7' xmlns='urn:xmpp:sm:3'></a><a xmlns='urn:xmpp:sm:3' h='-1'/>",
    );
    assert_eq!(fault, None);
    assert!(
        matches!(&found[..], [Frame::AckRequest, Frame::Ack(u32::MAX), Frame::Ack(7), Frame::Nonza(a)]
            if a.get_attr("h") == Some("-1"))
    );
}

#[test]
fn white_space_is_a_keepalive_and_leaves_no_buffer() {
    let mut framer = Framer::new(Limits::AUTHENTICATED);
    framer.push(CLIENT.as_bytes());
    assert!(matches!(
        framer.next_frame(),
        Ok(Some(Frame::StreamOpen(_)))
    ));
    framer.push(b" \n");
    assert_eq!(framer.next_frame(), Ok(None));
    assert_eq!(framer.take_keepalives(), 1);
    assert_eq!(framer.take_keepalives(), 0);
    assert_eq!(framer.buffer.capacity(), 0);
}

/// The figure is part of what an idle session may cost.
#[test]
fn an_idle_framer_is_small() {
    assert!(size_of::<Framer>() <= 1024, "{}", size_of::<Framer>());
    assert!(size_of::<Stanza>() <= 256, "{}", size_of::<Stanza>());
}

#[test]
fn a_restart_waits_for_a_new_header() {
    let mut framer = Framer::new(Limits::BEFORE_AUTHENTICATION);
    framer.push(CLIENT.as_bytes());
    framer.push(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><iq id='1' ty");
    assert!(matches!(
        framer.next_frame(),
        Ok(Some(Frame::StreamOpen(_)))
    ));
    assert!(matches!(framer.next_frame(), Ok(Some(Frame::Nonza(_)))));
    assert_eq!(framer.next_frame(), Ok(None));
    assert_eq!(framer.discard(), 13);
    framer.reset();
    framer.push(b"\n");
    framer.push(CLIENT.as_bytes());
    assert!(matches!(
        framer.next_frame(),
        Ok(Some(Frame::StreamOpen(_)))
    ));
    assert_eq!(framer.unread(), 0);
}

#[test]
fn after_the_end_nothing_is_read() {
    let (found, fault) = after_header("</stream:stream\n><not xml");
    assert_eq!((found, fault), (vec![Frame::StreamClose], None));
}

#[test]
fn what_is_no_stream() {
    for (xml, condition) in [
        ("GET / HTTP/1.1\r\n\r\n", StreamCondition::NotWellFormed),
        ("\u{16}\u{3}\u{1}", StreamCondition::NotWellFormed),
        ("<?php x?>", StreamCondition::RestrictedXml),
        ("<?xml version='1.1'?>", StreamCondition::UnsupportedVersion),
        (
            "<?xml version='1.0' encoding='latin1'?>",
            StreamCondition::UnsupportedEncoding,
        ),
        ("<?xml encoding='utf-8'?>", StreamCondition::NotWellFormed),
        ("<!DOCTYPE x []>", StreamCondition::RestrictedXml),
        ("<!-- x -->", StreamCondition::RestrictedXml),
        (
            "<?xml version='1.0'?><?xml version='1.0'?>",
            StreamCondition::RestrictedXml,
        ),
        (
            "<s:stream xmlns:s='urn:x'>",
            StreamCondition::InvalidNamespace,
        ),
        ("<s:stream>", StreamCondition::NotWellFormed),
        (
            "<streams xmlns='http://etherx.jabber.org/streams'>",
            StreamCondition::BadFormat,
        ),
        (
            "<stream xmlns='http://etherx.jabber.org/streams'/>",
            StreamCondition::BadFormat,
        ),
        (
            "<stream xmlns='http://etherx.jabber.org/streams' version='1.x'>",
            StreamCondition::UnsupportedVersion,
        ),
    ] {
        let (found, fault) = frames(&[xml.as_bytes()]);
        assert_eq!(found, vec![], "{xml}");
        assert_eq!(fault.map(StreamFault::condition), Some(condition), "{xml}");
    }
}

#[test]
fn what_ends_a_stream() {
    use StreamCondition as C;
    for (xml, condition) in [
        ("<message", None),
        ("x", Some(C::BadFormat)),
        ("<message/>x", Some(C::BadFormat)),
        ("<!-- c -->", Some(C::RestrictedXml)),
        ("<message><!-- c --></message>", Some(C::RestrictedXml)),
        ("<message><?pi?></message>", Some(C::RestrictedXml)),
        ("<message><!DOCTYPE x></message>", Some(C::RestrictedXml)),
        (
            "<message><body>&foo;</body></message>",
            Some(C::RestrictedXml),
        ),
        ("<message id='&foo;'/>", Some(C::RestrictedXml)),
        ("<message>&#0;</message>", Some(C::NotWellFormed)),
        ("<message>&#xFFFE;</message>", Some(C::NotWellFormed)),
        ("<message>&#xD800;</message>", Some(C::NotWellFormed)),
        ("<message>&#+65;</message>", Some(C::NotWellFormed)),
        ("<message>& </message>", Some(C::NotWellFormed)),
        ("<message>]]></message>", Some(C::NotWellFormed)),
        ("<message>\u{1}</message>", Some(C::NotWellFormed)),
        ("<message>\u{ffff}</message>", Some(C::NotWellFormed)),
        (
            "<message><![CDATA[\u{ffff}]]></message>",
            Some(C::NotWellFormed),
        ),
        ("<message id='\u{fffe}'/>", Some(C::NotWellFormed)),
        ("<message id='\u{8}'/>", Some(C::NotWellFormed)),
        ("<message id='<'/>", Some(C::NotWellFormed)),
        ("<message id=1/>", Some(C::NotWellFormed)),
        ("<message id/>", Some(C::NotWellFormed)),
        ("<message a='1'b='2'/>", Some(C::NotWellFormed)),
        ("<message id='1' id='2'/>", Some(C::NotWellFormed)),
        (
            "<message xmlns:a='u' xmlns:b='u' a:c='' b:c=''/>",
            Some(C::NotWellFormed),
        ),
        (
            "<message xmlns:a='u' xmlns:b='v' a:c='' b:c='' c=''/>",
            None,
        ),
        ("<message x:a='1'/>", Some(C::NotWellFormed)),
        ("<message><x:a/></message>", Some(C::NotWellFormed)),
        ("<message xmlns:x=''/>", Some(C::NotWellFormed)),
        ("<message xmlns:xml='urn:x'/>", Some(C::NotWellFormed)),
        ("<message xmlns:xmlns='urn:x'/>", Some(C::NotWellFormed)),
        (
            "<message xmlns='http://www.w3.org/2000/xmlns/'/>",
            Some(C::NotWellFormed),
        ),
        ("<message><a:b:c/></message>", Some(C::NotWellFormed)),
        ("<message><:a/></message>", Some(C::NotWellFormed)),
        ("<message><a:/></message>", Some(C::NotWellFormed)),
        ("<message><1/></message>", Some(C::NotWellFormed)),
        ("<message><a\u{d7}/></message>", Some(C::NotWellFormed)),
        ("<message><ä/></message>", None),
        ("< message/>", Some(C::NotWellFormed)),
        ("<message></messag></message>", Some(C::NotWellFormed)),
        ("<message></messages>", Some(C::NotWellFormed)),
        ("<message></message x>", Some(C::NotWellFormed)),
        ("<message/ >", Some(C::NotWellFormed)),
        ("</stream>", Some(C::NotWellFormed)),
        ("</stream:streams>", Some(C::NotWellFormed)),
        (
            "<message xmlns='jabber:server'/>",
            Some(C::InvalidNamespace),
        ),
        (
            "<c:message xmlns:c='jabber:client'/>",
            Some(C::BadNamespacePrefix),
        ),
    ] {
        let (_, fault) = after_header(xml);
        assert_eq!(fault.map(StreamFault::condition), condition, "{xml}");
    }
    let (_, fault) = frames(&[CLIENT.as_bytes(), b"<message>\xff</message>"]);
    assert_eq!(
        fault.map(StreamFault::condition),
        Some(C::UnsupportedEncoding)
    );
    let (_, fault) = frames(&[CLIENT.as_bytes(), b"<message id='\xed\xa0\x80'/>"]);
    assert_eq!(
        fault.map(StreamFault::condition),
        Some(C::UnsupportedEncoding)
    );
}

#[test]
fn a_fault_stays() {
    let mut framer = Framer::new(Limits::AUTHENTICATED);
    framer.push(b"<!");
    framer.push(b"-");
    let fault = framer.next_frame();
    assert_eq!(fault, Err(XmlFault::Comment.into()));
    framer.push(CLIENT.as_bytes());
    assert_eq!(framer.next_frame(), fault);
}

/// The element that is exactly as large as allowed passes; one byte more does not, complete or not.
#[test]
fn limits_hold_at_their_edges() {
    let limits = Limits {
        bytes: 300,
        depth: 4,
        attributes: 5,
        namespaces: 2,
    };
    let outcome = |xml: &str| {
        let mut framer = Framer::new(limits);
        framer.push(CLIENT.as_bytes());
        assert!(matches!(framer.next_frame(), Ok(Some(_))));
        framer.push(xml.as_bytes());
        framer.next_frame().map(|frame| frame.is_some())
    };
    let message = |len: usize| format!("<message>{}</message>", "x".repeat(len - 19));
    let too_large = Err(XmlFault::TooLarge.into());
    assert_eq!(outcome(&message(300)), Ok(true));
    assert_eq!(outcome(&message(301)), too_large);
    assert_eq!(outcome(&message(400)[..300]), Ok(false));
    assert_eq!(outcome(&message(400)[..301]), too_large);
    assert_eq!(outcome(&format!("<message{}", " ".repeat(293))), too_large);
    assert_eq!(outcome("<message><a><a><a/></a></a></message>"), Ok(true));
    let too_deep = Err(XmlFault::TooDeep.into());
    assert_eq!(
        outcome("<message><a><a><a><a/></a></a></a></message>"),
        too_deep
    );
    assert_eq!(outcome("<message a='' b='' c='' d='' e=''/>"), Ok(true));
    let many = Err(XmlFault::TooManyAttributes.into());
    assert_eq!(outcome("<message a='' b='' c='' d='' e='' f=''/>"), many);
    assert_eq!(
        outcome("<message xmlns:a='u'><x xmlns='v'/><y xmlns='v'/></message>"),
        Ok(true)
    );
    let spaces = Err(XmlFault::TooManyNamespaces.into());
    assert_eq!(
        outcome("<message xmlns:a='u' xmlns:b='v'><x xmlns='w'/></message>"),
        spaces
    );
}

#[test]
fn the_stream_error_gives_the_reason() {
    let error = StreamError::from(StreamFault::from(XmlFault::TooLarge));
    assert_eq!(error.condition, StreamCondition::PolicyViolation);
    assert_eq!(error.text.as_deref(), Some("too large"));
    assert!(error.application.unwrap().is(ns::ERRORS, "stanza-too-big"));
}

#[test]
fn a_nonza_is_small() {
    let around = format!("<auth xmlns='{}'></auth>", ns::SASL).len();
    let auth = |len: usize| {
        let text = "x".repeat(len - around);
        format!("<auth xmlns='{}'>{text}</auth>", ns::SASL)
    };
    assert_eq!(after_header(&auth(MAX_NONZA_BYTES)).1, None);
    let too_large = Some(XmlFault::TooLarge.into());
    let xml = auth(MAX_NONZA_BYTES + 1);
    assert_eq!(after_header(&xml).1, too_large);
    assert_eq!(
        after_header(&auth(2 * MAX_NONZA_BYTES)[..MAX_NONZA_BYTES + 1]).1,
        too_large
    );
}

#[test]
fn rules_for_stanzas_are_no_matter_of_the_stream() {
    for (xml, fault) in [
        ("<message to='a b@c'/>", Some(StanzaFault::MalformedTo)),
        ("<message from='@c'/>", Some(StanzaFault::MalformedFrom)),
        (
            "<iq type='get'><a xmlns='u'/></iq>",
            Some(StanzaFault::MissingId),
        ),
        (
            "<iq id='1'><a xmlns='u'/></iq>",
            Some(StanzaFault::UnknownType),
        ),
        ("<iq id='1' type='ask'/>", Some(StanzaFault::UnknownType)),
        ("<iq id='1' type='get'/>", Some(StanzaFault::NotOneChild)),
        (
            "<iq id='1' type='set'><a xmlns='u'/><b xmlns='u'/></iq>",
            Some(StanzaFault::NotOneChild),
        ),
        ("<iq id='1' type='result'/>", None),
        ("<presence type='online'/>", Some(StanzaFault::UnknownType)),
        ("<message type='online'/>", None),
    ] {
        assert_eq!(one_stanza(xml).fault(), fault, "{xml}");
    }
}

/// One of everything, with what is hard to cut.
const CONVERSATION: &str = "\u{feff}<?xml version='1.0' encoding=\"utf-8\"?>\n\
    <stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='ä' \
    xmlns:p='urn:p' version='1.0'> \n\
    <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\
    <message xmlns='jabber:client' to='b@x/>' id=\"'1>\"><body>a &lt; \u{e9}\u{1F600} ]] &#x41;</body>\
    <x xmlns='urn:x'><![CDATA[</x> ]] ]]]></x></message >\n\
    <r xmlns='urn:xmpp:sm:3'/><a xmlns='urn:xmpp:sm:3' h='12'/>\
    <iq type='get' id='1'><p:q p:a='>' /></iq><presence/><presence><show>away</show>\
    <priority> -5 </priority></presence>\
    <iq id='2' type='error' to='a@b'><bad xmlns='urn:y' xmlns:z='urn:z'><z:t>x</z:t></bad></iq>\
    </stream:stream >";

fn expect_same(pieces: &[&[u8]]) {
    let whole = frames(&[CONVERSATION.as_bytes()]);
    assert_eq!(whole.1, None);
    assert_eq!(frames(pieces), whole, "{pieces:?}");
}

#[test]
fn every_cut_gives_the_same_frames() {
    let bytes = CONVERSATION.as_bytes();
    assert_eq!(frames(&[bytes]).0.len(), 10);
    for cut in 0..=bytes.len() {
        expect_same(&[&bytes[..cut], &bytes[cut..]]);
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    expect_same(&single);
}

proptest! {
    #[test]
    fn any_pieces_give_the_same_frames(mut cuts in proptest::collection::vec(0..CONVERSATION.len(), 0..20)) {
        cuts.sort_unstable();
        cuts.push(CONVERSATION.len());
        let mut from = 0;
        let mut pieces = Vec::new();
        for cut in cuts {
            pieces.push(&CONVERSATION.as_bytes()[from..cut]);
            from = cut;
        }
        expect_same(&pieces);
    }
}

#[test]
fn heads_are_the_same_after_a_cut_and_after_a_copy() {
    let (found, _) = frames(&[CONVERSATION.as_bytes()]);
    let stanzas: Vec<&Stanza> = found
        .iter()
        .filter_map(|frame| match frame {
            Frame::Stanza(stanza) => Some(stanza),
            _ => None,
        })
        .collect();
    assert_eq!(stanzas[0].to(), Some(&Jid::new("b@x/>").unwrap()));
    assert_eq!(stanzas[0].id().as_deref(), Some("'1>"));
    assert!(stanzas[0].payload(Payload::Body));
    assert_eq!(stanzas[1].iq_type(), Some(IqType::Get));
    assert!(stanzas[1].is_about("urn:p", "q"));
    assert_eq!(stanzas[3].priority(), -5);
    for stanza in stanzas {
        let again = Stanza::parse(stanza.bytes().clone()).unwrap();
        assert_eq!(
            format!("{:?}", again.head()),
            format!("{:?}", stanza.head())
        );
    }
}
