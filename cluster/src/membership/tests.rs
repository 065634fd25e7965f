//! Real memberships on loopback. The store is played by a task that renews leases.

mod lab;

use tokio::net::UdpSocket;
use tokio::time::{MissedTickBehavior, interval, timeout};

use lab::Lab;

use super::*;
use crate::view::{MemberState, Roles, Standing};

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(20);

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn facts(state: MemberState) -> MemberFacts {
    MemberFacts {
        roles: Roles::HOME | Roles::XMPP | Roles::DNS,
        state,
        mesh: ([127, 0, 0, 1], 7000).into(),
        public: vec![[192, 0, 2, 1].into()],
        private: Vec::new(),
        host: "node.example.com".to_owned(),
        started: 1,
        announcement: String::new(),
    }
}

/// Waits until the view satisfies a condition and returns it.
async fn until(
    handle: &MembershipHandle,
    what: &str,
    condition: impl Fn(&ClusterView) -> bool,
) -> Arc<ClusterView> {
    let mut views = handle.view();
    let found = timeout(PATIENCE, views.wait_for(|view| condition(view))).await;
    match found {
        Ok(view) => Arc::clone(&view.unwrap()),
        Err(_) => panic!(
            "{}: not '{what}': {:#?}",
            handle.node_id,
            handle.view().borrow()
        ),
    }
}

/// Waits until a drop count has reached a number.
async fn dropped(handle: &MembershipHandle, reason: DropReason, at_least: u64) {
    let mut drops = handle.drops();
    let counted = timeout(PATIENCE, drops.wait_for(|d| d.count(reason) >= at_least)).await;
    assert!(counted.is_ok(), "{reason}: {:?}", handle.drops().borrow());
}

fn standing(view: &ClusterView, name: &str) -> Standing {
    view.member(&id(name))
        .map_or(Standing::Down, |m| m.standing)
}

#[tokio::test]
async fn three_nodes_find_each_other_and_agree_on_homes() {
    let lab = Lab::new("converge", true);
    let [a, b, c] = lab.three().await;
    let views = [&a, &b, &c].map(|h| Arc::clone(&h.view().borrow()));
    for user in 0..100 {
        let jid = format!("user{user}@example.com");
        let homes = views.each_ref().map(|v| v.home_of(&jid).cloned());
        assert!(homes[0].is_some() && homes[0] == homes[1] && homes[1] == homes[2]);
    }
    assert!(!views[0].isolated);
    let member = views[0].member(&id("b")).unwrap();
    assert_eq!(member.host, "node.example.com");
    assert_eq!(member.generation, b.generation);
}

#[tokio::test]
async fn a_killed_node_is_down_and_comes_back_with_a_higher_generation() {
    let lab = Lab::new("rejoin", true);
    let [a, b, c] = lab.three().await;
    let old = c.generation;
    let mut config = lab.config("c", &[&a]);
    config.gossip_listen = c.gossip_addr;
    lab.kill(c);
    a.report_health(&id("c"), false);
    for handle in [&a, &b] {
        let view = until(handle, "c is down", |v| standing(v, "c") == Standing::Down).await;
        assert_eq!(view.serving_homes().count(), 2);
    }
    // The old thread may need a moment to give the port back: take another one if so.
    let back = match Membership::start(config) {
        Ok(handle) => {
            handle.publish(facts(MemberState::Ready)).unwrap();
            lab.leases.hold(&handle);
            handle
        }
        Err(MembershipError::Bind { .. }) => lab.join("c", &[&a]),
        Err(error) => panic!("{error}"),
    };
    assert!(back.generation > old);
    for handle in [&a, &b, &back] {
        let view = until(handle, "c serves again", |v| v.serving_homes().count() == 3).await;
        assert_eq!(view.member(&id("c")).unwrap().generation, back.generation);
    }
}

#[tokio::test]
async fn a_leaving_node_is_down_at_once_and_a_draining_one_is_no_home() {
    let lab = Lab::new("leave", true);
    let [a, b, c] = lab.three().await;
    c.drain();
    for handle in [&a, &b, &c] {
        let view = until(handle, "c drains", |v| {
            standing(v, "c") == Standing::EdgeOnly
        })
        .await;
        assert!(view.dns_published().all(|m| m.id != id("c")));
    }
    c.undrain();
    until(&a, "c serves", |v| standing(v, "c") == Standing::Serving).await;
    timeout(PATIENCE, c.leave()).await.unwrap().unwrap();
    // It is known by the time that leave returns, with the lease still fresh.
    for handle in [&a, &b] {
        let view = handle.view().borrow().clone();
        assert_eq!(standing(&view, "c"), Standing::Down);
    }
}

