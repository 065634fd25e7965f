//! Remote people whom a local user watches (requirements P5, P6, H7): one subscription for each local
//! watcher.

use std::sync::Arc;
use std::time::Instant;

use entente_sip_core::message::Message;
use entente_sip_core::status::Status;
use entente_sip_core::subscription::subscriber::{
    Input, Output, Pair, RefusedBy, Standing, StoredSubscriber, Subscriber, SubscriberConfig,
};
use entente_sip_core::usage::RequestId;
use entente_xmpp_core::element::Element;
use entente_xmpp_core::ns;
use entente_xmpp_core::stanza::Stanza;

use super::contract::StanzaId;
use super::ledger::Ledger;
use super::line::{Item, Line};
use crate::address::AddressError;
use crate::pidf;
use crate::presence::{ClientKind, Presence, children, read};

/// The resource under which a SIP user's presence is shown: its server tells of no devices.
pub(super) const RESOURCE: &str = "sip";

/// One remote person in a local user's contact list.
#[derive(Debug)]
pub(super) struct Contact {
    pub(super) line: Line,
    subscriber: Subscriber,
    /// What the user sees of the person now.
    seen: Presence,
    /// The user was told that the subscription is granted.
    granted: bool,
    over: bool,
}

impl Contact {
    /// Subscribes.
    ///
    /// # Errors
    /// [`AddressError`] if one of the two has no SIP address.
    pub(super) fn start(
        ledger: &mut Ledger,
        line: Line,
        config: Arc<SubscriberConfig>,
        asked: Option<StanzaId>,
    ) -> Result<Self, AddressError> {
        let rules = &line.peer.rules;
        let pair = Pair {
            local: format!("<{}>", rules.local_to_wire(&line.user)?).into(),
            remote: rules.remote_to_wire(&line.person)?.to_string().into(),
            owner: (ledger.settings.owner)(&line.user),
        };
        let seed = ledger.seed();
        let subscriber = Subscriber::start(ledger.now(), config, pair, seed);
        let mut contact = Self {
            line,
            subscriber,
            seen: Presence::offline(),
            granted: false,
            over: false,
        };
        // The wish itself is what must not be lost; the dialog follows.
        contact.persist(ledger);
        contact.line.push(ledger, Item::Taken(asked));
        contact.drain(ledger);
        Ok(contact)
    }

    /// A record of the store: the peer is asked for the whole state at once.
    pub(super) fn wake(
        ledger: &mut Ledger,
        line: Line,
        config: Arc<SubscriberConfig>,
        stored: StoredSubscriber,
    ) -> Self {
        let seed = ledger.seed();
        let mut subscriber = stored.wake(ledger.moment, config, seed);
        subscriber.take_over(ledger.now());
        let granted = subscriber.standing() == Standing::Active;
        let mut contact = Self {
            line: line.recorded(),
            subscriber,
            seen: Presence::offline(),
            granted,
            over: false,
        };
        if let Some(document) = contact.subscriber.document().cloned() {
            contact.document(ledger, &document.content_type, &document.body);
        }
        contact.drain(ledger);
        contact
    }

    /// Our tag of the dialog, if there is one.
    pub(super) fn tag(&self) -> Option<&str> {
        self.subscriber.local_tag()
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.subscriber.poll_timeout()
    }

    pub(super) fn input(&mut self, ledger: &mut Ledger, input: Input) {
        self.subscriber.handle_input(ledger.now(), input);
        self.drain(ledger);
    }

    /// NOTIFY or BENOTIFY in the dialog.
    pub(super) fn notify(&mut self, ledger: &mut Ledger, id: Option<RequestId>, request: Message) {
        let request = Box::new(request);
        self.input(ledger, Input::Notify { id, request });
    }

    /// The user's client or home asks what the person is doing.
    pub(super) fn probed(&mut self, ledger: &mut Ledger) {
        if self.granted {
            let stanza = self.shown();
            self.line.push(ledger, Item::Tell(stanza));
        }
    }

