//! The table of all transactions of one node.

use std::collections::VecDeque;
use std::time::Instant;

use super::clients::{self, Clients};
use super::contract::{ClientToken, Counters, Failure, Flow, Input, Output};
use super::desk::Desk;
use super::servers::{Names, Servers};
use super::timing::{Timing, TransactionTimer};
use crate::dialog::Head;
use crate::draft::Draft;
use crate::generator::Generator;
use crate::header::HeaderName;
use crate::message::Message;
use crate::method::Method;
use crate::owner::{Owner, OwnerKey};
use crate::reply::Reply;
use crate::status::Status;
use crate::via::Via;

/// How many transactions are kept. Each direction has its own count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionLimits {
    /// Of one connection. More requests of a peer get 503, more of ours fail. Default 4096.
    pub per_connection: usize,
    /// Of all. Default 65,536.
    pub total: usize,
    /// What Retry-After of such a 503 says, in seconds. Default 5.
    pub retry_after: u32,
}

impl Default for TransactionLimits {
    fn default() -> Self {
        Self {
            per_connection: 4096,
            total: 65_536,
            retry_after: 5,
        }
    }
}

/// What a table knows of its node.
#[derive(Debug, Clone)]
pub struct TransactionConfig {
    /// Host of our Via: the public name that all nodes share.
    pub host: Box<str>,
    /// Port of our Via, if it is not that of the transport.
    pub port: Option<u16>,
    /// This node.
    pub owner: Owner,
    /// Seals branches.
    pub key: OwnerKey,
    /// The timers' constants.
    pub timing: Timing,
    /// The bounds.
    pub limits: TransactionLimits,
}

/// All transactions of one node.
///
/// Feed it with [`handle_input`](Self::handle_input), drain [`poll_output`](Self::poll_output), and call
/// it with [`Input::Timeout`] at [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Transactions {
    config: TransactionConfig,
    random: Generator,
    clients: Clients,
    servers: Servers,
    outputs: VecDeque<Output>,
    counters: Counters,
}

impl Transactions {
    /// An empty table. `seed` makes the branches.
    #[must_use]
    pub fn new(config: TransactionConfig, seed: [u8; 16]) -> Self {
        Self {
            config,
            random: Generator::new(seed),
            clients: Clients::default(),
            servers: Servers::default(),
            outputs: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_timer().map(|(at, _)| at)
    }

    /// Like [`poll_timeout`](Self::poll_timeout), with the reason.
    #[must_use]
    pub fn next_timer(&self) -> Option<(Instant, TransactionTimer)> {
        self.clients
            .next()
            .into_iter()
            .chain(self.servers.next())
            .min()
    }

    /// What was done without a word.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Transactions of ours and of peers.
    #[must_use]
    pub fn len(&self) -> (usize, usize) {
        (self.clients.len(), self.servers.len())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == (0, 0)
    }

    /// Takes an input.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        let mut desk = Desk {
            now,
            timing: self.config.timing,
            out: &mut self.outputs,
            counters: &mut self.counters,
        };
        match input {
            Input::Received { flow, message } => match message.status() {
                None => {
                    Inbound {
                        config: &self.config,
                        servers: &mut self.servers,
                    }
                    .request(&mut desk, flow, message);
                }
                Some(status) => {
                    Self::response(&self.config, &mut self.clients, &mut desk, status, message);
                }
            },
            Input::Send {
                token,
                flow,
                request,
            } => {
                let limits = self.config.limits;
                if self.clients.len() >= limits.total
                    || self.clients.on(flow.connection) >= limits.per_connection
                {
                    desk.put(Output::Failed {
                        token,
                        failure: Failure::Full,
                    });
                } else {
                    Self::send(
                        &self.config,
                        &mut self.random,
                        &mut self.clients,
                        &mut desk,
                        (token, flow, request),
                    );
                }
            }
            Input::SendAck { flow, ack } => {
                let branch = self.config.key.branch(&self.config.owner, &mut self.random);
                let via = self.config.via(flow, &branch);
                desk.transmit(flow.connection, ack.to_bytes(via.as_str()));
            }
            Input::Cancel { token } => self.clients.cancel(&mut desk, token),
            Input::Respond { id, reply } => {
                let status = reply.status();
                self.servers
                    .respond(&mut desk, id, status, || reply.to_bytes());
            }
            Input::Relay { id, response } => {
                if let Some(status) = response.status() {
                    let bytes = response.bytes().clone();
                    self.servers.respond(&mut desk, id, status, || bytes);
                }
            }
            Input::Lost { connection } => {
                self.clients.lost(&mut desk, connection);
                self.servers.lost(&mut desk, connection);
            }
            Input::Timeout => {
                self.clients.timeout(&mut desk);
                self.servers.timeout(&mut desk);
            }
        }
    }

    fn send(
        config: &TransactionConfig,
        random: &mut Generator,
        clients: &mut Clients,
        desk: &mut Desk<'_>,
        (token, flow, request): (ClientToken, Flow, Draft),
    ) {
        let branch = config.key.branch(&config.owner, random);
        let via = config.via(flow, &branch);
        clients.send(desk, Some(token), flow, (&branch, via.as_str()), request);
    }

    /// Section 17.1.3; RFC 6026 section 8.8: what fits nothing is dropped, never passed on.
    fn response(
        config: &TransactionConfig,
        clients: &mut Clients,
        desk: &mut Desk<'_>,
        status: Status,
        message: Message,
    ) {
        let (Ok(via), Ok(cseq)) = (message.top_via(), message.cseq()) else {
            desk.counters.unusable += 1;
            return;
        };
        let branch = via.branch().unwrap_or_default();
        let key = clients::key(branch, &cseq.method);
        let Some(message) = clients.response(desk, &key, status, message) else {
            return;
        };
        match config.key.owner_of_branch(branch.as_bytes()) {
            Some(owner) if owner != config.owner => desk.put(Output::Stray { owner, message }),
            _ => desk.counters.strays += 1,
        }
    }
}

