use std::time::Duration;

use entente_home_core::Input;

use crate::world::{World, expect_one};

fn bodies(stanzas: &[String]) -> Vec<String> {
    let body = |s: &String| {
        Some(
            s.split("<body>")
                .nth(1)?
                .split("</body>")
                .next()?
                .to_owned(),
        )
    };
    stanzas.iter().filter_map(body).collect()
}

fn kept(world: &World) -> usize {
    world.store.offline.get("juliet@x").map_or(0, Vec::len)
}

fn chat(n: usize) -> String {
    format!("<message from='a@remote/1' to='juliet@x' type='chat'><body>{n}</body></message>")
}

#[test]
fn messages_wait_for_the_first_session_that_takes_them_and_leave_the_store_when_acked() {
    let mut world = World::new();
    for n in 0..120 {
        world.peer_sends(&chat(n));
    }
    assert_eq!((kept(&world), world.receipts.len()), (120, 120));
    let juliet = world.bind("juliet@x", "1");
    world.send(&juliet, "<presence><priority>-5</priority></presence>");
    assert!(bodies(&world.got(&juliet)).is_empty(), "negative priority");
    world.holds_acks(&juliet);
    world.send(&juliet, "<presence/>");
    let got = world.got(&juliet);
    assert_eq!(
        bodies(&got),
        (0..120).map(|n| n.to_string()).collect::<Vec<_>>()
    );
    let delayed = got
        .iter()
        .filter(|s| s.contains("urn:xmpp:delay") && s.contains("from='x'"))
        .count();
    assert_eq!(delayed, 120);
    assert_eq!(kept(&world), 120, "kept until acked");
    world.ack(&juliet);
    assert_eq!(kept(&world), 0);
}

#[test]
fn new_messages_stay_behind_the_flood() {
    let mut world = World::new();
    for n in 0..60 {
        world.peer_sends(&chat(n));
    }
    let juliet = world.bind("juliet@x", "1");
    world.store.slow = true;
    world.send(&juliet, "<presence/>");
    for n in 60..70 {
        world.peer_sends(&chat(n));
    }
    while world.store_answers() {}
    assert_eq!(
        bodies(&world.got(&juliet)),
        (0..70).map(|n| n.to_string()).collect::<Vec<_>>()
    );
    while world.store_answers() {}
    assert_eq!(kept(&world), 0);
    world.peer_sends(&chat(70));
    assert_eq!(
        bodies(&world.got(&juliet)),
        ["70"],
        "after the flood the store is not asked"
    );
}

#[test]
fn new_messages_stay_behind_what_is_being_stored_when_a_session_comes() {
    let mut world = World::new();
    let juliet = world.online("juliet@x", "1");
    world.end(&juliet);
    world.store.slow = true;
    for n in 0..3 {
        world.peer_sends(&chat(n));
    }
    let juliet = world.bind("juliet@x", "2");
    world.send(&juliet, "<presence/>");
    for n in 3..6 {
        world.peer_sends(&chat(n));
    }
    while world.store_answers() {}
    assert_eq!(
        bodies(&world.got(&juliet)),
        (0..6).map(|n| n.to_string()).collect::<Vec<_>>()
    );
    while world.store_answers() {}
    assert_eq!(kept(&world), 0);
}

#[test]
fn without_an_ack_a_copy_is_stored_after_two_seconds_and_deleted_by_a_late_ack() {
    let mut world = World::new();
    let juliet = world.online("juliet@x", "1");
    world.holds_acks(&juliet);
    world.receipts.clear();
    let id = world.peer_sends(&chat(1));
    world.wait(Duration::from_millis(1_900));
    assert!(!world.receipts.contains(&id));
    world.wait(Duration::from_millis(200));
    assert_eq!(world.receipts, std::slice::from_ref(&id));
    assert_eq!(kept(&world), 1);
    world.ack(&juliet);
    assert_eq!((kept(&world), world.receipts.len()), (0, 1));
}

#[test]
fn a_session_that_ends_without_ack_leaves_the_message_to_the_store() {
    let mut world = World::new();
    let juliet = world.online("juliet@x", "1");
    world.holds_acks(&juliet);
    world.receipts.clear();
    let id = world.peer_sends(&chat(1));
    world.end(&juliet);
    assert_eq!((kept(&world), world.receipts.clone()), (1, vec![id]));
    let again = world.online("juliet@x", "2");
    assert_eq!(bodies(&world.got(&again)), ["1"]);
    assert_eq!(kept(&world), 0);
}

#[test]
fn an_insured_message_goes_to_another_session_when_the_first_is_gone() {
    let mut world = World::new();
    let first = world.online("juliet@x", "1");
    world.holds_acks(&first);
    world.peer_sends(&chat(1));
    world.wait(Duration::from_secs(3));
    assert_eq!(kept(&world), 1);
    let second = world.online("juliet@x", "2");
    assert!(
        bodies(&world.got(&second)).is_empty(),
        "the first still has it"
    );
    world.end(&first);
    assert_eq!(bodies(&world.got(&second)), ["1"]);
    assert_eq!(kept(&world), 0);
}

#[test]
fn an_edge_node_that_dies_gives_its_messages_to_other_sessions() {
    let mut world = World::new();
    let first = world.bind_at("e7", "juliet@x", "1");
    world.send(&first, "<presence/>");
    world.holds_acks(&first);
    let id = world.peer_sends(&chat(1));
    let second = world.online("juliet@x", "2");
    world.forget();
    world.clients.remove(&first);
    world.give(
        0,
        entente_home_core::Input::EdgeLost {
            edge: "e7".into(),
            epoch: 1,
        },
    );
    let got = world.got(&second);
    assert_eq!(bodies(&got), ["1"]);
    expect_one(&got, &["type='unavailable'", "from='juliet@x/1'"]);
    assert_eq!(world.receipts.iter().filter(|r| **r == id).count(), 1);
}

