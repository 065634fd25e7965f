use std::time::Duration;

use entente_cluster::forward::{
    CertificateNameError, IdentityError, LinkFault, Mesh, MeshError, MeshIdentity, MeshLimits,
    mesh_name,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{Ca, Node, Proxy, node_id, number, pair, soon};

#[tokio::test]
async fn a_node_of_another_ca_is_refused_in_both_directions() {
    let (ca, other) = (Ca::new(), Ca::new());
    let mut a = Node::start(&ca, "a", 1).await;
    let stranger = Node::start(&other, "b", 1).await;
    a.see_one(&stranger.id, 1, stranger.addr());
    stranger.see_one(&a.id, 1, a.addr());
    let failed = |state: &entente_cluster::forward::LinkState| {
        assert!(!state.connected);
        matches!(state.last_error, Some(LinkFault::Tls(_)))
    };
    a.link(&stranger.id, failed).await;
    stranger.link(&a.id, failed).await;
    assert!(a.inbound.try_recv().is_err());
}

/// The caller trusts the callee, but not the other way round: the server's check counts.
#[tokio::test]
async fn a_caller_with_a_foreign_certificate_gets_no_link() {
    let (ca, other) = (Ca::new(), Ca::new());
    let mut a = Node::start(&ca, "a", 1).await;
    let (chain, key) = other.certify(&[mesh_name(&node_id("b"))]);
    let roots = format!("{}{}", ca.pem(), other.pem());
    let identity = MeshIdentity::from_pem(chain.as_bytes(), key.as_bytes(), roots.as_bytes())
        .expect("an identity");
    let stranger = Node::start_with(identity, 1, MeshLimits::default()).await;
    stranger.see_one(&a.id, 1, a.addr());
    let state = stranger
        .link(&a.id, |state| {
            assert!(!state.connected);
            state.last_error.is_some()
        })
        .await;
    assert!(
        matches!(
            state.last_error,
            Some(LinkFault::Connection(_) | LinkFault::Tls(_))
        ),
        "{state:?}"
    );
    assert!(a.inbound.try_recv().is_err());
}

#[tokio::test]
async fn another_nodes_certificate_is_refused() {
    let ca = Ca::new();
    let a = Node::start(&ca, "a", 1).await;
    let c = Node::start(&ca, "c", 1).await;
    // The view says that b is there, but it is c.
    let b = node_id("b");
    a.see_one(&b, 1, c.addr());
    a.link(&b, |state| {
        assert!(!state.connected);
        matches!(state.last_error, Some(LinkFault::Tls(_)))
    })
    .await;
    let identity = ca.identity(&b);
    let refused = a.mesh.reload(identity).expect_err("not ours");
    assert!(matches!(refused, MeshError::WrongIdentity { .. }));
}

#[tokio::test]
async fn a_certificate_must_name_exactly_one_node() {
    let ca = Ca::new();
    let identity = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let (chain, key) = ca.certify(&names);
        MeshIdentity::from_pem(chain.as_bytes(), key.as_bytes(), ca.pem().as_bytes())
    };
    let name = "a.mesh.entente.internal";
    let good = identity(&["a.example.com", name]).expect("one name is enough");
    assert_eq!(good.node(), &node_id("a"));
    assert!(good.not_after() > 0);
    for (names, wanted) in [
        (&["a.example.com"][..], CertificateNameError::Missing),
        (
            &["a.b.mesh.entente.internal"],
            CertificateNameError::Missing,
        ),
        (&["*.mesh.entente.internal"], CertificateNameError::Missing),
        (
            &[name, "b.mesh.entente.internal"],
            CertificateNameError::Ambiguous,
        ),
    ] {
        match identity(names) {
            Err(IdentityError::Name(error)) => assert_eq!(error, wanted, "{names:?}"),
            other => panic!("{names:?}: {other:?}"),
        }
    }
    let (chain, _) = ca.certify(&[name.to_owned()]);
    let (_, key) = ca.certify(&[name.to_owned()]);
    let mismatch = MeshIdentity::from_pem(chain.as_bytes(), key.as_bytes(), ca.pem().as_bytes());
    assert!(matches!(mismatch, Err(IdentityError::Tls(_))));
    assert!(matches!(
        MeshIdentity::from_pem(b"", b"", b""),
        Err(IdentityError::Pem(_) | IdentityError::NoCertificate)
    ));
}

#[tokio::test]
async fn garbage_silence_and_half_handshakes_harm_nobody() {
    let ca = Ca::new();
    let (a, mut b) = pair(&ca).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(b.addr()).await.expect("accepted"));
    }
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[0x16, 3, 1, 0xff, 0xff, 1, 0, 0, 0],
        &[0; 100_000],
    ] {
        let mut stream = TcpStream::connect(b.addr()).await.expect("accepted");
        // It may be closed before all is written.
        let _ = stream.write_all(garbage).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = soon(stream.read_to_end(&mut answer)).await;
        assert!(answer.len() < 100, "an alert at most");
    }
    a.send(&b.id, 1).await;
    assert_eq!(b.numbers(1).await, [1]);
    assert_eq!(a.connected(&b.id).await.connects, 1);
}

