//! The service between a scripted peer on a socket and a scripted gateway.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use entente_cluster::home::key_hash;
use entente_cluster::{
    ClusterView, Fence, FenceTimes, Member, MemberState, NodeId, Roles, Standing,
};
use entente_interwork_core::gateway::Holdings;
use entente_sip_core::Message;
use entente_sip_core::draft::Draft;
use entente_sip_core::framer::{Frame, Framer};
use entente_sip_core::generator::Generator;
use entente_sip_core::header::HeaderName;
use entente_sip_core::message::Limits;
use entente_sip_core::method::Method;
use entente_sip_core::status::Status;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::port::{Acking, Busy, GatewayPort, Outcome, PeerRequest, SendFailure, Sending, SipCall};
use super::proof::tests::peer;
use super::route::owner_of_user;
use super::{SipParts, SipService};
use crate::config::{
    DomainConfig, FederationPolicy, SipConfig, SipPeerConfig, SipPeers, SipTransport,
};
use crate::fabric::{Connections, OutboundItem, Switchboard};
use crate::tls::issue::Authority;
use crate::tls::{PeerTrust, SipCertificates};

const PATIENCE: Duration = Duration::from_secs(10);
const ALICE: &str = "alice@siena.example";

/// What the scripted gateway heard.
#[derive(Debug)]
enum Heard {
    Request(Box<PeerRequest>),
    Outcome(SipCall, Outcome),
    PeerUp(Arc<str>),
}

struct Gateway {
    heard: mpsc::Sender<Heard>,
    busy: Mutex<bool>,
}

impl GatewayPort for Gateway {
    fn request(&self, request: PeerRequest) -> Result<(), Busy> {
        if *self.busy.lock().unwrap_or_else(PoisonError::into_inner) {
            return Err(Busy);
        }
        self.heard
            .try_send(Heard::Request(Box::new(request)))
            .map_err(|_| Busy)
    }

    fn outcome(&self, call: SipCall, outcome: Outcome) {
        self.heard.try_send(Heard::Outcome(call, outcome)).unwrap();
    }

    fn peer_up(&self, peer: Arc<str>) {
        self.heard.try_send(Heard::PeerUp(peer)).unwrap();
    }

    fn holdings(&self) -> BTreeMap<Arc<str>, Holdings> {
        BTreeMap::new()
    }

    fn submit(&self, _item: OutboundItem) {}
}

/// A service that listens on plain TCP, with one peer that is known by its address.
struct World {
    service: Arc<SipService>,
    gateway: Arc<Gateway>,
    heard: mpsc::Receiver<Heard>,
    address: SocketAddr,
    _open: watch::Sender<bool>,
    _view: watch::Sender<Arc<ClusterView>>,
}

impl World {
    async fn start(change: impl FnOnce(&mut SipPeerConfig, &mut SipConfig)) -> Self {
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        let local = NodeId::new("a").unwrap();
        let member = Member {
            id: local.clone(),
            generation: 1,
            roles: Roles::HOME | Roles::SIP,
            state: MemberState::Ready,
            standing: Standing::Serving,
            mesh: ([127, 0, 0, 1], 1).into(),
            public: Vec::new(),
            private: Vec::new(),
            host: "a.example".to_owned(),
            started: 0,
            announcement: String::new(),
        };
        let view = ClusterView::new(1, local, vec![member], false);
        let (view_sender, view) = watch::channel(Arc::new(view));
        let switchboard = Switchboard::new(
            Arc::new(Connections::new("a".into(), 1)),
            Arc::new(Fence::new(crate::clock::now(), FenceTimes::default())),
            view,
            ["siena.example".to_owned()],
            Vec::new(),
        );
        let mut config = settings();
        let mut partner = peer();
        partner.transport = SipTransport::Tcp;
        partner.targets = vec![("127.0.0.1".to_owned(), 1)];
        partner.requests_per_second = 1000;
        change(&mut partner, &mut config);
        let service = SipService::new(SipParts {
            certificates: certificates(&config),
            config,
            resolvers: vec![([127, 0, 0, 1], 9).into()],
            policy: policy(partner),
            domains: vec!["siena.example".to_owned()],
            switchboard,
            secret: [3; 32],
            epoch: 1,
        })
        .unwrap();
        let (sender, heard) = mpsc::channel(100);
        let gateway = Arc::new(Gateway {
            heard: sender,
            busy: Mutex::new(false),
        });
        service.connect_gateway(Arc::clone(&gateway) as Arc<dyn GatewayPort>);
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let (open, opened) = watch::channel(true);
        tokio::spawn(Arc::clone(&service).listen(address, false, opened));
        Self {
            service,
            gateway,
            heard,
            address,
            _open: open,
            _view: view_sender,
        }
    }

