//! With scripts of sipp.

use std::net::SocketAddr;
use std::sync::Arc;

use super::microsoft::{self, MicrosoftPeer};
use super::{DOMAIN, KAMAILIO, SIPP, World, address};
use crate::harness::{Authority, Folder, PATIENCE, SIP_TLS_PORT, Sipp, have, online_at};
use crate::single::presence::presence;

fn installed() -> bool {
    have("sipp", "sip-tester") && have("socat", "socat")
}

/// The scripts against the scripted peer: what they take for granted.
#[tokio::test(flavor = "multi_thread")]
async fn scripts_of_sipp_agree_with_the_scripted_peer() {
    if !installed() {
        return;
    }
    let folder = Folder::new("sip-sipp");
    let authority = Authority::new(&folder.path().join("ca"));
    let at = SocketAddr::new(address(65), SIP_TLS_PORT);
    let settings = microsoft::Settings {
        domain: "one.example",
        address: at,
        targets: vec![at],
        target_name: "one.example",
        strict: false,
    };
    let peer = MicrosoftPeer::start(settings, &authority).await;
    let own = authority.issue_for_both("sipp", &["two.example"]);
    let sipp = Sipp::start(
        folder.path(),
        address(66),
        at,
        "one.example",
        &authority,
        &own,
    )
    .await;
    let (from, to) = ("sipp@two.example", peer.user("ann"));
    sipp.run("session.xml", 10, from, &to).await;
    let session = peer.expect_session(&to).await;
    assert!(session.expect_text().await.starts_with("text of sipp "));
    assert!(peer.faults().is_empty(), "{:#?}", peer.faults());
}

pub async fn sessions_by_script(world: Arc<World>) {
    if !installed() {
        return;
    }
    let login = world.cluster.user("scripted").await;
    let mut ours = online_at(&world.cluster.nodes[1], &login).await;
    let authority = &world.cluster.authority;
    let own = authority.issue_for_both("sipp", &[KAMAILIO]);
    let folder = world.cluster.folder.path();
    let sipp = Sipp::start(folder, address(44), world.sip()[0], DOMAIN, authority, &own).await;
    let from = format!("sipp@{KAMAILIO}");
    sipp.run("session.xml", 10, &from, &login.bare()).await;
    for _ in 0..10 {
        let got = ours
            .expect(PATIENCE, |s| s.is("message") && s.text_of("body").is_some())
            .await
            .unwrap();
        assert!(
            got.text_of("body").unwrap().starts_with("text of sipp "),
            "{got}"
        );
    }
}

pub async fn watching_by_script(world: Arc<World>) {
    if !installed() {
        return;
    }
    // At the node that sipp connects to: NOTIFY goes back on its connection, it listens nowhere.
    let home = &world.cluster.nodes[0];
    let login = world.cluster.user_at(home, "gazed").await;
    let mut ours = online_at(&world.cluster.nodes[1], &login).await;
    let authority = &world.cluster.authority;
    let own = authority.issue_for_both("sipp-watcher", &[SIPP]);
    let folder = world.cluster.folder.path();
    let sipp = Sipp::start(folder, address(45), world.sip()[0], DOMAIN, authority, &own).await;
    let from = format!("sipp@{SIPP}");
    sipp.run("watcher.xml", 1, &from, &login.bare()).await;
    ours.expect(PATIENCE, |s| presence(s, Some("subscribe"), &from))
        .await
        .unwrap();
}
