//! A cluster of real processes: joining, group commit, kill -9 of the leader under writes.
//!
//! `STORE_KILLS=20` kills more leaders and so measures the gap better.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stderr, reason = "prints what it measures")]

mod harness;
mod node;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use harness::{Ground, Node, until};
use tokio::time::{Instant, sleep};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|first| first == "node") {
        return node::run(&arguments[2..]);
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let started = Instant::now();
    runtime.block_on(a_cluster_lives_through_everything());
    eprintln!("cluster: ok in {:?}", started.elapsed());
}

async fn a_cluster_lives_through_everything() {
    let ground = Ground::new();
    let mut first = ground.node("n1", &[]);
    eprintln!("n1 founded the cluster in {:?}", first.start().await);
    let mut second = ground.node("n2", &[&first]);
    eprintln!("n2 joined in {:?}", second.start().await);
    // Its seed is no leader, and nobody has been told of it.
    let mut third = ground.node("n3", &[&second]);
    eprintln!("n3 joined in {:?}", third.start().await);
    let mut nodes = vec![first, second, third];
    settle(&nodes, "n1,n2,n3").await;

    nodes[0].ask("account u@x").await.unwrap();
    for node in &nodes {
        assert_eq!(node.ask("ids u@x").await.unwrap(), "");
    }
    read_your_writes(&nodes).await;
    throughput(&nodes).await;

    let kills = std::env::var("STORE_KILLS").map_or(2, |kills| kills.parse().unwrap());
    let mut gaps = Vec::new();
    for round in 0..kills {
        gaps.push(kill_the_leader_under_writes(&mut nodes, round).await);
    }
    gaps.sort();
    eprintln!(
        "gap in writes after the leader's death: median {:?}, worst {:?} of {}",
        gaps[gaps.len() / 2],
        gaps[gaps.len() - 1],
        gaps.len()
    );
    hang_the_leader(&nodes).await;
    a_newcomer_joins_without_the_founder(&ground, &mut nodes).await;
    a_learner_replaces_a_dead_voter(&mut nodes).await;
    everybody_dies(&mut nodes).await;
    a_lost_disk_joins_again(&ground, &mut nodes).await;
    a_member_is_removed(&mut nodes).await;
    the_last_one_goes_on_alone(&mut nodes).await;
}

/// Lets the leader choose voters until they are these.
async fn settle(nodes: &[Node], voters: &str) {
    until("the voters", async || {
        for node in nodes.iter().filter(|node| node.is_running()) {
            let live: Vec<&str> = nodes
                .iter()
                .filter(|node| node.is_running())
                .map(|node| node.name.as_str())
                .collect();
            // The leader may move meanwhile; the next round asks again.
            let _ = node.ask(&format!("voters {}", live.join(","))).await;
        }
        for node in nodes.iter().filter(|node| node.is_running()) {
            let status = node.status().await;
            if status.voters != voters || !status.healthy {
                return false;
            }
        }
        true
    })
    .await;
}

async fn leader(nodes: &[Node]) -> usize {
    let mut found = None;
    until("a leader", async || {
        for node in nodes.iter().filter(|node| node.is_running()) {
            let status = node.status().await;
            let leader = nodes
                .iter()
                .position(|node| node.name == status.leader && node.is_running());
            if leader.is_some() {
                found = leader;
                return true;
            }
        }
        false
    })
    .await;
    found.unwrap()
}

async fn read_your_writes(nodes: &[Node]) {
    for (index, node) in nodes.iter().enumerate() {
        let user = format!("own{index}@x");
        node.ask(&format!("account {user}")).await.unwrap();
        node.ask(&format!("put {user} 1")).await.unwrap();
        assert_eq!(node.ask(&format!("read {user}")).await.unwrap(), "1");
    }
}

/// Many callers on all nodes at once, and one caller alone.
async fn throughput(nodes: &[Node]) {
    const CALLERS: u32 = 32;
    const CALLS: u32 = 20;
    for index in 0..nodes.len() {
        nodes[0].ask(&format!("account t{index}@x")).await.unwrap();
    }
    let started = Instant::now();
    let calls = nodes.iter().enumerate().flat_map(|(index, node)| {
        (0..CALLERS).map(move |caller| async move {
            for call in 0..CALLS {
                let order = format!("put t{index}@x {caller}-{call}");
                node.ask(&order).await.unwrap();
            }
        })
    });
    futures_util::future::join_all(calls).await;
    let total = nodes.len() as u32 * CALLERS * CALLS;
    let rate = f64::from(total) / started.elapsed().as_secs_f64();
    eprintln!("group commit: {rate:.0} durable calls a second from {CALLERS} callers on each node");

    for node in nodes {
        let started = Instant::now();
        for call in 0..CALLS {
            node.ask(&format!("put t0@x {}-{call}", node.name))
                .await
                .unwrap();
        }
        eprintln!(
            "one caller on {}: {:?} a call",
            node.name,
            started.elapsed() / CALLS
        );
    }
}

