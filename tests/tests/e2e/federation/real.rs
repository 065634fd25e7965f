//! Presence and messages with real servers, found by SRV in both directions.

use std::sync::Arc;

use entente_load::{Client, Endpoint, Login, TlsMode};

use super::{DIRECT, EJABBERD, IDN, IDN_ASCII, PROSODY, World};
use crate::harness::{PATIENCE, external, online_at, session_at};
use crate::single::presence::{befriend, presence};

/// A session of an external user, available.
pub async fn outside(endpoint: Endpoint, user: &str, domain: &str) -> Client {
    let login = external(user, domain);
    let mut client = Client::session(&endpoint, &login)
        .await
        .unwrap_or_else(|error| panic!("{login:?}: {error}"));
    client
        .iq("get", "", "<query xmlns='jabber:iq:roster'/>", PATIENCE)
        .await
        .unwrap();
    client.send("<presence/>").await.unwrap();
    let own = client.jid().to_owned();
    client
        .expect(PATIENCE, |s| {
            s.is("presence") && s.attr("from").as_deref() == Some(&own)
        })
        .await
        .unwrap();
    client
}

async fn presence_and_messages(world: &World, login: Login, mut theirs: Client) {
    let mut ours = online_at(&world.cluster.nodes[0], &login).await;
    befriend(&mut theirs, &mut ours).await;
    for (one, two) in [(true, "away"), (false, "dnd")] {
        let (shows, sees) = if one {
            (&mut ours, &mut theirs)
        } else {
            (&mut theirs, &mut ours)
        };
        shows
            .send(format!(
                "<presence><show>{two}</show><status>so &amp; so</status></presence>"
            ))
            .await
            .unwrap();
        let from = shows.jid().to_owned();
        let seen = sees
            .expect(PATIENCE, |s| presence(s, None, &from) && s.contains(two))
            .await
            .unwrap();
        assert_eq!(seen.text_of("status").as_deref(), Some("so & so"));
    }
    for (id, to_bare) in [("full", false), ("bare", true)] {
        let target = |client: &Client| {
            if to_bare {
                crate::single::presence::bare(client)
            } else {
                client.jid().to_owned()
            }
        };
        let (to_theirs, to_ours) = (target(&theirs), target(&ours));
        ours.send(format!("<message to='{to_theirs}' type='chat' id='{id}'><body>Grüße, 世界 &lt;3</body></message>")).await.unwrap();
        let got = theirs
            .expect(PATIENCE, |s| s.raw_attr("id") == Some(id))
            .await
            .unwrap();
        assert_eq!(
            got.text_of("body").as_deref(),
            Some("Grüße, 世界 <3"),
            "{got}"
        );
        assert_eq!(got.attr("from").as_deref(), Some(ours.jid()));
        theirs.send(format!("<message to='{to_ours}' type='chat' id='{id}'><body>Grüße, 世界 &lt;3</body></message>")).await.unwrap();
        let got = ours
            .expect(PATIENCE, |s| s.raw_attr("id") == Some(id))
            .await
            .unwrap();
        assert_eq!(
            got.text_of("body").as_deref(),
            Some("Grüße, 世界 <3"),
            "{got}"
        );
        assert_eq!(got.attr("from").as_deref(), Some(theirs.jid()));
    }
    // The end of the subscription, from their side.
    theirs
        .send(format!(
            "<presence type='unsubscribe' to='{}'/>",
            login.bare()
        ))
        .await
        .unwrap();
    ours.expect(PATIENCE, |s| {
        presence(
            s,
            Some("unsubscribe"),
            &crate::single::presence::bare(&theirs),
        )
    })
    .await
    .unwrap();
}

pub async fn prosody_presence_and_messages(world: Arc<World>) {
    let login = world.cluster.user("with-prosody").await;
    let theirs = outside(world.prosody.clients(), "u1", PROSODY).await;
    presence_and_messages(&world, login, theirs).await;
}

pub async fn ejabberd_presence_and_messages(world: Arc<World>) {
    let login = world.cluster.user("with-ejabberd").await;
    let theirs = outside(world.ejabberd.clients(), "u1", EJABBERD).await;
    presence_and_messages(&world, login, theirs).await;
}

async fn hears_of_leaving(world: &World, login: Login, mut theirs: Client) {
    let mut ours = online_at(&world.cluster.nodes[1], &login).await;
    befriend(&mut ours, &mut theirs).await;
    let jid = ours.jid().to_owned();
    // Without a goodbye.
    drop(ours);
    theirs
        .expect(PATIENCE, |s| presence(s, Some("unavailable"), &jid))
        .await
        .unwrap();
    let mut ours = online_at(&world.cluster.nodes[0], &login).await;
    theirs
        .expect(PATIENCE, |s| presence(s, None, ours.jid()))
        .await
        .unwrap();
    ours.expect(PATIENCE, |s| presence(s, None, theirs.jid()))
        .await
        .unwrap();
    let jid = theirs.jid().to_owned();
    theirs.close().await;
    ours.expect(PATIENCE, |s| presence(s, Some("unavailable"), &jid))
        .await
        .unwrap();
}

