//! Presence and subscriptions between two local users (RFC 6121 sections 3 and 4).

use std::sync::Arc;

use entente_load::{Client, Stanza};

use crate::harness::{Cluster, PATIENCE, SILENCE};

pub fn presence(stanza: &Stanza, kind: Option<&str>, from: &str) -> bool {
    stanza.is("presence")
        && stanza.raw_attr("type") == kind
        && stanza
            .attr("from")
            .is_some_and(|sender| sender == from || sender.split('/').next() == Some(from))
}

pub async fn befriend(one: &mut Client, two: &mut Client) {
    subscribe(one, two).await;
    subscribe(two, one).await;
}

/// `asker` subscribes to `asked`, who agrees and is seen.
pub async fn subscribe(asker: &mut Client, asked: &mut Client) {
    let (from, to) = (bare(asker), bare(asked));
    asker
        .send(format!("<presence type='subscribe' to='{to}'/>"))
        .await
        .unwrap();
    asked
        .expect(PATIENCE, |s| presence(s, Some("subscribe"), &from))
        .await
        .unwrap();
    asked
        .send(format!("<presence type='subscribed' to='{from}'/>"))
        .await
        .unwrap();
    asker
        .expect(PATIENCE, |s| presence(s, Some("subscribed"), &to))
        .await
        .unwrap();
    asker
        .expect(PATIENCE, |s| presence(s, None, &to))
        .await
        .unwrap();
}

pub fn bare(client: &Client) -> String {
    client.jid().split('/').next().unwrap().to_owned()
}

pub async fn subscription_both_ways(fixture: Arc<Cluster>) {
    let (a, b) = (fixture.user("juliet").await, fixture.user("romeo").await);
    let mut juliet = fixture.online(&a).await;
    let mut romeo = fixture.online(&b).await;
    befriend(&mut juliet, &mut romeo).await;
    let push = juliet
        .expect(PATIENCE, |s| s.is("iq") && s.contains("both"))
        .await
        .unwrap();
    assert!(push.contains(&b.bare()), "{push}");
    // A change goes to the friend, whole.
    romeo.send("<presence><show>dnd</show><status>Courting &lt;3</status><priority>7</priority></presence>").await.unwrap();
    let seen = juliet
        .expect(PATIENCE, |s| {
            presence(s, None, &b.bare()) && s.contains("dnd")
        })
        .await
        .unwrap();
    assert_eq!(seen.attr("from").as_deref(), Some(romeo.jid()));
    assert_eq!(seen.text_of("status").as_deref(), Some("Courting <3"));
    assert_eq!(seen.text_of("priority").as_deref(), Some("7"));
    // One that comes later hears of who is there.
    let mut later = fixture.online(&a).await;
    let seen = later
        .expect(PATIENCE, |s| presence(s, None, &b.bare()))
        .await
        .unwrap();
    assert!(seen.contains("dnd"), "{seen}");
    // Leaving is told once.
    let jid = romeo.jid().to_owned();
    romeo.close().await;
    juliet
        .expect(PATIENCE, |s| presence(s, Some("unavailable"), &jid))
        .await
        .unwrap();
}

pub async fn nobody_is_seen_without_a_subscription(fixture: Arc<Cluster>) {
    let (a, b) = (fixture.user("shy").await, fixture.user("nosy").await);
    let mut nosy = fixture.online(&b).await;
    let shy = fixture.online(&a).await;
    // A probe for somebody who did not agree is answered as for somebody who does not exist.
    let mut answers = Vec::new();
    for whom in [a.bare(), format!("no-such-user@{}", a.domain)] {
        nosy.send(format!("<presence type='probe' to='{whom}'/>"))
            .await
            .unwrap();
        let answer = nosy
            .expect(SILENCE, |s| presence(s, s.raw_attr("type"), &whom))
            .await
            .ok();
        answers.push(answer.map(|answer| answer.as_str().replace(&whom, "WHOM")));
    }
    assert!(
        answers[0]
            .as_ref()
            .is_none_or(|answer| answer.contains("unsubscribed")),
        "{answers:?}"
    );
    assert_eq!(answers[0], answers[1]);
    shy.close().await;
}

pub async fn request_waits_for_its_user(fixture: Arc<Cluster>) {
    let (a, b) = (fixture.user("asked").await, fixture.user("asker").await);
    let mut asker = fixture.online(&b).await;
    asker
        .send(format!(
            "<presence type='subscribe' to='{}'><status>let me in</status></presence>",
            a.bare()
        ))
        .await
        .unwrap();
    asker
        .expect(PATIENCE, |s| s.is("iq") && s.contains("ask"))
        .await
        .unwrap_or_else(|_| panic!("no push with ask='subscribe'"));
    for _ in 0..2 {
        // It comes with every new session until it is answered (RFC 6121 section 3.1.3).
        let mut asked = fixture.online(&a).await;
        let request = asked
            .expect(PATIENCE, |s| presence(s, Some("subscribe"), &b.bare()))
            .await
            .unwrap();
        assert!(!request.attr("from").unwrap().contains('/'), "{request}");
        asked.close().await;
    }
    let mut asked = fixture.online(&a).await;
    asked
        .send(format!("<presence type='unsubscribed' to='{}'/>", b.bare()))
        .await
        .unwrap();
    asker
        .expect(PATIENCE, |s| presence(s, Some("unsubscribed"), &a.bare()))
        .await
        .unwrap();
    asked.close().await;
    let mut asked = fixture.online(&a).await;
    let again = asked
        .never(SILENCE, |s| presence(s, Some("subscribe"), &b.bare()))
        .await
        .unwrap();
    assert!(again.is_none(), "{again:?}");
}

pub async fn unsubscribing(fixture: Arc<Cluster>) {
    let (a, b) = (fixture.user("tired").await, fixture.user("tiresome").await);
    let mut one = fixture.online(&a).await;
    let mut two = fixture.online(&b).await;
    befriend(&mut one, &mut two).await;
    one.send(format!("<presence type='unsubscribe' to='{}'/>", b.bare()))
        .await
        .unwrap();
    two.expect(PATIENCE, |s| presence(s, Some("unsubscribe"), &a.bare()))
        .await
        .unwrap();
    one.expect(PATIENCE, |s| presence(s, Some("unavailable"), &b.bare()))
        .await
        .unwrap();
    two.send("<presence><show>away</show></presence>")
        .await
        .unwrap();
    two.expect(PATIENCE, |s| s.is("presence") && s.contains("away"))
        .await
        .unwrap();
    // A message after the presence, from the same sender: what had to come has come before it.
    two.send(format!(
        "<message to='{}' id='mark'><body>mark</body></message>",
        one.jid()
    ))
    .await
    .unwrap();
    one.expect(PATIENCE, |s| s.raw_attr("id") == Some("mark"))
        .await
        .unwrap();
    let leaked = one
        .never(SILENCE, |s| s.is("presence") && s.contains("away"))
        .await
        .unwrap();
    assert!(leaked.is_none(), "{leaked:?}");
}

pub async fn goes_when_the_connection_breaks(fixture: Arc<Cluster>) {
    let (a, b) = (
        fixture.user("watcher").await,
        fixture.user("vanishing").await,
    );
    let mut one = fixture.online(&a).await;
    let mut two = fixture.online(&b).await;
    befriend(&mut one, &mut two).await;
    let jid = two.jid().to_owned();
    drop(two);
    one.expect(PATIENCE, |s| presence(s, Some("unavailable"), &jid))
        .await
        .unwrap();
}
