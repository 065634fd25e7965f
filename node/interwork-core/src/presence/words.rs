//! The words for a status that the receiver does not have (requirement M2).

use std::borrow::Cow;

use super::Availability;

/// What a status is called where it has no value of its own. Available, away and offline need no
/// words: every receiver has them.
#[must_use]
pub const fn words(availability: Availability) -> Option<&'static str> {
    Some(match availability {
        Availability::InAMeeting => "In a meeting",
        Availability::Busy => "Busy",
        Availability::DoNotDisturb => "Do not disturb",
        Availability::BeRightBack => "Be right back",
        Availability::Idle | Availability::AwayIdle => "Idle",
        Availability::ExtendedAway => "Extended away",
        Availability::Available
        | Availability::Away
        | Availability::Invisible
        | Availability::Offline => return None,
    })
}

/// The text with the status' words in front, unless it says them already: `Busy: back at five`.
#[must_use]
pub fn with_words(availability: Availability, text: Option<&str>) -> Option<Cow<'_, str>> {
    match (words(availability), text) {
        (None, text) => text.map(Cow::Borrowed),
        (Some(words), None) => Some(Cow::Borrowed(words)),
        (Some(words), Some(text)) if starts_with(text, words) => Some(Cow::Borrowed(text)),
        (Some(words), Some(text)) => Some(Cow::Owned(format!("{words}: {text}"))),
    }
}

/// What people and clients write where a status has no other place, and whether it says more than the
/// status that it names.
const SPOKEN: [(&str, Availability, bool); 19] = [
    ("In a meeting", Availability::InAMeeting, false),
    ("Meeting", Availability::InAMeeting, false),
    ("Busy", Availability::Busy, false),
    ("On the phone", Availability::Busy, true),
    ("In a call", Availability::Busy, true),
    ("On a call", Availability::Busy, true),
    ("Do not disturb", Availability::DoNotDisturb, false),
    ("Don't disturb", Availability::DoNotDisturb, false),
    ("Dnd", Availability::DoNotDisturb, false),
    ("Be right back", Availability::BeRightBack, false),
    ("Brb", Availability::BeRightBack, false),
    ("Out to lunch", Availability::Away, true),
    ("Extended away", Availability::ExtendedAway, false),
    ("Idle", Availability::Idle, false),
    ("Away", Availability::Away, false),
    ("Available", Availability::Available, false),
    ("Online", Availability::Available, false),
    ("Invisible", Availability::Invisible, false),
    ("Offline", Availability::Offline, false),
];

/// Takes words off a text: the status that they name, and what the text says besides. Knows what
/// [`with_words`] writes, and what clients put into notes. Case does not matter.
#[must_use]
pub fn split_words(text: &str) -> Option<(Availability, Option<&str>)> {
    let text = text.trim();
    SPOKEN
        .iter()
        .find_map(|&(spoken, availability, says_more)| {
            let rest = rest_after(text, spoken)?;
            let said = match rest.strip_prefix(':') {
                Some(_) if says_more => Some(text),
                Some(rest) => Some(rest.trim()).filter(|rest| !rest.is_empty()),
                None if rest.is_empty() => says_more.then_some(text),
                None => return None,
            };
            Some((availability, said))
        })
}

fn starts_with(text: &str, words: &str) -> bool {
    rest_after(text, words).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
}

fn rest_after<'a>(text: &'a str, words: &str) -> Option<&'a str> {
    text.get(..words.len())
        .filter(|start| start.eq_ignore_ascii_case(words))
        .map(|start| &text[start.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_go_in_front_once() {
        let busy = |text| with_words(Availability::Busy, text);
        assert_eq!(busy(None).as_deref(), Some("Busy"));
        assert_eq!(busy(Some("back at 5")).as_deref(), Some("Busy: back at 5"));
        assert_eq!(busy(Some("busy, sorry")).as_deref(), Some("busy, sorry"));
        assert_eq!(busy(Some("Busybody")).as_deref(), Some("Busy: Busybody"));
        let away = with_words(Availability::Away, Some("out"));
        assert_eq!(away.as_deref(), Some("out"));
        assert_eq!(with_words(Availability::Away, None), None);
    }

    #[test]
    fn what_was_put_in_front_is_taken_off() {
        for availability in Availability::ALL {
            let Some(spoken) = words(availability) else {
                continue;
            };
            let same = match availability {
                Availability::AwayIdle => Availability::Idle,
                other => other,
            };
            assert_eq!(split_words(spoken), Some((same, None)));
            let text = with_words(availability, Some("é: x")).unwrap();
            assert_eq!(split_words(&text), Some((same, Some("é: x"))));
        }
        assert_eq!(split_words("busy bee"), None);
        assert_eq!(split_words("I am busy"), None);
        assert_eq!(split_words("dnd"), Some((Availability::DoNotDisturb, None)));
        let phone = Some((Availability::Busy, Some("on the phone")));
        assert_eq!(split_words(" on the phone"), phone);
    }
}
