//! From the first header to a bound resource.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use entente_xmpp_core::error::{StanzaCondition, StreamCondition};
use entente_xmpp_core::jid::FullJid;
use entente_xmpp_core::sasl::{Mechanism, ScramHash};
use entente_xmpp_core::stream::{
    ClientAnswer, ClientInput, ClientOutput, ClientRequest, CloseReason,
};
use ring::{digest, hmac, pbkdf2};

use super::client_support::{HEADER, Talk, auth, channel, config, keys, response, sasl_text};

fn closed_with(talk: &mut Talk, condition: StreamCondition) {
    let last = talk.outputs.pop_back().expect("an output");
    let ClientOutput::Closed(CloseReason::Error(error)) = last else {
        panic!("not closed with an error: {last:?}");
    };
    assert_eq!(error.condition, condition);
}

#[test]
fn starttls_is_required_and_what_was_sent_ahead_is_dropped() {
    let mut talk = Talk::plain(config());
    let got = talk.send(HEADER);
    assert!(got.starts_with(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
         xmlns:stream='http://etherx.jabber.org/streams' from='example.com' id='"
    ));
    assert!(got.ends_with(
        "version='1.0'><stream:features>\
         <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>\
         <limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>10000</max-bytes>\
         <idle-seconds>30</idle-seconds></limits></stream:features>"
    ));
    let injected = format!(
        "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>{HEADER}{}",
        auth("PLAIN", b"\0juliet\0pencil")
    );
    assert_eq!(
        talk.send(&injected),
        "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
    );
    assert!(matches!(talk.next(), ClientOutput::StartTls));
    assert_eq!(talk.input(ClientInput::TlsEstablished(channel())), "");
    assert!(talk.outputs.is_empty(), "nothing injected was read");
    let got = talk.send(HEADER);
    assert!(got.contains(
        "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
         <mechanism>SCRAM-SHA-256-PLUS</mechanism><mechanism>SCRAM-SHA-1-PLUS</mechanism>\
         <mechanism>SCRAM-SHA-256</mechanism><mechanism>SCRAM-SHA-1</mechanism>\
         <mechanism>PLAIN</mechanism></mechanisms>\
         <sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/>\
         <channel-binding type='tls-server-end-point'/></sasl-channel-binding>"
    ));
    assert!(!got.contains("starttls"));
}

#[test]
fn nothing_but_starttls_before_tls() {
    let mut talk = Talk::plain(config());
    talk.send(HEADER);
    assert_eq!(
        talk.send(&auth("PLAIN", b"\0juliet\0pencil")),
        "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><encryption-required/></failure>"
    );
    assert!(talk.outputs.is_empty());
    talk.send("<message to='romeo@example.net'/>");
    closed_with(&mut talk, StreamCondition::NotAuthorized);
}

#[test]
fn headers_that_end_the_stream() {
    let good = HEADER;
    for (from, to, condition) in [
        (
            "to='example.com'",
            "to='example.net'",
            StreamCondition::HostUnknown,
        ),
        ("to='example.com'", "", StreamCondition::HostUnknown),
        (" version='1.0'>", ">", StreamCondition::UnsupportedVersion),
        (
            "'jabber:client'",
            "'jabber:server'",
            StreamCondition::InvalidNamespace,
        ),
        (
            "http://etherx",
            "http://other",
            StreamCondition::InvalidNamespace,
        ),
    ] {
        let mut talk = Talk::plain(config());
        let got = talk.send(&good.replace(from, to));
        assert!(
            got.starts_with("<?xml version='1.0'?><stream:stream "),
            "{got}"
        );
        assert!(got.contains(&format!("<{condition} ")), "{got}");
        assert!(got.ends_with("</stream:error></stream:stream>"), "{got}");
        closed_with(&mut talk, condition);
    }
    // Case and IDN are no difference.
    let mut talk = Talk::plain(config());
    talk.send(&good.replace("example.com", "Example.ORG"));
    assert!(talk.outputs.is_empty());
}

