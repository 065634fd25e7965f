use std::collections::HashMap;

use super::{
    Answer, Failure, Hop, Input, LocateError, Locator, Naptr, Output, Query, Route, Srv, Target,
};
use crate::generator::Generator;
use crate::uri::Uri;
use crate::via::Transport;

fn generator(seed: u64) -> Generator {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    Generator::new(bytes)
}

/// A little DNS: `SRV name`, `NAPTR name`, `ADDR name` to an answer.
type Zone = HashMap<String, Answer>;

fn srv(records: &[(u16, u16, u16, &str)]) -> Answer {
    let record = |(priority, weight, port, target): &(u16, u16, u16, &str)| Srv {
        priority: *priority,
        weight: *weight,
        port: *port,
        target: (*target).to_owned(),
    };
    Answer::Srv(records.iter().map(record).collect())
}

fn naptr(records: &[(u16, u16, &str, &str, &str)]) -> Answer {
    let record =
        |(order, preference, flags, service, replacement): &(u16, u16, &str, &str, &str)| Naptr {
            order: *order,
            preference: *preference,
            flags: (*flags).to_owned(),
            service: (*service).to_owned(),
            replacement: (*replacement).to_owned(),
        };
    Answer::Naptr(records.iter().map(record).collect())
}

fn addresses(addresses: &[&str]) -> Answer {
    Answer::Addresses(addresses.iter().map(|a| a.parse().unwrap()).collect())
}

fn zone(entries: &[(&str, Answer)]) -> Zone {
    entries
        .iter()
        .map(|(name, answer)| ((*name).to_owned(), answer.clone()))
        .collect()
}

/// Answers queries until there is a target or an end; returns what was asked.
fn next(locator: &mut Locator, zone: &Zone) -> (Vec<String>, Result<Target, LocateError>) {
    let mut asked = Vec::new();
    loop {
        match locator
            .poll_output()
            .expect("a locator never stops without a word")
        {
            Output::Request(id, query) => {
                let key = match query {
                    Query::Srv(name) => format!("SRV {name}"),
                    Query::Naptr(name) => format!("NAPTR {name}"),
                    Query::Addresses(name) => format!("ADDR {name}"),
                };
                let answer = zone.get(&key).cloned().unwrap_or(Answer::NotFound);
                asked.push(key);
                locator.handle_input(Input::Answer(id, answer));
            }
            Output::Try(target) => return (asked, Ok(target)),
            Output::Exhausted(error) => return (asked, Err(error)),
        }
    }
}

/// All targets, each of which fails to connect.
fn all(locator: &mut Locator, zone: &Zone) -> (Vec<String>, LocateError) {
    let mut tried = Vec::new();
    loop {
        match next(locator, zone).1 {
            Ok(target) => {
                tried.push(format!("{} {}", target.address, target.hop.host));
                locator.handle_input(Input::Failed(Failure::Connection));
            }
            Err(error) => return (tried, error),
        }
    }
}

fn dns(plain: bool) -> Locator {
    Locator::new("Example.COM.", &Route::Dns { plain }, generator(7))
}

fn cluster() -> Zone {
    zone(&[
        (
            "SRV _sipfederationtls._tcp.example.com",
            srv(&[
                (10, 0, 5061, "b.example.com."),
                (5, 0, 5062, "a.example.com."),
            ]),
        ),
        (
            "SRV _sips._tcp.example.com",
            srv(&[(1, 0, 5061, "other.example.com")]),
        ),
        (
            "ADDR a.example.com",
            addresses(&["2001:db8::a", "192.0.2.1"]),
        ),
        ("ADDR b.example.com", addresses(&["192.0.2.2"])),
        ("ADDR other.example.com", addresses(&["192.0.2.3"])),
        ("ADDR example.com", addresses(&["192.0.2.4"])),
    ])
}

#[test]
fn federation_records_come_first_and_alone() {
    let (asked, target) = next(&mut dns(false), &cluster());
    assert_eq!(
        asked,
        [
            "SRV _sipfederationtls._tcp.example.com",
            "ADDR a.example.com"
        ]
    );
    let target = target.unwrap();
    assert_eq!(target.address, "[2001:db8::a]:5062".parse().unwrap());
    assert_eq!(target.hop.host, "a.example.com");
    assert_eq!(target.hop.transport, Transport::Tls);
    assert_eq!(target.domain, "example.com");
    let (tried, error) = all(&mut dns(false), &cluster());
    assert_eq!(
        tried,
        [
            "[2001:db8::a]:5062 a.example.com",
            "192.0.2.1:5062 a.example.com",
            "192.0.2.2:5061 b.example.com"
        ]
    );
    assert_eq!(error, LocateError::Unreachable);
}

