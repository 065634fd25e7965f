use entente_home_core::SessionKey;

use crate::world::{World, expect_one};

fn command(world: &mut World, session: &SessionKey, name: &str, jids: &[&str]) {
    let items: String = jids
        .iter()
        .map(|jid| format!("<item jid='{jid}'/>"))
        .collect();
    world.send(
        session,
        &format!("<iq type='set' id='b'><{name} xmlns='urn:xmpp:blocking'>{items}</{name}></iq>"),
    );
}

#[test]
fn the_list_is_kept_answered_and_pushed() {
    let mut world = World::new();
    let (a, b) = (world.online("romeo@x", "a"), world.online("romeo@x", "b"));
    world.send(
        &b,
        "<iq type='get' id='l'><blocklist xmlns='urn:xmpp:blocking'/></iq>",
    );
    expect_one(&world.got(&b), &["id='l'", "<blocklist"]);
    world.forget();
    command(&mut world, &a, "block", &["bad@r", "worse"]);
    expect_one(&world.got(&a), &["id='b'", "type='result'"]);
    expect_one(
        &world.got(&b),
        &["type='set'", "<block ", "jid='bad@r'", "jid='worse'"],
    );
    world.send(
        &b,
        "<iq type='get' id='l'><blocklist xmlns='urn:xmpp:blocking'/></iq>",
    );
    expect_one(&world.got(&b), &["jid='bad@r'", "jid='worse'"]);
    assert_eq!(world.store.users["romeo@x"].blocked.len(), 2);
    command(&mut world, &a, "unblock", &[]);
    expect_one(&world.got(&b), &["<unblock "]);
    assert!(world.store.users["romeo@x"].blocked.is_empty());
    command(&mut world, &a, "block", &[]);
    expect_one(&world.got(&a), &["bad-request"]);
}

#[test]
fn blocked_contacts_see_the_user_go_and_come_back() {
    let mut world = World::new();
    world.befriend("romeo@x", "j@r");
    let romeo = world.online("romeo@x", "a");
    world.forget();
    command(&mut world, &romeo, "block", &["r"]);
    expect_one(
        &world.sent_outside(),
        &["type='unavailable'", "to='j@r'", "from='romeo@x/a'"],
    );
    world.send(&romeo, "<presence><show>away</show></presence>");
    assert!(world.sent_outside().is_empty());
    world.peer_sends("<presence type='probe' from='j@r' to='romeo@x'/>");
    assert!(world.sent_outside().is_empty());
    command(&mut world, &romeo, "unblock", &["r"]);
    let out = world.sent_outside();
    expect_one(&out, &["<show>away</show>", "to='j@r'"]);
    expect_one(&out, &["type='probe'", "to='j@r'"]);
}

#[test]
fn stanzas_of_blocked_entities_are_refused_or_dropped() {
    let mut world = World::new();
    let romeo = world.online("romeo@x", "a");
    command(&mut world, &romeo, "block", &["bad@r"]);
    world.forget();
    let cases = [
        (
            "<message from='bad@r/1' to='romeo@x' type='chat'><body>b</body></message>",
            true,
        ),
        (
            "<message from='bad@r/1' to='romeo@x/a' type='headline'><body>b</body></message>",
            false,
        ),
        (
            "<iq from='bad@r/1' to='romeo@x/a' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>",
            true,
        ),
        (
            "<iq from='bad@r/1' to='romeo@x' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>",
            true,
        ),
        ("<presence from='bad@r/1' to='romeo@x'/>", false),
        (
            "<presence from='bad@r' to='romeo@x' type='subscribe'/>",
            false,
        ),
    ];
    for (xml, answered) in cases {
        let id = world.peer_sends(xml);
        let out = world.sent_outside();
        assert_eq!(out.len(), usize::from(answered), "{xml}");
        assert!(out.iter().all(|s| s.contains("service-unavailable")));
        assert!(world.got(&romeo).is_empty(), "{xml}");
        assert!(world.receipts.contains(&id), "{xml}");
    }
    assert!(world.store.users["romeo@x"].pending_in.is_empty());
}

#[test]
fn nothing_is_sent_to_whom_one_blocks() {
    let mut world = World::new();
    let romeo = world.online("romeo@x", "a");
    command(&mut world, &romeo, "block", &["bad@r"]);
    for xml in [
        "<message to='bad@r/1' type='chat'><body>b</body></message>",
        "<presence to='bad@r'/>",
        "<iq to='bad@r/1' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>",
    ] {
        world.forget();
        let id = world.send(&romeo, xml);
        expect_one(
            &world.got(&romeo),
            &["not-acceptable", "urn:xmpp:blocking:errors"],
        );
        assert!(world.outside.is_empty() && world.receipts.contains(&id));
    }
}
