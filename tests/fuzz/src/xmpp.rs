//! What must hold for any bytes that a peer sends. Shared by the fuzz targets and by the test that
//! runs seeded mutations (`node/xmpp-core/tests/mutations.rs`).

use bytes::Bytes;
use entente_xmpp_core::element::Element;
use entente_xmpp_core::error::{StanzaCondition, StanzaError};
use entente_xmpp_core::framer::{Frame, Framer, Limits, StreamFault};
use entente_xmpp_core::jid::Jid;
use entente_xmpp_core::stanza::Stanza;

const LIMITS: Limits = Limits {
    bytes: 2_000,
    depth: 8,
    attributes: 12,
    namespaces: 8,
};

/// The bytes come from a peer, in one piece and in pieces whose size the first byte gives.
pub fn xml_stream(data: &[u8]) {
    let Some((&first, stream)) = data.split_first() else {
        return;
    };
    let (whole, whole_fault) = frames(&[stream]);
    let pieces: Vec<&[u8]> = stream.chunks(usize::from(first % 40) + 1).collect();
    let (split, split_fault) = frames(&pieces);
    assert_eq!(whole, split, "pieces change the frames");
    // A fault in a tag that never ends may stay unseen in pieces, but not the other way round.
    assert!(
        split_fault.is_none() || whole_fault.is_some(),
        "a fault that comes with the pieces: {split_fault:?}"
    );
    for frame in &whole {
        match frame {
            Frame::Stanza(stanza) => check_stanza(stanza),
            Frame::Nonza(element) => check_element(element, &LIMITS),
            Frame::StreamOpen(_) | Frame::AckRequest | Frame::Ack(_) | Frame::StreamClose => {}
        }
    }
}

/// The bytes come from the mesh or the store.
pub fn stanza(data: &[u8]) {
    if let Ok(stanza) = Stanza::parse_tolerant(Bytes::copy_from_slice(data)) {
        assert_eq!(stanza.bytes(), data);
        check_stanza(&stanza);
    }
    if let Ok(element) = Element::parse(data, "jabber:client", &Limits::TRUSTED) {
        check_element(&element, &Limits::TRUSTED);
    }
}

fn frames(pieces: &[&[u8]]) -> (Vec<Frame>, Option<StreamFault>) {
    let mut framer = Framer::new(LIMITS);
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
        assert!(framer.unread() <= LIMITS.bytes, "more is kept than allowed");
    }
    (found, None)
}

/// A stanza that was let in is well-formed for others too, and every stanza made of it is sound.
fn check_stanza(stanza: &Stanza) {
    check_well_formed(stanza.bytes());
    check_same_head(stanza);
    let jid = Jid::new("a@example.com/it's <it> & \"it\"").expect("an address");
    for stamped in [
        stanza.restamped(Some(&jid), None),
        stanza.restamped(None, Some(&jid)),
        stanza.stamped(Some(&jid), Some(&jid), Some("en")),
    ] {
        check_same_head(&stamped);
        assert_eq!(stamped.content(), stanza.content());
        assert_eq!(stamped.id(), stanza.id());
    }
    let error = StanzaError::new(StanzaCondition::BadRequest);
    if let Some(reply) = stanza.error_reply(&error, true) {
        check_same_head(&reply);
        assert!(reply.is_error());
    }
    if let Some(result) = stanza.iq_result(None) {
        check_same_head(&result);
    }
    let longer = stanza.with_child(&Element::new("urn:xmpp:delay", "delay"));
    assert!(longer.content().starts_with(stanza.content()));
    check_element(&stanza.to_element(), &Limits::TRUSTED);
}

/// What a stanza says of itself is what its bytes say.
fn check_same_head(stanza: &Stanza) {
    let read = Stanza::parse_tolerant(stanza.bytes().clone()).expect("canonical bytes");
    assert_eq!(read.stanza_type(), stanza.stanza_type());
    assert_eq!(read.from(), stanza.from());
    assert_eq!(read.to(), stanza.to());
    assert_eq!(read.id(), stanza.id());
    assert_eq!(read.type_(), stanza.type_());
    assert_eq!(read.lang(), stanza.lang());
    assert_eq!(read.content(), stanza.content());
    assert_eq!(read.first_child(), stanza.first_child());
    assert_eq!(read.payloads(), stanza.payloads());
    assert_eq!(read.priority(), stanza.priority());
    assert_eq!(read.show(), stanza.show());
    assert_eq!(read.fault(), stanza.fault());
}

/// A tree that was written is read as the same tree.
fn check_element(element: &Element, limits: &Limits) {
    let bytes = element.to_bytes("urn:outside");
    let read = Element::parse(&bytes, "urn:outside", &limits_for_copies(limits));
    assert_eq!(read.as_ref(), Ok(element));
}

/// Writing may need more bytes and declarations than the peer used.
fn limits_for_copies(limits: &Limits) -> Limits {
    Limits {
        depth: limits.depth,
        ..Limits::TRUSTED
    }
}

/// Another parser agrees that this is XML.
fn check_well_formed(bytes: &[u8]) {
    let mut reader = quick_xml::NsReader::from_reader(bytes);
    reader.config_mut().check_end_names = true;
    loop {
        match reader.read_resolved_event() {
            Ok((_, quick_xml::events::Event::Eof)) => return,
            Ok((
                _,
                quick_xml::events::Event::Start(tag) | quick_xml::events::Event::Empty(tag),
            )) => {
                for attribute in tag.attributes() {
                    assert!(attribute.is_ok(), "{attribute:?}");
                }
            }
            Ok(_) => {}
            Err(error) => panic!("{error}: {}", String::from_utf8_lossy(bytes)),
        }
    }
}
