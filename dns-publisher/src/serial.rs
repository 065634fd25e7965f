//! Zone serials: RFC 1982 arithmetic, and how all nodes come to the same serial without a leader.

use std::fmt;

use crate::records::ContentHash;

/// Announcements beyond this many are ignored; far above any cluster's size.
const MAX_ANNOUNCEMENTS: usize = 1024;

/// A SOA serial. It has no total order: see [`Serial::is_newer_than`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Serial(pub u32);

impl Serial {
    /// RFC 1982 section 3.2: greater within half of the number circle. False for equal serials and
    /// for the one pair whose order is undefined (exactly half the circle apart).
    #[must_use]
    pub fn is_newer_than(self, other: Serial) -> bool {
        let ahead = self.0.wrapping_sub(other.0);
        ahead != 0 && ahead < 1 << 31
    }

    /// RFC 1982 section 3.1 with n = 1.
    #[must_use]
    pub fn next(self) -> Serial {
        Serial(self.0.wrapping_add(1))
    }

    fn newest(a: Serial, b: Serial) -> Serial {
        if b.is_newer_than(a) { b } else { a }
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The serial for new content: the unix time, so that serials grow across restarts of the whole
/// cluster too, but always newer than `highest`, so that clocks don't matter.
#[must_use]
pub fn next_serial(unix_seconds: u64, highest: Option<Serial>) -> Serial {
    // The low 32 bits on purpose: serials live on a circle.
    let clock = Serial((unix_seconds & 0xffff_ffff) as u32);
    match highest {
        Some(highest) if clock.is_newer_than(highest) => clock,
        Some(highest) => highest.next(),
        None => clock,
    }
}

/// What a node tells the others about its zones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announcement {
    /// The serial that it serves.
    pub serial: Serial,
    /// What it serves under that serial.
    pub content: ContentHash,
}

impl fmt::Display for Announcement {
    /// The form for gossip: `serial-hash`, the hash as 16 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.serial, self.content.0)
    }
}

/// A gossiped text that is no announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an announcement of a serial")]
pub struct AnnouncementError;

impl std::str::FromStr for Announcement {
    type Err = AnnouncementError;

    fn from_str(text: &str) -> Result<Self, AnnouncementError> {
        let (serial, content) = text.split_once('-').ok_or(AnnouncementError)?;
        Ok(Self {
            serial: Serial(serial.parse().map_err(|_| AnnouncementError)?),
            content: ContentHash(u64::from_str_radix(content, 16).map_err(|_| AnnouncementError)?),
        })
    }
}

/// Chooses our serial from our content and what the others announce.
///
/// The same content gets the same serial on every node, changed content a newer one. A node never
/// goes back, and changes its serial only if its content changes, if another node has a newer serial
/// for the same content, or if another node took the same serial for other content.
#[derive(Debug, Clone, Default)]
pub struct SerialBook {
    own: Option<Announcement>,
    others: Vec<Announcement>,
}

impl SerialBook {
    /// An empty book.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces what the other nodes announce.
    pub fn observe(&mut self, others: impl IntoIterator<Item = Announcement>) {
        self.others = others.into_iter().take(MAX_ANNOUNCEMENTS).collect();
    }

    /// What we announce, once there was content.
    #[must_use]
    pub fn own(&self) -> Option<Announcement> {
        self.own
    }

    /// The serial for `content` now. Call it when the content or the others' announcements changed.
    pub fn settle(&mut self, content: ContentHash, unix_seconds: u64) -> Serial {
        let floor = self.own.map(|own| own.serial);
        let agreed = self
            .others
            .iter()
            .filter(|other| other.content == content)
            .map(|other| other.serial)
            .filter(|serial| floor.is_none_or(|floor| serial.is_newer_than(floor)))
            .reduce(Serial::newest);
        let serial = match (agreed, self.own) {
            (Some(agreed), _) => agreed,
            (None, Some(own)) if own.content == content && !self.must_give_way(own) => own.serial,
            _ => next_serial(unix_seconds, self.highest()),
        };
        self.own = Some(Announcement { serial, content });
        serial
    }

    /// Two contents under one serial: the smaller hash takes a new one.
    fn must_give_way(&self, own: Announcement) -> bool {
        let clash =
            |other: &Announcement| other.serial == own.serial && other.content > own.content;
        self.others.iter().any(clash)
    }

