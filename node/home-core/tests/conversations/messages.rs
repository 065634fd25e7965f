use std::time::Duration;

use crate::world::{World, expect_one, stanza};

#[test]
fn a_message_to_the_bare_jid_goes_to_all_sessions_that_take_messages() {
    let mut world = World::new();
    let romeo = world.online("romeo@x", "a");
    let (j1, j2) = (world.online("juliet@x", "1"), world.online("juliet@x", "2"));
    let (negative, silent) = (world.bind("juliet@x", "3"), world.bind("juliet@x", "4"));
    world.send(&negative, "<presence><priority>-1</priority></presence>");
    world.forget();
    let id = world.send(
        &romeo,
        "<message to='juliet@x' type='chat'><body>hi</body></message>",
    );
    expect_one(&world.got(&j1), &["<body>hi</body>", "from='romeo@x/a'"]);
    expect_one(&world.got(&j2), &["<body>hi</body>"]);
    assert!(world.got(&negative).is_empty());
    assert!(world.got(&silent).is_empty());
    assert_eq!(
        world.receipts.iter().filter(|r| **r == id).count(),
        1,
        "one receipt for two sessions"
    );
}

#[test]
fn a_message_to_a_full_jid_goes_to_that_session_even_if_it_is_negative_or_silent() {
    let mut world = World::new();
    let romeo = world.online("romeo@x", "a");
    let other = world.online("juliet@x", "1");
    let (negative, silent) = (world.bind("juliet@x", "3"), world.bind("juliet@x", "4"));
    world.send(&negative, "<presence><priority>-1</priority></presence>");
    world.forget();
    for (resource, session) in [("3", &negative), ("4", &silent)] {
        for kind in ["chat", "normal", "groupchat", "headline", "error"] {
            world.send(
                &romeo,
                &format!(
                    "<message to='juliet@x/{resource}' type='{kind}'><body>b</body></message>"
                ),
            );
            expect_one(&world.got(session), &["<body>b</body>"]);
            assert!(world.got(&other).is_empty());
        }
    }
}

#[test]
fn cells_of_section_8_5_end_in_the_right_answer() {
    // user, type, what the sender gets: error, or nothing; and whether it is in the store.
    let cases = [
        ("nobody@x", "chat", true, false),
        ("nobody@x", "normal", true, false),
        ("nobody@x", "error", false, false),
        ("juliet@x", "chat", false, true),
        ("juliet@x", "normal", false, true),
        ("juliet@x", "groupchat", true, false),
        ("juliet@x", "headline", false, false),
        ("juliet@x", "error", false, false),
        ("juliet@x/gone", "chat", false, true),
        ("juliet@x/gone", "normal", true, false),
        ("juliet@x/gone", "groupchat", true, false),
        ("juliet@x/gone", "headline", false, false),
        ("juliet@x/gone", "error", false, false),
    ];
    for (to, kind, error, stored) in cases {
        let mut world = World::new();
        let romeo = world.online("romeo@x", "a");
        world.forget();
        let id = world.send(
            &romeo,
            &format!("<message to='{to}' id='m' type='{kind}'><body>b</body></message>"),
        );
        let got = world.got(&romeo);
        assert_eq!(
            got.iter()
                .any(|s| s.contains("service-unavailable") && s.contains("id='m'")),
            error,
            "{to} {kind}"
        );
        assert_eq!(got.len(), usize::from(error), "{to} {kind}: {got:?}");
        let kept = world.store.offline.get("juliet@x").map_or(0, Vec::len);
        assert_eq!(kept, usize::from(stored), "{to} {kind}");
        assert_eq!(
            world.receipts.iter().filter(|r| **r == id).count(),
            1,
            "{to} {kind}"
        );
    }
}

#[test]
fn iq_goes_to_the_session_or_is_refused() {
    let mut world = World::new();
    let romeo = world.online("romeo@x", "a");
    let juliet = world.online("juliet@x", "1");
    world.forget();
    world.send(
        &romeo,
        "<iq type='get' id='1' to='juliet@x/1'><ping xmlns='urn:xmpp:ping'/></iq>",
    );
    expect_one(&world.got(&juliet), &["urn:xmpp:ping", "from='romeo@x/a'"]);
    for to in ["juliet@x/gone", "nobody@x/1", "nobody@x", "juliet@x"] {
        world.send(
            &romeo,
            &format!("<iq type='get' id='2' to='{to}'><ping xmlns='urn:xmpp:ping'/></iq>"),
        );
        expect_one(
            &world.got(&romeo),
            &["type='error'", "id='2'", "service-unavailable"],
        );
    }
    world.send(&romeo, "<iq type='result' id='3' to='juliet@x/gone'/>");
    assert!(world.got(&romeo).is_empty());
}