#[test]
fn what_is_not_worth_keeping_is_not_kept() {
    let cases = [
        (
            "<active xmlns='http://jabber.org/protocol/chatstates'/>",
            false,
            false,
        ),
        (
            "<body>b</body><no-store xmlns='urn:xmpp:hints'/>",
            false,
            true,
        ),
        ("<received xmlns='urn:xmpp:receipts' id='1'/>", true, false),
        (
            "<active xmlns='http://jabber.org/protocol/chatstates'/><store xmlns='urn:xmpp:hints'/>",
            true,
            false,
        ),
        ("", false, false),
    ];
    for (payload, stored, bounced) in cases {
        let mut world = World::new();
        let id = world.peer_sends(&format!(
            "<message from='a@remote/1' to='juliet@x' type='chat'>{payload}</message>"
        ));
        assert_eq!(kept(&world), usize::from(stored), "{payload}");
        assert_eq!(
            world.sent_outside().len(),
            usize::from(bounced),
            "{payload}"
        );
        assert_eq!(world.receipts, [id], "{payload}");
    }
}

#[test]
fn a_store_that_is_away_sends_messages_back_and_loses_none() {
    let mut world = World::new();
    let juliet = world.online("juliet@x", "1");
    world.end(&juliet);
    world.store.down = true;
    let id = world.peer_sends(&chat(1));
    assert_eq!(world.retries, std::slice::from_ref(&id));
    assert!(!world.receipts.contains(&id));
    world.store.down = false;
    world.peer_resends(id.clone(), &chat(1));
    assert!(world.receipts.contains(&id));
    assert_eq!(kept(&world), 1);
}

#[test]
fn a_slow_client_gets_everything_in_order_by_way_of_the_store() {
    let mut world = World::new();
    let juliet = world.online("juliet@x", "1");
    world.holds_acks(&juliet);
    for n in 0..800 {
        world.peer_sends(&chat(n));
    }
    world.wait(Duration::from_secs(5));
    assert_eq!(
        world
            .receipts
            .iter()
            .filter(|r| *r.holder.edge == *"e9")
            .count(),
        800
    );
    let mut got = bodies(&world.got(&juliet));
    while got.len() < 800 {
        let before = got.len();
        world.ack(&juliet);
        got.extend(bodies(&world.got(&juliet)));
        assert!(got.len() > before, "stuck at {before}");
    }
    world.ack(&juliet);
    assert_eq!(got, (0..800).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(kept(&world), 0);
}

/// Its edge node could not be heard for a while; what it reports when it is heard again is true still.
#[test]
fn a_late_report_of_a_lost_session_spares_the_next_one_a_second_copy() {
    let mut world = World::new();
    let juliet = world.bind_at("n2", "juliet@x", "1");
    world.send(&juliet, "<presence/>");
    world.holds_acks(&juliet);
    for n in 0..3 {
        world.peer_sends(&chat(n));
    }
    assert_eq!(bodies(&world.got(&juliet)), ["0", "1", "2"]);
    let ids = world.clients[&juliet].unacked.clone();
    let edge_lost = Input::EdgeLost {
        edge: "n2".into(),
        epoch: juliet.epoch,
    };
    let home = world.home("juliet@x");
    world.give(home, edge_lost);
    assert_eq!(kept(&world), 3);
    let report = Input::Delivered {
        session: juliet.clone(),
        ids: ids[..2].to_vec(),
    };
    world.give(home, report.clone());
    assert_eq!(kept(&world), 1);
    let next = world.online("juliet@x", "1");
    assert_eq!(
        bodies(&world.got(&next)),
        ["2"],
        "the client did not have it"
    );
    world.give(home, report);
    assert_eq!(kept(&world), 0);
}

/// Its edge node takes nothing for it: each try would fail at once, as fast as the store reads.
#[test]
fn a_flood_to_a_session_that_cannot_be_reached_pauses() {
    let mut world = World::new();
    for n in 0..60 {
        world.peer_sends(&chat(n));
    }
    let juliet = world.bind("juliet@x", "1");
    world.holds_acks(&juliet);
    world.store.slow = true;
    world.send(&juliet, "<presence/>");
    assert!(world.store_answers(), "the first page");
    assert_eq!(bodies(&world.got(&juliet)).len(), 50);
    let failed = Input::DeliveryFailed {
        session: juliet.clone(),
        ids: world.clients[&juliet].unacked.clone(),
    };
    let home = world.home("juliet@x");
    world.give(home, failed);
    while world.store_answers() {}
    assert!(world.got(&juliet).is_empty(), "it waits a moment");
    world.wait(Duration::from_millis(200));
    while world.store_answers() {}
    let rest = bodies(&world.got(&juliet));
    assert_eq!((rest.len(), rest[0].as_str()), (10, "50"));
}

/// The way to the session's edge node closes between two messages.
#[test]
fn what_cannot_be_delivered_is_stored_behind_what_was_delivered_and_not_acknowledged() {
    let mut world = World::new();
    let juliet = world.online("juliet@x", "1");
    world.holds_acks(&juliet);
    for n in 0..3 {
        world.peer_sends(&chat(n));
    }
    assert_eq!(kept(&world), 0);
    let failed = Input::DeliveryFailed {
        session: juliet.clone(),
        ids: world.clients[&juliet].unacked[2..].to_vec(),
    };
    let home = world.home("juliet@x");
    world.give(home, failed);
    world.end(&juliet);
    let next = world.online("juliet@x", "1");
    assert_eq!(bodies(&world.got(&next)), ["0", "1", "2"]);
}
