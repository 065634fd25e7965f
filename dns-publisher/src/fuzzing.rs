//! Entry points for fuzzers; not part of the interface.

use std::net::SocketAddr;
use std::time::Instant;

use hickory_proto::op::Message;

use crate::plan::{PublishPlan, PublishedNode};
use crate::publication::Published;
use crate::records::RecordSet;
use crate::responder::{Outcome, Responder};
use crate::response::{MAX_UDP, Transport};
use crate::rrl::RrlConfig;
use crate::serial::Serial;
use crate::service::{Service, ServicePorts};
use crate::zone::ZoneIndex;

/// A name server with three nodes, without sockets.
#[derive(Debug)]
pub struct Target {
    zones: ZoneIndex,
    responder: Responder,
    now: Instant,
}

impl Default for Target {
    fn default() -> Self {
        Self::new()
    }
}

impl Target {
    /// The target; make it once.
    ///
    /// # Panics
    /// Never: its names are well-formed.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "any origin of virtual time will do"
    )]
    pub fn new() -> Self {
        let name = |text: &str| text.parse().expect("a well-formed name");
        let zones = vec![name("example.com"), name("_tcp.example.org")];
        let domains = vec![name("example.com"), name("example.org")];
        let plan = PublishPlan::new(zones, domains, name("hostmaster.example.com"));
        let node = |number: u8| PublishedNode {
            name: format!("n{number}"),
            host: name(&format!("n{number}.nodes.example.com")),
            public: vec![[192, 0, 2, number].into()],
            private: vec![],
            services: Service::ALL.into_iter().collect(),
            ports: ServicePorts::default(),
            started: 0,
        };
        let records = RecordSet::build(&plan, &[node(1), node(2), node(3)], None);
        let published = Published {
            records: Some(records.into()),
            serial: Serial(1),
            isolated: false,
        };
        let unlimited = RrlConfig {
            responses_per_second: 0,
            table: 1,
            ..RrlConfig::default()
        };
        let now = Instant::now();
        Self {
            zones: ZoneIndex::new(&published),
            responder: Responder::new(unlimited, 0, now),
            now,
        }
    }

    /// Feeds one message over UDP and over TCP and checks what must hold of any answer.
    ///
    /// # Panics
    /// If an answer is malformed, too large, or not an answer to `message`.
    pub fn feed(&self, message: &[u8]) {
        let asker = SocketAddr::from(([198, 51, 100, 7], 53_000));
        for transport in [Transport::Udp, Transport::Tcp] {
            let outcome = self
                .responder
                .respond(&self.zones, message, asker, transport, self.now);
            let Outcome::Answer(code, answer) = outcome else {
                continue;
            };
            assert!(message.len() >= 12 && message[2] & 0x80 == 0, "no question");
            assert_eq!(answer[..2], message[..2], "another id");
            assert!(transport == Transport::Tcp || answer.len() <= usize::from(MAX_UDP));
            let parsed = Message::from_vec(&answer).expect("we write what can be read");
            assert_eq!(parsed.metadata.response_code.low(), code.low());
            assert!(answer[2] & 0x80 != 0, "not marked as an answer");
            assert!(!parsed.metadata.recursion_available);
        }
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::Query;
    use hickory_proto::rr::{Name, RecordType};

    use super::*;

    /// SplitMix64: reproducible from its seed, printed by a failure.
    struct Seeded(u64);

    impl Seeded {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut x = self.0;
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            x ^ (x >> 31)
        }

        fn below(&mut self, bound: usize) -> usize {
            (self.next() % bound as u64) as usize
        }
    }

    fn corpus() -> Vec<Vec<u8>> {
        let names = [
            "_xmpp-server._tcp.example.com.",
            "n1.nodes.example.com.",
            "example.com.",
            "nope.example.org.",
            ".",
        ];
        let types = [
            RecordType::SRV,
            RecordType::ANY,
            RecordType::SOA,
            RecordType::AXFR,
        ];
        let mut corpus = vec![vec![], vec![0; 12], vec![0xff; 40]];
        for name in names {
            for record_type in types {
                let name = Name::from_ascii(name).expect("a name");
                let mut message = Message::query();
                message.add_query(Query::query(name, record_type));
                corpus.push(message.to_vec().expect("it encodes"));
                let mut edns = hickory_proto::op::Edns::new();
                edns.set_max_payload(4096).set_dnssec_ok(true);
                message.set_edns(edns);
                corpus.push(message.to_vec().expect("it encodes"));
            }
        }
        corpus
    }

    #[test]
    fn mutated_questions_never_make_a_bad_answer() {
        let target = Target::new();
        let corpus = corpus();
        for seed in 0..20_000 {
            let mut random = Seeded(seed);
            let mut message = corpus[random.below(corpus.len())].clone();
            for _ in 0..=random.below(6) {
                mutate(&mut message, &mut random);
            }
            let fed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                target.feed(&message);
            }));
            assert!(fed.is_ok(), "seed {seed}: {message:02x?}");
        }
    }

    fn mutate(message: &mut Vec<u8>, random: &mut Seeded) {
        let at = random.below(message.len() + 1);
        match random.below(5) {
            0 => message.truncate(at),
            1 => message.insert(at, random.next() as u8),
            2 => message.extend_from_within(at..),
            3 if at < message.len() => message[at] = [0, 0xff, 0xc0, 12][random.below(4)],
            _ if at < message.len() => message[at] ^= 1 << random.below(8),
            _ => {}
        }
    }
}
