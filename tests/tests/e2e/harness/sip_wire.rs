//! A SIP connection of which the test writes every byte.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::PATIENCE;

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// One message, as it came.
#[derive(Debug, Clone)]
pub struct SipMessage {
    pub first_line: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl SipMessage {
    /// The code of a response; 0 of a request.
    pub fn status(&self) -> u16 {
        self.first_line
            .strip_prefix("SIP/2.0 ")
            .and_then(|rest| rest.get(..3))
            .map_or(0, |code| code.parse().unwrap())
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

pub struct SipWire {
    io: Box<dyn Io>,
    buffer: Vec<u8>,
}

impl SipWire {
    /// TLS with this configuration.
    pub async fn connect(
        address: SocketAddr,
        config: Arc<ClientConfig>,
        name: &str,
    ) -> Result<Self, std::io::Error> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let io = TlsConnector::from(config).connect(name, socket).await?;
        Ok(Self {
            io: Box::new(io),
            buffer: Vec::new(),
        })
    }

    /// Writes; a peer that has closed already is found out by reading.
    pub async fn send(&mut self, text: impl AsRef<[u8]>) {
        let _closed = self.io.write_all(text.as_ref()).await;
        let _closed = self.io.flush().await;
    }

    /// The next message; `None` at the end of the connection, however it ends.
    pub async fn next(&mut self) -> Option<SipMessage> {
        tokio::time::timeout(PATIENCE, self.read())
            .await
            .unwrap_or_else(|_| panic!("nothing came within {PATIENCE:?}"))
    }

    /// The next message, which must be a response; its code.
    pub async fn status(&mut self) -> u16 {
        self.next().await.expect("a response").status()
    }

    /// Asserts that the next bytes are these.
    pub async fn expect_bytes(&mut self, wanted: &[u8]) {
        while self.buffer.len() < wanted.len() {
            let more = tokio::time::timeout(PATIENCE, self.more()).await;
            assert!(more.unwrap(), "the connection ended before {wanted:?}");
        }
        let got: Vec<u8> = self.buffer.drain(..wanted.len()).collect();
        assert_eq!(got, wanted);
    }

    /// Asserts that the connection ends, whatever is said before.
    pub async fn ends(&mut self) {
        while self.next().await.is_some() {}
    }

    async fn read(&mut self) -> Option<SipMessage> {
        loop {
            if let Some(message) = self.take() {
                return Some(message);
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn more(&mut self) -> bool {
        let mut bytes = [0; 4096];
        match self.io.read(&mut bytes).await {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.buffer.extend_from_slice(&bytes[..count]);
                true
            }
        }
    }

    fn take(&mut self) -> Option<SipMessage> {
        let end = self
            .buffer
            .windows(4)
            .position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8(self.buffer[..end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let first_line = lines.next().unwrap().to_owned();
        let headers: Vec<(String, String)> = lines
            .map(|line| {
                let (name, value) = line.split_once(':').unwrap();
                (name.trim().to_owned(), value.trim().to_owned())
            })
            .collect();
        let mut message = SipMessage {
            first_line,
            headers,
            body: String::new(),
        };
        let length: usize = message.header("Content-Length").unwrap().parse().unwrap();
        let whole = end + 4 + length;
        if self.buffer.len() < whole {
            return None;
        }
        let bytes: Vec<u8> = self.buffer.drain(..whole).collect();
        message.body = String::from_utf8(bytes[end + 4..].to_vec()).unwrap();
        Some(message)
    }
}
