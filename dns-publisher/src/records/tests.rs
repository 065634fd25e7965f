#![allow(clippy::unwrap_used)]
use std::collections::BTreeSet;

use super::*;
use crate::example::{all, name, node, nodes, plan, targets};
use crate::plan::ModeRule;
use crate::service::Services;

const XMPP: &str = "_xmpp-server._tcp.example.com";
const SIPS: &str = "_sips._tcp.example.com";

fn lines(set: &RecordSet, view: View, owner: &str) -> Vec<String> {
    let records = set.table(view).get(&name(owner));
    let lines = records.into_iter().flatten().map(Record::to_string);
    lines.collect()
}

fn with_mode(mode: PublishMode) -> PublishPlan {
    let mut plan = plan();
    plan.modes.rules.push(ModeRule {
        service: Some(Service::XmppServer),
        domain: Some(name("example.com")),
        mode,
    });
    plan
}

#[test]
fn every_service_of_every_domain_in_our_zones_has_a_record_for_each_node() {
    let set = RecordSet::build(&plan(), &nodes([1, 2, 3]), None);
    for domain in ["example.com", "example.org"] {
        for service in Service::ALL {
            let owner = format!("{service}.{domain}");
            assert_eq!(targets(&set, &owner), ["n1", "n2", "n3"], "{owner}");
        }
    }
    assert_eq!(
        lines(&set, View::Public, XMPP)[0],
        "30 IN SRV 10 10 5269 n1.nodes.example.net."
    );
}

#[test]
fn chat_domains_have_what_other_servers_use_and_nothing_else() {
    let set = RecordSet::build(&plan(), &nodes([1, 2]), None);
    for service in Service::ALL {
        let owner = format!("{service}.conference.example.com");
        let expected = if service.serves_chat() { 2 } else { 0 };
        assert_eq!(targets(&set, &owner).len(), expected, "{owner}");
    }
}

#[test]
fn names_outside_our_zones_are_not_published() {
    let mut plan = plan();
    plan.local_domains.push(name("elsewhere.example"));
    let set = RecordSet::build(&plan, &nodes([1]), None);
    let outside = |owner: &&DnsName| plan.zone_of(owner).is_none();
    assert_eq!(set.table(View::Public).keys().find(outside), None);
}

#[test]
fn modes_choose_the_nodes_of_one_service_and_leave_the_others_alone() {
    let subset = PublishMode::Subset(BTreeSet::from(["n2".into(), "n3".into(), "n9".into()]));
    for (mode, expected) in [
        (PublishMode::All, vec!["n1", "n2", "n3"]),
        (subset, vec!["n2", "n3"]),
        (PublishMode::Single, vec!["n1"]),
    ] {
        let set = RecordSet::build(&with_mode(mode.clone()), &nodes([1, 2, 3]), None);
        assert_eq!(targets(&set, XMPP), expected, "{mode:?}");
        assert_eq!(targets(&set, SIPS).len(), 3, "{mode:?}");
    }
}

#[test]
fn only_nodes_that_offer_a_service_are_its_targets() {
    let mut nodes = nodes([1, 2, 3]);
    nodes[1].services = Services::NONE.with(Service::Sips);
    let set = RecordSet::build(&plan(), &nodes, None);
    assert_eq!(targets(&set, XMPP), ["n1", "n3"]);
    assert_eq!(targets(&set, SIPS), ["n1", "n2", "n3"]);
}

#[test]
fn a_single_target_stays_until_it_leaves() {
    let plan = with_mode(PublishMode::Single);
    let mut previous = None;
    for (live, expected) in [
        (vec![2], "n2"),
        (vec![2, 3], "n2"),
        (vec![2, 3, 4], "n2"),
        (vec![3, 4], "n3"),
        (vec![3], "n3"),
    ] {
        let set = RecordSet::build(&plan, &nodes(live.clone()), previous.as_ref());
        assert_eq!(targets(&set, XMPP), [expected], "{live:?}");
        previous = Some(set);
    }
    // The old target comes back: younger now, whatever its name.
    let mut back = node(2);
    back.started = 1000;
    let set = RecordSet::build(&plan, &[back, node(3)], previous.as_ref());
    assert_eq!(targets(&set, XMPP), ["n3"]);
}

#[test]
fn a_node_that_just_joined_names_the_same_single_target_as_the_others() {
    let plan = with_mode(PublishMode::Single);
    let old = RecordSet::build(&plan, &nodes([5, 7]), None);
    let mut joined = node(1);
    joined.started = 99;
    let live = [joined, node(5), node(7)];
    let (veteran, newcomer) = (
        RecordSet::build(&plan, &live, Some(&old)),
        RecordSet::build(&plan, &live, None),
    );
    assert_eq!(targets(&veteran, XMPP), ["n5"]);
    assert_eq!(veteran.content(), newcomer.content());
}

