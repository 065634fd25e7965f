//! One message in, at most one out. No socket and no clock: the server and the tests bring them.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::DNSClass;

use crate::question::Question;
use crate::response::{self, Transport};
use crate::rrl::{RateLimiter, RrlConfig, Verdict};
use crate::zone::ZoneIndex;

/// What became of a message, for the metrics.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Send this.
    Answer(ResponseCode, Vec<u8>),
    /// Over the limit: send this truncated answer.
    Slipped(Vec<u8>),
    /// Over the limit: send nothing.
    Limited,
    /// No question: send nothing.
    Ignored,
}

/// Answers messages from the current [`ZoneIndex`].
#[derive(Debug)]
pub(crate) struct Responder {
    /// Held for a few comparisons, never across an await.
    limiter: Mutex<RateLimiter>,
    rotation: AtomicUsize,
}

impl Responder {
    pub(crate) fn new(rrl: RrlConfig, seed: u64, now: Instant) -> Self {
        Self {
            limiter: Mutex::new(RateLimiter::new(rrl, seed, now)),
            rotation: AtomicUsize::new(seed as usize),
        }
    }

    /// Answers `message` from `asker`.
    pub(crate) fn respond(
        &self,
        zones: &ZoneIndex,
        message: &[u8],
        asker: SocketAddr,
        transport: Transport,
        now: Instant,
    ) -> Outcome {
        // Nobody sends from port 0; such an answer could only hit somebody else.
        if asker.port() == 0 {
            return Outcome::Ignored;
        }
        let Some(question) = Question::read(message) else {
            return Outcome::Ignored;
        };
        // A TCP connection proves the address.
        if transport == Transport::Udp {
            match self.limit(asker.ip(), now) {
                Verdict::Send => {}
                Verdict::Slip => {
                    return response::encode_slip(&question)
                        .map_or(Outcome::Limited, Outcome::Slipped);
                }
                Verdict::Drop => return Outcome::Limited,
            }
        }
        let (code, answer) = self.answer(zones, &question, asker.ip(), transport);
        match answer {
            Some(answer) => Outcome::Answer(code, answer),
            None => Outcome::Ignored,
        }
    }

    fn limit(&self, asker: IpAddr, now: Instant) -> Verdict {
        // A panic elsewhere leaves the table as usable as before.
        let mut limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        limiter.check(asker, now)
    }

    fn answer(
        &self,
        zones: &ZoneIndex,
        question: &Question,
        asker: IpAddr,
        transport: Transport,
    ) -> (ResponseCode, Option<Vec<u8>>) {
        let refuse = |code| (code, response::encode_refusal(question, code));
        let query = match (&question.query, question.refusal) {
            (_, Some(code)) => return refuse(code),
            (None, None) => return refuse(ResponseCode::FormErr),
            (Some(query), None) => query,
        };
        if query.query_class() != DNSClass::IN {
            return refuse(ResponseCode::Refused);
        }
        let rotation = self.rotation.fetch_add(1, Ordering::Relaxed);
        let findings = zones.look_up(query.name(), query.query_type(), asker, rotation);
        let answer = response::encode(question, &findings, transport);
        (findings.code, answer)
    }
}

#[cfg(test)]
mod tests;
