//! The replicated database: starting it, finding its leader, one transaction, one local read.

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hiqlite::tls::{ServerTlsConfig, ServerTlsConfigCerts};
use hiqlite::{Client, Node, NodeConfig, Param, SnapshotPolicy};
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep, timeout_at};

use crate::config::{Bootstrap, ClusterConfig, LogSync, StoreConfig, Tuning};
use crate::error::StoreError;
use crate::identity::Identity;
use crate::schema::STALE_BATCH;
use crate::statement::Statement;

/// A replicated entry must fit into one log file; the engine panics otherwise. Far above
/// [`crate::writer::MAX_BATCH_BYTES`].
const LOG_FILE_BYTES: u32 = 8 * 1024 * 1024;

/// How often a waiting writer looks whether the leader has moved.
const LEADER_POLL: Duration = Duration::from_millis(20);

/// How long connecting to a new leader may take before the leader is looked up again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The leader as this node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leader {
    pub(crate) id: u64,
    pub(crate) api: String,
    /// The term that it leads.
    pub(crate) term: u64,
}

/// Why one attempt at a transaction has no result.
pub(crate) enum Failure {
    /// It was committed before, or is too old.
    Stale,
    /// The database refused it and always will.
    Refused(hiqlite::Error),
    /// It may have been committed, or may be yet.
    Unknown,
}

/// A connection to a leader. The engine's client never ends its tasks, so they have a runtime of
/// their own, which ends with the link.
struct Link {
    leader: Leader,
    client: Client,
    runtime: Option<Runtime>,
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Which client reaches the leader.
enum Route {
    Local,
    Link(Arc<Link>),
}

impl Route {
    fn client<'a>(&'a self, local: &'a Client) -> &'a Client {
        match self {
            Self::Local => local,
            Self::Link(link) => &link.client,
        }
    }
}

/// The running engine of this node.
pub(crate) struct Engine {
    local: Client,
    pub(crate) identity: Identity,
    cluster: Option<ClusterConfig>,
    /// The connection to another node that leads. The engine's own client is not used towards
    /// others: it stays with a leader that hangs for 35 s and needs seconds to follow one that
    /// died, while this one is replaced as soon as Raft names another leader or a call fails.
    link: Mutex<Option<Arc<Link>>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Starts the engine and returns once the cluster has a leader that this node knows. Without a
    /// majority that takes as long as the majority stays away.
    pub(crate) async fn start(
        config: &StoreConfig,
        identity: Identity,
        secrets: crate::config::Secrets,
    ) -> Result<Self, StoreError> {
        let members = members(config, &identity).await?;
        let node = node_config(config, &identity, members, secrets)?;
        let local = Box::pin(hiqlite::start_node(node)).await?;
        Ok(Self {
            local,
            identity,
            cluster: config.cluster.clone(),
            link: Mutex::new(None),
        })
    }

    /// The engine's client of this very node.
    pub(crate) fn local(&self) -> &Client {
        &self.local
    }

    pub(crate) fn cluster(&self) -> Option<&ClusterConfig> {
        self.cluster.as_ref()
    }

    /// The leader, if this node knows one.
    pub(crate) async fn leader(&self) -> Option<Leader> {
        let metrics = self.local.metrics_db().await.ok()?;
        let id = metrics.current_leader?;
        let node = metrics.membership_config.membership().get_node(&id)?;
        Some(Leader {
            id,
            api: node.addr_api.clone(),
            term: metrics.current_term,
        })
    }

