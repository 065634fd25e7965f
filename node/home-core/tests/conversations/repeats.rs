//! What a client sends again on another connection.

use std::time::Duration;

use entente_home_core::{EnvelopeId, Input, SessionKey, StoreOp, Write};
use entente_xmpp_core::jid::BareJid;

use crate::world::{World, expect_one, new_shard, stanza};

const TEXT: &str = "<message to='juliet@x' id='m1' type='chat'><body>hi</body></message>";

fn kept(world: &World) -> usize {
    world.store.offline.get("juliet@x").map_or(0, Vec::len)
}

/// Another home stored this for Juliet.
fn stored_elsewhere(world: &mut World, conn: u64) -> EnvelopeId {
    let id = EnvelopeId::new(SessionKey::new("e7", 1, conn), 1);
    let write = Write::PutOffline {
        user: BareJid::new("juliet@x").unwrap(),
        id: id.clone(),
        stanza: stanza(&TEXT.replace("to=", "from='romeo@x/a' to=")),
        stored_at_ms: world.wall_ms,
    };
    world.store.run(StoreOp::Write(vec![write]));
    id
}

#[test]
fn a_repeat_of_what_the_recipient_has_is_receipted_and_not_delivered() {
    let mut world = World::new();
    let juliet = world.online("juliet@x", "1");
    let romeo = world.online("romeo@x", "a");
    world.forget();
    world.send(&romeo, TEXT);
    expect_one(&world.got(&juliet), &["<body>hi</body>"]);
    let back = world.online("romeo@x", "b");
    let again = world.send(&back, TEXT);
    assert!(world.receipts.contains(&again));
    assert!(world.got(&juliet).iter().all(|s| !s.contains("hi")));
    // Who says the same twice on one connection means it.
    world.send(&romeo, TEXT);
    expect_one(&world.got(&juliet), &["<body>hi</body>"]);
    world.wait(Duration::from_secs(121));
    let late = world.online("romeo@x", "c");
    world.send(&late, TEXT);
    expect_one(&world.got(&juliet), &["<body>hi</body>"]);
}

#[test]
fn a_repeat_of_what_is_under_way_is_receipted_with_it() {
    let mut world = World::new();
    let juliet = world.online("juliet@x", "1");
    let romeo = world.online("romeo@x", "a");
    world.forget();
    world.holds_acks(&juliet);
    let first = world.send(&romeo, TEXT);
    let back = world.online("romeo@x", "b");
    let again = world.send(&back, TEXT);
    assert!(!world.receipts.contains(&first) && !world.receipts.contains(&again));
    assert!(world.retries.is_empty());
    world.ack(&juliet);
    assert!(world.receipts.contains(&first) && world.receipts.contains(&again));
    let got = world.got(&juliet);
    assert_eq!(got.iter().filter(|s| s.contains("hi")).count(), 1);
}

#[test]
fn a_repeat_of_what_comes_to_nothing_is_sent_back_with_it() {
    let mut world = World::new();
    let juliet = world.online("juliet@x", "1");
    let romeo = world.online("romeo@x", "a");
    world.holds_acks(&juliet);
    let first = world.send(&romeo, TEXT);
    let back = world.online("romeo@x", "b");
    let again = world.send(&back, TEXT);
    world.forget();
    let users = vec![BareJid::new("juliet@x").unwrap()];
    world.give(0, Input::Release { users });
    assert_eq!(world.retries, [first, again.clone()]);
    // It counts as new now.
    world.forget();
    let text = TEXT.replace("to=", "from='romeo@x/b' to=");
    world.peer_resends(again.clone(), &text);
    assert_eq!(kept(&world), 1);
    assert!(world.receipts.contains(&again));
}

#[test]
fn a_repeat_of_what_is_stored_is_not_stored_again() {
    let mut world = World::new();
    let romeo = world.online("romeo@x", "a");
    world.send(&romeo, TEXT);
    let back = world.online("romeo@x", "b");
    let again = world.send(&back, TEXT);
    assert!(world.receipts.contains(&again));
    assert_eq!(kept(&world), 1);
}

#[test]
fn what_two_homes_stored_is_delivered_once() {
    let mut world = World::new();
    stored_elsewhere(&mut world, 1);
    stored_elsewhere(&mut world, 2);
    world.shards[0] = new_shard(world.now, 0, 1);
    let juliet = world.online("juliet@x", "1");
    let got = world.got(&juliet);
    assert_eq!(got.iter().filter(|s| s.contains("hi")).count(), 1);
    assert_eq!(kept(&world), 0);
}