    pub(super) fn timeout(&mut self, ledger: &mut Ledger) {
        let now = ledger.now();
        if self.poll_timeout().is_some_and(|at| at <= now) {
            self.input(ledger, Input::Timeout);
        }
    }

    fn persist(&mut self, ledger: &mut Ledger) {
        let record = self.subscriber.encode(ledger.moment);
        self.line.push(ledger, Item::Persist(record));
    }

    fn drain(&mut self, ledger: &mut Ledger) {
        while let Some(output) = self.subscriber.poll_output() {
            match output {
                Output::Persist => self.persist(ledger),
                Output::Send { id, request } => self.line.push(ledger, Item::Send(id, request)),
                Output::Respond { id, reply } => self.line.push(ledger, Item::Respond(id, reply)),
                Output::Standing(standing) => self.stands(ledger, standing),
                Output::Document(document) => {
                    self.document(ledger, &document.content_type, &document.body);
                }
                Output::Refused { by, final_ } => self.refused(ledger, by, final_),
                Output::Ended => self.over = true,
            }
        }
    }

    fn stands(&mut self, ledger: &mut Ledger, standing: Standing) {
        if standing == Standing::Active && !self.granted {
            self.granted = true;
            let stanza = self.presence("subscribed", Vec::new());
            self.line.push(ledger, Item::Tell(stanza));
        }
        // Unknown: what was seen stays until the peer says otherwise or for good that it won't; a
        // server that restarts must not make everybody blink.
    }

    fn document(&mut self, ledger: &mut Ledger, content_type: &str, body: &[u8]) {
        // What can't be read says nothing about the person: what was seen before stays.
        let Ok(document) = pidf::read(content_type, body) else {
            return;
        };
        self.stands(ledger, self.subscriber.standing());
        let remote = document.presence();
        self.seen = read(&remote, self.line.peer.system, ClientKind::Rich);
        let stanza = self.shown();
        self.line.push(ledger, Item::Tell(stanza));
    }

    fn refused(&mut self, ledger: &mut Ledger, by: RefusedBy, final_: bool) {
        if !final_ {
            return;
        }
        self.seen = Presence::offline();
        if self.granted {
            let stanza = self.shown();
            self.line.push(ledger, Item::Tell(stanza));
        }
        let denied = match by {
            RefusedBy::Rejected | RefusedBy::NoResource => true,
            RefusedBy::Invariant => false,
            RefusedBy::Status(status) => {
                status == Status::FORBIDDEN
                    || status == Status::NOT_FOUND
                    || status == Status::DECLINE
                    || status == Status::DOES_NOT_EXIST_ANYWHERE
            }
        };
        if denied {
            self.granted = false;
            let stanza = self.presence("unsubscribed", Vec::new());
            self.line.push(ledger, Item::Tell(stanza));
        }
    }

    /// What the user sees of the person. Clients that know more than `<show/>` find the exact status in
    /// a child of its own, so that one stanza serves both kinds (requirements M1, M2).
    fn shown(&self) -> Stanza {
        let type_ = if self.seen.availability.is_open() {
            ""
        } else {
            "unavailable"
        };
        self.presence(type_, children(&self.seen, ClientKind::Rich))
    }

    fn presence(&self, type_: &str, children: Vec<Element>) -> Stanza {
        let about_devices = matches!(type_, "" | "unavailable");
        let from = if about_devices {
            format!("{}/{RESOURCE}", self.line.person)
        } else {
            self.line.person.to_string()
        };
        let mut element = Element::new(ns::CLIENT, "presence")
            .attr("from", from)
            .attr("to", self.line.user.to_string());
        if !type_.is_empty() {
            element.set_attr("type", type_.to_owned());
        }
        element
            .children(children)
            .to_stanza()
            .expect("presence of checked addresses is a stanza")
    }
}
