//! A node dies under messages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::traffic::{Outcome, Traffic};
use crate::harness::{Cluster, Node, eventually, srv_targets};

/// From the kill to the change at every surviving name server.
const DNS_WITHIN: Duration = Duration::from_secs(8);
/// From the kill to messages flowing again.
const SERVED_WITHIN: Duration = Duration::from_secs(10);

/// Where the two users of a flow have their homes and connections, and who dies; by index.
pub(super) struct Plan {
    pub(super) name: &'static str,
    pub(super) victim: usize,
    pub(super) sender_home: usize,
    pub(super) sender_edge: usize,
    pub(super) receiver_home: usize,
    pub(super) receiver_edge: usize,
}

pub async fn kill_the_recipients_home(fixture: Arc<Cluster>) {
    let plan = Plan {
        name: "rh",
        victim: 0,
        sender_home: 1,
        sender_edge: 1,
        receiver_home: 0,
        receiver_edge: 2,
    };
    kill(&fixture, plan).await;
}

/// Who is also the sender's home.
pub async fn kill_the_recipients_edge(fixture: Arc<Cluster>) {
    let plan = Plan {
        name: "re",
        victim: 2,
        sender_home: 2,
        sender_edge: 1,
        receiver_home: 0,
        receiver_edge: 2,
    };
    kill(&fixture, plan).await;
}

pub async fn kill_the_senders_edge(fixture: Arc<Cluster>) {
    let plan = Plan {
        name: "se",
        victim: 1,
        sender_home: 0,
        sender_edge: 1,
        receiver_home: 2,
        receiver_edge: 2,
    };
    kill(&fixture, plan).await;
}

pub(super) async fn flow(fixture: &Cluster, plan: &Plan) -> Traffic {
    let node = |index: usize| &*fixture.nodes[index];
    let sender = fixture
        .user_at(node(plan.sender_home), &format!("{}-from", plan.name))
        .await;
    let receiver = fixture
        .user_at(node(plan.receiver_home), &format!("{}-to", plan.name))
        .await;
    Traffic::start(
        fixture,
        (&sender, node(plan.sender_edge)),
        (&receiver, node(plan.receiver_edge)),
    )
    .await
}

async fn kill(fixture: &Cluster, plan: Plan) {
    let mut traffic = flow(fixture, &plan).await;
    traffic.more(100).await;
    let victim = &fixture.nodes[plan.victim];
    let killed = Instant::now();
    victim.kill();
    let flowing = async {
        traffic.flows().await;
        killed.elapsed()
    };
    let (dns, served) = tokio::join!(named_without(fixture, victim), flowing);
    let outcome = traffic.finish().await;
    eprintln!(
        "     {}: names {dns:.1?}, messages {served:.1?}, {}",
        plan.name,
        told(&outcome)
    );
    back(fixture, victim).await;
    outcome.check();
    assert!(dns < stretched(DNS_WITHIN), "the name servers took {dns:?}");
    assert!(
        served < stretched(SERVED_WITHIN),
        "messages flowed after {served:?}"
    );
}

/// The limits are for a machine that has time for the nodes: with more than two runnable processes
/// for each core they grow as that number does.
pub(super) fn stretched(limit: Duration) -> Duration {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let runnable: f64 = load
        .split(' ')
        .next()
        .and_then(|load| load.parse().ok())
        .unwrap_or(0.0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    limit.mul_f64((runnable / cores / 2.0).clamp(1.0, 4.0))
}

pub(super) fn told(outcome: &Outcome) -> String {
    format!(
        "{} acked, {} lost, {} twice, longest without an ack {:.1?}",
        outcome.acked,
        outcome.lost.len(),
        outcome.doubled.len(),
        outcome.longest_gap
    )
}

/// How long until no running node's name server names `gone`.
pub(super) async fn named_without(fixture: &Cluster, gone: &Node) -> Duration {
    let survivors = || fixture.nodes.iter().filter(|node| node.name != gone.name);
    eventually(
        "the name servers change",
        Duration::from_secs(30),
        || async {
            for node in survivors() {
                let named = srv_targets(node.address, "xmpp-client", fixture.domain).await;
                if named.contains(&gone.host) || named.is_empty() {
                    return None;
                }
            }
            Some(())
        },
    )
    .await
    .1
}

/// Starts a killed node again and waits until all is as before.
pub(super) async fn back(fixture: &Cluster, node: &Node) {
    node.start();
    node.ready().await;
    fixture.all_serve().await;
    eventually(
        "the node is named again",
        Duration::from_secs(20),
        || async {
            for server in &fixture.nodes {
                if !srv_targets(server.address, "xmpp-client", fixture.domain)
                    .await
                    .contains(&node.host)
                {
                    return None;
                }
            }
            Some(())
        },
    )
    .await;
}

/// SIGSTOP for 2 s is no death.
pub async fn two_seconds_of_silence_change_nothing(fixture: Arc<Cluster>) {
    let plan = Plan {
        name: "st",
        victim: 0,
        sender_home: 0,
        sender_edge: 1,
        receiver_home: 2,
        receiver_edge: 2,
    };
    let mut traffic = flow(&fixture, &plan).await;
    let victim = &fixture.nodes[0];
    let generation = |status: serde_json::Value| status["view_version"].as_u64().unwrap();
    let before = generation(fixture.nodes[1].status().await);
    victim.signal("STOP");
    tokio::time::sleep(Duration::from_secs(2)).await;
    victim.signal("CONT");
    traffic.flows().await;
    traffic.finish().await.check();
    let serving = fixture.serving(&fixture.nodes[1]).await;
    assert_eq!(serving.len(), 3, "{serving:?}");
    let after = generation(fixture.nodes[1].status().await);
    eprintln!("     stopped for 2 s: view {before} → {after}");
}
