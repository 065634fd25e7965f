//! What the operator sees, and what others see in DNS.

use std::sync::Arc;

use super::{BEHIND_EDGE, DOMAIN, EDGE, PARTNER, World, options};
use crate::harness::{PATIENCE, dig, eventually, srv_targets};

pub async fn records_name_the_host_inside_the_domain(world: Arc<World>) {
    for node in &world.cluster.nodes {
        let hosts: Vec<String> = world
            .cluster
            .nodes
            .iter()
            .map(|node| node.host.clone())
            .collect();
        for service in ["sipfederationtls", "sips"] {
            eventually("both nodes are published for SIP", PATIENCE, || async {
                (srv_targets(node.address, service, DOMAIN).await == hosts).then_some(())
            })
            .await;
        }
        let lines = dig(node.address, &format!("_sips._tcp.{DOMAIN}"), "SRV").await;
        assert!(
            lines.iter().all(|line| line.contains(" 15061 ")),
            "{lines:?}"
        );
    }
}

pub async fn peers_are_shown(world: Arc<World>) {
    let node = &world.cluster.nodes[1];
    let mut wire = world.wire(1, &world.certificate(&[EDGE])).await;
    wire.send(options(BEHIND_EDGE)).await;
    assert_eq!(wire.status().await, 200);
    wire.send(options("mallory.example")).await;
    assert_eq!(wire.status().await, 403);
    let (code, body) = node.get("/peers").await.unwrap();
    assert_eq!(code, 200);
    let peers: serde_json::Value = serde_json::from_str(&body).unwrap();
    let edge = peers["sip"]
        .as_array()
        .unwrap()
        .iter()
        .find(|peer| peer["peer"] == "edge")
        .unwrap();
    assert_eq!(edge["profile"], "lync");
    let shown = edge["connections"]
        .as_array()
        .unwrap()
        .iter()
        .find(|connection| connection["refused"] == 1)
        .unwrap_or_else(|| panic!("{edge}"));
    assert_eq!(shown["proof"], EDGE);
    assert_eq!(shown["direction"], "in");
    assert_eq!(shown["domains"][0], BEHIND_EDGE);
    assert_eq!(shown["requests_in"], 1);
    let output = node.command(&["peers"], "").await;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("peer edge") && text.contains(EDGE), "{text}");
    let (_, metrics) = node.get("/metrics").await.unwrap();
    for metric in ["entente_sip_connections", "entente_sip_requests_total"] {
        assert!(metrics.contains(metric), "{metric} is missing");
    }
}

pub async fn a_reload_takes_a_peer_away(world: Arc<World>) {
    let mut wire = world.partner(0).await;
    wire.send(options(PARTNER)).await;
    assert_eq!(wire.status().await, 200);
    let config = &world.cluster.config;
    let before = std::fs::read_to_string(config).unwrap();
    let without = before.replace(
        &format!("domains = [\"{PARTNER}\"]"),
        "domains = [\"someone.example\"]",
    );
    assert_ne!(without, before);
    std::fs::write(config, without).unwrap();
    world.cluster.nodes[0].signal("HUP");
    // The connection stays, its domain is refused.
    let mut refused = false;
    for _ in 0..100 {
        wire.send(options(PARTNER)).await;
        refused = wire.status().await == 403;
        if refused {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(refused, "the partner is still heard after the reload");
    std::fs::write(config, before).unwrap();
}
