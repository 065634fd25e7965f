//! The client: connect, log in, send, receive.

mod negotiation;
mod resumption;

use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::endpoint::Endpoint;
use crate::error::ClientError;
use crate::splitter::{Piece, Splitter};
use crate::stanza::{Stanza, escape};
use crate::stream_management::StreamManagement;
use crate::transport::Transport;

/// Stanzas that [`Client::expect`] may pass over and keep.
const INBOX: usize = 20_000;
/// Room made in the receive buffer before each read.
const READ_SIZE: usize = 16 * 1024;

/// One XMPP connection of a user.
///
/// Everything sent goes through a buffer ([`queue`](Self::queue)) that [`flush`](Self::flush) and
/// every receiving method write out, so receiving is cancel-safe and writes coalesce.
pub struct Client {
    transport: Transport,
    splitter: Splitter,
    outgoing: BytesMut,
    unflushed: bool,
    inbox: VecDeque<Stanza>,
    domain: String,
    jid: String,
    header: Option<Stanza>,
    features: Option<Stanza>,
    sm: Option<StreamManagement>,
    step_timeout: Duration,
    answers: bool,
    closed: bool,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("jid", &self.jid)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Connects over TCP only: for tests that write every byte themselves.
    ///
    /// # Errors
    /// When no connection is made within the endpoint's step time-out.
    pub async fn tcp(endpoint: &Endpoint, domain: &str) -> Result<Self, ClientError> {
        let socket = timeout(endpoint.step_timeout, TcpStream::connect(endpoint.address))
            .await
            .map_err(|_| ClientError::Timeout(endpoint.step_timeout))??;
        socket.set_nodelay(true)?;
        Ok(Self {
            transport: Transport::Plain(socket),
            splitter: Splitter::default(),
            outgoing: BytesMut::new(),
            unflushed: false,
            inbox: VecDeque::new(),
            domain: domain.to_owned(),
            jid: String::new(),
            header: None,
            features: None,
            sm: None,
            step_timeout: endpoint.step_timeout,
            answers: true,
            closed: false,
        })
    }

    /// The full JID, once bound.
    pub fn jid(&self) -> &str {
        &self.jid
    }

    /// The stream features that came last.
    pub fn features(&self) -> Option<&Stanza> {
        self.features.as_ref()
    }

    /// The server's last stream header.
    pub fn header(&self) -> Option<&Stanza> {
        self.header.as_ref()
    }

    /// Whether the client answers `<r/>` (with stream management) and pings (XEP-0199) by itself
    /// and keeps them out of the received stanzas. On by default.
    pub fn set_automatic_answers(&mut self, on: bool) {
        self.answers = on;
    }

    /// Appends bytes to the outgoing buffer, as they are. With stream management enabled, each call
    /// must be exactly one stanza, or none (white space, `<r/>`): see
    /// [`queue_stanza`](Self::queue_stanza).
    pub fn queue(&mut self, xml: &str) {
        self.outgoing.extend_from_slice(xml.as_bytes());
        let stanza = ["<message", "<presence", "<iq"]
            .iter()
            .any(|s| xml.starts_with(s));
        if let Some(sm) = self.sm.as_mut().filter(|_| stanza) {
            sm.sent(None, Bytes::copy_from_slice(xml.as_bytes()));
        }
    }

