//! The driver around the transactions of this node: messages of all connections come in, requests of the
//! gateways go out. One task; it waits for nothing but its own queue and the clock.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use entente_sip_core::Message;
use entente_sip_core::draft::Draft;
use entente_sip_core::header::{HeaderName, MsDiagnostics};
use entente_sip_core::method::Method;
use entente_sip_core::reply::Reply;
use entente_sip_core::status::Status;
use entente_sip_core::transaction::{
    ClientToken, ConnectionId, Failure, Flow, Input, Output, ServerId, TransactionConfig,
    Transactions,
};
use tokio::sync::mpsc;

use super::connection::method_label;
use super::gate::{ACCEPT, ALLOW};
use super::link::Link;
use super::port::{Outcome, PeerRequest, SendFailure, SipCall};
use super::route::{Destination, destination};
use super::service::SipService;
use super::trunk::{Parcel, Trunk};
use crate::clock::{now, until};
use crate::config::SipPeerConfig;

/// Work that may wait; connections and trunks wait for room.
const QUEUE: usize = 4096;
/// Work that is done before the clock is looked at again.
const BATCH: usize = 128;
/// How long after its final response a request's origin is remembered: further 2xx of forks come within
/// 64·T1 (RFC 3261 section 13.2.2.4).
const REMEMBERED: Duration = Duration::from_secs(40);
/// When a peer that met a busy node may come again, in seconds.
const RETRY_AFTER: &str = "5";

/// Something to do.
pub(super) enum Job {
    /// A request that passed the gate.
    Request {
        link: Arc<Link>,
        peer: Arc<SipPeerConfig>,
        message: Message,
    },
    /// A response.
    Response { link: Arc<Link>, message: Message },
    /// A request of a gateway, on its turn.
    Send {
        link: Arc<Link>,
        trunk: Arc<Trunk>,
        parcel: Parcel,
    },
    /// A gateway's response.
    Respond { transaction: u64, response: Message },
    /// An INVITE of a gateway is not wanted any more.
    Cancel(SipCall),
    /// A response to a request of ours that came to another node.
    Stray(Message),
    /// Is the peer there?
    Probe(Arc<Link>),
    /// The connection is over.
    Lost(ConnectionId),
}

/// Who hears what comes of a request of ours.
enum Origin {
    Gateway { trunk: Arc<Trunk>, parcel: Parcel },
    Probe(Arc<Link>),
}

/// See the module.
pub(super) struct TransactionsDriver {
    core: Transactions,
    service: Arc<SipService>,
    jobs: mpsc::Receiver<Job>,
    origins: HashMap<ClientToken, Origin>,
    /// Requests that were answered, in the order in which they are forgotten.
    answered: VecDeque<(Instant, ClientToken)>,
    next_token: u64,
    /// INVITEs that a gateway has not answered yet: CANCEL is answered here.
    invites: HashMap<ServerId, Message>,
    /// INVITEs of gateways without a final response: what can be cancelled.
    invitations: HashMap<SipCall, ClientToken>,
}

/// Makes the queue of the driver.
pub(super) fn queue() -> (mpsc::Sender<Job>, mpsc::Receiver<Job>) {
    mpsc::channel(QUEUE)
}

impl TransactionsDriver {
    pub(super) fn new(
        service: Arc<SipService>,
        config: TransactionConfig,
        seed: [u8; 16],
        jobs: mpsc::Receiver<Job>,
    ) -> Self {
        Self {
            core: Transactions::new(config, seed),
            service,
            jobs,
            origins: HashMap::new(),
            answered: VecDeque::new(),
            next_token: 0,
            invites: HashMap::new(),
            invitations: HashMap::new(),
        }
    }