    /// One attempt at a transaction, given up at the deadline or when the leader moves.
    pub(crate) async fn attempt(
        &self,
        statements: &[Statement],
        deadline: Instant,
    ) -> Result<Vec<usize>, Failure> {
        let Some(leader) = self.leader().await else {
            sleep(LEADER_POLL).await;
            return Err(Failure::Unknown);
        };
        let Some(route) = self.route_to(&leader, deadline).await else {
            sleep(LEADER_POLL).await;
            return Err(Failure::Unknown);
        };
        let queries: Vec<(Cow<'static, str>, Vec<Param>)> = statements
            .iter()
            .map(|statement| (Cow::Borrowed(statement.sql), statement.params.clone()))
            .collect();
        let transaction = Box::pin(route.client(&self.local).txn(queries));
        let failure = tokio::select! {
            result = transaction => match result {
                Ok(rows) => match rows.into_iter().collect() {
                    Ok(changes) => return Ok(changes),
                    Err(error) => Failure::Refused(error),
                },
                Err(error) => classify(error),
            },
            () = self.moved_from(&leader) => Failure::Unknown,
            () = tokio::time::sleep_until(deadline) => Failure::Unknown,
        };
        if matches!(failure, Failure::Unknown) {
            self.relink(None);
            sleep(LEADER_POLL).await;
        }
        Err(failure)
    }

    /// A query against this node's copy.
    pub(crate) async fn query<T>(
        &self,
        sql: &'static str,
        params: Vec<Param>,
    ) -> Result<Vec<T>, StoreError>
    where
        T: for<'a, 'r> From<&'a mut hiqlite::Row<'r>> + Send + 'static,
    {
        Ok(self.local.query_map(sql, params).await?)
    }

    async fn route_to(&self, leader: &Leader, deadline: Instant) -> Option<Route> {
        let Some(cluster) = &self.cluster else {
            return Some(Route::Local);
        };
        if leader.id == self.identity.node_id && self.local.is_leader_db().await {
            return Some(Route::Local);
        }
        if let Some(link) = self.link_to(leader) {
            return Some(Route::Link(link));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("store-link")
            .enable_all()
            .build()
            .ok()?;
        let (api, secret) = (leader.api.clone(), cluster.secrets.api.clone());
        let connect = runtime.spawn(async move {
            Box::pin(Client::remote(vec![api], true, false, secret, false, None)).await
        });
        let deadline = deadline.min(Instant::now() + CONNECT_TIMEOUT);
        let connected = timeout_at(deadline, connect).await;
        let Ok(Ok(Ok(client))) = connected else {
            runtime.shutdown_background();
            return None;
        };
        let link = Arc::new(Link {
            leader: leader.clone(),
            client,
            runtime: Some(runtime),
        });
        self.relink(Some(Arc::clone(&link)));
        Some(Route::Link(link))
    }

    fn link_to(&self, leader: &Leader) -> Option<Arc<Link>> {
        let link = self.link.lock().expect("no panic while the link is held");
        link.as_ref()
            .filter(|link| link.leader == *leader)
            .map(Arc::clone)
    }

    fn relink(&self, link: Option<Arc<Link>>) {
        *self.link.lock().expect("no panic while the link is held") = link;
    }

    /// Returns when this node knows of another leader than this one, or of none.
    async fn moved_from(&self, leader: &Leader) {
        loop {
            sleep(LEADER_POLL).await;
            if self.leader().await.as_ref() != Some(leader) {
                return;
            }
        }
    }
}

/// Errors of SQLite come back as the result of a committed log entry: final. Everything else is
/// about reaching the leader or the leader reaching its quorum.
fn classify(error: hiqlite::Error) -> Failure {
    use hiqlite::Error as E;
    match error {
        E::Transaction(text) if text.contains(STALE_BATCH) => Failure::Stale,
        error @ (E::Transaction(_)
        | E::PrepareStatement(_)
        | E::QueryParams(_)
        | E::Sqlite(_)
        | E::ConstraintViolation(_)) => Failure::Refused(error),
        error => {
            tracing::debug!(%error, "store write to be tried again");
            Failure::Unknown
        }
    }
}

fn node_config(
    config: &StoreConfig,
    identity: &Identity,
    nodes: Vec<Node>,
    secrets: crate::config::Secrets,
) -> Result<NodeConfig, StoreError> {
    let data_dir = config
        .data_dir
        .to_str()
        .ok_or(StoreError::Config("the data directory is not UTF-8"))?;
    let mut node = NodeConfig {
        node_id: identity.node_id,
        nodes,
        data_dir: Cow::Owned(data_dir.to_owned()),
        wal_sync: match config.log_sync {
            LogSync::Immediate => hiqlite::LogSync::Immediate,
            LogSync::Deferred => hiqlite::LogSync::ImmediateAsync,
        },
        wal_size: LOG_FILE_BYTES,
        prepared_statement_cache_capacity: 128,
        raft_config: raft_config(config),
        secret_raft: secrets.raft,
        secret_api: secrets.api,
        health_check_delay: Duration::ZERO,
        // Who votes is decided by `Store::ensure_voters`, not by who comes first.
        learner_only: true,
        ..NodeConfig::default()
    };
    let listen = match &config.cluster {
        Some(cluster) => {
            let tls = tls(cluster)?;
            node.tls_raft = Some(tls.clone());
            node.tls_api = Some(tls);
            match cluster.listen {
                std::net::IpAddr::V4(address) => address.to_string(),
                std::net::IpAddr::V6(address) => format!("[{address}]"),
            }
        }
        None => "127.0.0.1".to_owned(),
    };
    node.listen_addr_api = Cow::Owned(listen.clone());
    node.listen_addr_raft = Cow::Owned(listen);
    Ok(node)
}

/// The members that a first start talks to, itself included. A later start needs none, and with
/// any it would wait for another node to lead.
async fn members(config: &StoreConfig, identity: &Identity) -> Result<Vec<Node>, StoreError> {
    let this = Node {
        id: identity.node_id,
        addr_raft: identity.advertise_raft.clone(),
        addr_api: identity.advertise_api.clone(),
    };
    let mut members = match &config.cluster {
        // A seed founds a cluster whatever the configuration says about joining.
        Some(cluster) if !identity.joined && !identity.seeded => match &cluster.bootstrap {
            Bootstrap::Join { peers } => crate::join::discover(cluster, peers).await?,
            Bootstrap::First => Vec::new(),
        },
        _ => Vec::new(),
    };
    members.retain(|member| member.id != this.id);
    members.push(this);
    Ok(members)
}

fn raft_config(config: &StoreConfig) -> hiqlite::RaftConfig {
    let mut tuning = config.tuning;
    if config.cluster.is_none() {
        // Nobody to wait for: a fresh store waits five heartbeats for others, and every start an
        // election.
        tuning = Tuning {
            heartbeat: Duration::from_millis(20),
            election_min: Duration::from_millis(40),
            election_max: Duration::from_millis(80),
            ..tuning
        };
    }
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    hiqlite::RaftConfig {
        heartbeat_interval: millis(tuning.heartbeat),
        election_timeout_min: millis(tuning.election_min),
        election_timeout_max: millis(tuning.election_max),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(tuning.snapshot_after),
        replication_lag_threshold: tuning.snapshot_after * 2,
        // Entries of up to a megabyte: keeps one message of the replication within bounds.
        max_payload_entries: 24,
        ..NodeConfig::default_raft_config(tuning.snapshot_after)
    }
}

fn tls(cluster: &ClusterConfig) -> Result<ServerTlsConfig, StoreError> {
    let name = |path: &Path| {
        path.to_str()
            .map(str::to_owned)
            .ok_or(StoreError::Config("a certificate path is not UTF-8"))
    };
    Ok(ServerTlsConfig::Specific(ServerTlsConfigCerts::new(
        name(&cluster.tls.key)?,
        name(&cluster.tls.certificate)?,
    )))
}
