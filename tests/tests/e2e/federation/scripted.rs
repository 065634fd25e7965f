//! A peer of which the test writes every byte: what real servers do and some that none should.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use entente_load::Stanza;

use super::{CALLED, DOMAIN, MISNAMED, SCRIPTED, World};
pub use crate::harness::stream_header as header;
use crate::harness::{
    Got, Issued, PATIENCE, PEER_PORT, SILENCE, Wire, client_tls, federated, online_at,
};

pub const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";

/// A stream under TLS with this certificate; its features.
pub async fn secured(
    world: &World,
    node: usize,
    domain: &str,
    certificate: Option<&Issued>,
) -> (Wire, Stanza) {
    let mut wire = Wire::connect(world.cluster.nodes[node].socket(PEER_PORT)).await;
    // MongooseIM says `from` only under TLS.
    wire.open(&header(None, DOMAIN)).await;
    let mut wire = wire
        .starttls(client_tls(rustls::ALL_VERSIONS, certificate), DOMAIN)
        .await
        .unwrap();
    let (_, features) = wire.open(&header(Some(domain), DOMAIN)).await;
    (wire, features)
}

/// A stream authenticated by certificate.
async fn authenticated(world: &World, node: usize, domain: &str) -> Wire {
    let certificate = world
        .cluster
        .authority
        .issue(&format!("{domain}-{:x}", rand::random::<u64>()), &[domain]);
    let address = world.cluster.nodes[node].socket(PEER_PORT);
    federated(address, &certificate, domain, DOMAIN).await
}

/// What the strictest of the others demand of our headers.
pub async fn headers(world: Arc<World>) {
    let certificate = world.cluster.authority.issue("headers", &[SCRIPTED]);
    let mut wire = Wire::connect(world.cluster.nodes[0].socket(PEER_PORT)).await;
    let check = |header: &Stanza, from: bool| {
        assert!(header.as_str().starts_with("<stream:stream "), "{header}");
        assert_eq!(header.attr("from").as_deref(), Some(DOMAIN), "{header}");
        assert_eq!(header.attr("version").as_deref(), Some("1.0"), "{header}");
        assert_eq!(
            header.attr("xmlns:db").as_deref(),
            Some("jabber:server:dialback"),
            "{header}"
        );
        assert!(header.attr("id").is_some(), "{header}");
        assert!(
            header.attr("xml:lang").is_none_or(|lang| lang.len() <= 35),
            "{header}"
        );
        assert!(
            !from || header.attr("to").as_deref() == Some(SCRIPTED),
            "{header}"
        );
    };
    let (first, features) = wire.open(&header(None, DOMAIN)).await;
    check(&first, false);
    assert!(
        features.as_str().starts_with("<stream:features"),
        "{features}"
    );
    let mut wire = wire
        .starttls(client_tls(rustls::ALL_VERSIONS, Some(&certificate)), DOMAIN)
        .await
        .unwrap();
    let (second, features) = wire.open(&header(Some(SCRIPTED), DOMAIN)).await;
    check(&second, true);
    assert_ne!(first.attr("id"), second.attr("id"));
    assert!(!features.contains("<starttls"), "{features}");
    wire.send(format!(
        "<auth xmlns='{SASL}' mechanism='EXTERNAL'>=</auth>"
    ))
    .await;
    assert!(wire.next().await.element().is("success"));
    let (third, _) = wire.open(&header(Some(SCRIPTED), DOMAIN)).await;
    check(&third, true);
    // Also in an error's header.
    let mut wire = Wire::connect(world.cluster.nodes[0].socket(PEER_PORT)).await;
    wire.send(header(Some(SCRIPTED), "elsewhere.example")).await;
    let answer = wire.next().await.header();
    assert!(
        answer.attr("id").is_some() && answer.attr("version").as_deref() == Some("1.0"),
        "{answer}"
    );
    wire.ends_with(&["host-unknown"]).await;
}

