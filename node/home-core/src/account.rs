//! IQ requests that the server answers for the account: from its own clients and from others.

use entente_xmpp_core::element::Element;
use entente_xmpp_core::error::StanzaCondition;
use entente_xmpp_core::ns;
use entente_xmpp_core::stanza::IqType;
use entente_xmpp_core::stanza::Stanza;

use crate::contract::SessionKey;
use crate::desk::Desk;
use crate::stanzas;
use crate::user::User;

/// What an account's bare JID offers to its own clients.
const OWN_FEATURES: [&str; 5] = [
    ns::DISCO_INFO,
    ns::DISCO_ITEMS,
    ns::PING,
    ns::LAST_ACTIVITY,
    ns::CARBONS,
];

/// What it offers to contacts.
const CONTACT_FEATURES: [&str; 4] = [ns::DISCO_INFO, ns::DISCO_ITEMS, ns::PING, ns::LAST_ACTIVITY];

impl User {
    /// An IQ request of a client to its own account.
    pub(crate) fn own_iq(&mut self, desk: &mut Desk, key: &SessionKey, stanza: &Stanza) {
        let child = stanza.first_child().map(|child| (child.ns, child.name));
        let set = stanza.iq_type() == Some(IqType::Set);
        let answer = match (child, set) {
            (Some((ns::ROSTER, "query")), false) => self.roster_get(key, stanza),
            (Some((ns::ROSTER, "query")), true) => self.roster_set(desk, stanza),
            (Some((ns::BLOCKING, "blocklist")), false) => self.blocklist_get(key, stanza),
            (Some((ns::BLOCKING, "block")), true) => self.block(desk, stanza),
            (Some((ns::BLOCKING, "unblock")), true) => self.unblock(desk, stanza),
            (Some((ns::CARBONS, "enable")), true) => self.set_carbons(key, stanza, true),
            (Some((ns::CARBONS, "disable")), true) => self.set_carbons(key, stanza, false),
            // RFC 3921's session request, which old clients still send: nothing to do.
            (Some((ns::SESSION, "session")), true) | (Some((ns::PING, "ping")), false) => {
                stanza.iq_result(None)
            }
            (Some((ns::DISCO_INFO, "query")), false) => disco_info(stanza, &OWN_FEATURES),
            (Some((ns::DISCO_ITEMS, "query")), false) => disco_items(stanza),
            (Some((ns::LAST_ACTIVITY, "query")), false) => self.last_activity(desk, stanza),
            _ => stanzas::undeliverable(stanza),
        };
        if let Some(answer) = answer {
            desk.tell(key, answer);
        }
    }

    fn set_carbons(&mut self, key: &SessionKey, stanza: &Stanza, on: bool) -> Option<Stanza> {
        self.session(key)?.carbons = on;
        stanza.iq_result(None)
    }

    /// An IQ request of somebody else to the bare JID. Who may not see the user's presence is told the
    /// same as for an account that does not exist.
    pub(crate) fn account_iq(&self, desk: &Desk, stanza: &Stanza) -> Option<Stanza> {
        let seen = stanza.from().is_some_and(|from| self.is_seen_by(from));
        let child = stanza.first_child().map(|child| (child.ns, child.name));
        match (seen && stanza.iq_type() == Some(IqType::Get), child) {
            (true, Some((ns::PING, "ping"))) => stanza.iq_result(None),
            (true, Some((ns::DISCO_INFO, "query"))) => disco_info(stanza, &CONTACT_FEATURES),
            (true, Some((ns::DISCO_ITEMS, "query"))) => disco_items(stanza),
            (true, Some((ns::LAST_ACTIVITY, "query"))) => self.last_activity(desk, stanza),
            _ => stanzas::undeliverable(stanza),
        }
    }

    /// XEP-0012 section 4: zero while a session is available.
    fn last_activity(&self, desk: &Desk, stanza: &Stanza) -> Option<Stanza> {
        let seconds = if self
            .sessions
            .iter()
            .any(|session| session.presence.is_some())
        {
            0
        } else {
            match self.last_logout_ms {
                Some(at_ms) => desk.wall_ms.saturating_sub(at_ms) / 1_000,
                None => return stanzas::undeliverable(stanza),
            }
        };
        let query = Element::new(ns::LAST_ACTIVITY, "query").attr("seconds", seconds.to_string());
        stanza.iq_result(Some(&query))
    }
}

fn disco_info(stanza: &Stanza, features: &[&'static str]) -> Option<Stanza> {
    if node(stanza).is_some() {
        return stanzas::refused(stanza, StanzaCondition::ItemNotFound);
    }
    let query = Element::new(ns::DISCO_INFO, "query")
        .child(
            Element::new(ns::DISCO_INFO, "identity")
                .attr("category", "account")
                .attr("type", "registered"),
        )
        .children(
            features
                .iter()
                .map(|feature| Element::new(ns::DISCO_INFO, "feature").attr("var", *feature)),
        );
    stanza.iq_result(Some(&query))
}

fn disco_items(stanza: &Stanza) -> Option<Stanza> {
    if node(stanza).is_some() {
        return stanzas::refused(stanza, StanzaCondition::ItemNotFound);
    }
    stanza.iq_result(Some(&Element::new(ns::DISCO_ITEMS, "query")))
}

/// The `node` attribute of a discovery request.
pub(crate) fn node(stanza: &Stanza) -> Option<String> {
    let iq = stanza.to_element();
    let node = iq.first_child()?.get_attr("node")?;
    Some(node.to_owned())
}
