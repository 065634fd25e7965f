//! The whole in containers: three nodes and another organisation's Prosody from deploy/'s own compose
//! file, killed, scaled and drained under load.
//!
//! Needs Docker with compose and the images that `deploy/images` builds (`tests/run` does), and
//! `ENTENTE_BIN`, a static binary with `entente-load` beside it. `TEST_CONTAINERS=no` skips, saying so;
//! `FAULT_RUNS` repeats the faults, `FAULT_ONLY` takes one kind: kill, drain, stop, grow, join.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and tells its figures"
)]

mod lab;

use std::time::{Duration, Instant};

use lab::{Lab, Load, Outcome};

/// From the death of a node to answers without it, at every surviving name server.
const DNS_LIMIT: Duration = Duration::from_secs(8);
/// From the death of a node until every pair of users has got a message through again.
const SERVED_LIMIT_MS: f64 = 10_000.0;

#[test]
fn faults_lose_nothing_that_was_acknowledged() {
    if std::env::var("TEST_CONTAINERS").as_deref() == Ok("no") {
        println!("SKIPPED: TEST_CONTAINERS=no (Docker's engine does not run here)");
        return;
    }
    let runs = std::env::var("FAULT_RUNS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1);
    let only = std::env::var("FAULT_ONLY").unwrap_or_default();
    let wanted = |case: &str| case.contains(&only);
    let lab = Lab::up();
    let mut figures = Vec::new();
    for run in 0..runs {
        if wanted("kill") {
            figures.push(kill_an_edge(&lab));
            figures.push(kill_the_leader(&lab));
            figures.push(kill_a_sender_to_the_partner(&lab));
        }
        if wanted("drain") {
            let loads = [Load::Inside, Load::ToPartner, Load::FromPartner];
            for (turn, load) in loads.into_iter().enumerate() {
                // Each time another node: one that comes and goes is held back from DNS.
                let nodes = lab.nodes();
                figures.push(drain(&lab, &nodes[(run + turn) % nodes.len()], load));
            }
        }
        if wanted("stop") {
            figures.push(stop(&lab));
        }
    }
    if wanted("grow") {
        figures.push(grow(&lab));
    }
    if wanted("join") {
        figures.push(join_without_the_founder(&lab));
    }
    for line in &figures {
        println!("{line}");
    }
}

fn kill_an_edge(lab: &Lab) -> String {
    let node = other_than_the_founder(lab);
    fault(
        lab,
        "edge and home of a third of the users",
        &node,
        Load::Inside,
    )
}

fn kill_the_leader(lab: &Lab) -> String {
    fault(lab, "the store's leader", &lab.store_leader(), Load::Inside)
}

fn kill_a_sender_to_the_partner(lab: &Lab) -> String {
    let node = lab.nodes().into_iter().next_back().unwrap();
    fault(
        lab,
        "node with outbound streams to the partner",
        &node,
        Load::ToPartner,
    )
}

fn other_than_the_founder(lab: &Lab) -> String {
    lab.nodes()
        .into_iter()
        .find(|node| !node.contains("first"))
        .unwrap()
}

/// Kills `node` under load and holds what follows against the limits.
fn fault(lab: &Lab, what: &str, node: &str, load: Load) -> String {
    let running = lab.start_load(load, 14);
    let began = lab::now();
    lab.kill(node);
    let gone = lab.dns_without(node, began, DNS_LIMIT);
    let outcome = running.finish();
    lab.start(node);
    let line = format!(
        "killed {what}: DNS changed everywhere in {:.1} s, longest silence of a pair {:.1} s, {} acked, {} lost, {} duplicates, {} bounced",
        gone.as_secs_f64(),
        outcome.number("longest_pair_gap_ms") / 1000.0,
        outcome.number("acked"),
        outcome.number("lost"),
        outcome.number("duplicates"),
        outcome.number("bounced"),
    );
    println!("{line}");
    nothing_lost(&outcome, &line);
    assert!(
        outcome.number("longest_pair_gap_ms") <= SERVED_LIMIT_MS,
        "{line}"
    );
    line
}

/// A fourth node joins under load; the others are not touched.
fn grow(lab: &Lab) -> String {
    let before = lab.started_at();
    let running = lab.start_load(Load::Inside, 14);
    lab.scale(4);
    let outcome = running.finish();
    let line = format!(
        "a fourth node under load: {} acked, {} lost, {} duplicates, longest silence of a pair {:.1} s",
        outcome.number("acked"),
        outcome.number("lost"),
        outcome.number("duplicates"),
        outcome.number("longest_pair_gap_ms") / 1000.0
    );
    println!("{line}");
    nothing_lost(&outcome, &line);
    let after = lab.started_at();
    for (node, started) in before {
        assert!(
            after.contains(&(node.clone(), started)),
            "{node} was restarted by the scaling"
        );
    }
    line
}

/// A node is drained under load: nothing lost, nothing bounced, nothing twice.
fn drain(lab: &Lab, node: &str, load: Load) -> String {
    let running = lab.start_load(load, 26);
    let began = lab::now();
    lab.entente(node, &["drain", "--wait"]);
    let took = since(began);
    lab.dns_without(node, began, took);
    let outcome = running.finish();
    let line = format!(
        "drain under load ({load:?}): drained after {:.1} s, {}",
        took.as_secs_f64(),
        account(&outcome)
    );
    println!("{line}");
    nothing_happened(&outcome, &line);
    lab.undrain(node);
    line
}

/// A node is stopped without a drain.
fn stop(lab: &Lab) -> String {
    let node = other_than_the_founder(lab);
    let running = lab.start_load(Load::Inside, 14);
    let took = lab.stop(&node);
    let outcome = running.finish();
    lab.start(&node);
    let line = format!(
        "stop under load: ended after {:.1} s, {}",
        took.as_secs_f64(),
        account(&outcome)
    );
    println!("{line}");
    nothing_happened(&outcome, &line);
    line
}

/// The node that founded the cluster is dead: a newcomer joins through another one.
fn join_without_the_founder(lab: &Lab) -> String {
    let founder = lab
        .nodes()
        .into_iter()
        .find(|node| node.contains("first"))
        .unwrap();
    lab.kill(&founder);
    let began = lab::now();
    let newcomer = lab.one_more();
    let line = format!(
        "{newcomer} joined without {founder} in {:.1} s",
        since(began).as_secs_f64()
    );
    println!("{line}");
    lab.start(&founder);
    line
}

fn account(outcome: &Outcome) -> String {
    format!(
        "{} acked, {} lost, {} bounced, {} duplicates, longest silence of a pair {:.1} s",
        outcome.number("acked"),
        outcome.number("lost"),
        outcome.number("bounced"),
        outcome.number("duplicates"),
        outcome.number("longest_pair_gap_ms") / 1000.0
    )
}

/// What is planned is no fault.
fn nothing_happened(outcome: &Outcome, line: &str) {
    nothing_lost(outcome, line);
    assert!(outcome.number("bounced") == 0.0, "{line}");
    assert!(outcome.number("duplicates") == 0.0, "{line}");
}

fn nothing_lost(outcome: &Outcome, line: &str) {
    assert!(
        outcome.number("acked") >= 1000.0,
        "the load hardly ran: {line}"
    );
    assert!(outcome.number("lost") == 0.0, "{line}");
    // What a client says again because its node died before the ack came is recognised, but for what
    // was on its way to the store just then.
    assert!(
        outcome.number("duplicates") <= outcome.number("acked") / 1000.0,
        "{line}"
    );
}

/// The time since `began`.
fn since(began: Instant) -> Duration {
    lab::now().duration_since(began)
}
