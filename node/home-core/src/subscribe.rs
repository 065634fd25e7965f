//! Subscription stanzas out and in: RFC 6121 section 3, by the tables of appendix A.

use entente_xmpp_core::element::Element;
use entente_xmpp_core::jid::{BareJid, Jid};
use entente_xmpp_core::ns;
use entente_xmpp_core::stanza::PresenceType;
use entente_xmpp_core::stanza::Stanza;

use crate::contract::{EnvelopeId, PendingIn, SessionKey, Write};
use crate::desk::Desk;
use crate::roster::RosterItem;
use crate::stanzas;
use crate::subscription::{Request, State, inbound, outbound};
use crate::user::User;

impl User {
    fn state_with(&self, contact: &BareJid) -> (State, bool) {
        let item = self.roster.get(contact.as_str());
        let asked = self
            .pending_in
            .iter()
            .any(|pending| pending.from == *contact);
        let state = item.map_or(State::new(Default::default(), false, asked), |item| {
            State::new(item.subscription, item.ask, asked)
        });
        (state, item.is_some_and(|item| item.approved))
    }

    /// Makes the roster and the waiting requests agree with a state; pushes what changed.
    fn settle(
        &mut self,
        desk: &mut Desk,
        contact: &BareJid,
        state: State,
        approved: bool,
        create: bool,
    ) {
        if !state.pending_in() {
            self.forget_request(contact);
        }
        let old = self.roster.get(contact.as_str()).cloned();
        if old.is_none() && !create {
            return;
        }
        let mut item = old
            .clone()
            .unwrap_or_else(|| RosterItem::new(contact.clone()));
        item.subscription = state.subscription();
        item.ask = state.pending_out();
        item.approved = approved;
        if old.as_ref() != Some(&item) {
            self.put_roster_item(desk, item);
        }
    }

    /// Puts an item, writes it and pushes it.
    pub(crate) fn put_roster_item(&mut self, desk: &mut Desk, item: RosterItem) {
        let element = stanzas::roster_item(&item);
        let version = self.roster.put(item.clone());
        self.writes.push(Write::PutRosterEntry {
            user: self.jid.clone(),
            entry: item,
            version,
        });
        self.push_roster(desk, element, version);
    }

    /// Section 2.1.6: a push to every interested session.
    pub(crate) fn push_roster(&self, desk: &mut Desk, item: Element, version: u64) {
        let query = Element::new(ns::ROSTER, "query")
            .attr("ver", version.to_string())
            .child(item);
        for session in self
            .sessions
            .iter()
            .filter(|session| session.roster_interested)
        {
            let id = format!("push-{version}");
            desk.tell(
                &session.key,
                stanzas::push(&session.full, id, query.clone()),
            );
        }
    }

    pub(crate) fn forget_request(&mut self, contact: &BareJid) {
        let before = self.pending_in.len();
        self.pending_in.retain(|pending| pending.from != *contact);
        if self.pending_in.len() < before {
            self.writes.push(Write::RemovePendingIn {
                user: self.jid.clone(),
                from: contact.clone(),
            });
        }
    }

    /// A client sends a subscription stanza.
    pub(crate) fn subscription_out(
        &mut self,
        desk: &mut Desk,
        key: &SessionKey,
        envelope: EnvelopeId,
        request: Request,
        to: &Jid,
        stanza: &Stanza,
    ) {
        let contact = to.to_bare();
        if contact == self.jid {
            return desk.receipt(Some(envelope));
        }
        let (state, approved) = self.state_with(&contact);
        let cell = outbound(state, request);
        let creates = self.roster.get(contact.as_str()).is_none()
            && (request == Request::Subscribe || request == Request::Subscribed);
        if creates && self.roster.len() >= desk.config.limits.roster_entries {
            if let Some(error) = stanzas::refused(
                stanza,
                entente_xmpp_core::error::StanzaCondition::ResourceConstraint,
            ) {
                desk.tell(key, error);
            }
            return desk.receipt(Some(envelope));
        }
        let approved = cell.approved.unwrap_or(approved);
        self.undo.envelope = Some(envelope.clone());
        let hides =
            state.subscription().seen_by_contact() && !cell.state.subscription().seen_by_contact();
        if hides {
            // Before the word itself, so that the contact's server still takes it.
            self.hide_from(desk, &contact);
        }
        if cell.route {
            // Section 3.1.2: from and to are bare.
            desk.route(
                Some(envelope),
                stanza.restamped(Some(&self.jid), Some(&contact)),
            );
        } else {
            desk.receipt(Some(envelope));
        }
        self.settle(desk, &contact, cell.state, approved, creates);
        if !state.subscription().seen_by_contact() && cell.state.subscription().seen_by_contact() {
            self.show_to(desk, &contact);
        }
    }

    /// A contact's subscription stanza came.
    pub(crate) fn subscription_in(
        &mut self,
        desk: &mut Desk,
        envelope: &Option<EnvelopeId>,
        request: Request,
        from: &Jid,
        stanza: &Stanza,
    ) {
        let contact = from.to_bare();
        if contact == self.jid {
            return;
        }
        let (state, approved) = self.state_with(&contact);
        let cell = inbound(state, request, approved);
        let asks = cell.state.pending_in() && !state.pending_in();
        if asks && self.pending_in.len() >= desk.config.limits.pending_in {
            return;
        }
        self.undo.envelope.clone_from(envelope);
        let stanza = stanza.restamped(Some(&contact), Some(&self.jid));
        if cell.deliver {
            // Section 3.1.3: requests go to available sessions; the rest to interested ones.
            for session in &self.sessions {
                let hears = match request {
                    Request::Subscribe => session.presence.is_some(),
                    _ => session.roster_interested,
                };
                if hears {
                    desk.tell(&session.key, stanza.clone());
                }
            }
        }
        if asks {
            self.writes.push(Write::PutPendingIn {
                user: self.jid.clone(),
                from: contact.clone(),
                stanza: stanza.clone(),
            });
            self.pending_in.push(PendingIn {
                from: contact.clone(),
                stanza,
            });
        }
        let used_approval = approved && cell.answer_subscribed;
        // An unsubscribed contact that is in no roster must not get in by this.
        self.settle(
            desk,
            &contact,
            cell.state,
            approved && !used_approval,
            false,
        );
        if cell.answer_subscribed {
            desk.route(
                None,
                stanzas::presence(PresenceType::Subscribed, &self.jid, &contact),
            );
        }
        match (
            state.subscription().seen_by_contact(),
            cell.state.subscription().seen_by_contact(),
        ) {
            (false, true) => self.show_to(desk, &contact),
            (true, false) => self.hide_from(desk, &contact),
            _ => {}
        }
    }
}
