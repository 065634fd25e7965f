//! Two such peers talk to each other.

use std::net::SocketAddr;

use super::{Document, MicrosoftPeer, Settings, Shown};
use crate::harness::{Authority, Folder, SIP_TLS_PORT};
use crate::sip::address;

/// At two addresses from `first` on.
async fn pair(first: u8) -> (MicrosoftPeer, MicrosoftPeer, Folder) {
    let folder = Folder::new(&format!("sip-microsoft-{first}"));
    let authority = Authority::new(&folder.path().join("ca"));
    let at = |last| SocketAddr::new(address(last), SIP_TLS_PORT);
    let settings = |domain, own, other, target_name| Settings {
        domain,
        address: at(own),
        targets: vec![at(other)],
        target_name,
        strict: false,
    };
    let one = settings("one.example", first, first + 1, "two.example");
    let two = settings("two.example", first + 1, first, "one.example");
    let (one, two) = (
        MicrosoftPeer::start(one, &authority).await,
        MicrosoftPeer::start(two, &authority).await,
    );
    (one, two, folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_scripted_peers_talk() {
    let (one, two, _folder) = pair(60).await;
    assert_eq!(one.probe("two.example").await.status(), Some(200));
    let (ann, bob) = (one.user("ann"), two.user("bob"));
    let session = one.invite(&ann, &bob, "hello").await.unwrap();
    let other = two.expect_session(&bob).await;
    assert_eq!(other.expect_text().await, "hello");
    assert_eq!(other.say("hello back").await.status(), Some(200));
    assert_eq!(session.expect_text().await, "hello back");
    session.typing(true).await;
    assert!(other.expect("INFO").await.body_text().contains("\"type\""));
    let faults = [one.faults(), two.faults()].concat();
    assert!(faults.is_empty(), "{faults:#?}");
    two.forget_routes();
    let refused = session.say("lost").await;
    assert_eq!(refused.status(), Some(504), "{refused}");
    assert!(
        refused
            .header("ms-diagnostics")
            .unwrap()
            .starts_with("1004;")
    );
    assert_eq!(session.say("ended").await.status(), Some(481));
    // Connections break, sessions do not.
    let session = one.invite(&ann, &bob, "again").await.unwrap();
    one.hang_up().await;
    session.bye().await;
    assert_eq!(two.accepted(), 2);
    two.plan(
        "INVITE",
        480,
        "Temporarily Unavailable",
        &[("ms-diagnostics", "15030;reason=\"away\"")],
    );
    let refused = one.invite(&ann, &bob, "nobody there").await.err().unwrap();
    assert_eq!(refused.status(), Some(480), "{refused}");
    two.throttle(Some(1));
    assert_eq!(one.probe("two.example").await.status(), Some(200));
    let refused = one.probe("two.example").await;
    assert_eq!(refused.status(), Some(503), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_scripted_peers_watch() {
    let (one, two, _folder) = pair(62).await;
    let (ann, bob) = (one.user("ann"), two.user("bob"));
    two.show(&bob, Shown::Busy).await;
    let watch = one.watch(&ann, &bob, 7200).await.unwrap();
    assert_eq!(
        watch.expect(Shown::Busy).await.activity.as_deref(),
        Some("busy")
    );
    two.show(&bob, Shown::Away).await;
    watch.expect(Shown::Away).await;
    two.show_without_answer(&bob, Shown::Available).await;
    let benotify = one
        .expect("BENOTIFY", |request| request.is("BENOTIFY"))
        .await;
    assert_eq!(
        Document::read(&benotify.body_text()).shown(),
        Shown::Available
    );
    assert_eq!(two.watchers(&bob).join(" "), ann);
    let refreshed = watch.subscribe(3600).await;
    assert_eq!(refreshed.header("expires"), Some("3600"), "{refreshed}");
    watch.expect(Shown::Available).await;
    assert_eq!(watch.subscribe(0).await.status(), Some(200));
    let (last, _) = watch.next().await;
    assert!(
        last.header("subscription-state")
            .unwrap()
            .starts_with("terminated"),
        "{last}"
    );
    let watch = one.watch(&ann, &bob, 600).await.unwrap();
    watch.expect(Shown::Available).await;
    two.end_watching(&bob, "deactivated").await;
    watch.expect(Shown::Offline).await;
    let watch = one.watch(&ann, &bob, 600).await.unwrap();
    watch.expect(Shown::Available).await;
    two.forget_dialogs();
    assert_eq!(watch.subscribe(600).await.status(), Some(481));
    let faults = [one.faults(), two.faults()].concat();
    assert!(faults.is_empty(), "{faults:#?}");
}
