//! Subscriptions in both directions.

use std::time::Duration;

use entente_sip_core::header::HeaderName;

use super::world::World;
use crate::gateway::Input;

const SECOND: Duration = Duration::from_secs(1);

fn subscribe(expires: u32, cseq: u32, to_tag: &str) -> String {
    format!(
        "SUBSCRIBE sip:alice@siena.example SIP/2.0
         Via: SIP/2.0/TLS edge.florence.example;branch=z9hG4bK{cseq}
         Max-Forwards: 70
         From: <sip:bob@florence.example>;tag=b1
         To: <sip:alice@siena.example>{to_tag}
         Call-ID: c1
         CSeq: {cseq} SUBSCRIBE
         Contact: <sip:edge.florence.example:5061;transport=tls>
         Record-Route: <sip:edge.florence.example:5061;lr;ms-key-info=AAEC>
         Event: presence
         Accept: application/pidf+xml
         Expires: {expires}"
    )
}

fn allow(world: &mut World) {
    world
        .user("<presence from='alice@siena.example' to='bob@florence.example' type='subscribed'/>");
}

fn at_desk(world: &mut World, show: &str) {
    world.user(&format!(
        "<presence from='alice@siena.example/desk' to='bob@florence.example'>{show}</presence>"
    ));
}

fn body(draft: &entente_sip_core::draft::Draft) -> String {
    let bytes = draft.to_bytes("v");
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_watcher_who_is_allowed_sees_the_user_in_the_first_notify() {
    let mut world = World::new();
    let id = world.peer("lync", &subscribe(7200, 1, ""));
    assert_eq!(
        world.said(),
        ["<presence from='bob@florence.example' to='alice@siena.example' type='subscribe'/>"]
    );
    assert!(world.responses.is_empty(), "the home is asked first");
    allow(&mut world);
    assert_eq!(
        world.said(),
        ["<presence from='bob@florence.example' to='alice@siena.example' type='probe'/>"]
    );
    at_desk(&mut world, "<show>dnd</show>");
    world.pass(SECOND);

    let ok = world.response(id);
    assert_eq!(ok.status().unwrap().code(), 200);
    assert_eq!(ok.expires().unwrap(), Some(7200));
    assert_eq!(world.requests.len(), 1);
    let notify = world.answer("200 OK", "");
    assert_eq!(notify.method().as_str(), "NOTIFY");
    assert_eq!(
        notify.get(HeaderName::Route),
        Some("<sip:edge.florence.example:5061;lr;ms-key-info=AAEC>")
    );
    let text = body(&notify);
    assert!(
        text.contains("Subscription-State: active;expires=7200"),
        "{text}"
    );
    assert!(text.contains("<basic>open</basic>"), "{text}");
    assert!(
        text.contains("busy"),
        "do not disturb is busy there: {text}"
    );
    assert_eq!(world.records.len(), 1, "in the store before the 200");
}

#[test]
fn a_watcher_about_whom_nobody_has_decided_is_pending_until_the_user_decides() {
    let mut world = World::new();
    let id = world.peer("lync", &subscribe(7200, 1, ""));
    world.pass(SECOND);
    assert_eq!(world.response(id).status().unwrap().code(), 200);
    let notify = world.answer("200 OK", "");
    assert!(body(&notify).contains("Subscription-State: pending"));
    assert!(!body(&notify).contains("<presence"));

    allow(&mut world);
    at_desk(&mut world, "");
    world.pass(6 * SECOND);
    let notify = world.answer("200 OK", "");
    assert!(body(&notify).contains("Subscription-State: active"));
    assert!(body(&notify).contains("<basic>open</basic>"));
}

#[test]
fn who_is_denied_sees_somebody_who_is_offline() {
    let mut world = World::new();
    let id = world.peer("lync", &subscribe(7200, 1, ""));
    world.user(
        "<presence from='alice@siena.example' to='bob@florence.example' type='unsubscribed'/>",
    );
    assert_eq!(world.response(id).status().unwrap().code(), 200);
    let notify = world.answer("200 OK", "");
    let text = body(&notify);
    assert!(text.contains("Subscription-State: active"), "{text}");
    assert!(text.contains("<basic>closed</basic>"), "{text}");
    world.pass(60 * SECOND);
    assert!(world.requests.is_empty());
}

#[test]
fn without_the_store_a_watcher_is_told_to_come_again() {
    let mut world = World::new();
    let id = world.peer("lync", &subscribe(7200, 1, ""));
    allow(&mut world);
    world.store_works = false;
    world.pass(SECOND);
    let refusal = world.response(id);
    assert_eq!(refusal.status().unwrap().code(), 503);
    assert_eq!(refusal.retry_after().unwrap(), Some(10));
    assert!(
        world.requests.is_empty(),
        "no NOTIFY of what does not exist"
    );
    world.store_works = true;
    world.pass(60 * SECOND);
    assert!(world.records.is_empty());
}

#[test]
fn another_node_takes_a_watcher_over_and_tells_the_whole_state() {
    let mut world = World::new();
    let id = world.peer("lync", &subscribe(7200, 1, ""));
    allow(&mut world);
    at_desk(&mut world, "");
    world.pass(SECOND);
    let tag = world.response(id).to().unwrap().tag().unwrap().to_owned();
    let first = world.answer("200 OK", "");

    let mut world = world.successor();
    assert_eq!(
        world.said(),
        ["<presence from='bob@florence.example' to='alice@siena.example' type='probe'/>"]
    );
    at_desk(&mut world, "<show>away</show>");
    world.pass(SECOND);
    let notify = world.answer("200 OK", "");
    assert!(body(&notify).contains("away"), "{}", body(&notify));
    let number = |draft: &entente_sip_core::draft::Draft| {
        let cseq = draft.get(HeaderName::CSeq).unwrap();
        cseq.split(' ').next().unwrap().parse::<u32>().unwrap()
    };
    assert!(number(&notify) > number(&first) + 1000);

    let id = world.peer("lync", &subscribe(7200, 2, &format!(";tag={tag}")));
    assert_eq!(world.response(id).status().unwrap().code(), 200);
}

#[test]
fn an_unknown_dialog_is_told_so_and_subscribes_again() {
    let mut world = World::new();
    let id = world.peer("lync", &subscribe(7200, 5, ";tag=gone"));
    assert_eq!(world.response(id).status().unwrap().code(), 481);
}

#[test]
fn a_user_watches_a_remote_person() {
    let mut world = World::new();
    let asked = world
        .user("<presence from='alice@siena.example' to='bob@florence.example' type='subscribe'/>");
    assert_eq!(world.taken, [asked]);
    assert_eq!(world.records.len(), 1, "the wish is in the store");
    let subscribe = world.answer(
        "200 OK",
        "Contact: <sip:edge.florence.example;transport=tls>\nExpires: 7200",
    );
    assert_eq!(subscribe.method().as_str(), "SUBSCRIBE");
    assert_eq!(subscribe.uri(), "sip:bob@florence.example");
    assert_eq!(
        subscribe.get(HeaderName::Accept),
        Some("application/pidf+xml")
    );
    assert!(world.said().is_empty());

    notify(
        &mut world,
        &subscribe,
        1,
        "active;expires=7100",
        &pidf(
            "open",
            "<ep:activities><ep:activity>busy</ep:activity></ep:activities>",
        ),
    );
    let said = world.said();
    assert_eq!(
        said[0],
        "<presence from='bob@florence.example' to='alice@siena.example' type='subscribed'/>"
    );
    assert!(
        said[1].contains("from='bob@florence.example/sip'"),
        "{}",
        said[1]
    );
    assert!(said[1].contains("<show>away</show>"), "{}", said[1]);
    assert!(said[1].contains("Busy"), "{}", said[1]);

    notify(
        &mut world,
        &subscribe,
        2,
        "active;expires=7000",
        &pidf("closed", ""),
    );
    assert!(world.said()[0].contains("type='unavailable'"));
}

#[test]
fn a_refusal_for_good_is_an_unsubscribed() {
    let mut world = World::new();
    world.user("<presence from='alice@siena.example' to='bob@florence.example' type='subscribe'/>");
    world.answer("403 Forbidden", "");
    assert_eq!(
        world.said(),
        ["<presence from='bob@florence.example' to='alice@siena.example' type='unsubscribed'/>"]
    );
}

#[test]
fn another_node_refreshes_the_users_subscriptions_at_once() {
    let mut world = World::new();
    world.user("<presence from='alice@siena.example' to='bob@florence.example' type='subscribe'/>");
    let first = world.answer(
        "200 OK",
        "Contact: <sip:edge.florence.example;transport=tls>\nExpires: 7200",
    );
    notify(
        &mut world,
        &first,
        1,
        "active;expires=7100",
        &pidf("open", ""),
    );
    world.said();

    let mut world = world.successor();
    let shown = world.said();
    assert!(
        shown[0].contains("from='bob@florence.example/sip'"),
        "{shown:?}"
    );
    let refresh = world.answer(
        "200 OK",
        "Contact: <sip:edge.florence.example;transport=tls>\nExpires: 7200",
    );
    assert_eq!(refresh.method().as_str(), "SUBSCRIBE");
    assert_eq!(
        refresh.get(HeaderName::CallId),
        first.get(HeaderName::CallId)
    );
    // A NOTIFY in the old dialog is at home here.
    notify(
        &mut world,
        &first,
        2,
        "active;expires=7000",
        &pidf("closed", ""),
    );
    assert!(world.said()[0].contains("type='unavailable'"));
}

#[test]
fn a_peer_that_returns_all_the_time_is_asked_at_a_bounded_rate_and_no_return_is_forgotten() {
    let mut world = World::new();
    world.user("<presence from='alice@siena.example' to='bob@florence.example' type='subscribe'/>");
    let ok = "Contact: <sip:edge.florence.example;transport=tls>\nExpires: 7200";
    let first = world.answer("200 OK", ok);
    notify(&mut world, &first, 1, "active", &pidf("open", ""));
    let up = || Input::PeerUp {
        peer: "lync".into(),
    };
    world.input(up());
    assert_eq!(world.requests.len(), 1);
    world.answer("200 OK", ok);
    for _ in 0..3 {
        world.pass(SECOND);
        world.input(up());
    }
    assert!(world.requests.is_empty());
    world.pass(58 * SECOND);
    assert_eq!(world.requests.len(), 1);
    world.answer("200 OK", ok);
    world.input(Input::PeerUp {
        peer: "kamailio".into(),
    });
    world.pass(600 * SECOND);
    assert!(world.requests.is_empty());
}

#[test]
fn dialogs_are_counted_where_their_user_is() {
    let held = |world: &World| {
        let mut all = std::collections::BTreeMap::new();
        world.gateway.counts().add_to(&mut all);
        let lync = all.get("lync").copied().unwrap_or_default();
        (lync.watchers, lync.contacts, lync.sessions)
    };
    let mut world = World::new();
    world.user("<presence from='alice@siena.example' to='bob@florence.example' type='subscribe'/>");
    world.answer(
        "200 OK",
        "Contact: <sip:edge.florence.example;transport=tls>\nExpires: 7200",
    );
    world.peer("lync", &subscribe(7200, 1, ""));
    world.pass(SECOND);
    assert_eq!(held(&world), (1, 1, 0));
    world.input(Input::Release {
        users: vec![entente_xmpp_core::jid::BareJid::new("alice@siena.example").unwrap()],
    });
    assert_eq!(held(&world), (0, 0, 0));
    let world = world.successor();
    assert_eq!(held(&world), (1, 1, 0));
}

#[test]
fn a_probe_brings_a_lost_subscription_back() {
    let mut world = World::new();
    world.user("<presence from='alice@siena.example' to='bob@florence.example' type='probe'/>");
    assert_eq!(world.requests[0].1.method().as_str(), "SUBSCRIBE");
    world.user("<presence from='alice@siena.example' to='bob@florence.example' type='probe'/>");
    assert_eq!(world.requests.len(), 1);
}

#[test]
fn a_home_that_does_not_know_the_sessions_yet_makes_nobody_look_offline() {
    let mut world = World::new();
    let id = world.peer("lync", &subscribe(7200, 1, ""));
    allow(&mut world);
    at_desk(&mut world, "");
    world.pass(SECOND);
    let tag = world.response(id).to().unwrap().tag().unwrap().to_owned();
    world.answer("200 OK", "");

    let probe = "<presence from='bob@florence.example' to='alice@siena.example' type='probe'/>";
    let mut world = world.successor();
    assert_eq!(world.said(), [probe]);
    world.user(
        "<presence from='alice@siena.example' to='bob@florence.example' type='unavailable'/>",
    );
    // A refresh gets its answer meanwhile.
    let id = world.peer("lync", &subscribe(7200, 2, &format!(";tag={tag}")));
    assert_eq!(world.response(id).status().unwrap().code(), 200);
    world.pass(2 * SECOND);
    assert!(world.requests.is_empty());
    assert_eq!(world.said(), [probe]);
    at_desk(&mut world, "<show>away</show>");
    world.pass(SECOND);
    let notify = world.answer("200 OK", "");
    assert!(body(&notify).contains("away"), "{}", body(&notify));
    world.pass(60 * SECOND);
    assert!(world.requests.is_empty() && world.said().is_empty());
}

#[test]
fn who_is_really_offline_is_shown_so_after_a_moment_of_doubt() {
    let mut world = World::new();
    world.peer("lync", &subscribe(7200, 1, ""));
    allow(&mut world);
    at_desk(&mut world, "");
    world.pass(SECOND);
    world.answer("200 OK", "");
    let mut world = world.successor();
    world.user(
        "<presence from='alice@siena.example' to='bob@florence.example' type='unavailable'/>",
    );
    world.pass(4 * SECOND);
    assert!(body(&world.answer("200 OK", "")).contains("<basic>closed</basic>"));
    world.pass(60 * SECOND);
    let probes = world.said();
    assert_eq!(probes.len(), 4, "not for ever: {probes:?}");
}

#[test]
fn a_pending_watcher_who_is_taken_over_stays_pending() {
    let mut world = World::new();
    world.peer("lync", &subscribe(7200, 1, ""));
    world.pass(SECOND);
    world.answer("200 OK", "");
    let mut world = world.successor();
    assert_eq!(
        world.said(),
        ["<presence from='bob@florence.example' to='alice@siena.example' type='subscribe'/>"]
    );
    world.pass(60 * SECOND);
    let notify = world.answer("200 OK", "");
    assert!(body(&notify).contains("Subscription-State: pending"));
    assert!(world.said().is_empty());
}

#[test]
fn a_drain_tells_watchers_to_subscribe_again() {
    let mut world = World::new();
    world.peer("lync", &subscribe(7200, 1, ""));
    allow(&mut world);
    at_desk(&mut world, "");
    world.pass(SECOND);
    world.answer("200 OK", "");
    world.input(Input::Drain);
    let notify = world.answer("200 OK", "");
    assert!(body(&notify).contains("terminated;reason=deactivated"));
    assert!(world.records.is_empty());
}

fn pidf(basic: &str, status: &str) -> String {
    format!(
        "<presence xmlns='urn:ietf:params:xml:ns:pidf' \
         xmlns:ep='urn:ietf:params:xml:ns:pidf:status:rpid-status' entity='sip:bob@florence.example'>\
         <tuple id='0'><status><basic>{basic}</basic>{status}</status></tuple></presence>"
    )
}

fn notify(
    world: &mut World,
    subscribe: &entente_sip_core::draft::Draft,
    cseq: u32,
    state: &str,
    document: &str,
) {
    let local = subscribe.get(HeaderName::From).unwrap();
    let call_id = subscribe.get(HeaderName::CallId).unwrap();
    let text = format!(
        "NOTIFY sip:alice@sip.siena.example:5061 SIP/2.0
         Via: SIP/2.0/TLS edge.florence.example;branch=z9hG4bKn{cseq}
         Max-Forwards: 70
         From: <sip:bob@florence.example>;tag=peer
         To: {local}
         Call-ID: {call_id}
         CSeq: {cseq} NOTIFY
         Contact: <sip:edge.florence.example:5061;transport=tls>
         Event: presence
         Subscription-State: {state}
         Content-Type: application/pidf+xml\n\n{document}"
    );
    let id = world.peer("lync", &text);
    assert_eq!(world.response(id).status().unwrap().code(), 200);
}
