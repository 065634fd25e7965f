//! What our domains themselves answer, at any node.

use std::time::Instant;

use entente_xmpp_core::element::Element;
use entente_xmpp_core::error::StanzaCondition;
use entente_xmpp_core::ns;
use entente_xmpp_core::stanza::Stanza;
use entente_xmpp_core::stanza::{IqType, MessageType, StanzaType};

use crate::account::node;
use crate::config::HomeConfig;
use crate::stanzas;

/// Features of a domain for XEP-0030. `msgoffline` is XEP-0160's.
const FEATURES: [&str; 10] = [
    ns::DISCO_INFO,
    ns::DISCO_ITEMS,
    ns::PING,
    ns::TIME,
    ns::VERSION,
    ns::LAST_ACTIVITY,
    ns::CARBONS,
    ns::BLOCKING,
    ns::ROSTER,
    "msgoffline",
];

/// The answer of a local domain to a stanza that is addressed to it (no localpart; with or without a
/// resource). `None` if it needs no answer: presence, results, errors, headlines.
///
/// `wall_ms` is Unix time, for XEP-0202.
pub fn answer(config: &HomeConfig, now: Instant, wall_ms: u64, stanza: &Stanza) -> Option<Stanza> {
    match stanza.stanza_type() {
        StanzaType::Message(MessageType::Headline | MessageType::Error)
        | StanzaType::Presence(_) => None,
        StanzaType::Message(_) => stanzas::undeliverable(stanza),
        StanzaType::Iq(IqType::Result | IqType::Error) => None,
        StanzaType::Iq(IqType::Set) => stanzas::undeliverable(stanza),
        StanzaType::Iq(IqType::Get) => {
            let child = stanza.first_child()?;
            match (child.ns, child.name) {
                (ns::PING, "ping") => stanza.iq_result(None),
                (ns::DISCO_INFO, "query") => discovery(stanza, info()),
                (ns::DISCO_ITEMS, "query") => {
                    discovery(stanza, Element::new(ns::DISCO_ITEMS, "query"))
                }
                (ns::TIME, "time") => stanza.iq_result(Some(&time(wall_ms))),
                (ns::VERSION, "query") => stanza.iq_result(Some(&version(config))),
                (ns::LAST_ACTIVITY, "query") => {
                    let uptime = now.saturating_duration_since(config.started).as_secs();
                    let query = Element::new(ns::LAST_ACTIVITY, "query")
                        .attr("seconds", uptime.to_string());
                    stanza.iq_result(Some(&query))
                }
                _ => stanzas::undeliverable(stanza),
            }
        }
    }
}

fn discovery(stanza: &Stanza, query: Element) -> Option<Stanza> {
    match node(stanza) {
        Some(_) => stanzas::refused(stanza, StanzaCondition::ItemNotFound),
        None => stanza.iq_result(Some(&query)),
    }
}

fn info() -> Element {
    Element::new(ns::DISCO_INFO, "query")
        .child(
            Element::new(ns::DISCO_INFO, "identity")
                .attr("category", "server")
                .attr("type", "im")
                .attr("name", "Entente"),
        )
        .children(
            FEATURES
                .into_iter()
                .map(|feature| Element::new(ns::DISCO_INFO, "feature").attr("var", feature)),
        )
}

fn time(wall_ms: u64) -> Element {
    Element::new(ns::TIME, "time")
        .child(Element::new(ns::TIME, "tzo").text("+00:00"))
        .child(Element::new(ns::TIME, "utc").text(stanzas::timestamp(wall_ms)))
}

fn version(config: &HomeConfig) -> Element {
    Element::new(ns::VERSION, "query")
        .child(Element::new(ns::VERSION, "name").text(config.software.name.clone()))
        .child(Element::new(ns::VERSION, "version").text(config.software.version.clone()))
}
