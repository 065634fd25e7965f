//! The loop around one client connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use entente_cluster::NodeId;
use entente_home_core::{BindError, DeliveryId, EndReason, SessionEndReason};
use entente_xmpp_core::error::{StanzaCondition, StanzaError};
use entente_xmpp_core::jid::BareJid;
use entente_xmpp_core::sasl::{Mechanism, ScramHash, ScramKeys};
use entente_xmpp_core::stream::{
    ClientAnswer, ClientInput, ClientOutput, ClientRequest, ClientStream, CloseReason, RequestId,
};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::resumption::{Claim, Handover, Registration};
use super::session::Session;
use super::{ClientService, HANDSHAKE};
use super::{farewell, parked};
use crate::clock::{now, until};
use crate::fabric::{ConnectionHandle, Item};
use crate::net::{Io, IoEvent, Permit};
use crate::tls::binding;

/// How long acks stay back before the fence is asked again.
const FENCE_PAUSE: Duration = Duration::from_millis(250);
/// How long a client waits for its home to answer a bind.
const BIND_TIMEOUT: Duration = Duration::from_secs(20);
/// When a home that does not answer is asked again.
const BIND_REPEAT: Duration = Duration::from_secs(3);
/// Pause while there is no home to ask.
const BIND_PAUSE: Duration = Duration::from_millis(100);

/// One client connection.
pub(super) struct Connection {
    service: Arc<ClientService>,
    io: Io,
    stream: ClientStream,
    peer: SocketAddr,
    permit: Permit,
    out: BytesMut,
    needs_flush: bool,
    /// Deliveries that go with the bytes in `out`, where the client does not ack.
    on_write: Vec<DeliveryId>,
    binding: Option<Binding>,
    session: Option<Session>,
    resumable: Option<(Registration, mpsc::Receiver<Claim>)>,
    /// Receipts are here that may not be acknowledged now.
    ask_fence: Option<Instant>,
    closed: Option<CloseReason>,
}

enum Wake {
    Io(IoEvent),
    Inbox,
    View,
    Timer,
    Claim(Option<Claim>),
}

impl Connection {
    pub(super) fn new(
        service: Arc<ClientService>,
        io: Io,
        stream: ClientStream,
        peer: SocketAddr,
        permit: Permit,
    ) -> Box<Self> {
        Box::new(Self {
            service,
            io,
            stream,
            peer,
            permit,
            out: BytesMut::new(),
            needs_flush: false,
            on_write: Vec::new(),
            binding: None,
            session: None,
            resumable: None,
            ask_fence: None,
            closed: None,
        })
    }

    /// TLS from here on; `false` when it failed and the connection is over.
    pub(super) async fn handshake(&mut self) -> bool {
        let Some(socket) = self.io.take_plain() else {
            return false;
        };
        let acceptor = TlsAcceptor::from(self.service.certificates.for_clients());
        match timeout(HANDSHAKE, acceptor.accept(socket)).await {
            Ok(Ok(tls)) => {
                let channel = binding::channel(tls.get_ref().1, &self.service.certificates);
                self.io = Io::Server(Box::new(tls));
                self.stream
                    .handle_input(now(), ClientInput::TlsEstablished(channel));
                true
            }
            Ok(Err(error)) => {
                tracing::debug!(peer = %self.peer, %error, "a client's TLS handshake failed");
                false
            }
            Err(_) => {
                tracing::debug!(peer = %self.peer, "a client's TLS handshake took too long");
                false
            }
        }
    }

