//! Messages: RFC 6121 section 8, offline, carbons, blocking, stream management.

use std::sync::Arc;

use bytes::Bytes;
use entente_load::Client;

use super::presence::{befriend, presence};
use crate::harness::{Cluster, PATIENCE, SILENCE};

fn chat(to: &str, id: &str) -> String {
    format!("<message to='{to}' type='chat' id='{id}'><body>text of {id}</body></message>")
}

fn has_id(id: &'static str) -> impl Fn(&entente_load::Stanza) -> bool {
    move |s| s.is("message") && s.raw_attr("id") == Some(id)
}

pub async fn bare_and_full(fixture: Arc<Cluster>) {
    let (a, b) = (fixture.user("sender").await, fixture.user("reader").await);
    let mut sender = fixture.online(&a).await;
    let mut desk = fixture.online(&b.clone().with_resource("desk")).await;
    let mut phone = fixture.online(&b.clone().with_resource("phone")).await;
    sender.send(chat(phone.jid(), "full")).await.unwrap();
    let got = phone.expect(PATIENCE, has_id("full")).await.unwrap();
    assert_eq!(got.attr("from").as_deref(), Some(sender.jid()));
    assert_eq!(got.attr("to").as_deref(), Some(phone.jid()));
    assert_eq!(got.text_of("body").as_deref(), Some("text of full"));
    sender.send(chat(&b.bare(), "bare")).await.unwrap();
    for client in [&mut desk, &mut phone] {
        client.expect(PATIENCE, has_id("bare")).await.unwrap();
    }
    let copied = desk.never(SILENCE, has_id("full")).await.unwrap();
    assert!(copied.is_none(), "{copied:?}");
    // Somebody who is not there any more: type chat goes to the bare address (section 8.5.3.2.1).
    sender
        .send(chat(&format!("{}/gone", b.bare()), "moved"))
        .await
        .unwrap();
    desk.expect(PATIENCE, has_id("moved")).await.unwrap();
    // A type error is never answered, a headline to nobody vanishes.
    sender
        .send(format!(
            "<message to='{}/gone' type='headline' id='news'><body>x</body></message>",
            b.bare()
        ))
        .await
        .unwrap();
    sender.send(chat(desk.jid(), "after")).await.unwrap();
    desk.expect(PATIENCE, has_id("after")).await.unwrap();
    assert!(
        sender
            .never(SILENCE, has_id("news"))
            .await
            .unwrap()
            .is_none()
    );
}

pub async fn in_order(fixture: Arc<Cluster>) {
    let (a, b) = (fixture.user("fast").await, fixture.user("slow").await);
    let mut sender = fixture.online(&a).await;
    let mut reader = fixture.online(&b).await;
    for n in 0..500 {
        sender.queue(&chat(reader.jid(), &n.to_string()));
    }
    sender.flush().await.unwrap();
    for n in 0..500 {
        let got = reader.expect(PATIENCE, |s| s.is("message")).await.unwrap();
        assert_eq!(got.raw_attr("id"), Some(n.to_string().as_str()));
    }
}

pub async fn unknown_user_is_unavailable(fixture: Arc<Cluster>) {
    let mut sender = fixture.online(&fixture.user("lost").await).await;
    sender
        .send(chat(&format!("nobody@{}", fixture.domain), "n"))
        .await
        .unwrap();
    let bounced = sender.expect(PATIENCE, has_id("n")).await.unwrap();
    assert_eq!(bounced.raw_attr("type"), Some("error"), "{bounced}");
    assert!(bounced.contains("<service-unavailable"), "{bounced}");
    assert_eq!(
        bounced.attr("from").as_deref(),
        Some(format!("nobody@{}", fixture.domain).as_str())
    );
}

