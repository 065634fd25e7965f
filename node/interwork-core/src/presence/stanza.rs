//! Presence in stanzas (RFC 6121 section 4.7.2, XEP-0319, XEP-0256).

use entente_xmpp_core::element::Element;
use entente_xmpp_core::ns;
use entente_xmpp_core::stanza::Show;

use super::{Availability, ClientKind, Presence, split_words, with_words};
use crate::time::UtcTime;

/// Namespace of `<state/>`, with which rich clients name a status that `<show/>` has no value for.
pub const RICH_STATE_NS: &str = "urn:entente:presence:0";

/// What `<state/>` may hold.
const STATES: [(&str, Availability); 9] = [
    ("available", Availability::Available),
    ("in-a-meeting", Availability::InAMeeting),
    ("busy", Availability::Busy),
    ("do-not-disturb", Availability::DoNotDisturb),
    ("be-right-back", Availability::BeRightBack),
    ("idle", Availability::Idle),
    ("away", Availability::Away),
    ("extended-away", Availability::ExtendedAway),
    ("invisible", Availability::Invisible),
];

/// What a presence stanza says; `sender` is the kind of client or system that sent it. Rich senders
/// put words into the status text for what `<show/>` cannot say; from others, words are just words.
/// Types other than unavailable do not matter here.
#[must_use]
pub fn read_stanza(presence: &Element, sender: ClientKind) -> Presence {
    let text = status_text(presence);
    if presence.get_attr("type") == Some("unavailable") {
        let mut gone = Presence::offline();
        gone.set_text(text.as_deref());
        return gone;
    }
    let idle = presence.get_child(ns::IDLE, "idle");
    // The older way tells how long ago, for which a clock would be needed; that it is so is enough.
    let is_idle = idle.is_some() || presence.has_child(ns::LAST_ACTIVITY, "query");
    let plain = plain_status(presence, is_idle, sender);
    let named = presence
        .get_child(RICH_STATE_NS, "state")
        .and_then(|state| named_state(state.content_text().trim()));
    let spoken = match sender {
        ClientKind::Rich => text.as_deref().and_then(split_words),
        ClientKind::Xmpp => None,
    };
    let (availability, text) = match (named, spoken) {
        (Some(named), Some((spoken, rest))) if named == spoken => (named, rest),
        (Some(named), _) => (named, text.as_deref()),
        (None, Some((spoken, rest))) if refines(spoken, plain) => (spoken, rest),
        (None, _) => (plain, text.as_deref()),
    };
    let idle_since = idle
        .and_then(|idle| idle.get_attr("since"))
        .and_then(UtcTime::from_datetime);
    let mut read = Presence::new(availability).idle_since(idle_since);
    read.set_text(text);
    read
}

/// What `<show/>` and `<idle/>` say.
fn plain_status(presence: &Element, idle: bool, sender: ClientKind) -> Availability {
    let show = presence
        .get_child(presence.ns(), "show")
        .and_then(|show| Show::from_text(show.content_text().trim()));
    match (show, idle, sender) {
        (None | Some(Show::Chat), _, _) => Availability::Available,
        (Some(Show::Dnd), _, _) => Availability::DoNotDisturb,
        (Some(Show::Xa), _, _) => Availability::ExtendedAway,
        (Some(Show::Away), false, _) => Availability::Away,
        (Some(Show::Away), true, ClientKind::Rich) => Availability::Idle,
        (Some(Show::Away), true, ClientKind::Xmpp) => Availability::AwayIdle,
    }
}

/// Whether words may refine what `<show/>` says. 'Busy' beside plain available is just a text.
const fn refines(spoken: Availability, plain: Availability) -> bool {
    use Availability as A;
    match plain {
        A::Available => matches!(spoken, A::InAMeeting),
        A::Away | A::Idle => matches!(spoken, A::Busy | A::BeRightBack | A::Idle),
        A::DoNotDisturb => matches!(spoken, A::Busy | A::DoNotDisturb),
        _ => false,
    }
}

/// The status without a language, or else the first one.
fn status_text(presence: &Element) -> Option<String> {
    let statuses = || {
        presence
            .elements()
            .filter(|child| child.is(presence.ns(), "status"))
    };
    statuses()
        .find(|status| status.get_attr("xml:lang").is_none())
        .or_else(|| statuses().next())
        .map(|status| status.content_text().into_owned())
}

fn named_state(name: &str) -> Option<Availability> {
    STATES
        .iter()
        .find(|(listed, _)| *listed == name)
        .map(|&(_, state)| state)
}