    /// Writes out everything queued.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        if self.outgoing.is_empty() && !self.unflushed {
            return Ok(());
        }
        while !self.outgoing.is_empty() {
            // Remembered, because the caller may drop this future before the TLS layer has passed
            // everything on.
            self.unflushed = true;
            let written = self.transport.write(&self.outgoing).await?;
            if written == 0 {
                return Err(ClientError::Closed);
            }
            self.outgoing.advance(written);
        }
        self.transport.flush().await?;
        self.unflushed = false;
        Ok(())
    }

    /// Queues and writes.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn send(&mut self, xml: impl AsRef<str>) -> Result<(), ClientError> {
        self.queue(xml.as_ref());
        self.flush().await
    }

    /// Writes bytes that need not be XML.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        self.outgoing.extend_from_slice(bytes);
        self.flush().await
    }

    /// Writes what is queued and waits for bytes; then take the stanzas with
    /// [`pop`](Self::pop) until there is none. Cancel-safe.
    ///
    /// # Errors
    /// [`ClientError::Closed`] at the end of the stream, else when the connection is broken.
    pub async fn fill(&mut self) -> Result<(), ClientError> {
        self.flush().await?;
        if self.closed {
            return Err(ClientError::Closed);
        }
        let buffer = self.splitter.buffer();
        buffer.reserve(READ_SIZE);
        if self.transport.read_buf(buffer).await? == 0 {
            self.closed = true;
            return Err(ClientError::Closed);
        }
        Ok(())
    }

    /// The next stanza that has arrived whole, without waiting. Answers to `<r/>` and pings are
    /// queued on the way; [`fill`](Self::fill) or [`flush`](Self::flush) sends them.
    ///
    /// # Errors
    /// For a stream error or the end of the stream.
    pub fn pop(&mut self) -> Result<Option<Stanza>, ClientError> {
        match self.inbox.pop_front() {
            Some(stanza) => Ok(Some(stanza)),
            None => self.cut(),
        }
    }

    fn cut(&mut self) -> Result<Option<Stanza>, ClientError> {
        while let Some(piece) = self.splitter.next_piece()? {
            match piece {
                Piece::Open(header) => self.header = Some(header),
                Piece::Close => {
                    self.closed = true;
                    return Err(ClientError::Closed);
                }
                Piece::Element(e) if e.name() == "stream:error" => {
                    return Err(ClientError::StreamError(e));
                }
                Piece::Element(e) => {
                    if !self.take_care_of(&e) {
                        return Ok(Some(e));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Whether the element needs nobody else's attention.
    fn take_care_of(&mut self, element: &Stanza) -> bool {
        let name = element.name();
        if let Some(sm) = &mut self.sm {
            match name {
                "message" | "presence" | "iq" => sm.handled = sm.handled.wrapping_add(1),
                "a" => {
                    sm.asked = false;
                    if let Some(h) = element.raw_attr("h").and_then(|h| h.parse().ok()) {
                        sm.ack(h);
                    }
                    return true;
                }
                "r" if self.answers => {
                    let answer = format!("<a xmlns='urn:xmpp:sm:3' h='{}'/>", sm.handled);
                    self.outgoing.extend_from_slice(answer.as_bytes());
                    return true;
                }
                _ => {}
            }
        }
        let ping = self.answers
            && name == "iq"
            && element.raw_attr("type") == Some("get")
            && element.contains("urn:xmpp:ping");
        if ping {
            let to = element.raw_attr("from").map_or_else(String::new, |from| {
                format!(" to='{}'", from.replace('\'', "&apos;"))
            });
            let id = element
                .raw_attr("id")
                .unwrap_or_default()
                .replace('\'', "&apos;");
            self.queue(&format!("<iq type='result'{to} id='{id}'/>"));
        }
        ping
    }

    /// The next stanza, in the order of arrival (those passed over by [`expect`](Self::expect)
    /// come first). Cancel-safe.
    ///
    /// # Errors
    /// For a stream error or the end of the stream.
    pub async fn recv(&mut self) -> Result<Stanza, ClientError> {
        loop {
            if let Some(stanza) = self.pop()? {
                return Ok(stanza);
            }
            self.fill().await?;
        }
    }

    /// The first stanza for which `wanted` holds, among those passed over earlier and those to
    /// come; others are kept for later calls.
    ///
    /// # Errors
    /// [`ClientError::Timeout`] when none comes within `limit`; else as [`recv`](Self::recv).
    pub async fn expect(
        &mut self,
        limit: Duration,
        wanted: impl Fn(&Stanza) -> bool,
    ) -> Result<Stanza, ClientError> {
        if let Some(at) = self.inbox.iter().position(&wanted)
            && let Some(stanza) = self.inbox.remove(at)
        {
            return Ok(stanza);
        }
        let deadline = Instant::now() + limit;
        loop {
            while let Some(stanza) = self.cut()? {
                if wanted(&stanza) {
                    return Ok(stanza);
                }
                if self.inbox.len() >= INBOX {
                    return Err(ClientError::InboxFull(INBOX));
                }
                self.inbox.push_back(stanza);
            }
            timeout_at(deadline, self.fill())
                .await
                .map_err(|_| ClientError::Timeout(limit))??;
        }
    }

    /// Asserts silence: the first unexpected stanza for which `unwanted` holds, if one arrives
    /// within `limit`.
    ///
    /// # Errors
    /// When the connection ends meanwhile.
    pub async fn never(
        &mut self,
        limit: Duration,
        unwanted: impl Fn(&Stanza) -> bool,
    ) -> Result<Option<Stanza>, ClientError> {
        match self.expect(limit, unwanted).await {
            Ok(stanza) => Ok(Some(stanza)),
            Err(ClientError::Timeout(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends an IQ with a fresh id and waits for its answer, result or error. `payload` is the
    /// child element; `to` empty means the own account.
    ///
    /// # Errors
    /// As [`expect`](Self::expect).
    pub async fn iq(
        &mut self,
        kind: &str,
        to: &str,
        payload: &str,
        limit: Duration,
    ) -> Result<Stanza, ClientError> {
        let id = format!("q{:016x}", rand::random::<u64>());
        let to = if to.is_empty() {
            String::new()
        } else {
            format!(" to='{}'", escape(to))
        };
        self.queue(&format!("<iq type='{kind}' id='{id}'{to}>{payload}</iq>"));
        self.expect(limit, |s| {
            s.is("iq")
                && s.raw_attr("id") == Some(&id)
                && matches!(s.raw_attr("type"), Some("result" | "error"))
        })
        .await
    }

    /// Closes the stream and waits, shortly, for the server to do the same.
    pub async fn close(mut self) {
        let goodbye = async {
            self.send("</stream:stream>").await?;
            loop {
                self.recv().await?;
            }
        };
        // Whatever ends it, the connection is dropped now; an error would tell nothing new.
        let _: Result<Result<(), ClientError>, _> = timeout(Duration::from_secs(2), goodbye).await;
    }

    /// One element within the step time-out, during negotiation.
    fn step(&mut self) -> impl Future<Output = Result<Stanza, ClientError>> + '_ {
        let limit = self.step_timeout;
        async move {
            timeout(limit, self.recv())
                .await
                .map_err(|_| ClientError::Timeout(limit))?
        }
    }
}
