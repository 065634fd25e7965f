//! The loop around a stream that another server opened.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use entente_xmpp_core::dialback::DialbackOutcome;
use entente_xmpp_core::error::{StreamCondition, StreamError};
use entente_xmpp_core::jid::domain_to_ascii;
use entente_xmpp_core::stream::{
    AuthMethod, CloseReason, InboundAnswer, InboundInput, InboundOutput, InboundRequest,
    InboundStream, RequestId,
};
use rustls_pki_types::UnixTime;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::acceptance::{Acceptance, Notice, Ready};
use super::carrier::Carrier;
use super::connection::method_name;
use super::outbound::WRITE_AHEAD;
use super::service::{XmppService, tls_policy};
use super::status::{InboundEntry, StreamStatus};
use super::verification::verify;
use crate::clock::{now, until};
use crate::net::{Io, IoEvent, Permit, tls_version};

/// A TLS handshake that takes longer is given up.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the last bytes may take.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// How long stanzas of a closed stream are held for their receipts.
const LINGER: Duration = Duration::from_secs(30);

/// Serves one accepted connection.
pub(super) async fn serve(
    service: Arc<XmppService>,
    socket: TcpStream,
    peer: SocketAddr,
    permit: Permit,
    direct_tls: bool,
) {
    let Some(seed) = service.seed() else { return };
    let stream = InboundStream::new(Arc::clone(&service.inbound_config), &seed, now());
    let entry = service.inbound.enter(StreamStatus {
        direction: "in",
        state: "unauthenticated",
        peer: Some(peer.to_string()),
        ..StreamStatus::default()
    });
    let mut connection = Connection {
        acceptance: Acceptance::new(&service),
        service,
        io: Io::Plain(socket),
        stream,
        peer,
        permit,
        entry,
        out: BytesMut::new(),
        needs_flush: false,
        verifications: JoinSet::new(),
        pairs: Vec::new(),
        bidi: None,
        carrier: None,
        acks: false,
        closed: None,
    };
    if direct_tls && !Box::pin(connection.handshake()).await {
        return;
    }
    Box::pin(connection.run()).await;
}

/// A domain pair that the peer authenticated.
#[derive(Debug)]
struct Authenticated {
    remote: Arc<str>,
    local: Arc<str>,
    method: AuthMethod,
    bidi: bool,
}

struct Connection {
    service: Arc<XmppService>,
    io: Io,
    stream: InboundStream,
    peer: SocketAddr,
    permit: Permit,
    entry: InboundEntry,
    out: BytesMut,
    needs_flush: bool,
    acceptance: Acceptance,
    /// Dialback keys that are being verified.
    verifications: JoinSet<(RequestId, DialbackOutcome)>,
    pairs: Vec<Authenticated>,
    /// The pair, ours first, whose stanzas may go out here (XEP-0288).
    bidi: Option<(Arc<str>, Arc<str>)>,
    carrier: Option<Carrier>,
    acks: bool,
    closed: Option<CloseReason>,
}

enum Wake {
    Io(IoEvent),
    Acceptance(Ready),
    Queue,
    Verified(Option<(RequestId, DialbackOutcome)>),
    Policy,
    Timer,
}

impl Connection {
    /// TLS from here on; `false` when it failed and the connection is over.
    async fn handshake(&mut self) -> bool {
        let Some(socket) = self.io.take_plain() else {
            return false;
        };
        let acceptor = TlsAcceptor::from(self.service.certificates.for_peers());
        match timeout(HANDSHAKE, acceptor.accept(socket)).await {
            Ok(Ok(tls)) => {
                self.io = Io::Server(Box::new(tls));
                self.input(InboundInput::TlsEstablished);
                true
            }
            Ok(Err(error)) => {
                tracing::debug!(peer = %self.peer, %error, "a peer's TLS handshake failed");
                false
            }
            Err(_) => {
                tracing::debug!(peer = %self.peer, "a peer's TLS handshake took too long");
                false
            }
        }
    }

