//! What an operator does with a running node.

use std::sync::Arc;
use std::time::Duration;

use entente_load::{Client, ClientError, Login, Trust};

use super::{DOMAIN, RENEWED};
use crate::harness::{
    Authority, CLIENT_PORT, CLIENT_TLS_PORT, Cluster, PASSWORD, PATIENCE, PEER_PORT, PEER_TLS_PORT,
    dig, eventually, srv_targets,
};

pub async fn status(fixture: Arc<Cluster>) {
    let output = fixture.first().command(&["status"], "").await;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    for wanted in [
        "node single-1",
        "serving",
        "100.0%",
        "store: healthy, leader single-1",
        DOMAIN,
    ] {
        assert!(text.contains(wanted), "{wanted} is missing:\n{text}");
    }
    let ready = fixture.first().command(&["ready"], "").await;
    assert!(ready.status.success());
    let metrics = fixture.first().get("/metrics").await.unwrap();
    assert!(
        metrics.0 == 200 && metrics.1.contains("entente_client_connections"),
        "{metrics:?}"
    );
    assert_eq!(fixture.first().get("/livez").await.unwrap().0, 200);
}

pub async fn names_are_published(fixture: Arc<Cluster>) {
    let node = fixture.first();
    for (service, port) in [
        ("xmpp-client", CLIENT_PORT),
        ("xmpps-client", CLIENT_TLS_PORT),
        ("xmpp-server", PEER_PORT),
        ("xmpps-server", PEER_TLS_PORT),
    ] {
        let lines = dig(node.address, &format!("_{service}._tcp.{DOMAIN}"), "SRV").await;
        assert_eq!(lines.len(), 1, "{service}: {lines:?}");
        let parts: Vec<&str> = lines[0].split(' ').collect();
        assert_eq!(parts[2], port.to_string(), "{service}: {lines:?}");
        assert_ne!(
            parts[1], "0",
            "{service}: a weight above 0 is needed: {lines:?}"
        );
        assert_eq!(parts[3], format!("{}.", node.host), "{service}: {lines:?}");
    }
    assert_eq!(
        dig(node.address, &node.host, "A").await,
        [node.address.to_string()]
    );
    assert!(dig(node.address, "elsewhere.example", "A").await.is_empty());
}

pub async fn certificates_are_replaced_without_a_drop(fixture: Arc<Cluster>) {
    let node = fixture.first();
    let login = Login::new("portia", RENEWED, PASSWORD);
    node.add_user(&login.bare()).await;
    let mut old = Client::session(&node.clients(), &login).await.unwrap();
    let other = Authority::new(&fixture.folder.path().join("other-ca"));
    let issued = other.issue(RENEWED, &[RENEWED]);
    let place = fixture
        .authority
        .certificate()
        .with_file_name(format!("{RENEWED}.pem"));
    std::fs::copy(&issued.certificate, &place).unwrap();
    std::fs::copy(&issued.key, place.with_extension("key")).unwrap();
    let careful = node
        .clients()
        .with_trust(Trust::CaFile(other.certificate()));
    assert!(
        Client::connect(&careful, RENEWED).await.is_err(),
        "replaced before it was told to"
    );
    node.signal("HUP");
    let shown = eventually("the new certificate is shown", PATIENCE, || async {
        Client::session(&careful, &login).await.ok()
    })
    .await;
    shown.0.close().await;
    // Nobody was thrown out.
    old.iq("get", "", "<ping xmlns='urn:xmpp:ping'/>", PATIENCE)
        .await
        .unwrap();
}

pub async fn broken_reload_changes_nothing(fixture: Arc<Cluster>) {
    let node = fixture.first();
    let good = std::fs::read_to_string(&fixture.config).unwrap();
    std::fs::write(
        &fixture.config,
        format!("{good}\n[client]\nplayn = false\n"),
    )
    .unwrap();
    node.signal("HUP");
    eventually("the fault is in the log", PATIENCE, || async {
        let log = node.log_text();
        (log.contains("not reloaded") && log.contains("client.playn") && log.contains("plain"))
            .then_some(())
    })
    .await;
    std::fs::write(&fixture.config, good).unwrap();
    assert_eq!(node.get("/readyz").await.unwrap().0, 200);
    let login = fixture.user("unharmed").await;
    fixture.session(&login).await.close().await;
}

pub async fn drain_and_undrain(fixture: Arc<Cluster>) {
    let node = fixture.first();
    let login = fixture.user("drained").await;
    let mut client = fixture.online(&login).await;
    let drained = node.command(&["drain", "--wait"], "").await;
    assert!(
        drained.status.success(),
        "{}",
        String::from_utf8_lossy(&drained.stderr)
    );
    match client.expect(PATIENCE, |_| false).await {
        Err(ClientError::StreamError(error)) => {
            assert!(error.contains("<system-shutdown"), "{error}")
        }
        other => panic!("the client was not told: {other:?}"),
    }
    let (code, reasons) = node.get("/readyz").await.unwrap();
    assert!(
        code == 503 && reasons.contains("draining"),
        "{code} {reasons}"
    );
    // A closed port is better than a node that accepts and fails.
    let refused = tokio::net::TcpStream::connect(node.socket(CLIENT_PORT)).await;
    assert!(
        refused.is_err(),
        "the port of clients is open while draining"
    );
    let back = node.command(&["undrain"], "").await;
    assert!(back.status.success());
    node.ready().await;
    fixture.session(&login).await.close().await;
    eventually(
        "the node's name is back",
        Duration::from_secs(8),
        || async {
            (srv_targets(node.address, "xmpp-client", DOMAIN).await == [node.host.clone()])
                .then_some(())
        },
    )
    .await;
}

pub async fn restart_keeps_accounts_and_rosters(fixture: Arc<Cluster>) {
    let node = fixture.first();
    let login = fixture.user("lasting").await;
    let mut client = fixture.session(&login).await;
    let set =
        "<query xmlns='jabber:iq:roster'><item jid='old-friend@verona.example' name='F'/></query>";
    client.iq("set", "", set, PATIENCE).await.unwrap();
    drop(client);
    node.stop().await;
    node.start();
    node.ready().await;
    let mut client = fixture.session(&login).await;
    let roster = client
        .iq("get", "", "<query xmlns='jabber:iq:roster'/>", PATIENCE)
        .await
        .unwrap();
    assert!(roster.contains("old-friend@verona.example"), "{roster}");
    drop(client);
    // And once more without warning.
    node.kill();
    node.start();
    node.ready().await;
    let mut client = fixture.session(&login).await;
    let roster = client
        .iq("get", "", "<query xmlns='jabber:iq:roster'/>", PATIENCE)
        .await
        .unwrap();
    assert!(roster.contains("old-friend@verona.example"), "{roster}");
}