/// Does what a client does for SCRAM-SHA-256(-PLUS) and 'pencil'; gives the final message.
fn client_final(gs2: &[u8], first_bare: &str, server_first: &str) -> String {
    let mut fields = server_first.split(',');
    let nonce = fields.next().unwrap();
    let salt = STANDARD.decode(&fields.next().unwrap()[2..]).unwrap();
    let iterations = fields.next().unwrap()[2..].parse().unwrap();
    let mut salted = [0; 32];
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        iterations,
        &salt,
        b"pencil",
        &mut salted,
    );
    let mac = |key: &[u8], data: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data);
    let client_key = mac(&salted, b"Client Key");
    let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
    let without_proof = format!("c={},{nonce}", STANDARD.encode(gs2));
    let message = format!("{first_bare},{server_first},{without_proof}");
    let signature = mac(stored_key.as_ref(), message.as_bytes());
    let proof: Vec<u8> = client_key
        .as_ref()
        .iter()
        .zip(signature.as_ref())
        .map(|(a, b)| a ^ b)
        .collect();
    format!("{without_proof},p={}", STANDARD.encode(proof))
}

#[test]
fn scram_with_channel_binding_then_bind() {
    let mut talk = Talk::tls(config());
    talk.send(HEADER);
    let got = talk.send(&auth(
        "SCRAM-SHA-256-PLUS",
        b"p=tls-exporter,,n=Juliet,r=abcdef",
    ));
    assert_eq!(got, "");
    let (id, request) = talk.request();
    let ClientRequest::Credentials { user, mechanism } = request else {
        panic!("{request:?}");
    };
    assert_eq!(user.as_str(), "juliet@example.com");
    assert_eq!(mechanism, Mechanism::ScramSha256Plus);
    assert!(!talk.stream.wants_bytes());
    let got = talk.answer(id, ClientAnswer::Credentials(keys(ScramHash::Sha256)));
    let challenge = sasl_text(&got);
    assert!(challenge.starts_with("r=abcdef"));
    let mut bound = b"p=tls-exporter,,".to_vec();
    bound.extend([9; 32]);
    let got = talk.send(&response(&client_final(
        &bound,
        "n=Juliet,r=abcdef",
        &challenge,
    )));
    assert!(
        got.starts_with("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"),
        "{got}"
    );
    assert!(sasl_text(&got).starts_with("v="));
    let ClientOutput::Authenticated(user) = talk.next() else {
        panic!("not authenticated");
    };
    assert_eq!(user.as_str(), "juliet@example.com");

    let got = talk.send(HEADER);
    assert!(got.ends_with(
        "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>\
         <session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session>\
         <sm xmlns='urn:xmpp:sm:3'/><ver xmlns='urn:xmpp:features:rosterver'/>\
         <sub xmlns='urn:xmpp:features:pre-approval'/>\
         <limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>262144</max-bytes>\
         <idle-seconds>900</idle-seconds></limits></stream:features>"
    ));
    talk.send(
        "<iq type='set' id='b&apos;1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
         <resource>balcony</resource></bind></iq>",
    );
    let (id, request) = talk.request();
    let ClientRequest::Bind { resource, .. } = request else {
        panic!("{request:?}");
    };
    assert_eq!(resource.as_deref(), Some("balcony"));
    let jid = FullJid::new("juliet@example.com/balcony").unwrap();
    assert_eq!(
        talk.answer(id, ClientAnswer::Bound(jid)),
        "<iq type='result' id='b&apos;1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
         <jid>juliet@example.com/balcony</jid></bind></iq>"
    );
    assert!(matches!(talk.next(), ClientOutput::Bound(_)));
}

#[test]
fn an_unknown_user_walks_the_same_way() {
    let conversation = |username: &str| {
        let mut talk = Talk::tls(config());
        talk.send(HEADER);
        let first = format!("n,,n={username},r=abcdef");
        let mut got = talk.send(&auth("SCRAM-SHA-256", first.as_bytes()));
        if !talk.outputs.is_empty() {
            let (id, _) = talk.request();
            got = talk.answer(id, ClientAnswer::UnknownUser);
        }
        let challenge = sasl_text(&got);
        let got = talk.send(&response(&client_final(b"n,,", &first[3..], &challenge)));
        assert_eq!(
            got,
            "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>"
        );
        challenge.split(",s=").nth(1).unwrap().to_owned()
    };
    assert_eq!(
        conversation("nobody"),
        conversation("nobody"),
        "a stable salt"
    );
    assert_ne!(conversation("nobody"), conversation("noone"));
    // A name that cannot be an account's: no request, the same conversation.
    assert_ne!(conversation("no\u{a0}body"), conversation("nobody"));
}

