use std::time::Duration;

use bytes::Bytes;
use entente_cluster::Standing;
use entente_cluster::forward::{MeshLimits, SendError};

use crate::world::{Ca, Node, Proxy, member, node_id, number, pair, soon};

#[tokio::test]
async fn frames_arrive_in_order_between_three_nodes() {
    let ca = Ca::new();
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(Node::start(&ca, name, 1).await);
    }
    let members: Vec<_> = nodes
        .iter()
        .map(|n| member(&n.id, 1, n.addr(), Standing::Serving))
        .collect();
    for node in &nodes {
        node.see(members.clone());
    }
    for node in &nodes {
        for other in &nodes {
            if other.id != node.id {
                node.connected(&other.id).await;
                for n in 0..500 {
                    node.send(&other.id, n).await;
                }
            }
        }
    }
    for node in &mut nodes {
        let mut from = std::collections::BTreeMap::<_, Vec<u64>>::new();
        while from.values().map(Vec::len).sum::<usize>() < 1000 {
            let inbound = soon(node.inbound.recv()).await.expect("open");
            assert_eq!(inbound.generation, 1);
            let numbers = inbound
                .frames
                .iter()
                .map(|f| u64::from_be_bytes(f[..].try_into().expect("eight bytes")));
            from.entry(inbound.from).or_default().extend(numbers);
        }
        assert_eq!(from.len(), 2);
        for numbers in from.values() {
            assert_eq!(*numbers, (0..500).collect::<Vec<_>>());
        }
    }
}

#[tokio::test]
async fn what_queues_while_the_link_is_down_goes_in_few_batches() {
    let ca = Ca::new();
    let a = Node::start(&ca, "a", 1).await;
    let mut b = Node::start(&ca, "b", 1).await;
    // Port 1 refuses: the frames have to wait.
    a.see_one(&b.id, 1, ([127, 0, 0, 1], 1).into());
    a.link(&b.id, |state| state.last_error.is_some()).await;
    for n in 0..3000 {
        a.mesh.try_send(&b.id, number(n)).expect("room");
    }
    a.see_one(&b.id, 1, b.addr());
    let mut batches = Vec::new();
    while batches.iter().sum::<usize>() < 3000 {
        let inbound = soon(b.inbound.recv()).await.expect("open");
        batches.push(inbound.frames.len());
    }
    assert!(batches.len() <= 6, "{batches:?}");
}

#[tokio::test]
async fn a_link_that_breaks_again_and_again_delivers_everything_once() {
    let ca = Ca::new();
    let a = Node::start(&ca, "a", 1).await;
    let mut b = Node::start(&ca, "b", 1).await;
    let proxy = Proxy::to(b.addr()).await;
    a.see_one(&b.id, 1, proxy.addr);
    a.connected(&b.id).await;
    const COUNT: u64 = 30_000;
    let mesh = a.mesh.clone();
    let to = b.id.clone();
    let sending = tokio::spawn(async move {
        for n in 0..COUNT {
            mesh.send(&to, number(n)).await.expect("queued");
            if n % 100 == 0 {
                tokio::task::yield_now().await;
            }
        }
    });
    let mut numbers = Vec::new();
    let mut cut_at = 2000;
    while (numbers.len() as u64) < COUNT {
        numbers.extend(b.numbers(1).await);
        if numbers.len() > cut_at {
            proxy.cut();
            cut_at += 4000;
        }
    }
    soon(sending).await.expect("sent");
    assert_eq!(numbers, (0..COUNT).collect::<Vec<_>>());
    assert!(soon(a.mesh.flush(crate::world::PATIENCE)).await);
    let state = a.connected(&b.id).await;
    assert!(state.connects > 2, "{state:?}");
    assert_eq!((state.lost_frames, state.pending_frames), (0, 0));
}

#[tokio::test]
async fn frames_for_a_dead_process_are_given_back_and_the_next_one_starts_clean() {
    let ca = Ca::new();
    let (mut a, mut b) = pair(&ca).await;
    a.send(&b.id, 1).await;
    assert_eq!(b.numbers(1).await, [1]);
    assert!(soon(a.mesh.flush(crate::world::PATIENCE)).await);
    b.mesh.shutdown().await;
    a.link(&b.id, |state| !state.connected).await;
    a.send(&b.id, 2).await;
    a.send(&b.id, 3).await;
    let mut next = Node::start(&ca, "b", 2).await;
    // Once the view tells of the new life, frames are for that one, connected or not.
    a.see_one(&next.id, 2, ([127, 0, 0, 1], 1).into());
    a.send(&b.id, 4).await;
    let lost = soon(a.lost.recv()).await.expect("open");
    assert_eq!(
        (lost.peer, lost.frames),
        (b.id.clone(), vec![number(2), number(3)])
    );
    a.see_one(&next.id, 2, next.addr());
    a.send(&next.id, 5).await;
    assert_eq!(next.numbers(2).await, [4, 5]);
    assert!(soon(a.mesh.flush(crate::world::PATIENCE)).await);
    let state = a.connected(&b.id).await;
    assert_eq!((state.lost_frames, state.pending_frames), (2, 0));
}

