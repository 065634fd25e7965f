//! With a peer that behaves like Microsoft's servers.

use std::sync::Arc;
use std::time::Instant;

use entente_load::sip::{SipText, SipWriter, token};
use entente_load::{Client, Login};

use super::microsoft::{Shown, is_to};
use super::{DOMAIN, World};
use crate::harness::{PATIENCE, SILENCE, online_at};
use crate::single::presence::presence;

async fn user(world: &World, name: &str) -> (Login, Client) {
    let login = world.cluster.user(name).await;
    // At the node to which the peer does not connect.
    let client = online_at(&world.cluster.nodes[0], &login).await;
    (login, client)
}

async fn say(client: &mut Client, to: &str, id: &str, text: &str) {
    client
        .send(format!(
            "<message to='{to}' type='chat' id='{id}'><body>{text}</body></message>"
        ))
        .await
        .unwrap();
}

async fn expect_body(client: &mut Client, from: &str, text: &str) {
    let got = client
        .expect(PATIENCE, |s| s.is("message") && s.text_of("body").is_some())
        .await
        .unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(got.text_of("body").as_deref(), Some(text), "{got}");
    let sender = got.attr("from").unwrap();
    assert_eq!(sender.split('/').next(), Some(from), "{got}");
}

pub async fn their_probe_is_answered(world: Arc<World>) {
    let answer = world.lync.probe(DOMAIN).await;
    assert_eq!(answer.status(), Some(200), "{answer}");
}

pub async fn their_session(world: Arc<World>) {
    let (login, mut ours) = user(&world, "invited").await;
    let bob = world.lync.user("bob");
    let session = world
        .lync
        .invite(&bob, &login.bare(), "Grüße, 世界 <3")
        .await
        .unwrap();
    expect_body(&mut ours, &bob, "Grüße, 世界 <3").await;
    session.typing(true).await;
    ours.expect(PATIENCE, |s| s.contains("<composing"))
        .await
        .unwrap();
    let answer = session
        .say_as(
            "text/html; charset=UTF-8",
            b"<html><body><p>in <b>HTML</b> &amp; so</p></body></html>",
        )
        .await;
    assert_eq!(answer.status(), Some(200), "{answer}");
    expect_body(&mut ours, &bob, "in HTML & so").await;
    // The answer goes in the same session.
    say(&mut ours, &bob, "a1", "one &amp; two").await;
    assert_eq!(session.expect_text().await, "one & two");
    session.bye().await;
    say(&mut ours, &bob, "a2", "three").await;
    let second = world.lync.expect_session(&bob).await;
    assert_eq!(second.expect_text().await, "three");
}

pub async fn our_session(world: Arc<World>) {
    let (_, mut ours) = user(&world, "inviter").await;
    let bill = world.lync.user("bill");
    for n in 0..5 {
        say(&mut ours, &bill, &format!("s{n}"), &format!("text {n}")).await;
    }
    let session = world.lync.expect_session(&bill).await;
    for n in 0..5 {
        assert_eq!(session.expect_text().await, format!("text {n}"));
    }
    let me = ours.jid().split('/').next().unwrap().to_owned();
    assert_eq!(session.say("and back").await.status(), Some(200));
    expect_body(&mut ours, &bill, "and back").await;
    assert!(me.ends_with(DOMAIN));
    session.bye().await;
}

pub async fn they_watch_us(world: Arc<World>) {
    let (login, mut ours) = user(&world, "shown").await;
    let ben = world.lync.user("ben");
    let watch = world.lync.watch(&ben, &login.bare(), 7200).await.unwrap();
    ours.expect(PATIENCE, |s| presence(s, Some("subscribe"), &ben))
        .await
        .unwrap();
    ours.send(format!("<presence type='subscribed' to='{ben}'/>"))
        .await
        .unwrap();
    watch.expect(Shown::Available).await;
    for (show, shown) in [
        ("dnd", Shown::Busy),
        ("xa", Shown::Away),
        ("chat", Shown::Available),
    ] {
        ours.send(format!("<presence><show>{show}</show></presence>"))
            .await
            .unwrap();
        watch.expect(shown).await;
    }
    let refreshed = watch.subscribe(7200).await;
    assert_eq!(refreshed.status(), Some(200), "{refreshed}");
    watch.expect(Shown::Available).await;
    ours.close().await;
    watch.expect(Shown::Offline).await;
    let ended = watch.subscribe(0).await;
    assert_eq!(ended.status(), Some(200), "{ended}");
    let (last, _) = watch.next().await;
    let state = last.header("subscription-state").unwrap();
    assert!(state.starts_with("terminated"), "{last}");
}

