//! One open connection.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use crate::framer::{Frame, Framer, FramingLost};
use crate::generator::Generator;
use crate::message::{Limits, Message};
use crate::validate::Rejection;

/// Two line ends (RFC 5626 section 3.5.1).
pub const PING: &[u8] = b"\r\n\r\n";
/// One.
pub const PONG: &[u8] = b"\r\n";

/// How an open connection is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkConfig {
    /// What a message may have.
    pub limits: Limits,
    /// A ping goes out when nothing was heard for this long, less up to a fifth by chance, so that
    /// the links of a restarted node do not ping in step. Default 2 min (RFC 5626 section 4.4.1).
    pub ping_after: Duration,
    /// How long a ping may stay without a sign of life. Default 10 s (RFC 5626 section 4.4.1).
    pub pong_within: Duration,
    /// Whether a ping without an answer ends the link.
    pub pong: PongPolicy,
    /// How long a message may take from its first byte to its last. Default 30 s.
    pub message_within: Duration,
}

/// What a missing answer to a ping means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PongPolicy {
    /// The link is dead.
    Required,
    /// The link is dead if an answer came before. COMPAT: not everybody answers pings, and such a
    /// peer's link would die every two minutes.
    OnceSeen,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            ping_after: Duration::from_secs(120),
            pong_within: Duration::from_secs(10),
            pong: PongPolicy::OnceSeen,
            message_within: Duration::from_secs(30),
        }
    }
}

/// Why a link wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinkTimer {
    /// Nothing was heard for a while: send a ping.
    Ping,
    /// The ping had no answer.
    Pong,
    /// A message was begun and not ended.
    Message,
}

/// What a link wants.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every output is a message; a box would cost it an allocation"
)]
pub enum LinkOutput {
    /// Write this.
    Transmit(&'static [u8]),
    /// A message came.
    Message(Message),
    /// A message came that is answered or dropped at once.
    Rejected(Rejection),
    /// Close the connection, once what was handed to it is written. The last output.
    Close(CloseReason),
}

/// Why a link is closed by us. All are the peer's fault or the network's; a new connection may help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The end of a message cannot be found.
    #[error(transparent)]
    Framing(#[from] FramingLost),
    /// A ping was not answered.
    #[error("a ping was not answered")]
    NoPong,
    /// A message was not completed in time.
    #[error("a message was not completed in time")]
    Stalled,
}

/// See the module's words.
#[derive(Debug)]
pub struct Link {
    framer: Framer,
    config: LinkConfig,
    /// How long to listen before a ping.
    patience: Duration,
    heard: Instant,
    /// When the next ping goes out, if nothing is heard until then.
    ping_at: Instant,
    /// Until when a ping waits for its answer.
    pong_until: Option<Instant>,
    answers_pings: bool,
    /// Since when a message is incomplete.
    begun: Option<Instant>,
    outputs: VecDeque<LinkOutput>,
    closed: bool,
}

impl Link {
    /// A connection that is open, and over TLS authenticated, since now.
    #[must_use]
    pub fn new(now: Instant, config: LinkConfig, random: &mut Generator) -> Self {
        let patience = random.between(config.ping_after.mul_f32(0.8), config.ping_after);
        Self {
            framer: Framer::new(config.limits),
            config,
            patience,
            heard: now,
            ping_at: now + patience,
            pong_until: None,
            answers_pings: false,
            begun: None,
            outputs: VecDeque::new(),
            closed: false,
        }
    }

    /// Takes bytes that were read. The shell drains the outputs before it reads again: that bounds
    /// what is kept.
    pub fn received(&mut self, now: Instant, bytes: BytesMut) {
        if self.closed || bytes.is_empty() {
            return;
        }
        self.heard = now;
        self.ping_at = now + self.patience;
        let awaited = self.pong_until.take().is_some();
        self.framer.push_buffer(bytes);
        let mut completed = false;
        loop {
            match self.framer.next_frame() {
                Ok(Some(frame)) => {
                    completed = true;
                    self.take_frame(frame, awaited);
                }
                Ok(None) => break,
                Err(lost) => return self.close(lost.into()),
            }
        }
        if self.framer.is_between() {
            self.begun = None;
        } else if completed || self.begun.is_none() {
            // What is left belongs to a message that began with these bytes.
            self.begun = Some(now);
        }
    }

