//! The constants and names of transaction timers (RFC 3261 appendix A, RFC 6026 section 7).

use std::time::{Duration, Instant};

/// The three values all transaction timers are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// An estimate of the round trip; 500 ms. 64 of it bound every transaction: 32 s.
    pub t1: Duration,
    /// The longest pause between repeats of a non-INVITE request or an INVITE response; 4 s.
    pub t2: Duration,
    /// How long a message may stay in the network; 5 s.
    pub t4: Duration,
    /// How long an INVITE may ring (timer C); 180 s.
    pub ringing: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            ringing: Duration::from_secs(180),
        }
    }
}

impl Timing {
    /// 64 · T1: what timers B, F, H, J, L and M run.
    #[must_use]
    pub fn bound(&self) -> Duration {
        self.t1 * 64
    }

    /// Timer D on unreliable transports: at least 32 s.
    #[must_use]
    pub fn wait_for_repeats(&self) -> Duration {
        self.bound().max(Duration::from_secs(32))
    }
}

/// Why a transaction wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TransactionTimer {
    /// INVITE again (client, unreliable).
    A,
    /// No response to INVITE (client).
    B,
    /// The INVITE rang too long (client).
    C,
    /// Repeated final responses of INVITE were waited for (client, unreliable).
    D,
    /// Non-INVITE request again (client, unreliable).
    E,
    /// No final response to a non-INVITE request (client).
    F,
    /// INVITE response again (server, unreliable).
    G,
    /// No ACK for a final response (server).
    H,
    /// Repeated ACKs were waited for (server, unreliable).
    I,
    /// Repeated non-INVITE requests were waited for (server, unreliable).
    J,
    /// Repeated responses were waited for (client, unreliable).
    K,
    /// The accepted INVITE's repeats were absorbed (server, RFC 6026).
    L,
    /// Further 2xx of an accepted INVITE were waited for (client, RFC 6026).
    M,
    /// 200 ms passed with no response of the user to INVITE: 100 goes out (server).
    Trying,
    /// The user never answered a request (server). Ours: RFC 3261 has no such timer, but the
    /// client has given up by then and nothing may stay for ever.
    Unanswered,
}

/// A message that is sent again in growing pauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) due: Instant,
    pause: Duration,
    longest: Duration,
}

impl Pace {
    /// The first repeat after `pause`, each further pause twice as long, up to `longest`.
    pub(crate) fn start(now: Instant, pause: Duration, longest: Duration) -> Self {
        Self {
            due: now + pause,
            pause,
            longest,
        }
    }

    /// The repeat at `due` went out.
    pub(crate) fn step(&mut self, now: Instant) {
        self.pause = (self.pause * 2).min(self.longest);
        self.due = now + self.pause;
    }
}

/// The earlier of two named deadlines.
pub(crate) fn earlier(
    repeat: Option<(Instant, TransactionTimer)>,
    bound: Option<(Instant, TransactionTimer)>,
) -> Option<(Instant, TransactionTimer)> {
    match (repeat, bound) {
        (Some(a), Some(b)) => Some(if a.0 < b.0 { a } else { b }),
        (a, b) => a.or(b),
    }
}

/// What a machine asks for after an event. All may be asked for at once, in this order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    /// The kept message (request or last response) goes out (again).
    pub(crate) send: bool,
    /// 100 Trying goes out.
    pub(crate) trying: bool,
    /// ACK for a non-2xx response goes out (again).
    pub(crate) ack: bool,
    /// CANCEL goes out.
    pub(crate) cancel: bool,
    /// The message that came in is for the user.
    pub(crate) deliver: bool,
    /// The user hears that the time is over.
    pub(crate) timeout: bool,
    /// The transaction is over and forgotten.
    pub(crate) ended: bool,
}

impl Effects {
    pub(crate) const NONE: Self = Self {
        send: false,
        trying: false,
        ack: false,
        cancel: false,
        deliver: false,
        timeout: false,
        ended: false,
    };
    pub(crate) const SEND: Self = Self {
        send: true,
        ..Self::NONE
    };
    pub(crate) const DELIVER: Self = Self {
        deliver: true,
        ..Self::NONE
    };
    pub(crate) const ENDED: Self = Self {
        ended: true,
        ..Self::NONE
    };
    pub(crate) const TIMEOUT: Self = Self {
        timeout: true,
        ended: true,
        ..Self::NONE
    };
}
