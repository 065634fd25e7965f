//! A node is taken out on purpose: nobody loses anything, and nobody finds a closed door.

use std::sync::Arc;
use std::time::{Duration, Instant};

use entente_load::ClientError;

use super::failover::{Plan, back, flow, named_without, stretched, told};
use crate::harness::{Cluster, PATIENCE, eventually, online_at, session_at};

/// What `drain.dns_wait_seconds` is set to here.
const DNS_WAIT: Duration = Duration::from_secs(3);
/// Bounds on a stop: agreement 1, pace 2, farewell 10, flush 2, leave 3 s. Without anybody who is slow
/// it takes none of them.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// A flow into the node with index 1, whose sender's home it is, and one out of it.
fn plans(name: [&'static str; 2]) -> [Plan; 2] {
    [
        Plan {
            name: name[0],
            victim: 1,
            sender_home: 1,
            sender_edge: 0,
            receiver_home: 2,
            receiver_edge: 1,
        },
        Plan {
            name: name[1],
            victim: 1,
            sender_home: 0,
            sender_edge: 1,
            receiver_home: 1,
            receiver_edge: 2,
        },
    ]
}

/// Drain, restart and return of a node that is home and edge.
pub async fn under_load(fixture: Arc<Cluster>) {
    let [into, out_of] = plans(["dr", "ds"]);
    let (mut into, mut out_of) = (flow(&fixture, &into).await, flow(&fixture, &out_of).await);
    let victim = &fixture.nodes[1];
    let drained = victim.command(&["drain", "--wait"], "").await;
    let steps = String::from_utf8_lossy(&drained.stdout);
    assert!(
        drained.status.success(),
        "{steps}{}",
        String::from_utf8_lossy(&drained.stderr)
    );
    for step in ["out of caches", "drained"] {
        assert!(steps.contains(step), "{step} is not in {steps}");
    }
    let dns = named_without(&fixture, victim).await;
    into.more(100).await;
    let stopped = victim.stop().await;
    into.flows().await;
    out_of.flows().await;
    for traffic in [into, out_of] {
        let outcome = traffic.finish().await;
        eprintln!(
            "     drain: names {dns:.1?}, stop {stopped:.1?}, {}",
            told(&outcome)
        );
        outcome.check_strictly();
        assert!(
            outcome.longest_gap < stretched(Duration::from_secs(5)),
            "{outcome:?}"
        );
    }
    back(&fixture, victim).await;
}

/// The steps as others see them: out of DNS and no home any more, but still served, new connections
/// too; only then the door closes.
pub async fn serves_until_caches_have_forgotten(fixture: Arc<Cluster>) {
    let victim = &fixture.nodes[2];
    let before = fixture.user("early").await;
    let after = fixture.user("late").await;
    let mut early = online_at(victim, &before).await;
    let began = Instant::now();
    assert!(victim.command(&["drain"], "").await.status.success());
    named_without(&fixture, victim).await;
    let unnamed = began.elapsed();
    let status = victim.status().await;
    let step = status["drain"]["step"].as_str().unwrap();
    assert!(
        ["leaving DNS", "waiting until DNS answers are out of caches"].contains(&step),
        "{status}"
    );
    let own = status["members"]
        .as_array()
        .unwrap()
        .iter()
        .find(|member| member["id"] == victim.name)
        .unwrap();
    assert_eq!(own["home_share"], 0.0, "{own}");
    let (code, reasons) = victim.get("/readyz").await.unwrap();
    assert!(
        code == 503 && reasons.contains("caches") || reasons.contains("DNS"),
        "{reasons}"
    );
    // Somebody comes by an old answer.
    let mut late = online_at(victim, &after).await;
    late.send(format!(
        "<message to='{}' type='chat' id='in-time'><body>b</body></message>",
        early.jid()
    ))
    .await
    .unwrap();
    early
        .expect(PATIENCE, |s| s.raw_attr("id") == Some("in-time"))
        .await
        .unwrap();
    let told = match early.expect(PATIENCE, |_| false).await {
        Err(ClientError::StreamError(error)) => error,
        other => panic!("the client was not told: {other:?}"),
    };
    assert!(told.contains("<system-shutdown"), "{told}");
    assert!(
        began.elapsed() >= DNS_WAIT,
        "the streams were ended {:?} after the drain began; out of DNS after {unnamed:?}",
        began.elapsed()
    );
    eventually("the node is drained", PATIENCE, || async {
        (victim.status().await["drain"]["drained"] == true).then_some(())
    })
    .await;
    let refused = tokio::net::TcpStream::connect(victim.clients().address).await;
    assert!(refused.is_err(), "the port is open after the drain");
    assert!(victim.command(&["undrain"], "").await.status.success());
    victim.ready().await;
    fixture.all_serve().await;
    session_at(victim, &before).await.close().await;
}

/// SIGTERM alone: no wait for DNS, but the same farewell.
pub async fn a_stop_without_a_drain_loses_nothing(fixture: Arc<Cluster>) {
    let [into, out_of] = plans(["tr", "ts"]);
    let (mut into, mut out_of) = (flow(&fixture, &into).await, flow(&fixture, &out_of).await);
    let victim = &fixture.nodes[1];
    let stopped = victim.stop().await;
    into.flows().await;
    out_of.flows().await;
    for traffic in [into, out_of] {
        let outcome = traffic.finish().await;
        eprintln!("     stop {stopped:.1?}: {}", told(&outcome));
        outcome.check_strictly();
    }
    back(&fixture, victim).await;
    assert!(
        stopped < stretched(STOP_WITHIN),
        "the stop took {stopped:?}"
    );
}
