//! What the home is asked about watchers who come with their dialogs from another node.
//!
//! Where homes have just moved, the new home may not have heard of the user's sessions yet, and says that
//! the user is offline; what it learns later it tells nobody. So it is asked again, a few times.

use std::time::{Duration, Instant};

use entente_xmpp_core::jid::BareJid;
use entente_xmpp_core::stanza::PresenceType;

use super::Desk;
use crate::gateway::ledger::Ledger;
use crate::gateway::stanzas;

/// The pauses: sessions make themselves known within seconds of the change.
const PAUSES: [Duration; 3] = [
    Duration::from_secs(2),
    Duration::from_secs(3),
    Duration::from_secs(5),
];

/// Watchers were taken over, and the home is asked again about those to whom it showed nobody.
#[derive(Debug)]
pub(super) struct Doubts {
    pub(super) at: Instant,
    /// Which pause is under way.
    pause: usize,
}

impl Desk {
    /// Asks the home what a watcher may see who was taken over.
    pub(super) fn taken_over(&mut self, ledger: &mut Ledger, person: &BareJid, pending: bool) {
        if self.audiences.contains_key(person) {
            return;
        }
        // A probe about one who waits for a decision would be answered as if it were a refusal.
        let question = if pending {
            PresenceType::Subscribe
        } else {
            PresenceType::Probe
        };
        ledger.tell(stanzas::presence(person, &self.user, question));
        let audience = self.audiences.entry(person.clone()).or_default();
        audience.taken_over = !pending;
        self.doubts.get_or_insert(Doubts {
            at: ledger.now() + PAUSES[0],
            pause: 0,
        });
    }

    /// Asks again where the home has shown nobody.
    pub(super) fn ask_in_doubt(&mut self, ledger: &mut Ledger) {
        let now = ledger.now();
        let Some(doubts) = self.doubts.take_if(|doubts| doubts.at <= now) else {
            return;
        };
        let in_doubt = self.audiences.iter();
        let in_doubt = in_doubt.filter(|(_, audience)| audience.is_in_doubt());
        let mut people: Vec<&BareJid> = in_doubt.map(|(person, _)| person).collect();
        // The map's order is not ours to show.
        people.sort_unstable();
        for person in &people {
            ledger.tell(stanzas::presence(person, &self.user, PresenceType::Probe));
        }
        let pause = doubts.pause + 1;
        if let (false, Some(after)) = (people.is_empty(), PAUSES.get(pause)) {
            self.doubts = Some(Doubts {
                at: now + *after,
                pause,
            });
        }
    }
}
