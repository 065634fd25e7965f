//! What must hold for any address, document and body that a SIP peer sends. Shared by the fuzz targets
//! and by the test that runs seeded mutations (`node/interwork-core/tests/mutations.rs`).

use entente_interwork_core::address::{AddressOfRecord, bare_jid_of_uri, jid_of_uri};
use entente_interwork_core::pidf::{self, Author, Dialect, Style};
use entente_interwork_core::presence::{ClientKind, PeerSystem, read, read_stanza, render};
use entente_interwork_core::stanzas::{Outgoing, TextMessage, presence, read_message};
use entente_interwork_core::text::{self, Content};
use entente_xmpp_core::jid::{BareJid, Jid};
use entente_xmpp_core::stanza::Stanza;

/// A presence document: whatever it says can be shown to each client and written for each peer.
pub fn document(data: &[u8]) {
    let Ok(document) = pidf::read(pidf::CONTENT_TYPE, data) else {
        return;
    };
    let said = document.presence();
    let jid = BareJid::new("a@example.com").expect("an address");
    let entity = AddressOfRecord::of(&jid).expect("an address");
    let author = Author {
        entity: &entity,
        display_name: document.display_name.as_deref(),
        time: None,
    };
    for client in [ClientKind::Rich, ClientKind::Xmpp] {
        let shown = read(&said, PeerSystem::Simple, client);
        let stanza = presence(&jid, &jid, &shown, client);
        sound(&stanza);
        let seen = read_stanza(&stanza.to_element(), client);
        assert_eq!(seen.availability.is_open(), said.availability.is_open());
    }
    for (system, dialect) in [
        (PeerSystem::Lync, Dialect::Microsoft),
        (PeerSystem::Aim, Dialect::Aol),
        (PeerSystem::Simple, Dialect::Rpid),
        (PeerSystem::Simple, Dialect::Plain),
    ] {
        let shown = render(&said, system);
        let written = pidf::write(Style::new(dialect), &author, &shown, &[]);
        let read = pidf::read(pidf::CONTENT_TYPE, &written).expect("our own document");
        assert_eq!(
            read.presence().availability.is_open(),
            shown.availability.is_open()
        );
    }
}

/// A message body; the first byte says which type it claims.
pub fn body(data: &[u8]) {
    const TYPES: [&str; 9] = [
        "text/plain",
        "text/html",
        "text/rtf",
        "multipart/alternative;boundary=b",
        "multipart/related;boundary=b;start=\"<1>\"",
        "message/cpim",
        "application/xml",
        "application/im-iscomposing+xml",
        "text/html;charset=shift_jis",
    ];
    let Some((&first, body)) = data.split_first() else {
        return;
    };
    let content_type = TYPES[usize::from(first) % TYPES.len()];
    let Ok(read) = text::read(Some(content_type), body) else {
        return;
    };
    let Content::Text(text) = read.content else {
        return;
    };
    assert!(!text.trim().is_empty());
    assert!(!text.contains(|c: char| c.is_control() && c != '\n' && c != '\t'));
    let jid = Jid::new("a@example.com").expect("an address");
    let message = TextMessage {
        from: &jid,
        to: &jid,
        id: "1",
        text: &text,
        subject: read.subject.as_deref(),
        thread: None,
        sent: read.sent,
    }
    .to_stanza();
    sound(&message);
    match read_message(&message) {
        Outgoing::Text(read) => assert_eq!(read.text.replace("\r\n", "\n"), text),
        other => panic!("a text became {other:?}"),
    }
}

/// An address: its JID, if it has one and that has a URI, comes back.
pub fn address(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(jid) = jid_of_uri(text) else {
        return;
    };
    let bare = jid.to_bare();
    if let Ok(entity) = AddressOfRecord::of(&bare) {
        assert_eq!(bare_jid_of_uri(&entity.to_string()), Ok(bare.clone()));
        assert_eq!(bare_jid_of_uri(&entity.without_scheme()), Ok(bare));
    }
}

fn sound(stanza: &Stanza) {
    let read = Stanza::parse(stanza.bytes().clone());
    assert_eq!(read.as_ref(), Ok(stanza));
}
