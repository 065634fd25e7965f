//! Stream headers.

use std::sync::Arc;

use super::{DOMAIN, login::header};
use crate::harness::{CLIENT_PORT, Cluster, Wire};

pub async fn unknown_domain(fixture: Arc<Cluster>) {
    let mut wire = Wire::connect(fixture.first().socket(CLIENT_PORT)).await;
    wire.send(header("elsewhere.example")).await;
    wire.ends_with(&["host-unknown"]).await;
}

pub async fn header_has_what_clients_need(fixture: Arc<Cluster>) {
    let mut wire = Wire::connect(fixture.first().socket(CLIENT_PORT)).await;
    let (answer, _) = wire.open(&header(DOMAIN)).await;
    assert_eq!(answer.attr("from").as_deref(), Some(DOMAIN), "{answer}");
    assert_eq!(answer.attr("version").as_deref(), Some("1.0"), "{answer}");
    assert!(
        answer.attr("id").is_some_and(|id| id.len() >= 8),
        "{answer}"
    );
    assert!(answer.as_str().starts_with("<stream:stream "), "{answer}");
    // The answer to a footer is a footer.
    wire.send("</stream:stream>").await;
    assert!(matches!(wire.next().await, crate::harness::Got::Footer));
    wire.closes().await;
}
