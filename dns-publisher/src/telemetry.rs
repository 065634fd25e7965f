//! The metrics of the name server. Handles are made once: looking a metric up for each query would
//! cost more than answering it.

use hickory_proto::op::ResponseCode;
use metrics::{Counter, Gauge, counter, gauge};

use crate::responder::Outcome;

/// Response codes with a counter of their own; the rest are counted as `other`.
const CODES: [(ResponseCode, &str); 7] = [
    (ResponseCode::NoError, "noerror"),
    (ResponseCode::NXDomain, "nxdomain"),
    (ResponseCode::Refused, "refused"),
    (ResponseCode::ServFail, "servfail"),
    (ResponseCode::FormErr, "formerr"),
    (ResponseCode::NotImp, "notimp"),
    (ResponseCode::BADVERS, "badvers"),
];

pub(crate) struct Telemetry {
    by_code: [Counter; CODES.len()],
    other: Counter,
    slipped: Counter,
    limited: Counter,
    ignored: Counter,
    pub(crate) tcp_refused: Counter,
    pub(crate) serial: Gauge,
    pub(crate) isolated: Gauge,
}

impl Telemetry {
    pub(crate) fn new() -> Self {
        let queries = |code: &'static str| counter!("entente_dns_queries_total", "rcode" => code);
        let limited =
            |action: &'static str| counter!("entente_dns_rate_limited_total", "action" => action);
        Self {
            by_code: CODES.map(|(_, name)| queries(name)),
            other: queries("other"),
            slipped: limited("slip"),
            limited: limited("drop"),
            ignored: counter!("entente_dns_ignored_total"),
            tcp_refused: counter!("entente_dns_tcp_refused_total"),
            serial: gauge!("entente_dns_serial"),
            isolated: gauge!("entente_dns_isolated"),
        }
    }

    /// Counts what became of a message.
    pub(crate) fn count(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Answer(code, _) => self.of(*code).increment(1),
            Outcome::Slipped(_) => self.slipped.increment(1),
            Outcome::Limited => self.limited.increment(1),
            Outcome::Ignored => self.ignored.increment(1),
        }
    }

    fn of(&self, code: ResponseCode) -> &Counter {
        let index = CODES.iter().position(|(known, _)| *known == code);
        index.map_or(&self.other, |index| &self.by_code[index])
    }
}
