//! Streams in both directions (XEP-0288) and the limits that peers announce (XEP-0478).

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use entente_load::Client;
use rustls::ServerConfig;
use tokio::net::TcpListener;

use super::real::outside;
use super::scripted::{SASL, header, secured};
use super::{BIDI, BOTHWAYS, DOMAIN, LIMITED, World, address};
use crate::harness::{Issued, PATIENCE, SILENCE, Wire, eventually, online_at};

async fn message(client: &mut Client, to: &str, id: &str, size: usize) {
    let body = "x".repeat(size);
    client
        .send(format!(
            "<message to='{to}' type='chat' id='{id}'><body>{body}</body></message>"
        ))
        .await
        .unwrap();
}

/// The outbound side of `node`'s pair with `remote`.
async fn outbound(world: &World, node: usize, remote: &str) -> Option<serde_json::Value> {
    let status = world.cluster.nodes[node].status().await;
    let streams = status["streams"].as_array().unwrap();
    let ours =
        |stream: &&serde_json::Value| stream["direction"] == "out" && stream["remote"] == remote;
    streams.iter().find(ours).cloned()
}

/// Prosody opens a stream for both directions: the node that has it sends on it, the other node on one
/// of its own, which Prosody uses for both directions, too.
pub async fn prosody_uses_streams_both_ways(world: Arc<World>) {
    let nodes = &world.cluster.nodes;
    let mut theirs = outside(world.prosody.clients(), "u1", BIDI).await;
    let (mut locals, mut logins) = (Vec::new(), Vec::new());
    for (n, node) in nodes.iter().enumerate() {
        let login = world.cluster.user_at(node, &format!("both{n}-")).await;
        locals.push(online_at(node, &login).await);
        logins.push(login);
    }
    message(&mut theirs, &logins[0].bare(), "first", 1).await;
    locals[0]
        .expect(PATIENCE, |s| s.raw_attr("id") == Some("first"))
        .await
        .unwrap();
    let mut carrying = None;
    for (n, node) in nodes.iter().enumerate() {
        let status = node.status().await;
        let inbound = status["streams"].as_array().unwrap().iter().any(|stream| {
            stream["direction"] == "in" && stream["remote"] == BIDI && stream["bidi"] == true
        });
        if inbound {
            carrying = Some(n);
        }
    }
    let carrying = carrying.expect("Prosody asks for both directions");
    // Its own share goes back on it, in order; the other node's does not come here.
    for n in 0..20 {
        message(&mut locals[carrying], theirs.jid(), &format!("on-{n}"), 1).await;
    }
    for n in 0..20 {
        let got = theirs.expect(PATIENCE, |s| s.is("message")).await.unwrap();
        assert_eq!(got.raw_attr("id"), Some(format!("on-{n}").as_str()));
    }
    let pair = outbound(&world, carrying, BIDI).await.unwrap();
    assert_eq!(pair["state"], "over the peer's stream", "{pair}");
    let other = 1 - carrying;
    message(&mut locals[other], theirs.jid(), "own", 1).await;
    theirs
        .expect(PATIENCE, |s| s.raw_attr("id") == Some("own"))
        .await
        .unwrap();
    let pair = outbound(&world, other, BIDI).await.unwrap();
    assert!(
        pair["state"] == "established" && pair["bidi"] == true,
        "{pair}"
    );
    // The receipts came: nothing is left on either.
    for node in [carrying, other] {
        eventually("Prosody acknowledges", PATIENCE, || async {
            let pair = outbound(&world, node, BIDI).await?;
            (pair["under_way"] == 0 && pair["queued"] == 0).then_some(())
        })
        .await;
    }
}