    /// Serves the client until the end, and its session until it is resumed or over. Every idle
    /// client holds this future: what is rare in it (timers, moves, the end) has a box of its own.
    pub(super) async fn run(mut self: Box<Self>) {
        let mut view = self.service.switchboard.view.clone();
        loop {
            if !Box::pin(self.settle()).await {
                break;
            }
            let deadline = self.deadline();
            // While a resource is asked for, reading is only to notice that the client gives up; the
            // stream bounds what it takes ahead.
            let reading = (self.stream.wants_bytes() || self.binding.is_some())
                && (!self.has_full_custody() || self.stream.is_leaving());
            let Self {
                io,
                out,
                needs_flush,
                stream,
                binding,
                session,
                resumable,
                ..
            } = &mut *self;
            let bound = session.is_some();
            let handle = session
                .as_ref()
                .map(|session| &session.handle)
                .or(binding.as_ref().map(|binding| &binding.handle));
            let wake = tokio::select! {
                biased;
                event = io.event(out, needs_flush, reading, |bytes| stream.handle_input(now(), ClientInput::Bytes(BytesMut::from(bytes)))) => Wake::Io(event),
                () = inbox_ready(handle) => Wake::Inbox,
                claim = claimed(resumable.as_mut()) => Wake::Claim(claim),
                changed = view.changed(), if bound || binding.is_some() => if changed.is_ok() { Wake::View } else { Wake::Timer },
                () = until(deadline) => Wake::Timer,
            };
            match wake {
                Wake::Io(IoEvent::Read) => {}
                Wake::Io(IoEvent::Written) => self.written(),
                Wake::Io(IoEvent::Eof | IoEvent::Broken) => {
                    self.stream.handle_input(now(), ClientInput::Eof)
                }
                Wake::Inbox => {
                    self.take_bind_result();
                    self.take_inbox();
                }
                Wake::View => {
                    view.borrow_and_update();
                    Box::pin(self.ask_home()).await;
                    if let Some(session) = &mut self.session {
                        let following = session.follow_home(now(), &self.service.switchboard);
                        Box::pin(following).await;
                    }
                }
                Wake::Timer => Box::pin(self.timer()).await,
                Wake::Claim(Some(claim)) => {
                    // The client is back on another connection: this one is dead.
                    self.stream.handle_input(now(), ClientInput::Eof);
                    while self.stream.poll_output().is_some() {}
                    Box::pin(self.hand_over(claim)).await;
                    return;
                }
                Wake::Claim(None) => self.resumable = None,
            }
        }
        Box::pin(self.finish()).await;
    }

    /// Drains the stream's outputs and reports; `false` when the stream is over. While custody is
    /// full the rest waits in the stream: one read may bring more stanzas than custody has room.
    async fn settle(&mut self) -> bool {
        let now = now();
        while (!self.has_full_custody() || self.stream.is_leaving())
            && let Some(output) = self.stream.poll_output()
        {
            if !self.act(now, output).await {
                return false;
            }
        }
        self.acknowledge(now);
        self.stream.take_transmit(&mut self.out);
        if let Some(session) = &mut self.session {
            session.report(now, &self.service.switchboard).await;
        }
        self.closed.is_none()
    }

    fn has_full_custody(&self) -> bool {
        self.session.as_ref().is_some_and(Session::is_full)
    }

    async fn act(&mut self, now: Instant, output: ClientOutput) -> bool {
        match output {
            ClientOutput::Stanza(stanza) => {
                if let Some(session) = &mut self.session {
                    session.accept(now, stanza, &self.service.switchboard).await;
                }
            }
            ClientOutput::Delivered(token) => {
                if let Some(session) = &mut self.session {
                    session.core().delivered(DeliveryId(token));
                }
            }
            ClientOutput::StartTls => {
                self.stream.take_transmit(&mut self.out);
                if self.io.write_all(&mut self.out).await.is_err()
                    || !Box::pin(self.handshake()).await
                {
                    self.closed = Some(CloseReason::Eof);
                    return false;
                }
            }
            ClientOutput::Request(id, request) => Box::pin(self.answer(id, request)).await,
            ClientOutput::Authenticated(user) => {
                self.permit.authenticated();
                tracing::debug!(peer = %self.peer, %user, "a client authenticated");
            }
            ClientOutput::Bound(full) => {
                tracing::debug!(peer = %self.peer, session = %full, "bound")
            }
            ClientOutput::Resumed(full) => {
                metrics::counter!("entente_client_resumed_total").increment(1);
                tracing::debug!(peer = %self.peer, session = %full, "resumed");
            }
            ClientOutput::SmEnabled(Some(id)) => {
                if let Some(session) = &self.session {
                    self.resumable = Some(
                        self.service
                            .resumable
                            .register(id, session.full().to_bare()),
                    );
                }
            }
            ClientOutput::SmEnabled(None) => {}
            ClientOutput::Closed(reason) => {
                self.closed = Some(reason);
                return false;
            }
        }
        true
    }

