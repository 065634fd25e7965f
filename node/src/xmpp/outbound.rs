//! The outbound stream of one domain pair: opened when something waits, kept while it is used, opened
//! again when it dies with something on it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use entente_fabric_core::outbound::Waiting;
use entente_xmpp_core::error::{StanzaCondition, StanzaError, StreamCondition, StreamError};
use entente_xmpp_core::stream::{CloseReason, OutboundInput, OutboundOutput, Purpose};
use rand::Rng;
use tokio::time::timeout;

use super::acceptance::{Acceptance, Notice, Ready};
use super::connection::{self, Connection, Terms, method_name};
use super::failure::ConnectFailure;
use super::pair::Pair;
use super::service::XmppService;
use crate::clock::{now, until};
use crate::fabric::ReceiptBatch;
use crate::net::IoEvent;

/// Pause after the first failed round of targets.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A stream that lived no longer counts as a failure: a peer that lets us in and then closes at once
/// must not be called again and again.
const SHORT_LIFE: Duration = Duration::from_secs(2);
/// An idle pair is forgotten after this time; its envelope filter goes with it.
const FORGET: Duration = Duration::from_secs(120);
/// Bytes put on a stream before the last ones are written.
pub(super) const WRITE_AHEAD: usize = 256 * 1024;
/// How long a stream that is not needed any more waits for the peer's acknowledgements.
const FAREWELL: Duration = Duration::from_secs(3);
/// How long stanzas of a closed bidirectional stream are held.
const LINGER: Duration = Duration::from_secs(30);

/// Serves `pair` until it is forgotten.
pub(super) async fn serve(service: Arc<XmppService>, pair: Arc<Pair>) {
    let mut pause = FIRST_PAUSE;
    loop {
        if !pair.begin() {
            pair.show(|status| status.state = "idle");
            let idle = timeout(FORGET, pair.woken()).await.is_err();
            if idle && pair.retire() {
                service.remove(&pair);
                return;
            }
            continue;
        }
        pair.show(|status| status.state = "connecting");
        let opening = connection::open(
            &service,
            &pair.local,
            &pair.remote,
            Purpose::Federate,
            |_| {},
        );
        match Box::pin(expiring(&service, &pair, opening)).await {
            Ok((connection, Some(terms))) => {
                let began = now();
                Box::pin(Session::begin(&service, &pair, connection, terms).run()).await;
                pair.finish();
                if began.elapsed() >= SHORT_LIFE {
                    pause = FIRST_PAUSE;
                } else if pair.has_waiting() {
                    back_off(&service, &pair, &mut pause).await;
                }
            }
            Ok((_, None)) => unreachable!("a federating stream has terms"),
            Err(failure) => {
                // What waits can go over a stream that the peer opened meanwhile.
                if !pair.is_carried() {
                    fail(&service, &pair, &failure);
                }
                pair.finish();
                back_off(&service, &pair, &mut pause).await;
            }
        }
    }
}

/// Runs `work`, answering meanwhile what has waited too long.
async fn expiring<T>(service: &XmppService, pair: &Pair, work: impl Future<Output = T>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = until(pair.next_deadline()) => expire(service, pair),
            // The first stanza of a queue that had none sets a deadline.
            () = pair.woken() => {}
        }
    }
}

/// Answers what has waited too long.
pub(super) fn expire(service: &XmppService, pair: &Pair) {
    bounce_all(
        service,
        pair.expired(now()),
        &StanzaError::new(StanzaCondition::RemoteServerTimeout),
    );
}

/// No target works: everything that waits is answered.
fn fail(service: &XmppService, pair: &Pair, failure: &ConnectFailure) {
    let waiting = pair.give_up();
    tracing::info!(local = %pair.local, remote = %pair.remote, %failure, bounced = waiting.len(), "no stream");
    pair.show(|status| status.last_error = Some(failure.to_string()));
    bounce_all(service, waiting, &failure.stanza_error());
}

/// What the sender of a stanza hears that several streams died with.
pub(super) fn tried_too_often() -> StanzaError {
    StanzaError::new(StanzaCondition::RemoteServerTimeout)
}

/// Answers what is larger than the peer accepts (XEP-0478 section 4).
pub(super) fn bounce_oversized(
    service: &XmppService,
    oversized: Vec<Waiting>,
    largest: Option<usize>,
) {
    if oversized.is_empty() {
        return;
    }
    let most = largest.unwrap_or_default();
    let error = StanzaError::new(StanzaCondition::PolicyViolation).with_text(format!(
        "The other server accepts stanzas of up to {most} bytes"
    ));
    bounce_all(service, oversized, &error);
}

/// Answers all of these.
pub(super) fn bounce_all(service: &XmppService, waiting: Vec<Waiting>, error: &StanzaError) {
    let mut batch = ReceiptBatch::default();
    for Waiting {
        envelope, stanza, ..
    } in waiting
    {
        service.bounce(envelope, &stanza, error, &mut batch);
    }
    batch.flush(&service.switchboard);
}