    /// Runs until the service is gone.
    pub(super) async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let deadline = self.core.poll_timeout();
            tokio::select! {
                biased;
                count = self.jobs.recv_many(&mut batch, BATCH) => if count == 0 { return },
                () = until(deadline) => {}
            }
            let now = now();
            for job in batch.drain(..) {
                self.work(now, job);
            }
            if self.core.poll_timeout().is_some_and(|at| at <= now) {
                self.input(now, Input::Timeout, None);
            }
            self.forget(now);
            self.service.show_transactions(self.core.len());
        }
    }

    fn work(&mut self, now: Instant, job: Job) {
        match job {
            Job::Request {
                link,
                peer,
                message,
            } => {
                let flow = link.flow();
                self.input(now, Input::Received { flow, message }, Some(&peer));
            }
            Job::Response { link, message } => {
                let flow = link.flow();
                self.input(now, Input::Received { flow, message }, None);
            }
            Job::Stray(message) => {
                // The flow is of no account for a response; the branch finds its transaction.
                let flow = Flow {
                    connection: ConnectionId(u64::MAX),
                    transport: entente_sip_core::via::Transport::Tls,
                };
                self.input(now, Input::Received { flow, message }, None);
            }
            Job::Send {
                link,
                trunk,
                parcel,
            } => self.send(now, &link, trunk, parcel),
            Job::Respond {
                transaction,
                response,
            } => {
                let id = ServerId(transaction);
                if response.status().is_some_and(Status::is_final) {
                    self.invites.remove(&id);
                }
                self.input(now, Input::Relay { id, response }, None);
            }
            Job::Cancel(call) => {
                if let Some(&token) = self.invitations.get(&call) {
                    self.input(now, Input::Cancel { token }, None);
                }
            }
            Job::Probe(link) => self.probe(now, link),
            Job::Lost(connection) => self.input(now, Input::Lost { connection }, None),
        }
    }

    fn send(&mut self, now: Instant, link: &Arc<Link>, trunk: Arc<Trunk>, parcel: Parcel) {
        let flow = link.flow();
        link.counts.requests_out.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("entente_sip_requests_total", "direction" => "out", "method" => method_label(parcel.draft().method())).increment(1);
        match parcel {
            Parcel::Ack(acking) => {
                let ack = acking.draft;
                self.input(now, Input::SendAck { flow, ack }, None);
            }
            Parcel::Request { ref sending, .. } => {
                if parcel.is_of_dialog() {
                    link.carries_dialog();
                }
                let request = sending.draft.clone();
                let invitation =
                    (*request.method() == Method::Invite).then(|| sending.call.clone());
                let token = self.token(Origin::Gateway { trunk, parcel });
                if let Some(call) = invitation {
                    self.invitations.insert(call, token);
                }
                let input = Input::Send {
                    token,
                    flow,
                    request,
                };
                self.input(now, input, None);
            }
        }
    }

    fn probe(&mut self, now: Instant, link: Arc<Link>) {
        let Some(request) = self.service.probe(&link) else {
            return;
        };
        let flow = link.flow();
        let token = self.token(Origin::Probe(link));
        let input = Input::Send {
            token,
            flow,
            request,
        };
        self.input(now, input, None);
    }

    fn token(&mut self, origin: Origin) -> ClientToken {
        self.next_token += 1;
        let token = ClientToken(self.next_token);
        self.origins.insert(token, origin);
        token
    }

    /// Lets the core have `input` and does what it says. `peer` is the one whose request it is.
    fn input(&mut self, now: Instant, input: Input, peer: Option<&Arc<SipPeerConfig>>) {
        self.core.handle_input(now, input);
        while let Some(output) = self.core.poll_output() {
            self.perform(now, output, peer);
        }
    }

    fn perform(&mut self, now: Instant, output: Output, peer: Option<&Arc<SipPeerConfig>>) {
        match output {
            Output::Transmit { connection, bytes } => {
                if let Some(link) = self.service.links.get(connection) {
                    link.send(bytes);
                }
            }
            Output::Request { id, message, .. } => self.request(now, id, message, peer),
            Output::OneWay { message, .. } => {
                if let (Some(peer), Ok(Destination::User(user))) =
                    (peer, self.destination(&message))
                {
                    // Nobody is told that it was not taken: it is never answered.
                    let _busy = self.service.to_gateway(PeerRequest {
                        user,
                        leg: None,
                        peer: Arc::clone(&peer.name),
                        message,
                    });
                }
            }
            // The gateway's own answer comes too late then, and is dropped.
            Output::Cancelled { id } => {
                if let Some(invite) = self.invites.remove(&id) {
                    let reply = Reply::stateless(&invite, Status::REQUEST_TERMINATED);
                    self.input(now, Input::Respond { id, reply }, None);
                }
            }
            Output::Response { token, message } => self.response(now, token, message),
            Output::Failed { token, failure } => self.failed(token, failure),
            Output::Unheard { id, why } => {
                self.invites.remove(&id);
                tracing::debug!(transaction = id.0, %why, "a response to a SIP peer was not heard");
            }
            Output::Stray { owner, message } => self.service.stray(&owner, message),
        }
    }

    fn destination(&self, request: &Message) -> Result<Destination, Status> {
        let policy = self.service.policy();
        destination(&self.service.gate.key, &policy.sip.addresses, request)
    }

    fn request(
        &mut self,
        now: Instant,
        id: ServerId,
        message: Message,
        peer: Option<&Arc<SipPeerConfig>>,
    ) {
        let status = match (self.destination(&message), peer) {
            (Ok(Destination::Edge), _) => Status::OK,
            (Ok(Destination::User(user)), Some(peer)) => {
                let request = PeerRequest {
                    user,
                    leg: Some(self.service.leg(id.0)),
                    peer: Arc::clone(&peer.name),
                    message: message.clone(),
                };
                match self.service.to_gateway(request) {
                    Ok(()) => {
                        if message.method() == Some(&Method::Invite) {
                            self.invites.insert(id, message);
                        }
                        return;
                    }
                    Err(super::port::Busy) => Status::SERVICE_UNAVAILABLE,
                }
            }
            (Ok(Destination::User(_)), None) => Status::SERVER_INTERNAL_ERROR,
            (Err(status), _) => status,
        };
        let mut reply = Reply::stateless(&message, status);
        match status {
            Status::OK => {
                reply.header(HeaderName::Allow, ALLOW);
                reply.header(HeaderName::Accept, ACCEPT);
                reply.header(HeaderName::AllowEvents, "presence");
                // An empty one says that there are none (RFC 3261 section 20.37).
                reply.header(HeaderName::Supported, "");
            }
            Status::SERVICE_UNAVAILABLE => {
                reply.header(HeaderName::RetryAfter, RETRY_AFTER);
            }
            _ => {}
        }
        self.input(now, Input::Respond { id, reply }, None);
    }

    fn response(&mut self, now: Instant, token: ClientToken, message: Message) {
        let Some(status) = message.status() else {
            return;
        };
        let is_invite = message
            .cseq()
            .is_ok_and(|cseq| cseq.method == Method::Invite);
        if status.is_final() {
            self.no_invitation(token);
        }
        // Of an INVITE further 2xx may come.
        let last = status.is_final() && !(is_invite && status.is_success());
        let origin = if last {
            self.origins.remove(&token)
        } else {
            if status.is_final() {
                self.answered.push_back((now + REMEMBERED, token));
            }
            match self.origins.get(&token) {
                Some(Origin::Gateway { parcel, .. }) => {
                    return self
                        .service
                        .outcome(parcel, Outcome::Response(Box::new(message)));
                }
                _ => return,
            }
        };
        match origin {
            Some(Origin::Gateway { trunk, parcel }) => {
                if status.code() >= 400 {
                    trunk.complained(status.code(), words_of(&message));
                }
                if status == Status::SERVICE_UNAVAILABLE {
                    match trunk.elsewhere(now, parcel) {
                        Ok(()) => {}
                        Err(parcel) => self
                            .service
                            .outcome(&parcel, Outcome::Response(Box::new(message))),
                    }
                } else {
                    self.service
                        .outcome(&parcel, Outcome::Response(Box::new(message)));
                }
            }
            // Any response at all is a sign of life.
            Some(Origin::Probe(_)) | None => {}
        }
    }

    /// A request is over for its sender: there is nothing to cancel.
    fn no_invitation(&mut self, token: ClientToken) {
        if let Some(Origin::Gateway {
            parcel: Parcel::Request { sending, .. },
            ..
        }) = self.origins.get(&token)
        {
            self.invitations.remove(&sending.call);
        }
    }

    fn failed(&mut self, token: ClientToken, failure: Failure) {
        self.no_invitation(token);
        match self.origins.remove(&token) {
            Some(Origin::Gateway { trunk, parcel }) => {
                let why = match failure {
                    Failure::Timeout => SendFailure::Timeout,
                    Failure::Transport => SendFailure::Broken,
                    Failure::Full => SendFailure::Refused,
                };
                trunk.unanswered(failure);
                // Within a dialog its owner knows best what to do; elsewhere the next server is asked.
                let retry = failure != Failure::Full && !parcel.is_in_dialog();
                let kept = match retry {
                    true => trunk.elsewhere(now(), parcel),
                    false => Err(parcel),
                };
                if let Err(parcel) = kept {
                    self.service.outcome(&parcel, Outcome::Failed(why));
                }
            }
            Some(Origin::Probe(link)) if link.is_open() => {
                tracing::info!(peer = %link.address, "a SIP peer does not answer; the connection is closed");
                link.lose();
            }
            Some(Origin::Probe(_)) | None => {}
        }
    }

    fn forget(&mut self, now: Instant) {
        while let Some((at, token)) = self.answered.front() {
            if *at > now {
                return;
            }
            self.origins.remove(token);
            self.answered.pop_front();
        }
    }
}

/// What the peer says about a refusal, for the operator.
fn words_of(response: &Message) -> Option<String> {
    let value = response.get(HeaderName::MsDiagnostics)?;
    let diagnostics = MsDiagnostics::parse(value)?;
    let reason = diagnostics.reason().unwrap_or_default();
    Some(format!("ms-diagnostics {}: {reason}", diagnostics.id))
}

/// A request that is nobody's: it asks whether the peer is there.
pub(super) fn options(to: &str, from: &str, call_id: &str) -> Draft {
    let mut draft = Draft::new(Method::Options, &format!("sip:{to}"));
    draft
        .header(HeaderName::From, &format!("<sip:{from}>;tag={call_id}"))
        .header(HeaderName::To, &format!("<sip:{to}>"))
        .header(HeaderName::CallId, call_id)
        .header(HeaderName::CSeq, "1 OPTIONS")
        .header(HeaderName::Accept, ACCEPT);
    draft
}
