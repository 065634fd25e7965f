#![allow(clippy::unwrap_used)]
use super::*;
use crate::example::{nodes, plan, targets};
use crate::serial::Serial;

struct Bench {
    nodes: watch::Sender<Vec<PublishedNode>>,
    plan: watch::Sender<Arc<PublishPlan>>,
    announcements: watch::Sender<Vec<Announcement>>,
    isolated: watch::Sender<bool>,
    publisher: Publisher,
}

impl Bench {
    fn start() -> Self {
        let (nodes, nodes_seen) = watch::channel(Vec::new());
        let (plan, plan_seen) = watch::channel(Arc::new(plan()));
        let (announcements, announcements_seen) = watch::channel(Vec::new());
        let (isolated, isolated_seen) = watch::channel(true);
        let inputs = PublisherInputs {
            nodes: nodes_seen,
            plan: plan_seen,
            announcements: announcements_seen,
            isolated: isolated_seen,
        };
        Self {
            nodes,
            plan,
            announcements,
            isolated,
            publisher: Publisher::start(ScheduleConfig::default(), inputs),
        }
    }

    async fn until(&self, holds: impl FnMut(&Arc<Published>) -> bool) -> Arc<Published> {
        let mut published = self.publisher.published();
        published.wait_for(holds).await.unwrap().clone()
    }
}

fn targets_of(published: &Published) -> Vec<String> {
    let records = published.records.as_ref();
    records.map_or(vec![], |r| targets(r, "_sips._tcp.example.com"))
}

#[tokio::test(start_paused = true)]
async fn follows_all_its_inputs() {
    let bench = Bench::start();
    assert!(bench.publisher.published().borrow().isolated);
    bench.nodes.send_replace(nodes([1, 2]));
    let first = bench.until(|p| targets_of(p) == ["n1", "n2"]).await;
    assert!(first.isolated, "answers only once it may");
    bench.isolated.send_replace(false);
    bench.until(|p| !p.isolated).await;
    let mut announcement = first.announcement().unwrap();
    announcement.serial = Serial(announcement.serial.0 + 77);
    bench.announcements.send_replace(vec![announcement]);
    bench.until(|p| p.serial == announcement.serial).await;
    let mut fewer = plan();
    fewer.local_domains.clear();
    bench.plan.send_replace(Arc::new(fewer));
    bench.until(|p| targets_of(p).is_empty()).await;
}

// Core deadlines are std Instants, so this one runs on the real clock: one debounce of 1 s.
#[tokio::test]
async fn additions_come_after_the_debounce_and_removals_at_once() {
    let bench = Bench::start();
    bench.nodes.send_replace(nodes([1]));
    bench.until(|p| targets_of(p) == ["n1"]).await;
    let start = now();
    bench.nodes.send_replace(nodes([1, 2]));
    bench.until(|p| targets_of(p) == ["n1", "n2"]).await;
    assert!(now() - start >= ScheduleConfig::default().debounce);
    bench.nodes.send_replace(nodes([2]));
    bench.until(|p| targets_of(p) == ["n2"]).await;
}

#[tokio::test(start_paused = true)]
async fn keeps_serving_the_last_values_of_senders_that_are_gone() {
    let bench = Bench::start();
    bench.nodes.send_replace(nodes([1]));
    bench.until(|p| targets_of(p) == ["n1"]).await;
    let Bench {
        nodes: gone,
        isolated,
        publisher,
        ..
    } = bench;
    drop(gone);
    let mut published = publisher.published();
    isolated.send_replace(false);
    let last = published.wait_for(|p| !p.isolated).await.unwrap().clone();
    assert_eq!(targets_of(&last), ["n1"]);
}