/// A stream of numbered writes to one node. Remembers what was acknowledged and the longest time
/// without an acknowledgement.
#[derive(Default)]
struct Stream {
    stop: AtomicBool,
    acked: AtomicU64,
    gap_ms: AtomicU64,
}

impl Stream {
    async fn run(&self, node: &Node, user: &str, tag: &str) -> Vec<String> {
        let mut acked = Vec::new();
        let mut last = Instant::now();
        for number in 0.. {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let id = format!("{tag}-{number}");
            if node.ask(&format!("put {user} {id}")).await.is_ok() {
                let gap = u64::try_from(last.elapsed().as_millis()).unwrap();
                self.gap_ms.fetch_max(gap, Ordering::Relaxed);
                self.acked.fetch_add(1, Ordering::Relaxed);
                last = Instant::now();
                acked.push(id);
            }
            // Paces the load; nothing depends on it.
            sleep(Duration::from_millis(2)).await;
        }
        acked
    }

    /// Returns after that many more acknowledgements.
    async fn goes_on(&self, more: u64) {
        let enough = self.acked.load(Ordering::Relaxed) + more;
        until("more acknowledgements", async || {
            self.acked.load(Ordering::Relaxed) >= enough
        })
        .await;
    }
}

async fn kill_the_leader_under_writes(nodes: &mut [Node], round: usize) -> Duration {
    let leading = leader(nodes).await;
    let user = format!("k{round}@x");
    nodes[leading]
        .ask(&format!("account {user}"))
        .await
        .unwrap();
    let mut victim = nodes[leading].take();
    let survivors: Vec<&Node> = nodes
        .iter()
        .enumerate()
        .filter(|(index, _)| *index != leading)
        .map(|(_, node)| node)
        .collect();
    let streams = [Stream::default(), Stream::default()];
    let conduct = async {
        for stream in &streams {
            stream.goes_on(50).await;
        }
        victim.kill().await;
        for stream in &streams {
            stream.goes_on(50).await;
            stream.stop.store(true, Ordering::Relaxed);
        }
    };
    let writes = futures_util::future::join_all(
        streams
            .iter()
            .zip(survivors)
            .map(|(stream, node)| stream.run(node, &user, &node.name)),
    );
    let (acked, ()) = tokio::join!(writes, conduct);
    let acked: Vec<String> = acked.into_iter().flatten().collect();
    let gaps = streams.map(|stream| stream.gap_ms.load(Ordering::Relaxed));
    let gap = Duration::from_millis(gaps.into_iter().max().unwrap_or_default());
    nodes[leading] = victim;
    let back = nodes[leading].start().await;
    eprintln!(
        "killed the leader {}: {} acknowledged, gap {gap:?}, back in {back:?}",
        nodes[leading].name,
        acked.len()
    );
    all_there(nodes, &user, &acked).await;
    gap
}

async fn all_there(nodes: &[Node], user: &str, acked: &[String]) {
    assert!(!acked.is_empty());
    for node in nodes.iter().filter(|node| node.is_running()) {
        let stored = node.ask(&format!("ids {user}")).await.unwrap();
        let listed: Vec<&str> = stored.split(',').collect();
        let stored: HashSet<&str> = listed.iter().copied().collect();
        assert_eq!(listed.len(), stored.len(), "stored twice");
        let lost: Vec<&String> = acked
            .iter()
            .filter(|id| !stored.contains(id.as_str()))
            .collect();
        assert!(lost.is_empty(), "{} lost {lost:?}", node.name);
    }
}

/// A leader that neither dies nor answers: the connections to it stay open.
async fn hang_the_leader(nodes: &[Node]) {
    let leading = leader(nodes).await;
    nodes[leading].ask("account h@x").await.unwrap();
    nodes[leading].signal("-STOP");
    let stopped = Instant::now();
    let survivor = &nodes[(leading + 1) % nodes.len()];
    let mut acked = Vec::new();
    until("a write past a leader that hangs", async || {
        let done = survivor.ask("put h@x 1").await.is_ok();
        done.then(|| acked.push("1".to_owned())).is_some()
    })
    .await;
    eprintln!(
        "a write got past a stopped leader in {:?}",
        stopped.elapsed()
    );
    assert!(stopped.elapsed() < Duration::from_secs(8), "too slow");
    nodes[leading].signal("-CONT");
    all_there(nodes, "h@x", &acked).await;
}

/// Through a member that is known by a name which its certificate does not have.
async fn a_newcomer_joins_without_the_founder(ground: &Ground, nodes: &mut Vec<Node>) {
    nodes[0].kill().await;
    let mut fourth = ground.node("n4", &[&nodes[0], &nodes[1]]);
    eprintln!(
        "n4 joined without the founder in {:?}",
        fourth.start().await
    );
    nodes.push(fourth);
    nodes[0].start().await;
}