#[test]
fn each_step_is_asked_when_those_before_have_nothing() {
    let mut zone = cluster();
    zone.remove("SRV _sipfederationtls._tcp.example.com");
    let (asked, target) = next(&mut dns(false), &zone);
    assert_eq!(
        asked,
        [
            "SRV _sipfederationtls._tcp.example.com",
            "NAPTR example.com",
            "SRV _sips._tcp.example.com",
            "ADDR other.example.com"
        ]
    );
    assert_eq!(target.unwrap().address, "192.0.2.3:5061".parse().unwrap());
    zone.remove("SRV _sips._tcp.example.com");
    let (asked, target) = next(&mut dns(false), &zone);
    assert_eq!(asked.last().unwrap(), "ADDR example.com");
    assert_eq!(target.unwrap().address, "192.0.2.4:5061".parse().unwrap());
    zone.remove("ADDR example.com");
    assert_eq!(next(&mut dns(false), &zone).1, Err(LocateError::NoServer));
}

#[test]
fn naptr_names_the_srv_records() {
    let records = naptr(&[
        (1, 1, "u", "SIPS+D2T", "no.example.com"),
        (2, 9, "s", "SIPS+D2T", "_sips._tcp.second.example.net."),
        (2, 1, "S", "sips+d2t", "_sips._tcp.first.example.net"),
        (1, 0, "s", "SIP+D2T", "_sip._tcp.plain.example.net"),
        (1, 0, "s", "SIP+D2U", "_sip._udp.example.com"),
    ]);
    let mut zone = zone(&[
        ("NAPTR example.com", records),
        (
            "SRV _sips._tcp.second.example.net",
            srv(&[(1, 1, 7000, "s.example.net")]),
        ),
        (
            "SRV _sip._tcp.plain.example.net",
            srv(&[(1, 1, 5060, "p.example.net")]),
        ),
        ("ADDR s.example.net", addresses(&["192.0.2.9"])),
        ("ADDR p.example.net", addresses(&["192.0.2.8"])),
    ]);
    let (asked, target) = next(&mut dns(false), &zone);
    assert_eq!(
        asked[2..4],
        [
            "SRV _sips._tcp.first.example.net",
            "SRV _sips._tcp.second.example.net"
        ]
    );
    assert_eq!(target.unwrap().address, "192.0.2.9:7000".parse().unwrap());
    // Plain TCP only where it is allowed.
    let target = next(&mut dns(true), &zone).1.unwrap();
    assert_eq!(
        (target.hop.transport, target.hop.port),
        (Transport::Tcp, 5060)
    );
    // What it names has nothing: the usual name is asked.
    zone.remove("SRV _sips._tcp.second.example.net");
    let (asked, _) = next(&mut dns(false), &zone);
    assert!(asked.contains(&"SRV _sips._tcp.example.com".to_owned()));
}

#[test]
fn records_that_say_no_service_end_the_search() {
    let mut zone = cluster();
    zone.insert(
        "SRV _sipfederationtls._tcp.example.com".into(),
        srv(&[(0, 0, 0, ".")]),
    );
    let (asked, target) = next(&mut dns(false), &zone);
    assert_eq!(asked.len(), 1);
    assert_eq!(target, Err(LocateError::NoServer));
}

#[test]
fn a_dns_failure_is_told_from_an_absent_server() {
    let failed = zone(&[("SRV _sips._tcp.example.com", Answer::Failed)]);
    assert_eq!(next(&mut dns(false), &failed).1, Err(LocateError::Dns));
    // A later step that works is used all the same.
    let mut failed = cluster();
    failed.insert(
        "SRV _sipfederationtls._tcp.example.com".into(),
        Answer::Failed,
    );
    assert!(next(&mut dns(false), &failed).1.is_ok());
}

#[test]
fn a_server_that_answers_503_is_left_with_all_its_addresses() {
    for failure in [Failure::Unavailable, Failure::Timeout] {
        let mut locator = dns(false);
        let first = next(&mut locator, &cluster()).1.unwrap();
        assert_eq!(first.hop.host, "a.example.com");
        locator.handle_input(Input::Failed(failure));
        let second = next(&mut locator, &cluster()).1.unwrap();
        assert_eq!(second.hop.host, "b.example.com");
    }
}

#[test]
fn static_hosts_are_taken_in_their_order_and_dns_gives_only_addresses() {
    let hop = |host: &str, port| Hop {
        host: host.to_owned(),
        port,
        transport: Transport::Tls,
    };
    let route = Route::Static(vec![hop("b.example.com", 5071), hop("2001:db8::7", 5061)]);
    let mut locator = Locator::new("example.com", &route, generator(1));
    let (asked, first) = next(&mut locator, &cluster());
    assert_eq!(asked, ["ADDR b.example.com"]);
    assert_eq!(first.unwrap().address, "192.0.2.2:5071".parse().unwrap());
    locator.handle_input(Input::Failed(Failure::Connection));
    let second = next(&mut locator, &cluster()).1.unwrap();
    assert_eq!(second.address, "[2001:db8::7]:5061".parse().unwrap());
    locator.handle_input(Input::Failed(Failure::Connection));
    assert_eq!(
        next(&mut locator, &cluster()).1,
        Err(LocateError::Unreachable)
    );
    locator.handle_input(Input::Failed(Failure::Connection));
    assert_eq!(locator.poll_output(), None);
}