#[tokio::test]
async fn without_a_lease_a_node_is_an_edge_and_then_isolated_and_recovers() {
    let lab = Lab::new("lease", true);
    let [a, b, c] = lab.three().await;
    lab.leases.0.lock().unwrap().holders.remove(&id("c"));
    let view = until(&c, "c has lost its lease", |v| {
        standing(v, "c") == Standing::EdgeOnly
    })
    .await;
    assert!(!c.local_fence.may_ack(now()), "{view:?}");
    until(&a, "a sees an edge", |v| {
        standing(v, "c") == Standing::EdgeOnly
    })
    .await;
    until(&c, "c is isolated", |v| v.isolated).await;
    // The others take it out of DNS, though gossip goes on.
    until(&b, "c is not published", |v| v.dns_published().count() == 2).await;
    lab.leases.hold(&c);
    for handle in [&a, &b, &c] {
        until(handle, "c serves again", |v| {
            v.serving_homes().count() == 3 && v.dns_published().count() == 3 && !v.isolated
        })
        .await;
    }
}

#[tokio::test]
async fn an_election_in_which_nobody_renews_changes_no_view_of_the_others() {
    let lab = Lab::new("election", true);
    let [a, _b, c] = lab.three().await;
    let mut views = a.view();
    lab.leases.0.lock().unwrap().frozen = true;
    // Longer than the time to live: the fences close, which is how the test knows the time.
    until(&c, "c is isolated", |v| v.isolated).await;
    until(&a, "a is isolated", |v| v.isolated).await;
    lab.leases.0.lock().unwrap().frozen = false;
    let mut all = Vec::new();
    timeout(PATIENCE, async {
        loop {
            let view = Arc::clone(&views.borrow_and_update());
            all.push(Arc::clone(&view));
            if !view.isolated && all.len() > 1 && view.serving_homes().count() == 3 {
                return;
            }
            views.changed().await.unwrap();
        }
    })
    .await
    .unwrap();
    for view in all {
        // Never down; an edge for as long as it says of itself that it is fenced.
        assert_ne!(standing(&view, "b"), Standing::Down, "{view:?}");
        assert_ne!(standing(&view, "c"), Standing::Down, "{view:?}");
    }
}

#[tokio::test]
async fn nodes_with_another_key_or_cluster_stay_outside() {
    let lab = Lab::new("strangers", true);
    let a = lab.join("a", &[]);
    let mut wrong_key = lab.config("b", &[&a]);
    wrong_key.key = [1; 32];
    let mut wrong_cluster = lab.config("c", &[&a]);
    wrong_cluster.cluster_id = "another".to_owned();
    let strangers = [lab.start(wrong_key), lab.start(wrong_cluster)];
    dropped(&a, DropReason::Unauthentic, 4).await;
    // A proper node joins meanwhile.
    let d = lab.join("d", &[&a]);
    let view = until(&a, "d serves", |v| v.serving_homes().count() == 2).await;
    assert_eq!(view.members.len(), 2);
    assert_eq!(
        until(&d, "a serves", |v| v.serving_homes().count() == 2)
            .await
            .members
            .len(),
        2
    );
    for stranger in &strangers {
        assert!(stranger.view().borrow().members.len() <= 1);
    }
}

#[tokio::test]
async fn garbage_and_replayed_datagrams_are_dropped_and_change_nothing() {
    let lab = Lab::new("replay", true);
    let a = lab.join("a", &[]);
    // B knows A only through a tap that forwards and keeps what it sees.
    let tap = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut config = lab.config("b", &[]);
    config.seeds = vec![tap.local_addr().unwrap().to_string()];
    let b = lab.start(config);
    let mut kept = Vec::new();
    let mut buffer = vec![0; 65_507];
    timeout(PATIENCE, async {
        let mut b_addr = None;
        while a.view().borrow().members.len() < 2 || kept.len() < 2 {
            let (len, from) = tap.recv_from(&mut buffer).await.unwrap();
            if from == a.gossip_addr {
                if let Some(b_addr) = b_addr {
                    tap.send_to(&buffer[..len], b_addr).await.unwrap();
                }
            } else {
                b_addr = Some(from);
                kept.push(buffer[..len].to_vec());
                tap.send_to(&buffer[..len], a.gossip_addr).await.unwrap();
            }
        }
    })
    .await
    .unwrap();
    for handle in [&a, &b] {
        until(handle, "both serve", |v| v.serving_homes().count() == 2).await;
    }
    let before = a.view().borrow().clone();
    let attacker = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let count = |reason| a.drops().borrow().count(reason);
    let (replayed, unaddressed, malformed) = (
        count(DropReason::Replayed),
        count(DropReason::Unaddressed),
        count(DropReason::Malformed),
    );
    for datagram in &kept {
        attacker.send_to(datagram, a.gossip_addr).await.unwrap();
    }
    for len in 0..100_usize {
        attacker
            .send_to(&vec![0xa5; len], a.gossip_addr)
            .await
            .unwrap();
    }
    dropped(&a, DropReason::Malformed, malformed + 100).await;
    // What was kept is either a first contact (answered, not taken) or a replay.
    let refused =
        count(DropReason::Replayed) - replayed + count(DropReason::Unaddressed) - unaddressed;
    assert!(refused >= kept.len() as u64, "{refused} of {}", kept.len());
    assert!(count(DropReason::Replayed) > replayed);
    assert_eq!(*a.view().borrow(), before);
}

