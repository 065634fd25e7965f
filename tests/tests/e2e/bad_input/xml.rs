//! Streams that break the rules of XML, of streams, or of stanzas.

use std::sync::Arc;

use entente_load::{Client, ClientError};

use super::DOMAIN;
use crate::harness::{CLIENT_PORT, Cluster, Got, PATIENCE, PEER_PORT, Wire, client_tls};
use crate::single::login::header;

fn deep(levels: usize) -> String {
    "<x>".repeat(levels)
}

pub async fn before_the_header(fixture: Arc<Cluster>) {
    let good = header(DOMAIN);
    let table: &[(&str, String, &[&str])] = &[
        (
            "text",
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n".into(),
            &["not-well-formed", "bad-format"],
        ),
        (
            "DOCTYPE",
            format!("<!DOCTYPE a [<!ENTITY b 'c'>]>{good}"),
            &["restricted-xml"],
        ),
        ("comment", format!("<!-- a -->{good}"), &["restricted-xml"]),
        (
            "processing instruction",
            format!("<?php a ?>{good}"),
            &["restricted-xml", "not-well-formed"],
        ),
        (
            "other root",
            "<html xmlns='http://www.w3.org/1999/xhtml'>".into(),
            &["bad-format", "invalid-namespace", "bad-namespace-prefix"],
        ),
        (
            "stream namespace",
            good.replace("http://etherx.jabber.org/streams", "urn:other"),
            &["invalid-namespace"],
        ),
        (
            "content namespace",
            good.replace("jabber:client", "jabber:other"),
            &["invalid-namespace"],
        ),
        (
            "servers' namespace",
            good.replace("jabber:client", "jabber:server"),
            &["invalid-namespace"],
        ),
        (
            "no such version",
            good.replace("version='1.0'?>", "version='1.0' encoding='latin-1'?>"),
            &["unsupported-encoding", "restricted-xml", "not-well-formed"],
        ),
        (
            "prefix not declared",
            good.replace("<stream:stream", "<other:stream"),
            &[
                "not-well-formed",
                "bad-namespace-prefix",
                "invalid-namespace",
            ],
        ),
        (
            "attribute twice",
            good.replace(" version='1.0' xmlns", " to='x' version='1.0' xmlns"),
            &["not-well-formed"],
        ),
        (
            "two NULs",
            format!("\0\0{good}"),
            &["not-well-formed", "bad-format", "invalid-xml"],
        ),
    ];
    for (what, bytes, conditions) in table {
        eprintln!("     {what}");
        let mut wire = Wire::connect(fixture.first().socket(CLIENT_PORT)).await;
        wire.send(bytes).await;
        wire.ends_with(conditions).await;
    }
}

pub async fn before_authentication(fixture: Arc<Cluster>) {
    let table: &[(&str, Vec<u8>, &[&str])] = &[
        (
            "tags that do not match",
            b"<a><b></a>".into(),
            &["not-well-formed"],
        ),
        ("DOCTYPE", b"<!DOCTYPE a>".into(), &["restricted-xml"]),
        ("comment", b"<!-- a -->".into(), &["restricted-xml"]),
        (
            "processing instruction",
            b"<?a b?>".into(),
            &["restricted-xml"],
        ),
        (
            "entity",
            b"<a>&lol;</a>".into(),
            &["restricted-xml", "not-well-formed"],
        ),
        (
            "not UTF-8",
            b"<a>\xff\xfe</a>".into(),
            &[
                "not-well-formed",
                "unsupported-encoding",
                "invalid-xml",
                "bad-format",
            ],
        ),
        (
            "control character",
            b"<a>\x01</a>".into(),
            &["not-well-formed", "restricted-xml", "invalid-xml"],
        ),
        (
            "text between stanzas",
            b"hello".into(),
            &["not-well-formed", "bad-format", "invalid-xml"],
        ),
        ("deep", deep(2000).into(), &["policy-violation"]),
        (
            "large",
            [b"<a>".to_vec(), vec![b'x'; 300_000]].concat(),
            &["policy-violation"],
        ),
        (
            "large attribute",
            [b"<a b='".to_vec(), vec![b'x'; 300_000]].concat(),
            &["policy-violation"],
        ),
        (
            "attribute twice",
            b"<a b='1' b='2'/>".into(),
            &["not-well-formed"],
        ),
        (
            "a stanza",
            b"<message to='a@b'/>".into(),
            &["not-authorized"],
        ),
    ];
    for (what, bytes, conditions) in table {
        eprintln!("     {what}");
        let mut wire = Wire::connect(fixture.first().socket(CLIENT_PORT)).await;
        wire.open(&header(DOMAIN)).await;
        wire.send(bytes).await;
        wire.ends_with(conditions).await;
    }
}

