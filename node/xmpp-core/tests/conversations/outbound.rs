//! We open a stream to another server.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use entente_xmpp_core::dialback::{DialbackOutcome, DialbackSecret};
use entente_xmpp_core::error::StanzaCondition;
use entente_xmpp_core::sasl::SaslCondition;
use entente_xmpp_core::stream::{
    AuthMethod, CloseReason, OutboundConfig, OutboundError, OutboundInput, OutboundOutput,
    OutboundStream, PeerLimits, Purpose, TlsPolicy,
};

const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' \
    xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' \
    from='peer.example' to='example.com' id='D60000229F' version='1.0'>";
const OURS: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' \
    xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' \
    from='example.com' to='peer.example' xml:lang='en' version='1.0'>";
const STARTTLS: &str = "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\
    </stream:features>";
const EXTERNAL: &str = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
    <mechanism>EXTERNAL</mechanism></mechanisms>";
const AUTH: &str = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>\
    ZXhhbXBsZS5jb20=</auth>";
const SUCCESS: &str = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
const VALID: &str = "<db:result from='peer.example' to='example.com' type='valid'/>";

struct Talk {
    stream: OutboundStream,
    now: Instant,
    outputs: VecDeque<OutboundOutput>,
}

fn config() -> OutboundConfig {
    OutboundConfig::new(
        Arc::from("example.com"),
        Arc::from("peer.example"),
        DialbackSecret::new(b"s3cr3t"),
    )
}

fn key() -> String {
    DialbackSecret::new(b"s3cr3t").key("peer.example", "example.com", "D60000229F")
}

fn db_result() -> String {
    format!(
        "<db:result from='example.com' to='peer.example'>{}</db:result>",
        key()
    )
}

fn features(inside: &str) -> String {
    format!("{HEADER}<stream:features>{inside}</stream:features>")
}

impl Talk {
    fn new(config: OutboundConfig) -> Self {
        let now = Instant::now();
        Self {
            stream: OutboundStream::new(Arc::new(config), &[5; 32], now),
            now,
            outputs: VecDeque::new(),
        }
    }

    fn tls(config: OutboundConfig) -> Self {
        let mut talk = Self::new(config);
        let got = talk.input(OutboundInput::TlsEstablished {
            certificate_valid: true,
        });
        assert_eq!(got, OURS);
        talk
    }

    /// Authenticated by dialback, with these features.
    fn established(config: OutboundConfig, offered: &str) -> (Self, String) {
        let mut talk = Self::tls(config);
        talk.send(&features(offered));
        let got = talk.send(VALID);
        (talk, got)
    }

    fn input(&mut self, input: OutboundInput) -> String {
        self.stream.handle_input(self.now, input);
        while let Some(output) = self.stream.poll_output() {
            self.outputs.push_back(output);
        }
        let mut written = BytesMut::new();
        self.stream.take_transmit(&mut written);
        String::from_utf8(written.to_vec()).unwrap()
    }

    fn send(&mut self, xml: &str) -> String {
        self.input(OutboundInput::Bytes(BytesMut::from(xml)))
    }

    fn deliver(&mut self, stanza: &'static str, token: u64) -> String {
        let stanza = Bytes::from_static(stanza.as_bytes());
        self.input(OutboundInput::Send { stanza, token })
    }

    fn failed(&mut self) -> OutboundError {
        match self.outputs.pop_back() {
            Some(OutboundOutput::Failed(error)) => error,
            other => panic!("not failed: {other:?}"),
        }
    }

    fn how_established(&mut self) -> (AuthMethod, bool, bool) {
        match self.outputs.pop_front() {
            Some(OutboundOutput::Established { method, bidi, sm }) => (method, bidi, sm),
            other => panic!("not established: {other:?}"),
        }
    }
}