/// Until our user decides, the watcher learns nothing; after a refusal neither.
pub async fn unasked_watchers_wait(world: Arc<World>) {
    let (login, mut ours) = user(&world, "private").await;
    let ned = world.lync.user("ned");
    let watch = world.lync.watch(&ned, &login.bare(), 7200).await.unwrap();
    let (_, first) = watch.next().await;
    assert_eq!(first.shown(), Shown::Offline, "{}", first.text);
    ours.expect(PATIENCE, |s| presence(s, Some("subscribe"), &ned))
        .await
        .unwrap();
    ours.send(format!("<presence type='unsubscribed' to='{ned}'/>"))
        .await
        .unwrap();
    ours.send("<presence><show>dnd</show></presence>")
        .await
        .unwrap();
    let refreshed = watch.subscribe(7200).await;
    assert_eq!(refreshed.status(), Some(200), "polite: {refreshed}");
    let (_, after) = watch.next().await;
    assert_eq!(after.shown(), Shown::Offline, "{}", after.text);
}

pub async fn we_watch_them(world: Arc<World>) {
    let (login, mut ours) = user(&world, "curious").await;
    let bea = world.lync.user("bea");
    world.lync.show(&bea, Shown::Available).await;
    ours.send(format!("<presence type='subscribe' to='{bea}'/>"))
        .await
        .unwrap();
    ours.expect(PATIENCE, |s| presence(s, Some("subscribed"), &bea))
        .await
        .unwrap();
    ours.expect(PATIENCE, |s| {
        presence(s, None, &bea) && !s.contains("<show")
    })
    .await
    .unwrap();
    world.lync.show(&bea, Shown::Busy).await;
    // A client that is not known to be rich sees away with the words.
    let busy = ours
        .expect(PATIENCE, |s| presence(s, None, &bea) && s.contains("<show"))
        .await
        .unwrap();
    assert_eq!(busy.text_of("status").as_deref(), Some("Busy"), "{busy}");
    world.lync.show_without_answer(&bea, Shown::Away).await;
    ours.expect(PATIENCE, |s| {
        presence(s, None, &bea)
            && s.text_of("show").as_deref() == Some("away")
            && !s.contains("Busy")
    })
    .await
    .unwrap();
    world.lync.show(&bea, Shown::Offline).await;
    ours.expect(PATIENCE, |s| presence(s, Some("unavailable"), &bea))
        .await
        .unwrap();
    assert_eq!(world.lync.watchers(&bea), [login.bare()]);
    ours.send(format!("<presence type='unsubscribe' to='{bea}'/>"))
        .await
        .unwrap();
    let last = world
        .lync
        .expect("the end of the subscription", |one| {
            one.is("SUBSCRIBE") && is_to(one, &bea) && one.header("expires") == Some("0")
        })
        .await;
    assert!(last.to_tag().is_some(), "{last}");
}

pub async fn conferences_are_refused(world: Arc<World>) {
    let (login, _ours) = user(&world, "alone").await;
    let bob = world.lync.user("host");
    let invite = |more: Vec<(&'static str, String)>, kind: &'static str, body: &'static str| {
        let (login, bob) = (login.bare(), bob.clone());
        world.lync.ask(move |via| {
            let mut writer = SipWriter::new(format_args!("INVITE sip:{login} SIP/2.0"))
                .header("Via", via)
                .header("Max-Forwards", 70)
                .header("From", format_args!("<sip:{bob}>;tag={}", token()))
                .header("To", format_args!("<sip:{login}>"))
                .header("Call-ID", token())
                .header("CSeq", "1 INVITE")
                .header(
                    "Contact",
                    format_args!("<sip:{bob};opaque=user:epid:a:b;gruu>"),
                );
            for (name, value) in more {
                writer = writer.header(name, value);
            }
            writer.body(kind, body.as_bytes())
        })
    };
    let sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=session\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
               m=message 5060 sip null\r\na=accept-types:text/plain\r\n";
    let three = format!(
        "<sip:{bob}>, <sip:{}>, <sip:third@lync.example>",
        login.bare()
    );
    let refused = invite(vec![("EndPoints", three)], "application/sdp", sdp).await;
    assert_eq!(refused.status(), Some(488), "{refused}");
    let required = vec![("Require", "com.microsoft.rtc-multiparty".to_owned())];
    let refused = invite(required, "application/sdp", sdp).await;
    assert_eq!(refused.status(), Some(420), "{refused}");
    let conference = "<Conferencing version=\"2.0\"><focus-uri>sip:bob@lync.example;gruu;opaque=app:conf</focus-uri></Conferencing>";
    let refused = invite(Vec::new(), "application/ms-conf-invite+xml", conference).await;
    assert!(matches!(refused.status(), Some(488 | 415)), "{refused}");
    let audio = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=session\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 5060 RTP/AVP 0\r\n";
    let refused = invite(Vec::new(), "application/sdp", audio).await;
    assert_eq!(refused.status(), Some(488), "{refused}");
}