pub async fn after_authentication(fixture: Arc<Cluster>) {
    let login = fixture.user("vandal").await;
    let large = format!(
        "<message to='bystander@{DOMAIN}'><body>{}</body></message>",
        "x".repeat(300_000)
    );
    let many: String = (0..5000).map(|n| format!(" a{n}=''")).collect();
    let nested = format!("<message to='bystander@{DOMAIN}'>{}", deep(3000));
    let table: &[(&str, &str, &[&str])] = &[
        (
            "tags that do not match",
            "<message><body></message>",
            &["not-well-formed"],
        ),
        ("DOCTYPE", "<!DOCTYPE a>", &["restricted-xml"]),
        (
            "comment inside",
            "<message><!-- a --></message>",
            &["restricted-xml"],
        ),
        ("large", &large, &["policy-violation"]),
        ("deep", &nested, &["policy-violation"]),
        (
            "many attributes",
            &format!("<message{many}/>"),
            &["policy-violation"],
        ),
        ("no stanza", "<letter/>", &["unsupported-stanza-type"]),
        (
            "servers' namespace",
            "<message xmlns='jabber:server'/>",
            &["invalid-namespace", "unsupported-stanza-type"],
        ),
        (
            "prefix not declared",
            "<message><a:b/></message>",
            &["not-well-formed"],
        ),
        (
            "a second header",
            &header(DOMAIN),
            &[
                "not-well-formed",
                "bad-format",
                "unsupported-stanza-type",
                "invalid-xml",
                "restricted-xml",
            ],
        ),
    ];
    for (what, bytes, conditions) in table {
        eprintln!("     {what}");
        let mut client = fixture.session(&login).await;
        client.send_bytes(bytes.as_bytes()).await.ok();
        match client.expect(PATIENCE, |_| false).await {
            Err(ClientError::StreamError(error)) => {
                assert!(
                    conditions
                        .iter()
                        .any(|condition| error.contains(&format!("<{condition}"))),
                    "{what}: {error}"
                );
            }
            other => panic!("{what}: {other:?}"),
        }
    }
}

pub async fn stanzas_that_only_bounce(fixture: Arc<Cluster>) {
    let login = fixture.user("clumsy").await;
    let mut client = fixture.session(&login).await;
    let table = [
        (
            "<message to='@' id='b1'><body>x</body></message>",
            "jid-malformed",
        ),
        ("<message to='a@b@c' id='b2'/>", "jid-malformed"),
        (
            "<iq type='get' to='x y' id='b3'><a xmlns='b'/></iq>",
            "jid-malformed",
        ),
        ("<iq type='odd' id='b4'><a xmlns='b'/></iq>", "bad-request"),
        ("<iq type='get' id='b5'/>", "bad-request"),
        (
            "<iq type='get' id='b6'><a xmlns='b'/><c xmlns='d'/></iq>",
            "bad-request",
        ),
        ("<presence type='odd' id='b7'/>", "bad-request"),
    ];
    for (stanza, condition) in table {
        client.send(stanza).await.unwrap();
        let id = stanza
            .split("id='")
            .nth(1)
            .unwrap()
            .split('\'')
            .next()
            .unwrap();
        let answer = client
            .expect(PATIENCE, |s| s.raw_attr("id") == Some(id))
            .await;
        let answer = answer.unwrap_or_else(|error| panic!("{stanza}: {error}"));
        assert!(
            answer.raw_attr("type") == Some("error") && answer.contains(&format!("<{condition}")),
            "{stanza}: {answer}"
        );
    }
    client
        .iq("get", "", "<ping xmlns='urn:xmpp:ping'/>", PATIENCE)
        .await
        .unwrap();
}