impl TransactionConfig {
    fn via(&self, flow: Flow, branch: &str) -> Via {
        Via::new(flow.transport, &self.host, self.port, branch)
    }
}

/// The way of a request that comes in.
struct Inbound<'a> {
    config: &'a TransactionConfig,
    servers: &'a mut Servers,
}

impl Inbound<'_> {
    fn request(&mut self, desk: &mut Desk<'_>, flow: Flow, message: Message) {
        let (Some(method), Ok(via), Ok(head)) =
            (message.method(), message.top_via(), Head::of(&message))
        else {
            desk.counters.unusable += 1;
            return;
        };
        let method = method.clone();
        match method {
            Method::Ack => {
                let key = Self::key(&message, &via, &head, &Method::Invite);
                let branch = via.unique_branch().is_some();
                drop(head);
                if let Some(message) = self.servers.ack(desk, &key, message) {
                    if branch {
                        desk.put(Output::OneWay { flow, message });
                    } else {
                        desk.counters.unusable += 1;
                    }
                }
            }
            // COMPAT Microsoft: never answered, so there is nothing to keep.
            Method::Benotify => {
                drop(head);
                desk.put(Output::OneWay { flow, message });
            }
            _ => {
                let key = Self::key(&message, &via, &head, &method);
                let names = Names {
                    key,
                    origin: Self::origin(&head, &method),
                };
                let invite = Self::key(&message, &via, &head, &Method::Invite);
                drop(head);
                if !self.servers.repeated(desk, &names.key) {
                    self.fresh(desk, flow, names, &invite, message);
                }
            }
        }
    }

    fn fresh(
        &mut self,
        desk: &mut Desk<'_>,
        flow: Flow,
        names: Names,
        invite: &str,
        message: Message,
    ) {
        if message.method() == Some(&Method::Cancel) {
            return self.cancel(desk, flow, invite, &message);
        }
        if self.servers.merged(&names) || self.came_from_us(&message) {
            desk.counters.loops += 1;
            return Self::refuse(desk, flow, &message, Status::LOOP_DETECTED, None);
        }
        let limits = self.config.limits;
        if self.servers.len() >= limits.total
            || self.servers.on(flow.connection) >= limits.per_connection
        {
            desk.counters.refused += 1;
            let after = Some(limits.retry_after);
            return Self::refuse(desk, flow, &message, Status::SERVICE_UNAVAILABLE, after);
        }
        self.servers.open(desk, flow, names, message);
    }

    /// Section 9.2: CANCEL is answered with 200 whenever its INVITE is known; whether it changes
    /// anything is another matter. It needs no transaction: answering again is all that one would do.
    fn cancel(&self, desk: &mut Desk<'_>, flow: Flow, invite: &str, message: &Message) {
        match self.servers.cancelled(invite) {
            None => {
                Self::refuse(desk, flow, message, Status::CALL_DOES_NOT_EXIST, None);
            }
            Some((id, cancellable)) => {
                Self::refuse(desk, flow, message, Status::OK, None);
                if cancellable {
                    desk.put(Output::Cancelled { id });
                }
            }
        }
    }

    /// A request that carries one of our branches went out from this cluster before: passing it on
    /// would make a loop. It can't be a spiral, as we are no proxy.
    fn came_from_us(&self, message: &Message) -> bool {
        message.vias().any(|via| {
            via.is_ok_and(|via| {
                let branch = via.branch().unwrap_or_default();
                self.config.key.owner_of_branch(branch.as_bytes()).is_some()
            })
        })
    }

    fn refuse(
        desk: &mut Desk<'_>,
        flow: Flow,
        message: &Message,
        status: Status,
        retry_after: Option<u32>,
    ) {
        let mut reply = Reply::stateless(message, status);
        if let Some(seconds) = retry_after {
            reply.header(HeaderName::RetryAfter, &seconds.to_string());
        }
        desk.transmit(flow.connection, reply.to_bytes());
    }

    /// Section 17.2.3. A peer of RFC 2543 has no unique branch; then everything that its transactions
    /// have in common is the key.
    fn key(message: &Message, via: &Via, head: &Head<'_>, method: &Method) -> Box<str> {
        let host = via.host_str().to_ascii_lowercase();
        let port = via.port().map_or(String::new(), |port| port.to_string());
        match via.unique_branch() {
            Some(branch) => format!("{branch} {host}:{port} {method}").into(),
            None => {
                let uri = match message.start_line() {
                    crate::message::StartLine::Request { uri, .. } => uri,
                    crate::message::StartLine::Response { .. } => "",
                };
                // To's tag is left out: ACK has one where its INVITE has none.
                let from = head.from.tag().unwrap_or_default();
                let (call_id, number) = (head.call_id, head.cseq.number);
                format!("2543 {uri} {from} {call_id} {number} {via} {method}").into()
            }
        }
    }

    fn origin(head: &Head<'_>, method: &Method) -> Option<Box<str>> {
        if head.to.tag().is_some() || *method == Method::Cancel {
            return None;
        }
        let from = head.from.tag().unwrap_or_default();
        let (call_id, number) = (head.call_id, head.cseq.number);
        Some(format!("{from} {call_id} {number} {method}").into())
    }
}
