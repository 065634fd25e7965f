//! Finding the cluster through any of its members.
//!
//! The engine asks only the members that it was given, and only the leader can admit a node. So
//! the seeds are asked for all members first: any of them knows the leader's address.
//!
//! A seed may be known by a name that is not in its certificate: one that stands for many nodes, or
//! an address. So every certificate of the cluster has [`MEMBER_NAME`] too, and a seed that does not
//! prove its own name is asked for that one. It proves that the seed is some member, and that is all
//! that matters here: the CA is the cluster's own.

use std::net::SocketAddr;
use std::time::Duration;

use hiqlite::Node;
use serde::Deserialize;
use tokio::net::lookup_host;
use tokio::time::{sleep, timeout};

use crate::config::ClusterConfig;
use crate::error::StoreError;

/// A DNS name in the certificate of every node of a cluster.
pub const MEMBER_NAME: &str = "store.entente.internal";

/// Addresses of one seed that are asked.
const MAX_ADDRESSES: usize = 16;
/// Between two rounds over seeds none of which is up.
const RETRY: Duration = Duration::from_millis(300);
/// For one answer.
const ANSWER: Duration = Duration::from_secs(3);

#[derive(Deserialize)]
struct Membership {
    nodes: std::collections::BTreeMap<u64, Node>,
}

/// The client for the management interface of other members.
pub(crate) fn management_client(timeout: Duration) -> Result<reqwest::Client, StoreError> {
    build(reqwest::Client::builder(), timeout)
}

fn build(
    builder: reqwest::ClientBuilder,
    timeout: Duration,
) -> Result<reqwest::Client, StoreError> {
    builder
        .http2_prior_knowledge()
        .connect_timeout(ANSWER)
        .timeout(timeout)
        .build()
        .map_err(|error| StoreError::Management(Box::new(error)))
}

/// All members of the cluster. Asks the seeds in turn for as long as it takes.
pub(crate) async fn discover(
    cluster: &ClusterConfig,
    seeds: &[String],
) -> Result<Vec<Node>, StoreError> {
    let client = management_client(ANSWER)?;
    loop {
        for seed in seeds {
            if let Some(members) = ask(&client, cluster, seed).await {
                return Ok(members);
            }
            for address in addresses(seed).await {
                let client = build(
                    reqwest::Client::builder().resolve(MEMBER_NAME, address),
                    ANSWER,
                )?;
                let name = format!("{MEMBER_NAME}:{}", address.port());
                if let Some(members) = ask(&client, cluster, &name).await {
                    return Ok(members);
                }
            }
        }
        tracing::info!(?seeds, "no seed of the store's cluster answers yet");
        sleep(RETRY).await;
    }
}

/// The addresses behind a seed; none if its name does not resolve in time.
async fn addresses(seed: &str) -> Vec<SocketAddr> {
    match timeout(ANSWER, lookup_host(seed)).await {
        Ok(Ok(found)) => found.take(MAX_ADDRESSES).collect(),
        _ => Vec::new(),
    }
}

/// What the member at `host` (`host:port`) says of the others.
async fn ask(client: &reqwest::Client, cluster: &ClusterConfig, host: &str) -> Option<Vec<Node>> {
    let answer = client
        .get(format!("https://{host}/cluster/membership/sqlite"))
        .header("X-API-SECRET", &cluster.secrets.api)
        .header("accept", "application/json")
        .send()
        .await
        .and_then(reqwest::Response::error_for_status)
        .inspect_err(|error| tracing::debug!(host, %error, "a seed does not answer"))
        .ok()?;
    let body = answer.bytes().await.ok()?;
    let membership: Membership = serde_json::from_slice(&body).ok()?;
    (!membership.nodes.is_empty()).then(|| membership.nodes.into_values().collect())
}
