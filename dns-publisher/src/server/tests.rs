#![allow(clippy::unwrap_used)]
use std::net::Ipv4Addr;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;
use crate::example::{nodes, plan, published};

const XMPP: &str = "_xmpp-server._tcp.example.com.";
/// Nothing on loopback takes this long but what never comes.
const PATIENCE: Duration = Duration::from_secs(10);

struct Bench {
    server: DnsHandle,
    published: watch::Sender<Arc<Published>>,
}

impl Bench {
    fn start(node_count: u8, adjust: impl FnOnce(&mut DnsConfig)) -> Self {
        let mut config = DnsConfig::new(vec![(Ipv4Addr::LOCALHOST, 0).into()]);
        config.rrl.exempt = vec!["127.0.0.0/8".parse().unwrap()];
        adjust(&mut config);
        let first = published(&plan(), &nodes(1..=node_count));
        let (published, seen) = watch::channel(Arc::new(first));
        let server = DnsServer::start(config, seen).unwrap();
        Self { server, published }
    }

    fn address(&self) -> SocketAddr {
        self.server.addresses()[0]
    }

    async fn udp(&self) -> UdpSocket {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        socket.connect(self.address()).await.unwrap();
        socket
    }

    async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.address()).await.unwrap()
    }
}

fn question(id: u16) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.id = id;
    let name = Name::from_ascii(XMPP).unwrap();
    message.add_query(Query::query(name, RecordType::SRV));
    message.to_vec().unwrap()
}

async fn ask_udp(socket: &UdpSocket) -> Message {
    socket.send(&question(1)).await.unwrap();
    let mut buffer = [0; 4096];
    let received = timeout(PATIENCE, socket.recv(&mut buffer)).await;
    Message::from_vec(&buffer[..received.unwrap().unwrap()]).unwrap()
}

async fn send_tcp(stream: &mut TcpStream, message: &[u8]) {
    stream.write_u16(message.len() as u16).await.unwrap();
    stream.write_all(message).await.unwrap();
}

async fn receive_tcp(stream: &mut TcpStream) -> Message {
    let mut answer = vec![0; usize::from(stream.read_u16().await.unwrap())];
    stream.read_exact(&mut answer).await.unwrap();
    Message::from_vec(&answer).unwrap()
}

/// The peer closed, with or without a reset.
async fn assert_closed(stream: &mut TcpStream) {
    let end = timeout(PATIENCE, stream.read_u8()).await.unwrap();
    assert!(end.is_err(), "{end:?}");
}

#[tokio::test]
async fn answers_over_udp_and_what_does_not_fit_over_tcp() {
    let bench = Bench::start(40, |_| {});
    let short = ask_udp(&bench.udp().await).await;
    assert!(short.metadata.truncation);
    let mut stream = bench.tcp().await;
    send_tcp(&mut stream, &question(2)).await;
    let whole = receive_tcp(&mut stream).await;
    assert!(!whole.metadata.truncation);
    assert_eq!((whole.answers.len(), whole.additionals.len()), (40, 80));
}

#[tokio::test]
async fn all_udp_workers_follow_the_publications() {
    let bench = Bench::start(1, |config| config.udp_workers = 4);
    let mut sockets = Vec::new();
    for _ in 0..16 {
        sockets.push(bench.udp().await);
    }
    for node_count in [2, 5, 3] {
        let next = published(&plan(), &nodes(1..=node_count));
        bench.published.send_replace(Arc::new(next));
        for socket in &sockets {
            // The index is made by another task: ask until it is there.
            let found = async {
                while ask_udp(socket).await.answers.len() != usize::from(node_count) {
                    tokio::task::yield_now().await;
                }
            };
            timeout(PATIENCE, found).await.expect("the change arrives");
        }
    }
}

#[tokio::test]
async fn serves_the_last_publication_when_the_publisher_is_gone() {
    let Bench { server, published } = Bench::start(2, |_| {});
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.connect(server.addresses()[0]).await.unwrap();
    drop(published);
    assert_eq!(ask_udp(&socket).await.answers.len(), 2);
}

#[tokio::test]
async fn many_questions_share_a_tcp_connection() {
    let bench = Bench::start(2, |_| {});
    let mut stream = bench.tcp().await;
    for id in 0..50 {
        send_tcp(&mut stream, &question(id)).await;
    }
    for id in 0..50 {
        assert_eq!(receive_tcp(&mut stream).await.metadata.id, id);
    }
}

#[tokio::test]
async fn a_question_in_pieces_is_put_together() {
    let bench = Bench::start(2, |_| {});
    let mut stream = bench.tcp().await;
    stream.set_nodelay(true).unwrap();
    let question = question(7);
    stream.write_u8(0).await.unwrap();
    stream.write_u8(question.len() as u8).await.unwrap();
    for octet in question {
        stream.write_u8(octet).await.unwrap();
    }
    let answer = receive_tcp(&mut stream).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
}

