//! A client stream with a scripted client on one side and a scripted shell on the other.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use entente_xmpp_core::jid::FullJid;
use entente_xmpp_core::sasl::{ChannelBindings, DecoySecret, ScramHash, ScramKeys};
use entente_xmpp_core::stream::{
    ClientAnswer, ClientConfig, ClientInput, ClientOutput, ClientRequest, ClientStream, RequestId,
    TlsChannel,
};

pub(crate) const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' to='example.com' version='1.0'>";

/// A stream, its clock, and the outputs that nobody looked at yet.
pub(crate) struct Talk {
    pub(crate) stream: ClientStream,
    pub(crate) now: Instant,
    pub(crate) outputs: VecDeque<ClientOutput>,
}

pub(crate) fn config() -> ClientConfig {
    ClientConfig::new(
        vec![Arc::from("example.com"), Arc::from("example.org")],
        DecoySecret::new(b"decoys"),
    )
}

pub(crate) fn keys(hash: ScramHash) -> ScramKeys {
    let iterations = NonZeroU32::new(4096).unwrap();
    ScramKeys::derive(hash, "pencil", b"0123456789abcdef", iterations).unwrap()
}

impl Talk {
    /// A connection without TLS.
    pub(crate) fn plain(config: ClientConfig) -> Self {
        let now = Instant::now();
        Self {
            stream: ClientStream::new(Arc::new(config), &[7; 32], now),
            now,
            outputs: VecDeque::new(),
        }
    }

    /// A connection of direct TLS with both channel bindings.
    pub(crate) fn tls(config: ClientConfig) -> Self {
        let mut talk = Self::plain(config);
        talk.input(ClientInput::TlsEstablished(channel()));
        talk
    }

    /// Over TLS, authenticated and bound as `juliet@example.com/balcony`.
    pub(crate) fn bound(config: ClientConfig) -> Self {
        let mut talk = Self::authenticated(config);
        talk.send("<iq type='set' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
        let (id, _) = talk.request();
        let jid = FullJid::new("juliet@example.com/balcony").unwrap();
        talk.answer(id, ClientAnswer::Bound(jid));
        talk.outputs.clear();
        talk
    }

    /// Over TLS, authenticated as juliet, features read.
    pub(crate) fn authenticated(config: ClientConfig) -> Self {
        let mut talk = Self::tls(config);
        talk.send(HEADER);
        talk.send(&auth("PLAIN", b"\0juliet\0pencil"));
        let (id, _) = talk.request();
        talk.answer(id, ClientAnswer::Credentials(keys(ScramHash::Sha256)));
        talk.send(HEADER);
        talk.outputs.clear();
        talk
    }

    pub(crate) fn input(&mut self, input: ClientInput) -> String {
        self.stream.handle_input(self.now, input);
        while let Some(output) = self.stream.poll_output() {
            self.outputs.push_back(output);
        }
        let mut written = BytesMut::new();
        self.stream.take_transmit(&mut written);
        String::from_utf8(written.to_vec()).unwrap()
    }

    /// The client sends; gives what it gets.
    pub(crate) fn send(&mut self, xml: &str) -> String {
        self.input(ClientInput::Bytes(BytesMut::from(xml)))
    }

    pub(crate) fn answer(&mut self, id: RequestId, answer: ClientAnswer) -> String {
        self.input(ClientInput::Answer(id, answer))
    }

    /// The shell delivers a stanza.
    pub(crate) fn deliver(&mut self, stanza: &'static str, token: u64) -> String {
        self.input(ClientInput::Send {
            stanza: Bytes::from_static(stanza.as_bytes()),
            token,
        })
    }

    pub(crate) fn wait(&mut self, time: Duration) -> String {
        self.now += time;
        self.input(ClientInput::Timeout)
    }

    pub(crate) fn next(&mut self) -> ClientOutput {
        self.outputs.pop_front().expect("an output")
    }

    /// The next output is a request.
    pub(crate) fn request(&mut self) -> (RequestId, ClientRequest) {
        while let Some(output) = self.outputs.pop_front() {
            if let ClientOutput::Request(id, request) = output {
                return (id, request);
            }
        }
        panic!("no request")
    }

    /// The tokens that were reported delivered.
    pub(crate) fn delivered(&mut self) -> Vec<u64> {
        let delivered = self.outputs.iter().filter_map(|output| match output {
            ClientOutput::Delivered(token) => Some(*token),
            _ => None,
        });
        let tokens = delivered.collect();
        self.outputs.clear();
        tokens
    }
}

pub(crate) fn channel() -> TlsChannel {
    TlsChannel {
        bindings: ChannelBindings {
            exporter: Some([9; 32]),
            end_point: Some(vec![8; 32]),
        },
        tls13: true,
    }
}

pub(crate) fn auth(mechanism: &str, message: &[u8]) -> String {
    format!(
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{mechanism}'>{}</auth>",
        STANDARD.encode(message)
    )
}

pub(crate) fn response(message: &str) -> String {
    format!(
        "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{}</response>",
        STANDARD.encode(message)
    )
}

/// The decoded text of the only SASL element in `xml`.
pub(crate) fn sasl_text(xml: &str) -> String {
    let start = xml.find('>').unwrap() + 1;
    let end = start + xml[start..].find('<').unwrap();
    String::from_utf8(STANDARD.decode(&xml[start..end]).unwrap()).unwrap()
}