pub async fn unknown_types_are_refused(world: Arc<World>) {
    let (login, mut ours) = user(&world, "plain").await;
    let (bob, text) = (world.lync.user("sender"), "first");
    let session = world.lync.invite(&bob, &login.bare(), text).await.unwrap();
    let refused = session
        .say_as(
            "text/x-msmsgsinvite; charset=UTF-8",
            b"Application-Name: File Transfer\r\n",
        )
        .await;
    assert_eq!(refused.status(), Some(415), "{refused}");
    assert!(
        refused.header("accept").unwrap().contains("text/plain"),
        "{refused}"
    );
    // And the session goes on.
    assert_eq!(session.say("second").await.status(), Some(200));
    expect_body(&mut ours, &bob, text).await;
    expect_body(&mut ours, &bob, "second").await;
    // Nobody of that name.
    let nobody = format!("nobody-at-all@{DOMAIN}");
    let refused = match world.lync.invite(&bob, &nobody, "x").await {
        Ok(_) => panic!("a text to nobody was taken"),
        Err(refused) => refused,
    };
    assert!(matches!(refused.status(), Some(404 | 480)), "{refused}");
}

/// 504 with diagnostics 1004: the dialog is made anew, and the text arrives once.
pub async fn routes_that_end_are_made_anew(world: Arc<World>) {
    let (_, mut ours) = user(&world, "rerouted").await;
    let rae = world.lync.user("rae");
    say(&mut ours, &rae, "r1", "before").await;
    let session = world.lync.expect_session(&rae).await;
    assert_eq!(session.expect_text().await, "before");
    world.lync.forget_routes();
    say(&mut ours, &rae, "r2", "after").await;
    let second = world.lync.expect_session(&rae).await;
    assert_eq!(second.expect_text().await, "after");
    let bounced = ours
        .expect(SILENCE, |s| s.raw_attr("id") == Some("r2"))
        .await;
    assert!(bounced.is_err(), "{bounced:?}");
}

/// Twenty requests a second from each node: nobody is refused, nothing lost.
pub async fn no_faster_than_they_allow(world: Arc<World>) {
    let (_, mut ours) = user(&world, "hasty").await;
    let sam = world.lync.user("sam");
    world.lync.throttle(Some(45));
    let begin = Instant::now();
    for n in 0..60 {
        say(&mut ours, &sam, &format!("h{n}"), &format!("text {n}")).await;
    }
    let session = world.lync.expect_session(&sam).await;
    for n in 0..60 {
        assert_eq!(session.expect_text().await, format!("text {n}"));
    }
    world.lync.throttle(None);
    let took = begin.elapsed().as_secs_f64();
    assert!(took > 1.5, "60 texts in {took} s");
    let refused = ours
        .expect(SILENCE, |s| s.raw_attr("type") == Some("error"))
        .await;
    assert!(refused.is_err(), "{refused:?}");
}

/// The peer forgets everything and its connections break: what we watch there is watched again.
pub async fn a_peers_restart_is_noticed(world: Arc<World>) {
    let (login, mut ours) = user(&world, "patient").await;
    let pam = world.lync.user("pam");
    world.lync.show(&pam, Shown::Available).await;
    ours.send(format!("<presence type='subscribe' to='{pam}'/>"))
        .await
        .unwrap();
    ours.expect(PATIENCE, |s| presence(s, None, &pam))
        .await
        .unwrap();
    let is_ours = |one: &SipText| one.is("SUBSCRIBE") && is_to(one, &pam);
    world.lync.expect("the subscription", is_ours).await;
    world.lync.forget_dialogs();
    world.lync.hang_up().await;
    // The first that it sends shows that it is back.
    world.lync.probe(DOMAIN).await;
    // First in the old dialog, which is gone; then anew.
    let anew = world
        .lync
        .expect("a new subscription", |one| {
            is_ours(one) && one.to_tag().is_none()
        })
        .await;
    assert!(
        anew.header("from").unwrap().contains(&login.bare()),
        "{anew}"
    );
    world.lync.show(&pam, Shown::Away).await;
    ours.expect(PATIENCE, |s| presence(s, None, &pam) && s.contains("<show"))
        .await
        .unwrap();
}
