//! With users of a real SIMPLE server.

use std::sync::Arc;

use super::{KAMAILIO, World, address};
use crate::harness::{Baresip, Linphone, PATIENCE, online_at};
use crate::single::presence::presence;

pub async fn linphone_chats(world: Arc<World>) {
    let login = world.cluster.user("talker").await;
    let carol = format!("carol@{KAMAILIO}");
    let folder = world.cluster.folder.path();
    let mut linphone = Linphone::start(folder, &world.kamailio, "carol", &[]).await;
    for node in &world.cluster.nodes {
        let mut ours = online_at(node, &login).await;
        ours.send(format!(
            "<message to='{carol}' type='chat' id='to-{0}'><body>Grüße, 世界 &lt;3 from {0}</body></message>",
            node.name
        ))
        .await
        .unwrap();
        linphone
            .expect_chat(&login.bare(), &format!("Grüße, 世界 <3 from {}", node.name))
            .await;
        linphone.chat(&login.bare(), "Grüße zurück, 世界 <3").await;
        let got = ours
            .expect(PATIENCE, |s| s.is("message") && s.text_of("body").is_some())
            .await
            .unwrap();
        assert_eq!(
            got.text_of("body").as_deref(),
            Some("Grüße zurück, 世界 <3"),
            "{got}"
        );
        let from = got.attr("from").unwrap();
        assert_eq!(from.split('/').next(), Some(carol.as_str()), "{got}");
        ours.close().await;
    }
    linphone.quit().await;
}

/// She asks, our user agrees; what our user shows is what she sees.
pub async fn linphone_watches_us(world: Arc<World>) {
    let login = world.cluster.user("watched").await;
    let dora = format!("dora@{KAMAILIO}");
    let mut ours = online_at(&world.cluster.nodes[0], &login).await;
    let folder = world.cluster.folder.path();
    let mut linphone = Linphone::start(folder, &world.kamailio, "dora", &[&login.bare()]).await;
    ours.expect(PATIENCE, |s| presence(s, Some("subscribe"), &dora))
        .await
        .unwrap();
    ours.send(format!("<presence type='subscribed' to='{dora}'/>"))
        .await
        .unwrap();
    linphone.expect_friend(&login.bare(), "Online").await;
    ours.send("<presence><show>away</show></presence>")
        .await
        .unwrap();
    linphone.expect_friend(&login.bare(), "Away").await;
    ours.send("<presence><show>dnd</show></presence>")
        .await
        .unwrap();
    linphone.expect_friend(&login.bare(), "Busy").await;
    ours.close().await;
    linphone.expect_friend(&login.bare(), "Offline").await;
    linphone.quit().await;
}

/// Our user asks; Kamailio's presence server agrees for all its users.
pub async fn baresip_is_watched_and_chats(world: Arc<World>) {
    let login = world.cluster.user("watcher").await;
    let erin = format!("erin@{KAMAILIO}");
    let folder = world.cluster.folder.path();
    let mut baresip =
        Baresip::start(folder, &world.kamailio, address(42), "erin", &login.bare()).await;
    let mut ours = online_at(&world.cluster.nodes[1], &login).await;
    ours.send(format!("<presence type='subscribe' to='{erin}'/>"))
        .await
        .unwrap();
    ours.expect(PATIENCE, |s| presence(s, Some("subscribed"), &erin))
        .await
        .unwrap();
    ours.expect(PATIENCE, |s| presence(s, None, &erin))
        .await
        .unwrap();
    baresip.publish(false).await;
    ours.expect(PATIENCE, |s| presence(s, Some("unavailable"), &erin))
        .await
        .unwrap();
    baresip.publish(true).await;
    ours.expect(PATIENCE, |s| presence(s, None, &erin))
        .await
        .unwrap();
    baresip.chat("hello & <goodbye>").await;
    let got = ours
        .expect(PATIENCE, |s| s.is("message") && s.text_of("body").is_some())
        .await
        .unwrap();
    assert_eq!(
        got.text_of("body").as_deref(),
        Some("hello & <goodbye>"),
        "{got}"
    );
    ours.send(format!(
        "<message to='{erin}' type='chat' id='back'><body>hello yourself</body></message>"
    ))
    .await
    .unwrap();
    baresip.expect_chat(&login.bare(), "hello yourself").await;
    // It asks, too, and is allowed.
    ours.send(format!("<presence type='subscribed' to='{erin}'/>"))
        .await
        .unwrap();
    baresip.expect_contact("Online").await;
    baresip.quit().await;
}

pub async fn nobody_there_is_told(world: Arc<World>) {
    let login = world.cluster.user("lonely").await;
    let mut ours = online_at(&world.cluster.nodes[0], &login).await;
    ours.send(format!(
        "<message to='nobody@{KAMAILIO}' type='chat' id='lost'><body>x</body></message>"
    ))
    .await
    .unwrap();
    let bounced = ours
        .expect(PATIENCE, |s| s.raw_attr("id") == Some("lost"))
        .await
        .unwrap();
    assert!(
        bounced.raw_attr("type") == Some("error") && bounced.contains("<item-not-found"),
        "{bounced}"
    );
}