#[test]
fn the_account_and_the_domain_answer() {
    let mut world = World::new();
    world.befriend("juliet@x", "romeo@x");
    let romeo = world.online("romeo@x", "a");
    world.forget();
    let requests = [
        (
            "",
            "<query xmlns='http://jabber.org/protocol/disco#info'/>",
            "category='account'",
        ),
        (
            "to='x'",
            "<query xmlns='http://jabber.org/protocol/disco#info'/>",
            "msgoffline",
        ),
        ("to='x'", "<query xmlns='jabber:iq:version'/>", "Entente"),
        (
            "to='x'",
            "<time xmlns='urn:xmpp:time'/>",
            "2001-09-09T01:46:40Z",
        ),
        ("to='x'", "<query xmlns='jabber:iq:last'/>", "seconds='0'"),
        (
            "to='juliet@x'",
            "<query xmlns='http://jabber.org/protocol/disco#info'/>",
            "type='registered'",
        ),
        (
            "to='juliet@x'",
            "<query xmlns='jabber:iq:last'/>",
            "service-unavailable",
        ),
        ("", "<vCard xmlns='vcard-temp'/>", "service-unavailable"),
    ];
    for (to, payload, wanted) in requests {
        world.send(
            &romeo,
            &format!("<iq type='get' id='q' {to}>{payload}</iq>"),
        );
        expect_one(&world.got(&romeo), &["id='q'", wanted]);
    }
    let juliet = world.online("juliet@x", "1");
    world.end(&juliet);
    world.wait(Duration::from_secs(30));
    world.forget();
    world.send(
        &romeo,
        "<iq type='get' id='q' to='juliet@x'><query xmlns='jabber:iq:last'/></iq>",
    );
    expect_one(&world.got(&romeo), &["seconds='30'"]);
}

#[test]
fn a_second_copy_of_an_envelope_is_not_delivered() {
    let mut world = World::new();
    let juliet = world.online("juliet@x", "1");
    world.forget();
    let xml = "<message from='a@remote/1' to='juliet@x' type='chat'><body>once</body></message>";
    let id = world.peer_sends(xml);
    world.peer_resends(id.clone(), xml);
    expect_one(&world.got(&juliet), &["once"]);
    assert_eq!(
        world.receipts.iter().filter(|r| **r == id).count(),
        2,
        "one for each arrival"
    );
}

#[test]
fn a_copy_that_comes_while_the_first_waits_gets_one_receipt() {
    let mut world = World::new();
    let juliet = world.online("juliet@x", "1");
    world.holds_acks(&juliet);
    let xml = "<message from='a@remote/1' to='juliet@x' type='chat'><body>once</body></message>";
    let id = world.peer_sends(xml);
    world.peer_resends(id.clone(), xml);
    assert!(!world.receipts.contains(&id));
    world.ack(&juliet);
    assert_eq!(world.receipts.iter().filter(|r| **r == id).count(), 1);
}

#[test]
fn a_client_that_this_home_does_not_know_is_told_to_try_again() {
    let mut world = World::new();
    let romeo = world.online("romeo@x", "a");
    world.shards[0] = crate::world::new_shard(world.now, 0, 1);
    let id = world.send(&romeo, "<message to='juliet@x'><body>b</body></message>");
    assert_eq!(world.retries, [id]);
}

#[test]
fn the_same_resource_takes_over() {
    let mut world = World::new();
    let first = world.online("romeo@x", "a");
    let second = world.bind("romeo@x", "a");
    assert_eq!(
        world.clients[&first].ended,
        Some(entente_home_core::EndReason::Conflict)
    );
    assert_eq!(world.shards[0].session_count(), 1);
    world.send(&second, "<presence/>");
    world.forget();
    world.peer_sends(
        "<message from='a@remote/1' to='romeo@x/a' type='chat'><body>b</body></message>",
    );
    expect_one(&world.got(&second), &["<body>b</body>"]);
}

#[test]
fn what_comes_while_the_record_is_read_waits_in_order() {
    let mut world = World::new();
    world.store.slow = true;
    for n in 0..3 {
        world.peer_sends(&format!(
            "<message from='a@r/1' to='juliet@x' type='chat'><body>{n}</body></message>"
        ));
    }
    while world.store_answers() {}
    let kept: Vec<_> = world.store.offline["juliet@x"]
        .iter()
        .map(|m| m.stanza.bytes().clone())
        .collect();
    assert_eq!(kept.len(), 3);
    for (n, bytes) in kept.iter().enumerate() {
        assert!(String::from_utf8_lossy(bytes).contains(&format!("<body>{n}</body>")));
    }
    assert_eq!(world.receipts.len(), 3);
    let refused = stanza("<message from='a@r/1' to='juliet@x' type='error'/>");
    assert!(refused.is_error());
}

#[test]
fn a_message_that_comes_before_an_earlier_one_of_its_sender_waits_for_it() {
    let mut world = World::new();
    let juliet = world.online("juliet@x", "1");
    world.forget();
    world.receipts.clear();
    let text =
        |n: u64| format!("<message from='a@remote/1' to='juliet@x'><body>{n}</body></message>");
    let first = world.peer_envelope(1, None);
    let second = world.peer_envelope(2, Some(1));
    // The first one was lost with a node; the second one took another way.
    world.peer_resends(second.clone(), &text(2));
    assert_eq!(world.retries, std::slice::from_ref(&second));
    assert!(world.got(&juliet).is_empty());
    world.peer_resends(first.clone(), &text(1));
    world.peer_resends(second.clone(), &text(2));
    // Once more, as after a receipt that was lost.
    world.peer_resends(second.clone(), &text(2));
    let got = world.got(&juliet);
    assert_eq!(got.len(), 2, "{got:?}");
    assert!(got[0].contains("<body>1</body>") && got[1].contains("<body>2</body>"));
    assert_eq!(world.receipts, [first, second.clone(), second]);
}
