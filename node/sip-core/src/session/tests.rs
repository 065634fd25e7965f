//! Instant messages as communicators and the RFCs tell them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::*;
use crate::header::HeaderName;
use crate::method::Method;
use crate::owner::{Owner, OwnerKey};
use crate::record::Moment;
use crate::reply::Reply;
use crate::testing::{message, read, start};

mod inbound;
mod network;
mod outbound;
mod pager;
mod several;

const CONTACT: &str = "<sip:sip.entente.example:5061;transport=tls>";

/// A description of the peer.
const SDP: &str = "v=0
o=- 0 0 IN IP4 192.0.2.7
s=session
c=IN IP4 192.0.2.7
t=0 0
m=message 5060 sip sip:bob@contoso.example
a=accept-types:text/plain";

fn config(profile: Profile) -> Arc<SessionConfig> {
    Arc::new(SessionConfig {
        contact: CONTACT.into(),
        host: "entente.example".into(),
        key: OwnerKey::new(b"the cluster"),
        profile,
    })
}

fn pair() -> Pair {
    Pair {
        local: "<sip:alice@entente.example>".into(),
        remote: "sip:bob@contoso.example".into(),
        owner: Owner::new("b7").unwrap(),
    }
}

fn plain(text: &str) -> Document {
    Document {
        content_type: "text/plain;charset=UTF-8".into(),
        body: Bytes::copy_from_slice(text.as_bytes()),
    }
}

/// Our side of alice and bob, and what came out of it.
struct Alice {
    core: Session,
    now: Instant,
    sends: Vec<(SendId, Message)>,
    /// Our tag of the dialog that the peer opened last from this endpoint.
    tag: String,
    /// The peer's endpoint that speaks, and our tags of the others'.
    bob: &'static str,
    tags: BTreeMap<&'static str, String>,
}

impl Alice {
    fn of(profile: Profile) -> Self {
        let now = start();
        Self {
            core: Session::new(config(profile), pair(), [4; 16]),
            now,
            sends: Vec::new(),
            tag: String::new(),
            bob: "bob1",
            tags: BTreeMap::new(),
        }
    }

    /// What bob does from now on comes from this endpoint of his.
    fn at(&mut self, bob: &'static str) -> &mut Self {
        self.tags.insert(self.bob, std::mem::take(&mut self.tag));
        self.tag = self.tags.remove(bob).unwrap_or_default();
        self.bob = bob;
        self
    }

    fn new() -> Self {
        Self::of(Profile::microsoft_lync())
    }

    /// With a session that alice opened by saying hello, which is delivered.
    fn talking() -> Self {
        let mut alice = Self::new();
        alice.text(1, "hello");
        alice.accepted();
        alice.answered(200);
        alice
    }

    fn input(&mut self, input: Input) -> Vec<String> {
        self.core.handle_input(self.now, input);
        self.said()
    }

    fn said(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        while let Some(output) = self.core.poll_output() {
            said.push(match output {
                Output::Persist => "persist".to_owned(),
                Output::Send { id, request } => {
                    let request = read(request.to_bytes("SIP/2.0/TLS h;branch=z9hG4bK1"));
                    let method = request.method().unwrap();
                    let said = match method {
                        Method::Message => {
                            format!("MESSAGE {}", String::from_utf8_lossy(request.body()))
                        }
                        method => method.to_string(),
                    };
                    self.sends.push((id, request));
                    said
                }
                Output::Ack(ack) => format!("ACK {}", ack.get(HeaderName::CSeq).unwrap()),
                Output::Cancel { .. } => "CANCEL".to_owned(),
                Output::Respond { reply, .. } => {
                    let response = read(reply.to_bytes());
                    self.tag = response.to().unwrap().tag().unwrap_or_default().to_owned();
                    reply.status().to_string()
                }
                Output::Text { document, .. } => {
                    format!("bob says {}", String::from_utf8_lossy(&document.body))
                }
                Output::Typing(document) => format!("bob types {}", document.content_type),
                Output::Delivered(token) => format!("{} delivered", token.0),
                Output::Failed { token, cause } => {
                    format!("{} failed {}", token.0, cause.status())
                }
                Output::Closed => "closed".to_owned(),
            });
        }
        said
    }

