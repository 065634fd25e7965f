//! What the edge answers by itself, and what it survives.

use std::sync::Arc;

use super::{DOMAIN, HOST, PARTNER, World, XMPP_PARTNER, options, request};
use crate::harness::{PEER_PORT, Wire, federated, stream_header};

pub async fn options_on_every_node(world: Arc<World>) {
    for node in 0..2 {
        let mut wire = world.partner(node).await;
        for uri in [format!("sip:{DOMAIN}"), format!("sip:{HOST}")] {
            wire.send(request("OPTIONS", &uri, PARTNER, "")).await;
            let answer = wire.next().await.unwrap();
            assert_eq!(answer.status(), 200, "{answer:?}");
            let allow = answer.header("Allow").unwrap();
            for method in ["INVITE", "MESSAGE", "SUBSCRIBE", "NOTIFY", "OPTIONS"] {
                assert!(allow.contains(method), "{allow}");
            }
            assert!(answer.header("Accept").unwrap().contains("application/sdp"));
            assert!(answer.header("To").unwrap().contains(";tag="));
        }
    }
}

pub async fn pings_are_answered(world: Arc<World>) {
    let mut wire = world.partner(0).await;
    for _ in 0..3 {
        wire.send("\r\n\r\n").await;
        wire.expect_bytes(b"\r\n").await;
    }
    wire.send(options(PARTNER)).await;
    assert_eq!(wire.status().await, 200);
}

/// RFC 3261 section 18.3, and 'one bad message never ends a shared connection'.
pub async fn garbage_and_lies_about_lengths(world: Arc<World>) {
    let mut wire = world.partner(0).await;
    // Not SIP at all, but its end can be found: passed over.
    wire.send("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
        .await;
    let good = options(PARTNER);
    for (bad, status) in [
        (good.replace("CSeq: 1 OPTIONS", "CSeq: one OPTIONS"), 400),
        (good.replace("CSeq: 1 OPTIONS", "CSeq: 1 MESSAGE"), 400),
        (good.replace("From: <sip:", "From: <sip:<"), 400),
        (good.replace(&format!("sip:{DOMAIN} "), "mailto:a@b "), 416),
        (
            good.replace("Length: 0", "Length: 9000") + &"x".repeat(9000),
            413,
        ),
        (
            good.replace(
                "Call-ID",
                &format!("{}Call-ID", "X-More: y\r\n".repeat(200)),
            ),
            513,
        ),
    ] {
        wire.send(bad).await;
        assert_eq!(wire.status().await, status);
        wire.send(options(PARTNER)).await;
        assert_eq!(wire.status().await, 200, "after {status}");
    }
    // A length that says too little makes the rest the next message, and the one after is fine again.
    let short = request(
        "OPTIONS",
        &format!("sip:{DOMAIN}"),
        PARTNER,
        "Content-Type: text/plain\r\n",
    );
    let rest = "STRAY\r\nContent-Length: 0\r\n\r\n";
    wire.send(format!("{}{rest}{}", short, options(PARTNER)))
        .await;
    assert_eq!(wire.status().await, 200);
    assert_eq!(wire.status().await, 200);
    // Where the end of a message can't be found, the connection is over, with an answer.
    for lie in [
        "Content-Length: -1",
        "Content-Length: 0\r\nContent-Length: 7",
        "X: y",
    ] {
        let mut wire = world.partner(0).await;
        wire.send(options(PARTNER).replace("Content-Length: 0", lie))
            .await;
        assert_eq!(wire.status().await, 400, "{lie}");
        wire.ends().await;
    }
    let mut wire = world.partner(0).await;
    wire.send("x".repeat(100_000)).await;
    wire.ends().await;
}

pub async fn refusals_in_the_words_of_the_rfc(world: Arc<World>) {
    let mut wire = world.partner(1).await;
    let alice = format!("sip:alice@{DOMAIN}");
    let bob = format!("bob@{PARTNER}");
    let table: &[(&str, &str, &str, u16)] = &[
        ("MESSAGE", "sip:alice@elsewhere.example", "", 404),
        ("MESSAGE", "sip:alice@sub.siena.example", "", 404),
        ("REGISTER", &alice, "", 405),
        ("PUBLISH", &alice, "", 405),
        ("FROB", &alice, "", 501),
        (
            "INVITE",
            &alice,
            "Require: com.microsoft.rtc-multiparty\r\n",
            420,
        ),
        ("MESSAGE", &alice, "Max-Forwards: 0\r\n", 483),
    ];
    for (method, uri, more, status) in table {
        wire.send(request(method, uri, &bob, more)).await;
        let answer = wire.next().await.unwrap();
        assert_eq!(answer.status(), *status, "{method} {uri}: {answer:?}");
        match status {
            405 | 501 => assert!(answer.header("Allow").is_some(), "{answer:?}"),
            420 => assert_eq!(
                answer.header("Unsupported"),
                Some("com.microsoft.rtc-multiparty")
            ),
            _ => {}
        }
    }
    let unknown_dialog = request("NOTIFY", &alice, &bob, "").replace(
        &format!("To: <{alice}>"),
        &format!("To: <{alice}>;tag=made-up"),
    );
    wire.send(unknown_dialog).await;
    assert_eq!(wire.status().await, 481);
    // ACK is never answered, even if it is for nobody.
    wire.send(request(
        "ACK",
        "sip:x@nowhere.example",
        "m@unknown.example",
        "",
    ))
    .await;
    wire.send(options(PARTNER)).await;
    assert_eq!(wire.status().await, 200);
}

/// An organisation with SIP and one with XMPP do not reach each other through us: neither is ours.
pub async fn nothing_is_passed_on_between_other_domains(world: Arc<World>) {
    let mut wire = world.partner(0).await;
    let from = format!("bob@{PARTNER}");
    for method in ["MESSAGE", "INVITE", "SUBSCRIBE"] {
        let to = format!("sip:ann@{XMPP_PARTNER}");
        wire.send(request(method, &to, &from, "")).await;
        let answer = wire.next().await.unwrap();
        assert_eq!(answer.status(), 404, "{method}: {answer:?}");
        let warning = answer.header("Warning").unwrap();
        assert!(warning.contains("passed on"), "{warning}");
    }

    let certificate = world.certificate(&[XMPP_PARTNER]);
    let address = world.cluster.nodes[0].socket(PEER_PORT);
    for stanza in ["message", "presence"] {
        let mut stream = federated(address, &certificate, XMPP_PARTNER, DOMAIN).await;
        stream
            .send(format!(
                "<{stanza} from='ann@{XMPP_PARTNER}' to='{from}' id='through'/>"
            ))
            .await;
        stream.ends_with(&["host-unknown"]).await;
    }
    let mut stream = Wire::connect(address).await;
    stream.send(stream_header(None, PARTNER)).await;
    stream.next().await.header();
    stream.ends_with(&["host-unknown"]).await;
}