async fn a_learner_replaces_a_dead_voter(nodes: &mut [Node]) {
    let status = nodes[3].status().await;
    assert_eq!(
        (status.voters.as_str(), status.learners.as_str()),
        ("n1,n2,n3", "n4")
    );

    let leading = leader(nodes).await;
    let victim = (0..3).find(|index| *index != leading).unwrap();
    nodes[victim].kill().await;
    let voters: Vec<&str> = nodes
        .iter()
        .filter(|node| node.is_running())
        .map(|node| node.name.as_str())
        .collect();
    let started = Instant::now();
    settle(nodes, &voters.join(",")).await;
    eprintln!(
        "a learner took a dead voter's place in {:?}",
        started.elapsed()
    );
    nodes[victim].start().await;
    let status = nodes[victim].status().await;
    assert_eq!(status.learners, nodes[victim].name);
}

async fn everybody_dies(nodes: &mut [Node]) {
    nodes[0].ask("account e@x").await.unwrap();
    nodes[0].ask("put e@x last").await.unwrap();
    let started = Instant::now();
    for node in nodes.iter_mut() {
        node.kill().await;
    }
    let launched: Vec<_> = nodes.iter_mut().map(Node::launch).collect();
    for (node, ready) in nodes.iter().zip(launched) {
        node.opened(ready).await;
    }
    eprintln!("all killed and back in {:?}", started.elapsed());
    all_there(nodes, "e@x", &["last".to_owned()]).await;
}

/// The same name, an empty directory, another address.
async fn a_lost_disk_joins_again(ground: &Ground, nodes: &mut [Node]) {
    let learner = nodes[0].status().await.learners;
    let index = nodes.iter().position(|node| node.name == learner).unwrap();
    nodes[index].kill().await;
    std::fs::remove_dir_all(&nodes[index].dir).unwrap();
    let seed = leader(nodes).await;
    let mut again = ground.node(&learner, &[&nodes[seed]]);
    let name = again.name.clone();
    eprintln!("{name} joined again in {:?}", again.start().await);
    nodes[index] = again;
    assert_eq!(nodes[index].ask("ids e@x").await.unwrap(), "last");
    nodes[index].ask("put e@x again").await.unwrap();
    until("the old member of that name is gone", async || {
        for node in nodes.iter() {
            let _ = node.ask("voters n1,n2,n3,n4").await;
        }
        nodes[index].status().await.learners == learner
    })
    .await;
}

async fn a_member_is_removed(nodes: &mut Vec<Node>) {
    let leading = leader(nodes).await;
    let learner = nodes[leading].status().await.learners;
    let index = nodes.iter().position(|node| node.name == learner).unwrap();
    nodes[index].kill().await;
    nodes.remove(index);
    let leading = leader(nodes).await;
    // Not only the leader may be asked.
    let other = &nodes[(leading + 1) % nodes.len()];
    other.ask(&format!("remove {learner}")).await.unwrap();
    until("nobody but voters", async || {
        let status = other.status().await;
        status.learners.is_empty() && status.voters.split(',').count() == 3
    })
    .await;
}

/// The majority is lost for good, and the survivor was even started once without it.
async fn the_last_one_goes_on_alone(nodes: &mut [Node]) {
    nodes[0].ask("account r@x").await.unwrap();
    nodes[1].ask("put r@x 1").await.unwrap();
    assert_eq!(nodes[2].ask("ids r@x").await.unwrap(), "1");
    for node in nodes.iter_mut() {
        node.kill().await;
    }
    let survivor = &mut nodes[2];
    let waiting = survivor.launch();
    let kept = survivor.dir.join("state_machine/db.kept");
    let rebuilt = survivor.dir.join("state_machine/db/hiqlite.db");
    until("the engine has started over", async || {
        kept.exists() && rebuilt.exists()
    })
    .await;
    survivor.kill().await;
    assert!(waiting.1.await.is_err(), "it can't open without a majority");

    entente_store::recover_alone(&survivor.dir).unwrap();
    eprintln!("recovered alone in {:?}", survivor.start().await);
    assert_eq!(survivor.ask("ids r@x").await.unwrap(), "1");
    survivor.ask("put r@x 2").await.unwrap();
    let status = survivor.status().await;
    assert_eq!(status.voters, survivor.name, "{status:?}");
    assert_eq!(status.learners, "");

    // The others come back empty; what the new cluster's log does not hold, its snapshot does.
    let seed = survivor.api();
    nodes[0].seeds(&[seed]);
    std::fs::remove_dir_all(&nodes[0].dir).unwrap();
    nodes[0].start().await;
    assert_eq!(nodes[0].ask("ids r@x").await.unwrap(), "1,2");
}
