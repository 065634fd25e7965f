//! When a change of the live nodes reaches the zones.
//!
//! What is taken away is taken away at once; what is added waits until it has been there for a while
//! without a break, and longer each time it has come and gone. So a node that crashes in a loop costs
//! a handful of changes, and a real death none of this delay. Sans-IO: `handle_input`, then drain
//! `poll_output`; `poll_timeout` names the next deadline.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::plan::PublishedNode;

/// Nodes beyond this many are ignored, and that many departed ones are remembered.
const MAX_TRACKED: usize = 4096;

/// The delays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduleConfig {
    /// An addition waits this long for others to come along. Default 1 s.
    pub debounce: Duration,
    /// A node that has left once must be back for this long; doubled each further time. Default 5 s.
    pub hold: Duration,
    /// Bound of the doubling. Default 5 min.
    pub longest_hold: Duration,
    /// A node that was published for this long without a break starts afresh. Default 10 min.
    pub forgive_after: Duration,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self {
            debounce: Duration::from_secs(1),
            hold: Duration::from_secs(5),
            longest_hold: Duration::from_secs(300),
            forgive_after: Duration::from_secs(600),
        }
    }
}

/// What happens to the schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScheduleInput {
    /// The nodes that are alive and not draining: all of them, each time.
    Nodes(Vec<PublishedNode>),
    /// The deadline of [`Schedule::poll_timeout`] has come.
    TimerFired,
}

/// The publishing schedule of one node.
#[derive(Debug)]
pub struct Schedule {
    config: ScheduleConfig,
    nodes: BTreeMap<String, Tracked>,
    changed: bool,
}

#[derive(Debug, Default)]
struct Tracked {
    /// As the view has it; `None` while the node is gone.
    wanted: Option<PublishedNode>,
    /// As the zones have it, and since when.
    published: Option<(PublishedNode, Instant)>,
    /// When `wanted` may be published, if it isn't.
    ripe_at: Option<Instant>,
    /// How often the node left before its time.
    strikes: u32,
    /// When it left last.
    gone_at: Option<Instant>,
}

impl Schedule {
    /// An empty schedule. The first nodes are published at once.
    #[must_use]
    pub fn new(config: ScheduleConfig) -> Self {
        Self {
            config,
            nodes: BTreeMap::new(),
            changed: false,
        }
    }

    /// Takes in a view or the passing of time.
    pub fn handle_input(&mut self, now: Instant, input: ScheduleInput) {
        if let ScheduleInput::Nodes(nodes) = input {
            self.take_in(now, nodes);
        }
        self.publish_what_is_ripe(now);
        self.forget(now);
    }

    /// The nodes to publish, if they changed since the last call.
    pub fn poll_output(&mut self) -> Option<Vec<PublishedNode>> {
        std::mem::take(&mut self.changed).then(|| self.published().cloned().collect())
    }

    /// When the next addition is ripe.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.nodes.values().filter_map(|node| node.ripe_at).min()
    }

    fn published(&self) -> impl Iterator<Item = &PublishedNode> {
        let published = self.nodes.values().filter_map(|n| n.published.as_ref());
        published.map(|(node, _)| node)
    }

    fn take_in(&mut self, now: Instant, nodes: Vec<PublishedNode>) {
        let mut seen: BTreeMap<String, PublishedNode> = nodes
            .into_iter()
            .take(MAX_TRACKED)
            .map(|node| (node.name.clone(), node))
            .collect();
        for (name, tracked) in &mut self.nodes {
            match seen.remove(name) {
                Some(node) => self.changed |= tracked.update(now, node, &self.config),
                None => self.changed |= tracked.remove(now, &self.config),
            }
        }
        for (name, node) in seen {
            let mut tracked = Tracked::default();
            self.changed |= tracked.update(now, node, &self.config);
            self.nodes.insert(name, tracked);
        }
    }

    fn publish_what_is_ripe(&mut self, now: Instant) {
        // With nothing published, any node is better than none.
        let starting = self.published().next().is_none();
        for tracked in self.nodes.values_mut() {
            if tracked.ripe_at.is_some_and(|at| starting || at <= now) {
                self.changed |= tracked.publish(now);
            }
        }
    }

    fn forget(&mut self, now: Instant) {
        let forgive_after = self.config.forgive_after;
        self.nodes.retain(|_, node| match node.gone_at {
            Some(at) if node.wanted.is_none() => now.duration_since(at) < forgive_after,
            _ => true,
        });
        while self.nodes.len() > MAX_TRACKED {
            let gone = self.nodes.iter().filter(|(_, n)| n.wanted.is_none());
            let Some((name, _)) = gone.min_by_key(|(_, n)| n.gone_at) else {
                break; // only live ones, and those are at most MAX_TRACKED
            };
            let name = name.clone();
            self.nodes.remove(&name);
        }
    }
}

