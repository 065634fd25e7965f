//! What must be refused in the protocol's words, closed where the RFC says so, and harm nobody
//! else.

mod crowd;
mod garbage;
mod xml;

use std::sync::Arc;

use crate::harness::{Cases, Cluster, PATIENCE, Settings, case};

pub const DOMAIN: &str = "pisa.example";

#[tokio::test(flavor = "multi_thread")]
async fn bad_input() {
    let fixture = Arc::new(
        Cluster::start(Settings {
            name: "bad",
            net: 4,
            nodes: 1,
            clustered: true,
            domains: vec![DOMAIN],
            extra: String::new(),
        })
        .await,
    );
    // Somebody who behaves, all the time.
    let bystander = fixture.user("bystander").await;
    let mut bystander = fixture.online(&bystander).await;
    let mut cases = Cases::default();
    cases
        .together(vec![
            case!(fixture, xml::before_the_header),
            case!(fixture, xml::before_authentication),
            case!(fixture, xml::after_authentication),
            case!(fixture, xml::stanzas_that_only_bounce),
            case!(fixture, xml::nothing_before_starttls_survives_it),
            case!(fixture, xml::large_header_without_end),
            case!(fixture, xml::federation_streams),
            case!(fixture, garbage::into_every_tcp_port),
            case!(fixture, garbage::into_every_udp_port),
            case!(fixture, garbage::administration),
            case!(fixture, crowd::silent_connections_end),
        ])
        .await;
    cases
        .in_order(vec![case!(fixture, crowd::two_thousand_idle_connections)])
        .await;
    let unharmed = bystander
        .iq("get", "", "<ping xmlns='urn:xmpp:ping'/>", PATIENCE)
        .await;
    if let Err(error) = unharmed {
        cases.check(vec![format!("the bystander was harmed: {error}")]);
    }
    cases.check(fixture.faults());
    cases.finish(|| fixture.evidence());
}
