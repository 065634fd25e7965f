use std::time::Duration;

use bytes::Bytes;
use entente_cluster::forward::{CallError, CallRefusal, MeshLimits};

use crate::world::{Ca, Node, PATIENCE, node_id, pair, soon};

#[tokio::test]
async fn calls_are_answered_refused_or_run_out_of_time() {
    let ca = Ca::new();
    let (a, b) = pair(&ca).await;
    let hello = Bytes::from_static(b"hello");
    let echo = a.mesh.call(&b.id, 1, hello.clone(), PATIENCE).await;
    assert_eq!(echo, Ok(Bytes::from_static(b"a:hello")));
    assert_eq!(
        a.mesh.call(&b.id, 9, hello.clone(), PATIENCE).await,
        Err(CallError::Refused(CallRefusal::UnknownKind))
    );
    assert_eq!(
        a.mesh
            .call(&b.id, 2, hello.clone(), Duration::from_millis(50))
            .await,
        Err(CallError::Deadline)
    );
    assert_eq!(
        a.mesh
            .call(&node_id("nobody"), 1, hello.clone(), PATIENCE)
            .await,
        Err(CallError::NoSuchMember)
    );
    let large = Bytes::from(vec![0; MeshLimits::default().max_frame_bytes + 1]);
    assert_eq!(
        a.mesh.call(&b.id, 1, large, PATIENCE).await,
        Err(CallError::TooLarge)
    );
}

#[tokio::test]
async fn a_call_waits_for_the_connection_within_its_deadline() {
    let ca = Ca::new();
    let a = Node::start(&ca, "a", 1).await;
    let b = Node::start(&ca, "b", 1).await;
    a.see_one(&b.id, 1, ([127, 0, 0, 1], 1).into());
    a.link(&b.id, |state| state.last_error.is_some()).await;
    assert_eq!(
        a.mesh
            .call(&b.id, 1, Bytes::new(), Duration::from_millis(20))
            .await,
        Err(CallError::Unreachable)
    );
    let call = a.mesh.call(&b.id, 1, Bytes::new(), PATIENCE);
    let (result, ()) = tokio::join!(call, async { a.see_one(&b.id, 1, b.addr()) });
    assert_eq!(result, Ok(Bytes::from_static(b"a:")));
}

#[tokio::test]
async fn too_many_calls_are_refused_on_both_sides() {
    let ca = Ca::new();
    let limits = |max_calls| MeshLimits {
        max_calls,
        ..MeshLimits::default()
    };
    let a = Node::start_with(ca.identity(&node_id("a")), 1, limits(3)).await;
    let mut b = Node::start_with(ca.identity(&node_id("b")), 1, limits(2)).await;
    a.see_one(&b.id, 1, b.addr());
    let hang = || {
        let (mesh, to) = (a.mesh.clone(), b.id.clone());
        tokio::spawn(async move { mesh.call(&to, 2, Bytes::new(), PATIENCE).await })
    };
    a.connected(&b.id).await;
    let _hanging = [hang(), hang()];
    soon(b.calls_hanging.wait_for(|n| *n == 2))
        .await
        .expect("open");
    assert_eq!(
        a.mesh.call(&b.id, 1, Bytes::new(), PATIENCE).await,
        Err(CallError::Refused(CallRefusal::Busy))
    );
    // b serves no third one, but it takes a place at a until b's answer is there.
    let third = a.mesh.call(&b.id, 1, Bytes::new(), PATIENCE);
    let fourth = a.mesh.call(&b.id, 1, Bytes::new(), PATIENCE);
    let (third, fourth) = tokio::join!(third, fourth);
    assert_eq!(third, Err(CallError::Refused(CallRefusal::Busy)));
    assert_eq!(fourth, Err(CallError::TooMany));
}

#[tokio::test]
async fn health_is_reported_for_the_living_and_the_dead() {
    let ca = Ca::new();
    let (mut a, b) = pair(&ca).await;
    let report = soon(async {
        loop {
            let report = a.health.recv().await.expect("open");
            if report.is_ok() {
                return report;
            }
        }
    })
    .await;
    assert_eq!((&report.peer, report.generation), (&b.id, Some(1)));
    b.mesh.shutdown().await;
    soon(async { while a.health.recv().await.expect("open").is_ok() {} }).await;
}