    fn text(&mut self, token: u64, text: &str) -> Vec<String> {
        self.input(Input::Text {
            token: TextToken(token),
            document: plain(text),
        })
    }

    /// The outcome of the last request of ours.
    fn answered(&mut self, code: u16) -> Vec<String> {
        let (id, _) = self.sends.last().unwrap();
        self.answered_to(*id, code, "theirs", "")
    }

    /// Bob accepts the session.
    fn accepted(&mut self) -> Vec<String> {
        let (id, _) = self.sends.last().unwrap();
        self.answered_to(*id, 200, "theirs", SDP)
    }

    fn answered_to(&mut self, id: SendId, code: u16, tag: &str, sdp: &str) -> Vec<String> {
        let (_, request) = self.sends.iter().find(|(sent, _)| *sent == id).unwrap();
        let mut reply = Reply::new(request, Status::new(code).unwrap(), tag);
        reply.header(HeaderName::Contact, "<sip:bob@contoso.example;gruu>");
        if !sdp.is_empty() {
            reply.body("application/sdp", Bytes::copy_from_slice(sdp.as_bytes()));
        }
        let outcome = Outcome::Response(Box::new(read(reply.to_bytes())));
        self.input(Input::Answer { id, outcome })
    }

    fn failed(&mut self, failure: Failure) -> Vec<String> {
        let (id, _) = self.sends.last().unwrap();
        let (id, outcome) = (*id, Outcome::Failed(failure));
        self.input(Input::Answer { id, outcome })
    }

    /// A request of bob.
    fn request(&mut self, id: u64, method: &str, cseq: u32, rest: &str) -> Vec<String> {
        let request = self.message(method, cseq, rest);
        if method == "ACK" {
            return self.input(Input::Ack { request });
        }
        let id = RequestId(id);
        self.input(Input::Request { id, request })
    }

    fn message(&self, method: &str, cseq: u32, rest: &str) -> Box<Message> {
        let tag = match self.tag.as_str() {
            "" => String::new(),
            tag => format!(";tag={tag}"),
        };
        let bob = self.bob;
        let text = format!(
            "{method} sip:alice@entente.example SIP/2.0
             Via: SIP/2.0/TLS edge.contoso.example;branch=z9hG4bK{bob}{method}{cseq}
             From: <sip:bob@contoso.example>;tag={bob}s
             To: <sip:alice@entente.example>{tag}
             Call-ID: {bob}@contoso.example
             CSeq: {cseq} {method}
             Contact: <sip:bob@contoso.example;gruu>\n{rest}"
        );
        Box::new(message(&text))
    }

    /// Bob opens a session.
    fn invited(&mut self, extra: &str) -> Vec<String> {
        self.tag.clear();
        let rest = format!("{extra}\nContent-Type: application/sdp\n\n{SDP}");
        let rest = rest.trim_start();
        self.request(1, "INVITE", 1, rest)
    }

    fn verdict(&mut self, id: u64, code: u16) -> Vec<String> {
        self.input(Input::Verdict {
            id: RequestId(id),
            status: Status::new(code).unwrap(),
            headers: Vec::new(),
        })
    }

    /// Goes on to the next deadline.
    fn next(&mut self) -> (SessionTimer, u128, Vec<String>) {
        let (at, timer) = self.core.next_timer().unwrap();
        let waited = (at - self.now).as_millis();
        self.now = at;
        let said = self.input(Input::Timeout);
        (timer, waited, said)
    }

    fn last(&self) -> &Message {
        &self.sends.last().unwrap().1
    }
}

fn says(text: &str) -> String {
    format!("Content-Type: text/plain;charset=UTF-8\n\n{text}")
}
