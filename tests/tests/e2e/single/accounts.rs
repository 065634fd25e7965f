//! `entente user`.

use std::sync::Arc;

use entente_load::{Client, ClientError, Login};

use super::DOMAIN;
use crate::harness::{Cluster, PATIENCE};

pub async fn from_the_command_line(fixture: Arc<Cluster>) {
    let node = fixture.first();
    let jid = format!("mercutio@{DOMAIN}");
    let run = async |arguments: &[&str], input: &str| {
        let output = node.command(arguments, input).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text)
    };
    let added = run(&["user", "add", &jid], "first\n").await;
    assert!(added.0, "{added:?}");
    let twice = run(&["user", "add", &jid], "first\n").await;
    assert!(!twice.0 && twice.1.contains(&jid), "{twice:?}");
    let listed = run(&["user", "list", DOMAIN], "").await;
    assert!(
        listed.0 && listed.1.lines().any(|line| line == jid),
        "{listed:?}"
    );
    let foreign = run(&["user", "add", "x@elsewhere.example"], "p\n").await;
    assert!(!foreign.0 && foreign.1.contains(DOMAIN), "{foreign:?}");
    let endpoint = node.clients();
    let login = |password: &str| Login::new("mercutio", DOMAIN, password);
    let mut session = Client::session(&endpoint, &login("first")).await.unwrap();
    let changed = run(&["user", "passwd", &jid], "second\n").await;
    assert!(changed.0, "{changed:?}");
    let refused = Client::session(&endpoint, &login("first")).await;
    assert!(
        matches!(refused, Err(ClientError::AuthRefused(_))),
        "{refused:?}"
    );
    Client::session(&endpoint, &login("second"))
        .await
        .unwrap()
        .close()
        .await;
    let generated = run(&["user", "passwd", &jid, "--generate"], "").await;
    let password = generated
        .1
        .lines()
        .find_map(|line| line.strip_prefix("password: "))
        .unwrap()
        .to_owned();
    Client::session(&endpoint, &login(&password))
        .await
        .unwrap()
        .close()
        .await;
    let removed = run(&["user", "rm", &jid], "").await;
    assert!(removed.0, "{removed:?}");
    // Whoever was logged in is not any more.
    match session.expect(PATIENCE, |_| false).await {
        Err(ClientError::StreamError(_) | ClientError::Closed) => {}
        other => panic!("the removed account's session goes on: {other:?}"),
    }
    let refused = Client::session(&endpoint, &login(&password)).await;
    assert!(
        matches!(refused, Err(ClientError::AuthRefused(_))),
        "{refused:?}"
    );
    let again = run(&["user", "rm", &jid], "").await;
    assert!(!again.0, "{again:?}");
}