/// The peer restarted at the same address, and gossip is slower than the link.
#[tokio::test]
async fn the_link_may_meet_a_new_life_before_the_view_does() {
    let ca = Ca::new();
    let mut a = Node::start(&ca, "a", 1).await;
    let b = Node::start(&ca, "b", 1).await;
    let (old, proxy) = (b.addr(), Proxy::to(b.addr()).await);
    a.see_one(&b.id, 1, proxy.addr);
    a.connected(&b.id).await;
    b.mesh.shutdown().await;
    a.link(&b.id, |state| !state.connected).await;
    a.send(&b.id, 1).await;
    let mut next = Node::start(&ca, "b", 2).await;
    assert_ne!(next.addr(), old);
    a.see_one(&b.id, 1, next.addr());
    let lost = soon(a.lost.recv()).await.expect("open");
    assert_eq!(lost.frames, [number(1)]);
    a.link(&b.id, |s| s.connected && s.generation == Some(2))
        .await;
    a.send(&b.id, 2).await;
    a.see_one(&b.id, 2, next.addr());
    a.send(&b.id, 3).await;
    assert_eq!(next.numbers(2).await, [2, 3]);
    assert!(a.lost.try_recv().is_err());
    assert_eq!(a.connected(&b.id).await.connects, 2);
}

#[tokio::test]
async fn a_member_that_goes_down_or_away_gives_its_frames_back() {
    let ca = Ca::new();
    let mut a = Node::start(&ca, "a", 1).await;
    let b = node_id("b");
    let nowhere = ([127, 0, 0, 1], 1).into();
    assert_eq!(a.mesh.try_send(&b, number(1)), Err(SendError::NoSuchMember));
    a.see_one(&b, 1, nowhere);
    a.send(&b, 1).await;
    a.see(vec![member(&b, 1, nowhere, Standing::Down)]);
    let lost = soon(a.lost.recv()).await.expect("open");
    assert_eq!(lost.frames, [number(1)]);
    assert_eq!(a.mesh.try_send(&b, number(2)), Err(SendError::NoSuchMember));
    a.see_one(&b, 1, nowhere);
    a.mesh.try_send(&b, number(3)).expect("up again");
    a.see(Vec::new());
    let lost = soon(a.lost.recv()).await.expect("open");
    assert_eq!(lost.frames, [number(3)]);
    assert_eq!(a.mesh.try_send(&b, number(4)), Err(SendError::NoSuchMember));
    assert_eq!(
        a.mesh.try_send(&a.id, number(4)),
        Err(SendError::NoSuchMember)
    );
}

#[tokio::test]
async fn a_node_that_does_not_read_fills_the_queue_of_its_peer_and_is_still_healthy() {
    let ca = Ca::new();
    let mut limits = MeshLimits {
        queue_frames: 100,
        inbound_batches: 1,
        ..MeshLimits::default()
    };
    limits.link.window_frames = 50;
    limits.health_interval = Duration::from_millis(20);
    let mut a = Node::start_with(ca.identity(&node_id("a")), 1, limits.clone()).await;
    let mut b = Node::start_with(ca.identity(&node_id("b")), 1, limits).await;
    a.see_one(&b.id, 1, b.addr());
    a.connected(&b.id).await;
    let mut sent = 0;
    let mut refusals = 0;
    // b takes nothing: one batch waits in its channel, one at the link, then the window is full.
    while refusals < 100 {
        match a.mesh.try_send(&b.id, number(sent)) {
            Ok(()) => sent += 1,
            Err(SendError::Full) => {
                refusals += 1;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Err(other) => panic!("{other}"),
        }
        assert!(sent < 1000, "no back-pressure");
    }
    soon(async { while !a.health.recv().await.expect("open").is_ok() {} }).await;
    let waiting = a.mesh.clone();
    let to = b.id.clone();
    let last = tokio::spawn(async move { waiting.send(&to, number(u64::MAX)).await });
    let mut got = b.numbers(usize::try_from(sent).expect("small") + 1).await;
    assert_eq!(got.pop(), Some(u64::MAX));
    assert_eq!(got, (0..sent).collect::<Vec<_>>());
    assert_eq!(soon(last).await.expect("ran"), Ok(()));
}

#[tokio::test]
async fn frames_beyond_the_limit_are_refused_and_the_largest_arrives() {
    let ca = Ca::new();
    let (a, mut b) = pair(&ca).await;
    let max = MeshLimits::default().max_frame_bytes;
    assert_eq!(
        a.mesh.try_send(&b.id, Bytes::from(vec![0; max + 1])),
        Err(SendError::TooLarge)
    );
    for _ in 0..3 {
        a.mesh
            .try_send(&b.id, Bytes::from(vec![7; max]))
            .expect("room");
    }
    for _ in 0..3 {
        let inbound = soon(b.inbound.recv()).await.expect("open");
        assert_eq!(inbound.frames[0].len(), max);
    }
    a.mesh.shutdown().await;
    assert_eq!(a.mesh.try_send(&b.id, number(1)), Err(SendError::Closed));
}

/// The peer is there and says nothing, as when its process is stopped or a cable is out.
#[tokio::test]
async fn silence_ends_the_connection_and_what_was_under_way_arrives_once() {
    let ca = Ca::new();
    let limits = MeshLimits {
        keepalive_interval: Duration::from_millis(50),
        keepalive_timeout: Duration::from_millis(200),
        hello_timeout: Duration::from_millis(200),
        handshake_timeout: Duration::from_millis(200),
        ..MeshLimits::default()
    };
    let a = Node::start_with(ca.identity(&node_id("a")), 1, limits.clone()).await;
    let mut b = Node::start_with(ca.identity(&node_id("b")), 1, limits).await;
    let proxy = Proxy::to(b.addr()).await;
    a.see_one(&b.id, 1, proxy.addr);
    a.connected(&b.id).await;
    a.send(&b.id, 1).await;
    assert_eq!(b.numbers(1).await, [1]);
    proxy.freeze(true);
    a.send(&b.id, 2).await;
    a.link(&b.id, |state| !state.connected).await;
    a.send(&b.id, 3).await;
    proxy.freeze(false);
    assert_eq!(b.numbers(2).await, [2, 3]);
    assert!(soon(a.mesh.flush(crate::world::PATIENCE)).await);
    assert!(b.inbound.try_recv().is_err());
}
