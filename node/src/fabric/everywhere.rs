//! Waiting until what was written here is in the copy of every live node: an account that was added,
//! changed or removed has to be so wherever its user logs in next.
//!
//! The alternative, a look beyond the own copy whenever a login finds no account, would cost a write
//! of the cluster for every name that somebody guesses, and the time it takes would tell which names
//! exist.

use std::time::Duration;

use bytes::Bytes;
use entente_cluster::forward::{CallRefusal, Mesh};
use entente_cluster::{ClusterView, NodeId, Standing};
use entente_store::{Store, StoreError};
use futures_util::future::join_all;

/// The mesh call 'answer when your copy has come to this position'.
pub(crate) const REACHED: u32 = 1;
/// How long the other nodes get.
const PATIENCE: Duration = Duration::from_secs(2);

/// Waits until the live nodes hold what this node has written; gives those that did not say so in time.
pub(crate) async fn everywhere(
    store: &Store,
    mesh: &Mesh,
    view: &ClusterView,
) -> Result<Vec<NodeId>, StoreError> {
    let position = store.position().await?;
    let payload = Bytes::copy_from_slice(&position.to_be_bytes());
    let others = view
        .members
        .iter()
        .filter(|member| member.id != view.local && member.standing != Standing::Down);
    let asked = others.map(|member| {
        let payload = payload.clone();
        async move {
            let answer = mesh.call(&member.id, REACHED, payload, PATIENCE).await;
            answer.is_err().then(|| member.id.clone())
        }
    });
    Ok(join_all(asked).await.into_iter().flatten().collect())
}

/// Answers another node's call; the caller's deadline bounds it.
pub(crate) async fn answer(store: Store, payload: Bytes) -> Result<Bytes, CallRefusal> {
    let position = <[u8; 8]>::try_from(payload.as_ref()).map_err(|_| CallRefusal::Malformed)?;
    store.reached(u64::from_be_bytes(position)).await;
    Ok(Bytes::new())
}
