//! The node's lease: renewed in the store each second, read by everybody four times a second. The
//! store's quorum is the witness of who may serve.

use crate::clock::now;
use std::sync::Arc;
use std::time::Duration;

use entente_cluster::{LeaseRow, MembershipHandle, NodeId};
use entente_store::Store;
use tokio::time::{MissedTickBehavior, interval, timeout};

const RENEW: Duration = Duration::from_secs(1);
const READ: Duration = Duration::from_millis(250);

/// Renews this node's lease until dropped.
pub(crate) async fn renew(store: Store, membership: Arc<MembershipHandle>) {
    let mut ticks = interval(RENEW);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut counter = 0;
    loop {
        ticks.tick().await;
        counter += 1;
        // The fence counts from before the request: others see the renewal at that time or later.
        let started = now();
        let renewal =
            store.renew_lease(membership.node_id.as_str(), membership.generation, counter);
        match timeout(Duration::from_secs(3), renewal).await {
            Ok(Ok(())) => membership.local_fence.renewed(started),
            Ok(Err(error)) => tracing::warn!(%error, "the lease was not renewed"),
            Err(_) => tracing::warn!("the lease was not renewed in 3 s"),
        }
    }
}

/// Tells membership what leases the store shows.
pub(crate) async fn read(store: Store, membership: Arc<MembershipHandle>) {
    let mut ticks = interval(READ);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match store.leases().await {
            Ok(rows) => {
                let rows = rows
                    .into_iter()
                    .filter_map(|row| {
                        let node = NodeId::new(&row.node).ok()?;
                        Some(LeaseRow {
                            node,
                            generation: row.generation,
                            counter: row.counter,
                        })
                    })
                    .collect();
                membership.report_leases(rows);
            }
            Err(error) => tracing::debug!(%error, "leases could not be read"),
        }
    }
}