pub async fn prosody_hears_of_leaving(world: Arc<World>) {
    let login = world.cluster.user("leaving-prosody").await;
    let theirs = outside(world.prosody.clients(), "u2", PROSODY).await;
    hears_of_leaving(&world, login, theirs).await;
}

pub async fn ejabberd_hears_of_leaving(world: Arc<World>) {
    let login = world.cluster.user("leaving-ejabberd").await;
    let theirs = outside(world.ejabberd.clients(), "u2", EJABBERD).await;
    hears_of_leaving(&world, login, theirs).await;
}

pub async fn many_messages_in_order(world: Arc<World>) {
    for (domain, endpoint) in [
        (PROSODY, world.prosody.clients()),
        (EJABBERD, world.ejabberd.clients()),
    ] {
        let login = world
            .cluster
            .user(&format!("talker-{}", domain.split('.').next().unwrap()))
            .await;
        let mut theirs = outside(endpoint, "u3", domain).await;
        let mut ours = online_at(&world.cluster.nodes[1], &login).await;
        for round in 0..2 {
            let (from, to) = if round == 0 {
                (&mut ours, &mut theirs)
            } else {
                (&mut theirs, &mut ours)
            };
            for n in 0..150 {
                from.queue(&format!(
                    "<message to='{}' type='chat' id='o{n}'><body>{n}</body></message>",
                    to.jid()
                ));
            }
            from.flush().await.unwrap();
            for n in 0..150 {
                let got = to
                    .expect(PATIENCE, |s| s.is("message"))
                    .await
                    .unwrap_or_else(|e| panic!("{domain} {n}: {e}"));
                assert_eq!(
                    got.raw_attr("id"),
                    Some(format!("o{n}").as_str()),
                    "{domain}"
                );
            }
        }
    }
}

pub async fn requests_cross_domains(world: Arc<World>) {
    let login = world.cluster.user("questioner").await;
    let mut ours = session_at(&world.cluster.nodes[0], &login).await;
    for (domain, name) in [(PROSODY, "Prosody"), (EJABBERD, "ejabberd")] {
        let version = ours
            .iq(
                "get",
                domain,
                "<query xmlns='jabber:iq:version'/>",
                PATIENCE,
            )
            .await
            .unwrap();
        assert_eq!(version.text_of("name").as_deref(), Some(name), "{version}");
        let nobody = ours
            .iq(
                "get",
                &format!("nobody@{domain}/x"),
                "<query xmlns='jabber:iq:version'/>",
                PATIENCE,
            )
            .await
            .unwrap();
        assert_eq!(nobody.raw_attr("type"), Some("error"), "{nobody}");
    }
    let mut theirs = outside(world.prosody.clients(), "u4", PROSODY).await;
    let version = theirs
        .iq(
            "get",
            super::DOMAIN,
            "<query xmlns='jabber:iq:version'/>",
            PATIENCE,
        )
        .await
        .unwrap();
    assert_eq!(
        version.text_of("name").as_deref(),
        Some("Entente"),
        "{version}"
    );
    let nobody = format!("nobody@{}", super::DOMAIN);
    let refused = theirs
        .iq("get", &nobody, "<vCard xmlns='vcard-temp'/>", PATIENCE)
        .await
        .unwrap();
    assert!(refused.contains("<service-unavailable"), "{refused}");
    theirs
        .send(format!(
            "<message to='{nobody}' id='lost' type='chat'><body>x</body></message>"
        ))
        .await
        .unwrap();
    let bounced = theirs
        .expect(PATIENCE, |s| s.raw_attr("id") == Some("lost"))
        .await
        .unwrap();
    assert!(
        bounced.raw_attr("type") == Some("error") && bounced.contains("<service-unavailable"),
        "{bounced}"
    );
}

/// Only `_xmpps-server` is published: nothing else leads there.
pub async fn direct_tls_is_found_and_used(world: Arc<World>) {
    let login = world.cluster.user("straight").await;
    let theirs = outside(world.prosody.clients(), "u1", DIRECT).await;
    presence_and_messages(&world, login, theirs).await;
    let mut streams = String::new();
    for node in &world.cluster.nodes {
        streams.push_str(&node.status().await["streams"].to_string());
    }
    assert!(streams.contains(":15270 (direct TLS)"), "{streams}");
}

/// U-labels in JIDs; A-labels in DNS, SNI and certificates (RFC 7622 section 3.2, RFC 6120 section 13.7).
pub async fn international_domain_names(world: Arc<World>) {
    let login = world.cluster.user("reader").await;
    let clients = world.prosody.clients().with_tls(TlsMode::None);
    let theirs = outside(clients, "u1", IDN).await;
    assert!(theirs.jid().starts_with("u1@bücher.example/"));
    presence_and_messages(&world, login.clone(), theirs).await;
    // Who writes the A-labels means the same domain.
    let mut ours = online_at(&world.cluster.nodes[0], &login).await;
    let ping = "<ping xmlns='urn:xmpp:ping'/>";
    for domain in [IDN, IDN_ASCII] {
        let answer = ours.iq("get", domain, ping, PATIENCE).await.unwrap();
        assert_eq!(answer.raw_attr("type"), Some("result"), "{answer}");
    }
}

