//! Another server opens a stream to us.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use entente_xmpp_core::dialback::{DialbackOutcome, DialbackSecret};
use entente_xmpp_core::error::{StanzaCondition, StreamCondition};
use entente_xmpp_core::stream::{
    AuthMethod, CloseReason, InboundAnswer, InboundConfig, InboundDeadline, InboundInput,
    InboundOutput, InboundRequest, InboundStream, RequestId, TlsPolicy,
};

const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' \
    xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' \
    from='peer.example' to='example.com' version='1.0'>";
const EXTERNAL: &str = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>\
    =</auth>";
const ALLOWED: InboundAnswer = InboundAnswer::Allowed {
    tls: TlsPolicy::Required,
    dialback: true,
};
const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";

struct Talk {
    stream: InboundStream,
    now: Instant,
    outputs: VecDeque<InboundOutput>,
}

fn config() -> InboundConfig {
    InboundConfig::new(
        vec![Arc::from("example.com"), Arc::from("chat.example.com")],
        DialbackSecret::new(b"s3cr3t"),
    )
}

impl Talk {
    fn plain(config: InboundConfig) -> Self {
        let now = Instant::now();
        Self {
            stream: InboundStream::new(Arc::new(config), &[3; 32], now),
            now,
            outputs: VecDeque::new(),
        }
    }

    /// Direct TLS, the peer's header read, policy allows it; the certificate proves it or not.
    fn greeted(config: InboundConfig, certificate: bool) -> (Self, String) {
        let mut talk = Self::plain(config);
        talk.input(InboundInput::TlsEstablished);
        talk.send(HEADER);
        talk.reply(ALLOWED);
        let got = talk.reply(InboundAnswer::CertificateMatches(certificate));
        (talk, got)
    }

    /// Authenticated by EXTERNAL.
    fn authenticated(config: InboundConfig) -> Self {
        let (mut talk, _) = Self::greeted(config, true);
        talk.send(EXTERNAL);
        talk.send(HEADER);
        talk.outputs.clear();
        talk
    }

    fn input(&mut self, input: InboundInput) -> String {
        self.stream.handle_input(self.now, input);
        while let Some(output) = self.stream.poll_output() {
            self.outputs.push_back(output);
        }
        let mut written = BytesMut::new();
        self.stream.take_transmit(&mut written);
        String::from_utf8(written.to_vec()).unwrap()
    }

    fn send(&mut self, xml: &str) -> String {
        self.input(InboundInput::Bytes(BytesMut::from(xml)))
    }

    fn request(&mut self) -> (RequestId, InboundRequest) {
        while let Some(output) = self.outputs.pop_front() {
            if let InboundOutput::Request(id, request) = output {
                return (id, request);
            }
        }
        panic!("no request")
    }

    /// Answers the next request.
    fn reply(&mut self, answer: InboundAnswer) -> String {
        let (id, _) = self.request();
        self.input(InboundInput::Answer(id, answer))
    }

    fn closed_with(&mut self, condition: StreamCondition) {
        match self.outputs.pop_back() {
            Some(InboundOutput::Closed(CloseReason::Error(error))) => {
                assert_eq!(error.condition, condition);
            }
            other => panic!("not closed with an error: {other:?}"),
        }
    }
}

