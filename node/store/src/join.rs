//! Finding the cluster through any of its members.
//!
//! The engine asks only the members that it was given, and only the leader can admit a node. So
//! the seeds are asked for all members first: any of them knows the leader's address.

use std::time::Duration;

use hiqlite::Node;
use serde::Deserialize;
use tokio::time::sleep;

use crate::config::ClusterConfig;
use crate::error::StoreError;

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
    reqwest::Client::builder()
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
            let answer = client
                .get(format!("https://{seed}/cluster/membership/sqlite"))
                .header("X-API-SECRET", &cluster.secrets.api)
                .header("accept", "application/json")
                .send()
                .await
                .and_then(reqwest::Response::error_for_status);
            let membership = match answer {
                Ok(answer) => match answer.bytes().await {
                    Ok(body) => serde_json::from_slice::<Membership>(&body).ok(),
                    Err(_) => None,
                },
                Err(error) => {
                    tracing::debug!(seed, %error, "seed does not answer");
                    None
                }
            };
            match membership {
                Some(membership) if !membership.nodes.is_empty() => {
                    return Ok(membership.nodes.into_values().collect());
                }
                _ => {}
            }
        }
        tracing::info!(?seeds, "no seed of the store's cluster answers yet");
        sleep(RETRY).await;
    }
}