#[test]
fn with_ages_unknown_the_previous_single_target_stays() {
    let plan = with_mode(PublishMode::Single);
    let ageless = |number| PublishedNode {
        started: 0,
        ..node(number)
    };
    let before = RecordSet::build(&plan, &[ageless(5)], None);
    let after = RecordSet::build(&plan, &[ageless(1), ageless(5)], Some(&before));
    assert_eq!(targets(&after, XMPP), ["n5"]);
}

#[test]
fn the_last_known_good_stays_when_nobody_is_left() {
    let before = RecordSet::build(&plan(), &nodes([1, 2]), None);
    let after = RecordSet::build(&plan(), &[], Some(&before));
    assert_eq!(after, before);
    let long_after = RecordSet::build(&plan(), &[], Some(&after));
    assert_eq!(long_after, before);
}

#[test]
fn a_service_whose_last_node_died_keeps_it_with_its_address() {
    let mut live = nodes([1, 2]);
    live[1].services = Services::NONE.with(Service::Sips);
    let before = RecordSet::build(&plan(), &live, None);
    let after = RecordSet::build(&plan(), &live[1..], Some(&before));
    assert_eq!(targets(&after, XMPP), ["n1"]);
    assert_eq!(targets(&after, SIPS), ["n2"]);
    assert_eq!(
        lines(&after, View::Public, "n1.nodes.example.net"),
        ["30 IN A 192.0.2.1", "30 IN AAAA 2001:db8::1"]
    );
    let back = RecordSet::build(&plan(), &nodes([2, 3]), Some(&after));
    assert_eq!(targets(&back, XMPP), ["n2", "n3"]);
    assert!(lines(&back, View::Public, "n1.nodes.example.net").is_empty());
}

#[test]
fn a_service_that_living_nodes_gave_up_goes() {
    let before = RecordSet::build(&plan(), &nodes([1]), None);
    let mut live = nodes([1]);
    live[0].services = Services::NONE.with(Service::Sips);
    let after = RecordSet::build(&plan(), &live, Some(&before));
    assert!(targets(&after, XMPP).is_empty());
}

#[test]
fn a_domain_that_left_the_plan_goes() {
    let before = RecordSet::build(&plan(), &nodes([1]), None);
    let mut smaller = plan();
    smaller.local_domains = vec![name("example.org")];
    let after = RecordSet::build(&smaller, &[], Some(&before));
    assert!(targets(&after, XMPP).is_empty());
    assert_eq!(targets(&after, "_xmpp-server._tcp.example.org"), ["n1"]);
}

#[test]
fn each_view_has_its_addresses() {
    let mut live = nodes([1, 2]);
    live[1].private.clear();
    let set = RecordSet::build(&plan(), &live, None);
    let first = "n1.nodes.example.net";
    assert_eq!(lines(&set, View::Private, first), ["30 IN A 10.0.0.1"]);
    assert_eq!(lines(&set, View::Public, first).len(), 2);
    let second = "n2.nodes.example.net";
    assert_eq!(
        lines(&set, View::Private, second),
        lines(&set, View::Public, second)
    );
}

#[test]
fn a_node_without_public_addresses_is_a_target_inside_only() {
    let mut live = nodes([1, 2]);
    live[1].public.clear();
    let set = RecordSet::build(&plan(), &live, None);
    let hosts = |view| {
        set.targets(view, Service::XmppServer, &name("example.com"))
            .count()
    };
    assert_eq!((hosts(View::Public), hosts(View::Private)), (1, 2));
    // With its host name in somebody else's zone the addresses are not ours to know.
    live[1].host = name("n2.hosting.example");
    let set = RecordSet::build(&plan(), &live, None);
    assert_eq!(targets(&set, XMPP), ["n1", "n2"]);
}

#[test]
fn every_zone_has_soa_and_name_servers_and_the_soa_lives_as_long_as_a_negative_answer() {
    let mut plan = plan();
    plan.negative_ttl = Duration::from_secs(15);
    plan.name_servers = vec![
        NameServer {
            host: name("ns1.example.com"),
            public: vec![[192, 0, 2, 53].into()],
            private: vec![],
        },
        NameServer {
            host: name("ns.elsewhere.example"),
            public: vec![],
            private: vec![],
        },
    ];
    let set = RecordSet::build(&plan, &nodes([1]), None);
    for zone in ["example.com", "_tcp.example.org", "nodes.example.net"] {
        assert_eq!(
            lines(&set, View::Public, zone),
            [
                "15 IN SOA ns1.example.com. hostmaster.example.com. 300 60 86400 15",
                "3600 IN NS ns.elsewhere.example.",
                "3600 IN NS ns1.example.com.",
            ]
        );
    }
    assert_eq!(
        lines(&set, View::Private, "ns1.example.com"),
        ["3600 IN A 192.0.2.53"]
    );
}

