//! Nothing fails here.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use entente_load::{Client, Login};

use crate::harness::{Cluster, PATIENCE, SILENCE, dig, online_at, session_at, srv_targets};
use crate::single::delivery::until_acked;
use crate::single::presence::{befriend, presence};

pub async fn login_at_any_node(fixture: Arc<Cluster>) {
    let login = fixture.user("anywhere").await;
    for node in &fixture.nodes {
        session_at(node, &login).await.close().await;
    }
    // An account made at one node is there at the others at once, and gone at once.
    for node in &fixture.nodes {
        let listed = node.command(&["user", "list", fixture.domain], "").await;
        assert!(
            String::from_utf8_lossy(&listed.stdout).contains(&login.bare()),
            "{}",
            node.name
        );
    }
    // So is a new password.
    let [a, b, c] = [0, 1, 2].map(|n| &fixture.nodes[n]);
    for (at, others, password) in [(a, [b, c], "one"), (b, [c, a], "two"), (c, [a, b], "three")] {
        let changed = at
            .command(&["user", "passwd", &login.bare()], &format!("{password}\n"))
            .await;
        assert!(changed.status.success(), "{changed:?}");
        let login = Login::new("anywhere", fixture.domain, password);
        for node in others {
            session_at(node, &login).await.close().await;
        }
    }
}

pub async fn messages_across_nodes_in_order(fixture: Arc<Cluster>) {
    let [a, b, c] = [0, 1, 2].map(|n| &fixture.nodes[n]);
    let sender = fixture.user_at(c, "from").await;
    let reader = fixture.user_at(a, "to").await;
    let mut sender = online_at(b, &sender).await;
    let mut reader = online_at(c, &reader).await;
    for n in 0..300 {
        sender.queue(&format!(
            "<message to='{}' type='chat' id='{n}'><body>{n}</body></message>",
            reader.jid()
        ));
    }
    sender.flush().await.unwrap();
    for n in 0..300 {
        let got = reader.expect(PATIENCE, |s| s.is("message")).await.unwrap();
        assert_eq!(got.raw_attr("id"), Some(n.to_string().as_str()));
    }
}

pub async fn presence_across_nodes(fixture: Arc<Cluster>) {
    let (a, b) = (fixture.user("here").await, fixture.user("there").await);
    let mut here = online_at(&fixture.nodes[0], &a).await;
    let mut there = online_at(&fixture.nodes[2], &b).await;
    befriend(&mut here, &mut there).await;
    there
        .send("<presence><show>xa</show></presence>")
        .await
        .unwrap();
    here.expect(PATIENCE, |s| {
        presence(s, None, &b.bare()) && s.contains("xa")
    })
    .await
    .unwrap();
    let jid = there.jid().to_owned();
    there.close().await;
    here.expect(PATIENCE, |s| presence(s, Some("unavailable"), &jid))
        .await
        .unwrap();
    // A second session of the same user at another node sees the first.
    let mut second = online_at(&fixture.nodes[1], &a).await;
    second
        .expect(PATIENCE, |s| presence(s, None, here.jid()))
        .await
        .unwrap();
}

pub async fn offline_anywhere(fixture: Arc<Cluster>) {
    let (a, b) = (fixture.user("notifier").await, fixture.user("asleep").await);
    let mut sender = online_at(&fixture.nodes[1], &a).await;
    sender.enable_sm(false).await.unwrap();
    let text = format!(
        "<message to='{}' type='chat' id='dream'><body>z</body></message>",
        b.bare()
    );
    sender.queue_stanza(Bytes::from(text), 1);
    until_acked(&mut sender).await;
    let mut reader = online_at(&fixture.nodes[2], &b).await;
    let got = reader.expect(PATIENCE, |s| s.is("message")).await.unwrap();
    assert!(
        got.raw_attr("id") == Some("dream") && got.contains("urn:xmpp:delay"),
        "{got}"
    );
}

