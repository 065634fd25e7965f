//! What activities mean (RFC 4480 section 3.2, and names seen besides).

use crate::presence::Availability;

/// Each name, the status that it stands for (none: it says nothing of availability), and the words for
/// what the status does not say.
const ACTIVITIES: [(&str, Option<Availability>, Option<&str>); 39] = {
    use Availability as A;
    [
        ("appointment", Some(A::InAMeeting), Some("Appointment")),
        ("away", Some(A::Away), None),
        ("breakfast", Some(A::Away), Some("Breakfast")),
        ("busy", Some(A::Busy), None),
        ("dinner", Some(A::Away), Some("Dinner")),
        ("holiday", Some(A::ExtendedAway), Some("Holiday")),
        ("in-transit", Some(A::Away), Some("In transit")),
        ("looking-for-work", None, Some("Looking for work")),
        ("lunch", Some(A::Away), Some("Lunch")),
        ("meal", Some(A::Away), Some("Meal")),
        ("meeting", Some(A::InAMeeting), None),
        ("on-the-phone", Some(A::Busy), Some("On the phone")),
        ("other", None, None),
        ("performance", Some(A::Busy), Some("Performance")),
        (
            "permanent-absence",
            Some(A::ExtendedAway),
            Some("Absent for good"),
        ),
        ("playing", None, Some("Playing")),
        ("presentation", Some(A::Busy), Some("Presentation")),
        ("shopping", Some(A::Away), Some("Shopping")),
        ("sleeping", Some(A::ExtendedAway), Some("Sleeping")),
        ("spectator", Some(A::Busy), Some("Watching an event")),
        ("steering", Some(A::Busy), Some("Driving")),
        ("travel", Some(A::Away), Some("Travelling")),
        ("tv", None, Some("Watching TV")),
        ("unknown", None, None),
        ("vacation", Some(A::ExtendedAway), Some("Vacation")),
        ("working", None, Some("Working")),
        ("worship", Some(A::Busy), Some("Worship")),
        // Beyond RFC 4480.
        ("available", Some(A::Available), None),
        ("online", Some(A::Available), None),
        ("idle", Some(A::Idle), None),
        ("be-right-back", Some(A::BeRightBack), None),
        ("berightback", Some(A::BeRightBack), None),
        ("dnd", Some(A::DoNotDisturb), None),
        ("do-not-disturb", Some(A::DoNotDisturb), None),
        ("donotdisturb", Some(A::DoNotDisturb), None),
        ("out-to-lunch", Some(A::Away), Some("Out to lunch")),
        ("outtolunch", Some(A::Away), Some("Out to lunch")),
        ("onthephone", Some(A::Busy), Some("On the phone")),
        ("invisible", Some(A::Invisible), None),
    ]
};

/// One thing that somebody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Activity {
    pub(super) availability: Option<Availability>,
    pub(super) words: Option<&'static str>,
}

impl Activity {
    /// The activity of that name, in any case; unknown ones mean nothing.
    pub(super) fn named(name: &str) -> Option<Self> {
        let name = name.trim();
        ACTIVITIES
            .iter()
            .find(|(listed, ..)| listed.eq_ignore_ascii_case(name))
            .map(|&(_, availability, words)| Self {
                availability,
                words,
            })
    }
}
