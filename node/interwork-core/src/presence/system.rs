//! What each system makes of a status: the twelve tables, and the nearest status where they have no
//! row.

use super::{Availability, ClientKind, Presence, with_words, words};

/// Whose clients the other side uses. Decided by the peer's profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerSystem {
    /// Microsoft Office Communicator (tables 1 to 3).
    OfficeCommunicator,
    /// Microsoft Lync and Skype for Business, in house or as a service (tables 4 to 6).
    Lync,
    /// AOL Instant Messenger (tables 7 and 8).
    Aim,
    /// IBM Sametime (tables 9, 11 and 12).
    Sametime,
    /// WebEx Connect (tables 10, 11 and 12).
    Webex,
    /// Rich clients of a federated XMPP domain (tables 11 and 12).
    RichXmpp,
    /// Other clients of a federated XMPP domain (tables 11 and 12).
    Xmpp,
    /// An RFC-conforming SIMPLE server, whose clients show whatever the document says.
    Simple,
}

/// What the users of a peer system see of a local user.
#[must_use]
pub fn render(local: &Presence, system: PeerSystem) -> Presence {
    shown(local, seen_by(system, local.availability))
}

/// What a local client shows of a peer's user.
#[must_use]
pub fn read(remote: &Presence, system: PeerSystem, client: ClientKind) -> Presence {
    let mut seen = shown(remote, seen_from(system, client, remote.availability));
    // Table 9: what Sametime's users write is shown by rich clients only, and of those who are there.
    // The other tables do not speak of status texts: they go along.
    if system == PeerSystem::Sametime
        && (client == ClientKind::Xmpp || !seen.availability.is_open())
    {
        seen.set_text(None);
    }
    seen
}

/// The presence with another status; the words go along if the status changes (requirement M2).
fn shown(presence: &Presence, availability: Availability) -> Presence {
    let mut seen = presence.clone();
    seen.availability = availability;
    if !availability.is_open() {
        // Somebody who is not to be seen must look like nobody.
        if presence.availability != availability {
            seen.set_text(None);
        }
        seen.idle_since = None;
    } else if words(presence.availability) != words(availability) {
        let text = with_words(presence.availability, presence.text());
        seen.set_text(text.as_deref());
    }
    seen
}

/// Tables 2, 3, 5, 6, 8, 11 and 12.
fn seen_by(system: PeerSystem, status: Availability) -> Availability {
    use Availability as A;
    match (system, status) {
        (_, A::Invisible | A::Offline) => A::Offline,
        (_, A::Available) => A::Available,

        (
            PeerSystem::OfficeCommunicator | PeerSystem::Lync,
            A::Busy | A::DoNotDisturb | A::InAMeeting,
        ) => A::Busy,
        (PeerSystem::OfficeCommunicator | PeerSystem::Lync | PeerSystem::Aim, _) => A::Away,
        (PeerSystem::Simple, status) => status,

        (_, A::DoNotDisturb) => A::DoNotDisturb,
        (_, A::InAMeeting) => A::InAMeeting,
        (_, A::Idle) => A::Idle,
        (_, A::Away | A::BeRightBack) => A::Away,

        (PeerSystem::RichXmpp, A::Busy) => A::Busy,
        (PeerSystem::Webex, A::Busy) => A::Idle,
        (PeerSystem::Xmpp | PeerSystem::Sametime, A::Busy) => A::Away,

        (PeerSystem::RichXmpp | PeerSystem::Sametime, A::ExtendedAway) => A::Away,
        (PeerSystem::Xmpp | PeerSystem::Webex, A::ExtendedAway) => A::ExtendedAway,

        (PeerSystem::RichXmpp, A::AwayIdle) => A::Idle,
        (PeerSystem::Xmpp | PeerSystem::Webex | PeerSystem::Sametime, A::AwayIdle) => A::AwayIdle,
    }
}

/// Tables 1, 4, 7, 9 and 10; for others what tables 11 and 12 say of a client of that kind.
fn seen_from(system: PeerSystem, client: ClientKind, status: Availability) -> Availability {
    use Availability as A;
    use ClientKind::{Rich, Xmpp};
    match (system, client, status) {
        (_, _, A::Invisible | A::Offline) => A::Offline,
        (_, _, A::Available) => A::Available,

        (
            PeerSystem::OfficeCommunicator | PeerSystem::Lync,
            Rich,
            A::Busy | A::DoNotDisturb | A::InAMeeting,
        ) => A::Busy,
        (PeerSystem::OfficeCommunicator | PeerSystem::Lync | PeerSystem::Aim, _, _) => A::Away,

        // Shown by the rich client as available with the status text.
        (PeerSystem::Sametime, Rich, A::InAMeeting) => A::Available,

        (_, Rich, status) => seen_by(PeerSystem::RichXmpp, status),
        (_, Xmpp, status) => seen_by(PeerSystem::Xmpp, status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_along_where_the_status_cannot() {
        let busy = Presence::new(Availability::Busy).with_text("until five");
        let seen = read(&busy, PeerSystem::Lync, ClientKind::Xmpp);
        assert_eq!(seen.availability, Availability::Away);
        assert_eq!(seen.text(), Some("Busy: until five"));
        let seen = read(&busy, PeerSystem::Lync, ClientKind::Rich);
        assert_eq!(seen.text(), Some("until five"));

        let dnd = Presence::new(Availability::DoNotDisturb);
        let seen = render(&dnd, PeerSystem::OfficeCommunicator);
        assert_eq!(seen.availability, Availability::Busy);
        assert_eq!(seen.text(), Some("Do not disturb"));
    }

    #[test]
    fn who_is_not_to_be_seen_looks_like_nobody() {
        let invisible = Presence::new(Availability::Invisible).with_text("hiding");
        for system in [PeerSystem::Lync, PeerSystem::Simple, PeerSystem::Xmpp] {
            assert_eq!(render(&invisible, system), Presence::offline());
        }
        let gone = Presence::offline().with_text("back tomorrow");
        assert_eq!(render(&gone, PeerSystem::Simple), gone);
    }

    #[test]
    fn peers_get_no_status_that_they_do_not_have() {
        use Availability::{Available, Away, Busy, Offline};
        for status in Availability::ALL {
            for system in [PeerSystem::OfficeCommunicator, PeerSystem::Lync] {
                assert!(matches!(
                    seen_by(system, status),
                    Available | Busy | Away | Offline
                ));
            }
            let aim = seen_by(PeerSystem::Aim, status);
            assert!(matches!(aim, Available | Away | Offline));
        }
    }
}