pub async fn offline_with_delay(fixture: Arc<Cluster>) {
    let (a, b) = (fixture.user("early").await, fixture.user("late").await);
    let mut sender = fixture.online(&a).await;
    sender.enable_sm(false).await.unwrap();
    for n in 0..3_u64 {
        sender.queue_stanza(Bytes::from(chat(&b.bare(), &format!("off{n}"))), n);
    }
    until_acked(&mut sender).await;
    // A negative priority asks for nothing (section 8.5.2.1.1 and 10 of XEP-0160).
    let mut reader = fixture.session(&b).await;
    reader
        .send("<presence><priority>-1</priority></presence>")
        .await
        .unwrap();
    assert!(
        reader
            .never(SILENCE, |s| s.is("message"))
            .await
            .unwrap()
            .is_none()
    );
    reader.send("<presence/>").await.unwrap();
    for n in 0..3 {
        let got = reader.expect(PATIENCE, |s| s.is("message")).await.unwrap();
        assert_eq!(got.raw_attr("id"), Some(format!("off{n}").as_str()));
        let delay = got
            .find("delay")
            .unwrap_or_else(|| panic!("no delay in {got}"));
        assert!(got.contains("urn:xmpp:delay"), "{got}");
        assert!(
            delay
                .attr("stamp")
                .is_some_and(|stamp| stamp.starts_with("20") && stamp.ends_with('Z')),
            "{got}"
        );
    }
    reader.close().await;
    let mut reader = fixture.online(&b).await;
    let again = reader.never(SILENCE, |s| s.is("message")).await.unwrap();
    assert!(again.is_none(), "{again:?}");
}

/// Waits until everything sent is acked.
pub async fn until_acked(client: &mut Client) {
    let all = async {
        while client.unacked() > 0 {
            client.ask_for_ack();
            client.fill().await.unwrap();
            while client.pop().unwrap().is_some() {}
        }
    };
    crate::harness::within("acks for everything", PATIENCE, all).await;
}

/// Receipts of what came before `<enable/>` must not count in `h`.
pub async fn acks_begin_amid_stanzas(fixture: Arc<Cluster>) {
    let (a, b) = (fixture.user("midway").await, fixture.user("target").await);
    let mut reader = fixture.online(&b).await;
    let mut sender = fixture.online(&a).await;
    for n in 0..50 {
        sender.queue(&chat(reader.jid(), &format!("before{n}")));
    }
    sender.enable_sm(false).await.unwrap();
    for n in 0..50 {
        sender.queue_stanza(Bytes::from(chat(reader.jid(), &format!("after{n}"))), n);
    }
    until_acked(&mut sender).await;
    for n in 0..50 {
        reader
            .expect(PATIENCE, |s| {
                s.raw_attr("id") == Some(format!("after{n}").as_str())
            })
            .await
            .unwrap();
    }
}

pub async fn priorities(fixture: Arc<Cluster>) {
    let (a, b) = (fixture.user("caller").await, fixture.user("callee").await);
    let mut sender = fixture.online(&a).await;
    let mut on = fixture.online(&b).await;
    let mut off = fixture.session(&b).await;
    off.send("<presence><priority>-5</priority></presence>")
        .await
        .unwrap();
    off.expect(PATIENCE, |s| s.is("presence")).await.unwrap();
    sender.send(chat(&b.bare(), "p")).await.unwrap();
    on.expect(PATIENCE, has_id("p")).await.unwrap();
    assert!(off.never(SILENCE, has_id("p")).await.unwrap().is_none());
    sender.send(chat(off.jid(), "direct")).await.unwrap();
    off.expect(PATIENCE, has_id("direct")).await.unwrap();
}

