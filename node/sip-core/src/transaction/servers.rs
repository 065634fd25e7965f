//! The requests that came in.

use std::collections::HashMap;
use std::time::Instant;

use bytes::Bytes;

use super::contract::{ConnectionId, Flow, Output, ServerId, Unheard};
use super::deadlines::Deadlines;
use super::desk::Desk;
use super::invite_server::InviteServer;
use super::non_invite_server::NonInviteServer;
use super::timing::{Effects, TransactionTimer};
use crate::message::Message;
use crate::method::Method;
use crate::reply::Reply;
use crate::status::Status;

#[derive(Debug)]
enum Machine {
    Invite(InviteServer),
    NonInvite(NonInviteServer),
}

#[derive(Debug)]
struct Server {
    machine: Machine,
    flow: Flow,
    names: Names,
    /// The INVITE, until it is answered; 100 is made of it.
    request: Option<Message>,
    /// The last response.
    last: Option<Bytes>,
}

impl Server {
    fn next(&self) -> Option<(Instant, TransactionTimer)> {
        match &self.machine {
            Machine::Invite(machine) => machine.next(),
            Machine::NonInvite(machine) => machine.next(),
        }
    }
}

/// How a request is recognised when it comes again.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    /// Branch, sent-by and method (section 17.2.3).
    pub(crate) key: Box<str>,
    /// From tag, Call-ID and CSeq of a request outside of dialogs, which must not come in twice on two
    /// ways (section 8.2.2.2).
    pub(crate) origin: Option<Box<str>>,
}

/// All server transactions.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    all: HashMap<u64, Server>,
    by_key: HashMap<Box<str>, u64>,
    by_origin: HashMap<Box<str>, u64>,
    per_connection: HashMap<ConnectionId, usize>,
    deadlines: Deadlines,
    last_id: u64,
}

impl Servers {
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

    /// The request came before and is absorbed; its last response goes out again.
    pub(crate) fn repeated(&mut self, desk: &mut Desk<'_>, key: &str) -> bool {
        let Some(server) = self.by_key.get(key).and_then(|id| self.all.get(id)) else {
            return false;
        };
        let effects = match &server.machine {
            Machine::Invite(machine) => machine.repeated(),
            Machine::NonInvite(machine) => machine.repeated(),
        };
        if let Some(last) = server.last.as_ref().filter(|_| effects.send) {
            desk.transmit(server.flow.connection, last.clone());
        }
        desk.counters.repeated += 1;
        true
    }

    /// The same request came on another way and is being worked on.
    pub(crate) fn merged(&self, names: &Names) -> bool {
        names
            .origin
            .as_ref()
            .is_some_and(|origin| self.by_origin.contains_key(origin))
    }

    /// A request that was not seen before.
    pub(crate) fn open(&mut self, desk: &mut Desk<'_>, flow: Flow, names: Names, message: Message) {
        let invite = message.method() == Some(&Method::Invite);
        let machine = if invite {
            Machine::Invite(InviteServer::start(desk.now, &desk.timing))
        } else {
            Machine::NonInvite(NonInviteServer::start(desk.now, &desk.timing))
        };
        self.last_id += 1;
        let id = self.last_id;
        let server = Server {
            machine,
            flow,
            names: names.clone(),
            request: invite.then(|| message.clone()),
            last: None,
        };
        self.deadlines
            .change(id, None, server.next().map(|(at, _)| at));
        self.by_key.insert(names.key, id);
        if let Some(origin) = names.origin {
            self.by_origin.insert(origin, id);
        }
        *self.per_connection.entry(flow.connection).or_default() += 1;
        self.all.insert(id, server);
        desk.put(Output::Request {
            id: ServerId(id),
            flow,
            message,
        });
    }

    /// ACK came in. Gives it back if it is that of a 2xx.
    pub(crate) fn ack(
        &mut self,
        desk: &mut Desk<'_>,
        key: &str,
        message: Message,
    ) -> Option<Message> {
        let Some(&id) = self.by_key.get(key) else {
            return Some(message);
        };
        let (now, timing) = (desk.now, desk.timing);
        let effects = self.step(desk, id, |server| match &mut server.machine {
            Machine::Invite(machine) => {
                machine.ack(now, &timing, server.flow.transport.is_reliable())
            }
            Machine::NonInvite(_) => Effects::NONE,
        });
        effects.deliver.then_some(message)
    }

