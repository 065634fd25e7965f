//! The loop around one connection, whoever opened it: bytes to messages, messages through the gate to
//! the transactions, and what is to be sent back to the socket. One bad message never ends it; only
//! where the next message can't be found any more, it does.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use entente_cluster::home::key_hash;
use entente_sip_core::Message;
use entente_sip_core::framer::{Frame, Framer};
use entente_sip_core::header::HeaderName;
use entente_sip_core::message::Limits;
use entente_sip_core::method::Method;
use entente_sip_core::status::Status;
use entente_sip_core::validate::{Checked, Refusal, Rejection, Request, check};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::gate::Closed;
use super::link::Link;
use super::service::SipService;
use super::transactions::Job;
use crate::clock::{now, until};
use crate::net::{Io, IoEvent, Permit};

/// How long the last bytes may take.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// Bytes that may wait for the socket before nothing more is taken out of the link's outbox.
const MAX_UNSENT: usize = 256 * 1024;
/// Largest head of a message; more ends the connection, as its end can't be found.
const MAX_HEAD: usize = 32 * 1024;
/// When a domain with too many new subscriptions may come again, in seconds.
const RETRY_AFTER: &str = "60";
/// The answer to a ping, and our own (RFC 5626 section 3.5.1).
const PONG: &[u8] = b"\r\n";

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The peer closed it.
    Eof,
    /// Reading or writing failed.
    Broken,
    /// Nothing went over it for long.
    Idle,
    /// The end of a message could not be found.
    Framing,
    /// We closed it.
    Ours,
}

/// See the module.
pub(super) struct Connection {
    pub(super) service: Arc<SipService>,
    pub(super) link: Arc<Link>,
    pub(super) io: Io,
    pub(super) outbox: mpsc::Receiver<Bytes>,
    /// Of connections that a peer opened.
    pub(super) permit: Option<Permit>,
}

/// What changes while it runs.
struct Course {
    framer: Framer,
    out: BytesMut,
    needs_flush: bool,
    /// The last request in either direction that was no OPTIONS: what the connection is there for.
    used: Instant,
    /// The last bytes from the peer.
    heard: Instant,
    /// When OPTIONS was last sent.
    probed: Option<Instant>,
    /// The domain sends too fast: nothing is read before.
    paused: Option<Instant>,
    end: Option<End>,
}

enum Wake {
    Io(IoEvent),
    Send(Option<Bytes>),
    Closed,
    Timer,
}

impl Connection {
    /// Serves the connection to its end.
    pub(super) async fn run(mut self) -> End {
        let started = now();
        let mut course = Course {
            framer: Framer::new(Limits {
                head_bytes: self.service.config.max_message_bytes.min(MAX_HEAD),
                body_bytes: self.service.config.max_message_bytes,
                ..Limits::default()
            }),
            out: BytesMut::new(),
            needs_flush: false,
            used: started,
            heard: started,
            probed: None,
            paused: None,
            end: None,
        };
        let end = loop {
            if course.paused.is_none() {
                self.read_frames(&mut course).await;
            }
            if let Some(end) = course.end {
                break end;
            }
            let deadline = self.deadline(&course);
            let reading = course.paused.is_none();
            let writing = course.out.len() < MAX_UNSENT;
            let Course {
                framer,
                out,
                needs_flush,
                ..
            } = &mut course;
            let wake = tokio::select! {
                biased;
                () = self.link.closed() => Wake::Closed,
                message = self.outbox.recv(), if writing => Wake::Send(message),
                event = self.io.event(out, needs_flush, reading, |bytes| framer.push(bytes)) => Wake::Io(event),
                () = until(Some(deadline)) => Wake::Timer,
            };
            match wake {
                Wake::Closed | Wake::Send(None) => break End::Ours,
                Wake::Send(Some(message)) => {
                    if !message.starts_with(b"SIP/2.0 ") && !message.starts_with(b"OPTIONS ") {
                        course.used = now();
                    }
                    course.out.extend_from_slice(&message);
                }
                Wake::Io(IoEvent::Read) => course.heard = now(),
                Wake::Io(IoEvent::Written) => {}
                Wake::Io(IoEvent::Eof) => break End::Eof,
                Wake::Io(IoEvent::Broken) => break End::Broken,
                Wake::Timer => self.timer(&mut course).await,
            }
        };
        self.finish(course.out, end).await;
        end
    }

    /// The next time at which something is due without anything happening.
    fn deadline(&self, course: &Course) -> Instant {
        let idle = course.used + self.service.config.idle;
        let probe = self.probe_at(course).unwrap_or(idle);
        let paused = course.paused.unwrap_or(idle);
        idle.min(probe).min(paused)
    }

    fn probe_at(&self, course: &Course) -> Option<Instant> {
        let after = self.service.config.probe_after?;
        let quiet_since = course
            .probed
            .map_or(course.heard, |at| at.max(course.heard));
        Some(quiet_since + after)
    }

    async fn timer(&mut self, course: &mut Course) {
        let now = now();
        if course.paused.is_some_and(|until| until <= now) {
            course.paused = None;
        }
        if course.used + self.service.config.idle <= now {
            course.end = Some(End::Idle);
        } else if self.probe_at(course).is_some_and(|at| at <= now) {
            course.probed = Some(now);
            self.service
                .submit(Job::Probe(Arc::clone(&self.link)))
                .await;
        }
    }