/// XEP-0280.
pub async fn carbons(fixture: Arc<Cluster>) {
    let (a, b) = (fixture.user("writer").await, fixture.user("friend").await);
    let mut one = fixture.online(&a.clone().with_resource("one")).await;
    let mut two = fixture.online(&a.clone().with_resource("two")).await;
    let mut friend = fixture.online(&b).await;
    let on = two
        .iq("set", "", "<enable xmlns='urn:xmpp:carbons:2'/>", PATIENCE)
        .await
        .unwrap();
    assert_eq!(on.raw_attr("type"), Some("result"), "{on}");
    one.send(chat(friend.jid(), "out")).await.unwrap();
    let copy = two
        .expect(PATIENCE, |s| s.is("message") && s.contains("<sent"))
        .await
        .unwrap();
    assert_eq!(
        copy.attr("from").as_deref(),
        Some(a.bare().as_str()),
        "{copy}"
    );
    assert!(
        copy.contains("urn:xmpp:forward:0") && copy.contains("text of out"),
        "{copy}"
    );
    let at = one.jid().to_owned();
    friend.expect(PATIENCE, has_id("out")).await.unwrap();
    friend.send(chat(&at, "in")).await.unwrap();
    one.expect(PATIENCE, has_id("in")).await.unwrap();
    let copy = two
        .expect(PATIENCE, |s| s.is("message") && s.contains("<received"))
        .await
        .unwrap();
    assert!(copy.contains("text of in"), "{copy}");
    let private = "<message to='TO' type='chat' id='secret'><body>s</body><private xmlns='urn:xmpp:carbons:2'/></message>";
    friend.send(private.replace("TO", &at)).await.unwrap();
    let got = one.expect(PATIENCE, has_id("secret")).await.unwrap();
    assert!(got.contains("<body>s</body>"), "{got}");
    let off = two
        .iq("set", "", "<disable xmlns='urn:xmpp:carbons:2'/>", PATIENCE)
        .await
        .unwrap();
    assert_eq!(off.raw_attr("type"), Some("result"), "{off}");
    friend.send(chat(&at, "in2")).await.unwrap();
    one.expect(PATIENCE, has_id("in2")).await.unwrap();
    let copy = two
        .never(SILENCE, |s| s.contains("secret") || s.contains("in2"))
        .await
        .unwrap();
    assert!(copy.is_none(), "{copy:?}");
}

/// XEP-0191.
pub async fn blocking(fixture: Arc<Cluster>) {
    let (a, b) = (fixture.user("blocker").await, fixture.user("blocked").await);
    let mut one = fixture.online(&a).await;
    let mut two = fixture.online(&b).await;
    befriend(&mut one, &mut two).await;
    let block = format!(
        "<block xmlns='urn:xmpp:blocking'><item jid='{}'/></block>",
        b.bare()
    );
    let answer = one.iq("set", "", &block, PATIENCE).await.unwrap();
    assert_eq!(answer.raw_attr("type"), Some("result"), "{answer}");
    // To the blocked one the other looks gone.
    two.expect(PATIENCE, |s| presence(s, Some("unavailable"), &a.bare()))
        .await
        .unwrap();
    two.send(chat(&a.bare(), "through")).await.unwrap();
    let bounced = two.expect(PATIENCE, has_id("through")).await.unwrap();
    assert!(
        bounced.raw_attr("type") == Some("error") && bounced.contains("<service-unavailable"),
        "{bounced}"
    );
    one.send(chat(&b.bare(), "own")).await.unwrap();
    let refused = one.expect(PATIENCE, has_id("own")).await.unwrap();
    assert!(
        refused.contains("<not-acceptable") && refused.contains("urn:xmpp:blocking:errors"),
        "{refused}"
    );
    let list = one
        .iq(
            "get",
            "",
            "<blocklist xmlns='urn:xmpp:blocking'/>",
            PATIENCE,
        )
        .await
        .unwrap();
    assert!(list.contains(&b.bare()), "{list}");
    one.iq("set", "", "<unblock xmlns='urn:xmpp:blocking'/>", PATIENCE)
        .await
        .unwrap();
    two.expect(PATIENCE, |s| presence(s, None, &a.bare()))
        .await
        .unwrap();
    two.send(chat(&a.bare(), "again")).await.unwrap();
    one.expect(PATIENCE, has_id("again")).await.unwrap();
    assert!(
        one.never(SILENCE, has_id("through"))
            .await
            .unwrap()
            .is_none()
    );
}