    /// The INVITE that a CANCEL is for, and whether it can still be cancelled.
    pub(crate) fn cancelled(&self, key: &str) -> Option<(ServerId, bool)> {
        let id = *self.by_key.get(key)?;
        match &self.all.get(&id)?.machine {
            Machine::Invite(machine) => Some((ServerId(id), machine.cancellable())),
            Machine::NonInvite(_) => None,
        }
    }

    /// The user answers.
    pub(crate) fn respond(
        &mut self,
        desk: &mut Desk<'_>,
        id: ServerId,
        status: Status,
        response: impl FnOnce() -> Bytes,
    ) {
        let (now, timing) = (desk.now, desk.timing);
        let mut response = Some(response);
        let mut late = true;
        self.step(desk, id.0, |server| {
            let reliable = server.flow.transport.is_reliable();
            let effects = match &mut server.machine {
                Machine::Invite(machine) => machine.respond(now, &timing, reliable, status.code()),
                Machine::NonInvite(machine) => {
                    machine.respond(now, &timing, reliable, status.code())
                }
            };
            late = effects.is_none();
            if !late {
                server.last = response.take().map(|response| response());
                if status.is_final() {
                    server.request = None;
                }
            }
            effects.unwrap_or(Effects::NONE)
        });
        if late {
            desk.counters.late_replies += 1;
        }
    }

    /// Runs every timer that is due.
    pub(crate) fn timeout(&mut self, desk: &mut Desk<'_>) {
        let now = desk.now;
        while let Some(id) = self.deadlines.due(now) {
            let why = match self.all.get(&id).and_then(Server::next) {
                Some((_, TransactionTimer::H)) => Unheard::NoAck,
                _ => Unheard::Unanswered,
            };
            let effects = self.step(desk, id, |server| match &mut server.machine {
                Machine::Invite(machine) => machine.timer(now),
                Machine::NonInvite(machine) => machine.timer(now),
            });
            if effects.timeout {
                desk.put(Output::Unheard {
                    id: ServerId(id),
                    why,
                });
            }
        }
    }

    /// A connection is gone: nobody hears the responses.
    pub(crate) fn lost(&mut self, desk: &mut Desk<'_>, connection: ConnectionId) {
        if self.on(connection) == 0 {
            return;
        }
        let mut ids: Vec<u64> = self
            .all
            .iter()
            .filter(|(_, server)| server.flow.connection == connection)
            .map(|(id, _)| *id)
            .collect();
        ids.sort_unstable();
        for id in ids {
            self.forget(id);
            desk.put(Output::Unheard {
                id: ServerId(id),
                why: Unheard::Transport,
            });
        }
    }

    /// Lets one machine act and does what it asks for.
    fn step(
        &mut self,
        desk: &mut Desk<'_>,
        id: u64,
        act: impl FnOnce(&mut Server) -> Effects,
    ) -> Effects {
        let Some(server) = self.all.get_mut(&id) else {
            return Effects::NONE;
        };
        let before = server.next().map(|(at, _)| at);
        let effects = act(server);
        let after = server.next().map(|(at, _)| at);
        self.deadlines.change(id, before, after);
        if effects.trying
            && let Some(request) = &server.request
        {
            server.last = Some(Reply::stateless(request, Status::TRYING).to_bytes());
        }
        if let Some(last) = server
            .last
            .as_ref()
            .filter(|_| effects.send || effects.trying)
        {
            desk.transmit(server.flow.connection, last.clone());
        }
        if effects.ended {
            self.forget(id);
        }
        effects
    }

    fn forget(&mut self, id: u64) {
        let Some(server) = self.all.remove(&id) else {
            return;
        };
        self.deadlines
            .change(id, server.next().map(|(at, _)| at), None);
        self.by_key.remove(&server.names.key);
        if let Some(origin) = &server.names.origin
            && self.by_origin.get(origin) == Some(&id)
        {
            self.by_origin.remove(origin);
        }
        let connection = server.flow.connection;
        if let Some(count) = self.per_connection.get_mut(&connection) {
            *count -= 1;
            if *count == 0 {
                self.per_connection.remove(&connection);
            }
        }
    }
}