async fn back_off(service: &XmppService, pair: &Pair, pause: &mut Duration) {
    pair.show(|status| status.state = "backing off");
    // Between half and all of it: nodes that failed together do not come back together.
    let jittered = pause.mul_f64(rand::rng().random_range(0.5..=1.0));
    *pause = (*pause * 2).min(LONGEST_PAUSE);
    let pause = async {
        tokio::select! {
            () = tokio::time::sleep(jittered) => {}
            () = pair.until_carried() => {}
        }
    };
    expiring(service, pair, pause).await;
}

/// An established stream.
struct Session<'a> {
    service: &'a Arc<XmppService>,
    pair: &'a Arc<Pair>,
    connection: Connection,
    /// The peer does not acknowledge: tokens that go with the bytes in the write buffer.
    on_write: Vec<u64>,
    acceptance: Option<Acceptance>,
    batch: ReceiptBatch,
    /// The node hands over: close as soon as the peer has what was sent, or then.
    leaving: Option<Instant>,
    closed: Option<CloseReason>,
}

enum Wake {
    Io(IoEvent),
    Queue,
    Acceptance(Ready),
    Leave,
    Policy,
    Timer,
}

impl<'a> Session<'a> {
    fn begin(
        service: &'a Arc<XmppService>,
        pair: &'a Arc<Pair>,
        connection: Connection,
        terms: Terms,
    ) -> Self {
        let method = method_name(terms.method);
        tracing::info!(local = %pair.local, remote = %pair.remote, target = %connection.target, method, terms.bidi, terms.acks, "outbound stream established");
        metrics::counter!("entente_xmpp_authenticated_total", "direction" => "out", "method" => method).increment(1);
        metrics::gauge!("entente_xmpp_streams", "direction" => "out").increment(1.0);
        let tls = connection.tls_version();
        pair.connected(1);
        pair.show(|status| {
            status.state = "established";
            status.peer = Some(connection.target.to_string());
            status.tls = tls;
            status.authentication = Some(method);
            status.bidi = terms.bidi;
            status.acks = terms.acks;
            status.last_error = None;
        });
        Self {
            acceptance: terms.bidi.then(|| Acceptance::new(service)),
            service,
            pair,
            connection,
            on_write: Vec::new(),
            batch: ReceiptBatch::default(),
            leaving: None,
            closed: None,
        }
    }

    async fn run(mut self) {
        let mut leaving = self.service.leaving.subscribe();
        let mut policy = self.service.policy.subscribe();
        loop {
            let blocked = self.settle().await;
            if self.closed.is_some() {
                break;
            }
            let deadline = self.deadline();
            let stays = self.leaving.is_none();
            let Self {
                connection,
                pair,
                acceptance,
                ..
            } = &mut self;
            let Connection {
                io,
                out,
                needs_flush,
                stream,
                ..
            } = connection;
            let reading = stream.wants_bytes() && !blocked;
            let wake = tokio::select! {
                biased;
                event = io.event(out, needs_flush, reading, |bytes| stream.handle_input(now(), OutboundInput::Bytes(bytes.into()))) => Wake::Io(event),
                ready = ready(acceptance.as_mut()) => Wake::Acceptance(ready),
                () = pair.woken() => Wake::Queue,
                Ok(_) = leaving.wait_for(|leaving| *leaving), if stays => Wake::Leave,
                changed = policy.changed() => if changed.is_ok() { Wake::Policy } else { Wake::Timer },
                () = until(deadline) => Wake::Timer,
            };
            match wake {
                Wake::Io(IoEvent::Read) | Wake::Queue => {}
                Wake::Io(IoEvent::Written) => self.written(),
                Wake::Io(IoEvent::Eof | IoEvent::Broken) => self.input(OutboundInput::Eof),
                Wake::Acceptance(ready) => self.on_acceptance(ready).await,
                Wake::Leave => self.leave(),
                Wake::Policy => {
                    if self
                        .service
                        .policy
                        .borrow()
                        .peer(&self.pair.remote)
                        .is_none()
                    {
                        self.close(StreamCondition::PolicyViolation);
                    }
                }
                Wake::Timer => self.timer().await,
            }
        }
        self.end().await;
    }