#[tokio::test]
async fn reseeding_joins_two_clusters_that_never_met() {
    let lab = Lab::new("reseed", true);
    let a = lab.join("a", &[]);
    let b = lab.join("b", &[]);
    until(&b, "b serves", |v| v.serving_homes().count() == 1).await;
    b.reseed(vec![format!("localhost:{}", a.gossip_addr.port())]);
    for handle in [&a, &b] {
        until(handle, "both serve", |v| v.serving_homes().count() == 2).await;
    }
}

#[tokio::test]
async fn a_node_that_never_renewed_is_isolated_and_nobody_gives_it_anything() {
    let lab = Lab::new("unrenewed", true);
    let a = lab.join("a", &[]);
    let b = Membership::start(lab.config("b", &[&a])).unwrap();
    b.publish(facts(MemberState::Ready)).unwrap();
    let view = until(&a, "b is an edge", |v| {
        standing(v, "b") == Standing::EdgeOnly
    })
    .await;
    assert_eq!(view.member(&id("b")).unwrap().state, MemberState::Joining);
    assert!(b.view().borrow().isolated);
}

#[tokio::test]
async fn bad_settings_are_refused() {
    let lab = Lab::new("settings", true);
    let mut config = lab.config("a", &[]);
    config.fence.ack = config.lease_ttl + Duration::from_millis(1);
    assert!(matches!(
        Membership::start(config),
        Err(MembershipError::FenceOutlivesLease)
    ));
    let mut config = lab.config("a", &[]);
    config.gossip_listen = ([0, 0, 0, 0], 0).into();
    assert!(matches!(
        Membership::start(config),
        Err(MembershipError::NotAdvertisable(_))
    ));
    let a = lab.join("a", &[]);
    let mut config = lab.config("b", &[]);
    config.gossip_listen = a.gossip_addr;
    assert!(matches!(
        Membership::start(config),
        Err(MembershipError::Bind { .. })
    ));
    let mut config = lab.config("b", &[]);
    config.data_dir = "/dev/null/x".into();
    assert!(matches!(
        Membership::start(config),
        Err(MembershipError::Generation { .. })
    ));
    let mut too_many = facts(MemberState::Ready);
    too_many.public = vec![[192, 0, 2, 1].into(); 17];
    assert_eq!(a.publish(too_many), Err(FactsError::TooManyAddresses));
}

/// With the real times: a death is known within 5.5 s.
#[tokio::test]
async fn a_death_is_known_within_five_and_a_half_seconds() {
    let lab = Lab::new("death", false);
    let [a, b, c] = lab.three().await;
    let killed = now();
    lab.kill(c);
    for handle in [&a, &b] {
        handle.report_health(&id("c"), false);
        until(handle, "c is down", |v| standing(v, "c") == Standing::Down).await;
        let after = now() - killed;
        assert!(after <= Duration::from_millis(5_500), "{after:?}");
    }
}

/// Not a test of its own: the body of the process that the next test stops and continues. It
/// serves until its standard input ends.
#[tokio::test]
async fn child_process() {
    let (Ok(dir), Ok(seed)) = (std::env::var(CHILD_DIR), std::env::var(CHILD_SEED)) else {
        return;
    };
    let mut config = MembershipConfig::new(
        id("child"),
        "stop",
        ([127, 0, 0, 1], 0).into(),
        [9; 32],
        dir,
    );
    config.seeds = vec![seed];
    let handle = Membership::start(config).unwrap();
    handle.publish(facts(MemberState::Ready)).unwrap();
    let renewing = handle.clone();
    tokio::spawn(async move {
        let mut tick = interval(Duration::from_millis(500));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            renewing.local_fence.renewed(now());
        }
    });
    tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin()))
        .await
        .unwrap()
        .unwrap();
}

