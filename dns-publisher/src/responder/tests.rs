#![allow(clippy::unwrap_used)]
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::*;
use crate::example::{nodes, plan, published};
use crate::publication::Published;

const XMPP: &str = "_xmpp-server._tcp.example.com.";

/// A name server without sockets or limit, asked from anywhere.
struct Bench {
    zones: ZoneIndex,
    responder: Responder,
    now: Instant,
}

impl Bench {
    fn new(node_count: u8) -> Self {
        Self::serving(&published(&plan(), &nodes(1..=node_count)))
    }

    fn serving(published: &Published) -> Self {
        let rrl = RrlConfig {
            responses_per_second: 0,
            ..RrlConfig::default()
        };
        Self::limited(published, rrl)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "any origin of virtual time will do"
    )]
    fn limited(published: &Published, rrl: RrlConfig) -> Self {
        let now = Instant::now();
        Self {
            zones: ZoneIndex::new(published),
            responder: Responder::new(rrl, 0, now),
            now,
        }
    }

    fn raw(&self, message: &[u8], asker: &str, transport: Transport) -> Outcome {
        let asker = asker.parse().unwrap();
        self.responder
            .respond(&self.zones, message, asker, transport, self.now)
    }

    fn send(&self, message: &Message, asker: &str, transport: Transport) -> Message {
        match self.raw(&message.to_vec().unwrap(), asker, transport) {
            Outcome::Answer(_, answer) => Message::from_vec(&answer).unwrap(),
            other => panic!("no answer: {other:?}"),
        }
    }

    fn ask(&self, name: &str, record_type: RecordType) -> Message {
        self.send(
            &question(name, record_type),
            "198.51.100.1:4000",
            Transport::Udp,
        )
    }
}

fn question(name: &str, record_type: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.id = 0x4711;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), record_type));
    message
}

fn with_edns(mut message: Message, payload: u16) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(payload).set_dnssec_ok(true);
    message.set_edns(edns);
    message
}

fn srv_targets(records: &[Record]) -> Vec<String> {
    let target = |record: &Record| match &record.data {
        RData::SRV(srv) => Some(srv.target.to_string()),
        _ => None,
    };
    records.iter().filter_map(target).collect()
}

#[track_caller]
fn assert_refusal(answer: &Message, code: ResponseCode) {
    // By number: BADVERS and BADSIG share 16 in different places.
    assert_eq!(u16::from(answer.metadata.response_code), u16::from(code));
    assert!(!answer.metadata.authoritative);
    let records = (&answer.answers, &answer.authorities, &answer.additionals);
    assert_eq!(records, (&vec![], &vec![], &vec![]));
}

#[track_caller]
fn assert_negative(answer: &Message, code: ResponseCode, zone: &str) {
    assert_eq!(answer.metadata.response_code, code);
    assert!(answer.metadata.authoritative);
    assert!(answer.answers.is_empty());
    let [soa] = &answer.authorities[..] else {
        panic!("one SOA expected: {:?}", answer.authorities)
    };
    assert_eq!(soa.name.to_string(), zone);
    let RData::SOA(data) = &soa.data else {
        panic!("{soa} is no SOA")
    };
    assert_eq!(data.minimum, soa.ttl, "RFC 2308: the smaller one counts");
    assert_eq!((data.serial, soa.ttl), (2026, 30));
}

#[test]
fn srv_comes_with_the_addresses_of_its_targets() {
    let answer = Bench::new(3).ask(XMPP, RecordType::SRV);
    let header = &answer.metadata;
    assert_eq!(
        (header.id, header.response_code),
        (0x4711, ResponseCode::NoError)
    );
    assert!(header.authoritative && header.recursion_desired);
    assert!(!header.recursion_available && !header.truncation);
    assert_eq!(answer.answers.len(), 3);
    assert!(answer.answers.iter().all(|record| record.ttl == 30));
    let addresses = answer
        .additionals
        .iter()
        .map(|r| (r.name.to_string(), r.record_type()));
    let expected = (1..=3).flat_map(|n| {
        [RecordType::A, RecordType::AAAA].map(|t| (format!("n{n}.nodes.example.net."), t))
    });
    assert_eq!(addresses.collect::<BTreeSet<_>>(), expected.collect());
}