    async fn run(mut self) {
        let mut policy = self.service.policy.subscribe();
        loop {
            let blocked = self.settle().await;
            if self.closed.is_some() {
                break;
            }
            let deadline = self.deadline();
            let Self {
                io,
                out,
                needs_flush,
                stream,
                acceptance,
                verifications,
                carrier,
                ..
            } = &mut self;
            let reading = stream.wants_bytes() && !blocked;
            let wake = tokio::select! {
                biased;
                event = io.event(out, needs_flush, reading, |bytes| stream.handle_input(now(), InboundInput::Bytes(bytes.into()))) => Wake::Io(event),
                ready = acceptance.ready() => Wake::Acceptance(ready),
                () = woken(carrier.as_ref()) => Wake::Queue,
                Some(verified) = verifications.join_next() => Wake::Verified(verified.ok()),
                changed = policy.changed() => if changed.is_ok() { Wake::Policy } else { Wake::Timer },
                () = until(deadline) => Wake::Timer,
            };
            match wake {
                Wake::Io(IoEvent::Read | IoEvent::Written) | Wake::Queue => {}
                Wake::Io(IoEvent::Eof | IoEvent::Broken) => self.input(InboundInput::Eof),
                Wake::Acceptance(ready) => match self.acceptance.take(now(), ready).await {
                    Notice::Nothing => {}
                    Notice::Leave => self.input(InboundInput::Leave),
                    Notice::Shutdown => self.close(StreamCondition::SystemShutdown),
                },
                Wake::Verified(Some((id, outcome))) => {
                    self.input(InboundInput::Answer(
                        id,
                        InboundAnswer::KeyVerified(outcome),
                    ));
                }
                // The task died; the stream's own deadline ends the wait.
                Wake::Verified(None) => {}
                Wake::Policy => self.on_policy(),
                Wake::Timer => self.timer().await,
            }
        }
        self.end().await;
    }

    /// Drains the stream's outputs; says whether the peer has to wait.
    async fn settle(&mut self) -> bool {
        let now = now();
        let blocked = loop {
            if self.closed.is_some() {
                break true;
            }
            if self.acceptance.is_blocked(now) && !self.stream.is_closed() {
                break true;
            }
            let Some(output) = self.stream.poll_output() else {
                break false;
            };
            self.act(now, output).await;
        };
        let handled = self.acceptance.acknowledged(now);
        if handled > 0 {
            self.input(InboundInput::Handled(handled));
        }
        self.carry(now);
        blocked
    }

    /// Writes what is to be written; our stanzas too, if the peer opened the stream for both directions.
    fn carry(&mut self, now: Instant) {
        if self.stream.is_sendable()
            && let Some((local, remote)) = self.bidi.take()
        {
            self.carrier = Carrier::attach(&self.service, &local, &remote);
        }
        if self.out.len() < WRITE_AHEAD
            && let Some(carrier) = &mut self.carrier
        {
            carrier.fill(now, &mut self.stream);
        }
        self.stream.take_transmit(&mut self.out);
        if self.out.is_empty()
            && !self.needs_flush
            && let Some(carrier) = &mut self.carrier
        {
            carrier.written();
        }
    }

    async fn act(&mut self, now: Instant, output: InboundOutput) {
        match output {
            InboundOutput::Stanza(stanza) => self.acceptance.accept(now, stanza).await,
            InboundOutput::StartTls => {
                self.stream.take_transmit(&mut self.out);
                if self.io.write_all(&mut self.out).await.is_err()
                    || !Box::pin(self.handshake()).await
                {
                    self.closed = Some(CloseReason::Eof);
                }
            }
            InboundOutput::Request(id, request) => self.answer(id, request),
            InboundOutput::Authenticated {
                remote,
                local,
                method,
                bidi,
            } => self.authenticated(remote, local, method, bidi),
            InboundOutput::SmEnabled => {
                self.acks = true;
                self.show();
            }
            InboundOutput::Delivered(token) => {
                if let Some(carrier) = &self.carrier {
                    carrier.delivered(token);
                }
            }
            InboundOutput::Closed(reason) => self.closed = Some(reason),
        }
    }

    fn answer(&mut self, id: RequestId, request: InboundRequest) {
        let answer = match request {
            InboundRequest::Policy { remote } => match self.service.policy.borrow().peer(&remote) {
                Some(peer) => InboundAnswer::Allowed {
                    tls: tls_policy(peer.tls),
                    dialback: self.service.config.dialback && !peer.require_certificate,
                },
                None => {
                    metrics::counter!("entente_xmpp_denied_total").increment(1);
                    tracing::debug!(peer = %self.peer, %remote, "policy denies the domain");
                    InboundAnswer::Denied
                }
            },
            InboundRequest::CertificateMatches { remote } => {
                InboundAnswer::CertificateMatches(self.certificate_proves(&remote))
            }
            InboundRequest::VerifyKey {
                from,
                to,
                stream_id,
                key,
            } => {
                let service = Arc::clone(&self.service);
                self.verifications.spawn(async move {
                    (
                        id,
                        Box::pin(verify(service, from, to, stream_id, key)).await,
                    )
                });
                return;
            }
        };
        self.input(InboundInput::Answer(id, answer));
    }