#[test]
fn starttls_external_management() {
    let mut talk = Talk::new(config());
    assert_eq!(talk.input(OutboundInput::Connected), OURS);
    assert_eq!(talk.send(HEADER), "");
    assert_eq!(
        talk.send(STARTTLS),
        "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
    );
    // Something is injected behind it.
    let got = talk.send(&format!(
        "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>{HEADER}{STARTTLS}"
    ));
    assert_eq!(got, "");
    assert!(matches!(
        talk.outputs.pop_front(),
        Some(OutboundOutput::StartTls)
    ));
    let got = talk.input(OutboundInput::TlsEstablished {
        certificate_valid: true,
    });
    assert_eq!(got, OURS);
    assert_eq!(talk.send(&features(EXTERNAL)), AUTH);
    // COMPAT Openfire, MongooseIM: xmlns:db after SASL too.
    assert_eq!(talk.send(SUCCESS), OURS);
    assert_eq!(
        talk.send(&features("<sm xmlns='urn:xmpp:sm:3'/>")),
        "<enable xmlns='urn:xmpp:sm:3'/>"
    );
    assert_eq!(talk.how_established(), (AuthMethod::External, false, true));
    let got = talk.deliver("<message from='a@example.com' to='b@peer.example'/>", 4);
    assert!(got.ends_with("<r xmlns='urn:xmpp:sm:3'/>"), "{got}");
    talk.send("<enabled xmlns='urn:xmpp:sm:3'/><a xmlns='urn:xmpp:sm:3' h='1'/>");
    assert!(matches!(
        talk.outputs.pop_front(),
        Some(OutboundOutput::Delivered(4))
    ));
}

#[test]
fn dialback_when_external_is_not_offered() {
    let mut talk = Talk::tls(config());
    // COMPAT MongooseIM: features with `from`, without the dialback feature. ejabberd: an empty
    // list of mechanisms.
    let got = talk.send(&format!(
        "{HEADER}<stream:features from='peer.example'>\
         <mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></stream:features>"
    ));
    assert_eq!(got, db_result());
    talk.send(VALID);
    assert_eq!(talk.how_established(), (AuthMethod::Dialback, false, false));
    assert_eq!(talk.deliver("<message/>", 1), "<message/>");
}

#[test]
fn external_that_fails_falls_back_to_dialback() {
    let failure = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>";
    let mut talk = Talk::tls(config());
    assert_eq!(talk.send(&features(EXTERNAL)), AUTH);
    assert_eq!(talk.send(failure), db_result());
    talk.send(VALID);
    assert_eq!(talk.how_established().0, AuthMethod::Dialback);
    // COMPAT MongooseIM: it closes instead.
    let mut talk = Talk::tls(config());
    talk.send(&features(EXTERNAL));
    talk.send(&format!("{failure}</stream:stream>"));
    let error = talk.failed();
    assert_eq!(
        error,
        OutboundError::ExternalRefused(SaslCondition::NotAuthorized)
    );
    assert!(error.retry_without_external() && error.next_target_may_help());
    // TLS 1.3: our certificate is rejected after the handshake.
    let mut talk = Talk::tls(config());
    talk.input(OutboundInput::Eof);
    assert!(talk.failed().retry_without_external());
}

#[test]
fn dialback_that_fails() {
    let answer = |inside: &str| {
        let mut talk = Talk::tls(config());
        talk.send(&features(""));
        talk.send(&format!(
            "<db:result from='peer.example' to='example.com' {inside}"
        ));
        talk.failed()
    };
    assert_eq!(answer("type='invalid'/>"), OutboundError::DialbackInvalid);
    let error = "type='error'><error type='cancel'><item-not-found \
                 xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>";
    assert_eq!(
        answer(error),
        OutboundError::Dialback(StanzaCondition::ItemNotFound)
    );
    let mut settings = config();
    settings.dialback = false;
    let mut talk = Talk::tls(settings);
    talk.send(&features(""));
    assert_eq!(talk.failed(), OutboundError::NoAuthentication);
}