/// STARTTLS injection: what came in plain text after `<starttls/>` is not heard under TLS.
pub async fn nothing_before_starttls_survives_it(fixture: Arc<Cluster>) {
    let mut wire = Wire::connect(fixture.first().socket(CLIENT_PORT)).await;
    wire.open(&header(DOMAIN)).await;
    let injected = format!(
        "{}<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>",
        header(DOMAIN)
    );
    wire.send(format!(
        "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>{injected}"
    ))
    .await;
    match wire.next().await {
        Got::Element(answer) if answer.is("proceed") => {
            let Ok(mut wire) = wire
                .tls(client_tls(rustls::ALL_VERSIONS, None), DOMAIN)
                .await
            else {
                // The stream went with it: as good.
                return;
            };
            // Were the injected header heard, its answer would come before ours.
            let (_, features) = wire.open(&header(DOMAIN)).await;
            assert!(features.contains("<mechanism"), "{features}");
            assert!(!features.contains("<starttls"), "{features}");
            wire.send("</stream:stream>").await;
            assert!(
                matches!(wire.next().await, Got::Footer),
                "something injected was heard"
            );
        }
        Got::Element(answer) => assert!(answer.is("failure") || answer.is("error"), "{answer}"),
        Got::End => {}
        other => panic!("{other:?}"),
    }
}

pub async fn large_header_without_end(fixture: Arc<Cluster>) {
    let mut wire = Wire::connect(fixture.first().socket(CLIENT_PORT)).await;
    wire.send(format!("<stream:stream to='{}", "x".repeat(200_000)))
        .await;
    wire.ends_with(&["policy-violation"]).await;
}

pub async fn federation_streams(fixture: Arc<Cluster>) {
    let good = format!(
        "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
         xmlns:db='jabber:server:dialback' from='peer.example' to='{DOMAIN}' version='1.0'>"
    );
    let table: &[(&str, String, &[&str])] = &[
        (
            "text",
            "EHLO x\r\n".into(),
            &["not-well-formed", "bad-format"],
        ),
        (
            "DOCTYPE",
            format!("<!DOCTYPE a>{good}"),
            &["restricted-xml"],
        ),
        (
            "unknown host",
            good.replace(DOMAIN, "elsewhere.example"),
            &["host-unknown"],
        ),
        (
            "clients' namespace",
            good.replace("jabber:server'", "jabber:client'"),
            &["invalid-namespace"],
        ),
        (
            "not an address",
            good.replace("'peer.example'", "'@'"),
            &["improper-addressing", "invalid-from", "bad-format"],
        ),
        (
            "deep",
            format!("{good}{}", deep(2000)),
            &["policy-violation"],
        ),
        (
            "large",
            format!("{good}<a>{}", "x".repeat(600_000)),
            &["policy-violation"],
        ),
        (
            "a stanza before authentication",
            format!("{good}<message from='a@peer.example' to='bystander@{DOMAIN}'/>"),
            &["not-authorized"],
        ),
    ];
    for (what, bytes, conditions) in table {
        eprintln!("     federation, {what}");
        let mut wire = Wire::connect(fixture.first().socket(PEER_PORT)).await;
        wire.send(bytes).await;
        // Features may come before.
        loop {
            match wire.next().await {
                Got::Header(_) => {}
                Got::Element(element) if element.is("features") => {}
                Got::Element(element) if element.is("error") => {
                    assert!(
                        conditions
                            .iter()
                            .any(|condition| element.contains(&format!("<{condition}"))),
                        "{what}: {element}"
                    );
                    break;
                }
                other => panic!("{what}: {other:?}"),
            }
        }
        wire.closes().await;
    }
    let endpoint = fixture.first().clients();
    Client::connect(&endpoint, DOMAIN)
        .await
        .unwrap()
        .close()
        .await;
}