    /// When to wake, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(LinkTimer, Instant)> {
        if self.closed {
            return None;
        }
        let message = self
            .begun
            .map(|begun| (LinkTimer::Message, begun + self.config.message_within));
        let alive = match self.pong_until {
            Some(until) => (LinkTimer::Pong, until),
            None => (LinkTimer::Ping, self.ping_at),
        };
        message
            .into_iter()
            .chain([alive])
            .min_by_key(|(_, deadline)| *deadline)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some((timer, _)) = self.poll_timeout().filter(|(_, deadline)| *deadline <= now) else {
            return;
        };
        match timer {
            LinkTimer::Message => self.close(CloseReason::Stalled),
            LinkTimer::Ping => {
                self.outputs.push_back(LinkOutput::Transmit(PING));
                self.pong_until = Some(now + self.config.pong_within);
            }
            LinkTimer::Pong if self.answers_pings || self.config.pong == PongPolicy::Required => {
                self.close(CloseReason::NoPong);
            }
            LinkTimer::Pong => {
                self.pong_until = None;
                self.ping_at = now + self.patience;
            }
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<LinkOutput> {
        self.outputs.pop_front()
    }

    /// When the peer was last heard.
    #[must_use]
    pub fn last_heard(&self) -> Instant {
        self.heard
    }

    fn take_frame(&mut self, frame: Frame, awaited: bool) {
        match frame {
            Frame::Message(message) => self.outputs.push_back(LinkOutput::Message(message)),
            Frame::Rejected(rejection) => self.outputs.push_back(LinkOutput::Rejected(rejection)),
            Frame::Ping => self.outputs.push_back(LinkOutput::Transmit(PONG)),
            Frame::Pong => self.answers_pings |= awaited,
        }
    }

    fn close(&mut self, reason: CloseReason) {
        self.closed = true;
        self.outputs.push_back(LinkOutput::Close(reason));
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Link, LinkConfig, LinkOutput, LinkTimer, PING, PONG, PongPolicy};
    use crate::generator::Generator;

    const SECOND: Duration = Duration::from_secs(1);
    const MESSAGE: &str = "OPTIONS sip:b@example.net SIP/2.0\r\nVia: SIP/2.0/TLS a.example;branch=z9hG4bK1\r\n\
        From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.net>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nl: 0\r\n\r\n";

    #[expect(clippy::disallowed_methods, reason = "an instant to count from")]
    fn link(pong: PongPolicy) -> (Link, Instant) {
        let now = Instant::now();
        let config = LinkConfig {
            pong,
            ..LinkConfig::default()
        };
        (Link::new(now, config, &mut Generator::new([1; 16])), now)
    }

    fn outputs(link: &mut Link) -> Vec<String> {
        std::iter::from_fn(|| link.poll_output())
            .map(|output| match output {
                LinkOutput::Transmit(PING) => "ping".to_owned(),
                LinkOutput::Transmit(PONG) => "pong".to_owned(),
                LinkOutput::Transmit(_) => "?".to_owned(),
                LinkOutput::Message(message) => message.method().unwrap().to_string(),
                LinkOutput::Rejected(rejection) => rejection.to_string(),
                LinkOutput::Close(reason) => format!("close: {reason}"),
            })
            .collect()
    }

    fn receive(link: &mut Link, now: Instant, text: &str) -> Vec<String> {
        link.received(now, text.as_bytes().into());
        outputs(link)
    }

    #[test]
    fn a_silent_link_is_pinged_within_two_minutes_and_an_answer_keeps_it() {
        let (mut link, start) = link(PongPolicy::Required);
        let (timer, at) = link.poll_timeout().unwrap();
        assert_eq!(timer, LinkTimer::Ping);
        assert!((start + 96 * SECOND..=start + 120 * SECOND).contains(&at));
        link.handle_timeout(at - SECOND);
        assert!(outputs(&mut link).is_empty());
        link.handle_timeout(at);
        assert_eq!(outputs(&mut link), ["ping"]);
        assert_eq!(
            link.poll_timeout(),
            Some((LinkTimer::Pong, at + 10 * SECOND))
        );
        assert!(receive(&mut link, at + SECOND, "\r\n").is_empty());
        assert_eq!(link.poll_timeout().unwrap().0, LinkTimer::Ping);
        assert_eq!(link.last_heard(), at + SECOND);
    }

    #[test]
    fn without_an_answer_the_link_is_closed() {
        let (mut link, _) = link(PongPolicy::Required);
        let at = link.poll_timeout().unwrap().1;
        link.handle_timeout(at);
        link.handle_timeout(at + 10 * SECOND);
        assert_eq!(
            outputs(&mut link),
            ["ping", "close: a ping was not answered"]
        );
        assert_eq!(link.poll_timeout(), None);
        assert!(receive(&mut link, at + 11 * SECOND, MESSAGE).is_empty());
    }

    #[test]
    fn a_peer_that_never_answered_pings_is_not_closed_for_it_but_one_that_did_is() {
        let (mut link, _) = link(PongPolicy::OnceSeen);
        let first = link.poll_timeout().unwrap().1;
        link.handle_timeout(first);
        link.handle_timeout(first + 10 * SECOND);
        assert_eq!(outputs(&mut link), ["ping"]);
        let second = link.poll_timeout().unwrap().1;
        link.handle_timeout(second);
        assert_eq!(receive(&mut link, second + SECOND, "\r\n"), ["ping"]);
        assert_eq!(link.poll_timeout().unwrap().0, LinkTimer::Ping);
        let third = link.poll_timeout().unwrap().1;
        link.handle_timeout(third);
        link.handle_timeout(third + 10 * SECOND);
        assert_eq!(
            outputs(&mut link).last().unwrap(),
            "close: a ping was not answered"
        );
    }

    #[test]
    fn any_traffic_is_a_sign_of_life_but_only_an_empty_line_is_an_answer() {
        let (mut link, _) = link(PongPolicy::OnceSeen);
        let at = link.poll_timeout().unwrap().1;
        link.handle_timeout(at);
        assert_eq!(
            receive(&mut link, at + SECOND, MESSAGE),
            ["ping", "OPTIONS"]
        );
        let next = link.poll_timeout().unwrap();
        assert_eq!(next.0, LinkTimer::Ping);
        link.handle_timeout(next.1);
        link.handle_timeout(next.1 + 10 * SECOND);
        assert_eq!(outputs(&mut link), ["ping"]);
    }

    #[test]
    fn pings_are_answered_between_messages() {
        let (mut link, now) = link(PongPolicy::Required);
        let text = format!("\r\n\r\n{MESSAGE}\r\n\r\n");
        assert_eq!(receive(&mut link, now, &text), ["pong", "OPTIONS", "pong"]);
    }

    #[test]
    fn a_message_that_is_not_completed_ends_the_link_however_slowly_it_drips() {
        let (mut link, start) = link(PongPolicy::Required);
        let mut now = start;
        for byte in MESSAGE.as_bytes().chunks(1).take(29) {
            link.received(now, byte.into());
            now += SECOND;
            link.handle_timeout(now);
        }
        assert!(outputs(&mut link).is_empty());
        assert_eq!(
            link.poll_timeout(),
            Some((LinkTimer::Message, start + 30 * SECOND))
        );
        link.handle_timeout(start + 30 * SECOND);
        assert_eq!(
            outputs(&mut link),
            ["close: a message was not completed in time"]
        );
    }

    #[test]
    fn the_time_of_a_message_counts_from_its_own_first_byte() {
        let (mut link, start) = link(PongPolicy::Required);
        link.received(start, MESSAGE[..20].into());
        let rest = format!("{}{}", &MESSAGE[20..], &MESSAGE[..5]);
        assert_eq!(receive(&mut link, start + 29 * SECOND, &rest), ["OPTIONS"]);
        let message_at = start + 59 * SECOND;
        assert_eq!(link.poll_timeout(), Some((LinkTimer::Message, message_at)));
        assert_eq!(
            receive(&mut link, start + 30 * SECOND, &MESSAGE[5..]),
            ["OPTIONS"]
        );
        assert_eq!(link.poll_timeout().unwrap().0, LinkTimer::Ping);
    }

    #[test]
    fn lost_framing_closes_after_the_answer() {
        let (mut link, now) = link(PongPolicy::Required);
        let bad = MESSAGE.replace("l: 0\r\n", "");
        let said = receive(&mut link, now, &format!("{MESSAGE}{bad}{MESSAGE}"));
        assert_eq!(said.len(), 3);
        assert!(said[1].starts_with("400"));
        assert_eq!(said[2], "close: framing lost: no usable Content-Length");
        assert_eq!(link.poll_timeout(), None);
    }
}
