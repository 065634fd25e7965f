use entente_home_core::SessionKey;

use crate::world::{World, expect_one};

fn enable(world: &mut World, session: &SessionKey) {
    world.send(
        session,
        "<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>",
    );
}

#[test]
fn sent_messages_are_copied_to_the_senders_other_sessions() {
    let mut world = World::new();
    let (a, b, plain) = (
        world.online("romeo@x", "a"),
        world.online("romeo@x", "b"),
        world.online("romeo@x", "c"),
    );
    enable(&mut world, &a);
    enable(&mut world, &b);
    expect_one(&world.got(&b), &["id='c'", "type='result'"]);
    world.forget();
    let id = world.send(
        &a,
        "<message to='j@r/1' type='chat'><body>hi</body></message>",
    );
    let got = world.got(&b);
    expect_one(
        &got,
        &[
            "<sent xmlns='urn:xmpp:carbons:2'>",
            "<message xmlns='jabber:client'",
            "<body>hi</body>",
            "to='romeo@x/b'",
        ],
    );
    assert!(got[0].starts_with("<message") && got[0].contains("from='romeo@x'"));
    assert!(world.got(&a).is_empty() && world.got(&plain).is_empty());
    let again = crate::world::stanza(
        "<message from='romeo@x/a' to='j@r/1' type='chat'><body>hi</body></message>",
    );
    world.resend(&a, id, again);
    assert!(
        world.got(&b).is_empty(),
        "sent again after a failover: one copy is enough"
    );
    assert_eq!(
        world.sent_outside().len(),
        2,
        "the other side drops the second"
    );
}

#[test]
fn received_messages_are_copied_to_sessions_that_do_not_get_them() {
    let mut world = World::new();
    let (a, b, negative) = (
        world.online("romeo@x", "a"),
        world.online("romeo@x", "b"),
        world.bind("romeo@x", "n"),
    );
    world.send(&negative, "<presence><priority>-1</priority></presence>");
    for session in [&a, &b, &negative] {
        enable(&mut world, session);
    }
    world.forget();
    world.peer_sends("<message from='j@r/1' to='romeo@x/a' type='chat'><body>hi</body></message>");
    assert!(!world.got(&a)[0].contains("carbons"));
    expect_one(
        &world.got(&b),
        &["<received xmlns='urn:xmpp:carbons:2'>", "<body>hi</body>"],
    );
    expect_one(&world.got(&negative), &["<received"]);
    world.peer_sends("<message from='j@r/1' to='romeo@x' type='chat'><body>all</body></message>");
    assert!(!world.got(&a)[0].contains("carbons") && !world.got(&b)[0].contains("carbons"));
    expect_one(&world.got(&negative), &["<received"]);
}

#[test]
fn what_is_private_or_no_conversation_is_not_copied() {
    let mut world = World::new();
    let (a, b) = (world.online("romeo@x", "a"), world.online("romeo@x", "b"));
    enable(&mut world, &a);
    enable(&mut world, &b);
    let cases = [
        (
            "chat",
            "<body>b</body><private xmlns='urn:xmpp:carbons:2'/>",
            false,
        ),
        (
            "chat",
            "<body>b</body><no-copy xmlns='urn:xmpp:hints'/>",
            false,
        ),
        ("groupchat", "<body>b</body>", false),
        ("headline", "<body>b</body>", false),
        (
            "chat",
            "<body>b</body><x xmlns='http://jabber.org/protocol/muc#user'/>",
            false,
        ),
        ("normal", "<thing xmlns='urn:x'/>", false),
        ("normal", "<body>b</body>", true),
        (
            "chat",
            "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
            true,
        ),
        (
            "normal",
            "<received xmlns='urn:xmpp:receipts' id='1'/>",
            true,
        ),
    ];
    for (kind, payload, copied) in cases {
        world.forget();
        world.send(
            &a,
            &format!("<message to='j@r/1' type='{kind}'>{payload}</message>"),
        );
        assert_eq!(
            world.got(&b).len(),
            usize::from(copied),
            "sent {kind} {payload}"
        );
        world.peer_sends(&format!(
            "<message from='j@r/1' to='romeo@x/a' type='{kind}'>{payload}</message>"
        ));
        assert_eq!(
            world.got(&b).len(),
            usize::from(copied),
            "received {kind} {payload}"
        );
    }
    world.send(
        &b,
        "<iq type='set' id='d'><disable xmlns='urn:xmpp:carbons:2'/></iq>",
    );
    world.forget();
    world.send(
        &a,
        "<message to='j@r/1' type='chat'><body>b</body></message>",
    );
    assert!(world.got(&b).is_empty());
}