/// The children of a presence stanza that shows this to a client. The stanza's type is unavailable
/// if the presence is not open.
#[must_use]
pub fn children(presence: &Presence, receiver: ClientKind) -> Vec<Element> {
    use Availability as A;
    // Whether `<show/>` and `<idle/>` say it all.
    let (show, exact) = match presence.availability {
        A::Available | A::Invisible | A::Offline => (None, true),
        A::InAMeeting => (None, false),
        A::Away => (Some(Show::Away), true),
        A::AwayIdle => (Some(Show::Away), presence.idle_since.is_some()),
        A::Busy | A::BeRightBack | A::Idle => (Some(Show::Away), false),
        A::DoNotDisturb => (Some(Show::Dnd), true),
        A::ExtendedAway => (Some(Show::Xa), true),
    };
    let text = if exact {
        presence.text().map(Into::into)
    } else {
        with_words(presence.availability, presence.text())
    };
    let mut children = Vec::new();
    if let Some(show) = show {
        children.push(Element::new(ns::CLIENT, "show").text(show.as_str()));
    }
    if let Some(text) = text {
        children.push(Element::new(ns::CLIENT, "status").text(text));
    }
    if let (Some(since), A::Idle | A::AwayIdle | A::ExtendedAway) =
        (presence.idle_since, presence.availability)
    {
        children.push(Element::new(ns::IDLE, "idle").attr("since", since.to_datetime()));
    }
    let name = STATES
        .iter()
        .find(|(_, state)| *state == presence.availability);
    if let (ClientKind::Rich, false, Some((name, _))) = (receiver, exact, name) {
        children.push(Element::new(RICH_STATE_NS, "state").text(*name));
    }
    children
}

#[cfg(test)]
mod tests {
    use entente_xmpp_core::xml::Limits;
    use proptest::prelude::*;

    use super::*;

    fn stanza(children: Vec<Element>) -> Element {
        Element::new(ns::CLIENT, "presence").children(children)
    }

    /// What the stanza with this content says.
    fn reading(content: &str, sender: ClientKind) -> (Availability, Option<String>) {
        let xml = format!("<presence>{content}</presence>");
        let element = Element::parse(xml.as_bytes(), ns::CLIENT, &Limits::AUTHENTICATED).unwrap();
        let read = read_stanza(&element, sender);
        (read.availability, read.text().map(str::to_owned))
    }

    const IDLE: &str = "<idle xmlns='urn:xmpp:idle:1' since='2024-01-01T00:00:00Z'/>";

    #[test]
    fn stanzas_of_third_party_clients() {
        use Availability as A;
        for (content, availability, status) in [
            ("", A::Available, None),
            (
                "<show>chat</show><status>In a meeting</status>",
                A::Available,
                Some("In a meeting"),
            ),
            ("<show> dnd </show>", A::DoNotDisturb, None),
            (&format!("<show>xa</show>{IDLE}"), A::ExtendedAway, None),
            (&format!("<show>away</show>{IDLE}"), A::AwayIdle, None),
            (
                "<show>away</show><query xmlns='jabber:iq:last' seconds='600'/>",
                A::AwayIdle,
                None,
            ),
            (
                "<show>away</show><status>Busy</status>",
                A::Away,
                Some("Busy"),
            ),
            ("<show>strange</show>", A::Available, None),
            (
                "<status xml:lang='de'>weg</status><status>gone</status>",
                A::Available,
                Some("gone"),
            ),
        ] {
            assert_eq!(
                reading(content, ClientKind::Xmpp),
                (availability, status.map(str::to_owned)),
                "{content}"
            );
        }
    }

    #[test]
    fn stanzas_of_rich_clients() {
        use Availability as A;
        let state = "<state xmlns='urn:entente:presence:0'>";
        for (content, availability, status) in [
            ("<show>away</show><status>Busy</status>", A::Busy, None),
            (
                "<show>away</show><status>busy: with a cat</status>",
                A::Busy,
                Some("with a cat"),
            ),
            ("<status>Busy</status>", A::Available, Some("Busy")),
            ("<status>In a meeting</status>", A::InAMeeting, None),
            (&format!("<show>away</show>{IDLE}"), A::Idle, None),
            (
                &format!("<show>dnd</show>{state}busy</state>"),
                A::Busy,
                None,
            ),
            (
                &format!("<show>dnd</show>{state}jolly</state>"),
                A::DoNotDisturb,
                None,
            ),
        ] {
            assert_eq!(
                reading(content, ClientKind::Rich),
                (availability, status.map(str::to_owned)),
                "{content}"
            );
        }
    }

    #[test]
    fn unavailable_is_offline_whatever_it_shows() {
        let mut gone = stanza(vec![Element::new(ns::CLIENT, "show").text("dnd")]);
        gone.set_attr("type", "unavailable");
        assert_eq!(read_stanza(&gone, ClientKind::Xmpp), Presence::offline());
    }

    /// What is written for a rich client is read as the same, for every status that others may see.
    #[test]
    fn a_rich_client_gets_every_status_exactly() {
        for availability in Availability::ALL {
            // Idle as third-party clients show it is plain idle to a rich one.
            if !availability.is_open() || availability == Availability::AwayIdle {
                continue;
            }
            let idle = availability == Availability::Idle;
            for text in ["", "in the garden"] {
                let written = Presence::new(availability)
                    .with_text(text)
                    .idle_since(UtcTime::from_unix(1_700_000_000).filter(|_| idle));
                let element = stanza(children(&written, ClientKind::Rich));
                assert_eq!(read_stanza(&element, ClientKind::Rich), written);
            }
        }
    }

    proptest! {
        #[test]
        fn any_presence_is_read(show in "[a-z]{0,4}", status in any::<String>(), state in "[a-z-]{0,9}") {
            let element = stanza(vec![
                Element::new(ns::CLIENT, "show").text(show),
                Element::new(ns::CLIENT, "status").text(status),
                Element::new(RICH_STATE_NS, "state").text(state),
            ]);
            for sender in [ClientKind::Rich, ClientKind::Xmpp] {
                let _ = read_stanza(&element, sender);
            }
        }
    }
}