#[test]
fn starttls_then_external() {
    let mut talk = Talk::plain(config());
    assert_eq!(talk.send(HEADER), "");
    let (id, request) = talk.request();
    let remote = Arc::from("peer.example");
    assert_eq!(request, InboundRequest::Policy { remote });
    let got = talk.input(InboundInput::Answer(id, ALLOWED));
    assert!(
        got.starts_with(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:server' \
             xmlns:stream='http://etherx.jabber.org/streams' \
             xmlns:db='jabber:server:dialback' from='example.com' to='peer.example' id='"
        ),
        "{got}"
    );
    assert!(
        got.ends_with(
            "version='1.0'><stream:features>\
             <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>\
             <limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>262144</max-bytes>\
             <idle-seconds>3600</idle-seconds></limits></stream:features>"
        ),
        "{got}"
    );
    let injected = format!("{STARTTLS}{HEADER}<message from='peer.example' to='example.com'/>");
    assert_eq!(
        talk.send(&injected),
        "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
    );
    assert!(matches!(
        talk.outputs.pop_front(),
        Some(InboundOutput::StartTls)
    ));
    talk.input(InboundInput::TlsEstablished);
    assert!(talk.outputs.is_empty());
    talk.send(HEADER);
    talk.reply(ALLOWED);
    let got = talk.reply(InboundAnswer::CertificateMatches(true));
    assert!(
        got.contains(
            "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
             <mechanism>EXTERNAL</mechanism></mechanisms>\
             <dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>\
             <bidi xmlns='urn:xmpp:features:bidi'/><sm xmlns='urn:xmpp:sm:3'/>"
        ),
        "{got}"
    );
    assert_eq!(
        talk.send(EXTERNAL),
        "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"
    );
    assert!(matches!(
        talk.outputs.pop_front(),
        Some(InboundOutput::Authenticated {
            method: AuthMethod::External,
            bidi: false,
            ..
        })
    ));
    let got = talk.send(HEADER);
    assert!(got.contains("xmlns:db='jabber:server:dialback'"), "{got}");
    assert!(!got.contains("mechanisms"), "{got}");
    assert!(got.contains("<sm xmlns='urn:xmpp:sm:3'/>"), "{got}");
    talk.send("<message from='a@peer.example' to='b@example.com'/>");
    assert!(matches!(
        talk.outputs.pop_front(),
        Some(InboundOutput::Stanza(_))
    ));
    // The certificate is good for every domain of ours.
    talk.send("<message from='peer.example' to='room@chat.example.com'/>");
    assert!(matches!(
        talk.outputs.pop_front(),
        Some(InboundOutput::Stanza(_))
    ));
}

