//! Presence documents as real software writes them, and ours as the others read them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use entente_interwork_core::address::{AddressOfRecord, bare_jid_of_uri};
use entente_interwork_core::document::DocumentFault;
use entente_interwork_core::pidf::{
    Author, CONTENT_TYPE, Device, Dialect, PidfFault, Style, read, write,
};
use entente_interwork_core::presence::{Availability, PeerSystem, Presence, render};
use entente_interwork_core::time::UtcTime;
use entente_xmpp_core::jid::BareJid;
use proptest::prelude::*;

const BOB: &str = "bob@example.org";

/// Each document of the corpus: whose presence, what it says, the text.
#[test]
fn documents_of_other_software_say_what_they_mean() {
    use Availability as A;
    let contoso = "bob@contoso.example";
    for (name, entity, availability, text) in [
        ("microsoft-available", contoso, A::Available, None),
        ("microsoft-busy", contoso, A::Busy, None),
        ("microsoft-away", contoso, A::Away, None),
        ("microsoft-offline", contoso, A::Offline, None),
        ("aol-available", "bob@aol.com", A::Available, None),
        (
            "aol-away",
            "bob@aol.com",
            A::Away,
            Some("I am away from my computer right now."),
        ),
        ("aol-invisible", "bob@aol.com", A::Offline, None),
        ("linphone-busy", BOB, A::Busy, Some("On the phone")),
        (
            "linphone-legacy-brb",
            BOB,
            A::BeRightBack,
            Some("In transit"),
        ),
        ("baresip-open", BOB, A::Available, None),
        (
            "kamailio-composed",
            BOB,
            A::InAMeeting,
            Some("back at three"),
        ),
        ("kamailio-offline", BOB, A::Offline, None),
        ("kamailio-unpublished", BOB, A::Offline, None),
        ("plain-note-only", BOB, A::DoNotDisturb, Some("on stage")),
        (
            "rfc3863-two-contacts",
            BOB,
            A::Busy,
            Some("Please do not call"),
        ),
        ("rfc4480-rich", BOB, A::Idle, Some("Far away")),
        ("rfc8048-show", BOB, A::DoNotDisturb, Some("Wooing Juliet")),
    ] {
        let path = format!("{}/tests/pidf/{name}.xml", env!("CARGO_MANIFEST_DIR"));
        let body = std::fs::read(path).unwrap();
        let document = read(CONTENT_TYPE, &body).unwrap();
        let presence = document.presence();
        assert_eq!(presence.availability, availability, "{name}");
        assert_eq!(presence.text(), text, "{name}");
        let jid = bare_jid_of_uri(&document.entity).unwrap();
        assert_eq!(jid.as_str(), entity, "{name}");
    }
}

#[test]
fn every_document_of_the_corpus_is_looked_at() {
    let folder = format!("{}/tests/pidf", env!("CARGO_MANIFEST_DIR"));
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 17);
}

