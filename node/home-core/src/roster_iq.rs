//! Roster requests: RFC 6121 sections 2.1 to 2.6.

use entente_xmpp_core::element::Element;
use entente_xmpp_core::error::StanzaCondition;
use entente_xmpp_core::jid::{BareJid, Jid};
use entente_xmpp_core::ns;
use entente_xmpp_core::stanza::PresenceType;
use entente_xmpp_core::stanza::Stanza;

use crate::contract::{SessionKey, Write};
use crate::desk::Desk;
use crate::roster::RosterItem;
use crate::stanzas;
use crate::user::User;

/// What a roster set asks for, checked.
#[derive(Debug, PartialEq, Eq)]
enum RosterSet {
    Put {
        jid: BareJid,
        name: Option<Box<str>>,
        groups: Box<[Box<str>]>,
    },
    Remove {
        jid: BareJid,
    },
}

impl User {
    /// Sections 2.1.3, 2.1.4, 2.6: the roster, or nothing if the client's copy is current.
    pub(crate) fn roster_get(&mut self, key: &SessionKey, stanza: &Stanza) -> Option<Stanza> {
        let iq = stanza.to_element();
        let cached = iq
            .first_child()
            .and_then(|query| query.get_attr("ver").map(str::to_owned));
        self.session(key)?.roster_interested = true;
        let version = self.roster.version().to_string();
        if cached.as_deref() == Some(&version) {
            return stanza.iq_result(None);
        }
        let query = Element::new(ns::ROSTER, "query")
            .attr("ver", version)
            .children(self.roster.iter().map(stanzas::roster_item));
        stanza.iq_result(Some(&query))
    }

    /// Sections 2.3 to 2.5.
    pub(crate) fn roster_set(&mut self, desk: &mut Desk, stanza: &Stanza) -> Option<Stanza> {
        match self.read_roster_set(desk, stanza) {
            Ok(RosterSet::Put { jid, name, groups }) => {
                let old = self.roster.get(jid.as_str()).cloned();
                if old.is_none() && self.roster.len() >= desk.config.limits.roster_entries {
                    return stanzas::refused(stanza, StanzaCondition::ResourceConstraint);
                }
                let mut item = old.unwrap_or_else(|| RosterItem::new(jid));
                (item.name, item.groups) = (name, groups);
                self.put_roster_item(desk, item);
                stanza.iq_result(None)
            }
            Ok(RosterSet::Remove { jid }) => match self.roster.remove(jid.as_str()) {
                None => stanzas::refused(stanza, StanzaCondition::ItemNotFound),
                Some((item, version)) => {
                    self.removed(desk, &item, version);
                    stanza.iq_result(None)
                }
            },
            Err(condition) => stanzas::refused(stanza, condition),
        }
    }

    /// Section 2.5.2: a removed contact loses its subscriptions both ways.
    fn removed(&mut self, desk: &mut Desk, item: &RosterItem, version: u64) {
        let contact: &Jid = &item.jid;
        self.writes.push(Write::RemoveRosterEntry {
            user: self.jid.clone(),
            contact: item.jid.clone(),
            version,
        });
        let asked = self
            .pending_in
            .iter()
            .any(|pending| pending.from == item.jid);
        self.forget_request(&item.jid);
        if item.subscription.seen_by_contact() {
            self.hide_from(desk, contact);
        }
        if item.subscription.sees_contact() || item.ask {
            desk.route(
                None,
                stanzas::presence(PresenceType::Unsubscribe, &self.jid, contact),
            );
        }
        if item.subscription.seen_by_contact() || asked {
            desk.route(
                None,
                stanzas::presence(PresenceType::Unsubscribed, &self.jid, contact),
            );
        }
        let gone = Element::new(ns::ROSTER, "item")
            .attr("jid", item.jid.as_str().to_owned())
            .attr("subscription", "remove");
        self.push_roster(desk, gone, version);
    }

    /// Section 2.3.3: what can be wrong with a set.
    fn read_roster_set(&self, desk: &Desk, stanza: &Stanza) -> Result<RosterSet, StanzaCondition> {
        let limits = &desk.config.limits;
        let iq = stanza.to_element();
        let query = iq.first_child().ok_or(StanzaCondition::BadRequest)?;
        let mut items = query
            .elements()
            .filter(|child| child.is(ns::ROSTER, "item"));
        let (Some(item), None) = (items.next(), items.next()) else {
            return Err(StanzaCondition::BadRequest);
        };
        let jid = item.get_attr("jid").ok_or(StanzaCondition::BadRequest)?;
        let jid = Jid::new(jid)
            .map_err(|_| StanzaCondition::JidMalformed)?
            .into_bare();
        if item.get_attr("subscription") == Some("remove") {
            return Ok(RosterSet::Remove { jid });
        }
        if jid == self.jid {
            return Err(StanzaCondition::NotAllowed);
        }
        let name = item.get_attr("name").filter(|name| !name.is_empty());
        if name.is_some_and(|name| name.len() > limits.roster_text) {
            return Err(StanzaCondition::NotAcceptable);
        }
        let mut groups: Vec<Box<str>> = Vec::new();
        for group in item
            .elements()
            .filter(|child| child.is(ns::ROSTER, "group"))
        {
            let text = group.content_text();
            if text.is_empty()
                || text.len() > limits.roster_text
                || groups.len() >= limits.groups_per_contact
            {
                return Err(StanzaCondition::NotAcceptable);
            }
            if groups.iter().any(|known| **known == *text) {
                return Err(StanzaCondition::BadRequest);
            }
            groups.push(text.into());
        }
        Ok(RosterSet::Put {
            jid,
            name: name.map(Into::into),
            groups: groups.into(),
        })
    }
}