#[test]
fn every_record_is_first_equally_often() {
    let bench = Bench::new(3);
    let mut first = BTreeMap::new();
    for _ in 0..300 {
        let answer = bench.ask(XMPP, RecordType::SRV);
        assert_eq!(srv_targets(&answer.answers).len(), 3);
        *first
            .entry(srv_targets(&answer.answers)[0].clone())
            .or_insert(0) += 1;
    }
    assert_eq!(first.into_values().collect::<Vec<_>>(), [100, 100, 100]);
}

#[test]
fn the_case_of_the_question_is_kept() {
    let mixed = "_xMPp-SERver._tCp.ExAmPle.COM.";
    let answer = Bench::new(2).ask(mixed, RecordType::SRV);
    assert_eq!(answer.queries[0].name().to_string(), mixed);
    assert_eq!(answer.answers.len(), 2);
    for record in &answer.answers {
        assert_eq!(record.name.to_string(), mixed);
    }
}

#[test]
fn what_is_not_there_is_told_apart() {
    let bench = Bench::new(2);
    let (nodata, nxdomain) = (ResponseCode::NoError, ResponseCode::NXDomain);
    for (name, record_type, code, zone) in [
        // The name exists, the type doesn't.
        (XMPP, RecordType::A, nodata, "example.com."),
        ("example.com.", RecordType::A, nodata, "example.com."),
        (
            "n1.nodes.example.net.",
            RecordType::TXT,
            nodata,
            "nodes.example.net.",
        ),
        // The name exists only as a branch.
        ("_tcp.example.com.", RecordType::SRV, nodata, "example.com."),
        (
            "conference.example.com.",
            RecordType::A,
            nodata,
            "example.com.",
        ),
        // The name doesn't exist; no wildcard stands in.
        ("nope.example.com.", RecordType::A, nxdomain, "example.com."),
        ("*.example.com.", RecordType::A, nxdomain, "example.com."),
        (
            "x._xmpp-server._tcp.example.com.",
            RecordType::SRV,
            nxdomain,
            "example.com.",
        ),
        (
            "_jabber._tcp.example.org.",
            RecordType::SRV,
            nxdomain,
            "_tcp.example.org.",
        ),
        (
            "n9.nodes.example.net.",
            RecordType::A,
            nxdomain,
            "nodes.example.net.",
        ),
    ] {
        assert_negative(&bench.ask(name, record_type), code, zone);
    }
}

#[test]
fn every_apex_answers_for_its_authority() {
    let bench = Bench::new(2);
    for zone in ["example.com.", "_tcp.example.org.", "nodes.example.net."] {
        let soa = bench.ask(zone, RecordType::SOA);
        assert!(
            matches!(&soa.answers[..], [r] if r.record_type() == RecordType::SOA),
            "{zone}"
        );
        let ns = bench.ask(zone, RecordType::NS);
        assert_eq!((ns.answers.len(), ns.additionals.len()), (2, 4), "{zone}");
    }
}

#[test]
fn any_gets_one_record_set() {
    let bench = Bench::new(3);
    let answer = bench.ask("n1.nodes.example.net.", RecordType::ANY);
    assert_eq!(answer.answers.len(), 1);
    let answer = bench.ask("example.com.", RecordType::ANY);
    assert_eq!(answer.answers.len(), 1, "SOA alone");
    assert_negative(
        &bench.ask("nope.example.com.", RecordType::ANY),
        ResponseCode::NXDomain,
        "example.com.",
    );
}

#[test]
fn questions_that_are_not_for_us_are_refused() {
    let bench = Bench::new(2);
    for name in [
        "example.org.",
        "www.example.org.",
        "com.",
        ".",
        "myexample.com.",
    ] {
        assert_refusal(&bench.ask(name, RecordType::A), ResponseCode::Refused);
    }
    for record_type in [RecordType::AXFR, RecordType::IXFR] {
        for transport in [Transport::Udp, Transport::Tcp] {
            let message = question("example.com.", record_type);
            let answer = bench.send(&message, "198.51.100.1:4000", transport);
            assert_refusal(&answer, ResponseCode::Refused);
        }
    }
    for class in [DNSClass::CH, DNSClass::HS, DNSClass::ANY, DNSClass::NONE] {
        let mut message = question("version.bind.", RecordType::TXT);
        message.queries[0].set_query_class(class);
        let answer = bench.send(&message, "198.51.100.1:4000", Transport::Udp);
        assert_refusal(&answer, ResponseCode::Refused);
    }
    for code in [0, 41, 128, 249, 250, 253, 254] {
        let answer = bench.ask("example.com.", RecordType::from(code));
        assert_refusal(&answer, ResponseCode::NotImp);
    }
}