/// The test's CA issues as public ones do: serverAuth only. With the authzid that old servers
/// want, with '=', and a message goes through.
pub async fn external_with_a_good_certificate(world: Arc<World>) {
    let login = world.cluster.user("certain").await;
    let mut ours = online_at(&world.cluster.nodes[1], &login).await;
    let mut wire = authenticated(&world, 0, SCRIPTED).await;
    wire.send(format!(
        "<message from='a@{SCRIPTED}/r' to='{}' type='chat' id='ext'><body>x</body></message>",
        login.bare()
    ))
    .await;
    let got = ours
        .expect(PATIENCE, |s| s.raw_attr("id") == Some("ext"))
        .await
        .unwrap();
    assert_eq!(
        got.attr("from").as_deref(),
        Some(format!("a@{SCRIPTED}/r").as_str())
    );
    // Somebody else's name with our certificate.
    let certificate = world.cluster.authority.issue("scripted-2", &[SCRIPTED]);
    let (mut wire, _) = secured(&world, 0, SCRIPTED, Some(&certificate)).await;
    wire.send(format!(
        "<auth xmlns='{SASL}' mechanism='EXTERNAL'>{}</auth>",
        STANDARD.encode("bank.example")
    ))
    .await;
    let answer = wire.next().await.element();
    assert!(answer.is("failure"), "{answer}");
}

pub async fn no_external_without_a_good_certificate(world: Arc<World>) {
    let authority = &world.cluster.authority;
    let bad = [
        ("none", None),
        (
            "unsigned",
            Some(authority.self_signed("bad-1", &[SCRIPTED])),
        ),
        (
            "another name",
            Some(authority.issue("bad-2", &["other.example"])),
        ),
        ("expired", Some(authority.expired("bad-3", &[SCRIPTED]))),
    ];
    for (what, certificate) in &bad {
        let (_, features) = secured(&world, 0, SCRIPTED, certificate.as_ref()).await;
        assert!(!features.contains("EXTERNAL"), "{what}: {features}");
        assert!(
            features.contains("urn:xmpp:features:dialback"),
            "{what}: {features}"
        );
    }
}

/// XEP-0178: dialback may follow on the same stream.
pub async fn failed_external_leaves_the_stream_open(world: Arc<World>) {
    let (mut wire, _) = secured(&world, 0, SCRIPTED, None).await;
    wire.send(format!(
        "<auth xmlns='{SASL}' mechanism='EXTERNAL'>=</auth>"
    ))
    .await;
    let answer = wire.next().await.element();
    assert!(answer.is("failure"), "{answer}");
    // Nobody listens at the scripted domain's address: the answer is an error or 'invalid', but it
    // comes, and on this stream.
    wire.send(format!(
        "<db:result from='{SCRIPTED}' to='{DOMAIN}'>0123abcd</db:result>"
    ))
    .await;
    let answer = crate::harness::within("an answer to dialback", 3 * PATIENCE, async {
        loop {
            if let Some(got) = wire.next_within(PATIENCE).await {
                return got.element();
            }
        }
    })
    .await;
    assert!(
        answer.name() == "db:result"
            && matches!(answer.raw_attr("type"), Some("error" | "invalid")),
        "{answer}"
    );
}

pub async fn no_dialback_where_a_certificate_is_required(world: Arc<World>) {
    let (mut wire, features) = secured(&world, 0, MISNAMED, None).await;
    assert!(!features.contains("EXTERNAL"), "{features}");
    wire.send(format!(
        "<db:result from='{MISNAMED}' to='{DOMAIN}'>0123abcd</db:result>"
    ))
    .await;
    match wire.next().await {
        Got::Element(answer) => {
            assert!(!answer.contains("type='valid'"), "{answer}");
            assert!(
                answer.name() == "db:result" || answer.is("error"),
                "{answer}"
            );
        }
        other => panic!("{other:?}"),
    }
}