pub async fn offline_users_get_messages_later(world: Arc<World>) {
    let login = world.cluster.user("absent").await;
    let mut theirs = outside(world.ejabberd.clients(), "u4", EJABBERD).await;
    theirs
        .send(format!(
            "<message to='{}' type='chat' id='kept'><body>x</body></message>",
            login.bare()
        ))
        .await
        .unwrap();
    // No order is promised between a message and a request; so the session begins when the
    // message is in the store or on its way.
    let mut ours = online_at(&world.cluster.nodes[1], &login).await;
    let got = ours
        .expect(PATIENCE, |s| s.raw_attr("id") == Some("kept"))
        .await
        .unwrap();
    assert_eq!(got.attr("from").as_deref(), Some(theirs.jid()), "{got}");
}

pub async fn streams_are_shown(world: Arc<World>) {
    let mut seen = String::new();
    for node in &world.cluster.nodes {
        seen.push_str(&node.status().await["streams"].to_string());
    }
    for wanted in [PROSODY, EJABBERD, "external", "\"in\"", "\"out\""] {
        assert!(seen.contains(wanted), "{wanted} is missing: {seen}");
    }
}

/// `entente check`, as an operator runs it on one of the nodes.
pub async fn the_check_looks_from_outside(world: Arc<World>) {
    let node = &world.cluster.nodes[0];
    let names = world.names.address.to_string();
    let good = node.configured(&["check", "--resolver", &names]).await;
    let said = String::from_utf8_lossy(&good.stdout).into_owned();
    assert_eq!(good.status.code(), Some(0), "{said}{good:?}");
    let [one, other] = [0, 1].map(|n| &world.cluster.nodes[n]);
    for line in [
        format!("ok       certificate of {}: names it", super::DOMAIN),
        format!(
            "ok       _xmpp-server._tcp.{}: {}:15269 {}:15269",
            super::DOMAIN,
            one.host,
            other.host
        ),
        format!("ok       xmpp.listen at {}:15269: accepts", one.address),
        format!(
            "ok       {0}:15270 in DNS, {1}:15270: accepts",
            other.host, other.address
        ),
    ] {
        assert!(said.contains(&line), "{line} is not in\n{said}");
    }
    assert!(
        !said.contains("fault") && !said.contains("warning"),
        "{said}"
    );
    // A resolver at which nobody answers.
    let dead = format!("{}:15354", world.names.address.ip());
    let bad = node
        .configured(&["check", "--json", "--resolver", &dead])
        .await;
    assert_eq!(bad.status.code(), Some(2), "{bad:?}");
    let findings: serde_json::Value = serde_json::from_slice(&bad.stdout).unwrap();
    let fault = findings
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| finding["about"] == format!("_xmpp-server._tcp.{}", super::DOMAIN));
    let fault = fault.unwrap();
    assert!(
        fault["weight"] == "fault" && fault["cure"].is_string(),
        "{fault}"
    );
}

/// The node with the outbound stream dies: what its users' other sessions send goes out elsewhere.
pub async fn a_dead_nodes_share_moves(world: Arc<World>) {
    let [stays, dies] = [0, 1].map(|n| &world.cluster.nodes[n]);
    let login = world.cluster.user_at(dies, "moved").await;
    let mut ours = online_at(stays, &login).await;
    let mut theirs = outside(world.prosody.clients(), "u5", PROSODY).await;
    ours.send(format!(
        "<message to='{}' type='chat' id='before'><body>1</body></message>",
        theirs.jid()
    ))
    .await
    .unwrap();
    theirs
        .expect(PATIENCE, |s| s.raw_attr("id") == Some("before"))
        .await
        .unwrap();
    // Two nodes can't lose one and keep a majority; so this one goes in order.
    dies.stop().await;
    ours.send(format!(
        "<message to='{}' type='chat' id='after'><body>2</body></message>",
        theirs.jid()
    ))
    .await
    .unwrap();
    theirs
        .expect(PATIENCE, |s| s.raw_attr("id") == Some("after"))
        .await
        .unwrap();
    // And theirs find the one that is left.
    let mut tries = 0;
    loop {
        tries += 1;
        theirs
            .send(format!(
                "<message to='{}' type='chat' id='reply'><body>3</body></message>",
                login.bare()
            ))
            .await
            .unwrap();
        match ours
            .expect(PATIENCE / 3, |s| s.raw_attr("id") == Some("reply"))
            .await
        {
            Ok(_) => return,
            Err(error) => assert!(tries < 6, "{error}"),
        }
    }
}
