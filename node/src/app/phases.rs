//! What follows from the node's phase for its DNS answers and its connections.

use std::sync::Arc;

use tokio::sync::watch;

use crate::fabric::{Connections, Item};
use crate::phase::Phase;

/// DNS answers SERVFAIL unless the node serves or drains.
pub(super) fn isolated(mut phase: watch::Receiver<Phase>) -> watch::Receiver<bool> {
    let cut = |phase: Phase| matches!(phase, Phase::Isolated | Phase::Starting);
    let (sender, receiver) = watch::channel(cut(*phase.borrow()));
    tokio::spawn(async move {
        while phase.changed().await.is_ok() {
            let now = cut(*phase.borrow_and_update());
            sender.send_if_modified(|known| {
                let changed = *known != now;
                *known = now;
                changed
            });
        }
    });
    receiver
}

/// An isolated node ends its streams: their users are served elsewhere by now.
pub(super) async fn close_when_isolated(
    mut phase: watch::Receiver<Phase>,
    connections: Arc<Connections>,
) {
    while phase
        .wait_for(|phase| *phase == Phase::Isolated)
        .await
        .is_ok()
    {
        close_connections(&connections);
        if phase
            .wait_for(|phase| *phase != Phase::Isolated)
            .await
            .is_err()
        {
            return;
        }
    }
}

/// Ends every connection at once.
fn close_connections(connections: &Connections) {
    for inbox in connections.all() {
        let _gone = inbox.push(Item::Shutdown);
    }
}