pub async fn spoofed_from(world: Arc<World>) {
    let login = world.cluster.user("believer").await;
    let mut ours = online_at(&world.cluster.nodes[0], &login).await;
    let to = login.bare();
    for from in [
        "a@bank.example",
        "a@sub.scripted.example",
        &format!("friend@{DOMAIN}"),
    ] {
        let mut wire = authenticated(&world, 1, SCRIPTED).await;
        wire.send(format!(
            "<message from='{from}' to='{to}' id='lie'><body>x</body></message>"
        ))
        .await;
        wire.ends_with(&["invalid-from", "not-authorized"]).await;
    }
    for stanza in [
        format!("<message to='{to}' id='lie'/>"),
        format!("<message from='a@{SCRIPTED}' id='lie'/>"),
    ] {
        let mut wire = authenticated(&world, 1, SCRIPTED).await;
        wire.send(stanza).await;
        wire.ends_with(&["improper-addressing", "invalid-from"])
            .await;
    }
    assert!(
        ours.never(SILENCE, |s| s.raw_attr("id") == Some("lie"))
            .await
            .unwrap()
            .is_none()
    );
}

pub async fn stanzas_for_other_hosts(world: Arc<World>) {
    let mut wire = authenticated(&world, 0, SCRIPTED).await;
    wire.send(format!(
        "<message from='a@{SCRIPTED}' to='b@elsewhere.example' id='relay'><body>x</body></message>"
    ))
    .await;
    // Never relayed: an error of the stream or of the stanza.
    match wire.next().await {
        Got::Element(answer) if answer.is("error") => {
            let fit = [
                "host-unknown",
                "improper-addressing",
                "not-authorized",
                "invalid-from",
            ];
            assert!(
                fit.iter().any(|condition| answer.contains(condition)),
                "{answer}"
            );
        }
        Got::Element(answer) => assert_eq!(answer.raw_attr("type"), Some("error"), "{answer}"),
        other => panic!("{other:?}"),
    }
}

/// The verification of a key that one node gave comes to another (XEP-0220, XEP-0185): here the
/// key is taken from a real dialback that Entente began.
pub async fn keys_are_verified_on_any_node(world: Arc<World>) {
    let listener = tokio::net::TcpListener::bind((super::address(14), 15269))
        .await
        .unwrap();
    let certificate = world
        .cluster
        .authority
        .self_signed("called-server", &[CALLED]);
    let server = Arc::new(
        rustls::ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::ring::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificate.chain(), certificate.private_key())
        .unwrap(),
    );
    let login = world.cluster.user("dialler").await;
    let mut ours = online_at(&world.cluster.nodes[0], &login).await;
    ours.send(format!(
        "<message to='a@{CALLED}' type='chat' id='dial'><body>x</body></message>"
    ))
    .await
    .unwrap();
    let (socket, _) = tokio::time::timeout(PATIENCE, listener.accept())
        .await
        .unwrap()
        .unwrap();
    let answer = |id: &str| {
        format!(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
             xmlns:db='jabber:server:dialback' from='{CALLED}' to='{DOMAIN}' id='{id}' version='1.0'>"
        )
    };
    let mut wire = Wire::over(socket);
    let opened = wire.next().await.header();
    assert_eq!(
        (opened.attr("from").as_deref(), opened.attr("to").as_deref()),
        (Some(DOMAIN), Some(CALLED)),
        "{opened}"
    );
    assert_eq!(
        opened.attr("xmlns:db").as_deref(),
        Some("jabber:server:dialback"),
        "{opened}"
    );
    wire.send(answer("one")).await;
    wire.send("<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>").await;
    assert!(wire.next().await.element().is("starttls"));
    wire.send("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        .await;
    let mut wire = wire.accept_tls(server).await.unwrap();
    wire.next().await.header();
    wire.send(answer("two")).await;
    // As MongooseIM: no dialback feature; it is inferred from xmlns:db.
    wire.send("<stream:features/>").await;
    let result = wire.next().await.element();
    assert_eq!(result.name(), "db:result", "{result}");
    let key = result.text_of("db:result").unwrap().into_owned();
    for node in [0, 1] {
        let (mut asking, _) = secured(&world, node, CALLED, None).await;
        for (key, id, verdict) in [
            (key.as_str(), "two", "valid"),
            (&"0".repeat(64), "two", "invalid"),
            (key.as_str(), "other", "invalid"),
        ] {
            asking
                .send(format!(
                    "<db:verify from='{CALLED}' to='{DOMAIN}' id='{id}'>{key}</db:verify>"
                ))
                .await;
            let answer = asking.next().await.element();
            assert_eq!(answer.name(), "db:verify", "{answer}");
            assert_eq!(
                answer.raw_attr("type"),
                Some(verdict),
                "node {node}: {answer}"
            );
        }
    }
    wire.send(format!(
        "<db:result from='{CALLED}' to='{DOMAIN}' type='valid'/>"
    ))
    .await;
    let message = wire
        .until("the message", |s| s.raw_attr("id") == Some("dial"))
        .await;
    assert_eq!(
        message.attr("from").as_deref(),
        Some(ours.jid()),
        "{message}"
    );
    // The other's end is a normal event: what comes next opens a new stream.
    wire.send("</stream:stream>").await;
    wire.closes().await;
    ours.send(format!(
        "<message to='a@{CALLED}' type='chat' id='again'><body>x</body></message>"
    ))
    .await
    .unwrap();
    tokio::time::timeout(PATIENCE, listener.accept())
        .await
        .unwrap()
        .unwrap();
}

