//! One person, several devices.

use std::cmp::Reverse;

use super::{Availability, Presence};

/// How much a status says about the person, most first. What somebody set by hand says more than what
/// a device noticed, and a device in use says more than one that is not: a person who asked not to be
/// disturbed anywhere means it everywhere, and a person who is active somewhere is not away.
const TELLING: [Availability; 11] = [
    Availability::DoNotDisturb,
    Availability::Busy,
    Availability::InAMeeting,
    Availability::Available,
    Availability::BeRightBack,
    Availability::Idle,
    Availability::AwayIdle,
    Availability::Away,
    Availability::ExtendedAway,
    Availability::Invisible,
    Availability::Offline,
];

fn rank(availability: Availability) -> usize {
    TELLING
        .iter()
        .position(|&listed| listed == availability)
        .unwrap_or(TELLING.len())
}

/// The status that says most about the person.
#[must_use]
pub fn most_telling(statuses: impl IntoIterator<Item = Availability>) -> Option<Availability> {
    statuses.into_iter().min_by_key(|&status| rank(status))
}

/// The person's presence from that of all devices, each with its priority (RFC 6121 section 4.7.2.3):
/// the most telling one, of equals that of the highest priority. Nobody without devices is there.
#[must_use]
pub fn compose(devices: &[(i8, Presence)]) -> Presence {
    devices
        .iter()
        .min_by_key(|(priority, presence)| (rank(presence.availability), Reverse(*priority)))
        .map_or_else(Presence::offline, |(_, presence)| presence.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(priority: i8, availability: Availability, text: &str) -> (i8, Presence) {
        (priority, Presence::new(availability).with_text(text))
    }

    #[test]
    fn every_status_has_its_rank() {
        for availability in Availability::ALL {
            assert!(rank(availability) < TELLING.len(), "{availability:?}");
        }
    }

    #[test]
    fn the_most_telling_device_speaks_for_the_person() {
        use Availability::{Available, Away, DoNotDisturb, Offline};
        assert_eq!(compose(&[]), Presence::offline());
        let composed = compose(&[
            device(10, Away, "desk"),
            device(0, Available, "phone"),
            device(50, Offline, "gone"),
        ]);
        assert_eq!(composed.text(), Some("phone"));
        let composed = compose(&[device(1, Available, "a"), device(-5, DoNotDisturb, "b")]);
        assert_eq!(composed.availability, DoNotDisturb);
    }

    #[test]
    fn priority_decides_between_equals() {
        use Availability::Available;
        let devices = [
            device(1, Available, "one"),
            device(5, Available, "five"),
            device(5, Available, "also five"),
        ];
        assert_eq!(compose(&devices).text(), Some("five"));
    }
}
