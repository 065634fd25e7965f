//! What a user's dialogs are for, and what all kinds of them have in common.

use std::time::Instant;

use entente_sip_core::subscription::notifier::Input as NotifierInput;
use entente_sip_core::subscription::subscriber::Input as SubscriberInput;
use entente_sip_core::usage::{Outcome, SendId};

use crate::gateway::chats::Chat;
use crate::gateway::contacts::Contact;
use crate::gateway::ledger::Ledger;
use crate::gateway::line::Line;
use crate::gateway::watching::{Audience, Watch};

/// One user of dialogs (RFC 5057 calls it a usage).
#[derive(Debug)]
pub(super) enum DialogUser {
    Watch(Box<Watch>),
    Contact(Box<Contact>),
    Chat(Box<Chat>),
}

impl DialogUser {
    pub(super) fn line(&mut self) -> &mut Line {
        match self {
            Self::Watch(watch) => &mut watch.line,
            Self::Contact(contact) => &mut contact.line,
            Self::Chat(chat) => &mut chat.line,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Watch(watch) => watch.is_over(),
            Self::Contact(contact) => contact.is_over(),
            Self::Chat(chat) => chat.is_over(),
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Watch(watch) => watch.poll_timeout(),
            Self::Contact(contact) => contact.poll_timeout(),
            Self::Chat(chat) => chat.poll_timeout(),
        }
    }

    /// Our tags of its dialogs.
    pub(super) fn tags(&self) -> Vec<&str> {
        match self {
            Self::Watch(watch) => watch.tag().into_iter().collect(),
            Self::Contact(contact) => contact.tag().into_iter().collect(),
            Self::Chat(chat) => chat.tags().collect(),
        }
    }

    /// What became of a request.
    pub(super) fn outcome(&mut self, ledger: &mut Ledger, id: SendId, outcome: Outcome) {
        match self {
            Self::Watch(watch) => watch.notifier(ledger, NotifierInput::Answer { id, outcome }),
            Self::Contact(contact) => {
                contact.input(ledger, SubscriberInput::Answer { id, outcome });
            }
            Self::Chat(chat) => chat.answer(ledger, id, outcome),
        }
    }

    pub(super) fn timeout(&mut self, ledger: &mut Ledger, audience: &Audience) {
        match self {
            Self::Watch(watch) => watch.timeout(ledger, audience),
            Self::Contact(contact) => contact.timeout(ledger),
            Self::Chat(chat) => chat.timeout(ledger),
        }
    }
}