    fn highest(&self) -> Option<Serial> {
        let known = self.others.iter().chain(&self.own);
        known.map(|known| known.serial).reduce(Serial::newest)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const A: ContentHash = ContentHash(1);
    const B: ContentHash = ContentHash(2);

    #[test]
    fn order_follows_rfc_1982() {
        for (newer, older) in [
            (1, 0),
            (44, 0),
            (0, u32::MAX),
            (100, 0xffff_ff00),
            (0x7fff_ffff, 0),
        ] {
            assert!(Serial(newer).is_newer_than(Serial(older)));
            assert!(!Serial(older).is_newer_than(Serial(newer)));
        }
        assert!(!Serial(7).is_newer_than(Serial(7)));
        assert!(!Serial(0).is_newer_than(Serial(1 << 31)));
        assert!(!Serial(1 << 31).is_newer_than(Serial(0)));
        assert_eq!(Serial(u32::MAX).next(), Serial(0));
    }

    #[test]
    fn next_follows_the_clock_but_never_goes_back() {
        assert_eq!(next_serial(1000, None), Serial(1000));
        assert_eq!(next_serial(1000, Some(Serial(900))), Serial(1000));
        assert_eq!(next_serial(1000, Some(Serial(1000))), Serial(1001));
        assert_eq!(next_serial(500, Some(Serial(1000))), Serial(1001));
        assert_eq!(next_serial(0, Some(Serial(u32::MAX))), Serial(0));
    }

    #[test]
    fn same_content_gets_the_same_serial_on_every_node() {
        let (mut one, mut two) = (SerialBook::new(), SerialBook::new());
        one.settle(A, 1000);
        two.settle(A, 1003);
        exchange(&mut one, &mut two);
        assert_eq!(one.settle(A, 1004), two.settle(A, 1004));
        assert_eq!(one.own().unwrap().serial, Serial(1003));
    }

    #[test]
    fn a_change_is_newer_and_the_slower_node_adopts_it() {
        let (mut one, mut two) = (SerialBook::new(), SerialBook::new());
        one.settle(A, 1000);
        two.settle(A, 1000);
        exchange(&mut one, &mut two);
        assert_eq!(one.settle(B, 1000), Serial(1001));
        exchange(&mut one, &mut two);
        assert_eq!(two.settle(A, 1000), Serial(1000), "unchanged content waits");
        assert_eq!(two.settle(B, 2000), Serial(1001));
    }

    #[test]
    fn content_that_comes_back_gets_a_new_serial_everywhere() {
        let (mut one, mut two) = (SerialBook::new(), SerialBook::new());
        one.settle(A, 1000);
        two.settle(A, 1000);
        one.settle(B, 1001);
        exchange(&mut one, &mut two);
        let back = one.settle(A, 1001);
        assert_eq!(back, Serial(1002));
        exchange(&mut one, &mut two);
        assert_eq!(two.settle(A, 1001), back);
    }

    #[test]
    fn two_contents_never_keep_one_serial() {
        let (mut one, mut two) = (SerialBook::new(), SerialBook::new());
        one.settle(A, 1000);
        two.settle(B, 1000);
        exchange(&mut one, &mut two);
        assert_eq!(one.settle(A, 1000), Serial(1001));
        assert_eq!(two.settle(B, 1000), Serial(1000));
        exchange(&mut one, &mut two);
        assert_eq!(one.settle(A, 1000), Serial(1001), "settled");
        assert_eq!(two.settle(B, 1000), Serial(1000), "settled");
    }

    #[test]
    fn a_restarted_node_joins_in_with_a_clock_that_went_back() {
        let (mut one, mut two) = (SerialBook::new(), SerialBook::new());
        one.settle(A, 5000);
        exchange(&mut one, &mut two);
        assert_eq!(two.settle(B, 10), Serial(5001));
    }

    #[test]
    fn announcements_survive_gossip() {
        let sent = Announcement {
            serial: Serial(u32::MAX),
            content: ContentHash(0xfeed),
        };
        assert_eq!(sent.to_string().parse(), Ok(sent));
        for bad in ["", "1", "-", "x-1", "1-x", "4294967296-1"] {
            assert_eq!(bad.parse::<Announcement>(), Err(AnnouncementError));
        }
    }

    fn exchange(one: &mut SerialBook, two: &mut SerialBook) {
        let (from_one, from_two) = (one.own(), two.own());
        one.observe(from_two);
        two.observe(from_one);
    }
}
