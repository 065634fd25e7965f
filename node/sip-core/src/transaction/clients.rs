//! The requests that we sent.

use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;

use super::contract::{ClientToken, ConnectionId, Failure, Flow, Output};
use super::deadlines::Deadlines;
use super::desk::Desk;
use super::invite_client::InviteClient;
use super::non_invite_client::NonInviteClient;
use super::timing::{Effects, TransactionTimer};
use crate::draft::Draft;
use crate::header::HeaderName;
use crate::message::Message;
use crate::method::Method;
use crate::status::Status;

#[derive(Debug)]
enum Machine {
    Invite(InviteClient),
    NonInvite(NonInviteClient),
}

#[derive(Debug)]
struct Client {
    machine: Machine,
    /// `None`: a CANCEL of ours, whose response nobody waits for.
    token: Option<ClientToken>,
    flow: Flow,
    key: Box<str>,
    via: Box<str>,
    request: Draft,
    bytes: Bytes,
    ack: Option<Bytes>,
}

impl Client {
    fn next(&self) -> Option<(Instant, TransactionTimer)> {
        match &self.machine {
            Machine::Invite(machine) => machine.next(),
            Machine::NonInvite(machine) => machine.next(),
        }
    }

    fn unanswered(&self) -> bool {
        match &self.machine {
            Machine::Invite(machine) => machine.unanswered(),
            Machine::NonInvite(machine) => machine.unanswered(),
        }
    }
}

/// All client transactions.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    all: HashMap<u64, Client>,
    by_key: HashMap<Box<str>, u64>,
    by_token: HashMap<ClientToken, u64>,
    per_connection: HashMap<ConnectionId, usize>,
    deadlines: Deadlines,
    last_id: u64,
}

/// Responses are matched by branch and by the method in CSeq, because CANCEL has its INVITE's branch
/// (section 17.1.3). Branches are ours and in lower case behind the cookie.
pub(crate) fn key(branch: &str, method: &Method) -> Box<str> {
    format!("{} {method}", branch.to_ascii_lowercase()).into()
}

impl Clients {
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn on(&self, connection: ConnectionId) -> usize {
        self.per_connection.get(&connection).copied().unwrap_or(0)
    }

    pub(crate) fn next(&self) -> Option<(Instant, TransactionTimer)> {
        let (_, id) = self.deadlines.first()?;
        self.all.get(&id)?.next()
    }

    /// Sends a request. The Via carries the branch.
    pub(crate) fn send(
        &mut self,
        desk: &mut Desk<'_>,
        token: Option<ClientToken>,
        flow: Flow,
        way: (&str, &str),
        request: Draft,
    ) {
        let (branch, via) = way;
        let reliable = flow.transport.is_reliable();
        let machine = match request.method() {
            Method::Invite => {
                Machine::Invite(InviteClient::start(desk.now, &desk.timing, reliable))
            }
            _ => Machine::NonInvite(NonInviteClient::start(desk.now, &desk.timing, reliable)),
        };
        let bytes = request.to_bytes(via);
        let key = key(branch, request.method());
        let client = Client {
            machine,
            token,
            flow,
            key: key.clone(),
            via: via.into(),
            request,
            bytes: bytes.clone(),
            ack: None,
        };
        self.last_id += 1;
        let id = self.last_id;
        self.deadlines
            .change(id, None, client.next().map(|(at, _)| at));
        self.by_key.insert(key, id);
        if let Some(token) = token {
            self.by_token.insert(token, id);
        }
        *self.per_connection.entry(flow.connection).or_default() += 1;
        self.all.insert(id, client);
        desk.transmit(flow.connection, bytes);
    }

    /// A response came in. Gives it back if it belongs to none of these.
    pub(crate) fn response(
        &mut self,
        desk: &mut Desk<'_>,
        key: &str,
        status: Status,
        message: Message,
    ) -> Option<Message> {
        let Some(&id) = self.by_key.get(key) else {
            return Some(message);
        };
        let (now, timing) = (desk.now, desk.timing);
        self.step(desk, id, Some(message), |client, message| {
            let reliable = client.flow.transport.is_reliable();
            let effects = match &mut client.machine {
                Machine::Invite(machine) => machine.response(now, &timing, reliable, status.code()),
                Machine::NonInvite(machine) => {
                    machine.response(now, &timing, reliable, status.code())
                }
            };
            if effects.ack && client.ack.is_none() {
                // Section 17.1.1.3: To of the response, the Via of the request.
                let to = message.and_then(|message| message.get(HeaderName::To));
                let ack = client.request.follow_up(Method::Ack, to);
                client.ack = Some(ack.to_bytes(&client.via));
            }
            effects
        });
        None
    }