    async fn answer(&mut self, id: RequestId, request: ClientRequest) {
        let answer = match request {
            ClientRequest::Bind { user, resource } => return self.bind(id, user, resource).await,
            ClientRequest::Credentials { user, mechanism } => {
                self.credentials(&user, mechanism).await
            }
            ClientRequest::Resume { user, previd } => {
                match self.service.resumable.claim(&previd, &user).await {
                    Some(Handover { state, session }) => {
                        self.resumable = Some(
                            self.service
                                .resumable
                                .register(Arc::clone(state.id()), user),
                        );
                        self.session = Some(session);
                        ClientAnswer::Resumed(state)
                    }
                    None => {
                        if let Some(old) = self.service.resumption_ids.session(&previd, &user) {
                            let switchboard = &self.service.switchboard;
                            switchboard.end_session(old, EndReason::Conflict);
                        }
                        ClientAnswer::ResumeFailed { h: None }
                    }
                }
            }
        };
        self.stream
            .handle_input(now(), ClientInput::Answer(id, answer));
    }

    async fn credentials(&self, user: &BareJid, mechanism: Mechanism) -> ClientAnswer {
        match self.service.store.credentials(user.as_str()).await {
            Ok(Some(set)) => {
                let hash = mechanism.hash();
                let keys = match hash {
                    ScramHash::Sha1 => set.sha1,
                    ScramHash::Sha256 => set.sha256,
                };
                keys.and_then(|keys| keys_in(hash, keys))
                    .map_or(ClientAnswer::UnknownUser, ClientAnswer::Credentials)
            }
            Ok(None) => ClientAnswer::UnknownUser,
            Err(error) => {
                tracing::warn!(%error, "credentials could not be read");
                ClientAnswer::CredentialsUnavailable
            }
        }
    }

    /// Asks the home for a resource; the answer comes through the inbox, while the client's socket
    /// is watched: a client that gave up must not take the resource from its own next attempt.
    async fn bind(&mut self, id: RequestId, user: BareJid, resource: Option<String>) {
        let now = now();
        self.binding = Some(Binding {
            handle: self.service.switchboard.connections.open(),
            id,
            user,
            resource,
            home: None,
            ask_at: now,
            give_up_at: now + BIND_TIMEOUT,
        });
        self.ask_home().await;
    }

    /// Asks today's home, unless it has been asked.
    async fn ask_home(&mut self) {
        let Some(binding) = &mut self.binding else {
            return;
        };
        let now = now();
        if now >= binding.give_up_at {
            self.bind_refused(StanzaCondition::ResourceConstraint);
            return;
        }
        let home = self.service.switchboard.home(binding.user.as_str());
        if home.is_some() && home == binding.home && now < binding.ask_at {
            return;
        }
        let asked = self
            .service
            .switchboard
            .bind(
                binding.handle.key.clone(),
                binding.user.clone(),
                binding.resource.clone(),
                1,
            )
            .await
            .is_ok();
        binding.home = home;
        binding.ask_at = now + if asked { BIND_REPEAT } else { BIND_PAUSE };
    }