    async fn connect(&self) -> Peer {
        let connect = async {
            loop {
                match TcpStream::connect(self.address).await {
                    Ok(socket) => return Peer::over(socket),
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        timeout(PATIENCE, connect).await.unwrap()
    }

    async fn heard(&mut self) -> Heard {
        timeout(PATIENCE, self.heard.recv()).await.unwrap().unwrap()
    }

    async fn request(&mut self) -> PeerRequest {
        match self.heard().await {
            Heard::Request(request) => *request,
            other => panic!("a request, not {other:?}"),
        }
    }

    /// A request of Alice's gateway to the partner.
    fn send(&self, id: u64, method: Method) {
        self.service.send(Sending {
            call: SipCall {
                node: "a".into(),
                epoch: 1,
                shard: 0,
                id,
            },
            user: key_hash(ALICE),
            peer: "partner".into(),
            domain: "foreign.example".into(),
            draft: draft(id, method),
        });
    }
}

fn draft(id: u64, method: Method) -> Draft {
    let cseq = format!("1 {method}");
    let mut draft = Draft::new(method, "sip:bob@foreign.example");
    draft
        .header(HeaderName::From, "<sip:alice@siena.example>;tag=x")
        .header(HeaderName::To, "<sip:bob@foreign.example>")
        .header(HeaderName::CallId, &format!("call-{id}"))
        .header(HeaderName::CSeq, &cseq);
    draft
}

fn settings() -> SipConfig {
    SipConfig {
        listen: Vec::new(),
        tcp_listen: Vec::new(),
        host: "sip.siena.example".to_owned(),
        public_port: 5061,
        identity: None,
        trusted_ca_file: None,
        max_message_bytes: 8192,
        connect_timeout: Duration::from_secs(5),
        queue_requests: 100,
        idle: Duration::from_secs(60),
        probe_after: None,
        max_connections: 100,
        max_unauthenticated_per_address: 100,
        proxy_networks: Vec::new(),
        dns_mode: None,
    }
}

fn policy(partner: SipPeerConfig) -> Arc<FederationPolicy> {
    let partner = Arc::new(partner);
    let mut sip = SipPeers::default();
    sip.peers.insert("partner".to_owned(), Arc::clone(&partner));
    sip.by_domain.insert("foreign.example".to_owned(), partner);
    Arc::new(FederationPolicy {
        allow_by_default: true,
        messages_per_second: 500,
        subscriptions_per_minute: 2,
        peers: Default::default(),
        sip,
    })
}

fn certificates(config: &SipConfig) -> SipCertificates {
    let folder = std::env::temp_dir().join(format!("entente-sip-{:x}", rand::random::<u64>()));
    std::fs::create_dir_all(&folder).unwrap();
    let authority = Authority::create(&folder, "test", crate::clock::wall()).unwrap();
    let names = ["siena.example".to_owned()];
    authority
        .issue_files(&folder, "siena", &names, crate::clock::wall())
        .unwrap();
    let domain = DomainConfig {
        certificate_file: folder.join("siena.pem"),
        private_key_file: folder.join("siena.key"),
        chat_domains: Vec::new(),
        sip_host: None,
    };
    let domains = BTreeMap::from([("siena.example".to_owned(), domain)]);
    let certificates = SipCertificates::load(config, &domains, PeerTrust::new(Vec::new())).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    certificates
}

/// A peer of which the test writes every byte.
struct Peer {
    socket: TcpStream,
    framer: Framer,
}

impl Peer {
    fn over(socket: TcpStream) -> Self {
        Self {
            socket,
            framer: Framer::new(Limits::default()),
        }
    }

    async fn write(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).await.unwrap();
    }

    async fn answer(&mut self, request: &Message, code: u16) {
        let status = Status::new(code).unwrap();
        let response = request.response(status).to_tag("theirs").build().unwrap();
        self.socket.write_all(response.as_bytes()).await.unwrap();
    }

    /// The next frame; `None` at the end of the connection.
    async fn frame(&mut self) -> Option<Frame> {
        let read = async {
            loop {
                if let Some(frame) = self.framer.next_frame().unwrap() {
                    return Some(frame);
                }
                let mut buffer = [0; 4096];
                match self.socket.read(&mut buffer).await {
                    // A reset is an end too: we were in the middle of something.
                    Ok(0) | Err(_) => return None,
                    Ok(count) => self.framer.push(&buffer[..count]),
                }
            }
        };
        timeout(PATIENCE, read).await.unwrap()
    }

    async fn message(&mut self) -> Message {
        match self.frame().await {
            Some(Frame::Message(message)) => message,
            other => panic!("a message, not {other:?}"),
        }
    }

    async fn status(&mut self) -> u16 {
        self.message().await.status().unwrap().code()
    }
}

fn request(method: &str, from: &str, to: &str, number: u32) -> String {
    format!(
        "{method} sip:alice@siena.example SIP/2.0\r\nVia: SIP/2.0/TCP foreign.example;branch=z9hG4bK{number}{method};alias\r\n\
         Max-Forwards: 70\r\nFrom: <sip:{from}>;tag=a\r\nTo: {to}\r\nCall-ID: c{number}\r\nCSeq: {number} {method}\r\n\
         Contact: <sip:bob@foreign.example>\r\nContent-Length: 0\r\n\r\n"
    )
}

const BOB: &str = "bob@foreign.example";
const TO: &str = "<sip:alice@siena.example>";

#[tokio::test]
async fn a_request_reaches_the_users_gateway_and_the_answer_comes_back() {
    let mut world = World::start(|_, _| {}).await;
    let mut peer = world.connect().await;
    peer.write(&request("MESSAGE", BOB, TO, 1)).await;
    let got = world.request().await;
    assert_eq!(got.user, key_hash(ALICE));
    assert_eq!(&*got.peer, "partner");
    let response = got
        .message
        .response(Status::OK)
        .to_tag("t")
        .build()
        .unwrap();
    let leg = got.leg.unwrap();
    world.service.respond(&leg, response);
    let answer = peer.message().await;
    assert_eq!(answer.status(), Some(Status::OK));
    assert_eq!(answer.to().unwrap().tag(), Some("t"));
    // A second answer comes too late.
    let late = got.message.response(Status::DECLINE).build().unwrap();
    world.service.respond(&leg, late);
    peer.write(&request("OPTIONS", BOB, TO, 2)).await;
    assert_eq!(peer.status().await, 200);
}

#[tokio::test]
async fn in_a_dialog_the_tag_names_the_gateway_and_an_ack_wants_no_answer() {
    let mut world = World::start(|_, _| {}).await;
    let owner = owner_of_user(key_hash("carol@siena.example"));
    let tag = world
        .service
        .gate
        .key
        .tag(&owner, &mut Generator::new([1; 16]));
    let mut peer = world.connect().await;
    let to = format!("{TO};tag={tag}");
    peer.write(&request("ACK", BOB, &to, 1)).await;
    let got = world.request().await;
    assert_eq!(got.user, key_hash("carol@siena.example"));
    assert_eq!(got.leg, None);
    peer.write(&request("BYE", BOB, &format!("{TO};tag=made-up"), 2))
        .await;
    assert_eq!(peer.status().await, 481);
}

#[tokio::test]
async fn what_the_edge_refuses_no_gateway_hears_of() {
    let mut world = World::start(|_, _| {}).await;
    let mut peer = world.connect().await;
    for (method, from, status) in [
        ("MESSAGE", "mallory@elsewhere.example", 403),
        ("REGISTER", BOB, 405),
        ("FROB", BOB, 501),
        ("OPTIONS", BOB, 200),
    ] {
        peer.write(&request(method, from, TO, 1)).await;
        assert_eq!(peer.status().await, status, "{method} {from}");
    }
    for number in 1..=2 {
        peer.write(&request("SUBSCRIBE", BOB, TO, number)).await;
        world.request().await;
    }
    // More new subscriptions than the policy lets in.
    peer.write(&request("SUBSCRIBE", BOB, TO, 3)).await;
    let refusal = peer.message().await;
    assert_eq!(refusal.status(), Some(Status::SERVICE_UNAVAILABLE));
    assert!(refusal.headers().has(HeaderName::RetryAfter));
    *world.gateway.busy.lock().unwrap() = true;
    peer.write(&request("MESSAGE", BOB, TO, 4)).await;
    assert_eq!(peer.status().await, 503);
    assert!(world.heard.try_recv().is_err());
}

#[tokio::test]
async fn bad_messages_do_not_end_a_connection_and_lost_framing_does() {
    let world = World::start(|_, _| {}).await;
    let mut peer = world.connect().await;
    peer.write("\r\n\r\n").await;
    let bytes = timeout(PATIENCE, async {
        let mut bytes = [0; 2];
        peer.socket.read_exact(&mut bytes).await.unwrap();
        bytes
    });
    assert_eq!(bytes.await.unwrap(), *b"\r\n");
    peer.write("HELLO\r\nContent-Length: 3\r\n\r\nabc").await;
    let no_cseq = request("MESSAGE", BOB, TO, 1).replace("CSeq: 1 MESSAGE\r\n", "");
    peer.write(&no_cseq).await;
    assert_eq!(peer.status().await, 400);
    let large =
        request("MESSAGE", BOB, TO, 2).replace("Length: 0", "Length: 9000") + &"x".repeat(9000);
    peer.write(&large).await;
    assert_eq!(peer.status().await, 413);
    peer.write(&request("OPTIONS", BOB, TO, 3)).await;
    assert_eq!(peer.status().await, 200);
    let no_length = request("MESSAGE", BOB, TO, 4).replace("Content-Length: 0\r\n", "");
    peer.write(&no_length).await;
    assert_eq!(peer.status().await, 400);
    assert!(peer.frame().await.is_none());
}

#[tokio::test]
async fn requests_go_out_over_a_connection_of_ours_and_the_outcome_comes_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut world = World::start(|peer, _| peer.targets[0].1 = port).await;
    world.send(1, Method::Message);
    world.send(2, Method::Subscribe);
    let (socket, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let mut peer = Peer::over(socket);
    let first = peer.message().await;
    let second = peer.message().await;
    assert_eq!(first.method(), Some(&Method::Message));
    let via = first.top_via().unwrap();
    assert_eq!(via.host_str(), "sip.siena.example");
    assert!(via.params().has("alias"));
    peer.answer(&second, 202).await;
    peer.answer(&first, 480).await;
    let mut outcomes = BTreeMap::new();
    for _ in 0..2 {
        match world.heard().await {
            Heard::Outcome(call, Outcome::Response(message)) => {
                outcomes.insert(call.id, message.status().unwrap().code());
            }
            other => panic!("a response, not {other:?}"),
        }
    }
    assert_eq!(outcomes, BTreeMap::from([(1, 480), (2, 202)]));
}

#[tokio::test]
async fn a_connection_that_the_peer_opened_is_used_for_the_way_back() {
    let mut world = World::start(|_, _| {}).await;
    let mut peer = world.connect().await;
    peer.write(&request("OPTIONS", BOB, TO, 1)).await;
    assert_eq!(peer.status().await, 200);
    world.send(1, Method::Message);
    let got = peer.message().await;
    assert_eq!(got.method(), Some(&Method::Message));
    peer.answer(&got, 200).await;
    assert!(matches!(
        world.heard().await,
        Heard::Outcome(_, Outcome::Response(_))
    ));
    world.service.acknowledge(Acking {
        user: key_hash(ALICE),
        peer: "partner".into(),
        domain: "foreign.example".into(),
        draft: draft(1, Method::Ack),
    });
    assert_eq!(peer.message().await.method(), Some(&Method::Ack));
}

#[tokio::test]
async fn without_a_server_requests_fail_and_the_peers_return_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut world = World::start(|peer, _| peer.targets[0].1 = address.port()).await;
    world.send(1, Method::Message);
    match world.heard().await {
        Heard::Outcome(_, Outcome::Failed(why)) => assert_eq!(why, SendFailure::Unreachable),
        other => panic!("a failure, not {other:?}"),
    }
    assert!(
        world.service.status()[0].queues[0]
            .last_error
            .as_ref()
            .is_some_and(|error| error.contains("refused"))
    );
    let listener = TcpListener::bind(address).await.unwrap();
    world.send(2, Method::Message);
    let (socket, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    match world.heard().await {
        Heard::PeerUp(peer) => assert_eq!(&*peer, "partner"),
        other => panic!("the peer's return, not {other:?}"),
    }
    let mut peer = Peer::over(socket);
    let got = peer.message().await;
    peer.answer(&got, 200).await;
    assert!(matches!(
        world.heard().await,
        Heard::Outcome(_, Outcome::Response(_))
    ));
}

#[tokio::test]
async fn a_lost_connection_that_carried_a_dialog_is_dialled_again_and_the_peers_return_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut world = World::start(|peer, _| peer.targets[0].1 = port).await;
    world.send(1, Method::Subscribe);
    let (socket, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let mut peer = Peer::over(socket);
    let got = peer.message().await;
    peer.answer(&got, 200).await;
    assert!(matches!(world.heard().await, Heard::Outcome(..)));
    // The peer restarts; nobody has anything to send.
    drop(peer);
    let (socket, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    match world.heard().await {
        Heard::PeerUp(peer) => assert_eq!(&*peer, "partner"),
        other => panic!("the peer's return, not {other:?}"),
    }
    world.send(2, Method::Subscribe);
    let mut peer = Peer::over(socket);
    assert_eq!(peer.message().await.method(), Some(&Method::Subscribe));
}

#[tokio::test]
async fn a_peer_that_speaks_ends_the_pause_before_it_is_dialled_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut world = World::start(|peer, _| peer.targets[0].1 = port).await;
    world.send(1, Method::Subscribe);
    let (socket, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let mut gone = Peer::over(socket);
    let got = gone.message().await;
    gone.answer(&got, 200).await;
    assert!(matches!(world.heard().await, Heard::Outcome(..)));
    drop((listener, gone));
    let backs_off = async {
        while world.service.status()[0].queues[0].state != "backing off" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, backs_off).await.unwrap();
    let mut peer = world.connect().await;
    peer.write(&request("OPTIONS", BOB, TO, 1)).await;
    assert_eq!(peer.status().await, 200);
    // Its own connection will do.
    assert!(matches!(world.heard().await, Heard::PeerUp(_)));
    world.send(2, Method::Subscribe);
    assert_eq!(peer.message().await.method(), Some(&Method::Subscribe));
}

#[tokio::test]
async fn a_server_that_is_busy_hands_over_to_the_next() {
    let one = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ports = [&one, &other].map(|listener| listener.local_addr().unwrap().port());
    let mut world = World::start(|peer, _| {
        peer.targets = ports.map(|port| ("127.0.0.1".to_owned(), port)).to_vec();
    })
    .await;
    world.send(1, Method::Message);
    let (socket, _) = timeout(PATIENCE, one.accept()).await.unwrap().unwrap();
    let mut first = Peer::over(socket);
    let got = first.message().await;
    first.answer(&got, 503).await;
    let (socket, _) = timeout(PATIENCE, other.accept()).await.unwrap().unwrap();
    let mut second = Peer::over(socket);
    let got = second.message().await;
    second.answer(&got, 200).await;
    match world.heard().await {
        Heard::Outcome(_, Outcome::Response(message)) => {
            assert_eq!(message.status(), Some(Status::OK));
        }
        other => panic!("a response, not {other:?}"),
    }
}

#[tokio::test]
async fn an_invite_that_is_cancelled_is_answered_with_487() {
    let mut world = World::start(|_, _| {}).await;
    let mut peer = world.connect().await;
    peer.write(&request("INVITE", BOB, TO, 1)).await;
    world.request().await;
    let cancel = request("CANCEL", BOB, TO, 1).replace("z9hG4bK1CANCEL", "z9hG4bK1INVITE");
    peer.write(&cancel).await;
    let mut answers = Vec::new();
    while answers.len() < 2 {
        let status = peer.status().await;
        if status >= 200 {
            answers.push(status);
        }
    }
    answers.sort_unstable();
    assert_eq!(answers, [200, 487]);
}

#[tokio::test]
async fn an_invite_of_ours_that_is_not_wanted_any_more_is_cancelled() {
    let mut world = World::start(|_, _| {}).await;
    let mut peer = world.connect().await;
    peer.write(&request("OPTIONS", BOB, TO, 1)).await;
    assert_eq!(peer.status().await, 200);
    world.send(1, Method::Invite);
    let invite = peer.message().await;
    peer.answer(&invite, 180).await;
    match world.heard().await {
        Heard::Outcome(call, Outcome::Response(message)) => {
            assert_eq!(message.status(), Some(Status::RINGING));
            world.service.cancel(call);
        }
        other => panic!("a response, not {other:?}"),
    }
    let cancel = peer.message().await;
    assert_eq!(cancel.method(), Some(&Method::Cancel));
    assert_eq!(
        cancel.top_via().unwrap().branch(),
        invite.top_via().unwrap().branch()
    );
    peer.answer(&cancel, 200).await;
    peer.answer(&invite, 487).await;
    match world.heard().await {
        Heard::Outcome(_, Outcome::Response(message)) => {
            assert_eq!(message.status(), Some(Status::REQUEST_TERMINATED));
        }
        other => panic!("a response, not {other:?}"),
    }
}

#[tokio::test]
async fn a_connection_behind_a_balancer_says_whom_it_is_from() {
    let mut world = World::start(|peer, config| {
        peer.targets = vec![("192.0.2.7".to_owned(), 5060)];
        config.proxy_networks = vec![crate::config::Network {
            address: [127, 0, 0, 0].into(),
            prefix: 8,
        }];
    })
    .await;
    let mut peer = world.connect().await;
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend([192, 0, 2, 7, 192, 0, 2, 1, 0x13, 0xc4, 0x13, 0xc4]);
    peer.socket.write_all(&header).await.unwrap();
    peer.write(&request("MESSAGE", BOB, TO, 1)).await;
    world.request().await;
    assert_eq!(
        world.service.status()[0].connections[0].address,
        "192.0.2.7:5060"
    );
    let mut bare = world.connect().await;
    bare.write(&request("MESSAGE", BOB, TO, 1)).await;
    assert!(bare.frame().await.is_none());
}

#[tokio::test]
async fn a_peer_that_does_not_answer_a_probe_loses_the_connection() {
    let mut world = World::start(|_, config| {
        config.probe_after = Some(Duration::from_millis(50));
    })
    .await;
    let mut peer = world.connect().await;
    peer.write(&request("MESSAGE", BOB, TO, 1)).await;
    world.request().await;
    let probe = peer.message().await;
    assert_eq!(probe.method(), Some(&Method::Options));
    assert_eq!(
        probe.request_uri().unwrap().unwrap().as_str(),
        "sip:foreign.example"
    );
    // An error is an answer too.
    peer.answer(&probe, 405).await;
    assert_eq!(peer.message().await.method(), Some(&Method::Options));
}

#[test]
fn frames_between_nodes_come_back_as_they_were() {
    use super::frame::SipFrame;
    use super::port::Leg;
    let leg = Leg {
        edge: "b".into(),
        epoch: 9,
        transaction: 77,
    };
    let call = SipCall {
        node: "a".into(),
        epoch: 8,
        shard: 3,
        id: 5,
    };
    let text = request("MESSAGE", BOB, TO, 1);
    let message = Message::parse(Bytes::from(text), &Limits::default()).unwrap();
    let mut draft = Draft::new(Method::Message, "sip:bob@foreign.example");
    draft.header(HeaderName::To, "<sip:bob@foreign.example>");
    let sending = Sending {
        call: call.clone(),
        user: 42,
        peer: "partner".into(),
        domain: "foreign.example".into(),
        draft: draft.clone(),
    };
    let acking = Acking {
        user: 42,
        peer: "partner".into(),
        domain: "foreign.example".into(),
        draft,
    };
    let frame_call = call.clone();
    let request = PeerRequest {
        user: 42,
        leg: Some(leg.clone()),
        peer: "partner".into(),
        message: message.clone(),
    };
    for frame in [
        SipFrame::Request { request, hops: 1 },
        SipFrame::Respond {
            leg,
            response: message.clone(),
        },
        SipFrame::Send { sending, hops: 2 },
        SipFrame::Outcome {
            call: call.clone(),
            outcome: Outcome::Response(Box::new(message.clone())),
        },
        SipFrame::Outcome {
            call,
            outcome: Outcome::Failed(SendFailure::Broken),
        },
        SipFrame::Ack { acking, hops: 3 },
        SipFrame::Cancel(frame_call),
        SipFrame::Stray(message),
        SipFrame::PeerUp("partner".into()),
    ] {
        let shown = format!("{frame:?}");
        let back = SipFrame::decode(frame.encode()).unwrap();
        assert_eq!(format!("{back:?}"), shown);
    }
}