pub async fn resuming_elsewhere_loses_nothing(fixture: Arc<Cluster>) {
    let (a, b) = (
        fixture.user("stayer").await,
        fixture.user("mover").await.with_resource("phone"),
    );
    let mut sender = online_at(&fixture.nodes[0], &a).await;
    let mut reader = online_at(&fixture.nodes[0], &b).await;
    reader.enable_sm(true).await.unwrap();
    let state = reader.into_resume_state().unwrap();
    sender
        .send(format!(
            "<message to='{}' type='chat' id='moved'><body>m</body></message>",
            b.bare()
        ))
        .await
        .unwrap();
    // At another node the client is told to begin anew.
    let node = &fixture.nodes[1];
    let mut reader = Client::connect(&node.clients(), fixture.domain)
        .await
        .unwrap();
    reader.authenticate(&b, None).await.unwrap();
    let failed = reader.resume(state).await.unwrap();
    assert!(
        failed.is_some(),
        "resumed by a node that has not the session"
    );
    reader.bind(Some("phone")).await.unwrap();
    reader.send("<presence/>").await.unwrap();
    reader
        .expect(PATIENCE, |s| s.raw_attr("id") == Some("moved"))
        .await
        .unwrap();
}

/// The client begins anew under another resource, so that nothing ends the old session before its time:
/// what that one never acknowledged comes to the new one all the same, and once.
pub async fn beginning_anew_elsewhere_loses_nothing(fixture: Arc<Cluster>) {
    let (a, b) = (
        fixture.user("settled").await,
        fixture.user("restless").await.with_resource("phone"),
    );
    let mut sender = online_at(&fixture.nodes[0], &a).await;
    let mut reader = online_at(&fixture.nodes[0], &b).await;
    reader.enable_sm(true).await.unwrap();
    let state = reader.into_resume_state().unwrap();
    let mut message = async |id: &str| {
        let text = format!(
            "<message to='{}' type='chat' id='{id}'><body>m</body></message>",
            b.bare()
        );
        sender.send(text).await.unwrap();
    };
    message("before").await;
    let node = &fixture.nodes[1];
    let mut reader = Client::connect(&node.clients(), fixture.domain)
        .await
        .unwrap();
    reader.authenticate(&b, None).await.unwrap();
    assert!(reader.resume(state).await.unwrap().is_some());
    reader.bind(Some("other phone")).await.unwrap();
    reader.send("<presence/>").await.unwrap();
    message("after").await;
    let mut ids = Vec::new();
    while ids.len() < 2 {
        let got = reader.expect(PATIENCE, |s| s.is("message")).await.unwrap();
        ids.push(got.raw_attr("id").unwrap().to_owned());
    }
    ids.sort();
    assert_eq!(ids, ["after", "before"]);
    let more = reader.never(SILENCE, |s| s.is("message")).await.unwrap();
    assert!(more.is_none(), "{more:?}");
}

pub async fn homes_are_spread(fixture: Arc<Cluster>) {
    let status = fixture.first().status().await;
    for member in status["members"].as_array().unwrap() {
        let share = member["home_share"].as_f64().unwrap();
        assert!((25.0..42.0).contains(&share), "{member}");
    }
}

pub async fn every_name_server_says_the_same(fixture: Arc<Cluster>) {
    let hosts: Vec<String> = fixture.nodes.iter().map(|node| node.host.clone()).collect();
    let mut serials = BTreeSet::new();
    crate::harness::eventually("all name servers name all nodes", PATIENCE, || async {
        for node in &fixture.nodes {
            for service in ["xmpp-client", "xmpps-client", "xmpp-server", "xmpps-server"] {
                if srv_targets(node.address, service, fixture.domain).await != hosts {
                    return None;
                }
            }
        }
        Some(())
    })
    .await;
    for node in &fixture.nodes {
        let soa = dig(node.address, fixture.domain, "SOA").await;
        serials.insert(soa[0].split(' ').nth(2).unwrap().to_owned());
        for other in &fixture.nodes {
            assert_eq!(
                dig(node.address, &other.host, "A").await,
                [other.address.to_string()]
            );
        }
    }
    assert_eq!(serials.len(), 1, "{serials:?}");
    // Equal weights above 0: ejabberd would send every peer to one node otherwise.
    let lines = dig(
        fixture.first().address,
        &format!("_xmpp-server._tcp.{}", fixture.domain),
        "SRV",
    )
    .await;
    let heads: BTreeSet<&str> = lines
        .iter()
        .map(|line| line.rsplit_once(' ').unwrap().0)
        .collect();
    assert_eq!(heads.len(), 1, "{lines:?}");
    assert_ne!(lines[0].split(' ').nth(1), Some("0"), "{lines:?}");
}