#[test]
fn tls_policy() {
    let with = |tls, sent: &str| {
        let mut settings = config();
        settings.tls = tls;
        let mut talk = Talk::new(settings);
        talk.input(OutboundInput::Connected);
        let got = talk.send(sent);
        (talk, got)
    };
    let (mut talk, _) = with(TlsPolicy::Required, &features(""));
    assert_eq!(talk.failed(), OutboundError::TlsUnavailable);
    let old = HEADER.replace(" version='1.0'>", ">");
    let (mut talk, _) = with(TlsPolicy::Required, &old);
    assert_eq!(talk.failed(), OutboundError::TlsUnavailable);
    assert_eq!(with(TlsPolicy::Optional, &features("")).1, db_result());
    assert_eq!(with(TlsPolicy::Optional, &old).1, db_result());
    assert_eq!(
        with(TlsPolicy::None, &format!("{HEADER}{STARTTLS}")).1,
        db_result()
    );
    let mut settings = config();
    settings.require_certificate = true;
    let mut talk = Talk::new(settings);
    talk.input(OutboundInput::TlsEstablished {
        certificate_valid: false,
    });
    assert_eq!(talk.failed(), OutboundError::CertificateInvalid);
}

#[test]
fn bidirectional_streams() {
    let offered = "<bidi xmlns='urn:xmpp:features:bidi'/>";
    let mut talk = Talk::tls(config());
    assert_eq!(
        talk.send(&features(offered)),
        format!(
            "<bidi xmlns='urn:xmpp:bidi'><limits xmlns='urn:xmpp:stream-limits:0'>\
             <max-bytes>262144</max-bytes></limits></bidi>{}",
            db_result()
        )
    );
    talk.send(VALID);
    assert!(talk.how_established().1);
    talk.send("<message from='b@peer.example' to='a@example.com'/>");
    assert!(matches!(
        talk.outputs.pop_front(),
        Some(OutboundOutput::Stanza(_))
    ));
    for (stanza, condition) in [
        (
            "<message from='b@other.example' to='a@example.com'/>",
            "invalid-from",
        ),
        (
            "<message from='b@peer.example' to='a@other.example'/>",
            "host-unknown",
        ),
        ("<message/>", "improper-addressing"),
    ] {
        let (mut talk, _) = Talk::established(config(), offered);
        let got = talk.send(stanza);
        assert!(got.contains(&format!("<{condition} ")), "{got}");
    }
    let (mut talk, _) = Talk::established(config(), "");
    let got = talk.send("<message from='b@peer.example' to='a@example.com'/>");
    assert!(got.contains("<not-authorized "), "{got}");
}

/// XEP-0478: what the peer says last counts, and it hears from us in time.
#[test]
fn limits_of_the_peer() {
    let limits = |bytes: &str, seconds: &str| {
        format!(
            "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>{bytes}</max-bytes>\
             <idle-seconds>{seconds}</idle-seconds></limits>"
        )
    };
    let (talk, _) = Talk::established(config(), "");
    assert_eq!(talk.stream.peer_limits(), PeerLimits::default());
    let (talk, _) = Talk::established(config(), &limits("0", "soon"));
    assert_eq!(talk.stream.peer_limits(), PeerLimits::default());

    let mut talk = Talk::tls(config());
    talk.send(&features(&format!("{EXTERNAL}{}", limits("10000", "30"))));
    talk.send(SUCCESS);
    talk.send(&features(&limits("262144", "40")));
    assert_eq!(talk.stream.peer_limits().max_bytes, Some(262_144));
    // The peer's own white space says nothing about how long it has heard nothing from us.
    for _ in 0..2 {
        talk.now += Duration::from_secs(10);
        assert_eq!(talk.send(" "), "");
    }
    assert_eq!(talk.input(OutboundInput::Timeout), " ");
    let next = talk.stream.poll_timeout();
    assert_eq!(next, Some(talk.now + Duration::from_secs(20)));
}