    /// The user gives an INVITE up.
    pub(crate) fn cancel(&mut self, desk: &mut Desk<'_>, token: ClientToken) {
        let (now, timing) = (desk.now, desk.timing);
        if let Some(&id) = self.by_token.get(&token) {
            self.step(desk, id, None, |client, _| match &mut client.machine {
                Machine::Invite(machine) => machine.cancel(now, &timing),
                Machine::NonInvite(_) => Effects::NONE,
            });
        }
    }

    /// Runs every timer that is due.
    pub(crate) fn timeout(&mut self, desk: &mut Desk<'_>) {
        let (now, timing) = (desk.now, desk.timing);
        while let Some(id) = self.deadlines.due(now) {
            self.step(desk, id, None, |client, _| match &mut client.machine {
                Machine::Invite(machine) => machine.timer(now, &timing),
                Machine::NonInvite(machine) => machine.timer(now),
            });
        }
    }

    /// A connection is gone: what waits on it for a response fails, all else is over.
    pub(crate) fn lost(&mut self, desk: &mut Desk<'_>, connection: ConnectionId) {
        if self.on(connection) == 0 {
            return;
        }
        let mut ids: Vec<u64> = self
            .all
            .iter()
            .filter(|(_, client)| client.flow.connection == connection)
            .map(|(id, _)| *id)
            .collect();
        ids.sort_unstable();
        for client in ids.into_iter().filter_map(|id| self.forget(id)) {
            if let Some(token) = client.token.filter(|_| client.unanswered()) {
                desk.put(Output::Failed {
                    token,
                    failure: Failure::Transport,
                });
            }
        }
    }

    /// Lets one machine act and does what it asks for.
    fn step(
        &mut self,
        desk: &mut Desk<'_>,
        id: u64,
        message: Option<Message>,
        act: impl FnOnce(&mut Client, Option<&Message>) -> Effects,
    ) {
        let Some(client) = self.all.get_mut(&id) else {
            return;
        };
        let before = client.next().map(|(at, _)| at);
        let effects = act(client, message.as_ref());
        let after = client.next().map(|(at, _)| at);
        self.deadlines.change(id, before, after);
        if effects.send {
            desk.transmit(client.flow.connection, client.bytes.clone());
        }
        if let Some(ack) = client.ack.as_ref().filter(|_| effects.ack) {
            desk.transmit(client.flow.connection, ack.clone());
        }
        if let Some(token) = client.token {
            if let Some(message) = message.filter(|_| effects.deliver) {
                desk.put(Output::Response { token, message });
            }
            if effects.timeout {
                desk.put(Output::Failed {
                    token,
                    failure: Failure::Timeout,
                });
            }
        }
        let cancel = effects.cancel.then(|| {
            let request = client.request.follow_up(Method::Cancel, None);
            (client.flow, client.key.clone(), client.via.clone(), request)
        });
        if effects.ended {
            self.forget(id);
        }
        if let Some((flow, key, via, request)) = cancel {
            let branch = key.split(' ').next().unwrap_or_default();
            self.send(desk, None, flow, (branch, &via), request);
        }
    }

    fn forget(&mut self, id: u64) -> Option<Client> {
        let client = self.all.remove(&id)?;
        self.deadlines
            .change(id, client.next().map(|(at, _)| at), None);
        if self.by_key.get(&client.key) == Some(&id) {
            self.by_key.remove(&client.key);
        }
        if let Some(token) = client.token
            && self.by_token.get(&token) == Some(&id)
        {
            self.by_token.remove(&token);
        }
        let connection = client.flow.connection;
        if let Some(count) = self.per_connection.get_mut(&connection) {
            *count -= 1;
            if *count == 0 {
                self.per_connection.remove(&connection);
            }
        }
        Some(client)
    }
}
