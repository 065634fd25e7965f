#![allow(clippy::unwrap_used)]
use std::time::Duration;

use super::*;
use crate::example::{nodes, plan, targets};

const XMPP: &str = "_xmpp-server._tcp.example.com";
const CLOCK: u64 = 1_800_000_000;

/// A few publications on one virtual clock that gossip their announcements.
struct Cluster {
    members: Vec<Publication>,
    now: Instant,
    last: Vec<Option<Published>>,
}

impl Cluster {
    #[expect(
        clippy::disallowed_methods,
        reason = "any origin of virtual time will do"
    )]
    fn new(size: usize) -> Self {
        let member = || Publication::new(Arc::new(plan()), ScheduleConfig::default());
        Self {
            members: (0..size).map(|_| member()).collect(),
            now: Instant::now(),
            last: vec![None; size],
        }
    }

    fn input(&mut self, member: usize, input: PublicationInput) {
        // Wall clocks differ by a second each.
        let clock = CLOCK + member as u64;
        self.members[member].handle_input(self.now, clock, input);
        while let Some(output) = self.members[member].poll_output() {
            self.last[member] = Some(output);
        }
    }

    fn everybody(&mut self, input: &PublicationInput) {
        for member in 0..self.members.len() {
            self.input(member, input.clone());
        }
    }

    fn gossip(&mut self) {
        for member in 0..self.members.len() {
            let others = (0..self.members.len()).filter(|other| *other != member);
            let heard = others.filter_map(|other| self.last[other].as_ref()?.announcement());
            let heard = heard.collect();
            self.input(member, PublicationInput::Announcements(heard));
        }
    }

    fn pass(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while let Some(at) = self.members.iter().filter_map(|m| m.poll_timeout()).min() {
            if at > end {
                break;
            }
            self.now = at;
            self.everybody(&PublicationInput::TimerFired);
        }
        self.now = end;
    }

    fn published(&self, member: usize) -> &Published {
        self.last[member].as_ref().unwrap()
    }

    fn targets(&self, member: usize) -> Vec<String> {
        targets(self.published(member).records.as_ref().unwrap(), XMPP)
    }
}

fn live(numbers: impl IntoIterator<Item = u8>) -> PublicationInput {
    PublicationInput::Nodes(nodes(numbers))
}

#[test]
fn nothing_is_published_before_a_node_is_known() {
    let mut cluster = Cluster::new(1);
    cluster.input(0, PublicationInput::Isolated(false));
    cluster.input(0, live([]));
    cluster.input(0, PublicationInput::Plan(Arc::new(plan())));
    assert!(cluster.published(0).records.is_none());
    assert_eq!(cluster.published(0).announcement(), None);
}

#[test]
fn a_new_cluster_comes_to_one_serial() {
    let mut cluster = Cluster::new(3);
    cluster.everybody(&PublicationInput::Isolated(false));
    cluster.everybody(&live([1, 2, 3]));
    cluster.gossip();
    cluster.gossip();
    let first = cluster.published(0).announcement().unwrap();
    assert_eq!(first.serial, Serial((CLOCK + 2) as u32));
    for member in 1..3 {
        assert_eq!(cluster.published(member).announcement(), Some(first));
    }
}

#[test]
fn a_death_reaches_the_zones_at_once_under_a_newer_serial() {
    let mut cluster = Cluster::new(2);
    cluster.everybody(&live([1, 2, 3]));
    cluster.gossip();
    let before = cluster.published(0).serial;
    cluster.everybody(&live([1, 2]));
    cluster.gossip();
    assert_eq!(cluster.targets(0), ["n1", "n2"]);
    assert_eq!(cluster.published(0), cluster.published(1));
    assert!(cluster.published(0).serial.is_newer_than(before));
}

#[test]
fn a_view_that_becomes_empty_changes_nothing() {
    let mut cluster = Cluster::new(1);
    cluster.everybody(&live([1, 2, 3]));
    let before = cluster.published(0).clone();
    cluster.everybody(&live([]));
    cluster.pass(600);
    assert_eq!(cluster.published(0), &before);
    cluster.everybody(&live([2]));
    assert_eq!(cluster.targets(0), ["n2"]);
}

#[test]
fn isolation_is_published_at_once_and_leaves_serial_and_records() {
    let mut cluster = Cluster::new(1);
    cluster.everybody(&PublicationInput::Isolated(false));
    cluster.everybody(&live([1, 2]));
    let before = cluster.published(0).clone();
    cluster.everybody(&PublicationInput::Isolated(true));
    let isolated = Published {
        isolated: true,
        ..before
    };
    assert_eq!(cluster.published(0), &isolated);
}

#[test]
fn a_new_plan_is_published_at_once() {
    let mut cluster = Cluster::new(1);
    cluster.everybody(&live([1]));
    let before = cluster.published(0).serial;
    let mut other = plan();
    other.ttl = Duration::from_secs(60);
    cluster.everybody(&PublicationInput::Plan(Arc::new(other)));
    assert!(cluster.published(0).serial.is_newer_than(before));
}

#[test]
fn the_same_view_again_publishes_nothing() {
    let mut cluster = Cluster::new(1);
    cluster.everybody(&live([1, 2]));
    cluster.last[0] = None;
    cluster.everybody(&live([1, 2]));
    cluster.everybody(&PublicationInput::Plan(Arc::new(plan())));
    cluster.everybody(&PublicationInput::Announcements(vec![]));
    assert_eq!(cluster.last[0], None);
}

/// Random deaths, returns and cuts in gossip: whatever happens, no name server serves an empty set,
/// serials never go back, and once all is quiet every node serves the same under the same serial.
#[test]
fn seeded_histories_keep_the_invariants() {
    for seed in 0..300u64 {
        let mut random = seed;
        let mut next = |bound: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) % bound
        };
        let mut cluster = Cluster::new(3);
        cluster.everybody(&live([1, 2, 3]));
        for step in 0..40 {
            let before: Vec<Serial> = (0..3).map(|m| cluster.published(m).serial).collect();
            match next(4) {
                0 => cluster.gossip(),
                1 => cluster.pass(next(10)),
                _ => {
                    let set = next(8);
                    let alive = (1..=3).filter(|n| set & (1 << (n - 1)) != 0);
                    cluster.input(next(3) as usize, live(alive));
                }
            }
            for (member, before) in before.into_iter().enumerate() {
                let serial = cluster.published(member).serial;
                let grown = serial == before || serial.is_newer_than(before);
                assert!(grown, "seed {seed} step {step}: {before} to {serial}");
                assert!(
                    !cluster.targets(member).is_empty(),
                    "seed {seed} step {step}"
                );
            }
        }
        cluster.everybody(&live([1, 3]));
        cluster.pass(700);
        cluster.gossip();
        cluster.gossip();
        for member in 1..3 {
            assert_eq!(
                cluster.published(0).announcement(),
                cluster.published(member).announcement(),
                "seed {seed}"
            );
        }
        assert_eq!(cluster.targets(0), ["n1", "n3"], "seed {seed}");
    }
}