#[tokio::test]
async fn tcp_connections_are_capped_and_freed() {
    let bench = Bench::start(1, |config| config.tcp_connections_per_peer = 2);
    let mut kept = Vec::new();
    for id in 0..2 {
        let mut stream = bench.tcp().await;
        send_tcp(&mut stream, &question(id)).await;
        receive_tcp(&mut stream).await;
        kept.push(stream);
    }
    assert_closed(&mut bench.tcp().await).await;
    drop(kept);
    let served_again = async {
        loop {
            let mut stream = bench.tcp().await;
            let sent = stream.write_u16(12).await;
            let header = stream.write_all(&[0; 12]).await;
            if sent.is_ok() && header.is_ok() && stream.read_u16().await.is_ok() {
                break;
            }
        }
    };
    timeout(PATIENCE, served_again)
        .await
        .expect("places come back");
}

#[tokio::test]
async fn a_total_of_connections_holds_for_all_peers_together() {
    let bench = Bench::start(1, |config| config.tcp_connections = 1);
    let mut first = bench.tcp().await;
    send_tcp(&mut first, &question(1)).await;
    receive_tcp(&mut first).await;
    assert_closed(&mut bench.tcp().await).await;
}

#[tokio::test]
async fn idle_slow_and_rude_connections_are_closed() {
    let bench = Bench::start(1, |config| {
        config.tcp_idle = Duration::from_millis(50);
    });
    let mut idle = bench.tcp().await;
    assert_closed(&mut idle).await;
    let mut slow = bench.tcp().await;
    slow.write_all(&[0, 40, 1]).await.unwrap();
    assert_closed(&mut slow).await;
    let mut huge = bench.tcp().await;
    huge.write_all(&[0xff; 64]).await.unwrap();
    assert_closed(&mut huge).await;
    let mut answer_instead = bench.tcp().await;
    send_tcp(&mut answer_instead, &[0x80; 12]).await;
    assert_closed(&mut answer_instead).await;
}

#[tokio::test]
async fn no_connection_outlives_its_lifetime() {
    let bench = Bench::start(1, |config| {
        config.tcp_lifetime = Duration::from_millis(100);
    });
    let mut stream = bench.tcp().await;
    let ended = async {
        // Busy all the time, and closed nevertheless.
        while stream.write_u16(12).await.is_ok()
            && stream.write_all(&[0; 12]).await.is_ok()
            && stream.read_u16().await.is_ok()
            && stream.read_exact(&mut [0; 12]).await.is_ok()
        {}
    };
    timeout(PATIENCE, ended).await.expect("it ends");
}

#[tokio::test]
async fn limits_the_rate_over_udp_unless_exempt() {
    let bench = Bench::start(1, |config| config.rrl.exempt.clear());
    let socket = bench.udp().await;
    for id in 0..40 {
        socket.send(&question(id)).await.unwrap();
    }
    // Twenty answers, then the first to come truncated is the limit's.
    let mut buffer = [0; 4096];
    let first_slip = async {
        let mut whole = 0;
        loop {
            let length = socket.recv(&mut buffer).await.unwrap();
            if Message::from_vec(&buffer[..length])
                .unwrap()
                .metadata
                .truncation
            {
                break whole;
            }
            whole += 1;
        }
    };
    let whole = timeout(PATIENCE, first_slip).await.unwrap();
    assert!((20..30).contains(&whole), "{whole}");
}

#[tokio::test]
async fn start_says_which_address_it_can_not_have() {
    let bench = Bench::start(1, |_| {});
    let (_sender, seen) = watch::channel(Arc::new(Published::nothing()));
    let taken = DnsConfig::new(vec![bench.address()]);
    match DnsServer::start(taken, seen.clone()) {
        Err(DnsError::Listen { address, .. }) => assert_eq!(address, bench.address()),
        other => panic!("{other:?}"),
    }
    let nowhere = DnsServer::start(DnsConfig::new(vec![]), seen);
    assert!(matches!(nowhere, Err(DnsError::NoAddress)));
}

#[tokio::test]
async fn a_second_server_is_noticed_though_the_port_is_shared() {
    let bench = Bench::start(1, |config| config.udp_workers = 2);
    let error = listen_udp(bench.address(), 2).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn shutdown_frees_the_addresses() {
    let bench = Bench::start(1, |_| {});
    let address = bench.address();
    let mut stream = bench.tcp().await;
    send_tcp(&mut stream, &question(1)).await;
    receive_tcp(&mut stream).await;
    bench.server.shutdown().await;
    assert_closed(&mut stream).await;
    let (_sender, seen) = watch::channel(Arc::new(Published::nothing()));
    DnsServer::start(DnsConfig::new(vec![address]), seen).expect("free again");
}
