use super::*;

const TICK: Duration = Duration::from_millis(100);

/// A filter with a clock, and sightings that stay as they are until a test changes them.
struct Scene {
    filter: Filter,
    start: Instant,
    now: Instant,
    seen: BTreeMap<NodeId, Sighting>,
    standings: BTreeMap<NodeId, Standing>,
    /// How often each node entered or left DNS (ready and not down), with the time.
    dns_changes: BTreeMap<NodeId, Vec<Duration>>,
}

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

impl Scene {
    fn new() -> Self {
        let start = Instant::now() + Duration::from_secs(1000);
        let mut scene = Self {
            filter: Filter::new(id("me"), FilterConfig::default()),
            start,
            now: start,
            seen: BTreeMap::new(),
            standings: BTreeMap::new(),
            dns_changes: BTreeMap::new(),
        };
        scene.add("me");
        scene
    }

    /// A scene in which `b` and `c` have served for a while.
    fn settled() -> Self {
        let mut scene = Self::new();
        scene.add("b");
        scene.add("c");
        scene.run(Duration::from_secs(5));
        assert_eq!(scene.of("b"), Standing::Serving);
        scene.dns_changes.clear();
        scene
    }

    fn add(&mut self, name: &str) {
        let sighting = Sighting {
            node: id(name),
            generation: 1,
            state: MemberState::Ready,
            alive: true,
            last_heard: self.now,
            health: Health::Ok,
            lease: Lease::Fresh,
        };
        self.seen.insert(id(name), sighting);
    }

    fn see(&mut self, name: &str, change: impl FnOnce(&mut Sighting)) {
        change(self.seen.get_mut(&id(name)).unwrap());
    }

    fn kill(&mut self, name: &str) {
        self.see(name, |s| {
            s.alive = false;
            s.health = Health::Failed;
            s.lease = Lease::Stale;
        });
    }

    fn published(&self, node: &NodeId) -> bool {
        self.standings
            .get(node)
            .is_some_and(|s| *s != Standing::Down)
            && self
                .seen
                .get(node)
                .is_some_and(|s| s.state == MemberState::Ready)
    }

    fn tick(&mut self) {
        self.now += TICK;
        self.judge();
    }

