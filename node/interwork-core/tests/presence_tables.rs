//! Every cell of the twelve presence tables (requirement M1): each is read from `tables/*.csv`, asked of
//! the mapping, and sent over the wire: through stanzas and through the peer's documents.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use entente_interwork_core::address::AddressOfRecord;
use entente_interwork_core::pidf::{self, Author, Basic, CONTENT_TYPE, Dialect, Style};
use entente_interwork_core::presence::{
    Availability, ClientKind, PeerSystem, Presence, children, read, read_stanza, render, words,
};
use entente_interwork_core::time::UtcTime;
use entente_xmpp_core::element::Element;
use entente_xmpp_core::jid::BareJid;
use entente_xmpp_core::ns;

const TEXT: &str = "Back at five";

/// What a table says of one status and one kind of watcher.
struct Cell {
    row: Availability,
    column: String,
    shown: Availability,
    /// `+status`: the status text is shown as well.
    status: bool,
}

fn table(name: &str) -> Vec<Cell> {
    let path = format!("{}/tables/{name}.csv", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let columns: Vec<&str> = lines.next().unwrap().split(',').skip(1).collect();
    let mut cells = Vec::new();
    for line in lines {
        let mut values = line.split(',');
        let row = named(values.next().unwrap());
        let values: Vec<&str> = values.collect();
        assert_eq!(values.len(), columns.len(), "{name}: {line}");
        for (column, value) in columns.iter().zip(values) {
            let shown = value.strip_suffix("+status");
            cells.push(Cell {
                row,
                column: (*column).to_owned(),
                shown: named(shown.unwrap_or(value)),
                status: shown.is_some(),
            });
        }
    }
    cells
}

fn named(name: &str) -> Availability {
    match name {
        "available" => Availability::Available,
        "available(in a meeting)" => Availability::InAMeeting,
        "busy" => Availability::Busy,
        "do-not-disturb" => Availability::DoNotDisturb,
        "be-right-back" => Availability::BeRightBack,
        "idle" => Availability::Idle,
        "away(idle)" => Availability::AwayIdle,
        "away" => Availability::Away,
        "extended-away" => Availability::ExtendedAway,
        "invisible" => Availability::Invisible,
        "offline" => Availability::Offline,
        other => panic!("a status that is not known: {other}"),
    }
}

fn client(column: &str) -> ClientKind {
    match column {
        "show_rich" => ClientKind::Rich,
        "show_xmpp" => ClientKind::Xmpp,
        other => panic!("a column that is not known: {other}"),
    }
}

fn presence(availability: Availability) -> Presence {
    let idle = matches!(availability, Availability::Idle | Availability::AwayIdle);
    Presence::new(availability)
        .with_text(TEXT)
        .idle_since(UtcTime::from_unix(1_700_000_000).filter(|_| idle))
}

fn stanza(presence: &Presence, receiver: ClientKind) -> Element {
    let kind = (!presence.availability.is_open()).then_some("unavailable");
    Element::new(ns::CLIENT, "presence")
        .attr_opt("type", kind)
        .children(children(presence, receiver))
}

/// What a client of that kind shows for a stanza. Third-party clients show the text beside a show
/// value; idle and in a meeting are such texts, and idle may also be told by `<idle/>`.
fn displayed(stanza: &Element, receiver: ClientKind) -> Availability {
    let spoken = read_stanza(stanza, ClientKind::Rich).availability;
    if receiver == ClientKind::Rich {
        return spoken;
    }
    let plain = read_stanza(stanza, ClientKind::Xmpp);
    let says_idle = plain.text().is_some_and(|text| text.starts_with("Idle"));
    match plain.availability {
        Availability::Away | Availability::AwayIdle if says_idle => Availability::Idle,
        Availability::Available if spoken == Availability::InAMeeting => spoken,
        plain => plain,
    }
}

/// Requirement M2: a status that is shown as another one is named in the text.
fn assert_words_go_along(source: &Presence, shown: &Presence) {
    let Some(words) = words(source.availability) else {
        return;
    };
    if shown.availability.is_open() && self::words(shown.availability) != Some(words) {
        let text = shown.text().unwrap_or_default();
        assert!(text.starts_with(words), "{source:?} shown as {shown:?}");
    }
}

/// What a system's server writes of its own user: it has no more values than these (section on the
/// dialect in `pidf`).
fn foreign_document(status: Availability) -> String {
    use Availability as A;
    let (basic, activity) = match status {
        A::Available => ("open", None),
        A::Busy | A::DoNotDisturb => ("open", Some("busy")),
        A::BeRightBack | A::Away => ("open", Some("away")),
        A::Invisible | A::Offline => ("closed", None),
        other => panic!("no such status there: {other:?}"),
    };
    let activity = activity.map_or_else(String::new, |activity| {
        format!("<ep:activities><ep:activity>{activity}</ep:activity></ep:activities>")
    });
    format!(
        "<presence xmlns='urn:ietf:params:xml:ns:pidf' entity='sip:bob@contoso.example' \
         xmlns:ep='urn:ietf:params:xml:ns:pidf:status:rpid-status'><tuple id='0'><status>\
         <basic>{basic}</basic>{activity}</status></tuple></presence>"
    )
}

/// Tables 1, 4 and 7: documents in, stanzas out.
fn check_inbound_documents(name: &str, system: PeerSystem) -> usize {
    let cells = table(name);
    for cell in &cells {
        let context = format!("{name}: {:?} for {}", cell.row, cell.column);
        let kind = client(&cell.column);
        let remote = presence(cell.row);
        let seen = read(&remote, system, kind);
        assert_eq!(seen.availability, cell.shown, "{context}");
        assert!(!cell.status, "{context}: these tables have no status texts");
        assert_words_go_along(&remote, &seen);

        let document = foreign_document(cell.row);
        let document = pidf::read(CONTENT_TYPE, document.as_bytes()).unwrap();
        let seen = read(&document.presence(), system, kind);
        assert_eq!(seen.availability, cell.shown, "{context}, by document");
        let stanza = stanza(&seen, kind);
        assert_eq!(displayed(&stanza, kind), cell.shown, "{context}, by stanza");
    }
    cells.len()
}

/// Tables 2, 3, 5, 6 and 8: stanzas in, documents out.
fn check_outbound_documents(name: &str, system: PeerSystem, kind: ClientKind) -> usize {
    let dialect = match system {
        PeerSystem::Aim => Dialect::Aol,
        _ => Dialect::Microsoft,
    };
    let entity = AddressOfRecord::of(&BareJid::new("ann@example.com").unwrap()).unwrap();
    let author = Author {
        entity: &entity,
        display_name: None,
        time: None,
    };
    let cells = table(name);
    for cell in &cells {
        let context = format!("{name}: {:?}", cell.row);
        assert_eq!(cell.column, "remote");
        let local = presence(cell.row);
        let seen = render(&local, system);
        assert_eq!(seen.availability, cell.shown, "{context}");
        assert_words_go_along(&local, &seen);

        let sent = read_stanza(&stanza(&local, kind), kind);
        assert_eq!(sent.availability, cell.row, "{context}, as sent");
        let document = pidf::write(Style::new(dialect), &author, &render(&sent, system), &[]);
        let document = pidf::read(CONTENT_TYPE, &document).unwrap();
        let [tuple] = document.tuples.as_slice() else {
            panic!("{context}: one tuple, always");
        };
        // Microsoft's and AOL's clients know these and no words.
        let shown = match (tuple.basic, tuple.details.activities.as_slice()) {
            (Some(Basic::Closed), []) => Availability::Offline,
            (Some(Basic::Open), []) => Availability::Available,
            (Some(Basic::Open), [activity]) => *activity,
            other => panic!("{context}: {other:?}"),
        };
        assert_eq!(shown, cell.shown, "{context}, by document");
    }
    cells.len()
}

/// Tables 9 and 10: stanzas in, stanzas out.
fn check_inbound_stanzas(name: &str, system: PeerSystem) -> usize {
    let cells = table(name);
    let tells_of_status = cells.iter().any(|cell| cell.status);
    for cell in &cells {
        let context = format!("{name}: {:?} for {}", cell.row, cell.column);
        let kind = client(&cell.column);
        // Both write words where they have no value, as rich clients do.
        let remote = read_stanza(
            &stanza(&presence(cell.row), ClientKind::Xmpp),
            ClientKind::Rich,
        );
        assert_eq!(remote.availability, cell.row, "{context}, as sent");
        let seen = read(&remote, system, kind);
        assert_eq!(seen.availability, cell.shown, "{context}");
        assert_words_go_along(&remote, &seen);
        if tells_of_status {
            assert_eq!(seen.text().is_some(), cell.status, "{context}: status text");
            assert!(
                !cell.status || seen.text().unwrap().ends_with(TEXT),
                "{context}"
            );
        }
        let stanza = stanza(&seen, kind);
        if cell.status {
            // The words are the status here, not a value of their own.
            let shown = read_stanza(&stanza, ClientKind::Xmpp);
            assert_eq!(shown.availability, cell.shown, "{context}, by stanza");
            assert!(shown.text().is_some(), "{context}, by stanza");
        } else {
            assert_eq!(displayed(&stanza, kind), cell.shown, "{context}, by stanza");
        }
    }
    cells.len()
}

/// Tables 11 and 12: stanzas in, stanzas out.
fn check_outbound_stanzas(name: &str, kind: ClientKind) -> usize {
    let cells = table(name);
    for cell in &cells {
        let context = format!("{name}: {:?} for {}", cell.row, cell.column);
        let (system, receiver) = match cell.column.as_str() {
            "remote_rich" => (PeerSystem::RichXmpp, ClientKind::Rich),
            "remote_xmpp" => (PeerSystem::Xmpp, ClientKind::Xmpp),
            "remote_webex" => (PeerSystem::Webex, ClientKind::Xmpp),
            "remote_sametime" => (PeerSystem::Sametime, ClientKind::Xmpp),
            other => panic!("a column that is not known: {other}"),
        };
        let local = presence(cell.row);
        let sent = read_stanza(&stanza(&local, kind), kind);
        assert_eq!(sent, local, "{context}, as sent");
        let seen = render(&sent, system);
        assert_eq!(seen.availability, cell.shown, "{context}");
        assert_words_go_along(&local, &seen);
        assert!(!cell.status, "{context}: these tables have no status texts");
        let stanza = stanza(&seen, receiver);
        assert_eq!(
            displayed(&stanza, receiver),
            cell.shown,
            "{context}, by stanza"
        );
    }
    cells.len()
}

#[test]
fn every_cell_of_every_table_holds() {
    use ClientKind::{Rich, Xmpp};
    use PeerSystem::{Aim, Lync, OfficeCommunicator, Sametime, Webex};
    type Check = Box<dyn Fn(&str) -> usize>;
    let documents_in =
        |system| -> Check { Box::new(move |name| check_inbound_documents(name, system)) };
    let documents_out = |system, kind| -> Check {
        Box::new(move |name| check_outbound_documents(name, system, kind))
    };
    let stanzas_in =
        |system| -> Check { Box::new(move |name| check_inbound_stanzas(name, system)) };
    let stanzas_out = |kind| -> Check { Box::new(move |name| check_outbound_stanzas(name, kind)) };
    let checks = [
        (
            "01-office-communicator-to-local",
            documents_in(OfficeCommunicator),
            12,
        ),
        (
            "02-rich-to-office-communicator",
            documents_out(OfficeCommunicator, Rich),
            4,
        ),
        (
            "03-xmpp-to-office-communicator",
            documents_out(OfficeCommunicator, Xmpp),
            5,
        ),
        ("04-lync-to-local", documents_in(Lync), 12),
        ("05-rich-to-lync", documents_out(Lync, Rich), 4),
        ("06-xmpp-to-lync", documents_out(Lync, Xmpp), 5),
        ("07-aim-to-local", documents_in(Aim), 4),
        ("08-rich-to-aim", documents_out(Aim, Rich), 5),
        ("09-sametime-to-local", stanzas_in(Sametime), 10),
        ("10-webex-to-local", stanzas_in(Webex), 10),
        ("11-rich-to-federated", stanzas_out(Rich), 20),
        ("12-xmpp-to-federated", stanzas_out(Xmpp), 24),
    ];
    for (name, check, cells) in &checks {
        assert_eq!(check(name), *cells, "cells of {name}");
    }
    let files: BTreeSet<String> =
        std::fs::read_dir(format!("{}/tables", env!("CARGO_MANIFEST_DIR")))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
    let checked: BTreeSet<String> = checks
        .iter()
        .map(|(name, ..)| format!("{name}.csv"))
        .collect();
    assert_eq!(files, checked);
}