impl Tracked {
    /// The view has the node like this. Says whether what is published changed.
    fn update(&mut self, now: Instant, node: PublishedNode, config: &ScheduleConfig) -> bool {
        let returning = self.wanted.is_none();
        self.wanted = Some(node.clone());
        let Some((published, _)) = &mut self.published else {
            if returning {
                self.ripe_at = Some(now + config.debounce.max(self.hold(config)));
            }
            return false;
        };
        let remaining = published.services.intersection(node.services);
        let reduced = remaining != published.services;
        published.services = remaining;
        self.ripe_at = if *published == node {
            None
        } else {
            Some(self.ripe_at.unwrap_or(now + config.debounce))
        };
        reduced
    }

    fn remove(&mut self, now: Instant, config: &ScheduleConfig) -> bool {
        if self.wanted.take().is_none() {
            return false;
        }
        self.ripe_at = None;
        self.gone_at = Some(now);
        match self.published.take() {
            Some((_, since)) => {
                if now.duration_since(since) >= config.forgive_after {
                    self.strikes = 0;
                }
                self.strikes = self.strikes.saturating_add(1);
                true
            }
            None => false,
        }
    }

    fn publish(&mut self, now: Instant) -> bool {
        self.ripe_at = None;
        let Some(node) = &self.wanted else {
            return false;
        };
        let since = self.published.as_ref().map_or(now, |(_, since)| *since);
        self.published = Some((node.clone(), since));
        true
    }

