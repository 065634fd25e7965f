//! Stanzas that the gateway makes by itself.

use entente_xmpp_core::error::{StanzaCondition, StanzaError};
use entente_xmpp_core::jid::BareJid;
use entente_xmpp_core::stanza::{PresenceType, Stanza};

use super::ledger::Ledger;
use crate::stanzas::presence_of_type;

/// Presence without children from a SIP user to a local one.
pub(super) fn presence(from: &BareJid, to: &BareJid, kind: PresenceType) -> Stanza {
    presence_of_type(from.as_jid(), to.as_jid(), kind)
}

/// An error back to the user, if the stanza may be answered by one.
pub(super) fn refuse(ledger: &mut Ledger, stanza: &Stanza, condition: StanzaCondition) {
    if let Some(reply) = stanza.error_reply(&StanzaError::new(condition), false) {
        ledger.tell(reply);
    }
}