    fn judge(&mut self) {
        let before: Vec<_> = self
            .seen
            .keys()
            .map(|n| (n.clone(), self.published(n)))
            .collect();
        for sighting in self.seen.values_mut().filter(|s| s.alive) {
            sighting.last_heard = self.now;
        }
        let sightings: Vec<_> = self.seen.values().cloned().collect();
        self.standings = self.filter.judge(self.now, &sightings);
        for (node, was) in before {
            if self.published(&node) != was {
                let at = self.now - self.start;
                self.dns_changes.entry(node).or_default().push(at);
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.tick();
        }
    }

    fn of(&self, name: &str) -> Standing {
        self.standings
            .get(&id(name))
            .copied()
            .unwrap_or(Standing::Down)
    }
}

#[test]
fn signs_to_standing_of_a_node_that_served() {
    use Health::{Failed, Ok, Unknown};
    use Lease::{Absent, Fresh, Stale};
    use Standing::{Down, EdgeOnly, Serving};
    // alive, lease, health, standing at once, standing after 4 s of it
    let table = [
        (true, Fresh, Ok, Serving, Serving),
        (true, Fresh, Failed, Serving, Serving),
        (true, Stale, Ok, EdgeOnly, EdgeOnly),
        (true, Stale, Failed, EdgeOnly, EdgeOnly),
        (true, Absent, Ok, EdgeOnly, EdgeOnly),
        (false, Fresh, Ok, Serving, Serving),
        (false, Fresh, Failed, Serving, Serving),
        (false, Stale, Ok, EdgeOnly, Down),
        (false, Stale, Unknown, EdgeOnly, Down),
        (false, Stale, Failed, Down, Down),
        (false, Absent, Failed, Down, Down),
    ];
    for (alive, lease, health, at_once, later) in table {
        let mut scene = Scene::settled();
        scene.see("b", |s| {
            s.alive = alive;
            s.lease = lease;
            s.health = health;
        });
        scene.tick();
        assert_eq!(
            scene.of("b"),
            at_once,
            "{alive} {lease:?} {health:?}, at once"
        );
        scene.run(Duration::from_secs(4));
        assert_eq!(scene.of("b"), later, "{alive} {lease:?} {health:?}, later");
        assert_eq!(scene.of("c"), Serving);
    }
}

#[test]
fn announced_state_caps_the_standing_without_delay() {
    let table = [
        (MemberState::Joining, Standing::EdgeOnly),
        (MemberState::Draining, Standing::EdgeOnly),
        (MemberState::Ready, Standing::Serving),
        (MemberState::Leaving, Standing::Down),
    ];
    let mut scene = Scene::settled();
    for (state, standing) in table {
        scene.see("b", |s| s.state = state);
        scene.tick();
        assert_eq!(scene.of("b"), standing, "{state:?}");
    }
}

#[test]
fn a_cold_start_takes_up_everybody_at_once_but_a_later_joiner_must_be_stable() {
    let mut scene = Scene::new();
    scene.add("b");
    scene.judge();
    assert_eq!(scene.of("me"), Standing::Serving);
    assert_eq!(scene.of("b"), Standing::Serving);
    scene.run(Duration::from_secs(5));
    scene.add("c");
    scene.tick();
    assert_eq!(scene.of("c"), Standing::Down);
    scene.run(Duration::from_millis(900));
    assert_eq!(scene.of("c"), Standing::Down);
    scene.tick();
    assert_eq!(scene.of("c"), Standing::Serving);
}

#[test]
fn a_joiner_whose_signs_break_off_starts_its_time_again() {
    let mut scene = Scene::settled();
    scene.add("d");
    scene.run(Duration::from_millis(800));
    scene.see("d", |s| s.alive = false);
    scene.tick();
    scene.see("d", |s| s.alive = true);
    scene.run(Duration::from_millis(900));
    assert_eq!(scene.of("d"), Standing::Down);
    scene.run(Duration::from_millis(200));
    assert_eq!(scene.of("d"), Standing::Serving);
}

#[test]
fn those_that_start_together_are_taken_up_at_once_however_long_all_waited_for_the_store() {
    let mut scene = Scene::new();
    let me = scene.seen.remove(&id("me")).unwrap();
    scene.run(Duration::from_secs(20));
    for name in ["b", "c"] {
        scene.add(name);
        scene.see(name, |s| s.state = MemberState::Joining);
    }
    scene.tick();
    scene.seen.insert(id("me"), me);
    scene.run(Duration::from_millis(500));
    scene.see("b", |s| s.state = MemberState::Ready);
    scene.tick();
    assert_eq!(scene.of("b"), Standing::Serving);
    // Much later it is the newcomer.
    scene.run(Duration::from_secs(10));
    scene.add("d");
    scene.tick();
    assert_eq!(scene.of("d"), Standing::Down);
}

#[test]
fn the_local_node_is_judged_by_its_fence_alone() {
    let mut scene = Scene::settled();
    scene.see("me", |s| s.lease = Lease::Stale);
    scene.run(Duration::from_secs(60));
    assert_eq!(scene.of("me"), Standing::EdgeOnly);
    scene.see("me", |s| s.lease = Lease::Fresh);
    scene.run(Duration::from_millis(900));
    assert_eq!(scene.of("me"), Standing::EdgeOnly);
    scene.run(Duration::from_millis(300));
    assert_eq!(scene.of("me"), Standing::Serving);
}

/// What three times the same trouble within five minutes does: for each who looks on, how long after
/// the end of the first, second and third one the node is a home again.
#[test]
fn lapses_of_the_lease_are_no_flaps_and_outages_are() {
    const S: fn(u64) -> Duration = Duration::from_secs;
    type Trouble = fn(&mut Scene);
    let lapse_of_me: Trouble = |scene| {
        scene.see("me", |s| s.lease = Lease::Stale);
        scene.run(S(6));
        scene.see("me", |s| s.lease = Lease::Fresh);
    };
    let lapse_of_b: Trouble = |scene| {
        scene.see("b", |s| s.lease = Lease::Stale);
        scene.run(S(6));
        scene.see("b", |s| s.lease = Lease::Fresh);
    };
    let death_of_b: Trouble = |scene| {
        scene.kill("b");
        scene.run(S(6));
        scene.add("b");
    };
    // The lease goes first, then all signs of life: one outage.
    let slow_death_of_b: Trouble = |scene| {
        scene.see("b", |s| s.lease = Lease::Stale);
        scene.run(S(2));
        scene.kill("b");
        scene.run(S(6));
        scene.add("b");
    };
    let cut: Trouble = |scene| {
        for name in ["b", "c"] {
            scene.see(name, |s| (s.alive, s.health) = (false, Health::Failed));
        }
        scene.see("me", |s| s.lease = Lease::Stale);
        scene.run(S(6));
        for name in ["b", "c", "me"] {
            scene.add(name);
        }
    };
    let cut_from_one: Trouble = |scene| {
        scene.see("b", |s| (s.alive, s.health) = (false, Health::Failed));
        scene.see("me", |s| s.lease = Lease::Stale);
        scene.run(S(6));
        scene.add("b");
        scene.add("me");
    };
    let stopped_for = |scene: &mut Scene, time: Duration| {
        scene.now += time;
        scene.see("me", |s| s.lease = Lease::Stale);
        scene.judge();
        scene.see("me", |s| s.lease = Lease::Fresh);
    };
    let table: [(&str, Trouble, &str, [u64; 3]); 6] = [
        ("own lapse", lapse_of_me, "me", [1, 1, 1]),
        ("another's lapse", lapse_of_b, "b", [1, 1, 1]),
        ("another's death", death_of_b, "b", [1, 15, 30]),
        ("another's slow death", slow_death_of_b, "b", [1, 15, 30]),
        ("cut off", cut, "me", [1, 15, 30]),
        ("cut off from one of two", cut_from_one, "me", [1, 1, 1]),
    ];
    let back = |scene: &mut Scene, name: &str| {
        let end = scene.now;
        scene.tick();
        while scene.of(name) != Standing::Serving {
            scene.tick();
            assert!(scene.now - end < S(60), "{name} does not come back");
        }
        // The first tick only sees the end.
        scene.now - end - TICK
    };
    for (what, trouble, who, expected) in table {
        let mut scene = Scene::settled();
        for (round, seconds) in expected.into_iter().enumerate() {
            trouble(&mut scene);
            assert_eq!(back(&mut scene, who), S(seconds), "{what}, round {round}");
            scene.run(S(10));
        }
    }
    for (stop, expected) in [(4, [1, 1, 1]), (8, [1, 15, 30])] {
        let mut scene = Scene::settled();
        for (round, seconds) in expected.into_iter().enumerate() {
            stopped_for(&mut scene, S(stop));
            let waited = back(&mut scene, "me");
            assert_eq!(waited, S(seconds), "stopped for {stop} s, round {round}");
            scene.run(S(10));
        }
    }
}

/// What the others have counted of it, a node counts of itself, also across its restart.
#[test]
fn a_restarted_node_counts_on_from_the_crashes_of_its_earlier_lives() {
    const S: fn(u64) -> Duration = Duration::from_secs;
    let mut scene = Scene::new();
    let now = scene.now;
    scene.filter.remember_crashes(now, [Duration::ZERO]);
    // Its own start, before it hears anybody and before it can renew, is no further outage.
    for name in ["b", "c"] {
        scene.add(name);
        scene.see(name, |s| (s.alive, s.health) = (false, Health::Failed));
    }
    scene.see("me", |s| s.lease = Lease::Stale);
    scene.run(S(1));
    assert_eq!(scene.of("me"), Standing::EdgeOnly);
    for name in ["b", "c", "me"] {
        scene.add(name);
    }
    scene.run(S(5));
    assert_eq!(scene.of("me"), Standing::Serving);
    assert!(!scene.filter.holds_back());
    // Stopped for longer than the others wait: its second failure.
    scene.now += S(8);
    scene.judge();
    assert_eq!(scene.of("me"), Standing::EdgeOnly);
    assert!(scene.filter.holds_back(), "which it has to tell the others");
    scene.run(S(14));
    assert_eq!(scene.of("me"), Standing::EdgeOnly);
    scene.run(S(2));
    assert_eq!(scene.of("me"), Standing::Serving);
    assert!(!scene.filter.holds_back());
}

#[test]
fn a_new_life_is_down_until_it_has_been_stable_and_the_old_one_is_an_echo() {
    let mut scene = Scene::settled();
    scene.see("b", |s| s.generation = 2);
    scene.tick();
    assert_eq!(scene.of("b"), Standing::Down);
    scene.run(Duration::from_millis(1_100));
    assert_eq!(scene.of("b"), Standing::Serving);
    scene.see("b", |s| s.generation = 1);
    scene.tick();
    assert_eq!(scene.of("b"), Standing::Down);
}

#[test]
fn planned_restarts_are_no_failures() {
    let mut scene = Scene::settled();
    for generation in 2..10 {
        scene.see("b", |s| s.state = MemberState::Leaving);
        scene.run(Duration::from_secs(2));
        assert_eq!(scene.of("b"), Standing::Down);
        scene.see("b", |s| {
            s.generation = generation;
            s.state = MemberState::Ready;
        });
        scene.run(Duration::from_millis(1_200));
        assert_eq!(scene.of("b"), Standing::Serving, "generation {generation}");
    }
}

#[test]
fn one_outage_is_back_after_the_stable_time_and_further_ones_wait_twice_as_long_each() {
    let mut scene = Scene::settled();
    for expected in [1, 15, 30, 60, 120, 240, 240] {
        scene.kill("b");
        scene.tick();
        assert_eq!(scene.of("b"), Standing::Down);
        scene.add("b");
        scene.tick();
        let back = scene.now;
        while scene.of("b") != Standing::Serving {
            scene.tick();
            assert!(scene.now - back <= Duration::from_secs(300));
        }
        let waited = scene.now - back;
        // The window forgets failures while the longest hold runs, so it may be shorter.
        assert!(
            waited <= Duration::from_secs(expected),
            "{waited:?} of {expected} s"
        );
        if expected <= 60 {
            assert_eq!(waited, Duration::from_secs(expected));
        }
    }
}

#[test]
fn a_crash_loop_changes_dns_at_most_three_times_in_five_minutes() {
    // Dead for `dead`, then joining for a second, then ready; a crash every `period`.
    for (period, dead, noticed) in [
        (50, 3, false),
        (50, 10, true),
        (50, 30, true),
        (70, 3, true),
        (120, 20, true),
    ] {
        let mut scene = Scene::settled();
        for tick in 0..9_000_u64 {
            let phase = tick % period;
            scene.see("b", |s| match phase {
                0 if noticed => {
                    s.alive = false;
                    s.health = Health::Failed;
                    s.lease = Lease::Stale;
                }
                p if p == dead => {
                    s.generation += 1;
                    s.alive = true;
                    s.health = Health::Ok;
                    s.state = MemberState::Joining;
                    s.lease = Lease::Absent;
                }
                p if p == dead + 10 => {
                    s.state = MemberState::Ready;
                    s.lease = Lease::Fresh;
                }
                _ => {}
            });
            scene.tick();
        }
        let changes = scene.dns_changes.remove(&id("b")).unwrap_or_default();
        for window in changes.windows(4) {
            let apart = window[3] - window[0];
            assert!(
                apart > Duration::from_secs(300),
                "{period} {dead}: {changes:?}"
            );
        }
    }
}

#[test]
fn an_observer_that_was_stopped_does_not_take_its_own_pause_for_silence() {
    let mut scene = Scene::settled();
    // It wakes after a minute: gossip calls everybody dead, the leases it reads are old news.
    scene.now += Duration::from_secs(60);
    for name in ["b", "c"] {
        scene.see(name, |s| {
            s.alive = false;
            s.lease = Lease::Stale;
        });
    }
    scene.judge();
    assert_eq!(scene.of("b"), Standing::EdgeOnly);
    scene.run(Duration::from_secs(3));
    assert_eq!(
        scene.of("b"),
        Standing::EdgeOnly,
        "silence counts from the waking"
    );
    scene.run(Duration::from_secs(2));
    assert_eq!(scene.of("b"), Standing::Down);
}

#[test]
fn whom_gossip_forgets_is_forgotten_once_its_failures_are_old() {
    let mut scene = Scene::settled();
    scene.seen.remove(&id("b"));
    scene.tick();
    assert_eq!(scene.of("b"), Standing::Down);
    assert!(scene.filter.tracks.contains_key(&id("b")));
    scene.run(Duration::from_secs(301));
    assert!(!scene.filter.tracks.contains_key(&id("b")));
}

#[test]
fn remembered_nodes_are_bounded() {
    let mut scene = Scene::new();
    for n in 0..Filter::MAX_NODES + 20 {
        scene.add(&format!("n{n}"));
    }
    scene.judge();
    assert_eq!(scene.standings.len(), Filter::MAX_NODES);
    assert_eq!(scene.of("me"), Standing::Serving);
}

/// What must hold whatever is seen, checked against an independent record of the last signs.
#[test]
fn invariants_hold_for_random_histories() {
    for seed in 0..300_u64 {
        let mut random = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut below = |limit: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % limit
        };
        let mut scene = Scene::settled();
        // Since when node b has been alive with a fresh lease in one life, not leaving.
        let mut well_since = Some(scene.start);
        let mut generation = 1;
        for step in 0..2_000 {
            if below(12) == 0 {
                let roll = below(10);
                let value = below(3);
                scene.see("b", |s| match roll {
                    0..=2 => s.alive = value != 0,
                    3 | 4 => {
                        s.health = [Health::Ok, Health::Failed, Health::Unknown][value as usize]
                    }
                    5..=7 => s.lease = [Lease::Fresh, Lease::Stale, Lease::Absent][value as usize],
                    8 => {
                        s.state = [
                            MemberState::Ready,
                            MemberState::Draining,
                            MemberState::Leaving,
                        ][value as usize];
                    }
                    _ => s.generation += value / 2,
                });
            }
            let before = scene.of("b");
            scene.tick();
            let after = scene.of("b");
            let sighting = scene.seen[&id("b")].clone();
            let silent = scene.now - sighting.last_heard;
            let replaced =
                std::mem::replace(&mut generation, sighting.generation) != sighting.generation;
            let leaving = sighting.state == MemberState::Leaving;
            let well = sighting.alive && sighting.lease == Lease::Fresh && !leaving;
            if !well {
                well_since = None;
            } else if replaced || well_since.is_none() {
                well_since = Some(scene.now);
            }
            let context =
                format!("seed {seed}, step {step}: {before:?} to {after:?}, {sighting:?}");

            if after == Standing::Serving {
                assert_eq!(
                    sighting.lease,
                    Lease::Fresh,
                    "a home has a fresh lease; {context}"
                );
                assert_eq!(sighting.state, MemberState::Ready, "{context}");
            }
            if before != Standing::Down && after == Standing::Down && !replaced && !leaving {
                assert!(
                    !sighting.alive && sighting.lease != Lease::Fresh,
                    "{context}"
                );
                assert!(
                    sighting.health == Health::Failed || silent >= Duration::from_secs(4),
                    "{context}"
                );
            }
            if leaving {
                assert_eq!(after, Standing::Down, "{context}");
            }
            if before == Standing::Down && after == Standing::Serving {
                let well = well_since.expect(&context);
                assert!(scene.now - well >= Duration::from_secs(1), "{context}");
            }
            // Bounded recovery: nobody is held down for longer than the longest hold.
            if well_since.is_some_and(|w| scene.now - w >= Duration::from_secs(240))
                && sighting.state == MemberState::Ready
            {
                assert_eq!(after, Standing::Serving, "{context}");
            }
            assert_eq!(scene.of("me"), Standing::Serving, "{context}");
            assert_eq!(scene.of("c"), Standing::Serving, "{context}");
        }
    }
}