    fn hold(&self, config: &ScheduleConfig) -> Duration {
        match self.strikes {
            0 => Duration::ZERO,
            strikes => {
                let doubled = 1u32.checked_shl(strikes - 1).unwrap_or(u32::MAX);
                config.hold.saturating_mul(doubled).min(config.longest_hold)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::service::{Service, ServicePorts, Services};

    /// A schedule on virtual time that notes when it published what.
    struct Bench {
        schedule: Schedule,
        start: Instant,
        now: Duration,
        published: Vec<(Duration, Vec<String>)>,
    }

    impl Bench {
        #[expect(
            clippy::disallowed_methods,
            reason = "any origin of virtual time will do"
        )]
        fn new() -> Self {
            Self {
                schedule: Schedule::new(ScheduleConfig::default()),
                start: Instant::now(),
                now: Duration::ZERO,
                published: Vec::new(),
            }
        }

        fn nodes(&mut self, names: &[&str]) {
            let nodes = names.iter().map(|name| node(name, all())).collect();
            self.input(ScheduleInput::Nodes(nodes));
        }

        fn input(&mut self, input: ScheduleInput) {
            self.schedule.handle_input(self.start + self.now, input);
            while let Some(nodes) = self.schedule.poll_output() {
                let names = nodes.into_iter().map(|node| node.name).collect();
                self.published.push((self.now, names));
            }
        }

        fn run_until(&mut self, seconds: u64) {
            let end = Duration::from_secs(seconds);
            while let Some(at) = self.schedule.poll_timeout() {
                let at = at - self.start;
                if at > end {
                    break;
                }
                self.now = at;
                self.input(ScheduleInput::TimerFired);
            }
            self.now = end;
        }

        fn last(&self) -> (u64, Vec<&str>) {
            let (at, names) = self.published.last().unwrap();
            (at.as_secs(), names.iter().map(String::as_str).collect())
        }
    }

    fn all() -> Services {
        Service::ALL.into_iter().collect()
    }

    fn node(name: &str, services: Services) -> PublishedNode {
        PublishedNode {
            name: name.to_owned(),
            host: format!("{name}.nodes.example").parse().unwrap(),
            public: vec![],
            private: vec![],
            services,
            ports: ServicePorts::default(),
            started: 0,
        }
    }

    #[test]
    fn the_first_nodes_are_published_at_once() {
        let mut bench = Bench::new();
        bench.nodes(&["a", "b"]);
        assert_eq!(bench.last(), (0, vec!["a", "b"]));
    }

    #[test]
    fn a_removal_is_published_at_once_and_an_addition_after_the_debounce() {
        let mut bench = Bench::new();
        bench.nodes(&["a", "b"]);
        bench.run_until(10);
        bench.nodes(&["a", "b", "c"]);
        assert_eq!(bench.published.len(), 1);
        bench.nodes(&["b", "c"]);
        assert_eq!(bench.last(), (10, vec!["b"]));
        bench.run_until(20);
        assert_eq!(bench.last(), (11, vec!["b", "c"]));
    }

    #[test]
    fn nodes_that_come_together_make_one_change() {
        let mut bench = Bench::new();
        bench.nodes(&["a"]);
        bench.nodes(&["a", "b", "c", "d"]);
        bench.run_until(5);
        assert_eq!(bench.published.len(), 2);
        assert_eq!(bench.last(), (1, vec!["a", "b", "c", "d"]));
    }

    #[test]
    fn a_node_that_is_gone_before_the_debounce_ends_is_never_published() {
        let mut bench = Bench::new();
        bench.nodes(&["a"]);
        bench.nodes(&["a", "b"]);
        bench.nodes(&["a"]);
        bench.run_until(60);
        assert_eq!(bench.published.len(), 1);
        assert_eq!(bench.schedule.poll_timeout(), None);
    }

    #[test]
    fn a_crash_loop_makes_few_changes_in_five_minutes() {
        for (up, down) in [(3, 2), (4, 1), (5, 1), (6, 4), (12, 3)] {
            let mut bench = Bench::new();
            bench.nodes(&["a", "b"]);
            let mut at = 0;
            while at < 300 {
                bench.run_until(at + up);
                bench.nodes(&["a"]);
                bench.run_until(at + up + down);
                bench.nodes(&["a", "b"]);
                at += up + down;
            }
            let changes = bench.published.len() - 1;
            let bound = if up <= 6 { 3 } else { 5 };
            assert!(
                changes <= bound,
                "up {up} s, down {down} s: {changes} changes"
            );
        }
    }

    #[test]
    fn a_single_restart_is_back_after_the_first_hold() {
        let mut bench = Bench::new();
        bench.nodes(&["a", "b"]);
        bench.run_until(1000);
        bench.nodes(&["a"]);
        bench.run_until(1003);
        bench.nodes(&["a", "b"]);
        bench.run_until(1100);
        assert_eq!(bench.last(), (1008, vec!["a", "b"]));
    }

    #[test]
    fn long_good_conduct_is_rewarded() {
        let mut bench = Bench::new();
        bench.nodes(&["a", "b"]);
        for at in [100, 200, 300] {
            bench.run_until(at);
            bench.nodes(&["a"]);
            bench.nodes(&["a", "b"]);
        }
        bench.run_until(2000);
        bench.nodes(&["a"]);
        bench.nodes(&["a", "b"]);
        bench.run_until(2100);
        assert_eq!(bench.last(), (2005, vec!["a", "b"]), "one hold, not four");
    }

    #[test]
    fn a_service_that_goes_is_gone_at_once_and_one_that_comes_waits() {
        let mut bench = Bench::new();
        bench.nodes(&["a", "b"]);
        let some = Services::NONE.with(Service::XmppServer);
        let mut view = |services| {
            let nodes = vec![node("a", all()), node("b", services)];
            bench
                .schedule
                .handle_input(bench.start, ScheduleInput::Nodes(nodes));
            bench.schedule.poll_output()
        };
        assert_eq!(view(some).unwrap()[1].services, some);
        assert_eq!(view(all()), None);
        bench.run_until(1);
        assert_eq!(bench.last(), (1, vec!["a", "b"]));
    }

    #[test]
    fn departed_nodes_are_forgotten() {
        let mut bench = Bench::new();
        for i in 0..50 {
            bench.nodes(&["a", &format!("n{i}")]);
            bench.run_until(i * 60);
        }
        bench.nodes(&["a"]);
        bench.run_until(100_000);
        bench.nodes(&["a"]);
        assert_eq!(bench.schedule.nodes.len(), 1);
    }
}