#[test]
fn keys_are_verified_without_authenticating() {
    let mut settings = config();
    settings.purpose = Purpose::Verify;
    let mut talk = Talk::tls(settings);
    let verify = |token, id: &str| OutboundInput::Verify {
        token,
        stream_id: id.to_owned(),
        key: "k3y".to_owned(),
    };
    assert_eq!(talk.input(verify(1, "s1")), "");
    let question = "<db:verify from='example.com' to='peer.example' id='s1'>k3y</db:verify>";
    // EXTERNAL and bidi are not used on such a stream.
    let offered = format!("{EXTERNAL}<bidi xmlns='urn:xmpp:features:bidi'/>");
    assert_eq!(talk.send(&features(&offered)), question);
    assert_eq!(talk.input(verify(2, "s2")), question.replace("s1", "s2"));
    talk.input(verify(3, "s3"));
    talk.send("<db:verify from='peer.example' to='example.com' id='s2' type='invalid'/>");
    talk.send("<db:verify from='other.example' to='example.com' id='s1' type='valid'/>");
    talk.send("<db:verify from='peer.example' to='example.com' id='s1' type='valid'/>");
    let verified = |talk: &mut Talk| match talk.outputs.pop_front() {
        Some(OutboundOutput::Verified { token, outcome }) => (token, outcome),
        other => panic!("{other:?}"),
    };
    assert_eq!(verified(&mut talk), (2, DialbackOutcome::Invalid));
    assert_eq!(verified(&mut talk), (1, DialbackOutcome::Valid));
    talk.now += Duration::from_secs(20);
    talk.input(OutboundInput::Timeout);
    let timeout = DialbackOutcome::Error(StanzaCondition::RemoteServerTimeout);
    assert_eq!(verified(&mut talk), (3, timeout));
    talk.input(verify(4, "s4"));
    talk.input(OutboundInput::Eof);
    let gone = DialbackOutcome::Error(StanzaCondition::RemoteServerNotFound);
    assert_eq!(verified(&mut talk), (4, gone));
    assert!(matches!(
        talk.outputs.pop_front(),
        Some(OutboundOutput::Closed(CloseReason::Eof))
    ));
}

#[test]
fn a_peer_that_refuses_management() {
    let (mut talk, got) = Talk::established(config(), "<sm xmlns='urn:xmpp:sm:3'/>");
    assert_eq!(got, "<enable xmlns='urn:xmpp:sm:3'/>");
    talk.outputs.clear();
    talk.deliver("<message/>", 6);
    talk.send("<failed xmlns='urn:xmpp:sm:3'/>");
    assert!(matches!(
        talk.outputs.pop_front(),
        Some(OutboundOutput::Written(6))
    ));
    assert!(!talk.stream.sm_enabled());
    assert_eq!(talk.deliver("<message/>", 7), "<message/>");
}

#[test]
fn nothing_is_lost_when_the_stream_ends() {
    let (mut talk, _) = Talk::established(config(), "<sm xmlns='urn:xmpp:sm:3'/>");
    for token in 1..=3 {
        talk.deliver("<message/>", token);
    }
    talk.send(
        "<a xmlns='urn:xmpp:sm:3' h='1'/><stream:error><system-shutdown \
               xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>",
    );
    talk.deliver("<message/>", 4);
    assert!(matches!(
        talk.outputs.pop_back(),
        Some(OutboundOutput::Closed(CloseReason::PeerError(_)))
    ));
    let tokens: Vec<_> = talk.stream.unacked().iter().map(|u| u.token).collect();
    assert_eq!(tokens, [2, 3, 4]);
}

#[test]
fn keepalive_idle_and_timeouts() {
    let (mut talk, _) = Talk::established(config(), "");
    talk.now += Duration::from_secs(60);
    assert_eq!(talk.input(OutboundInput::Timeout), " ");
    talk.now += Duration::from_secs(540);
    let got = talk.input(OutboundInput::Timeout);
    assert!(got.ends_with("</stream:stream>"), "{got}");
    assert!(!talk.stream.is_established());
    talk.send("</stream:stream>");
    assert!(matches!(
        talk.outputs.pop_back(),
        Some(OutboundOutput::Closed(CloseReason::Clean))
    ));
    let mut talk = Talk::tls(config());
    talk.now += Duration::from_secs(30);
    talk.input(OutboundInput::Timeout);
    assert_eq!(talk.failed(), OutboundError::Timeout);
    let mut talk = Talk::tls(config());
    let got = talk.send("<html>");
    assert!(got.contains("<bad-format "), "{got}");
    assert!(matches!(talk.failed(), OutboundError::Protocol(_)));
}