    fn take_bind_result(&mut self) {
        let Some(binding) = &mut self.binding else {
            return;
        };
        let mut result = None;
        for item in binding.handle.inbox.take() {
            match item {
                Item::BindResult(answer) => result = Some(answer),
                Item::End(_) | Item::Leave | Item::Shutdown => {
                    self.stream.handle_input(now(), farewell::shutdown());
                    return;
                }
                _ => {}
            }
        }
        match result {
            None => {}
            Some(Ok(full)) => {
                let Some(Binding {
                    handle, id, home, ..
                }) = self.binding.take()
                else {
                    return;
                };
                let bounds = self.service.session;
                let resumption = self.service.resumption_ids.id(&handle.key, &full.to_bare());
                self.session = Some(Session::new(handle, full.clone(), bounds, home));
                let answer = ClientInput::Answer(id, ClientAnswer::Bound(full));
                self.stream.handle_input(now(), answer);
                self.stream
                    .handle_input(now(), ClientInput::ResumptionId(resumption));
            }
            Some(Err(BindError::Unavailable)) => {
                binding.home = None;
                binding.ask_at = now() + BIND_PAUSE;
            }
            Some(Err(BindError::BadResource)) => self.bind_refused(StanzaCondition::BadRequest),
            Some(Err(BindError::TooManySessions)) => {
                self.bind_refused(StanzaCondition::ResourceConstraint)
            }
            Some(Err(BindError::NoSuchUser)) => self.bind_refused(StanzaCondition::NotAllowed),
        }
    }

    fn bind_refused(&mut self, condition: StanzaCondition) {
        if let Some(binding) = self.binding.take() {
            let answer = ClientAnswer::BindRefused(StanzaError::new(condition));
            self.stream
                .handle_input(now(), ClientInput::Answer(binding.id, answer));
        }
    }

    fn take_inbox(&mut self) {
        let Some(session) = &mut self.session else {
            return;
        };
        let now = now();
        for item in session.handle.inbox.take() {
            match item {
                Item::Deliver {
                    delivery,
                    envelope,
                    stanza,
                } => {
                    if !session
                        .core()
                        .is_new(now, delivery, envelope.as_ref(), &stanza)
                    {
                        continue;
                    }
                    let acked = self.stream.sm_enabled();
                    let token = if acked {
                        delivery.map_or(0, |id| id.0)
                    } else {
                        0
                    };
                    self.stream.handle_input(
                        now,
                        ClientInput::Send {
                            stanza: stanza.into_bytes(),
                            token,
                        },
                    );
                    if !acked && let Some(id) = delivery {
                        self.on_write.push(id);
                    }
                }
                Item::Receipt(seq) => session.core().receipt(seq),
                Item::Retry(seq) => session.core().retry(now, seq),
                Item::Resync(home) => session.core().resync(now, &home),
                Item::BindResult(_) => {}
                Item::End(reason) => {
                    self.resumable = None;
                    session.core().dismissed();
                    self.stream.handle_input(now, farewell::dismissal(reason));
                }
                Item::Leave => {
                    self.resumable = None;
                    self.stream.handle_input(now, farewell::leave());
                }
                Item::Shutdown => {
                    self.resumable = None;
                    self.stream.handle_input(now, farewell::shutdown());
                }
            }
        }
    }

    /// Tells the stream what may be acknowledged. The fence is asked here, on the way of every ack.
    fn acknowledge(&mut self, now: Instant) {
        let Some(session) = &mut self.session else {
            return;
        };
        if !self.service.switchboard.fence.may_ack(now) {
            self.ask_fence =
                (session.waiting() > 0 || self.ask_fence.is_some()).then(|| now + FENCE_PAUSE);
            return;
        }
        self.ask_fence = None;
        let handled = session.core().handled();
        if handled > 0 {
            self.stream.handle_input(now, ClientInput::Handled(handled));
        }
    }