/// A connection of our node's, up to the established stream: TLS, EXTERNAL, and these features.
async fn accepted(listener: &TcpListener, peer: &str, certificate: &Issued, offered: &str) -> Wire {
    let server =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(certificate.chain(), certificate.private_key())
            .unwrap();
    let (socket, _) = crate::harness::within("our node calls", PATIENCE, listener.accept())
        .await
        .unwrap();
    let answer = |features: &str| {
        let id = rand::random::<u32>();
        format!(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
             xmlns:db='jabber:server:dialback' from='{peer}' to='{DOMAIN}' id='{id}' version='1.0'>\
             <stream:features>{features}</stream:features>"
        )
    };
    let mut wire = Wire::over(socket);
    wire.next().await.header();
    wire.send(answer(
        "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    ))
    .await;
    assert!(wire.next().await.element().is("starttls"));
    wire.send("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        .await;
    let mut wire = wire.accept_tls(Arc::new(server)).await.unwrap();
    wire.next().await.header();
    wire.send(answer(&format!(
        "<mechanisms xmlns='{SASL}'><mechanism>EXTERNAL</mechanism></mechanisms>"
    )))
    .await;
    assert!(wire.next().await.element().is("auth"));
    wire.send(format!("<success xmlns='{SASL}'/>")).await;
    wire.restart();
    wire.next().await.header();
    wire.send(answer(offered)).await;
    wire
}

/// The stream of the peer's dies with something on it that was not acknowledged: it comes again, first,
/// on a stream of ours.
pub async fn what_was_on_the_peers_stream_is_sent_again(world: Arc<World>) {
    let listener = TcpListener::bind((address(15), 15269)).await.unwrap();
    let certificate = world.cluster.authority.issue("bothways", &[BOTHWAYS]);
    let node = &world.cluster.nodes[0];
    let login = world.cluster.user_at(node, "again").await;
    let mut ours = online_at(node, &login).await;
    let (mut wire, features) = secured(&world, 0, BOTHWAYS, Some(&certificate)).await;
    assert!(features.contains("urn:xmpp:features:bidi"), "{features}");
    wire.send(format!(
        "<bidi xmlns='urn:xmpp:bidi'><limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>12000</max-bytes>\
         <idle-seconds>2</idle-seconds></limits></bidi>\
         <auth xmlns='{SASL}' mechanism='EXTERNAL'>{}</auth>",
        STANDARD.encode(BOTHWAYS)
    ))
    .await;
    assert!(wire.next().await.element().is("success"));
    wire.open(&header(Some(BOTHWAYS), DOMAIN)).await;
    wire.send("<enable xmlns='urn:xmpp:sm:3'/>").await;
    wire.until("enabled", |s| s.is("enabled")).await;
    wire.keepalive().await;
    let peer = format!("b@{BOTHWAYS}");
    message(&mut ours, &peer, "kept", 1).await;
    wire.until("a message", |s| s.raw_attr("id") == Some("kept"))
        .await;
    wire.until("a question", |s| s.is("r")).await;
    wire.send("<a xmlns='urn:xmpp:sm:3' h='1'/>").await;
    message(&mut ours, &peer, "large", 12_000).await;
    message(&mut ours, &peer, "lost-1", 1).await;
    message(&mut ours, &peer, "lost-2", 1).await;
    let bounced = ours
        .expect(PATIENCE, |s| s.raw_attr("id") == Some("large"))
        .await
        .unwrap();
    assert!(bounced.contains("<policy-violation"), "{bounced}");
    wire.until("the next message", |s| s.raw_attr("id") == Some("lost-2"))
        .await;
    drop(wire);
    message(&mut ours, &peer, "after", 1).await;
    let mut wire = accepted(&listener, BOTHWAYS, &certificate, "").await;
    for id in ["lost-1", "lost-2", "after"] {
        let got = wire.until(id, |s| s.is("message")).await;
        assert_eq!(got.raw_attr("id"), Some(id), "{got}");
    }
}

/// What a peer would not take comes back to its sender, and the stream stays; and the peer hears from us
/// before its patience ends.
pub async fn announced_limits_are_obeyed(world: Arc<World>) {
    let listener = TcpListener::bind((address(16), 15269)).await.unwrap();
    let certificate = world.cluster.authority.issue("limited", &[LIMITED]);
    let login = world.cluster.user("modest").await;
    let mut ours = online_at(&world.cluster.nodes[0], &login).await;
    let peer = format!("b@{LIMITED}");
    message(&mut ours, &peer, "large", 12_000).await;
    message(&mut ours, &peer, "small", 1_000).await;
    let mut wire = accepted(
        &listener,
        LIMITED,
        &certificate,
        "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>10000</max-bytes>\
         <idle-seconds>2</idle-seconds></limits>",
    )
    .await;
    let got = wire.until("a message", |s| s.is("message")).await;
    assert_eq!(got.raw_attr("id"), Some("small"), "{got}");
    let bounced = ours
        .expect(PATIENCE, |s| s.raw_attr("id") == Some("large"))
        .await
        .unwrap();
    assert!(
        bounced.raw_attr("type") == Some("error")
            && bounced.contains("<policy-violation")
            && bounced.contains("10000 bytes"),
        "{bounced}"
    );
    wire.keepalive().await;
    wire.keepalive().await;
    // The same stream still serves.
    message(&mut ours, &peer, "later", 1).await;
    wire.until("another message", |s| s.raw_attr("id") == Some("later"))
        .await;
    assert!(
        tokio::time::timeout(SILENCE, listener.accept())
            .await
            .is_err()
    );
}