#[test]
fn an_address_or_a_port_in_a_uri_leaves_nothing_to_srv() {
    for (text, plain, asked, address, transport) in [
        (
            "sip:192.0.2.7;lr",
            false,
            vec![],
            "192.0.2.7:5061",
            Transport::Tls,
        ),
        (
            "sip:[2001:db8::7]:7061;transport=tls",
            false,
            vec![],
            "[2001:db8::7]:7061",
            Transport::Tls,
        ),
        (
            "sip:a@b.example.com:5065",
            false,
            vec!["ADDR b.example.com"],
            "192.0.2.2:5065",
            Transport::Tls,
        ),
        (
            "sip:192.0.2.7;transport=tcp",
            true,
            vec![],
            "192.0.2.7:5060",
            Transport::Tcp,
        ),
        // TCP is not taken where it is not allowed.
        (
            "sip:192.0.2.7;transport=tcp",
            false,
            vec![],
            "192.0.2.7:5061",
            Transport::Tls,
        ),
    ] {
        let uri = Uri::parse(text).unwrap();
        let mut locator = Locator::for_uri(&uri, plain, generator(1)).unwrap();
        let (got, target) = next(&mut locator, &cluster());
        let target = target.unwrap();
        assert_eq!(
            (got, target.address.to_string(), target.hop.transport),
            (
                asked.into_iter().map(str::to_owned).collect(),
                address.to_owned(),
                transport
            ),
            "{text}"
        );
    }
    let uri = Uri::parse("sip:bob@example.com").unwrap();
    let mut locator = Locator::for_uri(&uri, false, generator(1)).unwrap();
    assert_eq!(next(&mut locator, &cluster()).1.unwrap().hop.port, 5062);
    assert!(Locator::for_uri(&Uri::parse("tel:+1").unwrap(), false, generator(1)).is_none());
}

#[test]
fn late_and_foreign_answers_change_nothing() {
    let mut locator = dns(false);
    let Some(Output::Request(id, _)) = locator.poll_output() else {
        panic!("the first query");
    };
    locator.handle_input(Input::Failed(Failure::Connection));
    assert_eq!(locator.poll_output(), None);
    locator.handle_input(Input::Answer(id, Answer::NotFound));
    let Some(Output::Request(second, _)) = locator.poll_output() else {
        panic!("the second query");
    };
    locator.handle_input(Input::Answer(id, srv(&[(1, 1, 1, "evil.example")])));
    assert_eq!(locator.poll_output(), None);
    // An answer of another kind counts as none.
    locator.handle_input(Input::Answer(second, addresses(&["192.0.2.66"])));
    assert!(matches!(
        locator.poll_output(),
        Some(Output::Request(_, Query::Srv(_)))
    ));
}

#[test]
fn answers_are_bounded() {
    let many: Vec<String> = (0..100).map(|n| format!("h{n}.example.com")).collect();
    let records: Vec<_> = many
        .iter()
        .map(|name| (1, 1, 5061, name.as_str()))
        .collect();
    let mut zone = zone(&[("SRV _sipfederationtls._tcp.example.com", srv(&records))]);
    let twenty: Vec<String> = (0..20).map(|n| format!("192.0.2.{n}")).collect();
    let twenty: Vec<&str> = twenty.iter().map(String::as_str).collect();
    for name in &many {
        zone.insert(format!("ADDR {name}"), addresses(&twenty));
    }
    let (tried, _) = all(&mut dns(false), &zone);
    assert_eq!(tried.len(), super::MAX_RECORDS * super::MAX_ADDRESSES);
}

#[test]
fn weights_share_the_load_and_a_seed_repeats_the_order() {
    let records = |seed| {
        let Answer::Srv(records) = srv(&[
            (1, 0, 1, "zero.example"),
            (1, 30, 1, "small.example"),
            (1, 70, 1, "large.example"),
            (0, 1, 1, "first.example"),
        ]) else {
            unreachable!()
        };
        super::by_weight(records, &mut generator(seed))
    };
    let mut second = HashMap::new();
    for seed in 0..2_000 {
        let ordered = records(seed);
        assert_eq!(ordered.len(), 4);
        assert_eq!(ordered[0].target, "first.example");
        assert_eq!(ordered, records(seed));
        *second.entry(ordered[1].target.clone()).or_insert(0) += 1;
    }
    let large = second["large.example"];
    assert!((1_250..1_500).contains(&large), "{second:?}");
    assert!((450..750).contains(&second["small.example"]), "{second:?}");
    assert!(second["zero.example"] < 60, "{second:?}");
}
