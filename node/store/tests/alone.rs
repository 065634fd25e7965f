//! A store of one node.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use entente_store::{
    Bootstrap, ClusterConfig, LogSync, RosterEntry, ScramKeys, ScramSet, Secrets, Store,
    StoreConfig, StoreError, Subscription, TlsFiles, Write, WriteOutcome, recover_alone, restore,
};

fn config(dir: &Path) -> StoreConfig {
    StoreConfig {
        log_sync: LogSync::Deferred,
        offline_quota: 3,
        ..StoreConfig::alone(dir, "n1")
    }
}

fn keys(byte: u8) -> ScramSet {
    ScramSet {
        sha1: None,
        sha256: Some(ScramKeys {
            salt: vec![byte; 16],
            iterations: 4096,
            stored_key: vec![byte; 32],
            server_key: vec![byte; 32],
        }),
    }
}

fn offline(user: &str, id: &str) -> Write {
    Write::PutOffline {
        user: user.into(),
        id: id.as_bytes().to_vec(),
        stanza: format!("<message id='{id}'/>").into_bytes(),
        stored_at_ms: 7,
    }
}

async fn ids(store: &Store, user: &str) -> Vec<String> {
    let messages = store.load_offline(user, 0, 100).await.unwrap();
    messages
        .into_iter()
        .map(|message| String::from_utf8(message.id).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).await.unwrap();
    for (user, byte) in [("b@x.example", 1), ("a@x.example", 2), ("c@y.example", 3)] {
        store.add_account(user, &keys(byte), 42).await.unwrap();
    }
    let again = store.add_account("a@x.example", &keys(9), 43).await;
    assert!(matches!(again, Err(StoreError::Exists)));
    assert_eq!(
        store.credentials("a@x.example").await.unwrap(),
        Some(keys(2))
    );

    store
        .set_credentials("a@x.example", &keys(5))
        .await
        .unwrap();
    assert_eq!(
        store.credentials("a@x.example").await.unwrap(),
        Some(keys(5))
    );
    let nobody = store.set_credentials("z@x.example", &keys(5)).await;
    assert!(matches!(nobody, Err(StoreError::NoSuchAccount)));
    assert_eq!(store.credentials("z@x.example").await.unwrap(), None);

    let users = async |domain, after, limit| -> Vec<String> {
        let page = store.list_accounts(domain, after, limit).await.unwrap();
        page.into_iter().map(|account| account.user).collect()
    };
    assert_eq!(users(None, None, 2).await, ["a@x.example", "b@x.example"]);
    assert_eq!(users(None, Some("b@x.example"), 2).await, ["c@y.example"]);
    assert_eq!(users(Some("y.example"), None, 9).await, ["c@y.example"]);

    store
        .apply(vec![
            offline("a@x.example", "m1"),
            Write::Block {
                user: "a@x.example".into(),
                jid: "evil.example".into(),
            },
        ])
        .await
        .unwrap();
    store.remove_account("a@x.example").await.unwrap();
    assert!(!store.account_exists("a@x.example").await.unwrap());
    assert!(matches!(
        store.remove_account("a@x.example").await,
        Err(StoreError::NoSuchAccount)
    ));
    store
        .add_account("a@x.example", &keys(1), 44)
        .await
        .unwrap();
    let record = store.load_user("a@x.example").await.unwrap().unwrap();
    assert_eq!((record.offline_count, record.blocked.len()), (0, 0));
    store.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_of_a_user() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).await.unwrap();
    let user = "romeo@x.example".to_owned();
    assert_eq!(store.load_user(&user).await.unwrap(), None);
    store.add_account(&user, &keys(1), 1).await.unwrap();

    let entry = RosterEntry {
        jid: "juliet@y.example".into(),
        name: Some("J".into()),
        groups: vec!["Friends".into(), "\"Quoted\"".into()],
        subscription: Subscription::From,
        ask: true,
        approved: false,
    };
    let changed = RosterEntry {
        subscription: Subscription::Both,
        ask: false,
        ..entry.clone()
    };
    let put = |version, entry: &RosterEntry| Write::PutRosterEntry {
        user: user.clone(),
        version,
        entry: entry.clone(),
    };
    let outcomes = store
        .apply(vec![
            put(1, &entry),
            put(2, &changed),
            Write::PutPendingIn {
                user: user.clone(),
                from: "paris@y.example".into(),
                stanza: b"<presence type='subscribe'/>".to_vec(),
            },
            Write::Block {
                user: user.clone(),
                jid: "tybalt@y.example".into(),
            },
            Write::SetLastLogout {
                user: user.clone(),
                at_ms: 99,
                status: Some("gone".into()),
            },
        ])
        .await
        .unwrap();
    assert_eq!(outcomes, [WriteOutcome::Done; 5]);
    let record = store.load_user(&user).await.unwrap().unwrap();
    assert_eq!(record.roster, [changed]);
    assert_eq!(record.roster_version, 2);
    assert_eq!(record.pending_in[0].from, "paris@y.example");
    assert_eq!(record.blocked, ["tybalt@y.example"]);
    assert_eq!(record.last_logout_ms, Some(99));
    assert_eq!(record.last_status.as_deref(), Some("gone"));

    store
        .apply(vec![
            Write::RemoveRosterEntry {
                user: user.clone(),
                version: 3,
                jid: "juliet@y.example".into(),
            },
            Write::RemovePendingIn {
                user: user.clone(),
                from: "paris@y.example".into(),
            },
            Write::UnblockAll { user: user.clone() },
        ])
        .await
        .unwrap();
    let record = store.load_user(&user).await.unwrap().unwrap();
    assert!(record.roster.is_empty() && record.pending_in.is_empty());
    assert!(record.blocked.is_empty());
    assert_eq!(record.roster_version, 3);
    store.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_tell_of_messages_behind_a_row_without_reading_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).await.unwrap();
    assert_eq!(store.newest_offline().await.unwrap(), 0);
    for user in ["a@x", "b@x"] {
        store.add_account(user, &keys(1), 1).await.unwrap();
    }
    let batch = vec![
        offline("a@x", "1"),
        offline("b@x", "2"),
        offline("a@x", "3"),
    ];
    store.apply(batch).await.unwrap();
    store.sync().await.unwrap();
    let all = store.offline_notices(0, 100).await.unwrap();
    let found: Vec<_> = all.iter().map(|n| (&*n.user, &n.id[..])).collect();
    assert_eq!(
        found,
        [("a@x", &b"1"[..]), ("b@x", b"2"), ("a@x", b"3")],
        "in the order of storing"
    );
    assert_eq!(store.newest_offline().await.unwrap(), all[2].row);
    let behind = store.offline_notices(all[0].row, 1).await.unwrap();
    assert_eq!(behind, all[1..2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_quota_and_duplicates_are_judged_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).await.unwrap();
    store.add_account("a@x", &keys(1), 1).await.unwrap();
    store.add_account("b@x", &keys(1), 1).await.unwrap();
    let outcomes = store
        .apply(vec![
            offline("a@x", "1"),
            offline("a@x", "2"),
            offline("a@x", "1"),
            offline("a@x", "3"),
            offline("a@x", "4"),
            offline("b@x", "1"),
            offline("nobody@x", "1"),
            // The store of a@x is full, but this one is in it.
            offline("a@x", "3"),
        ])
        .await
        .unwrap();
    use WriteOutcome::{Done, NoSuchAccount, QuotaExceeded};
    assert_eq!(
        outcomes,
        [
            Done,
            Done,
            Done,
            Done,
            QuotaExceeded,
            Done,
            NoSuchAccount,
            Done
        ]
    );
    assert_eq!(ids(&store, "a@x").await, ["1", "2", "3"]);

    let remove = Write::RemoveOffline {
        user: "a@x".into(),
        ids: vec![b"1".to_vec(), b"2".to_vec()],
    };
    store
        .apply(vec![remove, offline("a@x", "4")])
        .await
        .unwrap();
    let rest = store.load_offline("a@x", 0, 100).await.unwrap();
    assert_eq!(rest.len(), 2);
    let behind = store.load_offline("a@x", rest[0].row, 100).await.unwrap();
    assert_eq!(behind, rest[1..]);
    store.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_has_a_limit() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).await.unwrap();
    store.add_account("a@x", &keys(1), 1).await.unwrap();
    let huge = Write::PutOffline {
        user: "a@x".into(),
        id: b"1".to_vec(),
        stanza: vec![b'x'; 1024 * 1024],
        stored_at_ms: 1,
    };
    let refused = store.apply(vec![huge]).await;
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })));
    // The largest that fits goes through the log.
    let large = Write::PutOffline {
        user: "a@x".into(),
        id: b"2".to_vec(),
        stanza: vec![b'x'; 1000 * 1024],
        stored_at_ms: 1,
    };
    assert_eq!(
        store.apply(vec![large]).await.unwrap(),
        [WriteOutcome::Done]
    );
    store.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_and_settings() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).await.unwrap();
    store.renew_lease("n1", 3, 1).await.unwrap();
    store.renew_lease("n1", 3, 2).await.unwrap();
    store.renew_lease("n1", 2, 9).await.unwrap();
    store.renew_lease("n2", 1, 1).await.unwrap();
    let leases = store.leases().await.unwrap();
    let rows: Vec<_> = leases
        .iter()
        .map(|lease| (lease.node.as_str(), lease.generation, lease.counter))
        .collect();
    assert_eq!(rows, [("n1", 3, 2), ("n2", 1, 1)]);

    let first = store.secret_or_create("dialback", [1; 32]).await.unwrap();
    let second = store.secret_or_create("dialback", [2; 32]).await.unwrap();
    assert_eq!((first, second), ([1; 32], [1; 32]));
    store.put_setting("motd", b"hello").await.unwrap();
    assert_eq!(
        store.get_setting("motd").await.unwrap().as_deref(),
        Some(&b"hello"[..])
    );
    assert_eq!(store.get_setting("none").await.unwrap(), None);
    store.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).await.unwrap();
    store.add_account("a@x", &keys(1), 1).await.unwrap();
    store.apply(vec![offline("a@x", "1")]).await.unwrap();
    store.shutdown().await.unwrap();
    drop(store);

    let store = Store::open(config(dir.path())).await.unwrap();
    assert_eq!(ids(&store, "a@x").await, ["1"]);
    store.apply(vec![offline("a@x", "2")]).await.unwrap();
    assert_eq!(ids(&store, "a@x").await, ["1", "2"]);
    let status = store.status().await;
    assert!(status.healthy && status.is_leader());
    assert_eq!(status.voters[0].name, "n1");
    store.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_founds_a_new_store_and_a_stopped_one_can_be_recovered() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Store::open(config(old.path())).await.unwrap();
    store.add_account("a@x", &keys(1), 1).await.unwrap();
    store.apply(vec![offline("a@x", "1")]).await.unwrap();
    let backup = store.backup_to(&old.path().join("backups")).await.unwrap();
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&backup).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "a backup holds credentials");
    let running = recover_alone(old.path());
    assert!(matches!(running, Err(StoreError::Config(_))), "{running:?}");
    store.apply(vec![offline("a@x", "2")]).await.unwrap();
    store.shutdown().await.unwrap();

    let garbage = old.path().join("garbage.sqlite");
    std::fs::write(&garbage, b"SQLite format 3, but not").unwrap();
    restore(new.path(), &garbage).unwrap_err();
    restore(new.path(), &backup).unwrap();
    let store = Store::open(config(new.path())).await.unwrap();
    assert_eq!(ids(&store, "a@x").await, ["1"], "what the backup held");
    store.apply(vec![offline("a@x", "3")]).await.unwrap();
    store.shutdown().await.unwrap();

    recover_alone(old.path()).unwrap();
    let store = Store::open(config(old.path())).await.unwrap();
    assert_eq!(ids(&store, "a@x").await, ["1", "2"]);
    store.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_member_that_trusts_anybody_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = ClusterConfig {
        listen: [127, 0, 0, 1].into(),
        advertise_raft: "localhost:1".into(),
        advertise_api: "localhost:2".into(),
        bootstrap: Bootstrap::First,
        tls: TlsFiles {
            certificate: dir.path().join("node.pem"),
            key: dir.path().join("node.key"),
            ca: dir.path().join("ca.pem"),
        },
        secrets: Secrets {
            raft: "0123456789abcdef".into(),
            api: "0123456789abcdef".into(),
        },
    };
    let member = |cluster| StoreConfig::member(dir.path(), "n1", cluster);
    let opened = Store::open(member(cluster.clone())).await;
    assert!(matches!(opened, Err(StoreError::TrustRoots { .. })));
    let short = ClusterConfig {
        secrets: Secrets {
            raft: "short".into(),
            api: "short".into(),
        },
        ..cluster
    };
    let opened = Store::open(member(short)).await;
    assert!(matches!(opened, Err(StoreError::Config(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(config(dir.path())).await.unwrap();
    store.add_account("a@x", &keys(1), 1).await.unwrap();
    store.shutdown().await.unwrap();
    drop(store);
    let no_disk_has_that = StoreConfig {
        min_free_bytes: u64::MAX - 1,
        ..config(dir.path())
    };
    let opened = Store::open(no_disk_has_that).await;
    assert!(matches!(opened, Err(StoreError::DiskFull)), "{opened:?}");
}