    /// Drains the stream's outputs and fills it from the queue; says whether the peer has to wait.
    async fn settle(&mut self) -> bool {
        let now = now();
        let blocked = loop {
            let blocked = self
                .acceptance
                .as_mut()
                .is_some_and(|acceptance| acceptance.is_blocked(now));
            if blocked {
                break true;
            }
            let Some(output) = self.connection.stream.poll_output() else {
                break false;
            };
            self.act(now, output).await;
        };
        if self.connection.stream.is_established() && self.connection.out.len() < WRITE_AHEAD {
            let acks = self.connection.stream.sm_enabled();
            let largest = self.connection.stream.peer_limits().max_bytes;
            let Self {
                connection,
                on_write,
                pair,
                ..
            } = self;
            let mut count = 0;
            let oversized = pair.take(WRITE_AHEAD, largest, |token, stanza| {
                count += 1;
                connection.send(now, token, stanza);
                if !acks {
                    on_write.push(token);
                }
            });
            if count > 0 {
                self.service.stanzas_out.increment(count);
            }
            bounce_oversized(self.service, oversized, largest);
        }
        let acks_owed = self.connection.stream.unhandled() > 0;
        if self
            .leaving
            .is_some_and(|until| (self.pair.is_empty() && !acks_owed) || until <= now)
            && self.connection.stream.is_established()
        {
            // In order, without an error: the peer sees a stream that is not needed any more.
            self.input(OutboundInput::Close(None));
        }
        if let Some(acceptance) = &mut self.acceptance {
            let handled = acceptance.acknowledged(now);
            if handled > 0 {
                self.input(OutboundInput::Handled(handled));
            }
        }
        self.connection
            .stream
            .take_transmit(&mut self.connection.out);
        if !self.on_write.is_empty()
            && self.connection.out.is_empty()
            && !self.connection.needs_flush
        {
            self.written();
        }
        if !self.batch.is_empty() {
            self.batch.flush(&self.service.switchboard);
        }
        blocked
    }

    async fn act(&mut self, now: Instant, output: OutboundOutput) {
        match output {
            OutboundOutput::Stanza(stanza) => {
                if let Some(acceptance) = &mut self.acceptance {
                    acceptance.accept(now, stanza).await;
                }
            }
            OutboundOutput::Delivered(token) => self.done([token]),
            // The peer takes back its offer of acks. What it names may still be in the buffer.
            OutboundOutput::Written(token) => self.on_write.push(token),
            OutboundOutput::Closed(reason) => self.closed = Some(reason),
            OutboundOutput::Failed(_) => self.closed = Some(CloseReason::Eof),
            OutboundOutput::StartTls
            | OutboundOutput::Established { .. }
            | OutboundOutput::Verified { .. } => {}
        }
    }

    fn done(&mut self, tokens: impl IntoIterator<Item = u64>) {
        let Self { pair, batch, .. } = self;
        pair.done(tokens, |envelope| batch.receipt(envelope));
    }

    /// Everything in the buffer is with the kernel.
    fn written(&mut self) {
        let tokens = std::mem::take(&mut self.on_write);
        self.done(tokens);
    }

    async fn on_acceptance(&mut self, ready: Ready) {
        let Some(acceptance) = &mut self.acceptance else {
            return;
        };
        match acceptance.take(now(), ready).await {
            Notice::Nothing => {}
            Notice::Leave => self.leave(),
            Notice::Shutdown => self.close(StreamCondition::SystemShutdown),
        }
    }

    fn leave(&mut self) {
        self.leaving.get_or_insert(now() + FAREWELL);
    }

    fn close(&mut self, condition: StreamCondition) {
        self.input(OutboundInput::Close(Some(StreamError::new(condition))));
    }

    fn input(&mut self, input: OutboundInput) {
        self.connection.stream.handle_input(now(), input);
    }

    fn deadline(&self) -> Option<Instant> {
        let acceptance = self.acceptance.as_ref().and_then(Acceptance::poll_timeout);
        let queue = self.pair.next_deadline();
        let leaving = self
            .leaving
            .filter(|_| self.connection.stream.is_established());
        [
            self.connection.stream.poll_timeout(),
            acceptance,
            queue,
            leaving,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    async fn timer(&mut self) {
        let now = now();
        if self
            .connection
            .stream
            .poll_timeout()
            .is_some_and(|at| at <= now)
        {
            self.input(OutboundInput::Timeout);
        }
        if let Some(acceptance) = &mut self.acceptance {
            acceptance.timeout(now).await;
        }
        expire(self.service, self.pair);
    }

    async fn end(mut self) {
        let reason = self.closed.take().unwrap_or(CloseReason::Eof);
        let given_up = self.pair.requeue(now());
        tracing::info!(local = %self.pair.local, remote = %self.pair.remote, ?reason, "outbound stream closed");
        metrics::gauge!("entente_xmpp_streams", "direction" => "out").decrement(1.0);
        bounce_all(self.service, given_up, &tried_too_often());
        self.pair.show(|status| {
            status.state = "idle";
            status.tls = None;
            status.authentication = None;
            status.bidi = false;
            status.acks = false;
            if !matches!(reason, CloseReason::Clean) {
                status.last_error = Some(ConnectFailure::closed(&reason).to_string());
            }
        });
        if let Some(acceptance) = self.acceptance.take() {
            tokio::spawn(acceptance.linger(LINGER));
        }
        // The next stream need not wait for the goodbye of this one.
        let mut connection = self.connection;
        let pair = Arc::clone(self.pair);
        tokio::spawn(async move {
            connection.finish().await;
            pair.connected(-1);
        });
    }
}

async fn ready(acceptance: Option<&mut Acceptance>) -> Ready {
    match acceptance {
        Some(acceptance) => acceptance.ready().await,
        None => std::future::pending().await,
    }
}
