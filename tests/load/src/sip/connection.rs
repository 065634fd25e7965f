//! A connection that carries SIP messages, over TLS or plain TCP.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::SipText;

/// Both ways of a byte stream.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// One connection.
pub struct SipConnection {
    stream: Box<dyn Stream>,
    /// Our end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// The certificates that the other end showed; none over plain TCP.
    pub certificates: Vec<CertificateDer<'static>>,
}

/// What comes in.
pub struct SipReader {
    half: ReadHalf<Box<dyn Stream>>,
    buffer: BytesMut,
}

/// What goes out.
pub struct SipSender {
    half: WriteHalf<Box<dyn Stream>>,
}

impl SipConnection {
    /// Opens a connection to `to`, from the address `from` if one is given.
    pub async fn connect(
        to: SocketAddr,
        from: Option<IpAddr>,
        tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    ) -> io::Result<Self> {
        let socket = match to {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if let Some(from) = from {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        let stream = socket.connect(to).await?;
        stream.set_nodelay(true)?;
        let (local, remote) = (stream.local_addr()?, to);
        let Some((config, name)) = tls else {
            return Ok(Self::new(Box::new(stream), local, remote, Vec::new()));
        };
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        let shown = certificates(stream.get_ref().1.peer_certificates());
        Ok(Self::new(Box::new(stream), local, remote, shown))
    }

    /// The other side of [`connect`](Self::connect), on an accepted socket.
    pub async fn accept(stream: TcpStream, tls: Option<Arc<ServerConfig>>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let (local, remote) = (stream.local_addr()?, stream.peer_addr()?);
        let Some(config) = tls else {
            return Ok(Self::new(Box::new(stream), local, remote, Vec::new()));
        };
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        let shown = certificates(stream.get_ref().1.peer_certificates());
        Ok(Self::new(Box::new(stream), local, remote, shown))
    }

    fn new(
        stream: Box<dyn Stream>,
        local: SocketAddr,
        remote: SocketAddr,
        certificates: Vec<CertificateDer<'static>>,
    ) -> Self {
        Self {
            stream,
            local,
            remote,
            certificates,
        }
    }

    /// The two directions.
    pub fn split(self) -> (SipReader, SipSender) {
        let (read, write) = tokio::io::split(self.stream);
        let reader = SipReader {
            half: read,
            buffer: BytesMut::new(),
        };
        (reader, SipSender { half: write })
    }
}

fn certificates(shown: Option<&[CertificateDer<'_>]>) -> Vec<CertificateDer<'static>> {
    shown
        .unwrap_or_default()
        .iter()
        .map(|one| one.clone().into_owned())
        .collect()
}

impl SipReader {
    /// The next message; `None` at the end of the stream. A message that can't be read ends it with
    /// an error. Cancel safe.
    pub async fn receive(&mut self) -> io::Result<Option<SipText>> {
        loop {
            match SipText::take(&mut self.buffer) {
                Ok(Some(message)) => return Ok(Some(message)),
                Ok(None) => {}
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
            if self.half.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// A message that has arrived already, without waiting.
    pub fn ready(&mut self) -> io::Result<Option<SipText>> {
        SipText::take(&mut self.buffer)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

impl SipSender {
    /// Writes bytes and flushes.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.half.write_all(bytes).await?;
        self.half.flush().await
    }

    /// Writes several messages in one go.
    pub async fn send_all(&mut self, messages: &[Bytes]) -> io::Result<()> {
        let whole: Vec<u8> = messages.concat();
        self.send(&whole).await
    }

    /// Ends our direction.
    pub async fn close(&mut self) -> io::Result<()> {
        self.half.shutdown().await
    }
}