#[test]
fn other_operations_are_not_implemented() {
    for op_code in [
        OpCode::Notify,
        OpCode::Update,
        OpCode::Status,
        OpCode::Unknown(6),
    ] {
        let mut message = question("example.com.", RecordType::SOA);
        message.metadata.op_code = op_code;
        let answer = Bench::new(1).send(&message, "198.51.100.1:4000", Transport::Udp);
        assert_refusal(&answer, ResponseCode::NotImp);
        assert_eq!(answer.metadata.op_code, op_code);
    }
}

#[test]
fn what_must_not_be_answered_is_not() {
    let bench = Bench::new(1);
    let asked = question(XMPP, RecordType::SRV).to_vec().unwrap();
    let mut reply = question(XMPP, RecordType::SRV);
    reply.metadata.message_type = MessageType::Response;
    for (message, asker) in [
        (&[][..], "198.51.100.1:4000"),
        (&asked[..11], "198.51.100.1:4000"),
        (&reply.to_vec().unwrap()[..], "198.51.100.1:4000"),
        (&asked[..], "198.51.100.1:0"),
    ] {
        assert_eq!(bench.raw(message, asker, Transport::Udp), Outcome::Ignored);
    }
}

#[test]
fn malformed_questions_get_formerr() {
    let bench = Bench::new(1);
    let asked = question(XMPP, RecordType::SRV).to_vec().unwrap();
    let with_counts = |at: usize, count: u16| {
        let mut message = asked.clone();
        message[at..at + 2].copy_from_slice(&count.to_be_bytes());
        message
    };
    let mut looping = asked.clone();
    looping[12..14].copy_from_slice(&[0xc0, 12]);
    for message in [
        asked[..20].to_vec(),
        with_counts(4, 0),
        with_counts(4, 2),
        with_counts(4, u16::MAX),
        with_counts(6, u16::MAX),
        with_counts(10, 1),
        looping,
    ] {
        match bench.raw(&message, "198.51.100.1:4000", Transport::Udp) {
            Outcome::Answer(code, answer) => {
                assert_eq!(code, ResponseCode::FormErr, "{message:02x?}");
                assert!(answer.len() <= message.len(), "{message:02x?}");
            }
            other => panic!("{message:02x?}: {other:?}"),
        }
    }
}

#[test]
fn edns_is_answered_in_kind_and_clamped() {
    let bench = Bench::new(40);
    let full = with_edns(question(XMPP, RecordType::SRV), 4096);
    for asker_payload in [0, 512, 1000, 1232, 4096, u16::MAX] {
        let message = with_edns(question(XMPP, RecordType::SRV), asker_payload);
        let outcome = bench.raw(
            &message.to_vec().unwrap(),
            "198.51.100.1:4000",
            Transport::Udp,
        );
        let Outcome::Answer(_, wire) = outcome else {
            panic!("no answer")
        };
        assert!(wire.len() <= usize::from(asker_payload.clamp(512, 1232)));
        let answer = Message::from_vec(&wire).unwrap();
        assert!(answer.metadata.truncation && !answer.answers.is_empty());
        let edns = answer.edns.unwrap();
        assert_eq!((edns.max_payload(), edns.version()), (1232, 0));
        assert!(edns.flags().dnssec_ok, "RFC 3225: copied");
    }
    let whole = bench.send(&full, "198.51.100.1:4000", Transport::Tcp);
    assert!(!whole.metadata.truncation);
    assert_eq!((whole.answers.len(), whole.additionals.len()), (40, 80));
    assert!(whole.edns.is_some());
    assert!(
        bench.ask(XMPP, RecordType::A).edns.is_none(),
        "not asked for"
    );
}

#[test]
fn unknown_edns_versions_get_badvers() {
    let mut message = with_edns(question(XMPP, RecordType::SRV), 1232);
    message.edns.as_mut().unwrap().set_version(1);
    let answer = Bench::new(1).send(&message, "198.51.100.1:4000", Transport::Udp);
    assert_refusal(&answer, ResponseCode::BADVERS);
    assert_eq!(answer.edns.unwrap().version(), 0);
}

