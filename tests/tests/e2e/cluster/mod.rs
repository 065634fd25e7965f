//! Three nodes: one service wherever a client is connected, and none of it lost with a node.

mod drain;
mod everyday;
mod failover;
mod traffic;

use std::sync::Arc;

use crate::harness::{Cases, Cluster, Settings, case};

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes() {
    let fixture = Arc::new(
        Cluster::start(Settings {
            name: "trio",
            net: 2,
            nodes: 3,
            clustered: true,
            domains: vec!["mantua.example"],
            // A drain waits for caches, but not for as long as in the world.
            extra: "[dns]\nttl_seconds = 1\n[drain]\ndns_wait_seconds = 3\n".to_owned(),
        })
        .await,
    );
    let mut cases = Cases::default();
    cases
        .together(vec![
            case!(fixture, everyday::login_at_any_node),
            case!(fixture, everyday::messages_across_nodes_in_order),
            case!(fixture, everyday::presence_across_nodes),
            case!(fixture, everyday::offline_anywhere),
            case!(fixture, everyday::resuming_elsewhere_loses_nothing),
            case!(fixture, everyday::beginning_anew_elsewhere_loses_nothing),
            case!(fixture, everyday::homes_are_spread),
            case!(fixture, everyday::every_name_server_says_the_same),
        ])
        .await;
    cases
        .in_order(vec![
            case!(fixture, drain::under_load),
            case!(fixture, drain::serves_until_caches_have_forgotten),
            case!(fixture, drain::a_stop_without_a_drain_loses_nothing),
            case!(fixture, failover::kill_the_recipients_home),
            case!(fixture, failover::kill_the_recipients_edge),
            case!(fixture, failover::kill_the_senders_edge),
            case!(fixture, failover::two_seconds_of_silence_change_nothing),
        ])
        .await;
    cases.check(fixture.faults());
    cases.finish(|| fixture.evidence());
}