#[test]
fn external_takes_any_form_of_the_authzid() {
    for text in ["=", "cGVlci5leGFtcGxl"] {
        let (mut talk, _) = Talk::greeted(config(), true);
        assert!(
            talk.send(&EXTERNAL.replace(">=<", &format!(">{text}<")))
                .contains("<success")
        );
    }
    let (mut talk, _) = Talk::greeted(config(), true);
    assert_eq!(
        talk.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'/>"),
        "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>=</challenge>"
    );
    let got = talk.send("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
    assert!(got.contains("<success"));
    let (mut talk, _) = Talk::greeted(config(), true);
    let other = talk.send(&EXTERNAL.replace(">=<", ">b3RoZXIuZXhhbXBsZQ==<"));
    assert!(other.contains("<invalid-authzid/>"), "{other}");
}

fn db_result(key: &str) -> String {
    format!("<db:result from='peer.example' to='example.com'>{key}</db:result>")
}

#[test]
fn a_certificate_that_does_not_match_leaves_dialback() {
    let (mut talk, got) = Talk::greeted(config(), false);
    assert!(!got.contains("EXTERNAL"), "{got}");
    // COMPAT Prosody, ejabberd, Openfire: they try all the same, then go on with dialback.
    assert_eq!(
        talk.send(EXTERNAL),
        "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>"
    );
    assert_eq!(talk.send(&db_result("k3y")), "");
    talk.reply(ALLOWED);
    talk.reply(InboundAnswer::CertificateMatches(false));
    let (id, request) = talk.request();
    let InboundRequest::VerifyKey {
        from,
        to,
        stream_id,
        key,
    } = request
    else {
        panic!("{request:?}");
    };
    assert_eq!(
        (&*from, &*to, &*key),
        ("peer.example", "example.com", "k3y")
    );
    assert!(got.contains(&format!("id='{stream_id}'")));
    let valid = InboundAnswer::KeyVerified(DialbackOutcome::Valid);
    assert_eq!(
        talk.input(InboundInput::Answer(id, valid)),
        "<db:result from='example.com' to='peer.example' type='valid'/>"
    );
    assert!(matches!(
        talk.outputs.pop_front(),
        Some(InboundOutput::Authenticated {
            method: AuthMethod::Dialback,
            ..
        })
    ));
    talk.send("<message from='a@peer.example' to='b@example.com'/>");
    assert!(matches!(
        talk.outputs.pop_front(),
        Some(InboundOutput::Stanza(_))
    ));
    // That pair only.
    let got = talk.send("<message from='a@peer.example' to='r@chat.example.com'/>");
    assert!(got.contains("<invalid-from "), "{got}");
}

#[test]
fn dialback_errors() {
    let (mut talk, _) = Talk::greeted(config(), false);
    let got = talk.send("<db:result from='peer.example' to='nowhere.example'>k</db:result>");
    assert_eq!(
        got,
        "<db:result from='nowhere.example' to='peer.example' type='error'><error type='cancel'>\
         <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></db:result>"
    );
    talk.send("<db:result from='other.example' to='example.com'>k</db:result>");
    let got = talk.reply(InboundAnswer::Denied);
    assert!(got.contains("<policy-violation "), "{got}");
    talk.send(&db_result("k"));
    talk.reply(ALLOWED);
    talk.reply(InboundAnswer::CertificateMatches(false));
    let timeout = DialbackOutcome::Error(StanzaCondition::RemoteServerTimeout);
    let got = talk.reply(InboundAnswer::KeyVerified(timeout));
    assert!(got.contains("<remote-server-timeout "), "{got}");
    talk.send(&db_result("k"));
    talk.reply(ALLOWED);
    talk.reply(InboundAnswer::CertificateMatches(false));
    let got = talk.reply(InboundAnswer::KeyVerified(DialbackOutcome::Invalid));
    assert_eq!(
        got,
        "<db:result from='example.com' to='peer.example' type='invalid'/></stream:stream>"
    );
}

#[test]
fn a_certificate_makes_dialback_unnecessary() {
    let (mut talk, _) = Talk::greeted(config(), false);
    talk.send("<db:result from='conference.peer.example' to='example.com'>k</db:result>");
    talk.reply(ALLOWED);
    let got = talk.reply(InboundAnswer::CertificateMatches(true));
    assert!(got.contains("type='valid'"), "{got}");
}

#[test]
fn dialback_without_tls_is_a_matter_of_policy() {
    let optional = InboundAnswer::Allowed {
        tls: TlsPolicy::Optional,
        dialback: true,
    };
    let mut talk = Talk::plain(config());
    talk.send(HEADER);
    let got = talk.reply(optional);
    assert!(
        got.contains("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'></starttls>"),
        "{got}"
    );
    assert!(got.contains("<dialback "), "{got}");
    talk.send(&db_result("k"));
    talk.reply(optional);
    let got = talk.reply(InboundAnswer::KeyVerified(DialbackOutcome::Valid));
    assert!(got.contains("type='valid'"), "{got}");

    let mut talk = Talk::plain(config());
    talk.send(HEADER);
    talk.reply(ALLOWED);
    talk.send(&db_result("k"));
    let got = talk.reply(ALLOWED);
    assert!(got.contains("<policy-violation "), "{got}");
}

#[test]
fn keys_of_ours_are_verified_on_any_stream() {
    let key = DialbackSecret::new(b"s3cr3t").key("peer.example", "example.com", "their-id");
    let verify = |key: &str| {
        format!("<db:verify from='peer.example' to='example.com' id='their-id'>{key}</db:verify>")
    };
    // COMPAT Openfire: even without TLS.
    let mut talk = Talk::plain(config());
    talk.send(HEADER);
    talk.reply(ALLOWED);
    assert_eq!(
        talk.send(&verify(&key)),
        "<db:verify from='example.com' to='peer.example' id='their-id' type='valid'/>"
    );
    assert_eq!(
        talk.send(&verify("0123")),
        "<db:verify from='example.com' to='peer.example' id='their-id' type='invalid'/>"
    );
    let got = talk.send("<db:verify from='peer.example' to='x.example' id='1'>k</db:verify>");
    assert!(got.contains("<item-not-found "), "{got}");
    assert!(talk.outputs.is_empty());
}

#[test]
fn compat_headers() {
    // MongooseIM: no `from` before TLS. The answer has from, id and version all the same.
    let mut talk = Talk::plain(config());
    let got = talk.send(&HEADER.replace("from='peer.example' ", ""));
    assert!(
        got.contains(" from='example.com' id='") && got.contains(" version='1.0'>"),
        "{got}"
    );
    assert!(got.contains("<starttls "), "{got}");
    assert!(talk.outputs.is_empty());
    // No `to`: the first domain answers.
    let mut talk = Talk::plain(config());
    talk.send(&HEADER.replace("to='example.com' ", ""));
    assert!(talk.reply(ALLOWED).contains(" from='example.com' "));
    // No version: no features, dialback only.
    let mut talk = Talk::plain(config());
    talk.send(&HEADER.replace(" version='1.0'>", ">"));
    let got = talk.reply(InboundAnswer::Allowed {
        tls: TlsPolicy::Optional,
        dialback: true,
    });
    assert!(got.ends_with("version='1.0'>"), "{got}");
    // Other prefixes.
    let (mut talk, _) = Talk::greeted(config(), false);
    talk.send("<d:result xmlns:d='jabber:server:dialback' from='peer.example' to='example.com'>k</d:result>");
    talk.request();
}

#[test]
fn headers_that_end_the_stream() {
    for (from, to, condition) in [
        (
            "to='example.com'",
            "to='other.example'",
            StreamCondition::HostUnknown,
        ),
        (
            "from='peer.example'",
            "from='example.com'",
            StreamCondition::InvalidFrom,
        ),
        (
            "from='peer.example'",
            "from='a@b@c'",
            StreamCondition::InvalidFrom,
        ),
        (
            "'jabber:server'",
            "'jabber:client'",
            StreamCondition::InvalidNamespace,
        ),
    ] {
        let mut talk = Talk::plain(config());
        let got = talk.send(&HEADER.replace(from, to));
        assert!(got.contains(&format!("<{condition} ")), "{got}");
        // COMPAT Openfire: an id, in an error's header too.
        assert!(got.contains(" id='"), "{got}");
        talk.closed_with(condition);
    }
    let mut talk = Talk::plain(config());
    talk.send(HEADER);
    let got = talk.reply(InboundAnswer::Denied);
    assert!(got.contains("<policy-violation "), "{got}");
    talk.closed_with(StreamCondition::PolicyViolation);
}

#[test]
fn from_may_not_change_after_external() {
    let (mut talk, _) = Talk::greeted(config(), true);
    talk.send(EXTERNAL);
    talk.send(&HEADER.replace("peer.example", "other.example"));
    talk.closed_with(StreamCondition::InvalidFrom);
}

#[test]
fn stanzas_that_end_the_stream() {
    for (stanza, condition) in [
        (
            "<message to='b@example.com'/>",
            StreamCondition::ImproperAddressing,
        ),
        (
            "<message from='a@peer.example'/>",
            StreamCondition::ImproperAddressing,
        ),
        (
            "<message from='@' to='b@example.com'/>",
            StreamCondition::ImproperAddressing,
        ),
        (
            "<message from='a@other.example' to='b@example.com'/>",
            StreamCondition::InvalidFrom,
        ),
        (
            "<message from='a@sub.peer.example' to='b@example.com'/>",
            StreamCondition::InvalidFrom,
        ),
        (
            "<message from='a@peer.example' to='b@other.example'/>",
            StreamCondition::HostUnknown,
        ),
        ("<query xmlns='x'/>", StreamCondition::UnsupportedStanzaType),
    ] {
        let mut talk = Talk::authenticated(config());
        let got = talk.send(stanza);
        assert!(
            got.ends_with("</stream:error></stream:stream>"),
            "{stanza}: {got}"
        );
        talk.closed_with(condition);
    }
    let (mut talk, _) = Talk::greeted(config(), true);
    talk.send("<message from='a@peer.example' to='b@example.com'/>");
    talk.closed_with(StreamCondition::NotAuthorized);
}

#[test]
fn management_counts_receipts() {
    let mut talk = Talk::authenticated(config());
    assert_eq!(
        talk.send("<enable xmlns='urn:xmpp:sm:3'/>"),
        "<enabled xmlns='urn:xmpp:sm:3'/>"
    );
    talk.send("<message from='a@peer.example' to='b@example.com'/> ");
    assert_eq!(talk.send("<r xmlns='urn:xmpp:sm:3'/>"), "");
    assert_eq!(
        talk.input(InboundInput::Handled(1)),
        "<a xmlns='urn:xmpp:sm:3' h='1'/>"
    );
    let (mut talk, _) = Talk::greeted(config(), true);
    let got = talk.send("<enable xmlns='urn:xmpp:sm:3'/>");
    assert!(got.contains("<unexpected-request "), "{got}");
}

#[test]
fn bidirectional_streams() {
    let (mut talk, _) = Talk::greeted(config(), true);
    talk.send("<bidi xmlns='urn:xmpp:bidi'/>");
    talk.send(EXTERNAL);
    assert!(matches!(
        talk.outputs.pop_back(),
        Some(InboundOutput::Authenticated { bidi: true, .. })
    ));
    talk.send(HEADER);
    let stanza = Bytes::from_static(b"<message from='b@example.com' to='a@peer.example'/>");
    let got = talk.input(InboundInput::Send {
        stanza: stanza.clone(),
        token: 7,
    });
    assert_eq!(got.as_bytes(), &stanza[..]);
    talk.send("<enable xmlns='urn:xmpp:sm:3'/>");
    let got = talk.input(InboundInput::Send { stanza, token: 8 });
    assert!(got.ends_with("<r xmlns='urn:xmpp:sm:3'/>"), "{got}");
    talk.outputs.clear();
    talk.send("<a xmlns='urn:xmpp:sm:3' h='1'/>");
    assert!(matches!(
        talk.outputs.pop_front(),
        Some(InboundOutput::Delivered(8))
    ));
    // Only the pair of the header: others that share the stream have not asked for it.
    let (mut talk, _) = Talk::greeted(config(), true);
    talk.send("<bidi xmlns='urn:xmpp:bidi'/>");
    assert!(!talk.stream.is_sendable());
    talk.send("<db:result from='peer.example' to='chat.example.com'>k</db:result>");
    talk.reply(ALLOWED);
    talk.reply(InboundAnswer::CertificateMatches(true));
    assert!(matches!(
        talk.outputs.pop_back(),
        Some(InboundOutput::Authenticated { bidi: false, .. })
    ));
    // COMPAT ejabberd: the wrong namespace is no request, and no reason to close.
    let (mut talk, _) = Talk::greeted(config(), true);
    assert_eq!(talk.send("<bidi xmlns='urn:xmpp:features:bidi'/>"), "");
    talk.send(EXTERNAL);
    assert!(matches!(
        talk.outputs.pop_back(),
        Some(InboundOutput::Authenticated { bidi: false, .. })
    ));
}

/// XEP-0478 section 3.2.
#[test]
fn limits_of_a_peer_that_opened_a_bidirectional_stream() {
    let (mut talk, _) = Talk::greeted(config(), true);
    talk.send(
        "<bidi xmlns='urn:xmpp:bidi'><limits xmlns='urn:xmpp:stream-limits:0'>\
         <max-bytes>20000</max-bytes><idle-seconds>90</idle-seconds></limits></bidi>",
    );
    talk.send(EXTERNAL);
    assert!(
        !talk.stream.is_sendable(),
        "the peer's new stream is awaited"
    );
    talk.send(HEADER);
    assert!(talk.stream.is_sendable());
    assert_eq!(talk.stream.peer_limits().max_bytes, Some(20_000));
    talk.now += Duration::from_secs(45);
    assert_eq!(
        talk.stream.next_deadline(),
        Some((talk.now, InboundDeadline::Keepalive))
    );
    assert_eq!(talk.input(InboundInput::Timeout), " ");
    talk.input(InboundInput::Leave);
    assert!(!talk.stream.is_sendable());
}

#[test]
fn silence_and_probes() {
    let mut talk = Talk::plain(config());
    talk.now += Duration::from_secs(30);
    talk.input(InboundInput::Timeout);
    talk.closed_with(StreamCondition::ConnectionTimeout);
    // COMPAT Openfire: a probe connection that closes at once.
    let mut talk = Talk::plain(config());
    assert_eq!(talk.input(InboundInput::Eof), "");
    assert!(matches!(
        talk.outputs.pop_front(),
        Some(InboundOutput::Closed(CloseReason::Eof))
    ));
    let mut talk = Talk::authenticated(config());
    talk.now += Duration::from_secs(3600);
    assert_eq!(talk.input(InboundInput::Timeout), "</stream:stream>");
    talk.send("</stream:stream>");
    assert!(matches!(
        talk.outputs.pop_back(),
        Some(InboundOutput::Closed(CloseReason::Clean))
    ));
}

#[test]
fn pairs_are_bounded() {
    let mut settings = config();
    settings.max_pairs = 1;
    let (mut talk, _) = Talk::greeted(settings, false);
    talk.send(&db_result("k"));
    let got = talk.send("<db:result from='b.example' to='example.com'>k</db:result>");
    assert!(got.contains("<resource-constraint "), "{got}");
}

#[test]
fn a_farewell_acknowledges_all_that_was_taken_and_takes_nothing_more() {
    let mut talk = Talk::authenticated(config());
    talk.send("<enable xmlns='urn:xmpp:sm:3'/>");
    let message = "<message from='a@peer.example' to='b@example.com'/>";
    talk.send(message);
    assert_eq!(talk.input(InboundInput::Leave), "", "a receipt is to come");
    talk.send(message);
    assert_eq!(talk.input(InboundInput::Handled(1)), "", "another came");
    assert_eq!(
        talk.input(InboundInput::Handled(1)),
        "<a xmlns='urn:xmpp:sm:3' h='2'/></stream:stream>"
    );
    talk.outputs.clear();
    // The peer does not find this one in the `h`: it sends it again.
    assert_eq!(talk.send(message), "");
    assert!(talk.outputs.is_empty());
    assert_eq!(talk.send("</stream:stream>"), "");
    assert!(matches!(
        talk.outputs.back(),
        Some(InboundOutput::Closed(CloseReason::Clean))
    ));
}

#[test]
fn a_farewell_hears_a_peer_without_acknowledgements_to_its_end() {
    let mut talk = Talk::authenticated(config());
    let message = "<message from='a@peer.example' to='b@example.com'/>";
    talk.send(message);
    talk.outputs.clear();
    assert_eq!(talk.input(InboundInput::Leave), "");
    assert_eq!(talk.input(InboundInput::Handled(1)), "</stream:stream>");
    talk.send(message);
    assert!(matches!(
        talk.outputs.back(),
        Some(InboundOutput::Stanza(_))
    ));
}

#[test]
fn a_farewell_does_not_wait_for_receipts_for_ever() {
    let mut talk = Talk::authenticated(config());
    talk.send("<message from='a@peer.example' to='b@example.com'/>");
    talk.input(InboundInput::Leave);
    let (at, why) = talk.stream.next_deadline().unwrap();
    assert_eq!(
        (at - talk.now, why),
        (Duration::from_secs(2), InboundDeadline::Farewell)
    );
    talk.now = at;
    assert_eq!(talk.input(InboundInput::Timeout), "</stream:stream>");
}
