//! Our outbound stream against our inbound one, with the shells in between.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use entente_xmpp_core::dialback::{DialbackOutcome, DialbackSecret};
use entente_xmpp_core::stream::{
    AuthMethod, InboundAnswer, InboundConfig, InboundInput, InboundOutput, InboundRequest,
    InboundStream, OutboundConfig, OutboundInput, OutboundOutput, OutboundStream, TlsPolicy,
};

struct Pair {
    now: Instant,
    outbound: OutboundStream,
    inbound: InboundStream,
    certificate: bool,
    sent: Vec<OutboundOutput>,
    received: Vec<InboundOutput>,
}

impl Pair {
    fn new(certificate: bool) -> Self {
        let now = Instant::now();
        let a: Arc<str> = Arc::from("a.example");
        let b: Arc<str> = Arc::from("b.example");
        let outbound = OutboundConfig::new(a, Arc::clone(&b), DialbackSecret::new(b"of a"));
        let inbound = InboundConfig::new(vec![b], DialbackSecret::new(b"of b"));
        Self {
            now,
            outbound: OutboundStream::new(Arc::new(outbound), &[1; 32], now),
            inbound: InboundStream::new(Arc::new(inbound), &[2; 32], now),
            certificate,
            sent: Vec::new(),
            received: Vec::new(),
        }
    }

    /// Lets both run until neither has anything to say.
    fn run(&mut self, first: OutboundInput) {
        self.outbound.handle_input(self.now, first);
        loop {
            let mut idle = true;
            while let Some(output) = self.outbound.poll_output() {
                idle = false;
                if matches!(output, OutboundOutput::StartTls) {
                    // Everything in plain text is written before the handshake.
                    let certificate_valid = true;
                    let done = OutboundInput::TlsEstablished { certificate_valid };
                    self.inbound
                        .handle_input(self.now, InboundInput::TlsEstablished);
                    self.outbound.handle_input(self.now, done);
                } else {
                    self.sent.push(output);
                }
            }
            while let Some(output) = self.inbound.poll_output() {
                idle = false;
                self.on_inbound(output);
            }
            let (mut there, mut back) = (BytesMut::new(), BytesMut::new());
            self.outbound.take_transmit(&mut there);
            self.inbound.take_transmit(&mut back);
            if !there.is_empty() {
                idle = false;
                self.inbound
                    .handle_input(self.now, InboundInput::Bytes(there));
            }
            if !back.is_empty() {
                idle = false;
                self.outbound
                    .handle_input(self.now, OutboundInput::Bytes(back));
            }
            if idle {
                return;
            }
        }
    }

    fn on_inbound(&mut self, output: InboundOutput) {
        let InboundOutput::Request(id, request) = output else {
            return self.received.push(output);
        };
        let answer = match request {
            InboundRequest::Policy { .. } => InboundAnswer::Allowed {
                tls: TlsPolicy::Required,
                dialback: true,
            },
            InboundRequest::CertificateMatches { .. } => {
                InboundAnswer::CertificateMatches(self.certificate)
            }
            InboundRequest::VerifyKey {
                from,
                to,
                stream_id,
                key,
            } => {
                // What the authoritative server does.
                let secret = DialbackSecret::new(b"of a");
                InboundAnswer::KeyVerified(match secret.verify(&to, &from, &stream_id, &key) {
                    true => DialbackOutcome::Valid,
                    false => DialbackOutcome::Invalid,
                })
            }
        };
        self.inbound
            .handle_input(self.now, InboundInput::Answer(id, answer));
    }
}

#[test]
fn both_sides_understand_each_other() {
    for (certificate, expected) in [(true, AuthMethod::External), (false, AuthMethod::Dialback)] {
        let mut pair = Pair::new(certificate);
        pair.run(OutboundInput::Connected);
        let [
            OutboundOutput::Established {
                bidi: true,
                sm: true,
                method,
            },
        ] = pair.sent[..]
        else {
            panic!("{:?}", pair.sent);
        };
        assert_eq!(method, expected);
        pair.sent.clear();
        pair.received.clear();
        let stanza = Bytes::from_static(b"<message from='x@a.example' to='y@b.example'/>");
        pair.run(OutboundInput::Send { stanza, token: 9 });
        assert!(
            matches!(pair.received[..], [InboundOutput::Stanza(_)]),
            "{:?}",
            pair.received
        );
        assert!(pair.sent.is_empty(), "no receipt yet");
        pair.inbound
            .handle_input(pair.now, InboundInput::Handled(1));
        let back = Bytes::from_static(b"<message from='y@b.example' to='x@a.example'/>");
        let send = InboundInput::Send {
            stanza: back,
            token: 0,
        };
        pair.inbound.handle_input(pair.now, send);
        pair.run(OutboundInput::Handled(0));
        assert!(
            matches!(
                pair.sent[..],
                [OutboundOutput::Delivered(9), OutboundOutput::Stanza(_)]
            ),
            "{:?}",
            pair.sent
        );
        pair.run(OutboundInput::Close(None));
        assert!(matches!(pair.sent.last(), Some(OutboundOutput::Closed(_))));
    }
}
