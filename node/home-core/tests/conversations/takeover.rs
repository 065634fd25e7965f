use std::time::Duration;

use entente_home_core::{Input, SessionKey};
use entente_xmpp_core::jid::BareJid;

use crate::world::{World, expect_one, new_shard};

fn register(world: &mut World, session: &SessionKey) {
    let snapshot = world.clients[session].mirror.snapshot().clone();
    let home = world.home(snapshot.full.bare_str());
    world.give(
        home,
        Input::Register {
            session: session.clone(),
            snapshot,
        },
    );
}

#[test]
fn a_new_home_goes_on_without_telling_contacts() {
    let mut world = World::new();
    world.befriend("romeo@x", "j@r");
    let romeo = world.online("romeo@x", "a");
    world.send(
        &romeo,
        "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>",
    );
    world.send(
        &romeo,
        "<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>",
    );
    world.send(&romeo, "<presence to='room@muc/n'/>");
    world.shards[0] = new_shard(world.now, 0, 1);
    world.forget();
    register(&mut world, &romeo);
    world.wait(Duration::from_secs(1));
    let out = world.sent_outside();
    assert_eq!(out.len(), 1, "{out:?}");
    expect_one(&out, &["type='probe'", "from='romeo@x'", "to='j@r'"]);
    world.peer_sends("<message from='j@r/1' to='romeo@x' type='chat'><body>b</body></message>");
    expect_one(&world.got(&romeo), &["<body>b</body>"]);
    world.end(&romeo);
    let out = world.sent_outside();
    expect_one(&out, &["type='unavailable'", "to='j@r'"]);
    expect_one(&out, &["type='unavailable'", "to='room@muc/n'"]);
}

#[test]
fn probes_after_a_takeover_are_paced() {
    let mut world = World::new();
    let mut sessions = Vec::new();
    for n in 0..300 {
        let user = format!("u{n}@x");
        world.store.users.insert(user.clone(), Default::default());
        for contact in 0..5 {
            world.befriend(&user, &format!("c{contact}@r"));
        }
        sessions.push(world.online(&user, "a"));
    }
    world.shards[0] = new_shard(world.now, 0, 1);
    world.forget();
    for session in &sessions {
        register(&mut world, session);
    }
    world.wait(Duration::from_millis(1_000));
    let first = world.sent_outside().len();
    assert!((400..=620).contains(&first), "500 a second: {first}");
    world.wait(Duration::from_secs(3));
    assert_eq!(first + world.sent_outside().len(), 1_500);
}

#[test]
fn released_users_leave_nothing_behind() {
    let mut world = World::new();
    world.befriend("juliet@x", "j@r");
    let juliet = world.online("juliet@x", "1");
    world.holds_acks(&juliet);
    let id = world
        .peer_sends("<message from='j@r/1' to='juliet@x' type='chat'><body>b</body></message>");
    world.forget();
    world.give(
        0,
        Input::Release {
            users: vec![BareJid::new("juliet@x").unwrap()],
        },
    );
    assert_eq!(world.retries, std::slice::from_ref(&id));
    assert!(world.sent_outside().is_empty());
    assert_eq!(
        (
            world.shards[0].users().count(),
            world.shards[0].session_count()
        ),
        (0, 0)
    );
    // Home again: the holder sends again, the edge session drops what it has.
    register(&mut world, &juliet);
    world.clients.get_mut(&juliet).unwrap().acks = true;
    world.peer_resends(
        id.clone(),
        "<message from='j@r/1' to='juliet@x' type='chat'><body>b</body></message>",
    );
    assert!(world.receipts.contains(&id));
    assert!(world.got(&juliet).is_empty());
}

#[test]
fn a_registration_waits_for_the_store_and_is_not_lost() {
    let mut world = World::new();
    let romeo = world.online("romeo@x", "a");
    world.shards[0] = new_shard(world.now, 0, 1);
    world.store.down = true;
    register(&mut world, &romeo);
    world.wait(Duration::from_secs(5));
    world.store.down = false;
    world.wait(Duration::from_secs(3));
    world.forget();
    world.peer_sends("<message from='j@r/1' to='romeo@x' type='chat'><body>b</body></message>");
    expect_one(&world.got(&romeo), &["<body>b</body>"]);
}

#[test]
fn idle_users_leave_memory_and_come_back() {
    let mut world = World::new();
    world.befriend("romeo@x", "j@r");
    let romeo = world.online("romeo@x", "a");
    world.end(&romeo);
    world.peer_sends("<presence type='probe' from='j@r' to='nobody@x'/>");
    assert_eq!(world.shards[0].users().count(), 2);
    world.wait(Duration::from_secs(120));
    assert_eq!(world.shards[0].users().count(), 0);
    assert_eq!(
        world.shards[0].poll_timeout(),
        None,
        "nothing left to wake up for"
    );
    world.forget();
    world.peer_sends("<presence type='probe' from='j@r' to='romeo@x'/>");
    expect_one(&world.sent_outside(), &["type='unavailable'"]);
}

#[test]
fn a_removed_account_says_goodbye() {
    let mut world = World::new();
    world.befriend("romeo@x", "j@r");
    let romeo = world.online("romeo@x", "a");
    world.forget();
    world.store.users.remove("romeo@x");
    world.give(
        0,
        Input::AccountRemoved {
            user: BareJid::new("romeo@x").unwrap(),
        },
    );
    let out = world.sent_outside();
    for kind in ["unavailable", "unsubscribe", "unsubscribed"] {
        expect_one(&out, &[&format!("type='{kind}'"), "to='j@r'"]);
    }
    assert!(world.clients[&romeo].ended.is_some());
}