#[test]
fn names_priorities_and_times_are_read() {
    let body = std::fs::read(format!(
        "{}/tests/pidf/rfc3863-two-contacts.xml",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap();
    let document = read("Application/PIDF+XML;charset=utf-8", &body).unwrap();
    let priorities: Vec<_> = document.tuples.iter().map(|tuple| tuple.priority).collect();
    assert_eq!(priorities, [Some(800), Some(1_000)]);
    let mobile = &document.tuples[1];
    assert_eq!(mobile.id, "cg231jcr");
    assert_eq!(mobile.contact.as_deref(), Some("im:bob@mobile.example.org"));
    assert_eq!(
        mobile.timestamp,
        UtcTime::from_datetime("2001-10-27T16:49:29Z")
    );
}

/// What a document with these tuples says.
fn said_by(tuples: &str) -> Presence {
    let body = format!(
        "<presence xmlns='urn:ietf:params:xml:ns:pidf' entity='sip:bob@example.org' \
         xmlns:r='urn:ietf:params:xml:ns:pidf:rpid'>{tuples}</presence>"
    );
    read(CONTENT_TYPE, body.as_bytes()).unwrap().presence()
}

#[test]
fn of_several_devices_the_right_one_speaks() {
    let tuple = |basic: &str, rest: &str| {
        format!("<tuple id='x'><status><basic>{basic}</basic></status>{rest}</tuple>")
    };
    let contact = |priority: &str| format!("<contact priority='{priority}'>sip:a@b</contact>");
    // A closed device does not count, whatever its priority.
    let closed = tuple("closed", &contact("1"));
    let low = tuple(
        "open",
        &format!("<r:activities><r:busy/></r:activities>{}", contact("0.1")),
    );
    assert_eq!(said_by(&(closed + &low)).availability, Availability::Busy);
    // The higher priority counts alone; none is the lowest.
    let none = tuple("open", "<r:activities><r:busy/></r:activities>");
    let high = tuple(
        "open",
        &format!("{}<note>at the desk</note>", contact("0.5")),
    );
    let both = said_by(&(none.clone() + &high));
    assert_eq!(
        both,
        Presence::new(Availability::Available).with_text("at the desk")
    );
    // Equals are weighed.
    let free = tuple("open", "");
    assert_eq!(said_by(&(free + &none)).availability, Availability::Busy);
    // Of equals the newest note is told.
    let dated = |note: &str, time: &str| {
        tuple(
            "open",
            &format!("<note>{note}</note><timestamp>{time}</timestamp>"),
        )
    };
    let old = dated("old", "2024-01-01T00:00:00Z");
    let new = dated("new", "2024-01-02T00:00:00Z");
    assert_eq!(said_by(&(old + &new)).text(), Some("new"));
    // Words that do not fit the status are a text, but for those that say nothing.
    let noted = |note| {
        tuple(
            "open",
            &format!("<r:activities><r:away/></r:activities><note>{note}</note>"),
        )
    };
    assert_eq!(
        said_by(&noted("Busy")),
        Presence::new(Availability::Away).with_text("Busy")
    );
    assert_eq!(said_by(&noted("Online")), Presence::new(Availability::Away));
    // A malformed priority is none.
    let odd = tuple(
        "open",
        &format!("<r:activities><r:away/></r:activities>{}", contact("NaN")),
    );
    assert_eq!(said_by(&odd).availability, Availability::Away);
}

#[test]
fn other_formats_are_refused_with_what_we_accept() {
    let xpidf = b"<?xml version=\"1.0\"?><presence><presentity uri=\"sip:a@b\"/></presence>";
    let fault = read("application/xpidf+xml", xpidf).unwrap_err();
    assert_eq!(fault, PidfFault::ContentType);
    assert_eq!(fault.sip_status(), 415);
    for (body, fault, status) in [
        (
            &b"<presence"[..],
            PidfFault::Document(DocumentFault::Syntax),
            400,
        ),
        (b"<html/>", PidfFault::NotPresence, 400),
        (
            b"<presence xmlns='urn:other'/>",
            PidfFault::NotPresence,
            400,
        ),
        (
            b"<!DOCTYPE presence [<!ENTITY a 'aaaa'>]><presence/>",
            PidfFault::Document(DocumentFault::Forbidden),
            400,
        ),
        (
            &[b' '; 65 * 1024],
            PidfFault::Document(DocumentFault::TooLarge),
            413,
        ),
    ] {
        let read = read(CONTENT_TYPE, body).unwrap_err();
        assert_eq!((read, read.sip_status()), (fault, status));
    }
}

fn written(style: Style, presence: &Presence, devices: &[Device<'_>]) -> String {
    let entity = AddressOfRecord::of(&BareJid::new(BOB).unwrap()).unwrap();
    let author = Author {
        entity: &entity,
        display_name: Some("Bob <Miller>"),
        time: UtcTime::from_unix(1_700_000_000),
    };
    String::from_utf8(write(style, &author, presence, devices).to_vec()).unwrap()
}

#[test]
fn microsofts_dialect_to_the_letter() {
    let presence = render(
        &Presence::new(Availability::DoNotDisturb).with_text("ab & cd"),
        PeerSystem::Lync,
    );
    assert_eq!(
        written(Style::new(Dialect::Microsoft), &presence, &[]),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
         <presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
         xmlns:ep=\"urn:ietf:params:xml:ns:pidf:status:rpid-status\" \
         xmlns:ci=\"urn:ietf:params:xml:ns:pidf:cipid\" entity=\"sip:bob@example.org\">\
         <tuple id=\"0\"><status><basic>open</basic>\
         <ep:activities><ep:activity>busy</ep:activity></ep:activities></status>\
         <note>Do not disturb: ab &amp; cd</note>\
         <timestamp>2023-11-14T22:13:20Z</timestamp></tuple>\
         <ci:display-name>Bob &lt;Miller&gt;</ci:display-name></presence>\r\n"
    );
    let spared = Style {
        notes: false,
        ..Style::new(Dialect::Microsoft)
    };
    assert!(!written(spared, &presence, &[]).contains("note"));
}

#[test]
fn aols_dialect_names_people_without_a_scheme() {
    let away = Presence::new(Availability::Away);
    let document = written(Style::new(Dialect::Aol), &away, &[]);
    assert!(document.contains("entity=\"bob@example.org\""));
    assert!(document.contains("<ep:activity>away</ep:activity>"));
}

/// baresip looks for these pieces of text, and takes the first `basic`.
#[test]
fn the_standard_dialect_has_the_literal_prefixes() {
    let busy = Presence::new(Availability::Busy);
    let document = written(Style::new(Dialect::Rpid), &busy, &[]);
    assert!(document.contains("<basic>open</basic>"));
    assert!(document.contains("<rpid:busy/>"));
    assert!(document.contains("<dm:person id=\"p1\">"));
    for away in [
        Availability::Away,
        Availability::Idle,
        Availability::ExtendedAway,
    ] {
        let document = written(Style::new(Dialect::Rpid), &Presence::new(away), &[]);
        assert!(document.contains("<rpid:away/>"), "{away:?}");
    }
}

#[test]
fn several_devices_are_told_apart() {
    let device = |resource, priority, availability| Device {
        resource,
        priority,
        presence: Presence::new(availability),
    };
    let devices = [
        device("desk", -1, Availability::Away),
        device("phone", 127, Availability::Available),
        device("gone", 5, Availability::Offline),
    ];
    let person = Presence::new(Availability::Available);
    let document = written(Style::new(Dialect::Rpid), &person, &devices);
    let read = read(CONTENT_TYPE, document.as_bytes()).unwrap();
    let priorities: Vec<_> = read.tuples.iter().map(|tuple| tuple.priority).collect();
    assert_eq!(priorities, [Some(1_000), None]);
    assert_ne!(read.tuples[0].id, read.tuples[1].id);
    assert!(!document.contains("phone") && !document.contains("desk"));
    assert_eq!(read.presence().availability, Availability::Available);
    // Microsoft gets one tuple whatever there is.
    let document = written(Style::new(Dialect::Microsoft), &person, &devices);
    assert_eq!(document.matches("<tuple").count(), 1);
}

/// The standard dialect loses nothing: what is written is read as the same.
#[test]
fn the_standard_dialect_tells_every_status() {
    for availability in Availability::ALL {
        for text in ["", "in <the> garden & pool", "Busy bee"] {
            let mut presence = render(
                &Presence::new(availability).with_text(text),
                PeerSystem::Simple,
            );
            if matches!(availability, Availability::Idle | Availability::AwayIdle) {
                presence.idle_since = UtcTime::from_unix(1_600_000_000);
            }
            let document = written(Style::new(Dialect::Rpid), &presence, &[]);
            let read = read(CONTENT_TYPE, document.as_bytes()).unwrap();
            assert_eq!(read.presence(), presence, "{document}");
        }
    }
}

/// A note says what the plain dialect has no value for.
#[test]
fn the_plain_dialect_tells_every_status_in_words() {
    for availability in Availability::ALL {
        let presence = render(&Presence::new(availability), PeerSystem::Simple);
        let document = written(Style::new(Dialect::Plain), &presence, &[]);
        let read = read(CONTENT_TYPE, document.as_bytes()).unwrap().presence();
        let expected = match presence.availability {
            Availability::AwayIdle => Availability::Idle,
            other => other,
        };
        assert_eq!(read, Presence::new(expected), "{document}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(CONTENT_TYPE, &body);
    }

    /// Documents cut, spliced and bent in every way are read or refused.
    #[test]
    fn bent_documents_are_read_or_refused(
        pieces in proptest::collection::vec(
            prop_oneof![
                Just("<presence xmlns='urn:ietf:params:xml:ns:pidf' entity='sip:a@b'>"),
                Just("<tuple id='1'>"), Just("<status>"), Just("<basic>open</basic>"),
                Just("<basic>closed</basic>"), Just("</status>"), Just("</tuple>"),
                Just("<contact priority='0.5'>x</contact>"), Just("<contact priority='9e99'/>"),
                Just("<note>Busy: x</note>"), Just("<timestamp>2024-01-01T00:00:00Z</timestamp>"),
                Just("<r:activities xmlns:r='urn:ietf:params:xml:ns:pidf:rpid'><r:busy/></r:activities>"),
                Just("<d:person xmlns:d='urn:ietf:params:xml:ns:pidf:data-model'>"), Just("</d:person>"),
                Just("<show xmlns='jabber:client'>xa</show>"), Just("</presence>"),
            ],
            0..24,
        )
    ) {
        let mut body = String::from("<presence xmlns='urn:ietf:params:xml:ns:pidf' entity='sip:a@b'>");
        body.extend(pieces);
        body.push_str("</presence>");
        if let Ok(document) = read(CONTENT_TYPE, body.as_bytes()) {
            let _ = document.presence();
        }
    }

    /// Whatever the text, our documents can be read and say it.
    #[test]
    fn any_status_text_survives(text in any::<String>()) {
        let presence = Presence::new(Availability::Available).with_text(&text);
        let document = written(Style::new(Dialect::Rpid), &presence, &[]);
        let read = read(CONTENT_TYPE, document.as_bytes()).unwrap();
        prop_assert_eq!(read.presence().availability.is_open(), true);
    }
}