    /// Everything in `out` is with the kernel.
    fn written(&mut self) {
        if let Some(session) = &mut self.session {
            for id in self.on_write.drain(..) {
                session.core().delivered(id);
            }
        }
        if self.on_write.capacity() > 64 {
            self.on_write = Vec::new();
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let session = self.session.as_ref().and_then(Session::poll_timeout);
        let binding = self
            .binding
            .as_ref()
            .map(|binding| binding.ask_at.min(binding.give_up_at));
        [self.stream.poll_timeout(), session, binding, self.ask_fence]
            .into_iter()
            .flatten()
            .min()
    }

    async fn timer(&mut self) {
        let now = now();
        if self.stream.poll_timeout().is_some_and(|at| at <= now) {
            self.stream.handle_input(now, ClientInput::Timeout);
        }
        if self
            .binding
            .as_ref()
            .is_some_and(|binding| binding.ask_at <= now || binding.give_up_at <= now)
        {
            self.ask_home().await;
        }
        if let Some(session) = &mut self.session {
            session.timeout(now, &self.service.switchboard).await;
        }
    }

    /// After the stream's end: last words, then the session waits for its client or ends.
    async fn finish(mut self) {
        self.stream.take_transmit(&mut self.out);
        let io = std::mem::replace(&mut self.io, Io::Gone);
        let we_ended = matches!(
            self.closed,
            Some(CloseReason::Error(_) | CloseReason::CloseTimeout)
        );
        farewell::last_words(io, &mut self.out, we_ended).await;
        let Some(mut session) = self.session.take() else {
            return;
        };
        for id in self.on_write.drain(..) {
            session.core().failed(id);
        }
        let reason = match &self.closed {
            Some(CloseReason::Clean) => SessionEndReason::Closed,
            Some(CloseReason::Error(_)) => SessionEndReason::Terminated,
            _ => SessionEndReason::Lost,
        };
        let service = self.service;
        drop(self.permit);
        match (self.stream.park(), self.resumable) {
            (Ok(state), Some((registration, claims))) => {
                Box::pin(parked::wait(service, state, session, registration, claims)).await;
            }
            (Ok(state), None) => parked::end(&service, session, state.into_unacked(), reason).await,
            (Err(mut stream), _) => parked::end(&service, session, stream.unacked(), reason).await,
        }
    }

    async fn hand_over(mut self, claim: Claim) {
        let Some(mut session) = self.session.take() else {
            return;
        };
        for id in self.on_write.drain(..) {
            session.core().failed(id);
        }
        match self.stream.park() {
            Ok(state) => parked::give(&self.service, state, session, claim).await,
            Err(mut stream) => {
                parked::end(
                    &self.service,
                    session,
                    stream.unacked(),
                    SessionEndReason::Lost,
                )
                .await
            }
        }
    }
}

async fn inbox_ready(handle: Option<&ConnectionHandle>) {
    match handle {
        Some(handle) => handle.inbox.ready().await,
        None => std::future::pending().await,
    }
}

/// A resource that is being asked for.
struct Binding {
    handle: ConnectionHandle,
    id: RequestId,
    user: BareJid,
    resource: Option<String>,
    /// The home that was asked.
    home: Option<(NodeId, u64)>,
    /// When to ask again, if the home stays the same.
    ask_at: Instant,
    give_up_at: Instant,
}

async fn claimed(resumable: Option<&mut (Registration, mpsc::Receiver<Claim>)>) -> Option<Claim> {
    match resumable {
        Some((_, claims)) => claims.recv().await,
        None => std::future::pending().await,
    }
}

fn keys_in(hash: ScramHash, keys: entente_store::ScramKeys) -> Option<ScramKeys> {
    Some(ScramKeys {
        hash,
        salt: keys.salt,
        iterations: std::num::NonZeroU32::new(keys.iterations)?,
        stored_key: keys.stored_key,
        server_key: keys.server_key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, F>(_: impl FnOnce(A) -> F) -> usize {
        std::mem::size_of::<F>()
    }

    #[test]
    fn an_idle_client_costs_little_memory() {
        let run = size_of_future(|connection: Box<Connection>| connection.run());
        assert!(run < 2048, "the future of a client takes {run} bytes");
        let connection = std::mem::size_of::<Connection>();
        assert!(connection < 3072, "a client takes {connection} bytes");
    }
}
