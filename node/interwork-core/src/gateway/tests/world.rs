//! A gateway with its surroundings: virtual time, a store that keeps everything, and lists of what went
//! out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use entente_sip_core::draft::Draft;
use entente_sip_core::message::{Limits, Message};
use entente_sip_core::owner::{Owner, OwnerKey};
use entente_sip_core::profile::{Product, Profile};
use entente_sip_core::record::Moment;
use entente_sip_core::usage::RequestId;
use entente_xmpp_core::jid::BareJid;
use entente_xmpp_core::stanza::Stanza;

use crate::address::{AddressMap, AddressRules, DomainAliases};
use crate::gateway::{
    Bounds, CallId, Gateway, Input, Output, Peer, Record, Settings, StanzaId, Ticket,
};
use crate::pidf::{Dialect, Style};
use crate::presence::{PeerSystem, RichClients};

pub(super) struct World {
    pub(super) gateway: Gateway,
    pub(super) at: Duration,
    start: Instant,
    /// What the store has: by user and key.
    pub(super) records: BTreeMap<(String, String), Bytes>,
    /// Whether it takes anything.
    pub(super) store_works: bool,
    pub(super) stanzas: Vec<(Option<Ticket>, String)>,
    pub(super) taken: Vec<StanzaId>,
    pub(super) not_taken: Vec<StanzaId>,
    /// Responses to the peer, whole.
    pub(super) responses: Vec<(RequestId, Message)>,
    /// Requests to the peer.
    pub(super) requests: Vec<(CallId, Draft)>,
    pub(super) acks: Vec<Draft>,
    next_request: u64,
}

