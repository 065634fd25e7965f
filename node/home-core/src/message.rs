//! Messages: RFC 6121 sections 5 and 8.5, XEP-0160, XEP-0280.

use entente_xmpp_core::jid::Jid;
use entente_xmpp_core::stanza::Stanza;
use entente_xmpp_core::stanza::{MessageType, Payload};

use crate::contract::{EnvelopeId, SessionKey};
use crate::desk::Desk;
use crate::mailbox::{OnLoss, Targets};
use crate::repeats::Met;
use crate::seen::{Role, Seen};
use crate::stanzas::{self, CarbonKind};
use crate::user::User;

/// How a message is addressed to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Addressed {
    /// To the bare JID.
    Bare,
    /// To the full JID of a connected session.
    FullMatch,
    /// To a full JID that no session has.
    FullNoMatch,
}

/// What becomes of a message to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// To the session that it names.
    ThatSession,
    /// To all available sessions with a priority that is not negative.
    AllNonNegative,
    /// To the offline store if it is worth keeping.
    Offline,
    /// `service-unavailable` to the sender.
    Refuse,
    /// Nowhere.
    Ignore,
}

/// Table 1 of RFC 6121 section 8.5.4 for accounts that exist. `non_negative`: there is an available
/// session with a priority of 0 or more. Where the RFC leaves a choice: all such sessions rather
/// than the 'most available' one, the store before an error, an error before silence (except for
/// headlines), so that senders know.
pub fn verdict(type_: MessageType, addressed: Addressed, non_negative: bool) -> Verdict {
    use Addressed::{Bare, FullMatch, FullNoMatch};
    use MessageType::{Chat, Error, Groupchat, Headline, Normal};
    match (addressed, type_) {
        (FullMatch, _) => Verdict::ThatSession,
        (Bare, Normal | Chat) | (FullNoMatch, Chat) if non_negative => Verdict::AllNonNegative,
        (Bare, Normal | Chat) | (FullNoMatch, Chat) => Verdict::Offline,
        (Bare, Headline) if non_negative => Verdict::AllNonNegative,
        (Bare | FullNoMatch, Headline | Error) => Verdict::Ignore,
        (Bare | FullNoMatch, Groupchat) | (FullNoMatch, Normal) => Verdict::Refuse,
    }
}

impl User {
    /// A client of this user sends a message to somebody.
    pub(crate) fn message_out(
        &mut self,
        desk: &mut Desk,
        key: &SessionKey,
        envelope: EnvelopeId,
        to: &Jid,
        stanza: Stanza,
    ) {
        let to_self = to.bare_str() == self.jid.as_str();
        if !to_self
            && self
                .sessions
                .iter()
                .any(|session| session.carbons && session.key != *key)
            && stanzas::wants_carbons(&stanza)
            && desk.seen.meet(&envelope, Role::Sender).is_none()
        {
            self.copy(desk, &stanza, CarbonKind::Sent, std::slice::from_ref(key));
        }
        if to_self {
            let to = to.clone();
            return self.message_in(desk, Some(envelope), &to, stanza);
        }
        desk.route(Some(envelope), stanza);
    }

    /// A message for this user.
    pub(crate) fn message_in(
        &mut self,
        desk: &mut Desk,
        envelope: Option<EnvelopeId>,
        to: &Jid,
        stanza: Stanza,
    ) {
        if let Some(envelope) = &envelope {
            if !desk.seen.in_turn(envelope) {
                return desk.retry(Some(envelope.clone()));
            }
            match desk.seen.meet(envelope, Role::Recipient) {
                Some(Seen::Done) => return desk.receipt(Some(envelope.clone())),
                Some(Seen::Pending) => return,
                None => {}
            }
            if let Some(print) = desk.repeats.fingerprint(&stanza) {
                match desk.repeats.meet(desk.wall_ms, print, envelope) {
                    Met::New => {}
                    Met::Over => return desk.receipt(Some(envelope.clone())),
                    Met::Joined => return,
                    Met::TooMany => return desk.retry(Some(envelope.clone())),
                }
            }
        }
        let type_ = stanza.message_type().unwrap_or(MessageType::Normal);
        let named = to
            .is_full()
            .then(|| self.sessions.iter().find(|session| session.full == *to))
            .flatten();
        let addressed = match named {
            Some(_) => Addressed::FullMatch,
            None if to.is_full() => Addressed::FullNoMatch,
            None => Addressed::Bare,
        };
        let non_negative = self.sessions.iter().any(|session| session.takes_messages());
        let targets: Targets = match verdict(type_, addressed, non_negative) {
            Verdict::ThatSession => named
                .map(|session| session.key.clone())
                .into_iter()
                .collect(),
            Verdict::AllNonNegative => {
                let takers = self
                    .sessions
                    .iter()
                    .filter(|session| session.takes_messages());
                takers.map(|session| session.key.clone()).collect()
            }
            Verdict::Offline => {
                self.carbons_received(desk, &stanza, &[]);
                return self.store_away(desk, envelope, stanza);
            }
            Verdict::Refuse => {
                if let Some(error) = stanzas::undeliverable(&stanza) {
                    desk.route(None, error);
                }
                return desk.receipt(envelope);
            }
            Verdict::Ignore => return desk.receipt(envelope),
        };
        self.carbons_received(desk, &stanza, &targets);
        let on_loss = match type_ {
            MessageType::Chat | MessageType::Normal if stanzas::is_storable(&stanza) => {
                OnLoss::Store
            }
            MessageType::Chat | MessageType::Normal if stanza.payload(Payload::Body) => {
                OnLoss::Bounce
            }
            MessageType::Groupchat => OnLoss::Bounce,
            _ => OnLoss::Drop,
        };
        self.mailbox
            .send(desk, &self.jid, envelope, stanza, targets, on_loss);
    }