#[test]
fn without_edns_512_octets_are_the_limit() {
    let bench = Bench::new(40);
    let message = question(XMPP, RecordType::SRV).to_vec().unwrap();
    let Outcome::Answer(_, wire) = bench.raw(&message, "198.51.100.1:4000", Transport::Udp) else {
        panic!("no answer")
    };
    assert!(wire.len() <= 512);
    let answer = Message::from_vec(&wire).unwrap();
    assert!(answer.metadata.truncation && answer.answers.len() > 5);
}

#[test]
fn addresses_that_do_not_fit_are_left_out_without_truncation() {
    let bench = Bench::new(10);
    let answer = bench.ask(XMPP, RecordType::SRV);
    assert!(!answer.metadata.truncation);
    assert_eq!(answer.answers.len(), 10);
    assert!(answer.additionals.len() < 20);
}

#[test]
fn each_network_sees_its_view() {
    let bench = Bench::new(1);
    for (asker, expected) in [
        ("10.1.2.3:4000", "10.0.0.1"),
        ("[::ffff:10.1.2.3]:4000", "10.0.0.1"),
        ("198.51.100.1:4000", "192.0.2.1"),
        ("[2001:db8::77]:4000", "192.0.2.1"),
    ] {
        let message = question("n1.nodes.example.net.", RecordType::A);
        let answer = bench.send(&message, asker, Transport::Udp);
        let data: Vec<String> = answer.answers.iter().map(|r| r.data.to_string()).collect();
        assert_eq!(data, [expected], "{asker}");
    }
}

#[test]
fn an_isolated_node_sends_askers_elsewhere() {
    let mut isolated = published(&plan(), &nodes([1]));
    isolated.isolated = true;
    let bench = Bench::serving(&isolated);
    assert_refusal(&bench.ask(XMPP, RecordType::SRV), ResponseCode::ServFail);
    assert_refusal(
        &bench.ask("nope.example.com.", RecordType::A),
        ResponseCode::ServFail,
    );
    assert_refusal(
        &bench.ask("other.example.", RecordType::A),
        ResponseCode::Refused,
    );
    let unknown = Bench::serving(&Published::nothing());
    assert_refusal(&unknown.ask(XMPP, RecordType::SRV), ResponseCode::ServFail);
}

#[test]
fn a_flood_is_answered_with_little() {
    let mut bench = Bench::limited(&published(&plan(), &nodes(1..=20)), RrlConfig::default());
    let message = with_edns(question(XMPP, RecordType::SRV), 4096)
        .to_vec()
        .unwrap();
    let (mut received, mut sent, mut slipped) = (0, 0, 0);
    for _ in 0..2000 {
        received += message.len();
        bench.now += Duration::from_millis(1);
        match bench.raw(&message, "198.51.100.1:4000", Transport::Udp) {
            Outcome::Answer(_, answer) => sent += answer.len(),
            Outcome::Slipped(answer) => {
                sent += answer.len();
                slipped += 1;
                let answer = Message::from_vec(&answer).unwrap();
                assert!(answer.metadata.truncation && answer.answers.is_empty());
                assert_eq!(answer.metadata.id, 0x4711);
                assert_eq!(answer.queries.len(), 1);
            }
            Outcome::Limited => {}
            Outcome::Ignored => panic!("a good question"),
        }
    }
    assert!(sent <= 3 * received, "{sent} octets for {received}");
    assert!(slipped > 900, "{slipped}");
    let over_tcp = bench.raw(&message, "198.51.100.1:4000", Transport::Tcp);
    assert!(matches!(
        over_tcp,
        Outcome::Answer(ResponseCode::NoError, _)
    ));
}

#[test]
fn errors_are_limited_too() {
    let bench = Bench::limited(&published(&plan(), &nodes([1])), RrlConfig::default());
    let garbage = [0; 12];
    let answered = (0..100)
        .filter(|_| {
            let outcome = bench.raw(&garbage, "198.51.100.1:4000", Transport::Udp);
            matches!(outcome, Outcome::Answer(..))
        })
        .count();
    assert_eq!(answered, 20);
}
