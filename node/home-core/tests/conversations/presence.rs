use entente_home_core::{RosterItem, Subscription};
use entente_xmpp_core::jid::BareJid;

use crate::world::{World, expect_one};

fn contact(world: &mut World, user: &str, jid: &str, subscription: Subscription) {
    let mut item = RosterItem::new(BareJid::new(jid).unwrap());
    item.subscription = subscription;
    world.store.users.get_mut(user).unwrap().roster.push(item);
}

/// romeo with one remote contact of each kind.
fn romeo_with_contacts() -> World {
    let mut world = World::new();
    contact(&mut world, "romeo@x", "both@r", Subscription::Both);
    contact(&mut world, "romeo@x", "from@r", Subscription::From);
    contact(&mut world, "romeo@x", "none@r", Subscription::None);
    contact(&mut world, "romeo@x", "to@r", Subscription::To);
    world
}

#[test]
fn initial_presence_is_broadcast_and_probes_are_sent() {
    let mut world = romeo_with_contacts();
    let romeo = world.bind("romeo@x", "a");
    world.send(&romeo, "<presence><show>away</show></presence>");
    let out = world.sent_outside();
    assert_eq!(out.len(), 4, "{out:#?}");
    for to in ["both@r", "from@r"] {
        expect_one(
            &out,
            &[
                &format!("to='{to}'"),
                "<show>away</show>",
                "from='romeo@x/a'",
            ],
        );
    }
    for to in ["both@r", "to@r"] {
        expect_one(&out, &[&format!("to='{to}'"), "type='probe'"]);
    }
    world.send(&romeo, "<presence/>");
    assert_eq!(
        world.sent_outside().len(),
        2,
        "a change is broadcast, nobody is probed"
    );
}

#[test]
fn the_end_is_told_once_to_all_who_saw_the_session() {
    let mut world = romeo_with_contacts();
    let romeo = world.online("romeo@x", "a");
    world.send(&romeo, "<presence to='room@muc/nick'/>");
    world.send(&romeo, "<presence to='both@r/1'/>");
    world.forget();
    world.end(&romeo);
    let out = world.sent_outside();
    assert_eq!(out.len(), 3, "{out:#?}");
    for to in ["both@r", "from@r", "room@muc/nick"] {
        expect_one(
            &out,
            &[
                &format!("to='{to}'"),
                "type='unavailable'",
                "from='romeo@x/a'",
            ],
        );
    }
}

#[test]
fn unavailable_ends_directed_presence_too() {
    let mut world = romeo_with_contacts();
    let romeo = world.online("romeo@x", "a");
    world.send(&romeo, "<presence to='room@muc/nick'/>");
    world.forget();
    world.send(
        &romeo,
        "<presence type='unavailable'><status>bye</status></presence>",
    );
    let out = world.sent_outside();
    assert_eq!(out.iter().filter(|s| s.contains("bye")).count(), 3);
    world.end(&romeo);
    assert!(world.sent_outside().is_empty());
}

#[test]
fn probes_are_answered_only_for_those_who_may_see() {
    let mut world = romeo_with_contacts();
    let probe = |from: &str, to: &str| format!("<presence type='probe' from='{from}' to='{to}'/>");
    world.peer_sends(&probe("from@r/1", "romeo@x"));
    expect_one(
        &world.sent_outside(),
        &["type='unavailable'", "from='romeo@x'", "to='from@r/1'"],
    );
    let (_a, _b) = (world.online("romeo@x", "a"), world.online("romeo@x", "b"));
    world.forget();
    world.peer_sends(&probe("both@r", "romeo@x"));
    let out = world.sent_outside();
    assert_eq!(out.len(), 2);
    expect_one(&out, &["from='romeo@x/a'", "to='both@r'"]);
    for from in ["to@r", "none@r", "stranger@r"] {
        world.peer_sends(&probe(from, "romeo@x"));
        let known = world.sent_outside();
        world.peer_sends(&probe(from, "nobody@x"));
        let unknown = world.sent_outside();
        expect_one(&known, &["type='unsubscribed'"]);
        assert_eq!(
            known[0].replace("romeo@x", "nobody@x"),
            unknown[0],
            "no telling who exists"
        );
    }
}

#[test]
fn whoever_got_directed_presence_may_probe() {
    let mut world = World::new();
    let romeo = world.online("romeo@x", "a");
    world.send(
        &romeo,
        "<presence to='friend@r'><status>for you</status></presence>",
    );
    world.forget();
    world.peer_sends("<presence type='probe' from='friend@r' to='romeo@x'/>");
    assert_eq!(
        world.sent_outside(),
        ["<presence from='romeo@x/a' to='friend@r'/>"]
    );
}

#[test]
fn presence_of_contacts_goes_to_available_sessions() {
    let mut world = romeo_with_contacts();
    let (romeo, silent) = (world.online("romeo@x", "a"), world.bind("romeo@x", "b"));
    world.forget();
    world.peer_sends("<presence from='to@r/1' to='romeo@x'/>");
    expect_one(&world.got(&romeo), &["from='to@r/1'"]);
    assert!(world.got(&silent).is_empty());
    world.peer_sends("<presence from='to@r/1' to='romeo@x/b'/>");
    assert_eq!((world.got(&romeo).len(), world.got(&silent).len()), (0, 1));
}

