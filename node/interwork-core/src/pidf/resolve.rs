//! One status for a person from all that a document says.

use std::cmp::Reverse;

use entente_xmpp_core::stanza::Show;

use super::read::{Basic, Details, Document, Tuple};
use crate::presence::{Availability, Presence, most_telling, split_words};

impl Document {
    /// The person's presence.
    ///
    /// A device counts if it is open, or says what it does without a basic status. Of several, those
    /// with the highest contact priority count (RFC 3863 section 4.1.5), the newest first. What a
    /// device says of itself and what is said of the person is weighed like the devices of a local
    /// user; open alone is available. The note gives the text, or the status where nothing else does:
    /// many clients say busy in a note only.
    #[must_use]
    pub fn presence(&self) -> Presence {
        let counted = self.counted();
        if counted.is_empty() && !self.tells_of_the_person_alone() {
            let mut closed = Presence::offline();
            let mut notes = self
                .notes(&self.tuples.iter().collect::<Vec<_>>())
                .into_iter();
            closed.set_text(notes.find(|text| split_words(text).is_none()));
            return closed;
        }
        let persons = self.persons.iter().filter(|person| person.is_telling());
        let sources: Vec<&Details> = counted
            .iter()
            .map(|tuple| &tuple.details)
            .filter(|details| details.is_telling())
            .chain(persons)
            .collect();
        let told = shown_by_all(&counted, &sources)
            .or_else(|| most_telling(sources.iter().map(|details| availability(details))))
            .unwrap_or(Availability::Available);
        with_note(told, &sources, &self.notes(&counted))
    }

    /// The devices that speak for the person, the newest first.
    fn counted(&self) -> Vec<&Tuple> {
        let open = || self.tuples.iter().filter(|tuple| is_open(tuple));
        let highest = open().map(|tuple| tuple.priority).max();
        let mut counted: Vec<&Tuple> = open()
            .filter(|tuple| Some(tuple.priority) == highest)
            .collect();
        counted.sort_by_key(|tuple| Reverse(tuple.timestamp));
        counted
    }

    /// No device says whether it is open, but something is said of the person.
    fn tells_of_the_person_alone(&self) -> bool {
        self.tuples.iter().all(|tuple| tuple.basic.is_none())
            && self.persons.iter().any(Details::is_telling)
    }

    /// All notes, those of the devices first.
    fn notes<'a>(&'a self, tuples: &[&'a Tuple]) -> Vec<&'a str> {
        let tuples = tuples
            .iter()
            .filter_map(|tuple| tuple.details.note.as_ref());
        let persons = self
            .persons
            .iter()
            .filter_map(|person| person.note.as_ref());
        tuples
            .chain(persons)
            .chain(&self.note)
            .map(String::as_str)
            .collect()
    }
}

fn is_open(tuple: &Tuple) -> bool {
    match tuple.basic {
        Some(basic) => basic == Basic::Open,
        None => tuple.details.is_telling(),
    }
}

/// XMPP's own word for the status is exact: if all devices have it, activities add only idleness.
fn shown_by_all(counted: &[&Tuple], sources: &[&Details]) -> Option<Availability> {
    if !counted.iter().all(|tuple| tuple.details.show.is_some()) {
        return None;
    }
    let told = most_telling(counted.iter().map(|tuple| availability(&tuple.details)))?;
    let idle = sources.iter().any(|details| details.idle);
    Some(match told {
        Availability::Away if idle => Availability::AwayIdle,
        told => told,
    })
}

fn availability(details: &Details) -> Availability {
    match details.show {
        Some(Show::Chat) => Availability::Available,
        Some(Show::Dnd) => Availability::DoNotDisturb,
        Some(Show::Xa) => Availability::ExtendedAway,
        Some(Show::Away) if details.idle => Availability::AwayIdle,
        Some(Show::Away) => Availability::Away,
        None => match most_telling(details.activities.iter().copied()) {
            // An idle device says that it is away, too.
            None | Some(Availability::Available | Availability::Away) if details.idle => {
                Availability::Idle
            }
            told => told.unwrap_or(Availability::Available),
        },
    }
}

/// The presence, refined by a note's words, with the note or the activities' words as text.
fn with_note(told: Availability, sources: &[&Details], notes: &[&str]) -> Presence {
    let fits = |spoken| spoken == told || refines(spoken, told);
    let note = notes
        .iter()
        .find(|note| !matches!(split_words(note), Some((spoken, None)) if !fits(spoken)))
        // 'Online' beside a person in a meeting says nothing; other words are at least a text.
        .or_else(|| {
            let says_nothing = Some((Availability::Available, None));
            notes.iter().find(|note| split_words(note) != says_nothing)
        })
        .copied();
    let (availability, text) = match note.and_then(split_words) {
        Some((spoken, rest)) if fits(spoken) => (spoken, rest),
        _ => (told, note),
    };
    let words = sources
        .iter()
        .find(|details| self::availability(details) == told)
        .and_then(|details| details.words.as_deref());
    let since = sources.iter().find_map(|details| details.idle_since);
    let mut presence = Presence::new(availability).idle_since(since);
    presence.set_text(text.or(words));
    presence
}

/// Whether words may say more exactly what the document says.
const fn refines(spoken: Availability, told: Availability) -> bool {
    use Availability as A;
    match told {
        A::Available => !matches!(spoken, A::Invisible | A::Offline),
        A::Busy => matches!(spoken, A::DoNotDisturb | A::InAMeeting),
        A::Away => matches!(spoken, A::BeRightBack | A::Idle | A::ExtendedAway),
        _ => false,
    }
}