#[tokio::test]
async fn silent_connections_make_way_for_nodes() {
    let ca = Ca::new();
    let limits = MeshLimits {
        max_handshakes: 4,
        // Longer than the patience of this test.
        handshake_timeout: Duration::from_secs(600),
        ..MeshLimits::default()
    };
    let a = Node::start(&ca, "a", 1).await;
    let mut b = Node::start_with(ca.identity(&node_id("b")), 1, limits).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(b.addr()).await.expect("accepted"));
    }
    a.see_one(&b.id, 1, b.addr());
    a.send(&b.id, 1).await;
    assert_eq!(b.numbers(1).await, [1]);
    let mut nothing = [0];
    // The first ones have been thrown out.
    assert!(matches!(
        soon(silent[0].read(&mut nothing)).await,
        Ok(0) | Err(_)
    ));
}

/// A client of the cluster CA that talks HTTP/2 wrongly, or not at all, after the handshake.
#[tokio::test]
async fn garbage_behind_a_good_certificate_harms_nobody() {
    let ca = Ca::new();
    let (a, mut b) = pair(&ca).await;
    let (chain, key) = ca.certify(&[mesh_name(&node_id("x"))]);
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca.pem().as_bytes()).expect("PEM"))
        .expect("a root");
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_slice(chain.as_bytes()).expect("PEM")],
            rustls::pki_types::PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM"),
        )
        .expect("a client");
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    for garbage in [&b"hello?\r\n\r\n"[..], &[0xff; 50_000]] {
        let tcp = TcpStream::connect(b.addr()).await.expect("accepted");
        let name = mesh_name(&b.id).try_into().expect("a name");
        let mut tls = soon(connector.connect(name, tcp)).await.expect("welcome");
        let _ = tls.write_all(garbage).await;
        let _ = tls.flush().await;
        let mut answer = Vec::new();
        let _ = soon(tls.read_to_end(&mut answer)).await;
    }
    a.send(&b.id, 1).await;
    assert_eq!(b.numbers(1).await, [1]);
}

#[tokio::test]
async fn a_reload_changes_new_connections_and_keeps_old_ones() {
    let (old, new) = (Ca::new(), Ca::new());
    let mut a = Node::start(&old, "a", 1).await;
    let b = Node::start(&old, "b", 1).await;
    let proxy = Proxy::to(a.addr()).await;
    b.see_one(&a.id, 1, proxy.addr);
    b.connected(&a.id).await;
    a.mesh.reload(new.identity(&a.id)).expect("ours");
    b.send(&a.id, 1).await;
    assert_eq!(a.numbers(1).await, [1]);
    assert_eq!(b.connected(&a.id).await.connects, 1);
    proxy.cut();
    b.link(&a.id, |state| {
        matches!(state.last_error, Some(LinkFault::Tls(_)))
    })
    .await;
    b.send(&a.id, 2).await;
    b.mesh.reload(new.identity(&b.id)).expect("ours");
    assert_eq!(a.numbers(1).await, [2]);
}

#[tokio::test]
async fn the_handles_end_the_mesh() {
    let ca = Ca::new();
    let (a, mut b) = pair(&ca).await;
    a.mesh.try_send(&b.id, number(1)).expect("room");
    assert_eq!(b.numbers(1).await, [1]);
    let addr = a.addr();
    let id = a.id.clone();
    drop(a);
    b.link(&id, |state| !state.connected).await;
    soon(async {
        while TcpStream::connect(addr).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let mesh: &Mesh = &b.mesh;
    mesh.shutdown().await;
}

/// With `ulimit -n 64` this runs out of file descriptors, without it does not: either way the
/// listener is there afterwards.
#[tokio::test]
async fn the_listener_survives_a_flood_of_connections() {
    let ca = Ca::new();
    let a = Node::start(&ca, "a", 1).await;
    let mut b = Node::start(&ca, "b", 1).await;
    let mut flood = Vec::new();
    for _ in 0..200 {
        match TcpStream::connect(b.addr()).await {
            Ok(stream) => flood.push(stream),
            Err(_) => break,
        }
        tokio::task::yield_now().await;
    }
    assert!(flood.len() > 10);
    drop(flood);
    a.see_one(&b.id, 1, b.addr());
    a.send(&b.id, 1).await;
    assert_eq!(b.numbers(1).await, [1]);
}

/// Two processes under one name, or a node that lost its stored generation.
#[tokio::test]
async fn an_older_life_of_a_node_gets_no_link() {
    let ca = Ca::new();
    let mut b = Node::start(&ca, "b", 1).await;
    let new = Node::start(&ca, "a", 5).await;
    new.see_one(&b.id, 1, b.addr());
    new.send(&b.id, 1).await;
    assert_eq!(b.numbers(1).await, [1]);
    let old = Node::start(&ca, "a", 4).await;
    old.see_one(&b.id, 1, b.addr());
    old.send(&b.id, 2).await;
    old.link(&b.id, |state| {
        assert!(!state.connected);
        state.last_error == Some(LinkFault::Stale)
    })
    .await;
    new.send(&b.id, 3).await;
    assert_eq!(b.numbers(1).await, [3]);
}
