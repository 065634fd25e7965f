//! Transactions as the RFC's examples tell them.

use std::time::{Duration, Instant};

use super::*;
use crate::draft::Draft;
use crate::header::HeaderName;
use crate::message::Message;
use crate::method::Method;
use crate::owner::{Owner, OwnerKey};
use crate::reply::Reply;
use crate::status::Status;
use crate::testing::{message, read, start};
use crate::via::Transport;

mod clients;
mod limits;
mod servers;
mod timers;

const PEER: ConnectionId = ConnectionId(7);

/// A table on virtual time and what came out of it.
struct Table {
    core: Transactions,
    began: Instant,
    now: Instant,
    transport: Transport,
}

fn key() -> OwnerKey {
    OwnerKey::new(b"the cluster")
}

fn config(limits: TransactionLimits) -> TransactionConfig {
    TransactionConfig {
        host: "sip.entente.example".into(),
        port: None,
        owner: Owner::new("node1").unwrap(),
        key: key(),
        timing: Timing::default(),
        limits,
    }
}

impl Table {
    fn over(transport: Transport) -> Self {
        Self::bounded(transport, TransactionLimits::default())
    }

    fn bounded(transport: Transport, limits: TransactionLimits) -> Self {
        let began = start();
        Self {
            core: Transactions::new(config(limits), [9; 16]),
            began,
            now: began,
            transport,
        }
    }

    fn flow(&self) -> Flow {
        Flow {
            connection: PEER,
            transport: self.transport,
        }
    }

    fn input(&mut self, input: Input) {
        self.core.handle_input(self.now, input);
    }

    fn send(&mut self, token: u64, request: Draft) {
        let flow = self.flow();
        self.input(Input::Send {
            token: ClientToken(token),
            flow,
            request,
        });
    }

    fn receive(&mut self, message: Message) {
        let flow = self.flow();
        self.input(Input::Received { flow, message });
    }

    fn respond(&mut self, id: ServerId, request: &Message, code: u16) {
        let status = Status::new(code).unwrap();
        let reply = Reply::new(request, status, "ours");
        self.input(Input::Respond { id, reply });
    }

    /// Everything that came out, one word or line each.
    fn said(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        while let Some(output) = self.core.poll_output() {
            said.push(match output {
                Output::Transmit { bytes, .. } => format!("> {}", line(&read(bytes))),
                Output::Request { message, .. } => format!("request {}", line(&message)),
                Output::OneWay { message, .. } => format!("one way {}", line(&message)),
                Output::Cancelled { .. } => "cancelled".to_owned(),
                Output::Response { token, message } => {
                    format!("response to {}: {}", token.0, line(&message))
                }
                Output::Failed { token, failure } => format!("{} failed: {failure}", token.0),
                Output::Unheard { why, .. } => format!("unheard: {why}"),
                Output::Stray { owner, .. } => format!("stray of {owner}"),
            });
        }
        said
    }

    /// The last bytes that went out.
    fn transmitted(&mut self) -> Message {
        let mut last = None;
        while let Some(output) = self.core.poll_output() {
            if let Output::Transmit { bytes, .. } = output {
                last = Some(read(bytes));
            }
        }
        last.unwrap()
    }

    /// The request that came out.
    fn requested(&mut self) -> (ServerId, Message) {
        loop {
            if let Output::Request { id, message, .. } = self.core.poll_output().unwrap() {
                return (id, message);
            }
        }
    }

    /// Lets this much time pass, with every timer at its time; tells what was said when, in
    /// milliseconds since the beginning.
    fn pass(&mut self, span: Duration) -> Vec<(u128, String)> {
        let until = self.now + span;
        let mut said = Vec::new();
        while let Some(at) = self.core.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.input(Input::Timeout);
            let at = (self.now - self.began).as_millis();
            said.extend(self.said().into_iter().map(|word| (at, word)));
        }
        self.now = until;
        said
    }
}

fn line(message: &Message) -> String {
    match (message.method(), message.status()) {
        (Some(method), _) => method.to_string(),
        (_, Some(status)) => status.to_string(),
        _ => unreachable!(),
    }
}

fn draft(method: Method) -> Draft {
    let cseq = format!("1 {method}");
    let mut draft = Draft::new(method, "sip:bob@biloxi.example");
    draft
        .header(HeaderName::Route, "<sip:p1.biloxi.example;lr>")
        .header(HeaderName::From, "<sip:alice@entente.example>;tag=88sja8x")
        .header(HeaderName::To, "<sip:bob@biloxi.example>")
        .header(HeaderName::CallId, "987asjd97y7atg")
        .header(HeaderName::CSeq, &cseq);
    draft
}

/// The peer's response to a request of ours.
fn answer(request: &Message, code: u16) -> Message {
    read(Reply::new(request, Status::new(code).unwrap(), "theirs").to_bytes())
}

/// A request of the peer with this branch.
fn request(method: &str, branch: &str) -> Message {
    message(&format!(
        "{method} sip:alice@entente.example SIP/2.0
         Via: SIP/2.0/TLS edge.biloxi.example;branch={branch}
         Max-Forwards: 70
         From: <sip:bob@biloxi.example>;tag=a73kszlfl
         To: <sip:alice@entente.example>
         Call-ID: 1j9FpLxk3uxtm8tn@biloxi.example
         CSeq: 1 {method}"
    ))
}
