//! What one user's dialogs with one peer have in common: made once, shared by all of them.

use std::sync::Arc;

use entente_sip_core::session::SessionConfig;
use entente_sip_core::subscription::notifier::NotifierConfig;
use entente_sip_core::subscription::subscriber::SubscriberConfig;
use entente_xmpp_core::jid::BareJid;

use super::ledger::Ledger;
use super::settings::Peer;

/// See the module. Each is made when the first dialog of its kind needs it: of a hundred thousand users
/// most have watchers only.
#[derive(Debug)]
pub(super) struct Terms {
    user: BareJid,
    peer: Arc<Peer>,
    contact: Box<str>,
    notifier: Option<Arc<NotifierConfig>>,
    subscriber: Option<Arc<SubscriberConfig>>,
    session: Option<Arc<SessionConfig>>,
}

impl Terms {
    fn new(ledger: &Ledger, user: &BareJid, peer: &Arc<Peer>) -> Self {
        Self {
            user: user.clone(),
            peer: Arc::clone(peer),
            contact: ledger.contact(user, peer),
            notifier: None,
            subscriber: None,
            session: None,
        }
    }

    pub(super) fn notifier(&mut self) -> Arc<NotifierConfig> {
        let config = self.notifier.get_or_insert_with(|| {
            let profile = &self.peer.profile;
            Arc::new(NotifierConfig::of(profile, &self.contact))
        });
        Arc::clone(config)
    }

    pub(super) fn subscriber(&mut self, ledger: &Ledger) -> Arc<SubscriberConfig> {
        let config = self.subscriber.get_or_insert_with(|| {
            let key = ledger.settings.key.clone();
            let profile = &self.peer.profile;
            let host = self.user.domain();
            Arc::new(SubscriberConfig::of(profile, &self.contact, host, key))
        });
        Arc::clone(config)
    }

    pub(super) fn session(&mut self, ledger: &Ledger) -> Arc<SessionConfig> {
        let config = self.session.get_or_insert_with(|| {
            Arc::new(SessionConfig {
                contact: self.contact.clone(),
                host: self.user.domain().into(),
                key: ledger.settings.key.clone(),
                profile: self.peer.profile.clone(),
            })
        });
        Arc::clone(config)
    }
}

/// The terms of one user with the peers that it has dialogs with.
#[derive(Debug, Default)]
pub(super) struct AllTerms(Vec<Terms>);

impl AllTerms {
    pub(super) fn with(&mut self, ledger: &Ledger, user: &BareJid, peer: &Arc<Peer>) -> &mut Terms {
        let known = |terms: &Terms| Arc::ptr_eq(&terms.peer, peer);
        let at = match self.0.iter().position(known) {
            Some(at) => at,
            None => {
                // Of the configuration before this one: its dialogs have theirs, new ones get others.
                let peers = &ledger.settings.peers;
                self.0.retain(|terms| {
                    peers
                        .get(&terms.peer.name)
                        .is_some_and(|current| Arc::ptr_eq(current, &terms.peer))
                });
                self.0.reserve_exact(1);
                self.0.push(Terms::new(ledger, user, peer));
                self.0.len() - 1
            }
        };
        &mut self.0[at]
    }
}
