//! Connections that do nothing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use super::DOMAIN;
use crate::harness::{CLIENT_PORT, Cluster, PEER_PORT, Wire, within};
use crate::single::login::header;

/// Before authentication nobody may be silent for more than half a minute.
pub async fn silent_connections_end(fixture: Arc<Cluster>) {
    let mut waiting = Vec::new();
    for (port, say) in [
        (CLIENT_PORT, ""),
        (CLIENT_PORT, header(DOMAIN).as_str()),
        (PEER_PORT, ""),
    ] {
        let mut wire = Wire::connect(fixture.first().socket(port)).await;
        wire.send(say).await;
        let begin = Instant::now();
        waiting.push(tokio::spawn(async move {
            let end = async {
                while !matches!(
                    wire.next_within(Duration::from_secs(50)).await,
                    None | Some(crate::harness::Got::End)
                ) {}
            };
            within(
                "the end of a silent connection",
                Duration::from_secs(40),
                end,
            )
            .await;
            begin.elapsed()
        }));
    }
    for wait in waiting {
        let after = wait.await.unwrap();
        assert!(
            after > Duration::from_secs(5) && after < Duration::from_secs(36),
            "closed after {after:?}"
        );
    }
}

pub async fn two_thousand_idle_connections(fixture: Arc<Cluster>) {
    let node = fixture.first();
    let before = node.memory();
    let mut crowd = Vec::new();
    // From many addresses: one alone has a limit.
    for n in 0..2000_u32 {
        let source = IpAddr::from(Ipv4Addr::new(127, 61, 104, (1 + n / 80) as u8));
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(source, 0)).unwrap();
        let mut stream = socket
            .connect(node.socket(CLIENT_PORT))
            .await
            .unwrap_or_else(|error| panic!("connection {n}: {error}"));
        stream.write_all(header(DOMAIN).as_bytes()).await.unwrap();
        let mut answer = [0; 64];
        assert!(
            stream.read(&mut answer).await.unwrap() > 0,
            "connection {n} was closed"
        );
        crowd.push(stream);
    }
    let grown = node.memory().saturating_sub(before);
    eprintln!(
        "     2000 idle connections: {} KiB each",
        grown / 2000 / 1024
    );
    assert!(grown < 2000 * 64 * 1024, "{grown} bytes more");
    let login = fixture.user("latecomer").await;
    fixture.session(&login).await.close().await;
    // One address has a limit of its own, so that it can't keep everybody else out.
    let mut own = Vec::new();
    let refused = async {
        loop {
            let mut wire = Wire::connect(node.socket(CLIENT_PORT)).await;
            wire.send(header(DOMAIN)).await;
            if matches!(wire.next().await, crate::harness::Got::End) {
                return;
            }
            own.push(wire);
            assert!(own.len() <= 100, "no limit for one address");
        }
    };
    within("the limit of one address", Duration::from_secs(20), refused).await;
    drop(own);
}
