//! The client: connect, log in, send, receive.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::future::Future;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use crate::endpoint::{Endpoint, Login, Mechanism, TlsMode};
use crate::error::{ClientError, TlsSetupError};
use crate::sasl::{self, Scram};
use crate::splitter::{Piece, Splitter};
use crate::stanza::{Stanza, escape};
use crate::stream_management::{ResumeState, StreamManagement};
use crate::tls;
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

    /// Connects, secures the connection as the endpoint says and opens the stream; afterwards
    /// [`features`](Self::features) holds what the server offers before authentication.
    ///
    /// # Errors
    /// When any step fails or exceeds the endpoint's time-out.
    pub async fn connect(endpoint: &Endpoint, domain: &str) -> Result<Self, ClientError> {
        let mut client = Self::tcp(endpoint, domain).await?;
        if endpoint.tls == TlsMode::Direct {
            client = client.into_tls(endpoint).await?;
        }
        client.open_stream().await?;
        if endpoint.tls == TlsMode::Starttls {
            client = client.starttls(endpoint).await?;
            client.open_stream().await?;
        }
        Ok(client)
    }

    /// [`connect`](Self::connect) and [`login`](Self::login).
    ///
    /// # Errors
    /// As these two.
    pub async fn session(endpoint: &Endpoint, login: &Login) -> Result<Self, ClientError> {
        let mut client = Self::connect(endpoint, &login.domain).await?;
        client.login(login, endpoint.mechanism).await?;
        Ok(client)
    }

    /// Authenticates and binds the resource.
    ///
    /// # Errors
    /// As [`authenticate`](Self::authenticate) and [`bind`](Self::bind).
    pub async fn login(
        &mut self,
        login: &Login,
        mechanism: Option<Mechanism>,
    ) -> Result<(), ClientError> {
        self.authenticate(login, mechanism).await?;
        self.bind(login.resource.as_deref()).await
    }

    /// Negotiates STARTTLS on an open stream (RFC 6120 section 5.4); the stream must be opened
    /// again afterwards.
    ///
    /// # Errors
    /// When the server doesn't offer or refuses it, or the handshake fails.
    pub async fn starttls(mut self, endpoint: &Endpoint) -> Result<Self, ClientError> {
        if !self
            .features
            .as_ref()
            .is_some_and(|f| f.contains("urn:ietf:params:xml:ns:xmpp-tls"))
        {
            return Err(ClientError::NoStartTls);
        }
        self.queue("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
        let answer = self.step().await?;
        if !answer.is("proceed") {
            return Err(ClientError::Unexpected(answer));
        }
        self.splitter = Splitter::default();
        self.into_tls(endpoint).await
    }

    /// Begins TLS on the connection as it is now.
    ///
    /// # Errors
    /// When the handshake fails.
    pub async fn into_tls(mut self, endpoint: &Endpoint) -> Result<Self, ClientError> {
        let Transport::Plain(socket) = self.transport else {
            return Ok(self);
        };
        let name =
            ServerName::try_from(self.domain.clone()).map_err(|_| TlsSetupError::ServerName)?;
        let connector = TlsConnector::from(tls::config(endpoint)?);
        let stream = timeout(self.step_timeout, connector.connect(name, socket))
            .await
            .map_err(|_| ClientError::Timeout(self.step_timeout))??;
        self.transport = Transport::Tls(Box::new(stream));
        Ok(self)
    }

    /// Sends a stream header and waits for the server's header and features.
    ///
    /// # Errors
    /// When something else comes, or nothing in time.
    pub async fn open_stream(&mut self) -> Result<(), ClientError> {
        self.splitter.restart();
        let header = format!(
            "<?xml version='1.0'?><stream:stream to='{}' version='1.0' xml:lang='en' \
             xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
            escape(&self.domain)
        );
        self.queue(&header);
        self.features = None;
        let features = self.step().await?;
        if !features.is("features") {
            return Err(ClientError::Unexpected(features));
        }
        self.features = Some(features);
        Ok(())
    }

    /// SASL with the demanded mechanism, else the strongest that is offered (without channel
    /// binding), and the new stream after it.
    ///
    /// # Errors
    /// When no mechanism suits, the server refuses, or its signature is wrong.
    pub async fn authenticate(
        &mut self,
        login: &Login,
        mechanism: Option<Mechanism>,
    ) -> Result<(), ClientError> {
        let mechanism = match mechanism {
            Some(demanded) => demanded,
            None => self.strongest_mechanism()?,
        };
        match mechanism {
            Mechanism::Plain => self.plain(login).await?,
            _ => self.scram(login, mechanism).await?,
        }
        self.open_stream().await
    }

    fn strongest_mechanism(&self) -> Result<Mechanism, ClientError> {
        let features = self.features.as_ref().ok_or(ClientError::Closed)?;
        [
            Mechanism::ScramSha256,
            Mechanism::ScramSha1,
            Mechanism::Plain,
        ]
        .into_iter()
        .find(|m| features.contains(&format!(">{}<", m.name())))
        .ok_or_else(|| ClientError::NoMechanism(features.clone()))
    }

    async fn plain(&mut self, login: &Login) -> Result<(), ClientError> {
        self.queue(&format!(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{}</auth>",
            sasl::plain(&login.user, &login.password)
        ));
        self.sasl_answer("success").await.map(drop)
    }

    async fn scram(&mut self, login: &Login, mechanism: Mechanism) -> Result<(), ClientError> {
        let binding = match mechanism {
            Mechanism::ScramSha1Plus | Mechanism::ScramSha256Plus => Some(self.tls_exporter()?),
            _ => None,
        };
        let nonce = format!("{:032x}", rand::random::<u128>());
        let scram = Scram::new(mechanism, &login.user, &login.password, nonce, binding);
        self.queue(&format!(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{}'>{}</auth>",
            mechanism.name(),
            scram.first()
        ));
        let challenge = self.sasl_answer("challenge").await?;
        let (answer, signature) =
            scram.answer(&challenge.text_of("challenge").unwrap_or_default())?;
        self.queue(&format!(
            "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{answer}</response>"
        ));
        let success = self.sasl_answer("success").await?;
        signature.check(&success.text_of("success").unwrap_or_default())
    }

    async fn sasl_answer(&mut self, wanted: &str) -> Result<Stanza, ClientError> {
        let answer = self.step().await?;
        match answer.name() {
            name if name == wanted => Ok(answer),
            "failure" => Err(ClientError::AuthRefused(answer)),
            _ => Err(ClientError::Unexpected(answer)),
        }
    }

    /// The tls-exporter channel binding (RFC 9266).
    fn tls_exporter(&self) -> Result<[u8; 32], ClientError> {
        let Transport::Tls(stream) = &self.transport else {
            return Err(ClientError::NoStartTls);
        };
        let exported = stream.get_ref().1.export_keying_material(
            [0; 32],
            b"EXPORTER-Channel-Binding",
            Some(b""),
        );
        Ok(exported.map_err(TlsSetupError::from)?)
    }

    /// Binds a resource (RFC 6120 section 7); [`jid`](Self::jid) is set afterwards.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn bind(&mut self, resource: Option<&str>) -> Result<(), ClientError> {
        let resource = resource.map_or_else(String::new, |r| {
            format!("<resource>{}</resource>", escape(r))
        });
        self.queue(&format!(
            "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>{resource}\
             </bind></iq>"
        ));
        let answer = self
            .expect(self.step_timeout, |s| {
                s.is("iq") && s.raw_attr("id") == Some("bind")
            })
            .await?;
        match answer.text_of("jid") {
            Some(jid) if answer.raw_attr("type") == Some("result") => {
                self.jid = jid.into_owned();
                Ok(())
            }
            _ => Err(ClientError::Refused(answer)),
        }
    }

    /// Enables stream management (XEP-0198). From here on `<r/>` is answered and acks are counted
    /// by the client itself, and neither shows up among the received stanzas.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn enable_sm(&mut self, resume: bool) -> Result<(), ClientError> {
        let resume = if resume { " resume='true'" } else { "" };
        self.queue(&format!("<enable xmlns='urn:xmpp:sm:3'{resume}/>"));
        let answer = self
            .expect(self.step_timeout, |s| s.contains("urn:xmpp:sm:3"))
            .await?;
        if answer.name() != "enabled" {
            return Err(ClientError::Refused(answer));
        }
        let granted = matches!(answer.raw_attr("resume"), Some("true" | "1"));
        let id = answer.attr("id").filter(|_| granted);
        self.sm = Some(StreamManagement::enabled(id.map(Cow::into_owned)));
        Ok(())
    }

    /// Resumes an earlier stream in place of binding; stanzas it left unacked are sent again.
    /// Gives the state back if the server refuses: bind and send them anew then.
    ///
    /// # Errors
    /// When the connection fails meanwhile (the state is lost with it only if it was taken in; use
    /// [`try_resume`](Self::try_resume) to keep it).
    pub async fn resume(&mut self, state: ResumeState) -> Result<Option<ResumeState>, ClientError> {
        let mut state = Some(state);
        self.try_resume(&mut state).await?;
        Ok(state)
    }

    /// As [`resume`](Self::resume), but `state` is emptied only on success, so that nothing is lost
    /// when the connection breaks in between.
    ///
    /// # Errors
    /// When the connection fails or something else than an answer comes.
    pub async fn try_resume(&mut self, state: &mut Option<ResumeState>) -> Result<(), ClientError> {
        let Some(wanted) = state.as_mut() else {
            return Ok(());
        };
        let Some(id) = &wanted.sm.id else {
            return Ok(());
        };
        self.queue(&format!(
            "<resume xmlns='urn:xmpp:sm:3' previd='{}' h='{}'/>",
            escape(id),
            wanted.sm.handled
        ));
        let answer = self.step().await?;
        let h = answer.raw_attr("h").and_then(|h| h.parse().ok());
        if let Some(h) = h {
            wanted.sm.ack(h);
        }
        if answer.name() != "resumed" {
            return if answer.is("failed") {
                Ok(())
            } else {
                Err(ClientError::Unexpected(answer))
            };
        }
        if let Some(mut resumed) = state.take() {
            self.jid = resumed.jid;
            for stanza in resumed.sm.unacked_stanzas() {
                self.outgoing.extend_from_slice(stanza);
            }
            resumed.sm.asked = false;
            self.sm = Some(resumed.sm);
        }
        Ok(())
    }

    /// What to give to a later [`resume`](Self::resume); `None` without stream management. Drops
    /// the connection without closing the stream.
    pub fn into_resume_state(self) -> Option<ResumeState> {
        let jid = self.jid;
        self.sm.map(|sm| ResumeState { sm, jid })
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

    /// Appends one stanza, and remembers `tag` until the server acks it.
    pub fn queue_stanza(&mut self, xml: Bytes, tag: u64) {
        self.outgoing.extend_from_slice(&xml);
        if let Some(sm) = &mut self.sm {
            sm.sent(Some(tag), xml);
        }
    }

    /// Asks for an ack, unless one was asked for already and is still to come.
    pub fn ask_for_ack(&mut self) {
        if let Some(sm) = self.sm.as_mut().filter(|sm| !sm.asked) {
            sm.asked = true;
            self.outgoing
                .extend_from_slice(b"<r xmlns='urn:xmpp:sm:3'/>");
        }
    }

    /// Whether an ack was asked for and has not come.
    pub fn waits_for_ack(&self) -> bool {
        self.sm.as_ref().is_some_and(|sm| sm.asked)
    }

    /// Tags acked by the server since the last call.
    pub fn take_acked(&mut self) -> Vec<u64> {
        self.sm
            .as_mut()
            .map(StreamManagement::take_acked)
            .unwrap_or_default()
    }

    /// Stanzas sent that the server has not acked; 0 without stream management.
    pub fn unacked(&self) -> usize {
        self.sm.as_ref().map_or(0, StreamManagement::unacked)
    }

    /// Writes out everything queued.
    ///
    /// # Errors
    /// When the connection is broken.
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        if self.outgoing.is_empty() {
            return Ok(());
        }
        while !self.outgoing.is_empty() {
            let written = self.transport.write(&self.outgoing).await?;
            if written == 0 {
                return Err(ClientError::Closed);
            }
            self.outgoing.advance(written);
        }
        self.transport.flush().await?;
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