#[test]
fn a_name_server_keeps_its_static_address_when_its_node_dies() {
    let mut plan = plan();
    plan.name_servers = vec![NameServer {
        host: name("n1.nodes.example.net"),
        public: vec![[198, 51, 100, 1].into()],
        private: vec![],
    }];
    for live in [nodes([1, 2]), nodes([2])] {
        let set = RecordSet::build(&plan, &live, None);
        assert_eq!(
            lines(&set, View::Public, "n1.nodes.example.net"),
            ["3600 IN A 198.51.100.1"]
        );
    }
}

#[test]
fn without_configured_name_servers_every_node_is_one() {
    let set = RecordSet::build(&plan(), &nodes([2, 1]), None);
    let apex = lines(&set, View::Public, "example.com");
    assert!(apex[0].contains("SOA n1.nodes.example.net. "), "{apex:?}");
    assert_eq!(apex.len(), 3);
}

#[test]
fn content_tells_changes_but_not_the_order_of_nodes() {
    let set = RecordSet::build(&plan(), &nodes([1, 2]), None);
    let same = RecordSet::build(&plan(), &nodes([2, 1]), None);
    assert_eq!(set.content(), same.content());
    let mut moved = nodes([1, 2]);
    moved[0].private = vec![[10, 9, 9, 9].into()];
    for other in [nodes([1]), nodes([1, 2, 3]), moved] {
        let other = RecordSet::build(&plan(), &other, None);
        assert_ne!(set.content(), other.content());
    }
}

#[test]
fn limits_of_the_formats_hold() {
    let long = [
        "a".repeat(60),
        "b".repeat(60),
        "c".repeat(60),
        "d".repeat(50),
    ]
    .join(".");
    let mut plan = plan();
    plan.zones.push(name(&long));
    plan.local_domains.push(name(&long));
    plan.ttl = Duration::MAX;
    let set = RecordSet::build(&plan, &nodes([1]), None);
    assert_eq!(targets(&set, XMPP), ["n1"]);
    assert!(lines(&set, View::Public, XMPP)[0].starts_with("2147483647 IN SRV"));
    assert_eq!(all(), nodes([1])[0].services);
}

const SIP: &str = "_sipfederationtls._tcp.example.com";

/// The addresses of one family of the host that stands for SIP.
fn addresses(set: &RecordSet, kind: &str) -> Vec<String> {
    let mut lines = lines(set, View::Public, "sip.example.com");
    lines.retain(|line| line.split(' ').nth(2) == Some(kind));
    lines
}

#[test]
fn a_sip_host_stands_for_all_nodes_inside_the_domain() {
    let mut plan = plan();
    plan.zones.push(name("example.com"));
    plan.sip_hosts
        .insert(name("example.com"), name("sip.example.com"));
    let set = RecordSet::build(&plan, &nodes([1, 2, 3]), None);
    for owner in [SIP, SIPS] {
        assert_eq!(
            lines(&set, View::Public, owner),
            ["30 IN SRV 10 10 5061 sip.example.com."]
        );
    }
    assert_eq!(addresses(&set, "A").len(), 3);
    assert_eq!(addresses(&set, "AAAA").len(), 3);
    // Other services and other domains keep the nodes' hosts.
    assert_eq!(targets(&set, XMPP), ["n1", "n2", "n3"]);
    assert_eq!(targets(&set, "_sips._tcp.example.org"), ["n1", "n2", "n3"]);
}

#[test]
fn a_dead_nodes_address_leaves_the_sip_host_and_the_last_one_stays() {
    let mut plan = plan();
    plan.zones.push(name("example.com"));
    plan.sip_hosts
        .insert(name("example.com"), name("sip.example.com"));
    let three = RecordSet::build(&plan, &nodes([1, 2, 3]), None);
    let one = RecordSet::build(&plan, &nodes([2]), Some(&three));
    assert_eq!(addresses(&one, "A"), ["30 IN A 192.0.2.2"]);
    assert_eq!(addresses(&one, "AAAA"), ["30 IN AAAA 2001:db8::2"]);
    let none = RecordSet::build(&plan, &[], Some(&one));
    for kind in ["A", "AAAA"] {
        assert_eq!(addresses(&none, kind), addresses(&one, kind));
    }
    assert_eq!(
        lines(&none, View::Public, SIP),
        lines(&one, View::Public, SIP)
    );
}

#[test]
fn a_single_sip_host_has_one_address() {
    let mut plan = plan();
    plan.zones.push(name("example.com"));
    plan.sip_hosts
        .insert(name("example.com"), name("sip.example.com"));
    for service in [Service::SipFederation, Service::Sips] {
        plan.modes.rules.push(ModeRule {
            service: Some(service),
            domain: None,
            mode: PublishMode::Single,
        });
    }
    let set = RecordSet::build(&plan, &nodes([1, 2, 3]), None);
    assert_eq!(addresses(&set, "A").len(), 1);
    assert_eq!(addresses(&set, "AAAA").len(), 1);
}