/// XEP-0198: a cut connection, messages meanwhile, a new connection: all there, once.
pub async fn resumed_after_a_cut(fixture: Arc<Cluster>) {
    let (a, b) = (fixture.user("steady").await, fixture.user("mobile").await);
    let mut sender = fixture.online(&a).await;
    let mut reader = fixture.online(&b).await;
    befriend(&mut sender, &mut reader).await;
    reader.enable_sm(true).await.unwrap();
    let jid = reader.jid().to_owned();
    sender.send(chat(&jid, "before")).await.unwrap();
    reader.expect(PATIENCE, has_id("before")).await.unwrap();
    let state = reader.into_resume_state().unwrap();
    for n in 0..20 {
        sender.queue(&chat(&jid, &format!("cut{n}")));
    }
    sender.flush().await.unwrap();
    let mut reader = Client::connect(&fixture.first().clients(), fixture.domain)
        .await
        .unwrap();
    reader.authenticate(&b, None).await.unwrap();
    assert!(reader.resume(state).await.unwrap().is_none(), "not resumed");
    assert_eq!(reader.jid(), jid);
    for n in 0..20 {
        let got = reader.expect(PATIENCE, |s| s.is("message")).await.unwrap();
        assert_eq!(got.raw_attr("id"), Some(format!("cut{n}").as_str()));
    }
    // Nobody saw it go.
    let seen = sender
        .never(SILENCE, |s| presence(s, Some("unavailable"), &jid))
        .await
        .unwrap();
    assert!(seen.is_none(), "{seen:?}");
    sender.send(chat(&jid, "after")).await.unwrap();
    let got = reader.expect(PATIENCE, |s| s.is("message")).await.unwrap();
    assert_eq!(got.raw_attr("id"), Some("after"));
    // The same stream can't be taken twice, nor by another user.
    let mut thief = Client::connect(&fixture.first().clients(), fixture.domain)
        .await
        .unwrap();
    thief.authenticate(&a, None).await.unwrap();
    let state = reader.into_resume_state().unwrap();
    assert!(
        thief.resume(state).await.unwrap().is_some(),
        "somebody else's stream was resumed"
    );
}

/// A client that does not come back: what it had not acked goes to another session or offline.
pub async fn unacked_when_not_resumed_is_not_lost(fixture: Arc<Cluster>) {
    let (a, b) = (fixture.user("patient").await, fixture.user("flaky").await);
    let mut sender = fixture.online(&a).await;
    let mut reader = fixture.online(&b).await;
    // Without resumption the stream's end is the session's end.
    reader.enable_sm(false).await.unwrap();
    let jid = reader.jid().to_owned();
    reader.set_automatic_answers(false);
    sender.send(chat(&jid, "unseen")).await.unwrap();
    reader.expect(PATIENCE, has_id("unseen")).await.unwrap();
    drop(reader);
    let mut reader = fixture.online(&b).await;
    let got = reader.expect(PATIENCE, has_id("unseen")).await.unwrap();
    assert!(got.contains("urn:xmpp:delay"), "{got}");
}

pub async fn spoofed_from_is_refused(fixture: Arc<Cluster>) {
    let (a, b) = (fixture.user("honest").await, fixture.user("liar").await);
    let mut honest = fixture.online(&a).await;
    let mut liar = fixture.online(&b).await;
    let forged = format!(
        "<message from='pope@{}' to='{}' id='lie'><body>x</body></message>",
        fixture.domain,
        a.bare()
    );
    liar.send(forged).await.unwrap();
    // RFC 6120 section 8.1.2.1: invalid-from, as a stream error or an error stanza.
    match liar.expect(PATIENCE, has_id("lie")).await {
        Err(entente_load::ClientError::StreamError(error)) => {
            assert!(error.contains("<invalid-from"), "{error}")
        }
        Ok(bounced) => assert_eq!(bounced.raw_attr("type"), Some("error"), "{bounced}"),
        other => panic!("{other:?}"),
    }
    assert!(
        honest
            .never(SILENCE, has_id("lie"))
            .await
            .unwrap()
            .is_none()
    );
    // The own address is no lie.
    let mut liar = fixture.online(&b).await;
    liar.send(format!(
        "<message from='{}' to='{}' id='true'><body>x</body></message>",
        b.bare(),
        a.bare()
    ))
    .await
    .unwrap();
    let got = honest.expect(PATIENCE, has_id("true")).await.unwrap();
    assert_eq!(got.attr("from").as_deref(), Some(liar.jid()), "{got}");
}
