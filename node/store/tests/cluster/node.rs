//! One node of the tested cluster: a process that obeys lines on its standard input.
//!
//! `<number> <verb> <arguments>` is answered by `<number> ok <value>` or `<number> err <reason>`.

use std::io::BufRead;
use std::path::PathBuf;
use std::time::Duration;

use entente_store::{
    Bootstrap, ClusterConfig, ScramSet, Secrets, Store, StoreConfig, TlsFiles, Tuning, Write,
    WriteOutcome,
};

/// Name, directory, two ports, seed ports (none: found the cluster).
pub(crate) fn run(arguments: &[String]) {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .init();
    let [name, dir, raft, api, seeds @ ..] = arguments else {
        panic!("wrong arguments: {arguments:?}");
    };
    let dir = PathBuf::from(dir);
    let shared = dir.parent().unwrap();
    entente_store::trust::ensure(&shared.join("ca.pem")).unwrap();
    let bootstrap = if seeds.is_empty() {
        Bootstrap::First
    } else {
        Bootstrap::Join {
            peers: seeds
                .iter()
                // The certificate has no such name.
                .map(|port| format!("127.0.0.1:{port}"))
                .collect(),
        }
    };
    let cluster = ClusterConfig {
        listen: [127, 0, 0, 1].into(),
        advertise_raft: format!("localhost:{raft}"),
        advertise_api: format!("localhost:{api}"),
        bootstrap,
        tls: TlsFiles {
            certificate: shared.join("node.pem"),
            key: shared.join("node.key"),
            ca: shared.join("ca.pem"),
        },
        secrets: Secrets {
            raft: "a secret for replication".into(),
            api: "a secret for requests".into(),
        },
    };
    let config = StoreConfig {
        offline_quota: 1_000_000,
        tuning: Tuning {
            voter_grace: Duration::from_secs(1),
            ..Tuning::default()
        },
        ..StoreConfig::member(dir, name, cluster)
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let store = runtime.block_on(Store::open(config)).unwrap();
    say("0 ok ready");
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let store = store.clone();
        runtime.spawn(async move {
            let (number, order) = line.split_once(' ').unwrap();
            match obey(&store, order).await {
                Ok(value) => say(&format!("{number} ok {value}")),
                Err(reason) => say(&format!("{number} err {reason}")),
            }
        });
    }
}

#[expect(clippy::print_stdout, reason = "the answers of the process")]
fn say(line: &str) {
    println!("{line}");
}

async fn obey(store: &Store, order: &str) -> Result<String, Box<dyn std::error::Error>> {
    let words: Vec<&str> = order.split(' ').collect();
    match words[..] {
        ["account", user] => {
            let added = store.add_account(user, &ScramSet::default(), 1).await;
            added.map(|()| String::new()).map_err(Into::into)
        }
        ["put", user, id] => {
            let write = Write::PutOffline {
                user: user.into(),
                id: id.as_bytes().to_vec(),
                stanza: vec![b'x'; 300],
                stored_at_ms: 1,
            };
            let outcomes = store.apply(vec![write]).await?;
            assert_eq!(outcomes, [WriteOutcome::Done]);
            // What was acknowledged here must be visible here.
            Ok(String::new())
        }
        ["ids", user] => {
            store.sync().await?;
            let messages = store.load_offline(user, 0, 1_000_000).await?;
            let ids: Vec<String> = messages
                .into_iter()
                .map(|message| String::from_utf8(message.id).unwrap())
                .collect();
            Ok(ids.join(","))
        }
        ["read", user] => {
            let messages = store.load_offline(user, 0, 1).await?;
            Ok(messages.len().to_string())
        }
        ["voters", live] => {
            let live: Vec<&str> = live.split(',').collect();
            Ok(format!("{:?}", store.ensure_voters(&live).await?))
        }
        ["remove", name] => {
            store.remove_member(name).await?;
            Ok(String::new())
        }
        ["status"] => {
            let status = store.status().await;
            let names = |members: &[entente_store::Member]| {
                let mut names: Vec<&str> =
                    members.iter().map(|member| member.name.as_str()).collect();
                names.sort_unstable();
                names.join(",")
            };
            let leader = status.leader.as_ref().map_or("", |leader| &leader.name);
            Ok(format!(
                "{leader} {} {} {}",
                names(&status.voters),
                names(&status.learners),
                status.healthy
            ))
        }
        _ => Err(format!("unknown order {order:?}").into()),
    }
}
