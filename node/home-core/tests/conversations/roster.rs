use crate::world::{World, expect_one};

fn set(item: &str) -> String {
    format!("<iq type='set' id='s'><query xmlns='jabber:iq:roster'>{item}</query></iq>")
}

#[test]
fn sets_are_stored_answered_and_pushed_to_interested_sessions() {
    let mut world = World::new();
    let (romeo, other, silent) = (
        world.online("romeo@x", "a"),
        world.online("romeo@x", "b"),
        world.online("romeo@x", "c"),
    );
    for session in [&romeo, &other] {
        world.send(
            session,
            "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>",
        );
    }
    world.forget();
    world.send(
        &romeo,
        &set("<item jid='a@r' name='A &amp; B'><group>G</group></item>"),
    );
    let got = world.got(&romeo);
    expect_one(&got, &["type='result'", "id='s'"]);
    expect_one(
        &got,
        &["type='set'", "A &amp; B", "<group>G</group>", "ver='1'"],
    );
    expect_one(
        &world.got(&other),
        &["type='set'", "jid='a@r'", "to='romeo@x/b'"],
    );
    assert!(world.got(&silent).is_empty());
    let stored = &world.store.users["romeo@x"];
    assert_eq!((stored.roster.len(), stored.roster_version), (1, 1));
}

#[test]
fn a_current_version_gets_an_empty_answer() {
    let mut world = World::new();
    let romeo = world.online("romeo@x", "a");
    world.send(&romeo, &set("<item jid='a@r'/>"));
    world.forget();
    world.send(
        &romeo,
        "<iq type='get' id='1'><query xmlns='jabber:iq:roster' ver='1'/></iq>",
    );
    let got = world.got(&romeo);
    expect_one(&got, &["id='1'", "type='result'"]);
    assert!(!got[0].contains("query"));
    world.send(
        &romeo,
        "<iq type='get' id='2'><query xmlns='jabber:iq:roster' ver=''/></iq>",
    );
    expect_one(&world.got(&romeo), &["id='2'", "ver='1'", "jid='a@r'"]);
}

#[test]
fn bad_sets_are_refused() {
    let mut world = World::new();
    let romeo = world.online("romeo@x", "a");
    let long = "n".repeat(1024);
    let cases = [
        ("", "bad-request"),
        ("<item jid='a@r'/><item jid='b@r'/>", "bad-request"),
        ("<item/>", "bad-request"),
        ("<item jid='@r'/>", "jid-malformed"),
        (
            "<item jid='a@r'><group>g</group><group>g</group></item>",
            "bad-request",
        ),
        ("<item jid='a@r'><group/></item>", "not-acceptable"),
        (
            &format!("<item jid='a@r' name='{long}'/>"),
            "not-acceptable",
        ),
        ("<item jid='romeo@x'/>", "not-allowed"),
        ("<item jid='a@r' subscription='remove'/>", "item-not-found"),
    ];
    for (item, condition) in cases {
        world.forget();
        world.send(&romeo, &set(item));
        expect_one(&world.got(&romeo), &["type='error'", condition]);
    }
    assert!(world.store.users["romeo@x"].roster.is_empty());
}

#[test]
fn a_client_can_not_set_its_subscription() {
    let mut world = World::new();
    let romeo = world.online("romeo@x", "a");
    world.send(
        &romeo,
        &set("<item jid='a@r' subscription='both' ask='subscribe' approved='true'/>"),
    );
    let item = &world.store.users["romeo@x"].roster[0];
    assert_eq!(
        (item.subscription.as_str(), item.ask, item.approved),
        ("none", false, false)
    );
}

#[test]
fn removal_ends_the_subscriptions_both_ways() {
    let mut world = World::new();
    world.befriend("romeo@x", "a@r");
    let romeo = world.online("romeo@x", "a");
    world.send(
        &romeo,
        "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>",
    );
    world.forget();
    world.send(&romeo, &set("<item jid='a@r' subscription='remove'/>"));
    let out = world.sent_outside();
    expect_one(&out, &["type='unsubscribe'", "from='romeo@x'"]);
    expect_one(&out, &["type='unsubscribed'", "from='romeo@x'"]);
    expect_one(&out, &["type='unavailable'", "from='romeo@x/a'"]);
    expect_one(&world.got(&romeo), &["subscription='remove'"]);
    assert!(world.store.users["romeo@x"].roster.is_empty());
}

#[test]
fn nobody_else_reads_or_writes_a_roster() {
    let mut world = World::new();
    world.befriend("juliet@x", "romeo@x");
    let romeo = world.online("romeo@x", "a");
    for kind in ["get", "set"] {
        world.forget();
        let xml = format!(
            "<iq type='{kind}' id='1' to='juliet@x'><query xmlns='jabber:iq:roster'/></iq>"
        );
        world.send(&romeo, &xml);
        expect_one(&world.got(&romeo), &["type='error'", "service-unavailable"]);
    }
}
