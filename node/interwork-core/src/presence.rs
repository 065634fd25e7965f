//! What people are doing, in more detail than any one system can show, and what each system makes of
//! it (requirements M1, M2).
//!
//! A [`Presence`] is read from a client's stanza, a peer's stanza or a peer's document with all that
//! it says. Who is to see it decides what becomes of it: [`render`] for the users of a peer system,
//! [`read`] for a local client. Both follow the twelve tables in `tables/`; where a table has no row,
//! the nearest status is taken. A status that the receiver does not have goes along as words in the
//! status text: an away that means busy says 'Busy'.

mod compose;
mod kind;
mod stanza;
mod system;
mod words;

pub use compose::{compose, most_telling};
pub use kind::{ClientKind, RichClients};
pub use stanza::{RICH_STATE_NS, children, read_stanza};
pub use system::{PeerSystem, read, render};
pub use words::{split_words, with_words, words};

use crate::time::UtcTime;

/// Longest status text that is kept, in characters; the rest is cut off.
pub const MAX_TEXT_CHARS: usize = 1_000;

/// Whether somebody is there, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Availability {
    /// There, and free to talk.
    Available,
    /// There, in a meeting; shown as a kind of available by the systems that know it.
    InAMeeting,
    /// There, occupied.
    Busy,
    /// There, and wants no messages for now.
    DoNotDisturb,
    /// Gone for a moment.
    BeRightBack,
    /// The client has not been used for a while and shows that as a status of its own.
    Idle,
    /// The client has not been used for a while and shows that beside away.
    AwayIdle,
    /// Gone for a while.
    Away,
    /// Gone for long.
    ExtendedAway,
    /// There, and seen by nobody.
    Invisible,
    /// Not there, or not to be seen by who asks.
    Offline,
}

impl Availability {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Available,
        Self::InAMeeting,
        Self::Busy,
        Self::DoNotDisturb,
        Self::BeRightBack,
        Self::Idle,
        Self::AwayIdle,
        Self::Away,
        Self::ExtendedAway,
        Self::Invisible,
        Self::Offline,
    ];

    /// Whether others may see that somebody is there.
    #[must_use]
    pub const fn is_open(self) -> bool {
        !matches!(self, Self::Invisible | Self::Offline)
    }
}

/// What somebody is doing, and what they say of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presence {
    /// Whether they are there, and for what.
    pub availability: Availability,
    /// Their own words: no more than [`MAX_TEXT_CHARS`], no control characters, not blank.
    text: Option<String>,
    /// When the client was last used, where that is known.
    pub idle_since: Option<UtcTime>,
}

impl Presence {
    /// Without words.
    #[must_use]
    pub const fn new(availability: Availability) -> Self {
        Self {
            availability,
            text: None,
            idle_since: None,
        }
    }

    /// What a watcher sees of somebody who has blocked it (requirement P2), and of anybody who is not
    /// there.
    #[must_use]
    pub const fn offline() -> Self {
        Self::new(Availability::Offline)
    }

    /// With a status text, tidied: white space at the ends and control characters are dropped, line
    /// ends become spaces.
    #[must_use]
    pub fn with_text(mut self, text: &str) -> Self {
        self.set_text(Some(text));
        self
    }

    /// Replaces the status text; see [`Presence::with_text`].
    pub fn set_text(&mut self, text: Option<&str>) {
        self.text = text.and_then(tidy);
    }

    /// The status text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// With the time of the last use of the client.
    #[must_use]
    pub const fn idle_since(mut self, since: Option<UtcTime>) -> Self {
        self.idle_since = since;
        self
    }
}

fn tidy(text: &str) -> Option<String> {
    let tidied: String = text
        .trim()
        .chars()
        .map(|c| {
            if matches!(c, '\n' | '\r' | '\t') {
                ' '
            } else {
                c
            }
        })
        .filter(|c| !c.is_control())
        .take(MAX_TEXT_CHARS)
        .collect();
    let tidied = tidied.trim();
    (!tidied.is_empty()).then(|| tidied.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_text_is_one_tidy_line() {
        let presence = Presence::new(Availability::Away).with_text(" at\r\nlunch\u{7} \u{0}");
        assert_eq!(presence.text(), Some("at  lunch"));
        assert_eq!(Presence::offline().with_text(" \n\u{1} ").text(), None);
        let long = Presence::offline().with_text(&"é".repeat(MAX_TEXT_CHARS + 5));
        assert_eq!(long.text().unwrap().chars().count(), MAX_TEXT_CHARS);
    }
}
