//! A stream of which the test writes every byte: for what a well-behaved client never does, and
//! for both sides of federation.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use entente_load::{Piece, Splitter, Stanza};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{Issued, PATIENCE};

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// What came next.
#[derive(Debug, Clone)]
pub enum Got {
    Header(Stanza),
    Element(Stanza),
    /// `</stream:stream>`
    Footer,
    /// The connection ended.
    End,
}

impl Got {
    pub fn element(self) -> Stanza {
        match self {
            Self::Element(element) => element,
            other => panic!("an element was expected, not {other:?}"),
        }
    }

    pub fn header(self) -> Stanza {
        match self {
            Self::Header(header) => header,
            other => panic!("a stream header was expected, not {other:?}"),
        }
    }
}

pub struct Wire {
    io: Box<dyn Io>,
    splitter: Splitter,
}

impl Wire {
    pub async fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address)
            .await
            .unwrap_or_else(|error| panic!("{address}: {error}"));
        Self::over(socket)
    }

    pub fn over(socket: TcpStream) -> Self {
        socket.set_nodelay(true).unwrap();
        Self {
            io: Box::new(socket),
            splitter: Splitter::default(),
        }
    }

    /// The client's side of a TLS handshake.
    pub async fn tls(self, config: Arc<ClientConfig>, name: &str) -> Result<Self, std::io::Error> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let io = TlsConnector::from(config).connect(name, self.io).await?;
        Ok(Self {
            io: Box::new(io),
            splitter: Splitter::default(),
        })
    }

    /// The server's side.
    pub async fn accept_tls(self, config: Arc<ServerConfig>) -> Result<Self, std::io::Error> {
        let io = TlsAcceptor::from(config).accept(self.io).await?;
        Ok(Self {
            io: Box::new(io),
            splitter: Splitter::default(),
        })
    }

    /// Writes; a peer that has closed already is found out by reading.
    pub async fn send(&mut self, text: impl AsRef<[u8]>) {
        let _closed = self.io.write_all(text.as_ref()).await;
        let _closed = self.io.flush().await;
    }

    pub async fn next(&mut self) -> Got {
        self.next_within(PATIENCE)
            .await
            .unwrap_or_else(|| panic!("nothing came within {PATIENCE:?}"))
    }

    pub async fn next_within(&mut self, limit: std::time::Duration) -> Option<Got> {
        tokio::time::timeout(limit, self.read()).await.ok()
    }

    async fn read(&mut self) -> Got {
        loop {
            match self.splitter.next_piece() {
                Ok(Some(Piece::Open(header))) => return Got::Header(header),
                Ok(Some(Piece::Element(element))) => return Got::Element(element),
                Ok(Some(Piece::Close)) => return Got::Footer,
                Ok(None) => {}
                Err(error) => panic!("the other side does not send XML: {error}"),
            }
            // A reset is an end, too.
            if self.io.read_buf(self.splitter.buffer()).await.unwrap_or(0) == 0 {
                return Got::End;
            }
        }
    }

    /// The next element for which `wanted` holds; others are passed over.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&Stanza) -> bool) -> Stanza {
        let search = async {
            loop {
                match self.read().await {
                    Got::Element(element) if wanted(&element) => return element,
                    Got::Footer | Got::End => panic!("the stream ended before: {what}"),
                    _ => {}
                }
            }
        };
        super::within(what, PATIENCE, search).await
    }

    /// Asserts that the stream ends with this stream error (RFC 6120 section 4.9), footer and the
    /// end of the connection; a header may come before. Any of several conditions will do.
    pub async fn ends_with(&mut self, conditions: &[&str]) {
        loop {
            match self.next().await {
                Got::Header(_) => {}
                Got::Element(element) if element.is("error") => {
                    assert!(
                        conditions
                            .iter()
                            .any(|condition| element.contains(&format!("<{condition}"))),
                        "{conditions:?} was expected, not {element}"
                    );
                    break;
                }
                other => panic!("a stream error {conditions:?} was expected, not {other:?}"),
            }
        }
        assert!(
            matches!(self.next().await, Got::Footer),
            "no </stream:stream> after the error"
        );
        assert!(
            matches!(self.next().await, Got::End),
            "the connection stays open after the error"
        );
    }

    /// Asserts that the connection ends, whatever is said before.
    pub async fn closes(&mut self) {
        while !matches!(self.next().await, Got::End) {}
    }

    /// Asserts that the next thing is white space.
    pub async fn keepalive(&mut self) {
        let buffer = self.splitter.buffer();
        buffer.clear();
        let read = super::within("a keepalive", PATIENCE, self.io.read_buf(buffer));
        assert!(read.await.unwrap() > 0, "the connection ended");
        assert!(buffer.iter().all(u8::is_ascii_whitespace), "{buffer:?}");
    }

    /// Another stream begins on the same connection.
    pub fn restart(&mut self) {
        self.splitter.restart();
    }

    /// Sends a header and takes the answer's header and features.
    pub async fn open(&mut self, header: &str) -> (Stanza, Stanza) {
        self.splitter.restart();
        self.send(header).await;
        let header = self.next().await.header();
        let features = self.next().await.element();
        assert!(features.is("features"), "{features}");
        (header, features)
    }

    /// STARTTLS on an open stream.
    pub async fn starttls(
        mut self,
        config: Arc<ClientConfig>,
        name: &str,
    ) -> Result<Self, std::io::Error> {
        self.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
            .await;
        let answer = self.next().await.element();
        assert!(answer.is("proceed"), "{answer}");
        self.tls(config, name).await
    }
}

/// The header of a stream between servers.
pub fn stream_header(from: Option<&str>, to: &str) -> String {
    let from = from.map_or_else(String::new, |from| format!(" from='{from}'"));
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
         xmlns:db='jabber:server:dialback'{from} to='{to}' version='1.0'>"
    )
}

/// A stream of the server of `from`, authenticated by its certificate.
pub async fn federated(address: SocketAddr, own: &Issued, from: &str, to: &str) -> Wire {
    let mut wire = Wire::connect(address).await;
    // MongooseIM says `from` only under TLS.
    wire.open(&stream_header(None, to)).await;
    let mut wire = wire
        .starttls(client_tls(rustls::ALL_VERSIONS, Some(own)), to)
        .await
        .unwrap();
    let (_, features) = wire.open(&stream_header(Some(from), to)).await;
    assert!(features.contains("EXTERNAL"), "{features}");
    wire.send(format!(
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>{}</auth>",
        STANDARD.encode(from)
    ))
    .await;
    let answer = wire.next().await.element();
    assert!(answer.is("success"), "{answer}");
    wire.open(&stream_header(Some(from), to)).await;
    wire
}

/// TLS as a client that accepts any certificate, of these versions, with a certificate of its own
/// or without.
pub fn client_tls(
    versions: &[&'static rustls::SupportedProtocolVersion],
    own: Option<&Issued>,
) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anything));
    Arc::new(match own {
        Some(issued) => builder
            .with_client_auth_cert(issued.chain(), issued.private_key())
            .unwrap(),
        None => builder.with_no_client_auth(),
    })
}

#[derive(Debug)]
struct Anything;

impl rustls::client::danger::ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let provider = rustls::crypto::ring::default_provider();
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let provider = rustls::crypto::ring::default_provider();
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