pub async fn both_versions_of_tls(world: Arc<World>) {
    let certificate = world.cluster.authority.issue("versions", &[SCRIPTED]);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut wire = Wire::connect(world.cluster.nodes[0].socket(PEER_PORT)).await;
        wire.open(&header(Some(SCRIPTED), DOMAIN)).await;
        let mut wire = wire
            .starttls(client_tls(&[version], Some(&certificate)), DOMAIN)
            .await
            .unwrap();
        let (_, features) = wire.open(&header(Some(SCRIPTED), DOMAIN)).await;
        assert!(features.contains("EXTERNAL"), "{version:?}: {features}");
    }
}

pub async fn nothing_but_starttls_before_tls(world: Arc<World>) {
    for hasty in [
        format!("<auth xmlns='{SASL}' mechanism='EXTERNAL'>=</auth>"),
        format!("<db:result from='{SCRIPTED}' to='{DOMAIN}'>0123abcd</db:result>"),
        format!("<message from='a@{SCRIPTED}' to='b@{DOMAIN}'/>"),
    ] {
        let mut wire = Wire::connect(world.cluster.nodes[0].socket(PEER_PORT)).await;
        let (_, features) = wire.open(&header(Some(SCRIPTED), DOMAIN)).await;
        assert!(
            features.contains("<starttls")
                && features.contains("<required")
                && !features.contains("EXTERNAL"),
            "{features}"
        );
        wire.send(&hasty).await;
        match wire.next().await {
            Got::Element(answer) => {
                assert!(
                    !answer.is("success") && !answer.contains("type='valid'"),
                    "{hasty}: {answer}"
                );
            }
            other => panic!("{hasty}: {other:?}"),
        }
    }
}

pub async fn whitespace_is_a_keepalive(world: Arc<World>) {
    let login = world.cluster.user("spaced").await;
    let mut ours = online_at(&world.cluster.nodes[0], &login).await;
    let mut wire = authenticated(&world, 0, SCRIPTED).await;
    wire.send("  \n\t ").await;
    wire.send(format!(
        " <message from='a@{SCRIPTED}' to='{}' id='space'><body>x</body></message>\n",
        login.bare()
    ))
    .await;
    ours.expect(PATIENCE, |s| s.raw_attr("id") == Some("space"))
        .await
        .unwrap();
}