    fn certificate_proves(&self, remote: &str) -> bool {
        let Io::Server(tls) = &self.io else {
            return false;
        };
        let Some(chain) = tls.get_ref().1.peer_certificates() else {
            return false;
        };
        domain_to_ascii(remote)
            .is_ok_and(|domain| self.service.trust.proves(chain, &domain, UnixTime::now()))
    }

    fn authenticated(&mut self, remote: Arc<str>, local: Arc<str>, method: AuthMethod, bidi: bool) {
        self.permit.authenticated();
        let name = method_name(method);
        tracing::info!(peer = %self.peer, %remote, %local, method = name, "inbound stream authenticated");
        metrics::counter!("entente_xmpp_authenticated_total", "direction" => "in", "method" => name).increment(1);
        if self.pairs.is_empty() {
            metrics::gauge!("entente_xmpp_streams", "direction" => "in").increment(1.0);
        }
        if bidi {
            self.bidi = Some((Arc::clone(&local), Arc::clone(&remote)));
        }
        self.pairs.push(Authenticated {
            remote,
            local,
            method,
            bidi,
        });
        self.show();
    }

    fn show(&self) {
        let tls = match &self.io {
            Io::Server(tls) => Some(tls_version(tls.get_ref().1.protocol_version())),
            _ => None,
        };
        let entries = self.pairs.iter().map(|pair| StreamStatus {
            direction: "in",
            local: pair.local.to_string(),
            remote: pair.remote.to_string(),
            state: "established",
            peer: Some(self.peer.to_string()),
            tls,
            authentication: Some(method_name(pair.method)),
            bidi: pair.bidi,
            acks: self.acks,
            ..StreamStatus::default()
        });
        self.entry.show(entries.collect());
    }

    fn on_policy(&mut self) {
        let denied = {
            let policy = self.service.policy.borrow();
            self.pairs
                .iter()
                .any(|pair| policy.peer(&pair.remote).is_none())
        };
        if denied {
            self.close(StreamCondition::PolicyViolation);
        }
    }

    fn close(&mut self, condition: StreamCondition) {
        self.input(InboundInput::Close(Some(StreamError::new(condition))));
    }

    fn input(&mut self, input: InboundInput) {
        self.stream.handle_input(now(), input);
    }

    fn deadline(&self) -> Option<Instant> {
        let carrier = self.carrier.as_ref().and_then(Carrier::poll_timeout);
        let acceptance = self.acceptance.poll_timeout();
        let deadlines = [self.stream.poll_timeout(), acceptance, carrier];
        deadlines.into_iter().flatten().min()
    }

    async fn timer(&mut self) {
        let now = now();
        if self.stream.poll_timeout().is_some_and(|at| at <= now) {
            self.input(InboundInput::Timeout);
        }
        self.acceptance.timeout(now).await;
        if let Some(carrier) = &self.carrier {
            carrier.timeout();
        }
    }

    async fn end(mut self) {
        // What has no receipt goes out on another stream.
        self.carrier = None;
        if let Some(pair) = self.pairs.first() {
            tracing::info!(peer = %self.peer, remote = %pair.remote, reason = ?self.closed, "inbound stream closed");
            metrics::gauge!("entente_xmpp_streams", "direction" => "in").decrement(1.0);
        } else {
            tracing::debug!(peer = %self.peer, reason = ?self.closed, "a connection ended without authentication");
        }
        self.stream.take_transmit(&mut self.out);
        let last_words = async {
            if self.io.write_all(&mut self.out).await.is_ok() {
                self.io.shutdown().await;
            }
        };
        let _late = timeout(LAST_WORDS, last_words).await;
        self.io = Io::Gone;
        // The permit is held meanwhile: what lingers counts as a connection.
        self.acceptance.linger(LINGER).await;
    }
}

async fn woken(carrier: Option<&Carrier>) {
    match carrier {
        Some(carrier) => carrier.woken().await,
        None => std::future::pending().await,
    }
}
