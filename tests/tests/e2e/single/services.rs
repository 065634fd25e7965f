//! What the server answers in its own or its users' name.

use std::sync::Arc;

use super::{DOMAIN, presence::befriend};
use crate::harness::{Cluster, PATIENCE};

pub async fn disco(fixture: Arc<Cluster>) {
    let login = fixture.user("explorer").await;
    let mut client = fixture.session(&login).await;
    let info = client
        .iq(
            "get",
            DOMAIN,
            "<query xmlns='http://jabber.org/protocol/disco#info'/>",
            PATIENCE,
        )
        .await
        .unwrap();
    assert_eq!(info.raw_attr("type"), Some("result"), "{info}");
    for wanted in [
        "category='server'",
        "type='im'",
        "http://jabber.org/protocol/disco#info",
        "urn:xmpp:ping",
        "urn:xmpp:carbons:2",
        "urn:xmpp:blocking",
        "jabber:iq:version",
        "urn:xmpp:time",
        "msgoffline",
    ] {
        assert!(
            info.contains(wanted) || info.contains(&wanted.replace('\'', "\"")),
            "{wanted} is missing: {info}"
        );
    }
    let items = client
        .iq(
            "get",
            DOMAIN,
            "<query xmlns='http://jabber.org/protocol/disco#items'/>",
            PATIENCE,
        )
        .await
        .unwrap();
    assert_eq!(items.raw_attr("type"), Some("result"), "{items}");
    let own = client
        .iq(
            "get",
            &login.bare(),
            "<query xmlns='http://jabber.org/protocol/disco#info'/>",
            PATIENCE,
        )
        .await
        .unwrap();
    assert!(own.contains("account"), "{own}");
}

pub async fn ping_time_version(fixture: Arc<Cluster>) {
    let mut client = fixture.session(&fixture.user("pinger").await).await;
    let answer = client
        .iq("get", DOMAIN, "<ping xmlns='urn:xmpp:ping'/>", PATIENCE)
        .await
        .unwrap();
    assert_eq!(answer.raw_attr("type"), Some("result"), "{answer}");
    let answer = client
        .iq("get", "", "<ping xmlns='urn:xmpp:ping'/>", PATIENCE)
        .await
        .unwrap();
    assert_eq!(answer.raw_attr("type"), Some("result"), "{answer}");
    let time = client
        .iq("get", DOMAIN, "<time xmlns='urn:xmpp:time'/>", PATIENCE)
        .await
        .unwrap();
    assert!(
        time.text_of("utc").is_some_and(|utc| utc.ends_with('Z')) && time.text_of("tzo").is_some(),
        "{time}"
    );
    let version = client
        .iq(
            "get",
            DOMAIN,
            "<query xmlns='jabber:iq:version'/>",
            PATIENCE,
        )
        .await
        .unwrap();
    assert_eq!(
        version.text_of("name").as_deref(),
        Some("Entente"),
        "{version}"
    );
}

/// XEP-0012.
pub async fn last_activity(fixture: Arc<Cluster>) {
    let (a, b) = (fixture.user("asking").await, fixture.user("resting").await);
    let mut client = fixture.online(&a).await;
    let uptime = client
        .iq("get", DOMAIN, "<query xmlns='jabber:iq:last'/>", PATIENCE)
        .await
        .unwrap();
    assert!(
        uptime.find("query").unwrap().attr("seconds").is_some(),
        "{uptime}"
    );
    let mut friend = fixture.online(&b).await;
    let stranger = client
        .iq(
            "get",
            &b.bare(),
            "<query xmlns='jabber:iq:last'/>",
            PATIENCE,
        )
        .await
        .unwrap();
    assert_eq!(stranger.raw_attr("type"), Some("error"), "{stranger}");
    befriend(&mut client, &mut friend).await;
    friend
        .send("<presence type='unavailable'><status>gone &amp; happy</status></presence>")
        .await
        .unwrap();
    client
        .expect(PATIENCE, |s| {
            s.is("presence") && s.raw_attr("type") == Some("unavailable")
        })
        .await
        .unwrap();
    friend.close().await;
    let last = client
        .iq(
            "get",
            &b.bare(),
            "<query xmlns='jabber:iq:last'/>",
            PATIENCE,
        )
        .await
        .unwrap();
    let query = last.find("query").unwrap_or_else(|| panic!("{last}"));
    assert!(
        query
            .attr("seconds")
            .is_some_and(|seconds| seconds.parse::<u32>().is_ok_and(|n| n < 60)),
        "{last}"
    );
}

/// RFC 6120 section 8.2.3: every request gets an answer.
pub async fn unknown_requests_are_answered(fixture: Arc<Cluster>) {
    let login = fixture.user("strange").await;
    let mut client = fixture.session(&login).await;
    let nobody = format!("nobody@{DOMAIN}");
    let gone = format!("{}/gone", login.bare());
    for to in ["", DOMAIN, nobody.as_str(), gone.as_str()] {
        let answer = client
            .iq("get", to, "<query xmlns='urn:example:nonsense'/>", PATIENCE)
            .await
            .unwrap();
        assert_eq!(answer.raw_attr("type"), Some("error"), "{to}: {answer}");
        assert!(
            answer.contains("<service-unavailable") || answer.contains("<feature-not-implemented"),
            "{to}: {answer}"
        );
    }
    // No answer to an answer.
    client.send("<iq type='result' id='stray'/>").await.unwrap();
    client
        .send("<iq type='error' id='stray' to='nobody@verona.example'/>")
        .await
        .unwrap();
    client
        .iq("get", "", "<ping xmlns='urn:xmpp:ping'/>", PATIENCE)
        .await
        .unwrap();
    assert!(
        client
            .never(crate::harness::SILENCE, |s| s.raw_attr("id")
                == Some("stray"))
            .await
            .unwrap()
            .is_none()
    );
}
