//! This node's store: alone, founding, joining or coming back; and its voters.

use std::sync::Arc;
use std::time::Duration;

use entente_cluster::{MembershipHandle, Standing};
use entente_store::{
    Bootstrap, ClusterConfig as StoreCluster, Secrets as StoreSecrets, Store, StoreConfig, TlsFiles,
};

use crate::app::AppError;
use crate::config::Config;
use crate::secrets::Secrets;

/// How long a founding node listens for an existing cluster before it founds a new one.
const LISTEN_BEFORE_FOUNDING: Duration = Duration::from_secs(3);
/// How often the store's voters are looked after.
const VOTERS: Duration = Duration::from_secs(3);

/// Opens this node's store, as the configuration and the cluster around it demand.
pub(crate) async fn open(
    config: &Config,
    secrets: &Secrets,
    advertise: &str,
    membership: &MembershipHandle,
) -> Result<Store, AppError> {
    let path = config.node.data_dir.join("store");
    let cluster = &config.cluster;
    let mut settings = if cluster.secrets.is_none() {
        StoreConfig::alone(&path, config.node.id.as_str())
    } else {
        let bootstrap = bootstrap(config, &path, membership).await;
        StoreConfig::member(
            &path,
            config.node.id.as_str(),
            StoreCluster {
                listen: cluster.listen,
                advertise_raft: format!("{advertise}:{}", cluster.store_raft_port),
                advertise_api: format!("{advertise}:{}", cluster.store_api_port),
                bootstrap,
                tls: TlsFiles {
                    certificate: secrets.files.certificate.clone(),
                    key: secrets.files.key.clone(),
                    ca: secrets.files.ca.clone(),
                },
                secrets: StoreSecrets {
                    raft: secrets.store_raft.clone(),
                    api: secrets.store_api.clone(),
                },
            },
        )
    };
    settings.offline_quota = config.limits.offline_messages;
    Store::open(settings)
        .await
        .map_err(|source| AppError::Store { path, source })
}

/// Whether this node founds the cluster. Even one that may does not while a cluster is there: its
/// disk may have been lost, and a second cluster of the same name would be worse.
async fn bootstrap(
    config: &Config,
    path: &std::path::Path,
    membership: &MembershipHandle,
) -> Bootstrap {
    let peers: Vec<String> = config
        .cluster
        .seeds
        .iter()
        .filter_map(|seed| crate::config::check::split_target(seed))
        .map(|(host, _)| format!("{host}:{}", config.cluster.store_api_port))
        .collect();
    if path.exists() {
        // The store knows who it is; what we say here is not used.
        return if peers.is_empty() {
            Bootstrap::First
        } else {
            Bootstrap::Join { peers }
        };
    }
    if !config.cluster.bootstrap && !peers.is_empty() {
        return Bootstrap::Join { peers };
    }
    let mut view = membership.view();
    let others = |view: &entente_cluster::ClusterView| {
        view.members
            .iter()
            .any(|member| member.id != view.local && member.standing == Standing::Serving)
    };
    let found =
        tokio::time::timeout(LISTEN_BEFORE_FOUNDING, view.wait_for(|view| others(view))).await;
    match found {
        Ok(Ok(_)) if !peers.is_empty() => {
            tracing::warn!(
                "a cluster is there already: this node joins it instead of founding one"
            );
            Bootstrap::Join { peers }
        }
        _ => {
            tracing::info!("founding a new cluster");
            Bootstrap::First
        }
    }
}

/// Keeps the store at one, three or five voters that live.
pub(crate) async fn look_after_voters(store: Store, membership: Arc<MembershipHandle>) {
    let mut ticks = tokio::time::interval(VOTERS);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let view = membership.view().borrow().clone();
        let live: Vec<&str> = view
            .members
            .iter()
            .filter(|member| member.standing != Standing::Down)
            .map(|member| member.id.as_str())
            .collect();
        if let Err(error) = store.ensure_voters(&live).await {
            tracing::debug!(%error, "the store's voters could not be changed now");
        }
    }
}
