//! The roster (RFC 6121 section 2).

use std::sync::Arc;

use super::DOMAIN;
use crate::harness::{Cluster, PATIENCE};

const GET: &str = "<query xmlns='jabber:iq:roster'/>";

pub async fn items_and_pushes(fixture: Arc<Cluster>) {
    let login = fixture.user("collector").await;
    let mut one = fixture.session(&login).await;
    let mut two = fixture.session(&login).await;
    let roster = one.iq("get", "", GET, PATIENCE).await.unwrap();
    assert!(!roster.contains("<item"), "{roster}");
    two.iq("get", "", GET, PATIENCE).await.unwrap();
    let set = "<query xmlns='jabber:iq:roster'><item jid='nurse@verona.example' name='Nurse &amp; friend'>\
               <group>Servants</group></item></query>";
    let answer = one.iq("set", "", set, PATIENCE).await.unwrap();
    assert_eq!(answer.raw_attr("type"), Some("result"), "{answer}");
    for client in [&mut one, &mut two] {
        let push = client
            .expect(PATIENCE, |s| {
                s.is("iq") && s.raw_attr("type") == Some("set")
            })
            .await
            .unwrap();
        assert!(
            push.contains("jid='nurse@verona.example'")
                || push.contains("jid=\"nurse@verona.example\""),
            "{push}"
        );
        assert!(
            push.contains("<group>Servants</group>") && push.contains("none"),
            "{push}"
        );
        assert!(
            push.attr("from").is_none_or(|from| from == login.bare()),
            "{push}"
        );
    }
    let roster = two.iq("get", "", GET, PATIENCE).await.unwrap();
    let item = roster.find("item").unwrap();
    assert_eq!(item.attr("name").as_deref(), Some("Nurse & friend"));
    let remove = "<query xmlns='jabber:iq:roster'><item jid='nurse@verona.example' subscription='remove'/></query>";
    one.iq("set", "", remove, PATIENCE).await.unwrap();
    let push = two
        .expect(PATIENCE, |s| s.is("iq") && s.contains("remove"))
        .await
        .unwrap();
    assert!(push.contains("nurse@verona.example"), "{push}");
    let roster = two.iq("get", "", GET, PATIENCE).await.unwrap();
    assert!(!roster.contains("<item"), "{roster}");
}

/// RFC 6121 section 2.6.
pub async fn versions(fixture: Arc<Cluster>) {
    let login = fixture.user("versioned").await;
    let mut client = fixture.session(&login).await;
    assert!(
        client
            .features()
            .unwrap()
            .contains("urn:xmpp:features:rosterver")
    );
    let roster = client
        .iq(
            "get",
            "",
            "<query xmlns='jabber:iq:roster' ver=''/>",
            PATIENCE,
        )
        .await
        .unwrap();
    let version = roster
        .find("query")
        .unwrap()
        .attr("ver")
        .expect("a version")
        .into_owned();
    let ask = format!("<query xmlns='jabber:iq:roster' ver='{version}'/>");
    let same = client.iq("get", "", &ask, PATIENCE).await.unwrap();
    assert!(
        same.find("query").is_none() || !same.contains("<item"),
        "{same}"
    );
    let set = "<query xmlns='jabber:iq:roster'><item jid='peter@verona.example'/></query>";
    client.iq("set", "", set, PATIENCE).await.unwrap();
    let push = client
        .expect(PATIENCE, |s| {
            s.is("iq") && s.raw_attr("type") == Some("set")
        })
        .await
        .unwrap();
    let newer = push
        .find("query")
        .unwrap()
        .attr("ver")
        .expect("a version in the push")
        .into_owned();
    assert_ne!(newer, version);
    client.close().await;
    // Later, with the old version: the item comes as a push or in a whole roster.
    let mut client = fixture.session(&login).await;
    client
        .send(format!("<iq type='get' id='later'>{ask}</iq>"))
        .await
        .unwrap();
    client
        .expect(PATIENCE, |s| s.contains("peter@verona.example"))
        .await
        .unwrap();
    let ask = format!("<query xmlns='jabber:iq:roster' ver='{newer}'/>");
    let same = client.iq("get", "", &ask, PATIENCE).await.unwrap();
    assert!(!same.contains("<item"), "{same}");
}

pub async fn of_others_is_refused(fixture: Arc<Cluster>) {
    fixture.user("private").await;
    let login = fixture.user("curious").await;
    let mut client = fixture.session(&login).await;
    let answer = client
        .iq("get", &format!("private@{DOMAIN}"), GET, PATIENCE)
        .await
        .unwrap();
    assert_eq!(answer.raw_attr("type"), Some("error"), "{answer}");
    // A result or push that somebody else makes up must not reach the client's roster.
    let mut victim = fixture.online(&fixture.user("victim").await).await;
    let forged = format!(
        "<iq type='set' id='f' to='{}'><query xmlns='jabber:iq:roster'><item jid='evil@verona.example' subscription='both'/></query></iq>",
        victim.jid()
    );
    client.send(forged).await.unwrap();
    // An IQ to a full JID is delivered (RFC 6121 section 8.5.3.1), but never as if it came from the
    // own account: its `from` tells a client to ignore it.
    let got = victim
        .expect(PATIENCE, |s| s.contains("evil@verona.example"))
        .await
        .unwrap();
    assert_eq!(got.attr("from").as_deref(), Some(client.jid()), "{got}");
}