pub(super) fn settings() -> Arc<Settings> {
    let jid = |text| BareJid::new(text).unwrap();
    let pairs = [(jid("carol@im.siena.example"), jid("c.rossi@siena.example"))];
    let addresses = Arc::new(AddressMap::new(pairs).unwrap());
    let peer = |name: &str, product, dialect| {
        Arc::new(Peer {
            name: name.into(),
            profile: Profile::of(product),
            system: Peer::system_of(product),
            style: Style::new(dialect),
            rules: AddressRules {
                map: Arc::clone(&addresses),
                aliases: DomainAliases::default(),
            },
        })
    };
    let peers: Vec<Arc<Peer>> = vec![
        peer("lync", Product::MicrosoftLync, Dialect::Microsoft),
        peer("kamailio", Product::Simple, Dialect::Rpid),
    ];
    assert_eq!(peers[0].system, PeerSystem::Lync);
    Arc::new(Settings {
        domains: HashMap::from([
            ("florence.example".into(), "lync".into()),
            ("pisa.example".into(), "kamailio".into()),
        ]),
        peers: peers
            .into_iter()
            .map(|peer| (Arc::clone(&peer.name), peer))
            .collect(),
        other_domains: None,
        key: OwnerKey::new(b"cluster"),
        owner: |user| Owner::new(&format!("{:016x}", user.as_str().len())).unwrap(),
        contact: "sip.siena.example:5061;transport=tls".into(),
        rich: RichClients::default(),
        bounds: Bounds::default(),
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test needs some moment to count from"
)]
fn some_moment() -> Instant {
    Instant::now()
}

impl World {
    pub(super) fn new() -> Self {
        let start = some_moment();
        let moment = Moment {
            now: start,
            unix_ms: 1_700_000_000_000,
        };
        Self {
            gateway: Gateway::new(settings(), [7; 16], moment),
            at: Duration::ZERO,
            start,
            records: BTreeMap::new(),
            store_works: true,
            stanzas: Vec::new(),
            taken: Vec::new(),
            not_taken: Vec::new(),
            responses: Vec::new(),
            requests: Vec::new(),
            acks: Vec::new(),
            next_request: 0,
        }
    }

    /// Another node with the same store takes the users over.
    pub(super) fn successor(self) -> Self {
        let mut next = Self::new();
        next.at = self.at;
        next.start = self.start;
        next.records = self.records;
        next.gateway = Gateway::new(settings(), [8; 16], next.moment());
        let users = next
            .records
            .keys()
            .map(|(user, _)| BareJid::new(user).unwrap())
            .collect();
        next.input(Input::Adopt { users });
        next
    }

    fn moment(&self) -> Moment {
        Moment {
            now: self.start + self.at,
            unix_ms: 1_700_000_000_000 + self.at.as_millis() as u64,
        }
    }

    pub(super) fn input(&mut self, input: Input) {
        self.gateway.handle_input(self.moment(), input);
        self.settle();
    }

    /// Takes what comes out; the store answers at once.
    fn settle(&mut self) {
        while let Some(output) = self.gateway.poll_output() {
            match output {
                Output::ToUser { ticket, stanza } => {
                    let text = String::from_utf8(stanza.bytes().to_vec()).unwrap();
                    self.stanzas.push((ticket, text));
                }
                Output::Taken(id) => self.taken.push(id),
                Output::NotTaken(id) => self.not_taken.push(id),
                Output::Respond { id, reply } => {
                    let response = Message::parse(reply.to_bytes(), &Limits::default()).unwrap();
                    self.responses.push((id, response));
                }
                Output::Send { call, draft, .. } => self.requests.push((call, draft)),
                Output::Ack { draft, .. } => self.acks.push(draft),
                Output::Cancel { .. } => {}
                Output::Store {
                    id,
                    user,
                    key,
                    bytes,
                } => {
                    let place = (user.to_string(), key.to_string());
                    if self.store_works {
                        match bytes {
                            Some(bytes) => self.records.insert(place, bytes),
                            None => self.records.remove(&place),
                        };
                    }
                    let durable = self.store_works;
                    let moment = self.moment();
                    self.gateway
                        .handle_input(moment, Input::Stored { id, durable });
                }
                Output::Load { id, user } => {
                    let records = self.store_works.then(|| {
                        self.records
                            .iter()
                            .filter(|((owner, _), _)| *owner == user.to_string())
                            .map(|((_, key), bytes)| Record {
                                key: key.as_str().into(),
                                bytes: bytes.clone(),
                            })
                            .collect()
                    });
                    let moment = self.moment();
                    self.gateway
                        .handle_input(moment, Input::Loaded { id, records });
                }
            }
        }
    }

    /// Time passes; every deadline on the way is kept.
    pub(super) fn pass(&mut self, span: Duration) {
        let end = self.at + span;
        while let Some(due) = self.gateway.poll_timeout() {
            let due = due.saturating_duration_since(self.start);
            if due > end {
                break;
            }
            self.at = self.at.max(due);
            self.input(Input::Timeout);
        }
        self.at = end;
    }

    /// A stanza of a local user.
    pub(super) fn user(&mut self, xml: &str) -> StanzaId {
        let stanza = Stanza::parse(Bytes::copy_from_slice(xml.as_bytes())).unwrap();
        self.next_request += 1;
        let id = StanzaId(self.next_request);
        let id_given = Some(id);
        self.input(Input::FromUser {
            id: id_given,
            stanza,
        });
        id
    }

    /// A peer's request.
    pub(super) fn peer(&mut self, peer: &str, text: &str) -> RequestId {
        self.next_request += 1;
        let id = RequestId(self.next_request);
        self.input(Input::Request {
            id: Some(id),
            peer: peer.into(),
            message: message(text),
        });
        id
    }

    /// A peer's request that gets no answer.
    pub(super) fn peer_one_way(&mut self, peer: &str, text: &str) {
        self.input(Input::Request {
            id: None,
            peer: peer.into(),
            message: message(text),
        });
    }

    /// The peer answers the oldest request with this status and these further lines.
    pub(super) fn answer(&mut self, status: &str, lines: &str) -> Draft {
        let (call, draft) = self.requests.remove(0);
        let get = |name: &str| {
            let bytes = draft.to_bytes("SIP/2.0/TLS h;branch=z9hG4bKx");
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            text.lines()
                .find_map(|line| line.strip_prefix(&format!("{name}: ")))
                .unwrap_or_default()
                .to_owned()
        };
        let mut to = get("To");
        if !to.contains(";tag=") {
            to.push_str(";tag=peer");
        }
        let text = format!(
            "SIP/2.0 {status}\nVia: SIP/2.0/TLS h;branch=z9hG4bKx\nFrom: {}\nTo: {to}\nCall-ID: {}\n\
             CSeq: {}\n{lines}",
            get("From"),
            get("Call-ID"),
            get("CSeq"),
        );
        self.input(Input::Response {
            call,
            message: message(&text),
        });
        draft
    }

    /// The response to a request, which must be there.
    pub(super) fn response(&self, id: RequestId) -> &Message {
        &self
            .responses
            .iter()
            .rev()
            .find(|(answered, _)| *answered == id)
            .unwrap_or_else(|| panic!("{id:?} was not answered"))
            .1
    }

    pub(super) fn said(&mut self) -> Vec<String> {
        self.stanzas.drain(..).map(|(_, text)| text).collect()
    }
}

pub(super) fn message(text: &str) -> Message {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut bytes = String::new();
    for line in head.lines().map(str::trim).filter(|line| !line.is_empty()) {
        bytes.push_str(line);
        bytes.push_str("\r\n");
    }
    bytes.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    Message::parse(Bytes::from(bytes), &Limits::default())
        .unwrap_or_else(|_| panic!("no message: {text}"))
}
