//! From the first byte to a bound resource.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use entente_load::{Client, ClientError, Login, Mechanism, TlsMode, Trust};

use super::{DOMAIN, scram};
use crate::harness::{CLIENT_PORT, CLIENT_TLS_PORT, Cluster, Got, PASSWORD, Wire, client_tls};

const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";

pub fn header(to: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream to='{to}' version='1.0' xmlns='jabber:client' \
         xmlns:stream='http://etherx.jabber.org/streams'>"
    )
}

/// A stream under TLS, its features taken.
pub async fn secured(fixture: &Cluster) -> Wire {
    let mut wire = Wire::connect(fixture.first().socket(CLIENT_PORT)).await;
    wire.open(&header(DOMAIN)).await;
    let mut wire = wire
        .starttls(client_tls(rustls::ALL_VERSIONS, None), DOMAIN)
        .await
        .unwrap();
    wire.open(&header(DOMAIN)).await;
    wire
}

pub async fn every_mechanism(fixture: Arc<Cluster>) {
    let login = fixture.user("mechanisms").await;
    for mechanism in [
        Mechanism::Plain,
        Mechanism::ScramSha1,
        Mechanism::ScramSha256,
        Mechanism::ScramSha1Plus,
        Mechanism::ScramSha256Plus,
    ] {
        let endpoint = fixture.first().clients().with_mechanism(mechanism);
        let client = Client::session(&endpoint, &login)
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", mechanism.name()));
        assert!(
            client.jid().starts_with(&format!("{}/", login.bare())),
            "{}",
            client.jid()
        );
        client.close().await;
    }
}

pub async fn tls_server_end_point(fixture: Arc<Cluster>) {
    let login = fixture.user("endpoint").await;
    let certificate = entente_certificate(&fixture);
    let mut wire = secured(&fixture).await;
    wire.send(scram::auth(&login.user, "fyko+d2lbbFgONRv9qkxdawL"))
        .await;
    let challenge = wire.next().await.element();
    assert!(challenge.is("challenge"), "{challenge}");
    wire.send(scram::response(
        &challenge,
        &login.user,
        "fyko+d2lbbFgONRv9qkxdawL",
        PASSWORD,
        &certificate,
    ))
    .await;
    let answer = wire.next().await.element();
    assert!(answer.is("success"), "{answer}");
    // The same with another certificate, as a man in the middle would have: refused.
    let mut wire = secured(&fixture).await;
    wire.send(scram::auth(&login.user, "3rfcNHYJY1ZVvWVs7j"))
        .await;
    let challenge = wire.next().await.element();
    wire.send(scram::response(
        &challenge,
        &login.user,
        "3rfcNHYJY1ZVvWVs7j",
        PASSWORD,
        b"another",
    ))
    .await;
    let answer = wire.next().await.element();
    assert!(
        answer.is("failure") && answer.contains("<not-authorized"),
        "{answer}"
    );
}

fn entente_certificate(fixture: &Cluster) -> Vec<u8> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let path = fixture
        .authority
        .certificate()
        .with_file_name(format!("{DOMAIN}.pem"));
    CertificateDer::from_pem_file(path).unwrap().to_vec()
}

/// A client that could bind but was told that the server can't (gs2 flag `y`): somebody removed
/// the -PLUS mechanisms on the way (RFC 5802 section 6).
pub async fn stripped_channel_binding_is_noticed(fixture: Arc<Cluster>) {
    let login = fixture.user("stripped").await;
    let mut wire = secured(&fixture).await;
    let first = STANDARD.encode(format!("y,,n={},r=rOprNGfwEbeRWgbNEkqO", login.user));
    wire.send(format!(
        "<auth xmlns='{SASL}' mechanism='SCRAM-SHA-256'>{first}</auth>"
    ))
    .await;
    let answer = wire.next().await.element();
    assert!(answer.is("failure"), "{answer}");
}

pub async fn wrong_password_and_unknown_user_look_alike(fixture: Arc<Cluster>) {
    let known = fixture.user("known").await;
    for mechanism in [
        Mechanism::Plain,
        Mechanism::ScramSha1,
        Mechanism::ScramSha256,
    ] {
        let endpoint = fixture.first().clients().with_mechanism(mechanism);
        let mut answers = Vec::new();
        for user in [known.user.as_str(), "nobody-of-that-name"] {
            let login = Login::new(user, DOMAIN, "wrong");
            match Client::session(&endpoint, &login).await {
                Err(ClientError::AuthRefused(failure)) => answers.push(failure.to_string()),
                other => panic!("{user} with {}: {other:?}", mechanism.name()),
            }
        }
        assert!(answers[0].contains("<not-authorized"), "{}", answers[0]);
        assert_eq!(answers[0], answers[1]);
    }
}

/// Else asking twice would tell accounts from thin air.
pub async fn an_unknown_user_keeps_its_salt(fixture: Arc<Cluster>) {
    let mut salts = Vec::new();
    for nonce in ["aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"] {
        let mut wire = secured(&fixture).await;
        let first = STANDARD.encode(format!("n,,n=thin-air,r={nonce}"));
        wire.send(format!(
            "<auth xmlns='{SASL}' mechanism='SCRAM-SHA-256'>{first}</auth>"
        ))
        .await;
        let challenge = wire.next().await.element();
        assert!(challenge.is("challenge"), "{challenge}");
        let text = STANDARD
            .decode(challenge.text_of("challenge").unwrap().as_bytes())
            .unwrap();
        let text = String::from_utf8(text).unwrap();
        salts.push(
            text.split(',')
                .find(|part| part.starts_with("s="))
                .unwrap()
                .to_owned(),
        );
    }
    assert_eq!(salts[0], salts[1]);
}

