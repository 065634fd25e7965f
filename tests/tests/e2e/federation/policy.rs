//! Whom we talk to, and how surely we want to know who it is.

use std::sync::Arc;

use entente_load::TlsMode;

use super::real::outside;
use super::{BARE, DENIED, MISNAMED, UNSIGNED, World};
use crate::harness::{PATIENCE, SILENCE, online_at};
use crate::single::presence::befriend;

/// A certificate that proves nothing, and a peer that does not insist: dialback, both ways.
pub async fn dialback_with_an_unsigned_certificate(world: Arc<World>) {
    let login = world.cluster.user("dialled").await;
    let mut ours = online_at(&world.cluster.nodes[0], &login).await;
    let mut theirs = outside(world.prosody.clients(), "u1", UNSIGNED).await;
    befriend(&mut theirs, &mut ours).await;
    let mut streams = String::new();
    for node in &world.cluster.nodes {
        streams.push_str(&node.status().await["streams"].to_string());
    }
    assert!(streams.contains("dialback"), "{streams}");
}

pub async fn wrong_certificate_is_refused_where_one_is_required(world: Arc<World>) {
    let login = world.cluster.user("strict").await;
    let mut ours = online_at(&world.cluster.nodes[0], &login).await;
    let mut theirs = outside(world.prosody.clients(), "u1", MISNAMED).await;
    theirs
        .send(format!(
            "<message to='{}' type='chat' id='in'><body>x</body></message>",
            login.bare()
        ))
        .await
        .unwrap();
    ours.send(format!(
        "<message to='{}' type='chat' id='out'><body>x</body></message>",
        theirs.jid()
    ))
    .await
    .unwrap();
    let bounced = theirs
        .expect(PATIENCE, |s| s.raw_attr("id") == Some("in"))
        .await
        .unwrap();
    assert_eq!(bounced.raw_attr("type"), Some("error"), "{bounced}");
    let bounced = ours
        .expect(2 * PATIENCE, |s| s.raw_attr("id") == Some("out"))
        .await
        .unwrap();
    assert_eq!(bounced.raw_attr("type"), Some("error"), "{bounced}");
    assert!(
        ours.never(SILENCE, |s| s.raw_attr("id") == Some("in"))
            .await
            .unwrap()
            .is_none()
    );
}

/// Refused at the door, and our user hears nothing of it.
pub async fn denied_domain_is_not_heard(world: Arc<World>) {
    let login = world.cluster.user("guarded").await;
    let mut ours = online_at(&world.cluster.nodes[1], &login).await;
    let mut theirs = outside(world.prosody.clients(), "u1", DENIED).await;
    theirs
        .send(format!(
            "<presence to='{}' type='subscribe'/>",
            login.bare()
        ))
        .await
        .unwrap();
    theirs
        .send(format!(
            "<message to='{}' type='chat' id='in'><body>x</body></message>",
            login.bare()
        ))
        .await
        .unwrap();
    let bounced = theirs
        .expect(PATIENCE, |s| s.raw_attr("id") == Some("in"))
        .await
        .unwrap();
    assert_eq!(bounced.raw_attr("type"), Some("error"), "{bounced}");
    ours.send(format!(
        "<message to='{}' type='chat' id='out'><body>x</body></message>",
        theirs.jid()
    ))
    .await
    .unwrap();
    let bounced = ours
        .expect(PATIENCE, |s| s.raw_attr("id") == Some("out"))
        .await
        .unwrap();
    assert_eq!(bounced.raw_attr("type"), Some("error"), "{bounced}");
    let heard = ours
        .never(SILENCE, |s| {
            s.contains(DENIED) && s.raw_attr("id") != Some("out")
        })
        .await
        .unwrap();
    assert!(heard.is_none(), "{heard:?}");
}

pub async fn no_tls_no_federation(world: Arc<World>) {
    let login = world.cluster.user("encrypted").await;
    let mut ours = online_at(&world.cluster.nodes[0], &login).await;
    let mut theirs = outside(world.prosody.clients().with_tls(TlsMode::None), "u1", BARE).await;
    ours.send(format!(
        "<message to='{}' type='chat' id='out'><body>x</body></message>",
        theirs.jid()
    ))
    .await
    .unwrap();
    theirs
        .send(format!(
            "<message to='{}' type='chat' id='in'><body>x</body></message>",
            login.bare()
        ))
        .await
        .unwrap();
    let bounced = ours
        .expect(2 * PATIENCE, |s| s.raw_attr("id") == Some("out"))
        .await
        .unwrap();
    assert_eq!(bounced.raw_attr("type"), Some("error"), "{bounced}");
    let bounced = theirs
        .expect(2 * PATIENCE, |s| s.raw_attr("id") == Some("in"))
        .await
        .unwrap();
    assert_eq!(bounced.raw_attr("type"), Some("error"), "{bounced}");
    assert!(
        ours.never(SILENCE, |s| s.raw_attr("id") == Some("in"))
            .await
            .unwrap()
            .is_none()
    );
}

pub async fn unknown_domain_bounces(world: Arc<World>) {
    let login = world.cluster.user("mistyped").await;
    let mut ours = online_at(&world.cluster.nodes[0], &login).await;
    ours.send("<message to='x@nowhere.example' type='chat' id='out'><body>x</body></message>")
        .await
        .unwrap();
    let bounced = ours
        .expect(2 * PATIENCE, |s| s.raw_attr("id") == Some("out"))
        .await
        .unwrap();
    assert!(
        bounced.raw_attr("type") == Some("error") && bounced.contains("<remote-server-not-found"),
        "{bounced}"
    );
    let answer = ours
        .iq(
            "get",
            "nowhere.example",
            "<ping xmlns='urn:xmpp:ping'/>",
            2 * PATIENCE,
        )
        .await
        .unwrap();
    assert!(answer.contains("<remote-server-not-found"), "{answer}");
}