#[test]
fn a_downgrade_is_noticed() {
    let mut talk = Talk::tls(config());
    talk.send(HEADER);
    assert_eq!(
        talk.send(&auth("SCRAM-SHA-256", b"y,,n=juliet,r=abcdef")),
        "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>"
    );
    assert!(talk.outputs.is_empty());
}

#[test]
fn sasl_errors_and_the_bound_on_tries() {
    let mut settings = config();
    settings.max_authentication_tries = 5;
    let mut talk = Talk::tls(settings);
    talk.send(HEADER);
    let sasl = |name: &str, attrs: &str, text: &str| {
        format!("<{name} xmlns='urn:ietf:params:xml:ns:xmpp-sasl'{attrs}>{text}</{name}>")
    };
    for (xml, condition) in [
        (sasl("abort", "", ""), "aborted"),
        (
            sasl("auth", " mechanism='DIGEST-MD5'", ""),
            "invalid-mechanism",
        ),
        (
            sasl("auth", " mechanism='PLAIN'", "!!"),
            "incorrect-encoding",
        ),
        (
            sasl("auth", " mechanism='PLAIN'", "YWJj"),
            "malformed-request",
        ),
    ] {
        let failure =
            format!("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><{condition}/></failure>");
        assert_eq!(talk.send(&xml), failure);
    }
    let got = talk.send(&auth("PLAIN", b"romeo@example.com\0juliet\0pencil"));
    assert!(got.contains("<invalid-authzid/>"), "{got}");
    assert!(got.contains("<policy-violation "), "{got}");
    closed_with(&mut talk, StreamCondition::PolicyViolation);
}

#[test]
fn plain_with_and_without_an_initial_response() {
    let mut talk = Talk::tls(config());
    talk.send(HEADER);
    assert_eq!(
        talk.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>"),
        "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"
    );
    talk.send(&response("\0juliet\0wrong"));
    let (id, _) = talk.request();
    let got = talk.answer(id, ClientAnswer::Credentials(keys(ScramHash::Sha256)));
    assert!(got.contains("<not-authorized/>"));
    talk.send(&auth("PLAIN", b"juliet@example.com\0juliet\0pencil"));
    let (id, _) = talk.request();
    assert_eq!(
        talk.answer(id, ClientAnswer::CredentialsUnavailable),
        "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><temporary-auth-failure/></failure>"
    );
}

#[test]
fn plain_can_be_switched_off() {
    let mut settings = config();
    settings
        .mechanisms
        .retain(|mechanism| *mechanism != Mechanism::Plain);
    let mut talk = Talk::tls(settings);
    assert!(!talk.send(HEADER).contains("PLAIN"));
    let got = talk.send(&auth("PLAIN", b"\0juliet\0pencil"));
    assert!(got.contains("<invalid-mechanism/>"));
}

#[test]
fn nothing_is_processed_before_a_resource_is_bound() {
    let mut talk = Talk::authenticated(config());
    talk.send("<message to='romeo@example.net'/>");
    closed_with(&mut talk, StreamCondition::NotAuthorized);

    let mut talk = Talk::authenticated(config());
    talk.send("<iq type='set' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
    let (id, _) = talk.request();
    let refused = ClientAnswer::BindRefused(StanzaCondition::ResourceConstraint.into());
    assert_eq!(
        talk.answer(id, refused),
        "<iq type='error' id='b1'><error type='wait'><resource-constraint \
         xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
    );
}

#[test]
fn silence_before_authentication_ends_the_stream() {
    let mut talk = Talk::plain(config());
    talk.send(HEADER);
    let until = talk.stream.poll_timeout().unwrap();
    assert_eq!(until, talk.now + Duration::from_secs(30));
    let got = talk.wait(Duration::from_secs(30));
    assert!(got.contains("<connection-timeout "), "{got}");
    closed_with(&mut talk, StreamCondition::ConnectionTimeout);
    assert_eq!(talk.stream.poll_timeout(), None);
}

#[test]
fn too_much_before_authentication_ends_the_stream() {
    let mut talk = Talk::tls(config());
    talk.send(HEADER);
    talk.send(&auth("PLAIN", b"\0juliet\0pencil"));
    let mut got = String::new();
    for _ in 0..9 {
        got += &talk.send(&" ".repeat(8 * 1024));
    }
    assert!(got.contains("<policy-violation "), "{got}");
}