#[test]
fn sessions_of_one_user_see_each_other() {
    let mut world = World::new();
    let first = world.online("romeo@x", "a");
    world.forget();
    let second = world.online("romeo@x", "b");
    expect_one(&world.got(&first), &["from='romeo@x/b'"]);
    let got = world.got(&second);
    expect_one(&got, &["from='romeo@x/a'"]);
    expect_one(&got, &["from='romeo@x/b'"]);
}

#[test]
fn two_local_users_subscribe_to_each_other() {
    let mut world = World::new();
    let (romeo, juliet) = (world.online("romeo@x", "a"), world.online("juliet@x", "1"));
    for session in [&romeo, &juliet] {
        world.send(
            session,
            "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>",
        );
    }
    world.forget();
    world.send(&romeo, "<presence to='juliet@x' type='subscribe'/>");
    expect_one(
        &world.got(&romeo),
        &["jabber:iq:roster", "ask='subscribe'", "subscription='none'"],
    );
    expect_one(&world.got(&juliet), &["type='subscribe'", "from='romeo@x'"]);
    world.send(&juliet, "<presence to='romeo@x' type='subscribed'/>");
    expect_one(&world.got(&juliet), &["subscription='from'"]);
    let got = world.got(&romeo);
    expect_one(&got, &["type='subscribed'", "from='juliet@x'"]);
    expect_one(&got, &["subscription='to'"]);
    expect_one(&got, &["from='juliet@x/1'", "<presence"]);
    world.send(&juliet, "<presence to='romeo@x' type='unsubscribed'/>");
    let got = world.got(&romeo);
    expect_one(&got, &["type='unsubscribed'"]);
    expect_one(&got, &["type='unavailable'", "from='juliet@x/1'"]);
    expect_one(&got, &["subscription='none'"]);
}

#[test]
fn requests_wait_for_the_user_and_come_again_at_every_login() {
    let mut world = World::new();
    world.peer_sends(
        "<presence from='a@r/1' to='juliet@x' type='subscribe'><status>please</status></presence>",
    );
    assert_eq!(world.store.users["juliet@x"].pending_in.len(), 1);
    assert!(world.sent_outside().is_empty());
    for resource in ["1", "2"] {
        let juliet = world.online("juliet@x", resource);
        expect_one(
            &world.got(&juliet),
            &["type='subscribe'", "from='a@r'", "please"],
        );
        world.end(&juliet);
    }
    let juliet = world.online("juliet@x", "3");
    world.send(&juliet, "<presence to='a@r' type='unsubscribed'/>");
    assert!(world.store.users["juliet@x"].pending_in.is_empty());
    world.end(&juliet);
    let juliet = world.online("juliet@x", "4");
    assert!(
        world
            .got(&juliet)
            .iter()
            .all(|s| !s.contains("type='subscribe'"))
    );
}

#[test]
fn a_granted_contact_that_asks_again_is_answered_by_the_server() {
    let mut world = romeo_with_contacts();
    let romeo = world.online("romeo@x", "a");
    world.forget();
    world.peer_sends("<presence from='from@r' to='romeo@x' type='subscribe'/>");
    expect_one(&world.sent_outside(), &["type='subscribed'", "to='from@r'"]);
    assert!(world.got(&romeo).is_empty());
}

#[test]
fn pre_approval_answers_for_the_user() {
    let mut world = World::new();
    let romeo = world.online("romeo@x", "a");
    world.send(
        &romeo,
        "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>",
    );
    world.forget();
    world.send(&romeo, "<presence to='a@r' type='subscribed'/>");
    assert!(world.sent_outside().is_empty());
    expect_one(
        &world.got(&romeo),
        &["approved='true'", "subscription='none'"],
    );
    world.peer_sends("<presence from='a@r' to='romeo@x' type='subscribe'/>");
    let out = world.sent_outside();
    expect_one(&out, &["type='subscribed'", "to='a@r'"]);
    expect_one(&out, &["from='romeo@x/a'", "to='a@r'"]);
    expect_one(&world.got(&romeo), &["subscription='from'"]);
}

#[test]
fn a_change_that_cannot_be_written_is_not_told_to_anybody() {
    let mut world = World::new();
    let romeo = world.online("romeo@x", "a");
    world.store.slow = true;
    world.forget();
    let id = world.send(&romeo, "<presence to='a@r' type='subscribe'/>");
    assert!(
        world.outside.is_empty() && !world.receipts.contains(&id),
        "waits for the store"
    );
    world.store.down = true;
    world.store_answers();
    assert!(world.outside.is_empty());
    assert_eq!(world.retries, std::slice::from_ref(&id));
    world.store.down = false;
    while world.store_answers() {}
    let again = crate::world::stanza("<presence from='romeo@x/a' to='a@r' type='subscribe'/>");
    world.resend(&romeo, id.clone(), again);
    while world.store_answers() {}
    expect_one(
        &world.sent_outside(),
        &["type='subscribe'", "from='romeo@x'"],
    );
    assert!(world.receipts.contains(&id));
}