const CHILD_DIR: &str = "ENTENTE_TEST_CHILD_DIR";
const CHILD_SEED: &str = "ENTENTE_TEST_CHILD_SEED";

/// A real process, stopped for 2 s: nobody may notice. Stopped for longer it is down, and when it
/// goes on it is back without a restart.
#[tokio::test]
async fn a_node_stopped_for_two_seconds_stays_and_one_stopped_for_long_comes_back() {
    let lab = Lab::new("stop", false);
    let a = lab.join("a", &[]);
    let mut child = KilledOnDrop(
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "membership::tests::child_process", "--nocapture"])
            .env(CHILD_DIR, lab.dir.join("child"))
            .env(CHILD_SEED, a.gossip_addr.to_string())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap(),
    );
    let signal = |name: &str| {
        let pid = child.0.id().to_string();
        let sent = std::process::Command::new("kill")
            .args([name, &pid])
            .status();
        assert!(sent.unwrap().success());
    };
    let found = until(&a, "the child is an edge", |v| {
        standing(v, "child") == Standing::EdgeOnly
    })
    .await;
    let generation = found.member(&id("child")).unwrap().generation;
    // Here the test plays the store for the child: its row changes while it is not stopped.
    let running = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let (leases, is_running) = (lab.leases.clone(), Arc::clone(&running));
    tokio::spawn(async move {
        let mut tick = interval(Duration::from_secs(1));
        for counter in 1.. {
            tick.tick().await;
            if is_running.load(std::sync::atomic::Ordering::Relaxed) {
                let row = LeaseRow {
                    node: id("child"),
                    generation,
                    counter,
                };
                leases.0.lock().unwrap().rows.insert(id("child"), row);
            }
        }
    });
    until(&a, "the child serves", |v| {
        standing(v, "child") == Standing::Serving
    })
    .await;

    let mut views = a.view();
    views.mark_unchanged();
    running.store(false, std::sync::atomic::Ordering::Relaxed);
    signal("-STOP");
    // The pause itself is what is tested: no event of any kind may come out of it.
    let noticed = timeout(Duration::from_secs(2), views.changed()).await;
    signal("-CONT");
    running.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(noticed.is_err(), "{:#?}", views.borrow());
    let noticed = timeout(Duration::from_secs(3), views.changed()).await;
    assert!(noticed.is_err(), "afterwards: {:#?}", views.borrow());

    running.store(false, std::sync::atomic::Ordering::Relaxed);
    signal("-STOP");
    until(&a, "the child is down", |v| {
        standing(v, "child") == Standing::Down
    })
    .await;
    running.store(true, std::sync::atomic::Ordering::Relaxed);
    signal("-CONT");
    let view = until(&a, "the child serves again", |v| {
        standing(v, "child") == Standing::Serving
    })
    .await;
    assert_eq!(view.member(&id("child")).unwrap().generation, generation);
    child.0.kill().unwrap();
}

/// A stopped child must not outlive a failed test.
struct KilledOnDrop(std::process::Child);

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_newcomer_calls_itself_ready_only_once_it_can_know_the_others() {
    let lab = Lab::new("settle", true);
    let a = lab.join("a", &[]);
    until(&a, "a serves alone at once", |v| {
        standing(v, "a") == Standing::Serving
    })
    .await;
    let b = lab.join("b", &[&a]);
    let mut views = b.view();
    timeout(PATIENCE, async {
        loop {
            let view = Arc::clone(&views.borrow_and_update());
            let homes: Vec<_> = view.serving_homes().map(|m| m.id.as_str()).collect();
            assert_ne!(homes, ["b"], "b took everything for its own: {view:#?}");
            if homes == ["a", "b"] {
                return;
            }
            views.changed().await.unwrap();
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_node_that_crashed_twice_holds_itself_back_and_the_others_agree() {
    let lab = Lab::new("crashes", true);
    let a = lab.join("a", &[]);
    for crash in 0..2 {
        let b = lab.join("b", &[&a]);
        until(&a, "b serves", |v| standing(v, "b") == Standing::Serving).await;
        let generation = b.generation;
        lab.kill(b);
        assert!(generation > crash);
    }
    let began = now();
    let b = lab.join("b", &[&a]);
    let generation = b.generation;
    until(&b, "b serves for itself", |v| {
        standing(v, "b") == Standing::Serving
    })
    .await;
    assert!(
        now() - began >= Duration::from_secs(3),
        "{:?}",
        now() - began
    );
    until(&a, "b serves for a", |v| {
        standing(v, "b") == Standing::Serving
            && v.member(&id("b")).unwrap().generation == generation
    })
    .await;
}
