//! The blocking command, XEP-0191.

use entente_xmpp_core::element::Element;
use entente_xmpp_core::error::StanzaCondition;
use entente_xmpp_core::jid::Jid;
use entente_xmpp_core::ns;
use entente_xmpp_core::stanza::PresenceType;
use entente_xmpp_core::stanza::Stanza;

use crate::blocklist::matches;
use crate::contract::{SessionKey, Write};
use crate::desk::Desk;
use crate::stanzas;
use crate::user::User;

impl User {
    /// Section 3.2: the list; the client gets pushes from now on.
    pub(crate) fn blocklist_get(&mut self, key: &SessionKey, stanza: &Stanza) -> Option<Stanza> {
        self.session(key)?.blocklist_interested = true;
        let list = Element::new(ns::BLOCKING, "blocklist").children(items(self.blocked.iter()));
        stanza.iq_result(Some(&list))
    }

    /// Section 3.3.
    pub(crate) fn block(&mut self, desk: &mut Desk, stanza: &Stanza) -> Option<Stanza> {
        let jids = match read_items(stanza) {
            Ok(jids) if jids.is_empty() => {
                return stanzas::refused(stanza, StanzaCondition::BadRequest);
            }
            Ok(jids) => jids,
            Err(condition) => return stanzas::refused(stanza, condition),
        };
        if self.blocked.len() + jids.len() > desk.config.limits.blocked {
            return stanzas::refused(stanza, StanzaCondition::ResourceConstraint);
        }
        // Whoever sees the user now and is about to be blocked sees it go.
        for contact in self.watchers_in(&jids) {
            if !self.blocked.blocks(&contact) {
                self.hide_from(desk, &contact);
            }
        }
        for session in &mut self.sessions {
            session.directed.retain(|entity| {
                let blocked = jids.iter().any(|entry| matches(entry, entity));
                if blocked && session.presence.is_none() {
                    desk.route(
                        None,
                        stanzas::presence(PresenceType::Unavailable, &session.full, entity),
                    );
                }
                !blocked
            });
        }
        for jid in &jids {
            if self.blocked.insert(jid.clone()) {
                self.writes.push(Write::Block {
                    user: self.jid.clone(),
                    jid: jid.clone(),
                });
            }
        }
        self.push_blocking(desk, "block", &jids);
        stanza.iq_result(None)
    }

    /// Sections 3.4 and 3.5; without items: everybody.
    pub(crate) fn unblock(&mut self, desk: &mut Desk, stanza: &Stanza) -> Option<Stanza> {
        let jids = match read_items(stanza) {
            Ok(jids) => jids,
            Err(condition) => return stanzas::refused(stanza, condition),
        };
        let freed = if jids.is_empty() {
            if !self.blocked.is_empty() {
                self.writes.push(Write::UnblockAll {
                    user: self.jid.clone(),
                });
            }
            self.blocked.take()
        } else {
            let freed: Vec<Jid> = jids
                .iter()
                .filter(|jid| self.blocked.remove(jid))
                .cloned()
                .collect();
            let user = &self.jid;
            self.writes.extend(freed.iter().map(|jid| Write::Unblock {
                user: user.clone(),
                jid: jid.clone(),
            }));
            freed
        };
        for contact in self.watchers_in(&freed) {
            if !self.blocked.blocks(&contact) {
                self.show_to(desk, &contact);
            }
        }
        // Their presence was dropped meanwhile: ask again.
        for item in self.roster.iter() {
            let freed_now = freed.iter().any(|entry| matches(entry, &item.jid))
                && !self.blocked.blocks(&item.jid);
            if freed_now
                && item.subscription.sees_contact()
                && self
                    .sessions
                    .iter()
                    .any(|session| session.presence.is_some())
            {
                desk.route(
                    None,
                    stanzas::presence(PresenceType::Probe, &self.jid, &item.jid),
                );
            }
        }
        self.push_blocking(desk, "unblock", &jids);
        stanza.iq_result(None)
    }

    /// Contacts and entities with directed presence that see the user and match an entry.
    fn watchers_in(&self, entries: &[Jid]) -> Vec<Jid> {
        let contacts = self
            .roster
            .iter()
            .filter(|item| item.subscription.seen_by_contact())
            .map(|item| &*item.jid);
        let directed = self
            .sessions
            .iter()
            .flat_map(|session| session.directed.iter());
        let mut watchers: Vec<Jid> = contacts
            .chain(directed)
            .filter(|watcher| entries.iter().any(|entry| matches(entry, watcher)))
            .cloned()
            .collect();
        watchers.sort();
        watchers.dedup();
        watchers
    }

    fn push_blocking(&self, desk: &mut Desk, name: &'static str, jids: &[Jid]) {
        let id = format!("{name}-{}", desk.delivery_id().0);
        for session in self
            .sessions
            .iter()
            .filter(|session| session.blocklist_interested)
        {
            let payload = Element::new(ns::BLOCKING, name).children(items(jids.iter()));
            desk.tell(
                &session.key,
                stanzas::push(&session.full, id.clone(), payload),
            );
        }
    }
}

fn items<'a>(jids: impl Iterator<Item = &'a Jid>) -> impl Iterator<Item = Element> {
    jids.map(|jid| Element::new(ns::BLOCKING, "item").attr("jid", jid.as_str().to_owned()))
}

fn read_items(stanza: &Stanza) -> Result<Vec<Jid>, StanzaCondition> {
    let iq = stanza.to_element();
    let command = iq.first_child().ok_or(StanzaCondition::BadRequest)?;
    command
        .elements()
        .filter(|child| child.is(ns::BLOCKING, "item"))
        .map(|item| {
            let jid = item.get_attr("jid").ok_or(StanzaCondition::BadRequest)?;
            Jid::new(jid).map_err(|_| StanzaCondition::JidMalformed)
        })
        .collect()
}