pub async fn too_many_tries(fixture: Arc<Cluster>) {
    let login = fixture.user("guessed").await;
    let mut wire = secured(&fixture).await;
    let guess = STANDARD.encode(format!("\0{}\0wrong", login.user));
    let mut tries = 0;
    loop {
        tries += 1;
        assert!(tries <= 6, "guessing goes on");
        wire.send(format!(
            "<auth xmlns='{SASL}' mechanism='PLAIN'>{guess}</auth>"
        ))
        .await;
        let answer = wire.next().await.element();
        if answer.is("error") {
            assert!(
                answer.contains("<policy-violation") || answer.contains("<not-authorized"),
                "{answer}"
            );
            break;
        }
        assert!(answer.contains("<not-authorized"), "{answer}");
        // RFC 6120 section 6.4.5: at least two retries.
        if let Some(Got::Element(error)) = wire.next_within(crate::harness::SILENCE).await {
            assert!(tries >= 3, "closed after {tries} tries");
            assert!(
                error.contains("<policy-violation") || error.contains("<not-authorized"),
                "{error}"
            );
            break;
        }
    }
    wire.closes().await;
    // The account itself is not locked: that would be an attack on its own.
    fixture.session(&login).await.close().await;
}

pub async fn nothing_but_starttls_before_tls(fixture: Arc<Cluster>) {
    let mut wire = Wire::connect(fixture.first().socket(CLIENT_PORT)).await;
    let (_, features) = wire.open(&header(DOMAIN)).await;
    assert!(
        features.contains("<starttls") && features.contains("<required"),
        "{features}"
    );
    assert!(!features.contains("<mechanism"), "{features}");
    let plain = STANDARD.encode(format!("\0alice\0{PASSWORD}"));
    wire.send(format!(
        "<auth xmlns='{SASL}' mechanism='PLAIN'>{plain}</auth>"
    ))
    .await;
    let answer = wire.next().await.element();
    let refused = answer.contains("<encryption-required")
        || answer.contains("<policy-violation")
        || answer.contains("<not-authorized");
    assert!(refused, "{answer}");
}

pub async fn direct_tls(fixture: Arc<Cluster>) {
    let login = fixture.user("direct").await;
    let mut endpoint = fixture.first().clients().with_tls(TlsMode::Direct);
    endpoint.address.set_port(CLIENT_TLS_PORT);
    let client = Client::session(&endpoint, &login).await.unwrap();
    let features = client.features().unwrap();
    assert!(!features.contains("<starttls"), "{features}");
    client.close().await;
}

pub async fn both_versions_of_tls(fixture: Arc<Cluster>) {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut wire = Wire::connect(fixture.first().socket(CLIENT_PORT)).await;
        wire.open(&header(DOMAIN)).await;
        let mut wire = wire
            .starttls(client_tls(&[version], None), DOMAIN)
            .await
            .unwrap();
        let (_, features) = wire.open(&header(DOMAIN)).await;
        assert!(
            features.contains("SCRAM-SHA-256-PLUS"),
            "{version:?}: {features}"
        );
        assert!(
            features.contains("tls-server-end-point"),
            "{version:?}: {features}"
        );
        // RFC 9266: safe without further conditions only with TLS 1.3.
        assert!(
            version.version == rustls::ProtocolVersion::TLSv1_2
                || features.contains("tls-exporter"),
            "{features}"
        );
    }
}

pub async fn certificate_is_valid_for_the_domain(fixture: Arc<Cluster>) {
    let login = fixture.user("careful").await;
    let endpoint = fixture
        .first()
        .clients()
        .with_trust(Trust::CaFile(fixture.authority.certificate()));
    Client::session(&endpoint, &login)
        .await
        .unwrap()
        .close()
        .await;
}

pub async fn conflict_of_resources(fixture: Arc<Cluster>) {
    let login = fixture.user("twice").await.with_resource("balcony");
    let mut old = fixture.online(&login).await;
    let new = fixture.session(&login).await;
    assert_eq!(new.jid(), format!("{}/balcony", login.bare()));
    // RFC 6120 section 7.7.2.2: the older session is ended with <conflict/>.
    match old.expect(crate::harness::PATIENCE, |_| false).await {
        Err(ClientError::StreamError(error)) => assert!(error.contains("<conflict"), "{error}"),
        other => panic!("the older session goes on: {other:?}"),
    }
    // And one more than allowed is refused.
    let login = fixture.user("many").await;
    let mut sessions = Vec::new();
    for _ in 0..4 {
        sessions.push(fixture.session(&login).await);
    }
    match Client::session(&fixture.first().clients(), &login).await {
        Err(ClientError::Refused(error)) => {
            assert!(error.contains("<resource-constraint"), "{error}")
        }
        other => panic!("a fifth session: {other:?}"),
    }
}

pub async fn no_registration_in_band(fixture: Arc<Cluster>) {
    let mut wire = secured(&fixture).await;
    wire.send("<iq type='get' id='r1'><query xmlns='jabber:iq:register'/></iq>")
        .await;
    // Before authentication only SASL is understood (RFC 6120 section 4.9.3.12).
    wire.ends_with(&["not-authorized"]).await;
    let login = fixture.user("registered").await;
    let mut client = fixture.session(&login).await;
    let answer = client
        .iq(
            "get",
            DOMAIN,
            "<query xmlns='jabber:iq:register'/>",
            crate::harness::PATIENCE,
        )
        .await
        .unwrap();
    assert_eq!(answer.raw_attr("type"), Some("error"), "{answer}");
    assert!(
        answer.contains("<service-unavailable") || answer.contains("<not-allowed"),
        "{answer}"
    );
}
