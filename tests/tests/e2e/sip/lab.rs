//! The lab without the product: what the other tests take for granted about Kamailio and its users.

use std::net::SocketAddr;

use entente_load::sip::{Identity, SipConnection, SipText, SipWriter, client_config, token};
use rustls::pki_types::ServerName;

use super::{KAMAILIO, address, have_kamailio};
use crate::harness::{
    Authority, Baresip, Folder, Issued, Kamailio, Linphone, PATIENCE, SIP_TLS_PORT, within,
};

/// A foreign domain for which the test itself speaks.
const FOREIGN: &str = "foreign.example";

#[tokio::test(flavor = "multi_thread")]
async fn lab() {
    if !have_kamailio() {
        return;
    }
    let _turn = super::turn();
    let folder = Folder::new("sip-lab");
    let authority = Authority::new(&folder.path().join("ca"));
    let certificate = authority.issue_for_both(KAMAILIO, &[KAMAILIO]);
    let routes = [(FOREIGN, vec![SocketAddr::new(address(40), SIP_TLS_PORT)])];
    let kamailio = Kamailio::start(
        folder.path(),
        address(41),
        KAMAILIO,
        &authority,
        &certificate,
        &routes,
        &[],
    )
    .await;
    certificates_decide(&kamailio, &authority).await;
    let carol = format!("carol@{KAMAILIO}");
    let erin = format!("erin@{KAMAILIO}");
    let mut linphone = Linphone::start(folder.path(), &kamailio, "carol", &[&erin]).await;
    let mut baresip = Baresip::start(folder.path(), &kamailio, address(42), "erin", &carol).await;
    linphone.chat(&erin, "Grüße, 世界").await;
    baresip.expect_chat(&carol, "Grüße, 世界").await;
    baresip.chat("Grüße, 世界").await;
    linphone.expect_chat(&erin, "Grüße, 世界").await;
    linphone.expect_friend(&erin, "Online").await;
    baresip.expect_contact("Online").await;
    baresip.publish(false).await;
    linphone.expect_friend(&erin, "Offline").await;
    baresip.publish(true).await;
    linphone.expect_friend(&erin, "Online").await;
    linphone.quit().await;
    baresip.quit().await;
}

/// Only a certificate of the CA for clients lets one in, and only for the domain that it names.
async fn certificates_decide(kamailio: &Kamailio, authority: &Authority) {
    let good = authority.issue_for_both("good", &[FOREIGN]);
    assert_eq!(options(kamailio, authority, &good).await, Some(200));
    let other = authority.issue_for_both("other", &["other.example"]);
    assert_eq!(options(kamailio, authority, &other).await, Some(403));
    // OpenSSL asks for the purpose of a client where one connects to it.
    let server_only = authority.issue("server-only", &[FOREIGN]);
    assert_eq!(options(kamailio, authority, &server_only).await, None);
    let unsigned = authority.self_signed("unsigned", &[FOREIGN]);
    assert_eq!(options(kamailio, authority, &unsigned).await, None);
}

/// The code that OPTIONS gets; `None` when there is no connection.
async fn options(kamailio: &Kamailio, authority: &Authority, own: &Issued) -> Option<u16> {
    let identity = Identity {
        ca: authority.certificate(),
        certificate: own.certificate.clone(),
        key: own.key.clone(),
    };
    let tls = (
        client_config(&identity).unwrap(),
        ServerName::try_from(KAMAILIO).unwrap(),
    );
    let connection = SipConnection::connect(kamailio.federation(), Some(address(40)), Some(tls));
    let (mut reader, mut sender) = connection.await.ok()?.split();
    let text = SipWriter::new(format_args!("OPTIONS sip:{KAMAILIO} SIP/2.0"))
        .header(
            "via",
            format_args!(
                "SIP/2.0/TLS {}:{SIP_TLS_PORT};branch=z9hG4bK{}",
                address(40),
                token()
            ),
        )
        .header("max-forwards", 70)
        .header("from", format_args!("<sip:{FOREIGN}>;tag={}", token()))
        .header("to", format_args!("<sip:{KAMAILIO}>"))
        .header("call-id", token())
        .header("cseq", "1 OPTIONS")
        .end();
    // With TLS 1.3 a refused certificate shows only now.
    sender.send(&text).await.ok()?;
    let answer = within("an answer to OPTIONS", PATIENCE, reader.receive()).await;
    answer.ok()?.as_ref().and_then(SipText::status)
}