    /// Takes all complete messages out of what was read. Waits for the transactions: that is the
    /// back-pressure on the peer.
    async fn read_frames(&mut self, course: &mut Course) {
        while course.paused.is_none() {
            match course.framer.next_frame() {
                Ok(None) => return,
                Ok(Some(Frame::Ping)) => course.out.extend_from_slice(PONG),
                Ok(Some(Frame::Pong)) => {}
                Ok(Some(Frame::Rejected(rejection))) => self.reject(&rejection, &mut course.out),
                Ok(Some(Frame::Message(message))) => {
                    if message
                        .method()
                        .is_some_and(|method| *method != Method::Options)
                    {
                        course.used = now();
                    }
                    self.message(message, course).await;
                }
                Err(lost) => {
                    tracing::info!(peer = %self.link.address, %lost, "a SIP connection is closed");
                    course.end = Some(End::Framing);
                    return;
                }
            }
        }
    }

    async fn message(&mut self, message: Message, course: &mut Course) {
        match check(message) {
            Ok(Checked::Request(request)) => self.request(*request, course).await,
            Ok(Checked::Response(response)) => {
                let job = Job::Response {
                    link: Arc::clone(&self.link),
                    message: response.into_message(),
                };
                self.service.submit(job).await;
            }
            Err(rejection) => self.reject(&rejection, &mut course.out),
        }
    }

    async fn request(&mut self, request: Request, course: &mut Course) {
        let policy = self.service.policy();
        let admitted = match self.service.gate.admit(&policy, &self.link.proof, &request) {
            Ok(admitted) => admitted,
            Err(closed) => return self.turn_away(closed, &mut course.out),
        };
        if let Some(permit) = &mut self.permit {
            permit.authenticated();
        }
        if request.via().params().has("alias") {
            self.link.allow_both_ways();
        }
        if self.link.heard(&admitted.domain, &admitted.peer.name) {
            tracing::info!(peer = %admitted.peer.name, address = %self.link.address, domain = %admitted.domain, "a SIP peer spoke on its connection for the first time");
            self.service.peer_spoke(&admitted.peer.name);
        }
        let throttle = self.service.throttles.of(
            now(),
            &admitted.domain,
            policy.messages_per_second,
            policy.subscriptions_per_minute,
        );
        if let Some(pause) = throttle.stanza(now(), policy.messages_per_second) {
            course.paused = Some(now() + pause);
        }
        if is_new_subscription(&request)
            && !throttle.subscription(now(), policy.subscriptions_per_minute)
        {
            let refusal = request
                .refuse(Status::SERVICE_UNAVAILABLE)
                .with(HeaderName::RetryAfter, RETRY_AFTER);
            return self.refuse(&refusal, "subscriptions", &mut course.out);
        }
        self.link.counts.requests_in.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("entente_sip_requests_total", "direction" => "in", "method" => method_label(request.method())).increment(1);
        let job = Job::Request {
            link: Arc::clone(&self.link),
            peer: admitted.peer,
            message: request.into_message().without_trust_headers().unshared(),
        };
        self.service.submit(job).await;
    }

    fn turn_away(&self, closed: Closed, out: &mut BytesMut) {
        match closed {
            Closed::Refuse(refusal, why) => self.refuse(&refusal, why, out),
            Closed::Drop(why) => self.count_refusal(why),
        }
    }

    fn reject(&self, rejection: &Rejection, out: &mut BytesMut) {
        tracing::debug!(peer = %self.link.address, %rejection, "a bad SIP message");
        match rejection {
            Rejection::Refuse(refusal) => self.refuse(refusal, "malformed", out),
            Rejection::Drop(_) => self.count_refusal("malformed"),
        }
    }

    /// Answers without a transaction: a repetition gets the same answer (RFC 3261 section 8.2.7).
    fn refuse(&self, refusal: &Refusal, why: &'static str, out: &mut BytesMut) {
        self.count_refusal(why);
        let part = |name| refusal.headers().get(name).unwrap_or_default();
        let origin = format!("{}\n{}", part(HeaderName::Via), part(HeaderName::CallId));
        let tag = format!("{:016x}", key_hash(&origin));
        if let Some(response) = refusal.response(&tag, Some(self.link.address)) {
            out.extend_from_slice(response.as_bytes());
        }
    }

    fn count_refusal(&self, why: &'static str) {
        self.link.counts.refused.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("entente_sip_refused_requests_total", "reason" => why).increment(1);
    }

    async fn finish(mut self, mut out: BytesMut, end: End) {
        if matches!(end, End::Eof | End::Broken) {
            self.link.lose();
        } else {
            self.link.close();
        }
        self.service.links.leave(self.link.id);
        // What was handed over before counts as sent.
        while let Ok(message) = self.outbox.try_recv() {
            out.extend_from_slice(&message);
        }
        self.service.submit(Job::Lost(self.link.id)).await;
        if end != End::Broken {
            let last_words = async {
                if self.io.write_all(&mut out).await.is_ok() {
                    self.io.shutdown().await;
                }
            };
            let _late = timeout(LAST_WORDS, last_words).await;
        }
        tracing::info!(peer = %self.link.address, inbound = self.link.inbound, reason = ?end, "SIP connection closed");
    }
}

/// SUBSCRIBE outside of a dialog.
fn is_new_subscription(request: &Request) -> bool {
    *request.method() == Method::Subscribe && request.to().tag().is_none()
}

/// Methods as labels of metrics: a peer's inventions make no series.
pub(super) fn method_label(method: &Method) -> &'static str {
    match method {
        Method::Invite => "INVITE",
        Method::Ack => "ACK",
        Method::Bye => "BYE",
        Method::Cancel => "CANCEL",
        Method::Options => "OPTIONS",
        Method::Info => "INFO",
        Method::Message => "MESSAGE",
        Method::Subscribe => "SUBSCRIBE",
        Method::Notify => "NOTIFY",
        Method::Benotify => "BENOTIFY",
        _ => "other",
    }
}
