//! Bytes that mean nothing, into every port.

use std::sync::Arc;
use std::time::Duration;

use rand::{RngCore, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::harness::{
    ADMIN_PORT, CLIENT_PORT, CLIENT_TLS_PORT, Cluster, DNS_PORT, GOSSIP_PORT, MESH_PORT, PEER_PORT,
    PEER_TLS_PORT, RAFT_PORT, STORE_PORT,
};

/// Random bytes that are the same in every run.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    rand::rngs::StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

async fn unharmed(fixture: &Cluster) {
    assert_eq!(fixture.first().get("/readyz").await.unwrap().0, 200);
    let login = fixture
        .user(&format!("after{:x}", rand::random::<u64>()))
        .await;
    fixture.session(&login).await.close().await;
}

pub async fn into_every_tcp_port(fixture: Arc<Cluster>) {
    let ports = [
        CLIENT_PORT,
        CLIENT_TLS_PORT,
        PEER_PORT,
        PEER_TLS_PORT,
        ADMIN_PORT,
        DNS_PORT,
        MESH_PORT,
        RAFT_PORT,
        STORE_PORT,
    ];
    // A TLS record that promises more than it holds, an HTTP/2 preface, and noise.
    let fixed: [&[u8]; 4] = [
        b"\x16\x03\x01\xff\xff\x01\x00\x00\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\xff\xff\xff\xff\xff",
        b"\xff\xff\x00\x00\x00\x00\x00\x00",
        b"\x00",
    ];
    for port in ports {
        for round in 0..10 {
            let address = fixture.first().socket(port);
            let mut socket = TcpStream::connect(address)
                .await
                .unwrap_or_else(|error| panic!("{address}: {error}"));
            let random = noise(round, 1 << round);
            let bytes = fixed.get(round as usize).copied().unwrap_or(&random);
            let _closed = socket.write_all(bytes).await;
            if round % 2 == 0 {
                let _closed = socket.shutdown().await;
                let mut answer = Vec::new();
                let reading =
                    tokio::time::timeout(Duration::from_secs(15), socket.read_to_end(&mut answer))
                        .await;
                assert!(
                    reading.is_ok(),
                    "{address}: open 15 s after its other end was closed"
                );
            }
        }
    }
    unharmed(&fixture).await;
}

pub async fn into_every_udp_port(fixture: Arc<Cluster>) {
    let socket = UdpSocket::bind((fixture.first().address, 0)).await.unwrap();
    for port in [GOSSIP_PORT, DNS_PORT] {
        for round in 0..200 {
            let datagram = noise(round, (round as usize * 7) % 1400);
            socket
                .send_to(&datagram, fixture.first().socket(port))
                .await
                .unwrap();
        }
    }
    // An answer is no question: QR set, no answer; else two servers could be made to talk for ever.
    let mut question = vec![0x12, 0x34, 0x81, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    question.extend_from_slice(b"\x04pisa\x07example\0\0\x06\0\x01");
    let asking = UdpSocket::bind((fixture.first().address, 0)).await.unwrap();
    asking
        .connect(fixture.first().socket(DNS_PORT))
        .await
        .unwrap();
    asking.send(&question).await.unwrap();
    question[2] = 0x01;
    question[1] = 0x35;
    asking.send(&question).await.unwrap();
    let mut answer = [0; 1500];
    let length = tokio::time::timeout(Duration::from_secs(5), asking.recv(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(
        length > 12 && answer[..2] == [0x12, 0x35],
        "an answer was answered: {:?}",
        &answer[..length]
    );
    unharmed(&fixture).await;
}

pub async fn administration(fixture: Arc<Cluster>) {
    let node = fixture.first();
    for (method, path, body, code) in [
        ("GET", "/nothing", "", 404),
        ("POST", "/users", "{", 400),
        ("POST", "/users", "{\"jid\":7}", 422),
        ("POST", "/users", "{\"jid\":\"@@\",\"password\":\"x\"}", 422),
        (
            "POST",
            "/users",
            "{\"jid\":\"new@pisa.example\",\"password\":\"\"}",
            422,
        ),
        ("DELETE", "/users/nobody@pisa.example", "", 404),
        ("DELETE", "/users/%00", "", 422),
        ("GET", "/drain", "", 405),
        ("DELETE", "/nodes/bad-1", "", 409),
    ] {
        let (got, said) = node.http(method, path, body).await.unwrap();
        assert_eq!(got, code, "{method} {path} {body}: {said}");
    }
    unharmed(&fixture).await;
}