#[test]
fn what_another_home_stores_late_is_found_by_the_notice_of_the_store() {
    let mut world = World::new();
    let juliet = world.online("juliet@x", "1");
    world.forget();
    let id = stored_elsewhere(&mut world, 1);
    let user = BareJid::new("juliet@x").unwrap();
    let ids = vec![id];
    world.give(
        0,
        Input::Stored {
            user: user.clone(),
            ids: ids.clone(),
        },
    );
    expect_one(&world.got(&juliet), &["<body>hi</body>", "<delay"]);
    assert_eq!(kept(&world), 0);
    // For somebody who is away it is found when a session comes.
    world.end(&juliet);
    world.wait(Duration::from_secs(121));
    let id = stored_elsewhere(&mut world, 3);
    world.give(
        0,
        Input::Stored {
            user,
            ids: vec![id],
        },
    );
    let juliet = world.online("juliet@x", "1");
    assert!(world.got(&juliet).iter().any(|s| s.contains("hi")));
}

#[test]
fn after_a_change_of_homes_messages_wait_for_sessions_that_may_register() {
    let mut world = World::new();
    let juliet = world.online("juliet@x", "1");
    world.shards[0] = new_shard(world.now, 0, 1);
    world.forget();
    world.receipts.clear();
    world.give(0, Input::HomesChanged);
    let text = TEXT.replace("to=", "from='j@r/1' to=");
    let envelope = world.peer_sends(&text);
    assert_eq!(world.receipts, [], "it waits");
    let snapshot = world.clients[&juliet].mirror.snapshot().clone();
    let session = juliet.clone();
    world.give(0, Input::Register { session, snapshot });
    expect_one(&world.got(&juliet), &["<body>hi</body>"]);
    assert_eq!(world.receipts, [envelope]);
    assert_eq!(kept(&world), 0);
    // Nobody registers: a second later it is stored.
    world
        .store
        .users
        .insert("rosaline@x".into(), Default::default());
    world.give(0, Input::HomesChanged);
    let envelope = world.peer_sends(&text.replace("juliet@x", "rosaline@x"));
    assert!(!world.receipts.contains(&envelope));
    world.wait(Duration::from_millis(1_100));
    assert!(world.receipts.contains(&envelope));
    assert_eq!(world.store.offline["rosaline@x"].len(), 1);
}

#[test]
fn what_is_being_written_is_not_passed_by_what_was_stored_behind_it() {
    let mut world = World::new();
    // An earlier attempt stored both, and its outcome is not known.
    let text = |n: u64| format!("<message from='j@r/1' to='juliet@x'><body>{n}</body></message>");
    let write = |n: u64| Write::PutOffline {
        user: BareJid::new("juliet@x").unwrap(),
        id: EnvelopeId::new(SessionKey::new("e9", 1, 1), n),
        stanza: stanza(&text(n)),
        stored_at_ms: 1,
    };
    world
        .store
        .run(StoreOp::Write(vec![write(1), write(2), write(3)]));
    let juliet = world.bind("juliet@x", "1");
    world.store.slow = true;
    world.send(&juliet, "<presence/>");
    // They come again, and are kept behind the flood: the first in a write, the others behind it.
    for n in 1..=3 {
        world.peer_sends(&text(n));
    }
    while world.store_answers() {}
    let got = world.got(&juliet).join("");
    let at = |n: u64| got.find(&format!("<body>{n}</body>"));
    assert!(at(1).is_some() && at(1) < at(2) && at(2) < at(3), "{got}");
}

#[test]
fn a_stored_message_that_its_only_session_refuses_is_not_offered_without_end() {
    let mut world = World::new();
    let juliet = world.online("juliet@x", "1");
    let client = world.clients.remove(&juliet).expect("she is online");
    let id = stored_elsewhere(&mut world, 1);
    let user = BareJid::new("juliet@x").unwrap();
    let ids = vec![id];
    world.give(0, Input::Stored { user, ids });
    assert_eq!(kept(&world), 1);
    world.clients.insert(juliet.clone(), client);
    world.forget();
    world.wait(Duration::from_secs(3));
    expect_one(&world.got(&juliet), &["<body>hi</body>"]);
    assert_eq!(kept(&world), 0);
}