    /// Section 8.5.2.2.1: nobody is there.
    fn store_away(&mut self, desk: &mut Desk, envelope: Option<EnvelopeId>, stanza: Stanza) {
        if stanzas::is_storable(&stanza) {
            if self.mailbox.stored() >= desk.config.limits.offline_messages {
                if let Some(error) = stanzas::undeliverable(&stanza) {
                    desk.route(None, error);
                }
                return desk.receipt(envelope);
            }
            return self.mailbox.keep(desk, &self.jid, envelope, stanza);
        }
        if stanza.payload(Payload::Body)
            && let Some(error) = stanzas::undeliverable(&stanza)
        {
            desk.route(None, error);
        }
        desk.receipt(envelope);
    }

    /// Carbons of a message that this user gets, to the sessions that do not get it themselves.
    fn carbons_received(&self, desk: &mut Desk, stanza: &Stanza, targets: &[SessionKey]) {
        let from_self = stanza
            .from()
            .is_some_and(|from| from.bare_str() == self.jid.as_str());
        let copied =
            |session: &&crate::session::Session| session.carbons && !targets.contains(&session.key);
        if !self.sessions.iter().any(|session| copied(&session)) || !stanzas::wants_carbons(stanza)
        {
            return;
        }
        let mut except: Targets = targets.iter().cloned().collect();
        if from_self {
            // The session that sent it to its own account has it.
            let sender = self
                .sessions
                .iter()
                .find(|session| stanza.from().is_some_and(|from| session.full == *from));
            except.extend(sender.map(|session| session.key.clone()));
        }
        self.copy(desk, stanza, CarbonKind::Received, &except);
    }

    fn copy(&self, desk: &mut Desk, stanza: &Stanza, kind: CarbonKind, except: &[SessionKey]) {
        let Some(carbon) = stanzas::carbon(stanza, kind, &self.jid) else {
            return;
        };
        for session in self
            .sessions
            .iter()
            .filter(|session| session.carbons && !except.contains(&session.key))
        {
            desk.tell(&session.key, carbon.restamped(None, Some(&session.full)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Addressed::*;
    use super::Verdict::*;
    use super::*;

    /// Every cell of table 1 in RFC 6121 section 8.5.4 for accounts that exist; columns are normal,
    /// chat, groupchat, headline, error.
    #[test]
    fn section_8_5_4_table_1() {
        let rows = [
            (Bare, false, [Offline, Offline, Refuse, Ignore, Ignore]),
            (
                FullNoMatch,
                false,
                [Refuse, Offline, Refuse, Ignore, Ignore],
            ),
            (FullMatch, false, [ThatSession; 5]),
            (
                Bare,
                true,
                [
                    AllNonNegative,
                    AllNonNegative,
                    Refuse,
                    AllNonNegative,
                    Ignore,
                ],
            ),
            (
                FullNoMatch,
                true,
                [Refuse, AllNonNegative, Refuse, Ignore, Ignore],
            ),
            (FullMatch, true, [ThatSession; 5]),
        ];
        let types = [
            MessageType::Normal,
            MessageType::Chat,
            MessageType::Groupchat,
            MessageType::Headline,
            MessageType::Error,
        ];
        for (addressed, non_negative, cells) in rows {
            for (type_, cell) in types.into_iter().zip(cells) {
                assert_eq!(
                    verdict(type_, addressed, non_negative),
                    cell,
                    "{type_:?} {addressed:?} {non_negative}"
                );
            }
        }
    }
}
